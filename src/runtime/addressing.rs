//! Addresses that come and go while the workers run. Everybody has to know of one: the neighbours, who are asked first whether they have
//! it; every worker's stack; the interface's XDP program; and whoever watches the interface.

use super::{
    AddressRefused, Notice, Running, Runtime, RuntimeError,
    interface::{Served, group_of, join},
    plan::Asked,
    sharing,
};
use crate::{
    stack::{Cidr, InUse, LocalAddress, Ownership, RemoveAddressError},
    wire::check_host,
    worker::{self, CommandError, Context, WorkerHandle},
    xdp::Transport,
};
use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What has to be known for it from the start on.
pub(super) struct Addressing {
    /// Held by whoever changes the addresses: one at a time.
    changes: Mutex<()>,
    /// Whether it is asked if somebody has an address that is to be ours.
    probes: bool,
    /// Routers, none of whose addresses may be ours.
    gateways: Vec<IpAddr>,
}

impl Addressing {
    pub fn new(runtime: &Runtime) -> Self {
        let gateways = runtime.interfaces.iter().flat_map(|interface| &interface.gateways);
        let gateways = gateways.chain(&runtime.config.gateways).copied().collect();
        Self { changes: Mutex::default(), probes: runtime.probes(), gateways }
    }

    /// Waits for whoever else changes the addresses, as no worker may.
    fn alone(&self) -> Result<MutexGuard<'_, ()>, CommandError> {
        worker::check_may_wait()?;
        Ok(self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a stack can have such an address, whatever the others.
    fn check(&self, asked: Asked) -> Result<(), AddressRefused> {
        if self.gateways.contains(&asked.address()) {
            return Err(AddressRefused::Router(asked.address()));
        }
        match asked {
            Asked::Shared(address) => check_host(address).map_err(RuntimeError::from)?,
            Asked::Own(cidr) => {
                cidr.check().map_err(RuntimeError::from)?;
                let mut gateways = self.gateways.iter();
                gateways.try_for_each(|&gateway| cidr.check_neighbour(gateway)).map_err(RuntimeError::from)?;
            }
        }
        Ok(())
    }
}

impl Running {
    /// The addresses that are served, each with the name that its interface had at start.
    pub fn addresses(&self) -> Vec<(&str, LocalAddress)> {
        let placed = self.listening.addresses().into_iter();
        placed.map(|(number, local)| (&*self.interfaces[number].setup.interface, local)).collect()
    }

    /// Serves another address of the stack's own on the interface that had this name at start. Whether somebody on the link has it is
    /// asked first, which takes a fifth of a second, unless [probes](crate::Server::probe) were switched off; then it is announced, and
    /// defended. Listeners and UDP sockets that are there for all addresses are there as well, as are listeners that were at this very
    /// address when it was taken away.
    ///
    /// # Errors
    /// [`AddressRefused`] says what to do. Nothing has changed then.
    pub fn add_address(&self, interface: &str, address: Cidr) -> Result<(), AddressRefused> {
        self.assign(interface, Asked::Own(address))
    }

    /// Serves another address that stays the kernel's, where all ports that are wanted at all addresses are the server's from now on.
    ///
    /// # Errors
    /// [`AddressRefused`] says what to do. Nothing has changed then.
    pub fn add_shared_address(&self, interface: &str, address: IpAddr) -> Result<(), AddressRefused> {
        self.assign(interface, Asked::Shared(address))
    }

    /// Serves an address no longer, whether it was the stack's own or shared; returns how many connections from or to it were reset. Where
    /// it is in use and that is not wanted, it stays. Listeners at this very address accept again when it is back, UDP sockets are
    /// unbound. The last address stays.
    ///
    /// # Errors
    /// [`AddressRefused`] says what to do. Nothing has changed then, but that where it is a worker that does not answer, connections
    /// of others may have been reset, and UDP sockets at this very address unbound.
    pub fn remove_address(&self, address: IpAddr, in_use: InUse) -> Result<usize, AddressRefused> {
        let _alone = self.addressing.alone()?;
        let (number, local) = self.listening.place_of(address).ok_or(RemoveAddressError::NotOurs(address))?;
        if self.listening.addresses().len() == 1 {
            return Err(AddressRefused::Last(address));
        }
        if in_use == InUse::Refuse {
            self.check_unused(address)?;
        }
        let Served { id, neighbourhood, groups, link_watch, .. } = &self.interfaces[number];
        let (id, mut reset) = (*id, 0);
        // Or a UDP socket that comes to this address meanwhile would be known, and nobody's.
        let _ports = self.listening.alone()?;
        for worker in self.workers.iter() {
            match answer(worker.call(move |cx| take_away(cx, address, in_use))) {
                Ok(count) => reset += count,
                Err(refused) => {
                    // Somebody has begun to use it meanwhile, or the worker is gone: it stays where it was.
                    self.undo_before(&worker, &refused, move |cx| {
                        cx.stack().add_address(id, local).ok();
                    });
                    return Err(refused);
                }
            }
        }
        self.listening.remove_address(number, local);
        neighbourhood.disclaim(address);
        group_of(&local).into_iter().for_each(|group| groups.leave(group));
        link_watch.ask(move |watched| watched.remove(address));
        Ok(reset)
    }

