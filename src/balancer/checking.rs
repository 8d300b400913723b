//! Health checks as a balancer has them made: who is checked, and what that says of whom.

use super::{
    check::{Check, Checker, Counted, Counts, News, Sources},
    reach::Reach,
};
use crate::{
    lb::{BackendId, Balancer, Health},
    runtime::Running,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Checks that are under way at a time, at most.
const MOST: usize = 256;
/// Ports of each address that they come from.
const PORTS: usize = 64;

/// What is checked of each service, by its name, and at which port where that is not the service's.
pub(super) type Wanted = HashMap<String, (Check, Option<u16>)>;

/// The checks of all services.
pub(super) struct Checking {
    checker: Checker,
    sources: Sources,
    wanted: Wanted,
    /// Why backends are not up, or cannot be checked, by service and backend.
    why: HashMap<(String, String), String>,
    /// How checks went, likewise: of those that are there, whether or not they are checked now.
    counts: HashMap<(String, String), Arc<Counts>>,
    /// Whether others are to be checked than are, or by other ways.
    is_behind: bool,
}

impl Checking {
    pub fn new(seed: u64, wanted: Wanted, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let checker = Checker::waking(seed, MOST, wake);
        Self {
            checker,
            sources: Sources::new(PORTS),
            wanted,
            why: HashMap::new(),
            counts: HashMap::new(),
            is_behind: true,
        }
    }

    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    pub fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.is_behind = true;
    }

    /// The backends, or the ways to them, are others.
    pub fn outdate(&mut self) {
        self.is_behind = true;
    }

    /// Has the workers check whom they should.
    pub fn update(&mut self, running: &Running, balancer: &Balancer, reach: &Reach) {
        if !std::mem::take(&mut self.is_behind) {
            return;
        }
        let wanted = &self.wanted;
        let mut targets = self.sources.targets(running, balancer, reach.ways(), |service| {
            let (check, port) = wanted.get(&service.name)?;
            Some((check.clone(), port.unwrap_or(service.port)))
        });
        self.why.retain(|(service, backend), _| {
            targets.iter().any(|target| target.service == *service && target.backend == *backend)
        });
        let names = balancer.services().flat_map(|(_, service)| service.backends.iter().map(move |it| (service, it)));
        let there: HashSet<(&str, &str)> = names.map(|(service, it)| (&*service.name, &*it.name)).collect();
        self.counts.retain(|(service, backend), _| there.contains(&(&**service, &**backend)));
        for target in &mut targets {
            let its = self.counts.entry((target.service.clone(), target.backend.clone())).or_default();
            target.counts = Arc::clone(its);
        }
        self.checker.check(targets, running.workers());
    }

    /// What is known that was not before.
    pub fn hear(&mut self, balancer: &Balancer) -> Vec<(BackendId, Health)> {
        let mut told = Vec::new();
        while let Ok(News { service, backend, health, why }) = self.checker.news().try_recv() {
            if !self.wanted.contains_key(&service) {
                continue; // said before anybody knew that it is not checked any more
            }
            let id = balancer.service(&service).and_then(|id| balancer.backend(id, &backend));
            match &why {
                Some(why) => tracing::warn!("backend {service}/{backend} is {health}: {why}"),
                None => tracing::info!("backend {service}/{backend} is {health}"),
            }
            let its = (service, backend);
            match why {
                Some(why) => _ = self.why.insert(its, why),
                None => _ = self.why.remove(&its),
            }
            told.extend(id.map(|id| (id, health)));
        }
        told
    }

    /// Why a backend is not up, or cannot be checked.
    pub fn why(&self, service: &str, backend: &str) -> Option<&str> {
        self.why.get(&(service.to_owned(), backend.to_owned())).map(String::as_str)
    }

    /// How a backend's checks went, if any was ever to be made.
    pub fn counts(&self, service: &str, backend: &str) -> Option<Counted> {
        Some(self.counts.get(&(service.to_owned(), backend.to_owned()))?.read())
    }
}
