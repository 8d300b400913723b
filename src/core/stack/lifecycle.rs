//! How connections come, what follows from each thing that happens to them, and how they go.

use super::{
    ConnectionId, Event, ListenerId, SoftError, Stack, connections::Entry, flow_table::Flow, time_wait::TimeWait,
};
use crate::{
    config::TcpConfig,
    drops::DropReason,
    prefetch::prefetch,
    tcp::{CloseReason, Connection, Handshake, Signals, State},
    time::Instant,
    wire::TcpFlags,
};

/// Of entries in TIME-WAIT that make room for others, this one's memory is fetched while the ones before it go.
const EVICTED_SOON: u32 = 8;

impl Entry {
    /// The application has heard of this.
    pub fn told(&mut self, event: Event) {
        match event {
            Event::SoftError(_, trouble) => self.untold.remove(trouble),
            _ => self.ready_queued = false,
        }
    }
}

impl Stack {
    pub(super) fn entry_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.connections.find_mut(id)
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
        let established = Connection::established(handshake, now, &self.config.tcp);
        let index = self.add_connection(now, established, hash, listener).ok_or(DropReason::ConnectionLimit)?;
        self.connections.listen_to(now, index);
        self.heed_path_mtu(now, index);
        Ok(index)
    }

    /// Takes in a connection that has just reached ESTABLISHED; `None` at the limit. Its flow is the caller's business.
    fn add_connection(&mut self, now: Instant, connection: Connection, hash: u32, listener: ListenerId) -> Option<u32> {
        let id = self.insert(now, connection, hash)?;
        self.connections.set_listener(id.index, listener);
        self.announce(Event::Accepted(id, listener));
        Some(id.index)
    }

    fn announce(&mut self, event: Event) {
        self.stats.connections_opened += 1;
        self.backlog += 1;
        self.events.push_back(event);
    }

    /// The application has been told of something. Where that was the end of the data of a connection that the protocol needs no
    /// more, it is told next that the connection is no more, whether it looks or not.
    pub(super) fn note_told(&mut self, id: ConnectionId, event: Event) {
        let Some(entry) = self.entry_mut(id) else { return };
        entry.told(event);
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

    pub(super) fn insert(&mut self, now: Instant, connection: Connection, hash: u32) -> Option<ConnectionId> {
        // Who has said nothing yet loses least, and is no loss.
        if self.connections.is_out_of_places() {
            return None; // and nobody has to go in vain
        }
        if self.connections.is_full() && !self.evict_silent(now) {
            self.evict_stalled(now);
        }
        let tuple = *connection.tuple();
        let id = self.connections.insert(connection, hash)?;
        self.note_growth(now, id.index);
        self.watch.opened(&tuple);
        Some(id)
    }

    pub(super) fn connection_timer_expired(&mut self, now: Instant, index: u32) {
        // The wheel's deadline is the earliest the connection ever had; meanwhile it may have moved, or gone.
        let deadline = self.connections.deadline(index).unwrap_or(Instant::NEVER);
        if deadline > now {
            self.connections.will_be_called(index, deadline);
            if deadline != Instant::NEVER {
                self.timers.arm(index, deadline);
            }
            return;
        }
        self.connections.will_be_called(index, Instant::NEVER);
        self.touch(now, index, |connection, config| connection.handle_timeout(now, config));
    }

    /// Does something to the connection at `index`, woken if it sleeps, and draws the consequences; `None` where there is none.
    #[inline]
    pub(super) fn touch<T>(
        &mut self,
        now: Instant,
        index: u32,
        act: impl FnOnce(&mut Connection, &TcpConfig) -> T,
    ) -> Option<T> {
        let entry = self.connections.get_mut(index)?;
        let done = act(&mut entry.connection, &self.config.tcp);
        self.settle(now, index);
        Some(done)
    }

    /// [`Stack::touch`] for the connection that `id` means.
    pub(super) fn touch_id<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, &TcpConfig) -> T,
    ) -> Option<T> {
        self.entry_mut(id)?;
        self.touch(now, id.index, act)
    }

    /// Draws the consequences of whatever has just been done to a connection, for [`Stack::touch`] and whoever cannot use that: events
    /// for the application, a turn to send, and its end.
    pub(super) fn settle(&mut self, now: Instant, index: u32) {
        let Some(entry) = self.connections.get_mut(index) else { return };
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
            self.heed_path_mtu(now, index);
        }
        if is_first_news {
            self.events.push_back(Event::Ready(id));
        }
        if signals.intersects(Signals::OTHER_LINK | Signals::UNANSWERED) {
            self.confirm_way_of(now, id);
        }
        if signals.contains(Signals::R1_REACHED) {
            self.look_for_another_way_of(now, id);
        }
        if changes_stall {
            self.note_stall(now, id, is_stalled);
        }
        if matches!(state, State::TimeWait | State::Closed) {
            self.conclude(now, id);
        }
    }

    /// Somebody has sent a segment by another way, and proved nothing; or nobody answers: the neighbours must know.
    fn confirm_way_of(&mut self, now: Instant, id: ConnectionId) {
        let Some(entry) = self.entry_mut(id) else { return };
        let remote = entry.connection.tuple().remote.address;
        self.confirm_way(now, id, remote);
    }

    /// R1 of RFC 9293 §3.8.3: the way to the peer may have changed, and the application should know.
    fn look_for_another_way_of(&mut self, now: Instant, id: ConnectionId) {
        let Some(entry) = self.entry_mut(id) else { return };
        let remote = entry.connection.tuple().remote.address;
        self.look_for_another_way(now, id, remote);
        self.tell(id.index, SoftError::ExcessiveRetransmission);
    }

    /// The protocol needs the connection no more.
    fn conclude(&mut self, now: Instant, id: ConnectionId) {
        let entry = &mut self.connections[id.index];
        let was_attached = std::mem::replace(&mut entry.attached, false);
        let reason = entry.connection.end().unwrap_or(CloseReason::Finished);
        if was_attached {
            if entry.connection.state() == State::TimeWait {
                self.enter_time_wait(now, id.index);
            } else {
                self.leave(now, id.index, reason);
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
            if let Some(later) = self.time_wait.behind_oldest(EVICTED_SOON) {
                prefetch(self.flows.home(later.hash().slot));
                self.watch.closes_soon(later.name);
            }
        }
        let connection = &self.connections[index].connection;
        let (tuple, link) = (*connection.tuple(), *connection.link());
        let (hash, name) = (self.secrets.identify(&tuple), self.watch.name(&tuple));
        let owes_acknowledgment = connection.owes_acknowledgment();
        let entry = TimeWait::new((hash, name), connection.sequence(), connection.clocks(), connection.dscp());
        let (ip, tcp) = entry.acknowledgment(now, &tuple, &self.config.tcp);
        self.flows.remove(hash.slot, Flow::Connection(index));
        match self.time_wait.insert(entry, now) {
            Some(waiting) => self.flows.insert(hash.slot, Flow::TimeWait(waiting)),
            None => self.watch.closed(name),
        }
        // The control block goes, so the acknowledgment of the peer's FIN leaves as a reply, unless it left before: from CLOSING.
        if owes_acknowledgment && let Err(reason) = self.send_reply(&link, &ip, &tcp) {
            self.drops.count(reason);
        }
    }

    /// A TIME-WAIT entry that was taken out of its ring leaves the rest as well.
    pub(super) fn forget_time_wait(&mut self, index: u32, entry: &TimeWait) {
        self.flows.remove(entry.hash().slot, Flow::TimeWait(index));
        self.watch.closed(entry.name);
    }

    fn leave(&mut self, now: Instant, index: u32, reason: CloseReason) {
        let Entry { connection, hash, .. } = &self.connections[index];
        let (seq, ack) = connection.sequence();
        let (tuple, link) = (*connection.tuple(), *connection.link());
        let (dscp, timestamps) = (connection.dscp(), connection.clocks().map(|clocks| clocks.option(now)));
        self.flows.remove(*hash, Flow::Connection(index));
        self.watch.closed(self.watch.name(&tuple));
        if reason == CloseReason::Aborted
            && connection.knows_peer()
            && let Err(reason) =
                self.send_reset(&link, &tuple, (dscp, timestamps), (TcpFlags::RST | TcpFlags::ACK, seq, ack))
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

    /// Resets every connection: for a server that ends.
    pub fn abort_all(&mut self, now: Instant) {
        for index in self.connections.indices().collect::<Vec<_>>() {
            self.touch(now, index, |connection, _| connection.abort());
        }
    }
}
