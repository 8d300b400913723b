//! Memory, as `/proc` and the control groups tell of it.

#[cfg(test)]
mod tests;

use std::fs;

/// Bytes of a process that are resident (`VmRSS`, proc(5)): of one with this number, or of `self`. `None` where the kernel does not
/// tell.
pub fn resident(process: &str) -> Option<u64> {
    resident_in(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// Bytes of memory that this process may count on: the machine's, or what its control groups allow. `None` where the kernel does
/// not tell.
pub fn available() -> Option<u64> {
    available_by(|path| fs::read_to_string(path).ok())
}

fn available_by(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let (_, group) = line.split_once(':')?;
        match group.split_once(':')? {
            ("", path) => Some(("/sys/fs/cgroup", path, "memory.max")),
            (controllers, path) if controllers.split(',').any(|controller| controller == "memory") => {
                Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limits = limits.flat_map(|(root, path, file)| {
        // A group has no more than those it is in.
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let files = ends.map(|end| format!("{root}{}/{file}", path[..end].trim_end_matches('/')));
        files.filter_map(|file| read(&file)?.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    machine.into_iter().chain(limits).min()
}

fn resident_in(status: &str) -> Option<u64> {
    kibibytes(status, "VmRSS:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}
