//! Peers that keep their windows shut. One that reads slowly is nothing unusual, thousands that never read are an attack on memory
//! (sockstress, CERT-FI 2008): so those that are stalled are counted, and the one that has been for longest makes room.

use super::{ConnectionId, Stack};
use crate::{tcp::Cause, time::Instant};

impl Stack {
    /// Enters a connection into the list of those that are stalled, or takes it out.
    pub(super) fn note_stall(&mut self, now: Instant, id: ConnectionId, is_stalled: bool) {
        if !is_stalled {
            return self.forget_stall(id);
        }
        if self.stalled.is_full() {
            self.evict_stalled(now);
        }
        let slot = self.stalled.insert(id).ok();
        let Some(entry) = self.entry_mut(id) else { return };
        entry.stalled = slot;
        if slot.is_none() {
            self.evict(now, id); // not even one is allowed
        }
    }

    /// Takes a connection out of the list, where it is in it.
    pub(super) fn forget_stall(&mut self, id: ConnectionId) {
        let slot = self.entry_mut(id).and_then(|entry| entry.stalled.take());
        if let Some(slot) = slot {
            self.stalled.remove(slot);
        }
    }

    /// Resets the connection that has been stalled for longest, where there is one.
    pub(super) fn evict_stalled(&mut self, now: Instant) {
        let oldest = self.stalled.oldest().and_then(|slot| self.stalled.get_mut(slot).copied());
        if let Some(id) = oldest {
            self.evict(now, id);
        }
    }

    fn evict(&mut self, now: Instant, id: ConnectionId) {
        self.forget_stall(id);
        if self.touch_id(now, id, |connection, _| connection.abort_for(Cause::Stalled)).is_some() {
            self.stats.connections_evicted += 1;
        }
    }
}
