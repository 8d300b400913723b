//! A segment arrives at a synchronized connection: the ladder of RFC 9293 §3.10.7.4, one named step after the other.
//!
//! A step that refuses the segment returns the reason, and whatever the peer is owed for it is noted on the way.

use super::{
    congestion::{Ack, Controller},
    connection::Connection,
    cx::Cx,
    options::Reader,
    outcome::AckEvent,
    recorder::{Cause, Happening},
    send::{AckTime, Acknowledged, Resent},
    signals::{CloseReason, Signals},
    state::{State, Step},
    timers::Timer,
    timestamps::OUTDATED_AFTER,
};
use crate::{
    config::{TcpConfig, Thrift},
    drops::DropReason,
    time::Instant,
    wire::{LinkHeader, Segment, TcpFlags, ip::Dscp},
};
use std::time::Duration;

/// A round trip that takes less is not worth writing down, however quick the others were.
const JUMP: Duration = Duration::from_millis(20);

impl Connection {
    /// Takes in a segment; `link` answers the frame that it came in.
    ///
    /// # Errors
    /// Why it was refused, for the counters; there is nothing left to do about it.
    pub fn arrive(&mut self, cx: Cx<'_>, link: &LinkHeader, segment: &Segment<'_>) -> Result<(), DropReason> {
        // Where nothing may grow, each step asks for room.
        if cx.config.thrift != Thrift::Strict && self.process_predicted(cx, link, segment) {
            return Ok(());
        }
        self.process_segment(cx, link, segment)
    }

    /// The ladder. Where a segment came with another link header than answers have, the stack is told.
    pub(super) fn process_segment(
        &mut self,
        cx: Cx<'_>,
        link: &LinkHeader,
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        let outcome = self.process_steps(cx, link, segment);
        if *link != self.link && !self.is_opening() {
            self.signals |= Signals::OTHER_LINK;
        }
        if let Err(reason) = outcome {
            self.recorder.note_seldom(cx.now, Happening::Refused(reason));
        }
        outcome
    }

    fn process_steps(&mut self, cx: Cx<'_>, link: &LinkHeader, segment: &Segment<'_>) -> Result<(), DropReason> {
        if self.is_opening()
            && let Some(outcome) = self.process_opening(cx, link, segment)
        {
            return outcome;
        }
        self.check_paws(cx.now, segment)?;
        self.check_sequence(cx.now, segment)?;
        if segment.has(TcpFlags::RST) {
            return self.take_reset(cx.now, segment);
        }
        self.check_syn(cx.now, segment)?;
        let ends_handshake = self.is_opening() && segment.header.ack == self.send.una();
        self.check_ack(cx, segment)?;
        let known = (self.send.una(), self.receive.nxt());
        self.diffserv.theirs = Dscp::of(segment.traffic_class);
        if self.is_ts_recent_outdated(cx.now) {
            self.replace_ts_recent(segment);
        }
        self.update_ts_recent(segment);
        if self.ecn.arrived(segment) {
            self.recorder.note_seldom(cx.now, Happening::Marked);
        }
        self.liveness.heard(cx.now);
        let was_active = self.recovery.is_active();
        self.take_acknowledgment(cx, segment);
        if self.recovery.is_active() && !was_active {
            self.ecn.reduced(self.send.nxt());
        }
        self.take_urgent(segment);
        let taken = self.take_data(cx, segment);
        if taken.is_ok() {
            self.take_fin(cx, segment);
        }
        // Answers follow a segment's link only where it acknowledges something new or brings what comes next. To forge that, numbers
        // must be met exactly; an empty segment need only fall into two windows, which are large.
        if ends_handshake || known != (self.send.una(), self.receive.nxt()) {
            self.link = *link;
        }
        taken
    }

    /// Before everything: is it older than the last one? (R1 of RFC 7323 §5.3.) An RST is not asked, nor is a SYN,
    /// which draws a challenge wherever it comes from (RFC 5961 §4.2). Nor is a segment without timestamps: RFC 7323 §3.2 would have
    /// it dropped, and a connection through a middlebox that takes options out would never get on. It is as well protected as one
    /// of a peer that has no clock.
    fn check_paws(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), DropReason> {
        let Some((clocks, received)) = self.clocks.zip(segment.header.options.timestamps) else { return Ok(()) };
        let is_asked = !segment.header.flags.intersects(TcpFlags::RST | TcpFlags::SYN);
        if !is_asked || !clocks.is_old(received) || self.is_ts_recent_outdated(now) {
            return Ok(());
        }
        self.answer_unacceptable(now, segment);
        Err(DropReason::OldTimestamp)
    }

