//! Timers of applications: one deadline each, told by [`Event::Timer`].

use super::{Event, Slab, Stack, TimerWheel};
use crate::time::Instant;

/// Names one timer until it has fired or was cancelled, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

impl TimerId {
    /// A small number that no other timer has before its event was taken, or it was cancelled.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct AppTimer {
    generation: u32,
    token: u64,
}

/// All timers of a stack's application. One that has expired keeps its place until its event is taken, so that it can be
/// cancelled up to then.
#[derive(Debug)]
pub(super) struct AppTimers {
    wheel: TimerWheel,
    timers: Slab<AppTimer>,
    generation: u32,
}

impl AppTimers {
    pub fn new(limit: u32) -> Self {
        Self { wheel: TimerWheel::new(limit), timers: Slab::new(limit), generation: 0 }
    }

    fn set(&mut self, at: Instant, token: u64) -> Option<TimerId> {
        let generation = self.generation.wrapping_add(1);
        let index = self.timers.insert(AppTimer { generation, token }).ok()?;
        self.generation = generation;
        self.wheel.arm(index, at);
        Some(TimerId { index, generation })
    }

    /// Takes a timer out; its token, where it was there.
    pub fn take(&mut self, id: TimerId) -> Option<u64> {
        self.timers.get(id.index).filter(|timer| timer.generation == id.generation)?;
        self.wheel.cancel(id.index);
        self.timers.remove(id.index).map(|timer| timer.token)
    }

    /// The next one that has expired.
    fn expire(&mut self, now: Instant) -> Option<(TimerId, u64)> {
        let index = self.wheel.expire(now)?;
        let AppTimer { generation, token } = self.timers[index];
        Some((TimerId { index, generation }, token))
    }

    /// When the next one expires; it may be a little early.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.timers.is_empty() { None } else { self.wheel.next_deadline() }
    }
}

impl Stack {
    /// Has [`Event::Timer`] come with this token at `at`, or up to a tick of the timer wheel later; `None` where
    /// [`StackConfig::max_timers`](crate::config::StackConfig::max_timers) run already.
    pub fn set_timer(&mut self, at: Instant, token: u64) -> Option<TimerId> {
        self.app_timers.set(at, token)
    }

    /// Stops a timer: its event does not come any more. Nothing happens where it has fired.
    pub fn cancel_timer(&mut self, id: TimerId) {
        self.app_timers.take(id);
    }

    pub(super) fn expire_app_timers(&mut self, now: Instant) {
        if self.app_timers.timers.is_empty() {
            return;
        }
        while let Some((id, token)) = self.app_timers.expire(now) {
            self.events.push_back(Event::Timer(id, token));
        }
    }
}
