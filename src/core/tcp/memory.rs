//! What memory a connection takes, and what of it it can do without.

use super::connection::Connection;
use crate::{config::Thrift, drops::DropReason, wire::SeqNumber};

/// The most that a buffer grows to while memory is scarce, octets: what the first window takes.
pub(super) const MODEST: usize = 128 * 1_024;

impl Connection {
    /// Octets that its buffers and lists take, beside the control block.
    pub fn memory(&self) -> usize {
        self.send.memory() + self.receive.memory() + self.recorder.memory()
    }

    /// Whether that has changed since [`Connection::weighed`] was called.
    #[inline]
    pub fn was_resized(&self) -> bool {
        self.send.was_resized() | self.receive.was_resized() | self.recorder.was_resized()
    }

    /// Its memory has been asked for.
    pub fn weighed(&mut self) {
        self.send.weighed();
        self.receive.weighed();
        self.recorder.weighed();
    }

    /// Gives back what its buffers have and do not use.
    pub fn give_back(&mut self) {
        self.send.give_back();
        self.receive.give_back();
        self.recorder.give_back();
    }

    /// Whether it keeps octets that came out of order.
    pub fn has_out_of_order(&self) -> bool {
        self.receive.has_holes()
    }

    /// Throws away what came out of order, though it may have been sacked (RFC 2018 §8 allows that, and asks for a good reason).
    pub fn discard_out_of_order(&mut self) {
        self.receive.discard_out_of_order();
    }

    /// Whether data may be stored, as far as memory goes. What is next in order for an application that has read everything
    /// always may; what comes out of order is the first to be refused, for its sender keeps it.
    pub(super) fn check_memory(&self, seq: SeqNumber, length: u32, thrift: Thrift) -> Result<(), DropReason> {
        if thrift == Thrift::None {
            return Ok(());
        }
        let most = match thrift {
            _ if self.receive.readable().is_empty() => MODEST,
            Thrift::Strict => 0,
            _ => MODEST,
        };
        let (needed, is_next) = self.receive.room_for(seq, length);
        let fits = needed <= self.receive.readable().capacity() || is_next && needed <= most;
        if fits { Ok(()) } else { Err(DropReason::MemoryPressure) }
    }
}
