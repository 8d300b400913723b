//! `xskip bench`: contenders in turn, in labs of their own.

use super::{Failure, bad_use, number, print};
use clap::{Args, Subcommand};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use xskip_cli::{
    bench::{
        BenchError, Comparison, Contender, Progress, Report, SynFlood, Work,
        lb::{Consistency, LbBench, LbContender, LbState, MAX_CONNECTIONS, Trial},
        report,
    },
    flood::FloodKind,
    lab::{IMPAIRED_MTU_MAX, MTU_MIN},
    lb::Mode,
};

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Legitimate clients of a server that is flooded
    #[command(after_help = "Example:\n  \
        sudo xskip bench syn-flood --duration 10 --rounds 3 --html flood.html --json flood.json")]
    SynFlood(SynFloodArguments),

    /// Requests on connections that stay, beside nginx
    #[command(after_help = "Example:\n  sudo xskip bench http --connections 64 --html http.html --json http.json")]
    Http(ComparisonArguments),

    /// Connections that are opened, used once and closed, beside nginx
    #[command(after_help = "Example:\n  sudo xskip bench connect-rate --connections 64 --json rate.json")]
    ConnectRate(ComparisonArguments),

    /// As many bytes as will go, each way, beside the kernel without offloads
    #[command(after_help = "Example:\n  sudo xskip bench bulk --mtu 1500 --connections 1 --json bulk.json")]
    Bulk(BulkArguments),

    /// Sixty-four bytes to an echo server and back, beside one on the kernel's sockets
    #[command(after_help = "Example:\n  sudo xskip bench latency --json latency.json")]
    Latency(ComparisonArguments),

    /// The memory of connections that are open and silent, beside nginx
    #[command(after_help = "Example:\n  sudo xskip bench idle-connections --connections 1000000 --contenders xskip")]
    IdleConnections(ComparisonArguments),

    /// Load balancers before the same backends: at work, when one of these dies or is drained, when all is reloaded, or flooded
    #[command(after_help = LB_HELP)]
    Lb(LbArguments),
}

const LB_HELP: &str = "Scenarios:\n  \
    steady  requests on connections that stay, connections that come and go, downloads, memory at rest; direct is no balancer\n  \
    kill    one of three backends is killed: who fails, and for how long\n  \
    drain   one of three backends is drained: nobody should fail\n  \
    reload  ten reloads, with another backend and other weights: nobody should fail, no datagram be lost\n  \
    flood   packets a second on one core, beside a program that only redirects\n\n\
    Backends are nginx. haproxy and nginx-stream take no part in flood; redirect takes part in flood and steady, direct only in steady.\n\n\
    Examples:\n  \
    sudo xskip bench lb --duration 5 --html lb.html\n  \
    sudo xskip bench lb --scenario drain --mode gue --contenders xskip,haproxy --json -\n  \
    sudo xskip bench lb --scenario flood --json flood.json\n  \
    sudo xskip bench lb --scenario flood --mode proxy --html defended.html\n  \
    xskip bench lb --state rows,hash,lru --rounds 10 --html state.html";

/// What every scenario takes.
#[derive(Debug, Args)]
struct Common {
    /// Seconds that each contender is measured (flooded, in syn-flood), in each round
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,

    /// How often each contender has its turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,

    /// Write all figures as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page that shows them to somebody who was not there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is typed behind `xskip bench syn-flood`.
#[derive(Debug, Args)]
pub struct SynFloodArguments {
    #[command(flatten)]
    common: Common,

    /// Who takes part: xskip, xskip-userspace, kernel, nft-synproxy, xdp-tx; whoever is named has to run, or the exit status is 1
    /// [default: all that this machine can run]
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
}

/// What is typed behind the scenarios with one client and two servers.
#[derive(Debug, Args)]
pub struct ComparisonArguments {
    #[command(flatten)]
    common: Common,

    /// Who takes part: xskip, kernel; whoever is named has to run, or the exit status is 1 [default: both, if there is nginx]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = compared)]
    contenders: Vec<Contender>,

    /// Connections at a time [default: 64; 1 in bulk and latency; 100000 in idle-connections, which has up to 10000000]
    #[arg(long, value_name = "N")]
    connections: Option<u32>,

