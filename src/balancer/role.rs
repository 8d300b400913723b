//! The role: what is to be balanced, and what is.

mod steer;

use super::{
    BalancerError, PINS, Status,
    application::Working,
    check::Check,
    checking::{Checking, Wanted},
    control::{Control, now},
    estate::{Estate, GiveUp, Origin, Pulse},
    fit,
    follow::{Bell, Follower},
    nat::{Nat, Sweeping},
    proxying::Proxying,
    reach::Reach,
};
use crate::{
    lb::{ApplyError, Balancer, Flow, Health, HealthSource, Limits, Plan, RowKey, Service},
    rng::SipKey,
    runtime::{
        Balanced, CookieSecret, Interface, Notice, RunReport, Running, Runtime, RuntimeError, StopSignal, StopSignals,
    },
    time::Instant,
    xdp::{Balance, BalanceOptions, Pins, Require},
};
use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use steer::{alone, frames_of};

/// A balancer to be. Nothing happens, and nothing is checked, before [`LoadBalancer::start`].
#[derive(Clone)]
pub struct LoadBalancer {
    runtime: Runtime,
    key: RowKey,
    options: BalanceOptions,
    checks: Wanted,
    health: Vec<(String, String, Health)>,
    survive: Option<Duration>,
    pins: PathBuf,
    nat: Nat,
    proxy_sources: Vec<IpAddr>,
    splices: u32,
}

impl LoadBalancer {
    /// A balancer on the interface of this name, where its clients are: its services' addresses are there. `key` is a fleet's
    /// secret; whoever has another one places flows otherwise.
    pub fn on(interface: impl Into<String>, key: RowKey) -> Self {
        let mut runtime = Runtime::on(interface);
        // Some protocols let servers speak alone; who is not to be idle for long has a time-out of its own.
        runtime.config.silence = None;
        Self {
            runtime,
            key,
            options: BalanceOptions::default(),
            checks: Wanted::new(),
            health: Vec::new(),
            survive: None,
            pins: PathBuf::from(PINS),
            nat: Nat::default(),
            proxy_sources: Vec::new(),
            splices: SPLICES,
        }
    }

    /// Takes packets on another interface as well. Backends may be behind any interface of the host, whether it is named or not;
    /// some drivers send no frames from XDP programs where they run none.
    #[must_use]
    pub fn and_on(mut self, interface: impl Into<String>) -> Self {
        self.runtime.interfaces.push(Interface::new(interface));
        self
    }

