//! One worker's share of the load: an application that opens connections by the clock, and talks on them.
//!
//! A connection has an index ([`ConnectionId::index`]), and what is known of it lies in tables at that index: a byte for each, and
//! an exchange where something is said. The stack gives no index to another connection before the end of the last one was heard.

mod opening;
mod stages;

use super::{
    Mode,
    exchange::{Exchange, Pieces, Step},
    options::PORTS,
    schedule::{Ramp, Schedule},
    tally::{Failure, Tally},
    task::{Gauge, SharedProgress, Task, Workload},
};
use crate::{
    config::{StackConfig, TcpConfig},
    stack::{ConnectionId, Event, Stack},
    tcp::CloseReason,
    time::Instant,
    worker::{Application, Context, WorkerIndex},
};
use crossbeam::{channel::Sender, utils::CachePadded};
use rustc_hash::FxHashMap;
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Connections begun, requests sent or connections left in one turn.
const TURN: usize = 256;
/// How soon after a failure another connection takes the place of the one that failed.
const RETRY: Duration = Duration::from_millis(100);
/// How often a worker that has nothing else to do looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Connections beyond those asked for that may be on their way out.
const SPARE: u32 = 4_096;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SlotState {
    /// There is none.
    #[default]
    Free,
    Opening,
    Open,
    /// It is counted, and on its way out.
    Over,
}

/// How far the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connections are opened; nothing counts yet but failures, and what is said of opening where they idle.
    WarmUp,
    /// It is measured, until then.
    Measure(Instant),
    /// Everything has been told; connections are left, from this index on.
    Leave(usize),
    Over,
}

/// The application.
pub(super) struct Client {
    task: Arc<Task>,
    worker: WorkerIndex,
    shared: Arc<SharedProgress>,
    gauge: Arc<CachePadded<Gauge>>,
    /// Where the figures go. Dropped when every connection has been left.
    figures: Option<Sender<(usize, Tally)>>,
    /// When it began: at the first turn.
    begun: Option<Instant>,
    stage: Stage,
    measured_from: Instant,
    tally: Tally,
    completed_ever: u64,
    /// Payload received in the warm-up.
    received_before: u64,

    ramp: Ramp,
    schedule: Option<Schedule>,
    /// By index.
    slots: Vec<SlotState>,
    /// By index, where anything is said.
    exchanges: Vec<Exchange>,
    /// When connections that are being opened were begun, or due.
    openings: FxHashMap<usize, Instant>,
    open: u32,
    /// Connections begun so far.
    attempts: u64,
    /// When a connection last came to be, and how many have failed to since.
    last_opened: Instant,
    failed_in_a_row: usize,
    /// Whether none has come to be so far.
    is_alone: bool,
    /// When the places of connections that failed may be taken again.
    vacant: VecDeque<Instant>,
    /// Open connections that wait for a request to be due.
    parked: VecDeque<ConnectionId>,
    /// The address that the next connection comes from, and until when there is no use in trying.
    source: usize,
    exhausted_until: Instant,
    pings: u64,
    pieces: Pieces,
    next_sweep: Instant,
}

impl Client {
    pub fn new(
        task: Arc<Task>,
        worker: WorkerIndex,
        shared: Arc<SharedProgress>,
        figures: Sender<(usize, Tally)>,
    ) -> Self {
        let ramp = Ramp { begin: Instant::ZERO, length: task.ramp, count: share(task.connections, worker) };
        Self {
            ramp,
            worker,
            gauge: shared.gauge(),
            shared,
            figures: Some(figures),
            begun: None,
            stage: Stage::WarmUp,
            measured_from: Instant::ZERO,
            tally: Tally::default(),
            completed_ever: 0,
            received_before: 0,
            schedule: None,
            slots: Vec::new(),
            exchanges: Vec::new(),
            openings: FxHashMap::default(),
            open: 0,
            attempts: 0,
            last_opened: Instant::ZERO,
            failed_in_a_row: 0,
            is_alone: true,
            vacant: VecDeque::new(),
            parked: VecDeque::new(),
            source: 0,
            exhausted_until: Instant::ZERO,
            pings: 0,
            pieces: Pieces::default(),
            next_sweep: Instant::ZERO,
            task,
        }
    }

    /// The configuration of a stack that carries one of so many workers' shares.
    pub fn stack_config(task: &Task, workers: u32) -> StackConfig {
        StackConfig {
            tcp: TcpConfig {
                // What is written is a whole request, which waits for nothing.
                nagle: false,
                syn_timeout: task.timeout,
                user_timeout: Some(task.timeout),
                ..TcpConfig::default()
            },
            max_connections: task.connections.div_ceil(workers).saturating_add(SPARE),
            ephemeral_ports: PORTS,
            soft_error_events: false,
            ..StackConfig::default()
        }
    }

