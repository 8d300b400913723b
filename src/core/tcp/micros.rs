//! Spans in four bytes, for connections that sleep.

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
