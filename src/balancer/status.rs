//! What a balancer is like now, for whoever looks.

use super::{BalancerError, Fate, NoReach, Proxied, check::Counted, control::Control};
use crate::{
    lb::{Backend, BackendId, Balancer, Health, Mode, Promise, Service, Share, State, SynProxy},
    time::Instant,
    transport::Transport,
    wire::Endpoint,
    xdp::{Outcomes, Tally, XdpError},
};
use std::{fmt, net::SocketAddr};

/// A balancer's services, and what has become of packets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Plans that were applied.
    pub generation: u64,
    /// In order of name.
    pub services: Vec<ServiceStatus>,
    /// Flows that are remembered, and how many there may be.
    pub remembered: (usize, usize),
    /// Flows that are rewritten, in mode `nat`, how many of them are opening, and how many there may be; as of some seconds ago.
    pub rewritten: Option<(u64, u64, u32)>,
    /// What has become of packets for all of them.
    pub outcomes: Outcomes,
}

/// A service now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// The address that clients know.
    pub address: SocketAddr,
    /// What carries it.
    pub transport: Transport,
    /// How packets get to its backends.
    pub mode: Mode,
    /// Rows of its table.
    pub rows: u32,
    /// Its flows that are rewritten, in mode `nat`, each of which has a port; as of some seconds ago.
    pub rewritten: Option<u64>,
    /// What of connections in mode `proxy`.
    pub proxied: Option<ProxiedService>,
    /// Whether its SYNs are answered in its backends' names, and with what promise; in words, why not now. `None` where that is not
    /// wanted.
    pub hand_over: Option<Result<Promise, String>>,
    /// Who answers its SYNs, as it was configured.
    pub syn_proxy: SynProxy,
    /// In order of name.
    pub backends: Vec<BackendStatus>,
}

/// What of connections of a service in mode `proxy`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxiedService {
    /// The server names that they are told apart by.
    pub server_names: Vec<String>,
    /// How they ended so far.
    pub ended: Vec<(Fate, u64)>,
}

/// A backend now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: Endpoint,
    /// Its share of new flows.
    pub weight: u32,
    /// What it is there for.
    pub state: State,
    /// What is known of its health.
    pub health: Health,
    /// How often its health has become another since it came.
    pub health_changes: u64,
    /// How its checks went; `None` where it was never to be checked.
    pub checks: Option<Counted>,
    /// How much of the service it has.
    pub share: Share,
    /// What it has got.
    pub tally: Tally,
    /// Why it is not up, or cannot be checked, by its checks.
    pub why: Option<String>,
    /// What of connections in mode `proxy`.
    pub proxied: Option<Proxied>,
    /// What keeps packets from it, or is about to.
    pub trouble: Option<NoReach>,
}

impl Status {
    pub(super) fn of(control: &mut Control, outcomes: Outcomes, now: Instant) -> Result<Self, BalancerError> {
        control.learn()?;
        let (balance, balancer) = (control.balance(), &control.balancer);
        let shares = balancer.shares(now);
        let backend = |(id, backend): (BackendId, &Backend)| {
            let service = name_of(balancer, id);
            Ok::<_, XdpError>(BackendStatus {
                name: backend.name.clone(),
                address: backend.address,
                weight: backend.weight,
                state: backend.state,
                health: balancer.health(id).unwrap_or_default(),
                health_changes: balancer.health_changes(id),
                checks: control.checking.counts(service, &backend.name),
                share: shares.get(&id).copied().unwrap_or_default(),
                tally: balance.tally(id)?,
                why: control.checking.why(service, &backend.name).map(str::to_owned),
                proxied: control.proxying.counts(service, &backend.name),
                trouble: control.trouble(id),
            })
        };
        let mut services = Vec::new();
        for (id, service) in balancer.services() {
            let mut backends = balancer.backends(id).map(backend).collect::<Result<Vec<_>, _>>()?;
            backends.sort_by(|one, other| one.name.cmp(&other.name));
            services.push(ServiceStatus {
                name: service.name.clone(),
                address: SocketAddr::new(service.address, service.port),
                transport: service.transport,
                mode: service.mode,
                rows: service.rows.get(),
                rewritten: (service.mode == Mode::Nat).then(|| {
                    let by_service = &control.sweeping.census.by_service;
                    by_service.get(&(id.index() as u16)).copied().unwrap_or_default()
                }),
                proxied: proxied(control, service),
                syn_proxy: service.syn_proxy,
                hand_over: control.hand_over.decided(&service.name).cloned(),
                backends,
            });
        }
        services.sort_by(|one, other| one.name.cmp(&other.name));
        let (generation, remembered) = (balancer.generation(), balancer.exceptions());
        let census = &control.sweeping.census;
        let rewritten = balance.nat().map(|table| (census.flows, census.opening, table.settings().flows()));
        Ok(Self { generation, services, remembered, rewritten, outcomes })
    }
}

