//! The load balancer's tables, shared with the XDP programs of all interfaces: `bpf/rows.h`.
//!
//! What a [`Balancer`] decides is written here for programs to decide alike. Any number of programs read while one thread
//! writes, by single stores, in an order in which whatever they see in between is right too:
//!
//! 1. Backends that come, or are well again, are there before any row leads to them.
//! 2. Rows change one by one: each leads to a backend at any moment, and no two of them have to agree.
//! 3. Backends that go, or are down, are marked last, when every row that must be watched for that is watched.

mod backends;
mod counters;
mod entries;
mod nat;
mod outer;
mod rows;

pub use counters::{Outcomes, Tally};

use super::{Pins, XdpError, guard::monotonic, memory::SharedMemory, refusal, steer::types};
use crate::{
    lb::{
        BackendId, Balancer, Entry, FlowHash, Limits, MAX_SERVICES, Mode, NatSettings, NatTable, RowKey, Service,
        ServiceId, SynProxy, Ticks, Way, WhenAllDown, Windows,
    },
    time::nanos,
};
use backends::Backends;
use counters::Counters;
use entries::Entries;
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys};
use nat::Nat;
use rows::Tables;
use std::{
    collections::HashMap,
    mem::{offset_of, size_of},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A map of keys and values of these sizes.
fn create(
    kind: MapType,
    name: &str,
    (key, value): (usize, usize),
    entries: usize,
    options: &libbpf_sys::bpf_map_create_opts,
) -> Result<MapHandle, XdpError> {
    MapHandle::create(kind, Some(name), key as u32, value as u32, entries as u32, options)
        .map_err(|error| refusal::refused("make a map of the load balancer", &error))
}

fn options(flags: u32) -> libbpf_sys::bpf_map_create_opts {
    libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: flags,
        ..Default::default()
    }
}

/// How much there may be in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceOptions {
    /// What the balancer remembers at most, and for how long: the same as the [`Balancer`]'s.
    pub limits: Limits,
    /// Backends of all services that are counted one by one; what is beyond them is served and not counted. Default 65,536, of 32
    /// octets on each CPU.
    pub tallies: u32,
    /// ICMP errors in 1.07 s on a CPU that tell senders of packets too big. Default 1,000.
    pub too_big_budget: u32,
    /// The table of flows that are rewritten; none where no service is of mode `nat`, which is the default.
    pub nat: Option<NatSettings>,
}

impl Default for BalanceOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), tallies: 65_536, too_big_budget: 1_000, nat: None }
    }
}

/// The tables.
#[derive(Debug)]
pub struct Balance {
    settings: MapHandle,
    balanced: MapHandle,
    tables: Tables,
    backends: Backends,
    entries: Entries,
    counters: Counters,
    nat: Option<Nat>,
    /// What was last said of each service, and what it was called.
    said: HashMap<ServiceId, (String, [u32; 4])>,
}

impl Balance {
    /// Tables of no services, for programs that are loaded with them.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`], or the kernel's, as where there is no memory.
    pub fn new(key: &RowKey, options: &BalanceOptions) -> Result<Self, XdpError> {
        let entries = Entries::new(options.limits.exceptions, &self::options(0))?;
        let nat = options.nat.as_ref().map(Nat::new).transpose()?;
        Self::with(key, options, entries, nat, None)
    }

    /// Tables of no services whose rows are pinned, so that another process can go on from them. Where one has left flows, remembered
    /// or rewritten, and `goes_on`, they are in these tables as well, for the programs of both: what either enters, both have. But for
    /// the rows nothing is pinned before [`Balance::pin`].
    ///
    /// # Errors
    /// As [`Balance::new`].
    pub(crate) fn after(
        key: &RowKey,
        options: &BalanceOptions,
        pins: &Arc<Pins>,
        goes_on: bool,
    ) -> Result<Self, XdpError> {
        let limit = options.limits.exceptions;
        let left = if goes_on { Entries::left(pins, limit)? } else { None };
        let entries = match left {
            Some(left) => left,
            None => Entries::new(limit, &self::options(0))?,
        };
        let go_on = |settings| if goes_on { Nat::left(pins, settings) } else { Ok(None) };
        let nat = match &options.nat {
            Some(settings) => Some(go_on(settings)?.map_or_else(|| Nat::new(settings), Ok)?),
            None => None,
        };
        Self::with(key, options, entries, nat, Some(Arc::clone(pins)))
    }

