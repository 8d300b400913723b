//! A connection of the server on the kernel's sockets, and what is done with what comes on it.

use nix::sys::epoll::EpollFlags;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Reads of one connection before others get their turn.
const READS: usize = 64;

/// As long as the page of this crate's server.
pub(in crate::bench) const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 147\r\nConnection: close\r\n\r\n\
    The kernel has seen the connection that brought you this page, and all others.\n\
    This is what a server on its sockets says, whatever it is asked for\n";

/// What a server on the kernel's sockets does with what it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Service {
    /// Answers a request by a page, and closes.
    Page,
    /// Sends it back.
    Echo,
    /// Throws it away.
    Discard,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More from its client.
    Readable,
    /// Room for what it has to say.
    Writable,
    /// Nothing any more.
    Over,
}

impl Next {
    /// The events to be told of.
    pub fn events(self) -> EpollFlags {
        match self {
            Self::Readable => EpollFlags::EPOLLIN,
            Self::Writable => EpollFlags::EPOLLOUT,
            Self::Over => EpollFlags::empty(),
        }
    }
}

/// A connection that is not over.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: TcpStream,
    /// What it waited for when it was last looked at.
    pub next: Next,
    since: Instant,
    talk: Talk,
}

/// Where it stands.
#[derive(Debug)]
enum Talk {
    /// A request that has not come to its end.
    Page(BlankLine),
    /// What is still to be sent back.
    Echo(Vec<u8>),
    Discard,
}

impl Connection {
    pub fn new(stream: TcpStream, service: Service) -> Self {
        let talk = match service {
            Service::Page => Talk::Page(BlankLine::default()),
            Service::Echo => Talk::Echo(Vec::new()),
            Service::Discard => Talk::Discard,
        };
        Self { stream, next: Next::Readable, since: Instant::now(), talk }
    }

    /// Whether it has taken longer over its request than it may.
    pub fn is_late(&self, patience: Duration) -> bool {
        matches!(self.talk, Talk::Page(_)) && self.since.elapsed() > patience
    }

    /// Takes what there is, and answers.
    pub fn go_on(&mut self, buffer: &mut [u8]) -> Next {
        for _ in 0..READS {
            if let Some(next) = self.send() {
                return next;
            }
            match self.stream.read(buffer) {
                Ok(0) => return Next::Over,
                Ok(length) => {
                    if self.has_asked(&buffer[..length]) {
                        // The send buffer of a new connection is never full; if the client has gone, so be it.
                        self.stream.write_all(RESPONSE).ok();
                        return Next::Over;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Readable,
                Err(_) => return Next::Over,
            }
        }
        self.send().unwrap_or(Next::Readable)
    }

    /// Takes what was read. Says whether it ends a request.
    fn has_asked(&mut self, bytes: &[u8]) -> bool {
        match &mut self.talk {
            Talk::Page(end) => return end.is_in(bytes),
            Talk::Echo(unsent) => unsent.extend_from_slice(bytes),
            Talk::Discard => {}
        }
        false
    }

    /// Sends what is to be sent back. Says what is waited for, unless all has gone.
    fn send(&mut self) -> Option<Next> {
        let Talk::Echo(unsent) = &mut self.talk else { return None };
        while !unsent.is_empty() {
            match self.stream.write(unsent) {
                Ok(length) => drop(unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Next::Writable),
                Err(_) => return Some(Next::Over),
            }
        }
        None
    }
}

/// Looks for the line that ends the head of a request.
#[derive(Debug, Default)]
struct BlankLine {
    line_ends: u8,
}

impl BlankLine {
    /// Whether it has come.
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\n' => self.line_ends += 1,
                b'\r' => {}
                _ => self.line_ends = 0,
            }
            if self.line_ends == 2 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
