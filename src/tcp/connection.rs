//! The control block of one connection, from SYN-SENT or ESTABLISHED to its end.
//!
//! Its methods form four families, and the files follow them: commands of the application (here, and `writing`), segments that
//! arrive (`arrive`), segments to be sent (`transmit`), and timers (here).

use super::{
    challenges::Challenges,
    congestion::{Congestion, Controller},
    ecn::Ecn,
    liveness::Liveness,
    opening::Opening,
    path_mtu::PathLimit,
    receive::{ReceiveSide, window_scale_for},
    recovery::{Recovery, TailProbe},
    rtt::{RttEstimator, granularity},
    send::SendSide,
    state::{State, Step},
    timer::{Timer, Timers},
    timestamps::{self, Clocks},
    tuning::{QuickAcks, Tuning},
    urgent::Urgent,
};
use crate::{
    config::{KeepAlive, TcpConfig},
    time::{Instant, nanos},
    wire::{
        FourTuple, LinkHeader, SeqNumber, TcpOptions,
        ip::{self, Dscp},
        tcp,
    },
};
use std::{net::IpAddr, time::Duration};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides closed and everything was acknowledged.
    #[error("closed in order by both sides")]
    Finished,
    /// The peer reset it.
    #[error("reset by the peer")]
    ResetByPeer,
    /// Nothing came back for so long that it was given up (R2 of RFC 9293 §3.8.3).
    #[error("timed out: the peer acknowledged nothing for too long")]
    TimedOut,
    /// We reset it: the application asked for that, or closed while the peer was still sending.
    #[error("reset by this side")]
    Aborted,
    /// The peer does not accept it: an RST answered our SYN, or an ICMP error that says nobody will.
    #[error("refused: nobody accepts connections there")]
    Refused,
    /// There is no way to the peer: no neighbour answered for the next hop.
    #[error("unreachable: no neighbour answered for the next hop")]
    Unreachable,
}

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// The two ends.
    pub tuple: FourTuple,
    /// The way back on the link: how the peer's frames are answered.
    pub link: LinkHeader,
    /// Our initial sequence number.
    pub iss: SeqNumber,
    /// The peer's initial sequence number.
    pub irs: SeqNumber,
    /// The most data the peer takes in one segment: its MSS option, or the default (MUST-15).
    pub peer_mss: u16,
    /// The peer's window scale; `None` where scaling is not used either way (RFC 7323 §2.2).
    pub peer_window_scale: Option<u8>,
    /// Whether the peer understands SACK, and we want to use it.
    pub sack: bool,
    /// Whether both sides use ECN.
    pub ecn: bool,
    /// Both clocks, where the peer's SYN had timestamps.
    pub clocks: Option<Clocks>,
    /// What our side chose for the size of segments, where it is less than the link takes.
    pub max_segment: MaxSegment,
}

/// The most data in a segment that one listener, or connection, sends and asks its peer for: TCP_MAXSEG of other stacks. By
/// default as much as the link takes. As in the MSS option, octets of TCP options count as data (RFC 6691 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSegment(u16);

impl Default for MaxSegment {
    fn default() -> Self {
        Self(u16::MAX)
    }
}

impl MaxSegment {
    /// The least that may be chosen: the options of a segment leave some room for data.
    pub const LEAST: u16 = 88;

    /// So many octets, or [`MaxSegment::LEAST`] where they are less.
    pub fn new(octets: u16) -> Self {
        Self(octets.max(Self::LEAST))
    }

    /// What is left of an MSS.
    pub fn of(self, mss: u16) -> u16 {
        mss.min(self.0)
    }
}

/// The least a peer may want: with less it would have us spend a header on every few octets. Small devices do want as little as
/// 100, so it is not more; what many small segments cost us has a limit of its own ([`TcpConfig::max_segments`]).
const SMALLEST_MSS: u16 = 64;

/// The MSS assumed where the peer names none (MUST-15).
pub const fn default_mss(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => 536,
        IpAddr::V6(_) => 1_220,
    }
}

/// The most data in one of our segments to or from `address` at this MTU, and the MSS we announce (MUST-67).
pub fn mss_for(address: IpAddr, mtu: usize) -> u16 {
    let data = mtu.saturating_sub(ip::header_len(address) + tcp::HEADER_LEN);
    u16::try_from(data).unwrap_or(u16::MAX)
}

