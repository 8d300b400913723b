//! The stack's connections in the hands of other threads, and of any runtime: `Send` streams and listeners.
//!
//! A connection stays on its worker, where a task carries its octets between the stack and two rings, one each way; the far end of them
//! is a [`RemoteStream`]. No lock is taken on the way. Whoever waits is woken, which costs a system call only where it sleeps. A ring
//! that is full holds its writer up: to the peer that is a window that closes, to us a write that waits.
//!
//! ```no_run
//! # async fn run(router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! use xskip::{Server, runtime::StopSignals};
//!
//! let signals = StopSignals::catch()?;
//! let (running, remote) = Server::on("veth0").address("198.18.0.1/24".parse()?).start_remote()?;
//! let listener = remote.bind(80).await?;
//! let stack = std::thread::spawn(move || running.until(signals));
//! # #[cfg(feature = "axum")]
//! axum::serve(listener, router).with_graceful_shutdown(remote.draining()).await?;
//! # #[cfg(not(feature = "axum"))]
//! # drop(router);
//! stack.join().expect("a thread that waits")?;
//! # Ok(())
//! # }
//! ```
//!
//! Where it can be had, a task on the worker itself ([`aio`](crate::aio)) is faster: nothing crosses threads there. This is for software
//! that wants its own runtime.
//!
//! # Which end goes first
//!
//! Where the stack ends first, streams say so ([`Ended`]) once what had come is read. Before that it drains, and
//! [`Remote::draining`] is ready: above, a signal has the stack drain, axum comes to its end with the last connection, and those that
//! stall are reset when the stack's drain is over. Where a runtime is shut down first, its streams are
//! dropped and so closed. A task that panics resets the connections that it held.

mod dispatch;
mod link;
mod listener;
mod pump;
mod stream;

pub use self::{
    listener::{Incoming, RemoteListener},
    stream::{RemoteReadHalf, RemoteReuniteError, RemoteStream, RemoteWriteHalf},
};

use self::dispatch::Request;
use super::{Aio, BindAddr, DEFAULT_BACKLOG};
use crate::{
    runtime::{Running, Runtime, RuntimeError},
    server::Server,
};
use async_channel::{Receiver, Sender};
use crossbeam::channel;
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Octets of each of a connection's two rings, unless it is told otherwise. In time all of a ring is used, however little waits in it, so
/// a large one takes its memory and its part of a cache; what is sent in bulk is sent in larger pieces by it.
pub const DEFAULT_RING: usize = 16 << 10;

/// The largest ring, octets.
pub const MAX_RING: usize = 16 << 20;

/// Connections that wait to be accepted by another thread at most; more wait at the workers' own listeners, for [`DEFAULT_BACKLOG`] each.
const BACKLOG: usize = DEFAULT_BACKLOG;

/// All workers have ended, or the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stack has ended; keep its `Running` for as long as its streams are used")]
pub struct Ended;

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, ended)
    }
}

/// Where other threads get at a stack's listeners and connections. Clones are the same.
#[derive(Clone)]
pub struct Remote {
    workers: Arc<[Sender<Request>]>,
    /// Whose turn it is to open a connection.
    turn: Arc<AtomicUsize>,
    drains: Receiver<Infallible>,
    ring: usize,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("workers", &self.workers.len()).field("ring", &self.ring).finish()
    }
}

impl Remote {
    /// Has rings of so many octets, at least one and no more than [`MAX_RING`], each way for each connection that is opened or accepted from
    /// now on by way of what is returned; [`DEFAULT_RING`] where nothing is said. They count as the connection's memory
    /// ([`StackConfig::memory`](crate::config::StackConfig::memory)).
    #[must_use]
    pub fn with_ring(&self, octets: usize) -> Self {
        Self { ring: octets.clamp(1, MAX_RING), ..self.clone() }
    }

    /// Listens there, on every worker: on a port, at one address or at all of the stack's.
    ///
    /// # Errors
    /// As [`TcpListener::bind`](crate::aio::TcpListener::bind), and [`Ended`]. Nobody listens there then who did not before.
    pub async fn bind(&self, place: impl Into<BindAddr>) -> io::Result<RemoteListener> {
        let place = place.into();
        let ((give, accepted), (done, told)) = (async_channel::bounded(BACKLOG), async_channel::unbounded());
        for worker in &*self.workers {
            let request = Request::Bind { place, ring: self.ring, accepted: give.clone(), done: done.clone() };
            worker.send(request).await.map_err(|_| Ended)?;
        }
        drop((give, done));
        for _ in &*self.workers {
            told.recv().await.map_err(|_| Ended)??;
        }
        Ok(RemoteListener::new(place, accepted))
    }

    /// Opens a connection from the address that faces `remote`, on one worker or another in turn. Dropped before that is done, the
    /// attempt is given up.
    ///
    /// # Errors
    /// As [`TcpStream::connect`](crate::aio::TcpStream::connect), and [`Ended`].
    pub async fn connect(&self, remote: SocketAddr) -> io::Result<RemoteStream> {
        self.open(None, remote).await
    }

    /// Opens a connection as [`Remote::connect`] does, from this address of the stack's.
    ///
    /// # Errors
    /// As [`Remote::connect`].
    pub async fn connect_from(&self, local: IpAddr, remote: SocketAddr) -> io::Result<RemoteStream> {
        self.open(Some(local), remote).await
    }

    async fn open(&self, local: Option<IpAddr>, remote: SocketAddr) -> io::Result<RemoteStream> {
        let (done, connected) = async_channel::bounded(1);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.workers.len()).ok_or(Ended)?;
        self.workers[turn].send(Request::Connect { local, remote, ring: self.ring, done }).await.map_err(|_| Ended)?;
        let stream = connected.recv().await.map_err(|_| Ended)??;
        stream.take().ok_or_else(|| Ended.into())
    }

    /// Ready once the stack is told to end, or has ended: for `with_graceful_shutdown` and the like.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        let drains = self.drains.clone();
        async move {
            // Nothing is ever sent; what ends this is that no sender is left.
            let _ = drains.recv().await;
        }
    }
}

/// Where a worker's requests come from, with a main future that does what they ask: for a stack that is driven by hand.
#[cfg(test)]
pub(super) fn by_hand() -> (Remote, impl Future<Output = ()>) {
    let ((ask, asked), (told_to_end, drains)) = (dispatch::requests(), async_channel::bounded(1));
    let remote = Remote { workers: [ask].into(), turn: Arc::default(), drains, ring: DEFAULT_RING };
    (remote, dispatch::serve(asked, told_to_end))
}

impl Runtime {
    /// Starts workers whose listeners and connections other threads have: see [`aio::remote`](crate::aio::remote).
    ///
    /// # Errors
    /// [`RuntimeError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start_remote(&self) -> Result<(Running, Remote), RuntimeError> {
        let ((tell, told), (told_to_end, drains)) = (channel::unbounded(), async_channel::bounded(1));
        let running = self.start(move |cx| {
            let ((ask, asked), drains) = (dispatch::requests(), told_to_end.clone());
            // Whoever starts waits for it below.
            let _ = tell.send(ask);
            Aio::new(cx, move || dispatch::serve(asked, drains))
        })?;
        // Until no worker can tell any more: each has then, or has failed before it could.
        let workers = told.iter().collect();
        Ok((running, Remote { workers, turn: Arc::default(), drains, ring: DEFAULT_RING }))
    }
}

impl Server {
    /// Starts workers whose listeners and connections other threads have: see [`aio::remote`](crate::aio::remote).
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_remote(&self) -> Result<(Running, Remote), RuntimeError> {
        self.runtime.start_remote()
    }
}