    /// Let this crate's client and server look for work without ever sleeping
    #[arg(long)]
    spin: bool,
}

/// What is typed behind `xskip bench bulk`.
#[derive(Debug, Args)]
pub struct BulkArguments {
    #[command(flatten)]
    comparison: ComparisonArguments,

    /// The MTU of the link, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_500, value_parser = clap::value_parser!(u32).range(MTU_RANGE))]
    mtu: u32,
}

/// What is typed behind `xskip bench lb`.
#[derive(Debug, Args)]
pub struct LbArguments {
    #[command(flatten)]
    common: Common,

    /// What is tried: steady, kill, drain, reload or flood: packets that are forwarded or, in mode proxy, clients served under SYNs
    #[arg(long, value_name = "SCENARIO", default_value_t, conflicts_with = "state")]
    scenario: Trial,

    /// How xskip sends packets on: dsr, ipip, gue or nat; or proxy, where it ends connections
    #[arg(long, value_name = "MODE", default_value_t, value_parser = mode, conflicts_with = "state")]
    mode: Mode,

    /// The client's connections at a time, in steady, but for downloads and rest: with one, what a request takes when nothing is
    /// busy [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS.into()), conflicts_with = "state")]
    connections: Option<u32>,

    /// Who takes part: xskip, haproxy, nginx-stream, nft-dnat, redirect, direct; whoever is named has to run, or the exit status is
    /// 1 [default: all that the scenario has and this machine can run]
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "state")]
    contenders: Vec<LbContender>,

    /// Instead, in virtual time, how well flows keep their backends by what is remembered: rows, hash, lru; a world each round
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    state: Vec<LbState>,

    /// The number that the first of these worlds is drawn from; the next one has the next [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// From what IPv6 asks of a link to what XDP in native mode takes on a veth.
const MTU_RANGE: RangeInclusive<i64> = MTU_MIN as i64..=IMPAIRED_MTU_MAX as i64;

fn seconds(text: &str) -> Result<Duration, String> {
    number::seconds(text, Duration::from_nanos(1)..=Duration::from_secs(3_000))
}

/// A name for the scenarios with one client and two servers, which not every contender has a part in.
fn compared(text: &str) -> Result<Contender, String> {
    let names = Contender::COMPARED.map(|contender| contender.to_string()).join(", ");
    text.parse().map_err(|_| format!("{text:?} is no contender here: name {names}"))
}

fn mode(text: &str) -> Result<Mode, String> {
    let names = LbBench::MODES.map(Mode::name).join(", ");
    let found = LbBench::MODES.into_iter().find(|mode| mode.name() == text);
    found.ok_or_else(|| format!("{text:?} is no mode that can be measured: name one of {names}"))
}

/// Measures.
pub fn run(scenario: Scenario) -> Result<ExitCode, Failure> {
    match scenario {
        Scenario::SynFlood(arguments) => syn_flood(arguments),
        Scenario::Http(arguments) => compare(Work::Http, arguments, None),
        Scenario::ConnectRate(arguments) => compare(Work::ConnectRate, arguments, None),
        Scenario::Bulk(arguments) => compare(Work::Bulk, arguments.comparison, Some(arguments.mtu)),
        Scenario::Latency(arguments) => compare(Work::Latency, arguments, None),
        Scenario::IdleConnections(arguments) => compare(Work::IdleConnections, arguments, None),
        Scenario::Lb(arguments) => balance(arguments),
    }
}

fn syn_flood(arguments: SynFloodArguments) -> Result<ExitCode, Failure> {
    let common = &arguments.common;
    let mut bench = SynFlood {
        duration: common.duration,
        rounds: common.rounds as usize,
        kind: arguments.kind,
        rate: arguments.rate.0,
        clients: arguments.clients,
        ..SynFlood::default()
    };
    if !arguments.contenders.is_empty() {
        bench.contenders.clone_from(&arguments.contenders);
    }
    measure(common, !arguments.contenders.is_empty(), |progress, interrupted| bench.run(progress, interrupted))
}

