//! The executor: tasks that are to be polled, in the order in which they were woken.
//!
//! What is woken on the worker's own thread, in its turn, goes into a queue that nobody else sees, without lock or atomic; what other
//! threads wake goes into one that they share, and rings the worker. A task is in either at most once, so both are as long as there are
//! tasks.

use super::{current, reactor::Reactor};
use crate::worker::Waker as Bell;
use async_task::Runnable;
use crossbeam::queue::SegQueue;
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{self, AssertUnwindSafe, Location},
    rc::Rc,
    sync::Arc,
    task::Waker,
    thread,
    time::{Duration, Instant},
};

/// Tasks that a worker polls between two batches of frames at most: others wait for the next turn, which begins at once.
pub const POLLS_A_TURN: usize = 256;
/// A poll that takes longer than this has held up every connection of its worker, and is counted.
pub const SLOW_POLL: Duration = Duration::from_millis(10);
/// How often the end of the executor waits for other threads that are just waking one of its tasks.
const PATIENCE: usize = 100_000;

/// Where a task was spawned: its name.
pub(super) type Place = &'static Location<'static>;
pub(super) type Task = Runnable<Place>;

/// What other threads reach.
pub(super) struct Shared {
    woken: SegQueue<Task>,
    bell: Option<Bell>,
}

impl Shared {
    /// A task is to be polled; called on whichever thread wakes it.
    pub fn schedule(this: &Arc<Self>, task: Task) {
        let mut task = Some(task);
        current::is_turn_of(|reactor| {
            let is_ours = Arc::ptr_eq(&reactor.executor.shared, this);
            if is_ours && let Some(task) = task.take() {
                reactor.executor.woken.borrow_mut().push_back(task);
            }
            is_ours
        });
        if let Some(task) = task {
            this.woken.push(task);
            this.bell.iter().for_each(Bell::wake);
        }
    }
}

/// What reads a clock beside the poll of a task.
pub(super) type ReadClock = fn() -> Instant;

pub(super) struct Executor {
    pub shared: Arc<Shared>,
    woken: RefCell<VecDeque<Task>>,
    /// What wakes each task that lives, so that they can be ended.
    living: RefCell<Slab<Waker>>,
    is_over: Cell<bool>,
    clock: Cell<ReadClock>,
}

impl Executor {
    pub fn new(bell: Option<Bell>) -> Self {
        Self {
            shared: Arc::new(Shared { woken: SegQueue::new(), bell }),
            woken: RefCell::default(),
            living: RefCell::default(),
            is_over: Cell::new(false),
            clock: Cell::new(Instant::now),
        }
    }

    #[cfg(test)]
    pub fn set_clock(&self, clock: ReadClock) {
        self.clock.set(clock);
    }

    /// How many tasks live.
    pub fn tasks(&self) -> usize {
        self.living.borrow().len()
    }

    /// A place for what wakes a new task, and whether there may be new ones still.
    pub fn enlist(&self, waker: Waker) -> usize {
        self.living.borrow_mut().insert(waker)
    }

    pub fn strike(&self, task: usize) {
        // Dropped behind the borrow: it may be the last one to hold the task.
        let waker = self.living.borrow_mut().try_remove(task);
        drop(waker);
    }

    /// The key that the next task will have.
    pub fn next_key(&self) -> usize {
        self.living.borrow().vacant_key()
    }

    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Polls tasks that were woken, no more than [`POLLS_A_TURN`] of them. Whether there are more.
    pub fn run(&self, reactor: &Reactor) -> bool {
        for _ in 0..self.shared.woken.len() {
            let Some(task) = self.shared.woken.pop() else { break };
            self.woken.borrow_mut().push_back(task);
        }
        let clock = self.clock.get();
        let mut began = None;
        for _ in 0..POLLS_A_TURN {
            let Some(task) = self.woken.borrow_mut().pop_front() else { return false };
            let place = *task.metadata();
            let start = began.unwrap_or_else(clock);
            // A task's own panics are caught beside its future; what comes here is one that its remains have thrown.
            if panic::catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
                reactor.note_panic(place);
            }
            let end = clock();
            began = Some(end);
            reactor.note_poll(place, end.saturating_duration_since(start));
        }
        !self.woken.borrow().is_empty()
    }

    /// Drops all tasks, and what they hold.
    pub fn end(&self) {
        self.is_over.set(true);
        for _ in 0..PATIENCE {
            let wakers: Vec<_> = self.living.borrow().iter().map(|(_, waker)| waker.clone()).collect();
            if wakers.is_empty() && self.woken.borrow().is_empty() && self.shared.woken.is_empty() {
                return;
            }
            // Each of them comes to a queue, unless another thread is about to bring it there.
            wakers.into_iter().for_each(Waker::wake);
            let mut dropped = false;
            while let Some(task) = self.next() {
                dropped = true;
                let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(task)));
            }
            if !dropped {
                thread::yield_now();
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let ours = self.woken.borrow_mut().pop_front();
        ours.or_else(|| self.shared.woken.pop())
    }
}

/// A task's place among those that live, given up when its future is dropped.
pub(super) struct Living {
    pub reactor: Rc<Reactor>,
    pub key: usize,
}

impl Drop for Living {
    fn drop(&mut self) {
        self.reactor.executor.strike(self.key);
    }
}
