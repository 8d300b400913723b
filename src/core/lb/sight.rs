//! What is seen of a frame for a service: as much as the XDP program reads (`bpf/parse.h`), and no more.

use super::flow::{Flow, Kind};
use crate::{
    transport::Transport,
    wire::{Endpoint, FourTuple, SeqNumber},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const ETHERNET_LEN: usize = 14;
pub(super) const TAG_LEN: usize = 4;
pub(super) const IPV4_LEN: usize = 20;
pub(super) const IPV6_LEN: usize = 40;
const ICMP_LEN: usize = 8;
const TCP_LEN: usize = 20;

const MAX_EXTENSIONS: usize = 6;
/// How far into a frame the packet may begin that an ICMP error quotes.
const MAX_QUOTE_OFFSET: usize = 0x7f;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet as a balancer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Where the IP header begins.
    pub ip_offset: usize,
    /// Where it comes from.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// Whose it is, and what it says; an ICMP error is its quoted flow's.
    pub flow: Flow,
    pub kind: Kind,
    /// Where the packet begins that an ICMP error quotes.
    pub quote: usize,
    /// Whether it is cut off where it matters, or quotes what its destination never sent.
    pub is_malformed: bool,
}

impl Sight {
    /// Looks at a frame, untagged or of this VLAN. `None` where there is neither port nor protocol of a service to be
    /// seen.
    pub fn of(frame: &[u8], vlan: u16) -> Option<Self> {
        let mut ether_type = word(frame, ETHERNET_LEN - 2)?;
        let mut ip_offset = ETHERNET_LEN;
        if ether_type == 0x8100 {
            let control = word(frame, ip_offset)?;
            ether_type = word(frame, ip_offset + 2)?;
            if control & 0xfff != vlan {
                return None;
            }
            ip_offset += TAG_LEN;
        } else if vlan != 0 {
            return None;
        }
        match ether_type {
            0x0800 => Self::of_ipv4(frame, ip_offset),
            0x86dd => Self::of_ipv6(frame, ip_offset),
            _ => None,
        }
    }

    fn of_ipv4(frame: &[u8], ip_offset: usize) -> Option<Self> {
        let header = frame.get(ip_offset..ip_offset + IPV4_LEN)?;
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        let ends = (address(12), address(16));
        let length = usize::from(header[0] & 0xf) * 4;
        if length < IPV4_LEN {
            return None;
        }
        let (at, protocol, fragment) = (ip_offset + length, header[9], word(header, 6)? & 0x3fff);
        let look = Look { frame, ip_offset, ends };
        match (fragment, protocol) {
            (0, 1) => look.at_error(at),
            (0, _) => look.at_transport(at, protocol),
            _ => look.at_fragment(at, protocol, fragment & 0x1fff == 0),
        }
    }

    fn of_ipv6(frame: &[u8], ip_offset: usize) -> Option<Self> {
        let header = frame.get(ip_offset..ip_offset + IPV6_LEN)?;
        let address = |at: usize| -> Option<Ipv6Addr> {
            let octets: [u8; 16] = header[at..at + 16].try_into().ok()?;
            Some(octets.into())
        };
        let (source, destination) = (address(8)?, address(24)?);
        // On the wire a mapped address is nobody's (RFC 4942 section 2.2).
        if destination.to_ipv4_mapped().is_some() {
            return None;
        }
        let look = Look { frame, ip_offset, ends: (source.into(), destination.into()) };
        let (at, next) = skip_extensions(frame, ip_offset + IPV6_LEN, header[6]);
        match next {
            58 => look.at_error(at),
            44 => {
                let fragment = frame.get(at..at + 8)?;
                let is_first = word(fragment, 2)? & 0xfff8 == 0;
                let (behind, next) =
                    if is_first { skip_extensions(frame, at + 8, fragment[0]) } else { (at + 8, fragment[0]) };
                look.at_fragment(behind, next, is_first)
            }
            _ => look.at_transport(at, next),
        }
    }
}

