//! Connections as streams that any thread may have.

use super::{
    Ended,
    link::{End, Link, wish},
};
use crate::{
    aio::traits::{read_methods, reads, write_methods, writes},
    tcp::TcpInfo,
};
use rtrb::{Consumer, Producer};
use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

/// What the reading is done by: the far end of the ring.
struct Receiving {
    ring: Consumer<u8>,
    link: Arc<Link>,
}

impl Receiving {
    /// Hands up to `room` octets to `put`, where any have come.
    fn take(&mut self, room: usize, put: &mut impl FnMut(&[u8])) -> Option<usize> {
        let length = self.ring.slots().min(room);
        let chunk = self.ring.read_chunk(length).ok().filter(|chunk| !chunk.is_empty())?;
        let (first, second) = chunk.as_slices();
        put(first);
        put(second);
        chunk.commit_all();
        self.link.room.wake();
        Some(length)
    }

    /// Looks with `look`, where anything has come or will no more.
    fn poll(
        &mut self,
        task: &Context<'_>,
        mut look: impl FnMut(&mut Self) -> Option<usize>,
    ) -> Poll<io::Result<usize>> {
        if let Some(length) = look(self) {
            return Poll::Ready(Ok(length));
        }
        self.link.reader.register(task.waker());
        // Whatever came before the end is in the ring when the end is seen.
        let end = self.link.end_of_reading();
        match (look(self), end) {
            (Some(length), _) => Poll::Ready(Ok(length)),
            (None, Some(end)) => Poll::Ready(end),
            (None, None) => Poll::Pending,
        }
    }

    fn poll_read(&mut self, task: &Context<'_>, room: usize, mut put: impl FnMut(&[u8])) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll(task, |receiving| receiving.take(room, &mut put))
    }

    fn poll_peek(&mut self, task: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll(task, |receiving| {
            let length = receiving.ring.slots().min(buffer.len());
            let chunk = receiving.ring.read_chunk(length).ok().filter(|chunk| !chunk.is_empty())?;
            let (first, second) = chunk.as_slices();
            buffer[..first.len()].copy_from_slice(first);
            buffer[first.len()..length].copy_from_slice(second);
            Some(length)
        })
    }
}

/// What the writing is done by.
struct Sending {
    ring: Producer<u8>,
    link: Arc<Link>,
    is_shut: bool,
}

impl Sending {
    fn poll_write<'a>(
        &mut self,
        task: &Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if let Some(end) = self.link.end() {
            return Poll::Ready(Err(end.error()));
        }
        if self.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut pieces = pieces.filter(|piece| !piece.is_empty()).peekable();
        if pieces.peek().is_none() {
            return Poll::Ready(Ok(0));
        }
        if self.ring.is_full() {
            self.link.writer.register(task.waker());
            if let Some(end) = self.link.end() {
                return Poll::Ready(Err(end.error()));
            }
            if self.ring.is_full() {
                return Poll::Pending;
            }
        }
        let mut written = 0;
        for piece in pieces {
            let (pushed, rest) = self.ring.push_partial_slice(piece);
            written += pushed.len();
            if !rest.is_empty() {
                break;
            }
        }
        self.link.worker.wake();
        Poll::Ready(Ok(written))
    }

    fn shutdown(&mut self) -> io::Result<()> {
        if !self.is_shut {
            self.is_shut = true;
            self.link.wish(wish::SHUT);
        }
        match self.link.end() {
            None => Ok(()),
            Some(end) => end.in_order(),
        }
    }
}

/// The reading half of a [`RemoteStream`]. Dropped, it leaves the writing half as it is.
pub struct RemoteReadHalf(Receiving);

/// The writing half of a [`RemoteStream`]. Dropped, it closes our side: the peer sees the end once it has read what was written.
pub struct RemoteWriteHalf(Sending);

/// A connection of the stack's in the hands of any thread, and of any runtime.
///
/// It reads and writes by the traits of futures-io, tokio and hyper, as [`TcpStream`](crate::aio::TcpStream) does on the connection's
/// worker, and ends as that does when it is dropped. Any future of it may be dropped at any time without losing an octet: what was not
/// read stays in the ring, and a write says what it has taken.
pub struct RemoteStream {
    read: RemoteReadHalf,
    write: RemoteWriteHalf,
}

/// Two halves are not of one stream.
#[derive(Debug, thiserror::Error)]
#[error("these are halves of two connections; reunite those that one `into_split` has made")]
pub struct RemoteReuniteError(pub RemoteReadHalf, pub RemoteWriteHalf);

