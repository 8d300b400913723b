//! What a connection tells its owner: what the application should hear of, how it ended, and what was sent.

bitflags::bitflags! {
    /// What the application should hear of.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Signals: u8 {
        /// Data, or the end of them, can be read.
        const READABLE = 1;
        /// There is room to write again, after there was too little.
        const WRITABLE = 2;
        /// The handshake that we began is over.
        const OPENED = 4;
        /// The peer has announced urgent data.
        const URGENT = 8;
        /// Several retransmissions in a row drew no answer: R1 of RFC 9293 §3.8.3.
        const R1_REACHED = 16;
        /// A segment came with another link header than answers have, and proved nothing by its numbers. For the stack.
        const OTHER_LINK = 32;
        /// Something was sent again, because it drew no answer. For the stack, which probes the next hop.
        const UNANSWERED = 64;
        /// Data came behind a gap. For the stack, which counts that.
        const OUT_OF_ORDER = 128;
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides closed and everything was acknowledged.
    #[error("closed in order by both sides")]
    Finished,
    /// The peer reset it.
    #[error("reset by the peer")]
    ResetByPeer,
    /// Nothing came back for so long that it was given up (R2 of RFC 9293 §3.8.3).
    #[error("timed out: the peer acknowledged nothing for too long")]
    TimedOut,
    /// We reset it: the application asked for that, or closed while the peer was still sending.
    #[error("reset by this side")]
    Aborted,
    /// The peer does not accept it: an RST answered our SYN, or an ICMP error that says nobody will.
    #[error("refused: nobody accepts connections there")]
    Refused,
    /// The peer cannot be reached: no neighbour answered for the next hop.
    #[error("unreachable: no neighbour answered for the next hop")]
    Unreachable,
}

/// What a transmitted segment was, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentKind {
    /// New data, or the first FIN.
    New,
    /// Something sent before.
    Retransmission,
    /// A bare acknowledgment.
    Acknowledgment,
}
