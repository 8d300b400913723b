//! CUBIC (RFC 9438): after a loss the window grows along a cubic function of time, back to where the loss was and cautiously
//! beyond, whatever the round-trip time; and never less than Reno's would.

use super::{Ack, Controller, QuietCongestion, SlowStart};
use crate::time::Instant;

/// The multiplicative decrease (RFC 9438 §4.6).
const BETA: f64 = 0.7;
/// The decrease for a mark: gentler, because the queue that marks is a short one (RFC 8511 §3).
const BETA_MARKED: f64 = 0.85;
/// How steep the cubic function is, segments per cubic second (§5).
const C: f64 = 0.4;
/// What makes Reno with this decrease as aggressive as Reno with its own (§4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A stretch of congestion avoidance: from a loss, or from where slow start ended, up to the next loss.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Instant,
    /// K: seconds until the window is W_max again.
    k: f64,
    /// W_est: what Reno's window would be, segments.
    reno: f64,
}

/// The controller of today's Internet.
#[derive(Clone, Debug)]
pub struct Cubic {
    start: SlowStart,
    /// The congestion window, segments, fractions included.
    window: f64,
    /// W_max: the window when a loss was last found, segments.
    max: f64,
    epoch: Option<Epoch>,
    before: Option<Before>,
}

/// What a reduction takes away, in case it turns out to be spurious (RFC 9438 §4.9).
#[derive(Clone, Copy, Debug)]
struct Before {
    window: f64,
    max: f64,
    threshold: u32,
    epoch: Option<Epoch>,
}

impl Cubic {
    /// A controller for segments of `mss` octets.
    pub fn new(mss: u32) -> Self {
        let start = SlowStart::new(mss);
        Self { window: f64::from(start.initial_window()) / f64::from(mss), start, max: 0.0, epoch: None, before: None }
    }

    pub(super) fn suspend(&self) -> QuietCongestion {
        QuietCongestion { window: self.window(), threshold: self.start.threshold(), extra: (self.max as f32).to_bits() }
    }

    pub(super) fn resume(mss: u32, quiet: &QuietCongestion) -> Self {
        let mut cubic = Self { max: f32::from_bits(quiet.extra).into(), ..Self::new(mss) };
        cubic.window = cubic.segments(quiet.window);
        cubic.start.set_threshold(quiet.threshold);
        cubic
    }

    fn segments(&self, octets: u32) -> f64 {
        f64::from(octets) / f64::from(self.start.mss())
    }

    fn octets(&self, segments: f64) -> u32 {
        (segments * f64::from(self.start.mss())) as u32
    }

    /// RFC 9438 §4.6 and §4.7.
    fn decrease(&mut self, in_flight: u32, beta: f64) {
        let Self { window, max, epoch, .. } = *self;
        self.before = Some(Before { window, max, threshold: self.start.threshold(), epoch });
        // Fast convergence: who loses before it is where it was makes room for others.
        self.max = if self.window < self.max { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        let threshold = (self.segments(in_flight) * beta).max(2.0);
        self.start.set_threshold(self.octets(threshold));
        self.epoch = None;
    }

    /// RFC 9438 §4.2 to §4.5: how the window grows with each acknowledgment in congestion avoidance.
    fn avoid_congestion(&mut self, ack: &Ack) {
        let (window, acknowledged) = (self.window, self.segments(ack.octets));
        if self.epoch.is_none() {
            // Beyond where the last loss was, every step is one into the unknown: the convex part begins here.
            self.max = self.max.max(window);
        }
        let max = self.max;
        let begin = || Epoch { began: ack.now, k: ((max - window) / C).cbrt(), reno: window };
        let epoch = self.epoch.get_or_insert_with(begin);
        epoch.reno += if epoch.reno < max { ALPHA } else { 1.0 } * acknowledged / window;
        let Epoch { began, k, reno } = *epoch;
        let cubic = |seconds: f64| C * (seconds - k).powi(3) + max;
        let elapsed = (ack.now - began).as_secs_f64();
        if cubic(elapsed) < reno {
            self.window = window.max(reno);
            return;
        }
        let target = cubic(elapsed + ack.rtt.as_secs_f64()).clamp(window, 1.5 * window);
        self.window = window + (target - window) / window * acknowledged;
    }
}

impl Controller for Cubic {
    fn window(&self) -> u32 {
        self.octets(self.window)
    }

    fn begin_with_one(&mut self) {
        self.window = 1.0;
    }

    fn acknowledged(&mut self, ack: &Ack) {
        if !ack.limited {
            // Time in which the window was not used is no time to grow by (RFC 9438 §5.8).
            self.epoch = None;
            return;
        }
        let window = self.window();
        match self.start.growth(window, ack.octets) {
            Some(octets) => self.window += self.segments(octets),
            None => self.avoid_congestion(ack),
        }
    }

    fn lost(&mut self, in_flight: u32) {
        self.decrease(in_flight, BETA);
        self.window = self.segments(self.start.threshold());
    }

    fn marked(&mut self, in_flight: u32) {
        self.decrease(in_flight, BETA_MARKED);
        self.window = self.segments(self.start.threshold());
        self.before = None; // a mark is never spurious
    }

    fn timed_out(&mut self, in_flight: u32, first: bool) {
        if first {
            self.decrease(in_flight, BETA);
        }
        self.window = 1.0;
        self.epoch = None;
    }

    fn restarted(&mut self) {
        self.start.set_threshold(self.start.threshold().max(self.window()));
        self.window = 1.0;
        self.epoch = None;
    }

    fn idled(&mut self) {
        self.window = self.window.min(self.segments(self.start.initial_window()));
        self.epoch = None;
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.window = self.window.max(before.window);
            self.start.set_threshold(self.start.threshold().max(before.threshold));
            (self.max, self.epoch) = (before.max, before.epoch);
        }
    }

    fn resized(&mut self, mss: u32) {
        let ratio = f64::from(self.start.mss()) / f64::from(mss);
        self.start.set_mss(mss);
        self.window *= ratio;
        self.max *= ratio;
        self.epoch = None;
    }
}
