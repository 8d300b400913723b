//! A token bucket, for replies that strangers can provoke.

use crate::time::Instant;
use std::time::Duration;

/// So many a second, and no more than a tenth of that at once.
#[derive(Debug)]
pub struct RateLimit {
    per_second: u32,
    tokens: u32,
    filled_at: Instant,
}

impl RateLimit {
    /// A full bucket.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, tokens: Self::burst(per_second), filled_at: Instant::ZERO }
    }

    fn burst(per_second: u32) -> u32 {
        (per_second / 10).max(1)
    }

    /// Whether one more is allowed now.
    pub fn allow(&mut self, now: Instant) -> bool {
        let earned = (now - self.filled_at).as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(Self::burst(self.per_second));
            // What is not yet a whole token counts towards the next one.
            self.filled_at += Duration::from_secs(1) * earned / self.per_second;
        }
        let allowed = self.tokens > 0 && self.per_second > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}
