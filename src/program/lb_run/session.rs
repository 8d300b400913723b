//! What runs, and how it changes: by the file, and by what is said by hand.

use super::{
    Answer, BackendReport, Changed, Refused, Request, RunError, StatusReport, checks,
    metrics::{Page, Reloads},
    status::Frame,
    unused,
    watch::{Fingerprint, fingerprint},
};
use crate::{
    balancer::{BalancerError, Balancing, LoadBalancer, Nat, Origin},
    lb::{self, Flow, Health, MAX_WEIGHT, State},
    lb_file::{BackendName, CheckKind, File, Moment, Overrides, Placements, row_key},
    runtime::{RunReport, RuntimeError},
    telemetry::metrics::{Door, Process},
    wire::{Endpoint, FourTuple, check_remote},
    xdp::Require,
};
use std::{
    collections::BTreeMap,
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Who hears what there is to say.
pub type Tell = Arc<dyn Fn(&dyn Display) + Send + Sync>;

/// How it is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file by which it goes.
    pub config: PathBuf,
    /// Cores for its workers, in turn; none for all that the process may use.
    pub cores: Vec<usize>,
    /// The least to be content with.
    pub require: Require,
    /// Whether it is asked on the link if somebody has a service's address.
    pub probe: bool,
}

/// A balancer, and what it goes by. Any thread may change it; one after another does.
pub struct Session {
    options: Options,
    balancing: Balancing,
    placements: Placements,
    /// The start, by both clocks.
    moment: Moment,
    /// Where what is said by hand is kept.
    kept: PathBuf,
    said: Mutex<Said>,
    /// The file's own number, for those who do not wait until a change is over.
    generation: Mutex<Option<u64>>,
    seen: Mutex<Option<Fingerprint>>,
    reloads: Mutex<Reloads>,
    /// Where metrics can be had.
    door: Arc<Door>,
    tell: Tell,
}

/// What counts.
struct Said {
    file: File,
    overrides: Overrides,
    /// Of what was known of health when it was last kept.
    health: Option<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Balances what a file says that was held against this host.
    pub(super) fn start(
        options: Options,
        file: File,
        seen: Option<Fingerprint>,
        door: Arc<Door>,
        tell: Tell,
    ) -> Result<Self, RunError> {
        let key = row_key(&file.row_key_file)?;
        let kept = Overrides::path(&file.control);
        let mut overrides = Overrides::load(&kept)?;
        let mut notes = overrides.review(&file);
        notes.extend(unused::of(&file));
        let placements = Placements::new(&key);
        let moment = Moment { now: LoadBalancer::now(), calendar: SystemTime::now() };
        let mut services = file.services(&placements);
        overrides.apply(&mut services, moment);
        notes.extend(deserted(&services));
        notes.extend(file.metrics.map(told_metrics));

        let mut interfaces = file.interfaces.iter();
        let first = interfaces.next().map(String::as_str).unwrap_or_default();
        let balancer = interfaces.fold(LoadBalancer::on(first, key), |it, name| it.and_on(name));
        let telling = Arc::clone(&tell);
        let balancer = balancer
            .cores(options.cores.iter().copied())
            .require(options.require)
            .probe(options.probe)
            .pins(&file.pins)
            .proxy_sources(file.proxy_sources.iter().copied())
            .nat(Nat { sources: file.nat.sources.clone(), flows: file.nat.flows, windows: file.nat.windows })
            .on_notice(move |notice| telling(notice));
        let balancer = file.cookie_master_file.iter().fold(balancer, LoadBalancer::cookie_master_file);
        let balancer = file.splices.into_iter().fold(balancer, LoadBalancer::splices);
        let balancer = file.survive.into_iter().fold(balancer, LoadBalancer::survive);
        let balancing = known_health(&file, &overrides)
            .fold(balancer, |it, (name, health)| it.health(&name.service, &name.backend, health))
            .start(services)?;
        match balancing.origin() {
            Origin::Fresh => {}
            origin => tell(&origin),
        }

        let (generation, seen) = (Mutex::new(file.generation), Mutex::new(seen));
        let said = Mutex::new(Said { file, overrides, health: None });
        let reloads = Mutex::new(Reloads::none(moment.calendar));
        let session =
            Self { options, balancing, placements, moment, kept, said, generation, seen, reloads, door, tell };
        // What is known from before counts until checks say otherwise.
        session.balancing.set_checks(checks::of(&lock(&session.said).file));
        session.say_what_is_served(&notes);
        let saved = lock(&session.said).overrides.save(&session.kept);
        saved.unwrap_or_else(|error| (session.tell)(&error));
        Ok(session)
    }

