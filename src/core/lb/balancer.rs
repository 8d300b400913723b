//! All of it together: services, their tables, what is remembered, and who is well.

use super::{
    backend::{BackendId, Number, Service, ServiceId, SynProxy},
    decide::Counts,
    exceptions::{Entry, Exceptions},
    flow::{Flow, FlowHash, RowKey},
    hand_over::{Answering, Promise},
    health::{Health, HealthSource},
    row::Row,
    table::Table,
    time_window::{Tick, Ticks, Windows},
};
use crate::{time::Instant, transport::Transport, wire::Endpoint};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

/// How often what is over is taken out.
const SWEEP: Duration = Duration::from_secs(10);

/// Limits of a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows that are remembered at most, of all services. Default 262,144: of 10,000 new flows a second the 1.5 %
    /// whose rows are in transition, each for half an hour. 24 bytes each in the program's map.
    pub exceptions: usize,
    /// How long flows may be silent.
    pub windows: Windows,
}

impl Default for Limits {
    fn default() -> Self {
        Self { exceptions: 1 << 18, windows: Windows::default() }
    }
}

/// A backend as packets meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where it is.
    pub address: Endpoint,
    /// Whether it has, or may have, flows: it is configured and not off, and its drain is not over.
    pub is_live: bool,
    /// Whether new flows may go there.
    pub takes_new: bool,
    /// Whether its flows are reset.
    pub resets: bool,
    /// What is known of its health.
    pub health: Health,
    /// Since when it is down, if it is.
    pub since: Instant,
    /// How often its health has become another since it came.
    pub changes: u64,
}

impl Slot {
    /// No backend at all.
    const NONE: Self = Self {
        address: Endpoint { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), port: 0 },
        is_live: false,
        takes_new: false,
        resets: false,
        health: Health::Unknown,
        since: Instant::ZERO,
        changes: 0,
    };

    /// Whether it is known not to answer.
    pub fn is_down(&self) -> bool {
        self.health == Health::Down
    }
}

/// A service that is served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub config: Service,
    /// Index of its table.
    pub table: usize,
    /// Its backends, by their numbers.
    slots: Vec<Slot>,
    /// Those that take new flows: for rows of which both choices are down.
    pub spare: Vec<Number>,
    /// What SYN-ACKs in its backends' names promise; `None` where these answer SYNs themselves.
    pub promise: Option<Promise>,
}

impl Served {
    pub fn new(config: Service, table: usize) -> Self {
        Self { config, table, slots: Vec::new(), spare: Vec::new(), promise: None }
    }

    pub fn slot(&self, number: Number) -> &Slot {
        self.slots.get(number.index()).unwrap_or(&Slot::NONE)
    }

    /// Takes over what is known of backends that it had before.
    pub fn recall(&mut self, earlier: &Self, tables: (&Table, &Table)) {
        self.promise = earlier.promise.filter(|_| self.config.syn_proxy != SynProxy::Off);
        self.slots.resize(tables.1.numbers.size(), Slot::NONE);
        for (name, number) in tables.1.numbers.iter() {
            if let Some(before) = tables.0.numbers.get(name) {
                self.slots[number.index()] = *earlier.slot(before);
            }
        }
    }

    /// Works out what its backends are good for now.
    pub fn refresh(&mut self, table: &Table, now: Instant) {
        self.slots.resize(table.numbers.size(), Slot::NONE);
        let mut slots = vec![Slot::NONE; self.slots.len()];
        for backend in &self.config.backends {
            let Some(number) = table.numbers.get(&backend.name) else { continue };
            let Slot { health, since, changes, .. } = self.slots[number.index()];
            let is_live = table.recipe.get(&backend.name).is_some_and(|member| member.is_live(now));
            let is_down = health == Health::Down;
            let patience = self.config.on_unhealthy.patience();
            slots[number.index()] = Slot {
                address: backend.address,
                is_live,
                takes_new: is_live && backend.is_placed() && !is_down,
                resets: is_live && is_down && patience.is_some_and(|patience| since + patience <= now),
                health,
                since,
                changes,
            };
        }
        self.slots = slots;
        let taking = (1..).map_while(Number::new).take(self.slots.len().saturating_sub(1));
        self.spare = taking.filter(|number| self.slots[number.index()].takes_new).collect();
    }

    /// All of its backends that have, or may have, flows.
    pub fn live(&self) -> impl Iterator<Item = (Number, &Slot)> {
        let numbers = (0..).map(Number::new).zip(&self.slots);
        numbers.filter_map(|(number, slot)| Some((number?, slot))).filter(|(_, slot)| slot.is_live)
    }

