//! `xskip load`: the load generator.

use super::{
    Failure, bad_use,
    list::{Core, NumberList},
    number,
    observe::{self, Observation, Seen},
    print,
};
use clap::Args;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};
use xskip_cli::{
    Cidr,
    load::{Direction, Load, LoadReport, Mode, Progress},
    tcp::MaxSegment,
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
    Every response must have a status that says that all went well, 2xx or 304, and the length it\n\
    announces, or come in chunks. Failures are counted by kind, those of the warm-up too. Where\n\
    nothing at all comes back, what is waited for in the end has failed. With --rate, latencies\n\
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
    #[arg(long, value_name = "IP:PORT", value_parser = number::socket_address)]
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=RATE_MAX))]
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

    /// Cores to pin the workers to, in turn [default: all that this process may use]
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cores: NumberList<Core>,

    /// The router to what lies beyond the addresses' subnets; may be given again, once for each IP version
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,

    /// Do not ask at start whether another station has one of these addresses
    #[arg(long)]
    no_probe: bool,

    /// The VLAN to use, by frames with its tag (IEEE 802.1Q) [default: none, by untagged frames]
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4_094))]
    vlan: Option<u16>,

    /// The most data in a segment, sent or asked for, options included, as TCP_MAXSEG has it [default: what the link takes]
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(i64::from(MaxSegment::LEAST)..))]
    mss: Option<u16>,

    /// Look for work without ever sleeping: the lowest latency, for a whole core each
    #[arg(long)]
    spin: bool,

    #[command(flatten)]
    confine: super::confine::Arguments,

    #[command(flatten)]
    observe: observe::Arguments,

    #[command(flatten)]
    control: super::control::Arguments,

    /// Write the figures to a file as JSON, or to standard output for -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A century is more than anybody waits, and far from where sums of times overflow.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// More than any machine does, and far from where products with times overflow.
const RATE_MAX: u64 = 1_000_000_000;

fn seconds(text: &str) -> Result<Duration, String> {
    number::seconds(text, Duration::ZERO..=CENTURY)
}

/// Makes the load.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    if let Some(contradiction) = arguments.confine.contradiction() {
        return Ok(bad_use(contradiction));
    }
    // A file that cannot be written is found out now, not when all is measured; and once traffic comes, none is opened any more.
    let json = arguments.json.as_deref().map(open).transpose()?;
    let control = arguments.control.prepare(None)?;
    let observation = Observation::begin(&arguments.observe, &[&arguments.interface])?;
    let load = match observation.tap() {
        Some(tap) => build(&arguments).tap(tap),
        None => build(&arguments),
    };
    let ended = load.run_inspected(&interrupted, shown(), |inspector| control.begin(inspector));
    let seen = observation.close();
    let report = match ended {
        Err(error) if error.is_bad_use() => {
            return Ok(bad_use(error));
        }
        result => result?,
    };
    let told = tell(&report, &seen, json);
    seen.tell()?;
    told?;
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
        .cores(arguments.cores.iter().map(|core| core.0))
        .probe(!arguments.no_probe)
        .idle(if arguments.spin { Idle::Spin } else { Idle::Sleep });
    load = arguments.address.iter().fold(load, |load, &address| load.address(address));
    load = arguments.gateway.iter().fold(load, |load, &gateway| load.gateway(gateway));
    if let Some(id) = arguments.vlan {
        load = load.vlan(id);
    }
    if let Some(octets) = arguments.mss {
        load = load.max_segment(MaxSegment::new(octets));
    }
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
    if let Some(confinement) = arguments.confine.confinement() {
        load = load.confinement(confinement);
    }
    if let Some(address) = arguments.observe.metrics {
        load = load.metrics(address);
    }
    match &arguments.request {
        Some(path) => load.request(path),
        None => load,
    }
}

/// The figures, and what those who looked on have seen.
fn figures(report: &LoadReport, seen: &Seen) -> Result<String, Failure> {
    let Some(observers) = seen.as_json() else { return Ok(serde_json::to_string_pretty(report)?) };
    let mut figures = serde_json::to_value(report)?;
    if let Some(figures) = figures.as_object_mut() {
        figures.insert("observers".to_owned(), observers);
    }
    Ok(format!("{figures:#}"))
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
        print::note(format_args!(
            "after {:.0} s {open} connections open, {per_second:.0} completed a second, {failed} failed",
            begun.elapsed().as_secs_f64()
        ));
        (last, before) = (Instant::now(), progress);
    }
}

/// Where the figures go.
enum Output {
    Standard,
    File { file: File, path: PathBuf },
}

fn open(path: &Path) -> Result<Output, Failure> {
    if path == Path::new("-") {
        return Ok(Output::Standard);
    }
    // What is in it stays until there is something else to write.
    match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
        Ok(file) => Ok(Output::File { file, path: path.to_owned() }),
        Err(error) => Err(format!("could not write {}: {error}", path.display()).into()),
    }
}

fn replace(file: &mut File, figures: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    writeln!(file, "{figures}")
}

fn tell(report: &LoadReport, seen: &Seen, json: Option<Output>) -> Result<(), Failure> {
    let figures = figures(report, seen)?;
    match json {
        Some(Output::Standard) => print::last(figures)?,
        Some(Output::File { mut file, path }) => {
            replace(&mut file, &figures).map_err(|error| format!("could not write {}: {error}", path.display()))?;
            print::last(report)?;
        }
        None => print::last(report)?,
    }
    if let Some(obstacle) = &report.obstacle {
        print::note(format_args!("connections could not be begun: {obstacle}"));
    }
    Ok(())
}
