//! How much is sent while a loss is repaired: proportional rate reduction (RFC 9937).
//!
//! What goes out follows what arrives, so that the flight has shrunk to its new size when recovery ends, and neither stands
//! still on the way there nor makes a burst.

/// One recovery's accounts, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prr {
    /// The controller's new window, which the flight is led to: ssthresh.
    target: u32,
    /// RecoverFS: what was in flight at the beginning, and can therefore arrive.
    at_start: u32,
    /// prr_delivered and prr_out: what has arrived and what was sent since.
    delivered: u32,
    out: u32,
    /// The window up to the next acknowledgment.
    window: u32,
}

impl Prr {
    /// The accounts of a recovery that begins with `at_start` octets in flight and is to end with `target`.
    pub fn new(target: u32, at_start: u32) -> Self {
        Self { target, at_start: at_start.max(1), delivered: 0, out: 0, window: 0 }
    }

    /// How much may be in flight now.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// Octets that can still arrive of what was in flight at the beginning.
    pub fn outstanding(&self) -> u32 {
        self.at_start.saturating_sub(self.delivered)
    }

    /// An acknowledgment has come (RFC 9937 §6.2): `delivered` octets have arrived, `in_flight` may still be under way.
    /// `safe` where SND.UNA has moved and nothing more was found lost.
    pub fn acknowledged(&mut self, delivered: u32, in_flight: u32, safe: bool, mss: u32) {
        self.delivered = self.delivered.saturating_add(delivered);
        let mut quota = if in_flight > self.target {
            // In proportion, rounded up.
            let share = u64::from(self.delivered) * u64::from(self.target);
            let share = share.div_ceil(u64::from(self.at_start));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            // More was lost than the reduction asks for: what arrives may be replaced, and a segment more where the repair
            // makes headway (PRR-SSRB).
            let bound = self.delivered.saturating_sub(self.out).max(delivered);
            bound.saturating_add(if safe { mss } else { 0 }).min(self.target - in_flight)
        };
        if self.out == 0 {
            quota = quota.max(mss); // the first lost segment goes out at once
        }
        self.window = in_flight.saturating_add(quota);
    }

    /// Octets were sent, for the first time or again.
    pub fn sent(&mut self, octets: u32) {
        self.out = self.out.saturating_add(octets);
    }
}
