//! `xskip`: a user-space TCP/IP stack on AF_XDP. XSK + IP, and it skips the kernel.
//!
//! An XDP program takes what is addressed to the stack off a NIC's queues and leaves the kernel the rest. For each queue a
//! pinned thread carries frames from an AF_XDP socket through a stack of its own to an application and back. Nothing is
//! shared between them.
//!
//! # A server
//!
//! Write a [`Service`] and put it on a [`Server`]. This one sends everything back:
//!
//! ```no_run
//! use xskip::{ConnectionId, Context, Server, Service, app::Origin};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Session = ();
//!
//!     fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}
//!
//!     fn ready(&mut self, _: &mut (), id: ConnectionId, cx: &mut Context<'_>) {
//!         let Some(mut stream) = cx.stream(id) else { return };
//!         stream.echo();
//!         if stream.at_end() {
//!             stream.close();
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Server::on("veth0").address("198.18.0.1/24".parse()?).port(7).run(|| Echo)?;
//!     Ok(())
//! }
//! ```
//!
//! # The rooms
//!
//! Data move one way, and imports go down only:
//!
//! | room | what |
//! | --- | --- |
//! | [`time`], [`drops`], [`stats`], [`rng`], [`transport`], then [`config`] | leaves |
//! | [`wire`] | bytes to values and back; no state |
//! | [`tcp`] | one connection, sans I/O |
//! | [`stack`] | many connections of one worker, sans I/O |
//! | [`lb`] | a load balancer's tables, sans I/O |
//! | [`impair`] | a bad link, made on purpose, sans I/O |
//! | [`xdp`] | the XDP program and AF_XDP sockets; the only room with `unsafe`, but for the checksum's vectors and prefetching |
//! | [`log_limit`] | lines of the log that could be said too often: a leaf |
//! | [`host`] | what the kernel says about interfaces, namespaces, rights and cores |
//! | [`worker`] | the pinned thread that runs it all to completion |
//! | [`app`] | the [`Service`] trait and the bundled services |
//! | [`proxy`] | pairs of connections: a client's, and one to a backend |
//! | [`telemetry`] | sequence diagrams, and metrics |
//! | [`runtime`] | workers on interfaces, from end to end: what every role stands on |
//! | [`server`] | the role of a server: a service on every worker |
//! | `aio` | async streams and an executor on the worker's own thread, and `Send` ones for others, with the feature `aio` |
//!
//! The first six lines are the crate `xskip-core`, which needs neither the kernel nor clang: give a [`stack::Stack`] frames and the
//! time, and it answers with frames and its next deadline. The same code runs on AF_XDP, in memory, and on a simulated wire. The
//! program `xskip`, with labs, a load generator and benchmarks, is the crate `xskip-cli`.
#![deny(missing_docs, unsafe_code)]

#[macro_use(debug_as_display)]
extern crate xskip_core;

#[cfg(feature = "aio")]
pub mod aio;
pub mod app;
pub mod balancer;
pub mod host;
pub mod log_limit;
pub mod proxy;
pub mod runtime;
pub mod server;
pub mod telemetry;
pub mod worker;
#[allow(unsafe_code)] // the rings are memory shared with the kernel; every block argues why it is sound
pub mod xdp;

#[doc(inline)]
pub use xskip_core::{config, drops, impair, lb, preface, rng, splice, stack, stats, tcp, time, transport, wire};
#[doc(hidden)]
pub use xskip_core::{debug_as_display, prefetch};

pub use self::{
    app::Service,
    balancer::{Balancing, LoadBalancer},
    runtime::{Runtime, RuntimeError},
    server::Server,
    worker::{Application, Context},
};
pub use xskip_core::{
    stack::{Cidr, ConnectError, ConnectionId, Event, Stream},
    tcp::CloseReason,
};
