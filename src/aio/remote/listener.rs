//! Listeners that any thread may have.

use super::{Ended, RemoteStream, stream::Untaken};
use crate::aio::BindAddr;
use async_channel::Receiver;
use futures_core::Stream;
use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

/// Accepts connections to a port, whichever worker they come to. Dropped, it listens no more, and connections that nobody has accepted
/// are reset; those that were accepted go on.
pub struct RemoteListener {
    place: BindAddr,
    accepted: Receiver<Untaken>,
}

impl fmt::Debug for RemoteListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteListener").field(&self.place).finish()
    }
}

impl RemoteListener {
    pub(super) fn new(place: BindAddr, accepted: Receiver<Untaken>) -> Self {
        Self { place, accepted }
    }

    /// Waits for a connection; who opened it comes with it. Those that wait when this future is dropped are there for the next. Any
    /// number of tasks may wait; each connection goes to one of them.
    ///
    /// # Errors
    /// [`Ended`], wrapped, once all workers have ended.
    pub async fn accept(&self) -> io::Result<(RemoteStream, SocketAddr)> {
        let stream = self.accepted.recv().await.ok().and_then(Untaken::take).ok_or(Ended)?;
        let peer = stream.peer_addr();
        Ok((stream, peer))
    }

    /// The connections as they come: a [`Stream`] that ends once all workers have.
    pub fn incoming(self) -> Incoming {
        Incoming(Box::pin(self.accepted))
    }

    /// Where it listens; `[::]` where that is at all addresses of the stack's, of both IP versions.
    pub fn local_addr(&self) -> SocketAddr {
        (self.place.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), self.place.port).into()
    }
}

/// The connections of a listener: see [`RemoteListener::incoming`].
pub struct Incoming(Pin<Box<Receiver<Untaken>>>);

impl Stream for Incoming {
    type Item = io::Result<RemoteStream>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(task).map(|stream| stream.and_then(Untaken::take).map(Ok))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("waiting", &self.0.len()).finish()
    }
}

/// For `axum::serve`. Where all workers have ended nothing comes any more, and nothing is said: see
/// [`Remote::draining`](super::Remote::draining) for the graceful end.
#[cfg(feature = "axum")]
impl axum::serve::Listener for RemoteListener {
    type Io = RemoteStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match Self::accept(self).await {
            Ok(accepted) => accepted,
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Self::local_addr(self))
    }
}
