//! What a balancer is like, for people and for programs.

use crate::{
    balancer::{BackendStatus, Proxied, ServiceStatus, Status},
    lb::{Promise, State},
    time::{Instant, span},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

/// The form of a [`StatusReport`]: a number that changes when something has another meaning, not when something is added.
const VERSION: u32 = 1;

/// What a balancer is like now: what `xskip lb status --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// 1, as long as what is there means what it did.
    pub version: u32,
    /// The file by which it goes, as it was named.
    pub config: String,
    /// The file's own number.
    pub generation: Option<u64>,
    /// How many plans have been applied since the start.
    pub plans: u64,
    /// The interfaces.
    pub interfaces: Vec<String>,
    /// In order of name.
    pub services: Vec<ServiceReport>,
    /// Flows that are remembered.
    pub remembered: usize,
    /// How many there may be.
    pub remembered_limit: usize,
    /// Flows that are rewritten, in mode `nat`, as of some seconds ago; nothing where there can be none.
    #[serde(default)]
    pub rewritten: Option<u64>,
    /// How many there may be.
    #[serde(default)]
    pub rewritten_limit: Option<u32>,
    /// What has become of packets, by name; how many of them.
    pub outcomes: BTreeMap<String, u64>,
}

/// A service in a [`StatusReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// Its address and port; port 0 for every port.
    pub address: SocketAddr,
    /// Its protocol, as the file has it.
    pub protocol: String,
    /// Its mode, likewise.
    pub mode: String,
    /// How many rows its table has.
    pub rows: u32,
    /// Its flows that are rewritten, in mode `nat`, each of which has a port; as of some seconds ago.
    #[serde(default)]
    pub rewritten: Option<u64>,
    /// The server names that its connections are told apart by, in mode `proxy`.
    #[serde(default)]
    pub server_names: Vec<String>,
    /// How its connections ended so far, by name, in mode `proxy`.
    #[serde(default)]
    pub ended: BTreeMap<String, u64>,
    /// Who answers its SYNs, as the file has it.
    #[serde(default)]
    pub syn_proxy: String,
    /// What is promised in its backends' names; nothing where they answer SYNs themselves.
    #[serde(default)]
    pub promise: Option<PromiseReport>,
    /// Why they do, where the file wants it otherwise.
    #[serde(default)]
    pub syn_proxy_off: Option<String>,
    /// In order of name.
    pub backends: Vec<BackendReport>,
}

/// What SYN-ACKs in backends' names promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseReport {
    /// The largest segment, octets.
    pub mss: u16,
    /// The window, octets.
    pub window: u16,
    /// Whether timestamps are promised to who offers them.
    pub timestamps: bool,
    /// Whether SACK is, likewise.
    pub sack: bool,
    /// Whether scaled windows are, likewise.
    pub window_scaling: bool,
}

impl From<Promise> for PromiseReport {
    fn from(Promise { mss, window, timestamps, sack, window_scale }: Promise) -> Self {
        Self { mss, window, timestamps, sack, window_scaling: window_scale }
    }
}

impl From<&PromiseReport> for Promise {
    fn from(&PromiseReport { mss, window, timestamps, sack, window_scaling }: &PromiseReport) -> Self {
        Self { mss, window, timestamps, sack, window_scale: window_scaling }
    }
}

/// A backend in a [`StatusReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendReport {
    /// Its name.
    pub name: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// `serve`, `drain` or `off`.
    pub state: String,
    /// Seconds until what is left of a drain is given up; nothing where it may go on for ever, or nothing drains.
    pub drain_seconds: Option<u64>,
    /// Its weight.
    pub weight: u32,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why it is not up, or cannot be checked, by its last check.
    pub why: Option<String>,
    /// How often its health has become another since it came.
    #[serde(default)]
    pub health_changes: u64,
    /// Checks that have ended; nothing where it was never to be checked.
    #[serde(default)]
    pub checks: Option<u64>,
    /// Those of them that have failed.
    #[serde(default)]
    pub checks_failed: Option<u64>,
    /// Whether the last of them succeeded, once there was one.
    #[serde(default)]
    pub last_check_successful: Option<bool>,
    /// Rows that lead to it, for new flows.
    pub rows: u32,
    /// Of all rows, in percent.
    pub share: f64,
    /// Rows that lead to it for older flows, of which one has spoken within the window.
    pub older_rows: u32,
    /// Flows that are remembered to be its.
    pub remembered: usize,
    /// Flows that have begun, by their SYNs, since it came.
    pub flows: u64,
    /// Packets that it has got since then.
    pub packets: u64,
    /// Octets of them, from the IP header on.
    pub octets: u64,
    /// Segments of its flows that were reset, as it is down.
    pub resets: u64,
    /// What of connections; nothing but in mode `proxy`.
    #[serde(default)]
    pub proxied: Option<ProxiedReport>,
    /// What keeps packets from it, or is about to.
    pub trouble: Option<String>,
}

