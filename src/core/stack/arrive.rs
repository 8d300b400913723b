//! A segment arrives: which flow it belongs to, and what LISTEN, SYN-RECEIVED, TIME-WAIT and CLOSED do about it
//! (RFC 9293 §3.10.7). Synchronized connections climb their own ladder in [`crate::tcp`].

use super::{
    FlowHash, Stack, SynMode,
    flow_table::Flow,
    half_open::{HalfOpen, Overdue},
    time_wait::TimeWaitAction,
};
use crate::{
    drops::DropReason,
    tcp::{
        Handshake, MaxSegment, Offer,
        cookie::EPOCH,
        ecn,
        handshake::{default_mss, syn_ack_window},
        receive::window_scale_for,
        timestamps::TimestampState,
    },
    time::Instant,
    wire::{
        self, FourTuple, IpHeader, LinkHeader, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ip::{Codepoint, Dscp},
        tcp_options::Timestamps,
    },
};

/// More than a connection sends whose SYN is still under way, and less than half of all numbers: beyond what was sent.
const FAR: u32 = 1 << 30;

impl Stack {
    pub(super) fn handle_segment(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        ip: &IpHeader,
        segment: &Segment<'_>,
        (tuple, hash): (FourTuple, FlowHash),
    ) -> Result<(), DropReason> {
        let found = self.find(&tuple, hash);
        // Where there is a connection its addresses have been found good before it was opened.
        if !matches!(found, Some(Flow::Connection(_))) || link.destination != self.mac {
            self.check_source(ip.source)?;
            self.check_ends(link, ip)?;
        }
        self.stats.segments_received += 1;
        let back = link.answered_by(self.mac);
        match found {
            Some(Flow::Connection(index)) => self.arrive_at_connection(now, &back, index, segment),
            Some(Flow::HalfOpen(index)) => self.arrive_at_half_open(now, &back, index, segment),
            Some(Flow::TimeWait(index)) => self.arrive_at_time_wait(now, &back, (tuple, index), segment),
            None => self.arrive_at_listener(now, &back, (tuple, hash.slot), segment, None),
        }
    }

    fn arrive_at_connection(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        index: u32,
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        let connection = &mut self.connections[index].connection;
        let outcome = connection.arrive(now, link, segment, &self.config.tcp);
        if let Err(reason) = outcome {
            self.refused_by_connection(now, link, (index, reason), segment)?;
        }
        self.settle(now, index);
        outcome
    }

    /// What a connection refuses is counted, and reset where the connection is not open yet.
    #[cold]
    fn refused_by_connection(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (index, reason): (u32, DropReason),
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        let connection = &self.connections[index].connection;
        let (tuple, clocks) = (*connection.tuple(), connection.clocks());
        if !self.is_stray(&tuple, segment) {
            return Ok(());
        }
        if reason == DropReason::UnacceptableAck && connection.is_opening() {
            return self.reset(now, link, (&tuple, clocks), segment);
        }
        // Where nothing is left, a challenge may be due all the same: it has a limit of its own.
        let _ = self.admit_stray(now, &tuple);
        Ok(())
    }

    /// LISTEN and CLOSED (§3.10.7.2 and §3.10.7.1). `used` is SND.NXT of a connection of this 4-tuple that was in TIME-WAIT
    /// up to now.
    fn arrive_at_listener(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (tuple, hash): (FourTuple, u32),
        segment: &Segment<'_>,
        used: Option<SeqNumber>,
    ) -> Result<(), DropReason> {
        if segment.has(TcpFlags::RST) {
            if self.accepts_cookies(now) {
                // It may be exact for a handshake that nobody remembers (RFC 5961 §3.2): that is not to come back.
                self.broken_off.insert(hash, segment.header.seq);
            }
            return Err(DropReason::StrayReset);
        }
        let Some(max_segment) = self.listeners.find(tuple.local.port, tuple.local.address) else {
            return self.refuse(now, link, &tuple, segment, DropReason::NoListener);
        };
        if segment.has(TcpFlags::ACK) {
            return self.arrive_with_cookie(now, link, (tuple, hash), segment, max_segment);
        }
        if !segment.has(TcpFlags::SYN) {
            return Err(DropReason::NoAck);
        }
        if segment.has(TcpFlags::FIN) {
            return Err(DropReason::ContradictoryFlags);
        }
        // Who would be refused in the end is better off without an answer: he tries again, and there may be room then.
        if !self.has_room() {
            return Err(DropReason::ConnectionLimit);
        }
        self.begin_handshake(now, link, (tuple, hash), segment, (used, max_segment))
    }

