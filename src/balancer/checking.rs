//! Health checks as a balancer has them made: who is checked, and what that says of whom.

use super::{
    check::{Ability, Check, Checker, Counted, Counts, Finding, News, Sources},
    reach::Reach,
};
use crate::{
    lb::{BackendId, Balancer, Health, SynProxy},
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
    /// What checks themselves say, likewise.
    health: HashMap<(String, String), Health>,
    /// What backends can do with handshakes that were answered in their names, likewise.
    abilities: HashMap<(String, String), Ability>,
    /// Why that makes them as good as down, likewise.
    refusals: HashMap<(String, String), String>,
    /// Whether what services want may be another than when that was said.
    is_unsure: bool,
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
            health: HashMap::new(),
            abilities: HashMap::new(),
            refusals: HashMap::new(),
            is_unsure: false,
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
        (self.is_behind, self.is_unsure) = (true, true);
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
        let is_handed_over = |(service, backend): &(String, String)| {
            let mut those = targets.iter().filter(|target| target.hand_over.is_some());
            those.any(|target| target.service == *service && target.backend == *backend)
        };
        self.abilities.retain(|name, _| is_handed_over(name));
        self.refusals.retain(|name, _| is_handed_over(name));
        self.health.retain(|(service, backend), _| {
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
            match &why {
                Some(why) => tracing::warn!("backend {service}/{backend} is {health}: {why}"),
                None => tracing::info!("backend {service}/{backend} is {health}"),
            }
            let its = (service, backend);
            // A machine that comes back may have forgotten its program.
            if health == Health::Down {
                self.abilities.remove(&its);
            }
            self.health.insert(its.clone(), health);
            match why {
                Some(why) => _ = self.why.insert(its.clone(), why),
                None => _ = self.why.remove(&its),
            }
            told.extend(self.believe(balancer, its));
        }
        while let Ok(Finding { service, backend, ability }) = self.checker.findings().try_recv() {
            let is_there = balancer.service(&service).is_some_and(|id| balancer.backend(id, &backend).is_some());
            let its = (service, backend);
            if !is_there || self.abilities.get(&its) == Some(&ability) {
                continue;
            }
            let (service, backend) = &its;
            match &ability.takes_over {
                Ok(()) => tracing::info!("backend {service}/{backend} takes handshakes over"),
                Err(why) => tracing::warn!("backend {service}/{backend} does not take handshakes over: {why}"),
            }
            self.abilities.insert(its.clone(), ability);
            told.extend(self.believe(balancer, its));
        }
        if std::mem::take(&mut self.is_unsure) {
            let names: HashSet<_> = self.health.keys().chain(self.refusals.keys()).cloned().collect();
            told.extend(names.into_iter().filter_map(|its| self.believe(balancer, its)));
        }
        told
    }

    /// What that says of a backend. Where its service's SYNs are always answered in its name, it is as good as down if it does not
    /// go on from there.
    fn believe(&mut self, balancer: &Balancer, its: (String, String)) -> Option<(BackendId, Health)> {
        let service = balancer.service(&its.0)?;
        let id = balancer.backend(service, &its.1)?;
        let is_bound = balancer.get(service).is_some_and(|service| service.syn_proxy == SynProxy::Always);
        let (checked, was_refused) = (self.health.get(&its).copied(), self.refusals.remove(&its).is_some());
        let refusal = self.abilities.get(&its).and_then(|ability| ability.takes_over.as_ref().err());
        if let Some(why) = refusal.filter(|_| is_bound && checked != Some(Health::Down)) {
            self.refusals.insert(its, format!("it does not take handshakes over: {why}"));
            return Some((id, Health::Down));
        }
        // It was asked because a check had succeeded.
        let health = checked.or(was_refused.then_some(Health::Up))?;
        Some((id, health))
    }

    /// Whether anybody checks the backends of a service.
    pub fn checks(&self, service: &str) -> bool {
        self.wanted.contains_key(service)
    }

    /// What a backend can do with handshakes that were answered in its name, if that is known.
    pub fn ability(&self, service: &str, backend: &str) -> Option<&Ability> {
        self.abilities.get(&(service.to_owned(), backend.to_owned()))
    }

    /// Why a backend is not up, or cannot be checked.
    pub fn why(&self, service: &str, backend: &str) -> Option<&str> {
        let its = (service.to_owned(), backend.to_owned());
        self.why.get(&its).or_else(|| self.refusals.get(&its)).map(String::as_str)
    }

    /// How a backend's checks went, if any was ever to be made.
    pub fn counts(&self, service: &str, backend: &str) -> Option<Counted> {
        Some(self.counts.get(&(service.to_owned(), backend.to_owned()))?.read())
    }
}
