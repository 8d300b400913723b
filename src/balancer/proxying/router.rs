//! Where a worker's connections go, by the tables.

use super::{
    Shared,
    counts::Fate,
    places::{Member, Place, Places, Route, Sources, Terms},
};
use crate::{
    preface::{
        client_hello::{Hello, client_hello},
        proxy_protocol::{self, About, Header},
        server_name::ServerName,
    },
    proxy::{Decision, Ended, Ends, Failure, From, Patience, Review, Router, Said, Target, Towards},
    stack::ConnectError,
    time::Instant,
};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

/// How many backends are tried for a client.
const MOST_TRIED: usize = 3;

/// The router of one worker.
#[derive(Debug)]
pub(crate) struct Tables {
    shared: Arc<Shared>,
    worker: usize,
    generation: u64,
    places: Arc<Places>,
}

/// What is kept of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    ends: Ends,
    /// Until it has a backend.
    opening: Option<Box<Opening>>,
    terms: Option<Arc<Terms>>,
    member: Option<Arc<Member>>,
    fate: Option<Fate>,
}

/// What is needed only until a connection has a backend.
#[derive(Debug)]
struct Opening {
    /// The server that the client names, once that is known.
    server: Option<Box<ServerName>>,
    /// What a balancer in front has said of it, and in how many octets.
    proxied: Option<(SocketAddr, SocketAddr)>,
    header: usize,
    /// The numbers of the backends that were asked.
    tried: [u16; MOST_TRIED],
    count: usize,
    /// Whether it was the balancer that could not begin the last of those connections.
    is_out_of_ports: bool,
}

/// Which server a client wants.
enum Wanted {
    Server(Box<ServerName>),
    Any,
    /// There are to be so many octets to know it.
    Undecided {
        needed: usize,
    },
}

impl Session {
    /// The client and what it has connected to: as a balancer in front says, where one does.
    fn far_ends(&self) -> Ends {
        let proxied = self.opening.as_ref().and_then(|opening| opening.proxied);
        proxied.map_or(self.ends, |(client, _)| Ends { client, ..self.ends })
    }

    /// Says what has become of it, and ends it.
    fn refuse(&mut self, fate: Fate) -> Decision {
        self.fate = Some(fate);
        Decision::Reset
    }
}

impl Tables {
    pub(super) fn new(shared: Arc<Shared>, worker: usize) -> Self {
        Self { shared, worker, generation: 0, places: Arc::default() }
    }

    /// What it knows.
    #[cfg(test)]
    pub(super) fn known(&self) -> &Places {
        &self.places
    }

    /// Reads what a balancer in front says at first, where there is one: `None` where that is done, or there is none.
    fn read_header(session: &mut Session, place: &Place, said: &Said<'_>) -> Option<Decision> {
        let Some(opening) = session.opening.as_mut() else { return Some(Decision::Reset) };
        if place.trusted.is_empty() || opening.header > 0 {
            return None;
        }
        let is_trusted = place.trusts(session.ends.client.ip());
        match (proxy_protocol::read(said.pieces), is_trusted) {
            (Header::Read { length, about }, true) => {
                opening.header = length;
                if let About::Proxied { source, destination } = about {
                    opening.proxied = Some((source, destination));
                }
                None
            }
            (Header::Partly { needed }, _) if !said.is_all => Some(Decision::Wait { octets: needed }),
            (_, true) => Some(session.refuse(Fate::NoHeader)),
            (Header::Read { .. }, false) => Some(session.refuse(Fate::Untrusted)),
            (_, false) => None,
        }
    }

    /// Which server it wants, if any.
    fn find_server(session: &Session, place: &Place, said: &Said<'_>) -> Wanted {
        let skip = session.opening.as_ref().map_or(0, |opening| opening.header);
        match place.has_names().then(|| client_hello(behind(said.pieces, skip))) {
            Some(Hello::Partly { needed }) if !said.is_all => Wanted::Undecided { needed: skip + needed },
            Some(Hello::Named(name)) => Wanted::Server(Box::new(name)),
            _ => Wanted::Any,
        }
    }

    /// The next backend that may be tried, by the tables as they are now.
    fn next(&mut self, session: &mut Session) -> Decision {
        let ends = session.far_ends();
        let Some(opening) = session.opening.as_mut() else { return Decision::Reset };
        let server = opening.server.as_deref().map(ServerName::as_str);
        let Some(pool) = self.places.at(session.ends.service).and_then(|place| place.choose(server)) else {
            return session.refuse(Fate::NoService);
        };
        session.terms = Some(Arc::clone(&pool.terms));
        while opening.count < MOST_TRIED {
            let Some((number, member)) = pool.choose(&ends, &opening.tried[..opening.count]) else { break };
            opening.tried[opening.count] = number;
            opening.count += 1;
            session.member = Some(Arc::clone(member));
            let Some(route) = &member.route else {
                member.counts.failed(self.worker);
                continue;
            };
            let from = from(route, ends.client, opening.count);
            let preface = preface(session.terms.as_deref(), &session.ends, opening.proxied);
            let (skip, splice) = (opening.header, pool.terms.splice);
            return Decision::To(Target { remote: member.address, from, preface, skip, splice });
        }
        session.member = None;
        let fate = if opening.is_out_of_ports { Fate::NoPort } else { Fate::Unreached };
        session.refuse(fate)
    }
}

