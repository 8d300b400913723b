//! Packets in packets: IP in IP (RFC 2003, RFC 2473, RFC 4213), and Generic UDP Encapsulation (draft-ietf-intarea-gue,
//! variant 1), which has an IP header right behind that of UDP.

use super::{checksum::Checksum, ethernet};
use std::net::{IpAddr, Ipv4Addr};

/// The UDP port of Generic UDP Encapsulation (IANA: gue).
pub const GUE_PORT: u16 = 6080;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const UDP: u8 = 17;
const HOP_LIMIT: u8 = 64;

/// What lies between the outer IP header and the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Nothing.
    Ip,
    /// UDP to port [`GUE_PORT`].
    Gue,
}

/// A tunnel, as packets of one flow are put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// What lies between the two IP headers.
    pub encapsulation: Encapsulation,
    /// Where it begins.
    pub source: IpAddr,
    /// Where it ends: an address of the same IP version.
    pub end: IpAddr,
    /// A number of the flow's, for all of its packets: what lies between spreads flows over links by the UDP source port, or the IPv6
    /// flow label, which come from its lower bits.
    pub flow: u64,
}

/// What an inner packet leaves to its outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Whether it is of IPv4.
    pub is_ipv4: bool,
    /// Its length, octets.
    pub length: u16,
    /// Its traffic class, or type of service.
    pub traffic_class: u8,
}

impl Tunnel {
    /// Octets in front of the inner packet.
    pub fn overhead(&self) -> usize {
        let ip = if self.end.is_ipv4() { IPV4_LEN } else { IPV6_LEN };
        match self.encapsulation {
            Encapsulation::Ip => ip,
            Encapsulation::Gue => ip + UDP_LEN,
        }
    }

    /// The EtherType of what is in the tunnel.
    pub fn ether_type(&self) -> u16 {
        if self.end.is_ipv4() { ethernet::ETHER_TYPE_IPV4 } else { ethernet::ETHER_TYPE_IPV6 }
    }

    /// Writes the outer headers of a packet into [`Tunnel::overhead`] octets.
    ///
    /// # Panics
    /// Where there is less room, or the packet and they are longer than a packet can be.
    pub fn write(&self, inner: &Inner, buffer: &mut [u8]) {
        let inner_protocol = if inner.is_ipv4 { IPV4_IN_IP } else { IPV6_IN_IP };
        let protocol = match self.encapsulation {
            Encapsulation::Ip => inner_protocol,
            Encapsulation::Gue => UDP,
        };
        let length = inner.length + self.overhead() as u16;
        let behind = match (self.source, self.end) {
            (IpAddr::V4(source), IpAddr::V4(end)) => {
                let (header, behind) = buffer.split_at_mut(IPV4_LEN);
                header.copy_from_slice(&ipv4_header(inner.traffic_class, length, protocol, source, end));
                behind
            }
            (source, end) => {
                let (header, behind) = buffer.split_at_mut(IPV6_LEN);
                let label = (self.flow & 0xf_ffff) as u32;
                let first = 6 << 28 | u32::from(inner.traffic_class) << 20 | label;
                header[..4].copy_from_slice(&first.to_be_bytes());
                header[4..6].copy_from_slice(&(length - IPV6_LEN as u16).to_be_bytes());
                header[6..8].copy_from_slice(&[protocol, HOP_LIMIT]);
                header[8..24].copy_from_slice(&octets(source));
                header[24..].copy_from_slice(&octets(end));
                behind
            }
        };
        if self.encapsulation == Encapsulation::Gue {
            // Of the dynamic range (RFC 6335 §6); a checksum of 0 is none, which IPv6 allows for tunnels (RFC 6935).
            let source = 0xc000 | (self.flow & 0x3fff) as u16;
            let fields = [source, GUE_PORT, inner.length + UDP_LEN as u16, 0];
            behind[..UDP_LEN].copy_from_slice(fields.map(u16::to_be_bytes).as_flattened());
        }
    }

    /// Puts a packet into the tunnel that stands behind a link header of `link_len` octets in a frame of `length`; returns how long
    /// the frame is then.
    ///
    /// # Panics
    /// Where there is no IP packet, or the buffer has no room for [`Tunnel::overhead`] more.
    pub fn wrap(&self, link_len: usize, length: usize, buffer: &mut [u8]) -> usize {
        let inner = Inner::of(&buffer[link_len..length]);
        let (overhead, ether_type) = (self.overhead(), self.ether_type().to_be_bytes());
        buffer.copy_within(link_len..length, link_len + overhead);
        buffer[link_len - ether_type.len()..link_len].copy_from_slice(&ether_type);
        self.write(&inner, &mut buffer[link_len..link_len + overhead]);
        length + overhead
    }
}

impl Inner {
    /// Of a packet that has been made or found good before.
    fn of(packet: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        if packet[0] >> 4 == 4 {
            Self { is_ipv4: true, length: word(2), traffic_class: packet[1] }
        } else {
            Self { is_ipv4: false, length: word(4) + IPV6_LEN as u16, traffic_class: (word(0) >> 4) as u8 }
        }
    }
}

/// The octets of an address in an IPv6 header.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A plain header, of a packet that nobody may fragment.
pub(crate) fn ipv4_header(
    traffic_class: u8,
    length: u16,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> [u8; IPV4_LEN] {
    let mut header = [0; IPV4_LEN];
    header[..2].copy_from_slice(&[0x45, traffic_class]);
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[6..10].copy_from_slice(&[0x40, 0, HOP_LIMIT, protocol]);
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let checksum = Checksum::of(&header).field();
    header[10..12].copy_from_slice(&checksum);
    header
}
