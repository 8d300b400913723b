//! What may change about the interface while it is served: what can be followed is, and the rest is said. One that is gone ends
//! the server.

use super::{
    End, Notice, RuntimeError,
    errands::{self, Errand},
    neighbourhood::Announcer,
    notice::Notices,
    plan::{self, Asked},
    station::Followed,
    way_out::Way,
};
use crate::{
    host::{HostError, Link},
    stack::{Cidr, LocalAddress, Ownership},
    wire::{InterfaceId, MacAddress},
    worker::Workers,
    xdp::Guard,
};
use crossbeam::channel::{self, Sender};
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// What is served, and on behalf of whom.
#[derive(Debug)]
pub(super) struct Watched {
    pub link: Link,
    /// The queues that have a worker.
    pub queues: Vec<u32>,
    pub addresses: Vec<LocalAddress>,
    /// The largest MTU that the frames hold.
    pub mtu_max: u32,
    pub followers: Followers,
    pub notices: Notices,
    /// Whom answers go to, where that is a neighbour of the kernel's.
    pub router: Option<Followed>,
}

/// Who has to go by what the interface is like.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// The interface, to the workers.
    pub interface: InterfaceId,
    pub workers: Workers,
    pub guard: Option<Arc<Guard>>,
    pub announcer: Option<Announcer>,
}

/// Looks at the interface until it is dropped, on a thread in its network namespace, and tells the workers.
#[derive(Debug)]
pub(super) struct LinkWatch {
    errands: Option<Sender<Errand<Watched>>>,
    thread: Option<JoinHandle<()>>,
    gone: Arc<AtomicBool>,
}

/// Something about the interface is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It has another MTU.
    Mtu {
        /// Its MTU.
        mtu: u32,
        /// The largest that the frames hold.
        most: u32,
    },
    /// It has another link address.
    Mac(MacAddress),
    /// It has another name.
    Renamed(String),
    /// It has so many queues now, and traffic that arrives on some is lost.
    Queues {
        /// How many.
        count: u32,
        /// Those that nobody serves.
        unserved: Vec<u32>,
    },
    /// An address to be shared that the kernel has no longer, or has again.
    Shared {
        /// The address.
        address: IpAddr,
        /// Whether the kernel has it.
        there: bool,
    },
    /// An address of the stack's own that the kernel uses as well.
    Taken(IpAddr),
    /// The router that answers go to has another link address.
    Router {
        /// Its IP address.
        address: IpAddr,
        /// Its link address, which answers go to from now on.
        mac: MacAddress,
    },
}

impl Change {
    /// Whether traffic is lost, or may be.
    pub fn hurts(&self) -> bool {
        match self {
            Self::Mtu { mtu, most } => mtu > most,
            Self::Renamed(_) | Self::Mac(_) | Self::Shared { there: true, .. } | Self::Router { .. } => false,
            Self::Queues { unserved, .. } => !unserved.is_empty(),
            Self::Shared { there: false, .. } | Self::Taken(_) => true,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu { mtu, most } if mtu <= most => write!(f, "the MTU is {mtu} now"),
            Self::Mtu { mtu, most } => write!(
                f,
                "the MTU is {mtu} now, but the frames hold packets of {most} bytes: larger ones are lost until the server is \
                 started again"
            ),
            Self::Mac(mac) => write!(f, "its address is {mac} now, which is followed and announced"),
            Self::Renamed(name) => write!(f, "it is called {name} now"),
            Self::Queues { count, unserved } if unserved.is_empty() => write!(f, "it has {count} queue(s) now"),
            Self::Queues { count, unserved } => {
                let lost: Vec<_> = unserved.iter().map(u32::to_string).collect();
                let lost = lost.join(", ");
                write!(
                    f,
                    "of its {count} queues nobody serves {lost}: what arrives there is lost. Let no traffic come \
                     there (`ethtool -X`), or start the server again for all queues"
                )
            }
            Self::Shared { address, there: false } => write!(
                f,
                "the kernel has {address} no longer, and tells nobody the way to it: add it again with `ip address add`"
            ),
            Self::Shared { address, there: true } => write!(f, "the kernel has {address} again"),
            Self::Router { address, mac } => write!(f, "{address}, which answers go to, is {mac} now"),
            Self::Taken(address) => write!(
                f,
                "the kernel uses {address} as well now, and answers for it: take it away with `ip address del`"
            ),
        }
    }
}

impl Watched {
    /// The queues that something may arrive on and that nobody serves.
    pub fn unserved(&self, count: u32) -> Vec<u32> {
        (0..count).filter(|queue| !self.queues.contains(queue)).collect()
    }

    /// What is not as it was, now that the interface is found like this; from now on it is.
    fn notice(&mut self, link: Link) -> Vec<Change> {
        let mut changes = Vec::new();
        let before = std::mem::replace(&mut self.link, link);
        let (link, most) = (&self.link, self.mtu_max);
        if link.mtu != before.mtu {
            changes.push(Change::Mtu { mtu: link.mtu, most });
        }
        if link.mac != before.mac {
            changes.push(Change::Mac(MacAddress(link.mac)));
        }
        if link.name != before.name {
            changes.push(Change::Renamed(link.name.clone()));
        }
        if link.rx_queues != before.rx_queues {
            changes.push(Change::Queues { count: link.rx_queues, unserved: self.unserved(link.rx_queues) });
        }
        for local in &self.addresses {
            let address = local.cidr.address;
            let (had, has) = (has(&before, address), has(link, address));
            match local.ownership {
                Ownership::Shared if had != has => changes.push(Change::Shared { address, there: has }),
                Ownership::Own if has && !had => changes.push(Change::Taken(address)),
                _ => {}
            }
        }
        changes
    }

