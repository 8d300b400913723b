//! Backends and services as they are configured, and the numbers by which rows name backends.

use super::{
    placement::{Placement, RowCount},
    proxied::Proxied,
    time_window::DRAIN_DEFAULT,
};
use crate::{time::Instant, transport::Transport, wire::Endpoint};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    net::IpAddr,
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

/// Backends of one service at most.
pub const MAX_BACKENDS: usize = 4_096;

/// The largest weight.
pub const MAX_WEIGHT: u32 = 10_000;

/// What a backend is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// It takes new flows, as many as its weight says.
    #[default]
    Serve,
    /// It takes no new flows and keeps those that it has.
    Drain {
        /// When what is left of them is given up; [`Instant::NEVER`] for never.
        until: Instant,
    },
    /// It gets nothing at all, and its flows are forgotten at once.
    Off,
}

/// Who serves: a "real", in the words of other balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What it is called, for as long as it lives and on every balancer of a fleet: it decides which rows are its.
    pub name: String,
    /// Where it is. Rows do not depend on it.
    pub address: Endpoint,
    /// Its share of new flows, beside the others' weights; 0 for none. At most [`MAX_WEIGHT`].
    pub weight: u32,
    /// What it is there for.
    pub state: State,
}

impl Backend {
    /// One that serves, with weight 100.
    pub fn new(name: impl Into<String>, address: impl Into<Endpoint>) -> Self {
        Self { name: name.into(), address: address.into(), weight: 100, state: State::Serve }
    }

    /// Whether rows may lead to it for new flows.
    pub(super) fn is_placed(&self) -> bool {
        self.weight > 0 && self.state == State::Serve
    }
}

/// What becomes of new flows while every backend is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAllDown {
    /// They go where they would if none were down: checks that all fail are more likely wrong than right.
    Open,
    /// They are dropped, and counted.
    #[default]
    Closed,
}

/// What becomes of the flows of a backend that goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// They stay with it: a check that fails is no proof, and what comes back finds its flows.
    #[default]
    Keep,
    /// They stay for so long, and are reset then.
    Drain(Duration),
    /// They are reset at once.
    Reset,
}

impl OnUnhealthy {
    /// How long flows stay; `None` for ever.
    pub(super) const fn patience(self) -> Option<Duration> {
        match self {
            Self::Keep => None,
            Self::Drain(time) => Some(time),
            Self::Reset => Some(Duration::ZERO),
        }
    }

    /// [`OnUnhealthy::Drain`] for five minutes.
    pub const fn drain() -> Self {
        Self::Drain(DRAIN_DEFAULT)
    }
}

/// What becomes of fragments, of which only the first has ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragments {
    /// They are dropped and counted.
    #[default]
    Drop,
    /// All packets of the service, whole or not, are placed by their addresses alone. Then a SYN says nothing of a
    /// client's other flows, so rows change at once, as for UDP; and all of a client's flows meet one backend.
    ByAddress,
}

/// Who answers the SYNs of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SynProxy {
    /// Its backends do, flood or not.
    #[default]
    Off,
    /// The balancer does, by cookies, while all backends that are up take such handshakes over; else they do.
    Auto,
    /// The balancer does, always: backends that do not take handshakes over get no new flows.
    Always,
}

impl SynProxy {
    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }
}

/// How packets get to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// As they are, in frames to the backend's link address (direct server return, layer 2): it must be on a link of the
    /// balancer's. It has the VIP as an address that it does not announce, and answers the client itself.
    #[default]
    Dsr,
    /// In an IP packet to the backend (RFC 2003 for IPv4 in IPv4, RFC 2473 and RFC 4213 for the others), however far it
    /// is. It takes the outer header off, has the VIP, and answers the client itself.
    Ipip,
    /// Likewise, in UDP to port 6080 (Generic UDP Encapsulation, draft-ietf-intarea-gue, variant 1): what lies between
    /// spreads it over links by its source port, which is the flow's.
    Gue,
    /// With other ends, both ways (network address translation): to the backend from an address and a port of the
    /// balancer's, and back to the client from the service's. The backend needs nothing for it, and may have another
    /// port than the service. Flows are remembered, each of them.
    Nat,
    /// Not at all: connections end at the balancer, which opens others to backends, and octets go from one to the other. It
    /// may look at what clients say first ([`Proxied`]). Backends need nothing for it, may have another port, and be of the
    /// other IP version.
    Proxy,
}

