//! Which pair a segment is of: `bpf/splice_find.h`.

use super::record::ports_of;
use crate::{
    rng::SipKey,
    wire::FourTuple,
    xdp::{memory::SharedMemory, steer::address_octets},
};
use std::{
    hash::Hasher,
    sync::atomic::{AtomicU32, Ordering},
};

/// Entries of a bucket, which is a line of a cache.
const BUCKET: usize = 16;
/// Bits of an entry that name a pair and a side; the others are of its hash.
const NUMBER_BITS: u32 = 24;
/// Pairs that can be named.
pub(super) const MOST_PAIRS: u32 = 1 << (NUMBER_BITS - 1);

/// What ends are hashed by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashing {
    pub keys: [u64; 6],
    pub mask: u32,
}

impl Hashing {
    /// For an index of so many pairs, in which at most every second entry is one's.
    pub fn new(capacity: u32, key: &SipKey) -> Self {
        let buckets = (2 * 2 * capacity as usize).div_ceil(BUCKET).next_power_of_two();
        let key = |number: usize| key.hash(|hasher| hasher.write_usize(number)) | 1;
        Self { keys: std::array::from_fn(key), mask: buckets as u32 - 1 }
    }

    pub fn buckets(&self) -> u32 {
        self.mask + 1
    }

    /// As `hash_splice`.
    fn hash(&self, tuple: &FourTuple) -> u64 {
        let halves = |address| {
            let octets = address_octets(address);
            [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|octet| octets[at + octet])))
        };
        let ([a, b], [c, d]) = (halves(tuple.local.address), halves(tuple.remote.address));
        let words = [a, b, c, d, ports_of(tuple).into()];
        let sum = words
            .iter()
            .zip(self.keys)
            .fold(self.keys[5], |sum, (&word, key)| sum.wrapping_add(word.wrapping_mul(key)));
        let mixed = (sum ^ sum >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 32
    }

    /// Where an end may be, as places of first entries; and what names it there.
    fn places(&self, tuple: &FourTuple, number: u32) -> ([usize; 2], u32) {
        let hash = self.hash(tuple);
        let bucket = |shift: u32| ((hash >> shift) as u32 & self.mask) as usize * BUCKET;
        let tag = (hash as u8).max(1);
        ([bucket(8), bucket(36)], u32::from(tag) << NUMBER_BITS | number)
    }
}

/// The index. Several workers write to it, each the entries of its own pairs.
#[derive(Debug)]
pub(super) struct Index {
    pub hashing: Hashing,
    entries: SharedMemory<AtomicU32>,
}

impl Index {
    /// Entries of a map of so many buckets, the last of which is none: it says whether there [was a claim](Self::note_claim).
    pub const fn entries_of(buckets: u32) -> usize {
        (buckets as usize + 1) * BUCKET
    }

    /// There are flows of the stack's at addresses that are not, or will be. Only from now on programs look for such, and for pairs that
    /// have come of them.
    pub fn note_claim(&self) {
        self.entries.as_slice()[self.hashing.buckets() as usize * BUCKET].store(1, Ordering::Release);
    }

    pub fn new(hashing: Hashing, entries: SharedMemory<AtomicU32>) -> Self {
        Self { hashing, entries }
    }

    /// Enters the end of a pair whose record is written; whether there was room.
    pub fn enter(&self, tuple: &FourTuple, number: u32) -> bool {
        let (mut places, entry) = self.hashing.places(tuple, number);
        let bucket = |place: usize| &self.entries.as_slice()[place..place + BUCKET];
        let taken = |place: &usize| bucket(*place).iter().filter(|it| it.load(Ordering::Relaxed) != 0).count();
        places.sort_by_key(taken);
        // Whoever sees the entry sees the record as well.
        let enter = |it: &AtomicU32| it.compare_exchange(0, entry, Ordering::Release, Ordering::Relaxed).is_ok();
        places.into_iter().flat_map(bucket).any(enter)
    }

    /// Takes an end out again.
    pub fn remove(&self, tuple: &FourTuple, number: u32) {
        let (places, entry) = self.hashing.places(tuple, number);
        let entries = places.into_iter().flat_map(|place| &self.entries.as_slice()[place..place + BUCKET]);
        entries.take(2 * BUCKET).any(|it| it.compare_exchange(entry, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok());
    }
}
