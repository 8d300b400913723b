//! What comes first on a connection, cut in two by its first octet: the readers keep their promises whatever it is.

use std::{fmt::Debug, net::SocketAddr};
use xskip_core::preface::{
    Hello, ServerName, client_hello,
    proxy_protocol::{self, About, Header, Version},
};

/// Octets of one stream, of which the first says where they are cut.
fn cut(data: &[u8]) -> ([&[u8]; 2], &[u8]) {
    let (at, octets) = data.split_first().unwrap_or((&0, &[]));
    let (front, rest) = octets.split_at(usize::from(*at).min(octets.len()));
    ([front, rest], octets)
}

/// What a reader says of what has arrived.
#[derive(Debug, PartialEq)]
enum Word<A> {
    Partly(usize),
    Answer(A),
    Refused,
}

/// Where octets are cut is nothing to a reader; and what it says of a prefix, the rest does not take back.
fn assert_promises<A: Debug + PartialEq>(data: &[u8], read: impl Fn([&[u8]; 2]) -> Word<A>) -> Word<A> {
    let (pieces, octets) = cut(data);
    let whole = read(pieces);
    assert_eq!(whole, read([octets, &[]]));
    let mut waits_for = 0;
    for length in 0..octets.len() {
        match read([&octets[..length], &[]]) {
            Word::Partly(needed) => {
                assert!(needed > length);
                waits_for = waits_for.max(needed);
            }
            Word::Refused => assert_eq!(whole, Word::Refused),
            answer => assert!(answer == whole && length >= waits_for, "{answer:?} at {length} of {whole:?}"),
        }
    }
    assert!(matches!(whole, Word::Partly(_) | Word::Refused) || octets.len() >= waits_for);
    whole
}

/// A ClientHello: its name, where it has one, is one.
pub fn hello(data: &[u8]) {
    let word = assert_promises(data, |pieces| match client_hello(pieces) {
        Hello::Partly { needed } => Word::Partly(needed),
        Hello::Named(name) => Word::Answer(Some(name)),
        Hello::Unnamed => Word::Answer(None),
        Hello::Not(_) => Word::Refused,
    });
    if let Word::Answer(Some(name)) = word {
        assert_eq!(name.as_str().parse::<ServerName>(), Ok(name));
    }
}

/// A PROXY header: what it says can be said again, in either version.
pub fn proxy(data: &[u8]) {
    let word = assert_promises(data, |pieces| match proxy_protocol::read(pieces) {
        Header::Partly { needed } => Word::Partly(needed),
        Header::Read { length, about } => Word::Answer((length, about)),
        Header::Not(_) => Word::Refused,
    });
    if let Word::Answer((_, about @ About::Proxied { source, destination })) = word {
        for version in [Version::V1, Version::V2] {
            assert_eq!(said_again(version, source, destination), about);
        }
    }
}

fn said_again(version: Version, source: SocketAddr, destination: SocketAddr) -> About {
    let mut octets = [0; proxy_protocol::MAX_HEADER];
    let written = proxy_protocol::write(version, source, destination, &mut octets);
    match proxy_protocol::read([&octets, &[]]) {
        Header::Read { length, about } if length == written => about,
        other => panic!("{other:?} of what was written in {written} octets"),
    }
}
