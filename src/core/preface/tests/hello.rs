//! ClientHellos: made by hand, captured, cut up, and wrong.

use super::{Word, assert_promises, captured, looks, octets_of};
use crate::{
    preface::{
        Hello, NotHello, ServerName, client_hello,
        client_hello::{MAX_HELLO, MAX_RECORDS},
    },
    rng::{cases, splitmix64},
};
use proptest::prelude::*;

/// A hello, part by part.
#[derive(Clone)]
struct Draft {
    session: Vec<u8>,
    suites: Vec<u8>,
    compressions: Vec<u8>,
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Draft {
    /// With GREASE (RFC 8701) around its list of names, and something before and after.
    fn with(names: Vec<u8>) -> Self {
        let extensions =
            vec![(0x0a0a, vec![]), (43, vec![4, 3, 4, 3, 3]), (0, names), (0x1a1a, vec![0]), (21, vec![0; 9])];
        Self { extensions: Some(extensions), ..Self::bare() }
    }

    fn named(name: &str) -> Self {
        Self::with(list(&[(0, name.as_bytes())]))
    }

    fn bare() -> Self {
        let suites = [0x0a0a_u16, 0x1301, 0xc02f].map(u16::to_be_bytes).concat();
        Self { session: vec![7; 32], suites, compressions: vec![0], extensions: None }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0x16; 32]);
        body.extend(vector(1, &self.session));
        body.extend(vector(2, &self.suites));
        body.extend(vector(1, &self.compressions));
        let extension = |(kind, data): &(u16, Vec<u8>)| [kind.to_be_bytes().to_vec(), vector(2, data)].concat();
        body.extend(
            self.extensions.iter().flat_map(|all| vector(2, &all.iter().flat_map(extension).collect::<Vec<_>>())),
        );
        body
    }

    fn message(&self) -> Vec<u8> {
        message(1, &self.body())
    }

    fn octets(&self) -> Vec<u8> {
        records(&self.message(), 1 << 14)
    }
}

/// What has its length in front, in so many octets.
fn vector(octets: usize, inside: &[u8]) -> Vec<u8> {
    [&inside.len().to_be_bytes()[size_of::<usize>() - octets..], inside].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], vector(3, body)].concat()
}

/// In records of so many octets.
fn records(message: &[u8], each: usize) -> Vec<u8> {
    message.chunks(each).flat_map(record).collect()
}

fn record(content: &[u8]) -> Vec<u8> {
    [vec![22, 3, 1], vector(2, content)].concat()
}

/// A ServerNameList.
fn list(names: &[(u8, &[u8])]) -> Vec<u8> {
    vector(2, &names.iter().flat_map(|(kind, name)| [vec![*kind], vector(2, name)].concat()).collect::<Vec<_>>())
}

fn named(name: &str) -> Hello {
    Hello::Named(name.parse().expect("a name"))
}

fn ask(octets: &[u8]) -> Hello {
    client_hello([octets, &[]])
}

fn word(pieces: [&[u8]; 2]) -> Word<Option<ServerName>> {
    match client_hello(pieces) {
        Hello::Partly { needed } => {
            assert!(needed <= MAX_HELLO, "{needed}");
            Word::Partly(needed)
        }
        Hello::Named(name) => Word::Answer(Some(name)),
        Hello::Unnamed => Word::Answer(None),
        Hello::Not(_) => Word::Refused,
    }
}

#[test]
fn hellos_of_real_clients() {
    let www = || named("www.example.org");
    for (octets, expected) in [
        (captured::OPENSSL, www()),
        (captured::OPENSSL_TLS_1_0, named("old.example.org")),
        (captured::OPENSSL_TLS_1_2, www()),
        (captured::OPENSSL_UNNAMED, Hello::Unnamed),
        (captured::OPENSSL_RECORDS, named("records.example.org")),
        (captured::CURL, www()),
        (captured::CURL_ADDRESS, Hello::Unnamed),
        (captured::PYTHON, named("python.example.org")),
    ] {
        let octets = octets_of(octets);
        assert_eq!(ask(&octets), expected);
        assert_promises(&octets, word);
        // To the octet: there is no answer before the last one.
        assert!(matches!(ask(&octets[..octets.len() - 1]), Hello::Partly { needed } if needed == octets.len()));
    }
}

