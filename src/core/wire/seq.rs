//! Sequence numbers: a circle of 2^32 positions on which "before" only means "less than half a turn before".

use std::fmt;

/// A TCP sequence number (RFC 9293 §3.4). It has no `<`: ask what you mean instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqNumber(u32);

impl SeqNumber {
    /// The sequence number with this value on the wire.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The value on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The position `length` octets further on.
    #[must_use]
    pub const fn advance(self, length: u32) -> Self {
        Self(self.0.wrapping_add(length))
    }

    /// The position `length` octets back.
    #[must_use]
    pub const fn back(self, length: u32) -> Self {
        Self(self.0.wrapping_sub(length))
    }

    /// Octets from `earlier` forward to here, which is the whole circle's remainder where `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Signed distance from `other` to here.
    const fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// Whether this position lies strictly before `other`.
    pub const fn precedes(self, other: Self) -> bool {
        self.distance(other) < 0
    }

    /// Whether this position is `other` or lies before it.
    pub const fn at_or_before(self, other: Self) -> bool {
        self.distance(other) <= 0
    }

    /// Whether this position is one of the `length` octets that begin at `start`.
    pub const fn in_window(self, start: Self, length: u32) -> bool {
        self.since(start) < length
    }

    /// The later of the two positions.
    #[must_use]
    pub const fn latest(self, other: Self) -> Self {
        if self.precedes(other) { other } else { self }
    }

    /// The earlier of the two positions.
    #[must_use]
    pub const fn earliest(self, other: Self) -> Self {
        if self.precedes(other) { self } else { other }
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
