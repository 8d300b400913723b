//! The persist timer (RFC 9293 §3.8.6.1): a peer whose window holds data back is asked from time to time whether it has opened,
//! because the segment that said so may have been lost.

use super::{connection::Connection, cx::Cx, recorder::Happening, timers::Timer};
use crate::wire::Segment;

/// Doublings of the interval between probes at most; [`TcpConfig::rto_max`](crate::config::TcpConfig::rto_max) limits it long before.
const MAX_DOUBLINGS: u32 = 16;

/// Probes without an answer that opened the window after which a connection counts as stalled.
const STALLED_AFTER: u32 = 2;

/// Zero-window probes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persist {
    /// Probes in a row.
    probes: u32,
    /// Whether the next one is to be sent.
    due: bool,
}

impl Persist {
    /// Whether the window is being probed: a probe was sent, or is due.
    #[inline]
    pub fn is_probing(&self) -> bool {
        self.probes > 0
    }

    /// Whether a probe is to be sent.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Whether a probe is to be sent; it is due no more afterwards, because the caller sends it.
    #[inline]
    pub fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }
}

impl Connection {
    /// Whether the peer has kept its window shut for longer than two probes.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.persist.probes > STALLED_AFTER && self.end.is_none()
    }

    /// Lets the persist timer, and no timer of retransmission, run while the window holds data back or is shut; whether it does.
    #[inline]
    pub(super) fn arm_persist(&mut self, cx: Cx<'_>) -> bool {
        let in_flight = self.send.flight_size() > 0;
        // With nothing in flight only the window can hold data back: it is shut, or too small to be worth filling.
        let held_back = self.send.has_unsent() && !in_flight;
        if held_back || (in_flight && self.send.window() == 0) {
            self.timers.cancel(Timer::Retransmit);
            self.timers.cancel(Timer::TailProbe);
            if !std::mem::replace(&mut self.recorder.theirs_is_shut, true) {
                self.recorder.note(cx.now, Happening::WindowShut(self.send.window()));
            }
            // MUST-35, SHLD-29 and SHLD-30: first after one timeout, then at intervals that double.
            let interval = self.rtt.rto() * 2u32.saturating_pow(self.persist.probes.min(MAX_DOUBLINGS));
            self.timers.arm_if_idle(Timer::Persist, cx.now + interval.min(cx.config.rto_max));
            return true;
        }
        self.timers.cancel(Timer::Persist);
        if self.recorder.theirs_is_shut {
            self.recorder.theirs_is_shut = false;
            self.recorder.note(cx.now, Happening::WindowOpened(self.send.window()));
        }
        false
    }

    /// The persist timer has expired.
    pub(super) fn persist_timed_out(&mut self, cx: Cx<'_>) {
        if self.count_timeout(cx.config) {
            self.persist.probes += 1;
            self.recorder.note(cx.now, Happening::WindowProbe(self.persist.probes));
            self.persist.due = true;
        }
    }

    /// Takes in the window, and whether probes of it are over; whether it changed.
    #[inline]
    pub(super) fn take_window(&mut self, segment: &Segment<'_>) -> bool {
        if self.persist.is_probing() {
            self.timers.cancel(Timer::User);
            // A peer that answers probes is there, however long its window stays shut (RFC 9293 §3.8.6.1).
            self.timeouts = 0;
        }
        let was_shut = self.send.window() == 0;
        let window_changed = self.send.update_window(segment);
        if self.send.window() > 0 {
            if was_shut && self.persist.is_probing() {
                // What was probed with has most likely been thrown away.
                self.send.mark_all_lost();
            }
            self.persist = Persist::default();
        }
        window_changed
    }
}
