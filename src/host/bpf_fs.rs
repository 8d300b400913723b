//! Where BPF's maps, programs and attachments can have names, and so outlive a process.

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::path::Path;

/// The folder of ours in the BPF file system that systemd mounts.
pub const PINS: &str = "/sys/fs/bpf/xskip";

/// Whether a folder is in a BPF file system, or would be if it was made.
pub fn holds(folder: &Path) -> bool {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    statfs(there).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}
