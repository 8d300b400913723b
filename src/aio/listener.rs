//! Listeners.

use super::{
    TcpStream, current, error,
    reactor::{Later, Reactor},
    stream::{Conn, Holder},
};
use crate::{
    stack::ListenError,
    time::Instant,
    worker::{Context, ListenRefused},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    task::{Context as TaskContext, Poll, Waker},
};

/// Connections that wait to be accepted at one listener at most, unless it is told otherwise (SOMAXCONN of Linux is 4,096).
pub const DEFAULT_BACKLOG: usize = 1_024;

/// Where to listen, or to take datagrams: a port, at one address or at all of the stack's. Made of a port, of an address and a port, or of
/// a [`SocketAddr`], whose unspecified address (`0.0.0.0`, `::`) means all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddr {
    /// The address; `None` for all of the stack's.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl From<u16> for BindAddr {
    fn from(port: u16) -> Self {
        Self { address: None, port }
    }
}

impl From<(IpAddr, u16)> for BindAddr {
    fn from((address, port): (IpAddr, u16)) -> Self {
        Self { address: Some(address).filter(|address| !address.is_unspecified()), port }
    }
}

impl From<SocketAddr> for BindAddr {
    fn from(place: SocketAddr) -> Self {
        (place.ip(), place.port()).into()
    }
}

/// Tasks that wait for the same thing. All are woken for it: one alone might be about to do something else.
#[derive(Default)]
pub(super) struct Waiters(RefCell<Vec<Waker>>);

impl Waiters {
    pub fn wait(&self, task: &TaskContext<'_>) {
        let mut waiting = self.0.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(task.waker())) {
            waiting.push(task.waker().clone());
        }
    }

    pub fn wake(&self) {
        // Kept for its memory; whoever is woken may wait here again.
        let mut waiting = self.0.take();
        waiting.drain(..).for_each(Waker::wake);
        let mut since = self.0.borrow_mut();
        if since.is_empty() {
            *since = waiting;
        }
    }
}

/// Connections that wait to be accepted.
pub(super) struct Backlog {
    waiting: RefCell<VecDeque<Rc<Conn>>>,
    limit: Cell<usize>,
    acceptors: Waiters,
    /// Where somebody listens; `None` as long as only the stack does.
    place: Cell<Option<BindAddr>>,
    /// Until when what waits meanwhile does.
    claim_by: Cell<Option<Instant>>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            waiting: RefCell::default(),
            limit: Cell::new(DEFAULT_BACKLOG),
            acceptors: Waiters::default(),
            place: Cell::default(),
            claim_by: Cell::default(),
        }
    }
}

impl Backlog {
    pub fn is_full(&self) -> bool {
        self.waiting.borrow().len() >= self.limit.get()
    }

    pub fn push(&self, conn: Rc<Conn>) {
        self.waiting.borrow_mut().push_back(conn);
        self.acceptors.wake();
    }

    pub fn place(&self) -> Option<BindAddr> {
        self.place.get()
    }

    pub fn claim_by(&self) -> Option<Instant> {
        self.claim_by.get()
    }

    pub fn set_claim_by(&self, due: Instant) {
        self.claim_by.set(Some(due));
    }

    pub fn drain(&self) -> impl Iterator<Item = Rc<Conn>> {
        self.waiting.take().into_iter()
    }
}

/// Accepts connections to a port. Dropped, it accepts no more, and connections that nobody has accepted are reset; those that were accepted
/// go on.
///
/// Any worker may be the one that a flow belongs to, so all of them listen once one does, and each should have a listener of its own: a
/// main future that binds does just that. Where a worker's has been dropped and others' have not, whoever comes to that worker is refused by
/// an RST; with the last one the server's programs serve the port no longer.
///
/// A port that was given to [`Server::port`](crate::Server::port) is listened on from the start, and binding to it takes over what has come. A
/// worker that has not bound it ten seconds after the first connection resets what waits there, and what comes until it has
/// ([`Stats::unclaimed`](super::Stats::unclaimed)).
pub struct TcpListener {
    place: BindAddr,
    backlog: Rc<Backlog>,
    reactor: Weak<Reactor>,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.place).finish()
    }
}

impl TcpListener {
    /// Listens there: on a port, at one address or at all of the stack's.
    ///
    /// # Errors
    /// [`ListenRefused`], wrapped, says what to do; [`io::ErrorKind::AddrInUse`] where this worker has a listener there.
    ///
    /// # Panics
    /// Outside of tasks.
    pub fn bind(place: impl Into<BindAddr>) -> io::Result<Self> {
        let (reactor, place) = (current::reactor(), place.into());
        let is_known = |id| reactor.listeners.borrow().get(&id).is_some_and(|backlog| backlog.place().is_some());
        let bind = |cx: &mut Context<'_>| match cx.listen(place.address, place.port) {
            // Since the start, or because another worker does.
            Err(ListenRefused::Stack(ListenError::Twice { listener, .. })) if !is_known(listener) => {
                cx.share_listener(place.address, place.port).map(|()| listener)
            }
            bound => bound,
        };
        let id = current::context(bind).map_err(error::listen)?;
        let backlog = reactor.listeners.borrow_mut().entry(id).or_default().clone();
        backlog.place.set(Some(place));
        Ok(Self { place, backlog, reactor: Rc::downgrade(&reactor) })
    }

    /// Lets so many connections wait to be accepted; more are reset. [`DEFAULT_BACKLOG`] where nothing is said.
    pub fn set_backlog(&self, connections: usize) {
        self.backlog.limit.set(connections);
    }

    /// Waits for a connection; who opened it comes with it. Those that wait when this future is dropped are there for the next.
    ///
    /// # Errors
    /// None, as of now: what ends between handshake and acceptance says so when it is read.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|task| self.poll_accept(task)).await
    }

    /// Takes a connection, if there is one: see [`TcpListener::accept`]. All who ask are woken.
    pub fn poll_accept(&self, task: &mut TaskContext<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match self.backlog.waiting.borrow_mut().pop_front() {
            Some(conn) => {
                let stream = TcpStream::new(Holder::of(conn));
                let peer = stream.peer_addr();
                Poll::Ready(Ok((stream, peer)))
            }
            None => {
                self.backlog.acceptors.wait(task);
                Poll::Pending
            }
        }
    }

    /// The connections as they come.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> BindAddr {
        self.place
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let Some(reactor) = self.reactor.upgrade() else { return };
        if current::try_context(|cx| reactor.unlisten(&self.backlog, cx)).is_none() {
            reactor.put_off(Later::Unlisten(self.backlog.clone()));
        }
    }
}

/// The connections of a listener, one after the other: see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a>(&'a TcpListener);

impl Incoming<'_> {
    /// The next one; there always is, sooner or later.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub async fn next(&mut self) -> io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }
}
