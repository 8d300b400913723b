//! The frames that nobody uses at the moment.

use xsk_rs::FrameDesc;

/// Free frames. Most are kept for one direction: a frame that has just been sent is in this core's cache and nobody else's, and
/// the next one is best built in it, while what was received was written by whichever core brought it. Where one kind runs
/// out, the other helps out: neither direction waits while there is any free frame.
#[derive(Debug)]
pub(super) struct Pool {
    /// The last to come is the first to go.
    to_send: Vec<FrameDesc>,
    to_receive: Vec<FrameDesc>,
    /// Frames to send are those from here on.
    border: usize,
}

impl Pool {
    /// All of `frames`, the second half of which is for sending.
    pub fn new(mut frames: Vec<FrameDesc>) -> Self {
        frames.sort_unstable_by_key(FrameDesc::addr);
        let middle = frames.len() / 2;
        // Packets begin somewhere in their frames, where exactly may change.
        let border = frames.first().map_or(0, |first| frames[middle].addr() - first.addr());
        let room = frames.len();
        let mut to_send = frames.split_off(middle);
        to_send.reserve_exact(room - to_send.len());
        frames.reserve_exact(room - frames.len());
        Self { to_send, to_receive: frames, border }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        (self.to_send.len() + self.to_receive.len()) as u32
    }

    /// A frame to send, if there is any frame.
    pub fn take(&mut self) -> Option<FrameDesc> {
        self.to_send.pop().or_else(|| self.to_receive.pop())
    }

    /// Offers `wanted` frames to receive into, in pieces, to `accept`, which takes a piece as a whole and says so, or nothing of
    /// it. Returns how many were taken.
    pub fn offer(&mut self, wanted: usize, mut accept: impl FnMut(&[FrameDesc]) -> bool) -> usize {
        let mut taken = 0;
        for kind in [&mut self.to_receive, &mut self.to_send] {
            let rest = kind.len().saturating_sub(wanted - taken);
            if rest < kind.len() && accept(&kind[rest..]) {
                taken += kind.len() - rest;
                kind.truncate(rest);
            }
        }
        taken
    }

    /// Takes a frame back.
    pub fn give_back(&mut self, frame: FrameDesc) {
        let kind = if frame.addr() < self.border { &mut self.to_receive } else { &mut self.to_send };
        kind.push(frame);
    }
}
