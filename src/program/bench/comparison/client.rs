//! The client of every contender: `xskip load`, a process of its own on the client's side.

use crate::{
    bench::{
        BenchError,
        process::Process,
        turns::{check, wait},
    },
    host::netns::Namespace,
    lab::{INTERFACE, PREFIX_V4, SideCommand},
};
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// The first of the client's addresses; those of the kernels in a lab are not among those that follow.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
/// Connections that an address has ports for, with some to spare.
pub(in crate::bench) const CONNECTIONS_PER_ADDRESS: u32 = 60_000;
/// How much longer than asked for a client may take: it starts, it resolves its neighbour, it takes leave.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections a second that any client opens.
const SLOWEST_OPENING: u32 = 5_000;
/// How often a client that runs is looked after.
const STEP: Duration = Duration::from_millis(100);

/// What a client is to do.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Job<'a> {
    /// The program of this crate.
    pub program: &'a Path,
    /// The core that is its own.
    pub core: usize,
    pub target: SocketAddr,
    pub mode: Mode,
    /// What is asked for, where anything is.
    pub request: &'a str,
    pub connections: u32,
    pub warm_up: Duration,
    pub duration: Duration,
    pub spin: bool,
}

/// How it uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Mode {
    KeepAlive,
    Connect,
    Download,
    Upload,
    Latency,
    Idle,
}

impl Mode {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::KeepAlive => &["--mode=keepalive"],
            Self::Connect => &["--mode=connect"],
            Self::Download => &["--mode=bulk", "--direction=download"],
            Self::Upload => &["--mode=bulk", "--direction=upload"],
            Self::Latency => &["--mode=latency"],
            Self::Idle => &["--mode=idle"],
        }
    }

    /// Whether it asks for anything.
    fn asks(self) -> bool {
        matches!(self, Self::KeepAlive | Self::Connect | Self::Download)
    }

    /// Source addresses. A client that opens connections again and again comes back to a port late, when the server has
    /// forgotten what it was used for.
    fn addresses(self, connections: u32) -> u32 {
        let enough = connections.div_ceil(CONNECTIONS_PER_ADDRESS);
        if self == Self::Connect { enough.max(32) } else { enough }
    }
}

impl Job<'_> {
    /// What is typed behind `xskip`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "load".to_owned(),
            format!("--interface={INTERFACE}"),
            format!("--address={FIRST_ADDRESS}/{PREFIX_V4}"),
            format!("--addresses={}", self.mode.addresses(self.connections)),
            format!("--target={}", self.target),
            format!("--connections={}", self.connections),
            format!("--duration={}", self.duration.as_secs_f64()),
            format!("--cores={}", self.core),
            "--json=-".to_owned(),
        ];
        arguments.extend(self.mode.arguments().iter().map(|&argument| argument.to_owned()));
        if self.mode.asks() {
            arguments.push(format!("--request={}", self.request));
        }
        // Where connections idle, the duration begins when all are open.
        if self.mode != Mode::Idle {
            arguments.push(format!("--warmup={}", self.warm_up.as_secs_f64()));
        }
        if self.spin {
            arguments.push("--spin".to_owned());
        }
        arguments
    }

    /// Starts the client.
    pub fn start(&self, side: &Namespace) -> Result<Client, BenchError> {
        let command = SideCommand::inside(side, self.program).args(self.arguments());
        let process = Process::start("xskip load", command, "")?;
        let opening = Duration::from_secs((self.connections / SLOWEST_OPENING).into());
        let allowed = self.warm_up + self.duration + opening + PATIENCE;
        Ok(Client { process, begun: Instant::now(), allowed })
    }
}

/// A client at work. Dropping it ends it.
#[derive(Debug)]
pub(in crate::bench) struct Client {
    process: Process,
    begun: Instant,
    allowed: Duration,
}

impl Client {
    /// Waits until so long after the client's start, for as long as it runs.
    pub fn wait_until(&mut self, after: Duration, interrupted: &AtomicBool) -> Result<(), BenchError> {
        while let Some(left) = after.checked_sub(self.begun.elapsed()).filter(|left| !left.is_zero()) {
            wait(left.min(STEP), interrupted)?;
            if self.process.ended()?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the client is done, looking around at every step, and reads its figures.
    pub fn finish(mut self, interrupted: &AtomicBool, mut look: impl FnMut()) -> Result<Figures, BenchError> {
        loop {
            check(interrupted)?;
            if let Some(output) = self.process.outcome()? {
                return Figures::parse(&output);
            }
            if self.begun.elapsed() > self.allowed {
                return Err(BenchError::ClientLate { seconds: self.allowed.as_secs() });
            }
            look();
            wait(STEP, interrupted)?;
        }
    }
}

/// What a client saw.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::bench) struct Figures {
    /// Requests, connections or round trips, each second.
    pub per_second: Option<f64>,
    /// Those that failed, for whatever reason.
    pub failed_total: Option<f64>,
    pub download_gbit_per_second: Option<f64>,
    pub upload_gbit_per_second: Option<f64>,
    pub latency_us: Option<Quantiles>,
    pub handshake_us: Option<Quantiles>,
    /// The most connections that were open at once.
    pub established: Option<f64>,
    pub resident_bytes_per_connection: Option<f64>,
}

/// Times, microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::bench) struct Quantiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
}

impl Figures {
    fn parse(output: &[u8]) -> Result<Self, BenchError> {
        serde_json::from_slice(output).map_err(BenchError::Figures)
    }

    pub fn latency(&self) -> Quantiles {
        self.latency_us.unwrap_or_default()
    }

    pub fn handshake(&self) -> Quantiles {
        self.handshake_us.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