impl Mode {
    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Nat => "nat",
            Self::Proxy => "proxy",
        }
    }
}

impl Mode {
    /// Whether each flow is remembered, and stays where it went for that reason alone. Such backends may have another port than the
    /// service.
    pub const fn keeps_flows(self) -> bool {
        matches!(self, Self::Nat | Self::Proxy)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address that backends serve together.
#[derive(Clone, Debug)]
pub struct Service {
    /// What it is called: it stays the same service as long as its name stays.
    pub name: String,
    /// The address that clients know, the VIP.
    pub address: IpAddr,
    /// Its port; 0 for every port that no other service has.
    pub port: u16,
    /// What carries it.
    pub transport: Transport,
    /// How packets get to its backends.
    pub mode: Mode,
    /// Who serves it, in any order.
    pub backends: Vec<Backend>,
    /// Which rows are whose. Services share a table where their backends' names, weights and states are equal, and this
    /// is one value for both.
    pub placement: Arc<dyn Placement>,
    /// How many rows its table has. It stays so as long as the service lives.
    pub rows: RowCount,
    /// What becomes of new flows while every backend is down.
    pub when_all_down: WhenAllDown,
    /// What becomes of the flows of a backend that goes down.
    pub on_unhealthy: OnUnhealthy,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// What becomes of its connections in mode [`Proxy`](Mode::Proxy).
    pub proxied: Proxied,
    /// Who answers its SYNs. Only for TCP, with a port, and not in mode `nat`.
    pub syn_proxy: SynProxy,
}

impl Service {
    /// A TCP service with the defaults, and no backends yet.
    pub fn tcp(name: impl Into<String>, address: impl Into<Endpoint>, placement: Arc<dyn Placement>) -> Self {
        let Endpoint { address, port } = address.into();
        Self {
            name: name.into(),
            address,
            port,
            transport: Transport::Tcp,
            mode: Mode::default(),
            backends: Vec::new(),
            placement,
            rows: RowCount::DEFAULT,
            when_all_down: WhenAllDown::default(),
            on_unhealthy: OnUnhealthy::default(),
            fragments: Fragments::default(),
            proxied: Proxied::default(),
            syn_proxy: SynProxy::default(),
        }
    }

    /// As [`Service::tcp`], for UDP.
    pub fn udp(name: impl Into<String>, address: impl Into<Endpoint>, placement: Arc<dyn Placement>) -> Self {
        Self { transport: Transport::Udp, ..Self::tcp(name, address, placement) }
    }

    /// Why its SYNs cannot be answered in its backends' names, where that is wanted, and what to write instead.
    pub(super) fn obstacle_to_syn_proxy(&self) -> Option<(&'static str, &'static str)> {
        const OFF: &str = "syn_proxy = \"off\"";
        let why = match (self.syn_proxy, self.transport, self.mode) {
            (SynProxy::Off, ..) => return None,
            (_, Transport::Udp, _) => "UDP has none",
            // It could rewrite numbers and the cookie in them, but only with a memory of each connection that has begun.
            (.., Mode::Nat) => {
                let why = "in mode nat backends see an address of its own instead of the client's, and cannot check the client's cookie";
                return Some((why, "mode = \"proxy\", which answers SYNs itself, or syn_proxy = \"off\""));
            }
            (.., Mode::Proxy) => {
                "in mode proxy it is the balancer whom clients connect to, and it answers by cookies where it must"
            }
            _ if self.port == 0 => "it has every port, and nobody would know which of them are open",
            _ => return None,
        };
        Some((why, OFF))
    }

    /// Whether its packets are placed by their addresses alone.
    pub fn is_by_address(&self) -> bool {
        self.fragments == Fragments::ByAddress
    }

    /// Whether rows say nothing of its older flows: because nothing tells new ones from them, or as each is remembered.
    pub fn changes_at_once(&self) -> bool {
        self.transport == Transport::Udp || self.is_by_address() || self.mode.keeps_flows()
    }

    /// The service with these backends.
    #[must_use]
    pub fn with(self, backends: impl IntoIterator<Item = Backend>) -> Self {
        Self { backends: backends.into_iter().collect(), ..self }
    }
}

/// Names a service, for as long as it lives: an index, for arrays beside the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub(super) u32);

impl ServiceId {
    /// The index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a backend among those that share its table; 0 stands for none, which leaves 15 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(NonZeroU16);

impl Number {
    /// The largest.
    pub const MAX: u16 = (1 << 15) - 1;

    /// This number; `None` for 0 and what is above [`Number::MAX`].
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    pub(super) const fn index(self) -> usize {
        self.0.get() as usize
    }
}

/// Names a backend of a service, for as long as it lives. What it stood for is not what another stands for soon after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId {
    /// Whose backend it is.
    pub service: ServiceId,
    /// Its number in the rows.
    pub number: Number,
}

/// Hands out numbers. One that came back is not given again before whatever may still name it is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    by_name: HashMap<String, Number>,
    /// Numbers that came back, and when; the oldest first.
    returned: VecDeque<(Number, Instant)>,
    /// The largest number ever given.
    highest: u16,
}

impl Numbers {
    pub fn get(&self, name: &str) -> Option<Number> {
        self.by_name.get(name).copied()
    }

