//! What IPv4 and IPv6 headers have in common, as one value.

use std::net::IpAddr;

/// Hop limit of what we send (RFC 1700 recommended 64; MUST-49 makes it configurable).
pub const DEFAULT_HOP_LIMIT: u8 = 64;

/// The transports we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP, protocol 6.
    Tcp,
    /// UDP, protocol 17.
    Udp,
    /// ICMP for IPv4, protocol 1.
    Icmpv4,
    /// ICMP for IPv6, next header 58.
    Icmpv6,
}

impl Protocol {
    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv4 => 1,
            Self::Icmpv6 => 58,
        }
    }

    /// The transport with this number; each ICMP belongs to one IP version only.
    pub(super) const fn from_number(number: u8, is_ipv6: bool) -> Option<Self> {
        match (number, is_ipv6) {
            (6, _) => Some(Self::Tcp),
            (17, _) => Some(Self::Udp),
            (1, false) => Some(Self::Icmpv4),
            (58, true) => Some(Self::Icmpv6),
            _ => None,
        }
    }
}

/// A Differentiated Services code point: six bits that name a treatment (RFC 2474).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    /// The code point with this number; none above 63.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 64 { Some(Self(number)) } else { None }
    }

    /// That of a traffic class.
    pub const fn of(traffic_class: u8) -> Self {
        Self(traffic_class >> 2)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The traffic class of a packet with this code point and an ECN codepoint.
    pub const fn with(self, ecn: Codepoint) -> u8 {
        self.0 << 2 | ecn as u8
    }
}

/// What a packet says about congestion (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codepoint {
    /// Routers drop it where they must.
    NotCapable = 0b00,
    /// ECT(1): they may mark it instead.
    Capable1 = 0b01,
    /// ECT(0): the same, and what we send.
    Capable0 = 0b10,
    /// CE: one has.
    CongestionExperienced = 0b11,
}

impl Codepoint {
    /// That of a traffic class.
    pub const fn of(traffic_class: u8) -> Self {
        match traffic_class & 0b11 {
            0b00 => Self::NotCapable,
            0b01 => Self::Capable1,
            0b10 => Self::Capable0,
            _ => Self::CongestionExperienced,
        }
    }
}

/// The fields of an IPv4 or IPv6 header that the stack looks at or sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Sender.
    pub source: IpAddr,
    /// Receiver; of the same family as the sender.
    pub destination: IpAddr,
    /// The transport behind it.
    pub protocol: Protocol,
    /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
}

impl IpHeader {
    /// A header with default traffic class and hop limit.
    pub const fn new(source: IpAddr, destination: IpAddr, protocol: Protocol) -> Self {
        Self { source, destination, protocol, traffic_class: 0, hop_limit: DEFAULT_HOP_LIMIT }
    }
}
