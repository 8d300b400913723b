//! The control block of one connection, from SYN-SENT or ESTABLISHED to its end.

use super::{
    acks::{AckSchedule, QuickAcks},
    challenges::Challenges,
    congestion::{Congestion, Controller},
    cx::Cx,
    ecn::Ecn,
    handshake::{Handshake, syn_ack_window},
    liveness::Liveness,
    opening::Opening,
    options::{Diffserv, Options, Reader},
    path_mtu::PathLimit,
    persist::Persist,
    receive::{ReceiveSide, window_scale_for},
    recorder::{Beginning, Cause, Happening, Recorder},
    recovery::Recovery,
    rto::RttEstimator,
    send::SendSide,
    signals::{CloseReason, Signals},
    state::{State, Step},
    timers::{Timer, Timers},
    timestamps::TimestampState,
    tuning::Tuning,
    urgent::Urgent,
};
use crate::{
    time::Instant,
    wire::{FourTuple, LinkHeader, SeqNumber, ip::Dscp},
};
use std::time::Duration;

/// One connection, sans I/O: from the end of the handshake on, or from our SYN where we open it.
///
/// It reads no clock and sends nothing by itself. Its methods form four families:
///
/// - **Input**: [`arrive`](Self::arrive) takes in a segment, or says why it was refused; [`handle_timeout`](Self::handle_timeout)
///   deals with every timer that is due.
/// - **Output**: [`take_signals`](Self::take_signals) says what the application should hear of,
///   [`poll_transmit`](Self::poll_transmit) writes the next segment, [`poll_timeout`](Self::poll_timeout) says when
///   `handle_timeout` is to be called next, and [`state`](Self::state) whether the connection is over.
/// - **Commands of the application**: [`readable`](Self::readable) and [`consume`](Self::consume) to read;
///   [`write`](Self::write), [`write_with`](Self::write_with) and [`room_or_wait`](Self::room_or_wait) to write;
///   [`shutdown_write`](Self::shutdown_write), [`close`](Self::close), [`close_discarding`](Self::close_discarding) and
///   [`abort`](Self::abort) to end; and options (`set_...`).
/// - **Its owner's business**: [`established`](Self::established) and [`opening`](Self::opening) begin a connection,
///   [`suspend`](Self::suspend) and [`resume`](Self::resume) let an idle one take less memory, and `memory`, `give_back` and
///   `adopt_memory` say what it takes and hand it on.
///
/// # Order of calls
/// After any input and any command the outputs are to be asked, in this order:
///
/// 1. [`take_signals`](Self::take_signals), once; asking clears them.
/// 2. [`state`](Self::state). In [`State::TimeWait`] and [`State::Closed`] the control block is of no more use: what is left to be
///    said is an acknowledgment or an RST, which its owner sends with the numbers of [`sequence`](Self::sequence).
/// 3. [`poll_transmit`](Self::poll_transmit), until it returns `None`. Only then does every timer stand as it should. An owner that
///    sends a limited number of segments each turn asks [`has_sent_all`](Self::has_sent_all) after the last one.
/// 4. [`poll_timeout`](Self::poll_timeout).
///
/// Several segments may arrive before the outputs are asked; acknowledgments are merged then, and so is what the application hears.
///
/// # Time
/// What depends on the time or on the stack's configuration is told both, by a [`Cx`]: `config.at(now)`. `now` must not go back from
/// one call to the next; it may stand still. A call of `handle_timeout` before the deadline does nothing, and one that is late deals
/// with all that is overdue. Of the configuration only [`thrift`](crate::config::TcpConfig::thrift) and the MTU may change while there
/// is a connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) tuple: FourTuple,
    pub(super) link: LinkHeader,
    pub(super) state: State,
    /// There until the handshake that we began is over.
    pub(super) opening: Option<Box<Opening>>,
    pub(super) send: SendSide,
    pub(super) receive: ReceiveSide,
    /// Whether both sides use SACK.
    pub(super) sack: bool,
    pub(super) clocks: Option<TimestampState>,
    pub(super) ecn: Ecn,
    pub(super) diffserv: Diffserv,
    pub(super) rtt: RttEstimator,
    pub(super) congestion: Congestion,
    pub(super) recovery: Recovery,
    pub(super) path: PathLimit,
    pub(super) timers: Timers,
    pub(super) acks: AckSchedule,
    pub(super) quick_acks: QuickAcks,
    pub(super) tuning: Tuning,
    pub(super) signals: Signals,
    pub(super) end: Option<CloseReason>,
    /// Retransmissions and window probes in a row that drew no answer.
    pub(super) timeouts: u32,
    pub(super) persist: Persist,
    pub(super) reader: Reader,
    /// The application found too little room to write.
    pub(super) write_blocked: bool,
    /// Data were sent to the peer, or never will be.
    pub(super) is_answered: bool,
    pub(super) options: Options,
    pub(super) urgent: Urgent,
    pub(super) liveness: Liveness,
    /// Start and count of the current second of challenge ACKs.
    pub(super) challenges: Challenges,
    pub(super) recorder: Recorder,
}

