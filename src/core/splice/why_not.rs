//! Why two connections cannot be made one, for now or ever.

use super::pair::Side;
use thiserror::Error;

/// What one of the connections is yet to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Busy {
    /// There is no such connection.
    #[error("it is no more")]
    Gone,
    /// It is not ESTABLISHED, or somebody has closed it.
    #[error("it is not open both ways: only a connection that nobody has closed can be handed on")]
    NotOpen,
    /// Something has come that was not read.
    #[error("something has come that was not read: read it first")]
    Unread,
    /// Something has come before what it follows.
    #[error("something has come out of order: try again when the rest has come")]
    OutOfOrder,
    /// Something was written that its peer has not acknowledged.
    #[error("something was written that is not acknowledged: try again when it is")]
    Unacknowledged,
    /// Its peer is owed an acknowledgment, or is to hear of a window.
    #[error("its peer is owed an acknowledgment: try again when that was sent")]
    AckOwed,
    /// It is finding out what was lost.
    #[error("it is recovering from a loss: try again when that is over")]
    Recovering,
    /// Urgent data are on their way.
    #[error("urgent data are on their way: try again when they were read")]
    Urgent,
    /// The application has an event to take.
    #[error("there is an event of it that was not taken: poll events first")]
    Unheard,
    /// Its peer may not know yet that it is open.
    #[error("its peer has said nothing since its SYN-ACK, and may not know yet that it is open: try again when it has")]
    Unconfirmed,
    /// What it knows of its peer's clock is too old.
    #[error("its peer's clock was last seen too long ago: try again when it has said something")]
    Outdated,
    /// Its segments go through a tunnel.
    #[error("its segments go through a tunnel, and translated ones do not: reach the backend without one")]
    Tunnel,
}

/// Why [`Stack::part_with`](crate::stack::Stack::part_with) did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// One of them is not quiet.
    #[error("the {} connection cannot be handed on: {_1}", match _0 { Side::Client => "client's", Side::Backend => "backend's" })]
    Busy(Side, Busy),
    /// Nobody translates.
    #[error("there is nobody to hand them on to: give the stack a carrier")]
    NoCarrier,
    /// There are too many pairs.
    #[error("as many pairs are translated as there is room for: try again when some have ended, or make room for more")]
    NoRoom,
    /// Both are the same one.
    #[error("a connection cannot be handed on to itself: name two")]
    Same,
    /// One is IPv4, and the other IPv6.
    #[error("one connection is IPv4 and the other one IPv6: what is translated stays within one")]
    Versions,
    /// One has timestamps.
    #[error("only one of the connections has timestamps: both peers need them, or neither")]
    Timestamps,
    /// One has SACK.
    #[error("only one of the connections has SACK: both peers need it, or neither")]
    Sack,
    /// One has ECN.
    #[error("only one of the connections has ECN: both peers need it, or neither")]
    Ecn,
    /// What this side may send does not fit the other one.
    #[error(
        "segments of the {} may be larger than the other side takes: offer both the smaller MSS",
        match _0 { Side::Client => "client", Side::Backend => "backend" }
    )]
    SegmentSize(Side),
    /// Frames would have to grow or shrink.
    #[error("the connections differ in their VLAN tags, or have two: give both one, or none")]
    Vlan,
}

impl WhyNot {
    /// Whether it may be otherwise a moment later.
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::NoRoom
                | Self::Busy(
                    _,
                    Busy::Unread
                        | Busy::OutOfOrder
                        | Busy::Unacknowledged
                        | Busy::AckOwed
                        | Busy::Recovering
                        | Busy::Urgent
                        | Busy::Unheard
                        | Busy::Unconfirmed
                        | Busy::Outdated
                )
        )
    }
}
