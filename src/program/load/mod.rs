//! A load generator on this stack: a client of many connections, over AF_XDP, that says how a server keeps up.
//!
//! ```no_run
//! use std::{sync::atomic::AtomicBool, time::Duration};
//! use xskip_cli::load::{Load, Mode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let load = Load::new("veth0", "198.18.0.1:80".parse()?, Mode::Keepalive)
//!     .address("198.18.0.100/24".parse()?)
//!     .connections(64)
//!     .duration(Duration::from_secs(10));
//! let report = load.run(&AtomicBool::new(false))?;
//! println!("{} requests a second, {:?} µs the median", report.per_second, report.latency_us.p50);
//! # Ok(())
//! # }
//! ```
//!
//! In a closed loop there are so many connections, and on each the next request follows the response to the last one. A server
//! that stalls is then asked less. In an open loop, at a rate, requests or connections are due at moments that nobody delays,
//! and their latency counts from there, however late they could be sent (no coordinated omission).

mod chunks;
mod client;
mod error;
mod exchange;
mod mode;
mod options;
mod report;
mod response;
mod schedule;
mod tally;
mod task;

#[cfg(test)]
mod tests;

pub use self::{
    error::LoadError,
    mode::{Direction, Mode},
    report::{LoadReport, Percentiles, WorkerFigures},
    tally::Failures,
};

use self::{
    client::Client,
    tally::Tally,
    task::{SharedProgress, Task},
};
use crate::{
    host::{Link, confinement::Confinement, memory},
    runtime::{Inspector, Running, Runtime, RuntimeError},
    stack::Cidr,
    tcp::MaxSegment,
    worker::{Context, Idle, Tap},
};
use crossbeam::channel::{Receiver, RecvTimeoutError, unbounded};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often progress is told, and interruption heard of.
const POLL: Duration = Duration::from_millis(50);

/// Connections that may be opening at a time, unless told otherwise: a server's backlog is not what is measured.
const HALF_OPEN: u32 = 256;

/// A load to be. Nothing happens, and nothing is checked, before [`Load::run`].
#[derive(Clone, Debug)]
pub struct Load {
    interface: String,
    target: SocketAddr,
    mode: Mode,
    addresses: Vec<Cidr>,
    consecutive: Option<u32>,
    gateways: Vec<IpAddr>,
    probe: bool,
    vlan: Option<u16>,
    max_segment: MaxSegment,
    connections: u32,
    half_open: u32,
    duration: Duration,
    warm_up: Option<Duration>,
    ramp: Duration,
    rate: Option<u64>,
    timeout: Duration,
    direction: Option<Direction>,
    request: Option<String>,
    queues: Vec<u32>,
    cores: Vec<usize>,
    idle: Idle,
    confinement: Option<Confinement>,
    tap: Option<Arc<dyn Tap>>,
    metrics: Option<SocketAddr>,
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Requests, connections, pings or downloads completed, from the beginning on.
    pub completed: u64,
    /// Connections open.
    pub open: u64,
    /// Whatever has failed.
    pub failed: u64,
}

impl Load {
    /// A load on `target` by way of an interface. Ten seconds on one connection, unless told otherwise.
    pub fn new(interface: impl Into<String>, target: SocketAddr, mode: Mode) -> Self {
        Self {
            interface: interface.into(),
            target,
            mode,
            addresses: Vec::new(),
            consecutive: None,
            gateways: Vec::new(),
            probe: true,
            vlan: None,
            max_segment: MaxSegment::default(),
            connections: 1,
            half_open: HALF_OPEN,
            duration: Duration::from_secs(10),
            warm_up: None,
            ramp: Duration::ZERO,
            rate: None,
            timeout: Duration::from_secs(10),
            direction: None,
            request: None,
            queues: Vec::new(),
            cores: Vec::new(),
            idle: Idle::default(),
            confinement: None,
            tap: None,
            metrics: None,
        }
    }

    /// Adds an address to connect from, which the kernel must not have. Each has 64,512 ports.
    #[must_use]
    pub fn address(mut self, address: Cidr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Connects from so many addresses, one behind the other, of which one was given.
    #[must_use]
    pub fn consecutive_addresses(mut self, count: u32) -> Self {
        self.consecutive = Some(count);
        self
    }

    /// Adds a router to what lies beyond the subnets of our addresses.
    #[must_use]
    pub fn gateway(mut self, address: IpAddr) -> Self {
        self.gateways.push(address);
        self
    }

    /// Uses a VLAN, from 1 to 4094, as [`Runtime::vlan`] does. By default it is none.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Limits the size of segments, those that are asked for and those that are sent, as [`Runtime::max_segment`] does.
    #[must_use]
    pub fn max_segment(mut self, limit: MaxSegment) -> Self {
        self.max_segment = limit;
        self
    }

    /// Has what is counted at this address of the kernel's, as [`Runtime::metrics`] does. By default nobody is told.
    #[must_use]
    pub fn metrics(mut self, address: SocketAddr) -> Self {
        self.metrics = Some(address);
        self
    }

    /// Whether it is asked at start if somebody has our addresses: see [`Runtime::probe`]. By default it is.
    #[must_use]
    pub fn probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }

    /// So many connections. With a rate in [`Mode::Connect`]: so many at a time at most.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// So many connections at most are being opened at a time, unless they are due at a rate. By default 256, which no server's
    /// backlog is too small for.
    #[must_use]
    pub fn half_open(mut self, connections: u32) -> Self {
        self.half_open = connections;
        self
    }

