//! Limits on what strangers can provoke, and what they tell: docs/limits.md has all of them.

use crate::time::Instant;
use std::time::Duration;

/// A token bucket: so many a second, and no more than a tenth of that at once.
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
        let allowed = !self.is_used_up(now);
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }

    /// Whether nothing is left of it.
    pub fn is_used_up(&mut self, now: Instant) -> bool {
        let earned = (now - self.filled_at).as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(Self::burst(self.per_second));
            // What is not yet a whole token counts towards the next one.
            self.filled_at += Duration::from_secs(1) * earned / self.per_second;
        }
        self.tokens == 0 || self.per_second == 0
    }
}

/// Places in [`Shares`]: as many as a CPU's own cache holds beside other things.
const PLACES: usize = 4_096;

/// So many a second for each of many, and so many of them at once, by a keyed hash. Two of them may have a place in common, and then
/// half of it each; which two that are, nobody knows who has not the key.
#[derive(Debug)]
pub struct Shares {
    interval: Duration,
    at_once: Duration,
    /// When each has its whole share again.
    whole_at: Box<[Instant]>,
}

impl Shares {
    /// Nobody has taken anything yet. What makes up `at_once` may be taken together.
    pub fn new(per_second: u32, at_once: Duration) -> Self {
        let whole_at = vec![Instant::ZERO; PLACES].into_boxed_slice();
        match per_second {
            0 => Self { interval: Duration::ZERO, at_once: Duration::ZERO, whole_at },
            _ => Self { interval: Duration::from_secs(1) / per_second, at_once, whole_at },
        }
    }

    /// Whether one more is allowed now to whoever has this hash.
    pub fn allow(&mut self, now: Instant, hash: u32) -> bool {
        let whole_at = &mut self.whole_at[hash as usize % PLACES];
        let from = now.max(*whole_at);
        let allowed = from - now < self.at_once;
        if allowed {
            *whole_at = from + self.interval;
        }
        allowed
    }
}

/// Answers to strangers: so many a second in all, and of these so many to any one destination. So nobody is flooded through us, nobody
/// uses up what others need, and what is left for one of them tells nothing of what another one drew.
#[derive(Debug)]
pub struct SharedLimit {
    total: RateLimit,
    destinations: Shares,
}

impl SharedLimit {
    /// A limit in all, and one for each destination: of either, a tenth at once, so that it is whole again soon.
    pub fn new(per_second: u32, per_destination: u32) -> Self {
        Self {
            total: RateLimit::new(per_second),
            destinations: Shares::new(per_destination, Duration::from_millis(100)),
        }
    }

    /// Whether nothing is left of it for anybody. In a flood that is mostly so, and cheap to ask.
    pub fn is_used_up(&mut self, now: Instant) -> bool {
        self.total.is_used_up(now)
    }

    /// Whether one more is allowed now to the destination with this hash.
    pub fn allow(&mut self, now: Instant, destination: u32) -> bool {
        self.destinations.allow(now, destination) && self.total.allow(now)
    }
}
