//! A change, worked out and looked at before it is made.

use super::{
    backend::{MAX_BACKENDS, MAX_WEIGHT, Mode, Service, ServiceId},
    balancer::{Balancer, Served},
    flow::is_unicast,
    proxied,
    report::{Change, Moves, ServiceChange},
    table::{Assignment, Recipe, Table},
};
use crate::time::Instant;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// Services at most.
pub const MAX_SERVICES: usize = 16_384;

/// Why services cannot be as they are configured.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// More than [`MAX_SERVICES`].
    #[error("{count} services are more than {MAX_SERVICES}: spread them over several balancers")]
    TooManyServices {
        /// How many there are.
        count: usize,
    },
    /// Two services have one name.
    #[error("two services are called `{name}`: give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two services have one address, port and transport.
    #[error("services `{one}` and `{other}` have the same address, port and transport: change one of them")]
    SameAddress {
        /// The name of one.
        one: String,
        /// The name of the other.
        other: String,
    },
    /// Two services at one address have one server name.
    #[error("services `{one}` and `{other}` both have the server name \"{name}\": leave it to one of them")]
    SameServerName {
        /// The name of one service.
        one: String,
        /// The name of the other.
        other: String,
        /// What both want to be named.
        name: String,
    },
    /// A service that cannot be proxied as it is.
    #[error("service `{service}` {why}")]
    NotProxied {
        /// Its name.
        service: String,
        /// What is in the way, and what to do.
        why: &'static str,
    },
    /// A service that places by addresses shares its address with another.
    #[error(
        "`{one}` places fragments by addresses, which say no port, and `{other}` has its address: give one another"
    )]
    SharedAddress {
        /// Who places by addresses.
        one: String,
        /// Who else is there.
        other: String,
    },
    /// An address that no host can have.
    #[error(
        "{address} is no address of a host, which `{whose}` needs: multicast, loopback and unspecified ones are not"
    )]
    BadAddress {
        /// The address.
        address: IpAddr,
        /// The service or backend.
        whose: String,
    },
    /// A service without backends.
    #[error("service `{service}` has no backends: list one at least, or leave the service out")]
    NoBackends {
        /// Its name.
        service: String,
    },
    /// More backends than [`MAX_BACKENDS`], or than rows.
    #[error("service `{service}` has {count} backends, and {most} is the most: use fewer, or a table of more rows")]
    TooManyBackends {
        /// Its name.
        service: String,
        /// How many it has.
        count: usize,
        /// How many it may have.
        most: usize,
    },
    /// Two backends of a service have one name.
    #[error("two backends of `{service}` are called `{backend}`: give each a name of its own")]
    SameBackend {
        /// The service.
        service: String,
        /// The backends' name.
        backend: String,
    },
    /// A name that is empty.
    #[error("a backend of `{service}` has no name: rows follow names, so give it one that stays")]
    NoName {
        /// The service.
        service: String,
    },
    /// A weight above [`MAX_WEIGHT`].
    #[error("backend `{service}/{backend}` has weight {weight}: {MAX_WEIGHT} is the largest")]
    BadWeight {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// Its weight.
        weight: u32,
    },
    /// A backend whose address is that of a service, which would forward to itself.
    #[error("backend `{service}/{backend}` has the address of service `{other}`: they would come back; give its own")]
    BackendIsService {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// Whose address it is.
        other: String,
    },
    /// A backend of the other IP version than its service in mode `nat`.
    #[error(
        "backend `{service}/{backend}` is of another IP version than its service: mode nat does not translate between \
         them, so give it an address of the service's, or use ipip or gue"
    )]
    OtherVersion {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
    },
    /// A service in mode `nat` that places by addresses.
    #[error(
        "`{service}` is of mode nat, which rewrites ports, and fragments show none: leave out fragments = \"address\""
    )]
    NatByAddress {
        /// The service.
        service: String,
    },
    /// A service whose SYNs cannot be answered in its backends' names.
    #[error("the SYNs of `{service}` cannot be answered by the balancer, as {why}: write {remedy}")]
    NoSynProxy {
        /// The service.
        service: String,
        /// What stands in the way.
        why: &'static str,
        /// What to write instead, in a file.
        remedy: &'static str,
    },
    /// The number of rows of a service that is served would change.
    #[error("the table of `{service}` has {rows} rows and keeps them while it is served: rename it for others")]
    RowsChanged {
        /// The service.
        service: String,
        /// How many rows its table has.
        rows: u32,
    },
    /// A placement named a backend that there is not.
    #[error("the placement of `{service}` gave row {row} to backend {index} of {count}: indices end before the count")]
    BadPlacement {
        /// The service.
        service: String,
        /// The row.
        row: usize,
        /// The index it wrote there.
        index: u16,
        /// How many backends there were.
        count: usize,
    },
}

