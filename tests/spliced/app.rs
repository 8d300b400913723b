//! What a peer writes and reads, and what has become of it.

use crate::{pattern, plan::Work};
use xskip_core::{
    CloseReason,
    stack::{ConnectionId, Stack},
    time::Instant,
};

/// A piece of a stream that is sent or expected: its key, and how much of it from where on.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub key: u64,
    pub from: u64,
    pub length: u64,
}

/// One of the two peers.
#[derive(Debug)]
pub struct App {
    work: Work,
    pub id: Option<ConnectionId>,
    key: u64,
    pub written: u64,
    /// What is to come, in order.
    expected: Vec<Part>,
    pub read: u64,
    pub heard_end: bool,
    has_shut: bool,
    pub has_aborted: bool,
    pub closed: Option<CloseReason>,
}

impl App {
    pub fn new(work: Work, key: u64, expected: Vec<Part>) -> Self {
        Self {
            work,
            id: None,
            key,
            written: 0,
            expected,
            read: 0,
            heard_end: false,
            has_shut: false,
            has_aborted: false,
            closed: None,
        }
    }

    /// What it is to read altogether.
    pub fn awaited(&self) -> u64 {
        self.expected.iter().map(|part| part.length).sum()
    }

    pub fn has_written_all(&self) -> bool {
        self.written == self.work.total()
    }

    /// When it does something by itself again.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let pause = self.work.pause.map(|(_, until)| until);
        let times = self.work.bursts.iter().map(|&(at, _)| at).chain(pause).chain(self.work.aborts);
        times.filter(|&at| at > now && self.closed.is_none()).min()
    }

    /// Does what it can.
    pub fn act(&mut self, now: Instant, stack: &mut Stack) {
        let Some(id) = self.id.filter(|_| self.closed.is_none()) else { return };
        if self.work.aborts.is_some_and(|at| at <= now) && !self.has_aborted {
            if let Some(mut stream) = stack.stream(now, id) {
                self.has_aborted = true;
                stream.abort();
            }
            return;
        }
        if !self.work.pause.is_some_and(|(from, until)| from <= now && now < until) {
            self.take(now, stack, id);
        }
        self.say(now, stack, id);
    }

    fn take(&mut self, now: Instant, stack: &mut Stack, id: ConnectionId) {
        let Some(mut stream) = stack.stream(now, id) else { return };
        while stream.readable_len() > 0 {
            let length = stream.readable().len();
            self.compare(&stream.readable()[..length]);
            stream.consume(length);
        }
        self.heard_end |= stream.at_end();
    }

    /// Every octet is the one that was sent.
    fn compare(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let mut before = 0;
            let part = self.expected.iter().find(|part| {
                let is_it = self.read < before + part.length;
                before += if is_it { 0 } else { part.length };
                is_it
            });
            let part = part.unwrap_or_else(|| panic!("more comes than was sent: {} octets", self.read));
            let within = self.read - before;
            let length = octets.len().min((part.length - within) as usize);
            let is_right = pattern::matches(part.key, part.from + within, &octets[..length]);
            assert!(is_right, "a wrong octet behind {} of {}", self.read, self.awaited());
            self.read += length as u64;
            octets = &octets[length..];
        }
    }

    fn say(&mut self, now: Instant, stack: &mut Stack, id: ConnectionId) {
        let Some(mut stream) = stack.stream(now, id) else { return };
        let allowed: u64 = self.work.bursts.iter().filter(|&&(at, _)| at <= now).map(|(_, octets)| octets).sum();
        while self.written < allowed {
            let length = (allowed - self.written).min(pattern::PIECE as u64) as usize;
            let taken = stream.write(pattern::of(self.key, self.written, length));
            self.written += taken as u64;
            if taken < length {
                break; // it hears when there is room again
            }
        }
        if self.has_written_all() && !self.has_shut && (self.work.closes || self.heard_end) {
            self.has_shut = true;
            stream.shutdown_write();
        }
        if self.has_shut && self.heard_end {
            stream.close();
        }
    }
}
