//! When what has arrived is acknowledged: at once, with whatever is sent next, or after a short wait (RFC 9293 §3.8.6.3, RFC 5681
//! §4.2).

use super::{connection::Connection, cx::Cx, receive::Stored, timers::Timer};
use crate::{time::Instant, wire::SeqNumber};
use std::time::Duration;

/// How long a peer may keep the acknowledgment of a single segment (MUST-40 says less than 500 ms; Linux has 200).
pub(super) const LONGEST_DELAYED_ACK: Duration = Duration::from_millis(200);

/// Most out-of-order segments answered one by one within a batch; more acknowledgments than this tell the peer nothing new.
const MAX_DUPLICATES_OWED: u32 = 8;

/// When the next acknowledgment goes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckSchedule {
    /// Last.ACK.sent of RFC 7323 §4.3.
    last_sent: SeqNumber,
    /// Octets received since the last acknowledgment.
    unacknowledged: u32,
    /// Acknowledgments to be sent without waiting. More than one only for out-of-order segments: the peer counts these
    /// duplicates, one for each segment (RFC 5681 §3.2).
    owed: u32,
    /// Whether nothing but data in order has drawn what is owed.
    usual: bool,
    /// Whether the next one is to be a segment of its own ([`separate_fin_ack`](crate::config::TcpConfig::separate_fin_ack)).
    alone: bool,
}

impl AckSchedule {
    /// Nothing owed: everything before `rcv_nxt` has been acknowledged.
    pub fn new(rcv_nxt: SeqNumber) -> Self {
        Self { last_sent: rcv_nxt, unacknowledged: 0, owed: 0, usual: false, alone: false }
    }

    /// The acknowledgment number of the last segment sent.
    #[inline]
    pub fn last_sent(&self) -> SeqNumber {
        self.last_sent
    }

    /// An acknowledgment is due now; one covers all that has come before it.
    #[inline]
    pub fn owe(&mut self) {
        self.owed = self.owed.max(1);
        self.usual = false;
    }

    /// Likewise for data that have come in order.
    #[inline]
    fn owe_usual(&mut self) {
        self.usual |= self.owed == 0;
        self.owed = self.owed.max(1);
    }

    /// One more is due, for a segment that did not move RCV.NXT.
    #[inline]
    pub fn owe_duplicate(&mut self) {
        self.owed = (self.owed + 1).min(MAX_DUPLICATES_OWED);
        self.usual = false;
    }

    /// An acknowledgment is due now, and no duplicate before it: RCV.NXT has moved since those were owed, and they would be counted
    /// as duplicates for the next hole.
    #[inline]
    fn owe_one(&mut self) {
        self.owed = 1;
        self.usual = false;
    }

    /// An acknowledgment is due now, in a segment that carries nothing else.
    pub fn owe_alone(&mut self) {
        self.owe();
        self.alone = true;
    }

    /// A segment goes out, and with it the acknowledgment of everything before `rcv_nxt`.
    #[inline]
    pub fn paid(&mut self, rcv_nxt: SeqNumber) {
        *self = Self::new(rcv_nxt);
    }

    /// Whether one is due now.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.owed > 0
    }

    /// Whether the one that is due carries nothing else.
    #[inline]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether none is due, now or later.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.owed == 0 && self.unacknowledged == 0 && !self.alone
    }
}

/// How many segments are acknowledged at once because their sender knows little of the path yet: while it is in slow start each
/// acknowledgment lets it send more. Whatever is owed rides on an answer, if the application has one.
#[derive(Debug)]
pub(super) struct QuickAcks {
    left: u32,
    last: Instant,
}

impl QuickAcks {
    pub fn new(count: u32, now: Instant) -> Self {
        Self { left: count, last: now }
    }

    /// Those that are left.
    pub fn left(&self) -> u8 {
        u8::try_from(self.left).unwrap_or(u8::MAX)
    }

    /// When data came last.
    #[inline]
    pub fn last(&self) -> Instant {
        self.last
    }

    /// Data have arrived; whether they are acknowledged at once. Where that is after `idle_at`, it begins anew with `count`.
    #[inline]
    fn arrived(&mut self, now: Instant, idle_at: Instant, count: u32) -> bool {
        if now > idle_at {
            self.left = count;
        }
        self.last = now;
        let quick = self.left > 0;
        self.left = self.left.saturating_sub(1);
        quick
    }
}

impl Connection {
    /// Whether something has come since that the last acknowledgment does not cover.
    #[inline]
    pub fn owes_acknowledgment(&self) -> bool {
        self.acks.is_due() || self.acks.last_sent != self.receive.nxt()
    }

    /// RFC 5681 §4.2: at least every second full-sized segment, at once around holes and at the start, otherwise after a short
    /// wait. What is owed at once is sent when all that has arrived was taken in and the application had its turn (MUST-59). A window
    /// too small for two segments must not make its peer wait for that.
    #[inline]
    pub(super) fn schedule_ack(&mut self, cx: Cx<'_>, stored: Stored) {
        self.acks.unacknowledged += stored.advanced;
        let enough = (2 * self.send.mss()).min(self.receive.limit() / 2);
        let idle_at = self.rtt.timeout_after(self.quick_acks.last());
        let quick = self.quick_acks.arrived(cx.now, idle_at, cx.config.quick_acks);
        if stored.ack_now {
            if stored.advanced > 0 { self.acks.owe_one() } else { self.acks.owe_duplicate() }
        } else if (quick || self.acks.unacknowledged >= enough) && !self.may_hold_ack() {
            self.acks.owe_usual();
        } else {
            self.timers.arm_if_idle(Timer::DelayedAck, cx.now + cx.config.delayed_ack);
        }
    }

    /// Whether what has come in order may wait for its acknowledgment, because the application wants to part with it, and its peer
    /// has room to go on meanwhile.
    #[inline]
    fn may_hold_ack(&self) -> bool {
        self.options.holds_acks
            && self.receive.window() >= self.send.mss()
            && self.acks.unacknowledged < self.receive.limit() / 2
    }

    /// Has what comes in order wait for the timer of delayed acknowledgments (RFC 9293 §3.8.6.3), or for something that is sent, even at
    /// the start and where it is more than two segments (RFC 5681 §4.2 asks for one at least every second, but as a SHOULD). Everything
    /// else is answered as ever. What has come in this batch waits as well; and what waits is acknowledged at once where that is no
    /// longer wanted.
    pub fn hold_acknowledgments(&mut self, cx: Cx<'_>, hold: bool) {
        let was_held = std::mem::replace(&mut self.options.holds_acks, hold);
        if self.acks.unacknowledged == 0 {
            return;
        }
        if was_held && !hold {
            self.acks.owe();
        } else if hold && self.acks.owed == 1 && self.acks.usual && self.may_hold_ack() {
            self.acks.owed = 0;
            self.timers.arm_if_idle(Timer::DelayedAck, cx.now + cx.config.delayed_ack);
        }
    }

    /// Owes the peer a challenge ACK, unless it has drawn enough of them this second (RFC 5961 §7).
    pub(super) fn challenge(&mut self, now: Instant) {
        if self.challenges.allow(now) {
            self.acks.owe();
        }
    }

    /// A bare acknowledgment. One is paid with it; duplicates owed besides are sent one by one.
    pub(super) fn write_acknowledgment(&mut self, cx: Cx<'_>, buffer: &mut [u8]) -> usize {
        let remaining = self.acks.owed.saturating_sub(1);
        let length = self.write_bare(cx, self.send.nxt(), buffer);
        self.acks.owed = remaining;
        length
    }
}
