//! The scenarios with one client and two servers: this crate's and the kernel's, each in turn, driven by the same load.

pub(in crate::bench) mod client;
#[cfg(test)]
mod tests;

use self::client::{CONNECTIONS_PER_ADDRESS, Figures, Job, Mode};
use super::{
    BenchError,
    account::{self, Sample, Usage},
    contender::{
        Contender,
        serving::{ServeOptions, ServerRole, Serving},
    },
    placement::Placement,
    scenario::{BULK, CONNECT_RATE, HTTP, IDLE_CONNECTIONS, LATENCY, Scenario},
    summary::{Metrics, Report, Results},
    turns::{Progress, take_turns},
};
use crate::{
    host::{Link, ethtool},
    lab::{INTERFACE, Lab, LabName, LabOptions},
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

/// The first part of a client's work, in which nothing is measured: connections are opened, and caches fill.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the server has to do, and the client with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Requests on connections that stay: see [`HTTP`].
    Http,
    /// Connections with one request each: see [`CONNECT_RATE`].
    ConnectRate,
    /// As many bytes as will go: see [`BULK`].
    Bulk,
    /// Sixty-four bytes there and back: see [`LATENCY`].
    Latency,
    /// Connections that are silent: see [`IDLE_CONNECTIONS`].
    IdleConnections,
}

impl Work {
    /// The scenario of which it is a part.
    pub fn scenario(self) -> &'static Scenario {
        match self {
            Self::Http => &HTTP,
            Self::ConnectRate => &CONNECT_RATE,
            Self::Bulk => &BULK,
            Self::Latency => &LATENCY,
            Self::IdleConnections => &IDLE_CONNECTIONS,
        }
    }

    /// How many connections there are unless one says otherwise.
    pub fn connections(self) -> u32 {
        match self {
            Self::Http | Self::ConnectRate => 64,
            Self::Bulk | Self::Latency => 1,
            Self::IdleConnections => 100_000,
        }
    }

    /// The most connections that make sense.
    pub fn most_connections(self) -> u32 {
        match self {
            Self::Http | Self::ConnectRate | Self::Bulk | Self::Latency => CONNECTIONS_PER_ADDRESS,
            Self::IdleConnections => 10_000_000,
        }
    }

    /// What `server_cpu_...` is called here, and its parts.
    fn costs(self) -> Option<[&'static str; 5]> {
        match self {
            Self::Http => Some([
                "server_cpu_us_per_request",
                "server_core_us_per_request",
                "delivery_us_per_request",
                "server_process_us_per_request",
                "server_softirq_us_per_request",
            ]),
            Self::ConnectRate => Some([
                "server_cpu_us_per_connection",
                "server_core_us_per_connection",
                "delivery_us_per_connection",
                "server_process_us_per_connection",
                "server_softirq_us_per_connection",
            ]),
            Self::Bulk | Self::Latency | Self::IdleConnections => None,
        }
    }
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the server has to do.
    pub work: Work,
    /// How long each contender is measured, in each round: twice in [`Work::Bulk`], and held for so long in
    /// [`Work::IdleConnections`].
    pub duration: Duration,
    /// How often each contender has its turn.
    pub rounds: usize,
    /// Who takes part, of [`Contender::COMPARED`].
    pub contenders: Vec<Contender>,
    /// Connections at a time, 1 to [`Work::most_connections`].
    pub connections: u32,
    /// The MTU of the lab, bytes.
    pub mtu: u32,
    /// Whether this crate's client and server look for work without ever sleeping.
    pub spin: bool,
    /// The program `xskip`, which runs as client and as server.
    pub program: PathBuf,
}

impl Comparison {
    /// A comparison of all contenders in this work.
    pub fn new(work: Work, program: impl Into<PathBuf>) -> Self {
        Self {
            work,
            duration: Duration::from_secs(10),
            rounds: 3,
            contenders: Contender::COMPARED.to_vec(),
            connections: work.connections(),
            mtu: 1_500,
            spin: false,
            program: program.into(),
        }
    }

