//! Who is well: told from outside, by checks or whoever knows. It masks a table and never changes one.

use super::backend::BackendId;
use crate::{
    rng::splitmix64,
    time::{Instant, nanos},
};
use std::{collections::VecDeque, fmt, sync::mpsc, time::Duration};

/// What is known of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing yet: it is trusted, or a start would be an outage.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// Who tells of health: checks of our own, somebody else's by way of a channel, a script in a test.
pub trait HealthSource {
    /// The next thing that is known at `now`; `None` when there is nothing more. It is asked until then, so it must not
    /// say the same twice.
    fn poll(&mut self, now: Instant) -> Option<(BackendId, Health)>;

    /// All that is known at `now`, as far as others have their turn then.
    fn reports(&mut self, now: Instant) -> Vec<(BackendId, Health)> {
        std::iter::from_fn(|| self.poll(now)).take(REPORTS).collect()
    }
}

/// What a source may say in a row.
const REPORTS: usize = 4_096;

impl HealthSource for mpsc::Receiver<(BackendId, Health)> {
    fn poll(&mut self, _: Instant) -> Option<(BackendId, Health)> {
        self.try_recv().ok()
    }
}

/// Health by the clock: for tests, and for maintenance that is known in advance.
#[derive(Clone, Debug, Default)]
pub struct Script(VecDeque<(Instant, BackendId, Health)>);

impl Script {
    /// What happens when, in any order.
    pub fn new(events: impl IntoIterator<Item = (Instant, BackendId, Health)>) -> Self {
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_by_key(|&(at, ..)| at);
        Self(events.into())
    }
}

impl HealthSource for Script {
    fn poll(&mut self, now: Instant) -> Option<(BackendId, Health)> {
        let &(_, backend, health) = self.0.front().filter(|(at, ..)| *at <= now)?;
        self.0.pop_front();
        Some((backend, health))
    }
}

/// What checks in a row come to: so many that succeed make a backend up, and so many that fail make it down. One of the
/// other kind and the count begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    rise: u32,
    fall: u32,
    health: Health,
    /// Results in a row that speak against `health`.
    against: u32,
}

impl Tally {
    /// Nothing known yet. What is to rise or fall after 0 checks does after one.
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, health: Health::Unknown, against: 0 }
    }

    /// What the checks have come to so far.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// What was known before, by a process that is gone.
    pub fn resume(&mut self, health: Health) {
        *self = Self { health, against: 0, ..*self };
    }

    /// Counts a check; `Some` when it changes what is known. The first one that succeeds tells enough to make the
    /// unknown up, but it takes as many failures as ever to make it down.
    pub fn count(&mut self, succeeded: bool) -> Option<Health> {
        let (next, needed) = match (succeeded, self.health) {
            (true, Health::Up) | (false, Health::Down) => {
                self.against = 0;
                return None;
            }
            (true, Health::Unknown) => (Health::Up, 1),
            (true, Health::Down) => (Health::Up, self.rise),
            (false, _) => (Health::Down, self.fall),
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        (self.health, self.against) = (next, 0);
        Some(next)
    }
}

/// When checks are due: regularly, but no two backends together, and no two balancers. Each interval is longer or
/// shorter by a tenth at most.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: u64,
    chance: u64,
    due: Instant,
}

impl Pace {
    /// Checks from `now` on, the first within one interval. Seeds differ by balancer and backend.
    pub fn new(now: Instant, interval: Duration, seed: u64) -> Self {
        let interval = nanos(interval).max(1);
        let chance = splitmix64(seed);
        Self { interval, chance, due: now + Duration::from_nanos(share(chance, interval)) }
    }

    /// When the next one is due.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Whether one is due; the next one is put off then, from now on: who was held up does not catch up.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        self.chance = splitmix64(self.chance);
        let tenth = self.interval / 10;
        self.due = now + Duration::from_nanos(self.interval - tenth + share(self.chance, 2 * tenth));
        true
    }
}

/// A part of `whole`, as chance will have it.
fn share(chance: u64, whole: u64) -> u64 {
    ((u128::from(chance) * u128::from(whole)) >> 64) as u64
}
