//! The two clocks of a connection (RFC 7323 §3 and §5): ours, which the peer echoes, and the peer's, which tells old segments
//! from new ones.

use crate::{
    time::Instant,
    wire::{SeqNumber, tcp_options::Timestamps},
};
use std::time::Duration;

/// Octets that the option takes in each segment, padding included.
pub const OPTION_LEN: u32 = 12;

/// After a silence of so long the peer's clock may show anything, and what it showed before is forgotten (RFC 7323 §5.5): in
/// somewhat more than that, one that ticks every millisecond goes half round its circle.
pub const OUTDATED_AFTER: Duration = Duration::from_secs(24 * 24 * 3_600);

/// Both timestamp clocks of a connection. Ours ticks every millisecond, from a number of its own on: what the handshake's cookie was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampState {
    /// Our TSval at [`Instant::ZERO`].
    offset: u32,
    /// TS.Recent: the peer's clock, as of its last segment in order.
    recent: u32,
}

impl TimestampState {
    /// Clocks of which ours shows `ours` at `now`, and the peer's has shown `theirs`.
    pub fn new(now: Instant, ours: u32, theirs: u32) -> Self {
        Self { offset: ours.wrapping_sub(ticks(now)), recent: theirs }
    }

    /// Our clock as it is, with TS.Recent set to `theirs`.
    #[must_use]
    pub fn with_recent(self, theirs: u32) -> Self {
        Self { recent: theirs, ..self }
    }

    /// The option of a segment sent at `now`.
    #[inline]
    pub fn option(&self, now: Instant) -> Timestamps {
        Timestamps { value: self.offset.wrapping_add(ticks(now)), echo: self.recent }
    }

    /// Whether a segment's clock shows a time before the last one's: PAWS, protection against wrapped sequence numbers (§5.3).
    #[inline]
    pub fn is_old(&self, received: Timestamps) -> bool {
        // Sequence numbers compare as these clocks do: on a circle.
        SeqNumber::new(received.value).precedes(SeqNumber::new(self.recent))
    }

    /// Whether a clock has moved on since the last segment in order.
    pub fn is_newer(&self, received: Timestamps) -> bool {
        SeqNumber::new(self.recent).precedes(SeqNumber::new(received.value))
    }

    /// How long ago at most the segment was sent that a segment's echo is of.
    #[inline]
    pub fn since_echo(&self, now: Instant, received: Timestamps) -> Duration {
        let ticks = self.option(now).value.wrapping_sub(received.echo);
        Duration::from_millis(u64::from(ticks) + 1)
    }

    /// Whether what is echoed of our clock is a time before `at`, by a tick at least.
    pub fn echoes_before(&self, received: Timestamps, at: Instant) -> bool {
        SeqNumber::new(received.echo).precedes(SeqNumber::new(self.offset.wrapping_add(ticks(at))))
    }

    /// Takes in the clock of a segment that begins at or before the last octet acknowledged (§4.3).
    #[inline]
    pub fn update(&mut self, received: Timestamps) {
        if !self.is_old(received) {
            self.recent = received.value;
        }
    }
}

fn ticks(now: Instant) -> u32 {
    now.as_millis() as u32
}
