//! Proxies: a client's connection ends here, one to a backend begins here, and octets go from one to the other.
//!
//! A [`Proxy`] is an [`Application`](crate::worker::Application) that keeps pairs of connections. Where they lead is for a [`Router`] to
//! say, who sees what a client has said first: nothing of it has been read then, and whatever it looked at goes to the backend.
//!
//! Both connections of a pair are one worker's, so no octet is handed from thread to thread; it is copied once, from the ring that it
//! was received into to the one that it is sent from. Where the far end takes no more, the near end's window closes: nothing is kept
//! in between. The end of data is passed on as such (half-close), an RST as an RST, urgent data as data.
//!
//! ```
//! use xskip::proxy::{Decision, Ends, Proxy, Router, Said, Target};
//!
//! /// Whoever begins with a `G` goes to one server, and everybody else to another.
//! struct ByFirstLetter;
//!
//! impl Router for ByFirstLetter {
//!     type Session = ();
//!
//!     fn open(&mut self, _: &Ends) {}
//!
//!     fn look(&mut self, _: &mut (), said: Said<'_>) -> Decision {
//!         match said.pieces[0].first() {
//!             Some(b'G') => Decision::To(Target::at(([198, 18, 0, 11], 80).into())),
//!             Some(_) => Decision::To(Target::at(([198, 18, 0, 12], 25).into())),
//!             None => Decision::Wait { octets: 1 },
//!         }
//!     }
//! }
//!
//! let application = Proxy::new(ByFirstLetter); // for `Server::start_with`, or `ByPort::application`
//! ```

mod application;
mod pair;
mod parted;
#[cfg(test)]
mod tests;

pub use self::application::Proxy;

use crate::{
    stack::{ConnectError, Via},
    tcp::CloseReason,
    time::Instant,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Says where connections go. Each worker has one of its own, made on its thread.
///
/// A connection's life is [`open`](Router::open), then [`look`](Router::look) until it says something else than to wait, then
/// [`connected`](Router::connected) or [`failed`](Router::failed), and [`ended`](Router::ended) once. A panic in one of these, or in
/// [`review`](Router::review), resets the client that it was called for, and no other; in the others it ends the worker.
pub trait Router {
    /// What is kept for each connection of a client.
    type Session;

    /// A client has connected.
    fn open(&mut self, ends: &Ends) -> Self::Session;

    /// Says what becomes of a client by what it has said so far: called when it has connected, and whenever there is as much as was
    /// asked for.
    fn look(&mut self, session: &mut Self::Session, said: Said<'_>) -> Decision;

    /// The backend could not be reached, and nothing that the client said has been sent. Another one may be named. By default the client
    /// is reset.
    fn failed(&mut self, session: &mut Self::Session, why: Failure) -> Decision {
        let _ = (session, why);
        Decision::Reset
    }

    /// The backend has been reached.
    fn connected(&mut self, session: &mut Self::Session) {
        let _ = session;
    }

    /// So many octets went on.
    fn carried(&mut self, session: &mut Self::Session, towards: Towards, octets: usize) {
        let _ = (session, towards, octets);
    }

    /// Both connections have left the stack, as the target said they might ([`Target::splice`]): from now on their segments are
    /// translated where they arrive, and what they [carry](Router::carried) is told now and then.
    fn spliced(&mut self, session: &mut Self::Session) {
        let _ = session;
    }

    /// It is over.
    fn ended(&mut self, session: Self::Session, how: Ended) {
        let _ = (session, how);
    }

    /// How long is waited for what.
    fn patience(&self, session: &Self::Session) -> Patience {
        let _ = session;
        Patience::default()
    }

    /// Called once a turn of the worker's. Whether all sessions are to be [reviewed](Router::review), as something else is true than
    /// was.
    fn turn(&mut self, now: Instant) -> bool {
        let _ = now;
        false
    }

    /// Whether a connection that has a backend keeps it.
    fn review(&mut self, session: &mut Self::Session) -> Review {
        let _ = session;
        Review::Keep
    }
}

/// The ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// What it has connected to.
    pub service: SocketAddr,
}

/// What a client has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// The octets, in the two pieces that they lie in: the second one is empty, as a rule.
    pub pieces: [&'a [u8]; 2],
    /// Whether it will say nothing more: it has closed its side.
    pub is_all: bool,
}

impl Said<'_> {
    /// How many octets there are.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What becomes of a client's connection.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Not known yet: to be asked again when it has said so many octets in all, or has closed its side. Who has closed it, and is to be
    /// waited for all the same, is reset.
    Wait {
        /// How many.
        octets: usize,
    },
    /// It gets a connection there.
    To(Target),
    /// It is closed in order, and what it has said is thrown away.
    Close,
    /// It is reset.
    Reset,
}

