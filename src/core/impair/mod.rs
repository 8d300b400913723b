//! A bad link, made on purpose: what is done to the frames of one direction, and when each of them is through.
//!
//! ```text
//!   push ─▶ lost? ─▶ duplicated? ─▶ corrupted? ─▶ queue ─▶ rate ─▶ delay and jitter ─▶ pop
//!                                                 │                 │
//!                                                 └ dropped: full   └ skipped by those that overtake
//! ```
//!
//! Nothing here reads a clock or sees an interface: time is an argument, the next deadline a return value, and chance comes
//! from a seed. So a test lets a day of bad weather pass in a millisecond, and the same seed brings the same weather. Each
//! kind of chance has a sequence of its own: the frames lost at `loss=1%` are the same ones with and without a delay.

mod one_way;
mod parse;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    one_way::{Counts, HELD_MAX, OneWay},
    parse::ImpairmentError,
};

/// The longest delay.
pub const DELAY_MAX: Duration = Duration::from_secs(10);

/// The lowest rate, bits a second.
pub const RATE_MIN: u64 = 8_000;

/// The highest rate, bits a second.
pub const RATE_MAX: u64 = 100_000_000_000;

/// The default of [`Direction::queue`], frames.
pub const QUEUE_DEFAULT: u32 = 1_000;

/// A probability, to the millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// So many in a million, at most all.
    pub const fn per_million(millionths: u32) -> Self {
        Self(if millionths > 1_000_000 { 1_000_000 } else { millionths })
    }

    /// How many in a million.
    pub const fn as_per_million(self) -> u32 {
        self.0
    }
}

/// What one direction does to its frames. The default does nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// How often a frame is lost.
    pub loss: Chance,
    /// How often a frame comes twice.
    pub duplicate: Chance,
    /// How often one bit of a frame behind its Ethernet header is turned over.
    pub corrupt: Chance,
    /// How often a frame skips the delay, and so overtakes those that are waiting for it to pass.
    pub reorder: Chance,
    /// How long each frame is under way.
    pub delay: Duration,
    /// By how much at most the delay of a frame is longer or shorter. It does not reorder: a frame waits for those before it.
    pub jitter: Duration,
    /// Bits a second, counted from the Ethernet header to the end of the packet.
    pub rate: Option<u64>,
    /// Frames that may wait for the rate; those that come when so many do are dropped.
    pub queue: u32,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            loss: Chance::NEVER,
            duplicate: Chance::NEVER,
            corrupt: Chance::NEVER,
            reorder: Chance::NEVER,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: QUEUE_DEFAULT,
        }
    }
}

/// What a link does to its frames, as `loss=1%,delay=20ms,up:rate=10mbit` says it: see [`Impairment::from_str`].
///
/// [`Impairment::from_str`]: std::str::FromStr::from_str
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// From the client to the server.
    pub up: Direction,
    /// From the server to the client.
    pub down: Direction,
    /// What chance begins with. The two directions make different use of it.
    pub seed: u64,
}

impl Impairment {
    /// The two directions with nothing under way yet: from the client to the server, and back.
    pub fn ways(&self) -> [OneWay; 2] {
        // Any two numbers would do, as long as they differ.
        [OneWay::new(self.up, self.seed), OneWay::new(self.down, !self.seed)]
    }
}
