//! The slots of `bpf/service.h`: a hash table with open addressing, written here while the XDP program reads it.
//!
//! An entry never moves. One that is taken out leaves its slot marked, so that searches go on to what lies behind it, until nothing
//! does. The word with the port and the action is written last: a slot is whole before it can be found.

use super::{
    super::{
        memory::SharedMemory,
        steer::{address_octets, types},
    },
    Action, SynAckFields,
    action::promised,
};
use crate::transport::Transport;
use std::{
    mem::{offset_of, size_of},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

const SLOT_BITS: u32 = 17;
/// Slots there are: well over twice as many as entries, so that most of these are where their hash points.
pub(crate) const SLOTS: usize = 1 << SLOT_BITS;
/// How far from where its hash points an entry may be.
pub(super) const MAX_PROBES: usize = 64;
/// Numbers that the hash takes.
pub(crate) const KEYS: usize = 3;

/// Words of a slot, and where they are.
const WORDS: usize = size_of::<types::service>() / 8;
/// What can be found by, besides the address, and what becomes of it.
const WHAT: usize = offset_of!(types::service, port) / 8;
const ANSWERS: usize = offset_of!(types::service, mss) / 8;
const NUMBER: usize = offset_of!(types::service, number) / 8;

// The words are put together by shifts: what is in one word, and where in it.
const _: () = {
    assert!(cfg!(target_endian = "little"), "bpf/parse.h is written for little-endian machines, too");
    assert!(size_of::<types::service>().is_multiple_of(8) && offset_of!(types::service, address) == 0);
    assert!(WHAT == 2 && offset_of!(types::service, port) == 16 && offset_of!(types::service, protocol) == 18);
    assert!(offset_of!(types::service, verdict) == 19 && offset_of!(types::service, action) == 20);
    assert!(offset_of!(types::service, mss) == 24 && offset_of!(types::service, window) == 26);
    assert!(offset_of!(types::service, window_scale) == 28 && offset_of!(types::service, hop_limit) == 29);
    assert!(offset_of!(types::service, sack) == 30 && offset_of!(types::service, traffic_class) == 31);
    assert!(offset_of!(types::service, number) == 32 && offset_of!(types::service, rest) == 36);
    assert!(offset_of!(types::service, portless) == 37 && offset_of!(types::service, promises) == 38);
};

const EMPTY: u32 = types::action::SLOT_EMPTY.0;
const FORGOTTEN: u32 = types::action::SLOT_FORGOTTEN.0;

/// What an entry is about. In this order, all ports of an address lie beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A port at an address.
    Port(IpAddr, u16, Transport),
    /// Everything to an address.
    Address(IpAddr),
    /// What claims to come from an address.
    Source(IpAddr),
}

/// The protocol of [`Key::Source`], `FROM_ADDRESS` of `bpf/service.h`.
const FROM_ADDRESS: u8 = 255;

impl Key {
    pub fn address(&self) -> IpAddr {
        let (Self::Port(address, ..) | Self::Address(address) | Self::Source(address)) = *self;
        address
    }

    /// The address's words, and port and protocol as they stand in a slot.
    fn words(&self) -> ([u64; 2], u32) {
        let octets = u128::from_le_bytes(address_octets(self.address()));
        let what = match *self {
            Self::Port(_, port, transport) => u32::from(port.to_be()) | u32::from(transport.number()) << 16,
            Self::Address(_) => 0,
            Self::Source(_) => u32::from(FROM_ADDRESS) << 16,
        };
        ([octets as u64, (octets >> 64) as u64], what)
    }
}

/// What a slot says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub action: Action,
    /// Whether the address is the stack's own.
    pub own: bool,
    /// A listener's number, a balanced service's, or a source's.
    pub number: u32,
    /// Of an address: for which protocols its port 0 is known.
    pub rest: u8,
}

impl Entry {
    fn action_word(&self) -> u32 {
        let action = match self.action {
            Action::Kernel => types::action::TO_KERNEL,
            Action::Stack => types::action::TO_STACK,
            Action::Balance { .. } => types::action::TO_BALANCE,
            Action::Translate { .. } => types::action::TO_TRANSLATE,
            Action::Clients { .. } => types::action::TO_CLIENTS,
            Action::Listener(_) => types::action::TO_LISTENER,
            Action::Guarded(_) => types::action::TO_GUARDED,
        };
        action.0
    }
}

/// What the slots are found by: random odd numbers that the program is loaded with.
#[derive(Clone, Copy)]
pub(crate) struct SlotKeys(pub [u64; KEYS]);

/// All slots. Any number of threads may read while one writes: that no two do is the caller's duty.
pub(crate) struct Table {
    words: SharedMemory<AtomicU64>,
    keys: SlotKeys,
}

/// No slot is free within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSlot;

impl Table {
    /// Words of memory that a table takes.
    pub const WORDS: usize = SLOTS * WORDS;

    /// A table in memory that is all zeros, of [`Table::WORDS`].
    pub fn new(words: SharedMemory<AtomicU64>, keys: SlotKeys) -> Self {
        Self { words, keys }
    }

