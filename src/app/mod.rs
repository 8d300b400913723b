//! Servers on top of the stack: the trait to write one, and a few ready-made ones.
//!
//! A [`Service`] is called when something happened on a connection and does as much as it can at once. It never waits.
//!
//! ```
//! use xskip::{Service, Stream};
//!
//! /// Sends everything back.
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Session = ();
//!
//!     fn open(&mut self, _: &mut Stream<'_>) {}
//!
//!     fn ready(&mut self, _: &mut (), stream: &mut Stream<'_>) {
//!         stream.forward();
//!         if stream.at_end() {
//!             stream.close();
//!         }
//!     }
//! }
//! ```

mod chargen;
mod discard;
mod echo;
pub mod http;

pub use self::{chargen::Chargen, discard::Discard, echo::Echo, http::Http};

use crate::{
    stack::{ConnectionId, Event, Stack, Stream, TimerWheel, Trouble, UdpId},
    tcp::CloseReason,
    time::Instant,
    worker::Application,
};

/// A server. Each worker has one of its own, so it needs no lock.
pub trait Service: Send {
    /// What is kept for each connection.
    type Session: Send;

    /// A connection was opened, by the peer or by us. [`Service::ready`] is called right after, so that a server may speak first.
    fn open(&mut self, stream: &mut Stream<'_>) -> Self::Session;

    /// Something changed: data have arrived, the peer has closed its side, or there is room to write after there was too
    /// little. Called once for any number of changes; do as much as can be done.
    fn ready(&mut self, session: &mut Self::Session, stream: &mut Stream<'_>);

    /// When [`Service::overdue`] is to be called for a connection; asked whenever something happened on it. By default never, which
    /// is [`Instant::NEVER`].
    fn deadline(&self, session: &Self::Session) -> Instant {
        let _ = session;
        Instant::NEVER
    }

    /// The [deadline](Service::deadline) has passed, and nothing has happened that would have moved it.
    fn overdue(&mut self, session: &mut Self::Session, stream: &mut Stream<'_>) {
        let _ = (session, stream);
    }

    /// The server is to end and lets connections finish ([`Server::drain`](crate::Server::drain)): close those with nothing under way,
    /// and the others as soon as what is has been answered. Called once for each connection; what it leaves open goes on until
    /// its peer closes, or time is up. By default that is all of them.
    fn drain(&mut self, session: &mut Self::Session, stream: &mut Stream<'_>) {
        let _ = (session, stream);
    }

    /// A connection that was ours to open could not be.
    fn failed(&mut self, reason: CloseReason) {
        tracing::warn!("a connection could not be opened: {reason:?}");
    }

    /// Something is wrong with the connection, though it goes on: the network says that the peer cannot be reached, or nothing
    /// has come back for long (RFC 9293 §3.9.1.8). It may be closed or aborted here; by default it is given more time.
    fn troubled(&mut self, session: &mut Self::Session, stream: &mut Stream<'_>, trouble: Trouble) {
        let _ = (session, stream, trouble);
    }

    /// A datagram has come to a UDP port of the server's ([`Server::udp_port`](crate::Server::udp_port)). What is written to
    /// `answer`, which is empty, goes back where this returns true; an answer that does not fit a packet is lost.
    fn datagram(&mut self, data: &[u8], answer: &mut Vec<u8>) -> bool {
        let _ = (data, answer);
        false
    }

    /// The connection is no more.
    fn closed(&mut self, session: Self::Session, reason: CloseReason) {
        let _ = (session, reason);
    }
}

/// A [`Service`] with the sessions of its connections.
#[derive(Debug)]
pub struct Services<S: Service> {
    service: S,
    sessions: Vec<Option<S::Session>>,
    /// One deadline for each session that has one: the earliest it ever had, as those of the stack.
    timers: TimerWheel,
    /// Once the server is to end: sessions up to here have been told.
    told: usize,
    /// The datagram under way, and its answer; kept for their memory.
    datagram: (Vec<u8>, Vec<u8>),
}

/// Most sessions that are found overdue in one turn; those behind them are in the next.
const OVERDUE_AT_ONCE: u32 = 64;

/// Most sessions that are told in one turn that the server is to end.
const TOLD_AT_ONCE: usize = 256;

/// Ports of services. What comes from one may be an answer itself, and two services that answer each other's answers never end.
const LEAST_CLIENT_PORT: u16 = 1_024;

impl<S: Service> Services<S> {
    /// A service without connections yet.
    pub fn new(service: S) -> Self {
        Self { service, sessions: Vec::new(), timers: TimerWheel::new(0), told: 0, datagram: Default::default() }
    }

    fn open(&mut self, now: Instant, id: ConnectionId, stack: &mut Stack) {
        // It may have been reset in the batch that opened it.
        let Some(mut stream) = stack.stream(now, id) else { return };
        let mut session = self.service.open(&mut stream);
        self.service.ready(&mut session, &mut stream);
        if id.index() < self.told {
            self.service.drain(&mut session, &mut stream);
        }
        if self.sessions.len() <= id.index() {
            self.sessions.resize_with(id.index() + 1, || None);
        }
        self.mind(id.index(), self.service.deadline(&session));
        self.sessions[id.index()] = Some(session);
    }

    fn ready(&mut self, now: Instant, id: ConnectionId, stack: &mut Stack) {
        let Some(mut stream) = stack.stream(now, id) else { return };
        if let Some(Some(session)) = self.sessions.get_mut(id.index()) {
            self.service.ready(session, &mut stream);
            let deadline = self.service.deadline(session);
            self.mind(id.index(), deadline);
        }
    }

    fn mind(&mut self, index: usize, deadline: Instant) {
        if deadline != Instant::NEVER {
            self.timers.arm(index as u32, deadline);
        }
    }

    /// The timer of a session has fired; since it was set the deadline may have moved.
    fn look_at_clock(&mut self, now: Instant, index: usize, stack: &mut Stack) {
        let Some(Some(session)) = self.sessions.get_mut(index) else { return };
        if self.service.deadline(session) <= now
            && let Some(mut stream) = stack.connection_at(index).and_then(|id| stack.stream(now, id))
        {
            self.service.overdue(session, &mut stream);
        }
        let deadline = self.service.deadline(session);
        self.mind(index, deadline);
    }

    /// Tells a session that the server is to end.
    fn tell(&mut self, now: Instant, index: usize, stack: &mut Stack) {
        let Some(session) = &mut self.sessions[index] else { return };
        if let Some(mut stream) = stack.connection_at(index).and_then(|id| stack.stream(now, id)) {
            self.service.drain(session, &mut stream);
        }
        let deadline = self.service.deadline(session);
        self.mind(index, deadline);
    }

    fn answer_datagrams(&mut self, now: Instant, id: UdpId, stack: &mut Stack) {
        let (data, answer) = &mut self.datagram;
        while let Some((local, remote)) = stack.receive_udp(id, data) {
            answer.clear();
            if self.service.datagram(data, answer) && remote.port >= LEAST_CLIENT_PORT {
                // What finds no room is lost, as any datagram may be.
                let _ = stack.send_udp(now, id, Some(local.address), remote, answer);
            }
        }
    }
}

impl<S: Service> Application for Services<S> {
    fn handle(&mut self, now: Instant, event: Event, stack: &mut Stack) {
        match event {
            Event::Opened(id) => self.open(now, id, stack),
            Event::Ready(id) => self.ready(now, id, stack),
            Event::Trouble(id, trouble) => {
                let Some(mut stream) = stack.stream(now, id) else { return };
                if let Some(Some(session)) = self.sessions.get_mut(id.index()) {
                    self.service.troubled(session, &mut stream, trouble);
                }
            }
            Event::Datagram(id) => self.answer_datagrams(now, id, stack),
            Event::Closed(id, reason) => {
                if let Some(session) = self.sessions.get_mut(id.index()).and_then(Option::take) {
                    self.timers.cancel(id.index() as u32);
                    self.service.closed(session, reason);
                } else if matches!(reason, CloseReason::Refused | CloseReason::Unreachable | CloseReason::TimedOut) {
                    self.service.failed(reason);
                }
            }
        }
    }

    fn tend(&mut self, now: Instant, stack: &mut Stack) -> Option<Instant> {
        for _ in 0..OVERDUE_AT_ONCE {
            let Some(index) = self.timers.expire(now) else { break };
            self.look_at_clock(now, index as usize, stack);
        }
        self.timers.next_deadline()
    }

    fn drain(&mut self, now: Instant, stack: &mut Stack) -> Option<Instant> {
        let untold = self.told..self.sessions.len().min(self.told + TOLD_AT_ONCE);
        self.told = untold.end;
        untold.for_each(|index| self.tell(now, index, stack));
        let due = self.tend(now, stack);
        if self.told < self.sessions.len() { Some(now) } else { due }
    }
}
