//! Explicit congestion notification (RFC 3168): routers mark what they would have dropped. One half echoes the marks that
//! arrive until the peer says it has heard; the other half slows down when its own are echoed.

use crate::{
    config,
    wire::{Segment, SeqNumber, TcpFlags, ip::Codepoint},
};

/// Asks for ECN in a SYN, and says that our window was reduced in any other segment.
const SETUP: TcpFlags = TcpFlags::ECE.union(TcpFlags::CWR);

/// What our own SYN says besides SYN. A SYN that is sent again does not ask: there are paths that lose those that do
/// (RFC 3168 §6.1.1.1).
pub fn syn_flags(config: config::Ecn, is_retransmission: bool) -> TcpFlags {
    if config == config::Ecn::Active && !is_retransmission { SETUP } else { TcpFlags::empty() }
}

/// What our SYN-ACK says besides SYN and ACK.
pub fn syn_ack_flags(agreed: bool) -> TcpFlags {
    if agreed { TcpFlags::ECE } else { TcpFlags::empty() }
}

/// Whether we agree to what a SYN asks for (RFC 3168 §6.1.1).
pub fn agrees_to_syn(config: config::Ecn, flags: TcpFlags) -> bool {
    config != config::Ecn::Off && flags.contains(SETUP)
}

/// Whether a SYN-ACK agrees to what our SYN asked for. One that sends both flags back has only copied them
/// (RFC 3168 §6.1.1).
pub fn is_agreed_by_syn_ack(config: config::Ecn, flags: TcpFlags) -> bool {
    config == config::Ecn::Active && flags.intersection(SETUP) == TcpFlags::ECE
}

/// What the two ends have told each other, and are yet to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    agreed: bool,
    /// A mark has arrived that the peer has not answered yet.
    echoing: bool,
    /// Our window was reduced, and the peer is yet to hear of it.
    cwr_due: bool,
}

/// ECN of one connection, both halves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ecn {
    said: Said,
    /// SND.NXT when the window was last reduced: echoes up to there tell of the same congestion.
    reduced: Option<SeqNumber>,
}

impl Ecn {
    pub fn new(agreed: bool) -> Self {
        Self { said: Said { agreed, ..Said::default() }, reduced: None }
    }

    /// Whether both sides use it.
    pub fn is_agreed(&self) -> bool {
        self.said.agreed
    }

    /// Whether a mark has come whose sender has not answered yet.
    pub fn is_echoing(&self) -> bool {
        self.said.echoing
    }

    /// What is kept while nothing is in flight.
    pub fn suspend(&self) -> Said {
        self.said
    }

    /// Goes on from there: an echo from now on tells of new congestion.
    pub fn resume(said: Said) -> Self {
        Self { said, reduced: None }
    }

    /// Takes in what an acceptable segment says about our own acknowledgments and its own way (RFC 3168 §6.1.3). Only data can
    /// have been marked. Whether this one was.
    pub fn arrived(&mut self, segment: &Segment<'_>) -> bool {
        if !self.said.agreed || segment.payload.is_empty() {
            return false;
        }
        // The peer has slowed down; a mark on this very segment is a new one.
        self.said.echoing &= !segment.has(TcpFlags::CWR);
        let is_marked = Codepoint::of(segment.traffic_class) == Codepoint::CongestionExperienced;
        self.said.echoing |= is_marked;
        is_marked
    }

    /// Takes in an acknowledgment of everything before `ack`; whether the window is to be reduced, which happens once for each
    /// window of data (RFC 3168 §6.1.2).
    pub fn acknowledged(&mut self, segment: &Segment<'_>, nxt: SeqNumber) -> bool {
        let ack = segment.header.ack;
        // Forgotten once it is passed, or it would be in the way when sequence numbers come round.
        self.reduced = self.reduced.filter(|&reduced| ack.at_or_before(reduced));
        // A SYN-ACK says something else by it.
        let echoes = segment.has(TcpFlags::ECE) && !segment.has(TcpFlags::SYN);
        if !self.said.agreed || !echoes || self.reduced.is_some() {
            return false;
        }
        self.reduced(nxt);
        true
    }

    /// The window was reduced for another reason, which the peer is told as well (RFC 3168 §6.1.2).
    pub fn reduced(&mut self, nxt: SeqNumber) {
        if self.said.agreed {
            self.reduced = Some(nxt);
            self.said.cwr_due = true;
        }
    }

    /// The flags and the codepoint of a segment to be sent. New data alone can be marked, and tell of a reduced window: what is
    /// sent again, probes and bare acknowledgments are not (RFC 3168 §6.1.4 to §6.1.6).
    pub fn marking(&mut self, is_new_data: bool) -> (TcpFlags, Codepoint) {
        let mut flags = TcpFlags::empty();
        flags.set(TcpFlags::ECE, self.said.echoing);
        if !self.said.agreed || !is_new_data {
            return (flags, Codepoint::NotCapable);
        }
        flags.set(TcpFlags::CWR, std::mem::take(&mut self.said.cwr_due));
        (flags, Codepoint::Capable0)
    }
}
