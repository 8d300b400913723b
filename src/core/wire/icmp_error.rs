//! ICMP errors about our own packets (RFC 792, RFC 4443 §3), and how much of them can be believed: an error quotes the packet
//! it is about, and whoever did not see that packet cannot quote its sequence number.

use super::{Endpoint, FourTuple, SeqNumber, ip::Protocol, ipv4, ipv6};
use crate::drops::DropReason;

const DESTINATION_UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const FRAGMENTATION_NEEDED: u8 = 4;

const DESTINATION_UNREACHABLE_V6: u8 = 1;
const PACKET_TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;
const PARAMETER_PROBLEM_V6: u8 = 4;

/// Why something could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no way to its network.
    Network,
    /// Its network does not find it.
    Host,
    /// It does not speak TCP.
    Protocol,
    /// Nobody listens there.
    Port,
    /// Somebody on the way forbids it.
    Prohibited,
    /// A source route failed, though we send none.
    SourceRoute,
}

impl Unreachable {
    /// Whether RFC 1122 §4.2.3.9 calls it hard: no change of routes will help.
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::Protocol | Self::Port)
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 | 6 | 11 => Some(Self::Network),
            1 | 7 | 8 | 12 => Some(Self::Host),
            2 => Some(Self::Protocol),
            3 => Some(Self::Port),
            5 => Some(Self::SourceRoute),
            9 | 10 | 13..=15 => Some(Self::Prohibited),
            _ => None,
        }
    }

    const fn from_code_v6(code: u8) -> Option<Self> {
        match code {
            0 | 2 => Some(Self::Network),
            1 | 5 | 6 => Some(Self::Prohibited),
            3 => Some(Self::Host),
            4 => Some(Self::Port),
            7 => Some(Self::SourceRoute),
            _ => None,
        }
    }
}

/// What went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The packet could not be delivered.
    Unreachable(Unreachable),
    /// The packet did not fit a link that takes this many bytes; zero from routers older than RFC 1191.
    TooBig {
        /// The largest packet that fits, as the router says.
        mtu: u32,
    },
    /// The packet crossed too many routers, or a fragment of it was missing for too long.
    TimeExceeded,
    /// Somebody does not understand the packet's header.
    ParameterProblem,
}

/// As much of a TCP packet of ours as an error must return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its ends, ours being its source.
    pub tuple: FourTuple,
    /// Its sequence number.
    pub seq: SeqNumber,
    /// Bytes of the whole packet, IP header included, as its header says.
    pub packet_len: usize,
}

/// An ICMP error about a TCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What it went wrong with.
    pub quote: Quote,
}

impl IcmpError {
    /// Reads an error whose first eight bytes are `header` and whose checksum is right; `None` where it is another message.
    ///
    /// # Errors
    /// [`DropReason::SourceQuench`], [`DropReason::IgnoredIcmp`] for codes unheard of, [`DropReason::MalformedQuote`], and
    /// [`DropReason::UnmatchedIcmp`] where the quoted packet is not TCP.
    pub(super) fn parse(protocol: Protocol, header: &[u8; 8], quoted: &[u8]) -> Option<Result<Self, DropReason>> {
        let &[kind, code, _, _, field @ ..] = header;
        let field = u32::from_be_bytes(field);
        let unreachable = |reason: Option<Unreachable>| reason.map(ErrorKind::Unreachable);
        let kind = match (protocol, kind) {
            // RFC 1191 §4: the next hop's MTU is in the lower half of what RFC 792 leaves unused.
            (Protocol::Icmpv4, DESTINATION_UNREACHABLE) if code == FRAGMENTATION_NEEDED => {
                Some(ErrorKind::TooBig { mtu: field & 0xffff })
            }
            (Protocol::Icmpv4, DESTINATION_UNREACHABLE) => unreachable(Unreachable::from_code(code)),
            // MUST-55: whatever it quotes, nonsense included. RFC 6633 has abolished it.
            (Protocol::Icmpv4, SOURCE_QUENCH) => return Some(Err(DropReason::SourceQuench)),
            (Protocol::Icmpv4, TIME_EXCEEDED) | (Protocol::Icmpv6, TIME_EXCEEDED_V6) => Some(ErrorKind::TimeExceeded),
            (Protocol::Icmpv4, PARAMETER_PROBLEM) | (Protocol::Icmpv6, PARAMETER_PROBLEM_V6) => {
                Some(ErrorKind::ParameterProblem)
            }
            (Protocol::Icmpv6, DESTINATION_UNREACHABLE_V6) => unreachable(Unreachable::from_code_v6(code)),
            (Protocol::Icmpv6, PACKET_TOO_BIG_V6) => Some(ErrorKind::TooBig { mtu: field }),
            _ => return None,
        };
        let Some(kind) = kind else { return Some(Err(DropReason::IgnoredIcmp)) };
        Some(Quote::parse(protocol, quoted).map(|quote| Self { kind, quote }))
    }
}

impl Quote {
    /// Reads the beginning of a packet of ours. It may be cut off anywhere behind the TCP sequence number, which is all that
    /// RFC 792 promises; its checksums have been out of date since the first router.
    fn parse(protocol: Protocol, quoted: &[u8]) -> Result<Self, DropReason> {
        let quoted = match protocol {
            Protocol::Icmpv6 => ipv6::parse_quoted(quoted),
            _ => ipv4::parse_quoted(quoted),
        };
        let ipv4::Quoted { source, destination, protocol, packet_len, rest } =
            quoted.ok_or(DropReason::MalformedQuote)?;
        if protocol != Protocol::Tcp.number() {
            return Err(DropReason::UnmatchedIcmp);
        }
        let (&[s0, s1, d0, d1, seq @ ..], _) = rest.split_first_chunk::<8>().ok_or(DropReason::MalformedQuote)?;
        let local = Endpoint { address: source, port: u16::from_be_bytes([s0, s1]) };
        let remote = Endpoint { address: destination, port: u16::from_be_bytes([d0, d1]) };
        let seq = SeqNumber::new(u32::from_be_bytes(seq));
        Ok(Self { tuple: FourTuple { local, remote }, seq, packet_len })
    }
}