    /// Tells whoever has to go by it.
    fn follow(&self, change: &Change) {
        let Followers { interface, workers, guard, announcer } = &self.followers;
        let interface = *interface;
        match *change {
            Change::Mtu { mtu, most } => {
                let mtu = mtu.min(most) as usize;
                workers.tell_all(move |cx| {
                    let now = cx.now();
                    cx.stack().set_mtu(now, interface, mtu);
                });
            }
            Change::Mac(mac) => {
                guard.iter().for_each(|guard| guard.set_mac(mac.0));
                workers.tell_all(move |cx| cx.stack().set_mac(interface, mac));
                announcer.iter().for_each(|announcer| announcer.announce(mac));
            }
            _ => {}
        }
    }

    /// The interface as it is now, with those of the kernel's addresses that are shared; none where it is gone.
    fn find(&self, others: &[IpAddr]) -> Result<Option<Link>, HostError> {
        let shared = self.addresses.iter().filter(|local| local.ownership == Ownership::Shared);
        let shared: Vec<_> = shared.map(|local| local.cidr.address).chain(others.iter().copied()).collect();
        let mut found = find(&self.link)?;
        found.iter_mut().try_for_each(|link| link.add_addresses_from_elsewhere(&shared))?;
        // Without our program it is another one that was made anew with the same name and index.
        Ok(found.filter(|found| found.xdp.is_some()))
    }

    /// Whether an address may be added, as far as the kernel goes.
    pub fn choose(&self, asked: Asked) -> Result<LocalAddress, RuntimeError> {
        let wanted = if let Asked::Shared(address) = asked { Some(address) } else { None };
        let gone = || RuntimeError::InterfaceGone { interface: self.link.name.clone() };
        let link = self.find(wanted.as_slice())?.ok_or_else(gone)?;
        let chosen = asked.choose(&link)?;
        plan::check_broadcasts(&[&self.addresses[..], &[chosen]].concat())?;
        Ok(chosen)
    }

    /// From now on this address is served as well.
    pub fn add(&mut self, local: LocalAddress) {
        let LocalAddress { cidr: Cidr { address, prefix }, ownership } = local;
        self.addresses.push(local);
        // What was found when it was chosen is no news. The interface may have been looked at since, and what has changed by then is.
        self.link.addresses.retain(|&(known, _)| known != address);
        if ownership == Ownership::Shared {
            self.link.addresses.push((address, prefix));
        }
    }

    /// From now on it no longer is.
    pub fn remove(&mut self, address: IpAddr) {
        self.addresses.retain(|local| local.cidr.address != address);
    }

    /// Looks at the interface once; whether it is still there.
    fn look(&mut self) -> bool {
        let found = match self.find(&[]) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(_) => return true, // whoever cannot be asked now can be later
        };
        if let Some(router) = &mut self.router {
            router.look(&found, &self.followers, &self.notices);
        }
        let interface = self.link.name.clone();
        for change in self.notice(found) {
            self.notices.tell(Notice::Interface { interface: interface.clone(), change: change.clone() });
            self.follow(&change);
        }
        true
    }
}

fn has(link: &Link, address: IpAddr) -> bool {
    link.addresses.iter().any(|&(known, _)| known == address)
}

/// The interface that is known, as it is now, whatever it is called; none where it was deleted, or is in another network namespace.
fn find(known: &Link) -> Result<Option<Link>, HostError> {
    match Link::find(&known.name) {
        Ok(found) if found.index == known.index => return Ok(Some(found)),
        Ok(_) | Err(HostError::NoSuchInterface { .. }) => {}
        Err(error) => return Err(error),
    }
    match Link::list()?.into_iter().find(|link| link.index == known.index) {
        Some(renamed) => Link::find(&renamed.name).map(Some),
        None => Ok(None),
    }
}

impl LinkWatch {
    /// Begins with the interface as it is, and the way out of it. `end` is dropped when it is gone.
    pub fn start(mut watched: Watched, mut way: Way, end: End) -> Result<Self, RuntimeError> {
        let (errands, waiting) = channel::unbounded();
        let gone = Arc::new(AtomicBool::new(false));
        let told = gone.clone();
        let watch = move || {
            let _end = end;
            errands::attend(&mut watched, &waiting, INTERVAL, |watched| {
                let is_there = watched.look();
                if is_there {
                    way.look();
                } else {
                    told.store(true, Ordering::Release);
                }
                is_there
            });
        };
        let thread = thread::Builder::new().name("xskip-link".to_owned()).spawn(watch);
        let thread = thread.map_err(|source| RuntimeError::System { what: "start the link's watch", source })?;
        Ok(Self { errands: Some(errands), thread: Some(thread), gone })
    }

    /// Has something done where the interface is looked at, and waits for it; `None` where the interface is gone.
    pub fn ask<R: Send + 'static>(&self, errand: impl FnOnce(&mut Watched) -> R + Send + 'static) -> Option<R> {
        let (answer, answered) = channel::bounded(1);
        let errand = move |watched: &mut Watched| {
            answer.send(errand(watched)).ok();
        };
        self.errands.as_ref()?.send(Box::new(errand)).ok()?;
        answered.recv().ok()
    }

    /// Whether the interface was deleted or moved away.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.errands.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
