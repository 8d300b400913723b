//! From 4-tuple to flow: one look-up finds a connection, a half-open one, or one in TIME-WAIT.

/// What a 4-tuple stands for; the number is an index into the slab of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// A connection.
    Connection(u32),
    /// A handshake under way.
    HalfOpen(u32),
    /// A connection that lingers until its old segments have left the network.
    TimeWait(u32),
}

impl Flow {
    /// The connection's index, where it is one.
    pub(super) fn connection(self) -> Option<u32> {
        if let Self::Connection(index) = self { Some(index) } else { None }
    }
}

const KIND_SHIFT: u32 = 30;
const INDEX_MASK: u32 = (1 << KIND_SHIFT) - 1;
/// The flow of an empty slot: no kind has the number 0.
const EMPTY: u32 = 0;

impl Flow {
    fn pack(self) -> u32 {
        let (kind, index) = match self {
            Self::Connection(index) => (1, index),
            Self::HalfOpen(index) => (2, index),
            Self::TimeWait(index) => (3, index),
        };
        debug_assert!(index <= INDEX_MASK, "a slab holds at most 2^30 values");
        kind << KIND_SHIFT | index
    }

    fn unpack(packed: u32) -> Option<Self> {
        let index = packed & INDEX_MASK;
        match packed >> KIND_SHIFT {
            1 => Some(Self::Connection(index)),
            2 => Some(Self::HalfOpen(index)),
            3 => Some(Self::TimeWait(index)),
            _ => None,
        }
    }
}

/// A hash in the lower half, and the flow in the upper.
#[derive(Clone, Copy)]
struct Slot(u64);

impl Slot {
    fn new(hash: u32, flow: u32) -> Self {
        Self(u64::from(flow) << 32 | u64::from(hash))
    }

    fn hash(self) -> u32 {
        self.0 as u32
    }

    fn flow(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Open addressing with linear probing, 8 bytes a slot, at most half full. The keys live with the flows.
///
/// The size is fixed at start, so no insertion ever moves the table, and the kernel backs a part of it when that is first used.
/// Removal closes the gap at once: there are no tombstones to slow later look-ups down.
#[derive(Debug)]
pub struct FlowTable {
    /// [`Slot`]s, as numbers: zeroed memory costs nothing until it is touched.
    slots: Box<[u64]>,
    len: usize,
    /// Flows that have ever been in the table, which stand all over it.
    added: u64,
}

impl FlowTable {
    /// A table for at most `limit` flows.
    pub fn new(limit: usize) -> Self {
        let slots = (2 * limit.max(1)).next_power_of_two();
        Self { slots: vec![0; slots].into_boxed_slice(), len: 0, added: 0 }
    }

    fn slot(&self, at: usize) -> Slot {
        Slot(self.slots[at])
    }

    /// Where the search for `hash` begins, for whoever wants to have it at hand.
    pub(super) fn home(&self, hash: u32) -> &u64 {
        &self.slots[hash as usize & self.mask()]
    }

    /// The flow that is likely to be found for `hash`: where the search begins, whosever it is.
    pub(super) fn guess(&self, hash: u32) -> Option<Flow> {
        Flow::unpack(Slot(*self.home(hash)).flow())
    }

    /// How many flows the table has seen: few of them are in a CPU's own cache, many are not, wherever they went since.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// The flow with this hash for which `is_it` is true. `hash` must be keyed, or strangers can make the probes long.
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(Flow) -> bool) -> Option<Flow> {
        let mut at = hash as usize & self.mask();
        loop {
            let slot = self.slot(at);
            let flow = Flow::unpack(slot.flow())?;
            if slot.hash() == hash && is_it(flow) {
                return Some(flow);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Adds a flow that is not in the table.
    ///
    /// # Panics
    /// Where the table holds its limit already: the slabs behind it have the same limits and refuse first.
    pub fn insert(&mut self, hash: u32, flow: Flow) {
        assert!(2 * (self.len + 1) <= self.slots.len(), "the slabs are full before the flow table is");
        let mut at = hash as usize & self.mask();
        while self.slot(at).flow() != EMPTY {
            at = (at + 1) & self.mask();
        }
        self.slots[at] = Slot::new(hash, flow.pack()).0;
        self.len += 1;
        self.added += 1;
    }

    /// Replaces a flow by another of the same 4-tuple.
    ///
    /// # Panics
    /// Where `old` is not in the table.
    pub fn replace(&mut self, hash: u32, old: Flow, new: Flow) {
        let at = self.position(hash, old);
        self.slots[at] = Slot::new(hash, new.pack()).0;
    }

    /// Removes a flow.
    ///
    /// # Panics
    /// Where it is not in the table.
    pub fn remove(&mut self, hash: u32, flow: Flow) {
        let mut gap = self.position(hash, flow);
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask();
            let slot = self.slot(at);
            if slot.flow() == EMPTY {
                break;
            }
            // A flow moves into the gap unless that would put it before the slot where its search begins.
            let home = slot.hash() as usize & self.mask();
            let distance_to_home = at.wrapping_sub(home) & self.mask();
            let distance_to_gap = at.wrapping_sub(gap) & self.mask();
            if distance_to_home >= distance_to_gap {
                self.slots[gap] = slot.0;
                gap = at;
            }
        }
        self.slots[gap] = 0;
        self.len -= 1;
    }

    fn position(&self, hash: u32, flow: Flow) -> usize {
        let packed = flow.pack();
        let mut at = hash as usize & self.mask();
        while self.slot(at).flow() != packed {
            assert!(self.slot(at).flow() != EMPTY, "{flow:?} is in the flow table");
            at = (at + 1) & self.mask();
        }
        at
    }
}
