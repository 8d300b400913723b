//! What all controllers do alike: begin, and find out fast how much the network takes.

/// Segments in the initial window (RFC 6928).
const INITIAL_WINDOW_SEGMENTS: u32 = 10;

/// Slow start (RFC 5681 §3.1), by octets (RFC 3465).
#[derive(Clone, Debug)]
pub(super) struct SlowStart {
    mss: u32,
    /// The window at which it ends.
    threshold: u32,
}

impl SlowStart {
    pub fn new(mss: u32) -> Self {
        Self { mss, threshold: u32::MAX }
    }

    pub fn mss(&self) -> u32 {
        self.mss
    }

    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    pub fn set_threshold(&mut self, threshold: u32) {
        self.threshold = threshold;
    }

    /// RFC 6928 §2.
    pub fn initial_window(&self) -> u32 {
        (INITIAL_WINDOW_SEGMENTS * self.mss).min((2 * self.mss).max(14_600))
    }

    /// By how much a window grows; none where slow start is over for it.
    pub fn growth(&self, window: u32, acknowledged: u32) -> Option<u32> {
        // All that was acknowledged, though RFC 3465 §2.3 would have two segments be the most: peers that take in forty segments
        // at once acknowledge them at once, and the window would grow by two a round trip.
        let room = self.threshold.checked_sub(window).filter(|room| *room > 0)?;
        Some(acknowledged.min(room))
    }
}
