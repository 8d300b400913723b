//! What XDP and AF_XDP can refuse.

use super::ServeError;
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why the kernel would not do something with XDP.
#[derive(Error)]
pub enum XdpError {
    /// The process lacks a right.
    #[error(
        "not permitted to {what}: run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
    },

    /// The kernel does not know what the program is made of.
    #[error("the kernel did not load the XDP program ({source}): it needs Linux 5.15 or later with BPF enabled")]
    Load {
        /// What libbpf said.
        source: libbpf_rs::Error,
    },

    /// The verifier did not accept the program.
    #[error(
        "the kernel's verifier refused the XDP program ({reason}): with CAP_PERFMON it accepts more, so add that; if it is there, please report this with `uname -r`"
    )]
    Verifier {
        /// The last line of its log.
        reason: String,
    },

    /// No descriptor left.
    #[error("no file descriptor was left to {what}: raise the limit with `ulimit -n 4096`, or serve fewer queues")]
    NoDescriptors {
        /// What was tried.
        what: String,
    },

    /// Another program is attached.
    #[error(
        "another XDP program is attached to {interface}: `ip link show dev {interface}` shows it, and `ip link set dev {interface} xdp off` detaches it unless a running process holds it"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },

    /// Native mode was required and is not to be had.
    #[error(
        "{interface} does not run XDP in its driver ({source}), which --require asks for: use another interface, lower its MTU, or drop the requirement to run in generic mode"
    )]
    NoNative {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },

    /// No mode works.
    #[error(
        "the kernel did not attach the XDP program to {interface} ({source}): is its MTU above what XDP takes (3,498 on most drivers), or LRO switched on?"
    )]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },

    /// Zero copy was required and is not to be had.
    #[error(
        "{interface} cannot share its memory with an AF_XDP socket ({source}), which --require zero-copy asks for: its driver must support zero copy; drop the requirement to run in copy mode"
    )]
    NoZeroCopy {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },

    /// No such queue.
    #[error(
        "queue {queue} of {interface} cannot be bound ({source}): `ethtool -l {interface}` shows how many queues there are"
    )]
    NoSuchQueue {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },

    /// The kernel does not let packets take several frames.
    #[error(
        "packets of several frames cannot be had on queue {queue} of {interface} ({source}): they take Linux 6.6 or later, or an MTU of 3,818 at most"
    )]
    NoMultiBuffer {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },

    /// The queue has a socket already.
    #[error(
        "queue {queue} of {interface} has another AF_XDP socket: end the program that holds it (`ss --xdp` lists them), or serve other queues"
    )]
    QueueBusy {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },

    /// The kernel has no AF_XDP.
    #[error("this kernel cannot open AF_XDP sockets: it needs Linux 5.15 or later with CONFIG_XDP_SOCKETS=y")]
    NoAfXdp,

    /// No memory for frames.
    #[error(
        "no memory for {frames} frames of {frame_size} bytes ({source}): raise the limit with `ulimit -l unlimited`, or use fewer frames"
    )]
    NoMemory {
        /// How many.
        frames: u32,
        /// How large, bytes.
        frame_size: u32,
        /// What the kernel said.
        source: io::Error,
    },

    /// A size that rings or frames cannot have.
    #[error("{what} cannot be {value}: it must be {must}")]
    BadOption {
        /// Which option.
        what: &'static str,
        /// What was asked for.
        value: u32,
        /// What is possible.
        must: &'static str,
    },

    /// The interface went down.
    #[error("{interface} is down: set it up with `ip link set dev {interface} up`")]
    LinkDown {
        /// The interface.
        interface: String,
    },

    /// Another process keeps there what outlives it.
    #[error("a process that lives has {path}: stop it, or serve other interfaces", path = .path.display())]
    PinsTaken {
        /// The folder of its pins.
        path: PathBuf,
    },

    /// The program cannot serve what it is to serve.
    #[error(transparent)]
    Serve(#[from] ServeError),

    /// Something else.
    #[error("could not {what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(XdpError);

impl XdpError {
    #[doc(hidden)]
    pub fn refused(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (what, source) = (what.into(), source.into());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { what },
            _ if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Self::NoDescriptors { what },
            _ => Self::Refused { what, source },
        }
    }
}
