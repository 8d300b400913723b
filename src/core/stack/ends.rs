//! The connections that ended unhappily of late, with what is remembered of each: for whoever asks when they are gone.

use super::{ConnectionId, Stack, connections::Entry};
use crate::{
    tcp::{
        Cause, CloseReason, Ending, History, TcpInfo,
        recorder::{Past, explain},
    },
    time::Instant,
    wire::FourTuple,
};
use std::{collections::VecDeque, time::Duration};

/// Ends that are remembered.
const MAX_ENDS: usize = 256;

/// A connection that ended in order is remembered, too, where so many of its segments had to be sent again.
pub(super) const MANY_RETRANSMISSIONS: u32 = 16;

/// Strangers begin handshakes as often as they like: those that nobody ended are remembered once in so long.
const HANDSHAKES_EVERY: Duration = Duration::from_secs(1);

/// A connection, or a handshake, that ended otherwise than it should have.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The two ends.
    pub tuple: FourTuple,
    /// Why, and when.
    pub ending: Ending,
    /// What TCP knew of it then; `None` for a handshake that the peer began, of which no connection came.
    pub info: Option<TcpInfo>,
    past: Past,
}

impl Ended {
    /// What happened to it.
    pub fn history(&self) -> History {
        History::new(self.tuple, &self.past, Some(self.ending))
    }

    /// What it came from, and what was in its way, in sentences.
    pub fn explain(&self) -> Vec<String> {
        explain(&self.history(), self.info.as_ref(), None)
    }
}

/// The last of them.
#[derive(Debug, Default)]
pub(super) struct RecentEnds {
    ends: VecDeque<Ended>,
    /// When the next handshake is remembered.
    handshakes_at: Instant,
}

impl RecentEnds {
    /// Remembers a connection that has ended otherwise than it should have. Once there are as many as are kept this takes no memory:
    /// the oldest gives its own.
    #[cold]
    pub fn remember(&mut self, now: Instant, entry: &Entry) {
        let connection = &entry.connection;
        let ending =
            connection.ending(now).unwrap_or(Ending { at: now, reason: CloseReason::Finished, cause: Cause::Closed });
        let mut past = self.take_oldest();
        connection.remember_into(&mut past);
        let info = Some(connection.info(entry.retransmitted));
        self.ends.push_back(Ended { tuple: *connection.tuple(), ending, info, past });
    }

    /// Remembers a handshake whose client has never acknowledged our SYN-ACK, where none was a moment ago.
    pub fn remember_handshake(&mut self, now: Instant, tuple: FourTuple, answered: Instant) {
        if now < self.handshakes_at {
            return;
        }
        self.handshakes_at = now + HANDSHAKES_EVERY;
        let mut past = self.take_oldest();
        past.restart(answered);
        let ending = Ending { at: now, reason: CloseReason::TimedOut, cause: Cause::SynAckUnanswered };
        self.ends.push_back(Ended { tuple, ending, info: None, past });
    }

    fn take_oldest(&mut self) -> Past {
        let oldest = if self.ends.len() >= MAX_ENDS { self.ends.pop_front() } else { None };
        oldest.map(|ended| ended.past).unwrap_or_default()
    }
}

impl Stack {
    /// Connections that ended unhappily of late, the last one first, 256 at most: all that did not end with a FIN each way, and those
    /// of which many segments had to be sent again. Of handshakes that nobody ended one a second is among them.
    pub fn recent_ends(&self) -> impl Iterator<Item = &Ended> {
        self.ends.ends.iter().rev()
    }

    /// What has happened to a connection, which is not woken for this; `None` where it is no more. What is no more may be among
    /// [`Stack::recent_ends`].
    pub fn history(&self, id: ConnectionId) -> Option<History> {
        self.connections.history(id)
    }

    /// What has happened to a connection, in sentences, and what it waits for; `None` where it is no more.
    pub fn explain(&self, now: Instant, id: ConnectionId) -> Option<Vec<String>> {
        let (history, waits_for) = (self.connections.history(id)?, self.why_not_sending(now, id));
        Some(explain(&history, self.connections.info(id).as_ref(), waits_for))
    }
}
