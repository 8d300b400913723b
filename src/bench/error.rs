use super::contender::ContenderError;
use crate::{flood::FloodError, host::HostError, lab::LabError};
use std::io;
use thiserror::Error;

/// Why there is nothing to report.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),

    /// A contender.
    #[error(transparent)]
    Contender(#[from] ContenderError),

    /// The flood.
    #[error(transparent)]
    Flood(#[from] FloodError),

    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),

    /// The legitimate clients.
    #[error("the legitimate clients could not start: {0}")]
    Clients(io::Error),

    /// The client's side could not be set up.
    #[error(
        "could not write {file} on the client's side: {source}; does this kernel have receive packet steering (CONFIG_RPS)?"
    )]
    Steering {
        /// The file.
        file: String,
        /// What the kernel said.
        source: io::Error,
    },

    /// No core is known.
    #[error("the kernel does not say which cores are online: is /sys mounted?")]
    NoCore,

    /// Somebody wanted it to stop.
    #[error("interrupted: nothing was left behind, and nothing is reported")]
    Interrupted,
}
