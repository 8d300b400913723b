//! From one connection to another: what a proxy does, without a detour through its memory.

use super::{ConnectionId, Stack};
use crate::time::Instant;

/// What became of a [`Stack::splice`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spliced {
    /// Octets moved.
    pub moved: usize,
    /// Whether everything has been moved, and the peer's end of data passed on: the other connection sends a FIN behind it.
    pub ended: bool,
    /// Whether octets are left for which the other connection has no room: it is [`Ready`](super::Event::Ready) when there is.
    pub blocked: bool,
}

impl Stack {
    /// Moves what `from` has received to what `to` sends, as much as there is room for, from ring to ring; and where the peer of `from`
    /// has closed its side and all of that was moved, closes the sending side of `to`. To be called whenever either is ready: room of
    /// `to` and data of `from` are both waited for. With the same connection twice it is [`Stream::echo`](super::Stream::echo).
    ///
    /// `None` where either is no more.
    pub fn splice(&mut self, now: Instant, from: ConnectionId, to: ConnectionId) -> Option<Spliced> {
        let config = &self.config.tcp;
        let spliced = if from == to {
            let connection = &mut self.connections.find_mut(from, config)?.connection;
            let moved = connection.echo(config);
            let ended = connection.is_at_end();
            if ended {
                connection.shutdown_write();
            }
            Spliced { moved, ended, blocked: connection.readable_len() > 0 }
        } else {
            let (source, sink) = self.connections.find_two_mut(from, to, config)?;
            let moved = source.splice_to(sink, config);
            let ended = source.is_at_end();
            if ended {
                sink.shutdown_write();
            }
            Spliced { moved, ended, blocked: source.readable_len() > 0 }
        };
        // Consuming may owe the peer a window update, and writing a segment.
        self.apply_effects(now, from.index);
        if from != to {
            self.apply_effects(now, to.index);
        }
        Some(spliced)
    }
}
