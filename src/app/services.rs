//! A service with the sessions of its connections, as an application of a worker.

use super::{Datagram, Origin, Service, contain::contain};
use crate::{
    stack::{ConnectionId, Event, TimerWheel, UdpId},
    tcp::CloseReason,
    time::Instant,
    worker::{Application, Context},
};

/// A [`Service`] with the sessions of its connections.
#[derive(Debug)]
pub struct Services<S: Service> {
    service: S,
    sessions: Vec<Option<S::Session>>,
    /// One deadline for each session that has one: the earliest it ever had, as those of the stack.
    timers: TimerWheel,
    /// Once the server is to end: sessions up to here have been told.
    drained: Option<usize>,
    /// The datagram under way, and its answer; kept for their memory.
    datagram: (Vec<u8>, Vec<u8>),
}

/// Most sessions that are found overdue in one turn; those behind them are in the next.
const OVERDUE_AT_ONCE: u32 = 64;

/// Most sessions that are told in one turn that the server is to end.
const DRAINED_AT_ONCE: usize = 256;

/// Ports of services. What comes from one may be an answer itself, and two services that answer each other's answers never end.
const LEAST_CLIENT_PORT: u16 = 1_024;

impl<S: Service> Services<S> {
    /// A service without connections yet.
    pub fn new(service: S) -> Self {
        Self { service, sessions: Vec::new(), timers: TimerWheel::new(0), drained: None, datagram: Default::default() }
    }

    /// The service itself.
    pub fn service(&self) -> &S {
        &self.service
    }

    fn open(&mut self, id: ConnectionId, origin: Origin, cx: &mut Context<'_>) {
        // It may have been reset in the batch that opened it.
        if !is_there(id, cx) {
            return;
        }
        let is_drained = self.drained.is_some_and(|drained| id.index() < drained);
        let service = &mut self.service;
        let session = contain(cx, Some(id), |cx| {
            let mut session = service.open(id, origin, cx);
            service.ready(&mut session, id, cx);
            if is_drained {
                service.drain(&mut session, id, cx);
            }
            (service.deadline(&session), session)
        });
        let Some((deadline, session)) = session else { return };
        if self.sessions.len() <= id.index() {
            self.sessions.resize_with(id.index() + 1, || None);
        }
        self.sessions[id.index()] = Some(session);
        self.mind(id.index(), deadline);
    }

    /// Lets the service do something to a session, where that and its connection are there, and asks for the deadline then.
    fn with_session(
        &mut self,
        id: ConnectionId,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut S, &mut S::Session, &mut Context<'_>),
    ) {
        let Some(Some(session)) = self.sessions.get_mut(id.index()) else { return };
        if !is_there(id, cx) {
            return;
        }
        let service = &mut self.service;
        let deadline = contain(cx, Some(id), |cx| {
            act(service, session, cx);
            service.deadline(session)
        });
        match deadline {
            Some(deadline) => self.mind(id.index(), deadline),
            None => self.give_up(id, cx),
        }
    }

    /// The session of a connection whose service has panicked goes.
    fn give_up(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        self.timers.cancel(id.index() as u32);
        let session = self.sessions[id.index()].take();
        contain(cx, None, |_| drop(session));
    }

    fn mind(&mut self, index: usize, deadline: Instant) {
        if deadline != Instant::NEVER {
            self.timers.arm(index as u32, deadline);
        }
    }

    /// The timer of a session has fired; since it was set the deadline may have moved.
    fn look_at_clock(&mut self, index: usize, cx: &mut Context<'_>) {
        let now = cx.now();
        let Some(id) = cx.stack().connection_at(index) else { return };
        self.with_session(id, cx, |service, session, cx| {
            if service.deadline(session) <= now {
                service.overdue(session, id, cx);
            }
        });
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason, cx: &mut Context<'_>) {
        let service = &mut self.service;
        if let Some(session) = self.sessions.get_mut(id.index()).and_then(Option::take) {
            self.timers.cancel(id.index() as u32);
            contain(cx, None, |cx| service.closed(session, id, reason, cx));
        } else if matches!(reason, CloseReason::Refused | CloseReason::Unreachable | CloseReason::TimedOut) {
            contain(cx, None, |cx| service.failed(id, reason, cx));
        }
    }

    fn answer_datagrams(&mut self, socket: UdpId, cx: &mut Context<'_>) {
        let (data, answer) = &mut self.datagram;
        while let Some((local_addr, peer_addr)) = cx.udp(socket).receive(data) {
            answer.clear();
            let service = &mut self.service;
            let answers =
                contain(cx, None, |cx| service.datagram(&Datagram { data, peer_addr, local_addr, socket }, answer, cx));
            if answers == Some(true) && peer_addr.port() >= LEAST_CLIENT_PORT {
                // What finds no room is lost, as any datagram may be.
                let _ = cx.udp(socket).send_from(local_addr.ip(), answer, peer_addr);
            }
        }
    }

    /// Tells sessions that the server is to end. Whether there are more to tell.
    fn drain_some(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(from) = self.drained else { return false };
        let to = self.sessions.len().min(from + DRAINED_AT_ONCE);
        self.drained = Some(to);
        for index in from..to {
            if let Some(id) = cx.stack().connection_at(index) {
                self.with_session(id, cx, |service, session, cx| service.drain(session, id, cx));
            }
        }
        to < self.sessions.len()
    }
}

fn is_there(id: ConnectionId, cx: &mut Context<'_>) -> bool {
    cx.stack().connection_at(id.index()) == Some(id)
}

impl<S: Service> Application for Services<S> {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Accepted(id, listener) => self.open(id, Origin::Accepted(listener), cx),
            Event::Connected(id) => self.open(id, Origin::Connected, cx),
            Event::Ready(id) => self.with_session(id, cx, |service, session, cx| service.ready(session, id, cx)),
            Event::SoftError(id, error) => {
                self.with_session(id, cx, |service, session, cx| service.soft_error(session, id, error, cx))
            }
            Event::Timer(_, token) => {
                let service = &mut self.service;
                contain(cx, None, |cx| service.timer(token, cx));
            }
            Event::Datagram(id) => self.answer_datagrams(id, cx),
            Event::Closed(id, reason) => self.close(id, reason, cx),
            _ => {}
        }
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let drains = self.drain_some(cx);
        for _ in 0..OVERDUE_AT_ONCE {
            let Some(index) = self.timers.expire(cx.now()) else { break };
            self.look_at_clock(index as usize, cx);
        }
        if drains { Some(cx.now()) } else { self.timers.next_deadline() }
    }

    fn draining(&mut self, cx: &mut Context<'_>) {
        let service = &mut self.service;
        contain(cx, None, |cx| service.draining(cx));
        self.drained = Some(0);
    }
}
