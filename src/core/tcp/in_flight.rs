//! A segment on its way, and the sums over all of them.

use super::outcome::SendRange;
use crate::{time::Instant, wire::SeqNumber};

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub start: SeqNumber,
    /// Octets of sequence space, the FIN included.
    pub length: u32,
    pub sent_at: Instant,
    /// Its number among all transmissions.
    pub order: u32,
    pub fin: bool,
    pub retransmitted: bool,
    pub lost: bool,
    /// Whether the peer has sacked it (RFC 2018). It may yet throw it away.
    pub sacked: bool,
}

impl InFlight {
    /// Whether it may still be under way, for all we know.
    #[inline]
    pub fn is_under_way(&self) -> bool {
        !self.lost && !self.sacked
    }

    /// The sequence number behind it.
    #[inline]
    pub fn end(&self) -> SeqNumber {
        self.start.advance(self.length)
    }

    /// Octets of data.
    #[inline]
    pub fn data(&self) -> u32 {
        self.length - u32::from(self.fin)
    }

    #[inline]
    pub fn range(&self) -> SendRange {
        SendRange { seq: self.start, length: self.data() as usize, fin: self.fin }
    }
}

/// Octets on their way, by what is known of them. Each segment counts once: as lost, sacked, or under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// May still be under way: the pipe of RFC 6675.
    pub under_way: u32,
    /// Taken for lost.
    pub lost: u32,
    /// Reported by the peer.
    pub sacked: u32,
    /// Segments sacked by the peer.
    pub sacked_segments: u32,
}

impl Tally {
    #[inline]
    pub fn add(&mut self, segment: &InFlight) {
        match (segment.lost, segment.sacked) {
            (true, _) => self.lost += segment.length,
            (_, true) => {
                self.sacked += segment.length;
                self.sacked_segments += 1;
            }
            _ => self.under_way += segment.length,
        }
    }

    #[inline]
    pub fn remove(&mut self, segment: &InFlight) {
        match (segment.lost, segment.sacked) {
            (true, _) => self.lost -= segment.length,
            (_, true) => {
                self.sacked -= segment.length;
                self.sacked_segments -= 1;
            }
            _ => self.under_way -= segment.length,
        }
    }
}
