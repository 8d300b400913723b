//! PROXY headers of both versions: as written, as others write them, and wrong.

use super::{Word, assert_promises, looks};
use crate::{
    preface::{
        crc32c::crc32c,
        proxy_protocol::{self, About, Header, MAX_HEADER, MAX_READ, NotHeader, Version},
    },
    rng::cases,
};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ENDS_4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb];

fn ask(octets: &[u8]) -> Header {
    proxy_protocol::read([octets, &[]])
}

fn word(pieces: [&[u8]; 2]) -> Word<(usize, About)> {
    match proxy_protocol::read(pieces) {
        Header::Partly { needed } => {
            assert!(needed <= MAX_READ);
            Word::Partly(needed)
        }
        Header::Read { length, about } => Word::Answer((length, about)),
        Header::Not(_) => Word::Refused,
    }
}

fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

fn proxied(source: &str, destination: &str) -> About {
    About::Proxied { source: end(source), destination: end(destination) }
}

fn written(version: Version, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut octets = [0xee; MAX_HEADER];
    let length = proxy_protocol::write(version, source, destination, &mut octets);
    assert!(octets[length..].iter().all(|octet| *octet == 0xee), "nothing is written behind a header");
    octets[..length].to_vec()
}

/// A header of version 2.
fn binary(command: u8, family: u8, inside: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(inside.len() as u16).to_be_bytes(), inside].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

