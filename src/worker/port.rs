//! One queue of a worker's: frames in, frames out, and a link that may be down.

use super::{PortSnapshot, run::PortReport};
use crate::{
    log_limit::LogLimit,
    wire::InterfaceId,
    xdp::{Frame, Queue, QueueStatistics, XdpError},
};
use std::{os::fd::BorrowedFd, time::Duration};

/// Queues that one worker may have, each of another interface.
pub const MAX_PORTS: usize = 8;

/// Frames received before answers are sent.
pub(super) const BATCH: usize = 64;
/// How soon a frame that the kernel did not take is offered again.
const TRANSMIT_RETRY: Duration = Duration::from_micros(200);
/// How soon an interface that went down is looked at again.
const LINK_RETRY: Duration = Duration::from_millis(100);

/// A queue of one interface, served by one worker.
#[derive(Debug)]
pub struct Port {
    /// Which of the stack's interfaces the queue is of.
    pub(super) interface: InterfaceId,
    pub(super) queue: Queue,
    /// The batch under way; empty between batches, kept for its memory.
    pub(super) batch: Vec<Frame>,
    /// Whether the link was down when last tried, so that it is reported once.
    pub(super) link_down: bool,
    statistics: QueueStatistics,
}

impl Port {
    /// A port with this queue, of this interface of the stack's.
    pub fn new(interface: InterfaceId, queue: Queue) -> Self {
        Self {
            interface,
            queue,
            batch: Vec::with_capacity(BATCH),
            link_down: false,
            statistics: QueueStatistics::default(),
        }
    }

    /// Receives a batch, to be looked at in `batch` and released.
    pub(super) fn receive(&mut self) -> usize {
        self.queue.receive(&mut self.batch, BATCH)
    }

    /// Gives the frames of the batch back.
    pub(super) fn release_batch(&mut self) {
        self.batch.drain(..).for_each(|frame| self.queue.release(frame));
    }

    /// Sends what `write` writes, until it has no more or the ring takes no more; what is left stays where it is. How many frames.
    pub(super) fn transmit(&mut self, mut write: impl FnMut(&mut [u8]) -> Option<usize>) -> usize {
        let mut transmitted = 0;
        while let Some(mut frame) = self.queue.allocate() {
            let Some(length) = write(self.queue.buffer(&mut frame)) else {
                self.queue.release(frame);
                break;
            };
            self.queue.transmit(frame, length);
            transmitted += 1;
        }
        if self.queue.wants_flush() {
            self.flush();
        }
        transmitted
    }

    fn flush(&mut self) {
        let down = match self.queue.flush() {
            Ok(()) => false,
            Err(error) => {
                static WAITS: LogLimit = LogLimit::new();
                if !self.link_down
                    && let Some(more) = WAITS.admit()
                {
                    tracing::warn!(queue = self.queue.id(), %error, "transmission waits{more}");
                }
                true
            }
        };
        static GOES_ON: LogLimit = LogLimit::new();
        if self.link_down
            && !down
            && let Some(more) = GOES_ON.admit()
        {
            tracing::info!(queue = self.queue.id(), "transmission goes on{more}");
        }
        self.link_down = down;
    }

    /// How long frames that the kernel did not take may wait before they are offered again; nothing, where there are none.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.queue.wants_flush().then_some(if self.link_down { LINK_RETRY } else { TRANSMIT_RETRY })
    }

    /// What can be waited for. An interface that is down makes its socket readable for ever: only the clock and the bell count then.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.link_down).then(|| self.queue.as_fd())
    }

    /// What it shows of itself. What the kernel does not tell now is as it was.
    pub(super) fn snapshot(&mut self) -> PortSnapshot {
        if let Ok(statistics) = self.queue.statistics() {
            self.statistics = statistics;
        }
        PortSnapshot {
            interface: self.interface,
            queue: self.queue.id(),
            statistics: self.statistics,
            frames: self.queue.audit(),
            link_down: self.link_down,
        }
    }

    /// Ends it.
    pub(super) fn close(self) -> Result<PortReport, XdpError> {
        let statistics = self.queue.statistics()?;
        Ok(PortReport { interface: self.interface, queue: self.queue.id(), statistics, frames: self.queue.close() })
    }
}
