//! The command line of `xskip`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
