//! What nearly every function of a connection wants to know beside what it is about.

use crate::{config::TcpConfig, time::Instant};

/// The context of a call: when it is made, and how the stack is configured. As cheap to copy as two arguments.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    /// The time; it never goes back from one call to the next.
    pub now: Instant,
    /// The stack's configuration, for all of its connections.
    pub config: &'a TcpConfig,
}

impl TcpConfig {
    /// The context of what is done at `now` under this configuration.
    #[inline]
    pub fn at(&self, now: Instant) -> Cx<'_> {
        Cx { now, config: self }
    }
}
