//! `xskip lb detach`: what a balancer has left, looked at and taken away.

use crate::cli::{Failure, print};
use clap::Args;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use xskip_cli::{
    balancer::{Orphaned, PINS},
    lb_file::File,
    time::span,
};

/// What is typed behind `xskip lb detach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The interface on which a balancer was
    #[arg(long, value_name = "NAME", required_unless_present = "config", conflicts_with = "config")]
    interface: Option<String>,

    /// Where it has left its programs: `pins` of its configuration
    #[arg(long, value_name = "FOLDER", default_value = PINS, conflicts_with = "config")]
    pins: PathBuf,

    /// The balancer's configuration, instead, which says both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Takes it away.
pub fn run(Arguments { interface, pins, config }: Arguments) -> Result<ExitCode, Failure> {
    let (interface, pins) = match config {
        None => (interface.unwrap_or_default(), pins),
        Some(path) => {
            let File { interfaces, pins, .. } = File::read(&path)?;
            (interfaces.into_iter().next().unwrap_or_default(), pins)
        }
    };
    print::result(match Orphaned::detach(&pins, &interface)? {
        true => format!("{interface}: the kernel has its traffic back"),
        false => format!("{interface}: no balancer has left anything there"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the balancer of this file has left, if it has.
pub(super) fn left(file: &File) -> Option<String> {
    let interface = file.interfaces.first()?;
    let whole = |time: Duration| span::show(Duration::from_secs(time.as_secs()));
    Some(match Orphaned::find(&file.pins, interface).ok()?? {
        Orphaned::IsOver(ago) => format!(
            "what one has left on {interface} has given the kernel its traffic back {} ago: start one by `xskip lb run`, or take \
             that away by `xskip lb detach`",
            whole(ago)
        ),
        Orphaned::GoesOn(rest) => {
            let since = file.survive.map(|survive| format!(" for {}", whole(survive.saturating_sub(rest))));
            format!(
                "what one has left on {interface} has sent packets to backends without it{}, and does for {} more: start one by \
                 `xskip lb run`, or end that by `xskip lb detach`",
                since.unwrap_or_default(),
                whole(rest)
            )
        }
    })
}
