//! How connections come, what follows from each thing that happens to them, and how they go.

use super::{ConnectionId, Event, Stack, Trouble, flow_table::Flow, time_wait::TimeWait, trouble::Untold};
use crate::{
    drops::DropReason,
    tcp::{CloseReason, Connection, Handshake, Signals, State},
    time::Instant,
    wire::TcpFlags,
};

/// A connection with what the stack knows of it besides.
#[derive(Debug)]
pub(super) struct Entry {
    pub connection: Connection,
    pub generation: u32,
    /// The 4-tuple's hash, for leaving the flow table.
    pub hash: u32,
    /// Whether the flow table leads here. Once the protocol needs the connection no more it does not, though the application
    /// may have data to read still.
    pub attached: bool,
    pub ready_queued: bool,
    pub transmit_queued: bool,
    /// Where it stands in the list of those whose peers keep their windows shut.
    pub stalled: Option<u32>,
    /// What the application has not been told of yet.
    pub untold: Untold,
}

impl Entry {
    /// The application has heard of this.
    pub fn told(&mut self, event: Event) {
        match event {
            Event::Trouble(_, trouble) => self.untold.remove(trouble),
            _ => self.ready_queued = false,
        }
    }
}

impl Stack {
    pub(super) fn entry_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.connections.get_mut(id.index).filter(|entry| entry.generation == id.generation)
    }

    /// Opens the connection that a handshake has agreed on; [`DropReason::ConnectionLimit`] at the limit. Its flow is the
    /// caller's business.
    pub(super) fn open_connection(
        &mut self,
        now: Instant,
        handshake: &Handshake,
        hash: u32,
    ) -> Result<u32, DropReason> {
        let established = Connection::established(handshake, now, &self.config.tcp);
        let index = self.add_connection(now, established, hash).ok_or(DropReason::ConnectionLimit)?;
        self.heed_path_mtu(now, index);
        Ok(index)
    }

    /// Takes in a connection that has just reached ESTABLISHED; `None` at the limit. Its flow is the caller's business.
    fn add_connection(&mut self, now: Instant, connection: Connection, hash: u32) -> Option<u32> {
        let id = self.insert(now, connection, hash)?;
        self.announce(id);
        Some(id.index)
    }

    fn announce(&mut self, id: ConnectionId) {
        self.stats.connections_opened += 1;
        self.backlog += 1;
        self.events.push_back(Event::Opened(id));
    }

    pub(super) fn insert(&mut self, now: Instant, connection: Connection, hash: u32) -> Option<ConnectionId> {
        if self.connections.is_full() {
            self.evict_stalled(now);
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let (attached, ready_queued, transmit_queued, stalled) = (true, false, false, None);
        let untold = Untold::default();
        let entry = Entry { connection, generation, hash, attached, ready_queued, transmit_queued, stalled, untold };
        let tuple = *entry.connection.tuple();
        let index = self.connections.insert(entry).ok()?;
        self.watch.opened(&tuple);
        Some(ConnectionId { index, generation })
    }

    pub(super) fn connection_timer_expired(&mut self, now: Instant, index: u32) {
        let Some(entry) = self.connections.get_mut(index) else { return };
        entry.connection.handle_timeout(now, &self.config.tcp);
        self.settle(now, index);
    }

    /// Draws the consequences of whatever has just been done to a connection: events for the application, a turn to send, and
    /// its end.
    pub(super) fn settle(&mut self, now: Instant, index: u32) {
        let Some(entry) = self.connections.get_mut(index) else { return };
        let id = ConnectionId { index, generation: entry.generation };
        let signals = entry.connection.take_signals();
        if !signals.is_empty() {
            self.report(now, id, signals);
        }
        let entry = &self.connections[index];
        let is_stalled = entry.connection.is_stalled();
        if is_stalled != entry.stalled.is_some() {
            self.note_stall(now, id, is_stalled);
        }
        let Some(entry) = self.connections.get_mut(index) else { return };
        match entry.connection.state() {
            State::TimeWait | State::Closed => self.conclude(now, id),
            _ if !entry.transmit_queued => {
                entry.transmit_queued = true;
                self.transmit_queue.push_back(id);
            }
            _ => {}
        }
    }

    /// Tells the application what has happened.
    fn report(&mut self, now: Instant, id: ConnectionId, signals: Signals) {
        if signals.contains(Signals::OPENED) {
            self.announce(id);
            self.heed_path_mtu(now, id.index);
        }
        let entry = &mut self.connections[id.index];
        let is_news = signals.intersects(Signals::READABLE | Signals::WRITABLE | Signals::URGENT);
        if is_news && !entry.ready_queued {
            entry.ready_queued = true;
            self.events.push_back(Event::Ready(id));
        }
        if signals.contains(Signals::TROUBLED) {
            let remote = entry.connection.tuple().remote.address;
            self.look_for_another_way(now, id, remote);
            self.tell(id.index, Trouble::ExcessiveRetransmission);
        }
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
                self.leave(id.index, reason);
            }
        }
        // A connection that ended in order stays for its application until that has read everything, or does not care.
        let connection = &self.connections[id.index].connection;
        let unread = connection.readable_len() > 0 && !connection.is_discarding();
        if reason == CloseReason::Finished && unread {
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
            self.flows.remove(evicted.hash, Flow::TimeWait(oldest));
            self.watch.closed(&evicted.tuple);
            self.drops.count(DropReason::TimeWaitEvicted);
        }
        let Entry { connection, hash, .. } = &self.connections[index];
        let (snd_nxt, rcv_nxt) = connection.sequence();
        let (tuple, link, hash) = (*connection.tuple(), *connection.link(), *hash);
        let (clocks, dscp) = (connection.clocks(), connection.dscp());
        let entry = TimeWait { tuple, hash, link, snd_nxt, rcv_nxt, clocks, dscp, expires: now };
        let (ip, tcp) = entry.acknowledgment(now, self.config.tcp.hop_limit);
        match self.time_wait.insert(entry, now) {
            Some(waiting) => self.flows.replace(hash, Flow::Connection(index), Flow::TimeWait(waiting)),
            None => {
                self.flows.remove(hash, Flow::Connection(index));
                self.watch.closed(&tuple);
            }
        }
        // The control block goes, so the acknowledgment of the peer's FIN leaves as a reply.
        if let Err(reason) = self.send_reply(&link, &ip, &tcp) {
            self.drops.count(reason);
        }
    }

    fn leave(&mut self, index: u32, reason: CloseReason) {
        let Entry { connection, hash, .. } = &self.connections[index];
        let (seq, ack) = connection.sequence();
        let (tuple, link, dscp) = (*connection.tuple(), *connection.link(), connection.dscp());
        self.flows.remove(*hash, Flow::Connection(index));
        self.watch.closed(&tuple);
        if reason == CloseReason::Aborted
            && connection.knows_peer()
            && let Err(reason) = self.send_reset(&link, &tuple, dscp, (TcpFlags::RST | TcpFlags::ACK, seq, ack))
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

    /// Resets every connection: for a server that ends.
    pub fn abort_all(&mut self, now: Instant) {
        for index in self.connections.indices().collect::<Vec<_>>() {
            self.connections[index].connection.abort();
            self.settle(now, index);
        }
    }
}
