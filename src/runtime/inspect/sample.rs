//! Workers, from what they show of themselves: two looks make a rate.

use super::{InspectError, Inspector, Name};
use crate::{
    worker::{CommandError, PortSnapshot, Snapshot},
    xdp::Verdicts,
};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What workers and programs had counted at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    pub(super) at: Instant,
    pub(super) workers: Vec<Snapshot>,
    pub(super) verdicts: Verdicts,
}

/// A worker, and what it did between two samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its number.
    pub worker: usize,
    /// The core that it is pinned to, if it is.
    pub core: Option<usize>,
    /// The part of the time that it did not wait for something to do, from 0 to 1.
    pub busy: f64,
    /// Connections now, those asleep included.
    pub connections: u32,
    /// Handshakes under way that are remembered.
    pub half_open: u32,
    /// Connections in TIME-WAIT.
    pub time_wait: u32,
    /// Frames taken in, a second.
    pub frames_in_per_second: f64,
    /// Frames sent, a second.
    pub frames_out_per_second: f64,
    /// Connections opened, a second.
    pub opened_per_second: f64,
    /// Frames taken in so far.
    pub frames_in: u64,
    /// Frames sent so far.
    pub frames_out: u64,
    /// Frames taken in by a turn in which something was done, on the average.
    pub frames_per_batch: f64,
    /// Half of the batches took no longer than this, microseconds, to the next power of two; nothing where there was none.
    pub batch_p50_us: Option<u64>,
    /// 99 of 100 batches took no longer than this.
    pub batch_p99_us: Option<u64>,
    /// Turns so far.
    pub turns: u64,
    /// Commands carried out so far.
    pub commands: u64,
    /// What connections have allocated, octets.
    pub memory: u64,
    /// What they may allocate, octets, where there is a limit.
    pub memory_limit: Option<u64>,
    /// Its queues.
    pub queues: Vec<QueueReport>,
}

/// A queue of a worker's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueReport {
    /// Its interface.
    pub interface: Name,
    /// Its number.
    pub queue: u32,
    /// Frames received so far.
    pub received: u64,
    /// Frames sent so far.
    pub transmitted: u64,
    /// Frames there are.
    pub frames: u32,
    /// Of these, those in the pool.
    pub frames_free: u32,
    /// Those in the fill ring, or with the driver, to be received into.
    pub frames_in_fill: u32,
    /// Those that wait to be sent, or are being sent.
    pub frames_in_transmit: u32,
    /// Those that the stack has.
    pub frames_held: u32,
    /// Frames that the kernel has dropped because the receive ring was full.
    pub receive_ring_full: u64,
    /// Times that the kernel found the fill ring empty.
    pub fill_ring_empty: u64,
    /// Times that there was something to send and no frame to send it in.
    pub no_frames: u64,
    /// Whether the link was down when last tried.
    pub link_down: bool,
}

impl Sample {
    /// What each worker had counted.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.workers
    }

    /// What the programs had decided, all of them together.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// How long it was after an earlier one.
    pub fn since(&self, earlier: &Self) -> Duration {
        self.at.saturating_duration_since(earlier.at)
    }
}

impl QueueReport {
    fn new(interface: Name, port: &PortSnapshot) -> Self {
        let (statistics, frames) = (&port.statistics, &port.frames);
        Self {
            interface,
            queue: port.queue,
            received: statistics.received,
            transmitted: statistics.transmitted,
            frames: frames.total,
            frames_free: frames.free,
            frames_in_fill: frames.fill,
            frames_in_transmit: frames.transmit,
            frames_held: frames.held,
            receive_ring_full: statistics.rx_ring_full,
            fill_ring_empty: statistics.rx_fill_ring_empty,
            no_frames: statistics.no_frames,
            link_down: port.link_down,
        }
    }
}

impl WorkerReport {
    pub(super) fn new(
        worker: usize,
        core: Option<usize>,
        names: &super::Names,
        before: &Snapshot,
        now: &Snapshot,
    ) -> Self {
        let (rates, batches) = (now.since(before), now.batches.since(&before.batches));
        let frames = now.frames_in.saturating_sub(before.frames_in);
        let micros =
            |per_mille| batches.quantile(per_mille).and_then(|it: Duration| u64::try_from(it.as_micros()).ok());
        Self {
            worker,
            core,
            busy: rates.busy,
            connections: now.connections,
            half_open: now.half_open,
            time_wait: now.time_wait,
            frames_in_per_second: rates.frames_in,
            frames_out_per_second: rates.frames_out,
            opened_per_second: rates.connections_opened,
            frames_in: now.frames_in,
            frames_out: now.frames_out,
            frames_per_batch: frames as f64 / batches.count().max(1) as f64,
            batch_p50_us: micros(500),
            batch_p99_us: micros(990),
            turns: now.turns,
            commands: now.commands,
            memory: now.memory as u64,
            memory_limit: now.memory_limit.map(|limit| limit as u64),
            queues: now.ports.iter().map(|port| QueueReport::new(names.of(port.interface), port)).collect(),
        }
    }
}

impl Inspector {
    /// What the XDP programs have decided so far, all of them together.
    pub(super) fn verdicts(&self) -> Result<Verdicts, InspectError> {
        let mut sum = Verdicts::default();
        for place in self.places.iter() {
            sum.merge(&place.guard.verdicts()?);
        }
        Ok(sum)
    }

    /// What has been counted up to now. Workers are woken for it, so that it is fresh.
    ///
    /// # Errors
    /// Where a worker does not answer, or the kernel does not tell what programs have counted.
    pub fn sample(&self) -> Result<Sample, InspectError> {
        for worker in self.of_workers() {
            // What the first one wakes it for is shown at the end of that turn, and the second one is of a later turn.
            let is_there = Self::told(worker.call(|_| ()).and_then(|()| worker.call(|_| ())))?;
            if is_there.is_none() {
                continue;
            }
        }
        let workers = self.of_workers().map(|worker| worker.snapshot()).collect();
        Ok(Sample { at: Instant::now(), workers, verdicts: self.verdicts()? })
    }

    /// Each worker, and what it did between two samples.
    pub fn workers(&self, earlier: &Sample, later: &Sample) -> Vec<WorkerReport> {
        let names = self.names();
        let core = |number: usize| self.setups.first()?.queues.get(number)?.1;
        let pairs = earlier.workers.iter().zip(&later.workers).enumerate();
        pairs.map(|(number, (before, now))| WorkerReport::new(number, core(number), &names, before, now)).collect()
    }

    /// Whether a worker is there to be asked.
    pub fn is_running(&self) -> bool {
        self.of_workers().any(|worker| !matches!(worker.call(|_| ()), Err(CommandError::Gone { .. })))
    }
}
