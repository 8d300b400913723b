//! The maps, and the share of one worker.

use super::{
    index::{Hashing, Index, MOST_PAIRS},
    record::{Origin, Record, WORDS},
};
use crate::{
    rng::SipKey,
    splice::{Carrier, Pair, PairId, Refusal, Side},
    time::{Instant, nanos},
    wire::{FourTuple, LinkHeader},
    xdp::{XdpError, guard::monotonic, memory::SharedMemory, refusal, steer::types},
};
use libbpf_rs::{MapHandle, MapType, libbpf_sys};
use std::{
    collections::VecDeque,
    io,
    mem::size_of,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
};

/// How long a place stays empty, in nanoseconds: a program that has found the pair of before may be at work on a frame of it, and must not
/// send that to the next pair's peer. That is a matter of microseconds.
const REST: u64 = 10_000_000;

/// Room for pairs, for programs that are loaded with it.
#[derive(Debug)]
pub struct SpliceTable {
    buckets: MapHandle,
    pairs: MapHandle,
    index: Index,
    /// The pairs twice, as there are fields of either size.
    words: SharedMemory<AtomicU32>,
    longs: SharedMemory<AtomicU64>,
    capacity: u32,
}

impl SpliceTable {
    /// Room for so many pairs, one at least.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`], or the kernel's, as where there is no memory.
    pub fn new(capacity: u32) -> Result<Self, XdpError> {
        refusal::listen();
        let capacity = capacity.clamp(1, MOST_PAIRS);
        let key = SipKey::random()
            .map_err(|error| XdpError::refused("draw a key for pairs of connections", io::Error::other(error)))?;
        let hashing = Hashing::new(capacity, &key);
        let create = |name, value: usize, entries| {
            let options = libbpf_sys::bpf_map_create_opts {
                sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
                map_flags: libbpf_sys::BPF_F_MMAPABLE,
                ..Default::default()
            };
            MapHandle::create(MapType::Array, Some(name), 4, value as u32, entries, &options)
                .map_err(|error| refusal::refused("make a map of pairs of connections", &error))
        };
        let buckets = create("splice_index", size_of::<types::splice_bucket>(), hashing.buckets() + 1)?;
        let pairs = create("splice_pairs", size_of::<types::splice_pair>(), capacity)?;
        let index = SharedMemory::of_map(buckets.as_fd(), Index::entries_of(hashing.buckets()))?;
        let words = SharedMemory::of_map(pairs.as_fd(), capacity as usize * WORDS)?;
        let longs = SharedMemory::of_map(pairs.as_fd(), capacity as usize * WORDS / 2)?;
        Ok(Self { buckets, pairs, index: Index::new(hashing, index), words, longs, capacity })
    }

    /// What ends are hashed by, as the program is told.
    pub(in crate::xdp) fn hashing(&self) -> types::splice_hashing {
        let Hashing { keys, mask } = self.index.hashing;
        types::splice_hashing { keys, mask, padding: 0 }
    }

    /// The maps by their names in the program.
    pub(in crate::xdp) fn maps(&self) -> [(&'static str, BorrowedFd<'_>); 2] {
        [("splice_index", self.buckets.as_fd()), ("splice_pairs", self.pairs.as_fd())]
    }

    /// For how many pairs there is room.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The share of one of `workers`, by its number from 0 on. `interfaces` has what the kernel calls each of a stack's interfaces, by
    /// their order; `now` is what the worker's clock shows at this moment.
    pub fn share(self: &Arc<Self>, number: u32, workers: u32, interfaces: Vec<u32>, now: Instant) -> Splices {
        let first = |number: u32| (u64::from(self.capacity) * u64::from(number) / u64::from(workers.max(1))) as u32;
        let range = first(number.min(workers))..first((number + 1).min(workers.max(1)));
        let origin = nanos(monotonic()).saturating_sub(now.as_nanos());
        let slots = vec![Slot::default(); range.len()];
        Splices {
            table: Arc::clone(self),
            free: range.clone().map(|index| (index, 0)).collect(),
            range,
            slots,
            origin: Origin { origin, interfaces },
        }
    }

    /// Nobody finds this pair any more.
    fn remove(&self, index: u32, pair: &Pair) {
        Side::BOTH.iter().for_each(|&side| self.index.remove(pair.tuple(side), number(index, side)));
    }

    fn record(&self, index: u32) -> Record<'_> {
        let at = index as usize * WORDS;
        Record {
            words: &self.words.as_slice()[at..at + WORDS],
            longs: &self.longs.as_slice()[at / 2..(at + WORDS) / 2],
        }
    }
}

/// Names a side of a pair in the index.
fn number(index: u32, side: Side) -> u32 {
    index << 1 | side as u32
}

/// What a worker knows of a place of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    generation: u32,
    holds: Holds,
}

