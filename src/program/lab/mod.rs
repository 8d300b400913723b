//! The lab: two network namespaces joined by a veth pair, made by one command and unmade without a trace.
//!
//! ```text
//!   NAME-client                              NAME-server
//!   the kernel: 198.18.0.2, 2001:2::2        the kernel: 198.18.0.254, 2001:2::fe
//!        veth0 ------------------------------- veth0
//!                                            free for a stack in user space: 198.18.0.1, 2001:2::1
//! ```
//!
//! Addresses are from the ranges set aside for benchmarking (RFC 2544 appendix C.2.2, RFC 5180 §8). Offloads are set so
//! that either kernel sends what it would send on a wire: complete checksums, and no frame larger than the MTU.
//!
//! A link that is to be bad has a relay in the middle, in a namespace of its own, and a pair of interfaces on either side of
//! it. The two ends look the same as without:
//!
//! ```text
//!   NAME-client                 NAME-relay                       NAME-server
//!        veth0 --------- left ─ relay ─ right ------------------ veth0
//! ```
//!
//! There is no record of a lab beside the kernel's own: what is up is read from the namespaces each time, so nothing can
//! contradict it after a crash. How a link is impaired is noted as the alias of the relay's interfaces; that the relay is
//! alive is read from its XDP programs, which the kernel takes away when it dies. The Ethernet addresses of the pair say that it is ours, and not to be mistaken for
//! somebody else's namespace of that name.

mod between;
mod build;
mod name;
mod options;
mod parts;
mod role;
mod side;
mod status;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use thiserror::Error;

use self::{build::Scaffold, status::Found};
pub use self::{
    name::LabName,
    options::{IMPAIRED_MTU_MAX, LabOptions, MTU_MAX, MTU_MIN, QUEUES_MAX},
    role::Role,
    side::{Side, SideCommand},
    status::{LabState, RelayStatus, SideStatus, Status},
};
use crate::{
    host::{
        HostError,
        netns::{self, Process, Registry},
    },
    impair::Impairment,
    relay::{Relay, RelayCounts, RelayError},
};

/// The interface on either side.
pub const INTERFACE: &str = "veth0";

/// What the process of a relay says to the one that started it, once it carries frames; anything else is why it does not.
pub const RELAY_READY: &str = "ready";

/// The prefix length of the lab's IPv4 addresses.
pub const PREFIX_V4: u8 = 24;

/// The prefix length of the lab's IPv6 addresses.
pub const PREFIX_V6: u8 = 64;

/// The addresses that no kernel has, on the server's side of the pair: those of a stack in user space.
pub const STACK: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(198, 18, 0, 1), benchmarking_v6(0x1));

/// Prefixes in which nobody lives, for floods to come from. The server's kernel sends its answers to the client, where they
/// end: nothing forwards them.
pub const FLOODS: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(198, 19, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0x2, 0, 0x8000, 0, 0, 0, 0)), 49),
];

const fn benchmarking_v6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0x2, 0, 0, 0, 0, 0, host)
}

/// What can go wrong with a lab.
#[derive(Error)]
pub enum LabError {
    /// The name cannot be that of a lab.
    #[error("{0:?} cannot name a lab: use 1 to {max} of the characters a-z, A-Z, 0-9, `-`, `_` and `.`, beginning with a letter or digit", max = name::LENGTH_MAX)]
    BadName(String),

    /// More queues, or fewer, than a lab can have.
    #[error("a lab cannot have {0} queues: ask for 1 to {QUEUES_MAX}")]
    BadQueues(u32),

    /// An MTU that a lab cannot have.
    #[error("a lab cannot have an MTU of {0}: ask for {MTU_MIN} to {MTU_MAX} bytes")]
    BadMtu(u32),

    /// An MTU that the relay of an impaired lab cannot carry.
    #[error(
        "an impaired lab cannot have an MTU of {0}: ask for {MTU_MIN} to {IMPAIRED_MTU_MAX} bytes, or leave --impair out"
    )]
    BadImpairedMtu(u32),

    /// The relay of an impaired lab did not start, or did not go on.
    #[error(transparent)]
    Relay(#[from] RelayError),

    /// The relay's process did not start.
    #[error("the relay of the lab did not start: {0}")]
    RelayProcess(String),

    /// It is up, but otherwise than asked for.
    #[error("the lab {name} is up already with {is}, but {asked} were asked for: run `xskip lab down {name}` first, or choose another --name", is = .is.describe(), asked = .asked.describe())]
    OtherSettings {
        /// The lab's name.
        name: LabName,
        /// What it has.
        is: Box<LabOptions>,
        /// What was asked for.
        asked: Box<LabOptions>,
    },

    /// It is up, and somebody else's to take down.
    #[error("the lab {0} is up already: run `xskip lab down {0}` first, or choose another --name")]
    AlreadyUp(LabName),

    /// Somebody else has a namespace of that name.
    #[error(
        "the network namespace {namespace} was not made by xskip (it has the interface {interface}): choose another --name, or run `ip netns delete {namespace}`"
    )]
    Foreign {
        /// The namespace.
        namespace: String,
        /// An interface in it that no lab has.
        interface: String,
    },

    /// It is not up, or only half.
    #[error("the lab {0} is not up: run `xskip lab up {0}` first")]
    Down(LabName),

    /// Somebody wanted it to stop.
    #[error("interrupted: the lab {0} was taken down again; run `xskip lab up {0}` to try once more")]
    Interrupted(LabName),

    /// The kernel refused something.
    #[error(transparent)]
    Host(#[from] HostError),
}

