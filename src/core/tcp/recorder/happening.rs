//! What may happen to a connection that is worth remembering, in names and sentences.

use crate::{drops::DropReason, tcp::State};
use std::fmt;

/// Something that happened. Each has a number of 24 bits to say more; larger ones count as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// It went to another state.
    State(State),
    /// Our SYN, or SYN-ACK, went out again: for the how manieth time.
    SynAgain(u32),
    /// The SYN waits: nobody has told the next hop's link address yet.
    NeighbourUnknown,
    /// The next hop has another link address.
    NeighbourMoved,
    /// The retransmission timeout expired (RFC 6298): the how manieth in a row, up to 255, and how long it was, milliseconds.
    Timeout(u8, u16),
    /// So many octets were sent again after a timeout.
    AgainByTimeout(u32),
    /// So many octets were sent again because later ones had arrived long before (RACK, RFC 8985).
    AgainByRack(u32),
    /// So many octets were sent again because of duplicate acknowledgments (RFC 5681).
    AgainByDuplicates(u32),
    /// So many octets were sent again to hear whether the end of the flight has arrived (RFC 8985 §7).
    AgainByTailProbe(u32),
    /// What was sent again had not been lost: it was overtaken, or its acknowledgment was late.
    NothingWasLost,
    /// The peer's window holds back what is to be sent; octets that it has room for.
    WindowShut(u32),
    /// It does so no more; octets that it has room for.
    WindowOpened(u32),
    /// Asked whether it has opened, for the how manieth time (RFC 9293 §3.8.6.1).
    WindowProbe(u32),
    /// Our own window is shut, because the application does not read; octets that wait for it.
    OursShut(u32),
    /// It is not any more.
    OursOpened,
    /// A round trip took much longer than those before, microseconds.
    RoundTripJumped(u32),
    /// A segment was refused.
    Refused(DropReason),
    /// Data came behind a gap: a segment before them was lost, or is late.
    OutOfOrder,
    /// A segment came marked by a congested router (RFC 3168).
    Marked,
    /// The peer has told of such marks on our segments: we slow down.
    Slowed,
    /// An idle peer was asked whether it is there, for the how manieth time (RFC 9293 §3.8.4).
    KeepAliveProbe(u32),
    /// Segments have this much data at most from now on, octets: the path takes no more.
    Smaller(u32),
    /// Larger ones are tried again, with this much data, octets.
    Larger(u32),
    /// Something was reported that does not end the connection: an ICMP error, or the lack of answers.
    SoftError(u32),
    /// Nothing that this version knows.
    Unknown,
}

/// What [`Happening::SoftError`] tells.
const SOFT_ERRORS: [&str; 4] = [
    "an ICMP error says that the peer cannot be reached",
    "an ICMP error says that a segment took too long, or crossed too many routers",
    "an ICMP error says that an IP header was not understood",
    "a segment was sent again and again without an answer: the next hop is asked for its address",
];

impl Happening {
    /// As it is kept: a number for what it is, and its argument.
    #[inline]
    pub(super) fn encode(self) -> (u8, u32) {
        match self {
            Self::State(state) => (1, state as u32),
            Self::SynAgain(times) => (2, times),
            Self::NeighbourUnknown => (3, 0),
            Self::NeighbourMoved => (4, 0),
            Self::Timeout(times, millis) => (5, u32::from(times) << 16 | u32::from(millis)),
            Self::AgainByTimeout(octets) => (6, octets),
            Self::AgainByRack(octets) => (7, octets),
            Self::AgainByDuplicates(octets) => (8, octets),
            Self::AgainByTailProbe(octets) => (9, octets),
            Self::NothingWasLost => (10, 0),
            Self::WindowShut(octets) => (11, octets),
            Self::WindowOpened(octets) => (12, octets),
            Self::WindowProbe(times) => (13, times),
            Self::OursShut(octets) => (14, octets),
            Self::OursOpened => (15, 0),
            Self::RoundTripJumped(micros) => (16, micros),
            Self::Refused(reason) => (17, reason as u32),
            Self::OutOfOrder => (18, 0),
            Self::Marked => (19, 0),
            Self::Slowed => (20, 0),
            Self::KeepAliveProbe(times) => (21, times),
            Self::Smaller(octets) => (22, octets),
            Self::Larger(octets) => (23, octets),
            Self::SoftError(which) => (24, which),
            Self::Unknown => (0, 0),
        }
    }

