//! `xskip bench`: contenders in turn, in labs of their own.

use super::Failure;
use clap::{Args, Subcommand};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use xskip::{
    bench::{Contender, Progress, SynFlood, report},
    flood::FloodKind,
};

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Legitimate clients of a server that is flooded
    #[command(after_help = "Example:\n  \
        sudo xskip bench syn-flood --duration 10 --rounds 3 --html flood.html --json flood.json")]
    SynFlood(SynFloodArguments),
}

/// What is typed behind `xskip bench syn-flood`.
#[derive(Debug, Args)]
pub struct SynFloodArguments {
    /// Seconds that each contender is flooded, in each round
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,

    /// How often each contender has its turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,

    /// Who takes part: xskip, xskip-userspace, kernel, nft-synproxy, xdp-tx [default: all of them]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    contenders: Vec<Contender>,

    /// What the flood is made of: syn, ack, rst, fin, data, syn-ack, mixed or malformed
    #[arg(long, default_value_t = FloodKind::Syn)]
    kind: FloodKind,

    /// Frames a second of the flood, or max
    #[arg(long, value_name = "N", default_value = "max")]
    rate: super::flood::Rate,

    /// Attempts a second of legitimate clients, half of them over IPv6
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,

    /// Write all figures as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page that shows them to somebody who was not there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: write seconds, up to 3,000 and more than none");
    let seconds = f64::from_str(text).map_err(|_| bad())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
    if duration.is_zero() || duration > Duration::from_secs(3_000) { Err(bad()) } else { Ok(duration) }
}

/// Measures.
pub fn run(scenario: Scenario) -> Result<ExitCode, Failure> {
    let Scenario::SynFlood(arguments) = scenario;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    let mut bench = SynFlood {
        duration: arguments.duration,
        rounds: arguments.rounds as usize,
        kind: arguments.kind,
        rate: arguments.rate.0,
        clients: arguments.clients,
        ..SynFlood::default()
    };
    if !arguments.contenders.is_empty() {
        bench.contenders = arguments.contenders;
    }
    // A file that cannot be written is found out now, not when all is measured.
    let json = arguments.json.as_deref().map(open).transpose()?;
    let html = arguments.html.as_deref().map(open).transpose()?;
    let shows_progress = io::stderr().is_terminal();
    let report = bench.run(
        |progress| {
            if shows_progress {
                eprintln!("xskip: {}", line(&progress));
            }
        },
        &interrupted,
    )?;
    if let Some(mut output) = json {
        writeln!(output, "{:#}", serde_json::to_value(&report)?)?;
    }
    if let Some(mut output) = html {
        output.write_all(report::html(&report).as_bytes())?;
    }
    if arguments.json.as_deref() != Some(Path::new("-")) {
        print!("{}", report::table(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(progress: &Progress) -> String {
    match progress {
        Progress::Turn { round, contender } => format!("round {round}: {contender}"),
        Progress::Unavailable { contender, reason } => format!("{contender} cannot run here: {reason}"),
        Progress::Second(second) => report::second(second),
        Progress::Measured { scenario, contender, metrics } => report::measured(scenario, *contender, metrics),
    }
}

fn open(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = fs::File::create(path).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(Box::new(file))
}