    fn is_idle(&self) -> bool {
        self.task.mode == Mode::Idle
    }

    fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
        (self.ramp.begin, self.measured_from, self.last_opened) = (now, now, now);
        let begin = now + self.task.ramp;
        self.schedule = self.task.rate.map(|rate| Schedule::new(begin, rate, self.worker.number, self.worker.workers));
    }

    fn set_slot(&mut self, index: usize, state: SlotState) {
        if self.slots.len() <= index {
            self.slots.resize(index + 1, SlotState::Free);
            if self.task.workload != Workload::Silence {
                self.exchanges.resize(index + 1, Exchange::default());
            }
        }
        self.slots[index] = state;
    }

    // Talking.

    fn opened(&mut self, now: Instant, id: ConnectionId, stack: &mut Stack) {
        let since = self.openings.remove(&id.index()).unwrap_or(now);
        self.set_slot(id.index(), SlotState::Open);
        self.open += 1;
        (self.last_opened, self.failed_in_a_row, self.is_alone) = (now, 0, false);
        self.tally.peak = self.tally.peak.max(self.open.into());
        self.tally.opened(now, since);
        match (self.task.mode, &self.schedule) {
            (Mode::Idle, _) => {}
            (Mode::Connect, _) => self.send_request(now, since, id, stack),
            (_, Some(_)) => self.park(id),
            (_, None) => self.send_request(now, now, id, stack),
        }
    }

    /// Sends a request that is, or was, due.
    fn send_request(&mut self, now: Instant, since: Instant, id: ConnectionId, stack: &mut Stack) {
        let Some(mut stream) = stack.stream(now, id) else { return };
        self.pings += 1;
        let exchange = &mut self.exchanges[id.index()];
        self.tally.sent += exchange.begin(now, since, &self.task.workload, self.pings, &mut stream) as u64;
        drop(stream);
        // Bytes of no meaning can be written at once; anything else waits for an answer.
        if matches!(self.task.workload, Workload::Bytes { writes: true }) {
            self.converse(now, id, stack);
        }
    }

    fn park(&mut self, id: ConnectionId) {
        self.exchanges[id.index()] = Exchange::default();
        self.parked.push_back(id);
    }

    fn converse(&mut self, now: Instant, id: ConnectionId, stack: &mut Stack) {
        let Some(mut stream) = stack.stream(now, id) else { return };
        let Some(exchange) = self.exchanges.get_mut(id.index()) else {
            // Nothing is expected where connections idle, and the end least of all.
            let failure = if stream.at_end() { Failure::Other } else { Failure::BadResponse };
            if stream.at_end() || stream.readable_len() > 0 {
                stream.abort();
                self.end(id);
                self.fail(now, failure);
            }
            return;
        };
        let step = exchange.advance(now, &self.task.workload, &mut self.pieces, &mut self.tally, &mut stream);
        let since = exchange.since;
        match step {
            Step::Wait => {}
            Step::Done { reusable } => {
                let stays = reusable && self.task.mode != Mode::Connect;
                if !stays {
                    stream.close();
                }
                drop(stream);
                self.complete(now, since);
                match stays {
                    true => self.go_on(now, id, stack),
                    false => self.end(id),
                }
            }
            // Servers may close a connection that nobody uses; another one takes its place.
            Step::Left => {
                stream.close();
                self.end(id);
            }
            Step::Failed(failure) => {
                stream.abort();
                self.end(id);
                self.fail(now, failure);
            }
        }
    }

    fn complete(&mut self, now: Instant, since: Instant) {
        self.completed_ever += 1;
        if self.task.mode == Mode::Bulk {
            self.tally.completed += 1;
        } else {
            self.tally.complete(now, since);
        }
    }

    /// The next request on the same connection: at once, or when it is due.
    fn go_on(&mut self, now: Instant, id: ConnectionId, stack: &mut Stack) {
        match &mut self.schedule {
            None => self.send_request(now, now, id, stack),
            Some(schedule) => match schedule.take(now) {
                Some(due) => self.send_request(now, due, id, stack),
                None => self.park(id),
            },
        }
    }

    /// Sends the requests that are due, on connections that wait for them. Whether there may be more at once.
    fn send_due(&mut self, now: Instant, stack: &mut Stack) -> bool {
        if self.task.mode == Mode::Connect {
            return false;
        }
        for _ in 0..TURN {
            // One that has gone since it rested is forgotten.
            while self.parked.front().is_some_and(|&id| stack.connection_at(id.index()) != Some(id)) {
                self.parked.pop_front();
            }
            let Some(&id) = self.parked.front() else { return false };
            let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) else { return false };
            self.parked.pop_front();
            self.send_request(now, due, id, stack);
        }
        true
    }

    // Ending.

    /// An open connection is on its way out.
    fn end(&mut self, id: ConnectionId) {
        self.open -= 1;
        self.pieces.forget(id.index());
        self.set_slot(id.index(), SlotState::Over);
        if let Some(exchange) = self.exchanges.get_mut(id.index()) {
            *exchange = Exchange::default();
        }
    }

    fn fail(&mut self, now: Instant, failure: Failure) {
        self.tally.failed.count(failure, 1);
        if !self.is_idle() {
            self.vacant.push_back(now + RETRY);
        }
    }

    fn closed(&mut self, now: Instant, id: ConnectionId, reason: CloseReason) {
        match self.slots.get(id.index()) {
            Some(SlotState::Opening) => {
                self.openings.remove(&id.index());
                self.failed_in_a_row += 1;
                self.fail(now, reason.into());
            }
            Some(SlotState::Open) => {
                self.end(id);
                self.fail(now, reason.into());
            }
            _ => {}
        }
        self.set_slot(id.index(), SlotState::Free);
    }

    /// Gives up connections whose peers have been silent for too long, now and then.
    fn sweep(&mut self, now: Instant, stack: &mut Stack) {
        // Who writes without end is told by the stack where nothing is acknowledged: the user timeout.
        if now < self.next_sweep || self.task.workload == (Workload::Bytes { writes: true }) {
            return;
        }
        self.next_sweep = now + self.task.timeout / 8;
        for index in 0..self.exchanges.len() {
            let exchange = &self.exchanges[index];
            if !exchange.is_under_way() || now - exchange.heard <= self.task.timeout {
                continue;
            }
            let Some(id) = stack.connection_at(index) else { continue };
            if let Some(mut stream) = stack.stream(now, id) {
                stream.abort();
            }
            self.end(id);
            self.fail(now, Failure::TimedOut);
        }
    }

    fn publish(&self) {
        self.gauge.completed.store(self.completed_ever, Ordering::Relaxed);
        self.gauge.open.store(self.open.into(), Ordering::Relaxed);
        self.gauge.failed.store(self.tally.failed.total(), Ordering::Relaxed);
    }

    /// When there is something to do again, if nothing happens meanwhile.
    fn next_call(&self, now: Instant) -> Instant {
        let end = if let Stage::Measure(end) = self.stage { end } else { now + LOOK };
        let has_place = if self.task.mode == Mode::Connect { self.may_open(now) } else { !self.parked.is_empty() };
        let due = self.schedule.as_ref().filter(|_| has_place).map(Schedule::due);
        let vacant = self.vacant.front().copied();
        let taken = self.taken() as u32;
        let ramp = (taken < self.ramp.count && now < self.ramp.begin + self.ramp.length).then(|| self.ramp.due(taken));
        let exhausted = (now < self.exhausted_until).then_some(self.exhausted_until);
        let candidates = [Some(end), due, vacant, ramp, exhausted, Some(now + LOOK)];
        candidates.into_iter().flatten().min().unwrap_or(now)
    }
}