/// A frame in which the IP header has been read.
struct Look<'a> {
    frame: &'a [u8],
    ip_offset: usize,
    ends: (IpAddr, IpAddr),
}

impl Look<'_> {
    fn saw(&self, transport: Transport, ports: (u16, u16), kind: Kind) -> Sight {
        let (source, destination) = self.ends;
        let tuple = FourTuple {
            local: Endpoint { address: destination, port: ports.1 },
            remote: Endpoint { address: source, port: ports.0 },
        };
        let flow = Flow { transport, tuple };
        Sight { ip_offset: self.ip_offset, source, destination, flow, kind, quote: 0, is_malformed: false }
    }

    fn ports(&self, at: usize) -> Option<(u16, u16)> {
        Some((word(self.frame, at)?, word(self.frame, at + 2)?))
    }

    fn at_transport(&self, at: usize, protocol: u8) -> Option<Sight> {
        if protocol == UDP {
            return Some(self.saw(Transport::Udp, self.ports(at).unwrap_or_default(), Kind::Datagram));
        }
        let ports = self.ports(at).filter(|_| protocol == TCP)?;
        let Some(header) = self.frame.get(at..at + TCP_LEN) else {
            let sight = self.saw(Transport::Tcp, ports, Kind::Fragment);
            return Some(Sight { is_malformed: true, ..sight });
        };
        let seq = SeqNumber::new(u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
        let kind = match header[13] & 0x17 {
            flags if flags & 0x04 != 0 => Kind::Rst(seq),
            flags if flags & 0x01 != 0 => Kind::Fin(seq),
            flags if flags & 0x12 == 0x02 => Kind::Syn(seq),
            _ => Kind::Segment(seq),
        };
        Some(self.saw(Transport::Tcp, ports, kind))
    }

    fn at_fragment(&self, at: usize, protocol: u8, is_first: bool) -> Option<Sight> {
        let transport = transport(protocol)?;
        let ports = if is_first { self.ports(at).unwrap_or_default() } else { (0, 0) };
        Some(self.saw(transport, ports, Kind::Fragment))
    }

    /// An error about what was sent in the name of the VIP: its ports stand the other way round.
    fn at_error(&self, at: usize) -> Option<Sight> {
        let kind = *self.frame.get(at)?;
        let quote = at + ICMP_LEN;
        let (ports_at, protocol, source, client): (_, _, IpAddr, IpAddr) = match self.ends.1 {
            IpAddr::V4(_) => {
                let ip = self.frame.get(quote..quote + IPV4_LEN)?;
                let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]).into();
                if !matches!(kind, 3 | 11 | 12) || ip[0] & 0xf != 5 || word(ip, 6)? & 0x1fff != 0 {
                    return None;
                }
                (quote + IPV4_LEN, ip[9], address(12), address(16))
            }
            IpAddr::V6(_) => {
                let ip = self.frame.get(quote..quote + IPV6_LEN)?;
                let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).ok().map(Ipv6Addr::from);
                if !matches!(kind, 1..=4) {
                    return None;
                }
                (quote + IPV6_LEN, ip[6], address(8)?.into(), address(24)?.into())
            }
        };
        let transport = transport(protocol)?;
        let (ours, theirs) = self.ports(ports_at)?;
        let mut sight = self.saw(transport, (theirs, ours), Kind::Error);
        sight.flow.tuple.remote.address = client;
        sight.quote = quote;
        sight.is_malformed = source != self.ends.1 || quote > MAX_QUOTE_OFFSET;
        Some(sight)
    }
}

fn transport(protocol: u8) -> Option<Transport> {
    match protocol {
        TCP => Some(Transport::Tcp),
        UDP => Some(Transport::Udp),
        _ => None,
    }
}

/// Where what follows the extension headers begins, and what it is.
fn skip_extensions(frame: &[u8], mut at: usize, mut next: u8) -> (usize, u8) {
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, 0 | 43 | 60) {
            break;
        }
        let Some(extension) = frame.get(at..at + 2) else { return (at, 59) };
        next = extension[0];
        at += (usize::from(extension[1]) + 1) * 8;
    }
    (at, next)
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}
