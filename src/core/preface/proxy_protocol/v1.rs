//! Version 1: a line of text (§2.1).

use super::{About, Header, MAX_HEADER, NotHeader, Pieces, begins};
use std::{
    fmt,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{self, FromStr},
};

const SIGNATURE: &[u8] = b"PROXY ";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
const CRLF: &[u8] = b"\r\n";

/// Spaces of a line that says something; each is followed by an octet at least.
const SPACES: usize = 5;

pub(super) fn read(pieces: Pieces<'_>) -> Result<Header, NotHeader> {
    if !begins(pieces, SIGNATURE) {
        return Err(NotHeader::NoHeader);
    }
    let mut line = [0; MAX_HEADER];
    let arrived = pieces.copy(0, &mut line);
    let line = &line[..arrived];
    if let Some(end) = line.windows(CRLF.len()).position(|octets| octets == CRLF) {
        return Ok(Header::Read { length: end + CRLF.len(), about: about(&line[..end])? });
    }
    let needed = least(line);
    if needed > MAX_HEADER { Err(NotHeader::TooLong) } else { Ok(Header::Partly { needed }) }
}

/// The least that a line may come to that begins so.
fn least(line: &[u8]) -> usize {
    let spaces = line.iter().filter(|&&octet| octet == b' ').count();
    let may_say_nothing = UNKNOWN.iter().zip(line).all(|(octet, found)| octet == found);
    let missing = if may_say_nothing { 0 } else { 2 * SPACES.saturating_sub(spaces) };
    let ending = if line.ends_with(b"\r") { 1 } else { CRLF.len() };
    (line.len() + missing + ending).max(UNKNOWN.len() + CRLF.len())
}

fn about(line: &[u8]) -> Result<About, NotHeader> {
    // What follows UNKNOWN is to be ignored.
    if line.starts_with(UNKNOWN) && line.get(UNKNOWN.len()).is_none_or(|next| *next == b' ') {
        return Ok(About::Unknown);
    }
    let line = str::from_utf8(line).map_err(|_| NotHeader::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().ok_or(NotHeader::Malformed);
    let family = next()?;
    let [source, destination, source_port, destination_port] = [next()?, next()?, next()?, next()?];
    if words.next().is_some() {
        return Err(NotHeader::Malformed);
    }
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(NotHeader::Malformed),
    };
    let source = SocketAddr::new(source, port(source_port)?);
    let destination = SocketAddr::new(destination, port(destination_port)?);
    Ok(About::Proxied { source, destination })
}

fn address<A: FromStr + Into<IpAddr>>(word: &str) -> Result<IpAddr, NotHeader> {
    word.parse::<A>().map(A::into).map_err(|_| NotHeader::Malformed)
}

/// Digits alone, and no zero in front of others.
fn port(word: &str) -> Result<u16, NotHeader> {
    let is_plain = word.bytes().all(|octet| octet.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain).ok_or(NotHeader::Malformed)
}

pub(super) fn write(source: SocketAddr, destination: SocketAddr, into: &mut [u8; MAX_HEADER]) -> usize {
    let mut rest = &mut into[..];
    let (from, to) = (source.port(), destination.port());
    let written = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            write!(rest, "PROXY TCP4 {source} {destination} {from} {to}\r\n")
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            write!(rest, "PROXY TCP6 {} {} {from} {to}\r\n", Hexadecimal(source), Hexadecimal(destination))
        }
        _ => write!(rest, "PROXY UNKNOWN\r\n"),
    };
    // The longest addresses and ports fit: 104 octets.
    debug_assert!(written.is_ok());
    let left = rest.len();
    MAX_HEADER - left
}

/// An IPv6 address without the dots of a mapped one, which version 1 does not know.
struct Hexadecimal(Ipv6Addr);

impl fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_ipv4_mapped() {
            Some(_) => write!(f, "::ffff:{:x}:{:x}", self.0.segments()[6], self.0.segments()[7]),
            None => self.0.fmt(f),
        }
    }
}