impl Connection {
    /// The connection that a handshake has opened: ESTABLISHED, our SYN acknowledged.
    pub fn established(cx: Cx<'_>, handshake: &Handshake) -> Self {
        let Cx { now, config } = cx;
        let mss = handshake.effective_mss(config);
        let (peer_scale, our_scale) = match handshake.peer_window_scale {
            Some(scale) => (scale, window_scale_for(config.receive_buffer)),
            None => (0, 0),
        };
        let receive_limit = match handshake.peer_window_scale {
            Some(_) => config.receive_buffer,
            None => config.receive_buffer.min(usize::from(u16::MAX)),
        };
        let window = u32::from(syn_ack_window(config));
        // With room to round up in: see [`ReceiveSide::advertise`].
        let initial = config.initial_window + config.initial_window / 8;
        Self {
            tuple: handshake.tuple,
            link: handshake.link,
            state: State::Established,
            opening: None,
            send: SendSide::new(handshake.iss, handshake.irs, mss, peer_scale, now, config.clock_tick),
            receive: ReceiveSide::new(handshake.irs, window, our_scale, receive_limit.min(initial)),
            sack: handshake.sack,
            clocks: handshake.clocks,
            ecn: Ecn::new(handshake.ecn),
            diffserv: Diffserv { ours: config.dscp, theirs: Dscp::default() },
            rtt: RttEstimator::new(config),
            congestion: Congestion::new(config.congestion_control, mss),
            recovery: Recovery::default(),
            path: PathLimit { full_mss: mss, until: None },
            timers: Timers::default(),
            acks: AckSchedule::new(handshake.irs.advance(1)),
            quick_acks: QuickAcks::new(config.quick_acks, now),
            tuning: Tuning::new(receive_limit, now),
            signals: Signals::default(),
            end: None,
            timeouts: 0,
            persist: Persist::default(),
            reader: Reader::Application,
            write_blocked: false,
            is_answered: false,
            options: Options { max_segment: handshake.max_segment, ..Options::of(config) },
            urgent: Urgent::default(),
            liveness: Liveness::new(now),
            challenges: Challenges::new(now),
            recorder: Recorder::new(now, Beginning::Accepted),
        }
    }

    /// The two ends.
    pub fn tuple(&self) -> &FourTuple {
        &self.tuple
    }

    /// The link header of what is sent.
    pub fn link(&self) -> &LinkHeader {
        &self.link
    }

    /// The state. [`State::TimeWait`] and [`State::Closed`] mean that the protocol needs this control block no more.
    pub fn state(&self) -> State {
        self.state
    }

    /// How it ended, once its state is [`State::Closed`].
    pub fn end(&self) -> Option<CloseReason> {
        self.end
    }

    /// SND.NXT and RCV.NXT, which is all that TIME-WAIT, or an RST, needs to know.
    pub fn sequence(&self) -> (SeqNumber, SeqNumber) {
        (self.send.nxt(), self.receive.nxt())
    }

    /// RCV.NXT and SND.UNA: neither moves unless the peer says something.
    pub fn heard_up_to(&self) -> (SeqNumber, SeqNumber) {
        (self.receive.nxt(), self.send.una())
    }

    /// Whether data were sent to the peer, or never will be.
    #[inline]
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Something new was sent where nothing was [answered](Self::is_answered) before: how long that has taken since the peer said something
    /// last, if it is an octet of data.
    pub fn first_octet(&mut self, now: Instant) -> Option<Duration> {
        if self.is_opening() {
            return None; // it was our SYN
        }
        self.is_answered = true;
        // A lone FIN is no octet, and nothing will follow it.
        let is_closing = matches!(self.state, State::FinWait1 | State::Closing | State::LastAck);
        (self.send.flight_size() > u32::from(is_closing)).then(|| now - self.liveness.heard_at())
    }