    /// Enters a key, or changes what is said of it.
    pub fn insert(&self, key: Key, entry: &Entry) -> Result<(), NoSlot> {
        let slot = self.find(key).or_else(|| self.free_slot(key)).ok_or(NoSlot)?;
        let ([low, high], what) = key.words();
        let action = entry.action_word();
        self.store(slot, 0, low);
        self.store(slot, 1, high);
        let answers = entry.action.fields().as_ref().map_or(0, answers);
        let portless = matches!(entry.action, Action::Balance { portless: true, .. });
        let number = u64::from(entry.number) | u64::from(entry.rest) << 32 | u64::from(portless) << 40;
        let number = number | u64::from(promised(&entry.action)) << 48;
        // A SYN that is just being answered finds the promises and what they are, or none of them.
        if promised(&entry.action) == 0 {
            self.store(slot, NUMBER, number);
            self.store(slot, ANSWERS, answers);
        } else {
            self.store(slot, ANSWERS, answers);
            self.store(slot, NUMBER, number);
        }
        let verdict = if entry.own { types::verdict::REDIRECTED_OWN } else { types::verdict::REDIRECTED_SHARED };
        self.finish(slot, u64::from(what) | u64::from(verdict.0) << 24 | u64::from(action) << 32);
        Ok(())
    }

    /// Enters an address that nobody sends from.
    pub fn insert_source(&self, source: IpAddr) -> Result<(), NoSlot> {
        let key = Key::Source(source);
        let slot = self.find(key).or_else(|| self.free_slot(key)).ok_or(NoSlot)?;
        let ([low, high], what) = key.words();
        self.store(slot, 0, low);
        self.store(slot, 1, high);
        self.finish(slot, u64::from(what) | u64::from(types::action::NO_SOURCE.0) << 32);
        Ok(())
    }

    /// Takes a key out; whether it was there.
    pub fn remove(&self, key: Key) -> bool {
        let Some(mut slot) = self.find(key) else { return false };
        if self.action(self.behind(slot)) != EMPTY {
            self.finish(slot, u64::from(FORGOTTEN) << 32);
            return true;
        }
        // Nothing lies behind it, nor, then, behind marked slots before it.
        self.finish(slot, 0);
        loop {
            slot = slot.checked_sub(1).unwrap_or(SLOTS - 1);
            if self.action(slot) != FORGOTTEN {
                return true;
            }
            self.finish(slot, 0);
        }
    }

    /// The slot of a key: what `find_slot` of `bpf/service.h` does.
    fn find(&self, key: Key) -> Option<usize> {
        let ([low, high], what) = key.words();
        let is_it = |slot: usize| {
            let is_like = self.load(slot, 0) == low && self.load(slot, 1) == high;
            is_like && self.load(slot, WHAT) & 0xff_ffff == u64::from(what) && self.action(slot) != FORGOTTEN
        };
        self.probes(key).take_while(|&slot| self.action(slot) != EMPTY).find(|&slot| is_it(slot))
    }

    fn free_slot(&self, key: Key) -> Option<usize> {
        self.probes(key).find(|&slot| [EMPTY, FORGOTTEN].contains(&self.action(slot)))
    }

    /// Where a key may be, in the order in which it is looked for.
    fn probes(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let ([low, high], what) = key.words();
        let products = [low, high, what.into()].into_iter().zip(self.keys.0).map(|(word, key)| key.wrapping_mul(word));
        let first = (products.fold(0, u64::wrapping_add) >> (64 - SLOT_BITS)) as usize;
        (0..MAX_PROBES).map(move |number| (first + number) & (SLOTS - 1))
    }

    fn behind(&self, slot: usize) -> usize {
        (slot + 1) & (SLOTS - 1)
    }

    fn action(&self, slot: usize) -> u32 {
        (self.load(slot, WHAT) >> 32) as u32
    }

    fn load(&self, slot: usize, word: usize) -> u64 {
        self.words.as_slice()[slot * WORDS + word].load(Ordering::Relaxed)
    }

    fn store(&self, slot: usize, word: usize, value: u64) {
        self.words.as_slice()[slot * WORDS + word].store(value, Ordering::Relaxed);
    }

    /// Writes the word that makes the others count: release.
    fn finish(&self, slot: usize, value: u64) {
        self.words.as_slice()[slot * WORDS + WHAT].store(value, Ordering::Release);
    }
}

/// The word with what SYN-ACKs say.
fn answers(fields: &SynAckFields) -> u64 {
    let &SynAckFields { mss, window, window_scale, sack, hop_limit, traffic_class } = fields;
    let ([m0, m1], [w0, w1]) = (mss.to_le_bytes(), window.to_le_bytes());
    u64::from_le_bytes([m0, m1, w0, w1, window_scale, hop_limit, sack.into(), traffic_class])
}

#[cfg(test)]
impl Table {
    /// What a slot's memory says of a key, bit by bit: found as the program finds it.
    pub fn lookup(&self, key: Key) -> Option<(u64, u64, u64)> {
        self.find(key).map(|slot| (self.load(slot, WHAT) >> 24, self.load(slot, ANSWERS), self.load(slot, NUMBER)))
    }

    /// Slots that are neither empty nor free again, and those that are marked as free.
    pub fn taken_and_marked(&self) -> (usize, usize) {
        let count = |is: fn(u32) -> bool| (0..SLOTS).filter(|&slot| is(self.action(slot))).count();
        (count(|action| action > FORGOTTEN), count(|action| action == FORGOTTEN))
    }
}
