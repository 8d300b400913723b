//! Urgent data (RFC 9293 §3.8.5). The pointer marks a place in the stream, the first octet behind what is urgent (MUST-62, RFC
//! 6093); the octets themselves travel and are read like any others. Old programs use it, new ones should not (SHLD-13).

use super::{connection::Connection, signals::Signals, state::State};
use crate::{
    config::TcpConfig,
    wire::{Segment, SeqNumber, TcpFlags},
};

/// Where urgent data end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgent {
    /// RCV.UP, until the application has read so far.
    received: Option<SeqNumber>,
    /// SND.UP, until the peer has acknowledged everything before it.
    sent: Option<SeqNumber>,
}

impl Urgent {
    /// Whether nothing is urgent either way.
    pub fn is_quiet(&self) -> bool {
        self.received.is_none() && self.sent.is_none()
    }
}

impl Connection {
    /// Octets the application has to read until it is through with urgent data; they may not have arrived yet. `None` where
    /// there are none (MUST-33).
    pub fn urgent(&self) -> Option<usize> {
        let end = self.urgent.received?;
        let at = self.read_position();
        at.precedes(end).then(|| end.since(at) as usize)
    }

    /// The sequence number of the next octet that the application reads.
    fn read_position(&self) -> SeqNumber {
        self.receive.nxt().back(self.receive.readable().len() as u32 + u32::from(self.receive.is_finished()))
    }

    /// Queues as much of `data` as there is room for, and tells the peer that all up to its end is urgent (MUST-30, MUST-31).
    pub fn write_urgent(&mut self, data: &[u8], config: &TcpConfig) -> usize {
        let length = self.write(data, config);
        if length > 0 {
            self.urgent.sent = Some(self.send.una().advance(self.send.buffered() as u32));
            // It is announced at once, even where the window has no room for it.
            self.acks.owe();
        }
        length
    }

    /// The flag and the pointer of a segment at `seq`: an announcement goes with everything sent before the end of it.
    pub(super) fn urgent_pointer(&mut self, seq: SeqNumber) -> Option<u16> {
        self.urgent.sent = self.urgent.sent.filter(|end| self.send.una().precedes(*end));
        let end = self.urgent.sent.filter(|end| seq.precedes(*end))?;
        Some(u16::try_from(end.since(seq)).unwrap_or(u16::MAX))
    }

    /// Sixth in the ladder: the URG bit. Heeded even while our window is shut (MUST-66).
    pub(super) fn take_urgent(&mut self, segment: &Segment<'_>) {
        let expects_data = matches!(self.state, State::Established | State::FinWait1 | State::FinWait2);
        if !segment.has(TcpFlags::URG) || !expects_data {
            return;
        }
        let end = segment.header.seq.advance(segment.header.urgent.into());
        let known = self.urgent().is_some().then_some(self.urgent.received).flatten();
        let advances = known.is_none_or(|known| known.precedes(end)) && self.read_position().precedes(end);
        if advances {
            self.urgent.received = Some(end);
            self.signals |= Signals::URGENT; // MUST-32
        }
    }
}