    /// Serves a VLAN on the interface that was named last, by frames with its tag.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.runtime.interface().vlan = Some(id);
        self
    }

    /// What must be had: see [`Require`].
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.runtime.require = require;
        self
    }

    /// Cores for the workers, one for each queue. They have little to do: packets are forwarded where they arrive.
    #[must_use]
    pub fn cores(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        self.runtime.cores = cores.into_iter().collect();
        self
    }

    /// Whether it is asked on the link if somebody has the address of a service, which takes a fifth of a second. Default true: a
    /// backend that answers for it takes the clients of all others.
    #[must_use]
    pub fn probe(mut self, probe: bool) -> Self {
        self.runtime.probe = probe;
        self
    }

    /// How many flows may be remembered, and how long they may be silent.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// The secret from which the keys of cookies come, for services whose SYNs are answered in their backends' names
    /// ([`SynProxy`](crate::lb::SynProxy)): backends have it as well, and the other balancers of a fleet.
    #[must_use]
    pub fn cookie_master(mut self, master: SipKey) -> Self {
        self.runtime.cookie_secret = CookieSecret::Fixed(master);
        self
    }

    /// A file of 32 hexadecimal digits with that secret. When it holds another one, that counts from the next epoch on: backends' files
    /// should change within one epoch ([`EPOCH`](crate::tcp::cookie::EPOCH)).
    #[must_use]
    pub fn cookie_master_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime.cookie_secret = CookieSecret::File(path.into());
        self
    }

    /// Where packets of services in mode `nat` come from, and how many of their flows there may be.
    #[must_use]
    pub fn nat(mut self, nat: Nat) -> Self {
        self.nat = nat;
        self
    }

    /// Addresses that connections to backends come from, of services in mode `proxy`: the balancer's alone, which answers for them on
    /// the last interface that was named. Where there is none of a backend's IP version, they come from the service's own.
    #[must_use]
    pub fn proxy_sources(mut self, sources: impl IntoIterator<Item = IpAddr>) -> Self {
        self.proxy_sources = sources.into_iter().collect();
        self
    }

    /// How many connections of clients the XDP programs may go on with, of services in mode `proxy`, once nothing of them is to be looked
    /// at; 0 for none. What is beyond goes through the workers. They take 352 octets each from the start, if a service is in that mode
    /// then; 8,388,608 is the most. Default 131,072.
    #[must_use]
    pub fn splices(mut self, most: u32) -> Self {
        self.splices = most;
        self
    }

    /// How long connections that end at the balancer may go on when it is stopped. Default: not at all, and they are reset.
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Self {
        self.runtime.drain = time;
        self
    }

    /// Has the backends of the service of this name checked: connections to the service's address go to each of them as clients'
    /// do. What checks know masks the tables, and no more.
    #[must_use]
    pub fn check(mut self, service: impl Into<String>, check: Check) -> Self {
        self.checks.insert(service.into(), (check, None));
        self
    }

    /// Says how a backend is before it is heard of: what another process knew. A name that there is not counts for nothing.
    #[must_use]
    pub fn health(mut self, service: impl Into<String>, backend: impl Into<String>, health: Health) -> Self {
        self.health.push((service.into(), backend.into(), health));
        self
    }

    /// Has the programs go on for so long when the process ends, however it ends: packets go to backends as they did, and nothing
    /// changes. A balancer that is started meanwhile goes on from there, and no packet is lost; if none is, the kernel has its
    /// traffic back after that time. From a second to hours. By default the programs end with the process, and the kernel gets its
    /// traffic back at once.
    ///
    /// Workers are not there meanwhile: questions for the services' addresses are answered (ARP, neighbour solicitations), but not
    /// echo requests; health stays as it was, and no drain ends. [`Balancing::leave`] ends a process on purpose, to be followed by
    /// another one; [`Balancing::stop`] ends for good.
    #[must_use]
    pub fn survive(mut self, time: Duration) -> Self {
        self.survive = Some(time);
        self
    }

    /// The folder in a BPF file system where what outlives a process is kept, a folder in it for each balancer. Default [`PINS`]. What
    /// is found there is taken over, whether or not this one is to be outlived.
    #[must_use]
    pub fn pins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.pins = folder.into();
        self
    }

    /// The clock of its tables, by which deadlines of drains are told: time since the machine has been up.
    pub fn now() -> Instant {
        now()
    }

    /// Has whatever there is to say told.
    #[must_use]
    pub fn on_notice(mut self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.runtime.on_notice = Some(Arc::new(tell));
        self
    }

    /// Starts balancing.
    ///
    /// # Errors
    /// [`BalancerError`] says what stands in the way and what to do about it. Nothing is left behind then.
    pub fn start(&self, services: impl IntoIterator<Item = Service>) -> Result<Balancing, BalancerError> {
        let services: Vec<Service> = services.into_iter().collect();
        let vips: HashSet<IpAddr> = services.iter().map(|service| service.address).collect();
        if vips.is_empty() {
            return Err(BalancerError::NoServices);
        }
        let settings = self.nat.settings(&self.key)?;
        let sources = self.nat.sources.iter().filter_map(|&it| Some((it, settings.as_ref()?.number_of(it)?))).collect();
        let options = BalanceOptions { nat: settings, ..self.options.clone() };
        let interface = self.runtime.interfaces[0].name.clone();
        let estate = Estate::open(&self.pins, &interface, self.survive.is_some(), &self.key)?;
        let pins = estate.as_ref().map(|estate| Arc::clone(estate.pins()));
        let mut give_up = GiveUp(estate.as_ref().filter(|estate| estate.was_empty()).and(pins.clone()));
        let (balance, mut balancer, origin) = match &estate {
            Some(estate) => estate.resume(&self.key, &options, &services)?,
            None => {
                let balance = Balance::new(&self.key, &options)?;
                (balance, Balancer::new(self.key, options.limits), Origin::Fresh)
            }
        };
        let plan = balancer.plan(services, now()).map_err(BalancerError::Plan)?;
        self.check_fit(&plan)?;
        balancer.apply(&plan, now())?;
        self.believe(&mut balancer);
        if pins.is_some() && self.survive.is_none() {
            // Its program may take the place of one that is pinned, and this may be as far as it gets.
            balance.heartbeat()?.last_for(STARTING);
        }
        let pulse = self.survive.map(|survive| Pulse::start(balance.heartbeat()?, survive).map_err(no_thread));
        let pulse = pulse.transpose()?;
        let forwarded = balancer.services().filter(|(_, it)| !it.is_proxied());
        let frames = forwarded.map(|(id, it)| (frames_of(it), id.index() as u32, it.into())).collect();
        let balance = Arc::new(Mutex::new(balance));
        let tables = Arc::clone(&balance);
        let addresses = vips.iter().chain(&self.proxy_sources).copied().collect();
        let balanced = Balanced { tables, services: frames, addresses, sources, pins: pins.clone() };
        let mut runtime = self.runtime_of(&vips, balanced);
        let is_spliced = balancer.services().any(|(_, it)| it.is_proxied() && it.proxied.needs_splices());
        runtime.splices = if is_spliced { self.splices } else { 0 };
        let bell = Bell::new().map_err(no_thread)?;
        let ring = bell.clone();
        // Balancers that began at different times check at different times.
        let checking = Checking::new(now().as_nanos(), self.checks.clone(), move || ring.ring());
        let proxying = Proxying::new(self.key, self.proxy_sources.clone());
        let application = Working::maker(&checking, &proxying);
        let sweeping = Sweeping::new(&self.nat.windows);
        let mut control = Control::new(balancer, balance, Reach::open()?, checking, proxying, sweeping, estate);
        // Programs find all of it when they come: what they take the place of may be at work.
        control.begin()?;
        if origin != Origin::Fresh {
            control.find_ways()?;
        }
        let running = Arc::new(runtime.start(application)?);
        fit::check_modes(&running, control.balancer.services().map(|(_, service)| service))?;
        fit::check_splices(&running, control.balancer.services().map(|(_, service)| service))?;
        control.open_proxies(&running)?;
        if let Some(pins) = &pins {
            control.settle()?;
            pins.keep_links(&running.interface_names().collect::<Vec<_>>());
        }
        if self.survive.is_none() {
            control.renounce()?;
        }
        let control = Arc::new(Mutex::new(control));
        let follower = Follower::start(bell, Arc::clone(&control), Arc::clone(&running)).map_err(no_thread)?;
        give_up.0 = None;
        let pins = pins.filter(|_| self.survive.is_some());
        let (terms, vips) = (self.clone(), Mutex::new(vips));
        Ok(Balancing { running, follower, control, terms, vips, origin, pulse, pins })
    }

    /// Whether services can be had, as far as that does not depend on where it runs.
    fn check_fit(&self, plan: &Plan) -> Result<(), BalancerError> {
        fit::check_room(plan, self.nat.sources.len())?;
        self.nat.check(plan.services())?;
        fit::check_cookies(&self.runtime.cookie_secret, plan)
    }

    /// The workers, which have the addresses of services, and those that packets come from.
    fn runtime_of(&self, vips: &HashSet<IpAddr>, balanced: Balanced) -> Runtime {
        let mut runtime = self.runtime.clone();
        runtime.interfaces[0].own = vips.iter().copied().map(alone).collect();
        if let Some(last) = runtime.interfaces.last_mut() {
            last.own.extend(self.nat.sources.iter().chain(&self.proxy_sources).copied().map(alone));
        }
        runtime.balance = Some(balanced);
        runtime
    }

    /// Believes what was known before. Nothing is heard of that yet, so no program has to be told.
    fn believe(&self, balancer: &mut Balancer) {
        for (service, backend, health) in &self.health {
            let id = balancer.service(service).and_then(|id| balancer.backend(id, backend));
            if let Some(id) = id {
                balancer.set_health(id, *health, now());
            }
        }
    }
}

