//! When to defend how: a decision from a few numbers, without a clock or a kernel, so that it can be tested as such.

use crate::{tcp::cookie::EPOCH, time::Instant};
use std::{fmt, time::Duration};

/// SYNs a second for a listener, leading to nothing, above which they are answered in XDP; and segments of strangers that are no
/// SYNs, above which XDP drops those.
const FLOOD: u64 = 50_000;
/// Those above which no source prefix draws more than its share of answers.
const BUDGET_THRESHOLD: u64 = 1_000_000;
/// Those a second below which there is no pressure.
const CALM: u64 = 10_000;
/// How long there must be no pressure before a step down: the longest life of a cookie.
const PATIENCE: Duration = Duration::from_secs(2 * EPOCH.as_secs());

/// Whether and where cookies replace the memory of handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// As the pressure asks for.
    #[default]
    Auto,
    /// In the XDP program, always.
    Always,
    /// In the workers, always, and never in the XDP program.
    Worker,
    /// Never: every handshake is remembered, as long as there is room.
    Never,
}

/// How high the defence of a listener has climbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Handshakes are remembered.
    Cache,
    /// Workers answer SYNs and forget them.
    Worker,
    /// The XDP program answers SYNs.
    Xdp,
    /// It answers no source prefix beyond a budget, but for SYNs that are repeated.
    Budget,
}

impl Level {
    /// The names of all of them.
    pub const NAMES: &'static [&'static str] = &["cache", "worker", "xdp", "budget"];

    /// Its name in counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Worker => "worker",
            Self::Xdp => "xdp",
            Self::Budget => "budget",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache => "handshakes are remembered",
            Self::Worker => "workers answer SYNs with cookies and remember nothing",
            Self::Xdp => "SYNs are answered with cookies in XDP",
            Self::Budget => "SYNs are answered with cookies in XDP, within a budget for each source prefix",
        })
    }
}

/// What happened to a listener since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// SYNs a second that led to no connection, wherever they were answered: no more than it got, and no more than there were
    /// of all listeners.
    pub lost_syns_per_second: u64,
    /// Segments a second of no flow, and no SYNs for a listener, wherever they ended.
    pub strangers_per_second: u64,
    /// Handshakes that were pushed out of the cache, which is one for all listeners.
    pub evictions: u64,
}

/// Decides, for one listener.
#[derive(Debug)]
pub(super) struct Policy {
    cookies: Cookies,
    level: Level,
    /// When there was pressure last, or when the level last changed.
    last_pressure: Instant,
}

impl Policy {
    pub fn new(cookies: Cookies, now: Instant) -> Self {
        let level = match cookies {
            Cookies::Auto | Cookies::Never => Level::Cache,
            Cookies::Worker => Level::Worker,
            Cookies::Always => Level::Xdp,
        };
        Self { cookies, level, last_pressure: now }
    }

    /// Goes by something else from now on. Where that is the pressure, it begins with the level there is, and comes down as from a flood.
    pub fn set(&mut self, cookies: Cookies, now: Instant) {
        let level = if cookies == Cookies::Auto { self.level } else { Self::new(cookies, now).level };
        *self = Self { cookies, level, last_pressure: now };
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a sample in; the new level where it changes.
    pub fn decide(&mut self, now: Instant, sample: Sample) -> Option<Level> {
        if self.cookies != Cookies::Auto {
            return None;
        }
        let wanted = match sample {
            Sample { lost_syns_per_second: BUDGET_THRESHOLD.., .. } => Level::Budget,
            Sample { lost_syns_per_second: FLOOD.., .. } | Sample { strangers_per_second: FLOOD.., .. } => Level::Xdp,
            Sample { evictions: 1.., .. } => Level::Worker,
            _ => Level::Cache,
        };
        if wanted > self.level {
            (self.level, self.last_pressure) = (wanted, now);
            return Some(wanted);
        }
        if wanted > Level::Cache || sample.lost_syns_per_second.max(sample.strangers_per_second) >= CALM {
            self.last_pressure = now;
        }
        let lower = match self.level {
            Level::Cache => return None,
            Level::Worker => Level::Cache,
            Level::Xdp => Level::Worker,
            Level::Budget => Level::Xdp,
        };
        if now - self.last_pressure < PATIENCE {
            return None;
        }
        (self.level, self.last_pressure) = (lower, now);
        Some(lower)
    }
}
