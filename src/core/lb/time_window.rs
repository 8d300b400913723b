//! Time as rows keep it, in two octets, and how long things are remembered.

use crate::time::{Instant, nanos};
use std::time::Duration;

/// The default of [`OnUnhealthy::Drain`](super::OnUnhealthy).
pub(super) const DRAIN_DEFAULT: Duration = Duration::from_secs(300);

/// How many nanoseconds a tick has: 2^30, so that a shift makes it.
const SHIFT: u32 = 30;

/// A moment, in ticks of 2^30 ns (1.07 s) on a circle of 2^16 of them. Two that are compared lie less than half of it
/// apart, nine hours: [`handle_timeout`](super::Balancer::handle_timeout) takes out what is older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(u16);

impl Tick {
    /// The tick with this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The tick in which `at` lies.
    pub const fn of(at: Instant) -> Self {
        Self((at.as_nanos() >> SHIFT) as u16)
    }

    /// How long it is from this one to a later one.
    pub const fn span_to(self, later: Self) -> Duration {
        Duration::from_nanos((later.0.wrapping_sub(self.0) as u64) << SHIFT)
    }

    /// Whether more than `span` ticks have passed since `earlier`. What seems to lie in the future has just been
    /// written on another core, and is not over.
    pub const fn is_beyond(self, earlier: Self, span: u16) -> bool {
        self.0.wrapping_sub(earlier.0) as i16 > span as i16
    }
}

/// Ticks that last for `span` at least, however their beginning lies; at most [`Windows::MAX`].
pub(super) const fn ticks(span: Duration) -> u16 {
    let ticks = nanos(span).div_ceil(1 << SHIFT);
    if ticks > MOST as u64 { MOST } else { ticks as u16 }
}

const MOST: u16 = 1 << 14;

/// How long flows may be silent before they are taken for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// For how long the flows that remain of a row's older generation, or one that is remembered, may be silent.
    /// Default 2 h 4 min, as RFC 5382 REQ-5 asks of who forgets TCP connections: the first keep-alive comes after two
    /// hours.
    pub silence: Duration,
    /// How long a SYN is remembered that nothing has followed. Default 68 s: five retransmissions of a SYN-ACK take 63
    /// s.
    pub handshake: Duration,
    /// How long a flow is remembered behind a FIN or RST, if it is silent. Default 60 s.
    pub closing: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(124 * 60),
            handshake: Duration::from_secs(68),
            closing: Duration::from_secs(60),
        }
    }
}

impl Windows {
    /// The longest of any: 2^14 ticks, nearly five hours. More is taken for that.
    pub const MAX: Duration = Duration::from_nanos((MOST as u64) << SHIFT);

    /// The windows as rows and programs count them.
    pub const fn in_ticks(&self) -> Ticks {
        Ticks { silence: ticks(self.silence), handshake: ticks(self.handshake), closing: ticks(self.closing) }
    }
}

/// [`Windows`] as the rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// [`Windows::silence`].
    pub silence: u16,
    /// [`Windows::handshake`].
    pub handshake: u16,
    /// [`Windows::closing`].
    pub closing: u16,
}
