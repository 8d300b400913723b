//! Async streams on a worker's own thread: an executor for futures that need not be `Send`, and what they wait for.
//!
//! Each worker runs one main future, which listens, connects and spawns tasks; no octet and no wake-up leaves the worker's core. The
//! traits of futures-io, tokio and hyper are there, so that protocols written for those run unchanged; none of their runtimes is needed.
//!
//! ```no_run
//! use std::io;
//! use xskip::{Server, aio::{self, TcpListener, TcpStream}};
//!
//! async fn echo(mut stream: TcpStream) -> io::Result<()> {
//!     let mut buffer = [0; 4_096];
//!     loop {
//!         match stream.read(&mut buffer).await? {
//!             0 => return stream.shutdown(),
//!             length => stream.write_all(&buffer[..length]).await?,
//!         }
//!     }
//! }
//!
//! async fn serve() -> io::Result<()> {
//!     let listener = TcpListener::bind(7)?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         aio::spawn_local(echo(stream));
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Server::on("veth0").address("198.18.0.1/24".parse()?).run_async(serve)?;
//!     Ok(())
//! }
//! ```
//!
//! # What ends how
//!
//! A main future that fails, or panics, ends its worker and so the server, which says why. A task that panics is one task: the
//! connections that it held are reset, the panic is counted ([`Stats::panics`]), and everything else goes on. A stream that is dropped is
//! closed: what was written is delivered, and where data had come that nobody read, the peer gets an RST (RFC 9293 SHLD-3).
//!
//! # Cancel safety
//!
//! Any future here may be dropped at any time without losing an octet. Streams keep none of their own: reading copies from the stack's
//! ring into the caller's buffer within the very poll that is ready, writing copies from the caller's into the stack's, and a poll that is
//! pending has copied nothing. [`TcpStream::write_all`] alone may have written a part by then, as everywhere. Dropping
//! [`TcpListener::accept`] leaves connections where they wait; dropping [`TcpStream::connect`] takes the attempt back.
//!
//! # What may be held up
//!
//! A worker polls at most [`POLLS_A_TURN`] tasks between two batches of frames. A task that computes for long holds up every connection of
//! its worker: a poll of more than [`SLOW_POLL`] is counted, and logged with the place that spawned the task.

mod application;
mod current;
mod error;
mod executor;
mod halves;
mod http;
mod listener;
mod reactor;
pub mod remote;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod timer;
mod traits;
mod udp;

pub use self::{
    application::{Aio, Outcome},
    executor::{POLLS_A_TURN, SLOW_POLL},
    halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf},
    http::{HyperExecutor, HyperTimer},
    listener::{BindAddr, DEFAULT_BACKLOG, Incoming, TcpListener},
    reactor::Stats,
    stream::TcpStream,
    task::{JoinError, JoinHandle, spawn_local, yield_now},
    timer::{Draining, Elapsed, Interval, Sleep, draining, interval, now, sleep, sleep_until, timeout},
    udp::UdpSocket,
};

use crate::worker::{Context, WorkerIndex};

/// What the executor of this worker has counted.
///
/// # Panics
/// Outside of tasks.
pub fn stats() -> Stats {
    current::reactor().stats()
}

/// Which of the workers this is.
///
/// # Panics
/// Outside of tasks.
pub fn worker() -> WorkerIndex {
    with_context(|cx| cx.worker())
}

/// Lets `act` use the worker's [`Context`]: for what has no future here.
///
/// # Panics
/// Outside of tasks, and within itself.
pub fn with_context<T>(act: impl FnOnce(&mut Context<'_>) -> T) -> T {
    current::context(act)
}
