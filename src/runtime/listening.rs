//! Ports while the workers run: every stack has to know of a listener or a UDP socket, and every interface's XDP program. What the
//! programs serve follows from the ports that are wanted and the addresses that there are, whichever of them comes or goes.

use super::{
    Runtime,
    interface::Opened,
    plan::{InterfacePlan, Plan},
};
use crate::{
    config::TcpConfig,
    stack::{Addresses, LocalAddress, Ownership, Stack, SynAckProfile},
    tcp::MaxSegment,
    worker::{
        BindRefused, CommandError, Context, ListenRefused, Share, Steering, WorkerHandle, Workers, check_may_wait,
    },
    xdp::{Action, ServeError, Service, Services, SynAckFields, Transport},
};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An interface: who steers its frames, and what its listeners say.
struct Place {
    services: Arc<Services>,
    tcp: TcpConfig,
}

/// A port at one address, or at all of them (`None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    transport: Transport,
    address: Option<IpAddr>,
    port: u16,
    purpose: Purpose,
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// To be spoken to.
    Serving,
    /// To speak from: connections are opened from there, and nobody listens.
    Connecting,
}

impl Wanted {
    pub const fn tcp(address: Option<IpAddr>, port: u16) -> Self {
        Self { transport: Transport::Tcp, address, port, purpose: Purpose::Serving }
    }

    pub const fn udp(address: Option<IpAddr>, port: u16) -> Self {
        Self { transport: Transport::Udp, address, port, purpose: Purpose::Serving }
    }

    /// A TCP port to open connections from.
    pub const fn own_end(local: SocketAddr) -> Self {
        let (address, port) = (Some(local.ip()), local.port());
        Self { transport: Transport::Tcp, address, port, purpose: Purpose::Connecting }
    }

    /// What the programs have to serve of it at an address. All that comes to an address of the stack's own is the stack's, and only
    /// listeners are known by their ports beside.
    fn at(self, local: &LocalAddress) -> Option<Service> {
        let LocalAddress { cidr, ownership } = local;
        let is_known = self.transport == Transport::Tcp || *ownership == Ownership::Shared;
        let is_meant = self.address.is_none_or(|address| address == cidr.address);
        let service = Service { local: SocketAddr::new(cidr.address, self.port), transport: self.transport };
        (is_known && is_meant).then_some(service)
    }
}

/// All there is: what the programs serve follows from it.
#[derive(Default)]
struct Book {
    /// The addresses of each place.
    addresses: Vec<Vec<LocalAddress>>,
    /// The ports that are wanted, each with the workers that have asked for it themselves: others only know of it.
    wanted: HashMap<Wanted, HashSet<usize>>,
}

impl Book {
    /// What this is wanted for, if anybody wants it.
    fn purpose_of(&self, service: &Service) -> Option<Purpose> {
        let Service { local, transport } = *service;
        let at = |address, purpose| Wanted { transport, address, port: local.port(), purpose };
        let here = Some(local.ip());
        let [everywhere, here, end] =
            [at(None, Purpose::Serving), at(here, Purpose::Serving), at(here, Purpose::Connecting)];
        [everywhere, here, end].iter().find(|wanted| self.wanted.contains_key(wanted)).map(|wanted| wanted.purpose)
    }

    /// The services that a port means, each with the number of its place.
    fn services_of(&self, wanted: Wanted) -> impl Iterator<Item = (usize, Service)> {
        let of_one = move |(number, local): (usize, &Vec<LocalAddress>)| {
            local.iter().filter_map(move |local| Some((number, wanted.at(local)?))).collect::<Vec<_>>()
        };
        self.addresses.iter().enumerate().flat_map(of_one)
    }
}

/// Everybody who has to know of a port.
pub(super) struct Listening {
    workers: Workers,
    places: Vec<Place>,
    max_segment: MaxSegment,
    /// Whether anybody may listen; others only open connections.
    listens: bool,
    /// Held by whoever beside the workers changes the ports, one at a time: while workers are waited for, none of whom wants it.
    changes: Mutex<()>,
    /// Never held while a worker is waited for, which may want it.
    book: Arc<Mutex<Book>>,
}

