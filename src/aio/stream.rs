//! Connections as streams.

use super::{
    current, error,
    halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
    reactor::{Later, Reactor},
    traits::{into_slice, reads, writes},
};
use crate::{
    stack::{ConnectionId, Stream},
    tcp::{CloseReason, TcpInfo},
    worker::Context,
};
use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

/// A connection, as the executor and its handles know it.
pub(super) struct Conn {
    id: ConnectionId,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
    /// Whether the handshake is over.
    is_open: Cell<bool>,
    /// How it has ended, once it has.
    end: Cell<Option<CloseReason>>,
    /// How many handles there are: a stream, or its halves.
    holders: Cell<u8>,
    linger: Cell<Option<Duration>>,
    /// Whether its last handle went with a task that panicked.
    is_lost: Cell<bool>,
    /// Whether both sides have been closed in another way than by dropping it.
    is_closed: Cell<bool>,
    reactor: Weak<Reactor>,
}

/// Leaves a waker, unless the one that is there does.
fn wait(place: &Cell<Option<Waker>>, task: &TaskContext<'_>) {
    let left = place.take().filter(|waker| waker.will_wake(task.waker()));
    place.set(Some(left.unwrap_or_else(|| task.waker().clone())));
}

impl Conn {
    pub fn new(reactor: &Rc<Reactor>, stream: &Stream<'_>, is_open: bool) -> Rc<Self> {
        Rc::new(Self {
            id: stream.id(),
            peer: stream.peer_addr(),
            local: stream.local_addr(),
            reader: Cell::default(),
            writer: Cell::default(),
            is_open: Cell::new(is_open),
            end: Cell::default(),
            holders: Cell::new(0),
            linger: Cell::default(),
            is_lost: Cell::default(),
            is_closed: Cell::default(),
            reactor: Rc::downgrade(reactor),
        })
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Something can be read, or written.
    pub fn wake(&self) {
        for place in [&self.reader, &self.writer] {
            if let Some(waker) = place.take() {
                waker.wake();
            }
        }
    }

    pub fn opened(&self) {
        self.is_open.set(true);
        self.wake();
    }

    pub fn ended(&self, reason: CloseReason) {
        self.end.set(Some(reason));
        self.wake();
    }

    /// How it has ended, once it has.
    pub fn end(&self) -> Option<CloseReason> {
        self.end.get()
    }

    /// Waits for its end, in a reader's place.
    pub fn poll_end(&self, task: &TaskContext<'_>) -> Poll<CloseReason> {
        self.end.get().map_or_else(
            || {
                wait(&self.reader, task);
                Poll::Pending
            },
            Poll::Ready,
        )
    }

    /// Whether the connection is open; nothing is to be read or written before.
    fn poll_opened(&self, task: &TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.end.get() {
            Some(reason) if !self.is_open.get() => Poll::Ready(Err(error::closed(reason))),
            _ if self.is_open.get() => Poll::Ready(Ok(())),
            _ => {
                wait(&self.writer, task);
                Poll::Pending
            }
        }
    }

    /// Looks at what has been received, where anything has or will no more: `look` is called with it, unless it is the end.
    fn poll_readable(
        &self,
        task: &TaskContext<'_>,
        look: impl FnOnce(&mut Stream<'_>) -> usize,
    ) -> Poll<io::Result<usize>> {
        current::context(|cx| {
            if let Some(mut stream) = cx.stream(self.id) {
                if stream.readable_len() > 0 {
                    return Poll::Ready(Ok(look(&mut stream)));
                }
                if stream.at_end() {
                    return Poll::Ready(Ok(0));
                }
            }
            match self.end.get() {
                Some(CloseReason::Finished) => Poll::Ready(Ok(0)),
                Some(reason) => Poll::Ready(Err(error::closed(reason))),
                None => {
                    wait(&self.reader, task);
                    Poll::Pending
                }
            }
        })
    }

    /// Hands up to `room` octets to `put`, piece by piece, from where they lie in the stack's ring.
    pub fn poll_read(
        &self,
        task: &TaskContext<'_>,
        room: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_readable(task, |stream| {
            let mut taken = 0;
            for piece in stream.readable_pieces() {
                let piece = &piece[..piece.len().min(room - taken)];
                put(piece);
                taken += piece.len();
            }
            stream.consume(taken);
            taken
        })
    }

    pub fn poll_peek(&self, task: &TaskContext<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_readable(task, |stream| {
            let mut seen = 0;
            for piece in stream.readable_pieces() {
                let length = piece.len().min(buffer.len() - seen);
                buffer[seen..seen + length].copy_from_slice(&piece[..length]);
                seen += length;
            }
            seen
        })
    }

    /// Copies as much of the pieces as there is room for into the stack's ring.
    pub fn poll_write<'a>(
        &self,
        task: &TaskContext<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        current::context(|cx| {
            if let Some(reason) = self.end.get() {
                return Poll::Ready(Err(error::closed(reason)));
            }
            let Some(mut stream) = cx.stream(self.id) else {
                // Its end is about to be told.
                wait(&self.writer, task);
                return Poll::Pending;
            };
            let mut written = 0;
            for piece in pieces.filter(|piece| !piece.is_empty()) {
                match Write::write(&mut stream, piece) {
                    Ok(length) => {
                        written += length;
                        if length < piece.len() {
                            break;
                        }
                    }
                    Err(_) if written > 0 => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        wait(&self.writer, task);
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(written))
        })
    }

    /// Closes our side; a connection that has ended has nothing to close.
    pub fn shutdown(&self) -> io::Result<()> {
        current::context(|cx| self.shutdown_in(cx));
        match self.end.get() {
            None | Some(CloseReason::Finished) => Ok(()),
            Some(reason) => Err(error::closed(reason)),
        }
    }

    fn shutdown_in(&self, cx: &mut Context<'_>) {
        if let Some(mut stream) = cx.stream(self.id) {
            stream.shutdown_write();
        }
    }

    /// Its writer has gone.
    pub fn shut(&self, cx: &mut Context<'_>) {
        if self.is_lost.get() { self.abort(cx) } else { self.shutdown_in(cx) }
    }

    pub fn with_stream<T>(&self, act: impl FnOnce(&mut Stream<'_>) -> T) -> io::Result<T> {
        let done = current::context(|cx| cx.stream(self.id).as_mut().map(act));
        done.ok_or_else(|| self.end.get().map_or(io::ErrorKind::NotConnected.into(), error::closed))
    }

    /// Counts so many octets as the connection's memory, beside its own. Without a context it is about to end, and nothing counts any more.
    pub fn keep(&self, octets: usize) {
        current::try_context(|cx| {
            if let Some(mut stream) = cx.stream(self.id) {
                stream.keep(octets);
            }
        });
    }

    /// Nobody holds it any more: closes it as it is to be closed.
    pub fn close(&self, cx: &mut Context<'_>) {
        let Some(mut stream) = cx.stream(self.id).filter(|_| !self.is_closed.get()) else { return };
        if !self.is_open.get() || self.is_lost.get() || self.linger.get() == Some(Duration::ZERO) {
            return stream.abort();
        }
        if let Some(limit) = self.linger.get() {
            stream.set_user_timeout(Some(limit));
        }
        stream.close();
    }

    pub fn abort(&self, cx: &mut Context<'_>) {
        if let Some(mut stream) = cx.stream(self.id) {
            stream.abort();
        }
    }
}

/// One of the handles of a connection; with the last one the connection is closed.
pub(super) struct Holder(Rc<Conn>);

impl Holder {
    pub fn of(conn: Rc<Conn>) -> Self {
        conn.holders.set(conn.holders.get() + 1);
        Self(conn)
    }

    pub fn another(&self) -> Self {
        Self::of(self.0.clone())
    }

    pub fn conn(&self) -> &Conn {
        &self.0
    }

    pub fn is_of(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Closes our side, now or as soon as there is a context. Where that is because a task has panicked, what was said is not all, and is not
    /// to look as if it were: the connection is reset.
    pub fn shutdown(&self) {
        let conn = &self.0;
        conn.is_lost.set(conn.is_lost.get() || current::is_after_a_panic());
        if current::try_context(|cx| conn.shut(cx)).is_none()
            && let Some(reactor) = conn.reactor.upgrade()
        {
            reactor.put_off(Later::Shut(conn.clone()));
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let Self(conn) = self;
        conn.is_lost.set(conn.is_lost.get() || current::is_after_a_panic());
        conn.holders.set(conn.holders.get() - 1);
        if conn.holders.get() > 0 {
            return;
        }
        drop((conn.reader.take(), conn.writer.take()));
        if current::try_context(|cx| conn.close(cx)).is_none()
            && let Some(reactor) = conn.reactor.upgrade()
        {
            reactor.put_off(Later::Close(conn.clone()));
        }
    }
}

/// A connection.
///
/// It implements the reading and writing of futures-io, of tokio and of hyper, without a buffer of its own: see
/// [cancel safety](super#cancel-safety). Dropped, it is closed: what was written is delivered; where data have come that nobody read, or
/// more come, the peer gets an RST. So whoever has said its last words to a peer that may still be sending calls
/// [`TcpStream::shutdown`] first and reads to the end, or uses [`TcpStream::close_discarding`].
pub struct TcpStream {
    pub(super) holder: Holder,
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conn { peer, local, .. } = self.holder.conn();
        f.debug_struct("TcpStream").field("local", local).field("peer", peer).finish()
    }
}

impl TcpStream {
    pub(super) fn new(holder: Holder) -> Self {
        Self { holder }
    }

    pub(super) fn conn(&self) -> &Conn {
        self.holder.conn()
    }

    fn receiving(&mut self) -> &Conn {
        self.conn()
    }

    fn sending(&mut self) -> &Conn {
        self.conn()
    }

    /// Opens a connection from the address that faces `remote`. Dropped before that is done, the attempt is given up.
    ///
    /// # Errors
    /// Of the kinds that sockets have, such as [`io::ErrorKind::ConnectionRefused`], [`io::ErrorKind::HostUnreachable`] and
    /// [`io::ErrorKind::TimedOut`], with a [`CloseReason`] or a [`ConnectError`](crate::ConnectError) within.
    ///
    /// # Panics
    /// Outside of tasks.
    pub async fn connect(remote: SocketAddr) -> io::Result<Self> {
        Self::connect_by(|cx| cx.connect(remote)).await
    }

    /// Opens a connection as [`TcpStream::connect`] does, from this address of the stack's.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect_from(local: IpAddr, remote: SocketAddr) -> io::Result<Self> {
        Self::connect_by(|cx| cx.connect_from(local, remote)).await
    }

    async fn connect_by(
        open: impl FnOnce(&mut Context<'_>) -> Result<ConnectionId, crate::ConnectError>,
    ) -> io::Result<Self> {
        let reactor = current::reactor();
        let conn = current::context(|cx| {
            let id = open(cx).map_err(error::connect)?;
            let stream = cx.stream(id).ok_or(io::ErrorKind::ConnectionAborted)?;
            io::Result::Ok(Conn::new(&reactor, &stream, false))
        })?;
        reactor.know(&conn);
        let stream = Self::new(Holder::of(conn));
        poll_fn(|task| stream.conn().poll_opened(task)).await?;
        Ok(stream)
    }

    /// Reads what has come into `buffer`; how many octets, zero at the end of the peer's data.
    ///
    /// # Errors
    /// Where the connection was reset or has timed out, with a [`CloseReason`] within.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|task| self.conn().poll_read(task, buffer.len(), into_slice(buffer))).await
    }

    /// Looks at what has come without taking it; how many octets, zero at the end of the peer's data.
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|task| self.conn().poll_peek(task, buffer)).await
    }

    /// Writes as much of `data` as there is room for; how many octets.
    ///
    /// # Errors
    /// As [`TcpStream::read`], and [`io::ErrorKind::BrokenPipe`] once our side is closed.
    pub async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        poll_fn(|task| self.conn().poll_write(task, std::iter::once(data))).await
    }

