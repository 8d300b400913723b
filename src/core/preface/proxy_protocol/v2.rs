//! Version 2: sixteen octets, two addresses, and TLVs (§2.2).

use super::{About, Header, MAX_HEADER, MAX_READ, NotHeader, Pieces, begins};
use crate::preface::crc32c::crc32c;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::Range,
};

pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const FIXED: usize = 16;
const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const VERSION_AND_PROXY: u8 = VERSION << 4 | PROXY;

const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UDP6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

/// Octets of two addresses and, but for UNIX, two ports.
const ENDS_4: usize = 12;
const ENDS_6: usize = 36;
const ENDS_UNIX: usize = 216;

const TLV_HEADER: usize = 3;
const TLV_CRC32C: u8 = 3;
const CRC32C: usize = 4;

pub(super) fn read(pieces: Pieces<'_>) -> Result<Header, NotHeader> {
    if !begins(pieces, &SIGNATURE) {
        return Err(NotHeader::NoHeader);
    }
    let Some(fixed) = pieces.array::<FIXED>(0) else { return Ok(Header::Partly { needed: FIXED }) };
    let [command, family, high, low] = fixed[SIGNATURE.len()..] else { return Err(NotHeader::Malformed) };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != VERSION || command & 0xf > PROXY {
        return Err(NotHeader::Unknown);
    }
    if length > MAX_READ {
        return Err(NotHeader::TooLong);
    }
    // Of what is not to be used, nothing is to be looked at either (§2.2).
    let ends = if command & 0xf == LOCAL { None } else { ends(family)? };
    let tlvs = match ends {
        Some(ends) if FIXED + ends > length => return Err(NotHeader::Malformed),
        _ if pieces.len() < length => return Ok(Header::Partly { needed: length }),
        Some(ends) => FIXED + ends..length,
        None => return Ok(Header::Read { length, about: About::Unknown }),
    };
    check(pieces, tlvs)?;
    let about = match family {
        TCP4 => proxied::<4>(pieces),
        TCP6 => proxied::<16>(pieces),
        _ => Some(About::Unknown),
    };
    Ok(Header::Read { length, about: about.ok_or(NotHeader::Malformed)? })
}

/// How many octets the ends take; `None` where there are none.
fn ends(family: u8) -> Result<Option<usize>, NotHeader> {
    match family {
        UNSPEC => Ok(None),
        TCP4 | UDP4 => Ok(Some(ENDS_4)),
        TCP6 | UDP6 => Ok(Some(ENDS_6)),
        UNIX_STREAM | UNIX_DATAGRAM => Ok(Some(ENDS_UNIX)),
        _ => Err(NotHeader::Unknown),
    }
}

fn proxied<const N: usize>(pieces: Pieces<'_>) -> Option<About>
where
    IpAddr: From<[u8; N]>,
{
    let end = |which: usize| {
        let address = pieces.array::<N>(FIXED + which * N)?;
        Some(SocketAddr::new(address.into(), pieces.u16(FIXED + 2 * N + which * 2)?))
    };
    Some(About::Proxied { source: end(0)?, destination: end(1)? })
}

/// Walks over TLVs (§2.2.1), which end the header.
fn check(pieces: Pieces<'_>, tlvs: Range<usize>) -> Result<(), NotHeader> {
    let mut at = tlvs.start;
    let mut checksum = None;
    while at < tlvs.end {
        let value = at + TLV_HEADER;
        let length = pieces.u16(at + 1).ok_or(NotHeader::Malformed)?;
        let next = value + usize::from(length);
        if next > tlvs.end {
            return Err(NotHeader::Malformed);
        }
        if pieces.get(at) == Some(TLV_CRC32C) && (next - value != CRC32C || checksum.replace(value).is_some()) {
            return Err(NotHeader::Malformed);
        }
        at = next;
    }
    checksum.map_or(Ok(()), |field| check_sum(pieces, tlvs.end, field))
}

/// The checksum of all of the header, its own field being zero (§2.2.5).
fn check_sum(pieces: Pieces<'_>, length: usize, field: usize) -> Result<(), NotHeader> {
    let own = field..field + CRC32C;
    let octets = (0..length).map(|at| if own.contains(&at) { Some(0) } else { pieces.get(at) });
    let is_right = pieces.array(field).map(u32::from_be_bytes) == Some(crc32c(octets.flatten()));
    if is_right { Ok(()) } else { Err(NotHeader::WrongChecksum) }
}

pub(super) fn write(source: SocketAddr, destination: SocketAddr, into: &mut [u8; MAX_HEADER]) -> usize {
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            put(TCP4, [from.octets(), to.octets()].as_flattened(), [source, destination], into)
        }
        (from, to) => {
            put(TCP6, [mapped(from).octets(), mapped(to).octets()].as_flattened(), [source, destination], into)
        }
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn put(family: u8, addresses: &[u8], ends: [SocketAddr; 2], into: &mut [u8; MAX_HEADER]) -> usize {
    let ports = ends.map(|end| end.port().to_be_bytes());
    let length = (addresses.len() + ports.as_flattened().len()) as u16;
    let parts: [&[u8]; 5] =
        [&SIGNATURE, &[VERSION_AND_PROXY, family], &length.to_be_bytes(), addresses, ports.as_flattened()];
    let mut at = 0;
    for part in parts {
        into[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    at
}
