//! Handshakes whose cookies are good no more, though their time is not over: those that have opened a connection, and those that
//! were reset.
//!
//! A cookie is all there is of a handshake that nobody remembers, so nothing in it tells its first use from its second. What does
//! is kept here for as long as a cookie lives, in eight octets: the first of them are a fingerprint, the rest a time. A bucket is
//! a cache line, and the oldest of its entries makes room for a newer one.

use crate::{
    time::{Coarse, Instant},
    wire::SeqNumber,
};

const WAYS: usize = 8;
const TIME: u64 = 0xffff;

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Bucket([u64; WAYS]);

/// A set of flows, each with a sequence number that tells one handshake of a 4-tuple from the next.
///
/// The fingerprint has all of the number and 16 bits of the 4-tuple's hash, besides those that choose the bucket. A number of ours
/// is a MAC itself, so one handshake is taken for another once in 2^45 times, and nobody can bring it about.
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
    pub fn insert(&mut self, now: Instant, hash: u32, number: SeqNumber) {
        let Some(at) = self.bucket(hash) else { return };
        let (now, mark) = (time(now), fingerprint(hash, number));
        let age = |entry: &u64| now.wrapping_sub(*entry as u16);
        let ways = &mut self.buckets[at].0;
        // Its own place, an empty one, or the oldest.
        let rank = |entry: &u64| (*entry & !TIME == mark, *entry == 0, age(entry));
        if let Some(place) = ways.iter_mut().max_by_key(|entry| rank(entry)) {
            *place = mark | u64::from(now);
        }
    }

    /// Whether it was remembered. It does not matter how long ago: a number whose time is over is good for nothing anyway.
    pub fn contains(&self, hash: u32, number: SeqNumber) -> bool {
        let mark = fingerprint(hash, number);
        self.bucket(hash).is_some_and(|at| self.buckets[at].0.iter().any(|entry| entry & !TIME == mark))
    }

    fn bucket(&self, hash: u32) -> Option<usize> {
        self.buckets.len().checked_sub(1).map(|mask| hash as usize & mask)
    }
}

fn fingerprint(hash: u32, number: SeqNumber) -> u64 {
    u64::from(number.get()) << 32 | u64::from(hash >> 16) << 16
}

/// Spans of about a second, for 19 hours: after that the old are taken for young, and are replaced a little later.
fn time(now: Instant) -> u16 {
    Coarse::from(now).second() as u16
}