    /// Writes all of it. Dropped before that is done, it has written a part of it.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = &data[written..];
        }
        Ok(())
    }

    /// Closes our side: the peer sees the end once it has read what was written, and may go on sending (half-close).
    ///
    /// # Errors
    /// Where the connection has ended otherwise than in order.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.conn().shutdown()
    }

    /// Closes both sides, and throws away what comes still, so that a peer that is not done with sending gets to read our last words
    /// (RFC 9112 §9.6).
    pub fn close_discarding(self) {
        // One that has ended is closed.
        self.conn().is_closed.set(true);
        let _ = self.conn().with_stream(|stream| stream.close_discarding());
    }

    /// Ends the connection at once by an RST.
    pub fn abort(self) {
        let _ = self.conn().with_stream(|stream| stream.abort());
    }

    /// What is done with it when it is dropped. By default (`None`), what was written is delivered however long that takes within the
    /// stack's limits; with a time, what is not acknowledged for so long then is given up by an RST; with no time at all, the RST comes
    /// at once (SO_LINGER of other stacks, but that the drop itself never waits).
    pub fn set_linger(&self, linger: Option<Duration>) {
        self.conn().linger.set(linger);
    }

    /// What [`TcpStream::set_linger`] has set.
    pub fn linger(&self) -> Option<Duration> {
        self.conn().linger.get()
    }

    /// Switches Nagle's algorithm off, or on again (RFC 9293 MUST-17).
    ///
    /// # Errors
    /// Where the connection is no more.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.conn().with_stream(|stream| stream.set_nodelay(nodelay))
    }

    /// The address and port of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.conn().peer
    }

    /// Our own address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.conn().local
    }

    /// What TCP knows of the connection.
    ///
    /// # Errors
    /// Where the connection is no more.
    pub fn info(&self) -> io::Result<TcpInfo> {
        self.conn().with_stream(|stream| stream.info())
    }

    /// The connection's name, for what a [`Context`] can do with it.
    pub fn id(&self) -> ConnectionId {
        self.conn().id()
    }

    /// Two halves to be used side by side in one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf::new(self), WriteHalf::new(self))
    }

    /// Two halves for two tasks. The connection is closed when both are dropped, in whichever order.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let other = self.holder.another();
        (OwnedReadHalf::new(self.holder), OwnedWriteHalf::new(other))
    }
}

reads!(TcpStream);
writes!(TcpStream);
