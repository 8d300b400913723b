//! Who translates the segments of pairs.

use super::{Pair, Refusal, Side};
use crate::{
    time::Instant,
    wire::{FourTuple, LinkHeader},
};

/// Names a pair with its [`Carrier`], and no other one: an index that is used again comes with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId {
    index: u32,
    generation: u32,
}

impl PairId {
    /// The pair at an index, in the generation that it has there.
    #[inline]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// Its place with the carrier; used again when the pair is forgotten.
    #[inline]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which of the pairs that have had this place it is.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// A table of pairs whose segments are translated where they arrive; a [`Stack`](crate::stack::Stack) hands pairs over to it, and asks it
/// about those segments that come to the stack all the same, as they were on their way at that moment.
pub trait Carrier: Send {
    /// Takes a pair, and translates for it from now on; `None` where there is no room.
    fn take(&mut self, pair: &Pair) -> Option<PairId>;

    /// How a pair stands, with all that was learnt of it meanwhile; `None` where there is no such pair.
    fn look(&self, id: PairId) -> Option<Pair>;

    /// Makes of a frame of this pair that has come to the stack the frame for the other side, and says which side that is.
    ///
    /// # Errors
    /// [`Refusal`], as [`Pair::translate`]; [`Refusal::NotOurs`] where there is no such pair. Whoever is told [`Refusal::Over`] forgets the
    /// pair.
    fn translate(&mut self, now: Instant, id: PairId, frame: &mut [u8]) -> Result<Side, Refusal>;

    /// Says where one side's peer is reached from now on, and by packets of how many octets.
    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: u16);

    /// Translates no more, and forgets a pair; how it stood.
    fn forget(&mut self, id: PairId) -> Option<Pair>;

    /// Has the segments of a flow come to the stack from now on, although its local end is no address of the stack's: a connection that is
    /// opened in its client's name. `None` where there is no room. A pair of the same flow comes first, once it is taken.
    fn claim(&mut self, tuple: &FourTuple) -> Option<PairId>;

    /// For how many pairs and claims there is room.
    fn capacity(&self) -> usize;

    /// Has them come no longer.
    fn release(&mut self, id: PairId, tuple: &FourTuple);
}
