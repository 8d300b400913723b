//! `xskip serve`: one of the bundled services, on an interface.

use super::{
    Failure, bad_use,
    interfaces::{Interface, Interfaces},
    list::{Core, NumberList},
    number,
    observe::{self, Observation},
    print,
    size::Size,
};
use clap::{Args, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};
use xskip_cli::{
    Server,
    app::{Chargen, Discard, Echo, Http, http::Timeouts},
    config::{KeepAlive, StackConfig},
    runtime::{Cookies, Running, RuntimeError, StopSignals},
    tcp::MaxSegment,
    worker::Idle,
    xdp::Require,
};

/// Room for more is more than a machine has memory to touch.
const MAX_CONNECTIONS: i64 = 1 << 24;
const MAX_FRAMES: i64 = 1 << 24;
/// A year.
const MAX_DRAIN: u64 = 365 * 86_400;

/// A year is as good as never.
const MAX_SECONDS: i64 = 365 * 24 * 3_600;

/// What is typed behind `xskip serve`.
#[derive(Debug, Args)]
#[command(after_help = "Example, in one terminal and then in another:\n  \
    sudo xskip lab up\n  \
    sudo xskip lab exec server -- xskip serve --interface veth0 --address 198.18.0.1/24 --port 80 --app http --ladder\n  \
    sudo xskip lab exec client -- curl http://198.18.0.1/\n\n\
    On two interfaces, each with its own address:\n  \
    sudo xskip serve --interface eth0 --address 192.0.2.80/24 --interface eth1 --address 198.51.100.80/24 --port 80")]
pub struct Arguments {
    #[command(flatten)]
    pub(super) interfaces: Interfaces,

    /// Ports to listen on, such as 80 or 80,8080
    #[arg(long, value_name = "LIST", default_value = "")]
    port: NumberList<u16>,

    /// Serve the same ports over UDP, too: echo, discard or chargen, whose answers are no longer than what they answer
    #[arg(long)]
    udp: bool,

    /// Open a connection to there, for the same service; may be given again
    #[arg(long, value_name = "IP:PORT", value_parser = number::socket_address)]
    connect: Vec<SocketAddr>,

    /// Do not ask at start whether another station has one of these addresses
    #[arg(long)]
    no_probe: bool,

    /// The service behind them
    #[arg(long, value_enum, default_value_t = App::Http)]
    app: App,

    /// Cores to pin the workers to, in turn [default: all that this process may use]
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    cores: NumberList<Core>,

    /// The least to be content with: nothing, native or zero-copy; less is an error instead of a fall-back
    #[arg(long, value_name = "WHAT", default_value_t = Require::Nothing)]
    require: Require,

    /// Look for work without ever sleeping: the lowest latency, for a whole core each
    #[arg(long)]
    spin: bool,

    /// Poll the driver for so many microseconds after the last frame, before waiting for an interrupt: for NICs, and without
    /// effect on veth
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    busy_poll: Option<u32>,

    /// Frames of each queue's memory: received packets, and those on their way out [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=MAX_FRAMES))]
    frames: Option<u32>,

    /// Put that memory into huge pages, which must have been set aside (`sysctl vm.nr_hugepages=N`)
    #[arg(long)]
    huge_pages: bool,

    /// SYN cookies: auto (as the pressure asks for), always (in XDP), worker (in the workers only) or never
    #[arg(long, value_enum, default_value_t = CookieMode::Auto, hide_possible_values = true)]
    cookies: CookieMode,

    /// Hexadecimal digits, 32 of them, in a file: the secret of cookies, for servers that accept each other's. Where the file
    /// changes, the new one counts from the next epoch on, 64 seconds at most
    #[arg(long, value_name = "FILE")]
    cookie_master: Option<PathBuf>,

    /// Accept, for the first 128 seconds, handshakes that a server with the same master has begun whose place this one takes;
    /// --cookies worker and always accept them at any time
    #[arg(long, requires = "cookie_master")]
    take_over: bool,

    /// SYN-ACKs a second that XDP sends to one source prefix (/24 or /56), on each core; above that SYNs are answered when they
    /// are repeated [default: 20000 while a flood exceeds a million a second, else without end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    syn_budget: Option<u32>,

