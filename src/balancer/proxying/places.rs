//! What workers know of services in mode `proxy`: made anew whenever tables, health or ways change, and never changed.

use super::counts::{BackendCounts, ServiceCounts};
use crate::{
    lb::{Flow, RowCount, RowKey, Transport},
    preface::proxy_protocol::Version,
    proxy::{Ends, Patience},
    stack::{Cidr, Via},
    wire::FourTuple,
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// By address and port.
    by_end: HashMap<(IpAddr, u16), Arc<Place>>,
    /// The backends that have, or may have, connections, by what counts them: that stays the same as long as a backend is there.
    members: HashMap<usize, Arc<Member>>,
}

impl Places {
    pub fn new(places: impl IntoIterator<Item = ((IpAddr, u16), Place)>) -> Self {
        let by_end: HashMap<_, _> = places.into_iter().map(|(end, place)| (end, Arc::new(place))).collect();
        let pools = by_end.values().flat_map(|place| &place.pools);
        let members = pools.flat_map(|pool| pool.members.iter().flatten());
        let members = members.map(|member| (member.name(), Arc::clone(member))).collect();
        Self { by_end, members }
    }

    pub fn at(&self, end: SocketAddr) -> Option<&Arc<Place>> {
        self.by_end.get(&(end.ip(), end.port()))
    }

    /// What has become of a backend; `None` where its connections end. One that has moved to another address has none of them.
    pub fn successor(&self, member: &Member) -> Option<&Arc<Member>> {
        self.members.get(&member.name()).filter(|it| !it.resets && it.address == member.address)
    }
}

/// The services at one address and port.
#[derive(Debug)]
pub(super) struct Place {
    pub pools: Vec<Arc<Pool>>,
    /// By server name; those that stand for others without their asterisk and dot.
    pub names: HashMap<String, usize>,
    pub wildcards: HashMap<String, usize>,
    /// Whose it is that names none of them.
    pub default: Option<usize>,
    /// Who tells at first for whom it comes.
    pub trusted: Vec<Cidr>,
    /// How long is waited for what is said first, where no service is chosen yet.
    pub patience: Patience,
}

impl Place {
    /// The service that a client wants that names this server, or none.
    pub fn choose(&self, name: Option<&str>) -> Option<&Arc<Pool>> {
        let named = name.and_then(|name| {
            let exact = self.names.get(name);
            let above = || std::iter::successors(name.split_once('.'), |(_, rest)| rest.split_once('.'));
            exact.or_else(|| above().find_map(|(_, domain)| self.wildcards.get(domain)))
        });
        self.pools.get(*named.or(self.default.as_ref())?)
    }

    /// The service that has the rest, or else one of them.
    pub fn anybody(&self) -> Option<&Arc<Pool>> {
        self.pools.get(self.default.unwrap_or(0))
    }

    /// Whether what a client says first decides whose it is.
    pub fn has_names(&self) -> bool {
        !self.names.is_empty() || !self.wildcards.is_empty()
    }

    pub fn trusts(&self, client: IpAddr) -> bool {
        self.trusted.iter().any(|prefix| prefix.contains(client))
    }
}

/// A service, and where its rows lead.
#[derive(Debug)]
pub(super) struct Pool {
    pub terms: Arc<Terms>,
    pub key: RowKey,
    pub count: RowCount,
    /// By rows: places among the members, which begin at 1; 0 for nobody.
    pub rows: Box<[u16]>,
    /// By their numbers, which begin at 1.
    pub members: Vec<Option<Arc<Member>>>,
}

/// How many rows further another backend is looked for: as many as it takes to find one of a few among hundreds.
const FARTHEST: u32 = 4_096;
/// Rows between one that is tried and the next: a prime, so that all are.
const STRIDE: u32 = 97;

impl Pool {
    /// The backend for a client, and its number; another one than those that were tried. The order is a matter of the client's flow
    /// alone, so two balancers try the same.
    pub fn choose(&self, ends: &Ends, tried: &[u16]) -> Option<(u16, &Arc<Member>)> {
        let tuple = FourTuple { local: ends.service.into(), remote: ends.client.into() };
        let first = self.key.hash(&Flow { transport: Transport::Tcp, tuple }, false).row(self.count);
        let count = self.count.get();
        let rows = (0..FARTHEST.min(count)).map(|step| (first + step * STRIDE) % count);
        rows.map(|row| self.rows[row as usize])
            .filter(|number| *number != 0 && !tried.contains(number))
            .find_map(|number| Some((number, self.members.get(usize::from(number))?.as_ref()?)))
    }
}

/// What holds for all connections of a service.
#[derive(Debug)]
pub(super) struct Terms {
    pub patience: Patience,
    pub header: Option<Version>,
    /// Whether XDP goes on with connections.
    pub splice: bool,
    pub counts: Arc<ServiceCounts>,
}

/// A backend of a service.
#[derive(Debug)]
pub(super) struct Member {
    pub address: SocketAddr,
    /// How connections get there; or what is in the way, which status says.
    pub route: Option<Route>,
    /// Whether its connections are to be reset.
    pub resets: bool,
    pub counts: Arc<BackendCounts>,
}

impl Member {
    /// What it is known by: where its counts are, which nobody else gets as long as anybody knows it.
    fn name(&self) -> usize {
        Arc::as_ptr(&self.counts).addr()
    }
}

/// Whom a backend sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// One of the balancer's addresses, of which there is one at least, each with its ports.
    Balancer(Vec<(IpAddr, Arc<[u16]>)>),
    /// The client, by a port of its own or else one of these.
    Client(Arc<[u16]>),
}

/// How connections get to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Where they come from.
    pub sources: Sources,
    pub via: Via,
}
