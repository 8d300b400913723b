//! Pairs that are translated where the stack runs: for those that have no XDP program, and for tests.

use super::{Carrier, Pair, PairId, Refusal, Side};
use crate::{
    time::Instant,
    wire::{FourTuple, LinkHeader},
};

/// One place, and which of the pairs that have had it is there, or comes next.
#[derive(Clone, Debug, Default)]
struct Place {
    generation: u32,
    pair: Option<Pair>,
}

/// A table of pairs in memory, with a limit.
#[derive(Clone, Debug)]
pub struct Table {
    places: Vec<Place>,
    /// Places that are free, the last one is used next.
    free: Vec<u32>,
    limit: u32,
}

impl Table {
    /// Room for at most `limit` pairs. Memory is taken as they come.
    pub const fn new(limit: u32) -> Self {
        Self { places: Vec::new(), free: Vec::new(), limit }
    }

    /// Pairs in it, and flows that are [claimed](Carrier::claim).
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A pair, for whoever translates beside the stack.
    pub fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        self.place(id)?.pair.as_mut()
    }

    fn place(&mut self, id: PairId) -> Option<&mut Place> {
        let place = self.places.get_mut(id.index() as usize)?;
        (place.generation == id.generation()).then_some(place)
    }

    /// A place that nobody has had in this generation.
    fn place_for(&mut self) -> Option<PairId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.places.len()).ok().filter(|&index| index < self.limit)?;
                self.places.push(Place::default());
                index
            }
        };
        Some(PairId::new(index, self.places[index as usize].generation))
    }

    fn leave(&mut self, id: PairId) {
        if let Some(place) = self.place(id) {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(id.index());
        }
    }
}

impl Carrier for Table {
    fn take(&mut self, pair: &Pair) -> Option<PairId> {
        let id = self.place_for()?;
        self.place(id)?.pair = Some(pair.clone());
        Some(id)
    }

    fn look(&self, id: PairId) -> Option<Pair> {
        let place = self.places.get(id.index() as usize).filter(|place| place.generation == id.generation())?;
        place.pair.clone()
    }

    fn translate(&mut self, now: Instant, id: PairId, frame: &mut [u8]) -> Result<Side, Refusal> {
        self.pair_mut(id).ok_or(Refusal::NotOurs)?.translate(now, frame)
    }

    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: u16) {
        if let Some(pair) = self.pair_mut(id) {
            pair.set_link(side, link, mtu);
        }
    }

    fn forget(&mut self, id: PairId) -> Option<Pair> {
        let pair = self.place(id)?.pair.take()?;
        self.leave(id);
        Some(pair)
    }

    /// Whoever drives the stack brings it all frames there are, so a place is all that it takes.
    fn claim(&mut self, _: &FourTuple) -> Option<PairId> {
        self.place_for()
    }

    fn capacity(&self) -> usize {
        self.limit as usize
    }

    fn release(&mut self, id: PairId, _: &FourTuple) {
        self.leave(id);
    }
}