debug_as_display!(LabError);

/// How [`Lab::up`] got to a lab that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing.
    Made,
    /// It was up already.
    AlreadyUp,
    /// There were leftovers of a run that did not end well; they were removed first.
    Rebuilt,
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    name: LabName,
    outcome: Outcome,
    server: Side,
    client: Side,
    /// Where the relay is a thread of this process.
    relay: Option<Relay>,
    remove_on_drop: bool,
}

impl Lab {
    /// Makes a lab, or finds it up already with the same settings. Leftovers of a crashed run are removed first; if
    /// anything fails, what was made so far is. The relay of an impaired lab is a thread of this process, which ends with
    /// the value: see [`Lab::up_detached`].
    ///
    /// # Errors
    /// Settings out of range, a lab of that name with other settings, a namespace that is somebody else's, or the
    /// kernel's refusal.
    pub fn up(options: &LabOptions) -> Result<Self, LabError> {
        Self::up_unless(options, &AtomicBool::new(false))
    }

    /// Makes a lab as [`Lab::up`] does, but gives up, leaving nothing behind, when `interrupted` becomes true: for a signal handler to
    /// set.
    ///
    /// # Errors
    /// Those of [`Lab::up`], and [`LabError::Interrupted`].
    pub fn up_unless(options: &LabOptions, interrupted: &AtomicBool) -> Result<Self, LabError> {
        Self::up_with(options, interrupted, |name, impairment| Ok(Some(between::start(name, impairment)?)))
    }

    /// Makes a lab as [`Lab::up_unless`] does, but an impaired one stays up when this process ends: its relay is a process of its own,
    /// that runs `PROGRAM lab relay NAME`, until the lab is taken down.
    ///
    /// # Errors
    /// Those of [`Lab::up_unless`], and [`LabError::RelayProcess`].
    pub fn up_detached(options: &LabOptions, interrupted: &AtomicBool, program: &Path) -> Result<Self, LabError> {
        Self::up_with(options, interrupted, |name, _| between::spawn(name, program).map(|()| None))
    }

    fn up_with(
        options: &LabOptions,
        interrupted: &AtomicBool,
        relay: impl FnOnce(&LabName, Impairment) -> Result<Option<Relay>, LabError>,
    ) -> Result<Self, LabError> {
        options.check()?;
        let name = &options.name;
        let registry = Registry::lock()?;
        let outcome = match status::inspect(name)? {
            Found::Foreign { namespace, interface } => return Err(LabError::Foreign { namespace, interface }),
            Found::Whole { queues, mtu, impair }
                if (queues, mtu, impair) == (options.queues, options.mtu, options.impair) =>
            {
                // Addresses or offloads may have been changed since; to set them again is quick and disturbs nobody.
                build::configure(name, impair.is_some())?;
                Outcome::AlreadyUp
            }
            Found::Whole { queues, mtu, impair } => {
                let is = LabOptions { queues, mtu, impair, ..options.clone() };
                return Err(LabError::OtherSettings {
                    name: name.clone(),
                    is: Box::new(is),
                    asked: Box::new(options.clone()),
                });
            }
            Found::Nothing => Outcome::Made,
            Found::Half => {
                build::remove(&registry, name)?;
                Outcome::Rebuilt
            }
        };
        let mut carrying = None;
        if outcome != Outcome::AlreadyUp {
            let scaffold = Scaffold::new(&registry, name);
            build::make(&registry, options, || match interrupted.load(Ordering::Relaxed) {
                true => Err(LabError::Interrupted(name.clone())),
                false => Ok(()),
            })?;
            if let Some(impairment) = options.impair {
                carrying = relay(name, impairment)?;
            }
            scaffold.keep();
        }
        let mut lab = Self::open(name.clone(), outcome)?;
        lab.relay = carrying;
        Ok(lab)
    }

