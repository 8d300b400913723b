use std::os::fd::BorrowedFd;

use super::RelayError;
use crate::{
    bpf::RelayProgram,
    host::Link,
    impair::OneWay,
    log_limit::LogLimit,
    time::Instant,
    xdp::{Frame, Queue, QueueOptions, QueueStatistics, Require, XdpError, packet_room},
};

/// Frames received from one queue before any is sent on.
const BATCH: usize = 64;
/// Frames sent in one turn, for as many as the receiving end of a veth has room for before it is looked after.
const SEND_MAX: usize = 128;

/// One of the two interfaces.
pub(super) struct End {
    interface: &'static str,
    queues: Vec<Queue>,
    /// Received, and not yet copied; empty between batches.
    batch: Vec<Frame>,
    // The sockets go before the program: without them it drops, without it the kernel would answer.
    _program: RelayProgram,
}

impl End {
    pub(super) fn open(interface: &'static str) -> Result<Self, RelayError> {
        let link = Link::find(interface)?;
        let mut program = RelayProgram::load(link.rx_queues)?;
        let mode = program.attach(interface, link.index, Require::Native)?;
        let default = QueueOptions::default();
        let frame_size = if link.mtu > packet_room(default.frame_size) { 4_096 } else { default.frame_size };
        let options = QueueOptions { frame_size, ..default };
        let queues = (0..link.rx_queues).map(|number| {
            let queue = Queue::open(interface, number, mode, Require::Native, &options)?;
            program.connect(&queue)?;
            Ok(queue)
        });
        let queues = queues.collect::<Result<Vec<_>, XdpError>>()?;
        Ok(Self { interface, queues, batch: Vec::with_capacity(BATCH), _program: program })
    }

    pub(super) fn interface(&self) -> &'static str {
        self.interface
    }

    /// Takes in a batch from each queue; says how many frames.
    pub(super) fn receive(&mut self, now: Instant, way: &mut OneWay) -> usize {
        let mut received = 0;
        for queue in &mut self.queues {
            received += queue.receive(&mut self.batch, BATCH);
            for frame in self.batch.drain(..) {
                way.push(now, queue.id(), queue.data(&frame));
                queue.release(frame);
            }
        }
        received
    }

    /// Sends what is through by now; says how many frames. What the kernel does not take stays under way.
    pub(super) fn send(&mut self, now: Instant, way: &mut OneWay) -> usize {
        let mut sent = 0;
        while sent < SEND_MAX
            && let Some((lane, bytes)) = way.front(now)
        {
            let number = lane as usize % self.queues.len();
            let queue = &mut self.queues[number];
            let Some(mut frame) = queue.allocate() else { break };
            // Both ends have frames of one size, so there is room for what the other one received.
            let room = queue.buffer(&mut frame);
            let length = bytes.len().min(room.len());
            room[..length].copy_from_slice(&bytes[..length]);
            queue.transmit(frame, length);
            way.pop(now);
            sent += 1;
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.wants_flush()) {
            // A link that is down, or a kernel that is short of buffers, keeps them; a link that is gone is noticed elsewhere.
            if let Err(error) = queue.flush() {
                static UNSENT: LogLimit = LogLimit::new();
                if let Some(more) = UNSENT.admit() {
                    tracing::debug!("the relay could not send: {error}{more}");
                }
            }
        }
        sent
    }

    pub(super) fn wants_flush(&self) -> bool {
        self.queues.iter().any(Queue::wants_flush)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(Queue::as_fd)
    }

    /// Frames that were lost at the sockets: received without a place for them, or sent to a kernel without room.
    pub(super) fn overrun(&self) -> u64 {
        let lost = |of: QueueStatistics| of.busy + of.rx_dropped + of.rx_ring_full;
        self.queues.iter().map(|queue| queue.statistics().map_or(0, lost)).sum()
    }

    pub(super) fn close(self) {
        self.queues.into_iter().for_each(|queue| {
            queue.close();
        });
    }
}