impl RemoteStream {
    pub(super) fn new(link: Arc<Link>, received: Consumer<u8>, sent: Producer<u8>) -> Self {
        let read = RemoteReadHalf(Receiving { ring: received, link: link.clone() });
        Self { read, write: RemoteWriteHalf(Sending { ring: sent, link, is_shut: false }) }
    }

    fn receiving(&mut self) -> &mut Receiving {
        &mut self.read.0
    }

    fn sending(&mut self) -> &mut Sending {
        &mut self.write.0
    }

    fn link(&self) -> &Arc<Link> {
        &self.read.0.link
    }

    /// The address and port of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.link().peer
    }

    /// Our own address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.link().local
    }

    /// Closes our side: see [`TcpStream::shutdown`](crate::aio::TcpStream::shutdown).
    ///
    /// # Errors
    /// Where the connection has ended otherwise than in order.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.sending().shutdown()
    }

    /// Closes both sides, and throws away what comes still: see
    /// [`TcpStream::close_discarding`](crate::aio::TcpStream::close_discarding).
    pub fn close_discarding(self) {
        self.link().wish(wish::DISCARD);
    }

    /// Ends the connection by an RST, whatever is still to be sent.
    pub fn abort(self) {
        self.link().wish(wish::ABORT);
    }

    /// Switches Nagle's algorithm off, or on again (RFC 9293 MUST-17), before anything is sent that is written from now on.
    ///
    /// # Errors
    /// Where the connection is no more.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.link().send_on(|errands| errands.nodelay = Some(nodelay))
    }

    /// What is done with it when it is dropped: see [`TcpStream::set_linger`](crate::aio::TcpStream::set_linger).
    ///
    /// # Errors
    /// Where the connection is no more.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.link().send_on(|errands| errands.linger = Some(linger))
    }

    /// What TCP knows of the connection; its worker is asked.
    ///
    /// # Errors
    /// Where the connection is no more.
    pub fn info(&self) -> impl Future<Output = io::Result<TcpInfo>> + Send + use<> {
        let link = self.link().clone();
        async move {
            let (tell, told) = async_channel::bounded(1);
            link.send_on(|errands| {
                // Of those who have given up, nobody is told.
                errands.infos.retain(|ask| !ask.is_closed());
                errands.infos.push(tell);
            })?;
            let gone = || Err(link.end().map_or_else(|| Ended.into(), End::error));
            told.recv().await.unwrap_or_else(|_| gone())
        }
    }

    /// Two halves for two tasks, or threads. The connection is closed when both are dropped, in whichever order.
    pub fn into_split(self) -> (RemoteReadHalf, RemoteWriteHalf) {
        (self.read, self.write)
    }
}

/// A stream on its way to somebody. Where nobody takes it, its connection is reset.
pub(super) struct Untaken(Option<RemoteStream>);

impl Untaken {
    pub fn new(stream: RemoteStream) -> Self {
        Self(Some(stream))
    }

    pub fn take(mut self) -> Option<RemoteStream> {
        self.0.take()
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(RemoteStream::abort);
    }
}

impl RemoteReadHalf {
    fn receiving(&mut self) -> &mut Receiving {
        &mut self.0
    }

    /// Makes one stream of both halves again.
    ///
    /// # Errors
    /// [`RemoteReuniteError`] gives them back where they are not of one stream.
    pub fn reunite(self, write: RemoteWriteHalf) -> Result<RemoteStream, RemoteReuniteError> {
        if !Arc::ptr_eq(&self.0.link, &write.0.link) {
            return Err(RemoteReuniteError(self, write));
        }
        Ok(RemoteStream { read: self, write })
    }

    /// The address and port of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.link.peer
    }
}

impl RemoteWriteHalf {
    fn sending(&mut self) -> &mut Sending {
        &mut self.0
    }

    /// Closes our side: see [`RemoteStream::shutdown`].
    ///
    /// # Errors
    /// Where the connection has ended otherwise than in order.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown()
    }

    /// The address and port of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.link.peer
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        drop(self.link.reader.take());
        self.link.wish(wish::READER_GONE | after_a_panic());
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        drop(self.link.writer.take());
        self.link.wish(wish::WRITER_GONE | after_a_panic());
    }
}

/// A stream that goes with a panic is not to look as if everything had been said.
fn after_a_panic() -> u8 {
    if thread::panicking() { wish::ABORT } else { 0 }
}

macro_rules! named {
    ($($type:ident)*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.peer_addr()).finish()
            }
        }
    )*};
}

named!(RemoteStream RemoteReadHalf RemoteWriteHalf);
reads!(RemoteStream);
writes!(RemoteStream);
reads!(RemoteReadHalf);
writes!(RemoteWriteHalf);
read_methods!(RemoteStream);
write_methods!(RemoteStream);
read_methods!(RemoteReadHalf);
write_methods!(RemoteWriteHalf);