    /// What a number and an argument say.
    pub(super) fn of(kind: u8, argument: u32) -> Self {
        let place = argument as usize;
        match kind {
            1 => State::ALL.get(place).map_or(Self::Unknown, |&state| Self::State(state)),
            2 => Self::SynAgain(argument),
            3 => Self::NeighbourUnknown,
            4 => Self::NeighbourMoved,
            5 => Self::Timeout((argument >> 16) as u8, argument as u16),
            6 => Self::AgainByTimeout(argument),
            7 => Self::AgainByRack(argument),
            8 => Self::AgainByDuplicates(argument),
            9 => Self::AgainByTailProbe(argument),
            10 => Self::NothingWasLost,
            11 => Self::WindowShut(argument),
            12 => Self::WindowOpened(argument),
            13 => Self::WindowProbe(argument),
            14 => Self::OursShut(argument),
            15 => Self::OursOpened,
            16 => Self::RoundTripJumped(argument),
            17 => DropReason::ALL.get(place).map_or(Self::Unknown, |&reason| Self::Refused(reason)),
            18 => Self::OutOfOrder,
            19 => Self::Marked,
            20 => Self::Slowed,
            21 => Self::KeepAliveProbe(argument),
            22 => Self::Smaller(argument),
            23 => Self::Larger(argument),
            24 => Self::SoftError(argument),
            _ => Self::Unknown,
        }
    }

    /// The name in reports: lower case, words joined by underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State(_) => "state",
            Self::SynAgain(_) => "syn_again",
            Self::NeighbourUnknown => "neighbour_unknown",
            Self::NeighbourMoved => "neighbour_moved",
            Self::Timeout(..) => "retransmission_timeout",
            Self::AgainByTimeout(_) => "retransmitted_by_timeout",
            Self::AgainByRack(_) => "retransmitted_by_rack",
            Self::AgainByDuplicates(_) => "retransmitted_by_duplicates",
            Self::AgainByTailProbe(_) => "retransmitted_by_tail_probe",
            Self::NothingWasLost => "nothing_was_lost",
            Self::WindowShut(_) => "peer_window_shut",
            Self::WindowOpened(_) => "peer_window_opened",
            Self::WindowProbe(_) => "window_probe",
            Self::OursShut(_) => "own_window_shut",
            Self::OursOpened => "own_window_opened",
            Self::RoundTripJumped(_) => "round_trip_jumped",
            Self::Refused(_) => "segment_refused",
            Self::OutOfOrder => "out_of_order",
            Self::Marked => "congestion_marked",
            Self::Slowed => "congestion_echoed",
            Self::KeepAliveProbe(_) => "keep_alive_probe",
            Self::Smaller(_) => "segments_smaller",
            Self::Larger(_) => "segments_larger",
            Self::SoftError(_) => "soft_error",
            Self::Unknown => "unknown",
        }
    }

    /// The number that goes with it; what it counts is said where it is declared.
    pub fn argument(self) -> u32 {
        self.encode().1
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::State(state) => write!(f, "state {state}"),
            Self::SynAgain(times) => write!(f, "SYN sent again: no answer ({} in a row)", times),
            Self::NeighbourUnknown => f.write_str("the SYN waits for the next hop's link address"),
            Self::NeighbourMoved => f.write_str("the next hop has another link address"),
            Self::Timeout(times, millis) => {
                write!(f, "no acknowledgment within the retransmission timeout of {millis} ms ({times} in a row)")
            }
            Self::AgainByTimeout(octets) => write!(f, "sent again after a timeout: {octets} octets"),
            Self::AgainByRack(octets) => write!(f, "sent again, for later octets had arrived: {octets} octets"),
            Self::AgainByDuplicates(octets) => write!(f, "sent again after duplicate acknowledgments: {octets} octets"),
            Self::AgainByTailProbe(octets) => write!(f, "sent again to probe for a lost tail: {octets} octets"),
            Self::NothingWasLost => f.write_str("what was sent again had not been lost"),
            Self::WindowShut(octets) => write!(f, "the peer's window holds data back: it has room for {octets} octets"),
            Self::WindowOpened(octets) => write!(f, "the peer's window has opened: {octets} octets"),
            Self::WindowProbe(times) => write!(f, "asked whether the peer's window has opened ({times} in a row)"),
            Self::OursShut(octets) => write!(f, "our window is shut: {octets} octets wait for the application"),
            Self::OursOpened => f.write_str("our window is open again: the application has read"),
            Self::RoundTripJumped(micros) => {
                write!(f, "a round trip took {}.{:03} ms, much more than before", micros / 1_000, micros % 1_000)
            }
            Self::Refused(reason) => write!(f, "refused a segment ({}): {}", reason.name(), reason.meaning()),
            Self::OutOfOrder => f.write_str("data came behind a gap"),
            Self::Marked => f.write_str("a router marked a segment that came: congestion on the way here"),
            Self::Slowed => f.write_str("the peer tells of congestion on the way there: slowed down"),
            Self::KeepAliveProbe(times) => write!(f, "asked whether the idle peer is there ({times} in a row)"),
            Self::Smaller(octets) => write!(f, "the path takes no more than {octets} octets of data in a segment"),
            Self::Larger(octets) => write!(f, "segments of {octets} octets are tried again"),
            Self::SoftError(which) => f.write_str(SOFT_ERRORS.get(which as usize).unwrap_or(&"a soft error")),
            Self::Unknown => f.write_str("something this version has no name for"),
        }
    }
}

