//! How a pair ends: by itself, or because its backend goes.

use super::pair::{Pair, Side};
use crate::{
    time::Instant,
    wire::{self, IpHeader, Protocol, TcpFlags, TcpHeader},
};
use std::time::Duration;

/// How long nothing may pass until a pair is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// While it is open: RFC 5382 REQ-5 asks for more than two hours, as keep-alives may be so far apart.
    pub open: Duration,
    /// Behind a FIN each way, or a RST: until then the last segment may have to be said again.
    pub ended: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { open: Duration::from_secs(2 * 3_600 + 4 * 60), ended: Duration::from_secs(60) }
    }
}

/// Why a pair is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Both sides have closed, and both have heard of it.
    Finished,
    /// One of them has reset it.
    Reset,
    /// Nothing has passed for too long.
    Silent,
}

impl Pair {
    /// Whether it has ended, in order or by a RST. What comes is translated all the same until it is [over](Self::over).
    pub fn is_ending(&self) -> bool {
        self.is_reset || self.streams.iter().all(|stream| stream.is_closed())
    }

    /// Whether it is over at `now`, and why. A pair that is over may be forgotten.
    pub fn over(&self, now: Instant, patience: &Patience) -> Option<Over> {
        let (limit, why) = match self.is_ending() {
            true if self.is_reset => (patience.ended, Over::Reset),
            true => (patience.ended, Over::Finished),
            false => (patience.open, Over::Silent),
        };
        (now >= self.heard + limit).then_some(why)
    }

    /// When it is over if nothing passes any more.
    pub fn deadline(&self, patience: &Patience) -> Instant {
        self.heard + if self.is_ending() { patience.ended } else { patience.open }
    }

    /// The frame that resets one side, as the proxy's own end would have: its number is the first that was never sent. A peer that has not
    /// received everything up to there challenges it (RFC 5961 §3.2), and what answers a segment of no connection answers that with the
    /// number that it asks for. So the pair is to be forgotten first.
    pub fn reset(&self, side: Side) -> Vec<u8> {
        let end = &self.ends[side as usize];
        let (to_it, from_it) = (&self.streams[side.other() as usize], &self.streams[side as usize]);
        let header = TcpHeader {
            source_port: end.tuple.local.port,
            destination_port: end.tuple.remote.port,
            seq: to_it.sent,
            ack: from_it.sent.back(from_it.shift),
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..TcpHeader::default()
        };
        let ip = IpHeader::new(end.tuple.local.address, end.tuple.remote.address, Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(&end.link, &ip, &header)];
        wire::write_tcp(&end.link, &ip, &header, (&[], &[]), &mut frame);
        frame
    }

    /// The frames that reset both sides, the client's first: for a backend that is taken away.
    pub fn resets(&self) -> [Vec<u8>; 2] {
        Side::BOTH.map(|side| self.reset(side))
    }
}
