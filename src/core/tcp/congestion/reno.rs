//! Congestion avoidance as RFC 5681 has it: one segment more a round trip, half the window after a loss.

use super::{Ack, Controller, QuietCongestion, SlowStart};

/// The classic controller.
#[derive(Clone, Debug)]
pub struct Reno {
    start: SlowStart,
    window: u32,
    /// Octets acknowledged in congestion avoidance since the window last grew.
    counted: u32,
    /// Window and threshold before the last reduction.
    before: Option<(u32, u32)>,
}

impl Reno {
    /// A controller for segments of `mss` octets.
    pub fn new(mss: u32) -> Self {
        let start = SlowStart::new(mss);
        Self { window: start.initial_window(), start, counted: 0, before: None }
    }

    pub(super) fn suspend(&self) -> QuietCongestion {
        QuietCongestion { window: self.window, threshold: self.start.threshold(), extra: self.counted }
    }

    pub(super) fn resume(mss: u32, quiet: &QuietCongestion) -> Self {
        let mut reno = Self { window: quiet.window, counted: quiet.extra, ..Self::new(mss) };
        reno.start.set_threshold(quiet.threshold);
        reno
    }

    /// RFC 5681 equation 4.
    fn halve(&mut self, in_flight: u32) {
        self.before = Some((self.window, self.start.threshold()));
        self.start.set_threshold((in_flight / 2).max(2 * self.start.mss()));
    }
}

impl Controller for Reno {
    fn window(&self) -> u32 {
        self.window
    }

    fn begin_with_one(&mut self) {
        self.window = self.start.mss();
    }

    fn acknowledged(&mut self, ack: &Ack) {
        if !ack.limited {
            return;
        }
        if let Some(octets) = self.start.growth(self.window, ack.octets) {
            self.window = self.window.saturating_add(octets);
            return;
        }
        self.counted += ack.octets;
        if self.counted >= self.window {
            self.counted -= self.window;
            self.window = self.window.saturating_add(self.start.mss());
        }
    }

    fn lost(&mut self, in_flight: u32) {
        self.halve(in_flight);
        self.window = self.start.threshold();
        self.counted = 0;
    }

    fn marked(&mut self, in_flight: u32) {
        self.lost(in_flight); // RFC 3168 §6.1.2
        self.before = None; // a mark is never spurious
    }

    fn timed_out(&mut self, in_flight: u32, first: bool) {
        // RFC 5681 §3.1: the threshold is held when the same segment times out again.
        if first {
            self.halve(in_flight);
        }
        self.window = self.start.mss();
        self.counted = 0;
    }

    fn restarted(&mut self) {
        self.start.set_threshold(self.start.threshold().max(self.window));
        (self.window, self.counted) = (self.start.mss(), 0);
    }

    fn idled(&mut self) {
        self.window = self.window.min(self.start.initial_window());
    }

    fn undo(&mut self) {
        if let Some((window, threshold)) = self.before.take() {
            self.window = self.window.max(window);
            self.start.set_threshold(self.start.threshold().max(threshold));
        }
    }

    fn resized(&mut self, mss: u32) {
        self.start.set_mss(mss);
    }
}
