//! Frames as owned values.

use std::sync::atomic::{AtomicU32, Ordering};
use xsk_rs::FrameDesc;

/// The sizes a frame may have, bytes.
pub const FRAME_SIZES: [u32; 2] = [2_048, 4_096];

/// What the kernel keeps of each frame (`XDP_PACKET_HEADROOM`), bytes.
const KERNEL_HEADROOM: u32 = 256;

/// An Ethernet header with two VLAN tags, bytes.
const LINK_HEADER: u32 = 22;

/// The most chunks that a packet may take: what the kernel sends as one (`MAX_SKB_FRAGS`), less one.
const MAX_CHUNKS: u32 = 16;

/// The largest packet that a frame of `frame_size` bytes holds behind its Ethernet header and VLAN tags, bytes.
pub const fn packet_room(frame_size: u32) -> u32 {
    frame_size - KERNEL_HEADROOM - LINK_HEADER
}

/// The bytes of a chunk that a packet may use.
pub(super) const fn chunk_room(frame_size: u32) -> u32 {
    frame_size - KERNEL_HEADROOM
}

/// The largest frame on a link with this MTU, VLAN tags included, bytes.
pub const fn frame_len(mtu: u32) -> u32 {
    mtu + LINK_HEADER
}

/// The largest MTU whose packets every driver hands to XDP in one piece, bytes: a page, less what the kernel keeps of it. Above
/// it, a program must be loaded for [`fragments`](super::ProgramOptions::fragments).
pub const WHOLE_MTU_MAX: u32 = 3_498;

/// The largest MTU, bytes: packets that do not fit one frame take several.
pub const MTU_MAX: u32 = MAX_CHUNKS * chunk_room(FRAME_SIZES[FRAME_SIZES.len() - 1]) - LINK_HEADER;

/// A frame of a queue's memory that is ours at the moment: neither the kernel's nor the pool's.
///
/// `FrameDesc`, which it wraps, may be copied at will; a `Frame` may not, so that no frame is ever used twice. It goes back
/// through [`Queue::release`](super::Queue::release) or [`Queue::transmit`](super::Queue::transmit) of the queue it came
/// from; one that is dropped instead is lost to its queue, and [`Queue::close`](super::Queue::close) notices.
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to its queue"]
pub struct Frame {
    descriptor: FrameDesc,
    extent: Extent,
    owner: Owner,
}

/// Where the bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// In its one chunk.
    Chunk,
    /// It came in several, and was gathered in this buffer.
    Gathered(u32),
    /// It may go out in several, and is built in this buffer.
    Scattered(u32),
}

/// Which queue's memory a frame belongs to. A descriptor is no more than an offset: used with another queue's memory it
/// would name somebody else's frame, so each use asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u32);

impl Owner {
    /// One that no other queue of this process has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A frame of this queue's.
    pub(super) fn frame(self, descriptor: FrameDesc, extent: Extent) -> Frame {
        Frame { descriptor, extent, owner: self }
    }

    /// Where the bytes of a frame of this queue's are.
    #[track_caller]
    pub(super) fn extent(self, frame: &Frame) -> Extent {
        self.check(frame);
        frame.extent
    }

    /// What a frame of this queue's wraps.
    #[track_caller]
    pub(super) fn descriptor(self, frame: &Frame) -> &FrameDesc {
        self.check(frame);
        &frame.descriptor
    }

    /// What a frame of this queue's wraps, to be changed.
    #[track_caller]
    pub(super) fn descriptor_mut(self, frame: &mut Frame) -> &mut FrameDesc {
        self.check(frame);
        &mut frame.descriptor
    }

    #[track_caller]
    fn check(self, frame: &Frame) {
        assert_eq!(frame.owner, self, "a frame goes back to the queue it came from");
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