    /// Measures. `progress` hears of what goes on; `interrupted` may become true at any time, and ends it all with nothing left
    /// behind.
    ///
    /// # Errors
    /// [`BenchError`] says what went wrong. A contender that this machine cannot run is none: the report says so.
    pub fn run(&self, mut progress: impl FnMut(Progress), interrupted: &AtomicBool) -> Result<Report, BenchError> {
        self.check()?;
        let (scenario, placement) = (self.work.scenario(), Placement::choose()?);
        let records = take_turns(&self.contenders, self.rounds, &mut progress, |contender, progress| {
            let metrics = self.turn(contender, placement, interrupted)?;
            progress(Progress::Measured { scenario, contender: contender.name(), metrics: metrics.clone() });
            Ok(metrics)
        })?;
        let results = records.into_iter().map(|record| {
            let name = record.contender.to_string();
            match record.unavailable {
                Some(reason) => Results::unavailable(name, reason),
                None => Results::new(name, record.turns),
            }
        });
        let mut report = Report::new(scenario, results.collect());
        report.commands = vec![self.command()];
        report.placement = self.describe(placement);
        report.notes = self.notes(placement);
        Ok(report)
    }

    /// Looks whether it makes sense, before anything is made: [`Comparison::run`] does so, too.
    ///
    /// # Errors
    /// [`BenchError::Connections`] and [`BenchError::NotInScenario`].
    pub fn check(&self) -> Result<(), BenchError> {
        let scenario = self.work.scenario().name;
        let (asked, most) = (self.connections, self.work.most_connections());
        if !(1..=most).contains(&asked) {
            return Err(BenchError::Connections { scenario, asked, most });
        }
        match self.contenders.iter().find(|contender| !Contender::COMPARED.contains(contender)) {
            Some(&contender) => Err(BenchError::NotInScenario { scenario, contender }),
            None => Ok(()),
        }
    }

    fn turn(
        &self,
        contender: Contender,
        placement: Placement,
        interrupted: &AtomicBool,
    ) -> Result<Metrics, BenchError> {
        let name: LabName = format!("bench{}", std::process::id()).parse()?;
        let lab = Lab::temporary_unless(&LabOptions { name, mtu: self.mtu, ..LabOptions::default() }, interrupted)?;
        let stage = Stage { comparison: self, contender, lab: &lab, placement, interrupted };
        match self.work {
            Work::Http => stage.pages(Mode::KeepAlive, "requests_per_second", "failed_requests"),
            Work::ConnectRate => stage.pages(Mode::Connect, "connections_per_second", "failed_connections"),
            Work::Bulk => stage.bulk(),
            Work::Latency => stage.latency(),
            Work::IdleConnections => stage.idle(),
        }
    }

    /// As one would type it.
    fn command(&self) -> String {
        let names: Vec<_> = self.contenders.iter().map(Contender::to_string).collect();
        let mut command = format!(
            "xskip bench {} --duration {} --rounds {} --contenders {} --connections {}",
            self.work.scenario().name,
            self.duration.as_secs_f64(),
            self.rounds,
            names.join(","),
            self.connections,
        );
        if self.work == Work::Bulk {
            command.push_str(&format!(" --mtu {}", self.mtu));
        }
        if self.spin {
            command.push_str(" --spin");
        }
        command
    }

    fn describe(&self, placement: Placement) -> Vec<String> {
        let Placement { server, clients } = placement;
        let kernel = match self.work {
            Work::Http | Work::ConnectRate => "nginx, with one worker",
            Work::IdleConnections => "nginx, with as many workers as it takes to have the descriptors",
            Work::Bulk => "nginx that sends a file from the page cache, and a small server that reads and throws away",
            Work::Latency => "a small server that waits for events and sends back what it reads",
        };
        let idle = if self.spin { "which never sleeps" } else { "which sleeps when there is nothing to do" };
        vec![
            format!(
                "core {server}: the server. xskip: `xskip serve`, {idle}. kernel: {kernel}, on the kernel's sockets."
            ),
            format!("core {clients}: the client, `xskip load`, the same for all: this crate's stack on AF_XDP."),
        ]
    }

    /// What one has to know about the numbers.
    fn notes(&self, placement: Placement) -> Vec<String> {
        let mut notes = vec![DELIVERY.to_owned()];
        if self.work.costs().is_some() {
            notes.extend(COSTS.map(str::to_owned));
        }
        notes.push(match self.work {
            Work::IdleConnections => MEMORY.to_owned(),
            Work::Bulk => format!("{OFFLOADS} The MTU was {} bytes.", self.mtu),
            Work::Http | Work::ConnectRate | Work::Latency => REST.to_owned(),
        });
        if placement.server == placement.clients {
            notes.push("There is one core only: client and server were in each other's way.".to_owned());
        }
        notes
    }
}

