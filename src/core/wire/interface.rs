//! Which of a host's interfaces a frame came in by, or leaves by.

use std::fmt;

/// One interface of a stack. It stands in every [`LinkHeader`](super::LinkHeader), though not on the wire, so whatever keeps the way
/// to a peer keeps the interface with it. A stack hands them out in order; the default is its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(u8);

impl InterfaceId {
    /// A stack's first interface, which it has had from the beginning.
    pub const FIRST: Self = Self(0);

    /// Interfaces a stack can tell from each other.
    pub const LIMIT: usize = 1 << u8::BITS;

    /// Number `index` of a stack's interfaces; `None` beyond [`InterfaceId::LIMIT`].
    pub fn at(index: usize) -> Option<Self> {
        u8::try_from(index).ok().map(Self)
    }

    /// Its number: 0 for the first.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {}", self.0)
    }
}