    /// A lab that is removed when the value is dropped: for tests and demonstrations.
    ///
    /// # Errors
    /// Those of [`Lab::up`], and [`LabError::AlreadyUp`]: such a lab stays.
    pub fn temporary(options: &LabOptions) -> Result<Self, LabError> {
        Self::temporary_unless(options, &AtomicBool::new(false))
    }

    /// Makes a lab as [`Lab::temporary`] does, but gives up when `interrupted` becomes true.
    ///
    /// # Errors
    /// Those of [`Lab::temporary`], and [`LabError::Interrupted`].
    pub fn temporary_unless(options: &LabOptions, interrupted: &AtomicBool) -> Result<Self, LabError> {
        let mut lab = Self::up_unless(options, interrupted)?;
        if lab.outcome == Outcome::AlreadyUp {
            return Err(LabError::AlreadyUp(lab.name.clone()));
        }
        lab.remove_on_drop = true;
        Ok(lab)
    }

    /// Removes a lab, whole or half made. Says what it found: processes may still live in the namespaces, which are
    /// nameless then and have no link.
    ///
    /// # Errors
    /// [`LabError::Foreign`], or the kernel's refusal.
    pub fn down(name: &LabName) -> Result<Removed, LabError> {
        let registry = Registry::lock()?;
        match status::inspect(name)? {
            Found::Foreign { namespace, interface } => Err(LabError::Foreign { namespace, interface }),
            Found::Nothing => Ok(Removed::default()),
            Found::Half | Found::Whole { .. } => build::remove(&registry, name),
        }
    }

    /// Opens a lab that is up.
    ///
    /// # Errors
    /// [`LabError::Down`], or the kernel's refusal.
    pub fn find(name: &LabName) -> Result<Self, LabError> {
        match status::inspect(name)? {
            Found::Whole { .. } => Self::open(name.clone(), Outcome::AlreadyUp),
            _ => Err(LabError::Down(name.clone())),
        }
    }

    /// What the kernel says about a lab.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn status(name: &LabName) -> Result<Status, LabError> {
        status::read(name)
    }

    /// The names of all labs that are up or half made.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn list() -> Result<Vec<LabName>, LabError> {
        let mut names: Vec<_> =
            netns::list()?.iter().filter_map(|namespace| LabName::of_namespace(namespace)).collect();
        // Another lab's may come between two of one: `a-client`, `a-b-client`, `a-server`.
        names.sort();
        names.dedup();
        let mut labs = Vec::new();
        for name in names {
            match status::inspect(&name)? {
                Found::Half | Found::Whole { .. } => labs.push(name),
                Found::Nothing | Found::Foreign { .. } => {}
            }
        }
        Ok(labs)
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// How it came to be up.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The side of the server: of a stack in user space, or of the kernel it is compared with.
    pub fn server(&self) -> &Side {
        &self.server
    }

    /// The side of the client, whose kernel has the client's addresses.
    pub fn client(&self) -> &Side {
        &self.client
    }

    /// Either side.
    pub fn side(&self, role: Role) -> &Side {
        match role {
            Role::Server => &self.server,
            Role::Client => &self.client,
        }
    }

    /// What the relay has done, where the lab is impaired and the relay a thread of this process.
    pub fn relay_counts(&self) -> Option<RelayCounts> {
        self.relay.as_ref().map(Relay::counts)
    }

    /// Is the relay of a lab that is up but for it: what `xskip lab relay` runs. Returns when `stop` is true. Moves the
    /// calling thread, which must be the process's first, into the relay's namespace.
    ///
    /// # Errors
    /// [`LabError::Down`] where the lab has no place for a relay; otherwise what stood in the relay's way.
    pub fn carry(name: &LabName, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), LabError> {
        between::carry(name, stop, ready)
    }

    fn open(name: LabName, outcome: Outcome) -> Result<Self, LabError> {
        let (server, client) = (Side::open(&name, Role::Server)?, Side::open(&name, Role::Client)?);
        Ok(Self { name, outcome, server, client, relay: None, remove_on_drop: false })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.relay = None;
        if !self.remove_on_drop {
            return;
        }
        if let Err(error) = Self::down(&self.name) {
            tracing::warn!("the lab {} was not removed: {error}", self.name);
        }
    }
}

/// What [`Lab::down`] found and took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The namespaces whose names were taken away.
    pub namespaces: Vec<String>,
    /// The processes that still live in them.
    pub processes: Vec<Process>,
}

/// The stack's addresses with their prefix lengths, as `xskip serve --address` takes them.
pub fn stack_addresses() -> [(IpAddr, u8); 2] {
    [(STACK.0.into(), PREFIX_V4), (STACK.1.into(), PREFIX_V6)]
}