#[test]
fn hellos_made_by_hand() {
    let other = [(7, &b"future"[..]), (0, b"a.example"), (7, b"again")];
    let empty = Draft { extensions: Some(vec![]), ..Draft::bare() };
    let encrypted =
        Draft { extensions: Some(vec![(0xfe0d, vec![0; 200]), (0, list(&[(0, b"outer.example")]))]), ..empty.clone() };
    for (draft, expected) in [
        (Draft::named("a.example"), named("a.example")),
        (Draft::named("A.Example."), named("a.example")),
        (Draft { session: vec![], ..Draft::named("a.example") }, named("a.example")),
        (Draft::with(list(&other)), named("a.example")),
        (Draft::with(list(&other[..1])), Hello::Unnamed),
        (encrypted, named("outer.example")),
        (empty, Hello::Unnamed),
        (Draft::bare(), Hello::Unnamed),
    ] {
        let octets = draft.octets();
        assert_eq!(ask(&octets), expected);
        assert_promises(&octets, word);
    }
}

#[test]
fn wrong_hellos_are_refused_and_why() {
    let good = Draft::named("a.example");
    let twice = {
        let mut draft = good.clone();
        draft.extensions.as_mut().unwrap().push((0, list(&[(0, b"b.example")])));
        draft
    };
    let (a, b) = ((0, &b"a.example"[..]), (0, &b"b.example"[..]));
    let mut behind_list = list(&[a]);
    behind_list.push(0);
    for (draft, why) in [
        (twice, NotHello::SeveralNames),
        (Draft::with(list(&[a, b])), NotHello::SeveralNames),
        (Draft::with(vec![]), NotHello::Malformed),
        (Draft::with(list(&[])), NotHello::Malformed),
        (Draft::with(behind_list), NotHello::Malformed),
        (Draft::with(vec![0, 5, 0, 0, 9, b'a', b'b']), NotHello::Malformed),
        (Draft::with(vec![0, 2, 0, 0]), NotHello::Malformed),
        (Draft::with(list(&[(0, b"")])), NotHello::NotDns),
        (Draft::with(list(&[(0, &[b'a'; 256])])), NotHello::NotDns),
        (Draft::named("a b"), NotHello::NotDns),
        (Draft::named("192.0.2.1"), NotHello::Address),
        (Draft::named("2001:db8::1"), NotHello::Address),
        (Draft { session: vec![0; 33], ..good.clone() }, NotHello::Malformed),
        (Draft { suites: vec![], ..good.clone() }, NotHello::Malformed),
        (Draft { suites: vec![0; 3], ..Draft::bare() }, NotHello::Malformed),
        (Draft { compressions: vec![], ..good.clone() }, NotHello::Malformed),
    ] {
        let octets = draft.octets();
        assert_eq!(ask(&octets), Hello::Not(why), "{octets:x?}");
        assert_promises(&octets, word);
    }
}

/// A hello of which every length within is one too many, or cut behind every octet: none of that is a hello that names another.
#[test]
fn lengths_that_lie_are_refused() {
    let body = Draft::named("a.example").body();
    for length in 0..body.len() {
        let cut = records(&message(1, &body[..length]), 1 << 14);
        // It may end in front of its extensions.
        let expected =
            if length == Draft::bare().body().len() { Hello::Unnamed } else { Hello::Not(NotHello::Malformed) };
        assert_eq!(ask(&cut), expected, "{length} octets");
        assert_promises(&cut, word);
    }
    let longer = [body, vec![0]].concat();
    assert_eq!(ask(&records(&message(1, &longer), 1 << 14)), Hello::Not(NotHello::Malformed));
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    for (octets, why) in [
        (&b"G"[..], NotHello::NotTls),
        (b"\x80", NotHello::NotTls), // SSL 2
        (b"\x15", NotHello::NotTls), // an alert
        (b"\x16\x02", NotHello::NotTls),
        (b"\x16\x03\x01\0\0", NotHello::EmptyRecord),
        (b"\x16\x03\x01\x40\x01", NotHello::TooLong),
        (b"\x16\x03\x01\0\x20\x02", NotHello::OtherMessage),
        (b"\x16\x03\x01\0\x04\x01\0\0\x40\x15", NotHello::Interrupted),
        (b"\x16\x03\x01\0\x04\x01\0\0\x40\x16\x03\x01\0\0", NotHello::EmptyRecord),
        (b"\x16\x03\x01\0\x04\x01\0\0\x40\x16\x02", NotHello::Malformed),
        (b"\x16\x03\x01\0\x04\x01\0\0\0", NotHello::Malformed),
        (b"\x16\x03\x01\x40\0\x01\0\x3f\xf8", NotHello::TooLong),
    ] {
        let (last, before) = octets.split_last().unwrap();
        assert_eq!(ask(octets), Hello::Not(why), "{octets:x?}");
        assert!(matches!(ask(before), Hello::Partly { .. }), "{before:x?} {last:x}");
        assert_promises(octets, word);
    }
    assert_eq!(ask(&[]), Hello::Partly { needed: 1 });
}

