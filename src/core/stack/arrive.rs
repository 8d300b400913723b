//! A segment arrives: which flow it belongs to, and what TIME-WAIT does about it (RFC 9293 §3.10.7). LISTEN and CLOSED are in
//! `listen`, SYN-RECEIVED in `syn_received`. Synchronized connections climb their own ladder in [`crate::tcp`].

use super::{FlowHash, Glimpse, Stack, flow_table::Flow, time_wait::TimeWaitAction};
use crate::{
    drops::DropReason,
    time::Instant,
    wire::{FourTuple, IpHeader, LinkHeader, Segment, TcpFlags},
};

/// A segment that has arrived, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    /// The link header of an answer to it.
    pub link: &'a LinkHeader,
    pub tuple: &'a FourTuple,
    pub hash: FlowHash,
    pub segment: &'a Segment<'a>,
}

impl Stack {
    pub(super) fn handle_segment(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        ip: &IpHeader,
        segment: &Segment<'_>,
        flow: &Glimpse,
    ) -> Result<(), DropReason> {
        let Glimpse { tuple, hash } = flow;
        let found = self.find(tuple, *hash);
        // Where there is a connection its addresses have been found good before it was opened.
        if !matches!(found, Some(Flow::Connection(_))) || link.destination.is_group() {
            self.check_source(ip.source)?;
            match self.check_ends(link, ip) {
                // The address of a client, in whose name we have spoken.
                Err(DropReason::OtherDestination) if self.parted.speaks_for(tuple, *hash) => {}
                checked => checked?,
            }
        }
        self.stats.segments_received += 1;
        // It was for our station: no group's, or it would have been refused.
        let back = link.answered_by(link.destination);
        let received = Received { link: &back, tuple, hash: *hash, segment };
        match found {
            Some(Flow::Connection(index)) => self.arrive_at_connection(now, index, received),
            Some(Flow::HalfOpen(index)) => self.arrive_at_half_open(now, index, received),
            Some(Flow::TimeWait(index)) => self.arrive_at_time_wait(now, index, received),
            None if self.parted.contains(tuple) => Err(DropReason::Parted),
            None => self.arrive_at_listener(now, received, None),
        }
    }

    #[inline]
    pub(super) fn arrive_at_connection(
        &mut self,
        now: Instant,
        index: u32,
        received: Received<'_>,
    ) -> Result<(), DropReason> {
        let cx = self.config.tcp.at(now);
        let entry = self.connections.get_mut(index, cx.config).expect("an index held by the flow table is taken");
        if entry.via.is_some() {
            return self.arrive_by_any_way(now, index, received);
        }
        let outcome = entry.connection.arrive(cx, received.link, received.segment);
        self.conclude_arrival(now, index, received, outcome)
    }

    /// Where a connection keeps its way, whichever way a segment came.
    #[cold]
    #[inline(never)]
    fn arrive_by_any_way(&mut self, now: Instant, index: u32, received: Received<'_>) -> Result<(), DropReason> {
        let cx = self.config.tcp.at(now);
        let connection = &mut self.connections[index].connection;
        let link = *connection.link();
        let outcome = connection.arrive(cx, &link, received.segment);
        self.conclude_arrival(now, index, Received { link: &link, ..received }, outcome)
    }

    #[inline]
    fn conclude_arrival(
        &mut self,
        now: Instant,
        index: u32,
        received: Received<'_>,
        mut outcome: Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        if let Err(reason) = outcome {
            outcome = self.refused_by_connection(now, index, reason, received);
        }
        self.apply_effects(now, index);
        outcome
    }

    /// What a connection refuses is counted, and reset where the connection is not open yet. Returns why it was refused, or why that
    /// went unanswered.
    #[cold]
    fn refused_by_connection(
        &mut self,
        now: Instant,
        index: u32,
        reason: DropReason,
        received: Received<'_>,
    ) -> Result<(), DropReason> {
        let connection = &self.connections[index].connection;
        let (is_opening, clocks) = (connection.is_opening(), connection.clocks());
        let tunnel = self.connections[index].tunnel();
        if !self.is_stray(received.tuple, received.segment) {
            return Err(reason);
        }
        if reason == DropReason::UnacceptableAck && is_opening {
            self.reset_in(tunnel, now, received, clocks)?;
            return Err(reason);
        }
        // Where nothing is left, a challenge may be due all the same: it has a limit of its own.
        let _ = self.admit_stray(now, received.tuple);
        Err(reason)
    }

    fn arrive_at_time_wait(&mut self, now: Instant, index: u32, received: Received<'_>) -> Result<(), DropReason> {
        let Received { link, tuple, segment, .. } = received;
        let entry = *self.time_wait.get(index);
        let action = entry.action_for(segment);
        let is_refused = matches!(action, TimeWaitAction::NewConnection | TimeWaitAction::Stray);
        let admitted = if is_refused { self.count_stray(now, tuple, segment) } else { Ok(()) };
        match action {
            TimeWaitAction::NewConnection if segment.has(TcpFlags::FIN) => return Err(DropReason::ContradictoryFlags),
            TimeWaitAction::NewConnection
                if self.listeners.find(tuple.local.port, tuple.local.address).is_some() && self.has_room() =>
            {
                self.time_wait.remove(index);
                self.forget_time_wait(index, &entry);
                return self.arrive_at_listener(now, received, Some(entry.snd_nxt));
            }
            TimeWaitAction::Ignore => return Ok(()),
            TimeWaitAction::PeerIsOver => {
                self.time_wait.note_peer_is_over(index);
                return Ok(());
            }
            TimeWaitAction::FinAgain => {
                let again = self.time_wait.restart(index, now);
                self.flows.replace(entry.hash().slot, Flow::TimeWait(index), Flow::TimeWait(again));
            }
            // A SYN that opens nothing is as stray as any: it would end TIME-WAIT, which only time may (RFC 1337 §3).
            TimeWaitAction::NewConnection | TimeWaitAction::Stray => {
                admitted?;
                if !self.time_wait.may_answer(index, now) {
                    return Err(DropReason::RateLimited);
                }
            }
        }
        let (ip, tcp) = entry.acknowledgment(self.config.tcp.at(now), tuple);
        self.send_reply(link, &ip, &tcp)
    }
}
