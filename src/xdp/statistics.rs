//! What a queue counts.

/// A queue's counters: the kernel's (`XDP_STATISTICS`) and our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Frames received.
    pub received: u64,
    /// Frames handed to the kernel to be sent.
    pub transmitted: u64,
    /// Batches handed to the kernel, and later attempts to get rid of what it had not taken.
    pub flushes: u64,
    /// Wake-ups: system calls to send. One a batch, where the kernel takes it as a whole.
    pub wake_ups: u64,
    /// System calls to receive: where a driver sleeps until its fill ring is looked into again, and to poll it.
    pub receive_wake_ups: u64,
    /// Wake-ups that took a part only, to be asked again (EAGAIN).
    pub again: u64,
    /// Frames that the receiving side had no room for (EBUSY): lost, to be sent again by TCP.
    pub busy: u64,
    /// Wake-ups for which the kernel had no buffer (ENOBUFS): nothing lost.
    pub no_buffers: u64,
    /// Times that the interface went down.
    pub link_downs: u64,
    /// Times that there was something to send and no frame to send it in.
    pub no_frames: u64,
    /// Kernel: frames it dropped for other reasons than the next ones.
    pub rx_dropped: u64,
    /// Kernel: frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Kernel: times that the fill ring was empty.
    pub rx_fill_ring_empty: u64,
    /// Kernel: descriptors in the fill ring that made no sense; a bug if not zero.
    pub rx_invalid_descriptors: u64,
    /// Kernel: descriptors in the TX ring that made no sense; a bug if not zero.
    pub tx_invalid_descriptors: u64,
    /// Kernel: times that it looked into an empty TX ring.
    pub tx_ring_empty: u64,
}

impl QueueStatistics {
    /// These counters, with the kernel's.
    pub(super) fn with_kernels(self, kernel: &libc::xdp_statistics) -> Self {
        Self {
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full,
            rx_fill_ring_empty: kernel.rx_fill_ring_empty_descs,
            rx_invalid_descriptors: kernel.rx_invalid_descs,
            tx_invalid_descriptors: kernel.tx_invalid_descs,
            tx_ring_empty: kernel.tx_ring_empty_descs,
            ..self
        }
    }

    /// Each counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("received", self.received),
            ("transmitted", self.transmitted),
            ("flushes", self.flushes),
            ("wake_ups", self.wake_ups),
            ("receive_wake_ups", self.receive_wake_ups),
            ("again", self.again),
            ("busy", self.busy),
            ("no_buffers", self.no_buffers),
            ("link_downs", self.link_downs),
            ("no_frames", self.no_frames),
            ("rx_dropped", self.rx_dropped),
            ("rx_ring_full", self.rx_ring_full),
            ("rx_fill_ring_empty", self.rx_fill_ring_empty),
            ("rx_invalid_descriptors", self.rx_invalid_descriptors),
            ("tx_invalid_descriptors", self.tx_invalid_descriptors),
            ("tx_ring_empty", self.tx_ring_empty),
        ]
        .into_iter()
    }
}
