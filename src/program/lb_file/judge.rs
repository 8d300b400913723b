//! What is wrong with services that can each be read: with one beside another, or with all of their backends together.

use super::{BackendPlaces, Faults, File, Placements, ServiceConfig, Span, fields::Wrong};
use crate::{
    lb::{self, MAX_SERVICES, Mode, PlanError, RowKey, Source, State, SynProxy},
    rng::SipKey,
};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// Notes what is wrong.
pub(super) fn judge(file: &File, wrong: &Wrong) {
    // No table is made, so any key will do.
    let placements = Placements::new(&RowKey::new(SipKey::from_seed(0)));
    let mut errors = lb::check(&file.services(&placements));
    let half_read: HashSet<&str> =
        file.services.iter().filter(|it| !it.places.is_whole).map(|it| it.name.as_str()).collect();
    errors.retain(|error| !matches!(error, PlanError::NoBackends { service } if half_read.contains(service.as_str())));
    for (at, what) in file.locate(&errors) {
        wrong.note(at, what);
    }
    judge_sources(file, wrong);
    judge_cookies(file, wrong);
    for service in file.services.iter().filter(|it| it.places.is_whole && !it.backends.is_empty()) {
        if !service.backends.iter().any(|it| it.weight > 0 && it.state == State::Serve) {
            let what = "nobody serves it, as every backend drains, is off or has weight 0: let one serve";
            wrong.note(service.places.head.clone(), format!("service `{}`: {what}", service.name));
        }
    }
}

/// Notes services in mode `nat` that have no address to come from, and ends that are one.
fn judge_sources(file: &File, wrong: &Wrong) {
    let is_source = |address: IpAddr| file.nat.sources.contains(&address);
    for service in &file.services {
        let address = service.address.address;
        let has_one = file.nat.sources.iter().any(|source| source.is_ipv4() == address.is_ipv4());
        if service.mode == Mode::Nat && !has_one {
            let (version, example) = if address.is_ipv4() { ("IPv4", "198.18.0.5") } else { ("IPv6", "2001:2::5") };
            let what = format!("mode nat needs an {version} address that packets to backends come from");
            let remedy = format!("add one that nobody has, such as sources = [\"{example}\"] in [nat]");
            wrong.note(service.places.head.clone(), format!("service `{}`: {what}: {remedy}", service.name));
        }
        let ends = service.backends.iter().zip(&service.places.backends);
        let ends = ends.map(|(backend, places)| (backend.address.address, &places.address));
        for (address, at) in ends.clone().chain([(address, &service.places.address)]).filter(|(it, _)| is_source(*it)) {
            let what = "is one of the sources of [nat], which nobody else may have: give another";
            wrong.note(at.clone(), format!("{address} {what}"));
        }
        for (address, at) in ends.filter(|(it, _)| file.proxy_sources.contains(it)) {
            let what = "is one of the sources of [proxy], which nobody else may have: give another";
            wrong.note(at.clone(), format!("{address} {what}"));
        }
        judge_versions(file, service, wrong);
    }
}

/// Notes backends of a service in mode `proxy` that there is no address to connect to from.
fn judge_versions(file: &File, service: &ServiceConfig, wrong: &Wrong) {
    if service.mode != Mode::Proxy {
        return;
    }
    if service.proxied.source == Source::Client {
        if file.splices == Some(0) {
            let what = "only a table of pairs of connections brings back what backends send to clients (source = \"client\"): \
                        let [proxy] splices be more than 0";
            wrong.note(service.places.head.clone(), format!("service `{}`: {what}", service.name));
        }
        return; // and a backend of the other version is complained of already
    }
    for (backend, places) in service.backends.iter().zip(&service.places.backends) {
        let address = backend.address.address;
        let mut sources = file.proxy_sources.iter().chain([&service.address.address]);
        if !sources.any(|source| source.is_ipv4() == address.is_ipv4()) {
            let (version, example) = if address.is_ipv4() { ("IPv4", "198.18.0.6") } else { ("IPv6", "2001:2::6") };
            let what = format!("there is no {version} address to connect to {address} from");
            let remedy = format!("add one that nobody has, such as sources = [\"{example}\"] in [proxy]");
            wrong.note(places.address.clone(), format!("{what}: {remedy}"));
        }
    }
}

