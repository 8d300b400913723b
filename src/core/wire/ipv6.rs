//! IPv6 (RFC 8200), as much of it as an end host needs: extension headers are skipped with a bound, fragments refused.

use super::{
    icmp_error_out::IcmpErrorOut,
    ip_header::{IpHeader, Protocol},
    ipv4::Quoted,
    put_words,
};
use crate::drops::DropReason;
use std::net::{IpAddr, Ipv6Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Bytes of the fixed header, the only one we send.
pub const HEADER_LEN: usize = size_of::<Layout>();
/// Extension headers that are skipped; more is an attack or an accident (RFC 8504 §5.3).
const MAX_EXTENSION_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

const NO_NEXT_HEADER: u8 = 59;

/// Where the fixed header names what follows it.
const NEXT_HEADER_AT: usize = 6;
const FRAGMENT_OFFSET: u16 = 0xfff8;
const PAD_1: u8 = 0;
/// The bits of an option that say what becomes of a packet whose receiver does not know it.
const UNKNOWN_ACTION: u8 = 0xc0;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    version_class_flow: [u8; 4],
    payload_length: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// Reads a header and returns it with the transport payload behind any extension headers. They are refused where only what is
/// `USUAL` is wanted.
///
/// # Errors
/// The [`DropReason`] that applies.
#[inline(always)]
pub(super) fn parse<const USUAL: bool>(packet: &[u8]) -> Result<(IpHeader, &[u8]), DropReason> {
    let (layout, rest) = Layout::ref_from_prefix(packet).map_err(|_| DropReason::TruncatedIp)?;
    let [first, second, ..] = layout.version_class_flow;
    if first >> 4 != 6 {
        return Err(DropReason::WrongIpVersion);
    }
    let payload = rest.get(..usize::from(layout.payload_length.get())).ok_or(DropReason::BadIpLength)?;
    let source = Ipv6Addr::from(layout.source);
    // An IPv4-mapped address has no business on the wire (RFC 4942 §2.2) and would alias an IPv4 connection.
    if source.is_multicast() || source.is_loopback() || source.to_ipv4_mapped().is_some() {
        return Err(DropReason::InvalidSource);
    }
    let (next_header, payload) =
        if USUAL { (layout.next_header, payload) } else { skip_extensions(layout.next_header, payload)? };
    let header = IpHeader {
        source: IpAddr::V6(source),
        destination: IpAddr::V6(layout.destination.into()),
        protocol: Protocol::from_number(next_header, true).ok_or(DropReason::UnknownProtocol)?,
        traffic_class: (first << 4) | (second >> 4),
        hop_limit: layout.hop_limit,
    };
    Ok((header, payload))
}

fn skip_extensions(mut next_header: u8, mut payload: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    for number in 0..=MAX_EXTENSION_HEADERS {
        match next_header {
            // Anywhere else it is as unknown as any (RFC 8200 §4.1).
            HOP_BY_HOP if number > 0 => break,
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {
                let (&[next, length], _) = payload.split_first_chunk().ok_or(DropReason::BadExtensionHeaders)?;
                let (header, behind) =
                    payload.split_at_checked(8 + 8 * usize::from(length)).ok_or(DropReason::BadExtensionHeaders)?;
                if next_header != ROUTING {
                    check_options(&header[2..])?;
                } else if header[3] != 0 {
                    // A routing header that still names a next hop is not for an end host; type 0 is forbidden (RFC 5095).
                    return Err(DropReason::BadExtensionHeaders);
                }
                (next_header, payload) = (next, behind);
            }
            FRAGMENT => return Err(DropReason::Fragment),
            _ => return Ok((next_header, payload)),
        }
    }
    Err(DropReason::BadExtensionHeaders)
}

/// Options that we do not know, which is all but padding, are skipped where their sender allows it (RFC 8200 §4.2). The size of a
/// frame bounds their number.
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    while let [kind, rest @ ..] = options {
        if *kind == PAD_1 {
            options = rest;
            continue;
        }
        if *kind & UNKNOWN_ACTION != 0 {
            return Err(DropReason::UnknownIpOption);
        }
        let length = usize::from(*rest.first().ok_or(DropReason::BadExtensionHeaders)?);
        options = rest.get(1 + length..).ok_or(DropReason::BadExtensionHeaders)?;
    }
    Ok(())
}