fn no_thread(source: io::Error) -> BalancerError {
    RuntimeError::System { what: "start the balancer's thread", source }.into()
}

/// How many connections XDP programs may go on with by default.
const SPLICES: u32 = 131_072;

/// How long a start may take, and for how long programs go on of one that was none.
const STARTING: Duration = Duration::from_secs(30);

/// A balancer at work, until it is stopped or dropped. Any thread may change it.
pub struct Balancing {
    running: Arc<Running>,
    follower: Follower,
    control: Arc<Mutex<Control>>,
    terms: LoadBalancer,
    /// The addresses that the stack has. Held by whoever changes the services: one at a time.
    vips: Mutex<HashSet<IpAddr>>,
    origin: Origin,
    /// By what the programs know that it lives, where they are to outlive it; and where they are pinned then.
    pulse: Option<Pulse>,
    pins: Option<Arc<Pins>>,
}

impl Balancing {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it would mean to balance these services, and nothing else: print it.
    ///
    /// # Errors
    /// [`BalancerError::Plan`]: all that is wrong with them.
    pub fn plan(&self, services: impl IntoIterator<Item = Service>) -> Result<Plan, BalancerError> {
        let mut control = self.control();
        control.learn()?;
        control.balancer.plan(services, now()).map_err(BalancerError::Plan)
    }

