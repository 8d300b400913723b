//! How many segments that are out of place one flow answers (RFC 5961 §7).

use crate::time::Instant;
use std::time::Duration;

/// Most of them a second. For each flow, because a limit shared by all tells an attacker what others do (CVE-2016-5696).
const PER_SECOND: u32 = 10;

/// What a flow has answered in a second.
#[derive(Clone, Copy, Debug)]
pub struct Challenges {
    since: Instant,
    answered: u32,
}

impl Challenges {
    /// Nothing yet.
    pub const fn new(now: Instant) -> Self {
        Self { since: now, answered: 0 }
    }

    /// Whether one more is answered.
    pub fn allow(&mut self, now: Instant) -> bool {
        if now - self.since >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let allowed = self.answered < PER_SECOND;
        self.answered += u32::from(allowed);
        allowed
    }

    /// Whether it may forget what it has answered.
    pub fn is_over(&self, now: Instant) -> bool {
        self.answered == 0 || now - self.since >= Duration::from_secs(1)
    }
}
