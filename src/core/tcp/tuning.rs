//! How large the receive window should be. It begins small and follows the application: a peer is offered a few times
//! what the application reads in a round trip, up to the limit (dynamic right-sizing, as Fisk and Feng described it in 2001). A peer whose
//! data nobody reads is not offered more, and so cannot make us keep more.

use super::micros::{LONGEST_ROUND_TRIP, Micros};
use crate::{time::Instant, wire::SeqNumber};
use std::time::Duration;

/// What is offered for each octet read in a round trip: twice as much because slow start doubles, and twice again because the
/// peer hears of it half a round trip later, and its data take as long.
const HEADROOM: u32 = 4;

/// Measures how much is read in a round trip.
#[derive(Debug)]
pub(super) struct Tuning {
    /// The most that is ever offered.
    limit: u32,
    /// The shortest round trip seen. All that is measured here are upper bounds, so the least of them is the best.
    round_trip: Option<Duration>,
    /// A right edge that was announced, and when: data that reach it have been sent since.
    announced: Option<(SeqNumber, Instant)>,
    /// When the current round began, and the octets that were read in it.
    began: Instant,
    read: u32,
}

/// The most that is ever offered, and the shortest round trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuietTuning {
    limit: u32,
    round_trip: Micros,
}

impl Tuning {
    pub fn new(limit: usize, now: Instant) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { limit, round_trip: None, announced: None, began: now, read: 0 }
    }

    /// What is kept while nothing comes.
    pub fn suspend(&self) -> QuietTuning {
        QuietTuning { limit: self.limit, round_trip: self.round_trip.into() }
    }

    /// Measures on from there; a round begins at `now`.
    pub fn resume(quiet: QuietTuning, now: Instant) -> Self {
        Self { limit: quiet.limit, round_trip: quiet.round_trip.get(), announced: None, began: now, read: 0 }
    }

    /// The application has read this many octets.
    #[inline]
    pub fn read(&mut self, octets: usize) {
        self.read = self.read.saturating_add(u32::try_from(octets).unwrap_or(u32::MAX));
    }

    /// The right edge has moved.
    #[inline]
    pub fn announced(&mut self, edge: SeqNumber, now: Instant) {
        self.announced.get_or_insert((edge, now));
    }

    /// A round trip took at most so long.
    #[inline]
    pub fn measured(&mut self, at_most: Duration) {
        self.round_trip = Some(self.round_trip.unwrap_or(LONGEST_ROUND_TRIP).min(at_most));
    }

    /// Data up to `nxt` have arrived; how much is to be offered from now on, where a round trip is over and that can be told.
    #[inline]
    pub fn arrived(&mut self, nxt: SeqNumber, now: Instant) -> Option<u32> {
        if let Some((edge, since)) = self.announced
            && edge.at_or_before(nxt)
        {
            self.announced = None;
            self.measured(now - since);
        }
        if now < self.began + self.round_trip? {
            return None;
        }
        self.began = now;
        let read = std::mem::take(&mut self.read);
        Some(read.saturating_mul(HEADROOM).min(self.limit))
    }
}
