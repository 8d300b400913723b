//! Memory, as `/proc` tells of it.

#[cfg(test)]
mod tests;

use std::fs;

/// Bytes of a process that are resident (`VmRSS`, proc(5)): of one with this number, or of `self`. `None` where the kernel does not
/// tell.
pub fn resident(process: &str) -> Option<u64> {
    resident_in(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}