    /// Pins flows, remembered and rewritten, and what the programs are told of their process: [`Heartbeat::left`]. Nobody else is at
    /// work on them any more.
    pub(crate) fn pin(&self, pins: &Pins) -> Result<(), XdpError> {
        self.entries.pin(pins)?;
        match &self.nat {
            Some(nat) => nat.pin(pins)?,
            None => nat::unpin(pins),
        }
        pins.pin(self.settings.as_fd(), SETTINGS)
    }

    fn with(
        key: &RowKey,
        options: &BalanceOptions,
        entries: Entries,
        nat: Option<Nat>,
        pins: Option<Arc<Pins>>,
    ) -> Result<Self, XdpError> {
        refusal::listen();
        let none = self::options(0);
        let settings = size_of::<types::balancing>();
        let balance = Self {
            settings: create(MapType::Array, "balance_setting", (4, settings), 1, &mmapable())?,
            balanced: create(MapType::Array, "balanced", (4, size_of::<types::balanced>()), MAX_SERVICES, &mmapable())?,
            tables: Tables::new(MAX_SERVICES, pins)?,
            backends: Backends::new(MAX_SERVICES)?,
            entries,
            counters: Counters::new(options.tallies, &none)?,
            nat,
            said: HashMap::new(),
        };
        balance.tell(key, &options.limits.windows, options.too_big_budget)?;
        Ok(balance)
    }

    /// Says what is the same for all services.
    fn tell(&self, key: &RowKey, windows: &Windows, budget: u32) -> Result<(), XdpError> {
        let mut octets = [0; size_of::<types::balancing>()];
        let Ticks { silence, handshake, closing } = windows.in_ticks();
        let mut put = |at: usize, field: &[u8]| octets[at..at + field.len()].copy_from_slice(field);
        put(offset_of!(types::balancing, key), &key.of_flows().to_bytes());
        put(offset_of!(types::balancing, silence), &silence.to_ne_bytes());
        put(offset_of!(types::balancing, handshake), &handshake.to_ne_bytes());
        put(offset_of!(types::balancing, closing), &closing.to_ne_bytes());
        put(offset_of!(types::balancing, too_big_budget), &budget.to_ne_bytes());
        self.settings
            .update(&0u32.to_ne_bytes(), &octets, MapFlags::ANY)
            .map_err(|error| refusal::refused("tell the XDP program how to balance", &error))
    }