    /// Of whom nobody checks any more nothing is known from now on, likewise.
    fn trust_unchecked(&self, before: &File, after: &File) -> Result<(), BalancerError> {
        let is_checked = |file: &File, name: &str| {
            file.services.iter().any(|it| it.name == name && it.check.kind != CheckKind::None)
        };
        let left = |name: &str| is_checked(before, name) && !is_checked(after, name);
        for service in after.services.iter().filter(|service| left(&service.name)) {
            for backend in &service.backends {
                self.balancing.set_health(&service.name, &backend.name, Health::Unknown)?;
            }
        }
        Ok(())
    }

    fn say_what_is_served(&self, notes: &[String]) {
        let said = lock(&self.said);
        let count = said.file.services.len();
        for service in said.file.services.iter().take(LISTED) {
            let address = SocketAddr::from(service.address);
            let backends = service.backends.len();
            (self.tell)(&format_args!(
                "balancing {}  {} {address}  {} over {backends} backend{}",
                service.name,
                service.protocol,
                service.mode,
                if backends == 1 { "" } else { "s" }
            ));
        }
        if count > LISTED {
            (self.tell)(&format_args!("and {} more services: `xskip lb status` lists them", count - LISTED));
        }
        notes.iter().for_each(|note| (self.tell)(note));
    }

    /// The balancer itself.
    pub fn balancing(&self) -> &Balancing {
        &self.balancing
    }

    pub(super) fn tell(&self, what: &dyn Display) {
        (self.tell)(what);
    }

