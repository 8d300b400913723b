//! TIME-WAIT: what is left of a connection until its old segments have left the network (RFC 9293 §3.6.1), in 32 bytes.
//!
//! A segment that arrives brings the 4-tuple and the way back with it, so neither is kept: a keyed hash of 48 bits tells whose
//! segment it is. Of a million entries, one flow in 10^8 would be taken for another that is over.

use super::{FlowHash, defence::FlowName};
use crate::{
    tcp::timestamps::Clocks,
    time::{Coarse, Instant},
    wire::{
        FourTuple, IpHeader, Protocol, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ip::{Codepoint, Dscp},
    },
};
use std::time::Duration;

/// A connection in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    slot: u32,
    check: u16,
    /// What the flow is called by whoever watches.
    pub name: FlowName,
    /// SND.NXT: behind our FIN.
    pub snd_nxt: SeqNumber,
    /// RCV.NXT: behind the peer's FIN.
    pub rcv_nxt: SeqNumber,
    clocks: Clocks,
    /// Our code point in the upper six bits, [`HAS_CLOCKS`] and [`GONE`]; and when it is over, to the three lower bytes of a
    /// [`Coarse`].
    marks: u8,
    expires: [u8; 3],
}

const _: () = assert!(size_of::<TimeWait>() <= 32, "millions of these stay around for a minute each");

const HAS_CLOCKS: u8 = 1;
/// Its place in the queue is all that is left of it.
const GONE: u8 = 2;

/// What a segment does to TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A SYN beyond everything the old connection received, or later by its sender's clock: the 4-tuple may be used again
    /// (RFC 9293 MAY-2, RFC 6191 §2).
    NewConnection,
    /// The peer has not heard our last acknowledgment: send it again and wait anew.
    Acknowledge,
    /// Nothing to do. An RST is among these, or a stray segment could end TIME-WAIT early (RFC 1337 §3).
    Ignore,
}

impl TimeWait {
    /// An entry for the flow with this hash and name, at the end of its sequence numbers.
    pub fn new(
        (hash, name): (FlowHash, FlowName),
        (snd_nxt, rcv_nxt): (SeqNumber, SeqNumber),
        clocks: Option<Clocks>,
        dscp: Dscp,
    ) -> Self {
        let marks = dscp.with(Codepoint::NotCapable) | if clocks.is_some() { HAS_CLOCKS } else { 0 };
        let FlowHash { slot, check } = hash;
        Self { slot, check, name, snd_nxt, rcv_nxt, clocks: clocks.unwrap_or_default(), marks, expires: [0; 3] }
    }

    /// The 4-tuple's hash.
    pub fn hash(&self) -> FlowHash {
        FlowHash { slot: self.slot, check: self.check }
    }

    fn clocks(&self) -> Option<Clocks> {
        (self.marks & HAS_CLOCKS != 0).then_some(self.clocks)
    }

    fn is_gone(&self) -> bool {
        self.marks & GONE != 0
    }

    /// What to do about a segment.
    pub fn arrival(&self, segment: &Segment<'_>) -> Arrival {
        let header = &segment.header;
        if segment.has(TcpFlags::RST) {
            return Arrival::Ignore;
        }
        if segment.has(TcpFlags::SYN) {
            let later = match (self.clocks(), header.options.timestamps) {
                (Some(clocks), Some(received)) => clocks.is_newer(received),
                _ => self.rcv_nxt.precedes(header.seq),
            };
            let is_new = later && !segment.has(TcpFlags::ACK);
            return if is_new { Arrival::NewConnection } else { Arrival::Acknowledge };
        }
        let expected = segment.is_empty() && header.seq == self.rcv_nxt && header.ack == self.snd_nxt;
        if expected { Arrival::Ignore } else { Arrival::Acknowledge }
    }

    /// The acknowledgment of the peer's FIN.
    pub fn acknowledgment(&self, now: Instant, tuple: &FourTuple, hop_limit: u8) -> (IpHeader, TcpHeader) {
        let mut ip = IpHeader::new(tuple.local.address, tuple.remote.address, Protocol::Tcp);
        ip.hop_limit = hop_limit;
        ip.traffic_class = Dscp::of(self.marks).with(Codepoint::NotCapable);
        let tcp = TcpHeader {
            source_port: tuple.local.port,
            destination_port: tuple.remote.port,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            window: 0,
            urgent: 0,
            options: TcpOptions { timestamps: self.clocks().map(|clocks| clocks.option(now)), ..TcpOptions::default() },
        };
        (ip, tcp)
    }
}

