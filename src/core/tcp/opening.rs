//! Active open: SYN-SENT, and SYN-RECEIVED where both ends open at once (RFC 9293 §3.5, figures 6 and 8).
//!
//! SYN-RECEIVED after LISTEN is another thing, smaller, and lives in [`crate::stack`]: which of the two it is decides what an
//! RST does (MUST-11), and here the type says it.

use super::{
    connection::Connection,
    cx::Cx,
    ecn,
    handshake::{Handshake, MaxSegment, Offer, Terms, default_mss, mss_for, syn_ack_window},
    options::Options,
    receive::window_scale_for,
    recorder::{Beginning, Cause, Happening, Recorder},
    signals::{CloseReason, SentKind, Signals},
    state::State,
    syn_timing::SynTiming,
    timers::Timer,
    timestamps::TimestampState,
};
use crate::{
    config::Ecn,
    drops::DropReason,
    time::Instant,
    wire::{
        self, FourTuple, InterfaceId, LinkHeader, MacAddress, Segment, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ip::Codepoint,
    },
};
use std::net::IpAddr;

/// What a connection knows besides while it is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    iss: SeqNumber,
    /// Ours alone counts so far.
    clocks: TimestampState,
    /// What our SYN offers at most.
    terms: Terms,
    /// Whether it asks for ECN.
    ecn: Ecn,
    /// The largest packet that the interface takes, bytes: our SYN invites none larger.
    mtu: usize,
    /// What the peer's SYN said: SYN-RECEIVED.
    handshake: Option<Handshake>,
    /// Whether the next hop's link address is known.
    is_resolved: bool,
    /// Whether our SYN, or SYN-ACK, is to be sent.
    due: bool,
    begun: Instant,
}

impl Connection {
    /// A connection that we open: SYN-SENT, though the SYN waits until [`Connection::set_link`] has told where to send it. `timestamp`
    /// is what ours begin with.
    pub fn opening(cx: Cx<'_>, tuple: FourTuple, iss: SeqNumber, timestamp: u32) -> Self {
        let unknown = Handshake::unanswered(tuple, iss, cx.config);
        let clocks = TimestampState::new(cx.now, timestamp, 0);
        let (terms, ecn, mtu) = (Terms::default(), cx.config.ecn, cx.config.mtu);
        let opening =
            Opening { iss, clocks, terms, ecn, mtu, handshake: None, is_resolved: false, due: true, begun: cx.now };
        let recorder = Recorder::new(cx.now, Beginning::Opened);
        Self { state: State::SynSent, opening: Some(Box::new(opening)), recorder, ..Self::established(cx, &unknown) }
    }

    /// Whether the handshake is not over yet.
    pub fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// Whether the peer has ever been heard: without that there is nobody to send an RST to.
    pub fn knows_peer(&self) -> bool {
        self.opening.as_ref().is_none_or(|opening| opening.handshake.is_some())
    }

    /// Whether the next hop's link address is known.
    pub fn is_resolved(&self) -> bool {
        self.opening.as_ref().is_none_or(|opening| opening.is_resolved)
    }

    /// Says by which interface our SYN will leave, once the way is known, and the largest packet that takes, bytes.
    pub fn leaves_by(&mut self, interface: InterfaceId, mtu: usize) {
        self.link.interface = interface;
        if let Some(opening) = &mut self.opening {
            opening.mtu = mtu;
        }
    }

    /// The link header of what is sent from now on, now that the next hop's address is known or has changed.
    pub fn set_link(&mut self, now: Instant, link: LinkHeader) {
        let is_another = std::mem::replace(&mut self.link, link) != link;
        if let Some(opening) = &mut self.opening {
            opening.is_resolved = true;
        } else if is_another {
            self.recorder.note_seldom(now, Happening::NeighbourMoved);
            // What was sent to the old address may be lost, acknowledgments among it.
            self.acks.owe();
            // So may be the last retransmission: the next one need not wait for a timeout that has backed off.
            if self.timeouts > 0 && self.timers.deadline(Timer::Retransmit).is_some() {
                self.timers.arm(Timer::Retransmit, now);
            }
        }
    }

    /// Our station has another address from now on.
    pub fn set_mac(&mut self, mac: MacAddress) {
        self.link.source = mac;
    }

