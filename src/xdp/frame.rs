//! Frames as owned values.

use xsk_rs::FrameDesc;

/// A frame of a queue's memory that is ours at the moment: neither the kernel's nor the pool's.
///
/// `FrameDesc`, which it wraps, may be copied at will; a `Frame` may not, so that no frame is ever used twice. It goes back
/// through [`Queue::release`](super::Queue::release) or [`Queue::transmit`](super::Queue::transmit) of the queue it came
/// from; one that is dropped instead is lost to its queue, and [`Queue::close`](super::Queue::close) notices.
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to its queue"]
pub struct Frame(FrameDesc);

impl Frame {
    pub(super) fn new(descriptor: FrameDesc) -> Self {
        Self(descriptor)
    }

    pub(super) fn descriptor(&self) -> &FrameDesc {
        &self.0
    }

    pub(super) fn descriptor_mut(&mut self) -> &mut FrameDesc {
        &mut self.0
    }

    pub(super) fn into_descriptor(self) -> FrameDesc {
        self.0
    }
}

/// Where a queue's frames are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameAudit {
    /// All there are.
    pub total: u32,
    /// In the pool.
    pub free: u32,
    /// With the kernel, to be received into.
    pub fill: u32,
    /// Staged for transmission, or with the kernel to be transmitted.
    pub transmit: u32,
    /// Ours at the moment, as [`Frame`]s.
    pub held: u32,
}

impl FrameAudit {
    /// Frames in the pool or with the kernel.
    pub fn accounted(&self) -> u32 {
        self.free + self.fill + self.transmit
    }

    /// Whether every frame is in one of its places, and none is held.
    pub fn is_balanced(&self) -> bool {
        self.held == 0 && self.total == self.accounted()
    }
}