impl Handshake {
    /// The options of our SYN-ACK, if it is sent at `now`.
    pub fn syn_ack_options(&self, now: Instant, config: &TcpConfig) -> TcpOptions {
        TcpOptions {
            mss: Some(self.max_segment.of(mss_for(self.tuple.local.address, config.mtu))),
            window_scale: self.peer_window_scale.map(|_| window_scale_for(config.receive_buffer)),
            sack_permitted: self.sack,
            timestamps: self.clocks.map(|clocks| clocks.option(now)),
            ..TcpOptions::default()
        }
    }
}

/// The window field of our SYN-ACK, which is never scaled (RFC 7323 §2.2).
pub fn syn_ack_window(config: &TcpConfig) -> u16 {
    u16::try_from(config.receive_buffer.min(config.initial_window)).unwrap_or(u16::MAX)
}

bitflags::bitflags! {
    /// What the application should hear of.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Signals: u8 {
        /// Data, or the end of them, can be read.
        const READABLE = 1;
        /// There is room to write again, after there was too little.
        const WRITABLE = 2;
        /// The handshake that we began is over.
        const OPENED = 4;
        /// The peer has announced urgent data.
        const URGENT = 8;
        /// Something was sent again and again without an answer: R1 of RFC 9293 §3.8.3.
        const TROUBLED = 16;
        /// A segment came by another way than answers go, and proved nothing: its stack's business.
        const OTHER_WAY = 32;
        /// Something was sent again, because it drew no answer: its stack makes sure of the way.
        const UNANSWERED = 64;
    }
}

/// Who takes what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Application,
    /// The application has closed both sides: data reset the connection.
    Nobody,
    /// The application has closed, and wants its last words to arrive: data are thrown away.
    Sink,
}

/// How long a peer may keep the acknowledgment of a single segment (MUST-40 says less than 500 ms; Linux has 200).
const LONGEST_DELAYED_ACK: Duration = Duration::from_millis(200);

/// When the next acknowledgment goes out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckSchedule {
    /// Last.ACK.sent of RFC 7323 §4.3.
    pub sent: SeqNumber,
    /// Octets received since the last acknowledgment.
    pub unacknowledged: u32,
    /// Acknowledgments owed at once: one for each early segment, so that the peer can count them (RFC 5681 §3.2).
    pub owed: u32,
    /// Whether the next one is to be a segment of its own ([`TcpConfig::separate_fin_ack`]).
    pub alone: bool,
}

/// The code points of both directions, which are independent (SHLD-23).
#[derive(Clone, Copy, Debug)]
pub(super) struct Diffserv {
    pub ours: Dscp,
    /// That of the last acceptable segment.
    pub theirs: Dscp,
}

/// What an application may choose for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub no_delay: bool,
    pub keep_alive: Option<KeepAlive>,
    pub user_timeout: Option<Duration>,
}

impl Options {
    /// Those of a connection whose application has chosen nothing.
    pub fn of(config: &TcpConfig) -> Self {
        let TcpConfig { keep_alive, user_timeout, .. } = *config;
        Self { no_delay: !config.nagle, keep_alive, user_timeout }
    }
}

/// One connection, from the end of the handshake on, or from its beginning where that is ours.
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
    pub(super) clocks: Option<Clocks>,
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
    /// Window probes in a row.
    pub(super) probes: u32,
    pub(super) probe_due: bool,
    pub(super) reader: Reader,
    /// The application found too little room to write.
    pub(super) write_blocked: bool,
    pub(super) options: Options,
    pub(super) urgent: Urgent,
    pub(super) liveness: Liveness,
    /// Start and count of the current second of challenge ACKs.
    pub(super) challenges: Challenges,
}