    /// Whether our SYN is still to be answered; if so, it is to say this of the size of segments.
    pub(super) fn offer_max_segment(&mut self, limit: MaxSegment) -> bool {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.handshake.is_none()) else { return false };
        opening.terms.max_segment = limit;
        true
    }

    /// Whether our SYN is still to be sent; if so, it offers no more than this, and asks for ECN if that does.
    pub fn offer(&mut self, terms: Terms) -> bool {
        let is_unsaid = |opening: &&mut Box<Opening>| opening.handshake.is_none() && opening.due;
        let Some(opening) = self.opening.as_mut().filter(is_unsaid) else { return false };
        opening.terms = terms;
        opening.ecn = match opening.ecn {
            Ecn::Off => Ecn::Off,
            _ if terms.ecn => Ecn::Active,
            _ => Ecn::Passive,
        };
        true
    }

    /// Our SYN, which has not been sent, and the ends that it would go between.
    pub fn syn_to_send(&self, cx: Cx<'_>) -> Option<(FourTuple, TcpHeader)> {
        let opening = self.opening.as_ref().filter(|opening| opening.due && opening.handshake.is_none())?;
        Some((self.tuple, opening.syn(cx, &self.tuple, false)))
    }

    /// Takes in what answers our SYN, without having sent it. Whether the connection is open.
    pub fn take_answer(&mut self, cx: Cx<'_>, header: TcpHeader) -> bool {
        let link = self.link;
        let segment = Segment { header, payload: &[], traffic_class: 0 };
        let is_taken = self.process_syn_sent(cx, &link, &segment).is_ok();
        self.link = link;
        is_taken && self.state == State::Established
    }

    /// Ends a connection that cannot be opened.
    pub fn fail(&mut self, reason: CloseReason, cause: Cause) {
        self.finish_with(reason, cause);
    }

    /// What a segment means before the ladder: `None` where that is to be climbed.
    pub(super) fn process_opening(
        &mut self,
        cx: Cx<'_>,
        link: &LinkHeader,
        segment: &Segment<'_>,
    ) -> Option<Result<(), DropReason>> {
        match self.state {
            State::SynSent => Some(self.process_syn_sent(cx, link, segment)),
            State::SynReceived if segment.has(TcpFlags::SYN) => self.process_syn_received(cx, segment),
            _ => None,
        }
    }

    /// RFC 9293 §3.10.7.3.
    fn process_syn_sent(&mut self, cx: Cx<'_>, link: &LinkHeader, segment: &Segment<'_>) -> Result<(), DropReason> {
        let has_ack = segment.has(TcpFlags::ACK);
        if has_ack && segment.header.ack != self.send.una() {
            return Err(DropReason::UnacceptableAck);
        }
        if segment.has(TcpFlags::RST) {
            // Anyone can send an RST; only who has seen our SYN can acknowledge it.
            if !has_ack {
                return Err(DropReason::InexactReset);
            }
            self.finish_with(CloseReason::Refused, Cause::RefusedByReset);
            return Ok(());
        }
        if !segment.has(TcpFlags::SYN) {
            return Err(DropReason::NoSyn);
        }
        self.agree(cx, link, segment);
        if has_ack {
            self.open_with(cx, segment)
        } else {
            // Both open at once. Data on the SYN will come again.
            self.state = State::SynReceived;
            Ok(())
        }
    }

    /// SYN-RECEIVED: the peer's SYN again, or its SYN-ACK, which ends a simultaneous open. Any other SYN climbs the ladder.
    fn process_syn_received(&mut self, cx: Cx<'_>, segment: &Segment<'_>) -> Option<Result<(), DropReason>> {
        if segment.header.seq.advance(1) != self.receive.nxt() || segment.has(TcpFlags::RST) {
            return None;
        }
        if !segment.has(TcpFlags::ACK) {
            self.opening.as_mut()?.due = true;
            return Some(Ok(()));
        }
        if segment.header.ack != self.send.una() {
            return Some(Err(DropReason::UnacceptableAck));
        }
        Some(self.open_with(cx, segment))
    }

    /// Takes in what the peer's SYN says. From here on, this is the connection that the two have agreed on.
    fn agree(&mut self, cx: Cx<'_>, link: &LinkHeader, segment: &Segment<'_>) {
        let Some(mut opening) = self.opening.take() else { return };
        let options = &segment.header.options;
        let flags = segment.header.flags;
        let ecn = if segment.has(TcpFlags::ACK) {
            ecn::is_agreed_by_syn_ack(opening.ecn, flags)
        } else {
            ecn::agrees_to_syn(opening.ecn, flags)
        };
        let theirs = options.timestamps.filter(|_| cx.config.timestamps && opening.terms.timestamps);
        // Who acknowledges our SYN has seen it. A bare SYN, which anyone can send, does not decide where answers go.
        let link = if segment.has(TcpFlags::ACK) { *link } else { self.link };
        let mut offer = Offer::of_syn(options, ecn, default_mss(self.tuple.remote.address));
        offer.sack &= opening.terms.sack;
        let handshake = Handshake {
            clocks: theirs.map(|theirs| opening.clocks.with_recent(theirs.value)),
            max_segment: opening.fitted(self.tuple.local.address),
            ..Handshake::new(self.tuple, link, opening.iss, segment.header.seq, &offer, cx.config)
        };
        // Where that is no less than the link takes, nothing was asked for.
        let is_less = |asked: &MaxSegment| asked.of(u16::MAX) < mss_for(self.tuple.local.address, opening.mtu);
        let asked = Some(opening.terms.max_segment).filter(is_less).unwrap_or_default();
        opening.handshake = Some(handshake);
        opening.due = true;
        let mut agreed = Self::established(cx, &handshake);
        agreed.send.inherit(&mut self.send);
        agreed.receive.adopt_memory(&mut self.receive);
        agreed.opening = Some(opening);
        agreed.timers = std::mem::take(&mut self.timers);
        agreed.timeouts = self.timeouts;
        std::mem::swap(&mut agreed.recorder, &mut self.recorder);
        agreed.options = Options { max_segment: asked, ..self.options };
        agreed.diffserv.ours = self.diffserv.ours;
        (agreed.reader, agreed.write_blocked) = (self.reader, self.write_blocked);
        *self = agreed;
    }

    /// ESTABLISHED, by a segment with the peer's SYN and an acknowledgment of ours; what else is in it counts too.
    fn open_with(&mut self, cx: Cx<'_>, segment: &Segment<'_>) -> Result<(), DropReason> {
        self.opened(cx);
        self.acks.owe();
        self.take_acknowledgment(cx, segment);
        let mut header = segment.header;
        header.seq = self.receive.nxt();
        header.flags.remove(TcpFlags::SYN);
        let behind = Segment { header, ..*segment };
        self.take_data(cx, &behind)?;
        self.take_fin(cx, &behind);
        Ok(())
    }

    /// Our SYN is acknowledged: ESTABLISHED.
    pub(super) fn opened(&mut self, cx: Cx<'_>) {
        // Where both ends opened at once, our SYN-ACK was the SYN once more.
        let sent_once = self.timeouts == 0 && self.state != State::SynReceived;
        let took = self.opening.take().filter(|_| sent_once).map(|opening| cx.now - opening.begun);
        self.apply_syn_timing(SynTiming { took, timeouts: self.timeouts }, cx.config);
        self.state = State::Established;
        self.recorder.note(cx.now, Happening::State(State::Established));
        self.timers.cancel(Timer::Retransmit);
        self.timeouts = 0;
        self.signals |= Signals::OPENED;
    }

    /// Our SYN, or SYN-ACK, was not answered in time.
    pub(super) fn opening_timed_out(&mut self, cx: Cx<'_>) {
        let Some(opening) = &mut self.opening else { return };
        opening.due = true;
        let (begun, limit) = (opening.begun, self.options.user_timeout.unwrap_or(cx.config.syn_timeout));
        self.note_timeout(cx.config);
        self.recorder.note(cx.now, Happening::SynAgain(self.timeouts));
        self.rtt.back_off(cx.config);
        if cx.now - begun >= limit {
            self.finish_with(CloseReason::TimedOut, Cause::SynUnanswered);
        }
    }

    /// The SYN, the SYN-ACK, or an acknowledgment, where one of them is due.
    pub(super) fn transmit_opening(&mut self, cx: Cx<'_>, buffer: &mut [u8]) -> Option<(usize, SentKind)> {
        let opening = self.opening.as_mut().filter(|opening| opening.is_resolved)?;
        if !std::mem::take(&mut opening.due) {
            return self.acks.is_due().then(|| (self.write_acknowledgment(cx, buffer), SentKind::Acknowledgment));
        }
        let is_retransmission = self.timeouts > 0;
        if !is_retransmission && opening.handshake.is_none() {
            opening.begun = cx.now; // what came before was waiting for a neighbour
        }
        let limit = self.options.user_timeout.unwrap_or(cx.config.syn_timeout);
        let ip = cx.config.ip_header(&self.tuple, self.diffserv.ours.with(Codepoint::NotCapable));
        let tcp = opening.syn(cx, &self.tuple, is_retransmission);
        let deadline = (cx.now + self.rtt.rto()).min((opening.begun + limit).max(cx.now));
        self.timers.arm(Timer::Retransmit, deadline);
        let length = wire::write_tcp(&self.link, &ip, &tcp, (&[], &[]), buffer);
        Some((length, if is_retransmission { SentKind::Retransmission } else { SentKind::New }))
    }
}

