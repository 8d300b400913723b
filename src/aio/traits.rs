//! The reading and writing of other people's traits, for streams and halves alike, of this thread and of others.
//!
//! Whatever reads has a `receiving`, and whatever writes a `sending`, that does it.

/// Puts pieces one behind the other into `buffer`, which is large enough.
pub(super) fn into_slice(buffer: &mut [u8]) -> impl FnMut(&[u8]) {
    let mut filled = 0;
    move |piece| {
        buffer[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
    }
}

macro_rules! reads {
    ($type:ty) => {
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.receiving().poll_read(task, buffer.len(), $crate::aio::traits::into_slice(buffer))
            }

            fn poll_read_vectored(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let room = buffers.iter().map(|buffer| buffer.len()).sum();
                let mut left = buffers;
                self.receiving().poll_read(task, room, |mut piece| {
                    while let Some(buffer) = left.first_mut().filter(|_| !piece.is_empty()) {
                        let length = piece.len().min(buffer.len());
                        buffer[..length].copy_from_slice(&piece[..length]);
                        piece = &piece[length..];
                        std::io::IoSliceMut::advance_slices(&mut left, length);
                    }
                })
            }
        }

        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let room = buffer.remaining();
                self.receiving().poll_read(task, room, |piece| buffer.put_slice(piece)).map_ok(drop)
            }
        }

        impl hyper::rt::Read for $type {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                mut buffer: hyper::rt::ReadBufCursor<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let room = buffer.remaining();
                self.receiving().poll_read(task, room, |piece| buffer.put_slice(piece)).map_ok(drop)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl futures_io::AsyncWrite for $type {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                data: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.sending().poll_write(task, std::iter::once(data))
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                pieces: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.sending().poll_write(task, pieces.iter().map(|piece| &**piece))
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(self.sending().shutdown())
            }
        }

        writes!(tokio::io::AsyncWrite, $type);
        writes!(hyper::rt::Write, $type);
    };
    // The two that have the methods in common.
    ($writes:path, $type:ty) => {
        impl $writes for $type {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                data: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.sending().poll_write(task, std::iter::once(data))
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
                pieces: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.sending().poll_write(task, pieces.iter().map(|piece| &**piece))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Nothing: what was written is sent with the batch.
            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(self.sending().shutdown())
            }
        }
    };
}

macro_rules! read_methods {
    ($type:ty) => {
        impl $type {
            /// Reads what has come into `buffer`: see [`TcpStream::read`](crate::aio::TcpStream::read).
            ///
            /// # Errors
            /// As [`TcpStream::read`](crate::aio::TcpStream::read).
            pub async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|task| {
                    self.receiving().poll_read(task, buffer.len(), $crate::aio::traits::into_slice(buffer))
                })
                .await
            }

            /// Looks at what has come without taking it: see [`TcpStream::peek`](crate::aio::TcpStream::peek).
            ///
            /// # Errors
            /// As [`TcpStream::read`](crate::aio::TcpStream::read).
            pub async fn peek(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|task| self.receiving().poll_peek(task, buffer)).await
            }
        }
    };
}

macro_rules! write_methods {
    ($type:ty) => {
        impl $type {
            /// Writes as much of `data` as there is room for: see [`TcpStream::write`](crate::aio::TcpStream::write).
            ///
            /// # Errors
            /// As [`TcpStream::write`](crate::aio::TcpStream::write).
            pub async fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
                std::future::poll_fn(|task| self.sending().poll_write(task, std::iter::once(data))).await
            }

            /// Writes all of it: see [`TcpStream::write_all`](crate::aio::TcpStream::write_all).
            ///
            /// # Errors
            /// As [`TcpStream::write`](crate::aio::TcpStream::write).
            pub async fn write_all(&mut self, mut data: &[u8]) -> std::io::Result<()> {
                while !data.is_empty() {
                    let written = self.write(data).await?;
                    data = &data[written..];
                }
                Ok(())
            }
        }
    };
}

pub(super) use {read_methods, reads, write_methods, writes};