    /// Whether something was written that the peer has not acknowledged.
    pub fn has_outstanding(&self) -> bool {
        self.send.flight_size() > 0 || self.send.has_unsent()
    }

    /// Both clocks, where timestamps are in use.
    pub fn clocks(&self) -> Option<TimestampState> {
        self.clocks
    }

    /// The smoothed round-trip time, once one was measured.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// Whether an octet is in flight, so that only who saw it on its way can name its number (RFC 5927 §4.1).
    pub fn is_in_flight(&self, seq: SeqNumber) -> bool {
        if self.is_opening() {
            return seq.advance(1) == self.send.una(); // our SYN
        }
        seq.in_window(self.send.una(), self.send.flight_size())
    }

    /// What the application should hear of; asking clears it.
    pub fn take_signals(&mut self) -> Signals {
        std::mem::take(&mut self.signals)
    }

    // Commands of the application.

    /// Received data, the first piece of them where the ring wraps.
    pub fn readable(&self) -> &[u8] {
        self.receive.readable().front()
    }

    /// Octets received and not yet consumed.
    pub fn readable_len(&self) -> usize {
        self.receive.readable().len()
    }

    /// Takes `length` octets that the application has read, which may open the window.
    ///
    /// # Panics
    /// Where fewer are readable.
    pub fn consume(&mut self, length: usize) {
        self.receive.consume(length);
        self.tuning.read(length);
        if self.receive.should_announce_window(self.send.mss()) {
            self.acks.owe();
        }
    }

    /// Whether the peer has closed its side and everything it sent has been read.
    pub fn is_at_end(&self) -> bool {
        self.receive.is_finished() && self.receive.readable().is_empty()
    }

    /// Whether the peer has closed its side, and all it sent before has arrived.
    pub fn peer_has_closed(&self) -> bool {
        self.receive.is_finished()
    }

    /// Closes our side: a FIN follows what was written. The peer may go on sending (half-close).
    pub fn shutdown_write(&mut self) {
        self.send.close();
    }

    /// Closes both sides. Data that the application has not read, or that come later, reset the connection, because
    /// otherwise the peer would believe they were read (SHLD-3).
    pub fn close(&mut self, cx: Cx<'_>) {
        if self.state == State::SynSent {
            return self.finish_with(CloseReason::Aborted, Cause::Application); // RFC 9293 §3.10.4
        }
        self.close_to(cx, Reader::Nobody);
        if !self.receive.readable().is_empty() {
            self.finish_with(CloseReason::Aborted, Cause::ClosedUnread);
        }
    }

    /// Closes both sides, and throws away what was not read or comes later: a peer that is still sending gets to read our last
    /// words instead of an RST.
    pub fn close_discarding(&mut self, cx: Cx<'_>) {
        self.close_to(cx, Reader::Sink);
        self.consume(self.readable_len());
    }

    fn close_to(&mut self, cx: Cx<'_>, reader: Reader) {
        self.send.close();
        self.reader = reader;
        if self.state == State::FinWait2 {
            self.timers.arm_if_idle(Timer::FinWait2, cx.now + cx.config.fin_wait_2);
        }
    }

    /// Ends the connection at once; an RST tells the peer. One that had ended for the protocol has not ended in order, if something
    /// is lost that came and was not read.
    pub fn abort(&mut self) {
        self.abort_for(Cause::Application);
    }

    /// [`Connection::abort`], for a reason that its history tells.
    pub fn abort_for(&mut self, cause: Cause) {
        if self.end == Some(CloseReason::Finished) && !self.is_discarding() && self.readable_len() > 0 {
            self.end = None;
            self.recorder.take_back_end();
        }
        self.reader = Reader::Nobody; // nor will what has come be read
        self.finish_with(CloseReason::Aborted, cause);
    }

    /// Whether the application has closed both sides.
    pub fn is_discarding(&self) -> bool {
        self.reader != Reader::Application
    }

    /// Whether small segments go out at once (MUST-17).
    pub fn set_nodelay(&mut self, no_delay: bool) {
        self.options.no_delay = no_delay;
    }

    /// Sets the code point of all segments from now on (MUST-48, SHLD-21).
    pub fn set_dscp(&mut self, dscp: Dscp) {
        self.diffserv.ours = dscp;
    }