/// Where a connection to a backend comes from.
fn from(route: &Route, client: SocketAddr, tried: usize) -> From {
    let via = route.via;
    match &route.sources {
        // Clients are spread over the sources, and so is one that finds no port.
        Sources::Balancer(sources) => {
            let (source, ports) = &sources[(usize::from(client.port()) + tried) % sources.len()];
            From::Via { source: *source, ports: Arc::clone(ports), via }
        }
        Sources::Client(ports) => From::Client { client, ports: Arc::clone(ports), via },
    }
}

/// What a backend is told first.
fn preface(terms: Option<&Terms>, ends: &Ends, proxied: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some(version) = terms.and_then(|terms| terms.header) else { return Vec::new() };
    let (source, destination) = proxied.unwrap_or((ends.client, ends.service));
    let mut header = [0; proxy_protocol::MAX_HEADER];
    let length = proxy_protocol::write(version, source, destination, &mut header);
    header[..length].to_vec()
}

/// The pieces without their first octets.
fn behind([first, second]: [&[u8]; 2], skip: usize) -> [&[u8]; 2] {
    match first.get(skip..) {
        Some(rest) => [rest, second],
        None => [second.get(skip - first.len()..).unwrap_or_default(), &[]],
    }
}

impl Router for Tables {
    type Session = Session;

    fn open(&mut self, ends: &Ends) -> Session {
        let (tried, count, header) = ([0; MOST_TRIED], 0, 0);
        let opening = Opening { server: None, proxied: None, header, tried, count, is_out_of_ports: false };
        let opening = Some(Box::new(opening));
        Session { ends: *ends, opening, terms: None, member: None, fate: None }
    }

    fn look(&mut self, session: &mut Session, said: Said<'_>) -> Decision {
        // As it is now: what was there when the client came may be gone.
        let Some(place) = self.places.at(session.ends.service).cloned() else {
            return session.refuse(Fate::NoService);
        };
        if let Some(decision) = Self::read_header(session, &place, &said) {
            return decision;
        }
        let server = match Self::find_server(session, &place, &said) {
            Wanted::Server(name) => Some(name),
            Wanted::Any => None,
            Wanted::Undecided { needed } => return Decision::Wait { octets: needed },
        };
        if let Some(opening) = &mut session.opening {
            opening.server = server;
        }
        self.next(session)
    }

    fn failed(&mut self, session: &mut Session, why: Failure) -> Decision {
        let is_ours = matches!(why, Failure::NotBegun(_) | Failure::Revoked);
        if let Some(member) = session.member.as_ref().filter(|_| !is_ours) {
            member.counts.failed(self.worker);
        }
        if let Some(opening) = &mut session.opening {
            opening.is_out_of_ports = matches!(why, Failure::NotBegun(_));
            // Nor will there be one for any other backend.
            if let Failure::NotBegun(ConnectError::Limit(_)) = why {
                opening.count = MOST_TRIED;
            }
        }
        self.next(session)
    }

    fn connected(&mut self, session: &mut Session) {
        session.opening = None;
        if let Some(member) = &session.member {
            member.counts.connected(self.worker);
        }
    }

    fn carried(&mut self, session: &mut Session, towards: Towards, octets: usize) {
        let Some(member) = &session.member else { return };
        match towards {
            Towards::Backend => member.counts.to_backend(self.worker, octets),
            Towards::Client => member.counts.to_client(self.worker, octets),
        }
    }

    fn spliced(&mut self, session: &mut Session) {
        if let Some(member) = &session.member {
            member.counts.spliced(self.worker);
        }
    }

    fn ended(&mut self, session: Session, how: Ended) {
        if let Some(member) = session.member.filter(|_| session.opening.is_none()) {
            member.counts.ended(self.worker);
        }
        // Where no service was found it is that of the rest, or anybody's there.
        let of_place = || Some(Arc::clone(&self.places.at(session.ends.service)?.anybody()?.terms));
        let terms = session.terms.or_else(of_place);
        if let Some(terms) = terms {
            terms.counts.count(self.worker, session.fate.unwrap_or(how.into()));
        }
    }

    fn patience(&self, session: &Session) -> Patience {
        let of_place = || Some(self.places.at(session.ends.service)?.patience);
        let its = session.terms.as_ref().map(|terms| terms.patience);
        its.or_else(of_place).unwrap_or_default()
    }

    fn turn(&mut self, _: Instant) -> bool {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return false;
        }
        (self.generation, self.places) = (generation, self.shared.places());
        true
    }

    fn review(&mut self, session: &mut Session) -> Review {
        let Some(member) = &session.member else { return Review::Keep };
        let Some(successor) = self.places.successor(member) else { return Review::Reset };
        let via = |member: &Member| member.route.as_ref().map(|route| route.via);
        let (before, after) = (via(member), via(successor));
        session.member = Some(Arc::clone(successor));
        after.filter(|_| before != after).map_or(Review::Keep, Review::Move)
    }
}
