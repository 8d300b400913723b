//! Time as a value: the worker reads the clock once a batch and hands the result down.

pub mod span;

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A moment, in nanoseconds since an origin that only the owner of the clock knows.
///
/// Everything below the worker takes an `Instant` as an argument and returns its next deadline as one, so a test can let
/// a day pass in a microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// Later than any other.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time since `earlier`, or zero where `earlier` is in the future.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// A span in nanoseconds, five centuries at most: `Duration::as_nanos` takes 128 bits and many more instructions.
pub const fn nanos(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(span.subsec_nanos() as u64)
}

/// A moment in four bytes: the number of a span of 2^24 ns, good to 17 ms, for more than two years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coarse(u32);

const COARSE_SHIFT: u32 = 24;

impl Coarse {
    /// The first that is not before `at`.
    pub fn not_before(at: Instant) -> Self {
        Self(u32::try_from(at.0.div_ceil(1 << COARSE_SHIFT)).unwrap_or(u32::MAX))
    }

    /// Its lower 17 bits, for whoever knows the moment to a quarter of an hour.
    pub fn low_bits(self) -> u32 {
        self.0 & ((1 << Self::LOW_BITS) - 1)
    }

    /// How many [`Coarse::low_bits`] has.
    pub const LOW_BITS: u32 = 17;

    /// The moment with these [`Coarse::low_bits`] that is nearest to this one.
    #[must_use]
    pub fn nearest(self, low: u32) -> Self {
        const REST: u32 = u32::BITS - Coarse::LOW_BITS;
        let ahead = (low << REST).wrapping_sub(self.0 << REST) as i32 >> REST;
        Self(self.0.saturating_add_signed(ahead))
    }

    /// How many of its spans have passed since `earlier`; a quarter of an hour and all that is longer are the same.
    pub fn since(self, earlier: Self) -> u16 {
        u16::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(u16::MAX)
    }

    /// The moment so many of its spans before.
    #[must_use]
    pub fn before(self, spans: u16) -> Self {
        Self(self.0.saturating_sub(spans.into()))
    }

    /// The number of the second it lies in, if a second had 2^30 ns.
    pub fn second(self) -> u32 {
        self.0 >> (30 - COARSE_SHIFT)
    }
}

impl From<Instant> for Coarse {
    /// The last that is not after `at`.
    fn from(at: Instant) -> Self {
        Self(u32::try_from(at.0 >> COARSE_SHIFT).unwrap_or(u32::MAX))
    }
}

impl From<Coarse> for Instant {
    fn from(at: Coarse) -> Self {
        Self(u64::from(at.0) << COARSE_SHIFT)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