    /// Whether TS.Recent says nothing any more (RFC 7323 §5.5).
    fn is_ts_recent_outdated(&self, now: Instant) -> bool {
        now >= self.liveness.heard_at() + OUTDATED_AFTER
    }

    /// First: does any of it lie in the receive window?
    fn check_sequence(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), DropReason> {
        let (seq, length) = (segment.header.seq, segment.len());
        let (nxt, window) = (self.receive.nxt(), self.receive.window());
        let acceptable = if segment.has(TcpFlags::RST) {
            seq == nxt || seq.in_window(nxt, window)
        } else if length == 0 {
            // The right edge itself counts too: there a peer stands that has filled the window, and its acknowledgments
            // are worth having. Where it is shut, one that has probed it with an octet stands behind that.
            seq.since(nxt) <= window.max(1)
        } else if window == 0 {
            // The data cannot be taken, but their acknowledgment and RST can (MUST-66, RFC 9293 §3.10.7.4).
            seq == nxt
        } else {
            seq.in_window(nxt, window) || seq.advance(length - 1).in_window(nxt, window)
        };
        if acceptable {
            return Ok(());
        }
        if !segment.has(TcpFlags::RST) {
            self.answer_unacceptable(now, segment);
        }
        if !segment.header.flags.intersects(TcpFlags::RST | TcpFlags::SYN) {
            self.receive.note_duplicate(seq, segment.payload.len() as u32);
            if seq.advance(length) == nxt {
                // The last segment came again, for want of its acknowledgment: the echo is to tell which of the two this one answers.
                // RFC 7323 §5.3 would have it rejected first (R2), but Linux has it so, and it is as exact as an RST must be.
                self.update_ts_recent(segment);
            }
        }
        Err(DropReason::OutsideWindow)
    }

    /// A segment that is not acceptable draws an acknowledgment. Two ends that find each other's acknowledgments unacceptable would
    /// answer each other for ever, and a SYN is challenged wherever it stands (RFC 5961 §4.2): these have a limit (§7). Data and
    /// a FIN have none: mostly they come again because an acknowledgment was lost, and until one arrives so do they. Nothing
    /// loops there, since the answer takes no sequence space, and it is no longer than what it answers.
    fn answer_unacceptable(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.is_empty() || segment.has(TcpFlags::SYN) {
            self.challenge(now);
        } else {
            self.acks.owe();
        }
    }

    /// Second: a reset must be exact (RFC 5961 §3.2).
    fn take_reset(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), DropReason> {
        if segment.header.seq != self.receive.nxt() {
            self.challenge(now);
            return Err(DropReason::InexactReset);
        }
        // Where we opened, the peer has refused (MUST-11).
        if self.is_opening() {
            self.finish_with(CloseReason::Refused, Cause::RefusedByReset);
        } else {
            self.finish_with(CloseReason::ResetByPeer, Cause::ResetByPeer);
        }
        Ok(())
    }

    /// Fourth (security, the third, is long obsolete): a SYN has no business here (RFC 5961 §4.2).
    fn check_syn(&mut self, now: Instant, segment: &Segment<'_>) -> Result<(), DropReason> {
        if segment.has(TcpFlags::SYN) {
            self.challenge(now);
            return Err(DropReason::SynInWindow);
        }
        Ok(())
    }

    /// Fifth: without a plausible acknowledgment it is not from our peer (RFC 5961 §5.2).
    fn check_ack(&mut self, cx: Cx<'_>, segment: &Segment<'_>) -> Result<(), DropReason> {
        if !segment.has(TcpFlags::ACK) {
            return Err(DropReason::NoAck);
        }
        if !self.send.is_plausible_ack(segment.header.ack) {
            // Before the handshake is over the answer is an RST, which the stack sends (RFC 9293 §3.10.7.4).
            if !self.is_opening() {
                self.challenge(cx.now);
            }
            return Err(DropReason::UnacceptableAck);
        }
        if self.is_opening() {
            self.opened(cx);
        }
        Ok(())
    }

    /// Takes in the peer's clock anew, wherever the segment stands: those behind it would be refused for as long again.
    #[cold]
    fn replace_ts_recent(&mut self, segment: &Segment<'_>) {
        if let (Some(clocks), Some(received)) = (&mut self.clocks, segment.header.options.timestamps) {
            *clocks = clocks.with_recent(received.value);
        }
    }

    /// R3 of RFC 7323 §4.3.
    pub(super) fn update_ts_recent(&mut self, segment: &Segment<'_>) {
        if let (Some(clocks), Some(received)) = (&mut self.clocks, segment.header.options.timestamps)
            && segment.header.seq.at_or_before(self.acks.last_sent())
        {
            clocks.update(received);
        }
    }

