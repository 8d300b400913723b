//! One TCP connection, sans I/O: segments and time go in, segments and a deadline come out.
//!
//! The files follow RFC 9293. [`connection`] holds the control block, `arrive` the ladder of §3.10.7.4: the steps that process a
//! received segment, unless it was `predicted`. `transmit` is what is sent and when, `acks` when that is an acknowledgment, `persist`
//! and `tail_probe` when it is a probe. [`send`] and [`receive`] are the two sides with their sequence variables; [`recovery`],
//! [`congestion`] and [`rto`] decide what is lost, how much may be in flight, and how long to wait, with `flight`, `rack` and `prr`
//! behind them; `liveness` when to give up; `challenges` how often unacceptable segments are answered. A connection begins with what
//! the [`handshake`] agreed on, or with the SYN where that is ours (`opening`), may be suspended while it is idle (`dormant`), has
//! a flight recorder ([`recorder`]), and
//! ends at TIME-WAIT or CLOSED: what comes before and after is smaller, and lives in [`crate::stack`].
//!
//! Imports among these files run one way, with one exception: the control block has fields of types that stand beside the methods
//! which use them (`acks`, `liveness`, `opening`, `path_mtu`, `persist`, `tail_probe`, `urgent`), and those files add methods to it.

mod acks;
mod arrive;
pub mod assembler;
pub mod byte_ring;
mod challenges;
pub mod congestion;
pub mod connection;
pub mod cookie;
mod cx;
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
mod parting;
pub mod path_mtu;
mod persist;
mod predicted;
mod prr;
mod rack;
pub mod receive;
pub mod recorder;
pub mod recovery;
pub mod rto;
pub mod send;
pub mod signals;
pub mod state;
mod syn_timing;
mod tail_probe;
pub mod timers;
pub mod timestamps;
mod transmit;
mod tuning;
mod urgent;
mod why_not_sending;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    challenges::Challenges,
    connection::Connection,
    cx::Cx,
    dormant::Dormant,
    handshake::{Handshake, MaxSegment, Offer, Terms},
    info::TcpInfo,
    recorder::{Cause, Ending, Happening, History},
    signals::{CloseReason, SentKind, Signals},
    state::State,
    syn_timing::SynTiming,
    why_not_sending::WhyNotSending,
    write::Writer,
};
