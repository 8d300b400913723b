//! Segments that belong to no connection, and segments that their connection refuses: how many are answered.
//!
//! Forged segments ask a server whether somebody is connected to it: they draw RSTs where he is not. Who forges them does not see those,
//! but he sees what is left of a limit that they and he have in common. So a segment that a connection refuses is counted like one that
//! belongs to none: whatever is left, it does not tell which of the two it was. Besides, no 4-tuple can take more than little.

use super::{
    Stack,
    rate_limit::{SharedLimit, Shares},
};
use crate::{
    config::StackConfig,
    drops::DropReason,
    time::Instant,
    wire::{FourTuple, Segment, TcpFlags},
};
use std::time::Duration;

/// Answers that the stray segments of one 4-tuple draw in a second: as many as challenges of a connection (RFC 5961 §7).
const PER_FLOW: u32 = 10;

/// What strangers may draw.
#[derive(Debug)]
pub(super) struct Strangers {
    flows: Shares,
    answers: SharedLimit,
}

impl Strangers {
    pub fn new(config: &StackConfig) -> Self {
        let answers = SharedLimit::new(config.resets_per_second, config.resets_per_destination);
        Self { flows: Shares::new(PER_FLOW, Duration::from_secs(1)), answers }
    }
}

impl Stack {
    /// Whether a segment would draw an RST if its 4-tuple had no flow (RFC 9293 §3.10.7.1 and §3.10.7.2).
    pub(super) fn is_stray(&self, tuple: &FourTuple, segment: &Segment<'_>) -> bool {
        let may_be_answered =
            segment.has(TcpFlags::ACK) || self.listeners.find(tuple.local.port, tuple.local.address).is_none();
        may_be_answered && !segment.has(TcpFlags::RST)
    }

    /// Counts a segment that its flow refuses, as if there were none; whether it may be answered.
    pub(super) fn count_stray(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        segment: &Segment<'_>,
    ) -> Result<(), DropReason> {
        if self.is_stray(tuple, segment) { self.admit_stray(now, tuple) } else { Ok(()) }
    }

    /// Counts a stray segment; whether it may be answered.
    pub(super) fn admit_stray(&mut self, now: Instant, tuple: &FourTuple) -> Result<(), DropReason> {
        let Self { strangers: Strangers { flows, answers }, secrets, .. } = self;
        let admitted = !answers.is_used_up(now)
            && flows.allow(now, secrets.hash_flow(tuple))
            && answers.allow(now, secrets.hash_destination(tuple.remote.address));
        if admitted { Ok(()) } else { Err(DropReason::RateLimited) }
    }
}
