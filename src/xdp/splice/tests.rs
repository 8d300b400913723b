//! What a worker stores beside a program that learns as well.

use super::record::{Origin, Record, WORDS};
use crate::{
    splice::{Half, Pair, Side},
    time::Instant,
    wire::{Endpoint, FourTuple, InterfaceId, LinkHeader, MacAddress, SeqNumber},
};
use std::sync::atomic::{AtomicU32, AtomicU64};

const SIDE: Side = Side::Client;

fn pair() -> Pair {
    let half = |port| Half {
        tuple: FourTuple {
            local: Endpoint { address: [198, 18, 0, 80].into(), port },
            remote: Endpoint { address: [203, 0, 113, 9].into(), port: 40_000 },
        },
        link: LinkHeader::default(),
        mtu: 1_500,
        sent: SeqNumber::new(u32::MAX - 50),
        received: SeqNumber::new(7),
        edge: SeqNumber::new(60_007),
        reach: 65_535,
        window: 60_000,
        peer_scale: 3,
        our_scale: 4,
        clocks: None,
        follows: true,
    };
    Pair::new(Instant::from_millis(9), &half(443), &half(80))
}

/// What two segments that were seen at once leave, whichever is learnt from first.
fn merged(one: &dyn Fn(&mut Pair), other: &dyn Fn(&mut Pair)) -> Pair {
    let merge = |changes: [&dyn Fn(&mut Pair); 2]| {
        let words: Vec<_> = (0..WORDS).map(|_| AtomicU32::new(0)).collect();
        let longs: Vec<_> = (0..WORDS / 2).map(|_| AtomicU64::new(0)).collect();
        let (record, origin) =
            (Record { words: &words, longs: &longs }, Origin { origin: 1_000, interfaces: vec![3, 4] });
        record.write(&pair(), &origin);
        let before = record.read(&origin);
        assert_eq!(before, pair());
        for change in changes {
            let mut after = before.clone();
            change(&mut after);
            record.learn(&before, &after, SIDE, &origin);
        }
        record.read(&origin)
    };
    let left = merge([one, other]);
    assert_eq!(left, merge([other, one]));
    left
}

#[test]
fn of_two_segments_at_once_the_furthest_numbers_stay() {
    let said = |octets: u32, ack: u32, reach: u32, at: u64| {
        move |pair: &mut Pair| {
            pair.said(SIDE, octets);
            let back = &mut pair.streams[1];
            (back.acked, back.reach) = (back.acked.advance(ack), reach);
            (back.edge, back.offered) = (back.edge.advance(ack), back.offered.advance(ack));
            pair.heard = Instant::from_millis(at);
        }
    };
    // Across the end of the circle.
    let left = merged(&said(100, 10, 65_535, 20), &said(40, 70, 99_000, 30));
    let (mut want, both) = (pair(), said(100, 70, 99_000, 30));
    both(&mut want);
    assert_eq!(left, want, "each octet is carried once");
}

#[test]
fn a_segment_takes_back_only_what_it_has_changed() {
    let station = MacAddress([2, 0, 0, 0, 0, 9]);
    let ends = |pair: &mut Pair| {
        pair.said(SIDE, 5);
        let out = &mut pair.streams[0];
        (out.has_fin, out.fin, out.is_past) = (true, out.sent.back(1), true);
    };
    let resets = |pair: &mut Pair| {
        pair.streams[0].is_reset = true;
        pair.ends[0].link.destination = station;
    };
    let (left, mut want) = (merged(&ends, &resets), pair());
    ends(&mut want);
    resets(&mut want);
    assert_eq!(left, want);
    assert_eq!(merged(&ends, &|_| ()).streams, {
        let mut want = pair();
        ends(&mut want);
        want.streams
    });
}

#[test]
fn a_way_that_was_learnt_meanwhile_stays() {
    let words: Vec<_> = (0..WORDS).map(|_| AtomicU32::new(0)).collect();
    let longs: Vec<_> = (0..WORDS / 2).map(|_| AtomicU64::new(0)).collect();
    let (record, origin) = (Record { words: &words, longs: &longs }, Origin { origin: 0, interfaces: vec![3, 4] });
    record.write(&pair(), &origin);
    let before = record.read(&origin);
    let turned = |octet: u8, interface: usize| {
        let (mut pair, station) = (before.clone(), MacAddress([2, 0, 0, 0, 0, octet]));
        let link = LinkHeader { destination: station, ..*pair.link(SIDE) };
        let interface = InterfaceId::at(interface).unwrap_or_default();
        pair.set_link(SIDE, LinkHeader { interface, ..link }, 1_400);
        pair
    };
    record.point(&before.ends[0], &turned(5, 1).ends[0], SIDE, &origin);
    assert_eq!(record.read(&origin), turned(5, 1));
    let (late, news) = (turned(6, 0), turned(7, 0));
    record.point(&before.ends[0], &late.ends[0], SIDE, &origin);
    record.learn(&before, &news, SIDE, &origin);
    assert_eq!(record.read(&origin), turned(5, 1), "either had seen what was before");
}