impl Listening {
    pub fn new(runtime: &Runtime, plan: &Plan, opened: &[Opened], workers: Workers, tcp: &TcpConfig) -> Self {
        let place = |(plan, opened): (&InterfacePlan, &Opened)| Place {
            services: opened.program.services().clone(),
            tcp: TcpConfig { mtu: plan.link.mtu as usize, ..tcp.clone() },
        };
        let places = plan.interfaces.iter().zip(opened).map(place).collect();
        let addresses = plan.interfaces.iter().map(|plan| plan.addresses.clone()).collect();
        let book = Book { addresses, wanted: HashMap::new() };
        let (max_segment, listens) = (runtime.max_segment, runtime.listens());
        Self { workers, places, max_segment, listens, changes: Mutex::default(), book: Arc::new(Mutex::new(book)) }
    }

    /// Waits for whoever else changes the ports, as no worker may.
    pub fn alone(&self) -> Result<MutexGuard<'_, ()>, CommandError> {
        check_may_wait()?;
        Ok(self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts connections there, on every worker.
    pub fn listen(&self, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        let _alone = self.alone()?;
        self.check(address)?;
        let max_segment = self.max_segment;
        let listen = move |stack: &mut Stack| stack.listen_with(address, port, max_segment).map(drop);
        for worker in self.workers.iter() {
            let listened = worker.call(move |cx| listen(cx.stack()));
            let is_silent = matches!(listened, Err(CommandError::Silent { .. }));
            if let Err(refused) = listened.map_err(ListenRefused::from).and_then(|listened| Ok(listened?)) {
                self.undo_before(worker.number(), is_silent, Wanted::tcp(address, port));
                return Err(refused);
            }
        }
        // The stacks first: a SYN that the program answers is nobody's mistake then.
        Ok(self.steer_or_forget(Wanted::tcp(address, port))?)
    }

    /// Accepts no more connections there; whether anybody did.
    pub fn unlisten(&self, address: Option<IpAddr>, port: u16) -> Result<bool, ListenRefused> {
        Ok(self.end(Wanted::tcp(address, port))?)
    }

    /// Takes datagrams there, on every worker.
    pub fn bind_udp(&self, address: Option<IpAddr>, port: u16) -> Result<(), BindRefused> {
        let _alone = self.alone()?;
        for worker in self.workers.iter() {
            let bound = worker.call(move |cx| cx.stack().bind_udp(address, port).map(drop));
            let is_silent = matches!(bound, Err(CommandError::Silent { .. }));
            if let Err(refused) = bound.map_err(BindRefused::from).and_then(|bound| Ok(bound?)) {
                self.undo_before(worker.number(), is_silent, Wanted::udp(address, port));
                return Err(refused);
            }
        }
        Ok(self.steer_or_forget(Wanted::udp(address, port))?)
    }

    /// Takes no more datagrams there; whether anybody did.
    pub fn unbind_udp(&self, address: Option<IpAddr>, port: u16) -> Result<bool, BindRefused> {
        Ok(self.end(Wanted::udp(address, port))?)
    }

    /// Nobody wants it any more; whether anybody had it. A worker that does not answer keeps no other from doing without it.
    fn end(&self, wanted: Wanted) -> Result<bool, CommandError> {
        let _alone = self.alone()?;
        let was_there = self.unsteer(wanted);
        let end = |worker: WorkerHandle| worker.call(self.dropping(wanted));
        let ended: Vec<_> = self.workers.iter().map(end).collect();
        ended.into_iter().try_fold(was_there, |was_there, ended| Ok(ended? || was_there))
    }

    /// Tells the programs of a port that every worker's stack has: none of them where one of them cannot take it. What is served
    /// already stays as it is, with its defence.
    pub fn steer(&self, wanted: Wanted) -> Result<(), ServeError> {
        self.steer_by(0..self.workers.len(), wanted)
    }

    fn steer_by(&self, workers: impl IntoIterator<Item = usize>, wanted: Wanted) -> Result<(), ServeError> {
        self.steer_in(&mut self.book(), workers, wanted)
    }

    fn steer_in(
        &self,
        book: &mut Book,
        workers: impl IntoIterator<Item = usize>,
        wanted: Wanted,
    ) -> Result<(), ServeError> {
        let was_there = book.wanted.contains_key(&wanted);
        book.wanted.entry(wanted).or_default().extend(workers);
        if was_there {
            return Ok(());
        }
        let mut services = book.services_of(wanted);
        let purpose = wanted.purpose;
        let serve = |(number, service): (usize, _)| self.places[number].serve(service, purpose, self.max_segment);
        let served = services.try_for_each(serve);
        drop(services);
        if served.is_err() {
            book.wanted.remove(&wanted);
            self.forget_unwanted(wanted, book);
        }
        served
    }

    fn steer_or_forget(&self, wanted: Wanted) -> Result<(), ServeError> {
        self.steer(wanted).inspect_err(|_| self.forget(|_| true, wanted))
    }

    /// The programs serve no longer what was served for this port alone; whether it was there.
    pub fn unsteer(&self, wanted: Wanted) -> bool {
        let mut book = self.book();
        let was_there = book.wanted.remove(&wanted).is_some();
        if was_there {
            self.forget_unwanted(wanted, &book);
        }
        was_there
    }

    fn forget_unwanted(&self, wanted: Wanted, book: &Book) {
        for (number, service) in book.services_of(wanted) {
            match book.purpose_of(&service) {
                None => {
                    self.places[number].services.forget(service);
                }
                // Nobody listens there any more. It is known, so there is room for it.
                Some(Purpose::Connecting) => self.places[number].services.serve(service, Action::Stack).unwrap_or(()),
                Some(Purpose::Serving) => {}
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    /// A worker wants it no longer; once none does, nobody has it.
    fn leave(&self, worker: usize, wanted: Wanted) {
        let mut book = self.book();
        let Some(askers) = book.wanted.get_mut(&wanted) else { return };
        askers.remove(&worker);
        if !askers.is_empty() {
            return;
        }
        book.wanted.remove(&wanted);
        self.forget_unwanted(wanted, &book);
        drop(book);
        self.forget_on_others(worker, wanted);
    }

    /// Whether somebody wants it; this worker does as well from now on.
    fn share(&self, worker: usize, wanted: Wanted) -> Share {
        match self.book().wanted.get_mut(&wanted).map(|askers| askers.insert(worker)) {
            Some(true) => Share::New,
            Some(false) => Share::Known,
            None => Share::Unwanted,
        }
    }

    /// A worker was refused it, so those in front of it do without it again: and itself as well where it has not answered, because it
    /// carries it out yet. Where an application has asked for the same meanwhile, everybody has it.
    fn undo_before(&self, worker: usize, is_silent: bool, wanted: Wanted) {
        let is_wanted = self.book().wanted.contains_key(&wanted);
        if !is_wanted {
            self.forget(|other| other < worker || is_silent && other == worker, wanted);
        }
    }

    /// Has the stacks of some workers do without it.
    fn forget(&self, whose: impl Fn(usize) -> bool, wanted: Wanted) {
        for worker in self.workers.iter().filter(|worker| whose(worker.number())) {
            let drop = self.dropping(wanted);
            worker.tell(|cx| _ = drop(cx));
        }
    }

    /// A worker wants what its stack has: others' stacks follow without being waited for, and the programs.
    fn extend<R>(
        &self,
        worker: usize,
        wanted: Wanted,
        follow: impl Fn(&mut Stack) + Copy + Send + 'static,
    ) -> Result<(), R>
    where
        R: From<CommandError> + From<ServeError>,
    {
        // Held until it is written down: who was told before to do without it looks here first, and so either has done so before it is
        // told of this, or finds that somebody wants it.
        let mut book = self.book();
        let mut told = self.others(worker).map(|other| other.post(move |cx| follow(cx.stack())));
        let told = told.try_for_each(|told| told.map_err(R::from));
        let extended = told.and_then(|()| Ok(self.steer_in(&mut book, [worker], wanted)?));
        if extended.is_err() && !book.wanted.contains_key(&wanted) {
            self.forget_on_others(worker, wanted);
        }
        extended
    }

    /// Has other workers' stacks do without it, without waiting. One whose queue is full goes on.
    fn forget_on_others(&self, worker: usize, wanted: Wanted) {
        for other in self.others(worker) {
            let drop = self.dropping(wanted);
            if let Err(error) = other.post(|cx| _ = drop(cx)) {
                tracing::warn!(%error, ?wanted, "a worker goes on with it");
            }
        }
    }

    /// What has a stack do without it, unless somebody wants it again by then; whether it was there.
    fn dropping(&self, wanted: Wanted) -> impl FnOnce(&mut Context<'_>) -> bool + Send + use<> {
        let book = self.book.clone();
        move |cx| !locked(&book).wanted.contains_key(&wanted) && wanted.drop_from(cx.stack())
    }

    fn others(&self, worker: usize) -> impl Iterator<Item = WorkerHandle> {
        self.workers.iter().filter(move |other| other.number() != worker)
    }

    fn check(&self, address: Option<IpAddr>) -> Result<(), ListenRefused> {
        match address {
            _ if !self.listens => Err(ListenRefused::OnlyConnects),
            Some(address) if self.place_of(address).is_none() => Err(ListenRefused::NotServed(address)),
            _ => Ok(()),
        }
    }

    /// The addresses there are, each with the number of its interface.
    pub fn addresses(&self) -> Vec<(usize, LocalAddress)> {
        let book = self.book();
        let placed = book.addresses.iter().enumerate();
        placed.flat_map(|(number, all)| all.iter().map(move |&local| (number, local))).collect()
    }

    /// Whether anybody wants to listen to TCP there.
    pub fn is_served(&self, local: SocketAddr) -> bool {
        self.book().purpose_of(&Service::tcp(local)) == Some(Purpose::Serving)
    }

    /// The interface that an address belongs to.
    pub fn place_of(&self, address: IpAddr) -> Option<(usize, LocalAddress)> {
        self.addresses().into_iter().find(|(_, local)| local.cidr.address == address)
    }

    /// The ports of a transport that are served at an address.
    pub fn ports_at(&self, address: IpAddr, transport: Transport) -> Vec<u16> {
        let book = self.book();
        let meant = book
            .wanted
            .keys()
            .filter(|wanted| wanted.transport == transport && wanted.purpose == Purpose::Serving)
            .filter(|wanted| wanted.address.is_none_or(|wanted| wanted == address));
        meant.map(|wanted| wanted.port).collect()
    }

    /// Has an interface's program serve an address that every worker's stack has: with all ports that are wanted there. Nothing of it is
    /// left where it cannot.
    pub fn add_address(&self, number: usize, local: LocalAddress) -> Result<(), ServeError> {
        let mut book = self.book();
        let Place { services, .. } = &self.places[number];
        book.addresses[number].push(local);
        let told = || {
            if local.ownership == Ownership::Own {
                services.serve_address(local.cidr.address)?;
            }
            let mut sources = Addresses::new(vec![local]).impossible_sources().into_iter();
            sources.try_for_each(|source| services.refuse_source(source))?;
            let mut meant = book.wanted.keys().filter_map(|wanted| Some((wanted.at(&local)?, wanted.purpose)));
            meant.try_for_each(|(service, purpose)| self.places[number].serve(service, purpose, self.max_segment))
        };
        let told = told();
        if told.is_err() {
            self.take_back(number, local, &mut book);
        }
        told
    }

    /// Has it serve an address no longer. As in the stacks, listeners there are wanted yet, for when it comes back, and UDP sockets gone.
    pub fn remove_address(&self, number: usize, local: LocalAddress) {
        self.take_back(number, local, &mut self.book());
    }

    fn take_back(&self, number: usize, local: LocalAddress, book: &mut Book) {
        let Place { services, .. } = &self.places[number];
        let address = local.cidr.address;
        book.addresses[number].retain(|other| other.cidr.address != address);
        book.wanted.retain(|wanted, _| wanted.transport == Transport::Tcp || wanted.address != Some(address));
        services.forget_address(address);
        let left = Addresses::new(book.addresses[number].clone()).impossible_sources();
        for source in Addresses::new(vec![local]).impossible_sources() {
            if !left.contains(&source) {
                services.allow_source(source);
            }
        }
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wanted {
    /// Has a stack do without it; whether it was there.
    fn drop_from(self, stack: &mut Stack) -> bool {
        let Self { transport, address, port, .. } = self;
        match transport {
            Transport::Tcp => stack.unlisten_at(address, port),
            Transport::Udp => {
                let socket = stack.udp_socket_at(address, port);
                socket.into_iter().for_each(|socket| stack.unbind_udp(socket));
                socket.is_some()
            }
        }
    }
}

impl Place {
    /// Has the program serve this, unless it does.
    fn serve(&self, service: Service, purpose: Purpose, max_segment: MaxSegment) -> Result<(), ServeError> {
        match (service.transport, self.services.get(service)) {
            (_, Some(_)) if purpose == Purpose::Connecting => Ok(()),
            (Transport::Tcp, _) if purpose == Purpose::Connecting => self.services.serve(service, Action::Stack),
            (Transport::Udp, Some(Action::Stack)) | (_, Some(Action::Listener(_) | Action::Guarded(_))) => Ok(()),
            (Transport::Udp, _) => self.services.serve(service, Action::Stack),
            (Transport::Tcp, _) => {
                let fields = self.syn_ack_fields(service.local.ip(), max_segment);
                self.services.serve(service, Action::Listener(fields))
            }
        }
    }

    /// What the listener's SYN-ACKs say.
    fn syn_ack_fields(&self, address: IpAddr, max_segment: MaxSegment) -> SynAckFields {
        let SynAckProfile { mss, window, window_scale, sack, hop_limit, traffic_class } =
            SynAckProfile::of(address, max_segment, &self.tcp);
        SynAckFields { mss, window, window_scale, sack, hop_limit, traffic_class }
    }
}

/// For a worker whose application wants a port: its own stack has it already, and it may wait for nobody.
impl Steering for Listening {
    fn max_segment(&self) -> MaxSegment {
        self.max_segment
    }

    fn listen(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), ListenRefused> {
        self.check(address)?;
        let max_segment = self.max_segment;
        // One that listens there already has what is wanted: two applications may have had the same idea.
        self.extend(worker, Wanted::tcp(address, port), move |stack| {
            stack.listen_with(address, port, max_segment).ok();
        })
    }

    fn share_tcp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Share {
        self.share(worker, Wanted::tcp(address, port))
    }

    fn leave_tcp(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        self.leave(worker, Wanted::tcp(address, port));
    }

    fn unlisten(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        self.unsteer(Wanted::tcp(address, port));
        self.forget_on_others(worker, Wanted::tcp(address, port));
    }

    fn bind_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Result<(), BindRefused> {
        // As with listeners: one that has it has what is wanted.
        self.extend(worker, Wanted::udp(address, port), move |stack| {
            stack.bind_udp(address, port).ok();
        })
    }

    fn share_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) -> Share {
        self.share(worker, Wanted::udp(address, port))
    }

    fn leave_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        self.leave(worker, Wanted::udp(address, port));
    }

    fn unbind_udp(&self, worker: usize, address: Option<IpAddr>, port: u16) {
        // What a stack was told alone is nobody else's.
        if self.unsteer(Wanted::udp(address, port)) {
            self.forget_on_others(worker, Wanted::udp(address, port));
        }
    }
}

#[cfg(test)]
mod tests;
