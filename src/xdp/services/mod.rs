//! Whose frames are which, and what the program does with them: said at any time, by any thread, while frames flow.

mod action;
mod table;
#[cfg(test)]
mod tests;

pub use action::{Action, SynAckFields};
pub(super) use table::{SlotKeys, Table};

use super::{settings::Settings, steer::address_octets};
use crate::{
    lb::{self, Mode, Promise},
    transport::Transport,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use table::{Entry, Key, NoSlot};
use thiserror::Error;

/// The most services, addresses and sources that a program knows at a time: as many as a balancer's 16,384 services need where each
/// has an address of its own, from which nobody may send.
pub const MAX_SERVICES: usize = 49_152;

/// The most of them that are listeners: whoever defends them asks for the SYNs of each ten times a second.
pub const MAX_LISTENERS: usize = 4_096;

/// A port at an address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The address and the port.
    pub local: SocketAddr,
    /// What the port belongs to.
    pub transport: Transport,
}

impl Service {
    /// A TCP port.
    pub const fn tcp(local: SocketAddr) -> Self {
        Self { local, transport: Transport::Tcp }
    }

    /// A UDP port.
    pub const fn udp(local: SocketAddr) -> Self {
        Self { local, transport: Transport::Udp }
    }

    /// What stands for it where no port is to be seen.
    fn portless(mut self) -> Self {
        self.local.set_port(0);
        self
    }

    fn key(&self) -> Key {
        Key::Port(self.local.ip().to_canonical(), self.local.port(), self.transport)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        };
        write!(f, "{transport} {}", self.local)
    }
}

/// How the frames of a service get to its backends, as far as its ports matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// Whole packets, by their ports.
    ByPorts,
    /// All packets, fragments as well, by their addresses alone.
    ByAddresses,
    /// Whole packets, which get other ends: in mode `nat`.
    Translated,
}

impl From<&lb::Service> for Steered {
    fn from(service: &lb::Service) -> Self {
        match service.mode {
            Mode::Nat => Self::Translated,
            _ if service.is_by_address() => Self::ByAddresses,
            _ => Self::ByPorts,
        }
    }
}

/// A TCP port on which the stack listens, as the program knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address and the port.
    pub local: SocketAddr,
    /// By what its SYNs are counted: one that is forgotten gives its number to another, later.
    pub number: u32,
    /// No other listener of this program ever has it.
    pub id: u64,
    /// Whether the program answers its SYNs.
    pub is_guarded: bool,
}

/// Why a service cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Port 0 is none.
    #[error("port 0 of {address} cannot be served: give a port from 1 to 65535, or serve the whole address")]
    PortZero {
        /// At which address.
        address: IpAddr,
    },

    /// Who listens to SYNs listens to TCP.
    #[error("UDP port {local} has no SYNs to be answered: serve it with `Action::Stack`")]
    NotTcp {
        /// The address and the port.
        local: SocketAddr,
    },

    /// The table is full.
    #[error(
        "the XDP program knows {MAX_SERVICES} services and addresses already: serve fewer, or forget some of them first"
    )]
    TooManyServices,

    /// There is no counter left.
    #[error("the XDP program knows {MAX_LISTENERS} listeners already: serve fewer, or forget some of them first")]
    TooManyListeners,
}

/// The services of a loaded program: which frames are the stack's, and which listeners there are. Any thread may change it; frames
/// are judged by what was there before or by what is there now.
pub struct Services {
    settings: Arc<Settings>,
    book: Mutex<Book>,
}

/// What was entered, and how to go on.
struct Book {
    table: Table,
    entries: BTreeMap<Key, Entry>,
    /// Listeners by their keys, with the id that each was given.
    ids: HashMap<Key, u64>,
    sources: HashSet<IpAddr>,
    next_id: u64,
    /// Numbers of listeners that are forgotten, the longest ago first, and those that were never given.
    free_numbers: VecDeque<u32>,
    fresh_numbers: std::ops::Range<u32>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("known", &self.len()).finish_non_exhaustive()
    }
}

