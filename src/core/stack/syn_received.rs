//! SYN-RECEIVED (RFC 9293 §3.10.7.4), as far as a handshake goes that came from LISTEN: `half_open` has what is kept of it.

use super::{ListenerId, Stack, arrive::Received, flow_table::Flow, half_open::Overdue, reset::bare};
use crate::{
    drops::DropReason,
    tcp::{Handshake, handshake::syn_ack_window, receive::window_scale_for},
    time::Instant,
    wire::{Segment, SeqNumber, TcpFlags, ip::Codepoint},
};

impl Stack {
    pub(super) fn send_syn_ack(&mut self, index: u32) -> Result<(), DropReason> {
        let entry = self.half_open.get(index);
        let (ip, tcp) = entry.syn_ack(&self.config.tcp);
        let link = entry.handshake.link;
        self.send_reply(&link, &ip, &tcp)
    }

    /// SYN-RECEIVED (§3.10.7.4), as far as a handshake goes that came from LISTEN: the sequence number first, then everything else.
    pub(super) fn arrive_at_half_open(
        &mut self,
        now: Instant,
        index: u32,
        received: Received<'_>,
    ) -> Result<(), DropReason> {
        let Received { link, segment, .. } = received;
        let entry = self.half_open.get(index);
        let (mut handshake, syn_timing) = (entry.handshake, entry.syn_timing(now));
        let (hash, begun) = (entry.hash, entry.begun);
        if !self.listeners.may_end(&begun) {
            self.forget_half_open(index, hash);
            return self.arrive_at_listener(now, received, None);
        }
        // The same SYN again draws the same SYN-ACK.
        if segment.has(TcpFlags::SYN)
            && !segment.header.flags.intersects(TcpFlags::ACK | TcpFlags::RST)
            && segment.header.seq == handshake.irs
        {
            self.admit_at_half_open(now, index, segment)?;
            self.half_open.set_link(index, link);
            self.half_open.note_asked_again(index);
            self.stats.syn_acks_retransmitted += 1;
            return self.send_syn_ack(index);
        }
        if let Err(reason) = check_half_open(&handshake, segment, syn_ack_window(&self.config.tcp)) {
            let is_reset = segment.has(TcpFlags::RST);
            // RFC 5961 §3.2 and §4.2: a peer that did reset, or did restart, answers the challenge by an exact RST.
            if reason == DropReason::InexactReset || !is_reset {
                self.admit_at_half_open(now, index, segment)?;
                self.acknowledge_half_open(now, &handshake)?;
            }
            return Err(reason);
        }
        if segment.has(TcpFlags::RST) {
            // Back to LISTEN, which is to be forgotten; nor must its cookie bring it back.
            self.broken_off.insert(hash, segment.header.seq);
            self.forget_half_open(index, hash);
            self.stats.handshakes_reset += 1;
            return Ok(());
        }
        if !segment.has(TcpFlags::ACK) {
            self.count_stray(now, &handshake.tuple, segment)?;
            return Err(DropReason::NoAck);
        }
        if segment.header.ack != handshake.iss.advance(1) {
            self.reset(now, received, handshake.clocks)?;
            return Err(DropReason::UnacceptableAck);
        }
        self.check_backlog()?;
        // Its acknowledgment is of a number that only its client has seen.
        handshake.link = *link;
        let connection = self.open_or_refuse(now, received, &handshake, begun.listener);
        let connection = connection.inspect_err(|_| self.forget_half_open(index, hash))?;
        self.flows.replace(hash, Flow::HalfOpen(index), Flow::Connection(connection));
        self.take_half_open(index);
        self.used.insert(hash, handshake.iss);
        syn_timing.took.into_iter().for_each(|took| self.timings.handshakes.count_one(took));
        self.connections[connection].connection.apply_syn_timing(syn_timing, &self.config.tcp);
        self.arrive_at_connection(now, connection, received)
    }

    /// Opens a connection, or tells a client for whom there is no room that it has none: for all it knows, it is connected.
    pub(super) fn open_or_refuse(
        &mut self,
        now: Instant,
        received: Received<'_>,
        handshake: &Handshake,
        listener: ListenerId,
    ) -> Result<u32, DropReason> {
        let opened = self.open_connection(now, handshake, received.hash.slot, listener);
        match opened {
            Ok(index) => self.connections[index].connection.take_first_window(received.segment),
            Err(_) => self.reset(now, received, handshake.clocks)?,
        }
        opened
    }

