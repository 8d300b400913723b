//! Slow start and congestion avoidance (RFC 5681) with appropriate byte counting (RFC 3465).

use super::Controller;

/// Segments in the initial window (RFC 6928).
const INITIAL_WINDOW_SEGMENTS: u32 = 10;

/// The classic controller: one segment more a round trip, half the window after a loss.
#[derive(Clone, Debug)]
pub struct Reno {
    mss: u32,
    window: u32,
    slow_start_threshold: u32,
    /// Octets acknowledged in congestion avoidance since the window last grew.
    counted: u32,
}

impl Reno {
    /// A controller for segments of `mss` octets.
    pub fn new(mss: u32) -> Self {
        Self { mss, window: initial_window(mss), slow_start_threshold: u32::MAX, counted: 0 }
    }

    /// RFC 5681 equation 4.
    fn halved(&self, in_flight: u32) -> u32 {
        (in_flight / 2).max(2 * self.mss)
    }
}

/// RFC 6928 §2.
fn initial_window(mss: u32) -> u32 {
    (INITIAL_WINDOW_SEGMENTS * mss).min((2 * mss).max(14_600))
}

impl Controller for Reno {
    fn window(&self) -> u32 {
        self.window
    }

    fn acknowledged(&mut self, octets: u32, limited: bool) {
        if !limited {
            return;
        }
        if self.window < self.slow_start_threshold {
            // RFC 3465 §2.3: at most two segments an acknowledgment, so that a stretched one makes no burst.
            self.window = self.window.saturating_add(octets.min(2 * self.mss));
            return;
        }
        self.counted += octets;
        if self.counted >= self.window {
            self.counted -= self.window;
            self.window = self.window.saturating_add(self.mss);
        }
    }

    fn lost(&mut self, in_flight: u32) {
        self.slow_start_threshold = self.halved(in_flight);
        self.window = self.slow_start_threshold;
        self.counted = 0;
    }

    fn timed_out(&mut self, in_flight: u32, first: bool) {
        // RFC 5681 §3.1: the threshold is held when the same segment times out again.
        if first {
            self.slow_start_threshold = self.halved(in_flight);
        }
        self.window = self.mss;
        self.counted = 0;
    }

    fn idled(&mut self) {
        self.window = self.window.min(initial_window(self.mss));
    }
}