/// All connections in TIME-WAIT, in a ring. They wait equally long, so the oldest is always the next to expire: a queue is timer
/// enough. One that is over before its time leaves its place behind until that comes to the front.
#[derive(Debug)]
pub struct TimeWaits {
    ring: Vec<TimeWait>,
    /// The oldest place, and how many there are from there on.
    oldest: u32,
    places: u32,
    /// Those that are not gone.
    len: u32,
    limit: u32,
    duration: Duration,
    /// About now.
    latest: Coarse,
}

impl TimeWaits {
    /// Room for at most `limit` entries that wait for `duration`.
    pub fn new(limit: u32, duration: Duration) -> Self {
        let ring = Vec::with_capacity(limit as usize);
        Self { ring, oldest: 0, places: 0, len: 0, limit, duration, latest: Coarse::default() }
    }

    /// Connections in TIME-WAIT.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Places taken, those of entries that are gone included.
    #[cfg(test)]
    pub fn places(&self) -> u32 {
        self.places
    }

    /// The entry at `index`.
    pub fn get(&self, index: u32) -> &TimeWait {
        &self.ring[index as usize]
    }

    /// Makes room for one more: removes and returns the oldest where there is none.
    pub fn make_room(&mut self) -> Option<(u32, TimeWait)> {
        let is_full = self.places == self.limit && self.limit > 0;
        if is_full { self.take_oldest() } else { None }
    }

    /// The entry that [`TimeWaits::make_room`] removes when it has removed so many others.
    pub fn behind_oldest(&self, others: u32) -> Option<&TimeWait> {
        (others < self.places).then(|| self.get((self.oldest + others) % self.limit))
    }

    /// Adds an entry that begins to wait now; `None` where there is no room, not even for one.
    pub fn insert(&mut self, mut entry: TimeWait, now: Instant) -> Option<u32> {
        if self.places == self.limit {
            return None;
        }
        self.latest = Coarse::from(now);
        entry.expires = Coarse::not_before(now + self.duration).low_bytes();
        let index = (self.oldest + self.places) % self.limit;
        match self.ring.get_mut(index as usize) {
            Some(place) => *place = entry,
            None => self.ring.push(entry),
        }
        self.places += 1;
        self.len += 1;
        Some(index)
    }

    /// Lets an entry wait its whole time again; returns its new place. Where it has just begun to wait, or where there is no
    /// room behind the others, it stays where it is.
    pub fn restart(&mut self, index: u32, now: Instant) -> u32 {
        let entry = *self.get(index);
        let left = Instant::from(self.latest.nearest(entry.expires)) - now;
        // Or whoever sends a segment again and again would fill the ring with places of nobody.
        if left + Duration::from_secs(1) > self.duration {
            return index;
        }
        match self.insert(entry, now) {
            Some(again) => {
                self.remove(index);
                again
            }
            None => index,
        }
    }

    /// Takes an entry out before its time.
    pub fn remove(&mut self, index: u32) {
        self.ring[index as usize].marks |= GONE;
        self.len -= 1;
    }

    /// Takes out one entry that has waited long enough; to be called until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<(u32, TimeWait)> {
        self.latest = self.latest.max(Coarse::from(now));
        while let Some(due) = self.oldest_due()
            && due <= self.latest
        {
            if let Some(expired) = self.take_oldest() {
                return Some(expired);
            }
        }
        None
    }

    /// When [`TimeWaits::expire`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.oldest_due().map(Instant::from)
    }

    fn oldest_due(&self) -> Option<Coarse> {
        (self.places > 0).then(|| self.latest.nearest(self.get(self.oldest).expires))
    }

    /// Gives up the oldest place; returns its entry unless that is gone.
    fn take_oldest(&mut self) -> Option<(u32, TimeWait)> {
        let index = self.oldest;
        let entry = *self.get(index);
        self.oldest = (self.oldest + 1) % self.limit;
        self.places -= 1;
        if self.places == 0 {
            self.oldest = 0; // few connections stay in few cache lines
        }
        if entry.is_gone() {
            return None;
        }
        self.len -= 1;
        Some((index, entry))
    }
}
