//! `xskip load`: the load generator.

use super::{Failure, list::NumberList};
use clap::Args;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    fs,
    io::{self, IsTerminal},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};
use xskip::{
    Cidr,
    load::{Direction, Load, LoadReport, Mode, Progress},
    worker::Idle,
};

/// How often progress is shown on a terminal.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is typed behind `xskip load`.
#[derive(Debug, Args)]
#[command(after_help = "Modes:\n  \
    keepalive  one HTTP GET after the other on connections that stay open\n  \
    connect    for each GET a connection, which the server closes\n  \
    bulk       bytes as fast as they go: from a chargen service, to a discard service, or both\n             \
    ways with an echo service; with --request, downloads over HTTP\n  \
    idle       connections that are opened and stay; the duration begins when all are open\n  \
    latency    64 bytes to an echo service and back\n\n\
    Every response must have status 200 and the length it announces; transfer codings are not\n\
    understood. Failures are counted by kind, those of the warm-up too. With --rate, latencies\n\
    count from when a request was due.\n\n\
    Exit status: 0 if something came of it, 1 if nothing did, 2 if the command was not understood.\n\n\
    Examples, beside a server in a lab:\n  \
    sudo xskip lab up\n  \
    sudo xskip lab exec server -- xskip serve --interface veth0 --address 198.18.0.1/24 \\\n      \
    --port 80 --app http\n  \
    sudo xskip lab exec client -- xskip load --interface veth0 --address 198.18.0.100/24 \\\n      \
    --target 198.18.0.1:80 --mode keepalive --connections 64\n  \
    sudo xskip lab exec client -- xskip load --interface veth0 --address 198.18.0.100/24 \\\n      \
    --target 198.18.0.1:80 --mode connect --connections 256 --rate 20000 --json -\n  \
    sudo xskip lab exec client -- xskip load --interface veth0 --address 198.18.0.100/24 \\\n      \
    --addresses 2 --target 198.18.0.1:80 --mode idle --connections 100000")]
pub struct Arguments {
    /// The interface whose queues carry it
    #[arg(long, value_name = "IF")]
    interface: String,

    /// An address to connect from, which the kernel must not have; may be given again
    #[arg(long, value_name = "CIDR")]
    address: Vec<Cidr>,

    /// Connect from so many addresses, of which the one given is the first; each has 64512 ports
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    addresses: Option<u32>,

    /// The server, such as 198.18.0.1:80 or [2001:2::1]:80
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,

    /// What is done with the connections: keepalive, connect, bulk, idle or latency
    #[arg(long)]
    mode: Mode,

    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: u32,

    /// Connections that may be opening at a time, unless they are due at a rate
    #[arg(long, value_name = "N", default_value_t = 256)]
    half_open: u32,

    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,

    /// Seconds before that which are not [default: 1, and none where connections idle]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warmup: Option<Duration>,

    /// Requests, connections or round trips that are due a second, whether the server keeps up or not
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

    /// Seconds over which the connections are opened [default: as fast as they come]
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, hide_default_value = true)]
    ramp: Duration,

    /// Seconds without an answer after which something has failed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,

    /// Where the bytes of bulk go: download, upload or both [default: download]
    #[arg(long)]
    direction: Option<Direction>,

    /// What to ask for, such as /bytes/1000 [default: /, and nothing in bulk]
    #[arg(long, value_name = "PATH")]
    request: Option<String>,

    /// Queues to use, such as 0,2-3 [default: all of the interface]
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    queues: NumberList<u32>,

    /// Cores to pin the workers to, in turn [default: all that are online]
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cores: NumberList<usize>,

    /// The router to what lies beyond the addresses' subnets; may be given again, once for each IP version
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,

    /// Look for work without ever sleeping: the lowest latency, for a whole core each
    #[arg(long)]
    spin: bool,

    /// Write the figures to a file as JSON, or to standard output for -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // A century is more than anybody waits, and far from where sums of times overflow.
    seconds
        .filter(|time| time.as_secs() < 100 * 365 * 86_400)
        .ok_or_else(|| format!("{text:?} is no number of seconds: write one such as 10 or 0.5"))
}

/// Makes the load.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    let report = match build(&arguments).run_watched(&interrupted, shown()) {
        Err(error) if error.is_bad_use() => {
            eprintln!("xskip: {error}");
            return Ok(ExitCode::from(2));
        }
        result => result?,
    };
    tell(&report, arguments.json.as_deref())?;
    Ok(if report.is_fruitless() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn build(arguments: &Arguments) -> Load {
    let mut load = Load::new(&arguments.interface, arguments.target, arguments.mode)
        .connections(arguments.connections)
        .half_open(arguments.half_open)
        .duration(arguments.duration)
        .ramp(arguments.ramp)
        .timeout(arguments.timeout)
        .queues(arguments.queues.iter())
        .cores(arguments.cores.iter())
        .idle(if arguments.spin { Idle::Spin } else { Idle::Sleep });
    load = arguments.address.iter().fold(load, |load, &address| load.address(address));
    load = arguments.gateway.iter().fold(load, |load, &gateway| load.gateway(gateway));
    if let Some(count) = arguments.addresses {
        load = load.consecutive_addresses(count);
    }
    if let Some(warm_up) = arguments.warmup {
        load = load.warm_up(warm_up);
    }
    if let Some(rate) = arguments.rate {
        load = load.rate(rate);
    }
    if let Some(direction) = arguments.direction {
        load = load.direction(direction);
    }
    match &arguments.request {
        Some(path) => load.request(path),
        None => load,
    }
}

/// Shows progress on a terminal, a line a second, and nothing in a pipe.
fn shown() -> impl FnMut(Progress) {
    let is_terminal = io::stderr().is_terminal();
    let begun = Instant::now();
    let (mut last, mut before) = (begun, Progress::default());
    move |progress| {
        let since = last.elapsed();
        if !is_terminal || since < PROGRESS {
            return;
        }
        let per_second = (progress.completed - before.completed) as f64 / since.as_secs_f64();
        let Progress { open, failed, .. } = progress;
        eprintln!(
            "xskip: after {:.0} s {open} connections open, {per_second:.0} completed a second, {failed} failed",
            begun.elapsed().as_secs_f64()
        );
        (last, before) = (Instant::now(), progress);
    }
}

fn tell(report: &LoadReport, json: Option<&Path>) -> Result<(), Failure> {
    let figures = json.map(|_| serde_json::to_string_pretty(report)).transpose()?;
    match (json, figures) {
        (Some(path), Some(figures)) if path == Path::new("-") => println!("{figures}"),
        (Some(path), Some(figures)) => {
            fs::write(path, figures + "\n").map_err(|error| format!("could not write {}: {error}", path.display()))?;
            println!("{report}");
        }
        _ => println!("{report}"),
    }
    if let Some(obstacle) = &report.obstacle {
        eprintln!("xskip: connections could not be begun: {obstacle}");
    }
    Ok(())
}