/// Whereto.
#[derive(Clone, Debug)]
pub struct Target {
    /// The backend.
    pub remote: SocketAddr,
    /// Where the connection to it comes from.
    pub from: From,
    /// What it is told first, in front of all that the client says; no more than fits a send buffer.
    pub preface: Vec<u8>,
    /// Octets of the client's that it does not get: those the client began with.
    pub skip: usize,
    /// Whether nothing is to be looked at any more: then both connections may leave the stack as soon as nothing of them is under way,
    /// and the XDP program translates their segments, if it has room for them ([`Stack::part_with`](crate::stack::Stack::part_with)).
    /// The backend is offered what the client has, or they would not fit each other.
    pub splice: bool,
}

impl Target {
    /// To this address, by the stack's own routes, and nothing added or taken away.
    pub fn at(remote: SocketAddr) -> Self {
        Self { remote, from: From::Anywhere, preface: Vec::new(), skip: 0, splice: false }
    }

    /// And no octet is looked at any more.
    #[must_use]
    pub fn spliced(self) -> Self {
        Self { splice: true, ..self }
    }
}

/// Where a connection to a backend comes from.
#[derive(Clone, Debug)]
pub enum From {
    /// The address of the stack's that faces the backend.
    Anywhere,
    /// This one.
    Address(IpAddr),
    /// One of these ports of an address, by a way that is known: see [`Stack::connect_via`](crate::stack::Stack::connect_via).
    Via {
        /// The address.
        source: IpAddr,
        /// Its ports.
        ports: Arc<[u16]>,
        /// The way.
        via: Via,
    },
    /// The client itself, by a way that is known, where the backend's answers come back to this host: see
    /// [`Stack::connect_as`](crate::stack::Stack::connect_as). Its port is kept if that can be.
    Client {
        /// Whom the backend is to see.
        client: SocketAddr,
        /// Ports to choose from where the client's cannot be kept.
        ports: Arc<[u16]>,
        /// The way.
        via: Via,
    },
}

/// Why a backend could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be begun.
    NotBegun(ConnectError),
    /// It was begun, and came to nothing: refused, for instance.
    Ended(CloseReason),
    /// Nothing has come back for as long as there is [patience](Patience::connect).
    TimedOut,
    /// The router has changed its mind while it was begun: see [`Router::review`].
    Revoked,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// From the client.
    Backend,
    /// To the client.
    Client,
}

/// How a pair has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Both ends have closed their sides.
    Finished,
    /// The client is gone: it has reset the connection, or answers no more.
    ByClient,
    /// So is the backend.
    ByBackend,
    /// The stack has reset either connection: for want of memory or of places, or as its address has gone.
    Dropped,
    /// Nothing was said for as long as there is [patience](Patience::idle).
    Idle,
    /// The client has not said enough for anybody to know whereto, in as long as there is [patience](Patience::first).
    Undecided,
    /// No backend could be reached.
    Unreached,
    /// The router has said so.
    Refused,
    /// The router has said so when it [reviewed](Router::review) the connection, or the worker ends.
    Revoked,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For what a client is to say first, from its connection on. Default 10 s.
    pub first: Duration,
    /// For a backend to answer. Default 3 s, in which its SYN is sent twice.
    pub connect: Duration,
    /// For either end to say anything. Default an hour.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_secs(10), connect: Duration::from_secs(3), idle: Duration::from_secs(60 * 60) }
    }
}

/// What becomes of a connection that is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// It goes on.
    Keep,
    /// It goes on, and what goes to its backend goes by this way from now on.
    Move(Via),
    /// Both ends of it are reset; or, where the backend has not answered yet, another one is [asked for](Router::failed).
    Reset,
}
