//! Several services on one server, each with ports of its own.

use super::{Service, Services};
use crate::{
    stack::{ConnectionId, Event},
    time::Instant,
    worker::{Application, Begun, Context},
};
use std::fmt;

/// Services, or other applications, on several ports of one server. Each gets the connections and datagrams of its ports, and
/// whatever it has begun itself. The server has to serve the ports as well:
///
/// ```no_run
/// use xskip::{Server, app::{ByPort, Echo, Http}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::on("veth0").address("198.18.0.1/24".parse()?).port(80).port(7);
/// let running = server.start_with(|_| ByPort::new().service([80], Http::default()).service([7], Echo))?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct ByPort {
    applications: Vec<Box<dyn Application>>,
    /// Which port is whose.
    ports: Vec<(u16, Owner)>,
    /// Whose connection, timer or UDP socket it is, each by index.
    connections: Vec<Owner>,
    timers: Vec<Owner>,
    sockets: Vec<Owner>,
    /// What the call under way has begun; kept for its memory.
    begun: Vec<Begun>,
}

/// A place among the applications, or [`NOBODY`].
type Owner = u16;
const NOBODY: Owner = Owner::MAX;

impl fmt::Debug for ByPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByPort").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl ByPort {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives these ports, TCP and UDP, to a service.
    #[must_use]
    pub fn service<S: Service + 'static>(self, ports: impl IntoIterator<Item = u16>, service: S) -> Self {
        self.application(ports, Services::new(service))
    }

    /// Gives these ports, TCP and UDP, to an application.
    ///
    /// # Panics
    /// With a port that another one has, which is a mistake of the program and not of its users.
    #[must_use]
    pub fn application<A: Application + 'static>(mut self, ports: impl IntoIterator<Item = u16>, new: A) -> Self {
        let owner = self.applications.len() as Owner;
        for port in ports {
            assert_eq!(self.owner_of_port(port), NOBODY, "port {port} has two services; give each port to one of them");
            self.ports.push((port, owner));
        }
        self.applications.push(Box::new(new));
        self
    }

    fn owner_of_port(&self, port: u16) -> Owner {
        self.ports.iter().find(|(known, _)| *known == port).map_or(NOBODY, |&(_, owner)| owner)
    }

    /// Whose a new connection is, by its port. One that has gone already is nobody's.
    fn adopt(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let port = cx.stream(id).map(|stream| stream.local_addr().port());
        let owner = port.map_or(NOBODY, |port| self.owner_of_port(port));
        set(&mut self.connections, id.index(), owner);
        // Nobody would ever read what comes.
        if owner == NOBODY
            && let Some(mut stream) = cx.stream(id)
        {
            stream.abort();
        }
    }

    fn owner_of(&mut self, event: &Event, cx: &mut Context<'_>) -> Owner {
        match *event {
            Event::Accepted(id, _) => {
                self.adopt(id, cx);
                get(&self.connections, id.index())
            }
            Event::Connected(id) | Event::Ready(id) | Event::SoftError(id, _) | Event::Closed(id, _) => {
                get(&self.connections, id.index())
            }
            Event::Timer(id, _) => get(&self.timers, id.index()),
            Event::Datagram(id) => match get(&self.sockets, id.index()) {
                NOBODY => cx.stack().udp_port(id).map_or(NOBODY, |port| self.owner_of_port(port)),
                owner => owner,
            },
            _ => NOBODY,
        }
    }

    /// Calls one of the applications, and remembers what it began.
    fn call<T>(
        &mut self,
        owner: Owner,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut dyn Application, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let application = self.applications.get_mut(usize::from(owner))?;
        let result = call(&mut **application, &mut cx.noting(&mut self.begun));
        for begun in self.begun.drain(..) {
            match begun {
                Begun::Connection(id) => set(&mut self.connections, id.index(), owner),
                Begun::Timer(id) => set(&mut self.timers, id.index(), owner),
                Begun::Udp(id) => set(&mut self.sockets, id.index(), owner),
            }
        }
        Some(result)
    }
}

fn get(owners: &[Owner], index: usize) -> Owner {
    owners.get(index).copied().unwrap_or(NOBODY)
}

fn set(owners: &mut Vec<Owner>, index: usize, owner: Owner) {
    if owners.len() <= index {
        owners.resize(index + 1, NOBODY);
    }
    owners[index] = owner;
}

impl Application for ByPort {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        let owner = self.owner_of(&event, cx);
        self.call(owner, cx, |application, cx| application.event(event, cx));
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let due = (0..self.applications.len() as Owner)
            .filter_map(|owner| self.call(owner, cx, |application, cx| application.on_turn(cx)).flatten());
        due.min()
    }

    fn draining(&mut self, cx: &mut Context<'_>) {
        for owner in 0..self.applications.len() as Owner {
            self.call(owner, cx, |application, cx| application.draining(cx));
        }
    }
}
