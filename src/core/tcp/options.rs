//! What an application has chosen for one connection.

use super::handshake::MaxSegment;
use crate::{
    config::{KeepAlive, TcpConfig},
    wire::ip::Dscp,
};
use std::time::Duration;

/// What an application may choose for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub no_delay: bool,
    pub keep_alive: Option<KeepAlive>,
    pub user_timeout: Option<Duration>,
    /// What the peer was asked for at most, where that is less than the link takes.
    pub max_segment: MaxSegment,
    /// Whether what comes in order waits for its acknowledgment.
    pub holds_acks: bool,
}

impl Options {
    /// Those of a connection whose application has chosen nothing.
    pub fn of(config: &TcpConfig) -> Self {
        let TcpConfig { keep_alive, user_timeout, .. } = *config;
        let max_segment = MaxSegment::default();
        Self { no_delay: !config.nagle, keep_alive, user_timeout, max_segment, holds_acks: false }
    }
}

/// The code points of both directions, which are independent (SHLD-23).
#[derive(Clone, Copy, Debug)]
pub(super) struct Diffserv {
    pub ours: Dscp,
    /// That of the last acceptable segment.
    pub theirs: Dscp,
}

/// What becomes of data that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Application,
    /// The application has closed both sides: data reset the connection.
    Nobody,
    /// The application has closed, and wants its last words to arrive: data are thrown away.
    Sink,
}
