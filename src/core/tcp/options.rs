//! What an application has chosen for one connection.

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
}

impl Options {
    /// Those of a connection whose application has chosen nothing.
    pub fn of(config: &TcpConfig) -> Self {
        let TcpConfig { keep_alive, user_timeout, .. } = *config;
        Self { no_delay: !config.nagle, keep_alive, user_timeout }
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
