//! What this process may do, and what this kernel can do.

use std::{fmt, io};

use caps::{CapSet, Capability};
use nix::sys::{
    resource::{Resource, getrlimit},
    utsname::uname,
};
use socket2::{Domain, Socket, Type};

use super::HostError;

/// `AF_XDP`, an address family that no wrapper names.
const AF_XDP: i32 = libc::AF_XDP;

/// The rights the program makes use of, as capabilities(7) names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// CAP_NET_ADMIN: attach an XDP program, register a UMEM's memory, change links.
    pub net_admin: bool,
    /// CAP_NET_RAW: open an AF_XDP socket.
    pub net_raw: bool,
    /// CAP_BPF, or CAP_SYS_ADMIN which includes it: load a program and make its maps.
    pub bpf: bool,
    /// CAP_PERFMON, or CAP_SYS_ADMIN: have the verifier follow pointer arithmetic as far as our programs need it.
    pub perfmon: bool,
    /// CAP_SYS_ADMIN: make and enter network namespaces.
    pub sys_admin: bool,
    /// CAP_IPC_LOCK: lock memory beyond RLIMIT_MEMLOCK.
    pub ipc_lock: bool,
}

impl Rights {
    /// The capabilities with which a server starts, as `setcap` and `setpriv` write them.
    pub const FOR_SERVING: &'static str = "cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock";

    /// The effective rights of the calling thread.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn read() -> Result<Self, HostError> {
        let effective = caps::read(None, CapSet::Effective)
            .map_err(|error| HostError::Reply { what: "read the capabilities".to_owned(), why: error.to_string() })?;
        let has = |capability| effective.contains(&capability);
        let sys_admin = has(Capability::CAP_SYS_ADMIN);
        Ok(Self {
            net_admin: has(Capability::CAP_NET_ADMIN),
            net_raw: has(Capability::CAP_NET_RAW),
            bpf: sys_admin || has(Capability::CAP_BPF),
            perfmon: sys_admin || has(Capability::CAP_PERFMON),
            sys_admin,
            ipc_lock: has(Capability::CAP_IPC_LOCK),
        })
    }

    /// The capabilities that are missing for serving on an AF_XDP socket.
    pub fn missing_for_serving(&self) -> Vec<&'static str> {
        let needed = [
            (self.net_admin, "CAP_NET_ADMIN"),
            (self.net_raw, "CAP_NET_RAW"),
            (self.bpf, "CAP_BPF"),
            (self.perfmon, "CAP_PERFMON"),
        ];
        needed.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
    }
}

/// How much memory the process may lock, in bytes: the soft limit RLIMIT_MEMLOCK, `None` if it is unlimited.
///
/// # Errors
/// If the kernel does not tell.
pub fn memlock_limit() -> Result<Option<u64>, HostError> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)
        .map_err(|errno| HostError::refused("read the limit of locked memory", errno))?;
    Ok((soft != nix::sys::resource::RLIM_INFINITY).then_some(soft))
}

/// A kernel's version: the three leading numbers of its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// As in 6.x.
    pub major: u32,
    /// As in 6.12.
    pub minor: u32,
    /// As in 6.12.3; 0 where the release names none.
    pub patch: u32,
}

impl KernelVersion {
    /// A version by its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The running kernel's version and its whole release, such as `6.1.0-28-amd64`.
    ///
    /// # Errors
    /// If the kernel does not tell, or the release does not begin with a number.
    pub fn running() -> Result<(Self, String), HostError> {
        let names = uname().map_err(|errno| HostError::refused("read the kernel's version", errno))?;
        let release = names.release().to_string_lossy().into_owned();
        let version = Self::parse(&release).ok_or_else(|| HostError::Reply {
            what: "read the kernel's version".to_owned(),
            why: format!("its release is {release:?}"),
        })?;
        Ok((version, release))
    }

    /// Parses the front of a release: `6.1.0-28-amd64`, `5.15`, `6.17-rc2`.
    pub fn parse(release: &str) -> Option<Self> {
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        let mut numbers = release[..end].split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What came of trying to open an AF_XDP socket.
#[derive(Debug)]
pub enum AfXdp {
    /// The kernel has AF_XDP, and this process may use it.
    Available,
    /// The kernel was built without it (CONFIG_XDP_SOCKETS).
    Missing,
    /// The kernel asks for CAP_NET_RAW first.
    NotPermitted,
    /// Something else.
    Failed(io::Error),
}

/// Opens an AF_XDP socket and closes it again.
pub fn probe_af_xdp() -> AfXdp {
    match Socket::new(Domain::from(AF_XDP), Type::RAW, None) {
        Ok(_) => AfXdp::Available,
        Err(error) => match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => AfXdp::Missing,
            Some(libc::EPERM) => AfXdp::NotPermitted,
            _ => AfXdp::Failed(error),
        },
    }
}

#[cfg(test)]
mod tests;
