//! What a handshake has told of the path by the time data begin: how long a round trip takes, or that segments get lost (RFC 6298 §5.7,
//! RFC 5681 §3.1).

use super::{congestion::Controller, connection::Connection};
use crate::{config::TcpConfig, wire::Segment};
use std::time::Duration;

/// How our SYN, or SYN-ACK, fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynTiming {
    /// How long it took until the peer acknowledged it, where it was sent but once: else the answer may be to either (MUST-18).
    pub took: Option<Duration>,
    /// How often its timer expired.
    pub timeouts: u32,
}

impl Connection {
    /// What the segment that ends a handshake says of the peer's window, which counts before anything else is asked of it
    /// (RFC 9293 §3.10.7.4, SYN-RECEIVED). So to what a handshake leads is what was expected.
    pub fn take_first_window(&mut self, segment: &Segment<'_>) {
        self.send.update_window(segment);
    }

    /// The handshake is over; data are yet to be sent. Nobody calls this for a handshake that a cookie has ended: of that, nothing is
    /// known.
    pub fn apply_syn_timing(&mut self, timing: SynTiming, config: &TcpConfig) {
        if let Some(took) = timing.took {
            self.rtt.measured(took, config);
        }
        if timing.timeouts > 0 {
            self.rtt.restart_after_lost_syn(config);
        }
        // RFC 5681 §3.1 says so after the first, when its timer took three seconds. It takes one now, and so RFC 6928 §2 has us wait for
        // another: the first may have been too early.
        if timing.timeouts > 1 {
            self.congestion.begin_with_one();
        }
    }
}
