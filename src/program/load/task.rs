//! What workers and whoever started them share.

use super::{Mode, Progress};
use crate::{tcp::MaxSegment, wire::Endpoint};
use crossbeam::utils::CachePadded;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What is said on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    /// A request, and what answers it.
    Http { request: Vec<u8> },
    /// 64 bytes that come back.
    Pings,
    /// Bytes of no meaning: whatever comes is read.
    Bytes { writes: bool },
    /// Nothing.
    Silence,
}

/// What the workers do, all of them together.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub mode: Mode,
    pub target: Endpoint,
    /// Our addresses.
    pub sources: Vec<IpAddr>,
    pub connections: u32,
    /// Connections that may be opening at a time.
    pub half_open: u32,
    pub duration: Duration,
    pub warm_up: Duration,
    pub ramp: Duration,
    /// A second, where the loop is open.
    pub rate: Option<u64>,
    pub timeout: Duration,
    /// The limit on segments of each connection.
    pub max_segment: MaxSegment,
    pub workload: Workload,
}

/// One worker's word on how far it is.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub completed: AtomicU64,
    pub open: AtomicU64,
    pub failed: AtomicU64,
}

/// Where workers tell how far they are, and are told to end.
#[derive(Debug, Default)]
pub(super) struct SharedProgress {
    gauges: Mutex<Vec<Arc<CachePadded<Gauge>>>>,
    /// Workers whose connections have all been opened, or failed to be.
    ready: AtomicUsize,
    stop: AtomicBool,
}

impl SharedProgress {
    /// A gauge for one more worker.
    pub fn gauge(&self) -> Arc<CachePadded<Gauge>> {
        let gauge = Arc::default();
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gauge));
        gauge
    }

    /// All gauges together.
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for gauge in self.gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.completed += gauge.completed.load(Ordering::Relaxed);
            sum.open += gauge.open.load(Ordering::Relaxed);
            sum.failed += gauge.failed.load(Ordering::Relaxed);
        }
        sum
    }

    /// A worker's connections have all been opened, or failed to be.
    pub fn report_ready(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether those of so many workers have.
    pub fn are_ready(&self, workers: usize) -> bool {
        self.ready.load(Ordering::Acquire) >= workers
    }

    /// Ends the load early.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether it is to end early.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