    /// The most data in a segment, sent or asked for, options included, as TCP_MAXSEG has it [default: what the link takes]
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(i64::from(MaxSegment::LEAST)..))]
    mss: Option<u16>,

    /// Connections that each queue may have at once; another one is refused
    #[arg(long, value_name = "N", default_value_t = StackConfig::default().max_connections,
        value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    max_connections: u32,

    /// Memory for the buffers of all connections, such as 512M or 2G: beyond that, those are reset that make the least use of it
    /// [default: a quarter of what this machine, or the process's control group, has]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,

    /// Seconds after which a client that says nothing is reset, and with HTTP one that has not asked for anything again is
    /// closed; 0 for never. Where nearly all connections are taken, clients that never said anything have less
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=MAX_SECONDS))]
    idle_timeout: u32,

    /// Ask peers that have been silent for so many seconds whether they are still there, and end what they do not answer for
    /// [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=MAX_SECONDS))]
    keep_alive: Option<u32>,

    /// Seconds that connections may go on after the first signal, before they are reset; those of HTTP are closed with the answer
    /// they wait for, idle ones at once. A second signal resets them all
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_DRAIN))]
    drain: u64,

    #[command(flatten)]
    confine: super::confine::Arguments,

    #[command(flatten)]
    observe: observe::Arguments,

    #[command(flatten)]
    control: super::control::Arguments,

    /// Print all counters at the end, as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// The bundled services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Sends everything back (RFC 862)
    Echo,
    /// HTTP/1.1: `/`, and `/bytes/N` for N bytes
    Http,
    /// Reads everything and says nothing (RFC 863)
    Discard,
    /// Sends characters without end (RFC 864)
    Chargen,
}

/// Where SYN cookies are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CookieMode {
    /// As the pressure asks for
    Auto,
    /// In XDP, always
    Always,
    /// In the workers, always, and never in XDP
    Worker,
    /// Never, as long as handshakes can be remembered
    Never,
}

impl From<CookieMode> for Cookies {
    fn from(mode: CookieMode) -> Self {
        match mode {
            CookieMode::Auto => Self::Auto,
            CookieMode::Always => Self::Always,
            CookieMode::Worker => Self::Worker,
            CookieMode::Never => Self::Never,
        }
    }
}

/// Serves until a signal comes.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Some(contradiction) = arguments.confine.contradiction() {
        return Ok(bad_use(contradiction));
    }
    if arguments.udp && arguments.app == App::Http {
        return Ok(bad_use("HTTP is spoken over TCP only: leave out --udp, or choose another --app"));
    }
    // Before rights are given up, as it takes some.
    let control = arguments.control.prepare(arguments.interfaces.names().first().copied())?;
    let observation = Observation::begin(&arguments.observe, &arguments.interfaces.names())?;
    let server = build(&arguments, &observation)?;
    let signals = StopSignals::catch()?;
    let running = match start(&server, &arguments) {
        Ok(running) => running,
        Err(error) if is_bad_use(&error) => return Ok(bad_use(error)),
        Err(error) => return Err(error.into()),
    };
    running.setups().iter().for_each(print::note);
    observe::say_where(&arguments.observe);
    let _attended = control.begin(running.inspector());
    print::note("serving; Ctrl-C ends it");
    let ended = running.until(signals);
    let seen = observation.close();
    let report = match ended {
        Ok(report) => report,
        Err(error) => {
            seen.tell()?;
            return Err(error.into());
        }
    };
    // Whether or not anybody reads the counters, the rest is said.
    let printed = match arguments.json {
        true => print::last(format_args!("{:#}", observe::as_json(&report, &seen))),
        false => Ok(()),
    };
    observe::sum_up(&report);
    seen.tell()?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

