//! Whether the peer is still there: R1 and R2, the user timeout, keep-alive (RFC 9293 §3.8.3 and §3.8.4).

use super::{
    connection::Connection,
    cx::Cx,
    recorder::{Cause, Happening},
    signals::{CloseReason, SentKind, Signals},
    timers::Timer,
};
use crate::{
    config::{KeepAlive, TcpConfig},
    time::Instant,
};
use std::time::Duration;

/// What keep-alive remembers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// When the peer was last heard.
    heard: Instant,
    /// Keep-alive probes since then.
    probes: u32,
    probe_due: bool,
}

impl Liveness {
    pub fn new(now: Instant) -> Self {
        Self { heard: now, probes: 0, probe_due: false }
    }

    /// When the peer was last heard, where it has not been asked since.
    pub fn last_heard(&self) -> Option<Instant> {
        (self.probes == 0 && !self.probe_due).then_some(self.heard)
    }

    /// When the peer was last heard.
    #[inline]
    pub fn heard_at(&self) -> Instant {
        self.heard
    }

    /// Whether the peer is about to be asked.
    #[inline]
    pub fn owes_probe(&self) -> bool {
        self.probe_due
    }

    /// A segment has come that only the peer can have sent.
    #[inline]
    pub fn heard(&mut self, now: Instant) {
        (self.heard, self.probes) = (now, 0);
    }
}

impl Connection {
    /// Asks an idle peer from time to time whether it is still there (MUST-24); `None` for never, which is the default
    /// (MUST-25).
    pub fn set_keep_alive(&mut self, keep_alive: Option<KeepAlive>) {
        self.options.keep_alive = keep_alive;
        self.timers.cancel(Timer::KeepAlive); // it runs anew when everything due has been sent
    }

    /// How long what was sent may stay unacknowledged before the connection is given up: the application's own R2 (MUST-21,
    /// RFC 5482). `None` for [`TcpConfig::max_timeouts`].
    pub fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.options.user_timeout = timeout;
        self.timers.cancel(Timer::User);
    }

    /// Counts a timeout; at R1 the application hears of it (SHLD-9), and another way to the peer is looked for (MUST-20).
    pub(super) fn note_timeout(&mut self, config: &TcpConfig) {
        self.timeouts += 1;
        self.signals |= Signals::UNANSWERED;
        if self.timeouts == config.warn_after_timeouts {
            self.signals |= Signals::R1_REACHED;
        }
    }

    /// Counts a timeout; whether the connection is to be kept nevertheless (R2).
    pub(super) fn count_timeout(&mut self, config: &TcpConfig) -> bool {
        self.note_timeout(config);
        if self.timeouts > config.max_timeouts && self.options.user_timeout.is_none() {
            self.finish_with(CloseReason::TimedOut, Cause::Unacknowledged);
        }
        self.end.is_none()
    }

    /// Lets the user timeout run while something is outstanding, and keep-alive while nothing is (MUST-26).
    pub(super) fn update_liveness_timers(&mut self, now: Instant) {
        let is_outstanding = self.has_outstanding();
        match self.options.user_timeout.filter(|_| is_outstanding) {
            Some(timeout) => self.timers.arm_if_idle(Timer::User, now + timeout),
            None => self.timers.cancel(Timer::User),
        }
        match self.options.keep_alive.filter(|_| !is_outstanding) {
            Some(keep_alive) => self.timers.arm_if_idle(Timer::KeepAlive, now + keep_alive.idle),
            None => self.timers.cancel(Timer::KeepAlive),
        }
    }

    pub(super) fn keep_alive_expired(&mut self, now: Instant) {
        let Some(keep_alive) = self.options.keep_alive else { return };
        let Liveness { heard, probes, .. } = self.liveness;
        let idle_until = heard + keep_alive.idle;
        if probes == 0 && now < idle_until {
            // Moving the timer with every segment would cost more than finding here that it was moved.
            self.timers.arm(Timer::KeepAlive, idle_until);
        } else if probes >= keep_alive.probes {
            self.finish_with(CloseReason::TimedOut, Cause::KeepAlive); // not before several in a row went unanswered (MUST-29)
        } else {
            if probes > 0 {
                self.signals |= Signals::UNANSWERED;
            }
            self.liveness.probes += 1;
            self.recorder.note(now, Happening::KeepAliveProbe(probes + 1));
            self.liveness.probe_due = true;
            self.timers.arm(Timer::KeepAlive, now + keep_alive.interval);
        }
    }

    /// The probe, where one is due: a segment without data, one octet before what the peer expects, so that it has to answer
    /// (SHLD-12).
    pub(super) fn transmit_keep_alive(&mut self, cx: Cx<'_>, buffer: &mut [u8]) -> Option<(usize, SentKind)> {
        if !std::mem::take(&mut self.liveness.probe_due) {
            return None;
        }
        let before = self.send.nxt().back(1);
        Some((self.write_bare(cx, before, buffer), SentKind::Acknowledgment))
    }
}