    /// Applies a plan. Addresses that come are asked for on the link first; flows to those that go end.
    ///
    /// # Errors
    /// [`BalancerError`]. Where an address cannot be had, or the plan is out of date, everything is as before.
    pub fn apply(&self, plan: &Plan) -> Result<(), BalancerError> {
        let wanted: HashSet<IpAddr> = plan.services().map(|service| service.address).collect();
        let mut vips = self.vips.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else applies one meanwhile.
        if !self.control().balancer.is_current(plan) {
            return Err(ApplyError::Stale.into());
        }
        self.terms.check_fit(plan)?;
        fit::check_modes(&self.running, plan.services())?;
        fit::check_splices(&self.running, plan.services())?;
        let added: Vec<IpAddr> = wanted.difference(&vips).copied().collect();
        self.add_all(&added, plan)?;
        let before = self.services();
        // Of services that go, no frame may find a number that is another's by then.
        self.unsteer(&before, plan);
        let applied = {
            let mut control = self.control();
            let applied = control.apply(plan).map(|()| control.begin());
            control.close_proxies(&self.running);
            applied
        };
        if applied.is_err() {
            added.into_iter().for_each(|vip| self.remove(vip));
        } else {
            vips.extend(added);
            vips.retain(|vip| {
                let is_wanted = wanted.contains(vip);
                if !is_wanted {
                    self.remove(*vip);
                }
                is_wanted
            });
        }
        let served = self.serve(&before, &self.services());
        let listens = self.control().open_proxies(&self.running);
        self.follower.wake();
        // What could not be said to the kernel is said again in a moment.
        applied?.and(served).and(listens)
    }

    /// Balances these services, and nothing else, from now on.
    ///
    /// # Errors
    /// As [`Balancing::plan`] and [`Balancing::apply`].
    pub fn configure(&self, services: impl IntoIterator<Item = Service>) -> Result<Plan, BalancerError> {
        let plan = self.plan(services)?;
        self.apply(&plan)?;
        Ok(plan)
    }

    /// What would become of a flow's packets now, and why.
    ///
    /// # Errors
    /// Where the kernel does not tell what is remembered.
    pub fn explain(&self, flow: &Flow) -> Result<String, BalancerError> {
        let mut control = self.control();
        control.learn()?;
        let mut text = control.balancer.explain(flow, now());
        if let Some(nat) = control.balance().nat() {
            text.extend(control.balancer.explain_translated(nat, flow, now()));
        }
        Ok(text)
    }

    /// Says how a backend is. False where there is no such backend, or nothing new.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_health(&self, service: &str, backend: &str, health: Health) -> Result<bool, BalancerError> {
        let mut control = self.control();
        let id = control.balancer.service(service).and_then(|id| control.balancer.backend(id, backend));
        let told = id.map_or(Ok(false), |id| control.set_health(id, health));
        drop(control);
        self.follower.wake();
        told
    }

    /// Hears of health from somebody else from now on, who is asked twenty times a second.
    pub fn hear_of_health(&self, source: impl HealthSource + Send + 'static) {
        self.control().add_source(Box::new(source));
        self.follower.wake();
    }

    /// Has the backends of these services checked from now on, and of no others: each by its service's name, at another port than
    /// the service's where one is given. What is known of those that are checked no longer stays as it is.
    pub fn set_checks(&self, checks: impl IntoIterator<Item = (String, Check, Option<u16>)>) {
        let wanted = checks.into_iter().map(|(service, check, port)| (service, (check, port)));
        self.control().checking.want(wanted.collect());
        self.follower.wake();
    }

    /// Looks at the tables.
    pub fn with_tables<T>(&self, look: impl FnOnce(&Balancer) -> T) -> T {
        look(&self.control().balancer)
    }

    /// What it is like now.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn status(&self) -> Result<Status, BalancerError> {
        Status::of(&mut self.control(), self.running.outcomes()?, now())
    }

    /// The workers below.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Balances until a signal comes, which is returned, until an interface is gone, or a worker ends by itself. It goes on until it is
    /// stopped, or left.
    pub fn linger(&self, signals: StopSignals) -> Option<StopSignal> {
        self.running.linger(signals)
    }

    /// How it has begun.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Ends: programs are detached, and the kernel gets its traffic back.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn stop(self) -> Result<RunReport, RuntimeError> {
        let pins = self.pins.clone();
        let report = self.leave();
        if let Some(pins) = pins {
            pins.clear();
        }
        report
    }

    /// Ends, to be followed by another one: the programs go on for as long as [`LoadBalancer::survive`] has said. Where it has not,
    /// this is [`Balancing::stop`]. To drop the value does the same, and tells nothing.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn leave(self) -> Result<RunReport, RuntimeError> {
        let Self { running, follower, pulse, .. } = self;
        // The thread has the other hold of it.
        drop(follower);
        drop(pulse);
        Arc::into_inner(running)
            .ok_or(RuntimeError::System {
                what: "end the balancer's thread",
                source: io::ErrorKind::ResourceBusy.into(),
            })?
            .stop()
    }
}
