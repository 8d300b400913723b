//! Servers on top of the stack: the trait to write one, and a few ready-made ones.
//!
//! A [`Service`] is called when something happened on a connection and does as much as it can at once. It never waits. What it may
//! use meanwhile is in its [`Context`]: this connection and others, timers, datagrams, the time.
//!
//! ```
//! use xskip::{ConnectionId, Context, Service, app::Origin};
//!
//! /// Sends everything back.
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Session = ();
//!
//!     fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}
//!
//!     fn ready(&mut self, _: &mut (), id: ConnectionId, cx: &mut Context<'_>) {
//!         let Some(mut stream) = cx.stream(id) else { return };
//!         stream.echo();
//!         if stream.at_end() {
//!             stream.close();
//!         }
//!     }
//! }
//! ```
//!
//! Several services on several ports of one server: [`ByPort`].

mod by_port;
mod chargen;
mod contain;
mod discard;
mod echo;
pub mod http;
mod services;

#[cfg(test)]
mod tests;

pub(crate) use self::contain::contain;

pub use self::{by_port::ByPort, chargen::Chargen, discard::Discard, echo::Echo, http::Http, services::Services};

use crate::{
    log_limit::LogLimit,
    stack::{ConnectionId, ListenerId, SoftError, UdpId},
    tcp::CloseReason,
    time::Instant,
    worker::Context,
};
use std::net::SocketAddr;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client opened it by way of this listener.
    Accepted(ListenerId),
    /// We opened it.
    Connected,
}

/// A datagram that has come to a UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// What it says.
    pub data: &'a [u8],
    /// Who sent it. A port of zero wants no answer.
    pub peer_addr: SocketAddr,
    /// The address and port that it was sent to.
    pub local_addr: SocketAddr,
    /// The socket that got it.
    pub socket: UdpId,
}

/// A server. Each worker has one of its own, made on its thread, so it needs no lock and need not be `Send`.
///
/// A connection's life is [`open`](Service::open), then [`ready`](Service::ready) at once and whenever something has happened, then
/// [`closed`](Service::closed), once. A connection that we began and that did not come to be ends with
/// [`failed`](Service::failed) instead of all that.
///
/// A panic in one of these methods ends the connection that it was called for, with an RST, and no other: it is counted
/// ([`StackStats::application_panics`](crate::stats::StackStats::application_panics)), and said by `tracing`. The session is
/// dropped without [`closed`](Service::closed). What the service itself keeps should then still make sense.
pub trait Service {
    /// What is kept for each connection.
    type Session;

    /// A connection was opened, by the peer or by us. [`Service::ready`] is called right after, so that a server may speak first.
    fn open(&mut self, id: ConnectionId, origin: Origin, cx: &mut Context<'_>) -> Self::Session;

    /// Something changed: data have arrived, the peer has closed its side, or there is room to write after there was too
    /// little. Called once for any number of changes; do as much as can be done.
    fn ready(&mut self, session: &mut Self::Session, id: ConnectionId, cx: &mut Context<'_>);

    /// When [`Service::overdue`] is to be called for a connection; asked whenever something happened on it. By default never, which
    /// is [`Instant::NEVER`].
    fn deadline(&self, session: &Self::Session) -> Instant {
        let _ = session;
        Instant::NEVER
    }

    /// The [deadline](Service::deadline) has passed, and nothing has happened that would have moved it.
    fn overdue(&mut self, session: &mut Self::Session, id: ConnectionId, cx: &mut Context<'_>) {
        let _ = (session, id, cx);
    }

    /// The server is to end and lets connections finish ([`Server::drain`](crate::Server::drain)): close those with nothing under way,
    /// and the others as soon as what is has been answered. Called once for each connection; what it leaves open goes on until
    /// its peer closes, or time is up. By default that is all of them.
    fn drain(&mut self, session: &mut Self::Session, id: ConnectionId, cx: &mut Context<'_>) {
        let _ = (session, id, cx);
    }

    /// The server is to end: called once, before [`Service::drain`] is for each connection. By default nothing is done.
    fn draining(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// A connection that was ours to open could not be.
    fn failed(&mut self, id: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        let _ = (id, cx);
        static FAILED: LogLimit = LogLimit::new();
        if let Some(more) = FAILED.admit() {
            tracing::warn!("a connection could not be opened: {reason}{more}");
        }
    }

    /// Something is wrong with the connection, though it goes on: the network says that the peer cannot be reached, or nothing
    /// has come back for long (RFC 9293 §3.9.1.8). It may be closed or aborted here; by default it is given more time.
    fn soft_error(&mut self, session: &mut Self::Session, id: ConnectionId, error: SoftError, cx: &mut Context<'_>) {
        let _ = (session, id, error, cx);
    }

    /// A timer that was set by [`Context::timer`] has expired.
    fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        let _ = (token, cx);
    }

    /// A datagram has come to a UDP port of the server's ([`Server::udp_port`](crate::Server::udp_port)), or of a socket that the
    /// service has bound. What is written to `answer`, which is empty, goes back where this returns true; an answer that does not fit
    /// a packet is lost.
    fn datagram(&mut self, datagram: &Datagram<'_>, answer: &mut Vec<u8>, cx: &mut Context<'_>) -> bool {
        let _ = (datagram, answer, cx);
        false
    }

    /// The connection is no more.
    fn closed(&mut self, session: Self::Session, id: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        let _ = (session, id, reason, cx);
    }
}