/// Why a plan was not applied. Everything is as before.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// Another plan was applied since.
    #[error("the plan is out of date, as another was applied since: make it anew")]
    Stale,
    /// More backends came and went than there are numbers for.
    #[error("more than 32,000 backends of one table came and went within hours: wait, and apply the plan again")]
    NoNumber,
}

crate::debug_as_display!(PlanError, ApplyError);

/// What will be applied: print it to see what it changes.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) generation: u64,
    services: Vec<Planned>,
    tables: Vec<PlannedTable>,
    /// What becomes of each service, by name, those that go included.
    pub changes: Vec<ServiceChange>,
}

#[derive(Clone, Debug)]
struct Planned {
    config: Service,
    earlier: Option<ServiceId>,
    /// Index among the planned tables.
    table: usize,
}

#[derive(Clone, Debug)]
struct PlannedTable {
    /// The table of today from which it comes.
    origin: Option<usize>,
    recipe: Recipe,
    /// What the placement says; nothing where the table stays as it is.
    assignment: Option<Arc<Assignment>>,
}

/// Tables as they are being planned, and where to find them.
#[derive(Default)]
struct Planning {
    tables: Vec<PlannedTable>,
    /// Planned tables by the fingerprints of their recipes.
    planned: HashMap<u64, Vec<usize>>,
    /// Tables of today likewise.
    today: HashMap<u64, Vec<usize>>,
}

/// Looks for whatever is wrong with services, all of it, without the work of a plan.
pub fn check(services: &[Service]) -> Vec<PlanError> {
    let mut errors = Vec::new();
    if services.len() > MAX_SERVICES {
        errors.push(PlanError::TooManyServices { count: services.len() });
    }
    let (mut names, mut ends, mut hosts) = (HashSet::new(), HashMap::<_, Vec<&Service>>::new(), HashMap::new());
    for service in services {
        let name = || service.name.clone();
        if !names.insert(&service.name) {
            errors.push(PlanError::SameName { name: name() });
        }
        let end = (service.address, service.port, service.transport);
        if let Some(why) = proxied::obstacle(service) {
            errors.push(PlanError::NotProxied { service: name(), why });
        }
        let others: &mut Vec<&Service> = ends.entry(end).or_default();
        errors.extend(others.iter().find_map(|one| conflict(one, service)));
        others.push(service);
        if !is_unicast(service.address) {
            errors.push(PlanError::BadAddress { address: service.address, whose: name() });
        }
        hosts.entry(service.address).or_insert_with(Vec::new).push(service);
    }
    for service in services.iter().filter(|service| service.is_by_address()) {
        let is_other = |other: &&&Service| other.name != service.name && other.transport == service.transport;
        if let Some(other) = hosts[&service.address].iter().find(is_other) {
            errors.push(PlanError::SharedAddress { one: service.name.clone(), other: other.name.clone() });
        }
    }
    for service in services {
        check_backends(service, |address| hosts.get(&address).map(|there| there[0].name.clone()), &mut errors);
    }
    errors
}

/// Why two services cannot have one address, port and transport: but for names that clients name, nothing tells them apart.
fn conflict(one: &Service, other: &Service) -> Option<PlanError> {
    let (is_told_apart, names) = (one.is_proxied() && other.is_proxied(), (one.name.clone(), other.name.clone()));
    if !is_told_apart || one.is_default() && other.is_default() {
        return Some(PlanError::SameAddress { one: names.0, other: names.1 });
    }
    let name = proxied::name_in_common(one, other)?.to_owned();
    Some(PlanError::SameServerName { one: names.0, other: names.1, name })
}

