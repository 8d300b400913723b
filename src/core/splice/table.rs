//! Pairs that are translated where the stack runs: for those that have no XDP program, and for tests.

use super::{Carrier, Pair, PairId, Refusal, Side};
use crate::{time::Instant, wire::LinkHeader};

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

    /// Pairs in it.
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
}

impl Carrier for Table {
    fn take(&mut self, pair: &Pair) -> Option<PairId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.places.len()).ok().filter(|&index| index < self.limit)?;
                self.places.push(Place::default());
                index
            }
        };
        let place = &mut self.places[index as usize];
        place.pair = Some(pair.clone());
        Some(PairId::new(index, place.generation))
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
        let place = self.place(id)?;
        let pair = place.pair.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index());
        Some(pair)
    }
}
