//! What a handshake agrees on: what each side offers in its SYN, and what comes of the two (RFC 9293 §3.7.1, RFC 7323, RFC 2018,
//! RFC 3168).

use super::{
    cx::Cx,
    ecn,
    receive::window_scale_for,
    timestamps::{self, TimestampState},
};
use crate::{
    config::TcpConfig,
    wire::{FourTuple, LinkHeader, SeqNumber, TcpFlags, TcpHeader, TcpOptions, ip, tcp},
};
use std::net::IpAddr;

/// The most data in a segment that one listener, or connection, sends and asks its peer for: TCP_MAXSEG of other stacks. By
/// default as much as the link takes. As in the MSS option, octets of TCP options count as data (RFC 6691 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSegment(u16);

impl Default for MaxSegment {
    fn default() -> Self {
        Self(u16::MAX)
    }
}

impl MaxSegment {
    /// The least that may be chosen: the options of a segment leave some room for data.
    pub const LEAST: u16 = 88;

    /// So many octets, or [`MaxSegment::LEAST`] where they are less.
    pub fn new(octets: u16) -> Self {
        Self(octets.max(Self::LEAST))
    }

    /// What is left of an MSS.
    pub fn of(self, mss: u16) -> u16 {
        mss.min(self.0)
    }
}

/// The least a peer may want: with less it would have us spend a header on every few octets. Small devices do want as little as
/// 100, so it is not more; what many small segments cost us has a limit of its own ([`TcpConfig::max_segments`]).
const SMALLEST_MSS: u16 = 64;

/// The MSS assumed where the peer names none (MUST-15).
pub const fn default_mss(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => 536,
        IpAddr::V6(_) => 1_220,
    }
}

/// The most data in one of our segments to or from `address` at this MTU, and the MSS we announce (MUST-67).
pub fn mss_for(address: IpAddr, mtu: usize) -> u16 {
    let data = mtu.saturating_sub(ip::header_len(address) + tcp::HEADER_LEN);
    u16::try_from(data).unwrap_or(u16::MAX)
}

/// The window field of our SYN-ACK, which is never scaled (RFC 7323 §2.2).
pub fn syn_ack_window(config: &TcpConfig) -> u16 {
    u16::try_from(config.receive_buffer.min(config.initial_window)).unwrap_or(u16::MAX)
}

/// What the two ends of a connection use of what TCP has beyond RFC 9293.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Timestamps (RFC 7323).
    pub timestamps: bool,
    /// Selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: bool,
    /// The most that the peer takes in a segment.
    pub max_segment: MaxSegment,
}

impl Default for Terms {
    fn default() -> Self {
        Self { timestamps: true, sack: true, ecn: true, max_segment: MaxSegment::default() }
    }
}

/// What a peer's SYN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The most data the peer takes in a segment.
    pub mss: u16,
    /// The peer's window scale.
    pub window_scale: Option<u8>,
    /// Whether it understands SACK.
    pub sack: bool,
    /// Whether it understands ECN (RFC 3168).
    pub ecn: bool,
    /// Whether it has sent timestamps, so that every segment carries them.
    pub timestamps: bool,
}

impl Offer {
    /// The offer of a SYN with these options; `default_mss` where it names none.
    pub fn of_syn(options: &TcpOptions, ecn: bool, default_mss: u16) -> Self {
        Self {
            mss: options.mss.unwrap_or(default_mss),
            window_scale: options.window_scale,
            sack: options.sack_permitted,
            ecn,
            timestamps: options.timestamps.is_some(),
        }
    }
}

/// What a handshake agreed on, or is about to.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// The two ends.
    pub tuple: FourTuple,
    /// The link header that answers the peer's frames.
    pub link: LinkHeader,
    /// Our initial sequence number.
    pub iss: SeqNumber,
    /// The peer's initial sequence number.
    pub irs: SeqNumber,
    /// The most data the peer takes in one segment: its MSS option, or the default (MUST-15).
    pub peer_mss: u16,
    /// The peer's window scale; `None` where scaling is not used either way (RFC 7323 §2.2).
    pub peer_window_scale: Option<u8>,
    /// Whether the peer understands SACK, and we want to use it.
    pub sack: bool,
    /// Whether both sides use ECN.
    pub ecn: bool,
    /// Both clocks, where the peer's SYN had timestamps.
    pub clocks: Option<TimestampState>,
    /// What our side chose for the size of segments, where it is less than the link takes.
    pub max_segment: MaxSegment,
}

impl Handshake {
    /// What our SYN, numbered `iss`, and the peer's, numbered `irs`, come to where the peer offers this and is answered by way of
    /// `link`: without timestamps, and with segments as large as both ends take.
    pub fn new(
        tuple: FourTuple,
        link: LinkHeader,
        iss: SeqNumber,
        irs: SeqNumber,
        offer: &Offer,
        config: &TcpConfig,
    ) -> Self {
        Self {
            tuple,
            link,
            iss,
            irs,
            peer_mss: offer.mss,
            peer_window_scale: offer.window_scale,
            sack: offer.sack && config.sack,
            ecn: offer.ecn,
            clocks: None,
            max_segment: MaxSegment::default(),
        }
    }

    /// One of which nothing is known but our own side: the peer has not answered.
    pub(super) fn unanswered(tuple: FourTuple, iss: SeqNumber, config: &TcpConfig) -> Self {
        let nothing = Offer::of_syn(&TcpOptions::default(), false, default_mss(tuple.remote.address));
        Self::new(tuple, LinkHeader::default(), iss, SeqNumber::default(), &nothing, config)
    }

    /// Eff.snd.MSS (MUST-16): the most data in one segment, octets.
    pub(super) fn effective_mss(&self, config: &TcpConfig) -> u32 {
        let ours = self.max_segment.of(mss_for(self.tuple.local.address, config.mtu));
        let announced = u32::from(self.peer_mss.max(SMALLEST_MSS).min(ours));
        // The MSS counts options as if there were none (RFC 6691 §2), so what they take is the data's loss.
        announced.saturating_sub(self.clocks.map_or(0, |_| timestamps::OPTION_LEN)).max(1)
    }

    /// The options of our SYN-ACK, if it is sent at `now`.
    pub fn syn_ack_options(&self, cx: Cx<'_>) -> TcpOptions {
        TcpOptions {
            mss: Some(self.max_segment.of(mss_for(self.tuple.local.address, cx.config.mtu))),
            window_scale: self.peer_window_scale.map(|_| window_scale_for(cx.config.receive_buffer)),
            sack_permitted: self.sack,
            timestamps: self.clocks.map(|clocks| clocks.option(cx.now)),
            ..TcpOptions::default()
        }
    }

    /// Our SYN-ACK, with these options.
    pub fn syn_ack(&self, options: TcpOptions, config: &TcpConfig) -> TcpHeader {
        TcpHeader {
            source_port: self.tuple.local.port,
            destination_port: self.tuple.remote.port,
            seq: self.iss,
            ack: self.irs.advance(1),
            flags: TcpFlags::SYN | TcpFlags::ACK | ecn::syn_ack_flags(self.ecn),
            window: syn_ack_window(config),
            urgent: 0,
            options,
        }
    }
}
