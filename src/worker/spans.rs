//! The lives of connections, for whoever has asked for them in the log: a span each, with its ends and its worker, in which its application
//! hears of it, and an event at either end of that.
//!
//! Whether anybody has asked is looked at once a turn. Where nobody has, that is all that is done: no connection has anything of this.

use super::{Application, Context};
use crate::stack::{ConnectionId, Event};
use tracing::{Level, Span};

/// What is to be asked for, at level `debug`.
pub const TARGET: &str = "xskip::connection";

/// The span of each connection, by its index.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<Option<(ConnectionId, Span)>>);

impl Spans {
    /// Whether anybody wants them. Where nobody does any more, they end.
    #[inline]
    pub fn are_wanted(&mut self) -> bool {
        let are_wanted = tracing::enabled!(target: TARGET, Level::DEBUG);
        if !are_wanted && !self.0.is_empty() {
            self.0 = Vec::new();
        }
        are_wanted
    }

    /// Tells the application what has happened, each of it within the span of its connection.
    #[cold]
    pub fn deliver(&mut self, cx: &mut Context<'_>, application: &mut impl Application) {
        while let Some(event) = cx.stack().poll_event() {
            let span = match event {
                Event::Accepted(id, _) => self.begin(id, "accepted", cx),
                Event::Connected(id) => self.begin(id, "connected", cx),
                Event::Ready(id) | Event::SoftError(id, _) => self.of(id),
                Event::Closed(id, _) => self.end(id),
                // Of no connection.
                _ => Span::none(),
            };
            span.in_scope(|| {
                if let Event::SoftError(_, error) = event {
                    tracing::debug!(target: TARGET, ?error, "goes on, though something is wrong");
                }
                application.event(event, cx);
                if let Event::Closed(_, reason) = event {
                    tracing::debug!(target: TARGET, %reason, "closed");
                }
            });
        }
    }

    fn begin(&mut self, id: ConnectionId, how: &'static str, cx: &mut Context<'_>) -> Span {
        let worker = cx.worker().number;
        // One that was reset in the batch that opened it has no ends any more.
        let ends = cx.stream(id).map(|stream| (stream.peer_addr(), stream.local_addr()));
        let span = match ends {
            Some((peer, local)) => tracing::debug_span!(target: TARGET, "connection", %peer, %local, worker),
            None => tracing::debug_span!(target: TARGET, "connection", worker),
        };
        span.in_scope(|| tracing::debug!(target: TARGET, "{how}"));
        if self.0.len() <= id.index() {
            // As many as there may be connections.
            self.0.resize_with(id.index() + 1, || None);
        }
        self.0[id.index()] = Some((id, span.clone()));
        span
    }

    fn of(&self, id: ConnectionId) -> Span {
        let known = self.0.get(id.index()).and_then(Option::as_ref);
        known.filter(|(known, _)| *known == id).map_or_else(Span::none, |(_, span)| span.clone())
    }

    /// The span of a connection that is no more; it may be one that never was open, or is from before anybody asked.
    fn end(&mut self, id: ConnectionId) -> Span {
        let span = self.of(id);
        if let Some(place) = self.0.get_mut(id.index()) {
            *place = None;
        }
        span
    }
}