    pub(super) fn check_backlog(&self) -> Result<(), DropReason> {
        if self.backlog < self.config.max_backlog { Ok(()) } else { Err(DropReason::BacklogFull) }
    }

    pub(super) fn forget_half_open(&mut self, index: u32, hash: u32) {
        self.take_half_open(index);
        self.flows.remove(hash, Flow::HalfOpen(index));
    }

    /// A handshake is over, one way or another.
    fn take_half_open(&mut self, index: u32) {
        let alone = self.half_open.get(index).alone();
        self.half_open.remove(index);
        if let Some(tuple) = alone {
            self.observer.closed(self.observer.fingerprint(&tuple));
        }
    }

    /// Whether a segment that a handshake refuses may be answered.
    fn admit_at_half_open(&mut self, now: Instant, index: u32, segment: &Segment<'_>) -> Result<(), DropReason> {
        let tuple = self.half_open.get(index).handshake.tuple;
        self.count_stray(now, &tuple, segment)?;
        if self.half_open.may_answer(index, now) { Ok(()) } else { Err(DropReason::RateLimited) }
    }

    fn acknowledge_half_open(&mut self, now: Instant, handshake: &Handshake) -> Result<(), DropReason> {
        let seq = handshake.iss.advance(1);
        let config = &self.config.tcp;
        let ip = config.ip_header(&handshake.tuple, config.dscp.with(Codepoint::NotCapable));
        let mut tcp = bare(&handshake.tuple, TcpFlags::ACK, seq, handshake.irs.advance(1));
        // No SYN, so its window is scaled like any other's: down, or it would promise more than there is (RFC 7323 §2.2).
        let scale = handshake.peer_window_scale.map_or(0, |_| window_scale_for(config.receive_buffer));
        tcp.window = syn_ack_window(config) >> scale;
        tcp.options.timestamps = handshake.clocks.map(|clocks| clocks.option(now));
        self.send_reply(&handshake.link, &ip, &tcp)
    }

    pub(super) fn expire_handshakes(&mut self, now: Instant) {
        while let Some(overdue) = self.half_open.expire(self.config.tcp.at(now)) {
            match overdue {
                Overdue::SendAgain(index) if !self.listeners.may_end(&self.half_open.get(index).begun) => {
                    self.forget_half_open(index, self.half_open.get(index).hash);
                }
                Overdue::SendAgain(index) => {
                    self.stats.syn_acks_retransmitted += 1;
                    if let Err(reason) = self.send_syn_ack(index) {
                        self.drops.count(reason);
                    }
                }
                Overdue::GaveUp(index) => {
                    let entry = self.half_open.get(index);
                    let (tuple, answered, hash) = (entry.handshake.tuple, entry.answered(), entry.hash);
                    self.ends.remember_handshake(now, tuple, answered);
                    self.forget_half_open(index, hash);
                    self.drops.count(DropReason::HandshakeTimeout);
                }
            }
        }
    }
}

/// Whether a segment may belong to this handshake, which has promised a window of `window` octets.
fn check_half_open(handshake: &Handshake, segment: &Segment<'_>, window: u16) -> Result<(), DropReason> {
    let (seq, rcv_nxt) = (segment.header.seq, handshake.irs.advance(1));
    let is_inside = |at: SeqNumber| at.in_window(rcv_nxt, window.into());
    if segment.has(TcpFlags::RST) {
        // RFC 5961 §3.2 holds here too: only an exact RST counts.
        let reason = if is_inside(seq) { DropReason::InexactReset } else { DropReason::OutsideWindow };
        return if seq == rcv_nxt { Ok(()) } else { Err(reason) };
    }
    // R1 of RFC 7323 §5.3. A SYN is challenged whatever its clock says.
    let clocks = handshake.clocks.zip(segment.header.options.timestamps).filter(|_| !segment.has(TcpFlags::SYN));
    if clocks.is_some_and(|(clocks, received)| clocks.is_old(received)) {
        return Err(DropReason::OldTimestamp);
    }
    let acceptable = if segment.is_empty() {
        // At the right edge, too, as where connections are open: there a client stands whose first data have filled the window and
        // were lost, and nothing but this acknowledgment ends the handshake.
        seq.since(rcv_nxt) <= window.into()
    } else {
        is_inside(seq) || is_inside(seq.advance(segment.len() - 1))
    };
    if !acceptable {
        return Err(DropReason::OutsideWindow);
    }
    if segment.has(TcpFlags::SYN) { Err(DropReason::SynInWindow) } else { Ok(()) }
}
