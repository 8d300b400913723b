//! Halves of streams, and the reading and writing of other people's traits, for streams and halves alike.

use super::{
    TcpStream,
    stream::{Conn, Holder},
};
use hyper::rt::{self, ReadBufCursor};
use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};
use tokio::io::ReadBuf;

/// Puts pieces one behind the other into `buffer`, which is large enough.
pub(super) fn into_slice(buffer: &mut [u8]) -> impl FnMut(&[u8]) {
    let mut filled = 0;
    move |piece| {
        buffer[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
    }
}

/// The reading half of a stream that is borrowed: see [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing half of a stream that is borrowed: see [`TcpStream::split`].
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

impl<'a> ReadHalf<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self(stream)
    }

    fn conn(&self) -> &Conn {
        self.0.holder.conn()
    }
}

impl<'a> WriteHalf<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self(stream)
    }

    fn conn(&self) -> &Conn {
        self.0.holder.conn()
    }
}

/// The reading half of a stream. Dropped, it leaves the writing half as it is.
pub struct OwnedReadHalf {
    holder: Holder,
}

/// The writing half of a stream. Dropped, it closes our side: the peer sees the end once it has read what was written.
pub struct OwnedWriteHalf {
    holder: Holder,
    closes: bool,
}

/// Two halves are not of one stream.
#[derive(Debug, thiserror::Error)]
#[error("these are halves of two connections; reunite those that one `into_split` has made")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl OwnedReadHalf {
    pub(super) fn new(holder: Holder) -> Self {
        Self { holder }
    }

    fn conn(&self) -> &Conn {
        self.holder.conn()
    }

    /// Makes one stream of both halves again.
    ///
    /// # Errors
    /// [`ReuniteError`] gives them back where they are not of one stream.
    pub fn reunite(self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !self.holder.is_of(&write.holder) {
            return Err(ReuniteError(self, write));
        }
        write.closes = false;
        Ok(TcpStream::new(self.holder))
    }
}

impl OwnedWriteHalf {
    pub(super) fn new(holder: Holder) -> Self {
        Self { holder, closes: true }
    }

    fn conn(&self) -> &Conn {
        self.holder.conn()
    }

    /// Closes our side: see [`TcpStream::shutdown`].
    ///
    /// # Errors
    /// Where the connection has ended otherwise than in order.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.conn().shutdown()
    }

    /// Lets it go without closing our side before the other half is dropped.
    pub fn forget(mut self) {
        self.closes = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.closes {
            self.holder.shutdown();
        }
    }
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedReadHalf").field(&self.peer_addr()).finish()
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedWriteHalf").field(&self.peer_addr()).finish()
    }
}

macro_rules! reads {
    ($type:ty) => {
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.conn().poll_read(task, buffer.len(), into_slice(buffer))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let room = buffers.iter().map(|buffer| buffer.len()).sum();
                let mut left = buffers;
                self.conn().poll_read(task, room, |mut piece| {
                    while let Some(buffer) = left.first_mut().filter(|_| !piece.is_empty()) {
                        let length = piece.len().min(buffer.len());
                        buffer[..length].copy_from_slice(&piece[..length]);
                        piece = &piece[length..];
                        IoSliceMut::advance_slices(&mut left, length);
                    }
                })
            }
        }

        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buffer.remaining();
                self.conn().poll_read(task, room, |piece| buffer.put_slice(piece)).map_ok(drop)
            }
        }

        impl rt::Read for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                mut buffer: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buffer.remaining();
                self.conn().poll_read(task, room, |piece| buffer.put_slice(piece)).map_ok(drop)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl futures_io::AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, task: &mut TaskContext<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                self.conn().poll_write(task, std::iter::once(data))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.conn().poll_write(task, pieces.iter().map(|piece| &**piece))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.conn().shutdown())
            }
        }

        writes!(tokio::io::AsyncWrite, $type);
        writes!(rt::Write, $type);
    };
    // The two that have the methods in common.
    ($writes:path, $type:ty) => {
        impl $writes for $type {
            fn poll_write(self: Pin<&mut Self>, task: &mut TaskContext<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                self.conn().poll_write(task, std::iter::once(data))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                task: &mut TaskContext<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.conn().poll_write(task, pieces.iter().map(|piece| &**piece))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Nothing: what was written is sent with the batch.
            fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.conn().shutdown())
            }
        }
    };
}

macro_rules! read_methods {
    ($type:ty) => {
        impl $type {
            /// Reads what has come into `buffer`: see [`TcpStream::read`].
            ///
            /// # Errors
            /// As [`TcpStream::read`].
            pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                poll_fn(|task| self.conn().poll_read(task, buffer.len(), into_slice(buffer))).await
            }

            /// Looks at what has come without taking it: see [`TcpStream::peek`].
            ///
            /// # Errors
            /// As [`TcpStream::read`].
            pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                poll_fn(|task| self.conn().poll_peek(task, buffer)).await
            }

            /// The address and port of the other end.
            pub fn peer_addr(&self) -> SocketAddr {
                self.conn().peer
            }
        }
    };
}

macro_rules! write_methods {
    ($type:ty) => {
        impl $type {
            /// Writes as much of `data` as there is room for: see [`TcpStream::write`].
            ///
            /// # Errors
            /// As [`TcpStream::write`].
            pub async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                poll_fn(|task| self.conn().poll_write(task, std::iter::once(data))).await
            }

            /// Writes all of it: see [`TcpStream::write_all`].
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

            /// The address and port of the other end.
            pub fn peer_addr(&self) -> SocketAddr {
                self.conn().peer
            }
        }
    };
}

reads!(TcpStream);
writes!(TcpStream);
reads!(OwnedReadHalf);
writes!(OwnedWriteHalf);
reads!(ReadHalf<'_>);
writes!(WriteHalf<'_>);
read_methods!(OwnedReadHalf);
write_methods!(OwnedWriteHalf);
read_methods!(ReadHalf<'_>);
write_methods!(WriteHalf<'_>);
