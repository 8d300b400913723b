//! Why a contender does not stand.

use crate::{
    bench::process::ProcessError, host::HostError, lab::LabError, runtime::RuntimeError, stack::CidrError,
    xdp::XdpError,
};
use std::io;
use thiserror::Error;

/// Why a contender did not start, or did not end well.
#[derive(Debug, Error)]
pub enum ContenderError {
    /// This machine cannot run it; the others can be compared without it.
    #[error("{name} is not to be had on this machine: {reason}; leave it out, or provide what is missing")]
    Unavailable {
        /// Which contender.
        name: &'static str,
        /// What is missing.
        reason: String,
    },

    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),

    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),

    /// The server of this crate.
    #[error(transparent)]
    Server(#[from] RuntimeError),

    /// A program.
    #[error(transparent)]
    Process(#[from] ProcessError),

    /// The reflector.
    #[error(transparent)]
    Xdp(#[from] XdpError),

    /// The lab's addresses; cannot happen unless someone changes them.
    #[error(transparent)]
    Address(#[from] CidrError),

    /// The operating system refused something else.
    #[error("could not {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },

    /// The kernel server's thread panicked, which is a bug.
    #[error("the server on the kernel's sockets ended in a panic: please report it with what it printed")]
    Panicked,
}

impl ContenderError {
    pub(in crate::bench) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }
}
