//! The flows that are known to be real, in memory that the XDP program reads: entered and taken out without a system call.
//!
//! A flow is a 16-bit tag in one of two buckets of eight. The second bucket follows from the first and the tag, so flows of the
//! same tag share both buckets or neither: any copy of the tag stands for any of them, and taking one out never hides another.
//! At the rated load half of all places are taken, and a stranger is taken for a flow with a probability below
//! 2 · 8 · ½ · 2^-16 ≈ 1.2 · 10^-4, which costs a look-up in user space and nothing else.

use super::{
    memory::SharedMemory,
    settings::{HASH_KEYS, Settings, at},
    steer::types,
};
use crate::{prefetch::prefetch, rng::SipKey};
use std::{
    hash::Hasher,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

const TAGS_PER_WORD: u32 = 4;
pub(super) const WORDS_PER_BUCKET: usize = size_of::<types::bucket>() / 8;
/// One in each lane.
const ONES: u64 = 0x0001_0001_0001_0001;

/// Buckets of a table that `flows` flows fill by half at most.
pub(super) fn buckets_for(flows: u32) -> u32 {
    flows
        .saturating_mul(2)
        .div_ceil(TAGS_PER_WORD * WORDS_PER_BUCKET as u32)
        .max(1)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
}

/// Where a flow's tag may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    tag: u64,
    buckets: [usize; 2],
}

/// The table. Clones share it; any number of threads may write at once.
#[derive(Clone, Debug)]
pub struct FlowFilter {
    words: Arc<SharedMemory<AtomicU64>>,
    /// Has the number of flows that found no room: while there are any, the program lets every stranger pass.
    settings: Arc<Settings>,
    keys: HashKeys,
}

impl FlowFilter {
    pub(super) fn new(words: SharedMemory<AtomicU64>, settings: Arc<Settings>, keys: HashKeys) -> Self {
        Self { words: Arc::new(words), settings, keys }
    }

    fn overflowed(&self) -> &AtomicU32 {
        self.settings.word(at::OVERFLOWED)
    }

    /// Enters the flow of segments from `remote` to `local`. The program lets them pass from now on.
    pub fn insert(&self, remote: SocketAddr, local: SocketAddr) {
        let place = self.place(self.name(remote, local));
        // The emptier bucket first, so that both fill evenly.
        let mut buckets = place.buckets;
        buckets.sort_by_key(|&bucket| self.taken(bucket));
        if !buckets.iter().any(|&bucket| self.exchange(bucket, 0, place.tag)) {
            self.overflowed().fetch_add(1, Ordering::Release);
        }
    }

    /// Takes a flow out that was entered.
    pub fn remove(&self, remote: SocketAddr, local: SocketAddr) {
        self.remove_named(self.name(remote, local));
    }

    /// Takes a flow out by its [name](FlowFilter::name), for whoever has kept no more than that.
    pub fn remove_named(&self, name: u64) {
        let place = self.place(name);
        if !place.buckets.iter().any(|&bucket| self.exchange(bucket, place.tag, 0)) {
            // It never found room, or another flow of its tag that did not has taken its copy: either way the sum is right.
            self.overflowed().fetch_sub(1, Ordering::Release);
        }
    }

    /// Has what [`FlowFilter::remove_named`] will look at fetched.
    pub fn prefetch(&self, name: u64) {
        for bucket in self.place(name).buckets {
            prefetch(self.bucket(bucket));
        }
    }

    /// Whether the program would let segments from `remote` to `local` pass.
    pub fn contains(&self, remote: SocketAddr, local: SocketAddr) -> bool {
        let place = self.place(self.name(remote, local));
        let listed = place.buckets.iter().any(|&bucket| {
            self.bucket(bucket).iter().any(|word| lane_of(word.load(Ordering::Acquire), place.tag).is_some())
        });
        listed || self.overflowed().load(Ordering::Acquire) > 0
    }

    /// What a bucket's number is cut to.
    pub(super) fn bucket_mask(&self) -> u32 {
        (self.words.as_slice().len() / WORDS_PER_BUCKET - 1) as u32
    }

    /// Places there are.
    pub fn capacity(&self) -> usize {
        self.words.as_slice().len() * TAGS_PER_WORD as usize
    }

