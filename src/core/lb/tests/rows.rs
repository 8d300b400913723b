//! Rows by themselves, the hash that finds them, and entries as they are kept.

use crate::{
    lb::{Entry, Flow, FlowHash, Kind, Number, Row, RowCount, RowKey, ServiceId, Tick, Transport},
    rng::SipKey,
    wire::{Endpoint, FourTuple, IpHeader, Protocol, QuotedFlow, SeqNumber, TcpFlags, TcpHeader},
};
use proptest::prelude::*;
use std::net::SocketAddr;

const SILENCE: u16 = 100;

fn number(number: u16) -> Option<Number> {
    Number::new(number)
}

fn end(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn flow(client: &str, vip: &str) -> Flow {
    Flow { transport: Transport::Tcp, tuple: FourTuple { local: end(vip), remote: end(client) } }
}

fn all(_: Number) -> bool {
    true
}

#[test]
fn a_row_that_changes_keeps_its_home() {
    let settled = Row { now: number(1), second: number(2), ..Row::default() };
    let changed = settled.changed((number(3), number(1)), Tick::new(50), SILENCE, all);
    assert_eq!(
        changed,
        Row { now: number(3), before: number(1), second: number(1), heard: Tick::new(50), watched: true }
    );
    assert_eq!(changed.home(Tick::new(150), SILENCE), number(1));
    assert_eq!(changed.home(Tick::new(151), SILENCE), number(3), "its older flows have been silent for the window");
}

#[test]
fn a_second_change_keeps_the_older_generation() {
    let row = Row { now: number(2), before: number(1), second: None, heard: Tick::new(50), watched: true };
    let again = row.changed((number(3), None), Tick::new(70), SILENCE, all);
    assert_eq!((again.now, again.before, again.heard), (number(3), number(1), Tick::new(50)));
    let back = again.changed((number(1), None), Tick::new(80), SILENCE, all);
    assert_eq!((back.now, back.before), (number(1), None), "it is where it was, and nothing is older");
}

#[test]
fn a_backend_that_goes_is_forgotten_at_once() {
    let row = Row { now: number(2), before: number(1), second: None, heard: Tick::new(50), watched: true };
    let gone = row.changed((number(3), None), Tick::new(70), SILENCE, |it| Some(it) != number(1));
    assert_eq!((gone.now, gone.before, gone.heard), (number(3), number(2), Tick::new(70)));
    let both = row.changed((number(3), None), Tick::new(70), SILENCE, |it| Some(it) == number(3));
    assert_eq!((both.now, both.before), (number(3), None));
}

#[test]
fn a_row_may_lead_nowhere_and_keep_its_flows() {
    let settled = Row { now: number(1), ..Row::default() };
    let drained = settled.changed((None, None), Tick::new(0), SILENCE, all);
    assert_eq!((drained.now, drained.home(Tick::new(9), SILENCE)), (None, number(1)));
}

#[test]
fn what_was_written_on_another_core_a_moment_ahead_is_not_over() {
    let row = Row { now: number(2), before: number(1), heard: Tick::new(0), ..Row::default() };
    assert!(row.is_in_transition(Tick::new(u16::MAX), SILENCE));
    assert!(!row.is_in_transition(Tick::new(SILENCE + 1), SILENCE));
}

/// The program has to find the same rows; and so has every release, as balancers of one fleet may run different ones.
#[test]
fn a_flow_has_the_same_row_for_ever() {
    let key = RowKey::new(SipKey::from_seed(7));
    let hashes = [
        key.hash(&flow("203.0.113.9:40000", "198.18.0.80:443"), false),
        key.hash(&flow("[2001:db8::9]:40000", "[2001:db8::80]:443"), false),
        key.hash(&flow("203.0.113.9:40000", "198.18.0.80:443"), true),
    ];
    assert_eq!(hashes.map(FlowHash::get), [0xcf1260efac05e62, 0xa1ea0bb0ec9f2a6d, 0x62e2d2f099d6a96]);
    assert_eq!(hashes.map(|hash| hash.row(RowCount::DEFAULT)), [3313, 41450, 1582]);
}

#[test]
fn ports_do_not_count_where_addresses_place() {
    let key = RowKey::new(SipKey::from_seed(7));
    let (one, other) = (flow("203.0.113.9:1", "198.18.0.80:443"), flow("203.0.113.9:0", "198.18.0.80:0"));
    assert_eq!(key.hash(&one, true), key.hash(&other, true));
    assert_ne!(key.hash(&one, false), key.hash(&other, false));
    let datagram = Flow { transport: Transport::Udp, ..one };
    assert_ne!(key.hash(&one, false), key.hash(&datagram, false), "the protocol counts");
}

#[test]
fn rows_are_hit_evenly() {
    let key = RowKey::new(SipKey::from_seed(7));
    let rows = RowCount::new(101).unwrap();
    let mut hits = [0_u32; 101];
    for port in 1_024..=u16::MAX {
        let flow = flow(&format!("203.0.113.9:{port}"), "198.18.0.80:443");
        hits[key.hash(&flow, false).row(rows) as usize] += 1;
    }
    let due = f64::from(u16::MAX - 1_023) / 101.0;
    assert!(hits.iter().all(|&has| (f64::from(has) - due).abs() < 6.0 * due.sqrt()), "{hits:?}");
}

#[test]
fn an_icmp_error_belongs_to_the_flow_it_quotes() {
    let vip = "198.18.0.80:443";
    let of_client = flow("203.0.113.9:40000", vip);
    // From a router, about a segment of which it returns eight octets.
    let ip = |source: &str, destination: &str, protocol| {
        IpHeader::new(source.parse().unwrap(), destination.parse().unwrap(), protocol)
    };
    let mut whole = vec![0; 1_500];
    ip("198.18.0.80", "203.0.113.9", Protocol::Tcp).write(1_480, &mut whole);
    whole[20..24].copy_from_slice(&[443_u16.to_be_bytes(), 40_000_u16.to_be_bytes()].concat());
    let quoted = &whole[..28];
    let message = [&[3, 4, 0, 0, 0, 0, 5, 0xdc][..], quoted].concat();
    let outer = ip("192.0.2.1", "198.18.0.80", Protocol::Icmpv4);
    let found = QuotedFlow::read(&outer, &message).and_then(|quoted| Flow::of_quote(&quoted));
    assert_eq!(found, Some(of_client));
    assert_eq!(QuotedFlow::read(&outer, &message[..35]), None, "seven octets are too few");
    let echo = [&[8, 0, 0, 0, 0, 0, 0, 0][..], quoted].concat();
    assert_eq!(QuotedFlow::read(&outer, &echo), None);
}

#[test]
fn a_syn_with_ack_begins_nothing() {
    let of = |flags| Kind::of(&TcpHeader { seq: SeqNumber::new(5), flags, ..TcpHeader::default() });
    assert_eq!(of(TcpFlags::SYN), Kind::Syn(SeqNumber::new(5)));
    assert_eq!(of(TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR), Kind::Syn(SeqNumber::new(5)));
    assert_eq!(of(TcpFlags::SYN | TcpFlags::ACK), Kind::Segment(SeqNumber::new(5)));
    assert_eq!(of(TcpFlags::FIN | TcpFlags::ACK), Kind::Fin(SeqNumber::new(5)));
    assert_eq!(of(TcpFlags::RST | TcpFlags::SYN), Kind::Rst(SeqNumber::new(5)));
}

prop_compose! {
    fn numbers()(bits in 0..=Number::MAX) -> Option<Number> { Number::new(bits) }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn a_row_survives_being_kept(
        now in numbers(), before in numbers(), second in numbers(), heard: u16, watched: bool,
    ) {
        let row = Row { now, before, second, heard: Tick::new(heard), watched };
        prop_assert_eq!(Row::from_bits(row.to_bits()), row);
    }

    #[test]
    fn an_entry_survives_being_kept(
        backend in 1..=Number::MAX, before in numbers(), times: (u16, u16), isn: u32, service in 0..1_u32 << 29,
        flags: (bool, bool, bool),
    ) {
        let entry = Entry {
            service: ServiceId(service),
            backend: Number::new(backend).unwrap(),
            before,
            isn: SeqNumber::new(isn),
            heard: Tick::new(times.0),
            asked: Tick::new(times.1),
            confirmed: flags.0,
            ended: flags.1,
            pinned: flags.2,
        };
        prop_assert_eq!(Entry::from_bits(entry.to_bits()), Some(entry));
    }

    #[test]
    fn no_quote_is_too_strange(octets in prop::collection::vec(any::<u8>(), 0..120), kind in 0..12_u8, is_ipv6: bool) {
        let source = if is_ipv6 { "2001:db8::1" } else { "192.0.2.1" };
        let protocol = if is_ipv6 { Protocol::Icmpv6 } else { Protocol::Icmpv4 };
        let ip = IpHeader::new(source.parse().unwrap(), source.parse().unwrap(), protocol);
        let mut message = octets;
        if let Some(first) = message.first_mut() {
            *first = kind;
        }
        if let Some(version) = message.get_mut(8) {
            *version = if is_ipv6 { 0x60 } else { 0x45 };
        }
        let quoted = QuotedFlow::read(&ip, &message);
        let is_long = message.len() >= if is_ipv6 { 56 } else { 36 };
        prop_assert!(quoted.is_none() || is_long);
    }

    /// The invariant from which everything follows: a row's home stays as long as it is kept and speaks.
    #[test]
    fn no_change_moves_a_home_that_speaks(
        changes in prop::collection::vec((numbers(), 0..SILENCE), 1..20), gone in numbers(),
    ) {
        let mut row = Row { now: number(1), ..Row::default() };
        let mut tick = 0_u16;
        for (next, wait) in changes {
            let home = row.home(Tick::new(tick), SILENCE);
            row = row.changed((next, None), Tick::new(tick), SILENCE, |it| Some(it) != gone);
            let is_kept = home.is_some() && home != gone;
            prop_assert!(!is_kept || row.home(Tick::new(tick), SILENCE) == home);
            prop_assert!(row.before.is_none() || row.before != row.now && row.watched);
            tick = tick.wrapping_add(wait);
            if row.is_in_transition(Tick::new(tick), SILENCE) {
                row.heard = Tick::new(tick); // one of its flows speaks
            }
        }
    }
}