impl Services {
    pub(super) fn new(table: Table, settings: Arc<Settings>) -> Self {
        let book = Book {
            table,
            entries: BTreeMap::new(),
            ids: HashMap::new(),
            sources: HashSet::new(),
            next_id: 0,
            free_numbers: VecDeque::new(),
            fresh_numbers: 0..MAX_LISTENERS as u32,
        };
        Self { settings, book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what becomes of a service's frames from now on: whole packets, first fragments, and ICMP errors that quote its
    /// port. For a service that is known already it changes what is said of it.
    ///
    /// # Errors
    /// [`ServeError`]; then nothing has changed.
    pub fn serve(&self, service: Service, action: Action) -> Result<(), ServeError> {
        if service.local.port() == 0 {
            return Err(ServeError::PortZero { address: service.local.ip() });
        }
        if service.transport == Transport::Udp && action.syn_ack().is_some() {
            return Err(ServeError::NotTcp { local: service.local });
        }
        self.book().serve(service.key(), action)
    }

    /// Lets backends get a service's frames: whole packets, ICMP errors that quote it, and, where it is balanced by addresses alone,
    /// fragments. Port 0 stands for every port of the address that is not served otherwise. `number` is the service's in the
    /// [`Balance`](super::Balance) that the program was loaded with.
    ///
    /// # Errors
    /// [`ServeError::TooManyServices`]; then nothing has changed.
    pub fn balance(&self, service: Service, number: u32, by_address: bool) -> Result<(), ServeError> {
        let mut book = self.book();
        if by_address && service.local.port() != 0 {
            book.serve(service.portless().key(), Action::Balance { number, portless: true, promise: None })?;
        }
        let promise = book.promise_of(service.key(), number);
        let served = book.serve(service.key(), Action::Balance { number, portless: false, promise });
        if served.is_err() {
            book.forget_portless(service, number);
        }
        served
    }

    /// Lets backends get a service's frames in this way, as [`Services::balance`] does.
    ///
    /// # Errors
    /// [`ServeError::TooManyServices`]; then nothing has changed.
    pub fn steer(&self, service: Service, number: u32, steered: Steered) -> Result<(), ServeError> {
        match steered {
            Steered::Translated => self.book().serve(service.key(), Action::Translate { number }),
            _ => self.balance(service, number, steered == Steered::ByAddresses),
        }
    }

    /// Has SYNs of a service that backends get answered by cookies in their names, or not any more, where [`Guard::keep_keys`] says that
    /// the keys are kept and answers arrive. Returns whether there is such a service.
    ///
    /// [`Guard::keep_keys`]: super::Guard::keep_keys
    pub fn promise(&self, service: Service, promise: Option<Promise>) -> bool {
        let mut book = self.book();
        let key = service.key();
        let Some(Action::Balance { number, portless, .. }) = book.entries.get(&key).map(|entry| entry.action) else {
            return false;
        };
        // It has its slot.
        book.serve(key, Action::Balance { number, portless, promise }).is_ok()
    }

    /// Lets clients get what answers their flows at an address of the stack's own, which is the source with this number in the
    /// [`NatSettings`](crate::lb::NatSettings) of the [`Balance`](super::Balance).
    ///
    /// # Errors
    /// [`ServeError::TooManyServices`].
    pub fn answer_clients(&self, source: IpAddr, number: u8) -> Result<(), ServeError> {
        let all_ports = SocketAddr::new(source, 0);
        let action = Action::Clients { number: number.into() };
        let mut book = self.book();
        book.serve(Service::tcp(all_ports).key(), action)?;
        book.serve(Service::udp(all_ports).key(), action)
    }

    /// Takes back [`Services::balance`] and [`Services::steer`]. Returns whether it was said.
    pub fn stop_balancing(&self, service: Service) -> bool {
        let mut book = self.book();
        match book.entries.get(&service.key()).map(|entry| entry.action) {
            Some(Action::Balance { number, .. }) => book.forget_portless(service, number),
            Some(Action::Translate { .. }) => {}
            _ => return false,
        }
        book.forget(service.key())
    }

    /// From now on a service's frames are whose the address is: the stack's where it is the stack's own, and else the kernel's.
    /// Returns whether it was served.
    pub fn forget(&self, service: Service) -> bool {
        self.book().forget(service.key())
    }

    /// Makes an address the stack's own: everything to it, whatever the port, and ARP and neighbour solicitations for it.
    ///
    /// # Errors
    /// [`ServeError::TooManyServices`]; then nothing has changed.
    pub fn serve_address(&self, address: IpAddr) -> Result<(), ServeError> {
        let (address, mut book) = (address.to_canonical(), self.book());
        book.serve(Key::Address(address), Action::Stack)?;
        book.mark_own(address)
    }

    /// Gives an address back to the kernel, services at it included. Returns whether it was the stack's own.
    pub fn forget_address(&self, address: IpAddr) -> bool {
        let (address, mut book) = (address.to_canonical(), self.book());
        for service in book.services_at(address) {
            book.forget(service);
        }
        book.forget(Key::Address(address))
    }

    /// Says that no SYN comes from an address: it is one of the stack's, or the broadcast address of a subnet. The program answers
    /// none that claims to.
    ///
    /// # Errors
    /// [`ServeError::TooManyServices`]; then nothing has changed.
    pub fn refuse_source(&self, source: IpAddr) -> Result<(), ServeError> {
        let (source, mut book) = (source.to_canonical(), self.book());
        book.check_room(Key::Source(source))?;
        book.table.insert_source(source).map_err(|NoSlot| ServeError::TooManyServices)?;
        book.sources.insert(source);
        self.settings.set_suspects(suspects(&book.sources));
        Ok(())
    }

    /// Takes back [`Services::refuse_source`]. Returns whether it was said.
    pub fn allow_source(&self, source: IpAddr) -> bool {
        let (source, mut book) = (source.to_canonical(), self.book());
        let was_refused = book.sources.remove(&source);
        self.settings.set_suspects(suspects(&book.sources));
        book.table.remove(Key::Source(source));
        was_refused
    }

    /// Lets the program answer a listener's SYNs by cookies, or leave them to the stack. Returns whether there is such a listener.
    pub fn set_guarded(&self, local: SocketAddr, guarded: bool) -> bool {
        let mut book = self.book();
        let key = Service::tcp(local).key();
        let fields = book.entries.get(&key).and_then(|entry| entry.action.syn_ack().copied());
        let Some(fields) = fields else { return false };
        let action = if guarded { Action::Guarded(fields) } else { Action::Listener(fields) };
        // It has its slot, and its number.
        book.serve(key, action).is_ok()
    }

    /// What is said of a service.
    pub fn get(&self, service: Service) -> Option<Action> {
        self.book().entries.get(&service.key()).map(|entry| entry.action)
    }

    /// The listeners there are, in the order in which they came.
    pub fn listeners(&self) -> Vec<Listener> {
        let book = self.book();
        let listener = |(key, &id): (&Key, &u64)| {
            let Key::Port(address, port, _) = *key else { return None };
            let entry = book.entries.get(key)?;
            let is_guarded = matches!(entry.action, Action::Guarded(_));
            Some(Listener { local: SocketAddr::new(address, port), number: entry.number, id, is_guarded })
        };
        let mut listeners: Vec<Listener> = book.ids.iter().filter_map(listener).collect();
        listeners.sort_unstable_by_key(|listener| listener.id);
        listeners
    }

    /// Services, addresses and sources that are known.
    pub fn len(&self) -> usize {
        self.book().len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Book {
    fn len(&self) -> usize {
        self.entries.len() + self.sources.len()
    }

    /// Whether there is room for a key, or it is known.
    fn check_room(&self, key: Key) -> Result<(), ServeError> {
        let is_known = match key {
            Key::Source(source) => self.sources.contains(&source),
            _ => self.entries.contains_key(&key),
        };
        if is_known || self.len() < MAX_SERVICES { Ok(()) } else { Err(ServeError::TooManyServices) }
    }

    fn serve(&mut self, key: Key, action: Action) -> Result<(), ServeError> {
        self.check_room(key)?;
        let old = self.entries.get(&key).copied();
        let own = self.entries.contains_key(&Key::Address(key.address())) || key == Key::Address(key.address());
        let had_number = old.filter(|old| old.action.syn_ack().is_some()).map(|old| old.number);
        let number = match (action.syn_ack(), had_number) {
            (None, _) => action.balanced(),
            (Some(_), Some(number)) => number,
            (Some(_), None) => self.next_number().ok_or(ServeError::TooManyListeners)?,
        };
        let rest = self.rest_of(key);
        let entry = Entry { action, own, number, rest };
        self.table.insert(key, &entry).map_err(|NoSlot| ServeError::TooManyServices)?;
        self.entries.insert(key, entry);
        match (action.syn_ack(), had_number) {
            (Some(_), None) => {
                self.take_number();
                self.ids.insert(key, self.next_id);
                self.next_id += 1;
            }
            (None, Some(number)) => self.give_number_back(key, number),
            _ => {}
        }
        self.refresh_rest(key);
        Ok(())
    }

    /// What is promised of a service already that keeps its number.
    fn promise_of(&self, key: Key, number: u32) -> Option<Promise> {
        match self.entries.get(&key)?.action {
            Action::Balance { number: its, promise, .. } if its == number => promise,
            _ => None,
        }
    }

    /// For which protocols something is said of all ports of an address, where this is its key.
    fn rest_of(&self, key: Key) -> u8 {
        let Key::Address(address) = key else { return 0 };
        let is_said = |transport| self.entries.contains_key(&Key::Port(address, 0, transport));
        u8::from(is_said(Transport::Tcp)) | u8::from(is_said(Transport::Udp)) << 1
    }

    /// Lets an address know what is said of all its ports, where this key did.
    fn refresh_rest(&mut self, key: Key) {
        let Key::Port(at, 0, _) = key else { return };
        let address = Key::Address(at);
        let rest = self.rest_of(address);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.rest = rest;
            // It has its slot.
            self.table.insert(address, entry).ok();
        }
    }

    fn forget_portless(&mut self, service: Service, number: u32) {
        let key = service.portless().key();
        let is_its = |entry: &Entry| entry.action == Action::Balance { number, portless: true, promise: None };
        if self.entries.get(&key).is_some_and(is_its) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.remove(&key) else { return false };
        self.table.remove(key);
        if entry.action.syn_ack().is_some() {
            self.give_number_back(key, entry.number);
        }
        self.refresh_rest(key);
        if let Key::Address(address) = key {
            // Services are forgotten before their address.
            debug_assert!(self.services_at(address).is_empty());
        }
        true
    }

    fn services_at(&self, address: IpAddr) -> Vec<Key> {
        let all = Key::Port(address, 0, Transport::Tcp)..=Key::Port(address, u16::MAX, Transport::Udp);
        self.entries.range(all).map(|(key, _)| *key).collect()
    }

    /// Lets services that came before their address know that it is the stack's own.
    fn mark_own(&mut self, address: IpAddr) -> Result<(), ServeError> {
        self.services_at(address).into_iter().try_for_each(|key| match self.entries.get(&key) {
            Some(entry) => self.serve(key, entry.action),
            None => Ok(()),
        })
    }

    /// The number of the next listener: one whose last owner was forgotten as long ago as can be.
    fn next_number(&self) -> Option<u32> {
        self.fresh_numbers.clone().next().or_else(|| self.free_numbers.front().copied())
    }

    fn take_number(&mut self) {
        if self.fresh_numbers.next().is_none() {
            self.free_numbers.pop_front();
        }
    }

    fn give_number_back(&mut self, key: Key, number: u32) {
        self.free_numbers.push_back(number);
        self.ids.remove(&key);
    }
}

/// Which last octets addresses have that nobody sends from: bit n is set where one has n, modulo 64.
fn suspects(sources: &HashSet<IpAddr>) -> u64 {
    let last_octets = sources.iter().map(|&source| address_octets(source)[15]);
    last_octets.fold(0, |suspects, octet| suspects | 1 << (octet % 64))
}