/// With a checksum that is right, or nearly.
fn summed(before: &[u8], behind: &[u8], change: u32) -> Vec<u8> {
    let inside = [ENDS_4, before, &tlv(3, &[0; 4]), behind].concat();
    let mut octets = binary(0x21, 0x11, &inside);
    let sum = crc32c(octets.iter().copied()) ^ change;
    let at = 16 + ENDS_4.len() + before.len() + 3;
    octets[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    octets
}

#[test]
fn headers_are_read_and_what_follows_is_left() {
    let four = proxied("192.0.2.1:40000", "198.51.100.1:443");
    let six = proxied("[2001:db8::1]:40000", "[2001:db8::2]:443");
    let longest = format!("PROXY UNKNOWN {:x<91}\r\n", "ffff:f...f:ffff ffff:f...f:ffff 65535 65535 ").into_bytes();
    let unix = binary(0x21, 0x31, &[b'/'; 216]);
    let six_ends =
        [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1, 0x20, 1, 0xd, 0xb8], &[0; 11], &[2], &ENDS_4[8..]].concat();
    let tlvs = [ENDS_4, &tlv(1, b"h2"), &tlv(4, &[]), &tlv(0x20, &[9; 300])].concat();
    assert_eq!(longest.len(), MAX_HEADER);
    for (octets, about) in [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n".to_vec(), four),
        (b"PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 40000 443\r\n".to_vec(), six),
        (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".to_vec(), proxied("0.0.0.0:0", "0.0.0.0:0")),
        (b"PROXY UNKNOWN\r\n".to_vec(), About::Unknown),
        (b"PROXY UNKNOWN \r\n".to_vec(), About::Unknown),
        (longest, About::Unknown),
        (binary(0x21, 0x11, ENDS_4), four),
        (binary(0x21, 0x21, &six_ends), six),
        (binary(0x21, 0x11, &tlvs), four),
        (summed(&[], &[], 0), four),
        (summed(&tlv(1, b"h2"), &tlv(5, &[7; 128]), 0), four),
        (binary(0x20, 0x00, &[]), About::Unknown),
        (binary(0x20, 0x11, ENDS_4), About::Unknown),
        (binary(0x20, 0xff, b"ignored"), About::Unknown),
        (binary(0x21, 0x00, b"ignored"), About::Unknown),
        (binary(0x21, 0x12, ENDS_4), About::Unknown),
        (binary(0x21, 0x22, &six_ends), About::Unknown),
        (unix, About::Unknown),
        (binary(0x21, 0x32, &[0; 216]), About::Unknown),
        (binary(0x21, 0x11, &[ENDS_4, &tlv(9, &vec![0; MAX_READ - 16 - 12 - 3])].concat()), four),
    ] {
        let length = octets.len();
        assert_eq!(ask(&octets), Header::Read { length, about }, "{octets:x?}");
        let followed = [octets, b"\r\nand what the client says".to_vec()].concat();
        assert_promises(&followed, word);
        assert!(looks(&followed, word) <= 48, "{} looks", looks(&followed, word));
    }
}

#[test]
fn wrong_headers_are_refused_and_why() {
    let text = |line: &str| [line.as_bytes(), b"\r\n"].concat();
    let mut other_version = binary(0x21, 0x11, ENDS_4);
    other_version[12] = 0x31;
    for (octets, why) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), NotHeader::NoHeader),
        (b"POST / HTTP/1.1\r\n".to_vec(), NotHeader::NoHeader),
        (b"\r\n\r\nGET".to_vec(), NotHeader::NoHeader),
        (b"proxy TCP4".to_vec(), NotHeader::NoHeader),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 443 1"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 443 "), NotHeader::Malformed),
        (text("PROXY  TCP4 192.0.2.1 198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1\t198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.01 198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.256 198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 65536"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 0443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 +443"), NotHeader::Malformed),
        (text("PROXY TCP4 192.0.2.1 198.51.100.1 40000 "), NotHeader::Malformed),
        (text("PROXY TCP4 2001:db8::1 2001:db8::2 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP6 192.0.2.1 198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY TCP6 2001:db8::1%1 2001:db8::2 40000 443"), NotHeader::Malformed),
        (text("PROXY UDP4 192.0.2.1 198.51.100.1 40000 443"), NotHeader::Malformed),
        (text("PROXY UNKNOWNS"), NotHeader::Malformed),
        (text("PROXY \u{fffd}"), NotHeader::Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\n".repeat(3), NotHeader::TooLong),
        (text(&format!("PROXY UNKNOWN {}", "x".repeat(92))), NotHeader::TooLong),
        (other_version, NotHeader::Unknown),
        (binary(0x22, 0x11, ENDS_4), NotHeader::Unknown),
        (binary(0x21, 0x13, ENDS_4), NotHeader::Unknown),
        (binary(0x21, 0x41, ENDS_4), NotHeader::Unknown),
        (binary(0x21, 0x10, ENDS_4), NotHeader::Unknown),
        (binary(0x21, 0x11, &ENDS_4[1..]), NotHeader::Malformed),
        (binary(0x21, 0x21, &[0; 35]), NotHeader::Malformed),
        (binary(0x21, 0x31, &[0; 215]), NotHeader::Malformed),
        (binary(0x21, 0x11, &[ENDS_4, &[1]].concat()), NotHeader::Malformed),
        (binary(0x21, 0x11, &[ENDS_4, &[1, 0, 2, 7]].concat()), NotHeader::Malformed),
        (binary(0x21, 0x11, &[ENDS_4, &tlv(3, &[0; 3])].concat()), NotHeader::Malformed),
        (summed(&tlv(3, &[0; 4]), &[], 0), NotHeader::Malformed),
        (summed(&[], &[], 1), NotHeader::WrongChecksum),
        (summed(&tlv(1, b"h2"), &tlv(2, b"a.example"), 1 << 31), NotHeader::WrongChecksum),
        (binary(0x21, 0x11, &vec![0; MAX_READ - 15]), NotHeader::TooLong),
        (binary(0x20, 0x00, &vec![0; 65_535]), NotHeader::TooLong),
    ] {
        assert_eq!(ask(&octets), Header::Not(why), "{}", octets.escape_ascii());
        assert_promises(&octets[..octets.len().min(300)], word);
    }
}

/// Nobody waits for what can only be wrong.
#[test]
fn what_is_no_header_is_refused_with_its_first_wrong_octet() {
    assert_eq!(ask(&[]), Header::Partly { needed: 1 });
    for octets in [&b"G"[..], b"PO", b"\r\n\r\n\0\r\nQUIT\r", b"\x16"] {
        assert_eq!(ask(octets), Header::Not(NotHeader::NoHeader));
        assert!(matches!(ask(&octets[..octets.len() - 1]), Header::Partly { .. }));
    }
    let long = binary(0x21, 0x11, &vec![0; MAX_READ]);
    assert_eq!(ask(&long[..16]), Header::Not(NotHeader::TooLong));
}

#[test]
fn headers_are_written_as_the_specification_has_them() {
    let (four, other) = (end("192.0.2.1:40000"), end("198.51.100.1:443"));
    let (six, mapped) = (end("[2001:db8::1]:40000"), end("[::ffff:192.0.2.1]:443"));
    for (source, destination, line) in [
        (four, other, "PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n"),
        (six, six, "PROXY TCP6 2001:db8::1 2001:db8::1 40000 40000\r\n"),
        (six, mapped, "PROXY TCP6 2001:db8::1 ::ffff:c000:201 40000 443\r\n"),
        (four, six, "PROXY UNKNOWN\r\n"),
        (six, four, "PROXY UNKNOWN\r\n"),
    ] {
        assert_eq!(written(Version::V1, source, destination), line.as_bytes());
    }
    assert_eq!(written(Version::V2, four, other), binary(0x21, 0x11, ENDS_4));
    let mixed = ask(&written(Version::V2, four, six));
    let about = proxied("[::ffff:192.0.2.1]:40000", "[2001:db8::1]:40000");
    assert_eq!(mixed, Header::Read { length: 52, about });
    // The longest that there can be.
    let most = end("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    assert_eq!(written(Version::V1, most, most).len(), 104);
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        // With runs of zeros, and mapped.
        any::<[u16; 3]>().prop_map(|[a, b, c]| [a, 0, 0, b, 0, 0, 0, c].into()),
        any::<[u16; 2]>().prop_map(|[a, b]| [0, 0, 0, 0, 0, 0xffff, a, b].into()),
    ]
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn what_is_written_is_read(source in address(), to in address(), ports in any::<[u16; 2]>(), is_first in any::<bool>()) {
        let (source, destination) = (SocketAddr::new(source, ports[0]), SocketAddr::new(to, ports[1]));
        let version = if is_first { Version::V1 } else { Version::V2 };
        let octets = written(version, source, destination);
        let mapped = |end: SocketAddr| match end.ip() {
            IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        let about = match version {
            _ if source.is_ipv4() == destination.is_ipv4() => About::Proxied { source, destination },
            Version::V1 => About::Unknown,
            Version::V2 => About::Proxied { source: mapped(source), destination: mapped(destination) },
        };
        assert_eq!(ask(&octets), Header::Read { length: octets.len(), about });
        assert_promises(&[octets.as_slice(), b"GET"].concat(), word);
        assert!(looks(&octets, word) <= 20);
    }

    #[test]
    fn any_octets_are_met_with_the_same_promises(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_promises(&octets, word);
        assert_promises(&[b"PROXY ", octets.as_slice()].concat(), word);
        assert_promises(&[SIGNATURE, &[0x21, 0x11], &octets].concat(), word);
        assert_promises(&[SIGNATURE, &[0x21, 0x11, 0, octets.len() as u8], &octets].concat(), word);
    }

    #[test]
    fn lines_with_faults_are_met_with_the_same_promises(line in "PROXY (TCP4|TCP6|UNKNOWN) [0-9a-f.: \r]{0,90}(\r\n)?") {
        assert_promises(line.as_bytes(), word);
    }
}
