//! Handshakes whose cookies are good no more, though their time is not over: those that have opened a connection, and those that
//! were reset.
//!
//! A cookie is all there is of a handshake that nobody remembers, so nothing in it tells its first use from its second. What does
//! is kept here for as long as a cookie lives, in eight octets. A bucket is a cache line whose entries stand in the order in which
//! they came, so that no entry needs a time: who comes pushes the oldest out.

use crate::wire::SeqNumber;

const WAYS: usize = 8;

/// The newest first.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Bucket([u64; WAYS]);

/// A set of flows, each with a sequence number that tells one handshake of a 4-tuple from the next.
///
/// An entry is all of the number and all of the 4-tuple's hash, which is that of the flow table, and has been computed anyway. A
/// number of ours is a MAC itself, so beyond what chooses the bucket one handshake is taken for another once in 2^45 times, and
/// nobody can bring it about. What is empty is zero, which stands for a handshake that is as unlikely.
#[derive(Debug)]
pub struct UsedHandshakes {
    buckets: Vec<Bucket>,
}

impl UsedHandshakes {
    /// Room for `limit` handshakes, in whole buckets; for none where it is zero.
    pub fn new(limit: u32) -> Self {
        let buckets = match (limit as usize).div_ceil(WAYS) {
            0 => 0,
            some => some.next_power_of_two(),
        };
        Self { buckets: vec![Bucket([0; WAYS]); buckets] }
    }

    /// Remembers a handshake of the flow with this hash.
    pub fn insert(&mut self, hash: u32, number: SeqNumber) {
        let Some(at) = self.bucket(hash) else { return };
        let (mark, Bucket(ways)) = (mark(hash, number), &mut self.buckets[at]);
        if ways.contains(&mark) {
            return renew(ways, mark);
        }
        let [a, b, c, d, e, f, g, _] = *ways;
        *ways = [mark, a, b, c, d, e, f, g];
    }

    /// Whether it was remembered. It does not matter how long ago: a number whose time is over is good for nothing anyway.
    pub fn contains(&self, hash: u32, number: SeqNumber) -> bool {
        self.bucket(hash).is_some_and(|at| self.buckets[at].0.contains(&mark(hash, number)))
    }

    fn bucket(&self, hash: u32) -> Option<usize> {
        self.buckets.len().checked_sub(1).map(|mask| hash as usize & mask)
    }
}

/// One that is there takes no second place.
#[cold]
fn renew(ways: &mut [u64; WAYS], mark: u64) {
    if let Some(place) = ways.iter().position(|&entry| entry == mark) {
        ways[..=place].rotate_right(1);
    }
}

fn mark(hash: u32, number: SeqNumber) -> u64 {
    u64::from(number.get()) << 32 | u64::from(hash)
}
