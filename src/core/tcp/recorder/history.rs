//! What happened to a connection, for whoever asks: a value, and a ladder in text.

use super::{Cause, Event, Happening};
use crate::{
    tcp::{CloseReason, Connection},
    time::Instant,
    wire::FourTuple,
};
use std::{fmt, time::Duration};

/// How the part of a connection's life began that is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beginning {
    /// The peer opened it: when its handshake was over.
    #[default]
    Accepted,
    /// We opened it: when that was asked for.
    Opened,
    /// It had slept, which leaves no history: when it last heard of its peer before that.
    Woken,
}

impl Beginning {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Opened => "opened",
            Self::Woken => "woken",
        }
    }
}

/// Why a connection is over, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When it ended.
    pub at: Instant,
    /// What its application was told.
    pub reason: CloseReason,
    /// What that came from.
    pub cause: Cause,
}

/// The events themselves, as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub(super) since: Instant,
    pub(super) began: Beginning,
    pub(super) missed: u64,
    pub(super) events: Vec<Event>,
}

impl Past {
    /// That of a handshake, which has none: it began then.
    pub fn restart(&mut self, since: Instant) {
        (self.since, self.began, self.missed) = (since, Beginning::Accepted, 0);
        self.events.clear();
    }
}

/// What happened to a connection: the last of it, at most [`MANY`](super::MANY) events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The two ends.
    pub tuple: FourTuple,
    /// How the part began that is remembered.
    pub began: Beginning,
    /// When that was: what the times of events count from.
    pub since: Instant,
    /// Events that were forgotten because later ones needed their place.
    pub missed: u64,
    /// When, since the beginning and to the millisecond, and what.
    pub events: Vec<(Duration, Happening)>,
    /// Why it is over, where it is.
    pub ending: Option<Ending>,
}

impl History {
    /// The history of `tuple`, from what was kept of it.
    pub fn new(tuple: FourTuple, past: &Past, ending: Option<Ending>) -> Self {
        let events = past.events.iter().map(|event| (event.after(), event.happening())).collect();
        Self { tuple, began: past.began, since: past.since, missed: past.missed, events, ending }
    }

    /// Whether anything of the kind happened that `is` names.
    pub fn has(&self, is: impl Fn(Happening) -> bool) -> bool {
        self.events.iter().any(|&(_, happening)| is(happening))
    }
}

/// The ladder: one line an event.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |after: Duration| format!("+{}.{:03} s", after.as_secs(), after.subsec_millis());
        let began = match self.began {
            Beginning::Accepted => "accepted",
            Beginning::Opened => "we begin to open it",
            Beginning::Woken => "last heard of the peer, before it slept",
        };
        writeln!(f, "{:>12}  {began}", line(Duration::ZERO))?;
        if self.missed > 0 {
            writeln!(f, "{:>12}  ({} earlier events are forgotten)", "...", self.missed)?;
        }
        for (after, happening) in &self.events {
            writeln!(f, "{:>12}  {happening}", line(*after))?;
        }
        if let Some(ending) = &self.ending {
            writeln!(f, "{:>12}  {}", line(ending.at - self.since), ending.reason)?;
        }
        Ok(())
    }
}

impl Connection {
    /// What has happened to it since it began, or woke; `ended_at` where it is over.
    pub fn history(&self, ended_at: Option<Instant>) -> History {
        let mut past = Past::default();
        self.remember_into(&mut past);
        let ending = ended_at.and_then(|at| self.ending(at));
        History::new(self.tuple, &past, ending)
    }

    /// Why it is over, where it is.
    pub fn ending(&self, at: Instant) -> Option<Ending> {
        Some(Ending { at, reason: self.end()?, cause: self.recorder.cause() })
    }

    /// Copies what is remembered of it, into memory that is there where there was something before.
    pub fn remember_into(&self, past: &mut Past) {
        self.recorder.copy_into(past);
    }

    /// Writes down what its owner knows.
    #[cold]
    pub fn note(&mut self, now: Instant, happening: Happening) {
        self.recorder.note_seldom(now, happening);
    }
}