/// Notes services whose SYNs are to be answered by cookies that no backend would know again.
fn judge_cookies(file: &File, wrong: &Wrong) {
    // In other modes there are none, and that is said.
    let wants_them = |it: &&ServiceConfig| it.syn_proxy != SynProxy::Off && !it.mode.keeps_flows();
    for service in file.services.iter().filter(wants_them).filter(|_| file.cookie_master_file.is_none()) {
        let what = "its backends must know the cookies again that SYNs are answered with: write cookie_master_file = \"cookie.key\", \
                    and give that file to `xskip backend attach` on each of them";
        wrong.note(service.places.syn_proxy.clone(), format!("service `{}`: {what}", service.name));
    }
}

/// Finds services and backends by their names, of which there may be several.
struct Index<'a> {
    services: HashMap<&'a str, Vec<&'a ServiceConfig>>,
    /// How often the same was complained of before.
    before: HashMap<String, usize>,
}

impl<'a> Index<'a> {
    fn of(file: &'a File) -> Self {
        let mut services: HashMap<_, Vec<_>> = HashMap::new();
        for service in &file.services {
            services.entry(service.name.as_str()).or_default().push(service);
        }
        Self { services, before: HashMap::new() }
    }

    /// The first service of that name.
    fn service(&self, name: &str) -> Option<&'a ServiceConfig> {
        self.services.get(name)?.first().copied()
    }

    /// The last service of that name.
    fn last(&self, name: &str) -> Option<&'a ServiceConfig> {
        self.services.get(name)?.last().copied()
    }

    fn backend(&self, service: &str, backend: &str, nth: usize) -> Option<&'a BackendPlaces> {
        let services = self.services.get(service)?;
        let named = services.iter().flat_map(|it| it.backends.iter().zip(&it.places.backends));
        named.filter(|(it, _)| it.name == backend).nth(nth).map(|(_, places)| places)
    }

    fn place(&mut self, file: &File, error: &PlanError) -> Option<Span> {
        let before = self.before.entry(error.to_string()).or_default();
        *before += 1;
        let nth = *before;
        Some(match error {
            PlanError::TooManyServices { .. } => file.services.get(MAX_SERVICES)?.places.head.clone(),
            PlanError::SameName { name } => self.services.get(name.as_str())?.get(nth)?.places.name.clone(),
            PlanError::SameAddress { other, .. } | PlanError::SameServerName { other, .. } => {
                self.last(other)?.places.address.clone()
            }
            PlanError::NoSynProxy { service, .. } => {
                self.services.get(service.as_str())?.get(nth - 1)?.places.syn_proxy.clone()
            }
            PlanError::SharedAddress { one, .. } => self.service(one)?.places.address.clone(),
            PlanError::BadAddress { whose, .. } => match (self.service(whose), whose.split_once('/')) {
                (Some(service), _) => service.places.address.clone(),
                (None, Some((service, backend))) => self.backend(service, backend, nth - 1)?.address.clone(),
                (None, None) => return None,
            },
            PlanError::SameBackend { service, backend } => self.backend(service, backend, nth)?.name.clone(),
            PlanError::BackendIsService { service, backend, .. } | PlanError::OtherVersion { service, backend } => {
                self.backend(service, backend, nth - 1)?.address.clone()
            }
            PlanError::BadWeight { service, backend, .. } => self.backend(service, backend, nth - 1)?.head.clone(),
            PlanError::NoName { service } => self.backend(service, "", nth - 1)?.name.clone(),
            PlanError::NoBackends { service }
            | PlanError::TooManyBackends { service, .. }
            | PlanError::RowsChanged { service, .. }
            | PlanError::NatByAddress { service }
            | PlanError::NotProxied { service, .. }
            | PlanError::BadPlacement { service, .. } => self
                .services
                .get(service.as_str())?
                .get(nth - 1)
                .or(self.service(service).as_ref())?
                .places
                .head
                .clone(),
            _ => return None,
        })
    }
}

impl File {
    fn locate(&self, errors: &[PlanError]) -> Vec<(Span, String)> {
        let mut index = Index::of(self);
        errors.iter().map(|error| (index.place(self, error).unwrap_or(0..0), error.to_string())).collect()
    }

    /// What a balancer said against the services of this file, each with the place that it is about.
    pub fn faults(&self, errors: &[PlanError]) -> Faults {
        self.source.faults(self.locate(errors))
    }
}