/// The ICMP error that is owed to the sender of a packet which was refused for this reason (RFC 8200 §4, RFC 4443 §3.4).
pub(super) fn error_for(packet: &[u8], reason: DropReason) -> Option<IcmpErrorOut> {
    if reason == DropReason::UnservedPort {
        return Some(IcmpErrorOut::PortUnreachable);
    }
    // Where the next header is named, and where that begins.
    let (mut named, mut at) = (NEXT_HEADER_AT, HEADER_LEN);
    for number in 0..=MAX_EXTENSION_HEADERS {
        let next_header = *packet.get(named)?;
        let field = |at: usize| at as u32;
        match next_header {
            HOP_BY_HOP if number > 0 => return Some(IcmpErrorOut::UnknownHeader { at: field(named) }),
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {
                let end = at + 8 + 8 * usize::from(*packet.get(at + 1)?);
                if next_header == ROUTING && *packet.get(at + 3)? != 0 {
                    return Some(IcmpErrorOut::ErroneousHeader { at: field(at + 2) });
                }
                if next_header != ROUTING && check_options(packet.get(at + 2..end)?).is_err() {
                    return unknown_option(packet, at + 2);
                }
                (named, at) = (at, end);
            }
            FRAGMENT => {
                let offset = u16::from_be_bytes([*packet.get(at + 2)?, *packet.get(at + 3)?]);
                return (offset & FRAGMENT_OFFSET == 0).then_some(IcmpErrorOut::ReassemblyRefused);
            }
            // There is nothing, and nothing wrong with that (RFC 8200 §4.7).
            NO_NEXT_HEADER => return None,
            _ => {
                return (reason == DropReason::UnknownProtocol)
                    .then_some(IcmpErrorOut::UnknownHeader { at: field(named) });
            }
        }
    }
    None
}

/// The first option from `at` on that must not be skipped, if its sender wants to hear of it.
fn unknown_option(packet: &[u8], mut at: usize) -> Option<IcmpErrorOut> {
    loop {
        let kind = *packet.get(at)?;
        match kind & UNKNOWN_ACTION {
            0 if kind == PAD_1 => at += 1,
            0 => at += 2 + usize::from(*packet.get(at + 1)?),
            0x40 => return None,
            action => return Some(IcmpErrorOut::UnknownOption { at: at as u32, even_to_group: action == 0x80 }),
        }
    }
}

/// Reads a packet of ours as an ICMP error quotes it, cut off somewhere. Extension headers may have been added on the way;
/// behind the header of a later fragment nothing is looked for. `None` where there is no whole header.
pub(super) fn parse_quoted(packet: &[u8]) -> Option<Quoted<'_>> {
    let (layout, mut rest) = Layout::ref_from_prefix(packet).ok()?;
    if layout.version_class_flow[0] >> 4 != 6 {
        return None;
    }
    let mut protocol = layout.next_header;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let length = match protocol {
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => 8 + 8 * usize::from(*rest.get(1)?),
            FRAGMENT if u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) & FRAGMENT_OFFSET == 0 => 8,
            _ => break,
        };
        protocol = *rest.first()?;
        rest = rest.get(length..)?;
    }
    Some(Quoted {
        source: IpAddr::V6(layout.source.into()),
        destination: IpAddr::V6(layout.destination.into()),
        protocol,
        packet_len: HEADER_LEN + usize::from(layout.payload_length.get()),
        rest,
    })
}

/// Writes a header for `payload_len` bytes and returns the room behind it.
///
/// # Panics
/// Where the addresses are not IPv6, or the packet exceeds `buffer` or 65,535 bytes of payload.
#[inline]
pub(super) fn write<'a>(header: &IpHeader, payload_len: usize, buffer: &'a mut [u8]) -> &'a mut [u8] {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (header.source, header.destination) else {
        unreachable!("an IPv6 header has IPv6 addresses");
    };
    let payload_length = u16::try_from(payload_len).expect("an IPv6 payload is at most 65,535 bytes long");
    let (front, rest) = buffer.split_at_mut(HEADER_LEN);
    let (fields, addresses) = front.split_at_mut(8);
    put_words(
        [
            6 << 28 | u32::from(header.traffic_class) << 20,
            u32::from(payload_length) << 16 | u32::from_be_bytes([0, 0, header.protocol.number(), header.hop_limit]),
        ],
        fields,
    );
    addresses[..16].copy_from_slice(&source.octets());
    addresses[16..].copy_from_slice(&destination.octets());
    rest
}