    fn assign(&self, interface: &str, asked: Asked) -> Result<(), AddressRefused> {
        let _alone = self.addressing.alone()?;
        let address = asked.address();
        let found = self.interfaces.iter().enumerate().find(|(_, served)| served.setup.interface == interface);
        let (number, served) = found.ok_or_else(|| self.no_interface(interface))?;
        if let Some((other, _)) = self.listening.place_of(address) {
            let interface = self.interfaces[other].setup.interface.clone();
            return Err(AddressRefused::Served { address, interface });
        }
        self.addressing.check(asked)?;
        let interface = || interface.to_owned();
        let gone = || RuntimeError::InterfaceGone { interface: interface() };
        let local = served.link_watch.ask(move |watched| watched.choose(asked)).ok_or_else(gone)??;
        if self.addressing.probes
            && local.ownership == Ownership::Own
            && let Some(station) = served.neighbourhood.probe(address)
        {
            return Err(RuntimeError::AddressTaken { interface: interface(), address, station }.into());
        }
        let take_back = move |cx: &mut Context<'_>| {
            take_away(cx, address, InUse::Reset).ok();
        };
        let id = served.id;
        for worker in self.workers.iter() {
            if let Err(refused) = answer(worker.call(move |cx| cx.stack().add_address(id, local))) {
                self.undo_before(&worker, &refused, take_back);
                return Err(refused);
            }
        }
        // The stacks first, as with listeners.
        if let Err(refused) = self.listening.add_address(number, local) {
            self.workers.tell_all(take_back);
            return Err(refused.into());
        }
        served.neighbourhood.claim(address, local.ownership);
        join(&served.groups, &[local], &served.setup.interface, &self.notices);
        self.watch(served, local);
        Ok(())
    }

    /// Has the interface's watch look after an address as well, and look whose ports are taken where it is shared.
    fn watch(&self, served: &Served, local: LocalAddress) {
        let address = local.cidr.address;
        let is_shared = local.ownership == Ownership::Shared;
        let ports = |transport| if is_shared { self.listening.ports_at(address, transport) } else { Vec::new() };
        let (tcp, udp) = (ports(Transport::Tcp), ports(Transport::Udp));
        let conflicts = served.link_watch.ask(move |watched| {
            watched.add(local);
            if is_shared { sharing::conflicts(&[address], &tcp, &udp) } else { Vec::new() }
        });
        conflicts.into_iter().flatten().for_each(|conflict| self.notices.tell(Notice::Sharing(conflict)));
    }

    /// All workers together use it for nothing.
    fn check_unused(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let (mut connections, mut sockets) = (0, 0);
        for worker in self.workers.iter() {
            let (some, bound) = worker.call(move |cx| cx.stack().users_of(address))?;
            // Every worker has the same sockets.
            (connections, sockets) = (connections + some, sockets.max(bound));
        }
        if (connections, sockets) == (0, 0) {
            return Ok(());
        }
        Err(RemoveAddressError::InUse { address, connections, sockets }.into())
    }

    /// Undoes on the workers in front of this one what was done there: and on itself as well where it has not answered, because it
    /// carries it out yet.
    fn undo_before(
        &self,
        worker: &WorkerHandle,
        refused: &AddressRefused,
        undo: impl FnOnce(&mut Context<'_>) + Copy + Send + 'static,
    ) {
        let is_silent = matches!(refused, AddressRefused::Worker(CommandError::Silent { .. }));
        self.workers.iter().take(worker.number() + usize::from(is_silent)).for_each(|other| other.tell(undo));
    }

    fn no_interface(&self, asked: &str) -> AddressRefused {
        let served = self.interfaces.iter().map(|served| &*served.setup.interface).collect::<Vec<_>>().join(", ");
        AddressRefused::NoInterface { interface: asked.to_owned(), served }
    }
}

fn take_away(cx: &mut Context<'_>, address: IpAddr, in_use: InUse) -> Result<usize, RemoveAddressError> {
    let now = cx.now();
    cx.stack().remove_address(now, address, in_use)
}

/// What a worker has answered, or why it has not.
fn answer<T, E: Into<AddressRefused>>(answered: Result<Result<T, E>, CommandError>) -> Result<T, AddressRefused> {
    answered?.map_err(Into::into)
}
