//! The kernel, asked and told: links and their features over netlink, network namespaces, capabilities and how they are given up, cores.
//!
//! Facts and settings only; what to make of them is for the callers to say (`lab` builds on them, `doctor` judges them).
//! Everything here is synchronous, and speaks about the network namespace of the calling thread.

pub mod bpf_fs;
pub mod clsact;
pub mod confinement;
pub mod cores;
mod error;
pub mod ethtool;
pub mod far_end;
mod genl;
pub mod groups;
pub mod key_file;
pub mod link;
pub mod listeners;
pub mod memory;
pub mod neighbour;
pub mod netdev;
mod netlink;
pub mod netns;
pub mod rights;
mod rtnl;
pub mod sysctl;
pub mod way;

pub use self::{error::HostError, link::Link};