/// Where the kernel works for whom.
const DELIVERY: &str = "A veth delivers on the sender's core. So what the client sends is received on the client's core: by the \
     kernel's TCP for the kernel's server, and by the XDP program, which copies it into the rings, for xskip. What the server \
     sends is received on the server's core, by the client's XDP program. The kernel's congestion control is Reno.";

/// What the cost of a request is made of.
const COSTS: [&str; 3] = [
    "The server's CPU time is that of the server's core and the softirq time of the client's core, in which the server's side \
     received: neither contender hides work in the kernel. What the client's XDP program did on the server's core is in it for \
     both of them, although it is the client's, because this kernel does not tell it apart: a ratio between them is nearer to 1 \
     than it would be without.",
    "The time of the server's core is all that it did but idle, or the time of the server's process and of all softirqs on that \
     core, whichever is less: each is a bound from above, the first one with whatever else ran there, the second one with \
     softirqs that may be counted twice, because a kernel that does not time them has those in /proc/PID/stat that ran while \
     the process did. Idle time is measured by the kernel; softirq time is sampled at each tick of its clock.",
    "Times are taken over the middle of a turn, and divided by the rate over the whole of it.",
];

const REST: &str = "In shares of busy cores, whatever else ran on them is counted, too.";

const OFFLOADS: &str = "Segmentation offload, checksum offload and receive offload (GRO) were off at the server's end, and \
     AF_XDP has none: every frame on the link was a segment.";

const MEMORY: &str = "Memory is the most that was in use while the connections were held, less what was in use before the \
     first: tables that a server fills when it starts are not in it, but in the line that divides the whole process. For xskip it \
     is the resident memory of its process, which is all there is. For the kernel it is that of nginx, the slabs of its sockets \
     and of what watches them, and one file and one directory entry for each socket. The client's connections are not the \
     kernel's, and not in it.";

