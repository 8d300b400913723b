//! The PROXY protocol, versions 1 and 2: on whose behalf a connection was opened (HAProxy's specification, `proxy-protocol.txt`).
//!
//! Written here because `ppp` wants a header in one slice, leaves its CRC32c unchecked, says of a version 1 line only that there is
//! more to come, and builds headers in a `Vec`; the format is a line of text, or 16 octets and two addresses.
//!
//! What a header says is believed by whoever reads it: it must be read only from those who are trusted.

mod v1;
mod v2;

use super::pieces::Pieces;
use crate::drops::named;
use std::net::SocketAddr;

/// Octets that [`write()`] takes at most: a line of version 1 with its CRLF (§2.1). Version 2 takes 52 without TLVs.
pub const MAX_HEADER: usize = 107;

/// Octets of the longest header that is read. Its addresses take 232 of them at most; the rest is for TLVs, of which the names in a
/// client's certificate are the longest.
pub const MAX_READ: usize = 4 * 1024;

/// What there is at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// More octets are needed.
    Partly {
        /// Do not ask again with fewer than this many in all; at most [`MAX_READ`].
        needed: usize,
    },
    /// A header.
    Read {
        /// Its octets, to be consumed: what follows is the connection's own.
        length: usize,
        /// What it says.
        about: About,
    },
    /// Not a header that can be read, and why.
    Not(NotHeader),
}

/// What a header says of the connection on whose behalf this one was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing: the connection's own ends count. It is LOCAL (the proxy's own, such as a health check), UNKNOWN, or of a protocol that
    /// has no place here: UDP, or sockets of UNIX.
    Unknown,
    /// Its ends.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// What the client connected to: of the source's address family.
        destination: SocketAddr,
    },
}

named! {
    /// Why octets are no header that can be read.
    NotHeader {
        /// What comes first is neither version's signature.
        NoHeader => "no_header",
        /// Of a version that nobody knows, or with a command, address family or protocol that version 2 does not have.
        Unknown => "unknown",
        /// A line of more than 107 octets, or a header longer than [`MAX_READ`].
        TooLong => "too_long",
        /// Addresses, ports or lengths that are wrong.
        Malformed => "malformed",
        /// The CRC32c that it carries is not its own (§2.2.5).
        WrongChecksum => "wrong_checksum",
    }
}

/// One of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Octets.
    V2,
}

/// Reads a header of either version from the beginning of what has arrived.
///
/// TLVs are skipped, but they must fill the header exactly; a CRC32c among them must be right.
pub fn read(pieces: [&[u8]; 2]) -> Header {
    let pieces = Pieces(pieces);
    let read = match pieces.get(0) {
        None => Ok(Header::Partly { needed: 1 }),
        Some(first) if first == v2::SIGNATURE[0] => v2::read(pieces),
        Some(_) => v1::read(pieces),
    };
    read.unwrap_or_else(Header::Not)
}

/// Writes a header about a TCP connection, and says how long it is.
///
/// Where one end is of IPv4 and the other one of IPv6, which no header has words for, version 2 says IPv6 with the IPv4 address mapped
/// into it (RFC 4291 §2.5.5.2): nothing is lost. Version 1 says UNKNOWN, for its readers take mapped addresses in more than one way.
/// Flow labels and scopes of IPv6 are left out.
pub fn write(version: Version, source: SocketAddr, destination: SocketAddr, into: &mut [u8; MAX_HEADER]) -> usize {
    match version {
        Version::V1 => v1::write(source, destination, into),
        Version::V2 => v2::write(source, destination, into),
    }
}

/// Whether what has arrived begins as `signature` does, as far as both go.
fn begins(pieces: Pieces<'_>, signature: &[u8]) -> bool {
    signature.iter().enumerate().all(|(at, octet)| pieces.get(at).is_none_or(|found| found == *octet))
}