    /// Places taken: flows, but for those that found no room.
    pub fn len(&self) -> usize {
        (0..self.words.as_slice().len() / WORDS_PER_BUCKET).map(|bucket| self.taken(bucket)).sum()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bucket(&self, bucket: usize) -> &[AtomicU64] {
        &self.words.as_slice()[bucket * WORDS_PER_BUCKET..][..WORDS_PER_BUCKET]
    }

    fn taken(&self, bucket: usize) -> usize {
        let taken = |word: u64| (0..TAGS_PER_WORD).filter(|lane| word >> (16 * lane) & 0xffff != 0).count();
        self.bucket(bucket).iter().map(|word| taken(word.load(Ordering::Relaxed))).sum()
    }

    /// Replaces one tag in a bucket by another; whether it was there.
    fn exchange(&self, bucket: usize, old: u64, new: u64) -> bool {
        self.bucket(bucket).iter().any(|word| {
            // The program must see the tag before anything that follows from the flow's being open: release.
            let replace = |value: u64| lane_of(value, old).map(|lane| value ^ (old ^ new) << (16 * lane));
            word.fetch_update(Ordering::AcqRel, Ordering::Acquire, replace).is_ok()
        })
    }

    /// What the table knows of a flow: 48 bits, of which the upper 16 are the tag.
    pub fn name(&self, remote: SocketAddr, local: SocketAddr) -> u64 {
        let hash = self.keys.fingerprint(remote, local);
        hash >> 48 << 32 | hash & u64::from(u32::MAX)
    }

    fn place(&self, name: u64) -> Place {
        let mask = self.bucket_mask();
        let tag = ((name >> 32) as u16).max(1); // a lane of zero is an empty one
        let first = name as u32 & mask;
        let second = (first ^ u32::from(tag).wrapping_mul(0x5bd1_e995)) & mask;
        Place { tag: tag.into(), buckets: [first as usize, second as usize] }
    }
}

/// The first lane that holds `tag`.
fn lane_of(word: u64, tag: u64) -> Option<u32> {
    let difference = word ^ (tag * ONES);
    // The lowest bit set is the top bit of the first lane that is zero.
    let zeros = difference.wrapping_sub(ONES) & !difference & ONES << 15;
    (zeros != 0).then(|| zeros.trailing_zeros() / 16)
}

/// What a flow's fingerprint is computed with: multilinear hashing (Lemire and Kaser 2014), and a mixing step. It is universal
/// under keys that nobody else knows; and as nobody sees a hash either, it need not be more.
#[derive(Clone, Copy)]
pub(super) struct HashKeys([u64; Self::COUNT]);

impl HashKeys {
    /// One for the sum to begin with, one for the ports, and one for each word of two IPv6 addresses.
    pub const COUNT: usize = HASH_KEYS;

    pub fn derive(key: &SipKey) -> Self {
        Self(std::array::from_fn(|number| key.hash(|hasher| hasher.write_usize(number))))
    }

    pub fn as_array(&self) -> &[u64; Self::COUNT] {
        &self.0
    }

    /// The hash of what stands in a packet, word for word: the ports, and the addresses.
    fn fingerprint(&self, remote: SocketAddr, local: SocketAddr) -> u64 {
        let [begin, of_ports, of_addresses @ ..] = &self.0;
        let ([r0, r1], [l0, l1]) = (remote.port().to_be_bytes(), local.port().to_be_bytes());
        let ports = u32::from_ne_bytes([r0, r1, l0, l1]);
        let mut hash = begin.wrapping_add(of_ports.wrapping_mul(ports.into()));
        let mut add = |address: &[u8], keys: &[u64]| {
            for (word, key) in address.chunks_exact(4).zip(keys) {
                let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                hash = hash.wrapping_add(key.wrapping_mul(word.into()));
            }
        };
        let mut keys = &of_addresses[..];
        for end in [remote, local] {
            match end.ip() {
                IpAddr::V4(address) => add(&address.octets(), keys),
                IpAddr::V6(address) => add(&address.octets(), keys),
            }
            keys = &keys[if end.is_ipv4() { 1 } else { 4 }..];
        }
        hash = (hash ^ hash >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^ hash >> 32
    }
}

impl std::fmt::Debug for HashKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKeys(..)") // keys that can be logged are no keys
    }
}
