//! A table of pairs that two look into: whoever translates frames where they arrive, and the stack for those that come to it.

use std::sync::{Arc, Mutex, MutexGuard};
use xskip_core::{
    splice::{Carrier, Pair, PairId, Refusal, Side, Table},
    time::Instant,
    wire::{FourTuple, LinkHeader},
};

/// What both have seen.
#[derive(Debug)]
pub struct Seen {
    table: Table,
    pub translated: u64,
    pub refused: Vec<Refusal>,
}

#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Seen>>);

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Seen { table: Table::new(1), translated: 0, refused: Vec::new() })))
    }
}

impl Shared {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Carrier for Shared {
    fn take(&mut self, pair: &Pair) -> Option<PairId> {
        self.seen().table.take(pair)
    }

    fn look(&self, id: PairId) -> Option<Pair> {
        self.seen().table.look(id)
    }

    fn translate(&mut self, now: Instant, id: PairId, frame: &mut [u8]) -> Result<Side, Refusal> {
        let mut seen = self.seen();
        let translated = seen.table.translate(now, id, frame);
        match translated {
            Ok(_) => seen.translated += 1,
            Err(Refusal::NotOurs) => {}
            Err(refusal) => seen.refused.push(refusal),
        }
        translated
    }

    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: u16) {
        self.seen().table.point(id, side, link, mtu);
    }

    fn forget(&mut self, id: PairId) -> Option<Pair> {
        self.seen().table.forget(id)
    }

    fn claim(&mut self, tuple: &FourTuple) -> Option<PairId> {
        self.seen().table.claim(tuple)
    }

    fn capacity(&self) -> usize {
        1
    }

    fn release(&mut self, id: PairId, tuple: &FourTuple) {
        self.seen().table.release(id, tuple);
    }
}