/// What of connections of a backend in mode `proxy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxiedReport {
    /// That it has now.
    pub open: u64,
    /// That it ever had.
    pub connected: u64,
    /// Those of them that XDP went on with.
    #[serde(default)]
    pub spliced: u64,
    /// That it did not answer.
    pub failed: u64,
    /// Octets that went there.
    pub octets_to_backend: u64,
    /// Octets that came back.
    pub octets_to_clients: u64,
}

impl From<Proxied> for ProxiedReport {
    fn from(its: Proxied) -> Self {
        let Proxied { open, connected, spliced, failed, to_backend, to_clients, .. } = its;
        Self { open, connected, spliced, failed, octets_to_backend: to_backend, octets_to_clients: to_clients }
    }
}

impl fmt::Display for ProxiedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open, connected, spliced, failed, octets_to_backend, octets_to_clients } = self;
        write!(f, "connections {open} of {connected}, {spliced} spliced  failed {failed}  ")?;
        write!(f, "octets {octets_to_backend} there, {octets_to_clients} back")
    }
}

/// What a balancer goes by, beside its tables.
pub(super) struct Frame {
    pub config: String,
    pub generation: Option<u64>,
    pub interfaces: Vec<String>,
    pub now: Instant,
}

impl StatusReport {
    pub(super) fn new(status: &Status, frame: Frame) -> Self {
        let Frame { config, generation, interfaces, now } = frame;
        Self {
            version: VERSION,
            config,
            generation,
            plans: status.generation,
            interfaces,
            services: status.services.iter().map(|service| ServiceReport::new(service, now)).collect(),
            remembered: status.remembered.0,
            remembered_limit: status.remembered.1,
            rewritten: status.rewritten.map(|(flows, ..)| flows),
            rewritten_limit: status.rewritten.map(|(.., limit)| limit),
            outcomes: status.outcomes.iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        }
    }
}

impl ServiceReport {
    fn new(status: &ServiceStatus, now: Instant) -> Self {
        Self {
            name: status.name.clone(),
            address: status.address,
            protocol: status.transport.to_string(),
            mode: status.mode.to_string(),
            rows: status.rows,
            rewritten: status.rewritten,
            server_names: status.proxied.as_ref().map(|it| it.server_names.clone()).unwrap_or_default(),
            ended: status
                .proxied
                .iter()
                .flat_map(|it| &it.ended)
                .map(|(fate, count)| (fate.name().to_owned(), *count))
                .collect(),
            syn_proxy: status.syn_proxy.name().to_owned(),
            promise: status.hand_over.as_ref().and_then(|it| it.as_ref().ok()).map(|&promise| promise.into()),
            syn_proxy_off: status.hand_over.as_ref().and_then(|it| it.as_ref().err()).cloned(),
            backends: status.backends.iter().map(|it| BackendReport::new(it, status.rows, now)).collect(),
        }
    }
}

impl BackendReport {
    pub(super) fn new(status: &BackendStatus, rows: u32, now: Instant) -> Self {
        let (state, drain_seconds) = match status.state {
            State::Serve => ("serve", None),
            State::Off => ("off", None),
            State::Drain { until: Instant::NEVER } => ("drain", None),
            State::Drain { until } => ("drain", Some(until.saturating_since(now).as_secs())),
        };
        Self {
            name: status.name.clone(),
            address: status.address.into(),
            state: state.to_owned(),
            drain_seconds,
            weight: status.weight,
            health: status.health.to_string(),
            why: status.why.clone(),
            health_changes: status.health_changes,
            checks: status.checks.map(|counted| counted.made),
            checks_failed: status.checks.map(|counted| counted.failed),
            last_check_successful: status.checks.and_then(|counted| counted.last),
            rows: status.share.rows,
            share: 100.0 * f64::from(status.share.rows) / f64::from(rows.max(1)),
            older_rows: status.share.older,
            remembered: status.share.remembered,
            flows: status.tally.flows,
            packets: status.tally.packets,
            octets: status.tally.octets,
            resets: status.tally.resets,
            proxied: status.proxied.map(ProxiedReport::from),
            trouble: status.trouble.as_ref().map(ToString::to_string),
        }
    }

