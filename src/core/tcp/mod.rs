//! One TCP connection, sans I/O: segments and time go in, segments and a deadline come out.
//!
//! The files follow RFC 9293. [`connection`] holds the control block, `arrive` the ladder of §3.10.7.4 that a received
//! segment climbs unless it was `predicted`, `transmit` what is sent and when. [`send`] and [`receive`] are the two sides with
//! their sequence variables; [`recovery`], [`congestion`] and [`rtt`] decide what is lost, how much may be in flight, and how
//! long to wait, with `flight`, `rack` and `prr` behind them; `liveness` when to give up; `challenges` how often what is out of
//! place is answered. A connection begins when the handshake is over, or with the SYN where it is ours (`opening`), may sleep while
//! it is idle (`dormant`), and ends at TIME-WAIT or CLOSED: what comes before and after is smaller, and lives in [`crate::stack`].

mod acks;
mod arrive;
pub mod assembler;
mod beginning;
pub mod byte_ring;
mod challenges;
pub mod congestion;
pub mod connection;
pub mod cookie;
mod dormant;
pub mod ecn;
mod flight;
pub mod handshake;
mod in_flight;
mod info;
pub mod isn;
mod liveness;
mod memory;
mod micros;
mod opening;
mod options;
mod outcome;
pub mod path_mtu;
mod persist;
mod predicted;
mod prr;
mod rack;
pub mod receive;
pub mod recovery;
pub mod rtt;
pub mod send;
pub mod signals;
pub mod state;
mod tail_probe;
pub mod timer;
pub mod timestamps;
mod transmit;
mod tuning;
mod urgent;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    beginning::Passage,
    challenges::Challenges,
    connection::Connection,
    dormant::Dormant,
    handshake::{Handshake, MaxSegment, Offer},
    info::TcpInfo,
    signals::{CloseReason, SentKind, Signals},
    state::State,
    write::Writer,
};