/// Where a turn takes place.
struct Stage<'a> {
    comparison: &'a Comparison,
    contender: Contender,
    lab: &'a Lab,
    placement: Placement,
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    fn serve(&self, role: ServerRole) -> Result<Serving, BenchError> {
        let Comparison { connections, spin, program, .. } = self.comparison;
        let options = ServeOptions {
            role,
            core: self.placement.server,
            connections: *connections,
            spin: *spin,
            program: program.as_path(),
        };
        Ok(Serving::start(self.contender, self.lab, &options)?)
    }

    fn job<'s>(&'s self, mode: Mode, server: &'s Serving) -> Job<'s> {
        let Comparison { connections, spin, duration, program, .. } = self.comparison;
        Job {
            program: Path::new(program),
            core: self.placement.clients,
            target: server.target(),
            mode,
            request: server.request(),
            connections: *connections,
            warm_up: WARM_UP,
            duration: *duration,
            spin: *spin,
        }
    }

    /// Lets the client drive a server, and looks at both cores while it does.
    fn drive(&self, role: ServerRole, mode: Mode) -> Result<(Figures, Option<Usage>), BenchError> {
        let server = self.serve(role)?;
        let mut client = self.job(mode, &server).start(self.lab.client().namespace())?;
        let stats = server.stats();
        // The client has begun by then, and is not at its end yet.
        let duration = self.comparison.duration;
        client.wait_until(WARM_UP + duration / 4, self.interrupted)?;
        let before = Sample::take(self.placement, &stats);
        client.wait_until(WARM_UP + duration * 19 / 20, self.interrupted)?;
        let usage = before.and_then(|before| Some(Sample::take(self.placement, &stats)?.since(&before)));
        let figures = client.finish(self.interrupted, || ())?;
        server.stop()?;
        Ok((figures, usage))
    }

    fn pages(&self, mode: Mode, rate: &'static str, failed: &'static str) -> Result<Metrics, BenchError> {
        let (figures, usage) = self.drive(ServerRole::Pages, mode)?;
        let mut metrics = Metrics::default();
        metrics.set(rate, figures.per_second);
        metrics.set("latency_us_p50", figures.latency().p50);
        metrics.set("latency_us_p99", figures.latency().p99);
        if mode == Mode::Connect {
            metrics.set("handshake_us_p50", figures.handshake().p50);
            metrics.set("handshake_us_p99", figures.handshake().p99);
        }
        if let Some(names) = self.comparison.work.costs() {
            // With one core for both there is no telling whose work it was.
            let usage = usage.filter(|_| self.placement.server != self.placement.clients);
            set_costs(&mut metrics, names, usage, figures.per_second);
        }
        set_cores(&mut metrics, ["server_core_busy_percent", "client_core_busy_percent"], usage);
        metrics.set(failed, figures.failed_total);
        Ok(metrics)
    }

    fn bulk(&self) -> Result<Metrics, BenchError> {
        self.lab.server().run(|| {
            let link = Link::find(INTERFACE)?;
            ethtool::Ethtool::open()?.set_features(&link, ethtool::no_offloads()).map(drop)
        })??;
        let (down, down_usage) = self.drive(ServerRole::Large, Mode::Download)?;
        let (up, up_usage) = self.drive(ServerRole::Discard, Mode::Upload)?;
        let mut metrics = Metrics::default();
        metrics.set("download_gbit_per_second", down.download_gbit_per_second);
        metrics.set("upload_gbit_per_second", up.upload_gbit_per_second);
        let names = ["download_server_core_busy_percent", "download_client_core_busy_percent"];
        set_cores(&mut metrics, names, down_usage);
        set_cores(&mut metrics, ["upload_server_core_busy_percent", "upload_client_core_busy_percent"], up_usage);
        metrics.set("failed_connections", sum(down.failed_total, up.failed_total));
        Ok(metrics)
    }

    fn latency(&self) -> Result<Metrics, BenchError> {
        let (figures, usage) = self.drive(ServerRole::Echo, Mode::Latency)?;
        let mut metrics = Metrics::default();
        metrics.set("rtt_us_p50", figures.latency().p50);
        metrics.set("rtt_us_p99", figures.latency().p99);
        metrics.set("rtt_us_p999", figures.latency().p999);
        metrics.set("round_trips_per_second", figures.per_second);
        set_cores(&mut metrics, ["server_core_busy_percent", "client_core_busy_percent"], usage);
        metrics.set("failed_round_trips", figures.failed_total);
        Ok(metrics)
    }

    fn idle(&self) -> Result<Metrics, BenchError> {
        let server = self.serve(ServerRole::Hold)?;
        let is_kernel = self.contender == Contender::Kernel;
        let sockets = || if is_kernel { account::sockets() } else { Some(0) };
        let before = (server.resident(), sockets());
        let mut most = before;
        let client = self.job(Mode::Idle, &server).start(self.lab.client().namespace())?;
        let figures = client.finish(self.interrupted, || {
            most = (most.0.max(server.resident()), most.1.max(sockets()));
        })?;
        server.stop()?;
        let held = figures.established.filter(|&held| held > 0.0);
        let each = |most: Option<u64>, before: Option<u64>| Some(most?.saturating_sub(before?) as f64 / held?);
        let (process, kernel) = (each(most.0, before.0), each(most.1, before.1));
        let mut metrics = Metrics::default();
        metrics.set("connections", figures.established);
        metrics.set("bytes_per_connection", sum(process, kernel));
        metrics.set("server_process_bytes_per_connection", process);
        metrics.set("server_kernel_bytes_per_connection", kernel);
        metrics.set("server_resident_bytes_per_connection", each(most.0, Some(0)));
        metrics.set("client_bytes_per_connection", figures.resident_bytes_per_connection);
        metrics.set("failed_connections", figures.failed_total);
        Ok(metrics)
    }
}

fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? + other?)
}

/// Sets what a request cost the server: all, its core's part, the client's core's part; then what of it was in the server's
/// process, and what in softirqs of its core.
fn set_costs(metrics: &mut Metrics, names: [&'static str; 5], usage: Option<Usage>, per_second: Option<f64>) {
    let values = usage.map(|usage| {
        let Usage { server_softirq, server_process, client_softirq, .. } = usage;
        [usage.server() + client_softirq, usage.server(), client_softirq, server_process, server_softirq]
    });
    for (index, name) in names.into_iter().enumerate() {
        // A rate of nothing makes it infinite, which is not taken.
        metrics.set(name, values.zip(per_second).map(|(values, rate)| values[index] * 1e6 / rate));
    }
}

fn set_cores(metrics: &mut Metrics, [server, client]: [&'static str; 2], usage: Option<Usage>) {
    metrics.set(server, usage.map(|usage| usage.server_core * 100.0));
    metrics.set(client, usage.map(|usage| usage.client_core * 100.0));
}