crate::drops::named! {
    /// Who ended a connection, and why.
    Cause {
        /// It has not ended.
        None => "none",
        /// Both sides closed, and everything was acknowledged.
        Closed => "closed",
        /// Our side was closed, and the peer never closed its own in the time that it had (FIN-WAIT-2).
        PeerDidNotClose => "peer_did_not_close",
        /// The peer, or a middlebox in its name, reset it with an exact RST.
        ResetByPeer => "reset_by_peer",
        /// An RST answered our SYN: nobody listens there, or a firewall says so.
        RefusedByReset => "refused_by_reset",
        /// An ICMP error said that nobody accepts connections there.
        RefusedByIcmp => "refused_by_icmp",
        /// No neighbour answered for the next hop's address.
        NeighbourSilent => "neighbour_silent",
        /// Our SYN was never answered.
        SynUnanswered => "syn_unanswered",
        /// A handshake that the peer began and never ended: our SYN-ACK was not acknowledged.
        SynAckUnanswered => "syn_ack_unanswered",
        /// What was sent was not acknowledged, however often it was sent again: the peer is gone, or the path is a black hole.
        Unacknowledged => "unacknowledged",
        /// What was sent was not acknowledged within the time that the application allows (user timeout, RFC 5482).
        UserTimeout => "user_timeout",
        /// An idle peer did not answer when it was asked whether it is there: it has vanished.
        KeepAlive => "keep_alive",
        /// Our application reset it.
        Application => "application",
        /// Our application closed while data lay there that it had not read.
        ClosedUnread => "closed_unread",
        /// Data came that nobody would read: our application had closed.
        DataAfterClose => "data_after_close",
        /// The peer had said nothing since the handshake for too long, or others needed the place: reset by this side.
        Silent => "silent",
        /// The peer kept its window shut, and others needed the place: reset by this side.
        Stalled => "stalled",
        /// The memory budget for connections was used up, and this one made little use of what it took: reset by this side.
        Memory => "memory",
        /// Its local address was taken away: reset by this side.
        AddressRemoved => "address_removed",
        /// The server ended: reset by this side.
        Shutdown => "shutdown",
        /// It could not be begun.
        NotBegun => "not_begun",
    }
}

#[expect(clippy::derivable_impls, reason = "what is declared by the macro has documentation alone on its variants")]
impl Default for Cause {
    fn default() -> Self {
        Self::None
    }
}
