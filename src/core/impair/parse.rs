//! An impairment as it is typed, and as it is written back.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use super::{Chance, DELAY_MAX, Direction, HELD_MAX, Impairment, RATE_MAX, RATE_MIN};
use crate::time::span::{self, decimal, split_unit};

const KNOWN: &str = "loss, delay, jitter, reorder, rate, queue, duplicate, corrupt and seed";

/// Why something typed is no impairment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImpairmentError {
    /// Nothing between two commas.
    #[error("an option is missing: write a list like loss=1%,delay=20ms, without empty places")]
    Empty,

    /// No such option.
    #[error("a link has no option {0:?}: there are {KNOWN}, each for both ways, or behind up: or down: for one")]
    Unknown(String),

    /// An option without `=`.
    #[error("{option} needs a value: write {option}={example}")]
    NoValue {
        /// The option.
        option: String,
        /// A value that it could have.
        example: &'static str,
    },

    /// An option twice, for the same direction.
    #[error("{0} is given twice for the same direction: keep one of them")]
    Twice(String),

    /// A value that is none.
    #[error("{option}={value} is not understood: write {must}, such as {option}={example}")]
    BadValue {
        /// The option.
        option: String,
        /// What was typed.
        value: String,
        /// What is possible.
        must: String,
        /// One that is.
        example: &'static str,
    },

    /// More jitter than there is delay.
    #[error("the jitter is longer than the delay it makes vary: raise the delay, or lower the jitter to it")]
    JitterAboveDelay,

    /// Nothing to overtake.
    #[error(
        "without a delay nothing is under way that a frame could overtake: give a delay beside reorder, such as delay=5ms"
    )]
    ReorderWithoutDelay,

    /// A queue before nothing.
    #[error("without a rate no queue forms: give a rate beside queue, such as rate=100mbit")]
    QueueWithoutRate,

    /// A seed for one direction.
    #[error("the seed is the whole link's: write seed=N without up: or down:")]
    SeedOfOneWay,
}

/// The options, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Loss,
    Delay,
    Jitter,
    Reorder,
    Rate,
    Queue,
    Duplicate,
    Corrupt,
}

impl Name {
    const ALL: [Self; 8] =
        [Self::Loss, Self::Delay, Self::Jitter, Self::Reorder, Self::Rate, Self::Queue, Self::Duplicate, Self::Corrupt];

    fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Jitter => "jitter",
            Self::Reorder => "reorder",
            Self::Rate => "rate",
            Self::Queue => "queue",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Loss | Self::Reorder | Self::Duplicate => "1%",
            Self::Corrupt => "0.1%",
            Self::Delay => "20ms",
            Self::Jitter => "500us",
            Self::Rate => "100mbit",
            Self::Queue => "100",
        }
    }

    /// Sets it; where the value is no good, says what would be.
    fn set(self, direction: &mut Direction, value: &str) -> Result<(), String> {
        let percent =
            || chance(value).ok_or_else(|| "a percentage from 0% to 100%, with four decimals at most".to_owned());
        let time = || delay(value).ok_or_else(|| format!("a time in us, ms or s, up to {} s", DELAY_MAX.as_secs()));
        match self {
            Self::Loss => direction.loss = percent()?,
            Self::Reorder => direction.reorder = percent()?,
            Self::Duplicate => direction.duplicate = percent()?,
            Self::Corrupt => direction.corrupt = percent()?,
            Self::Delay => direction.delay = time()?,
            Self::Jitter => direction.jitter = time()?,
            Self::Rate => {
                direction.rate =
                    Some(rate(value).ok_or("a rate in bit, kbit, mbit or gbit a second, from 8kbit to 100gbit")?);
            }
            Self::Queue => {
                let frames = value.parse().ok().filter(|frames| (1..=HELD_MAX as u32).contains(frames));
                direction.queue = frames.ok_or_else(|| format!("a number of frames from 1 to {HELD_MAX}"))?;
            }
        }
        Ok(())
    }

    /// The value, unless it is the default.
    fn get(self, direction: &Direction) -> Option<String> {
        let default = Direction::default();
        let chance = |chance: Chance| (chance > Chance::NEVER).then(|| write_chance(chance));
        let shown = |span: Duration| (!span.is_zero()).then(|| span::show(span));
        match self {
            Self::Loss => chance(direction.loss),
            Self::Reorder => chance(direction.reorder),
            Self::Duplicate => chance(direction.duplicate),
            Self::Corrupt => chance(direction.corrupt),
            Self::Delay => shown(direction.delay),
            Self::Jitter => shown(direction.jitter),
            Self::Rate => direction.rate.map(write_rate),
            Self::Queue => (direction.queue != default.queue).then(|| direction.queue.to_string()),
        }
    }
}