    /// What is left of its flows, in words: what a drain waits for.
    pub fn remains(&self) -> String {
        let Self { rows, older_rows, remembered, .. } = self;
        if let Some(proxied) = &self.proxied {
            return format!("new connections on {rows} rows, and {} that are open", proxied.open);
        }
        if *rows == 0 && *older_rows == 0 && *remembered == 0 {
            return "no flows are left there".to_owned();
        }
        let until = match self.drain_seconds {
            Some(seconds) => format!("; given up in {}", span::show(Duration::from_secs(seconds))),
            None => String::new(),
        };
        format!("new flows on {rows} rows, older ones on {older_rows}, and {remembered} that are remembered{until}")
    }
}

impl fmt::Display for StatusReport {
    /// A line for all of it, for each service and each backend, and for each kind of thing that has become of packets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = if self.services.len() == 1 { "service" } else { "services" };
        write!(f, "{} {services} on {}", self.services.len(), self.interfaces.join(", "))?;
        if let Some(generation) = self.generation {
            write!(f, ", generation {generation}")?;
        }
        writeln!(f, ", plan {} of {}", self.plans, self.config)?;
        self.services.iter().try_for_each(|service| service.fmt(f))?;
        write!(f, "remembered  {} of {} flows", self.remembered, self.remembered_limit)?;
        if let (Some(flows), Some(limit)) = (self.rewritten, self.rewritten_limit) {
            write!(f, "\nrewritten   {flows} of {limit} flows")?;
        }
        for (name, count) in self.outcomes.iter().filter(|(_, count)| **count > 0) {
            write!(f, "\n  {name:16} {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ServiceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            protocol,
            mode,
            rows,
            rewritten,
            server_names,
            ended,
            syn_proxy,
            promise,
            syn_proxy_off,
            backends,
        } = self;
        write!(f, "{name}  {protocol} {address}  {mode}, {rows} rows")?;
        if let Some(flows) = rewritten {
            write!(f, ", {flows} flows and ports")?;
        }
        if !server_names.is_empty() {
            write!(f, ", for {}", server_names.join(" "))?;
        }
        ended.iter().filter(|(_, count)| **count > 0).try_for_each(|(how, count)| write!(f, ", {how} {count}"))?;
        writeln!(f)?;
        if let Some(promise) = promise {
            writeln!(f, "  syn_proxy {syn_proxy}: SYNs are answered here, with {}", Promise::from(promise))?;
        }
        if let Some(why) = syn_proxy_off {
            writeln!(f, "  syn_proxy {syn_proxy}: off now, because {why}")?;
        }
        let width = backends.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
        for it in backends {
            let BackendReport { name, state, health, weight, share, flows, packets, octets, proxied, .. } = it;
            write!(f, "  {name:width$}  {state:5}  {health:7}  weight {weight:5}  {share:6.2} %  ")?;
            match proxied {
                Some(proxied) => write!(f, "{proxied}")?,
                None => write!(f, "flows {flows}  packets {packets}  octets {octets}")?,
            }
            if it.older_rows > 0 || it.remembered > 0 {
                write!(f, "  older rows {}  remembered {}", it.older_rows, it.remembered)?;
            }
            if it.resets > 0 {
                write!(f, "  reset {}", it.resets)?;
            }
            if let Some(seconds) = it.drain_seconds {
                write!(f, "  given up in {}", span::show(Duration::from_secs(seconds)))?;
            }
            writeln!(f)?;
            if let Some(why) = &it.why {
                writeln!(f, "  {:width$}  {health}: {why}", "")?;
            }
            if let Some(trouble) = &it.trouble {
                writeln!(f, "  {:width$}  {trouble}", "")?;
            }
        }
        Ok(())
    }
}
