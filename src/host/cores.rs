//! The processor cores that this process may use, and the NUMA node of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::Path,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::HostError;

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// The highest number of a core that a thread can be pinned to: the C library's sets of cores hold 1,024.
pub const CORE_MAX: usize = libc::CPU_SETSIZE as usize - 1;

/// The cores that are online and allowed, each with its NUMA node (0 where the machine has none). `taskset`, a cpuset or whoever
/// started this process may have kept others from it, and threads that it starts inherit that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    nodes: BTreeMap<usize, u32>,
    /// Those that are online, too, but not for us.
    forbidden: BTreeSet<usize>,
}

/// The calling thread, for the scheduler.
const THIS_THREAD: Pid = Pid::from_raw(0);

impl Cores {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If `/sys` does not tell which cores are online, or the scheduler which of them the calling thread may use.
    pub fn read() -> Result<Self, HostError> {
        let mut nodes: BTreeMap<_, _> = read_list(&Path::new(CPUS).join("online"))?
            .into_iter()
            .filter(|&core| core <= CORE_MAX)
            .map(|core| (core, 0))
            .collect();
        // No list of nodes: a kernel without NUMA, and all cores are on node 0.
        for node in read_list(&Path::new(NODES).join("online")).unwrap_or_default() {
            for core in read_list(&Path::new(NODES).join(format!("node{node}/cpulist"))).unwrap_or_default() {
                nodes.entry(core).and_modify(|of_core| *of_core = u32::try_from(node).unwrap_or_default());
            }
        }
        let allowed =
            affinity().map_err(|source| HostError::Refused { what: "read the affinity".to_owned(), source })?;
        Ok(Self::of(nodes, &allowed))
    }

    fn of(mut nodes: BTreeMap<usize, u32>, allowed: &BTreeSet<usize>) -> Self {
        let forbidden = nodes.keys().copied().filter(|core| !allowed.contains(core)).collect();
        nodes.retain(|core, _| allowed.contains(core));
        Self { nodes, forbidden }
    }

    /// The cores, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.nodes.keys().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The NUMA node of a core, or `None` if there is no such core.
    pub fn node(&self, core: usize) -> Option<u32> {
        self.nodes.get(&core).copied()
    }

    /// The cores of one NUMA node, in order.
    pub fn on_node(&self, node: u32) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().filter(move |(_, of_core)| **of_core == node).map(|(core, _)| *core)
    }

    /// How many NUMA nodes have such cores.
    pub fn node_count(&self) -> usize {
        self.nodes.values().collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Those that are online, but not for this process.
    pub fn forbidden(&self) -> impl Iterator<Item = usize> + '_ {
        self.forbidden.iter().copied()
    }

    /// One more than the highest number of a core that is online.
    pub fn end(&self) -> usize {
        self.iter().chain(self.forbidden()).max().map_or(0, |highest| highest + 1)
    }

    /// Checks that a core exists and may be used.
    ///
    /// # Errors
    /// [`HostError::NoSuchCore`] or [`HostError::ForbiddenCore`], with the cores there are.
    pub fn require(&self, core: usize) -> Result<(), HostError> {
        match self.node(core) {
            Some(_) => Ok(()),
            None if self.forbidden.contains(&core) => Err(HostError::ForbiddenCore { core, allowed: self.to_string() }),
            None => Err(HostError::NoSuchCore { core, online: self.to_string() }),
        }
    }
}

/// The cores that the calling thread may run on.
fn affinity() -> io::Result<BTreeSet<usize>> {
    let set = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// Pins the calling thread to a core. Where the scheduler says afterwards that it may run elsewhere, too, or not there, it is not
/// pinned.
///
/// # Errors
/// What the kernel says, or that it did otherwise.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(THIS_THREAD, &set)?;
    match affinity()? {
        cores if cores == BTreeSet::from([core]) => Ok(()),
        cores => Err(io::Error::other(format!("the kernel has put it on {cores:?} instead"))),
    }
}

/// As ranges, the way the kernel writes them: `0-3,6`.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cores.next() {
            let mut last = first;
            while let Some(next) = cores.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

fn read_list(path: &Path) -> Result<Vec<usize>, HostError> {
    let unreadable = |why: String| HostError::Unreadable { path: path.to_owned(), why };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse_list(text.trim()).ok_or_else(|| unreadable(format!("{:?} is not a list of ranges", text.trim())))
}

/// Parses a list of ranges such as `0-3,6`; empty text is an empty list.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            Some((first, last)) => cores.extend(first.parse::<usize>().ok()?..=last.parse().ok()?),
            None => cores.push(part.parse().ok()?),
        }
    }
    Some(cores)
}

#[cfg(test)]
mod tests;