/// Reads options separated by commas: each holds for both directions, or behind `up:` (from the client) or `down:` (to the
/// client) for one. Nothing at all is a link that does no harm.
impl FromStr for Impairment {
    type Err = ImpairmentError;

    fn from_str(text: &str) -> Result<Self, ImpairmentError> {
        let mut impairment = Self::default();
        let mut given = Vec::new();
        for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            impairment.read(part, &mut given)?;
        }
        for (direction, bit) in [(&impairment.up, true), (&impairment.down, false)] {
            if direction.jitter > direction.delay {
                return Err(ImpairmentError::JitterAboveDelay);
            }
            if direction.reorder > Chance::NEVER && direction.delay.is_zero() {
                return Err(ImpairmentError::ReorderWithoutDelay);
            }
            if direction.rate.is_none() && given.contains(&(bit, "queue")) {
                return Err(ImpairmentError::QueueWithoutRate);
            }
        }
        Ok(impairment)
    }
}

impl Impairment {
    /// Reads one option. `given` remembers which were read, and whether for the way up.
    fn read(&mut self, part: &str, given: &mut Vec<(bool, &'static str)>) -> Result<(), ImpairmentError> {
        let (option, value) =
            part.split_once('=').map_or((part, None), |(option, value)| (option.trim(), Some(value.trim())));
        let (ways, name): (&[bool], _) = match option.split_once(':') {
            Some(("up", name)) => (&[true], name),
            Some(("down", name)) => (&[false], name),
            _ => (&[true, false], option),
        };
        if option.is_empty() && value.is_none() {
            return Err(ImpairmentError::Empty);
        }
        let bad = |value: &str, must: String, example| ImpairmentError::BadValue {
            option: option.to_owned(),
            value: value.to_owned(),
            must,
            example,
        };
        let no_value = |example| ImpairmentError::NoValue { option: option.to_owned(), example };
        if name == "seed" {
            if ways.len() == 1 {
                return Err(ImpairmentError::SeedOfOneWay);
            }
            remember(given, (true, "seed"), option)?;
            let value = value.filter(|value| !value.is_empty()).ok_or(no_value("7"))?;
            self.seed = value.parse().map_err(|_| bad(value, "a whole number below 2^64".to_owned(), "7"))?;
            return Ok(());
        }
        let known = Name::ALL.into_iter().find(|known| known.as_str() == name);
        let known = known.ok_or_else(|| ImpairmentError::Unknown(option.to_owned()))?;
        let value = value.filter(|value| !value.is_empty()).ok_or(no_value(known.example()))?;
        for &is_up in ways {
            remember(given, (is_up, known.as_str()), option)?;
            let direction = if is_up { &mut self.up } else { &mut self.down };
            known.set(direction, value).map_err(|must| bad(value, must, known.example()))?;
        }
        Ok(())
    }
}

fn remember(
    given: &mut Vec<(bool, &'static str)>,
    new: (bool, &'static str),
    option: &str,
) -> Result<(), ImpairmentError> {
    if given.contains(&new) {
        return Err(ImpairmentError::Twice(option.to_owned()));
    }
    given.push(new);
    Ok(())
}

/// In the form that is read: options at their defaults are left out, and what differs between the ways is written for each.
impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for name in Name::ALL {
            let (up, down) = (name.get(&self.up), name.get(&self.down));
            if up == down {
                parts.extend(up.map(|value| format!("{}={value}", name.as_str())));
            } else {
                parts.extend(up.map(|value| format!("up:{}={value}", name.as_str())));
                parts.extend(down.map(|value| format!("down:{}={value}", name.as_str())));
            }
        }
        parts.extend((self.seed != 0).then(|| format!("seed={}", self.seed)));
        f.pad(&parts.join(","))
    }
}

fn chance(text: &str) -> Option<Chance> {
    let millionths = decimal(text.strip_suffix('%')?, 10_000)?;
    u32::try_from(millionths).ok().filter(|millionths| *millionths <= 1_000_000).map(Chance::per_million)
}

fn write_chance(chance: Chance) -> String {
    let millionths = chance.as_per_million();
    let text = format!("{}.{:04}", millionths / 10_000, millionths % 10_000);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn delay(text: &str) -> Option<Duration> {
    span::parse(text).filter(|span| *span <= DELAY_MAX)
}

const RATES: [(&str, u64); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

fn rate(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let (_, bits) = RATES.into_iter().find(|(name, _)| *name == unit)?;
    decimal(number, bits).filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate))
}

fn write_rate(rate: u64) -> String {
    let fits = RATES.into_iter().find(|(_, unit)| rate.is_multiple_of(*unit));
    let (name, unit) = fits.unwrap_or(("bit", 1));
    format!("{}{name}", rate / unit)
}
