//! Where what outlives a balancer is kept while a test runs.

#![allow(dead_code)] // each test uses some of it

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A BPF file system, as /sys/fs/bpf is one: `ip netns exec` hides that from what it runs.
pub struct BpfFs(TempDir);

impl BpfFs {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount(Some("bpf"), folder.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        Self(folder)
    }

    pub fn pins(&self) -> PathBuf {
        self.0.path().join("xskip")
    }

    /// The folder of the one balancer that has been here.
    pub fn folder(&self) -> PathBuf {
        fs::read_dir(self.pins()).unwrap().next().unwrap().unwrap().path()
    }

    pub fn is_empty(&self) -> bool {
        fs::read_dir(self.pins()).map_or(true, |mut entries| entries.next().is_none())
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).ok();
    }
}
