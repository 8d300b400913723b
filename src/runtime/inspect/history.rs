//! What happened to connections, as data.

use super::{InspectError, Inspector, Name, connections::millis};
use crate::{
    stack::Ended,
    tcp::{Ending, Happening, History},
    time::Instant,
    worker::WorkerHandle,
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, ops::ControlFlow, time::Duration};

/// What happened to a connection: the last of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReport {
    /// How what is remembered began: `accepted`, `opened`, or `woken` for one that had slept.
    pub began: Name,
    /// How long ago that was, milliseconds.
    pub age_ms: u64,
    /// Earlier events that are forgotten.
    pub missed: u64,
    /// What happened, the earliest first.
    pub events: Vec<EventReport>,
    /// Why it is over, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<EndingReport>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// Since the history began, milliseconds.
    pub after_ms: u64,
    /// What, by its name: see [`Happening::name`].
    pub event: Name,
    /// The number that goes with it; for a state its name says more.
    pub number: u32,
    /// What, in words.
    pub text: String,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndingReport {
    /// Since the history began, milliseconds.
    pub after_ms: u64,
    /// What the application was told.
    pub reason: String,
    /// What that came from, by its name: see [`Cause`](crate::tcp::Cause).
    pub cause: Name,
    /// What that came from, in a sentence.
    pub meaning: Name,
}

/// A connection, or a handshake, that ended otherwise than it should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    /// The number of its worker.
    pub worker: usize,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// How long ago it ended, milliseconds.
    pub ago_ms: u64,
    /// What it came from, and what was in its way.
    pub sentences: Vec<String>,
    /// What happened to it.
    pub history: HistoryReport,
}

impl HistoryReport {
    pub(super) fn new(now: Instant, history: &History) -> Self {
        let event = |&(after, happening): &(Duration, Happening)| EventReport {
            after_ms: millis(after),
            event: Name::Borrowed(happening.name()),
            number: happening.argument(),
            text: happening.to_string(),
        };
        let ending = |ending: Ending| EndingReport {
            after_ms: millis(ending.at.saturating_since(history.since)),
            reason: ending.reason.to_string(),
            cause: Name::Borrowed(ending.cause.name()),
            meaning: Name::Borrowed(ending.cause.meaning()),
        };
        Self {
            began: Name::Borrowed(history.began.name()),
            age_ms: millis(now.saturating_since(history.since)),
            missed: history.missed,
            events: history.events.iter().map(event).collect(),
            ending: history.ending.map(ending),
        }
    }
}

impl EndReport {
    pub(super) fn new(worker: usize, now: Instant, ended: &Ended) -> Self {
        Self {
            worker,
            local: ended.tuple.local.into(),
            remote: ended.tuple.remote.into(),
            ago_ms: millis(now.saturating_since(ended.ending.at)),
            sentences: ended.explain(),
            history: HistoryReport::new(now, &ended.history()),
        }
    }
}

impl Inspector {
    /// Shows `visit` the connections that ended unhappily of late, of each worker the last one first, until it says that it is enough.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn ends(&self, mut visit: impl FnMut(EndReport) -> ControlFlow<()>) -> Result<(), InspectError> {
        for worker in self.of_workers() {
            let (now, ends) = recent(&worker, Instant::ZERO)?;
            for ended in &ends {
                if visit(EndReport::new(worker.number(), now, ended)).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Shows `visit` those that have ended unhappily since the last call with this `seen`, which is empty at first: of each worker the first
    /// one first, until it says that it is enough; the others are left out then. Of each worker, the last few hundred are remembered.
    ///
    /// # Errors
    /// Where a worker does not answer: the others' are shown nevertheless, and its own by the next call that it answers.
    pub fn ends_since(
        &self,
        seen: &mut Vec<Instant>,
        mut visit: impl FnMut(EndReport) -> ControlFlow<()>,
    ) -> Result<(), InspectError> {
        let mut failed = Ok(());
        for worker in self.of_workers() {
            let number = worker.number();
            if seen.len() <= number {
                seen.resize(number + 1, Instant::ZERO);
            }
            // What ends in one turn of a worker ends at one moment, and no command comes between.
            let (now, ends) = match recent(&worker, seen[number]) {
                Ok(recent) => recent,
                Err(error) => {
                    failed = failed.and(Err(error));
                    continue;
                }
            };
            if let Some(last) = ends.first() {
                seen[number] = last.ending.at;
            }
            for ended in ends.iter().rev() {
                if visit(EndReport::new(number, now, ended)).is_break() {
                    return Ok(());
                }
            }
        }
        failed
    }
}

/// A worker's, the last one first, that ended behind a moment: a few hundred at most, which is one piece.
fn recent(worker: &WorkerHandle, since: Instant) -> Result<(Instant, Vec<Ended>), InspectError> {
    let ends = worker.call(move |cx| {
        let now = cx.now();
        (now, cx.stack().recent_ends().take_while(|ended| ended.ending.at > since).cloned().collect())
    });
    Ok(Inspector::told(ends)?.unwrap_or_default())
}
