//! Two of our stacks beside two smoltcp interfaces, in memory: the same work, in turn.
//!
//! `cargo bench --bench memory` runs all rows; `cargo bench --bench memory -- --help` says how to run one of them, with one
//! contender, for a profiler to look at.

#[path = "../shared/mod.rs"]
mod shared;

mod peer;
mod report;
mod row;
mod workers;

use clap::{Parser, ValueEnum};
use report::Report;
use row::{Contender, Row, Work};
use shared::clock::Clock;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use workers::Scaling;

/// Measures stacks in memory: two ends in one process, on one core, with nothing but buffers between them.
#[derive(Debug, Parser)]
#[command(name = "memory", after_help = "Example: cargo bench --bench memory -- request-response 10000 --only xskip")]
struct Arguments {
    /// What to do; everything, where it is left out.
    work: Option<Work>,
    /// Over how many connections; the usual numbers, where it is left out.
    connections: Option<usize>,
    /// Measure one contender only.
    #[arg(long)]
    only: Option<Contender>,
    /// Compare one worker with so many, each on a core of its own, instead of contenders.
    #[arg(long, value_name = "N", conflicts_with = "only", value_parser = clap::value_parser!(u32).range(2..))]
    workers: Option<u32>,
    /// How often the contenders have their turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a turn takes at least, seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// What both stacks take the time from.
    #[arg(long, value_enum, default_value_t = ClockKind::Virtual)]
    clock: ClockKind,
    /// Write what was measured to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Which clock.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClockKind {
    /// One on which every batch takes a microsecond: what is done does not depend on how fast it goes.
    Virtual,
    /// The machine's, read once a batch. Where a lap of all connections takes longer than an acknowledgment may wait, timers that
    /// run out meanwhile are measured, too.
    Real,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let workers = arguments.workers.map(workers::cores).transpose()?;
    let clock = match arguments.clock {
        ClockKind::Real => Clock::real(),
        ClockKind::Virtual => Clock::virtual_time(),
    };
    let turn = Duration::try_from_secs_f64(arguments.seconds)?;
    let mut report = Report::new(arguments.rounds);
    report.print_head(workers.as_ref().map(Vec::len));
    for row in Row::all(arguments.work, arguments.connections) {
        match &workers {
            Some(cores) => report.add_scaling(row, &Scaling::measure(row, cores, arguments.rounds, turn, clock)),
            None => report.add(row, &row.measure(arguments.only, arguments.rounds, turn, clock)),
        }
    }
    if let Some(path) = &arguments.json {
        report.write(path)?;
    }
    Ok(())
}