/// A hello of so many octets with its records, by padding.
fn long(octets: usize, each: usize) -> Vec<u8> {
    let draft = |padding| {
        let mut draft = Draft::named("a.example");
        draft.extensions.as_mut().unwrap().push((21, vec![0; padding]));
        draft.message()
    };
    let headers = 5 * octets.div_ceil(each + 5);
    records(&draft(octets - headers - draft(0).len()), each)
}

#[test]
fn a_hello_may_be_as_long_as_that_and_no_longer() {
    for each in [MAX_HELLO, 512] {
        let (most, over) = (long(MAX_HELLO, each), long(MAX_HELLO + 1, each));
        assert_eq!((most.len(), over.len()), (MAX_HELLO, MAX_HELLO + 1));
        assert_eq!((ask(&most), ask(&over)), (named("a.example"), Hello::Not(NotHello::TooLong)));
    }
    let huge = long(17_000, 1 << 14);
    assert_eq!(ask(&huge), Hello::Not(NotHello::TooLong));
    assert_eq!(ask(&huge[..9]), Hello::Not(NotHello::TooLong));
    assert_promises(&huge[..200], word);
}

#[test]
fn a_hello_in_records_of_any_length_is_read_the_same() {
    let message = Draft::named("some.longer.name.example").message();
    for each in 1..message.len() + 1 {
        let octets = records(&message, each);
        let is_few = message.len().div_ceil(each) <= MAX_RECORDS;
        let expected = if is_few { named("some.longer.name.example") } else { Hello::Not(NotHello::TooManyRecords) };
        assert_eq!(ask(&octets), expected, "{each} octets each");
        assert_promises(&octets, word);
    }
    let short = Draft { session: vec![], extensions: Some(vec![]), ..Draft::bare() }.message();
    assert!(short.len() <= MAX_RECORDS);
    assert_eq!(ask(&records(&short, 1)), Hello::Unnamed);
    assert_promises(&records(&short, 1), word);
}

/// What follows is the backend's affair.
#[test]
fn what_follows_a_hello_is_not_looked_at() {
    let message = Draft::named("a.example").message();
    let coalesced = record(&[message.as_slice(), &[99; 9]].concat());
    let followed = [record(&message), b"anything".to_vec()].concat();
    for octets in [coalesced, followed] {
        assert_eq!(ask(&octets), named("a.example"));
        assert_promises(&octets, word);
    }
}

/// The worst that cutting can do is records of one octet: a look finds as much of headers, and as little of the hello, as may be.
#[test]
fn a_peer_that_sends_octet_by_octet_costs_few_looks() {
    let whole = Draft::named("a.example").octets();
    assert_eq!(looks(&whole, word), 4, "the first octet, a record's header, the message's header, all");
    let mut most = 0;
    for length in [70, 600, 16_000] {
        let message = long(length + 100, 1 << 14).split_off(5);
        for tail in 1..MAX_RECORDS {
            let (front, rest) = message.split_at(message.len() - tail);
            most = most.max(looks(&[record(front), records(rest, 1)].concat(), word));
            let (front, rest) = message.split_at(tail);
            most = most.max(looks(&[records(front, 1), record(rest)].concat(), word));
        }
    }
    for seed in 0..1_000 {
        most = most.max(looks(&cut(&long(2_000, 1 << 14)[5..], seed), word));
    }
    assert!((10..=24).contains(&most), "{most} looks");
}

/// In records of random lengths, most of them short.
fn cut(mut message: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = seed;
    let mut roll = |below: usize| {
        dice = splitmix64(dice);
        (dice % below as u64) as usize
    };
    let mut octets = Vec::new();
    while !message.is_empty() {
        let length = if roll(8) > 0 { 1 + roll(4) } else { 1 + roll(500) };
        let (now, later) = message.split_at(length.min(message.len()));
        octets.extend(record(now));
        message = later;
    }
    octets
}

/// Octets of which some are those of a hello.
fn nearly_a_hello() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    ("[a-c.0-9_-]{0,12}", 1_usize..200, changes).prop_map(|(name, each, changes)| {
        let mut octets = records(&Draft::named(&name).message(), each);
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_octets_are_met_with_the_same_promises(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_promises(&octets, word);
        assert_promises(&[vec![22, 3, 1], octets].concat(), word);
    }

    #[test]
    fn hellos_with_faults_are_met_with_the_same_promises(octets in nearly_a_hello()) {
        assert_promises(&octets, word);
    }

    #[test]
    fn a_name_comes_back_as_it_was_said(name in "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,9}){0,4}", each in 8_usize..300) {
        assert_eq!(ask(&records(&Draft::named(&name).message(), each)), named(&name));
    }
}
