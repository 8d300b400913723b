//! Connections in TIME-WAIT: all that is left of a control block once both sides have closed.

use super::aged_slab::AgedSlab;
use crate::{
    tcp::timestamps::Clocks,
    time::Instant,
    wire::{
        FourTuple, IpHeader, LinkHeader, Protocol, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ip::{Codepoint, Dscp},
    },
};
use std::time::Duration;

/// What TIME-WAIT must remember.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    /// The two ends.
    pub tuple: FourTuple,
    /// The 4-tuple's hash, for leaving the flow table.
    pub hash: u32,
    /// The way back on the link.
    pub link: LinkHeader,
    /// SND.NXT: behind our FIN.
    pub snd_nxt: SeqNumber,
    /// RCV.NXT: behind the peer's FIN.
    pub rcv_nxt: SeqNumber,
    /// Both clocks, where timestamps were in use.
    pub clocks: Option<Clocks>,
    /// Our code point, which stays what it was.
    pub dscp: Dscp,
    /// When it is over.
    pub expires: Instant,
}

/// What a segment means to a connection in TIME-WAIT.
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
    /// What to do about a segment.
    pub fn arrival(&self, segment: &Segment<'_>) -> Arrival {
        let header = &segment.header;
        if segment.has(TcpFlags::RST) {
            return Arrival::Ignore;
        }
        if segment.has(TcpFlags::SYN) {
            let later = match (self.clocks, header.options.timestamps) {
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
    pub fn acknowledgment(&self, now: Instant, hop_limit: u8) -> (IpHeader, TcpHeader) {
        let mut ip = IpHeader::new(self.tuple.local.address, self.tuple.remote.address, Protocol::Tcp);
        ip.hop_limit = hop_limit;
        ip.traffic_class = self.dscp.with(Codepoint::NotCapable);
        let tcp = TcpHeader {
            source_port: self.tuple.local.port,
            destination_port: self.tuple.remote.port,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            window: 0,
            urgent: 0,
            options: TcpOptions { timestamps: self.clocks.map(|clocks| clocks.option(now)), ..TcpOptions::default() },
        };
        (ip, tcp)
    }
}

/// All connections in TIME-WAIT. They wait equally long, so the oldest is always the next to expire: a queue is timer enough.
#[derive(Debug)]
pub struct TimeWaits {
    entries: AgedSlab<TimeWait>,
    duration: Duration,
}

impl TimeWaits {
    /// Room for at most `limit` entries that wait for `duration`.
    pub fn new(limit: u32, duration: Duration) -> Self {
        Self { entries: AgedSlab::new(limit), duration }
    }

    /// Connections in TIME-WAIT.
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// The entry at `index`.
    pub fn get(&self, index: u32) -> &TimeWait {
        &self.entries[index]
    }

    /// Makes room for one more: removes and returns the oldest where there is none.
    pub fn make_room(&mut self) -> Option<(u32, TimeWait)> {
        let oldest = self.entries.oldest().filter(|_| self.entries.is_full())?;
        self.entries.remove(oldest).map(|entry| (oldest, entry))
    }

    /// Adds an entry that begins to wait now; `None` where there is no room, not even for one.
    pub fn insert(&mut self, mut entry: TimeWait, now: Instant) -> Option<u32> {
        entry.expires = now + self.duration;
        self.entries.insert(entry).ok()
    }

    /// Lets an entry wait its whole time again.
    pub fn restart(&mut self, index: u32, now: Instant) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.expires = now + self.duration;
            self.entries.renew(index);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, index: u32) -> Option<TimeWait> {
        self.entries.remove(index)
    }

    /// Takes out one entry that has waited long enough; to be called until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<(u32, TimeWait)> {
        let oldest = self.entries.oldest().filter(|&index| self.entries[index].expires <= now)?;
        self.entries.remove(oldest).map(|entry| (oldest, entry))
    }

    /// When [`TimeWaits::expire`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.entries.oldest().map(|index| self.entries[index].expires)
    }
}
