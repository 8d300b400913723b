//! What can be wrong with a load, or stand in its way.

use super::Mode;
use crate::{runtime::RuntimeError, stack::ConnectError};
use std::net::IpAddr;
use thiserror::Error;

/// Why a load was not made.
#[derive(Error)]
pub enum LoadError {
    /// Nothing to do it with.
    #[error("0 connections carry nothing: ask for at least 1")]
    NoConnections,

    /// No way to open one.
    #[error("where 0 connections may be half-open none is ever opened: allow at least 1")]
    NoHalfOpen,

    /// No time to do it in.
    #[error("a load of no duration measures nothing: ask for some time, such as --duration 10")]
    NoDuration,

    /// An open loop in which nothing is ever due.
    #[error("at a rate of 0 a second nothing is ever due: ask for at least 1, or leave the rate out for a closed loop")]
    NoRate,

    /// No patience.
    #[error("with a timeout of 0 s everything has failed before it begins: allow some time, such as --timeout 10")]
    NoTimeout,

    /// An option that means nothing in this mode.
    #[error("{option} means nothing in mode {mode}: {remedy}")]
    Meaningless {
        /// The option.
        option: &'static str,
        /// The mode.
        mode: Mode,
        /// What to do instead.
        remedy: &'static str,
    },

    /// No HTTP request can ask for this.
    #[error(
        "{0:?} is no path to ask for: write one that begins with / and has neither spaces nor control characters, in {MAX_PATH} octets at most"
    )]
    Path(String),

    /// More than there are ports.
    #[error(
        "{asked} connections to one port need as many local ports, and {addresses} address(es) with {ports} each have {most}: give more, such as --addresses {needed}"
    )]
    TooManyConnections {
        /// Connections asked for.
        asked: u32,
        /// Local addresses given.
        addresses: usize,
        /// Ports of each.
        ports: u32,
        /// Connections that these allow.
        most: u64,
        /// Addresses that would do.
        needed: u64,
    },

    /// Not so many addresses behind the first.
    #[error("{subnet} has no {asked} addresses from {first} on: begin further in front, or give a larger subnet")]
    SubnetTooSmall {
        /// The subnet, as the first address gives it.
        subnet: String,
        /// The first address.
        first: IpAddr,
        /// Addresses asked for.
        asked: u32,
    },

    /// Several ways to say from where, at once.
    #[error(
        "{0} addresses were given one by one, so that no number of consecutive ones can be asked for: give one address, or leave out --addresses"
    )]
    AddressesTwice(usize),

    /// More addresses than the XDP program has room for.
    #[error("{asked} addresses are too many: the XDP program knows {most} at most")]
    TooManyAddresses {
        /// Addresses asked for.
        asked: u32,
        /// The most there may be.
        most: u32,
    },

    /// An address that was given before.
    #[error("address {0} was given twice: name each address once")]
    AddressTwice(IpAddr),

    /// IPv4 here and IPv6 there.
    #[error("no connection leads from {address} to {target}, of another IP version: give an address of the target's")]
    OtherVersion {
        /// Ours.
        address: IpAddr,
        /// Theirs.
        target: IpAddr,
    },

    /// A target that no connection leads to.
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),

    /// Whatever stands in a server's way stands in a client's, too.
    #[error(transparent)]
    Server(#[from] RuntimeError),
}

debug_as_display!(LoadError);

/// The longest path that is asked for, octets.
pub(super) const MAX_PATH: usize = 4_096;

impl LoadError {
    /// Whether the mistake is in what was asked for, not in what was found.
    pub fn is_bad_use(&self) -> bool {
        use RuntimeError::{Address, AddressTwice, Cidr, NoAddress, OwnGateway, QueueTwice};
        match self {
            Self::Server(error) => {
                matches!(
                    error,
                    NoAddress | QueueTwice { .. } | Address(_) | AddressTwice { .. } | Cidr(_) | OwnGateway(_)
                )
            }
            _ => true,
        }
    }
}
