//! Flows that are remembered: those that began at another backend than their row's home. The table is bounded and never
//! grows.
//!
//! An entry is a small row of its own. Until a segment has come that the SYN's sequence number announced, it is only
//! claimed that a flow has begun, and what else comes goes where it went before: a SYN with a forged source moves
//! nobody's flow.
//!
//! ```text
//!    key     flow hash (64)
//!    value   backend (16) | before (16) | heard (16) | asked (16) | isn (32) | service (29) | pinned, ended, confirmed
//! ```

use super::{
    backend::{Number, ServiceId},
    flow::{FlowHash, Kind},
    time_window::{Tick, Ticks},
};
use crate::wire::SeqNumber;
use std::{
    collections::{HashMap, hash_map},
    hash::{BuildHasherDefault, Hasher},
};

/// By how much the first segment that is heard may lie beyond the SYN: what may be sent unacknowledged at first, ten of
/// the largest segments there are on Ethernet, and some. Of all sequence numbers this is one in 32,768.
const ANNOUNCED: u32 = 1 << 17;

/// A flow that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose flow it is.
    pub service: ServiceId,
    /// Where it goes.
    pub backend: Number,
    /// Where a flow of the same ends goes that was there before, until this one is confirmed.
    pub before: Option<Number>,
    /// The sequence number of its SYN; of its FIN or RST, once one has come.
    pub isn: SeqNumber,
    /// When it last spoke.
    pub heard: Tick,
    /// When its SYN came.
    pub asked: Tick,
    /// Whether a segment has come that the SYN announced.
    pub confirmed: bool,
    /// Whether a FIN or RST has come.
    pub ended: bool,
    /// Whether it was entered on purpose, and not by a SYN.
    pub pinned: bool,
}

const CONFIRMED: u32 = 1;
const ENDED: u32 = 1 << 1;
const PINNED: u32 = 1 << 2;
const FLAGS: u32 = 3;

impl Entry {
    /// The entry as it is kept, in native order.
    pub fn to_bits(self) -> u128 {
        let flag = |is: bool, flag| if is { flag } else { 0 };
        let flags = flag(self.confirmed, CONFIRMED) | flag(self.ended, ENDED) | flag(self.pinned, PINNED);
        let halves = [self.backend.get(), self.before.map_or(0, Number::get), self.heard.get(), self.asked.get()];
        let words = u128::from(self.isn.get()) << 64 | u128::from(self.service.0 << FLAGS | flags) << 96;
        halves.into_iter().rev().fold(0, |bits, half| bits << 16 | u128::from(half)) | words
    }

    /// The entry that is kept so; `None` where it has no backend.
    pub fn from_bits(bits: u128) -> Option<Self> {
        let half = |index: u32| (bits >> (16 * index)) as u16;
        let last = (bits >> 96) as u32;
        Some(Self {
            backend: Number::new(half(0))?,
            before: Number::new(half(1)),
            heard: Tick::new(half(2)),
            asked: Tick::new(half(3)),
            isn: SeqNumber::new((bits >> 64) as u32),
            service: ServiceId(last >> FLAGS),
            confirmed: last & CONFIRMED != 0,
            ended: last & ENDED != 0,
            pinned: last & PINNED != 0,
        })
    }

    /// Whether a handshake may still be under way.
    fn is_asking(&self, tick: Tick, windows: &Ticks) -> bool {
        !self.confirmed && !tick.is_beyond(self.asked, windows.handshake)
    }

    /// Whether nothing more is to be expected of any flow it stands for.
    pub(super) fn is_over(&self, tick: Tick, windows: &Ticks) -> bool {
        if self.is_asking(tick, windows) {
            return false;
        }
        let window = match (self.confirmed, self.before) {
            (false, None) => return true,
            (false, Some(_)) => windows.silence,
            (true, _) if self.ended => windows.closing,
            (true, _) => windows.silence,
        };
        tick.is_beyond(self.heard, window)
    }

    /// Whether a packet that is no SYN belongs to the flow that the SYN announced.
    pub(super) fn is_announced(&self, kind: Kind, tick: Tick, windows: &Ticks) -> bool {
        let begins = self.isn.advance(1);
        self.confirmed
            || self.is_asking(tick, windows) && kind.seq().is_some_and(|seq| seq.in_window(begins, ANNOUNCED))
    }

    /// What is known once a packet has come that belongs to it. A FIN or RST is believed until a segment comes that is
    /// nowhere near: then it was forged.
    pub(super) fn spoken(self, kind: Kind) -> Self {
        let (ended, isn) = match kind {
            Kind::Fin(seq) | Kind::Rst(seq) => (true, seq),
            Kind::Segment(seq) => (self.ended && seq.in_window(self.isn.back(ANNOUNCED), 2 * ANNOUNCED), self.isn),
            _ => (self.ended, self.isn),
        };
        Self { confirmed: true, before: None, ended, isn, ..self }
    }

    /// Where the flow goes that is known for certain.
    pub(super) fn established(&self) -> Option<Number> {
        if self.confirmed { Some(self.backend) } else { self.before }
    }

    /// Whether this is the SYN of which it speaks, once more, while it counts.
    pub(super) fn is_repeated(&self, isn: SeqNumber, tick: Tick, windows: &Ticks) -> bool {
        self.isn == isn && (self.confirmed || self.is_asking(tick, windows))
    }

    /// What is left of it once its handshake has come to nothing.
    pub(super) fn settled(self, tick: Tick, windows: &Ticks) -> Self {
        match self.before {
            Some(before) if !self.confirmed && !self.is_asking(tick, windows) => {
                Self { backend: before, before: None, confirmed: true, ended: false, ..self }
            }
            _ => self,
        }
    }
}

/// The keys are keyed hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are 64-bit numbers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// All flows that are remembered, of all services.
#[derive(Debug)]
pub(super) struct Exceptions {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsItIs>>,
    limit: usize,
}

impl Exceptions {
    pub fn new(limit: usize) -> Self {
        // Twice the room: so a map that has seen many come and go tidies up where it is, and never moves.
        Self { entries: HashMap::with_capacity_and_hasher(2 * limit, BuildHasherDefault::default()), limit }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn get(&self, hash: FlowHash) -> Option<&Entry> {
        self.entries.get(&hash.get())
    }

    /// Whether one may be entered for this flow: there is room, or it has one.
    pub fn has_room(&self, hash: FlowHash) -> bool {
        self.entries.len() < self.limit || self.entries.contains_key(&hash.get())
    }

    /// Enters a flow; false where there is no room.
    pub fn enter(&mut self, hash: FlowHash, entry: Entry) -> bool {
        let len = self.entries.len();
        match self.entries.entry(hash.get()) {
            hash_map::Entry::Occupied(mut there) => _ = there.insert(entry),
            hash_map::Entry::Vacant(_) if len >= self.limit => return false,
            hash_map::Entry::Vacant(free) => _ = free.insert(entry),
        }
        true
    }

    pub fn remove(&mut self, hash: FlowHash) -> Option<Entry> {
        self.entries.remove(&hash.get())
    }

    /// Keeps of each entry what `left` says.
    pub fn review(&mut self, mut left: impl FnMut(FlowHash, Entry) -> Option<Entry>) {
        self.entries.retain(|&hash, entry| match left(FlowHash::from_bits(hash), *entry) {
            Some(kept) => {
                *entry = kept;
                true
            }
            None => false,
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = (FlowHash, Entry)> {
        self.entries.iter().map(|(&hash, &entry)| (FlowHash::from_bits(hash), entry))
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