    /// One more than the largest number: the size of an array that all of them index.
    pub fn size(&self) -> usize {
        usize::from(self.highest) + 1
    }

    /// The names with their numbers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Number)> {
        self.by_name.iter().map(|(name, number)| (name.as_str(), *number))
    }

    /// Takes back the numbers of all names that are not `kept`.
    pub fn keep(&mut self, now: Instant, kept: impl Fn(&str) -> bool) {
        let mut gone: Vec<Number> = self.iter().filter(|(name, _)| !kept(name)).map(|(_, number)| number).collect();
        gone.sort_unstable(); // a map has no order, and balancers shall not differ for that
        self.by_name.retain(|name, _| kept(name));
        self.returned.extend(gone.into_iter().map(|number| (number, now)));
    }

    /// The number of a name, which gets one where it has none. `None` where all are taken, or were until lately.
    pub fn give(&mut self, name: &str, now: Instant, rest: Duration) -> Option<Number> {
        if let Some(number) = self.get(name) {
            return Some(number);
        }
        let is_rested = self.returned.front().is_some_and(|&(_, since)| now - since > rest);
        let number = if is_rested {
            self.returned.pop_front()?.0
        } else {
            let next = Number::new(self.highest + 1)?;
            self.highest = next.get();
            next
        };
        self.by_name.insert(name.to_owned(), number);
        Some(number)
    }

    /// Numbers as a process before has given them, up to the largest that anything still names. All others rest.
    pub fn resume(given: impl IntoIterator<Item = (String, Number)>, named: u16, now: Instant) -> Self {
        let by_name: HashMap<_, _> = given.into_iter().collect();
        let highest = by_name.values().map(|number| number.get()).max().unwrap_or(0).max(named);
        let taken: HashSet<Number> = by_name.values().copied().collect();
        let free = (1..=highest).filter_map(Number::new).filter(|number| !taken.contains(number));
        let returned = free.map(|number| (number, now)).collect();
        Self { by_name, returned, highest }
    }
}
