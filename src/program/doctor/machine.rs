//! The machine: rights, kernel, memory, cores.

use super::Line;
use crate::host::{
    HostError,
    cores::Cores,
    rights::{AfXdp, KernelVersion, Rights, memlock_limit, probe_af_xdp},
    sysctl,
};

/// The oldest kernel that the program is made for.
const KERNEL_MIN: KernelVersion = KernelVersion::new(5, 15, 0);

/// What the memory and rings of one queue come to, roughly, in bytes.
const MEMORY_OF_A_QUEUE: u64 = 16 << 20;

pub(super) fn examine() -> Vec<Line> {
    let rights = Rights::read();
    let may_lock = rights.as_ref().is_ok_and(|rights| rights.ipc_lock);
    vec![
        read("capabilities", rights, |rights| capabilities(&rights)),
        read("kernel", KernelVersion::running(), |(version, release)| kernel(version, &release)),
        af_xdp(&probe_af_xdp()),
        read("memlock", memlock_limit(), |limit| memlock(limit, may_lock)),
        read("bpf jit", sysctl::read("net/core/bpf_jit_enable"), |setting| bpf_jit(setting.as_deref())),
        read("cores", Cores::read(), |cores| {
            let mut finding = format!("{} online ({cores}) on {} NUMA node(s)", cores.count(), cores.node_count());
            if cores.forbidden().count() > 0 {
                finding.push_str(&format!(", and {} that are not for this process", cores.forbidden().count()));
            }
            Line::ok("cores", finding)
        }),
    ]
}

fn read<T>(check: &'static str, fact: Result<T, HostError>, judge: impl FnOnce(T) -> Line) -> Line {
    fact.map_or_else(|error| Line::unread(check, &error), judge)
}

pub(super) fn capabilities(rights: &Rights) -> Line {
    let missing = rights.missing_for_serving();
    if !missing.is_empty() {
        let remedy = format!("run as root, or `setcap {}+ep` the program", Rights::FOR_SERVING);
        return Line::fail("capabilities", format!("{} missing", missing.join(", ")), remedy);
    }
    if !rights.sys_admin {
        let finding = "enough to serve, but CAP_SYS_ADMIN is missing, and labs need it";
        return Line::warn("capabilities", finding, "run as root to make a lab");
    }
    Line::ok("capabilities", "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN")
}

pub(super) fn kernel(version: KernelVersion, release: &str) -> Line {
    if version < KERNEL_MIN {
        return Line::fail("kernel", format!("{release} is too old"), format!("use Linux {KERNEL_MIN} or later"));
    }
    // Brought in by 30f241fcf52a and taken out by 0ebc27a4c67d; which releases of these two series have the one without
    // the other depends on the distribution.
    if (6, 16) == (version.major, version.minor) || (6, 17) == (version.major, version.minor) {
        let finding = format!("{release} may panic when an AF_XDP socket sends in copy mode to this same machine");
        return Line::warn("kernel", finding, "use 6.18 or later, or one that has the commit 0ebc27a4c67d");
    }
    Line::ok("kernel", release)
}

pub(super) fn af_xdp(probe: &AfXdp) -> Line {
    match probe {
        AfXdp::Available => Line::ok("af_xdp", "sockets can be opened"),
        AfXdp::Missing => {
            let remedy = "use a kernel that was built with CONFIG_XDP_SOCKETS=y";
            Line::fail("af_xdp", "this kernel has no AF_XDP sockets", remedy)
        }
        AfXdp::NotPermitted => {
            Line::fail("af_xdp", "not permitted to open a socket", "run as root, or with CAP_NET_RAW")
        }
        AfXdp::Failed(error) => Line::fail("af_xdp", format!("a socket cannot be opened: {error}"), "see `dmesg`"),
    }
}

pub(super) fn memlock(limit: Option<u64>, may_lock: bool) -> Line {
    let Some(limit) = limit else {
        return Line::ok("memlock", "unlimited");
    };
    let mebibytes = limit >> 20;
    if may_lock {
        return Line::ok("memlock", format!("{mebibytes} MiB, which CAP_IPC_LOCK overrides"));
    }
    if limit < MEMORY_OF_A_QUEUE {
        let finding = format!("{mebibytes} MiB, and a queue may need {} MiB", MEMORY_OF_A_QUEUE >> 20);
        return Line::warn("memlock", finding, "run `ulimit -l unlimited` first, or add CAP_IPC_LOCK");
    }
    Line::ok("memlock", format!("{mebibytes} MiB"))
}

pub(super) fn bpf_jit(setting: Option<&str>) -> Line {
    match setting {
        Some("0") => {
            let finding = "off: each frame is judged by an interpreter";
            Line::warn("bpf jit", finding, "run `sysctl net.core.bpf_jit_enable=1`")
        }
        Some(_) => Line::ok("bpf jit", "on"),
        // A kernel with CONFIG_BPF_JIT_ALWAYS_ON may hide the setting from a network namespace.
        None => Line::ok("bpf jit", "not a setting here"),
    }
}
