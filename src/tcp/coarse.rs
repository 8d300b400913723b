//! Times in four bytes, for connections that sleep.

use crate::time::Instant;
use std::time::Duration;

/// A span in microseconds: an hour at most, which is more than any that TCP measures.
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

/// A moment, as the number of a span of 2^24 ns: good to 17 ms, for more than two years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coarse(u32);

const SHIFT: u32 = 24;

impl From<Instant> for Coarse {
    fn from(at: Instant) -> Self {
        Self(u32::try_from(at.as_nanos() >> SHIFT).unwrap_or(u32::MAX))
    }
}

impl From<Coarse> for Instant {
    fn from(at: Coarse) -> Self {
        Self::from_nanos(u64::from(at.0) << SHIFT)
    }
}
