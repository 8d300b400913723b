//! A pair of connections: what is fixed at the switch, and what is learnt of it since.

use crate::{
    time::Instant,
    wire::{FourTuple, LinkHeader, SeqNumber},
};

/// One of the two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Who asks.
    Client = 0,
    /// Who answers.
    Backend = 1,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Backend];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// One of the connections as it stands at the switch, seen from the proxy, with nothing under way to its peer that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// The two ends.
    pub tuple: FourTuple,
    /// The header of what is sent to the peer.
    pub link: LinkHeader,
    /// The largest IP packet that fits that way, octets.
    pub mtu: u16,
    /// SND.NXT, which is SND.UNA.
    pub sent: SeqNumber,
    /// The number that was acknowledged last: RCV.NXT, but for what came since and is [said](Pair::said) by the pair.
    pub received: SeqNumber,
    /// The right edge of the window that was offered to the peer.
    pub edge: SeqNumber,
    /// The largest window that either end ever offered, octets.
    pub reach: u32,
    /// SND.WND: what the peer offers, octets.
    pub window: u32,
    /// The peer's window scale.
    pub peer_scale: u8,
    /// The window scale that the peer was told.
    pub our_scale: u8,
    /// What our clock shows, and TS.Recent, where timestamps are in use.
    pub clocks: Option<(u32, u32)>,
    /// Whether frames to the peer go to whichever station its frames come from.
    pub follows: bool,
}

/// What is fixed of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The ends of its connection, ours first.
    pub tuple: FourTuple,
    /// The header of what is sent to its peer.
    pub link: LinkHeader,
    /// The largest IP packet that fits that way, octets.
    pub mtu: u16,
    /// The peer's window scale.
    pub peer_scale: u8,
    /// The window scale that the peer was told.
    pub our_scale: u8,
    /// Our clock at the switch: what this peer echoes is either of before that, or the other peer's.
    pub clock: u32,
    /// TS.Recent of this peer at the switch.
    pub recent: u32,
    /// Whether frames to it go to whichever station its frames come from: routers may change while a connection lives.
    pub follows: bool,
}

/// What one peer says to the other, in the numbers of the one that hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What is added to the speaker's sequence numbers.
    pub shift: u32,
    /// What is added to the speaker's clock.
    pub clock_shift: u32,
    /// Everything before this has been said: SND.NXT, as far as was seen.
    pub sent: SeqNumber,
    /// Everything before this was acknowledged: RCV.NXT, as far as was seen.
    pub acked: SeqNumber,
    /// The furthest right edge that was offered to the speaker, by the proxy or the hearer.
    pub edge: SeqNumber,
    /// The furthest that the hearer itself has offered: beyond it takes no segment, empty ones neither.
    pub offered: SeqNumber,
    /// The largest window that was offered.
    pub reach: u32,
    /// The number of the FIN, where there was one.
    pub fin: SeqNumber,
    /// Whether there was.
    pub has_fin: bool,
    /// Whether its speaker has sent a RST that its hearer believes.
    pub is_reset: bool,
    /// Octets that were said since the switch, each of them once, and the FIN.
    pub carried: u64,
    /// Whether the speaker echoes a clock by which the switch is so long ago that nothing of before it comes any more.
    pub is_past: bool,
}

/// Two connections that are one: plain numbers, which whoever carries frames may keep in a table of its own, and bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The client's side, then the backend's: fixed.
    pub ends: [End; 2],
    /// What the client says, then what the backend says: `shift` and `clock_shift` are fixed, the rest is learnt.
    pub streams: [Stream; 2],
    /// Whether timestamps are in use.
    pub has_clocks: bool,
    /// When a segment passed last.
    pub heard: Instant,
}

/// The least that a window is taken for: two peers may have agreed on less, but one of them may not know yet.
const LEAST_REACH: u32 = 65_535;

impl Pair {
    /// Makes one of two, at `now`. That they fit is [`WhyNot`](super::WhyNot)'s affair.
    pub fn new(now: Instant, client: &Half, backend: &Half) -> Self {
        Self {
            ends: [End::of(client), End::of(backend)],
            streams: [Stream::between(client, backend), Stream::between(backend, client)],
            has_clocks: client.clocks.is_some() && backend.clocks.is_some(),
            heard: now,
        }
    }

    /// The ends of one side's connection: ours, then the peer's.
    pub fn tuple(&self, side: Side) -> &FourTuple {
        &self.ends[side as usize].tuple
    }

    /// The header of what is sent to one side, with the interface that it leaves by.
    pub fn link(&self, side: Side) -> &LinkHeader {
        &self.ends[side as usize].link
    }

    /// What one side says to the other.
    pub fn stream(&self, from: Side) -> &Stream {
        &self.streams[from as usize]
    }

    /// Takes down that one side has said so many octets, which its hearer gets from somebody else.
    pub fn said(&mut self, from: Side, octets: u32) {
        let stream = &mut self.streams[from as usize];
        stream.sent = stream.sent.advance(octets);
        stream.carried += u64::from(octets);
    }

    /// Whose a segment is, if one of the two sent it: its ends as the receiver has them.
    pub fn side_of(&self, tuple: &FourTuple) -> Option<Side> {
        Side::BOTH.into_iter().find(|&side| self.tuple(side) == tuple)
    }

    /// Says where one side's peer is reached from now on.
    pub fn set_link(&mut self, side: Side, link: LinkHeader, mtu: u16) {
        let end = &mut self.ends[side as usize];
        if end.link.len() == link.len() {
            (end.link, end.mtu) = (link, mtu);
        }
    }
}

impl End {
    fn of(half: &Half) -> Self {
        let Half { tuple, link, mtu, peer_scale, our_scale, follows, .. } = *half;
        let (clock, recent) = half.clocks.unwrap_or_default();
        Self { tuple, link, mtu, peer_scale, our_scale, clock, recent, follows }
    }
}

impl Stream {
    fn between(speaker: &Half, hearer: &Half) -> Self {
        let shift = hearer.sent.since(speaker.received);
        let (ours, theirs) = (hearer.clocks.unwrap_or_default().0, speaker.clocks.unwrap_or_default().1);
        // What was offered to the speaker before may be under way.
        let offered = speaker.edge.advance(shift);
        Self {
            shift,
            clock_shift: ours.wrapping_sub(theirs),
            sent: hearer.sent,
            acked: hearer.sent,
            edge: hearer.sent.advance(hearer.window).latest(offered),
            offered: hearer.sent.advance(hearer.window),
            reach: speaker.reach.max(hearer.reach).max(LEAST_REACH),
            fin: SeqNumber::default(),
            has_fin: false,
            is_reset: false,
            carried: 0,
            is_past: false,
        }
    }

    /// Octets that were said since the switch, each of them once.
    pub fn octets(&self) -> u64 {
        self.carried.saturating_sub(self.has_fin.into())
    }

    /// Whether it has been closed, and its end acknowledged.
    pub fn is_closed(&self) -> bool {
        self.has_fin && self.fin.precedes(self.acked)
    }
}
