//! How connections come, what follows from each thing that happens to them, and how they go.

use super::{
    ConnectionId, Event, FlowHash, ListenerId, SoftError, Stack, connections::Entry, ends::MANY_RETRANSMISSIONS,
    flow_table::Flow, reset::bare, time_wait::TimeWait,
};
use crate::{
    drops::DropReason,
    prefetch::prefetch,
    tcp::{Cause, CloseReason, Connection, Cx, Handshake, Signals, State},
    time::Instant,
    wire::{FourTuple, TcpFlags},
};

/// How many evictions ahead the memory of a TIME-WAIT entry is prefetched.
const EVICTIONS_AHEAD: u32 = 8;

impl Entry {
    /// The application has taken this event.
    pub fn notified(&mut self, event: Event) {
        match event {
            Event::SoftError(_, error) => self.pending_errors.remove(error),
            _ => self.ready_queued = false,
        }
    }
}

impl Stack {
    pub(super) fn entry_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.connections.find_mut(id, &self.config.tcp)
    }

    /// Opens the connection that a handshake has agreed on; [`DropReason::ConnectionLimit`] at the limit. Its flow is the
    /// caller's business.
    pub(super) fn open_connection(
        &mut self,
        now: Instant,
        handshake: &Handshake,
        hash: u32,
        listener: ListenerId,
    ) -> Result<u32, DropReason> {
        let open = |cx: Cx<'_>| Connection::established(cx, handshake);
        let id = self.insert(now, handshake.tuple, hash, open).ok_or(DropReason::ConnectionLimit)?;
        self.connections.set_listener(id.index, listener);
        self.listeners.count(handshake.tuple.local, listener);
        self.announce(Event::Accepted(id, listener));
        self.connections.listen_to(now, id.index);
        self.apply_path_mtu(now, id.index);
        Ok(id.index)
    }

    fn announce(&mut self, event: Event) {
        self.stats.connections_opened += 1;
        self.backlog += 1;
        self.events.push_back(event);
    }

    /// The application has been told of something. Where that was the end of the data of a connection that the protocol needs no
    /// more, it is told next that the connection is no more, whether it looks or not.
    pub(super) fn note_notified(&mut self, id: ConnectionId, event: Event) {
        let Some(entry) = self.entry_mut(id) else { return };
        entry.notified(event);
        if !entry.attached {
            self.last_words = Some(id);
        }
    }

    /// Lets go of a connection that the protocol needs no more and whose application had the time to see that.
    pub(super) fn close_if_read(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entry_mut(id)
            && !entry.attached
        {
            self.release(id);
        }
    }

    /// Takes in the connection that `open` makes; `None` at the limit. Its flow is the caller's business.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        hash: u32,
        open: impl FnOnce(Cx<'_>) -> Connection,
    ) -> Option<ConnectionId> {
        // Who has said nothing yet loses least, and is no loss.
        if self.connections.is_out_of_places() {
            return None; // and nobody has to go in vain
        }
        if self.connections.is_full() && !self.evict_silent(now) {
            self.evict_stalled(now);
        }
        let cx = self.config.tcp.at(now);
        let id = self.connections.insert(tuple, hash, || open(cx))?;
        self.note_growth(now, id.index);
        self.observer.opened(&tuple);
        Some(id)
    }

    pub(super) fn connection_timer_expired(&mut self, now: Instant, index: u32) {
        // The wheel's deadline is the earliest the connection ever had; meanwhile it may have moved, or gone.
        let deadline = self.connections.deadline(index, &self.config.tcp).unwrap_or(Instant::NEVER);
        if deadline > now {
            self.connections.note_armed(index, deadline);
            if deadline != Instant::NEVER {
                self.timers.arm(index, deadline);
            }
            return;
        }
        self.connections.note_armed(index, Instant::NEVER);
        self.touch(now, index, |connection, cx| connection.handle_timeout(cx));
    }

    /// Does something to the connection at `index`, resumed if it was suspended, and what follows from that; `None` where there is
    /// none.
    #[inline]
    pub(super) fn touch<T>(
        &mut self,
        now: Instant,
        index: u32,
        act: impl FnOnce(&mut Connection, Cx<'_>) -> T,
    ) -> Option<T> {
        let cx = self.config.tcp.at(now);
        let entry = self.connections.get_mut(index, cx.config)?;
        let done = act(&mut entry.connection, cx);
        self.apply_effects(now, index);
        Some(done)
    }

    /// [`Stack::touch`] for the connection that `id` means.
    pub(super) fn touch_id<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, Cx<'_>) -> T,
    ) -> Option<T> {
        self.entry_mut(id)?;
        self.touch(now, id.index, act)
    }

    /// What follows from whatever has just been done to a connection: events for the application, a turn to send, and its end.
    /// [`Stack::touch`] calls this by itself. Who cannot use that, because two connections are at hand or the caller's code has one in
    /// its hands, calls it in the end; to forget that would be silent.
    pub(super) fn apply_effects(&mut self, now: Instant, index: u32) {
        let Some(entry) = self.connections.awake_mut(index) else { return };
        let id = ConnectionId { index, generation: entry.generation };
        let signals = entry.connection.take_signals();
        let is_stalled = entry.connection.is_stalled();
        let was_resized = entry.connection.was_resized();
        let state = entry.connection.state();
        if signals.is_empty()
            && entry.transmit_queued
            && state == State::Established
            && is_stalled == entry.stalled.is_some()
            && !was_resized
        {
            return; // it has had its turn in this batch already
        }
        if !entry.transmit_queued && !matches!(state, State::TimeWait | State::Closed) {
            entry.transmit_queued = true;
            self.interfaces[entry.connection.link().interface].turns.push(id);
        }
        let changes_stall = is_stalled != entry.stalled.is_some();
        let has_spoken = entry.has_spoken();
        let is_news = signals.intersects(Signals::READABLE | Signals::WRITABLE | Signals::URGENT);
        let is_first_news = is_news && !entry.ready_queued;
        entry.ready_queued |= is_news;
        if was_resized {
            self.charge(now, index);
        }
        if has_spoken {
            self.connections.leave_silent(index);
        }
        if signals.contains(Signals::OPENED) {
            self.announce(Event::Connected(id));
            // Nothing was measured but the handshake.
            let took = self.connections[index].connection.round_trip_time();
            took.into_iter().for_each(|took| self.timings.handshakes.count_one(took));
            self.apply_path_mtu(now, index);
        }
        if is_first_news {
            self.events.push_back(Event::Ready(id));
        }
        if signals.intersects(Signals::OTHER_LINK | Signals::UNANSWERED) {
            self.confirm_neighbour_of(now, id);
        }
        if signals.contains(Signals::OUT_OF_ORDER) {
            self.stats.segments_out_of_order += 1;
        }
        if signals.contains(Signals::R1_REACHED) {
            self.reprobe_neighbour_of(now, id);
        }
        if changes_stall {
            self.note_stall(now, id, is_stalled);
        }
        if matches!(state, State::TimeWait | State::Closed) {
            self.finish_protocol(now, id);
        }
    }

    /// A segment came from another link address and proved nothing by its numbers, or nobody answers: the next hop is asked.
    fn confirm_neighbour_of(&mut self, now: Instant, id: ConnectionId) {
        let Some(entry) = self.entry_mut(id) else { return };
        let remote = entry.connection.tuple().remote.address;
        self.confirm_neighbour(now, id, remote);
    }

    /// R1 of RFC 9293 §3.8.3: the next hop may have another address, and the application should know.
    fn reprobe_neighbour_of(&mut self, now: Instant, id: ConnectionId) {
        let Some(entry) = self.entry_mut(id) else { return };
        let remote = entry.connection.tuple().remote.address;
        self.reprobe_neighbour(now, id, remote);
        self.report_soft_error(now, id.index, SoftError::ExcessiveRetransmission);
    }

    /// The protocol needs the connection no more: TIME-WAIT or nothing takes its place in the flow table.
    fn finish_protocol(&mut self, now: Instant, id: ConnectionId) {
        let entry = &mut self.connections[id.index];
        let was_attached = std::mem::replace(&mut entry.attached, false);
        let reason = entry.connection.end().unwrap_or(CloseReason::Finished);
        if was_attached {
            if reason != CloseReason::Finished || entry.retransmitted >= MANY_RETRANSMISSIONS {
                self.ends.remember(now, entry);
            }
            if entry.connection.state() == State::TimeWait {
                self.enter_time_wait(now, id.index);
            } else {
                self.unlink(now, id.index, reason);
            }
        }
        self.release(id);
    }

    /// Lets go of a connection that the protocol needs no more. One that ended in order stays for its application until that has
    /// read everything and has been told so, or does not care.
    fn release(&mut self, id: ConnectionId) {
        let entry = &self.connections[id.index];
        let (connection, reason) = (&entry.connection, entry.connection.end().unwrap_or(CloseReason::Finished));
        let is_waited_for = !connection.is_discarding() && (connection.readable_len() > 0 || entry.ready_queued);
        if reason == CloseReason::Finished && is_waited_for {
            return;
        }
        let round_trip = connection.round_trip_time();
        round_trip.into_iter().for_each(|took| self.timings.round_trips.count_one(took));
        self.forget_stall(id);
        self.timers.cancel(id.index);
        self.connections.remove(id.index);
        self.events.push_back(Event::Closed(id, reason));
        self.count_closed(reason);
    }

    fn enter_time_wait(&mut self, now: Instant, index: u32) {
        if let Some((oldest, evicted)) = self.time_wait.make_room() {
            self.forget_time_wait(oldest, &evicted);
            self.drops.count(DropReason::TimeWaitEvicted);
            if let Some(later) = self.time_wait.behind_oldest(EVICTIONS_AHEAD) {
                prefetch(self.flows.home(later.hash().slot));
                self.observer.prefetch_close(later.fingerprint);
            }
        }
        let (connection, tunnel) = (&self.connections[index].connection, self.connections[index].tunnel());
        let (tuple, link) = (*connection.tuple(), *connection.link());
        let (hash, fingerprint) = (self.secrets.identify(&tuple), self.observer.fingerprint(&tuple));
        let owes_acknowledgment = connection.owes_acknowledgment();
        let entry = TimeWait::new(hash, fingerprint, connection);
        let (ip, tcp) = entry.acknowledgment(self.config.tcp.at(now), &tuple);
        self.flows.remove(hash.slot, Flow::Connection(index));
        match self.time_wait.insert(entry, now) {
            Some(waiting) => {
                self.flows.insert(hash.slot, Flow::TimeWait(waiting));
                self.crowd_out_claims(hash);
            }
            None => {
                self.observer.closed(fingerprint);
                self.parted.release(hash);
            }
        }
        // The control block goes, so the acknowledgment of the peer's FIN leaves as a reply, unless it left before: from CLOSING.
        if owes_acknowledgment && let Err(reason) = self.send_reply_in(tunnel, &link, &ip, &tcp) {
            self.drops.count(reason);
        }
    }

    /// A flow has begun to wait. If it is one at a client's address, and too many of these do, the oldest does so no more.
    fn crowd_out_claims(&mut self, hash: FlowHash) {
        if self.parted.has_claims()
            && let Some((tuple, oldest)) = self.parted.wait(hash)
            && let Some(Flow::TimeWait(index)) = self.find(&tuple, oldest)
        {
            let entry = *self.time_wait.get(index);
            self.time_wait.remove(index);
            self.forget_time_wait(index, &entry);
            self.drops.count(DropReason::TimeWaitEvicted);
        }
    }

    /// A TIME-WAIT entry that was taken out of its ring is taken out of the flow table and the observer's list as well.
    pub(super) fn forget_time_wait(&mut self, index: u32, entry: &TimeWait) {
        self.flows.remove(entry.hash().slot, Flow::TimeWait(index));
        self.observer.closed(entry.fingerprint);
        self.parted.release(entry.hash());
    }

    /// Takes a connection that has ended out of the flow table. Where we have reset it, its peer hears of that.
    fn unlink(&mut self, now: Instant, index: u32, reason: CloseReason) {
        let entry = &self.connections[index];
        let (Entry { connection, hash, .. }, tunnel) = (entry, entry.tunnel());
        let (tuple, link, dscp) = (*connection.tuple(), *connection.link(), connection.dscp());
        let (seq, ack) = connection.sequence();
        let mut rst = bare(&tuple, TcpFlags::RST | TcpFlags::ACK, seq, ack);
        rst.options.timestamps = connection.clocks().map(|clocks| clocks.option(now));
        self.flows.remove(*hash, Flow::Connection(index));
        self.observer.closed(self.observer.fingerprint(&tuple));
        if self.parted.has_claims() {
            self.parted.release(self.secrets.identify(&tuple));
        }
        if reason == CloseReason::Aborted
            && connection.knows_peer()
            && let Err(reason) = self.send_reset((&link, tunnel), &tuple, dscp, rst)
        {
            self.drops.count(reason);
        }
    }

    fn count_closed(&mut self, reason: CloseReason) {
        let counter = match reason {
            CloseReason::Finished => &mut self.stats.connections_finished,
            CloseReason::ResetByPeer => &mut self.stats.connections_reset,
            CloseReason::TimedOut => &mut self.stats.connections_timed_out,
            CloseReason::Aborted => &mut self.stats.connections_aborted,
            CloseReason::Refused => &mut self.stats.connections_refused,
            CloseReason::Unreachable => &mut self.stats.connections_unreachable,
        };
        *counter += 1;
    }

    /// A call of the application has panicked, and that was contained. How many have by now.
    pub fn count_application_panic(&mut self) -> u64 {
        self.stats.application_panics += 1;
        self.stats.application_panics
    }

    /// The listener at which a connection was accepted, whether it still listens or not; `None` for one that we opened, or that is no
    /// more.
    pub fn listener_of(&self, id: ConnectionId) -> Option<ListenerId> {
        self.connections.listener_of(id)
    }

    /// The connection that has this [index](ConnectionId::index) now, if any.
    pub fn connection_at(&self, index: usize) -> Option<ConnectionId> {
        self.connections.id_at(u32::try_from(index).ok()?)
    }

    /// Resets every connection, and every pair that was handed on: for a server that ends.
    pub fn abort_all(&mut self, now: Instant) {
        for index in self.connections.indices().collect::<Vec<_>>() {
            self.touch(now, index, |connection, _| connection.abort_for(Cause::Shutdown));
        }
        self.reset_all_pairs();
    }
}
