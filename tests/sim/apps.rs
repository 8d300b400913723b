//! Applications: one at each end of each connection, which writes, reads and checks, in its own time.

use crate::pattern;
use std::time::Duration;
use xskip_core::{
    CloseReason, Stream,
    stack::{ConnectionId, Stack},
    tcp::State,
    time::Instant,
};

/// How an application ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It finishes when it has written everything, and reads on to the end.
    Finish,
    /// It reads everything before it finishes.
    FinishLast,
    /// It closes both sides when it has written everything.
    Close,
    /// It closes both sides when it has written everything, and what comes later is thrown away.
    Linger,
    /// It resets the connection when it has written so much.
    Abort(u64),
}

impl Ending {
    /// Whether everything the peer has to say is heard out.
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Finish | Self::FinishLast)
    }
}

/// What an application does.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Octets to write.
    pub octets: u64,
    /// How it ends.
    pub ending: Ending,
    /// The most it reads or writes at once,
    pub piece: usize,
    /// and how long it pauses in between.
    pub pause: Duration,
    /// Whether small segments go out at once.
    pub no_delay: bool,
    /// When it begins to read.
    pub reads_after: Duration,
}

impl Work {
    /// Writes so many octets as fast as it can, and finishes.
    pub fn send(octets: u64) -> Self {
        let (piece, pause, reads_after) = (usize::MAX, Duration::ZERO, Duration::ZERO);
        Self { octets, ending: Ending::Finish, piece, pause, no_delay: false, reads_after }
    }
}

/// An application with its end of a connection.
#[derive(Debug)]
pub struct App {
    /// The connection.
    pub id: ConnectionId,
    /// What it does.
    pub work: Work,
    /// Names of the streams it writes and reads.
    pub keys: [u64; 2],
    /// Octets written.
    pub written: u64,
    /// Octets read.
    pub read: u64,
    /// When it read last.
    pub last_read: Instant,
    /// Whether the connection was opened.
    pub opened: Option<Instant>,
    /// Whether it saw the end of the peer's data.
    pub saw_end: bool,
    /// How the connection ended, and when.
    pub closed: Option<(CloseReason, Instant)>,
    /// For how long nothing had been heard then.
    pub silence: Duration,
    /// Whether it is to act again without being told.
    pub alarm: bool,
    /// The most that may wait for it to be read, octets.
    limit: usize,
    ended: bool,
}

impl App {
    /// An application with a connection that may not be open yet.
    pub fn new(id: ConnectionId, work: Work, limit: usize) -> Self {
        Self {
            id,
            work,
            keys: [0; 2],
            written: 0,
            read: 0,
            last_read: Instant::ZERO,
            opened: None,
            saw_end: false,
            closed: None,
            silence: Duration::ZERO,
            alarm: false,
            limit,
            ended: false,
        }
    }

    /// Whether its connection is open.
    pub fn is_open(&self) -> bool {
        self.opened.is_some() && self.closed.is_none()
    }

    /// Does what there is to do now. Returns how long it pauses where it wants to act again without being told.
    pub fn act(&mut self, stack: &mut Stack, now: Instant) -> Option<Duration> {
        let opened = self.opened.filter(|_| self.closed.is_none())?;
        let mut stream = stack.stream(now, self.id)?;
        let mut more = None;
        if self.ended && !self.work.ending.is_orderly() {
            return None;
        }
        assert!(stream.readable_len() <= self.limit, "no more is kept than was agreed: {}", stream.readable_len());
        stream.set_nodelay(self.work.no_delay);
        let waits = (opened + self.work.reads_after) - now;
        if waits > Duration::ZERO {
            more = Some(waits);
            self.saw_end |= stream.at_end(); // there is nothing to read, and nothing to wait for
        } else if self.reads(&mut stream, now) {
            more = Some(self.work.pause);
        }
        if self.writes(&mut stream) {
            more = more.max(Some(self.work.pause));
        }
        self.ends(&mut stream);
        more
    }

    /// Reads a piece; whether there is more.
    fn reads(&mut self, stream: &mut Stream<'_>, now: Instant) -> bool {
        let mut left = self.work.piece;
        while left > 0 {
            let front = stream.readable();
            let length = front.len().min(left);
            if length == 0 {
                break;
            }
            assert!(pattern::matches(self.keys[1], self.read, &front[..length]), "octets come as they were written");
            stream.consume(length);
            self.read += length as u64;
            self.last_read = now;
            left -= length;
        }
        self.saw_end |= stream.at_end();
        stream.readable_len() > 0
    }

    /// Writes a piece; whether there is more, and room for it.
    fn writes(&mut self, stream: &mut Stream<'_>) -> bool {
        let total = match self.work.ending {
            Ending::Abort(after) => self.work.octets.min(after),
            _ => self.work.octets,
        };
        let mut left = self.work.piece;
        while left > 0 && self.written < total && !self.ended {
            let rest = (total - self.written).min(left as u64);
            let data = pattern::of(self.keys[0], self.written, rest.min(pattern::PIECE as u64) as usize);
            let length = stream.write(data);
            self.written += length as u64;
            left -= length;
            if length < data.len() {
                return false; // it is told when there is room again
            }
        }
        self.written < total && !self.ended
    }

    fn ends(&mut self, stream: &mut Stream<'_>) {
        let done = self.written >= self.work.octets;
        match self.work.ending {
            Ending::Abort(after) if self.written >= after.min(self.work.octets) => {
                self.ended = true;
                stream.abort();
            }
            Ending::Finish if done && !self.ended => {
                self.ended = true;
                stream.shutdown_write();
            }
            Ending::FinishLast if done && self.saw_end && !self.ended => {
                self.ended = true;
                stream.shutdown_write();
            }
            Ending::Close if done => {
                self.ended = true;
                stream.close();
            }
            Ending::Linger if done => {
                self.ended = true;
                stream.close_discarding();
            }
            _ => {}
        }
        if self.ended && self.saw_end && self.work.ending.is_orderly() && stream.state() != State::Closed {
            stream.close();
        }
    }
}
