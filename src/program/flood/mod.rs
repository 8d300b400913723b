//! The flood generator: what attacks a server in a lab, at millions of frames a second or at an exact rate.
//!
//! Frames are templates stamped with random numbers: source address and port, sequence and acknowledgment numbers, and a
//! timestamp, with right checksums. At high rates an XDP program makes them, on live frames (`BPF_PROG_RUN`), which never
//! leave the kernel; at low ones they go through an AF_XDP socket, so that the sender can sleep in between. Either way what
//! comes back to the addresses that they seem to come from is counted, and ends there.
//!
//! A flood does not leave a lab by accident: see [`FloodError::OutsideLab`].

mod draft;
mod error;
mod kind;
mod malformed;
mod options;
mod prefix;
mod running;
mod stamp;
mod template;
#[cfg(test)]
mod tests;

pub use self::{
    error::FloodError,
    kind::FloodKind,
    options::{DURATION_MAX, FloodOptions, Generator, RATE_MAX},
    prefix::Prefix,
    running::{Flood, FloodCounts},
};
