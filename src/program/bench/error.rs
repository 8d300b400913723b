use super::{Contender, contender::ContenderError, process::ProcessError};
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

    /// One that has no part in the scenario.
    #[error(
        "{contender} is no contender of {scenario}: name {names}",
        names = Contender::COMPARED.map(|contender| contender.to_string()).join(", ")
    )]
    NotInScenario {
        /// The scenario.
        scenario: &'static str,
        /// Who was named.
        contender: Contender,
    },

    /// A balancer that has no part in what is tried.
    #[error("{contender} is no contender of lb --scenario {trial}: name {names}")]
    NotInTrial {
        /// What is tried.
        trial: String,
        /// Who was named.
        contender: &'static str,
        /// Who has a part in it.
        names: String,
    },

    /// Too many connections, or none.
    #[error("{scenario} cannot have {asked} connections: ask for 1 to {most}")]
    Connections {
        /// The scenario.
        scenario: &'static str,
        /// How many were asked for.
        asked: u32,
        /// The most there can be.
        most: u32,
    },

    /// The client did not run to its end.
    #[error(transparent)]
    Client(#[from] ProcessError),

    /// The client did not come to its end.
    #[error("xskip load was not done after {seconds} s: ask for fewer connections, or for a shorter duration")]
    ClientLate {
        /// How long it had.
        seconds: u64,
    },

    /// The client's figures are none.
    #[error("xskip load said what is no JSON of its figures ({0}): are client and bench of the same version?")]
    Figures(serde_json::Error),

    /// Somebody wanted it to stop.
    #[error("interrupted: nothing was left behind, and nothing is reported")]
    Interrupted,
}
