//! Health checks: whether a backend serves what clients would ask it for.
//!
//! A check is a connection as a client's: to the *service's* address, in frames that go to one backend as the balancer's
//! do, to its link address or in a tunnel. The backend answers us as it answers a client, by itself. So a check finds out
//! whether the backend has the service's address, takes off what the balancer wraps packets in, listens, and answers;
//! a connection to the backend's own address would find out much less.
//!
//! - [`Checks`] is what is decided, without a clock or a connection: when which backend is checked, what checks in a row
//!   come to, and what is news.
//! - [`Checker`] has the workers of a runtime do it, and says what is known; [`Prober`] is their application.
//! - [`Sources`] finds for each backend how its checks get there, and from which address and ports of this host.
//!
//! A check that fails says why, in words for people: `refused`, `timed out after 2s, before the connection was open`,
//! `answered 503 Service Unavailable`. A check that *cannot be made*, because of the balancer's own host, counts neither
//! way: the backend's health stays what it was, and the reason is told once.
//!
//! Connections end without a TIME-WAIT of ours: what was merely opened is reset, which the backend's program never sees,
//! and of two that speak HTTP the backend closes first, as it is asked to.

mod handed_over;
mod http;
mod prober;
mod schedule;
mod sources;
#[cfg(test)]
mod tests;

pub use self::{
    prober::{Checker, Prober},
    schedule::{Attempt, Checks},
    sources::Sources,
};

use crate::{
    lb::{Health, Promise},
    stack::Via,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What is checked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is done.
    pub kind: Kind,
    /// From one check of a backend to the next, more or less: a tenth is left to chance.
    pub interval: Duration,
    /// How long it may take until all is said.
    pub timeout: Duration,
    /// How many in a row must succeed before a backend that was down is up.
    pub rise: u32,
    /// How many in a row must fail before it is down.
    pub fall: u32,
}

impl Default for Check {
    /// A connection is opened every two seconds and may take one; up after two, down after three.
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(1));
        Self { kind: Kind::Tcp, interval, timeout, rise: 2, fall: 3 }
    }
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It opens a connection.
    Tcp,
    /// It opens a connection and asks for something.
    Http(Http),
}

/// What is asked for by HTTP/1.1, and what answer is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The path, with its query if it has one, such as `/healthz`.
    pub path: String,
    /// What the field `Host` says; `None` for the service's address and port.
    pub host: Option<String>,
    /// The status codes that are well.
    pub expect: RangeInclusive<u16>,
}

impl Default for Http {
    /// Asks for `/` and wants a status from 200 to 399.
    fn default() -> Self {
        Self { path: "/".to_owned(), host: None, expect: 200..=399 }
    }
}

/// A backend of a service, to be checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The service's name.
    pub service: String,
    /// The backend's.
    pub backend: String,
    /// What is checked.
    pub check: Check,
    /// What is connected to: the service's address, and its port as a rule.
    pub address: SocketAddr,
    /// How frames get to the backend, and from which address of ours.
    pub route: Result<Route, Obstacle>,
    /// What is known of it from before: where it is not being checked already, that counts until checks say otherwise.
    pub known: Health,
    /// Where its checks are counted.
    pub counts: Arc<Counts>,
    /// Where it is to take handshakes over, if it is: whether it does is found out after each check that opens a connection.
    pub hand_over: Option<SocketAddr>,
}

/// What a backend can do with handshakes that were answered in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    /// Whether it takes them over; in words, what it does instead.
    pub takes_over: Result<(), String>,
    /// What it promises itself, in its own SYN-ACKs.
    pub promise: Option<Promise>,
}

/// What was found out of that, and was not known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The service's name.
    pub service: String,
    /// The backend's.
    pub backend: String,
    /// What it can do from now on.
    pub ability: Ability,
}

/// How the checks of a backend went, for whoever looks on from any thread.
#[derive(Debug, Default)]
pub struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Whether the last one did.
    has_failed: AtomicBool,
}

/// [`Counts`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// Checks that have ended, and counted. Those that could not be made are not among them.
    pub made: u64,
    /// Those of them that have failed.
    pub failed: u64,
    /// Whether the last of them succeeded; `None` before the first.
    pub last: Option<bool>,
}

impl Counts {
    fn count(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
        let its = if has_failed { &self.failed } else { &self.succeeded };
        its.fetch_add(1, Ordering::Relaxed);
    }

    /// What they are now.
    pub fn read(&self) -> Counted {
        let (succeeded, failed) = (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let made = succeeded + failed;
        Counted { made, failed, last: (made > 0).then(|| !self.has_failed.load(Ordering::Relaxed)) }
    }
}

/// How a check's frames get to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where they come from: an address of this host, of the service address's IP version.
    pub source: IpAddr,
    /// Ports of that address that nobody else uses.
    pub ports: Arc<[u16]>,
    /// The interface that they leave by, and for whom. Of a tunnel's flow each check has its own.
    pub via: Via,
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The backend cannot be reached, in words: each check fails that is due meanwhile.
    Unreachable(String),
    /// It may well be reached, but not by checks, in words: its health stays what it was, and that is told.
    Uncheckable(String),
}

/// Why a check has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody listens there, says the backend.
    Refused,
    /// The backend has reset the connection.
    Reset,
    /// Nothing came for so long.
    TimedOut {
        /// How long.
        after: Duration,
        /// Whether the connection was open.
        opened: bool,
    },
    /// The backend has closed the connection and said nothing.
    Closed,
    /// It has answered, and not well.
    Status {
        /// The status.
        code: u16,
        /// Its reason phrase, as far as it can be printed.
        reason: String,
    },
    /// It has said something that is no HTTP.
    NotHttp,
    /// The head of its answer has no end.
    EndlessHead,
    /// It cannot be reached, in words.
    Unreachable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset by the backend"),
            Self::TimedOut { after, opened: false } => {
                write!(f, "timed out after {after:?}, before the connection was open")
            }
            Self::TimedOut { after, opened: true } => write!(f, "timed out after {after:?}, waiting for the answer"),
            Self::Closed => f.write_str("closed without an answer"),
            Self::Status { code, reason } if reason.is_empty() => write!(f, "answered {code}"),
            Self::Status { code, reason } => write!(f, "answered {code} {reason}"),
            Self::NotHttp => f.write_str("answered something that is not HTTP/1"),
            Self::EndlessHead => write!(f, "answered with a head of more than {} octets", http::MAX_HEAD),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

/// Something is known of a backend that was not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The service's name.
    pub service: String,
    /// The backend's.
    pub backend: String,
    /// Its health from now on.
    pub health: Health,
    /// Why, where it is down, or where it cannot be checked.
    pub why: Option<String>,
}
