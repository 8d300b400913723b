//! What runs on top of a stack, as far as the worker is concerned, and what it may do there.

use super::{CommandError, ExecutorCounts, Waker, WorkerHandle};
use crate::{
    stack::{
        BindError, ConnectError, ConnectionId, Event, ListenError, ListenerId, Spliced, Stack, Stream, TimerId, Udp,
        UdpId, Via,
    },
    stats::StackStats,
    tcp::MaxSegment,
    time::Instant,
    xdp::ServeError,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

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

    /// Tells what the application has counted of its tasks, where it runs any: called ten times a second at most, for the worker's
    /// [`Snapshot`](super::Snapshot), with nothing in `shown`. By default it shows nothing.
    fn show(&self, shown: &mut ExecutorCounts) {
        let _ = shown;
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

/// What a worker finds that wants what its stack may have already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Others wanted it, and now it does as well.
    New,
    /// It has wanted it before.
    Known,
    /// Nobody wants it. What the stack has is left over from somebody who did, and will be gone in a moment.
    Unwanted,
}

/// What else a port needs where a stack is one of several, behind an XDP program: the other workers' stacks, and the program, must
/// know of it.
pub trait Steering: Send + Sync {
    /// The limit on segments of the listener's connections.
    fn max_segment(&self) -> MaxSegment;

    /// This worker listens there now: has the program and the other workers follow.
    ///
    /// # Errors
    /// [`ListenRefused`], and nobody has followed then.
    fn listen(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused>;

    /// Whose idea the listener was that this worker's stack has there. If anybody's, it is this worker's as well from now on.
    fn share_tcp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Share;

    /// This worker wants it no longer. Once none does, the program and the other workers follow.
    fn leave_tcp(&self, worker: usize, address: Option<IpAddr>, port: u16);

    /// This worker listens there no longer, or never did: has the program and the other workers follow.
    fn unlisten(&self, worker: usize, address: Option<IpAddr>, port: u16);

    /// This worker has a UDP socket there now: has the program and the other workers follow.
    ///
    /// # Errors
    /// [`BindRefused`], and nobody has followed then.
    fn bind_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), BindRefused>;

    /// Whose idea the socket was that this worker's stack has there. If anybody's, it is this worker's as well from now on.
    fn share_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Share;

    /// This worker wants no socket there any more. Once none does, the program and the other workers follow.
    fn leave_udp(&self, worker: usize, address: Option<IpAddr>, port: u16);

    /// This worker has no socket there any more: has the program and the other workers follow.
    fn unbind_udp(&self, worker: usize, address: Option<IpAddr>, port: u16);
}

impl fmt::Debug for dyn Steering + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steering")
    }
}

