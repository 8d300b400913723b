//! Segments made by hand, of which it is known what becomes of them.

use crate::{
    common::is_root,
    draw::{ACK, Draw, FIN, RST, SYN, Segment, coincidental, sum, unfinished},
    scene::{Scene, like},
};
use std::time::Duration;
use xskip::{
    splice::{Refusal, Side},
    wire::{ChecksumPolicy, InterfaceId, MacAddress, Packet, parse},
    xdp::{Action, Service, SynAckFields, Unfinished, WayOut},
};

const BOTH: [Side; 2] = Side::BOTH;

/// A scene with a pair that has room both ways.
fn scene(seed: u64) -> Scene {
    let mut scene = Scene::new();
    renew(&mut scene, seed);
    scene
}

fn renew(scene: &mut Scene, seed: u64) {
    let mut draw = Draw::new(seed);
    let mut pair = draw.pair(None, scene.now());
    for (end, stream) in pair.ends.iter_mut().zip(&mut pair.streams) {
        (end.mtu, stream.edge) = (1_500, stream.sent.advance(1 << 20));
        end.follows = false;
    }
    scene.take(pair, None);
}

#[test]
fn what_is_translated_has_right_checksums_and_other_ends() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    for seed in 0..20 {
        renew(&mut scene, seed);
        for (number, from) in (0..).zip([0, 1, 1, 0, 0, 1].map(|index| BOTH[index])) {
            let data = vec![number as u8; 100 + number as usize];
            let segment = Segment { data: data.clone(), ..Segment::next(&scene.model, from, None) };
            let output = scene.check(number, &segment.frame(&scene.model)).unwrap();
            let parsed = parse(&output, ChecksumPolicy::Verify).unwrap();
            let Packet::Tcp(_, tcp) = parsed.packet else { panic!("TCP was expected") };
            let to = scene.model.tuple(from.other());
            assert_eq!((tcp.header.source_port, tcp.header.destination_port), (to.local.port, to.remote.port));
            assert_eq!(tcp.payload, data);
        }
    }
}

#[test]
fn a_bare_syn_is_the_stacks_and_says_nothing() {
    if !is_root() {
        return;
    }
    let mut scene = scene(1);
    let mut old = scene.model.clone();
    old.heard = xskip::time::Instant::from_millis(1_000);
    scene.model.heard = old.heard;
    scene.take(old.clone(), None);
    let syn = Segment { flags: SYN, seq: 77, ..Segment::next(&old, Side::Client, None) };
    let before = scene.program().verdicts().unwrap();
    for data in [vec![], vec![7; 3]] {
        let frame = Segment { data, ..syn.clone() }.frame(&old);
        assert_eq!(scene.program().test_run(&frame).unwrap(), (crate::scene::XDP_DROP, frame), "no socket takes it");
    }
    let after = scene.program().verdicts().unwrap();
    assert_eq!((after.dropped_no_socket, after.spliced), (before.dropped_no_socket + 2, 0), "the stack challenges it");
    assert_eq!(scene.look(), old, "nor that anybody lives");
    let acknowledgment = Segment::next(&old, Side::Client, None).frame(&old);
    scene.program().test_run(&acknowledgment).unwrap();
    let heard = scene.look().heard;
    assert!(heard + Duration::from_secs(2) > scene.now() && heard <= scene.now(), "{heard:?}");
    scene.take(old.clone(), None);
    scene.model.heard = scene.now();
    let fresh = scene.model.clone();
    scene.take(fresh, None);
    for (flags, refusal) in [(SYN | ACK, Refusal::Syn), (SYN | FIN, Refusal::Syn)] {
        let bad = Segment { flags, ..syn.clone() };
        assert_eq!(scene.check(0, &bad.frame(&scene.model)), Err(refusal));
    }
    let reset = Segment { flags: RST, ..Segment::next(&scene.model, Side::Backend, None) };
    assert!(scene.check(1, &reset.frame(&scene.model)).is_ok());
    assert!(scene.look().is_ending());
    assert_eq!(scene.check(2, &syn.frame(&scene.model)), Err(Refusal::Over));
}

#[test]
fn both_fins_end_a_pair() {
    if !is_root() {
        return;
    }
    let mut scene = scene(3);
    for (number, from) in (0..).zip(BOTH) {
        let fin = Segment { flags: FIN | ACK, ..Segment::next(&scene.model, from, None) };
        scene.check(number, &fin.frame(&scene.model)).unwrap();
    }
    assert!(!scene.look().is_ending());
    let last = Segment::next(&scene.model, Side::Client, None).frame(&scene.model);
    scene.check(2, &last).unwrap();
    assert!(scene.look().is_ending());
}

