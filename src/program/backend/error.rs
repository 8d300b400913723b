use super::Hook;
use crate::{
    host::{HostError, key_file::KeyFileError},
    xdp::XdpError,
};
use std::{io, net::IpAddr};
use thiserror::Error;

/// Why the backend's program was not attached, detached or found.
#[derive(Error)]
pub enum BackendError {
    /// The process lacks a right.
    #[error(
        "not permitted to {what}: run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN, as the kernel shows programs to nobody else"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
    },

    /// Nothing of ours is there.
    #[error(
        "no program of xskip takes tunnels off on {interface}: attach it with `xskip backend attach --interface {interface}`"
    )]
    NotAttached {
        /// The interface.
        interface: String,
    },

    /// Frames without an Ethernet header.
    #[error("{interface} is not Ethernet: name the interface by which packets come from the balancer")]
    NotEthernet {
        /// The interface.
        interface: String,
    },

    /// No virtual address was named, and none stands where it is looked for.
    #[error(
        "no virtual address is known: put it on the loopback interface (`ip address add 198.18.0.80/32 dev lo`), or name it with --vip"
    )]
    NoVip,

    /// A virtual address that no client can speak to.
    #[error("{address} is no address that clients can reach by way of a balancer: name a global one with --vip")]
    BadVip {
        /// The address.
        address: IpAddr,
    },

    /// The interface has no address.
    #[error(
        "{interface} has no address that a tunnel could end at: give it one (`ip address add`), or name the one that the balancer sends to with --address"
    )]
    NoAddress {
        /// The interface.
        interface: String,
    },

    /// More than the program has room for.
    #[error("{count} {what} are more than the program has room for: name {most} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },

    /// The kernel is too old for the hook that was asked for.
    #[error("this kernel has no tcx, which came with Linux 6.6: leave --hook out, or say --hook clsact")]
    NoTcx,

    /// It was loaded, but not attached.
    #[error(
        "the kernel did not attach the tc program to {interface} by {hook} ({source}): clsact takes CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, and `tc filter show dev {interface} ingress` shows what is there"
    )]
    Attach {
        /// The interface.
        interface: String,
        /// How.
        hook: Hook,
        /// What the kernel said.
        source: io::Error,
    },

    /// Somebody else changes the same list all the time.
    #[error("other programs come and go on {interface} all the time: try again when they have settled")]
    Contended {
        /// The interface.
        interface: String,
    },

    /// The file with the cookies' master key.
    #[error("no secret for cookies: {0}")]
    Master(KeyFileError),

    /// The kernel does not say what it has.
    #[error(
        "this kernel does not show its types ({0}), without which no handshake can be taken over: run one with CONFIG_DEBUG_INFO_BTF, or leave --cookie-master out"
    )]
    NoTypes(#[source] XdpError),

    /// The kernel has not the function, or another one.
    #[error(
        "this kernel adopts no connections (bpf_sk_assign_tcp_reqsk): run Linux 6.9 or later, or leave --cookie-master out"
    )]
    NoAdoption,

    /// The kernel answers what it has adopted with RSTs.
    #[error(
        "the kernel refuses every connection that it is handed over while SYN cookies are off: run `sysctl -w net.ipv4.tcp_syncookies=1`"
    )]
    CookiesOff,

    /// The kernel was built without them.
    #[error(
        "this kernel was built without SYN cookies, and adopts no connections: run one with CONFIG_SYN_COOKIES, or leave --cookie-master out"
    )]
    NoCookies,

    /// It was not loaded.
    #[error("the tc program was not loaded: {0}")]
    Program(#[from] XdpError),

    /// The kernel refused to tell or change something.
    #[error(transparent)]
    Host(#[from] HostError),
}

debug_as_display!(BackendError);

impl BackendError {
    /// The error for a refused attempt to do `what`.
    pub(super) fn refused(what: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what: what.to_owned() },
            _ => Self::Host(HostError::refused(what, source)),
        }
    }
}
