//! Whose packet an ICMP error quotes, TCP or UDP, for whoever only carries it on.

use super::{Endpoint, FourTuple, ip::IpHeader, ip::Protocol, ipv4, ipv6};

/// Bytes in front of the quoted packet.
const HEADER_LEN: usize = 8;

/// The flow of a quoted packet. Eight octets of its payload suffice, which is all that RFC 792 promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedFlow {
    /// What the packet carried.
    pub protocol: Protocol,
    /// Its ends, its source first: whoever hears of it has sent it.
    pub tuple: FourTuple,
}

impl QuotedFlow {
    /// The flow that an ICMP error in this packet is about; `None` where it is no error, or quotes too little, or
    /// quotes a packet that is neither TCP nor UDP, or a fragment but the first.
    ///
    /// Nothing more is checked: whoever's flow it is does that.
    pub fn read(ip: &IpHeader, message: &[u8]) -> Option<Self> {
        let (header, quoted) = message.split_at_checked(HEADER_LEN)?;
        // Redirects are no errors, and a source quench RFC 6633 has abolished.
        let (quoted, is_ipv6) = match (ip.protocol, header[0]) {
            (Protocol::Icmpv4, 3 | 11 | 12) => (ipv4::parse_quoted(quoted)?, false),
            (Protocol::Icmpv6, 1..=4) => (ipv6::parse_quoted(quoted)?, true),
            _ => return None,
        };
        let protocol = Protocol::from_number(quoted.protocol, is_ipv6)?;
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            return None;
        }
        let (&[s0, s1, d0, d1, ..], _) = quoted.rest.split_first_chunk::<8>()?;
        let end = |address, port| Endpoint { address, port: u16::from_be_bytes(port) };
        let tuple = FourTuple { local: end(quoted.source, [s0, s1]), remote: end(quoted.destination, [d0, d1]) };
        Some(Self { protocol, tuple })
    }
}