/// Why nobody listens there now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenRefused {
    /// The stack does not.
    #[error(transparent)]
    Stack(#[from] ListenError),
    /// Not at this address, which is served on no interface.
    #[error("{0} is no address of this server; listen at one that it serves, or at all of them")]
    NotServed(IpAddr),
    /// The XDP program cannot know of it.
    #[error(transparent)]
    Program(#[from] ServeError),
    /// Another worker cannot be told.
    #[error(transparent)]
    Worker(#[from] CommandError),
    /// This runtime was made for connections that it opens.
    #[error("this runtime only opens connections, as it was told to; leave `only_connects` out to listen as well")]
    OnlyConnects,
    /// The worker has been told to end, and accepts nothing more.
    #[error("the server is stopping and listens nowhere any more; start another one")]
    Stopping,
}

/// Why no datagrams are taken there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindRefused {
    /// The stack does not.
    #[error(transparent)]
    Stack(#[from] BindError),
    /// The XDP program cannot know of it.
    #[error(transparent)]
    Program(#[from] ServeError),
    /// Another worker cannot be told.
    #[error(transparent)]
    Worker(#[from] CommandError),
}

/// What a worker has around its stack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surroundings<'a> {
    pub handle: Option<&'a WorkerHandle>,
    pub steering: Option<&'a dyn Steering>,
    /// Whether the worker has been told to end.
    pub is_stopping: bool,
}

/// What an application may use while it is called: its connections and sockets, the time, and who it is.
#[derive(Debug)]
pub struct Context<'a> {
    now: Instant,
    stack: &'a mut Stack,
    worker: WorkerIndex,
    surroundings: Surroundings<'a>,
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
        Self { now, stack, worker, surroundings: Surroundings::default(), begun: None }
    }

    /// A context of a worker that is one of several, beside an XDP program.
    pub(super) fn within(self, surroundings: Surroundings<'a>) -> Self {
        Self { surroundings, ..self }
    }

    /// A context of a worker that is one of several, without one.
    #[cfg(test)]
    pub(crate) fn steered(self, steering: &'a dyn Steering) -> Self {
        self.within(Surroundings { steering: Some(steering), ..Surroundings::default() })
    }

    /// A context that notes what is begun in it.
    pub(crate) fn noting<'b>(&'b mut self, begun: &'b mut Vec<Begun>) -> Context<'b> {
        let Self { now, worker, surroundings, .. } = *self;
        Context { now, stack: self.stack, worker, surroundings, begun: Some(begun) }
    }

    /// This very context, for a shorter time.
    #[cfg(feature = "aio")]
    pub(crate) fn reborrow(&mut self) -> Context<'_> {
        let Self { now, worker, surroundings, .. } = *self;
        Context { now, stack: self.stack, worker, surroundings, begun: self.begun.as_deref_mut() }
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

    /// Opens a connection by a way that is known, from one of these ports of `source`: see [`Stack::connect_via`].
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_via(
        &mut self,
        source: IpAddr,
        ports: &[u16],
        remote: SocketAddr,
        via: Via,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.stack.connect_via(self.now, remote.into(), source, ports, via)?;
        self.note(Begun::Connection(id));
        Ok(id)
    }

    /// Opens a connection in the name of a client, by a way that is known: see [`Stack::connect_as`].
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_as(
        &mut self,
        client: SocketAddr,
        ports: &[u16],
        remote: SocketAddr,
        via: Via,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.stack.connect_as(self.now, remote.into(), client.into(), ports, via)?;
        self.note(Begun::Connection(id));
        Ok(id)
    }

    /// Moves what one connection has received to what another one sends: see [`Stack::splice`].
    pub fn splice(&mut self, from: ConnectionId, to: ConnectionId) -> Option<Spliced> {
        self.stack.splice(self.now, from, to)
    }

    /// Accepts connections to `port`, at one address or at all of the stack's: here and, a moment later, on every other worker, because
    /// any of them may be a flow's. The XDP program hands such segments over from now on, and defends the listener. Other workers name
    /// it by ids of their own.
    ///
    /// # Errors
    /// [`ListenRefused`] says what to do. Nobody listens there then who did not before.
    pub fn listen(&mut self, address: Option<IpAddr>, port: u16) -> Result<ListenerId, ListenRefused> {
        let steering = match self.surroundings {
            Surroundings { is_stopping: true, .. } => return Err(ListenRefused::Stopping),
            Surroundings { steering: Some(steering), .. } => steering,
            Surroundings { handle: Some(_), .. } => return Err(ListenRefused::OnlyConnects),
            // Driven by hand: the stack is all there is.
            _ => return Ok(self.stack.listen(address, port)?),
        };
        let listener = self.stack.listen_with(address, port, steering.max_segment())?;
        if let Err(refused) = steering.listen(self.worker.number, address, port) {
            self.stack.unlisten(listener);
            return Err(refused);
        }
        Ok(listener)
    }

    /// Accepts no more connections to `port` at this address, or by the listener at all of them: here, on every other worker and in the
    /// XDP program. Whether there was such a listener. Connections there are go on.
    pub fn unlisten(&mut self, address: Option<IpAddr>, port: u16) -> bool {
        if let Some(steering) = self.surroundings.steering {
            steering.unlisten(self.worker.number, address, port);
        }
        self.stack.unlisten_at(address, port)
    }

    /// Has this worker be one of those that want the listener that its stack has there, which somebody else may have begun.
    #[cfg(feature = "aio")]
    pub(crate) fn share_listener(&mut self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        let (worker, steering) = (self.worker.number, self.surroundings.steering);
        match steering.filter(|steering| steering.share_tcp(worker, address, port) == Share::Unwanted) {
            // Whoever wanted it has left this very moment.
            Some(steering) => steering.listen(worker, address, port),
            None => Ok(()),
        }
    }

    /// Has this worker be one of those that want the socket that its stack has there, which somebody else may have begun.
    #[cfg(feature = "aio")]
    pub(crate) fn share_udp(&mut self, address: Option<IpAddr>, port: u16) -> Result<(), BindRefused> {
        let (worker, steering) = (self.worker.number, self.surroundings.steering);
        match steering.filter(|steering| steering.share_udp(worker, address, port) == Share::Unwanted) {
            Some(steering) => steering.bind_udp(worker, address, port),
            None => Ok(()),
        }
    }

    /// This worker wants nothing of a listener any more; others may, and the stack's own stays as it is.
    #[cfg(feature = "aio")]
    pub(crate) fn leave_listener(&mut self, address: Option<IpAddr>, port: u16) {
        if let Some(steering) = self.surroundings.steering {
            steering.leave_tcp(self.worker.number, address, port);
        }
    }

    /// Takes no more datagrams at a socket here; nobody does, and the XDP program neither, once no worker wants it.
    #[cfg(feature = "aio")]
    pub(crate) fn leave_udp(&mut self, id: UdpId) {
        if let (Some(steering), Some((address, port))) = (self.surroundings.steering, self.stack.udp_place(id)) {
            steering.leave_udp(self.worker.number, address, port);
        }
        self.stack.unbind_udp(id);
    }

    /// What wakes this worker from any thread; `None` where no worker drives the application.
    pub fn waker(&self) -> Option<Waker> {
        self.surroundings.handle.map(WorkerHandle::waker)
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

    /// Takes datagrams for `port`, at one address or at all of the stack's: here and, a moment later, on every other worker, because a
    /// datagram may come to any of them. The XDP program hands them over from now on, at shared addresses as well. Other workers name
    /// the socket by ids of their own, which [`Event::Datagram`] tells; where their applications bind it as well, they get that one.
    ///
    /// # Errors
    /// [`BindRefused`] says what to do. Nothing is taken there then that was not before.
    pub fn bind_udp(&mut self, address: Option<IpAddr>, port: u16) -> Result<UdpId, BindRefused> {
        let (worker, steering) = (self.worker.number, self.surroundings.steering);
        let id = match (self.stack.bind_udp(address, port), steering) {
            (Err(BindError::InUse(_)), Some(steering)) if steering.share_udp(worker, address, port) == Share::New => {
                self.stack.udp_socket_at(address, port).ok_or(BindError::InUse(port))?
            }
            (bound, None) => bound?,
            (bound, Some(steering)) => {
                let id = bound?;
                if let Err(refused) = steering.bind_udp(worker, address, port) {
                    self.stack.unbind_udp(id);
                    return Err(refused);
                }
                id
            }
        };
        self.note(Begun::Udp(id));
        Ok(id)
    }

    /// A UDP socket. One that is no longer bound receives nothing, and says so where something is sent.
    pub fn udp(&mut self, id: UdpId) -> Udp<'_> {
        self.stack.udp(self.now, id)
    }

    /// Takes no more datagrams at a socket: here, on every other worker and in the XDP program. Those that wait are lost.
    pub fn unbind_udp(&mut self, id: UdpId) {
        if let (Some(steering), Some((address, port))) = (self.surroundings.steering, self.stack.udp_place(id)) {
            steering.unbind_udp(self.worker.number, address, port);
        }
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
