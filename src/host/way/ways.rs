//! The kernel's side: its events, questions and their answers.

use super::{
    HostError, News, NoWay, Rtnl, Way,
    keep::{self, Keeping},
    messages::{self, Event},
    path_errors::PathErrors,
    picture::Picture,
};
use crate::host::netlink::Listener;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
};
use socket2::Domain;
use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

/// `enum rtnetlink_groups` (linux/rtnetlink.h): links, neighbours, addresses, routes and rules of both IP versions, and
/// groups of next hops, which change without their routes.
const GROUPS: [u32; 9] = [1, 3, 5, 7, 8, 9, 11, 19, 32];

/// The ways to a set of destinations, in the network namespace of the thread that opened them. It never sleeps: whoever
/// has it waits for its descriptor to be readable, or for its [deadline](Ways::deadline), and calls [`Ways::poll`].
pub struct Ways {
    /// Readable where any of those below has something.
    any: Epoll,
    events: Listener,
    path_errors: BTreeMap<u8, [PathErrors; 2]>,
    rtnl: Rtnl,
    keeping: Keeping,
    picture: Picture,
}

impl Ways {
    /// Without a destination yet. That takes no rights; to have neighbours managed takes CAP_NET_ADMIN (see the
    /// [module](super)).
    ///
    /// # Errors
    /// The kernel's refusal, such as where no descriptor is left: four to five are needed.
    pub fn open() -> Result<Self, HostError> {
        // The listener first: what changes while it is asked for is heard as well.
        let events = Listener::open(NETLINK_ROUTE, &GROUPS, "listen to routes and neighbours")?;
        let any = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(no_poll)?;
        any.add(&events, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(no_poll)?;
        let (rtnl, picture) = (Rtnl::open()?, Picture::new(Instant::now()));
        Ok(Self { any, events, path_errors: BTreeMap::new(), rtnl, keeping: Keeping::new(), picture })
    }

    /// From now on it is heard, too, when routers say of packets of these protocols (IANA's numbers of what comes behind the IP header)
    /// from here that they are too big: for those who make them without a socket. What comes in of these protocols is shown to two
    /// more sockets each, which take nothing of it.
    ///
    /// # Errors
    /// The kernel's refusal, such as without CAP_NET_RAW.
    pub fn hear_of(&mut self, protocols: impl IntoIterator<Item = u8>) -> Result<(), HostError> {
        for protocol in protocols {
            if let btree_map::Entry::Vacant(place) = self.path_errors.entry(protocol) {
                let sockets = [PathErrors::open(Domain::IPV4, protocol)?, PathErrors::open(Domain::IPV6, protocol)?];
                for socket in &sockets {
                    // Errors are told whatever else is asked for.
                    self.any.add(socket, EpollEvent::new(EpollFlags::empty(), 0)).map_err(no_poll)?;
                }
                place.insert(sockets);
            }
        }
        Ok(())
    }

    /// From now on these are the destinations, each once; of those that are no longer among them nothing is told any
    /// more. The kernel is asked by the next [`Ways::poll`], which is due at once.
    pub fn watch(&mut self, addresses: &[IpAddr]) {
        self.picture.watch(addresses);
    }

    /// Hears what the kernel has said, asks what has to be asked, and gives all destinations of which something else is
    /// true than what was given before: their way, or why there is none. Of a new destination it is given in the first
    /// call.
    ///
    /// # Errors
    /// A netlink socket that does not do its work. What was to be asked is asked by the next call.
    pub fn poll(&mut self, now: Instant) -> Result<News, HostError> {
        self.hear(now)?;
        if self.picture.wants_ports() {
            self.find_ports(now)?;
        }
        self.find_routes(now)?;
        // What was found may be on an interface that has come since the list.
        if self.picture.wants_ports() {
            self.find_ports(now)?;
        }
        self.give_back()?;
        self.see_to_neighbours(now)?;
        Ok(self.picture.news(now))
    }

    /// When [`Ways::poll`] is due though its descriptor is not readable; `None` where it need not be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.picture.deadline()
    }

    /// What [`Ways::poll`] gave last of a destination; `None` where there was nothing yet, or it is none.
    pub fn way(&self, address: IpAddr) -> Option<&Result<Way, NoWay>> {
        self.picture.told(address)
    }

