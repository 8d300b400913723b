use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    ops::RangeInclusive,
    process::{self, ExitCode},
    sync::{Arc, atomic::AtomicBool},
};

use clap::{Args, Subcommand};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use xskip_cli::{
    impair::Impairment,
    lab::{Lab, LabName, LabOptions, MTU_MAX, MTU_MIN, Outcome, QUEUES_MAX, RELAY_READY, Role},
};

use super::{Failure, bad_use, print};

const QUEUES: RangeInclusive<i64> = 1..=QUEUES_MAX as i64;
const MTU: RangeInclusive<i64> = MTU_MIN as i64..=MTU_MAX as i64;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a lab, or mend what a crashed run left of one
    #[command(after_help = "Example:\n  sudo xskip lab up --queues 2\n  sudo xskip lab up other --mtu 3000\n  \
        sudo xskip lab up --impair loss=1%,delay=20ms")]
    Up(Up),

    /// Remove a lab, whole or half made
    #[command(after_help = "Example:\n  sudo xskip lab down")]
    Down {
        #[command(flatten)]
        name: Name,
    },

    /// Say what is up: addresses, queues, offloads, XDP programs and processes
    #[command(after_help = "Example:\n  sudo xskip lab status --json | jq .state")]
    Status(Status),

    /// Be the relay of an impaired lab: what `lab up --impair` starts
    #[command(hide = true)]
    Relay {
        #[command(flatten)]
        name: Name,
    },

    /// Run a command inside one side of a lab, and pass on its exit status
    #[command(after_help = "Example:\n  sudo xskip lab exec client -- curl http://198.18.0.1/\n  \
        sudo xskip lab exec other server -- ip address")]
    Exec(Exec),
}

#[derive(Debug, Args)]
pub struct Name {
    /// The lab's name [default: lab]
    #[arg(value_name = "NAME")]
    lab: Option<LabName>,

    /// The lab's name, as an option
    #[arg(long = "name", value_name = "NAME", conflicts_with = "lab")]
    option: Option<LabName>,
}

impl Name {
    fn get(self) -> LabName {
        self.lab.or(self.option).unwrap_or_default()
    }
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    name: Name,

    /// Receive and transmit queues of each interface
    #[arg(long, default_value_t = LabOptions::default().queues, value_parser = clap::value_parser!(u32).range(QUEUES))]
    queues: u32,

    /// MTU of each interface, in bytes; XDP in native mode works up to about 3,500
    #[arg(long, default_value_t = LabOptions::default().mtu, value_parser = clap::value_parser!(u32).range(MTU))]
    mtu: u32,

    /// Make the link a bad one, both ways, or behind `up:` (from the client) or `down:` one way: loss=1%, delay=20ms,
    /// jitter=5ms, reorder=2% (frames that skip the delay), rate=100mbit, queue=100 (frames that wait for the rate),
    /// duplicate=1%, corrupt=0.1%, seed=7
    #[arg(long, value_name = "OPTION,...")]
    impair: Option<Impairment>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    name: Name,

    /// All labs of this machine, instead of one
    #[arg(long, conflicts_with_all = ["lab", "option"])]
    all: bool,

    /// For a program: one object, or with --all an array of them
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// `server` or `client`, after the lab's name if it is not `lab`
    #[arg(value_name = "[NAME] SIDE", required = true, num_args = 1..=2)]
    target: Vec<String>,

    /// The lab's name, as an option
    #[arg(long, value_name = "NAME")]
    name: Option<LabName>,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Up(arguments) => up(arguments),
        Command::Down { name } => down(&name.get()),
        Command::Status(arguments) => status(arguments),
        Command::Relay { name } => relay(&name.get()),
        Command::Exec(arguments) => exec(arguments),
    }
}

/// Signals that end a program become a flag, for the library to clean up behind itself.
fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn up(arguments: Up) -> Result<ExitCode, Failure> {
    let Up { name, queues, mtu, impair } = arguments;
    let options = LabOptions { name: name.get(), queues, mtu, impair };
    let lab = Lab::up_detached(&options, &*interrupted()?, &env::current_exe()?)?;
    match lab.outcome() {
        Outcome::Made => {}
        Outcome::AlreadyUp => print::result(format_args!("the lab {} was up already", lab.name()))?,
        Outcome::Rebuilt => print::result(format_args!("leftovers of the lab {} were removed first", lab.name()))?,
    }
    print::result(Lab::status(lab.name())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Says to the process that started it that it is ready, or why not. Nobody listens after that.
fn relay(name: &LabName) -> Result<ExitCode, Failure> {
    let say = |what: &str| {
        let _ = writeln!(io::stdout(), "{what}");
    };
    match Lab::carry(name, &*interrupted()?, || say(RELAY_READY)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            say(&error.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn down(name: &LabName) -> Result<ExitCode, Failure> {
    // Once begun, it is brought to its end: that takes milliseconds.
    let _flag = interrupted()?;
    let removed = Lab::down(name)?;
    match removed.namespaces.is_empty() {
        true => print::result(format_args!("the lab {name} was down already"))?,
        false => print::result(format_args!("the lab {name} is down"))?,
    }
    for process in removed.processes {
        print::note(format_args!("{} (process {}) still runs, without a network", process.command, process.pid));
    }
    Ok(ExitCode::SUCCESS)
}

fn status(arguments: Status) -> Result<ExitCode, Failure> {
    if !arguments.all {
        let status = Lab::status(&arguments.name.get())?;
        match arguments.json {
            true => print::result(serde_json::to_string_pretty(&status)?)?,
            false => print::result(&status)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let labs = Lab::list()?.iter().map(Lab::status).collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        print::result(serde_json::to_string_pretty(&labs)?)?;
    } else if labs.is_empty() {
        print::result("no lab is up")?;
    }
    labs.iter().filter(|_| !arguments.json).try_for_each(print::result)?;
    Ok(ExitCode::SUCCESS)
}

fn exec(arguments: Exec) -> Result<ExitCode, Failure> {
    let (name, side) = match arguments.target.as_slice() {
        [name, side] if arguments.name.is_none() => (name.parse()?, side),
        [side] => (arguments.name.unwrap_or_default(), side),
        _ => return Ok(bad_use("the lab is named twice: once is enough")),
    };
    let Ok(side) = side.parse::<Role>() else {
        return Ok(bad_use(format_args!("{side:?} is not a side of a lab: name `server` or `client`")));
    };
    let lab = Lab::find(&name)?;
    let (program, rest) = arguments.command.split_first().ok_or("no command was given: put one behind `--`")?;
    match lab.side(side).namespace().exec(process::Command::new(program).args(rest))? {}
}
