//! What is typed, and what it stands for. One file a subcommand; the work is the library's.

mod backend;
mod bench;
mod confine;
mod control;
mod demo;
mod doctor;
mod flood;
mod interfaces;
mod lab;
mod lb;
mod list;
mod load;
mod log;
mod number;
mod observe;
mod print;
mod serve;
mod show;
mod size;
#[cfg(test)]
mod tests;
mod top;

use std::{fmt::Display, process::ExitCode};

use clap::{Parser, Subcommand};
use signal_hook::{consts::SIGPIPE, low_level};

/// A TCP/IP stack in user space, on AF_XDP, that leaves the kernel its own traffic.
#[derive(Debug, Parser)]
#[command(name = "xskip", version, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 if all went well, 1 if not, 2 if the command was not understood.\n\n\
    Example:\n  sudo xskip demo")]
struct Arguments {
    /// Say more about what is done, on standard error; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an unmodified curl shake hands with, fetch from and take leave of a TCP stack in user space
    Demo(demo::Arguments),

    /// Serve one of the bundled services on an interface
    Serve(serve::Arguments),

    /// Show connections, listeners, workers, drops or neighbours of a server that runs
    Show(show::Show),

    /// Say what is known of a flow: which table says what, what has happened to it, and what was refused
    Explain(show::Explain),

    /// Show what a server does, live on a terminal: traffic, connections, defence, drops
    Top(top::Top),

    /// Flood a server in a lab with SYNs, or with other segments of no connection
    Flood(flood::Arguments),

    /// Load a server with many connections, and say how it keeps up
    Load(load::Arguments),

    /// Measure, beside others, on the same lab
    #[command(subcommand)]
    Bench(bench::Scenario),

    /// Take IPIP and GUE off in front of the kernel of a balancer's backend
    #[command(subcommand)]
    Backend(backend::Command),

    /// Make, look into and remove labs: two network namespaces joined by a veth pair
    #[command(subcommand)]
    Lab(lab::Command),

    /// Balance load over backends
    #[command(subcommand)]
    Lb(lb::Command),

    /// Say what stands between this machine and a running server, and what to do about it
    #[command(after_help = "Exit status: 0 if nothing is in the way, 1 otherwise.\n\n\
        Example:\n  sudo xskip doctor --interface eth0")]
    Doctor(doctor::Doctor),
}

/// Whatever stops a command; its text is one sentence with the remedy.
type Failure = Box<dyn std::error::Error>;

/// Does what was typed.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let log = log::to_stderr(arguments.verbose);
    let result = match arguments.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Explain(arguments) => show::explain(arguments),
        Command::Top(arguments) => top::run(arguments),
        Command::Flood(arguments) => flood::run(arguments),
        Command::Load(arguments) => load::run(arguments),
        Command::Bench(scenario) => bench::run(scenario),
        Command::Backend(command) => backend::run(command),
        Command::Lab(command) => lab::run(command),
        Command::Lb(command) => lb::run(command),
        Command::Doctor(arguments) => doctor::run(arguments),
    };
    drop(log);
    result.unwrap_or_else(|failure| {
        if failure.is::<print::ReaderGone>() {
            // As every program in a pipe ends whose reader has left; only later, when all is cleaned up. It returns where it fails.
            low_level::emulate_default_handler(SIGPIPE).ok();
        }
        print::note(failure);
        ExitCode::FAILURE
    })
}

/// What was typed makes no sense, in a way that only showed now.
fn bad_use(message: impl Display) -> ExitCode {
    print::note(message);
    ExitCode::from(2)
}
