//! Time, and the end of the worker.

use super::{current, reactor::Reactor};
use crate::{stack::TimerWheel, time::Instant};
use slab::Slab;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

/// Timers that expire in one turn at most; those behind them are for the next, which begins at once.
const EXPIRED_AT_ONCE: usize = 1_024;

/// Everybody who waits for a point in time.
pub(super) struct Timers {
    waiting: Slab<Waiting>,
    wheel: TimerWheel,
    /// Names one of them, and never another one after it.
    last: u64,
}

struct Waiting {
    deadline: Instant,
    number: u64,
    waker: Waker,
}

impl Default for Timers {
    fn default() -> Self {
        // A `Sleep` may be carried to another worker, where its entry is not to be taken for another one's.
        static EXECUTORS: AtomicU64 = AtomicU64::new(0);
        let last = EXECUTORS.fetch_add(1, Ordering::Relaxed) << 44;
        Self { waiting: Slab::new(), wheel: TimerWheel::new(0), last }
    }
}

impl Timers {
    fn insert(&mut self, deadline: Instant, waker: Waker) -> Entry {
        self.last += 1;
        let index = self.waiting.insert(Waiting { deadline, number: self.last, waker });
        if deadline != Instant::NEVER {
            self.wheel.arm(index as u32, deadline);
        }
        Entry { index, number: self.last }
    }

    fn get(&mut self, entry: Entry) -> Option<&mut Waiting> {
        self.waiting.get_mut(entry.index).filter(|waiting| waiting.number == entry.number)
    }

    fn remove(&mut self, entry: Entry) -> Option<Waker> {
        self.get(entry)?;
        self.wheel.cancel(entry.index as u32);
        Some(self.waiting.remove(entry.index).waker)
    }

    /// Wakes those whose time has come. When there is something to do next.
    pub fn expire(reactor: &Reactor, now: Instant) -> Option<Instant> {
        for _ in 0..EXPIRED_AT_ONCE {
            let mut timers = reactor.timers.borrow_mut();
            if timers.waiting.is_empty() {
                return None;
            }
            let Some(index) = timers.wheel.expire(now) else { return timers.wheel.next_deadline() };
            let Some(waiting) = timers.waiting.get(index as usize) else { continue };
            if waiting.deadline > now {
                let deadline = waiting.deadline;
                timers.wheel.arm(index, deadline);
                continue;
            }
            let waker = timers.waiting.remove(index as usize).waker;
            drop(timers);
            waker.wake();
        }
        Some(now)
    }

    /// When the next one is due, or a little earlier.
    pub fn next(reactor: &Reactor) -> Option<Instant> {
        let timers = reactor.timers.borrow();
        if timers.waiting.is_empty() { None } else { timers.wheel.next_deadline() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: usize,
    number: u64,
}

/// The time, as the worker's clock showed it when this turn began.
///
/// # Panics
/// Outside of tasks.
pub fn now() -> Instant {
    current::reactor().now()
}

/// Waits for so long, or up to a tick of the timer wheel longer.
///
/// # Panics
/// Outside of tasks.
pub fn sleep(span: Duration) -> Sleep {
    sleep_until(now() + span)
}

/// Waits until then, by the worker's clock ([`now`]).
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, entry: None }
}

/// Ready when its time has come: see [`sleep`]. It holds nothing of its worker's, and so is `Send`, as hyper wants its timers; polled
/// elsewhere than in a task, it panics.
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    entry: Option<Entry>,
}

impl Sleep {
    /// When it is ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits until then instead.
    pub fn reset(&mut self, deadline: Instant) {
        self.forget();
        self.deadline = deadline;
    }

    /// Outside of a turn, the entry stays until its time has come, and wakes somebody in vain.
    fn forget(&mut self) {
        if let Some((entry, reactor)) = self.entry.take().zip(current::try_reactor()) {
            let waker = reactor.timers.borrow_mut().remove(entry);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let reactor = current::reactor();
        if reactor.now() >= self.deadline {
            self.forget();
            return Poll::Ready(());
        }
        let mut timers = reactor.timers.borrow_mut();
        match self.entry.and_then(|entry| timers.get(entry)) {
            Some(waiting) => waiting.waker.clone_from(task.waker()),
            None => self.entry = Some(timers.insert(self.deadline, task.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// It took longer than it might.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it took longer than {0:?}; allow more time, or find out what it waits for")]
pub struct Elapsed(pub Duration);

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for a future, but no longer than `limit`: then the future is dropped.
///
/// # Errors
/// [`Elapsed`] where the time was up first.
///
/// # Panics
/// Outside of tasks.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep(limit)));
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(task).map(|()| Err(Elapsed(limit))),
    })
    .await
}

/// Ready again and again, `period` apart, beginning at once.
///
/// # Panics
/// Outside of tasks.
pub fn interval(period: Duration) -> Interval {
    Interval { sleep: sleep_until(now()), period }
}

/// See [`interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    /// Waits for the next time. Where several have passed, they are made up for by one.
    pub async fn tick(&mut self) -> Instant {
        let Self { sleep, period } = self;
        poll_fn(|task| Pin::new(&mut *sleep).poll(task)).await;
        let (due, now) = (sleep.deadline(), now());
        let next = due + *period;
        sleep.reset(if next > now { next } else { now + *period });
        due
    }
}

/// Ready once the worker has been told to end: then connections may go on for as long as the drain allows, tasks and timers too, and
/// nothing more is accepted. To be raced against what would go on for ever.
///
/// # Panics
/// Outside of tasks.
pub fn draining() -> Draining {
    Draining { reactor: current::reactor(), key: None }
}

/// See [`draining`].
pub struct Draining {
    reactor: Rc<Reactor>,
    key: Option<usize>,
}

impl std::fmt::Debug for Draining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draining").field("has_begun", &self.has_begun()).finish()
    }
}

impl Draining {
    /// Whether it has.
    pub fn has_begun(&self) -> bool {
        self.reactor.is_draining()
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        if self.has_begun() {
            self.key = None; // all that waited have been taken out
            return Poll::Ready(());
        }
        match self.key {
            Some(key) => self.reactor.drains.borrow_mut()[key].clone_from(task.waker()),
            None => {
                let key = self.reactor.drains.borrow_mut().insert(task.waker().clone());
                self.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(key) = self.key.filter(|_| !self.has_begun()) {
            let waker = self.reactor.drains.borrow_mut().try_remove(key);
            drop(waker);
        }
    }
}
