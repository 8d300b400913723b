//! From one stage to the next: when it counts, what is told in the end, and how connections are left.

use super::{Client, SlotState, Stage, TURN};
use crate::{
    load::{Mode, exchange::Exchange, tally::Failure, task::Workload},
    stack::Stack,
    time::Instant,
};

impl Client {
    pub(super) fn warm_up(&mut self, now: Instant, begun: Instant) {
        if !self.is_idle() {
            let warm = begun + self.task.ramp + self.task.warm_up;
            if now >= warm {
                self.received_before = self.tally.received;
                self.tally.begin();
                self.measured_from = now;
                self.stage = Stage::Measure(now + self.task.duration);
            }
            return;
        }
        self.stop_opening_in_vain(now);
        let is_done = self.attempts >= u64::from(self.ramp.count) && self.openings.is_empty();
        if is_done && self.tally.opened_in.is_none() {
            self.tally.opened_in = Some(now - begun);
            self.shared.report_ready();
        }
        if self.shared.are_ready(self.worker.workers) {
            self.measured_from = now;
            self.stage = Stage::Measure(now + self.task.duration);
        }
    }

    /// Tells the figures, and begins to leave.
    pub(super) fn finish(&mut self, now: Instant, stack: &Stack) {
        self.tally.established = self.open.into();
        self.count_unanswered(now, stack);
        if self.stage != Stage::WarmUp {
            self.tally.measured = now - self.measured_from;
        } else if !self.is_idle() {
            self.tally.begin();
        }
        if let Some(schedule) = &self.schedule {
            let under_way = self.exchanges.iter().filter(|exchange| exchange.is_under_way()).count();
            let opening = if self.task.mode == Mode::Connect { self.openings.len() } else { 0 };
            self.tally.unfinished = schedule.overdue(now) + (under_way + opening) as u64;
        }
        if let Some(figures) = &self.figures {
            // Where nobody waits for them any more, nobody misses them.
            let _ = figures.send((self.worker.number, std::mem::take(&mut self.tally)));
        }
        self.stage = Stage::Leave(0);
    }

    /// Where nothing at all has come back, what is still waited for in the end has failed, however short the time was: nobody is
    /// there, or nobody who answers.
    pub(super) fn count_unanswered(&mut self, now: Instant, stack: &Stack) {
        if self.is_alone {
            let within_reach = stack.is_within_reach(now, self.task.target.address);
            let reason = if within_reach { Failure::TimedOut } else { Failure::Unreachable };
            self.tally.failed.count(reason, self.openings.len() as u64);
            self.openings.clear();
            return;
        }
        let received = self.received_before + self.tally.received;
        // Who only sends is told by the stack where nothing is acknowledged: the user timeout.
        if self.completed_ever == 0 && received == 0 && self.task.workload != (Workload::Bytes { writes: true }) {
            let silent = self.exchanges.iter_mut().filter(|exchange| exchange.is_under_way());
            let silent = silent.map(|exchange| *exchange = Exchange::default()).count();
            self.tally.failed.count(Failure::TimedOut, silent as u64);
        }
    }

    /// Resets connections, so many in a turn that each reset is sent. Where it has to go on.
    pub(super) fn abort_batch(&mut self, now: Instant, mut index: usize, stack: &mut Stack) -> Stage {
        let mut left = 0;
        while left < TURN {
            if index >= self.slots.len() {
                self.figures = None;
                return Stage::Over;
            }
            if matches!(self.slots[index], SlotState::Opening | SlotState::Open)
                && let Some(id) = stack.connection_at(index)
                && let Some(mut stream) = stack.stream(now, id)
            {
                stream.abort();
                left += 1;
            }
            index += 1;
        }
        Stage::Leave(index)
    }
}
