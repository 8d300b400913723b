//! What can stand in a balancer's way.

use crate::{
    host::HostError,
    lb::{ApplyError, PlanError},
    runtime::{AddressRefused, RuntimeError},
    worker::ListenRefused,
    xdp::{ServeError, XdpError},
};
use std::{net::IpAddr, path::PathBuf};
use thiserror::Error;

/// Why a balancer does not start, or does not change as it was told.
#[derive(Error)]
#[non_exhaustive]
pub enum BalancerError {
    /// Nothing to balance.
    #[error("no service to balance: configure one at least")]
    NoServices,

    /// What is wrong with the services: all of it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Plan(Vec<PlanError>),

    /// A plan that cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),

    /// A tunnel, or mode `nat`, on an interface in generic mode, where a frame may be several packets that the kernel has merged, with a
    /// checksum that is not finished.
    #[error(
        "service {service}: tunnels and mode nat need native XDP, and {interface} runs it in generic mode, where a frame may be several \
         packets merged, of up to 64 kB: use mode dsr, lower the interface's MTU, or take another interface"
    )]
    GenericMode {
        /// The service.
        service: String,
        /// The interface.
        interface: String,
    },

    /// A service in mode `nat` without an address that its packets could come from.
    #[error(
        "service `{service}` is of mode nat, and there is no {version} address that its packets could come from: list \
         one in [nat] sources that nobody has"
    )]
    NoSource {
        /// Its name.
        service: String,
        /// Its IP version.
        version: &'static str,
    },

    /// A service, or one of its backends, at an address that packets of mode `nat` come from.
    #[error("{address} of `{whose}` is an address that packets of mode nat come from: take it out of [nat] sources")]
    IsSource {
        /// The address.
        address: IpAddr,
        /// The service, or the backend.
        whose: String,
    },

    /// SYNs of a service are to be answered by cookies that no backend would know again.
    #[error(
        "the SYNs of service `{service}` are to be answered with cookies, which its backends must know again: give the balancer a cookie \
         master, and the same one to `xskip backend attach` on each of them"
    )]
    NoCookieMaster {
        /// Its name.
        service: String,
    },

    /// Backends cannot be shown the addresses of clients.
    #[error(
        "service `{service}` shows backends its clients' addresses (source = \"client\"), and this balancer has no table of pairs of \
         connections, which alone brings back what they send to clients: start it anew with that service, where XDP is in native mode \
         and the kernel is Linux 5.18 or later, or write source = \"balancer\""
    )]
    NoSplices {
        /// Its name.
        service: String,
    },

    /// An address of a service that cannot be had.
    #[error("the address of a service: {0}")]
    Address(#[from] AddressRefused),

    /// A service in mode `proxy` cannot be listened for.
    #[error("a service in mode proxy: {0}")]
    Listen(#[from] ListenRefused),

    /// The XDP program's table of services is full.
    #[error(transparent)]
    Serve(#[from] ServeError),

    /// Nowhere to keep what is to outlive the process.
    #[error(
        "{folder} is in no BPF file system, where what outlives the process is kept: mount one with `mount -t bpf bpf /sys/fs/bpf`, or name a folder of another one", folder = .folder.display()
    )]
    NoBpfFs {
        /// Where it was to be.
        folder: PathBuf,
    },

    /// What the kernel says of XDP programs and their maps.
    #[error(transparent)]
    Xdp(#[from] XdpError),

    /// What the kernel says of routes and neighbours.
    #[error(transparent)]
    Host(#[from] HostError),

    /// What stands in the way of its workers.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

debug_as_display!(BalancerError);
