//! How many instructions the hot paths take, and whether any takes more than it used to.
//!
//! Times differ from run to run; instructions do not. This program runs itself under `valgrind --tool=callgrind`, which counts them,
//! and compares with `benches/instructions/baseline.json`. `scripts/instructions` calls it. The worst that a peer can do with one
//! segment has a bound besides, which no baseline moves (`worst`).
//!
//! Everything is there for counts to be the same on any machine with the same toolchain: time is virtual, keys come from seeds,
//! the environment is empty, and the kernel is not counted. What is left is what the C library chooses by the processor's features.

#[path = "../shared/mod.rs"]
mod shared;

mod baseline;
mod callgrind;
mod meter;
mod paths;
mod worst;

use baseline::Baseline;
use clap::Parser;
use std::process::ExitCode;

/// Counts the instructions of hot paths under callgrind and compares them with the baseline.
#[derive(Debug, Parser)]
#[command(name = "instructions", after_help = "Example: scripts/instructions --accept")]
struct Arguments {
    /// Write what was counted to the baseline.
    #[arg(long)]
    accept: bool,
    /// Walk the paths: what runs under callgrind.
    #[arg(long, hide = true)]
    walk: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    if arguments.walk {
        paths::walk();
        worst::walk();
        return Ok(ExitCode::SUCCESS);
    }
    let counted = Baseline { toolchain: baseline::toolchain()?, instructions: callgrind::count()? };
    if !worst::are_bounded(&counted.instructions) {
        return Ok(ExitCode::FAILURE);
    }
    if arguments.accept {
        counted.write()?;
        print!("{counted}");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if Baseline::read()?.compare(&counted) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
