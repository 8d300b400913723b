//! Halves of streams.

use super::{
    TcpStream,
    stream::{Conn, Holder},
    traits::{read_methods, reads, write_methods, writes},
};
use std::{fmt, io, net::SocketAddr};

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

/// The address and port of the other end, and what does the reading or the writing.
macro_rules! half {
    ($type:ty, $does:ident) => {
        impl $type {
            /// The address and port of the other end.
            pub fn peer_addr(&self) -> SocketAddr {
                self.conn().peer
            }

            fn $does(&mut self) -> &Conn {
                self.conn()
            }
        }
    };
}

half!(OwnedReadHalf, receiving);
half!(OwnedWriteHalf, sending);
half!(ReadHalf<'_>, receiving);
half!(WriteHalf<'_>, sending);
reads!(OwnedReadHalf);
writes!(OwnedWriteHalf);
reads!(ReadHalf<'_>);
writes!(WriteHalf<'_>);
read_methods!(OwnedReadHalf);
write_methods!(OwnedWriteHalf);
read_methods!(ReadHalf<'_>);
write_methods!(WriteHalf<'_>);