impl Opening {
    /// Our SYN, or SYN-ACK.
    fn syn(&self, cx: Cx<'_>, tuple: &FourTuple, is_retransmission: bool) -> TcpHeader {
        if let Some(handshake) = &self.handshake {
            return handshake.syn_ack(handshake.syn_ack_options(cx), cx.config);
        }
        TcpHeader {
            source_port: tuple.local.port,
            destination_port: tuple.remote.port,
            seq: self.iss,
            ack: SeqNumber::default(),
            flags: TcpFlags::SYN | ecn::syn_flags(self.ecn, is_retransmission),
            window: syn_ack_window(cx.config),
            urgent: 0,
            options: self.offer(cx, tuple),
        }
    }

    /// The largest segments, as far as we have a say: what was asked for, and what the interface takes.
    fn fitted(&self, local: IpAddr) -> MaxSegment {
        MaxSegment::new(self.terms.max_segment.of(mss_for(local, self.mtu)))
    }

    /// What our SYN offers.
    fn offer(&self, cx: Cx<'_>, tuple: &FourTuple) -> TcpOptions {
        TcpOptions {
            mss: Some(self.terms.max_segment.of(mss_for(tuple.local.address, self.mtu))),
            window_scale: Some(window_scale_for(cx.config.receive_buffer)),
            sack_permitted: cx.config.sack && self.terms.sack,
            timestamps: (cx.config.timestamps && self.terms.timestamps).then(|| self.clocks.option(cx.now)),
            ..TcpOptions::default()
        }
    }
}