impl Application for Client {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::WarmUp | Stage::Measure(_)) {
            return;
        }
        let (now, stack) = (cx.now(), cx.stack());
        match event {
            Event::Connected(id) => self.opened(now, id, stack),
            Event::Ready(id) if self.slots.get(id.index()) == Some(&SlotState::Open) => self.converse(now, id, stack),
            Event::Closed(id, reason) => self.closed(now, id, reason),
            _ => {}
        }
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let (now, stack) = (cx.now(), cx.stack());
        let begun = match self.begun {
            Some(begun) => begun,
            None => {
                self.begin(now);
                now
            }
        };
        match self.stage {
            Stage::WarmUp => self.warm_up(now, begun),
            Stage::Measure(end) if now >= end => self.finish(now, stack),
            Stage::Measure(_) => {}
            Stage::Leave(index) => self.stage = self.abort_batch(now, index, stack),
            Stage::Over => return None,
        }
        if matches!(self.stage, Stage::Leave(_) | Stage::Over) {
            return Some(now);
        }
        if self.shared.is_stopped() {
            self.finish(now, stack);
            return Some(now);
        }
        let may_open = self.open_connections(now, stack);
        let may_send = self.send_due(now, stack);
        // Last, because an index is free again afterwards.
        self.sweep(now, stack);
        self.publish();
        Some(if may_open || may_send { now } else { self.next_call(now) })
    }
}

/// A worker's share of the connections.
fn share(connections: u32, WorkerIndex { number, workers }: WorkerIndex) -> u32 {
    let (number, workers) = (number as u32, workers as u32);
    connections / workers + u32::from(number < connections % workers)
}