fn compare(work: Work, arguments: ComparisonArguments, mtu: Option<u32>) -> Result<ExitCode, Failure> {
    let common = &arguments.common;
    let mut comparison = Comparison {
        duration: common.duration,
        rounds: common.rounds as usize,
        spin: arguments.spin,
        ..Comparison::new(work, this_program()?)
    };
    if let Some(connections) = arguments.connections {
        comparison.connections = connections;
    }
    if let Some(mtu) = mtu {
        comparison.mtu = mtu;
    }
    if !arguments.contenders.is_empty() {
        comparison.contenders.clone_from(&arguments.contenders);
    }
    if let Err(error) = comparison.check() {
        return Ok(bad_use(error));
    }
    measure(common, !arguments.contenders.is_empty(), |progress, interrupted| comparison.run(progress, interrupted))
}

fn balance(arguments: LbArguments) -> Result<ExitCode, Failure> {
    let common = &arguments.common;
    if !arguments.state.is_empty() {
        let seed = arguments.seed.unwrap_or(1);
        let bench = Consistency { seed, rounds: common.rounds as usize, states: arguments.state };
        return measure(common, true, |progress, interrupted| bench.run(progress, interrupted));
    }
    if arguments.seed.is_some() {
        return Ok(bad_use(
            "--seed draws the worlds of --state, and nothing else: leave it out, or add --state rows,hash,lru",
        ));
    }
    if arguments.connections.is_some() && arguments.scenario != Trial::Steady {
        return Ok(bad_use(
            "--connections counts those of the client in the scenario steady: leave it out, as the others have theirs",
        ));
    }
    let mut bench = LbBench {
        duration: common.duration,
        rounds: common.rounds as usize,
        ..LbBench::new(arguments.scenario, arguments.mode, this_program()?)
    };
    if let Some(connections) = arguments.connections {
        bench.connections = connections;
    }
    if !arguments.contenders.is_empty() {
        bench.contenders.clone_from(&arguments.contenders);
    }
    if let Err(error) = bench.check() {
        return Ok(bad_use(error));
    }
    measure(common, !arguments.contenders.is_empty(), |progress, interrupted| bench.run(progress, interrupted))
}

fn this_program() -> Result<PathBuf, String> {
    env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))
}

/// Runs a bench, and writes down what it brought. Where contenders were named, all of them have to run; of those that take part by
/// default some may be missing, as long as somebody runs.
fn measure(
    common: &Common,
    are_named: bool,
    bench: impl FnOnce(&mut dyn FnMut(Progress), &AtomicBool) -> Result<Report, BenchError>,
) -> Result<ExitCode, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    // A file that cannot be written is found out now, not when all is measured.
    let json = common.json.as_deref().map(open).transpose()?;
    let html = common.html.as_deref().map(open).transpose()?;
    let shows_progress = io::stderr().is_terminal();
    let mut show = |progress| {
        if shows_progress {
            print::note(line(&progress));
        }
    };
    let report = bench(&mut show, &interrupted)?;
    if let Some(mut output) = json {
        writeln!(output, "{:#}", serde_json::to_value(&report)?).map_err(print::not_written)?;
    }
    if let Some(mut output) = html {
        output.write_all(report::html(&report).as_bytes()).map_err(print::not_written)?;
    }
    if common.json.as_deref() != Some(Path::new("-")) {
        print::result(report::table(&report).trim_end())?;
    }
    let missing: Vec<_> =
        report.contenders.iter().filter_map(|one| Some((&one.name, one.unavailable.as_ref()?))).collect();
    for (name, reason) in &missing {
        eprintln!("xskip: {name} was left out: {reason}");
    }
    let is_enough = if are_named { missing.is_empty() } else { missing.len() < report.contenders.len() };
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(progress: &Progress) -> String {
    match progress {
        Progress::Turn { round, contender } => format!("round {round}: {contender}"),
        Progress::Unavailable { contender, reason } => format!("{contender} cannot run here: {reason}"),
        Progress::Second(second) => report::second(second),
        Progress::Measured { scenario, contender, metrics } => report::measured(scenario, contender, metrics),
    }
}

fn open(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = fs::File::create(path).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(Box::new(file))
}
