//! Connections that were opened to us and have said nothing since: a handshake costs its sender nothing, and us a place each. They
//! stand in line, so that those who have been silent for longest are reset after a while, and make room for others at the limit.
//!
//! A connection is silent for as long as its peer has sent no octet in order, and no FIN, and has acknowledged none that we have
//! sent. So where the server speaks first, a client that takes in what it says is not silent, however little it says itself.

use super::{ConnectionId, Stack, connections::Connections};
use crate::{
    tcp::{Cause, Cx},
    time::{Coarse, Instant},
};
use std::time::Duration;

/// Most that are reset in one turn of the stack, because their time is over: each draws an RST, for which there must be room.
const ENDED_AT_ONCE: u32 = 64;

/// How long one may be silent where every connection is taken, unless less is allowed anyway.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose peer has said nothing yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silent {
    pub index: u32,
    /// When it was opened, or last excused.
    pub since: Coarse,
}

/// How long peers may be silent: `most` while a quarter of all places is free, and from there on less, the fewer there are.
fn patience(most: Duration, taken: u32, limit: u32) -> Duration {
    let scarce = limit / 4;
    let free = limit - taken;
    if free >= scarce {
        return most;
    }
    let least = LEAST_PATIENCE.min(most);
    least + (most - least) * free / scarce
}

impl Stack {
    /// When the connection that has been silent for longest will have been so for too long.
    pub(super) fn silence_ends(&self) -> Option<Instant> {
        let most = self.config.silence?;
        let oldest = self.connections.longest_silent()?;
        Some(Instant::from(oldest.since) + patience(most, self.connections.len(), self.config.max_connections))
    }

    /// Resets those that have been silent for too long.
    pub(super) fn expire_silent(&mut self, now: Instant) {
        for _ in 0..ENDED_AT_ONCE {
            if self.silence_ends().is_none_or(|deadline| deadline > now) {
                return;
            }
            let Some(id) = self.longest_silent() else { return };
            // What is outstanding has a patience of its own: R2, or the user timeout.
            if self.connections.excuse_silence(self.config.tcp.at(now), id.index) {
                continue;
            }
            self.reset_silent(now, id);
        }
    }

    /// Resets the connection that has been silent for longest, to make room; whether there was one.
    pub(super) fn evict_silent(&mut self, now: Instant) -> bool {
        let longest = self.longest_silent();
        longest.inspect(|&id| self.reset_silent(now, id)).is_some()
    }

    fn longest_silent(&self) -> Option<ConnectionId> {
        self.connections.id_at(self.connections.longest_silent()?.index)
    }

    fn reset_silent(&mut self, now: Instant, id: ConnectionId) {
        if self.touch_id(now, id, |connection, _| connection.abort_for(Cause::Silent)).is_some() {
            self.stats.connections_silent += 1;
        }
    }

    /// Whether one more connection would find a place, if need be that of another one.
    pub(super) fn has_room(&self) -> bool {
        let is_replaceable = || self.connections.longest_silent().is_some() || self.stalled.oldest().is_some();
        !self.connections.is_out_of_places() && (!self.connections.is_full() || is_replaceable())
    }
}

impl Connections {
    /// The connection at `index` has just been opened to us, and stands in line from now on.
    pub fn listen_to(&mut self, now: Instant, index: u32) {
        self.enter_silent(Silent { index, since: Coarse::not_before(now) });
    }

    /// Lets one begin anew that we have said something to, for which it has its own time to answer; whether we have.
    fn excuse_silence(&mut self, cx: Cx<'_>, index: u32) -> bool {
        let waits = self.get_mut(index, cx.config).is_some_and(|entry| entry.connection.has_outstanding());
        if waits {
            self.leave_silent(index);
            self.listen_to(cx.now, index);
        }
        waits
    }
}