    fn begin_handshake(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (tuple, hash): (FourTuple, u32),
        segment: &Segment<'_>,
        (used, max_segment): (Option<SeqNumber>, MaxSegment),
    ) -> Result<(), DropReason> {
        let (options, irs) = (&segment.header.options, segment.header.seq);
        // The XDP program agrees to no ECN, so neither do we where the cookie is all there is: a SYN draws the same answer. What
        // is remembered and evicted keeps it where there are timestamps, for the cookie to say so.
        let ecn = self.syn_mode == SynMode::Cache && ecn::agrees_to_syn(self.config.tcp.ecn, segment.header.flags);
        let whole = Offer::of_syn(options, ecn, default_mss(tuple.remote.address));
        // Where the cookie is all there is, no more is promised than it holds.
        let held = match self.syn_mode {
            SynMode::Cookie => whole.remembered(tuple.remote.address),
            SynMode::Cache => None,
        };
        let offer = held.unwrap_or(whole);
        let cookie = self.cookies.make(now, &tuple, irs, &offer);
        let fresh = self.unused(now, hash, (irs, cookie.iss));
        // MAY-2: beyond everything the connection before sent. Half of all cookies are; where this one is not, the handshake
        // lives by its entry alone.
        let iss = used.map_or(fresh, |used| fresh.latest(used.advance(u16::MAX.into())));
        let clocks =
            options.timestamps.zip(cookie.timestamp).map(|(theirs, ours)| TimestampState::new(now, ours, theirs.value));
        let agreed = Handshake::new(tuple, *link, (iss, irs), &offer, &self.config.tcp);
        let handshake = Handshake { clocks, max_segment, ..agreed };
        let entry = HalfOpen::new(handshake, hash, now, &self.config.tcp);
        self.stats.handshakes_begun += 1;
        // Where the cookie is all there is, it must be one.
        if held.is_some() && iss == cookie.iss {
            self.cookies_count(now);
            let (ip, tcp) = entry.syn_ack(&self.config.tcp);
            return self.send_reply(link, &ip, &tcp);
        }
        let index = self.remember(now, entry)?;
        self.send_syn_ack(index)
    }

    fn remember(&mut self, now: Instant, entry: HalfOpen) -> Result<u32, DropReason> {
        if let Some((index, evicted)) = self.half_open.make_room() {
            self.flows.remove(evicted.hash, Flow::HalfOpen(index));
            self.stats.handshakes_evicted += 1;
            self.cookies_count(now);
        }
        let hash = entry.hash;
        let index = self.half_open.insert(entry).ok_or(DropReason::ConnectionLimit)?;
        self.flows.insert(hash, Flow::HalfOpen(index));
        Ok(index)
    }

    /// Our number for a handshake: its cookie, unless that was used up. The same SYN draws the same cookie throughout an epoch, so a
    /// SYN and an ACK that the network delivers a second time would open their connection a second time (RFC 9293 §3.4.1). Such
    /// a handshake begins with a number of its own, from a clock and the secret that is in the cookie, and lives by its entry. It is
    /// far beyond what the connection before may have sent, so that no late acknowledgment of that ends it.
    fn unused(&self, now: Instant, hash: u32, (irs, cookie): (SeqNumber, SeqNumber)) -> SeqNumber {
        if self.used.contains(hash, cookie) || self.broken_off.contains(hash, irs.advance(1)) {
            return cookie.advance(FAR | (now.as_micros() / 4) as u32 & (FAR - 1));
        }
        cookie
    }