fn check_backends(service: &Service, whose: impl Fn(IpAddr) -> Option<String>, errors: &mut Vec<PlanError>) {
    let count = service.backends.len();
    let most = MAX_BACKENDS.min(service.rows.get() as usize);
    let of = || service.name.clone();
    if service.mode == Mode::Nat && service.is_by_address() {
        errors.push(PlanError::NatByAddress { service: of() });
    }
    if let Some((why, remedy)) = service.obstacle_to_syn_proxy() {
        errors.push(PlanError::NoSynProxy { service: of(), why, remedy });
    }
    if count == 0 {
        errors.push(PlanError::NoBackends { service: of() });
    } else if count > most {
        errors.push(PlanError::TooManyBackends { service: of(), count, most });
    }
    let mut names = HashSet::new();
    for backend in &service.backends {
        let name = || backend.name.clone();
        if backend.name.is_empty() {
            errors.push(PlanError::NoName { service: of() });
        } else if !names.insert(&backend.name) {
            errors.push(PlanError::SameBackend { service: of(), backend: name() });
        }
        if backend.weight > MAX_WEIGHT {
            errors.push(PlanError::BadWeight { service: of(), backend: name(), weight: backend.weight });
        }
        let address = backend.address.address;
        if service.mode == Mode::Nat && address.is_ipv4() != service.address.is_ipv4() {
            errors.push(PlanError::OtherVersion { service: of(), backend: name() });
        }
        if let Some(other) = whose(address) {
            errors.push(PlanError::BackendIsService { service: of(), backend: name(), other });
        } else if !is_unicast(address) {
            errors.push(PlanError::BadAddress { address, whose: format!("{}/{}", service.name, backend.name) });
        }
    }
}

