//! The processor cores that are online, and the NUMA node of each.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use super::HostError;

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// The highest number of a core that a thread can be pinned to: the C library's sets of cores hold 1,024.
pub const CORE_MAX: usize = libc::CPU_SETSIZE as usize - 1;

/// The cores online that a thread can be pinned to, each with its NUMA node (0 where the machine has none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    nodes: BTreeMap<usize, u32>,
}

impl Cores {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If `/sys` does not tell which cores are online.
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
        Ok(Self { nodes })
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

    /// How many NUMA nodes have cores online.
    pub fn node_count(&self) -> usize {
        self.nodes.values().collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Checks that a core exists.
    ///
    /// # Errors
    /// [`HostError::NoSuchCore`], with the cores there are.
    pub fn require(&self, core: usize) -> Result<(), HostError> {
        match self.node(core) {
            Some(_) => Ok(()),
            None => Err(HostError::NoSuchCore { core, online: self.to_string() }),
        }
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
