//! IPv4 (RFC 791), as much of it as an end host needs: options are skipped, fragments refused.

use super::{
    checksum::Checksum,
    ip_header::{IpHeader, Protocol},
    put_words,
};
use crate::drops::DropReason;
use std::net::{IpAddr, Ipv4Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Bytes of a header without options, the only kind we send.
pub const HEADER_LEN: usize = size_of::<Layout>();

/// The first octet of a header without options.
const VERSION_AND_LENGTH: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
const OFFSET: u16 = 0x1fff;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    version_and_length: u8,
    traffic_class: u8,
    total_length: U16,
    identification: U16,
    fragment: U16,
    time_to_live: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

/// Reads a header and returns it with the payload it announces; Ethernet padding is cut off. Options are refused where only what
/// is `USUAL` is wanted.
///
/// # Errors
/// The [`DropReason`] that applies.
#[inline(always)]
pub(super) fn parse<const USUAL: bool>(packet: &[u8]) -> Result<(IpHeader, &[u8]), DropReason> {
    let (layout, _) = Layout::ref_from_prefix(packet).map_err(|_| DropReason::TruncatedIp)?;
    let (header_len, sum) = match layout.version_and_length {
        VERSION_AND_LENGTH => (HEADER_LEN, Checksum::of(layout.as_bytes())),
        _ if USUAL => return Err(DropReason::BadIpHeaderLength),
        _ => sum_with_options(packet)?,
    };
    if !sum.is_valid() {
        return Err(DropReason::BadIpChecksum);
    }
    let total_length = usize::from(layout.total_length.get());
    if total_length < header_len || total_length > packet.len() {
        return Err(DropReason::BadIpLength);
    }
    let source = Ipv4Addr::from(layout.source);
    if matches!(layout.source[0], 0 | 127 | 224..=239) || layout.source == [255; 4] {
        return Err(DropReason::InvalidSource);
    }
    if layout.fragment.get() & MORE_FRAGMENTS_OR_OFFSET != 0 {
        return Err(DropReason::Fragment);
    }
    let header = IpHeader {
        source: IpAddr::V4(source),
        destination: IpAddr::V4(layout.destination.into()),
        protocol: Protocol::from_number(layout.protocol, false).ok_or(DropReason::UnknownProtocol)?,
        traffic_class: layout.traffic_class,
        hop_limit: layout.time_to_live,
    };
    Ok((header, &packet[header_len..total_length]))
}

/// The length of a header that has options, and the sum over it.
fn sum_with_options(packet: &[u8]) -> Result<(usize, Checksum), DropReason> {
    if packet[0] >> 4 != 4 {
        return Err(DropReason::WrongIpVersion);
    }
    let header_len = usize::from(packet[0] & 0xf) * 4;
    if header_len < HEADER_LEN || header_len > packet.len() {
        return Err(DropReason::BadIpHeaderLength);
    }
    Ok((header_len, Checksum::of(&packet[..header_len])))
}

/// The beginning of a packet that an ICMP error quotes.
pub(super) struct Quoted<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Bytes of the packet when it was whole, as its header says.
    pub packet_len: usize,
    /// As much as there is of what follows the IP header.
    pub rest: &'a [u8],
}

/// Reads a packet of ours as an ICMP error quotes it: cut off somewhere, and with a checksum that need not be right any more.
/// `None` where there is no whole header, or where it is that of a later fragment.
pub(super) fn parse_quoted(packet: &[u8]) -> Option<Quoted<'_>> {
    let (layout, _) = Layout::ref_from_prefix(packet).ok()?;
    let header_len = usize::from(layout.version_and_length & 0xf) * 4;
    if layout.version_and_length >> 4 != 4 || header_len < HEADER_LEN || layout.fragment.get() & OFFSET != 0 {
        return None;
    }
    Some(Quoted {
        source: IpAddr::V4(layout.source.into()),
        destination: IpAddr::V4(layout.destination.into()),
        protocol: layout.protocol,
        packet_len: layout.total_length.get().into(),
        rest: packet.get(header_len..)?,
    })
}

/// Writes a header for `payload_len` bytes and returns the room behind it.
///
/// DF is always set, for path MTU discovery (RFC 1191); so the identification may stay zero (RFC 6864 §4.1).
///
/// # Panics
/// Where the addresses are not IPv4, or the packet exceeds `buffer` or 65,535 bytes.
#[inline]
pub(super) fn write<'a>(header: &IpHeader, payload_len: usize, buffer: &'a mut [u8]) -> &'a mut [u8] {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (header.source, header.destination) else {
        unreachable!("an IPv4 header has IPv4 addresses");
    };
    let total_length = u16::try_from(HEADER_LEN + payload_len).expect("an IPv4 packet is at most 65,535 bytes long");
    let mut words = [
        u32::from_be_bytes([VERSION_AND_LENGTH, header.traffic_class, 0, 0]) | u32::from(total_length),
        u32::from(DONT_FRAGMENT),
        u32::from_be_bytes([header.hop_limit, header.protocol.number(), 0, 0]),
        source.to_bits(),
        destination.to_bits(),
    ];
    let [high, low] = Checksum::of_words(&words).field();
    words[2] |= u32::from_be_bytes([0, 0, high, low]);
    put_words(words, buffer)
}
