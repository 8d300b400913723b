//! The connection states of RFC 9293 §3.3.2.

use std::fmt;

/// Where a connection stands, from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waiting for a connection from anyone.
    Listen,
    /// Sent a SYN, waiting for the peer's.
    SynSent,
    /// Got a SYN and sent ours, waiting for its acknowledgment.
    SynReceived,
    /// Open: data flow both ways.
    Established,
    /// We closed first; our FIN is not acknowledged yet.
    FinWait1,
    /// Our FIN is acknowledged; the peer may go on sending.
    FinWait2,
    /// The peer closed first; we may go on sending.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged yet.
    Closing,
    /// The peer closed first, then we; our FIN is not acknowledged yet.
    LastAck,
    /// Both closed, we first: waiting until every old segment has left the network.
    TimeWait,
    /// No connection.
    Closed,
}

impl State {
    /// All of them, in the order of their numbers (`as u32`).
    pub const ALL: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What moves a synchronized connection from one state to the next: the FINs and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Our FIN was sent for the first time.
    FinSent,
    /// Our FIN was acknowledged.
    FinAcknowledged,
    /// The peer's FIN, and all before it, has arrived.
    FinReceived,
}

impl State {
    /// The state after `step`: figure 5 of RFC 9293 from ESTABLISHED on. `None` where the step cannot happen.
    pub const fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Established, Step::FinSent) => Some(Self::FinWait1),
            (Self::Established, Step::FinReceived) => Some(Self::CloseWait),
            (Self::FinWait1, Step::FinAcknowledged) => Some(Self::FinWait2),
            (Self::FinWait1, Step::FinReceived) => Some(Self::Closing),
            (Self::FinWait2, Step::FinReceived) => Some(Self::TimeWait),
            (Self::CloseWait, Step::FinSent) => Some(Self::LastAck),
            (Self::Closing, Step::FinAcknowledged) => Some(Self::TimeWait),
            (Self::LastAck, Step::FinAcknowledged) => Some(Self::Closed),
            _ => None,
        }
    }
}
