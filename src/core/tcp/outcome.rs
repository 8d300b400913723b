//! What is said of segments on their way: which one is sent, and what an acknowledgment or a look at the clock has changed.

use super::{congestion::Ack, timestamps::TimestampState};
use crate::{
    time::Instant,
    wire::{SeqNumber, tcp_options::Timestamps},
};
use std::time::Duration;

/// A segment to be sent, in terms of this side: which octets, and whether the FIN goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRange {
    /// Sequence number of its first octet.
    pub seq: SeqNumber,
    /// Octets of data.
    pub length: usize,
    /// Whether the FIN follows them.
    pub fin: bool,
}

impl SendRange {
    /// Octets of sequence space.
    pub fn len(&self) -> u32 {
        self.length as u32 + u32::from(self.fin)
    }

    /// Whether it is a bare acknowledgment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number behind it.
    pub fn end(&self) -> SeqNumber {
        self.seq.advance(self.len())
    }
}

/// When an acknowledgment came, and what it says of the time its cause was sent.
#[derive(Clone, Copy, Debug)]
pub struct AckTime {
    /// When it came.
    pub now: Instant,
    /// Our clock and what the acknowledgment echoes of it, where timestamps are in use.
    pub echo: Option<(TimestampState, Timestamps)>,
}

impl AckTime {
    /// Whether it answers something sent before `at` for certain.
    pub fn answers_before(&self, at: Instant) -> bool {
        self.echo.is_some_and(|(clocks, received)| clocks.echoes_before(received, at))
    }
}

/// What an acknowledgment changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    /// Octets of sequence space acknowledged for the first time.
    pub octets: u32,
    /// Octets that have arrived, as we learn now: acknowledged or sacked, and neither before.
    pub delivered: u32,
    /// Of these, where the first begins that was sent once only.
    pub original: Option<SeqNumber>,
    /// A round-trip time, where a segment sent only once was acknowledged and no other (Karn's algorithm).
    pub rtt: Option<Duration>,
    /// Where it was not: the last segment acknowledged, if that was sent again, and when that was.
    pub resent: Option<Resent>,
    /// Whether our FIN is among them.
    pub fin: bool,
    /// What the peer says has arrived again (RFC 2883).
    pub dsack: Option<(SeqNumber, SeqNumber)>,
}

/// A segment that was sent again before it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resent {
    /// Its place.
    pub start: SeqNumber,
    /// The sequence number behind it.
    pub end: SeqNumber,
    /// When it was sent last.
    pub sent_at: Instant,
}

/// What a look at the flight has found.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossScan {
    /// Whether anything was taken for lost.
    pub found: bool,
    /// How long until the next look, where something is overdue but may have been overtaken only.
    pub wait: Option<Duration>,
}

/// An acknowledgment, with all that recovery goes by.
#[derive(Clone, Copy, Debug)]
pub struct AckEvent {
    /// What the controller hears of it.
    pub ack: Ack,
    /// What it changed.
    pub acknowledged: Acknowledged,
    /// When it came, and what it echoes.
    pub time: AckTime,
    /// Whether it repeats the one before, and has nothing else to say (RFC 5681 §2).
    pub is_duplicate: bool,
    /// Whether the peer uses SACK.
    pub sack: bool,
    /// The smoothed round-trip time, once known.
    pub smoothed: Option<Duration>,
}