fn build(arguments: &Arguments, observation: &Observation) -> Result<Server, Failure> {
    let mut server = on(arguments.interfaces.iter())
        .cores(arguments.cores.iter().map(|core| core.0))
        .require(arguments.require)
        .cookies(arguments.cookies.into())
        .huge_pages(arguments.huge_pages)
        .probe(!arguments.no_probe)
        .config(stack_config(arguments))
        .idle(if arguments.spin { Idle::Spin } else { Idle::Sleep })
        .drain(Duration::from_secs(arguments.drain));
    for port in arguments.port.iter() {
        server = server.port(port);
        if arguments.udp {
            server = server.udp_port(port);
        }
    }
    for &remote in &arguments.connect {
        server = server.connect(remote);
    }
    if let Some(micros) = arguments.busy_poll {
        server = server.busy_poll(Duration::from_micros(micros.into()));
    }
    if let Some(Size(bytes)) = arguments.memory {
        server = server.memory(bytes);
    }
    if let Some(frames) = arguments.frames {
        server = server.frames(frames);
    }
    if let Some(answers) = arguments.syn_budget {
        server = server.syn_budget(answers);
    }
    if let Some(octets) = arguments.mss {
        server = server.max_segment(MaxSegment::new(octets));
    }
    if let Some(path) = &arguments.cookie_master {
        server = server.cookie_master_file(path);
    }
    if let Some(confinement) = arguments.confine.confinement() {
        server = server.confinement(confinement);
    }
    if let Some(address) = arguments.observe.metrics {
        server = server.metrics(address);
    }
    if arguments.take_over {
        server = server.takes_over();
    }
    Ok(match observation.tap() {
        Some(tap) => server.tap(tap),
        None => server,
    })
}

/// A server on these interfaces, of which there is one at least.
fn on<'a>(mut interfaces: impl Iterator<Item = &'a Interface>) -> Server {
    let first = interfaces.next().expect("clap has required one");
    interfaces.fold(with(Server::on(&first.name), first), |server, one| with(server.and_on(&one.name), one))
}

/// Says of the interface that was named last what is said of this one.
fn with(mut server: Server, interface: &Interface) -> Server {
    for &address in &interface.addresses {
        server = server.address(address);
    }
    for &address in &interface.shared {
        server = server.shared_address(address);
    }
    for &gateway in &interface.gateways {
        server = server.gateway(gateway);
    }
    if let Some(id) = interface.vlan {
        server = server.vlan(id);
    }
    if let Some(station) = interface.answers_to {
        server = server.answers_to(station);
    }
    match &interface.queues {
        Some(queues) => server.queues(queues.iter()),
        None => server,
    }
}

fn stack_config(arguments: &Arguments) -> StackConfig {
    let mut config = StackConfig { max_connections: arguments.max_connections, ..StackConfig::default() };
    config.silence = idle_timeout(arguments);
    config.tcp.keep_alive = arguments.keep_alive.map(|seconds| {
        let (idle, default) = (Duration::from_secs(seconds.into()), KeepAlive::default());
        KeepAlive { idle, interval: default.interval.min(idle), ..default }
    });
    config
}

/// How long a client may say nothing, if not for ever.
fn idle_timeout(arguments: &Arguments) -> Option<Duration> {
    (arguments.idle_timeout > 0).then(|| Duration::from_secs(arguments.idle_timeout.into()))
}

fn start(server: &Server, arguments: &Arguments) -> Result<Running, RuntimeError> {
    let pause = idle_timeout(arguments).unwrap_or(Duration::MAX);
    let timeouts = Timeouts { pause, ..Timeouts::default() };
    match arguments.app {
        App::Echo => server.start(|| Echo),
        App::Http => server.start(move || Http::new(timeouts)),
        App::Discard => server.start(|| Discard),
        App::Chargen => server.start(|| Chargen),
    }
}

/// Whether the mistake is in what was typed, not in what was found.
fn is_bad_use(error: &RuntimeError) -> bool {
    matches!(
        error,
        RuntimeError::NoAddress
            | RuntimeError::NoAddressOn { .. }
            | RuntimeError::InterfaceTwice { .. }
            | RuntimeError::TooManyInterfaces { .. }
            | RuntimeError::NoPort
            | RuntimeError::PortZero
            | RuntimeError::Vlan { .. }
            | RuntimeError::Cidr(_)
            | RuntimeError::Address(_)
            | RuntimeError::AddressTwice { .. }
            | RuntimeError::OwnGateway(_)
            | RuntimeError::QueueTwice { .. }
            | RuntimeError::Connect(_)
            | RuntimeError::Udp(_)
    )
}