impl Connection {
    /// The connection that a handshake has opened: ESTABLISHED, our SYN acknowledged.
    pub fn established(handshake: &Handshake, now: Instant, config: &TcpConfig) -> Self {
        let local = handshake.tuple.local.address;
        let ours = handshake.max_segment.of(mss_for(local, config.mtu));
        let announced = u32::from(handshake.peer_mss.max(SMALLEST_MSS).min(ours));
        // The MSS counts options as if there were none (RFC 6691 §2), so what they take is the data's loss.
        let mss = announced.saturating_sub(handshake.clocks.map_or(0, |_| timestamps::OPTION_LEN)).max(1);
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
            acks: AckSchedule { sent: handshake.irs.advance(1), ..AckSchedule::default() },
            quick_acks: QuickAcks::new(config.quick_acks, now),
            tuning: Tuning::new(receive_limit, now),
            signals: Signals::default(),
            end: None,
            timeouts: 0,
            probes: 0,
            probe_due: false,
            reader: Reader::Application,
            write_blocked: false,
            options: Options::of(config),
            urgent: Urgent::default(),
            liveness: Liveness::new(now),
            challenges: Challenges::new(now),
        }
    }

    /// The two ends.
    pub fn tuple(&self) -> &FourTuple {
        &self.tuple
    }

    /// The way back on the link.
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

    /// Whether something has come since that the last acknowledgment does not cover.
    pub fn owes_acknowledgment(&self) -> bool {
        self.acks.owed > 0 || self.acks.sent != self.receive.nxt()
    }

    /// RCV.NXT and SND.UNA: neither moves unless the peer says something.
    pub fn heard_up_to(&self) -> (SeqNumber, SeqNumber) {
        (self.receive.nxt(), self.send.una())
    }

    /// Whether something was written that the peer has not acknowledged.
    pub fn has_outstanding(&self) -> bool {
        self.send.flight_size() > 0 || self.send.has_unsent()
    }

    /// Both clocks, where timestamps are in use.
    pub fn clocks(&self) -> Option<Clocks> {
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
            self.acks.owed = self.acks.owed.max(1);
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
    pub fn finish(&mut self) {
        self.send.close();
    }

    /// Closes both sides. Data that the application has not read, or that come later, reset the connection, because
    /// otherwise the peer would believe they were read (SHLD-3).
    pub fn close(&mut self, now: Instant, config: &TcpConfig) {
        if self.state == State::SynSent {
            return self.finish_with(CloseReason::Aborted); // RFC 9293 §3.10.4
        }
        self.leave_to(Reader::Nobody, now, config);
        if !self.receive.readable().is_empty() {
            self.finish_with(CloseReason::Aborted);
        }
    }

    /// Closes both sides, and throws away what was not read or comes later: a peer that is still sending gets to read our last
    /// words instead of an RST.
    pub fn linger(&mut self, now: Instant, config: &TcpConfig) {
        self.leave_to(Reader::Sink, now, config);
        self.consume(self.readable_len());
    }

    fn leave_to(&mut self, reader: Reader, now: Instant, config: &TcpConfig) {
        self.send.close();
        self.reader = reader;
        if self.state == State::FinWait2 {
            self.timers.arm_if_idle(Timer::FinWait2, now + config.fin_wait_2);
        }
    }

    /// Ends the connection at once; an RST tells the peer. One that had ended for the protocol has not ended in order, if something
    /// is lost that came and was not read.
    pub fn abort(&mut self) {
        if self.end == Some(CloseReason::Finished) && !self.is_discarding() && self.readable_len() > 0 {
            self.end = None;
        }
        self.reader = Reader::Nobody; // nor will what has come be read
        self.finish_with(CloseReason::Aborted);
    }

    /// Whether the application has closed both sides.
    pub fn is_discarding(&self) -> bool {
        self.reader != Reader::Application
    }

    /// Whether small segments go out at once (MUST-17).
    pub fn set_no_delay(&mut self, no_delay: bool) {
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
    pub fn handle_timeout(&mut self, now: Instant, config: &TcpConfig) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Retransmit if self.is_opening() => self.opening_timed_out(now, config),
                Timer::Retransmit => self.retransmission_timed_out(now, config),
                Timer::Reordering => self.reordering_timed_out(now),
                Timer::TailProbe => {
                    self.recovery.tail = TailProbe::Due;
                    // The probe deserves an answer before everything is taken for lost (RFC 8985 §7.3).
                    self.timers.cancel(Timer::Retransmit);
                }
                Timer::Persist if self.count_timeout(config) => {
                    self.probes += 1;
                    self.probe_due = true;
                }
                Timer::Persist => {}
                Timer::DelayedAck => self.acks.owed = self.acks.owed.max(1),
                Timer::FinWait2 => self.finish_with(CloseReason::Finished),
                Timer::User => self.finish_with(CloseReason::TimedOut),
                Timer::KeepAlive => self.keep_alive_expired(now),
            }
        }
    }

    /// RFC 6298 §5.4 to §5.6.
    fn retransmission_timed_out(&mut self, now: Instant, config: &TcpConfig) {
        if !self.count_timeout(config) {
            return;
        }
        // RFC 5681 §3.1: the threshold is held when the same segment times out again.
        let heard = (now, self.rtt.smoothed(), self.sack);
        self.recovery.timed_out(self.timeouts == 1, heard, &mut self.send, &mut self.congestion);
        self.timers.cancel(Timer::Reordering);
        self.ecn.reduced(self.send.nxt());
        self.rtt.back_off(config);
    }

    /// RFC 8985 §6.2 step 5.
    fn reordering_timed_out(&mut self, now: Instant) {
        let (smoothed, was_active) = (self.rtt.smoothed(), self.recovery.is_active());
        let wait = self.recovery.reordering_timed_out(now, smoothed, &mut self.send, &mut self.congestion);
        if self.recovery.is_active() && !was_active {
            self.ecn.reduced(self.send.nxt());
        }
        self.look_again_after(wait, now);
    }

    /// Sets the reordering timer, or stops it.
    pub(super) fn look_again_after(&mut self, wait: Option<Duration>, now: Instant) {
        match wait {
            Some(wait) => self.timers.arm(Timer::Reordering, now + wait),
            None => self.timers.cancel(Timer::Reordering),
        }
    }

    /// Sees to it that a timer runs exactly when something is outstanding. Called when everything that could be sent was.
    pub(super) fn settle_timers(&mut self, now: Instant, config: &TcpConfig) {
        self.settle_liveness(now);
        let in_flight = self.send.flight_size() > 0;
        // With nothing in flight only the window can hold data back: it is shut, or too small to be worth filling.
        let held_back = self.send.has_unsent() && !in_flight;
        if held_back || (in_flight && self.send.window() == 0) {
            self.timers.cancel(Timer::Retransmit);
            self.timers.cancel(Timer::TailProbe);
            let interval = self.rtt.rto() * 2u32.saturating_pow(self.probes.min(16));
            self.timers.arm_if_idle(Timer::Persist, now + interval.min(config.rto_max));
            return;
        }
        self.timers.cancel(Timer::Persist);
        if in_flight {
            self.timers.arm_if_idle(Timer::Retransmit, self.rtt.timeout_after(now));
        } else {
            self.timers.cancel(Timer::Retransmit);
        }
        if !self.may_probe_tail() {
            self.timers.cancel(Timer::TailProbe);
        } else if !self.timers.is_armed(Timer::TailProbe) {
            // Where the timeout would come first, the probe goes out instead of it (RFC 8985 §7.2).
            let deadline = now + self.tail_probe_after(config);
            let timeout = self.timers.deadline(Timer::Retransmit).unwrap_or(deadline);
            self.timers.arm(Timer::TailProbe, deadline.min(timeout));
        }
    }

    /// Whether something is to be learned by sending the end of what is in flight again (RFC 8985 §7.2).
    fn may_probe_tail(&self) -> bool {
        let is_quiet = self.recovery.tail == TailProbe::None && self.timeouts == 0 && !self.recovery.is_active();
        self.sack && is_quiet && self.send.in_flight() > 0 && self.send.reported() == 0
    }

    /// How long to wait before that is done (RFC 8985 §7.2).
    fn tail_probe_after(&self, config: &TcpConfig) -> Duration {
        let Some(smoothed) = self.rtt.smoothed() else { return config.rto_initial };
        // Less than two full segments may wait for company (RFC 5681 §4.2).
        let alone = self.send.flight_size() < 2 * self.send.mss();
        let patience = if alone { LONGEST_DELAYED_ACK } else { Duration::ZERO };
        Duration::from_nanos((2 * nanos(smoothed)).max(2 * nanos(granularity(config))) + nanos(patience))
    }

    // Shared by the families.

    /// Ends the connection for the protocol.
    pub(super) fn finish_with(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.end.get_or_insert(reason);
    }

    /// Moves on in figure 5 of RFC 9293.
    pub(super) fn step(&mut self, step: Step, now: Instant, config: &TcpConfig) {
        let Some(state) = self.state.after(step) else {
            debug_assert!(false, "{step:?} cannot happen in {}", self.state);
            return;
        };
        self.state = state;
        match state {
            State::Closed => self.finish_with(CloseReason::Finished),
            State::FinWait2 if self.is_discarding() => self.timers.arm(Timer::FinWait2, now + config.fin_wait_2),
            _ => {}
        }
    }

    /// Owes the peer a challenge ACK, unless it has drawn enough of them this second.
    pub(super) fn challenge(&mut self, now: Instant) {
        if self.challenges.allow(now) {
            self.acks.owed = self.acks.owed.max(1);
        }
    }

    /// The congestion controller, for whoever looks on.
    pub fn congestion_window(&self) -> u32 {
        self.congestion.window()
    }
}
