//! What the benchmarks share: two ends in one process, and frames that go from one to the other in memory.

#![allow(dead_code)] // each benchmark uses some of it

pub mod clock;
pub mod echo;
pub mod ours;
pub mod port;

/// The largest IP packet at either end, octets.
pub const MTU: usize = 1_500;

/// How much an application that receives in bulk reads at once, octets.
pub const BULK_READ: usize = 16 * 1_024;

/// How much data either end keeps for an application or for its peer, octets. Both stacks get the same.
#[derive(Clone, Copy, Debug)]
pub struct Buffers(pub usize);

impl Buffers {
    /// Enough for a request, and little enough for a million of them.
    pub const REQUEST: Self = Self(4 * 1_024);
    /// Enough to keep batches full, and little enough for a second-level cache.
    pub const BULK: Self = Self(256 * 1_024);
}

/// Work under way.
pub trait Load {
    /// Goes on for a batch each way. Returns how much is done, since it began: requests answered, octets received, or
    /// connections closed.
    fn step(&mut self) -> u64;

    /// Brings everything to its end, and proves that all connections took part.
    fn finish(self: Box<Self>) {}
}