    /// Whether handshakes that this stack does not remember may be under way: somebody answers them, or lately did.
    fn accepts_cookies(&self, now: Instant) -> bool {
        self.syn_mode == SynMode::Cookie || now < self.cookies_until
    }

    /// A handshake has been answered that is not, or no more, remembered: its cookie counts for as long as it lives.
    fn cookies_count(&mut self, now: Instant) {
        self.cookies_until = now + 2 * EPOCH;
    }

    /// A segment that may end a handshake which nobody remembers: its numbers do, if they are a cookie.
    fn arrive_with_cookie(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (tuple, hash): (FourTuple, u32),
        segment: &Segment<'_>,
        max_segment: MaxSegment,
    ) -> Result<(), DropReason> {
        let (irs, iss) = (segment.header.seq.back(1), segment.header.ack.back(1));
        let timestamps = segment.header.options.timestamps;
        let offer = match self.redeem(now, (&tuple, hash), segment) {
            Ok(offer) => offer,
            // RFC 9293 §3.10.7.2: what acknowledges something here acknowledges nothing of ours.
            Err(reason) => return self.refuse(now, link, &tuple, segment, reason),
        };
        let clocks = timestamps.map(|theirs| TimestampState::new(now, theirs.echo, theirs.value));
        let agreed = Handshake::new(tuple, *link, (iss, irs), &offer, &self.config.tcp);
        let handshake = Handshake { clocks, max_segment, ..agreed };
        if let Err(reason) = self.check_backlog() {
            // A client that has nothing to say yet would not come again by itself: the SYN-ACK, sent again, asks it to.
            self.remember(now, HalfOpen::resumed(handshake, hash, now, &self.config.tcp))?;
            return Err(reason);
        }
        let connection = self.open_or_refuse(now, link, (&handshake, hash), segment)?;
        self.flows.insert(hash, Flow::Connection(connection));
        self.used.insert(hash, iss);
        self.stats.cookies_accepted += 1;
        self.arrive_at_connection(now, link, connection, segment)
    }

    /// What a cookie stands for, if it counts, is one, and was not used.
    fn redeem(
        &mut self,
        now: Instant,
        (tuple, hash): (&FourTuple, u32),
        segment: &Segment<'_>,
    ) -> Result<Offer, DropReason> {
        if !self.accepts_cookies(now) {
            return Err(DropReason::StrayAck);
        }
        if segment.has(TcpFlags::SYN) {
            return Err(DropReason::BadCookie);
        }
        let (first, iss) = (segment.header.seq, segment.header.ack.back(1));
        let timestamps = segment.header.options.timestamps;
        let Some(offer) = self.cookies.check(now, tuple, first.back(1), iss, timestamps) else {
            let told = self.misdated.allow(now) && self.cookies.is_misdated(now, tuple, first.back(1), iss, timestamps);
            return Err(if told { DropReason::MisdatedCookie } else { DropReason::BadCookie });
        };
        if self.used.contains(hash, iss) || self.broken_off.contains(hash, first) {
            return Err(DropReason::UsedCookie);
        }
        Ok(offer)
    }

    fn send_syn_ack(&mut self, index: u32) -> Result<(), DropReason> {
        let entry = self.half_open.get(index);
        let (ip, tcp) = entry.syn_ack(&self.config.tcp);
        let link = entry.handshake.link;
        self.send_reply(&link, &ip, &tcp)
    }

