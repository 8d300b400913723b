use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::Instant,
};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
/// What a right answer begins with.
const ANSWER: &[u8] = b"HTTP/1.1 200";
/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake is under way.
    Connecting,
    /// The request is on its way, or the answer.
    Talking,
}

/// What a readiness brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing that matters.
    Waiting,
    /// The handshake is complete.
    Connected,
    /// The answer is complete and right, and the server has closed the connection.
    Done,
    /// The attempt has failed, for this reason.
    Failed(String),
}

/// One visit of a client: connect, ask, read to the end.
pub(super) struct Attempt {
    pub(super) socket: Socket,
    phase: Phase,
    /// When it was to start.
    pub(super) planned: Instant,
    /// Tells it from others that had its slot.
    pub(super) serial: u64,
    /// Bytes of the request that have gone.
    sent: usize,
    /// Bytes of the answer that were as they should be, up to the length of what is looked at.
    right: usize,
    /// Some byte of the answer was not.
    wrong: bool,
}

impl Attempt {
    /// Sends the SYN.
    pub(super) fn start(target: SocketAddr, planned: Instant, serial: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // The request is one segment either way; this keeps the kernel from waiting for a second.
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { socket, phase: Phase::Connecting, planned, serial, sent: 0, right: 0, wrong: false })
    }

    /// Goes on, now that the socket is ready for something.
    pub(super) fn advance(&mut self) -> Progress {
        let result = match self.phase {
            Phase::Connecting => self.connected(),
            Phase::Talking => self.send().and_then(|()| self.receive()),
        };
        match result {
            Ok(progress) => progress,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Waiting,
            Err(error) => Progress::Failed(self.reason(&error)),
        }
    }

    fn connected(&mut self) -> io::Result<Progress> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.phase = Phase::Talking;
                Ok(Progress::Connected)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(Progress::Waiting),
            Err(error) => Err(error),
        }
    }

    /// Sends what is left of the request.
    fn send(&mut self) -> io::Result<()> {
        while self.sent < REQUEST.len() {
            self.sent += self.socket.write(&REQUEST[self.sent..])?;
        }
        Ok(())
    }

    /// Whether all of the request has gone.
    pub(super) fn has_asked(&self) -> bool {
        self.sent == REQUEST.len()
    }

    fn receive(&mut self) -> io::Result<Progress> {
        let mut chunk = [0; CHUNK];
        loop {
            let length = match self.socket.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            };
            if length == 0 {
                return Ok(self.verdict());
            }
            let expected = &ANSWER[self.right..];
            let looked_at = length.min(expected.len());
            self.wrong |= chunk[..looked_at] != expected[..looked_at];
            self.right += looked_at;
        }
    }

    /// What the answer was worth, now that it has ended.
    fn verdict(&self) -> Progress {
        match (self.right, self.wrong) {
            (0, _) => Progress::Failed("closed without an answer".to_owned()),
            (right, false) if right == ANSWER.len() => Progress::Done,
            _ => Progress::Failed("wrong answer".to_owned()),
        }
    }

    /// Why the attempt has failed when its time is up.
    pub(super) fn timed_out(&self) -> &'static str {
        match self.phase {
            Phase::Connecting => "handshake timed out",
            Phase::Talking => "answer timed out",
        }
    }

    fn reason(&self, error: &io::Error) -> String {
        match error.kind() {
            // The kernel gave up before we did.
            ErrorKind::TimedOut => self.timed_out().to_owned(),
            _ => reason(error),
        }
    }
}

/// A word for a refusal. There are few, so that the table of reasons stays short.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
        ErrorKind::AddrNotAvailable => "no local port left".to_owned(),
        other => other.to_string(),
    }
}
