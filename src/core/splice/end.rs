//! How a pair ends: by itself, or because its backend goes.

use super::pair::{Pair, Side};
use crate::{
    time::Instant,
    wire::{self, IpHeader, Protocol, SeqNumber, TcpFlags, TcpHeader},
};
use std::time::Duration;

/// How long nothing may pass until a pair is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// While it is open: RFC 5382 REQ-5 asks for more than two hours, as keep-alives may be so far apart.
    pub open: Duration,
    /// Behind a FIN each way that both have acknowledged, or a RST: until then the last segment may have to be said again. If it was
    /// lost, what it answers comes again when its sender's timeout is over, and is a sign of life. The first timeout is a second or
    /// somewhat more (RFC 6298 §2.1, §2.4), the next one twice that: it need not last for as long as a TIME-WAIT, whose old duplicates
    /// meet the stack from then on.
    pub ended: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { open: Duration::from_secs(2 * 3_600 + 4 * 60), ended: Duration::from_secs(3) }
    }
}

/// Why a pair is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Both sides have closed, and both have heard of it.
    Finished,
    /// This one has reset it.
    Reset(Side),
    /// Nothing has passed for too long.
    Silent,
}

impl Pair {
    /// Whether it has ended, in order or by a RST. What comes is translated all the same until it is [over](Self::over).
    pub fn is_ending(&self) -> bool {
        self.reset_by().is_some() || self.streams.iter().all(|stream| stream.is_closed())
    }

    /// Who has reset it, if anybody has.
    pub fn reset_by(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|&side| self.stream(side).is_reset)
    }

    /// Whether it is over at `now`, and why. A pair that is over may be forgotten.
    pub fn over(&self, now: Instant, patience: &Patience) -> Option<Over> {
        let (limit, why) = match (self.reset_by(), self.is_ending()) {
            (Some(side), _) => (patience.ended, Over::Reset(side)),
            (None, true) => (patience.ended, Over::Finished),
            (None, false) => (patience.open, Over::Silent),
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
        let said = self.stream(side);
        self.bare(side, TcpFlags::RST | TcpFlags::ACK, said.sent, 0)
    }

    /// The frame that challenges one side, which has sent a SYN (RFC 5961 §4.2): what was said to it last, and heard of it. Who knows of no
    /// such connection answers by a RST with the number that is acknowledged here, which is exact.
    pub fn challenge(&self, side: Side) -> Vec<u8> {
        let said = self.stream(side);
        let window = said.edge.since(said.acked) >> self.ends[side as usize].our_scale;
        self.bare(side, TcpFlags::ACK, said.acked, u16::try_from(window).unwrap_or(u16::MAX))
    }

    /// A segment to one side that takes no number.
    fn bare(&self, side: Side, flags: TcpFlags, heard: SeqNumber, window: u16) -> Vec<u8> {
        let end = &self.ends[side as usize];
        let header = TcpHeader {
            source_port: end.tuple.local.port,
            destination_port: end.tuple.remote.port,
            seq: self.stream(side.other()).sent,
            ack: heard.back(self.stream(side).shift),
            flags,
            window,
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
