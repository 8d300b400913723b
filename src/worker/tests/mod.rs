//! Workers without threads or queues: what they pass on to each other, what they are told, and what they show.

mod commands;
mod hand_off;
mod snapshots;
mod spans;

use super::{Context, HandOff, Mailbox, Placement, WorkerIndex, Workers};
use crate::{
    config::StackConfig,
    stack::{Secrets, Stack},
    wire::MacAddress,
};
use std::sync::Arc;

fn secrets() -> Secrets {
    Secrets::from_seed(7)
}

fn mailboxes(count: usize) -> Arc<[Mailbox]> {
    (0..count).map(|_| Mailbox::new().unwrap()).collect()
}

fn stack() -> Stack {
    Stack::new(StackConfig::default(), MacAddress([2, 0, 0, 0, 0, 1]), Vec::new(), secrets())
}
