//! How connections are opened: by the clock, no more at a time than may be, and again where one has failed.

use super::{Client, RETRY, SlotState, TURN};
use crate::{
    load::{Mode, schedule::Schedule, tally::Failure},
    stack::{ConnectError, ConnectionId, Stack},
    time::Instant,
};

impl Client {
    /// Begins connections, as many as may be. Whether there may be more at once.
    pub(super) fn open_connections(&mut self, now: Instant, stack: &mut Stack) -> bool {
        while self.vacant.front().is_some_and(|&until| until <= now) {
            self.vacant.pop_front();
        }
        for _ in 0..TURN {
            if !self.may_open(now) {
                return false;
            }
            let since = match self.opens_by_schedule() {
                Some(schedule) => schedule.take(now),
                None => Some(now),
            };
            let Some(since) = since else { return false };
            self.open_connection(now, since, stack);
        }
        true
    }

    /// The schedule, where it is connections that are due and not requests.
    pub(super) fn opens_by_schedule(&mut self) -> Option<&mut Schedule> {
        self.schedule.as_mut().filter(|_| self.task.mode == Mode::Connect)
    }

    pub(super) fn may_open(&self, now: Instant) -> bool {
        // Connections that are due at a rate are begun, however many others are half-open.
        let is_scheduled = self.schedule.is_some() && self.task.mode == Mode::Connect;
        let is_crowded = !is_scheduled && self.openings.len() >= self.half_open_limit();
        !is_crowded && now >= self.exhausted_until && self.taken() < u64::from(self.ramp.allowed(now))
    }

    /// Connections that may be opening at a time.
    pub(super) fn half_open_limit(&self) -> usize {
        self.task.half_open.div_ceil(self.worker.workers as u32) as usize
    }

    /// Places that are taken, of those that the ramp allows. One that idles has its place once.
    pub(super) fn taken(&self) -> u64 {
        match self.task.mode {
            Mode::Idle => self.attempts,
            _ => (self.open as usize + self.openings.len() + self.vacant.len()) as u64,
        }
    }

    pub(super) fn open_connection(&mut self, now: Instant, since: Instant, stack: &mut Stack) {
        self.attempts += 1;
        match self.connect(now, stack) {
            Ok(id) => {
                self.openings.insert(id.index(), since);
                self.set_slot(id.index(), SlotState::Opening);
            }
            Err(error) => {
                self.tally.obstacle = Some(error);
                self.fail(now, Failure::Other);
                self.exhausted_until = now + RETRY;
                if self.is_idle() && matches!(error, ConnectError::NoPortLeft(_)) {
                    self.give_up_opening();
                }
            }
        }
    }

    /// Begins a connection from the address whose turn it is, or from the next one that has a port left.
    pub(super) fn connect(&mut self, now: Instant, stack: &mut Stack) -> Result<ConnectionId, ConnectError> {
        let mut result = Err(ConnectError::NoPortLeft(self.task.target));
        for _ in 0..self.task.sources.len() {
            result = stack.connect(now, self.task.target, Some(self.task.sources[self.source]));
            let is_full = matches!(result, Err(ConnectError::NoPortLeft(_)));
            // Addresses take turns, so that a port is used again as late as can be. Those who stay fill one after the other,
            // which spares them the search for the last free ports of each.
            if is_full || !self.is_idle() {
                self.source = (self.source + 1) % self.task.sources.len();
            }
            if !is_full {
                break;
            }
        }
        if let Ok(id) = result
            && let Some(mut stream) = stack.stream(now, id)
        {
            stream.set_max_segment(self.task.max_segment);
        }
        result
    }

    /// Gives up opening connections that idle, each of which is begun once, where nothing but failures has come of it for long.
    pub(super) fn stop_opening_in_vain(&mut self, now: Instant) {
        if now - self.last_opened > self.task.timeout && self.failed_in_a_row >= self.half_open_limit() {
            self.give_up_opening();
        }
    }

    /// Counts the connections that will not even be begun.
    pub(super) fn give_up_opening(&mut self) {
        let left = u64::from(self.ramp.count).saturating_sub(self.attempts);
        self.tally.failed.count(Failure::Other, left);
        self.attempts += left;
    }
}
