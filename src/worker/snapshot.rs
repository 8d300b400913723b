//! How a worker shows itself: by counters that are always up to date, and by a snapshot ten times a second.

use crate::{
    drops::{DropReason, Drops},
    stack::{Listening, Stack},
    stats::{Histogram, StackStats, Timings},
    time::Instant,
    wire::InterfaceId,
    xdp::{FrameAudit, QueueStatistics},
};
use std::{
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often a worker that has something new shows itself.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(100);

/// What comes of no flow and begins none. The XDP program would drop all of it.
const STRANGERS: [DropReason; 7] = [
    DropReason::StrayAck,
    DropReason::BadCookie,
    DropReason::MisdatedCookie,
    DropReason::UsedCookie,
    DropReason::StrayReset,
    DropReason::NoAck,
    DropReason::NoListener,
];

/// One queue of a worker's, in a [`Snapshot`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortSnapshot {
    /// Its interface.
    pub interface: InterfaceId,
    /// The queue's number.
    pub queue: u32,
    /// What it did so far.
    pub statistics: QueueStatistics,
    /// Where its frames are.
    pub frames: FrameAudit,
    /// Whether the link was down when last tried.
    pub link_down: bool,
}

/// What an [application](super::Application::show) shows of the tasks that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutorCounts {
    /// Tasks that live now.
    pub tasks: u64,
    /// What grows, each with its name; a few dozen at most.
    pub events: Vec<(&'static str, u64)>,
}

impl ExecutorCounts {
    /// Nothing is shown any more; the memory stays.
    pub(super) fn clear(&mut self) {
        self.tasks = 0;
        self.events.clear();
    }
}

/// Listeners in a snapshot at most: those with the lowest ports.
pub const MAX_SHOWN_LISTENERS: usize = 256;

/// What a worker was like at one moment. Counters grow from the worker's beginning on; two snapshots make a [`Rates`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was made, by the worker's clock; [`Instant::ZERO`] before the first.
    pub at: Instant,
    /// What the stack did.
    pub stats: StackStats,
    /// What the stack refused.
    pub drops: Drops,
    /// Connections now, those asleep included.
    pub connections: u32,
    /// Handshakes under way that are remembered.
    pub half_open: u32,
    /// Entries in TIME-WAIT.
    pub time_wait: u32,
    /// What all connections have allocated, bytes.
    pub memory: usize,
    /// The worker's queues.
    pub ports: Vec<PortSnapshot>,
    /// Batches, the empty ones included.
    pub turns: u64,
    /// Frames taken in, from queues and from other workers.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Commands carried out.
    pub commands: u64,
    /// Time spent waiting for something to do.
    pub asleep: Duration,
    /// How long batches took in which something was done: what came meanwhile has waited no longer than that.
    pub batches: Histogram,
    /// How long handshakes and round trips took.
    pub timings: Timings,
    /// What all connections may allocate together, bytes, where there is a limit.
    pub memory_limit: Option<usize>,
    /// Those who listen, in order of their ports, and what they have accepted: the first [`MAX_SHOWN_LISTENERS`].
    pub listeners: Vec<Listening>,
    /// What the application shows of its tasks; nothing, where it has none.
    pub executor: ExecutorCounts,
}

/// What happened between two snapshots, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Frames taken in.
    pub frames_in: f64,
    /// Frames sent.
    pub frames_out: f64,
    /// Octets of the frames taken in, from their link headers on.
    pub octets_in: f64,
    /// Octets of the frames sent, likewise.
    pub octets_out: f64,
    /// Connections opened.
    pub connections_opened: f64,
    /// Frames and segments refused, for whatever reason.
    pub drops: f64,
    /// The part of the time that the worker did not wait, from 0 to 1.
    pub busy: f64,
}

impl Snapshot {
    /// What happened since an earlier snapshot of the same worker; nothing, where it is not earlier.
    pub fn since(&self, earlier: &Self) -> Rates {
        let span = (self.at - earlier.at).as_secs_f64();
        if span <= 0.0 {
            return Rates::default();
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / span;
        Rates {
            frames_in: rate(self.frames_in, earlier.frames_in),
            frames_out: rate(self.frames_out, earlier.frames_out),
            octets_in: rate(self.stats.octets_received, earlier.stats.octets_received),
            octets_out: rate(self.stats.octets_transmitted, earlier.stats.octets_transmitted),
            connections_opened: rate(self.stats.connections_opened, earlier.stats.connections_opened),
            drops: rate(self.drops.total(), earlier.drops.total()),
            busy: 1.0 - (self.asleep.saturating_sub(earlier.asleep).as_secs_f64() / span).min(1.0),
        }
    }

    /// Takes over what the stack counts.
    pub(super) fn read(&mut self, now: Instant, stack: &Stack) {
        self.at = now;
        self.stats = *stack.stats();
        self.drops.clone_from(stack.drops());
        (self.connections, self.half_open, self.time_wait) = stack.flow_counts();
        self.memory = stack.memory();
        self.memory_limit = stack.memory_limit();
        self.timings = *stack.timings();
        self.listeners.clear();
        self.listeners.extend(stack.listeners().take(MAX_SHOWN_LISTENERS));
    }

    /// Whether the stack has counted anything since.
    pub(super) fn is_behind(&self, stack: &Stack) -> bool {
        self.stats != *stack.stats() || self.drops != *stack.drops()
    }
}

/// Where a worker leaves what it shows. Readers never keep it waiting: where one is reading, the snapshot is left with the next turn.
#[derive(Debug, Default)]
pub struct Published {
    evictions: AtomicU64,
    connections: AtomicU64,
    invalid_cookies: AtomicU64,
    strangers: AtomicU64,
    snapshot: Mutex<Snapshot>,
}

impl Published {
    /// Handshakes that it had to forget before they ended.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Connections that came to be.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Acknowledgments that were no connection's and no cookie's.
    pub fn invalid_cookies(&self) -> u64 {
        self.invalid_cookies.load(Ordering::Relaxed)
    }

    /// Segments of no flow, and no SYNs for a listener.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads for as long as what is returned lives.
    #[cfg(test)]
    pub(super) fn hold(&self) -> std::sync::MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap()
    }

    /// What whoever defends the listeners goes by, which has to be of this very moment: told once a batch.
    pub(super) fn count(&self, stack: &Stack) {
        let &StackStats { handshakes_evicted, connections_opened, .. } = stack.stats();
        self.evictions.store(handshakes_evicted, Ordering::Relaxed);
        self.connections.store(connections_opened, Ordering::Relaxed);
        self.invalid_cookies.store(stack.drops().get(DropReason::BadCookie), Ordering::Relaxed);
        let strangers = STRANGERS.iter().map(|&reason| stack.drops().get(reason)).sum();
        self.strangers.store(strangers, Ordering::Relaxed);
    }

    /// Leaves a snapshot; false where somebody is reading the last one.
    pub(super) fn show(&self, snapshot: &Snapshot) -> bool {
        match self.snapshot.try_lock() {
            Ok(mut shown) => shown.clone_from(snapshot),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().clone_from(snapshot),
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }
}