    /// Those that are down.
    pub fn down(&self) -> impl Iterator<Item = Number> {
        self.live().filter(|(_, slot)| slot.is_down()).map(|(number, _)| number)
    }

    /// When one of its backends loses its flows, for whatever reason, after `now`.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let patience = self.config.on_unhealthy.patience();
        let down = self.slots.iter().filter(|slot| slot.is_live && slot.is_down() && !slot.resets);
        let resets = down.filter_map(|slot| Some(slot.since + patience?));
        let drains = self.config.backends.iter().filter_map(|backend| match backend.state {
            super::State::Drain { until } if until > now && until < Instant::NEVER => Some(until),
            _ => None,
        });
        resets.chain(drains).min()
    }
}

/// A load balancer's tables: see [the room](super).
#[derive(Debug)]
pub struct Balancer {
    pub(super) key: RowKey,
    pub(super) limits: Limits,
    pub(super) ticks: Ticks,
    pub(super) tables: Vec<Table>,
    pub(super) services: Vec<Option<Served>>,
    pub(super) by_address: HashMap<(IpAddr, u16, Transport), ServiceId>,
    pub(super) exceptions: Exceptions,
    pub(super) counts: Counts,
    pub(super) answering: Option<Answering>,
    /// Counts the plans that were applied.
    pub(super) generation: u64,
    next_sweep: Instant,
    next_change: Instant,
}

impl Balancer {
    /// One without services.
    pub fn new(key: RowKey, limits: Limits) -> Self {
        Self {
            key,
            limits,
            ticks: limits.windows.in_ticks(),
            tables: Vec::new(),
            services: Vec::new(),
            by_address: HashMap::new(),
            exceptions: Exceptions::new(limits.exceptions),
            counts: Counts::default(),
            answering: None,
            generation: 0,
            next_sweep: Instant::ZERO,
            next_change: Instant::NEVER,
        }
    }

    /// How often what was decided.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether no other plan was applied since this one was made.
    pub fn is_current(&self, plan: &super::Plan) -> bool {
        plan.generation == self.generation
    }

    /// How many plans were applied.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Flows remembered, and how many there may be.
    pub fn exceptions(&self) -> (usize, usize) {
        (self.exceptions.len(), self.exceptions.limit())
    }