#[test]
fn a_checksum_that_looks_unfinished_and_is_right_passes() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    for seed in 0..30 {
        renew(&mut scene, seed);
        for length in [2, 3, 509, 510, 511, 512, 513, 1_003, 1_004, 1_400] {
            let data = vec![0xa5; length];
            let segment = Segment { data, ..Segment::next(&scene.model, Side::Client, None) };
            let frame = segment.frame(&scene.model);
            assert_eq!(scene.check(0, &unfinished(frame.clone())), Err(Refusal::PartialChecksum));
            assert!(scene.check(1, &coincidental(frame)).is_ok(), "{length}");
        }
    }
}

/// Where such segments are the rule, as among virtual machines, the stack finishes the sum.
#[test]
fn an_unfinished_checksum_is_the_stacks_where_such_are_taken() {
    if !is_root() {
        return;
    }
    let scene = scene(2);
    let segment = Segment { data: vec![1, 2, 3], ..Segment::next(&scene.model, Side::Client, None) };
    let frame = unfinished(segment.frame(&scene.model));
    for unfinished in [Unfinished::Taken, Unfinished::Kept, Unfinished::Refused] {
        let before = scene.program().verdicts().unwrap();
        scene.program().guard().set_unfinished(unfinished);
        assert_eq!(scene.program().test_run(&frame).unwrap().1, frame);
        let after = scene.program().verdicts().unwrap();
        let is_refused = u64::from(unfinished == Unfinished::Refused);
        assert_eq!(after.dropped_splice_partial, before.dropped_splice_partial + is_refused, "{unfinished:?}");
        assert_eq!(after.dropped_no_socket, before.dropped_no_socket + 1 - is_refused, "{unfinished:?}");
        assert_eq!(like(&scene.look()), like(&scene.model));
    }
}

#[test]
fn where_what_programs_send_does_not_arrive_the_stack_translates() {
    if !is_root() {
        return;
    }
    let mut scene = scene(2);
    let mut pair = scene.model.clone();
    for (end, interface) in pair.ends.iter_mut().zip([0, 1]) {
        end.link.interface = InterfaceId::at(interface).unwrap();
    }
    scene.take(pair.clone(), None);
    scene.program().guard().set_way_out(WayOut::Nowhere);
    let [client, backend] = BOTH.map(|side| Segment::next(&pair, side, None).frame(&pair));
    assert_eq!(scene.program().test_run(&backend).unwrap(), (crate::scene::XDP_DROP, backend), "no socket takes it");
    assert_eq!(scene.program().test_run(&client).unwrap().0, crate::scene::XDP_REDIRECT, "there is another interface");
    let counted = scene.program().verdicts().unwrap();
    assert_eq!((counted.dropped_no_socket, counted.spliced, counted.dropped_splice_undelivered), (1, 1, 0));
}

#[test]
fn a_reset_is_believed_where_it_is_exact_and_undamaged() {
    if !is_root() {
        return;
    }
    let mut scene = scene(8);
    let exact = Segment { flags: RST, ..Segment::next(&scene.model, Side::Client, None) };
    let mut damaged = exact.frame(&scene.model);
    let at = damaged.len() - 1;
    damaged[at] ^= 1;
    assert_eq!(scene.check(0, &damaged), Err(Refusal::BadChecksum));
    let near = Segment { seq: exact.seq.wrapping_add(1), ..exact.clone() };
    assert!(scene.check(1, &near.frame(&scene.model)).is_ok());
    assert!(scene.look().reset_by().is_none(), "its receiver challenges it");
    let far = Segment { seq: exact.seq.wrapping_add(1 << 30), ..exact.clone() };
    assert_eq!(scene.check(2, &far.frame(&scene.model)), Err(Refusal::Reset));
    assert!(scene.check(3, &exact.frame(&scene.model)).is_ok());
    assert!(scene.look().reset_by().is_some());
}

