//! Frames go out: replies first, then connections, each in its turn, interface by interface.

use super::{ConnectionId, Event, Stack};
use crate::{
    stats::Timings,
    tcp::{Connection, SentKind},
    time::Instant,
    wire::InterfaceId,
};
use std::collections::VecDeque;

/// Segments one connection may send before the next has its turn.
const BURST: u32 = 16;

/// Connections that may have something to send by one interface, in turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: VecDeque<ConnectionId>,
    /// Segments that the first of them has sent in this turn.
    burst: u32,
}

impl Turns {
    #[inline]
    pub fn push(&mut self, id: ConnectionId) {
        self.queue.push_back(id);
    }

    /// The next one's turn; `back` has one again later.
    #[inline]
    fn next(&mut self, back: Option<ConnectionId>) {
        self.queue.pop_front();
        if let Some(id) = back {
            self.queue.push_back(id);
        }
        self.burst = 0;
    }
}

/// Times the first octet of data to a peer, if it is among what was sent just now.
#[cold]
#[inline(never)]
fn note_first_octet(now: Instant, connection: &mut Connection, sent: Option<SentKind>, timings: &mut Timings) {
    if sent == Some(SentKind::New)
        && let Some(took) = connection.first_octet(now)
    {
        timings.first_octets.count_one(took);
    }
}

impl Stack {
    /// Builds the next frame to send by `interface` in `buffer` and returns its length; `None` where there is nothing to send, or no
    /// such interface. Where nothing is left, connections that have long been idle are put to sleep.
    ///
    /// # Panics
    /// Where `buffer` cannot hold a frame of the interface's MTU with two VLAN tags.
    pub fn poll_transmit(&mut self, now: Instant, interface: InterfaceId, buffer: &mut [u8]) -> Option<usize> {
        let replies = &mut self.interfaces.get_mut(interface)?.replies;
        let length = replies.pop_into(buffer).or_else(|| self.transmit_from_connections(now, interface, buffer))?;
        self.stats.frames_transmitted += 1;
        self.stats.octets_transmitted += length as u64;
        Some(length)
    }

    fn transmit_from_connections(&mut self, now: Instant, interface: InterfaceId, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let cx = self.config.tcp.at(now);
            let turns = &mut self.interfaces[interface].turns;
            let Some(&id) = turns.queue.front() else { break };
            // One that has ended since it was queued says nothing more.
            let Some(entry) = self.connections.find_mut(id, cx.config).filter(|entry| entry.attached) else {
                turns.next(None);
                continue;
            };
            if entry.interface != interface || entry.connection.link().interface != interface {
                self.change_interface(interface, id);
                continue;
            }
            let sent = entry.connection.poll_transmit(cx, buffer);
            let sent = sent.map(|(length, kind)| (entry.wrap(length, buffer), kind));
            if !entry.connection.is_answered() {
                note_first_octet(now, &mut entry.connection, sent.map(|(_, kind)| kind), &mut self.timings);
            }
            if sent.is_none() || entry.connection.has_sent_all(cx) {
                turns.next(None);
                entry.transmit_queued = false;
                if let Some(deadline) = entry.connection.poll_timeout()
                    && deadline < entry.armed_for
                {
                    entry.armed_for = deadline;
                    self.timers.arm(id.index, deadline);
                }
                // Sending has made room to write: the application hears of it now, not with the acknowledgment.
                if entry.connection.has_room_again(cx.config) && !entry.ready_queued {
                    entry.ready_queued = true;
                    self.events.push_back(Event::Ready(id));
                }
                let is_in_line = entry.is_in_line_of_idle();
                // What is in flight takes memory, too.
                if entry.connection.was_resized() {
                    self.charge(now, id.index);
                }
                if !is_in_line {
                    self.connections.mark_idle(id.index);
                }
            } else {
                turns.burst += 1;
                if turns.burst >= BURST {
                    turns.next(Some(id));
                }
            }
            if let Some((length, kind)) = sent {
                self.count_sent(id, kind);
                return Some(length);
            }
        }
        self.connections.suspend_idle(self.config.tcp.at(now));
        None
    }

    /// A connection that has its turn at `queued` leaves by another interface now, or only since it was queued by this one. Segments
    /// made for the one before may be too large for that.
    #[cold]
    fn change_interface(&mut self, queued: InterfaceId, id: ConnectionId) {
        self.interfaces[queued].turns.next(None);
        let Some(entry) = self.connections.find_mut(id, &self.config.tcp) else { return };
        let to = entry.connection.link().interface;
        if to != entry.interface {
            entry.interface = to;
            if entry.connection.fit_link(self.interfaces[to].mtu, &self.config.tcp) {
                self.stats.path_mtus_lowered += 1;
            }
        }
        self.interfaces[to].turns.push(id);
    }

    #[inline]
    fn count_sent(&mut self, id: ConnectionId, kind: SentKind) {
        match kind {
            SentKind::New => self.stats.segments_transmitted += 1,
            SentKind::Retransmission => {
                self.stats.segments_retransmitted += 1;
                if let Some(entry) = self.entry_mut(id) {
                    entry.retransmitted = entry.retransmitted.saturating_add(1);
                }
            }
            SentKind::Acknowledgment => self.stats.acknowledgments_transmitted += 1,
        }
    }
}
