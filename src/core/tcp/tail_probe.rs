//! Tail loss probe (RFC 8985 §7): nothing is sent behind the last segment of a flight that could show its loss, so where nothing
//! has been acknowledged for a while, a probe goes out before the retransmission timer expires.

use super::{
    acks::LONGEST_DELAYED_ACK,
    connection::Connection,
    cx::Cx,
    outcome::AckEvent,
    rto::granularity,
    send::{SendRange, SendSide},
    timers::Timer,
};
use crate::{config::TcpConfig, time::nanos, wire::SeqNumber};
use std::time::Duration;

/// The probe. There is one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TailProbe {
    #[default]
    None,
    Due,
    /// It was sent, and SND.NXT was `end` then (TLP.end_seq); with data sent before, or with new data (TLP.is_retrans).
    Sent {
        end: SeqNumber,
        is_retransmission: bool,
    },
}

/// What an acknowledgment says of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeAnswer {
    /// Nothing, or nothing that matters.
    Nothing,
    /// Both the probe and what it repeated have arrived: a D-SACK is about the probe.
    Duplicate,
    /// It repaired a loss that nothing else has shown.
    Repair,
}

impl TailProbe {
    /// TLP_process_ack of RFC 8985 §7.4.2: what became of the probe.
    #[inline]
    pub fn process_ack(&mut self, event: &AckEvent, send: &SendSide) -> ProbeAnswer {
        let Self::Sent { end, is_retransmission } = *self else { return ProbeAnswer::Nothing };
        if send.una().precedes(end) {
            return ProbeAnswer::Nothing;
        }
        let dsack = event.acknowledged.dsack;
        let arrived_twice = dsack.is_some_and(|(_, right)| right == end);
        let repaired = is_retransmission && !arrived_twice && end.precedes(send.una());
        let empty_duplicate = event.is_duplicate && dsack.is_none() && send.sacked() == 0;
        if !is_retransmission || arrived_twice || repaired || empty_duplicate {
            *self = Self::None;
        }
        match (repaired, is_retransmission && arrived_twice) {
            (true, _) => ProbeAnswer::Repair,
            (_, true) => ProbeAnswer::Duplicate,
            _ => ProbeAnswer::Nothing,
        }
    }
}

impl Connection {
    /// Lets the timer of the probe run where one may be sent, and only there (RFC 8985 §7.2).
    pub(super) fn arm_tail_probe(&mut self, cx: Cx<'_>) {
        if !self.may_probe_tail() {
            self.timers.cancel(Timer::TailProbe);
        } else if !self.timers.is_armed(Timer::TailProbe) {
            // Where the timeout would come first, the probe goes out instead of it.
            let deadline = cx.now + self.tail_probe_after(cx.config);
            let timeout = self.timers.deadline(Timer::Retransmit).unwrap_or(deadline);
            self.timers.arm(Timer::TailProbe, deadline.min(timeout));
        }
    }

    /// Whether something is to be learned by sending the end of what is in flight again (RFC 8985 §7.2).
    #[inline]
    fn may_probe_tail(&self) -> bool {
        let is_quiet = self.recovery.tail == TailProbe::None && self.timeouts == 0 && !self.recovery.is_active();
        self.sack && is_quiet && self.send.in_flight() > 0 && self.send.sacked() == 0
    }

    /// How long to wait before that is done (RFC 8985 §7.2).
    fn tail_probe_after(&self, config: &TcpConfig) -> Duration {
        let Some(smoothed) = self.rtt.smoothed() else { return config.rto_initial };
        // The acknowledgment of less than two full segments may be delayed (RFC 5681 §4.2).
        let alone = self.send.flight_size() < 2 * self.send.mss();
        let patience = if alone { LONGEST_DELAYED_ACK } else { Duration::ZERO };
        Duration::from_nanos((2 * nanos(smoothed)).max(2 * nanos(granularity(config))) + nanos(patience))
    }

    /// The timer of the probe has expired.
    pub(super) fn tail_probe_timed_out(&mut self) {
        self.recovery.tail = TailProbe::Due;
        // The probe deserves an answer before everything is taken for lost (RFC 8985 §7.3).
        self.timers.cancel(Timer::Retransmit);
    }

    /// The probe, where one is due: new data where there are any, for they tell as much; else the end of what is in flight
    /// (RFC 8985 §7.3).
    #[inline]
    pub(super) fn take_tail_probe(&mut self, config: &TcpConfig) -> Option<SendRange> {
        if self.recovery.tail != TailProbe::Due {
            return None;
        }
        self.recovery.tail = TailProbe::None;
        let new = self.next_new(u32::MAX, false, config);
        let range = new.or_else(|| self.send.tail())?;
        let end = self.send.nxt().latest(range.end());
        self.recovery.tail = TailProbe::Sent { end, is_retransmission: new.is_none() };
        Some(range)
    }
}
