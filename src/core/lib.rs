//! The core of `xskip`: a TCP/IP stack without clocks, sockets or threads.
//!
//! Give a [`Stack`] frames and the time, and it answers with events, frames and its next deadline: begin with its documentation. The
//! crate `xskip` runs it on AF_XDP; the tests run it in memory, and on a simulated wire.
//!
//! | room | what |
//! | --- | --- |
//! | [`time`], [`drops`], [`stats`], [`rng`], [`config`] | leaves |
//! | [`wire`] | bytes to values and back; no state, no allocation |
//! | [`tcp`] | one connection |
//! | [`stack`] | many connections on the interfaces of one worker |
//! | [`impair`] | a bad link, made on purpose |
//! | [`lb`] | whose a flow is: a load balancer's tables |
//! | [`splice`] | two connections made one: segments translated |
//! | [`preface`] | what is said first on a connection: server names, PROXY headers |
#![deny(missing_docs, unsafe_code)]

/// Errors whose `{:?}` is the sentence that is their `{}`: what `main` returns is printed by `Debug`, and a program of a few lines
/// should say the remedy, too. Whoever wants to look into one matches on it.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_as_display {
    ($($error:ty),+) => {
        $(impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        })+
    };
}

pub mod config;
pub mod drops;
pub mod impair;
pub mod lb;
pub mod preface;
#[allow(unsafe_code, reason = "a prefetch takes an address")]
#[doc(hidden)]
pub mod prefetch;
pub mod rng;
pub mod splice;
pub mod stack;
pub mod stats;
pub mod tcp;
pub mod time;
pub mod transport;
pub mod wire;

pub use self::{
    stack::{Cidr, ConnectError, Event, Stack, Stream},
    tcp::CloseReason,
};