    /// SYN-RECEIVED (§3.10.7.4), as far as a handshake goes that came from LISTEN: the sequence number first, then everything else.
    fn arrive_at_half_open(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        index: u32,
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        let entry = self.half_open.get(index);
        let (handshake, passage) = (entry.handshake, entry.passage(now));
        let hash = entry.hash;
        // The same SYN again draws the same SYN-ACK.
        if segment.has(TcpFlags::SYN)
            && !segment.header.flags.intersects(TcpFlags::ACK | TcpFlags::RST)
            && segment.header.seq == handshake.irs
        {
            self.admit_at_half_open(now, index, segment)?;
            self.half_open.set_way(index, link);
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
            self.reset(now, link, (&handshake.tuple, handshake.clocks), segment)?;
            return Err(DropReason::UnacceptableAck);
        }
        self.check_backlog()?;
        // Its acknowledgment is of a number that only its client has seen.
        let handshake = Handshake { link: *link, ..handshake };
        let connection = self.open_or_refuse(now, link, (&handshake, hash), segment);
        let connection = connection.inspect_err(|_| self.forget_half_open(index, hash))?;
        self.flows.replace(hash, Flow::HalfOpen(index), Flow::Connection(connection));
        self.half_open.remove(index);
        self.used.insert(hash, handshake.iss);
        self.connections[connection].connection.heed_handshake(passage, &self.config.tcp);
        self.arrive_at_connection(now, link, connection, segment)
    }

    /// Opens a connection, or tells a client for whom there is no room that it has none: for all it knows, it is connected.
    fn open_or_refuse(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (handshake, hash): (&Handshake, u32),
        segment: &Segment<'_>,
    ) -> Result<u32, DropReason> {
        let opened = self.open_connection(now, handshake, hash);
        match opened {
            Ok(index) => self.connections[index].connection.take_first_window(segment),
            Err(_) => self.reset(now, link, (&handshake.tuple, handshake.clocks), segment)?,
        }
        opened
    }

    fn check_backlog(&self) -> Result<(), DropReason> {
        if self.backlog < self.config.max_backlog { Ok(()) } else { Err(DropReason::BacklogFull) }
    }

    pub(super) fn forget_half_open(&mut self, index: u32, hash: u32) {
        self.half_open.remove(index);
        self.flows.remove(hash, Flow::HalfOpen(index));
    }

    /// Whether a segment that a handshake refuses may be answered.
    fn admit_at_half_open(&mut self, now: Instant, index: u32, segment: &Segment<'_>) -> Result<(), DropReason> {
        let tuple = self.half_open.get(index).handshake.tuple;
        self.count_stray(now, &tuple, segment)?;
        if self.half_open.may_answer(index, now) { Ok(()) } else { Err(DropReason::RateLimited) }
    }

    fn acknowledge_half_open(&mut self, now: Instant, handshake: &Handshake) -> Result<(), DropReason> {
        let seq = handshake.iss.advance(1);
        let (ip, mut tcp) = self.bare(&handshake.tuple, TcpFlags::ACK, seq, handshake.irs.advance(1));
        // No SYN, so its window is scaled like any other's: down, or it would promise more than there is (RFC 7323 §2.2).
        let scale = handshake.peer_window_scale.map_or(0, |_| window_scale_for(self.config.tcp.receive_buffer));
        tcp.window = syn_ack_window(&self.config.tcp) >> scale;
        tcp.options.timestamps = handshake.clocks.map(|clocks| clocks.option(now));
        self.send_reply(&handshake.link, &ip, &tcp)
    }

    pub(super) fn expire_handshakes(&mut self, now: Instant) {
        while let Some(overdue) = self.half_open.expire(now, &self.config.tcp) {
            match overdue {
                Overdue::SendAgain(index) => {
                    self.stats.syn_acks_retransmitted += 1;
                    if let Err(reason) = self.send_syn_ack(index) {
                        self.drops.count(reason);
                    }
                }
                Overdue::GaveUp(index) => {
                    self.forget_half_open(index, self.half_open.get(index).hash);
                    self.drops.count(DropReason::HandshakeTimeout);
                }
            }
        }
    }