    /// How long it is measured. By default 10 s.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// How long it goes on before it is measured. By default 1 s.
    #[must_use]
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = Some(warm_up);
        self
    }

    /// Opens the connections evenly over such a time, in front of the warm-up. By default they are opened as fast as they come.
    #[must_use]
    pub fn ramp(mut self, ramp: Duration) -> Self {
        self.ramp = ramp;
        self
    }

    /// Makes it an open loop: so many requests, connections in [`Mode::Connect`] or pings in [`Mode::Latency`] are due a second.
    #[must_use]
    pub fn rate(mut self, per_second: u64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// How long nothing may come back before something has failed. By default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Which way the bytes of [`Mode::Bulk`] go. By default they come.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// What to ask for, such as `/bytes/1000`. By default `/`; and nothing in [`Mode::Bulk`], which then speaks no HTTP.
    #[must_use]
    pub fn request(mut self, path: impl Into<String>) -> Self {
        self.request = Some(path.into());
        self
    }

    /// Uses these queues of the interface only. By default it is all of them.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = u32>) -> Self {
        self.queues.extend(queues);
        self
    }

    /// Pins the workers to these cores, in turn. By default it is all that the caller's thread may use.
    #[must_use]
    pub fn cores(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        self.cores.extend(cores);
        self
    }

    /// What workers do when there is nothing to do. By default they sleep.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = idle;
        self
    }

    /// Gives up what the load does not need once everything is open, as [`Runtime::confinement`] does. By default nothing.
    #[must_use]
    pub fn confinement(mut self, confinement: Confinement) -> Self {
        self.confinement = Some(confinement);
        self
    }

    /// Lets a tap look on at every frame, in and out.
    #[must_use]
    pub fn tap(mut self, tap: Arc<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Makes the load, until it is over or `interrupted` is set, and says what came of it.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with the request, or what stands in the way, and what to do about it.
    pub fn run(&self, interrupted: &AtomicBool) -> Result<LoadReport, LoadError> {
        self.run_watched(interrupted, |_| ())
    }

    /// Makes the load as [`Load::run`] does, and tells `watch` several times a second how far it is.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn run_watched(&self, interrupted: &AtomicBool, watch: impl FnMut(Progress)) -> Result<LoadReport, LoadError> {
        self.run_inspected(interrupted, watch, |_| ())
    }

    /// Makes the load as [`Load::run_watched`] does. `attend` gets what looks into it once it has begun; what that returns is kept until the
    /// load is over.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn run_inspected<T>(
        &self,
        interrupted: &AtomicBool,
        watch: impl FnMut(Progress),
        attend: impl FnOnce(Inspector) -> T,
    ) -> Result<LoadReport, LoadError> {
        let task = Arc::new(self.task()?);
        let resident_before = memory::resident("self");
        let shared = Arc::new(SharedProgress::default());
        let (sender, tallies) = unbounded();
        let client = {
            let (task, shared) = (task.clone(), shared.clone());
            move |cx: &mut Context<'_>| Client::new(task.clone(), cx.worker(), shared.clone(), sender.clone())
        };
        let running = self.runtime(&task)?.start(client)?;
        let _attended = attend(running.inspector());
        let (tallies, resident) = collect(&tallies, &shared, &running, interrupted, watch);
        let setup = running.setups()[0].clone();
        let server_report = running.stop()?;
        if let Some(diagnosis) = server_report.diagnosis() {
            tracing::warn!("{diagnosis}");
        }
        let grown = resident.zip(resident_before).map(|(after, before)| after.saturating_sub(before));
        Ok(LoadReport::new(&task, &setup, &tallies, grown))
    }

    /// What carries it.
    fn runtime(&self, task: &Task) -> Result<Runtime, LoadError> {
        let workers = match self.queues.len() {
            0 => Link::find(&self.interface).map_err(RuntimeError::from)?.rx_queues,
            count => count as u32,
        };
        let mut runtime = Runtime::on(&self.interface)
            .only_connects()
            .queues(self.queues.iter().copied())
            .cores(self.cores.iter().copied())
            .idle(self.idle)
            .lasting_numbers()
            .probe(self.probe)
            .config(Client::stack_config(task, workers.max(1)));
        if let Some(confinement) = &self.confinement {
            runtime = runtime.confinement(confinement.clone());
        }
        for address in self.local_addresses()? {
            runtime = runtime.address(address);
        }
        if let Some(id) = self.vlan {
            runtime = runtime.vlan(id);
        }
        if let Some(tap) = &self.tap {
            runtime = runtime.tap(tap.clone());
        }
        if let Some(address) = self.metrics {
            runtime = runtime.metrics(address);
        }
        Ok(self.gateways.iter().fold(runtime, |runtime, &gateway| runtime.gateway(gateway)))
    }
}

/// Waits until every worker has told its figures and left its connections. With them, what was resident when all connections
/// that idle were open, bytes.
fn collect(
    tallies: &Receiver<(usize, Tally)>,
    shared: &SharedProgress,
    running: &Running,
    interrupted: &AtomicBool,
    mut watch: impl FnMut(Progress),
) -> (Vec<(usize, Tally)>, Option<u64>) {
    let (mut told, mut resident) = (Vec::new(), None);
    loop {
        match tallies.recv_timeout(POLL) {
            Ok(tally) => told.push(tally),
            Err(RecvTimeoutError::Timeout) if told.is_empty() => watch(shared.progress()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return (told, resident),
        }
        if resident.is_none() && (!told.is_empty() || shared.are_ready(running.workers().len())) {
            resident = memory::resident("self");
        }
        if !running.is_running() {
            return (told, resident); // whoever stops it hears why
        }
        if interrupted.load(Ordering::Relaxed) {
            shared.stop();
        }
    }
}
