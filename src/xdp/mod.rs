//! Everything that touches XDP: the program that steers a queue's traffic, and the AF_XDP socket that takes it.
//!
//! This is the only room with `unsafe` I/O. It knows no protocol: a frame is bytes. The way of a frame is
//!
//! ```text
//!     pool ──▶ fill ring ──▶ kernel ──▶ RX ring ──▶ ours (a Frame) ──▶ pool
//!     pool ──▶ ours (a Frame) ──▶ TX ring ──▶ kernel ──▶ completion ring ──▶ pool
//! ```
//!
//! and at each moment a frame is in one of these places only: a [`Frame`] can be neither copied nor cloned, and
//! [`Queue::audit`] counts them all.

mod attach;
mod balance;
mod busy_poll;
#[cfg(test)]
mod cases;
mod error;
mod filter;
mod frame;
mod guard;
mod large;
mod ledger;
mod link_socket;
mod memory;
mod open;
mod pins;
mod pool;
mod program;
mod queue;
mod refusal;
mod services;
mod settings;
mod socket_options;
mod splice;
mod statistics;
mod steer;
#[doc(hidden)]
pub mod tc;
mod verdicts;
mod wake;

pub use crate::transport::Transport;

pub use self::{
    balance::{Balance, BalanceOptions, Heartbeat, Outcomes, Tally},
    error::XdpError,
    filter::FlowFilter,
    frame::{FRAME_SIZES, Frame, FrameAudit, MTU_MAX, WHOLE_MTU_MAX, frame_len, packet_room},
    guard::{Guard, Unfinished, WayOut},
    link_socket::{Instruction, LinkSocket},
    open::QueueOptions,
    pins::{LeftLink, Pins},
    program::{Program, ProgramOptions, Steering, Tables},
    queue::Queue,
    services::{Action, Listener, MAX_LISTENERS, MAX_SERVICES, ServeError, Service, Services, Steered, SynAckFields},
    splice::{SpliceTable, Splices},
    statistics::QueueStatistics,
    verdicts::Verdicts,
};

/// What a crate of this repository makes other programs of, XDP's and tc's. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod programs {
    pub use super::{
        attach::{Loaded, register_socket},
        memory::SharedMemory,
        refusal::{listen, not_loaded},
        verdicts::sum_of_cpus,
    };
}

use std::{fmt, str::FromStr};

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before the kernel has spent anything on the frame.
    Native,
    /// In the kernel's general receive path: works on every interface, but slowly.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Whether frames are copied between the NIC's memory and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// The NIC uses our memory.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

impl fmt::Display for CopyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ZeroCopy => "zero copy",
            Self::Copy => "copy mode",
        })
    }
}

/// The least to be content with; less is an error instead of an announced fall-back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// Whatever works.
    #[default]
    Nothing,
    /// Native XDP.
    Native,
    /// Native XDP and zero copy.
    ZeroCopy,
}

impl fmt::Display for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "nothing",
            Self::Native => "native",
            Self::ZeroCopy => "zero-copy",
        })
    }
}

/// A word that is none of the requirements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" cannot be required: write nothing, native or zero-copy")]
pub struct RequireError(String);

impl FromStr for Require {
    type Err = RequireError;

    fn from_str(text: &str) -> Result<Self, RequireError> {
        [Self::Nothing, Self::Native, Self::ZeroCopy]
            .into_iter()
            .find(|require| require.to_string() == text)
            .ok_or_else(|| RequireError(text.to_owned()))
    }
}
