//! `struct guard` of `bpf/guard.h`, in memory shared with the program: settings that count from the moment they are written.

use super::{memory::SharedMemory, steer::types};
use crate::rng::SipKey;
use std::{
    mem::{offset_of, size_of},
    sync::atomic::{AtomicU32, Ordering},
};

/// The size of a field, which `field` names.
const fn size_of_field<T>(_field: fn(&types::guard) -> &T) -> usize {
    size_of::<T>()
}

/// Declares where settings of one word stand, in words. One that becomes larger in C does not compile here.
macro_rules! words {
    ($($name:ident = $field:ident;)*) => {
        $(pub const $name: usize = {
            assert!(size_of_field(|guard| &guard.$field) == 4);
            offset_of!(types::guard, $field) / 4
        };)*
    };
}

/// Where settings stand, in words of four bytes.
pub(super) mod at {
    use super::{offset_of, size_of_field, types};

    words! {
        ARMED = armed;
        EPOCH = epoch;
        WAY_OUT = way_out;
        CLOSED_BUDGET = closed_budget;
        OVERFLOWED = overflowed;
        BUCKET_MASK = bucket_mask;
        UNFINISHED = unfinished;
        TICK = tick;
        SHORT_GRACE = short_grace;
        PREFIX_BUDGET = prefix_budget;
        NEXT_EPOCH = next_epoch;
        MAC_HEAD = mac_head;
        MAC_TAIL = mac_tail;
        ANSWERS_HEAD = answers_head;
        ANSWERS_TAIL = answers_tail;
        KEPT_UNTIL = kept_until;
    }

    pub const SUSPECTS: usize = offset_of!(types::guard, suspects) / 4;
    pub const HASH_KEYS: usize = offset_of!(types::guard, hash_keys) / 4;
    pub const KEYS: usize = offset_of!(types::guard, keys) / 4;
}

/// Keys that the program holds at a time, by epoch.
pub(super) const EPOCH_KEYS: u64 = (size_of_field(|guard| &guard.keys) / size_of::<types::sip_key>()) as u64;
/// Keys of a flow's fingerprint.
pub(super) const HASH_KEYS: usize = size_of_field(|guard| &guard.hash_keys) / size_of::<u64>();

const WORDS_PER_KEY: usize = size_of::<types::sip_key>() / 4;

const _: () = {
    assert!(size_of::<types::guard>().is_multiple_of(4) && size_of_field(|guard| &guard.suspects) == 8);
    assert!(size_of::<types::sip_key>() == 16 && offset_of!(types::sip_key, low) == 0);
};

/// The settings of a loaded program.
#[derive(Debug)]
pub(super) struct Settings(SharedMemory<AtomicU32>);

impl Settings {
    /// Words of memory that they take.
    pub const WORDS: usize = size_of::<types::guard>() / 4;

    pub fn new(words: SharedMemory<AtomicU32>) -> Self {
        Self(words)
    }

    /// A word that others change as well.
    pub fn word(&self, at: usize) -> &AtomicU32 {
        &self.0.as_slice()[at]
    }

    pub fn get(&self, at: usize) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    pub fn set(&self, at: usize, value: u32) {
        self.word(at).store(value, Ordering::Release);
    }

    fn set_long(&self, at: usize, value: u64) {
        self.set(at, value as u32);
        self.set(at + 1, (value >> 32) as u32);
    }

    /// The last octets that addresses have from which nobody sends: bit n for n, modulo 64.
    pub fn set_suspects(&self, suspects: u64) {
        self.set_long(at::SUSPECTS, suspects);
    }

    /// What fingerprints are computed with.
    pub fn set_hash_keys(&self, keys: &[u64; HASH_KEYS]) {
        for (number, &key) in keys.iter().enumerate() {
            self.set_long(at::HASH_KEYS + 2 * number, key);
        }
    }

    /// The key of an epoch.
    pub fn set_epoch_key(&self, epoch: u64, key: SipKey) {
        let at = at::KEYS + (epoch % EPOCH_KEYS) as usize * WORDS_PER_KEY;
        for (word, bytes) in (at..).zip(key.to_bytes().chunks_exact(4)) {
            self.set(word, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
    }
}
