//! Which connections sleep: those that have been idle for longest, while more are awake than should be. Whoever is asked for wakes.

use super::{Body, Connections, Entry, NOWHERE, Slot};
use crate::{
    config::TcpConfig,
    tcp::{Connection, Cx, Dormant},
};

impl Entry {
    /// Whether it has had nothing to do before ([`Connections::mark_idle`]).
    #[inline]
    pub fn is_in_line_of_idle(&self) -> bool {
        self.idle_at.is_some()
    }

    /// What is left of it while it sleeps, if it can.
    fn suspend(&self, cx: Cx<'_>) -> Option<Dormant> {
        let is_wanted =
            self.ready_queued || self.transmit_queued || self.stalled.is_some() || !self.pending_errors.is_empty();
        let is_wanted = is_wanted || self.account.keeps() || self.via.is_some();
        if is_wanted || !self.attached { None } else { self.connection.suspend(cx) }
    }
}

impl Connections {
    /// The connection has nothing to do for now: once enough others are in that state it may be put to sleep.
    #[inline]
    pub fn mark_idle(&mut self, index: u32) {
        if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(index)
            && entry.idle_at.is_none()
        {
            entry.idle_at = self.idle.insert(index).ok();
        }
    }

    /// Those that may be put to sleep.
    #[cfg(test)]
    pub fn idle(&self) -> u32 {
        self.idle.len()
    }

    /// Puts those to sleep that have been idle for longest, while more are awake than should be. One that has something to do
    /// after all leaves the list until its next turn, so no turn of any connection is followed by more than one look at it.
    #[inline]
    pub fn suspend_idle(&mut self, cx: Cx<'_>) {
        while self.awake > self.max_awake
            && let Some(place) = self.idle.oldest()
            && let Some(index) = self.idle.remove(place)
        {
            if let Some(Slot { body: Body::Awake(entry), .. }) = self.slots.get_mut(index) {
                entry.idle_at = None;
            }
            self.suspend(cx, index);
        }
    }

    /// Puts one to sleep, where it can; whether it could.
    pub(in crate::stack) fn suspend(&mut self, cx: Cx<'_>, index: u32) -> bool {
        let Some(Slot { body, .. }) = self.slots.get_mut(index) else { return false };
        let Body::Awake(entry) = body else { return false };
        let Some(dormant) = entry.suspend(cx) else { return false };
        if let Body::Awake(entry) = std::mem::replace(body, Body::Asleep(dormant)) {
            if let Some(place) = entry.idle_at {
                self.idle.remove(place);
            }
            self.retire(entry);
        }
        true
    }

    #[cold]
    pub(super) fn wake(&mut self, index: u32, config: &TcpConfig) {
        let spare = self.spare.pop();
        let entry = spare.unwrap_or_else(|| self.block(Connection::blank(config)));
        let Some(slot) = self.slots.get_mut(index) else { return };
        // The slot is whole at every moment: the blank block goes in before it is filled.
        if let Body::Asleep(dormant) = std::mem::replace(&mut slot.body, Body::Awake(entry))
            && let Body::Awake(entry) = &mut slot.body
        {
            let interface = dormant.interface();
            let (mac, mtu) = self.links[interface.index()];
            entry.begin(slot.generation, slot.hash, interface);
            entry.connection.resume(slot.tuple, mac, dormant, config);
            // The link may have become narrower meanwhile.
            entry.connection.fit_link(mtu, config);
            // Who sleeps hears nothing, so these are still the first numbers.
            entry.silent = (slot.silent != NOWHERE).then(|| entry.connection.heard_up_to());
            self.awake += 1;
        }
    }
}
