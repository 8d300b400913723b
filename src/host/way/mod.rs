//! How destinations are reached: by which interface, in frames to whom, how large, and from which address. Found as the
//! kernel finds it, and kept true.
//!
//! Who forwards in XDP writes headers by himself, and asks nobody per packet: what he writes must be right beforehand,
//! and stay so. [`Ways`] asks the kernel for the route of each destination, has it keep the next hop's Ethernet address
//! known, and tells what becomes different, from what the kernel says of its routes, addresses, links and neighbours.
//!
//! # Neighbours that are kept known
//!
//! A neighbour that nobody speaks to is forgotten, and nobody does while frames are made in XDP. So each next hop
//! becomes a managed neighbour (`NTF_EXT_MANAGED`): the kernel asks for it at once and again before what it knows grows
//! old, and for one that is silent every few seconds (`interval_probe_time_ms`). Those behind one gateway share it.
//! What somebody else keeps is left alone: permanent entries, those that a routing daemon has learnt, and those that
//! are managed already. Before Linux 5.16 the kernel is asked to use the entry every five seconds instead. Without
//! CAP_NET_ADMIN, which may have been given up after the start, datagrams to the discard port make it look; what is
//! managed by then stays so, until its interface loses its carrier.
//!
//! A next hop that nobody needs any more, and at the end all of them, are given back: what was made here is deleted,
//! and what was there before is no longer managed. For that, entries made here bear the number [`ORIGINATOR`] as their
//! originator, so that what a process left that was killed is found, and given back, by the next one that needs it.
//!
//! # A neighbour that falls silent
//!
//! It is told as no way ([`NoWay::Failed`]), *and its last way with it* ([`NoWay::last`]), which may be used for two
//! more minutes. Three lost questions are weak evidence, whatever the reason: a backend too busy to answer for its
//! address may still serve, and whether it does is for health checks to say. If it is dead, frames to its
//! Ethernet address harm nobody: no other station has it, and switches send them by the port they have learnt, for five
//! minutes as a rule. So the last way ends before they forget, and begin to send them by every port. If its address
//! has gone elsewhere (VRRP, a backend that comes back with another card), its new station announces itself, the kernel
//! believes it, silent or not, and it is told at once. It likewise bridges the moment in which the kernel is made to
//! forget: `ip neigh flush`, a cable pulled and put back, a route that is replaced.
//!
//! # Paths
//!
//! The MTU of a path beyond the link is learnt from routers' errors, by the kernel and for its own sockets only. Of packets that are
//! made in XDP it learns after [`Ways::hear_of`] their protocols. It is not believed below 1,328 octets, unless the interface has no more: such
//! errors can be forged.
//!
//! ```no_run
//! use std::{net::IpAddr, os::fd::AsFd, time::Instant};
//! use nix::{poll::{PollFd, PollFlags, ppoll}, sys::time::TimeSpec};
//! use xskip::host::way::Ways;
//!
//! let mut ways = Ways::open()?;
//! ways.watch(&["198.18.0.11".parse::<IpAddr>()?, "2001:2::11".parse()?]);
//! loop {
//!     for (address, way) in ways.poll(Instant::now())? {
//!         match way {
//!             Ok(way) => println!("{address} by {} to {:02x?}", way.interface, way.next_mac),
//!             Err(why) => println!("no way to {address}: {why}"),
//!         }
//!     }
//!     let limit = ways.deadline().map(|at| TimeSpec::from(at.saturating_duration_since(Instant::now())));
//!     ppoll(&mut [PollFd::new(ways.as_fd(), PollFlags::POLLIN)], limit, None)?;
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod keep;
mod messages;
mod neighbours;
mod path_errors;
mod picture;
mod ways;

pub use self::ways::Ways;

use super::{HostError, rtnl::Rtnl};
use std::{fmt, io, net::IpAddr, time::Instant};

/// The originator (`NDA_PROTOCOL`) of neighbours that are made here, a number that no routing daemon has.
pub const ORIGINATOR: u8 = 120;

