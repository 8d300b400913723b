//! `xskip lb`: the load balancer. One file a subcommand, but for those that only ask the one that runs.

mod ask;
mod check;
mod detach;
mod run;

use super::Failure;
use clap::Subcommand;
use std::process::ExitCode;

/// What is typed behind `xskip lb`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance what a configuration says, until a signal comes
    #[command(after_help = run::HELP)]
    Run(run::Arguments),

    /// Say what a configuration would serve, or everything that is wrong with it
    #[command(after_help = "Exit status: 0 if nothing is wrong, 1 otherwise.\n\n\
        Examples:\n  xskip lb check --config lb.toml\n  \
        xskip lb check --config lb.toml --elsewhere --json | jq '.services[].backends[].share'")]
    Check(check::Arguments),

    /// Say how the services and backends of the balancer that runs are
    #[command(after_help = "Examples:\n  sudo xskip lb status\n  \
        sudo xskip lb status --json | jq '.services[].backends[] | {name, flows, trouble}'")]
    Status(ask::Status),

    /// Say which backend a client's packets go to, and why
    #[command(after_help = "Example:\n  sudo xskip lb explain 203.0.113.7:50123 web")]
    Explain(ask::Explain),

    /// Give a backend no new flows; those that it has go on. That lasts through reloads and restarts
    #[command(after_help = "Example:\n  sudo xskip lb drain web/web-1 --deadline 5m")]
    Drain(ask::Drain),

    /// Give a backend new flows again
    #[command(after_help = "Example:\n  sudo xskip lb serve web/web-1")]
    Serve(ask::Serve),

    /// Give a backend another share of new flows. That lasts through reloads and restarts, until the file says another weight
    #[command(after_help = "Example:\n  sudo xskip lb weight web/web-1 50")]
    Weight(ask::Weight),

    /// Have the file read anew, as it is when the file is replaced, or by SIGHUP
    #[command(
        after_help = "Exit status: 0 if what the file says is served now, 1 if it is not taken and all goes on as \
        before.\n\nExample:\n  sudo xskip lb reload"
    )]
    Reload(ask::Reload),

    /// Take away what a balancer with `survive` has left: the kernel has its traffic back
    #[command(
        after_help = "Examples:\n  sudo xskip lb detach --config lb.toml\n  sudo xskip lb detach --interface eth0"
    )]
    Detach(detach::Arguments),
}

/// Does what was typed.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Status(arguments) => ask::status(arguments),
        Command::Explain(arguments) => ask::explain(arguments),
        Command::Drain(arguments) => ask::drain(arguments),
        Command::Serve(arguments) => ask::serve(arguments),
        Command::Weight(arguments) => ask::weight(arguments),
        Command::Reload(arguments) => ask::reload(arguments),
        Command::Detach(arguments) => detach::run(arguments),
    }
}