    /// The file as it was when it was last read, whether or not it was taken.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        *lock(&self.seen)
    }

    pub(super) fn config(&self) -> &PathBuf {
        &self.options.config
    }

    /// Reads the file anew and goes by it from now on. The plan is told before it is applied.
    ///
    /// # Errors
    /// What is wrong with the file, or stands in the way, which is told likewise. Everything is as before.
    pub fn reload(&self) -> Result<Changed, Refused> {
        let mut said = lock(&self.said);
        let reloaded = self.read(&said.file).and_then(|file| {
            let mut overrides = said.overrides.clone();
            let mut notes = overrides.review(&file);
            notes.extend(unused::of(&file));
            let elsewhere = self.door.prepare(file.metrics).map_err(Refused::new)?;
            if elsewhere.is_some() {
                notes.push(file.metrics.map_or_else(|| "there are no metrics any more".to_owned(), told_metrics));
            }
            let changed = self.change(&mut said, Some(file), overrides, notes)?;
            elsewhere.into_iter().for_each(|there| self.door.go(there));
            Ok(changed)
        });
        lock(&self.reloads).count(reloaded.is_ok());
        if let Err(Refused(why)) = &reloaded {
            self.tell(&format_args!("the file is not taken, and all goes on as before: {why}"));
        }
        reloaded
    }

    /// The file as it is now, where it may take the place of what runs.
    fn read(&self, runs: &File) -> Result<File, Refused> {
        // A change while it is read is seen later.
        *lock(&self.seen) = fingerprint(&self.options.config);
        let file = File::read(&self.options.config).map_err(Refused::new)?;
        file.check_this_host(|note| self.tell(note)).map_err(Refused::new)?;
        let name = file.name();
        let settled = [
            ("interfaces", file.interfaces == runs.interfaces),
            ("control", file.control == runs.control),
            ("row_key_file", file.row_key_file == runs.row_key_file),
            ("cookie_master_file", file.cookie_master_file == runs.cookie_master_file),
            ("survive", file.survive == runs.survive),
            ("pins", file.pins == runs.pins),
            ("nat", file.nat == runs.nat),
            ("proxy", (&file.proxy_sources, file.splices) == (&runs.proxy_sources, runs.splices)),
        ];
        match settled.into_iter().find(|(_, is_same)| !is_same) {
            Some((key, _)) => Err(Refused(format!(
                "{name}: `{key}` is settled when a balancer starts: stop it and start it again, or leave that as it was"
            ))),
            None => Ok(file),
        }
    }

    /// Serves what a file says, or else the one that counts, and what was said by hand.
    fn change(
        &self,
        said: &mut Said,
        file: Option<File>,
        overrides: Overrides,
        mut notes: Vec<String>,
    ) -> Result<Changed, Refused> {
        let its = file.as_ref().unwrap_or(&said.file);
        let mut services = its.services(&self.placements);
        overrides.apply(&mut services, self.moment);
        notes.extend(deserted(&services));
        let refused = |error| match error {
            BalancerError::Plan(errors) => Refused::new(its.faults(&errors)),
            error => Refused::new(error),
        };
        let plan = self.balancing.plan(services).map_err(refused)?;
        let text = plan.to_string();
        self.tell(&text.trim_end());
        if !plan.is_empty() {
            self.balancing.apply(&plan).map_err(refused)?;
        }
        if let Some(file) = file {
            *lock(&self.generation) = file.generation;
            self.balancing.set_checks(checks::of(&file));
            // It counts already, whatever the kernel says now.
            notes.extend(self.trust_unchecked(&said.file, &file).err().map(|error| error.to_string()));
            said.file = file;
        }
        said.overrides = overrides;
        if let Err(error) = said.overrides.save(&self.kept) {
            notes.push(error.to_string());
        }
        notes.iter().for_each(|note| self.tell(note));
        Ok(Changed { plan: text, notes, backend: None })
    }

    /// Changes what is said of a backend by hand.
    fn by_hand(
        &self,
        name: &str,
        say: impl FnOnce(&mut Overrides, &File, &BackendName) -> Result<(), Refused>,
    ) -> Result<Changed, Refused> {
        let name: BackendName = name.parse().map_err(Refused)?;
        let mut said = lock(&self.said);
        let mut overrides = said.overrides.clone();
        say(&mut overrides, &said.file, &name)?;
        let changed = self.change(&mut said, None, overrides, Vec::new())?;
        Ok(Changed { backend: self.backend(&name).map(Box::new), ..changed })
    }

    /// What a backend is like; `None` where the kernel does not tell, which undoes nothing.
    fn backend(&self, name: &BackendName) -> Option<BackendReport> {
        let status = self.balancing.status().ok()?;
        let service = status.services.iter().find(|it| it.name == name.service)?;
        let backend = service.backends.iter().find(|it| it.name == name.backend)?;
        Some(BackendReport::new(backend, service.rows, LoadBalancer::now()))
    }

    /// Gives a backend, `SERVICE/BACKEND`, no new flows; those that it has go on, for so long at most.
    ///
    /// # Errors
    /// Where there is no such backend.
    pub fn drain(&self, backend: &str, time: Option<Duration>) -> Result<Changed, Refused> {
        let too_long = || Refused("a drain that lasts beyond all calendars is one without a deadline: say none".into());
        let deadline = time.map(|time| SystemTime::now().checked_add(time).ok_or_else(too_long)).transpose()?;
        self.by_hand(backend, |overrides, file, name| overrides.drain(file, name, deadline).map_err(Refused::new))
    }

    /// Gives a backend new flows.
    ///
    /// # Errors
    /// Where there is no such backend.
    pub fn serve(&self, backend: &str) -> Result<Changed, Refused> {
        self.by_hand(backend, |overrides, file, name| overrides.serve(file, name).map_err(Refused::new))
    }

    /// Gives a backend another weight.
    ///
    /// # Errors
    /// Where there is no such backend, or weight.
    pub fn weigh(&self, backend: &str, weight: u32) -> Result<Changed, Refused> {
        if weight > MAX_WEIGHT {
            return Err(Refused(format!("{weight} is no weight: it ends at {MAX_WEIGHT}")));
        }
        self.by_hand(backend, |overrides, file, name| overrides.weigh(file, name, weight).map_err(Refused::new))
    }

    /// What it is like now.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn status(&self) -> Result<StatusReport, Refused> {
        let status = self.balancing.status().map_err(Refused::new)?;
        let frame = Frame {
            config: self.options.config.display().to_string(),
            generation: *lock(&self.generation),
            interfaces: self.balancing.running().setups().iter().map(|setup| setup.interface.clone()).collect(),
            now: LoadBalancer::now(),
        };
        Ok(StatusReport::new(&status, frame))
    }

    /// What there is to know for whoever asks for metrics.
    pub(super) fn page(&self) -> Result<Page, BalancerError> {
        let running = self.balancing.running();
        Ok(Page {
            status: self.balancing.status()?,
            now: LoadBalancer::now(),
            generation: *lock(&self.generation),
            reloads: *lock(&self.reloads),
            verdicts: running.verdicts().map_err(BalancerError::from)?,
            workers: running.workers().iter().map(|worker| worker.snapshot()).collect(),
            process: Process::look(),
        })
    }

    /// What would become of a client's flow to a service, which is called by its name; with a colon and a port behind it where that
    /// has every port.
    ///
    /// # Errors
    /// Where there is no such service, or it has no such clients.
    pub fn explain(&self, source: SocketAddr, service: &str) -> Result<String, Refused> {
        check_remote(source).map_err(Refused::new)?;
        let find = |name: &str| {
            self.balancing.with_tables(|tables| {
                let service = tables.service(name).and_then(|id| tables.get(id))?;
                Some((service.transport, Endpoint { address: service.address, port: service.port }))
            })
        };
        let with_port = || {
            let (name, port) = service.rsplit_once(':')?;
            Some((find(name)?, Some(port.parse::<u16>().ok().filter(|&port| port != 0)?)))
        };
        let ((transport, mut local), port) = match find(service).map(|found| (found, None)).or_else(with_port) {
            Some(found) => found,
            None => return Err(self.no_such_service(service)),
        };
        match (local.port, port) {
            (0, Some(port)) => local.port = port,
            (0, None) => {
                return Err(Refused(format!("{service} has every port: say which one, such as {service}:443")));
            }
            (its, Some(port)) if its != port => {
                return Err(Refused(format!("{service} is not the service's port, which is {its}: leave it out")));
            }
            _ => {}
        }
        if source.is_ipv4() != matches!(local.address, IpAddr::V4(_)) {
            let family = if source.is_ipv4() { "IPv6" } else { "IPv4" };
            let what = format!("{service} is at {}, where nobody comes from {}", local.address, source.ip());
            return Err(Refused(format!("{what}: give a client's {family} address")));
        }
        let flow = Flow { transport, tuple: FourTuple { local, remote: source.into() } };
        self.balancing.explain(&flow).map_err(Refused::new)
    }

    fn no_such_service(&self, name: &str) -> Refused {
        let name = BackendName { service: name.to_owned(), backend: String::new() };
        match lock(&self.said).file.find(&name) {
            Err(error) => Refused::new(error),
            Ok(_) => Refused(format!("there is no service {name}: `xskip lb status` lists those there are")),
        }
    }

    /// Does what is asked for.
    pub fn answer(&self, request: Request) -> Answer {
        let answer = match request {
            Request::Status {} => self.status().map(Answer::Status),
            Request::Explain { source, service } => self.explain(source, &service).map(Answer::Explained),
            Request::Drain { backend, seconds } => {
                self.drain(&backend, seconds.map(Duration::from_secs)).map(Answer::Changed)
            }
            Request::Serve { backend } => self.serve(&backend).map(Answer::Changed),
            Request::Weight { backend, weight } => self.weigh(&backend, weight).map(Answer::Changed),
            Request::Reload {} => self.reload().map(Answer::Changed),
        };
        answer.unwrap_or_else(|Refused(why)| Answer::Refused(why))
    }

    /// Keeps what is known of health, where that is something new.
    pub(super) fn keep_health(&self) {
        let mut said = lock(&self.said);
        let digest = self.balancing.with_tables(digest_of_health);
        if said.health.replace(digest) == Some(digest) {
            return;
        }
        let known: BTreeMap<BackendName, Health> = self.balancing.with_tables(|tables| {
            let services = tables.services();
            let backends = services.flat_map(|(id, service)| tables.backends(id).map(move |it| (service, it)));
            let told = backends.filter_map(|(service, (id, backend))| {
                let health = tables.health(id).filter(|&health| health != Health::Unknown)?;
                let name = BackendName { service: service.name.clone(), backend: backend.name.clone() };
                Some((name, health))
            });
            told.collect()
        });
        let kept: BTreeMap<BackendName, Health> = said.overrides.health().collect();
        if known == kept {
            return;
        }
        for name in kept.keys().filter(|name| !known.contains_key(*name)) {
            said.overrides.learn(name, Health::Unknown);
        }
        for (name, &health) in &known {
            said.overrides.learn(name, health);
        }
        if let Err(error) = said.overrides.save(&self.kept) {
            tracing::warn!("{error}");
        }
    }

    /// Ends it; with `leaves`, what forwards goes on for as long as the file says.
    pub(super) fn end(self, leaves: bool) -> Result<RunReport, RuntimeError> {
        self.keep_health();
        if leaves { self.balancing.leave() } else { self.balancing.stop() }
    }

    /// For how long what forwards goes on when the process ends.
    pub fn survive(&self) -> Option<Duration> {
        lock(&self.said).file.survive
    }
}