/// How a destination is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The index of the interface that frames leave by.
    pub ifindex: u32,
    /// Its name.
    pub interface: String,
    /// Whom frames go to: the gateway's address, perhaps of the other IP version, or the destination's own.
    pub next_hop: IpAddr,
    /// Its Ethernet address.
    pub next_mac: [u8; 6],
    /// The interface's own.
    pub our_mac: [u8; 6],
    /// The largest IP packet that fits, in bytes: the interface's MTU, or the route's where that is smaller. What the
    /// kernel has learnt of the path counts, too: it is looked at once a minute, and when [`Ways::hear_of`] has something.
    pub mtu: u32,
    /// The address that the kernel speaks to the destination from.
    pub source: IpAddr,
}

/// What is different: of each destination its way, or why there is none.
pub type News = Vec<(IpAddr, Result<Way, NoWay>)>;

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoWay {
    /// The kernel has no route, or one that leads nowhere (`unreachable`, `prohibit`, `blackhole`).
    NoRoute {
        /// Its error number: ENETUNREACH for none, EHOSTUNREACH, EACCES or EINVAL for the three others.
        errno: i32,
    },
    /// The destination is an address of this very host.
    Local,
    /// It is nobody's address: of a group or a broadcast.
    NotUnicast,
    /// The kernel has no address to speak from.
    NoSource {
        /// The interface it would leave by.
        interface: String,
    },
    /// The interface is down, has no carrier, or is gone.
    LinkDown {
        /// Its name.
        interface: String,
    },
    /// The interface is no Ethernet.
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// The kernel does not take the next hop for a neighbour, such as where its table is full (ENOBUFS).
    Refused {
        /// The interface.
        interface: String,
        /// The next hop.
        next_hop: IpAddr,
        /// The kernel's error number.
        errno: i32,
    },
    /// The next hop has been asked for, and has not answered yet.
    Unresolved(Silence),
    /// The next hop does not answer. It is asked for again and again.
    Failed(Silence),
}

/// A next hop whose Ethernet address is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The interface.
    pub interface: String,
    /// The next hop.
    pub next_hop: IpAddr,
    /// Since when it is not known.
    pub since: Instant,
    /// The way as it was last, for two minutes.
    pub last: Option<Box<Way>>,
}

impl NoWay {
    /// The way as it was last, which may still be one: what is under way loses nothing by going on there. See "A
    /// neighbour that falls silent" above.
    pub fn last(&self) -> Option<&Way> {
        match self {
            Self::Unresolved(silence) | Self::Failed(silence) => silence.last.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for NoWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |errno: i32| io::Error::from_raw_os_error(errno);
        match self {
            Self::NoRoute { errno: libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL } => f.write_str(
                "its route is one of type unreachable, prohibit or blackhole: `ip route get` and `ip rule` show it, \
                 replace it with one that leads there",
            ),
            Self::NoRoute { errno } => {
                write!(f, "the kernel has no route there ({}): add one with `ip route add`", words(*errno))
            }
            Self::Local => f.write_str("it is an address of this host itself: name another host"),
            Self::NotUnicast => f.write_str("it is the address of a group or a broadcast: name one host's"),
            Self::NoSource { interface } => {
                write!(f, "the kernel has no address to speak from by {interface}: give it one with `ip address add`")
            }
            Self::LinkDown { interface } => {
                write!(f, "{interface} is down or has no carrier: `ip link set {interface} up`, or look at its cable")
            }
            Self::NotEthernet { interface } => {
                write!(f, "its route leaves by {interface}, which is no Ethernet: route it by an interface that is")
            }
            Self::Refused { interface, next_hop, errno: libc::ENOBUFS } => write!(
                f,
                "the kernel's table of neighbours is too full for {next_hop} on {interface}: raise \
                 net.{}.neigh.default.gc_thresh3",
                if next_hop.is_ipv4() { "ipv4" } else { "ipv6" }
            ),
            Self::Refused { interface, next_hop, errno } => write!(
                f,
                "the kernel does not take {next_hop} for a neighbour on {interface} ({}): is that IP version switched on \
                 there?",
                words(*errno)
            ),
            Self::Unresolved(Silence { interface, next_hop, .. }) => {
                write!(f, "{next_hop} on {interface} has been asked for its Ethernet address, and has not answered yet")
            }
            Self::Failed(Silence { interface, next_hop, .. }) => {
                write!(f, "{next_hop} does not answer on {interface}: is it up, on that link, and its address right?")
            }
        }
    }
}

#[cfg(test)]
mod tests;
