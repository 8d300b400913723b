//! Frames that answer a frame and belong to no connection: ARP, neighbour advertisements, echo replies, SYN-ACKs, RSTs.

use crate::drops::DropReason;
use std::collections::VecDeque;

/// Replies waiting to be sent, with a limit. Their buffers are used again, so steady traffic allocates nothing.
#[derive(Debug)]
pub struct Replies {
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    limit: usize,
}

impl Replies {
    /// A queue for at most `limit` replies.
    pub fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), spare: Vec::new(), limit }
    }

    /// Whether what ends something should leave the rest of the room to what begins something.
    pub fn is_crowded(&self) -> bool {
        self.waiting.len() >= self.limit - self.limit / 4
    }

    /// How many more there is room for.
    pub fn room(&self) -> usize {
        self.limit - self.waiting.len()
    }

    /// Queues a reply of `length` bytes that `write` puts into the buffer it is given.
    ///
    /// # Errors
    /// [`DropReason::ReplyQueueFull`]. Whoever asked will ask again.
    pub fn push(&mut self, length: usize, write: impl FnOnce(&mut [u8])) -> Result<(), DropReason> {
        if self.waiting.len() == self.limit {
            return Err(DropReason::ReplyQueueFull);
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(length, 0);
        write(&mut buffer);
        self.waiting.push_back(buffer);
        Ok(())
    }

    /// Moves the oldest reply into `frame` and returns its length.
    #[inline]
    pub fn pop_into(&mut self, frame: &mut [u8]) -> Option<usize> {
        let reply = self.waiting.pop_front()?;
        let length = reply.len();
        frame[..length].copy_from_slice(&reply);
        self.spare.push(reply);
        Some(length)
    }
}