    /// The code point of what we send.
    pub fn dscp(&self) -> Dscp {
        self.diffserv.ours
    }

    /// The code point of the peer's last acceptable segment (MAY-9).
    pub fn peer_dscp(&self) -> Dscp {
        self.diffserv.theirs
    }

    // Timers.

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Deals with every timer that is due.
    pub fn handle_timeout(&mut self, cx: Cx<'_>) {
        while let Some(timer) = self.timers.expire(cx.now) {
            match timer {
                Timer::Retransmit if self.is_opening() => self.opening_timed_out(cx),
                Timer::Retransmit => self.retransmission_timed_out(cx),
                Timer::Reordering => self.reordering_timed_out(cx.now),
                Timer::TailProbe => self.tail_probe_timed_out(),
                Timer::Persist => self.persist_timed_out(cx),
                Timer::DelayedAck => self.acks.owe(),
                Timer::FinWait2 => self.finish_with(CloseReason::Finished, Cause::PeerDidNotClose),
                Timer::User => self.finish_with(CloseReason::TimedOut, Cause::UserTimeout),
                Timer::KeepAlive => self.keep_alive_expired(cx.now),
            }
        }
    }

    /// RFC 6298 §5.4 to §5.6.
    fn retransmission_timed_out(&mut self, cx: Cx<'_>) {
        if !self.count_timeout(cx.config) {
            return;
        }
        let (times, millis) = (self.timeouts.try_into().unwrap_or(u8::MAX), self.rtt.rto().as_millis());
        self.recorder.note(cx.now, Happening::Timeout(times, millis.try_into().unwrap_or(u16::MAX)));
        // RFC 5681 §3.1: the threshold is held when the same segment times out again.
        let (first, smoothed) = (self.timeouts == 1, self.rtt.smoothed());
        self.recovery.timed_out(first, cx.now, smoothed, self.sack, &mut self.send, &mut self.congestion);
        self.timers.cancel(Timer::Reordering);
        self.ecn.reduced(self.send.nxt());
        self.rtt.back_off(cx.config);
    }

    /// RFC 8985 §6.2 step 5.
    fn reordering_timed_out(&mut self, now: Instant) {
        let (smoothed, was_active) = (self.rtt.smoothed(), self.recovery.is_active());
        let wait = self.recovery.reordering_timed_out(now, smoothed, &mut self.send, &mut self.congestion);
        if self.recovery.is_active() && !was_active {
            self.ecn.reduced(self.send.nxt());
        }
        self.set_reordering_timer(wait, now);
    }

    /// Sets the reordering timer, or stops it.
    pub(super) fn set_reordering_timer(&mut self, wait: Option<Duration>, now: Instant) {
        match wait {
            Some(wait) => self.timers.arm(Timer::Reordering, now + wait),
            None => self.timers.cancel(Timer::Reordering),
        }
    }

    /// Sees to it that a timer runs exactly when something is outstanding. Called when everything that could be sent was.
    pub(super) fn update_timers(&mut self, cx: Cx<'_>) {
        self.update_liveness_timers(cx.now);
        if self.arm_persist(cx) {
            return;
        }
        if self.send.flight_size() > 0 {
            self.timers.arm_if_idle(Timer::Retransmit, self.rtt.timeout_after(cx.now));
        } else {
            self.timers.cancel(Timer::Retransmit);
        }
        self.arm_tail_probe(cx);
    }

    // Shared by the families.

    /// Ends the connection for the protocol.
    pub(super) fn finish_with(&mut self, reason: CloseReason, cause: Cause) {
        self.state = State::Closed;
        self.recorder.end_for(cause);
        self.end.get_or_insert(reason);
    }

    /// Moves on in figure 5 of RFC 9293.
    pub(super) fn step(&mut self, cx: Cx<'_>, step: Step) {
        let Some(state) = self.state.after(step) else {
            debug_assert!(false, "{step:?} cannot happen in {}", self.state);
            return;
        };
        self.state = state;
        self.recorder.note_state(cx.now, state);
        match state {
            State::Closed => self.finish_with(CloseReason::Finished, Cause::Closed),
            State::FinWait2 if self.is_discarding() => self.timers.arm(Timer::FinWait2, cx.now + cx.config.fin_wait_2),
            _ => {}
        }
    }

    /// The congestion window, octets.
    pub fn congestion_window(&self) -> u32 {
        self.congestion.window()
    }
}
