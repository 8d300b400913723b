//! What time it is: really, or as it pleases us.

use std::time::Duration;
use xskip::time::Instant;

/// A clock that both stacks of a pair go by. It is read once a batch, as a worker does.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's own.
    Real(std::time::Instant),
    /// One that shows a later time by `step` whenever it is read: what happens does not depend on how long it takes.
    Virtual {
        /// What it shows.
        now: Instant,
        /// By how much it moves on.
        step: Duration,
    },
}

/// What a clock shows at first: no stack is younger than its first second.
const START: Duration = Duration::from_secs(1);

impl Clock {
    /// The machine's clock.
    pub fn real() -> Self {
        Self::Real(std::time::Instant::now())
    }

    /// A clock that moves on by a microsecond a batch, which is less than any batch takes: no timer is ever due.
    pub fn virtual_time() -> Self {
        Self::Virtual { now: Instant::ZERO + START, step: Duration::from_micros(1) }
    }

    /// What it shows.
    pub fn now(&mut self) -> Instant {
        match self {
            Self::Real(origin) => Instant::ZERO + START + origin.elapsed(),
            Self::Virtual { now, step } => {
                *now += *step;
                *now
            }
        }
    }

    /// Lets time pass at once, where that is possible.
    pub fn pass(&mut self, span: Duration) {
        if let Self::Virtual { now, .. } = self {
            *now += span;
        }
    }
}