    /// The services, with their names.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        (0..).zip(&self.services).filter_map(|(index, served)| Some((ServiceId(index), &served.as_ref()?.config)))
    }

    /// What a service is like.
    pub fn get(&self, service: ServiceId) -> Option<&Service> {
        self.served(service).map(|served| &served.config)
    }

    /// A service's table as an array map holds it, each [`Row`] as [`Row::from_bits`] reads it.
    pub fn rows(&self, service: ServiceId) -> Option<&[u64]> {
        Some(self.tables[self.served(service)?.table].bits())
    }

    /// Which services share a table: the same number for each of them.
    pub fn table(&self, service: ServiceId) -> Option<usize> {
        Some(self.served(service)?.table)
    }

    /// Names a service.
    pub fn service(&self, name: &str) -> Option<ServiceId> {
        self.services().find(|(_, service)| service.name == name).map(|(id, _)| id)
    }

    /// Names a backend of a service.
    pub fn backend(&self, service: ServiceId, name: &str) -> Option<BackendId> {
        let served = self.served(service)?;
        served.config.backends.iter().find(|backend| backend.name == name)?;
        let number = self.tables[served.table].numbers.get(name)?;
        Some(BackendId { service, number })
    }

    /// The backends of a service with their numbers, as configured.
    pub fn backends(&self, service: ServiceId) -> impl Iterator<Item = (BackendId, &super::Backend)> {
        let backends = self.served(service).map_or(&[][..], |served| &served.config.backends);
        backends.iter().filter_map(move |backend| Some((self.backend(service, &backend.name)?, backend)))
    }

    /// The backends of a service that have, or may have, flows, as packets meet them: for the program's array.
    pub fn slots(&self, service: ServiceId) -> impl Iterator<Item = (Number, &Slot)> {
        self.served(service).into_iter().flat_map(Served::live)
    }

    /// The backends of a service that take new flows: where those go that find both choices of their row down.
    pub fn spare(&self, service: ServiceId) -> &[Number] {
        self.served(service).map_or(&[], |served| &served.spare)
    }

    /// Where a backend is; `None` where it has gone.
    pub fn address(&self, backend: BackendId) -> Option<Endpoint> {
        let slot = self.served(backend.service)?.slot(backend.number);
        slot.is_live.then_some(slot.address)
    }

    /// What a backend is called.
    pub fn name(&self, backend: BackendId) -> Option<&str> {
        let served = self.served(backend.service)?;
        let numbers = &self.tables[served.table].numbers;
        served.config.backends.iter().map(|it| it.name.as_str()).find(|name| numbers.get(name) == Some(backend.number))
    }

    /// What is known of a backend's health.
    pub fn health(&self, backend: BackendId) -> Option<Health> {
        let slot = self.served(backend.service)?.slot(backend.number);
        slot.is_live.then_some(slot.health)
    }

    /// How often a backend's health has become another, for whatever reason, since the backend came; 0 where it has none.
    pub fn health_changes(&self, backend: BackendId) -> u64 {
        self.served(backend.service).map_or(0, |served| served.slot(backend.number).changes)
    }

    /// Says how a backend is. New flows avoid one that is down from now on; the table stays as it is. False where there
    /// is no such backend, or nothing new.
    pub fn set_health(&mut self, backend: BackendId, health: Health, now: Instant) -> bool {
        let index = backend.service.index();
        let Some(Some(served)) = self.services.get_mut(index) else { return false };
        let table = &mut self.tables[served.table];
        let Some(slot) = served.slots.get_mut(backend.number.index()).filter(|slot| slot.is_live) else { return false };
        if slot.health == health {
            return false;
        }
        (slot.health, slot.since, slot.changes) = (health, now, slot.changes + 1);
        if health == Health::Down {
            table.watch(backend.number); // first, so that no flow begins elsewhere unseen
        }
        served.refresh(table, now);
        let change = served.next_change(now).unwrap_or(Instant::NEVER);
        self.next_change = self.next_change.min(change); // too early does no harm
        true
    }

    /// Asks a source what it knows, and believes it. Returns how many backends' health has changed.
    pub fn hear_of_health(&mut self, source: &mut dyn HealthSource, now: Instant) -> usize {
        let reports = source.reports(now);
        reports.into_iter().filter(|&(backend, health)| self.set_health(backend, health, now)).count()
    }

    /// Has a flow go to a backend from now on, until it has been silent for the window or is taken out: for who knows
    /// more than a table, such as about flows without SYNs. False where there is no such backend or service, or no
    /// room.
    pub fn pin(&mut self, flow: &Flow, backend: BackendId, now: Instant) -> bool {
        let tick = Tick::of(now);
        let Some(place) = self.locate(flow, tick) else { return false };
        if place.id != backend.service || !place.service.slot(backend.number).is_live {
            return false;
        }
        let (hash, index, table, row) = (place.hash, place.index, place.service.table, place.row);
        let entry = Entry {
            service: backend.service,
            backend: backend.number,
            before: None,
            isn: Default::default(),
            heard: tick,
            asked: tick,
            confirmed: true,
            ended: false,
            pinned: true,
        };
        if !self.exceptions.has_room(hash) {
            return false;
        }
        self.tables[table].set(index, Row { watched: true, ..row });
        self.tables[table].is_watched = true;
        self.exceptions.enter(hash, entry)
    }

    /// Takes a pin out again. False where there was none.
    pub fn unpin(&mut self, flow: &Flow, now: Instant) -> bool {
        let place = self.locate(flow, Tick::of(now)).filter(|place| place.entry.is_some_and(|entry| entry.pinned));
        let hash = place.map(|place| place.hash);
        hash.is_some_and(|hash| self.exceptions.remove(hash).is_some())
    }

    /// When [`Balancer::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_work = self.exceptions.len() > 0 || self.tables.iter().any(|table| table.is_watched);
        let sweep = if has_work { self.next_sweep } else { Instant::NEVER };
        let next = sweep.min(self.next_change);
        (next < Instant::NEVER).then_some(next)
    }

    /// Ends what is over by now: transitions, memories, drains and patience with backends that are down. Work: rows of
    /// the tables that are watched, and entries.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_change {
            self.end_flows(now);
            self.plan_ahead(now);
        }
        if now >= self.next_sweep {
            self.sweep(now);
            self.next_sweep = now + SWEEP;
        }
    }

    /// Lets those lose their flows whose time is over.
    fn end_flows(&mut self, now: Instant) {
        for table in &mut self.tables {
            let over = table.recipe.members.iter().filter(|member| !member.is_live(now));
            let numbers: Vec<_> = over.filter_map(|member| table.numbers.get(&member.name)).collect();
            numbers.into_iter().for_each(|number| table.forget(number));
        }
        for served in self.services.iter_mut().flatten() {
            served.refresh(&self.tables[served.table], now);
        }
    }

    /// What is left of an entry at `now`; `None` where it can be taken out, because its flow is over, or goes the same
    /// way without.
    pub fn review(&self, hash: FlowHash, entry: Entry, now: Instant) -> Option<Entry> {
        review((&self.services, &self.tables), &self.ticks, (hash, entry), Tick::of(now))
    }

    fn sweep(&mut self, now: Instant) {
        let (tick, ticks) = (Tick::of(now), self.ticks);
        let mut occupied: HashSet<(usize, u32)> = HashSet::new();
        let (tables, services) = (&self.tables, &self.services);
        self.exceptions.review(|hash, entry| {
            let left = review((services, tables), &ticks, (hash, entry), tick)?;
            let table = services.get(entry.service.index())?.as_ref()?.table;
            occupied.insert((table, hash.row(tables[table].recipe.rows)));
            Some(left)
        });
        let mut users: Vec<Vec<&Served>> = vec![Vec::new(); self.tables.len()];
        self.services.iter().flatten().for_each(|served| users[served.table].push(served));
        for (at, table) in self.tables.iter_mut().enumerate().filter(|(_, table)| table.is_watched) {
            table.settle(tick, &ticks, |index, row| {
                let is_masked = row.now.is_some_and(|now| users[at].iter().any(|served| served.slot(now).is_down()));
                is_masked || occupied.contains(&(at, index as u32))
            });
        }
    }

    /// Notes when the next backend loses its flows.
    pub(super) fn plan_ahead(&mut self, now: Instant) {
        let changes = self.services.iter().flatten().filter_map(|served| served.next_change(now));
        self.next_change = changes.min().unwrap_or(Instant::NEVER);
    }

    pub(super) fn served(&self, id: ServiceId) -> Option<&Served> {
        self.services.get(id.index())?.as_ref()
    }

    /// The service of a flow: that of its address and port, or of the address with every port.
    pub(super) fn find_service(&self, flow: &Flow) -> Option<ServiceId> {
        let Endpoint { address, port } = flow.tuple.local;
        let find = |port| self.by_address.get(&(address, port, flow.transport)).copied();
        // By its addresses alone a service is found without a port as well, but not with another one's.
        let has_port = |id: &ServiceId| {
            let config = self.served(*id).map(|served| &served.config);
            config.is_some_and(|it| it.port == 0 || port == 0 && it.is_by_address())
        };
        find(port).filter(|id| port != 0 || has_port(id)).or_else(|| find(0).filter(has_port))
    }

    pub(super) fn list_addresses(&mut self) {
        self.by_address.clear();
        for (index, served) in (0..).zip(&self.services) {
            let Some(Served { config, .. }) = served else { continue };
            let mut add = |port| {
                let end = (config.address, port, config.transport);
                // Of those that are told apart by names it is the one that needs none.
                if config.is_default() {
                    self.by_address.insert(end, ServiceId(index));
                } else {
                    self.by_address.entry(end).or_insert(ServiceId(index));
                }
            };
            add(config.port);
            if config.is_by_address() {
                add(0);
            }
        }
    }

    pub(super) fn hear(&mut self, service: ServiceId, index: u32, tick: Tick) {
        let Some(table) = self.served(service).map(|served| served.table) else { return };
        let table = &mut self.tables[table];
        let row = table.row(index);
        table.set(index, Row { heard: tick, ..row });
    }
}

/// See [`Balancer::review`].
fn review(
    (services, tables): (&[Option<Served>], &[Table]),
    ticks: &Ticks,
    (hash, entry): (FlowHash, Entry),
    tick: Tick,
) -> Option<Entry> {
    let served = services.get(entry.service.index())?.as_ref()?;
    let table = &tables[served.table];
    if entry.is_over(tick, ticks) {
        return None;
    }
    let entry = entry.settled(tick, ticks);
    // What goes home anyway need not be remembered, once the row has settled: until then it would have to keep the row
    // from that.
    let row = table.row(hash.row(table.recipe.rows));
    let is_home = row.now == Some(entry.backend) && !row.is_in_transition(tick, ticks.silence);
    let is_needed = entry.before.is_some() || served.slot(entry.backend).is_live && (entry.pinned || !is_home);
    is_needed.then_some(entry)
}
