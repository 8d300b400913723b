//! UDP (RFC 768).

use super::{
    LinkHeader,
    checksum::Checksum,
    ip::{IpHeader, Protocol},
    tcp::ChecksumPolicy,
};
use crate::drops::DropReason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Bytes of the header.
pub const HEADER_LEN: usize = size_of::<Layout>();

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    source_port: U16,
    destination_port: U16,
    length: U16,
    checksum: [u8; 2],
}

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender's port; zero where it wants no answer.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The data.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads and verifies a datagram.
    ///
    /// # Errors
    /// The [`DropReason`] that applies.
    pub fn parse(ip: &IpHeader, bytes: &'a [u8], policy: ChecksumPolicy) -> Result<Self, DropReason> {
        let (layout, _) = Layout::ref_from_prefix(bytes).map_err(|_| DropReason::TruncatedUdp)?;
        let length = usize::from(layout.length.get());
        let payload = bytes.get(HEADER_LEN..length).ok_or(DropReason::BadUdpLength)?;
        verify_checksum(ip, &bytes[..length], layout.checksum, policy)?;
        if layout.destination_port == U16::ZERO {
            return Err(DropReason::PortZero);
        }
        let (source_port, destination_port) = (layout.source_port.get(), layout.destination_port.get());
        Ok(Self { source_port, destination_port, payload })
    }
}

fn verify_checksum(ip: &IpHeader, bytes: &[u8], stored: [u8; 2], policy: ChecksumPolicy) -> Result<(), DropReason> {
    if stored == [0; 2] {
        // The sender made none: its right in IPv4, but in IPv6 nothing else covers the addresses (RFC 8200 §8.1).
        return if ip.source.is_ipv4() { Ok(()) } else { Err(DropReason::BadUdpChecksum) };
    }
    let pseudo_header = Checksum::pseudo_header(ip.source, ip.destination, Protocol::Udp.number(), bytes.len());
    let is_partial = policy == ChecksumPolicy::AcceptPartial && stored == pseudo_header.folded();
    if is_partial || pseudo_header.with(bytes).is_valid() { Ok(()) } else { Err(DropReason::BadUdpChecksum) }
}

/// Writes a UDP frame into `buffer`, which is as long as [`frame_len`] says.
///
/// # Panics
/// Where `buffer` is too short.
pub fn write(link: &LinkHeader, ip: &IpHeader, ports: (u16, u16), payload: &[u8], buffer: &mut [u8]) {
    let length = HEADER_LEN + payload.len();
    let rest = link.write(ip.ether_type(), buffer);
    let datagram = &mut ip.write(length, rest)[..length];
    let (header, data) = datagram.split_at_mut(HEADER_LEN);
    let mut layout = Layout {
        source_port: U16::new(ports.0),
        destination_port: U16::new(ports.1),
        length: U16::new(u16::try_from(length).expect("a datagram fits an IP packet")),
        checksum: [0; 2],
    };
    let pseudo_header = Checksum::pseudo_header(ip.source, ip.destination, Protocol::Udp.number(), length);
    let sum = pseudo_header.with(layout.as_bytes()).plus(Checksum::of_copied(payload, data));
    layout.checksum = match sum.field() {
        [0, 0] => [0xff; 2], // the same number, but not the one that means none
        field => field,
    };
    header.copy_from_slice(layout.as_bytes());
}

/// Bytes of a frame with this many bytes of data.
pub fn frame_len(link: &LinkHeader, ip: &IpHeader, payload_len: usize) -> usize {
    link.len() + ip.len() + HEADER_LEN + payload_len
}
