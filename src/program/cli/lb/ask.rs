//! What is asked of the balancer that runs: `xskip lb status`, `explain`, `drain`, `serve`, `weight` and `reload`.

use super::detach;
use crate::cli::{Failure, number, print};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr, time::Duration};
use xskip_cli::{
    lb::MAX_WEIGHT,
    lb_file::{BackendName, CONTROL, File},
    lb_run::{Answer, AskError, Changed, Request, ask},
    time::span,
};

/// The longest deadline: a year, which is as good as none.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Which balancer.
#[derive(Debug, Args)]
#[group(skip)] // its name would be of no use to anybody
pub struct Where {
    /// The balancer's control socket
    #[arg(long, value_name = "PATH", default_value = CONTROL, conflicts_with = "config")]
    control: PathBuf,

    /// The balancer's configuration, instead, which says where that is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is typed behind `xskip lb status`.
#[derive(Debug, Args)]
pub struct Status {
    /// For a program: one object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip lb explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The client's address and port, such as 203.0.113.7:50123 or [2001:db8::7]:50123
    #[arg(value_name = "SRC:PORT", value_parser = number::socket_address)]
    source: SocketAddr,

    /// The service's name; with a colon and a port behind it where that has every port
    #[arg(value_name = "SERVICE")]
    service: String,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip lb drain`.
#[derive(Debug, Args)]
pub struct Drain {
    /// The backend
    #[arg(value_name = "SERVICE/BACKEND")]
    backend: BackendName,

    /// When what is left of its flows is given up, such as 5m or 90s [default: never]
    #[arg(long, value_name = "TIME")]
    deadline: Option<Deadline>,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip lb serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The backend
    #[arg(value_name = "SERVICE/BACKEND")]
    backend: BackendName,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip lb weight`.
#[derive(Debug, Args)]
pub struct Weight {
    /// The backend
    #[arg(value_name = "SERVICE/BACKEND")]
    backend: BackendName,

    /// Its share of new flows beside the others' weights; 0 for none
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_WEIGHT)))]
    weight: u32,

    #[command(flatten)]
    which: Where,
}

/// What is typed behind `xskip lb reload`.
#[derive(Debug, Args)]
pub struct Reload {
    #[command(flatten)]
    which: Where,
}

/// How long a drain may last: whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Duration);

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = span::parse(text).filter(|time| (Duration::from_secs(1)..=LONGEST).contains(time));
        time.map(Self)
            .ok_or_else(|| format!("`{text}` is no time from 1s to {}: write one like 5m", span::show(LONGEST)))
    }
}

impl Where {
    fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let Some(path) = &self.config else { return Ok(ask(&self.control, request)?) };
        let file = File::read(path).map_err(|faults| {
            format!("where the balancer is cannot be read: name its socket by --control; {faults}")
        })?;
        ask(&file.control, request).map_err(|error| match (&error, detach::left(&file)) {
            (AskError::NotRunning { path, .. }, Some(left)) => {
                format!("no balancer runs at {}, and {left}", path.display()).into()
            }
            _ => error.into(),
        })
    }

    /// Has something changed, and says what has.
    fn change(&self, request: &Request) -> Result<ExitCode, Failure> {
        let Answer::Changed(Changed { plan, notes, backend }) = self.ask(request)? else { return Err(odd()) };
        print::result(plan.trim_end())?;
        if let Some(backend) = backend {
            print::result(format_args!(
                "{}: {}, weight {}; {}",
                backend.name,
                backend.state,
                backend.weight,
                backend.remains()
            ))?;
        }
        notes.iter().for_each(print::note);
        Ok(ExitCode::SUCCESS)
    }
}

fn odd() -> Failure {
    "the balancer has answered something else than was asked: it is of another version of xskip".into()
}

pub fn status(Status { json, which }: Status) -> Result<ExitCode, Failure> {
    let Answer::Status(status) = which.ask(&Request::Status {})? else { return Err(odd()) };
    match json {
        true => print::result(serde_json::to_string_pretty(&status)?)?,
        false => print::result(status)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub fn explain(Explain { source, service, which }: Explain) -> Result<ExitCode, Failure> {
    let Answer::Explained(text) = which.ask(&Request::Explain { source, service })? else { return Err(odd()) };
    print::result(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub fn drain(Drain { backend, deadline, which }: Drain) -> Result<ExitCode, Failure> {
    // A part of a second is no second too early.
    let seconds = deadline.map(|Deadline(time)| time.as_secs() + u64::from(time.subsec_nanos() > 0));
    which.change(&Request::Drain { backend: backend.to_string(), seconds })
}

pub fn serve(Serve { backend, which }: Serve) -> Result<ExitCode, Failure> {
    which.change(&Request::Serve { backend: backend.to_string() })
}

pub fn weight(Weight { backend, weight, which }: Weight) -> Result<ExitCode, Failure> {
    which.change(&Request::Weight { backend: backend.to_string(), weight })
}

pub fn reload(Reload { which }: Reload) -> Result<ExitCode, Failure> {
    which.change(&Request::Reload {})
}
