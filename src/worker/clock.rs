//! The one place where a clock is read.

use crate::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A monotonic clock that also knows what the calendar said when it began. Workers share its origin by copying it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    /// Time since the Unix epoch at the origin.
    calendar: Duration,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        // A calendar before 1970 is a broken one; captures then begin at the epoch.
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: std::time::Instant::now(), calendar }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// What the system's calendar says of the origin now: it follows where that is set.
    pub fn calendar_as_set(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.origin.elapsed())
    }

    /// What the calendar says at `now`, as time since the Unix epoch. It never jumps, even where the system's does.
    pub fn calendar(&self, now: Instant) -> Duration {
        self.calendar + (now - Instant::ZERO)
    }
}