    /// What is remembered that another process has left.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = (FlowHash, Entry)> {
        self.entries.seen()
    }

    /// What a service's rows are pinned as.
    pub(crate) fn rows_pin(&self, service: ServiceId) -> Option<&str> {
        self.tables.pin(service)
    }

    /// The rows that another process has left, pinned by this name.
    pub(crate) fn left_rows(pins: &Pins, name: &str) -> Option<Vec<u64>> {
        rows::left(pins, name)
    }

    /// Pins nothing any more.
    pub(crate) fn forget_pins(&mut self) {
        self.tables.forget_pins();
    }

    /// By what the programs know how long they may go on without a process.
    ///
    /// # Errors
    /// The kernel's, as where there is no memory.
    pub fn heartbeat(&self) -> Result<Heartbeat, XdpError> {
        SharedMemory::of_map(self.settings.as_fd(), UNTIL + 1).map(Heartbeat)
    }

    /// The maps by their names in the program.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        let maps = [
            ("balance_settings", self.settings.as_fd()),
            ("balanced", self.balanced.as_fd()),
            ("tables", self.tables.as_fd()),
            ("backends", self.backends.as_fd()),
            ("entries", self.entries.as_fd()),
            ("tallies", self.counters.tallies()),
        ];
        maps.into_iter().chain(self.nat.iter().flat_map(Nat::maps))
    }

    /// The maps that these flows take, to be asked for their size.
    pub fn nat_maps(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.nat.iter().flat_map(Nat::maps).map(|(_, map)| map)
    }

    /// The flows that are rewritten, as programs have them; `None` where there is no room for any.
    pub fn nat(&self) -> Option<NatTable<'_>> {
        self.nat.as_ref().and_then(Nat::table)
    }

    /// Lets a balancer know what the programs have written: which rows' older flows have spoken, and which flows are
    /// remembered. Before every change of its tables, and before [`Balancer::handle_timeout`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn learn(&mut self, balancer: &mut Balancer) -> Result<(), XdpError> {
        self.tables.learn(balancer);
        if self.tables.are_watched() {
            self.entries.learn(balancer)?;
        }
        Ok(())
    }

    /// Makes programs decide as a balancer does from now on. `way` says how backends are reached.
    ///
    /// # Errors
    /// The kernel's, as where there is no memory. Then some of it is written, and to publish again goes on.
    pub fn publish(&mut self, balancer: &Balancer, way: &dyn Fn(BackendId) -> Option<Way>) -> Result<(), XdpError> {
        let services: Vec<(ServiceId, &Service)> = balancer.services().collect();
        let is_same = |id: &ServiceId, name: &str| balancer.get(*id).is_some_and(|service| service.name == name);
        self.said.retain(|id, (name, _)| is_same(id, name));
        self.backends.keep(|id| self.said.contains_key(&id), &mut self.counters);
        for &(id, _) in &services {
            self.backends.write(balancer, id, way, &mut self.counters, backends::Phase::Gain)?;
        }
        self.backends.flush()?;
        self.entries.publish(balancer)?;
        self.tables.write(balancer, &services)?;
        for &(id, service) in &services {
            self.describe(id, service)?;
            self.backends.write(balancer, id, way, &mut self.counters, backends::Phase::Lose)?;
        }
        self.tables.keep_used();
        Ok(())
    }

    /// Says where a service's rows are and how it is served.
    fn describe(&mut self, id: ServiceId, service: &Service) -> Result<(), XdpError> {
        let Some(table) = self.tables.of(id) else { return Ok(()) };
        let words = [table, service.rows.get(), mode(service.mode), flags(service)];
        if self.said.get(&id).is_some_and(|(_, said)| *said == words) {
            return Ok(());
        }
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.balanced
            .update(&(id.index() as u32).to_ne_bytes(), &octets, MapFlags::ANY)
            .map_err(|error| refusal::refused("tell the XDP program of a service", &error))?;
        self.said.insert(id, (service.name.clone(), words));
        Ok(())
    }

    /// What a backend has got.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tally(&self, backend: BackendId) -> Result<Tally, XdpError> {
        self.counters.read(self.backends.tally(backend))
    }
}

/// Says how long programs may balance by tables that nobody keeps. As long as nothing was said, that is as long as they are attached.
#[derive(Debug)]
pub struct Heartbeat(SharedMemory<AtomicU64>);

impl Heartbeat {
    /// They may for so long from now on: then the kernel gets everything, unless this is said again.
    pub fn last_for(&self, time: Duration) {
        self.0.as_slice()[UNTIL].store(nanos(monotonic() + time), Ordering::Release);
    }

    /// They may as long as they are attached.
    pub(crate) fn end(&self) {
        self.0.as_slice()[UNTIL].store(0, Ordering::Release);
    }

    /// For how long programs go on that another process has left; and if they do not, for how long they have not.
    pub(crate) fn left(pins: &Pins) -> Option<Result<Duration, Duration>> {
        let until = Duration::from_nanos(pins.read_words(SETTINGS)?.get(UNTIL).copied()?);
        let now = monotonic();
        Some(until.checked_sub(now).ok_or(now.saturating_sub(until)))
    }
}

/// What the settings are pinned as.
const SETTINGS: &str = "settings";
/// Where `until` stands among them, in words.
const UNTIL: usize = offset_of!(types::balancing, until) / 8;

fn mmapable() -> libbpf_sys::bpf_map_create_opts {
    options(libbpf_sys::BPF_F_MMAPABLE)
}

/// `enum mode` of `bpf/rows.h`.
fn mode(mode: Mode) -> u32 {
    match mode {
        Mode::Ipip => 1,
        Mode::Gue => 2,
        Mode::Nat => 3,
        _ => 0,
    }
}

/// `BY_ADDRESS`, `AT_ONCE`, `OPEN` and `BY_COOKIES` of `bpf/rows.h`.
fn flags(service: &Service) -> u32 {
    let (open, by_cookies) = (service.when_all_down == WhenAllDown::Open, service.syn_proxy != SynProxy::Off);
    let flags = [service.is_by_address(), service.changes_at_once(), open, by_cookies];
    flags.into_iter().rev().fold(0, |flags, is| flags << 1 | u32::from(is))
}

const _: () = assert!(size_of::<types::balanced>() == 16 && offset_of!(types::balanced, flags) == 12);
