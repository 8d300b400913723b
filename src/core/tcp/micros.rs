//! Spans in four bytes, for connections that sleep.

use crate::time::nanos;
use std::time::Duration;

/// The longest round trip that is believed: somewhat more than an hour. No segment lives that long (RFC 9293 §3.4.1: two minutes), nor
/// does a connection that hears nothing (R2). Where one seems to have taken longer, an end stood still meanwhile, and how long it did
/// says nothing of the path.
pub(super) const LONGEST_ROUND_TRIP: Duration = Duration::from_micros((u32::MAX - 1) as u64);
/// [`LONGEST_ROUND_TRIP`], nanoseconds.
pub(super) const LONGEST_ROUND_TRIP_NANOS: u64 = nanos(LONGEST_ROUND_TRIP);

/// A span in microseconds, [`LONGEST_ROUND_TRIP`] at most: nothing that TCP measures is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Micros(u32);

impl Micros {
    /// No span.
    pub const NONE: Self = Self(u32::MAX);

    /// The span, where there is one.
    pub fn get(self) -> Option<Duration> {
        (self != Self::NONE).then(|| Duration::from_micros(self.0.into()))
    }
}

impl From<Duration> for Micros {
    /// Rounds up: a time that was measured is not none at all.
    fn from(span: Duration) -> Self {
        Self(span.as_nanos().div_ceil(1_000).min(u128::from(u32::MAX - 1)) as u32)
    }
}

impl From<Option<Duration>> for Micros {
    fn from(span: Option<Duration>) -> Self {
        span.map_or(Self::NONE, Self::from)
    }
}
