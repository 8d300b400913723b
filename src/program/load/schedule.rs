//! When things are due: requests of an open loop, connections of a ramp.

use crate::time::Instant;
use std::time::Duration;

/// A worker's share of a steady rate. The moments follow from a count, so no rounding adds up and no delay shifts those to come.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    begin: Instant,
    /// A second, for all workers together.
    rate: u64,
    /// The number of the next moment, among those of all workers, and the distance to the one after it.
    next: u64,
    step: u64,
}

impl Schedule {
    /// That of worker number `number` of so many `workers`, who take turns.
    pub fn new(begin: Instant, rate: u64, number: usize, workers: usize) -> Self {
        Self { begin, rate, next: number as u64, step: workers as u64 }
    }

    /// The next moment that was not taken.
    pub fn due(&self) -> Instant {
        let nanos = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate);
        self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Takes the next moment, if it has come.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due();
        (due <= now).then(|| {
            self.next += self.step;
            due
        })
    }

    /// Moments that have come and were not taken.
    pub fn overdue(&self, now: Instant) -> u64 {
        if self.due() > now {
            return 0;
        }
        let since_begin = (now - self.begin).as_nanos() * u128::from(self.rate) / 1_000_000_000;
        (since_begin as u64).saturating_sub(self.next) / self.step + 1
    }
}

/// How many connections there may be while they are opened, a few at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    pub begin: Instant,
    /// How long it takes; zero for all of them at once.
    pub length: Duration,
    /// How many there are in the end.
    pub count: u32,
}

impl Ramp {
    /// How many there may be now.
    pub fn allowed(&self, now: Instant) -> u32 {
        let elapsed = now - self.begin;
        if elapsed >= self.length {
            return self.count;
        }
        let opened = u128::from(self.count) * elapsed.as_nanos() / self.length.as_nanos();
        self.count.min(opened as u32 + 1)
    }

    /// When there may be one more than so many.
    pub fn due(&self, count: u32) -> Instant {
        let nanos = self.length.as_nanos() * u128::from(count) / u128::from(self.count.max(1));
        // Rounded up: at that moment it is allowed.
        self.begin + Duration::from_nanos(nanos as u64 + 1)
    }
}
