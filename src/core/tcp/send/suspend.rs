//! What a sending side keeps while its connection sleeps, and how its memory goes from one connection to another.

use super::{Fin, SendSide};
use crate::{tcp::rack::QuietRack, time::Coarse, wire::SeqNumber};
use std::time::Duration;

/// What is kept of a side that has nothing to send.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct QuietSend {
    una: SeqNumber,
    window: u32,
    max_window: u32,
    window_seq: SeqNumber,
    last_sent: Coarse,
    /// The most that was in flight in the last round trip.
    peak: u32,
    rack: QuietRack,
    mss: u16,
    scale: u8,
}

impl SendSide {
    /// Whether there is nothing to send, nor will there be without the application.
    pub(in crate::tcp) fn is_quiet(&self) -> bool {
        self.flight.is_empty() && self.buffer.is_empty() && self.fin == Fin::Open
    }

    /// What of it must be kept while it is quiet.
    pub(in crate::tcp) fn suspend(&self) -> QuietSend {
        let Self { una, window, max_window, window_seq, scale, .. } = *self;
        let mss = u16::try_from(self.mss).unwrap_or(u16::MAX);
        let (last_sent, rack) = (self.last_sent.into(), self.flight.quiet_rack());
        QuietSend { una, window, max_window, window_seq, last_sent, peak: self.peak(), rack, mss, scale }
    }

    /// Becomes the side that was quiet, in the memory that this one, retired or new, has.
    pub(in crate::tcp) fn resume(&mut self, quiet: &QuietSend, tick: Duration) {
        let QuietSend { una, window, max_window, window_seq, mss, scale, .. } = *quiet;
        let mut resumed = Self::new(una.back(1), window_seq, mss.into(), scale, quiet.last_sent.into(), tick);
        (resumed.window, resumed.max_window) = (window, max_window);
        resumed.peak.last = quiet.peak;
        resumed.flight.resume(&quiet.rack, una);
        resumed.adopt_memory(self);
        *self = resumed;
    }

    /// Forgets what it holds, but keeps the memory.
    pub(in crate::tcp) fn retire(&mut self) {
        self.buffer.clear();
        self.flight.retire();
    }

    /// Takes the memory of a retired side, while there is nothing in its own.
    pub(in crate::tcp) fn adopt_memory(&mut self, retired: &mut Self) {
        if self.buffer.is_empty() && self.flight.is_empty() {
            self.buffer = std::mem::take(&mut retired.buffer);
            self.flight.adopt_memory(&mut retired.flight);
        }
    }

    /// Takes over what was written before the handshake was over, and all memory.
    pub fn inherit(&mut self, before: &mut Self) {
        self.buffer = std::mem::take(&mut before.buffer);
        self.flight.adopt_memory(&mut before.flight);
        self.fin = before.fin;
    }
}