    pub(super) fn take_acknowledgment(&mut self, cx: Cx<'_>, segment: &Segment<'_>) {
        let ack = segment.header.ack;
        if !self.send.una().at_or_before(ack) {
            return self.process_old_sack(cx.now, segment);
        }
        if self.acknowledges_in_order(segment) {
            if self.send.una() == ack {
                self.send.update_window(segment);
            } else if self.acknowledged_in_order(cx, segment) {
                self.step(cx, Step::FinAcknowledged);
            }
            return;
        }
        // The window counts as tested where it was at least half used (RFC 7661 §4.1).
        let limited = self.send.peak() >= self.congestion.window() / 2;
        let time = AckTime { now: cx.now, echo: self.clocks.zip(segment.header.options.timestamps) };
        let advances = self.send.una().precedes(ack);
        let mut acknowledged = if advances { self.send.acknowledge(ack, &time) } else { Acknowledged::default() };
        if self.sack {
            self.send.process_sack(ack, segment.header.options.sack.as_slice(), &time, &mut acknowledged);
        }
        if acknowledged.resent.is_some() {
            acknowledged.rtt = acknowledged.rtt.or_else(|| self.time_of_resent(&acknowledged, &time, cx.config));
        }
        if advances {
            self.data_acknowledged(&acknowledged, cx);
        }
        let window_changed = self.take_window(segment);
        let is_duplicate = !advances && !window_changed && segment.is_empty() && self.send.flight_size() > 0;
        let is_duplicate = is_duplicate && self.send.window() > 0;
        let smoothed = self.rtt.smoothed();
        // What was sacked before has had its effect.
        let octets = acknowledged.octets.min(acknowledged.delivered);
        let ack = Ack { octets, limited, now: cx.now, rtt: smoothed.unwrap_or_default() };
        let event = AckEvent { ack, acknowledged, time, is_duplicate, sack: self.sack, smoothed };
        let wait = self.recovery.acknowledged(&event, &mut self.send, &mut self.congestion);
        self.note_recovery(cx.now);
        self.set_reordering_timer(wait, cx.now);
        // While a loss is repaired the window has been reduced already; the peer is told all the same.
        if self.ecn.acknowledged(segment, self.send.nxt()) && !self.recovery.is_active() {
            self.congestion.marked(self.send.peak());
            self.recorder.note_seldom(cx.now, Happening::Slowed);
        }
        if acknowledged.delivered > 0 {
            // Whether the end of what is in flight has arrived too, the next probe will tell.
            self.timers.cancel(Timer::TailProbe);
        }
        if acknowledged.fin {
            self.step(cx, Step::FinAcknowledged);
        }
    }

    /// A round trip took long: written down where it took far longer than those before.
    #[cold]
    fn note_long_round_trip(&mut self, now: Instant, rtt: Duration) {
        if self.rtt.smoothed().is_some_and(|smoothed| rtt >= 2 * smoothed + JUMP) {
            let micros = rtt.as_micros().try_into().unwrap_or(u32::MAX);
            self.recorder.note_seldom(now, Happening::RoundTripJumped(micros));
        }
    }

    /// An acknowledgment that was overtaken by a later one says nothing of SND.UNA, nor of the window. But what its SACK
    /// blocks cover has arrived (RFC 2018 §4), and the later one may have had no room for these blocks, or other ones.
    #[cold]
    fn process_old_sack(&mut self, now: Instant, segment: &Segment<'_>) {
        if !self.sack || segment.header.options.sack.as_slice().is_empty() {
            return;
        }
        // Its echo is as old as itself.
        let time = AckTime { now, echo: None };
        let mut acknowledged = Acknowledged::default();
        let blocks = segment.header.options.sack.as_slice();
        self.send.process_sack(segment.header.ack, blocks, &time, &mut acknowledged);
        let smoothed = self.rtt.smoothed();
        let ack = Ack { octets: 0, limited: false, now, rtt: smoothed.unwrap_or_default() };
        let event = AckEvent { ack, acknowledged, time, is_duplicate: false, sack: true, smoothed };
        let wait = self.recovery.acknowledged(&event, &mut self.send, &mut self.congestion);
        self.note_recovery(now);
        self.set_reordering_timer(wait, now);
        if acknowledged.delivered > 0 {
            self.timers.cancel(Timer::TailProbe);
        }
    }

