use std::process::ExitCode;

use clap::Args;
use xskip_cli::doctor::{Trial, Verdict, examine};

use super::{Failure, print};

#[derive(Debug, Args)]
pub struct Doctor {
    /// The interface to examine besides the machine
    #[arg(long, value_name = "IF")]
    interface: Option<String>,

    /// Only look: do not attach a program and bind a socket for a moment, at which some drivers pause the link
    #[arg(long)]
    passive: bool,

    /// For a program: one object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Doctor) -> Result<ExitCode, Failure> {
    let trial = if arguments.passive { Trial::Forbidden } else { Trial::Allowed };
    let report = examine(arguments.interface.as_deref(), trial);
    match arguments.json {
        true => print::result(serde_json::to_string_pretty(&report)?)?,
        false => print::result(&report)?,
    }
    Ok(if report.verdict == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
