//! Services whose connections end at the balancer (mode `proxy`): what is to be done with them beside choosing their backends.

use super::{
    backend::{Backend, Mode, Number, Service, ServiceId, WhenAllDown},
    balancer::Balancer,
};
use crate::{preface::ServerName, transport::Transport};
use std::{collections::HashMap, net::IpAddr, time::Duration};

/// What becomes of connections to a service in mode `proxy`. It says nothing in the other modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Whose connections they are, where services in this mode share an address: those of clients that name one of these in a TLS
    /// ClientHello (RFC 6066 §3). In lower case; `*.example.org` stands for every name below `example.org` that is not named itself.
    /// None for all that no other service has, and for what is no TLS.
    pub server_names: Vec<String>,
    /// Whether backends are told at first who the client is, by a header of the PROXY protocol, and of which version: 1 or 2.
    pub send_header: Option<u8>,
    /// Whose connections begin with such a header, as prefixes: other balancers in front. It is believed, and goes no further. From
    /// nobody else one is accepted, unless there is no prefix: then it is data like any other.
    pub trusted: Vec<(IpAddr, u8)>,
    /// Whom backends see.
    pub source: Source,
    /// Whether segments of its connections are translated in XDP as soon as nothing of them is to be looked at any more, where there is
    /// room for that. Default true.
    pub splice: bool,
    /// How long a client may take for what it says first, where that decides whereto. Default 10 s.
    pub first: Duration,
    /// How long a backend may take to answer, until another one is tried. Default 3 s.
    pub connect: Duration,
    /// How long both ends may be silent. Default an hour.
    pub idle: Duration,
}

/// From which addresses connections to backends come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The balancer's.
    #[default]
    Balancer,
    /// The client's, and its port as well if that can be. What backends send to clients has to pass the balancer then.
    Client,
}

impl Default for Proxied {
    fn default() -> Self {
        Self {
            server_names: Vec::new(),
            send_header: None,
            trusted: Vec::new(),
            source: Source::Balancer,
            splice: true,
            first: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            idle: Duration::from_secs(60 * 60),
        }
    }
}

impl Proxied {
    /// Whether there has to be a table of pairs for it.
    pub fn needs_splices(&self) -> bool {
        self.splice || self.source == Source::Client
    }
}

impl Service {
    /// Whether connections to it end at the balancer.
    pub fn is_proxied(&self) -> bool {
        self.mode == Mode::Proxy
    }

    /// Whether it has what no other service at its address has a name for.
    pub(super) fn is_default(&self) -> bool {
        !self.is_proxied() || self.proxied.server_names.is_empty()
    }
}

/// What keeps a service from being proxied as it is.
pub(super) fn obstacle(service: &Service) -> Option<&'static str> {
    if !service.is_proxied() {
        let is_named = !service.proxied.server_names.is_empty();
        return is_named
            .then_some("has server names, which mode proxy alone looks at: leave them out, or choose that mode");
    }
    if service.transport != Transport::Tcp {
        return Some("is in mode proxy, which ends connections, and datagrams have none: use another mode");
    }
    if service.port == 0 {
        return Some("is in mode proxy, which listens at one port: name it, or use another mode");
    }
    if service.is_by_address() {
        return Some("is in mode proxy, where no fragment is looked at: leave out fragments = \"address\"");
    }
    let is_other = |backend: &Backend| backend.address.address.is_ipv4() != service.address.is_ipv4();
    if service.proxied.source == Source::Client && service.backends.iter().any(is_other) {
        return Some(
            "shows backends its clients' addresses (source = \"client\"), and one of them is of the other IP version: leave that \
             one out, or write source = \"balancer\"",
        );
    }
    let is_wrong = |name: &String| !is_server_name(name);
    let names = &service.proxied.server_names;
    names.iter().any(is_wrong).then_some(
        "has a server name that no client sends: write names of hosts in lower case, such as \"www.example.org\" or \
         \"*.example.org\"",
    )
}

/// Whether it may be the name of a host as TLS clients say it (RFC 6066 §3), in lower case, or stands for all below one, as `*.example.org`
/// does.
pub fn is_server_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    host.parse::<ServerName>().is_ok_and(|known| known.as_str() == host)
}

/// Which of two services that share an address have a server name in common; none where they are told apart.
pub(super) fn name_in_common<'a>(one: &'a Service, other: &Service) -> Option<&'a str> {
    one.proxied.server_names.iter().find(|name| other.proxied.server_names.contains(name)).map(String::as_str)
}

impl Balancer {
    /// Where new flows of a service go, by the row that they fall on, as health has it now. None where they go nowhere.
    pub fn spread(&self, id: ServiceId) -> Vec<Option<Number>> {
        let Some(service) = self.served(id) else { return Vec::new() };
        let takes = |number: &Number| service.slot(*number).takes_new;
        let spare = &service.spare;
        let is_open = service.config.when_all_down == WhenAllDown::Open;
        let target = |(index, row): (usize, super::Row)| {
            let spare = (!spare.is_empty()).then(|| spare[index % spare.len()]);
            let open = row.now.filter(|_| is_open);
            row.now.filter(takes).or(row.second.filter(takes)).or(spare).or(open)
        };
        self.tables[service.table].rows().enumerate().map(target).collect()
    }

    /// The services at each address and port whose connections end here.
    pub fn proxied(&self) -> HashMap<(IpAddr, u16), Vec<ServiceId>> {
        let mut places: HashMap<_, Vec<_>> = HashMap::new();
        for (id, service) in self.services().filter(|(_, service)| service.is_proxied()) {
            places.entry((service.address, service.port)).or_default().push(id);
        }
        places
    }
}