impl Balancer {
    /// Works out what it takes to serve these services, and no others. Nothing changes yet.
    ///
    /// Work: that of each different [`Placement`](super::Placement), once, and a pass over the rows of the tables that
    /// change.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn plan(&self, services: impl IntoIterator<Item = Service>, now: Instant) -> Result<Plan, Vec<PlanError>> {
        let mut services: Vec<Service> = services.into_iter().collect();
        let mut errors = check(&services);
        let earlier: HashMap<&str, ServiceId> = self.services().map(|(id, it)| (it.name.as_str(), id)).collect();
        // Who is new can share the table of who is not, but not the other way round.
        services.sort_by_key(|service| !earlier.contains_key(service.name.as_str()));
        for service in &services {
            let was = earlier.get(service.name.as_str()).and_then(|&id| self.served(id));
            if let Some(was) = was.filter(|was| was.config.rows != service.rows) {
                let rows = was.config.rows.get();
                errors.push(PlanError::RowsChanged { service: service.name.clone(), rows });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut plan =
            Plan { generation: self.generation, services: Vec::new(), tables: Vec::new(), changes: Vec::new() };
        let mut planning = Planning::default();
        for (index, table) in self.tables.iter().enumerate() {
            planning.today.entry(table.recipe.fingerprint()).or_default().push(index);
        }
        for config in services {
            let earlier = earlier.get(config.name.as_str()).copied();
            match self.plan_table(&mut planning, &config, earlier) {
                Ok(table) => plan.services.push(Planned { config, earlier, table }),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        plan.tables = planning.tables;
        plan.changes = self.compare(&plan, now);
        Ok(plan)
    }

    /// The table of a service, as an index among those planned. Services that have shared one share it still if they
    /// change alike, and one that is new shares any that is made from the same: it has no flows that could be of an
    /// older generation.
    fn plan_table(
        &self,
        planning: &mut Planning,
        service: &Service,
        earlier: Option<ServiceId>,
    ) -> Result<usize, PlanError> {
        let recipe = Recipe::of(service);
        let fingerprint = recipe.fingerprint();
        let origin = earlier.and_then(|id| self.served(id)).map(|served| served.table);
        let planned = planning.planned.entry(fingerprint).or_default();
        let tables = &mut planning.tables;
        let is_same = |it: &PlannedTable| it.recipe == recipe && (origin.is_none() || it.origin == origin);
        if let Some(&at) = planned.iter().find(|&&at| is_same(&tables[at])) {
            return Ok(at);
        }
        let today = planning.today.get(&fingerprint).map_or(&[][..], Vec::as_slice);
        let same_today = || today.iter().copied().find(|&at| self.tables[at].recipe == recipe);
        let origin = origin.or_else(same_today);
        let assignment = if origin.is_some_and(|origin| self.tables[origin].recipe == recipe) {
            None
        } else {
            let made = planned.iter().filter_map(|&at| tables[at].assignment.as_ref()).find(|it| it.suits(&recipe));
            Some(match made {
                Some(made) => Arc::clone(made),
                None => Arc::new(Assignment::new(&recipe).map_err(|wrong| PlanError::BadPlacement {
                    service: service.name.clone(),
                    row: wrong.row,
                    index: wrong.index,
                    count: recipe.placed().count(),
                })?),
            })
        };
        tables.push(PlannedTable { origin, recipe, assignment });
        planned.push(tables.len() - 1);
        Ok(tables.len() - 1)
    }

    /// What becomes of each service.
    fn compare(&self, plan: &Plan, now: Instant) -> Vec<ServiceChange> {
        let mut changes = Vec::new();
        let mut counted: HashMap<(usize, usize), Moves> = HashMap::new();
        for Planned { config, earlier, table } in &plan.services {
            let earlier = earlier.and_then(|id| self.served(id));
            let moves = earlier.map(|served| {
                *counted.entry((served.table, *table)).or_insert_with(|| {
                    let PlannedTable { recipe, assignment, .. } = &plan.tables[*table];
                    let count = |to: &Arc<_>| Moves::count(&self.tables[served.table], (recipe, to), now, &self.ticks);
                    assignment.as_ref().map(count).unwrap_or_default() // made from the same, it stays as it is
                })
            });
            changes.push(ServiceChange::new(config, earlier.map(|it| &it.config), moves.unwrap_or_default()));
        }
        let stays: HashSet<&str> = plan.services.iter().map(|it| it.config.name.as_str()).collect();
        let gone = self.services().filter(|(_, service)| !stays.contains(service.name.as_str()));
        changes.extend(gone.map(|(_, service)| ServiceChange::gone(service)));
        changes.sort_by(|one, other| one.name.cmp(&other.name));
        changes
    }

    /// Makes a plan true. The new tables are built beside those of today from the rows as they are at this moment, and
    /// then all of them take their places at once.
    ///
    /// # Errors
    /// [`ApplyError`], and nothing has changed.
    pub fn apply(&mut self, plan: &Plan, now: Instant) -> Result<(), ApplyError> {
        if !self.is_current(plan) {
            return Err(ApplyError::Stale);
        }
        let rest = self.limits.windows.silence.min(super::Windows::MAX) + Duration::from_secs(60);
        let mut tables = Vec::with_capacity(plan.tables.len());
        for PlannedTable { origin, recipe, assignment } in &plan.tables {
            let fresh;
            let table = match origin {
                Some(origin) => &self.tables[*origin],
                None => {
                    fresh = Table::new(recipe);
                    &fresh
                }
            };
            tables.push(match assignment {
                Some(assignment) => table.changed((recipe, assignment), now, &self.ticks, rest).map_err(no_number)?,
                None => table.clone(),
            });
        }
        let services = self.place_services(plan, &mut tables, now);
        // Who is gone takes its memories along, before somebody else gets its number.
        let stays = |id: ServiceId| services[id.index()].is_some() && self.is_same(id, &services);
        let stays: Vec<bool> = (0..services.len() as u32).map(|index| stays(ServiceId(index))).collect();
        self.exceptions.review(|_, entry| (stays.get(entry.service.index()) == Some(&true)).then_some(entry));

        (self.tables, self.services) = (tables, services);
        self.list_addresses();
        self.generation += 1;
        self.plan_ahead(now);
        Ok(())
    }

    /// Whether a service stays what it is.
    fn is_same(&self, id: ServiceId, services: &[Option<Served>]) -> bool {
        let name = |served: Option<&Served>| served.map(|served| served.config.name.clone());
        name(self.served(id)) == name(services[id.index()].as_ref())
    }

    /// The services of a plan, each where it was, new ones where there is room.
    fn place_services(&self, plan: &Plan, tables: &mut [Table], now: Instant) -> Vec<Option<Served>> {
        let size = self.services.len().max(plan.services.len());
        let mut services: Vec<Option<Served>> = vec![None; size];
        let kept: HashSet<usize> = plan.services.iter().filter_map(|it| Some(it.earlier?.index())).collect();
        let mut free = (0..).filter(|index| !kept.contains(index));
        for Planned { config, earlier, table } in &plan.services {
            let mut served = Served::new(config.clone(), *table);
            let at = match earlier.and_then(|id| Some((id.index(), self.served(id)?))) {
                Some((at, before)) => {
                    served.recall(before, (&self.tables[before.table], &tables[*table]));
                    at
                }
                None => free.next().unwrap_or(size),
            };
            served.refresh(&tables[*table], now);
            for number in served.down().collect::<Vec<_>>() {
                tables[*table].watch(number);
            }
            services[at] = Some(served);
        }
        services
    }
}

fn no_number(_: super::table::NoNumber) -> ApplyError {
    ApplyError::NoNumber
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.what == Change::Nothing)
    }

    /// The services that there will be.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|planned| &planned.config)
    }
}
