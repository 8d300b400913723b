//! The accounts of a queue's frames: how many are where, and how many may go where next. Numbers only, without a ring or a kernel.
//!
//! A frame is free, in the fill ring, held as a [`Frame`](super::Frame), staged, or on its way out. Of the free ones some are
//! reserved: for held frames that may go out in several chunks.

use super::FrameAudit;

/// How many frames are where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    total: u32,
    /// Frames that may be on their way out at once, and as many that may be with the kernel to be received into: the others
    /// stay, so that neither starves the other.
    limit: u32,
    free: u32,
    /// Free frames that are spoken for.
    reserved: u32,
    /// With the kernel, to be received into.
    in_fill: u32,
    held: u32,
    /// To go onto the TX ring with the next flush.
    staged: u32,
    /// With the kernel, to be sent.
    in_transmit: u32,
    /// Chunks that a packet to be sent may take besides its first.
    more_chunks: u32,
    /// Whether the last wish for a frame was refused, so that whoever had it waits for frames to come back.
    refused: bool,
}

impl Ledger {
    /// Accounts of `total` frames, all of them free, and rings of `ring_size` entries each.
    pub fn new(total: u32, ring_size: u32, more_chunks: u32) -> Self {
        Self {
            total,
            limit: ring_size.min(total - total / 4),
            free: total,
            reserved: 0,
            in_fill: 0,
            held: 0,
            staged: 0,
            in_transmit: 0,
            more_chunks,
            refused: false,
        }
    }

    // Receiving.

    /// How many free frames may go into the fill ring now.
    pub fn wanted_in_fill(&self) -> u32 {
        (self.limit - self.in_fill).min(self.free - self.reserved)
    }

    /// Free frames went into the fill ring.
    pub fn filled(&mut self, frames: u32) {
        self.free -= frames;
        self.in_fill += frames;
    }

    /// As many chunks were received, and make so many packets, each held in its last chunk: the others are free again.
    pub fn received(&mut self, chunks: u32, packets: u32) {
        self.in_fill -= chunks;
        self.held += packets;
        self.free += chunks - packets;
    }

    /// A held frame was given back, and with it what was reserved for one that was `allocated`.
    pub fn released(&mut self, allocated: bool) {
        self.held -= 1;
        self.free += 1;
        self.give_up_reserve(allocated);
    }

    // Sending.

    /// Takes a free frame to send, and reserves what it may take besides; whether there is one, and room on the way out.
    pub fn allocate(&mut self) -> bool {
        let under_way = self.staged + self.in_transmit + self.reserved;
        let is_room = under_way + self.more_chunks < self.limit && self.free > self.reserved + self.more_chunks;
        self.refused = !is_room;
        if is_room {
            self.free -= 1;
            self.held += 1;
            self.reserved += self.more_chunks;
        }
        is_room
    }

    /// A held frame was staged in as many chunks as its packet takes: one, and others that were reserved where it was `allocated`.
    pub fn staged(&mut self, chunks: u32, allocated: bool) {
        self.held -= 1;
        self.give_up_reserve(allocated);
        self.free -= chunks - 1;
        self.staged += chunks;
    }

    /// Staged frames went onto the TX ring.
    pub fn submitted(&mut self, frames: u32) {
        self.staged -= frames;
        self.in_transmit += frames;
    }

    /// Frames came back from the completion ring.
    pub fn completed(&mut self, frames: u32) {
        self.in_transmit -= frames;
        self.free += frames;
    }

    /// Whether any frame is with the kernel to be sent.
    pub fn is_sending(&self) -> bool {
        self.in_transmit > 0
    }

    /// Whether a flush would bring things forward here: something is staged, or a frame was asked for in vain. Frames that the
    /// kernel has taken and not yet sent are no reason.
    pub fn wants_flush(&self) -> bool {
        self.staged > 0 || self.refused
    }

    /// Nobody waits for a frame any more.
    pub fn forget_refusal(&mut self) {
        self.refused = false;
    }

    fn give_up_reserve(&mut self, allocated: bool) {
        if allocated {
            self.reserved -= self.more_chunks;
        }
    }

    /// Where the frames are, with those that are in the pool.
    pub fn audit(&self, in_pool: u32) -> FrameAudit {
        FrameAudit {
            total: self.total,
            free: in_pool,
            fill: self.in_fill,
            transmit: self.in_transmit + self.staged,
            held: self.held,
        }
    }
}

#[cfg(test)]
mod tests;