    fn arrive_at_time_wait(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (tuple, index): (FourTuple, u32),
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        let entry = *self.time_wait.get(index);
        let action = entry.action_for(segment);
        let is_refused = matches!(action, TimeWaitAction::NewConnection | TimeWaitAction::Stray);
        let admitted = if is_refused { self.count_stray(now, &tuple, segment) } else { Ok(()) };
        match action {
            TimeWaitAction::NewConnection if segment.has(TcpFlags::FIN) => return Err(DropReason::ContradictoryFlags),
            TimeWaitAction::NewConnection
                if self.listeners.find(tuple.local.port, tuple.local.address).is_some() && self.has_room() =>
            {
                self.time_wait.remove(index);
                self.forget_time_wait(index, &entry);
                return self.arrive_at_listener(now, link, (tuple, entry.hash().slot), segment, Some(entry.snd_nxt));
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
        let (ip, tcp) = entry.acknowledgment(now, &tuple, &self.config.tcp);
        self.send_reply(link, &ip, &tcp)
    }

    /// Answers a stranger with an RST, and counts him, answered or not: how many there are decides who meets them.
    fn refuse(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        tuple: &FourTuple,
        segment: &Segment<'_>,
        reason: DropReason,
    ) -> Result<(), DropReason> {
        if let Err(unsaid) = self.reset(now, link, (tuple, None), segment) {
            self.drops.count(unsaid);
        }
        Err(reason)
    }

    /// The RST that a segment draws which belongs to no connection (§3.10.7.1), or to none that is open yet: then there may be
    /// clocks.
    fn reset(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        (tuple, clocks): (&FourTuple, Option<TimestampState>),
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        self.admit_stray(now, tuple)?;
        let (flags, seq, ack) = if segment.has(TcpFlags::ACK) {
            (TcpFlags::RST, segment.header.ack, SeqNumber::default())
        } else {
            (TcpFlags::RST | TcpFlags::ACK, SeqNumber::default(), segment.header.seq.advance(segment.len()))
        };
        let timestamps = clocks.map(|clocks| clocks.option(now));
        self.send_reset(link, tuple, (self.config.tcp.dscp, timestamps), (flags, seq, ack))
    }

    /// RFC 7323 §3.2: an RST, too, should carry `timestamps` where they were agreed on.
    pub(super) fn send_reset(
        &mut self,
        link: &LinkHeader,
        tuple: &FourTuple,
        (dscp, timestamps): (Dscp, Option<Timestamps>),
        (flags, seq, ack): (TcpFlags, SeqNumber, SeqNumber),
    ) -> Result<(), DropReason> {
        // Many connections may be reset at once, and whoever wants a new one is to be answered meanwhile.
        if self.replies.is_crowded() {
            return Err(DropReason::ReplyQueueFull);
        }
        let (mut ip, mut tcp) = self.bare(tuple, flags, seq, ack);
        ip.traffic_class = dscp.with(Codepoint::NotCapable);
        // What acknowledges nothing echoes nothing.
        let echoes = flags.contains(TcpFlags::ACK);
        tcp.options.timestamps = timestamps.map(|ours| if echoes { ours } else { Timestamps { echo: 0, ..ours } });
        self.send_reply(link, &ip, &tcp)?;
        self.stats.resets_transmitted += 1;
        Ok(())
    }

    /// The headers of a segment without data or options.
    fn bare(&self, tuple: &FourTuple, flags: TcpFlags, seq: SeqNumber, ack: SeqNumber) -> (IpHeader, TcpHeader) {
        let ip = self.config.tcp.ip_header(tuple, self.config.tcp.dscp.with(Codepoint::NotCapable));
        let (source_port, destination_port) = (tuple.local.port, tuple.remote.port);
        let options = TcpOptions::default();
        (ip, TcpHeader { source_port, destination_port, seq, ack, flags, window: 0, urgent: 0, options })
    }

    pub(super) fn send_reply(&mut self, link: &LinkHeader, ip: &IpHeader, tcp: &TcpHeader) -> Result<(), DropReason> {
        self.replies.push(wire::tcp_frame_len(link, ip, tcp), |buffer| {
            wire::write_tcp(link, ip, tcp, (&[], &[]), buffer);
        })
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
