//! What decides and what forwards, kept alike: the tables, the programs' maps, and the ways to backends.

use super::{
    BalancerError, NoReach, checking::Checking, estate::Estate, hand_over::HandOver, nat::Sweeping, proxying::Proxying,
    reach::Reach,
};
use crate::{
    lb::{BackendId, Balancer, Health, HealthSource, Plan, ServiceId, Way},
    runtime::Running,
    time::Instant,
    xdp::Balance,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The clock that the tables and the XDP programs have in common: time since the machine has been up. It goes on from one process
/// to the next.
pub(super) fn now() -> Instant {
    // It is there since Linux 2.6.39.
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Instant::ZERO + uptime
}

/// Everything that changes together.
pub(super) struct Control {
    pub balancer: Balancer,
    pub balance: Arc<Mutex<Balance>>,
    pub reach: Reach,
    pub checking: Checking,
    pub proxying: Proxying,
    /// Where connections end here, as far as that was had.
    listening: HashSet<SocketAddr>,
    pub sweeping: Sweeping,
    pub hand_over: HandOver,
    /// What another one is to go on from, if one is.
    estate: Option<Estate>,
    sources: Vec<Box<dyn HealthSource + Send>>,
    /// What was said of health, and is yet to be believed.
    reports: Vec<(BackendId, Health)>,
    /// Whether what the programs have is older than the tables.
    is_behind: bool,
}

impl Control {
    pub fn new(
        balancer: Balancer,
        balance: Arc<Mutex<Balance>>,
        reach: Reach,
        checking: Checking,
        proxying: Proxying,
        sweeping: Sweeping,
        estate: Option<Estate>,
    ) -> Self {
        let (sources, reports, listening) = Default::default();
        Self {
            balancer,
            balance,
            reach,
            checking,
            proxying,
            listening,
            sweeping,
            hand_over: HandOver::default(),
            estate,
            sources,
            reports,
            is_behind: true,
        }
    }

    pub fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add_source(&mut self, source: Box<dyn HealthSource + Send>) {
        self.sources.push(source);
    }

    /// Takes over what the programs have written, as it must be before the tables change.
    pub fn learn(&mut self) -> Result<(), BalancerError> {
        let balance = Arc::clone(&self.balance);
        let mut balance = balance.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(balance.learn(&mut self.balancer)?)
    }

    pub fn apply(&mut self, plan: &Plan) -> Result<(), BalancerError> {
        self.learn()?;
        Ok(self.balancer.apply(plan, now())?)
    }

    /// Has the programs do as tables say that are others than before.
    pub fn begin(&mut self) -> Result<(), BalancerError> {
        self.is_behind = true;
        self.checking.outdate();
        self.reach.watch(&self.balancer);
        // What is known already need not wait for its turn.
        let reached = self.reach.poll(std::time::Instant::now());
        self.publish()?;
        Ok(reached.map(drop)?)
    }

    pub fn set_health(&mut self, backend: BackendId, health: Health) -> Result<bool, BalancerError> {
        self.learn()?;
        let is_news = self.balancer.set_health(backend, health, now());
        if is_news {
            self.is_behind = true;
            self.publish()?;
        }
        Ok(is_news)
    }

    /// Has the programs do as the tables say.
    fn publish(&mut self) -> Result<(), BalancerError> {
        if !self.is_behind {
            return Ok(());
        }
        self.proxying.outdate();
        let ways: HashMap<BackendId, Way> = self.ways().collect();
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        balance.publish(&self.balancer, &|id| ways.get(&id).copied())?;
        if let Some(estate) = &mut self.estate {
            estate.write_down(&self.balancer, &balance)?;
        }
        self.is_behind = false;
        Ok(())
    }

    /// From now on it is this one that others go on from: until then, that is who was here before.
    pub fn settle(&mut self) -> Result<(), BalancerError> {
        let Some(estate) = &mut self.estate else { return Ok(()) };
        let balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(estate.settle(&self.balancer, &balance)?)
    }

    /// Leaves nothing to anybody.
    pub fn renounce(&mut self) -> Result<(), BalancerError> {
        if let Some(estate) = self.estate.take() {
            let mut balance = self.balance();
            balance.forget_pins();
            estate.pins().clear();
            balance.heartbeat()?.end();
        }
        Ok(())
    }

    /// Waits for the ways to all backends, and has the programs know them. Not for long: some backends may be reached by none.
    pub fn find_ways(&mut self) -> Result<(), BalancerError> {
        let patience = std::time::Instant::now() + FIND_WAYS;
        loop {
            let is_found = |id: ServiceId| {
                self.balancer
                    .slots(id)
                    .all(|(number, _)| self.reach.way(&self.balancer, BackendId { service: id, number }).is_ok())
            };
            let now = std::time::Instant::now();
            if now >= patience || self.balancer.services().all(|(id, _)| is_found(id)) {
                return self.publish();
            }
            let due = self.reach.deadline().map_or(patience, |due| due.min(patience));
            let wait = u16::try_from(due.saturating_duration_since(now).as_millis() + 1).unwrap_or(u16::MAX);
            poll(&mut [PollFd::new(self.reach.as_fd(), PollFlags::POLLIN)], PollTimeout::from(wait)).ok();
            self.is_behind |= self.reach.poll(std::time::Instant::now())?;
        }
    }

    fn ways(&self) -> impl Iterator<Item = (BackendId, Way)> {
        let services = self.balancer.services().map(|(id, _)| id);
        let ids = services
            .flat_map(|service| self.balancer.slots(service).map(move |(number, _)| BackendId { service, number }));
        ids.filter_map(|id| Some((id, self.reach.way(&self.balancer, id).ok()?)))
    }

    /// Does what is due.
    pub fn turn(&mut self, running: &Running) -> Result<(), BalancerError> {
        // Where the kernel does not tell of ways, all else goes on.
        let reached = self.reach.poll(std::time::Instant::now());
        if matches!(reached, Ok(true)) {
            self.is_behind = true;
            self.checking.outdate();
        }
        // Whatever the kernel refuses: or its table would fill.
        let balance = Arc::clone(&self.balance);
        if let Some(flows) = balance.lock().unwrap_or_else(PoisonError::into_inner).nat() {
            self.sweeping.turn(flows, now());
        }
        // Workers are told whatever the programs refuse.
        let published = self.hear().and_then(|()| self.publish());
        self.hand_over.update(running, &mut self.balancer, &self.reach, &self.checking);
        self.checking.update(running, &self.balancer, &self.reach);
        self.close_proxies(running);
        let opened = self.open_proxies(running);
        published?;
        opened?;
        Ok(reached.map(drop)?)
    }

    /// Where connections are to end here, by the tables.
    fn proxied(&self) -> HashSet<SocketAddr> {
        self.balancer.proxied().into_keys().map(SocketAddr::from).collect()
    }

    /// Accepts no more connections where no service wants them.
    pub fn close_proxies(&mut self, running: &Running) {
        let over: Vec<SocketAddr> = self.listening.difference(&self.proxied()).copied().collect();
        for end in over {
            match running.unlisten(Some(end.ip()), end.port()) {
                Ok(_) => _ = self.listening.remove(&end),
                Err(error) => {
                    tracing::warn!(%end, "connections are still accepted for a service that is gone: {error}")
                }
            }
        }
    }

    /// Accepts connections wherever a service wants them.
    pub fn open_proxies(&mut self, running: &Running) -> Result<(), BalancerError> {
        self.inform(running);
        let mut refused = None;
        for end in self.proxied().difference(&self.listening.clone()) {
            match running.listen(Some(end.ip()), end.port()) {
                Ok(()) => _ = self.listening.insert(*end),
                Err(why) => refused = Some(why),
            }
        }
        refused.map_or(Ok(()), |why| Err(why.into()))
    }

    /// What keeps packets or connections from a backend, or is about to.
    pub fn trouble(&self, id: BackendId) -> Option<NoReach> {
        let of_proxy = || {
            let (service, backend) = (self.balancer.get(id.service)?, self.balancer.name(id)?);
            self.proxying.obstacle(&service.name, backend).map(|why| NoReach::Unconnectable(why.to_owned()))
        };
        self.reach.trouble(&self.balancer, id).or_else(of_proxy)
    }

    /// Has the workers do as the tables say.
    pub fn inform(&mut self, running: &Running) {
        self.proxying.update(running, &self.balancer, &self.reach);
    }

    /// Ends what is over, and believes what is said of health.
    fn hear(&mut self) -> Result<(), BalancerError> {
        let is_due = self.balancer.poll_timeout().is_some_and(|due| due <= now());
        self.reports.extend(self.sources.iter_mut().flat_map(|source| source.reports(now())));
        self.reports.extend(self.checking.hear(&self.balancer));
        if !is_due && self.reports.is_empty() {
            return Ok(());
        }
        self.learn()?;
        // First: rows of a backend that is well again stay watched, as flows may have gone around it since this was learnt.
        if is_due {
            self.balancer.handle_timeout(now());
            self.is_behind = true;
        }
        for (backend, health) in self.reports.drain(..) {
            self.is_behind |= self.balancer.set_health(backend, health, now());
        }
        Ok(())
    }

    /// When there is something to do at the latest.
    pub fn rest(&self) -> Duration {
        let soon = if self.sources.is_empty() { LONGEST_REST } else { ASK_FOR_HEALTH };
        let timeout = self.balancer.poll_timeout().map(|due| due.saturating_since(now()));
        let ways = self.reach.deadline().map(|due| due.saturating_duration_since(std::time::Instant::now()));
        [timeout, ways].into_iter().flatten().fold(soon, Duration::min)
    }
}

/// How long it takes at most to ask neighbours where they are: the kernel asks three times, once a second.
const FIND_WAYS: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(1);
const ASK_FOR_HEALTH: Duration = Duration::from_millis(50);
