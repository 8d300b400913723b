//! What is seen of a segment in a frame: where its fields are, with every bound checked once.

use super::{
    difference::{long, word},
    options::Options,
    translate::Refusal,
};
use crate::wire::{
    Endpoint, FourTuple, LinkHeader, SeqNumber, TcpFlags,
    checksum::Checksum,
    ethernet::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6},
};
use std::net::IpAddr;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const TCP: u8 = 6;
/// The bit that more fragments follow, and where in its packet one belongs.
const FRAGMENT: u16 = 0x3fff;

/// A TCP segment in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub link: LinkHeader,
    /// Where the IP header begins, the TCP header, the data, and where they end.
    pub ip: usize,
    pub tcp: usize,
    pub data: usize,
    pub end: usize,
    /// The ends, as the receiver has them.
    pub tuple: FourTuple,
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: TcpFlags,
    pub window: u16,
    pub options: Options,
}

/// Where the packet of a frame with a TCP segment ends: short frames are padded on the link.
pub(crate) fn packet_end(frame: &[u8]) -> Option<usize> {
    Sight::of(frame).ok().map(|sight| sight.end)
}

impl Sight {
    pub fn of(frame: &[u8]) -> Result<Self, Refusal> {
        let (link, ether_type, packet) = LinkHeader::parse(frame).map_err(|_| Refusal::NotOurs)?;
        let ip = frame.len() - packet.len();
        let (tcp, end) = match ether_type {
            ETHER_TYPE_IPV4 => bounds_v4(packet)?,
            ETHER_TYPE_IPV6 => bounds_v6(packet)?,
            _ => return Err(Refusal::NotOurs),
        };
        let (tcp, end) = (ip + tcp, ip + end);
        if end < tcp + TCP_LEN {
            return Err(Refusal::Malformed);
        }
        let data = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
        if data < tcp + TCP_LEN || data > end {
            return Err(Refusal::Malformed);
        }
        let (source, destination) = addresses(packet, ether_type == ETHER_TYPE_IPV4);
        let (local, remote) = (word(frame, tcp + 2), word(frame, tcp));
        Ok(Self {
            link,
            ip,
            tcp,
            data,
            end,
            tuple: FourTuple {
                local: Endpoint { address: destination, port: local },
                remote: Endpoint { address: source, port: remote },
            },
            seq: SeqNumber::new(long(frame, tcp + 4)),
            ack: SeqNumber::new(long(frame, tcp + 8)),
            flags: TcpFlags::from_bits_truncate(frame[tcp + 13]),
            window: word(frame, tcp + 14),
            options: Options::of(&frame[tcp + TCP_LEN..data])?.behind(tcp + TCP_LEN),
        })
    }

    pub fn is_ipv4(&self) -> bool {
        self.tuple.local.address.is_ipv4()
    }

    /// Octets of sequence space.
    pub fn len(&self) -> u32 {
        (self.end - self.data) as u32 + u32::from(self.flags.contains(TcpFlags::FIN))
    }

    /// Where the hop limit is.
    pub fn hops(&self) -> usize {
        self.ip + if self.is_ipv4() { 8 } else { 7 }
    }

    fn pseudo_header(&self) -> Checksum {
        let FourTuple { local, remote } = self.tuple;
        Checksum::pseudo_header(remote.address, local.address, TCP, self.end - self.tcp)
    }

    /// Whether the checksum is right.
    pub fn is_intact(&self, frame: &[u8]) -> bool {
        self.pseudo_header().with(&frame[self.tcp..self.end]).is_valid()
    }

    /// Whether the checksum is that of the pseudo header only, for some hardware to finish. One segment in 65,536 looks like that and
    /// is finished all the same: it is summed up.
    pub fn is_unfinished(&self, frame: &[u8]) -> bool {
        frame[self.tcp + 16..self.tcp + 18] == self.pseudo_header().folded() && !self.is_intact(frame)
    }
}

/// Finishes the checksum of a segment that hardware was to finish.
pub(crate) fn finish_checksum(frame: &mut [u8]) {
    let Ok(sight) = Sight::of(frame) else { return };
    if sight.is_unfinished(frame) {
        let field = sight.tcp + 16;
        frame[field..field + 2].fill(0);
        let sum = sight.pseudo_header().with(&frame[sight.tcp..sight.end]).field();
        frame[field..field + 2].copy_from_slice(&sum);
    }
}

/// Where the TCP header begins in an IPv4 packet, and where the packet ends.
fn bounds_v4(packet: &[u8]) -> Result<(usize, usize), Refusal> {
    if packet.len() < IPV4_LEN || packet[0] >> 4 != 4 {
        return Err(Refusal::Malformed);
    }
    let (header, length) = (usize::from(packet[0] & 0xf) * 4, usize::from(word(packet, 2)));
    if header < IPV4_LEN || length < header || length > packet.len() {
        return Err(Refusal::Malformed);
    }
    match (packet[9], word(packet, 6) & FRAGMENT) {
        (TCP, 0) => Ok((header, length)),
        (TCP, _) => Err(Refusal::Fragment),
        _ => Err(Refusal::NotOurs),
    }
}

/// As [`bounds_v4`]. Extension headers are left to whoever reads them.
fn bounds_v6(packet: &[u8]) -> Result<(usize, usize), Refusal> {
    if packet.len() < IPV6_LEN || packet[0] >> 4 != 6 {
        return Err(Refusal::Malformed);
    }
    let length = IPV6_LEN + usize::from(word(packet, 4));
    match packet[6] {
        TCP if length <= packet.len() => Ok((IPV6_LEN, length)),
        TCP => Err(Refusal::Malformed),
        44 => Err(Refusal::Fragment),
        _ => Err(Refusal::NotOurs),
    }
}

/// Source and destination of a packet whose header is there.
fn addresses(packet: &[u8], is_ipv4: bool) -> (IpAddr, IpAddr) {
    let v4 = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap_or_default());
    let v6 = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap_or_default());
    if is_ipv4 { (v4(12), v4(16)) } else { (v6(8), v6(24)) }
}