fn proxied(control: &Control, service: &Service) -> Option<ProxiedService> {
    let ended = control.proxying.fates(&service.name)?;
    Some(ProxiedService { server_names: service.proxied.server_names.clone(), ended })
}

fn name_of(balancer: &Balancer, id: BackendId) -> &str {
    balancer.get(id.service).map_or("", |service| &service.name)
}

impl BackendStatus {
    /// What it does, in a word.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Serve if self.weight == 0 => "weight 0",
            State::Serve => "serve",
            State::Drain { .. } => "drain",
            State::Off => "off",
        }
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, transport, mode, rows, rewritten, proxied, backends, hand_over, syn_proxy } = self;
        write!(f, "service {name}  {transport} {address}  {mode}")?;
        if let Some(flows) = rewritten {
            write!(f, "  {flows} flows and ports")?;
        }
        if let Some(ProxiedService { server_names, ended }) = proxied {
            server_names.iter().try_for_each(|name| write!(f, "  {name}"))?;
            ended
                .iter()
                .filter(|(_, count)| *count > 0)
                .try_for_each(|(fate, count)| write!(f, "  {} {count}", fate.name()))?;
        }
        writeln!(f)?;
        match hand_over {
            Some(Ok(promise)) => {
                writeln!(f, "  syn_proxy {}: SYNs are answered here, with {promise}", syn_proxy.name())?
            }
            Some(Err(why)) => writeln!(f, "  syn_proxy {}: off now, because {why}", syn_proxy.name())?,
            None => {}
        }
        let width = backends.iter().map(|it| it.name.len()).max().unwrap_or_default();
        for it in backends {
            let share = |count: u32| 100.0 * f64::from(count) / f64::from(*rows);
            write!(
                f,
                "  {:width$}  {:8}  {:7}  weight {:<5}  rows {:6.2} %  older {:6.2} %  flows {}  packets {}  octets {}",
                it.name,
                it.state(),
                it.health.to_string(),
                it.weight,
                share(it.share.rows),
                share(it.share.older),
                it.tally.flows,
                it.tally.packets,
                it.tally.octets
            )?;
            if it.share.remembered > 0 {
                write!(f, "  remembered {}", it.share.remembered)?;
            }
            if it.tally.resets > 0 {
                write!(f, "  reset {}", it.tally.resets)?;
            }
            if let Some(proxied) = &it.proxied {
                write!(f, "  {proxied}")?;
            }
            writeln!(f)?;
            if let Some(why) = &it.why {
                writeln!(f, "  {:width$}  {}: {why}", "", it.health)?;
            }
            if let Some(trouble) = &it.trouble {
                writeln!(f, "  {:width$}  {trouble}", "")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.services.iter().try_for_each(|service| service.fmt(f))?;
        writeln!(f, "remembered  {} of {} flows", self.remembered.0, self.remembered.1)?;
        if let Some((flows, opening, limit)) = self.rewritten {
            writeln!(f, "rewritten   {flows} of {limit} flows, {opening} of them opening")?;
        }
        for (name, count) in self.outcomes.iter().filter(|&(_, count)| count > 0) {
            writeln!(f, "  {name:16} {count}")?;
        }
        Ok(())
    }
}
