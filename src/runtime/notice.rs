//! What a server has to say to whoever runs it: what it got instead of what was asked for, and what changes under way.

use super::{DefenceLevel, InterfaceChange, Setup, SharingConflict};
use crate::wire::MacAddress;
use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tracing::level_filters::LevelFilter;

/// Notices that are kept for who asks later: the first ones, which say how it began.
const KEPT: usize = 256;

/// Something that whoever runs a server should know. Its text is a sentence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// It serves: with what was asked for, or with less.
    Serving(Setup),
    /// A worker is on no core of its own.
    Unpinned {
        /// Its queue.
        queue: u32,
        /// The core that it was meant for.
        core: usize,
        /// What the kernel said.
        reason: String,
    },
    /// In generic mode, before Linux 6.6, packets that the kernel has merged from several segments cannot be taken.
    MergedPacketsLost {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// The XDP programs translate no segments of pairs of connections, though that was asked for: they go through the workers.
    NotSpliced {
        /// Why not.
        reason: String,
    },
    /// What is served at a shared address is in the way of the kernel's own programs.
    Sharing(SharingConflict),
    /// What the XDP program sends is lost, so workers answer SYNs in its place.
    AnswersLost {
        /// The interface.
        interface: String,
        /// Whether the kernel says so. Otherwise nobody does (before Linux 6.3), and it is not relied on.
        is_told: bool,
        /// What mends it.
        remedy: String,
    },
    /// What the XDP program sends arrives, which it did not before.
    AnswersArrive {
        /// The interface.
        interface: String,
    },
    /// The interface is not as it was, or some of it is not served.
    Interface {
        /// Its name.
        interface: String,
        /// What is different.
        change: InterfaceChange,
    },
    /// Another station has an address of the stack's own.
    AddressConflict {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Who has it, too.
        station: MacAddress,
    },
    /// Questions for our IPv6 addresses may not come through to the interface.
    Unsolicited {
        /// The interface.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// A listener is defended in another way.
    Defence {
        /// The listener.
        listener: SocketAddr,
        /// How high its defence stands.
        level: DefenceLevel,
        /// SYNs a second that led to no connection.
        lost_syns_per_second: u64,
        /// Other segments a second that belong to nobody.
        strangers_per_second: u64,
        /// Handshakes that had to make room for others, all listeners together.
        evictions: u64,
    },
    /// The defence could not do what it wanted to.
    DefenceStuck {
        /// Why.
        reason: String,
    },
    /// Somebody tries acknowledgments at random.
    CookiesGuessed {
        /// How many in a tenth of a second.
        acknowledgments: u64,
    },
    /// The secret of cookies should have been replaced by another one, and was not.
    CookiesKeepKey {
        /// Why.
        reason: String,
    },
    /// Something about the file of the cookies' secret.
    CookieMaster {
        /// What, and what to do about it.
        finding: String,
    },
    /// The file of the cookies' secret holds another one.
    CookiesHaveNewKey,
}

impl Notice {
    /// Whether something is less than was asked for, or asks for attention.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Serving(setup) => !setup.is_full(),
            Self::Interface { change, .. } => change.hurts(),
            Self::CookiesHaveNewKey | Self::AnswersArrive { .. } => false,
            _ => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving(setup) => setup.fmt(f),
            Self::Unpinned { queue, core, reason } => {
                write!(f, "the worker of queue {queue} could not be pinned to core {core}: {reason}")
            }
            Self::MergedPacketsLost { interface, queue } => write!(
                f,
                "packets that the kernel merges are lost on queue {queue} of {interface}, because it cannot hand them over before Linux 6.6: turn that off with `ethtool -K {interface} gro off`, and at the devices beneath it"
            ),
            Self::NotSpliced { reason } => {
                write!(f, "no connections are spliced in XDP, and all go through the workers: {reason}")
            }
            Self::Sharing(conflict) => conflict.fmt(f),
            Self::AnswersLost { interface, is_told: true, remedy } => write!(
                f,
                "what the XDP program sends on {interface} is lost, because the peer has neither GRO nor an XDP program: workers answer SYNs in its place, fewer of them. Run {remedy}"
            ),
            Self::AnswersLost { interface, is_told: false, remedy } => write!(
                f,
                "before Linux 6.3 nobody tells whether what the XDP program sends on {interface} arrives, so workers answer SYNs in its place, fewer of them. Run {remedy}, and this where the peer can be looked at: in its namespace, or with a name for that in /run/netns"
            ),
            Self::AnswersArrive { interface } => {
                write!(f, "what the XDP program sends on {interface} arrives now: it may answer SYNs itself")
            }
            Self::AddressConflict { interface, address, station } => write!(
                f,
                "{interface}: the station {station} has {address} as well, so packets for it may come there: take the address away from one of the two"
            ),
            Self::Unsolicited { interface, reason } => write!(
                f,
                "questions for our IPv6 addresses may not come through to {interface} ({reason}): let them with `ip link set {interface} allmulticast on`"
            ),
            Self::Interface { interface, change } => write!(f, "{interface}: {change}"),
            Self::Defence { listener, level, lost_syns_per_second, strangers_per_second, evictions } => write!(
                f,
                "defence of {listener}: {level}, at {lost_syns_per_second} SYNs a second that lead nowhere, {strangers_per_second} segments of no connection, and {evictions} handshakes displaced"
            ),
            Self::DefenceStuck { reason } => write!(f, "the defence could not change as it wanted to: {reason}"),
            Self::CookiesGuessed { acknowledgments } => {
                write!(f, "somebody guesses cookies, {acknowledgments} of them at a time: they live for one epoch only")
            }
            Self::CookiesKeepKey { reason } => write!(f, "the cookies keep their key: {reason}"),
            Self::CookieMaster { finding } => f.write_str(finding),
            Self::CookiesHaveNewKey => f.write_str("the cookies have a new master key, from the next epoch on"),
        }
    }
}

/// What is done with notices.
pub(super) type Handler = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Where notices go: to the handler, to `tracing`, and to whoever asks later.
#[derive(Clone)]
pub(super) struct Notices(Arc<Desk>);

struct Desk {
    handler: Option<Handler>,
    /// Whether warnings are said on standard error where nobody else hears them.
    aloud: bool,
    kept: Mutex<Vec<Notice>>,
}

impl Notices {
    pub fn new(handler: Option<Handler>, aloud: bool) -> Self {
        Self(Arc::new(Desk { handler, aloud, kept: Mutex::default() }))
    }

    /// Tells whoever listens.
    pub fn tell(&self, notice: Notice) {
        // How it begins is no warning for those who asked to hear of nothing else: they have the setup.
        match &notice {
            Notice::Serving(setup) => tracing::info!("{setup}"),
            other if other.is_warning() => tracing::warn!("{other}"),
            other => tracing::info!("{other}"),
        }
        match &self.0.handler {
            Some(handler) => handler(&notice),
            // Where no subscriber is set, `tracing` is deaf.
            None if self.0.aloud && notice.is_warning() && LevelFilter::current() == LevelFilter::OFF => {
                // Nobody there to read it is nobody to be bothered.
                let _ = writeln!(io::stderr(), "xskip: {notice}");
            }
            None => {}
        }
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(notice);
        }
    }

    /// All so far, or the first of them.
    pub fn kept(&self) -> Vec<Notice> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notices").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
