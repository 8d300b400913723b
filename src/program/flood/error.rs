use super::Prefix;
use crate::{host::HostError, wire::AddressError, xdp::XdpError};
use std::{io, net::SocketAddr};
use thiserror::Error;

/// Why a flood was not sent.
#[derive(Debug, Error)]
pub enum FloodError {
    /// What is sent might leave this machine.
    #[error(
        "{interface} {why}, so a flood from it may leave this machine: use a lab (`xskip lab up`), or say --outside-lab if the network beyond is yours to flood"
    )]
    OutsideLab {
        /// The interface.
        interface: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// The target is not a neighbour.
    #[error(
        "{target} is not on the link of {interface}, which has {has}: name a target there, or its next hop's Ethernet address with --target-mac"
    )]
    NotOnLink {
        /// The target.
        target: SocketAddr,
        /// The interface.
        interface: String,
        /// Its addresses.
        has: String,
    },

    /// Nobody answers for the target.
    #[error(
        "nobody answers ARP or neighbour discovery for {target} on {interface}: is the server running? Otherwise give its Ethernet address with --target-mac"
    )]
    NoNeighbour {
        /// The target.
        target: SocketAddr,
        /// The interface.
        interface: String,
    },

    /// Sources of the other IP version.
    #[error("{prefix} is not of the target's IP version: give --sources of the same one")]
    OtherVersion {
        /// The prefix.
        prefix: Prefix,
    },

    /// A target that is no host's address.
    #[error(transparent)]
    Target(#[from] AddressError),

    /// A number beyond the limits.
    #[error("{what} cannot be {value}: it must be {must}")]
    BadOption {
        /// Which one.
        what: &'static str,
        /// What was asked for.
        value: u64,
        /// What is possible.
        must: &'static str,
    },

    /// The interface is down.
    #[error("{interface} is down: set it up with `ip link set dev {interface} up`")]
    Down {
        /// The interface.
        interface: String,
    },

    /// Live frames were asked for.
    #[error("this kernel has no live frames: that takes Linux 5.18 or later; or use --generator af-xdp")]
    NoLiveFrames,

    /// The kernel, about interfaces.
    #[error(transparent)]
    Host(#[from] HostError),

    /// The kernel, about XDP.
    #[error(transparent)]
    Xdp(#[from] XdpError),

    /// No thread to send from.
    #[error("could not start a thread to send from: {0}")]
    Thread(io::Error),
}