/// What is in a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nothing,
    Pair,
    /// A flow of the stack's own, at an address that is not.
    Claim,
}

/// One worker's share of a [`SpliceTable`].
#[derive(Debug)]
pub struct Splices {
    table: Arc<SpliceTable>,
    range: Range<u32>,
    /// Places that are free, and since when; the one that was left first is used next.
    free: VecDeque<(u32, u64)>,
    slots: Vec<Slot>,
    origin: Origin,
}

impl Splices {
    /// For how many pairs there is room.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.holds == Holds::Pair).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pair of this id, if that is not stale.
    fn find(&self, id: PairId) -> Option<Record<'_>> {
        self.holds(id, Holds::Pair).then(|| self.table.record(id.index()))
    }

    fn holds(&self, id: PairId, what: Holds) -> bool {
        let slot = id.index().checked_sub(self.range.start).and_then(|at| self.slots.get(at as usize));
        slot.is_some_and(|slot| slot.holds == what && slot.generation == id.generation())
    }

    /// The place that is used next, if it has rested.
    fn place(&self) -> Option<u32> {
        let &(index, since) = self.free.front()?;
        (nanos(monotonic()) >= since + REST).then_some(index)
    }

    /// The place that is used next is used now.
    fn occupy(&mut self, holds: Holds) -> Option<PairId> {
        let (index, _) = self.free.pop_front()?;
        let slot = &mut self.slots[(index - self.range.start) as usize];
        slot.holds = holds;
        Some(PairId::new(index, slot.generation))
    }

    fn leave(&mut self, id: PairId) {
        let slot = &mut self.slots[(id.index() - self.range.start) as usize];
        *slot = Slot { generation: slot.generation.wrapping_add(1), holds: Holds::Nothing };
        self.free.push_back((id.index(), nanos(monotonic())));
    }
}

impl Carrier for Splices {
    fn take(&mut self, pair: &Pair) -> Option<PairId> {
        // What is free of cost comes first: where no interface is known this is asked for each pair, and in vain.
        let is_known = |side| self.origin.knows(pair.link(side).interface);
        if !Side::BOTH.into_iter().all(is_known) {
            return None;
        }
        let index = self.place()?;
        self.table.record(index).write(pair, &self.origin);
        let index_of = &self.table.index;
        if !index_of.enter(pair.tuple(Side::Client), number(index, Side::Client)) {
            return None;
        }
        if !index_of.enter(pair.tuple(Side::Backend), number(index, Side::Backend)) {
            index_of.remove(pair.tuple(Side::Client), number(index, Side::Client));
            return None;
        }
        self.occupy(Holds::Pair)
    }

    fn look(&self, id: PairId) -> Option<Pair> {
        Some(self.find(id)?.read(&self.origin))
    }

    fn translate(&mut self, now: Instant, id: PairId, frame: &mut [u8]) -> Result<Side, Refusal> {
        let record = self.find(id).ok_or(Refusal::NotOurs)?;
        let before = record.read(&self.origin);
        let mut after = before.clone();
        let side = after.translate(now, frame)?;
        record.learn(&before, &after, side.other(), &self.origin);
        Ok(side)
    }

    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: u16) {
        let Some(record) = self.find(id) else { return };
        let before = record.read(&self.origin);
        let mut after = before.clone();
        after.set_link(side, link, mtu);
        let [before, after] = [&before, &after].map(|pair| &pair.ends[side as usize]);
        record.point(before, after, side, &self.origin);
    }

    fn forget(&mut self, id: PairId) -> Option<Pair> {
        let pair = self.look(id)?;
        self.table.remove(id.index(), &pair);
        // What was learnt by a program that had found it just before.
        let pair = self.look(id)?;
        self.leave(id);
        Some(pair)
    }

    fn claim(&mut self, tuple: &FourTuple) -> Option<PairId> {
        let index = self.place()?;
        self.table.record(index).write_claim(tuple);
        if !self.table.index.enter(tuple, number(index, Side::Backend)) {
            return None;
        }
        self.table.index.note_claim();
        self.occupy(Holds::Claim)
    }

    fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn release(&mut self, id: PairId, tuple: &FourTuple) {
        if self.holds(id, Holds::Claim) {
            self.table.index.remove(tuple, number(id.index(), Side::Backend));
            self.leave(id);
        }
    }
}

impl Drop for Splices {
    /// Nobody forgets its pairs any more, so nothing is translated for them.
    fn drop(&mut self) {
        for (index, slot) in self.range.clone().zip(&self.slots) {
            let pair = || self.table.record(index).read(&self.origin);
            match slot.holds {
                Holds::Nothing => {}
                Holds::Pair => self.table.remove(index, &pair()),
                Holds::Claim => {
                    self.table.index.remove(pair().tuple(Side::Backend), number(index, Side::Backend));
                }
            }
        }
    }
}
