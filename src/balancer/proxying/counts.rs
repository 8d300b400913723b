//! What became of connections, counted by the workers.

use crate::proxy::Ended;
use crossbeam::utils::CachePadded;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Declares counters with what they are called where they are shown.
macro_rules! fates {
    ($($(#[$doc:meta])* $fate:ident => $name:literal,)*) => {
        /// How a client's connection to a service in mode `proxy` went.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fate {
            $($(#[$doc])* $fate,)*
        }

        impl Fate {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$fate),*];

            /// What it is called.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fate => $name,)*
                }
            }
        }
    };
}

fates! {
    /// Both ends have closed it.
    Finished => "finished",
    /// The client has reset it, or was heard no more.
    ByClient => "ended_by_client",
    /// The backend likewise.
    ByBackend => "ended_by_backend",
    /// Nothing was said on it for as long as it may be silent.
    Idle => "idle",
    /// Its client has not said in time what decides whereto.
    Undecided => "undecided",
    /// No backend answered that could be tried.
    Unreached => "unreached",
    /// No port was free to connect from, or as many connections are there as may be.
    NoPort => "no_port",
    /// No service is there for the name that its client wants, and none for those without.
    NoService => "no_service",
    /// It began with a header of the PROXY protocol, and came from nobody whose word counts.
    Untrusted => "header_untrusted",
    /// It came from somebody whose connections begin with such a header, and began otherwise.
    NoHeader => "header_missing",
    /// The stack has reset it: for want of memory or of places, or as its address has gone.
    Dropped => "dropped",
    /// Its backend is gone, off, or down and to be left, or the balancer ends.
    Revoked => "revoked",
}

impl From<Ended> for Fate {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Finished => Self::Finished,
            Ended::ByClient => Self::ByClient,
            Ended::ByBackend => Self::ByBackend,
            Ended::Idle => Self::Idle,
            Ended::Undecided => Self::Undecided,
            Ended::Unreached => Self::Unreached,
            // Unless it is known better.
            Ended::Refused => Self::NoService,
            Ended::Dropped => Self::Dropped,
            Ended::Revoked => Self::Revoked,
        }
    }
}

/// Counters that each worker has for itself.
#[derive(Debug)]
struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| CachePadded::default()).collect())
    }

    fn of(&self, worker: usize) -> &T {
        &self.0[worker % self.0.len()]
    }

    fn sum(&self, count: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.0.iter().map(|its| count(its).load(Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[derive(Debug, Default)]
struct OfBackend {
    connected: AtomicU64,
    ended: AtomicU64,
    spliced: AtomicU64,
    failed: AtomicU64,
    to_backend: AtomicU64,
    to_clients: AtomicU64,
}

/// What a backend got, counted as long as it is there.
#[derive(Debug)]
pub struct BackendCounts(PerWorker<OfBackend>);

/// What a backend in mode `proxy` got, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxied {
    /// Connections of clients that it has now.
    pub open: u64,
    /// That it ever had.
    pub connected: u64,
    /// Those of them that XDP went on with.
    pub spliced: u64,
    /// That it did not answer.
    pub failed: u64,
    /// Octets that went there.
    pub to_backend: u64,
    /// Octets that came back.
    pub to_clients: u64,
}

impl fmt::Display for Proxied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open, connected, spliced, failed, to_backend, to_clients } = self;
        write!(f, "connections {open} of {connected}, {spliced} spliced  failed {failed}  ")?;
        write!(f, "octets {to_backend} there, {to_clients} back")
    }
}

impl BackendCounts {
    pub(super) fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers))
    }

    pub(super) fn connected(&self, worker: usize) {
        self.0.of(worker).connected.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, worker: usize) {
        self.0.of(worker).ended.fetch_add(1, Relaxed);
    }

    pub(super) fn spliced(&self, worker: usize) {
        self.0.of(worker).spliced.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, worker: usize) {
        self.0.of(worker).failed.fetch_add(1, Relaxed);
    }

    pub(super) fn to_backend(&self, worker: usize, octets: usize) {
        self.0.of(worker).to_backend.fetch_add(octets as u64, Relaxed);
    }

    pub(super) fn to_client(&self, worker: usize, octets: usize) {
        self.0.of(worker).to_clients.fetch_add(octets as u64, Relaxed);
    }

    pub(super) fn read(&self) -> Proxied {
        // Those that have ended first: or one that ends meanwhile would have ended without having begun.
        let ended = self.0.sum(|it| &it.ended);
        let connected = self.0.sum(|it| &it.connected);
        Proxied {
            open: connected.saturating_sub(ended),
            connected,
            spliced: self.0.sum(|it| &it.spliced),
            failed: self.0.sum(|it| &it.failed),
            to_backend: self.0.sum(|it| &it.to_backend),
            to_clients: self.0.sum(|it| &it.to_clients),
        }
    }
}

/// How connections of a service ended, each by one of the fates.
#[derive(Debug)]
pub(super) struct ServiceCounts(PerWorker<[AtomicU64; Fate::ALL.len()]>);

impl ServiceCounts {
    pub fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers))
    }

    pub fn count(&self, worker: usize, fate: Fate) {
        self.0.of(worker)[fate as usize].fetch_add(1, Relaxed);
    }

    pub fn read(&self) -> Vec<(Fate, u64)> {
        Fate::ALL.into_iter().map(|fate| (fate, self.0.sum(|its| &its[fate as usize]))).collect()
    }
}