#[test]
fn whoever_follows_is_reached_where_news_comes_from_by_that_interface_as_well() {
    if !is_root() {
        return;
    }
    let mut scene = scene(9);
    let mut pair = scene.model.clone();
    pair.ends[0].follows = true;
    pair.ends[0].link.interface = xskip::wire::InterfaceId::at(1).unwrap();
    scene.take(pair.clone(), None);
    let station = MacAddress([2, 4, 4, 4, 4, 4]);
    let segment = Segment { source: station, data: vec![1], ..Segment::next(&pair, Side::Client, None) };
    // Anybody may say again what is known, or send a RST that is only near.
    let stale = Segment { data: vec![], ..segment.clone() };
    let reset = Segment { flags: RST, seq: stale.seq.wrapping_add(1), ..stale.clone() };
    for frame in [stale.frame(&pair), reset.frame(&pair)] {
        scene.program().test_run(&frame).unwrap();
        assert_eq!(scene.look().link(Side::Client), pair.link(Side::Client));
    }
    scene.program().test_run(&segment.frame(&pair)).unwrap();
    let link = *scene.look().link(Side::Client);
    assert_eq!((link.destination, link.interface.index()), (station, 0));
    assert_eq!(link.source, MacAddress([2, 0, 0, 0, 0, 1]), "whom it was for");
    let forgotten = scene.id.and_then(|id| xskip::splice::Carrier::forget(&mut scene.splices, id)).unwrap();
    assert_eq!(*forgotten.link(Side::Client), link);
}

#[test]
fn the_sender_of_what_is_too_big_is_told_whom_it_knows() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    for seed in 0..8 {
        renew(&mut scene, seed);
        let mut pair = scene.model.clone();
        pair.ends[1].mtu = 1_300;
        scene.take(pair.clone(), None);
        let large = Segment { data: vec![7; 1_400], ..Segment::next(&pair, Side::Client, None) };
        let frame = large.frame(&pair);
        let (action, told) = scene.program().test_run(&frame).unwrap();
        assert_eq!(action, crate::scene::XDP_TX);
        let is_ipv4 = frame[12] == 8;
        assert_eq!(&told[..12], &[&frame[6..12], &frame[..6]].concat()[..]);
        let (message, mtu) = if is_ipv4 { (34, 40) } else { (54, 60) };
        assert_eq!(&told[mtu..mtu + 2], 1_300u16.to_be_bytes());
        assert_eq!(told[message], if is_ipv4 { 3 } else { 2 });
        if is_ipv4 {
            assert_eq!((sum(&told[14..34]), sum(&told[34..])), (0xffff, 0xffff));
            let silent = Segment { is_told: false, ..large };
            assert_eq!(scene.check(1, &silent.frame(&pair)), Err(Refusal::TooBig));
        }
        assert_eq!(scene.look(), pair);
    }
}

/// Of SYNs for a guarded listener there may be millions: those of no known flow are answered without a look at pairs.
#[test]
fn a_syn_for_a_guarded_listener_is_a_pairs_only_where_its_flow_is_known() {
    if !is_root() {
        return;
    }
    let mut scene = scene(1);
    let (pair, program) = (scene.model.clone(), scene.program());
    let tuple = *pair.tuple(Side::Client);
    let fields =
        SynAckFields { mss: 1_460, window: 65_535, window_scale: 4, sack: true, hop_limit: 64, traffic_class: 0 };
    let listener = Service::tcp(std::net::SocketAddr::new(tuple.local.address, tuple.local.port));
    program.services().serve(listener, Action::Guarded(fields)).unwrap();
    program.guard().arm(true);
    let options = vec![2, 4, 5, 0xb4];
    let syn = Segment { flags: SYN, seq: 77, ack: 0, options, ..Segment::next(&pair, Side::Client, None) };
    let mut frame = syn.frame(&pair);
    frame[..6].copy_from_slice(&crate::common::frames::OURS.0);
    program.test_run(&frame).unwrap();
    let before = program.verdicts().unwrap();
    assert_eq!((before.answered_syn, before.spliced), (1, 0), "{before:?}");
    let far = |end: xskip::wire::Endpoint| std::net::SocketAddr::new(end.address, end.port);
    program.guard().filter().insert(far(tuple.remote), far(tuple.local));
    assert_eq!(scene.check(0, &frame), Err(Refusal::Question), "the stack challenges it");
    let others = Segment::next(&scene.model, Side::Backend, None).frame(&scene.model);
    assert!(scene.check(1, &others).is_ok(), "what is no SYN is looked for before the filter");
    let after = scene.program().verdicts().unwrap();
    assert_eq!((after.answered_syn, after.spliced), (1, 1));
}