    fn hear(&mut self, now: Instant) -> Result<(), HostError> {
        let picture = &mut self.picture;
        let is_lossy =
            self.events.hear("listen to routes and neighbours", |message: Option<RouteNetlinkMessage>| {
                let is_of = |family| {
                    move |address: IpAddr| match family {
                        AddressFamily::Inet => address.is_ipv4(),
                        AddressFamily::Inet6 => address.is_ipv6(),
                        _ => false,
                    }
                };
                match Event::read(message.as_ref()) {
                    Some(Event::Port(ifindex, port)) => picture.see_port(ifindex, port, now),
                    Some(Event::PortGone(ifindex)) => picture.lose_port(ifindex),
                    Some(Event::Neighbour(key, entry)) => picture.see_neighbour(key, entry, now),
                    Some(Event::Routes(network, length)) => {
                        picture.routes_changed(|address| is_within(address, network, length));
                    }
                    Some(Event::RoutesOf(family)) => picture.routes_changed(is_of(family)),
                    Some(Event::AllRoutes) => picture.routes_changed(|_| true),
                    None => {}
                }
            })?;
        if is_lossy {
            picture.doubt_everything(now);
        }
        for errors in self.path_errors.values().flatten() {
            errors.hear(|whereto| picture.routes_changed(|address| address == whereto));
        }
        Ok(())
    }

    fn find_ports(&mut self, now: Instant) -> Result<(), HostError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let ports = self.rtnl.list("list the interfaces", request, |message| match message {
            RouteNetlinkMessage::NewLink(link) => messages::port(&link),
            _ => None,
        })?;
        self.picture.see_ports(ports, now);
        Ok(())
    }

    fn find_routes(&mut self, now: Instant) -> Result<(), HostError> {
        let destinations = self.picture.unrouted(now);
        let requests = destinations.iter().map(|&destination| messages::route_request(destination)).collect();
        let answers = self.rtnl.ask_each("find routes", requests)?;
        for (&destination, answer) in destinations.iter().zip(answers) {
            let route = match answer {
                Ok(Some(RouteNetlinkMessage::NewRoute(message))) => messages::route(&message),
                Ok(_) => Err(NoWay::NoRoute { errno: libc::EBADMSG }),
                // To a group there is a route or not.
                Err(_) if destination.is_multicast() => Err(NoWay::NotUnicast),
                Err(error) => Err(NoWay::NoRoute { errno: error.raw_os_error().unwrap_or(libc::ENETUNREACH) }),
            };
            self.picture.routed(destination, route, now);
        }
        Ok(())
    }

    fn give_back(&mut self) -> Result<(), HostError> {
        let left = self.picture.take_left();
        if left.is_empty() { Ok(()) } else { keep::give_back(&mut self.rtnl, &left) }
    }

    fn see_to_neighbours(&mut self, now: Instant) -> Result<(), HostError> {
        let due = self.picture.neighbours_due(now);
        self.look_at(&due, now)?;
        let unkept = self.picture.neighbours_unkept(&due, now);
        if unkept.is_empty() {
            return Ok(());
        }
        let told = self.keeping.keep(&mut self.rtnl, &unkept)?;
        unkept.iter().zip(told).for_each(|(&(key, ..), told)| self.picture.told_neighbour(key, told, now));
        // Whether it does keep them, and where they are already.
        self.look_at(&unkept.iter().map(|&(key, ..)| key).collect::<Vec<_>>(), now)
    }

    fn look_at(&mut self, keys: &[super::neighbours::Key], now: Instant) -> Result<(), HostError> {
        let entries = keep::look(&mut self.rtnl, keys)?;
        keys.iter().zip(entries).for_each(|(&key, entry)| self.picture.see_neighbour(key, entry, now));
        Ok(())
    }
}

fn no_poll(errno: Errno) -> HostError {
    HostError::refused("wait for what the kernel says of routes", errno)
}

pub(super) fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(32 - u32::from(length.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).checked_shr(128 - u32::from(length.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl AsFd for Ways {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.any.0.as_fd()
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("picture", &self.picture).finish_non_exhaustive()
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        // What somebody else has done with our neighbours meanwhile is his.
        self.hear(Instant::now()).ok();
        self.picture.watch(&[]);
        self.give_back().ok();
    }
}