/// What was known of health before. Of whom nobody checks nothing is: nobody would find out that it is not so any more.
fn known_health(file: &File, overrides: &Overrides) -> impl Iterator<Item = (BackendName, Health)> {
    overrides.health().filter(|(name, _)| {
        let service = file.services.iter().find(|it| it.name == name.service);
        service.is_some_and(|service| service.check.kind != CheckKind::None)
    })
}

/// A number that stays as it is as long as nothing new is known of health.
fn digest_of_health(tables: &lb::Balancer) -> u64 {
    let mut hasher = DefaultHasher::new();
    tables.generation().hash(&mut hasher);
    for (id, _) in tables.services() {
        tables.backends(id).for_each(|(id, _)| tables.health(id).hash(&mut hasher));
    }
    hasher.finish()
}

fn told_metrics(address: SocketAddr) -> String {
    format!("metrics are at http://{address}/metrics")
}

/// Services that are listed when they begin.
const LISTED: usize = 100;

/// Services that get no new flows because of what was said by hand.
fn deserted(services: &[lb::Service]) -> Vec<String> {
    let serves = |backend: &lb::Backend| backend.weight > 0 && backend.state == State::Serve;
    let is_deserted = |service: &&lb::Service| !service.backends.iter().any(serves);
    let names = services.iter().filter(is_deserted).map(|service| service.name.as_str());
    names
        .map(|name| format!("nobody serves {name}: its new flows are dropped, until `xskip lb serve {name}/BACKEND`"))
        .collect()
}