    /// The round-trip time of something that was sent again, where it is known which of the transmissions has been answered.
    /// Karn's algorithm (RFC 6298 §3) would have none of them count, and where each segment is sent again, by a probe of the tail
    /// or because acknowledgments are lost, a timeout that has backed off once would stay so for ever.
    #[cold]
    fn time_of_resent(&mut self, acknowledged: &Acknowledged, time: &AckTime, config: &TcpConfig) -> Option<Duration> {
        let Resent { start, end, sent_at } = acknowledged.resent?;
        let rtt = time.now - sent_at;
        // RFC 7323 §4.1: an echo from no earlier than the last transmission is of that.
        if time.echo.is_some() && !time.answers_before(sent_at) {
            return Some(rtt);
        }
        // It has arrived twice (RFC 2883), so this is no answer to what came first. It is taken for one to the last transmission
        // where it comes when that was to be expected: by no less than a round trip, and by no more than the timeout without any
        // back-off. Where that is a mistake, the timeout is as short as it was before, and backs off again.
        let (left, right) = acknowledged.dsack?;
        let is_twice = left.at_or_before(start) && end.at_or_before(right);
        let is_expected = self.send.rack().is_possible(rtt) && rtt <= self.rtt.without_back_off(config);
        (is_twice && is_expected).then_some(rtt)
    }

    pub(super) fn data_acknowledged(&mut self, acknowledged: &Acknowledged, cx: Cx<'_>) {
        let config = cx.config;
        if let Some(rtt) = acknowledged.rtt {
            if rtt >= JUMP {
                self.note_long_round_trip(cx.now, rtt);
            }
            self.rtt.measured(rtt, config);
        }
        self.timeouts = 0;
        self.timers.cancel(Timer::User);
        self.timers.cancel(Timer::Retransmit); // RFC 6298 §5.3: it starts afresh when everything due has been sent
        if self.has_room_again(config) {
            self.signals |= Signals::WRITABLE;
        }
    }

    /// Seventh: the text of the segment.
    pub(super) fn take_data(&mut self, cx: Cx<'_>, segment: &Segment<'_>) -> Result<(), DropReason> {
        if segment.payload.is_empty() {
            return Ok(());
        }
        if !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            return Err(DropReason::DataAfterFin);
        }
        let end = segment.header.seq.advance(segment.payload.len() as u32);
        if self.reader == Reader::Nobody && self.receive.nxt().precedes(end) {
            self.finish_with(CloseReason::Aborted, Cause::DataAfterClose);
            return Err(DropReason::DataAfterClose);
        }
        let (seq, length) = (segment.header.seq, segment.payload.len() as u32);
        let fits = self.check_memory(seq, length, cx.config.thrift);
        let stored = match fits.and_then(|()| self.receive.store(seq, segment.payload, cx.config.max_holes)) {
            Ok(stored) => stored,
            Err(reason) => {
                self.acks.owe_duplicate();
                return Err(reason);
            }
        };
        if stored.advanced == 0 && self.receive.has_holes() {
            self.recorder.note_seldom(cx.now, Happening::OutOfOrder);
            self.signals |= Signals::OUT_OF_ORDER;
        }
        if self.reader == Reader::Sink {
            self.consume(self.readable_len());
        } else if stored.advanced > 0 {
            self.signals |= Signals::READABLE;
        }
        self.tune_window(cx, segment);
        self.schedule_ack(cx, stored);
        Ok(())
    }

    /// Offers more where the application reads fast enough, and there is memory for that.
    pub(super) fn tune_window(&mut self, cx: Cx<'_>, segment: &Segment<'_>) {
        if let (Some(clocks), Some(received)) = (&self.clocks, segment.header.options.timestamps) {
            self.tuning.measured(clocks.since_echo(cx.now, received));
        }
        if let Some(smoothed) = self.rtt.smoothed() {
            self.tuning.measured(smoothed);
        }
        if let Some(limit) = self.tuning.arrived(self.receive.nxt(), cx.now)
            && cx.config.thrift == Thrift::None
        {
            self.receive.raise_limit(limit);
        }
    }

    /// Eighth: the FIN, which counts only when everything before it has arrived.
    pub(super) fn take_fin(&mut self, cx: Cx<'_>, segment: &Segment<'_>) {
        if segment.has(TcpFlags::FIN) {
            let seq = segment.header.seq.advance(segment.payload.len() as u32);
            if seq.since(self.receive.nxt()) <= self.receive.window() {
                self.receive.note_fin(seq);
            }
            self.acks.owe();
        }
        if self.receive.take_fin() {
            if cx.config.separate_fin_ack {
                self.acks.owe_alone()
            } else {
                self.acks.owe()
            }
            self.signals |= Signals::READABLE;
            self.step(cx, Step::FinReceived);
        }
    }
}
