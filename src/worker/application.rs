//! What runs on top of a stack, as far as the worker is concerned, and what it may do there.

use crate::{
    stack::{
        BindError, ConnectError, ConnectionId, Event, ListenError, ListenerId, Spliced, Stack, Stream, TimerId, Udp,
        UdpId,
    },
    stats::StackStats,
    time::Instant,
};
use std::net::{IpAddr, SocketAddr};

/// Something that is told of every event of a worker's stack. [`crate::app::Services`] turns the events into calls of a
/// [`crate::app::Service`], which is what most programs want.
///
/// An application is made on the thread of its worker and never leaves it, so nothing in it need be `Send`.
pub trait Application {
    /// Deals with one event; what is done to connections meanwhile is sent in the same batch.
    fn event(&mut self, event: Event, cx: &mut Context<'_>);

    /// Does what is due by the clock rather than because of an event, such as opening connections. Called once a turn, behind the
    /// events and in front of what is sent, during the drain as well; returns when it wants to be called again at the latest, or
    /// `None` where the next event or timer is soon enough.
    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let _ = cx;
        None
    }

    /// The worker has been told to end, and connections may go on for a while
    /// ([`WorkerOptions::drain`](super::WorkerOptions::drain)): finishes what is under way and closes the rest, so that the worker
    /// need not wait for peers that have nothing to ask. Called once, before the first [`Application::on_turn`] of the drain. By
    /// default nothing is done, and connections go on until their peers, or their time, are through.
    fn draining(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// Which of several workers an application runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIndex {
    /// Its number, from 0.
    pub number: usize,
    /// How many there are.
    pub workers: usize,
}

impl WorkerIndex {
    /// That of the only one.
    pub const ONLY: Self = Self { number: 0, workers: 1 };
}

/// What an application may use while it is called: its connections and sockets, the time, and who it is.
#[derive(Debug)]
pub struct Context<'a> {
    now: Instant,
    stack: &'a mut Stack,
    worker: WorkerIndex,
    /// Where to note what is begun, for whoever has to know on whose behalf it was.
    begun: Option<&'a mut Vec<Begun>>,
}

/// Something that was begun by way of a [`Context`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Connection(ConnectionId),
    Timer(TimerId),
    Udp(UdpId),
}

impl<'a> Context<'a> {
    /// The context of one turn: for whoever drives a [`Stack`] and an [`Application`] by hand.
    pub fn new(now: Instant, stack: &'a mut Stack, worker: WorkerIndex) -> Self {
        Self { now, stack, worker, begun: None }
    }

    /// A context that notes what is begun in it.
    pub(crate) fn noting<'b>(&'b mut self, begun: &'b mut Vec<Begun>) -> Context<'b> {
        Context { now: self.now, stack: self.stack, worker: self.worker, begun: Some(begun) }
    }

    fn note(&mut self, what: Begun) {
        if let Some(begun) = &mut self.begun {
            begun.push(what);
        }
    }

    /// The time, as the worker's clock showed it when this turn began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Which of the workers this is.
    pub fn worker(&self) -> WorkerIndex {
        self.worker
    }

    /// A connection; `None` where it is no more.
    pub fn stream(&mut self, id: ConnectionId) -> Option<Stream<'_>> {
        self.stack.stream(self.now, id)
    }

    /// Opens a connection from the address that faces `remote`. [`Event::Connected`] tells when it is open, [`Event::Closed`] when it
    /// could not be. What is written before goes out as soon as it can.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect(&mut self, remote: SocketAddr) -> Result<ConnectionId, ConnectError> {
        self.connect_by(remote, None)
    }

    /// Opens a connection as [`Context::connect`] does, from this address of the stack's.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_from(&mut self, local: IpAddr, remote: SocketAddr) -> Result<ConnectionId, ConnectError> {
        self.connect_by(remote, Some(local))
    }

    fn connect_by(&mut self, remote: SocketAddr, local: Option<IpAddr>) -> Result<ConnectionId, ConnectError> {
        let id = self.stack.connect(self.now, remote.into(), local)?;
        self.note(Begun::Connection(id));
        Ok(id)
    }

    /// Moves what one connection has received to what another one sends: see [`Stack::splice`].
    pub fn splice(&mut self, from: ConnectionId, to: ConnectionId) -> Option<Spliced> {
        self.stack.splice(self.now, from, to)
    }

    /// Accepts connections to `port`, at one address or at all of the stack's.
    ///
    /// # Errors
    /// [`ListenError`] says what to do.
    pub fn listen(&mut self, address: Option<IpAddr>, port: u16) -> Result<ListenerId, ListenError> {
        self.stack.listen(address, port)
    }

    /// Accepts no more connections by way of this listener; whether it was there. Connections there are go on.
    pub fn unlisten(&mut self, listener: ListenerId) -> bool {
        self.stack.unlisten(listener)
    }

    /// Has [`Event::Timer`] come with this token at `at`, or a little later; `None` where as many timers run as are configured
    /// ([`StackConfig::max_timers`](crate::config::StackConfig::max_timers)).
    pub fn timer(&mut self, at: Instant, token: u64) -> Option<TimerId> {
        let id = self.stack.set_timer(at, token)?;
        self.note(Begun::Timer(id));
        Some(id)
    }

    /// Stops a timer, where it still runs.
    pub fn cancel_timer(&mut self, id: TimerId) {
        self.stack.cancel_timer(id);
    }

    /// Takes datagrams for `port`, at one address or at all of the stack's.
    ///
    /// # Errors
    /// [`BindError`] says what to do.
    pub fn bind_udp(&mut self, address: Option<IpAddr>, port: u16) -> Result<UdpId, BindError> {
        let id = self.stack.bind_udp(address, port)?;
        self.note(Begun::Udp(id));
        Ok(id)
    }

    /// A UDP socket. One that is no longer bound receives nothing, and says so where something is sent.
    pub fn udp(&mut self, id: UdpId) -> Udp<'_> {
        self.stack.udp(self.now, id)
    }

    /// Takes no more datagrams at a socket; those that wait are lost.
    pub fn unbind_udp(&mut self, id: UdpId) {
        self.stack.unbind_udp(id);
    }

    /// What the worker's stack has counted so far.
    pub fn stats(&self) -> &StackStats {
        self.stack.stats()
    }

    /// The worker's stack, for what has no method here. Events and frames are taken out of it by the worker, and by nobody else.
    pub fn stack(&mut self) -> &mut Stack {
        self.stack
    }
}
