//! Pairs that come and go.

use crate::{
    common::is_root,
    draw::{Draw, Segment},
    scene::{INTERFACES, Scene, XDP_DROP, XDP_PASS, XDP_TX, load},
};
use std::{net::IpAddr, sync::Arc, thread, time::Duration};
use xskip::{
    splice::{Carrier, Pair, PairId, Refusal, Side},
    time::Instant,
    wire::{InterfaceId, LinkHeader, MacAddress},
    xdp::SpliceTable,
};

const NOW: Instant = Instant::from_millis(9_000);

/// Pairs that differ.
fn pair(number: u16) -> Pair {
    let mut pair = Draw::new(5).pair(None, NOW);
    for end in &mut pair.ends {
        end.tuple.remote.port = 1_000 + number;
        end.link.interface = Default::default();
    }
    pair
}

#[test]
fn a_pair_that_is_forgotten_is_translated_no_more_and_its_id_is_stale() {
    if !is_root() {
        return;
    }
    let table = Arc::new(SpliceTable::new(1).unwrap());
    let program = load(&table, None);
    let mut splices = table.share(0, 1, INTERFACES.to_vec(), NOW);
    let (one, other) = (pair(1), pair(2));
    let id = splices.take(&one).unwrap();
    let frames = Side::BOTH.map(|side| Segment::next(&one, side, None).frame(&one));
    for frame in &frames {
        assert_eq!(program.test_run(frame).unwrap().0, XDP_TX);
    }
    assert!(splices.take(&other).is_none() && splices.len() == 1, "there is no room");
    assert!(splices.forget(id).is_some());
    for frame in &frames {
        assert_eq!(program.test_run(frame).unwrap(), (XDP_DROP, frame.clone()), "no socket takes it");
    }
    // A program may be at work on a frame of it still.
    thread::sleep(Duration::from_millis(20));
    let second = splices.take(&other).unwrap();
    assert_eq!((second.index(), second.generation()), (id.index(), id.generation() + 1));
    assert_eq!((splices.look(id), splices.forget(id)), (None, None));
    assert_eq!(splices.translate(NOW, id, &mut frames[0].clone()), Err(Refusal::NotOurs));
    splices.point(id, Side::Client, LinkHeader::default(), 9);
    assert_eq!(splices.look(second), Some(other));
    assert_eq!(splices.look(PairId::new(99, 0)), None);
    drop(splices);
    thread::sleep(Duration::from_millis(20));
    assert!(table.share(0, 1, INTERFACES.to_vec(), NOW).take(&pair(2)).is_some(), "a worker that goes leaves nothing");
}

#[test]
fn workers_share_the_room_and_no_two_have_a_place() {
    if !is_root() {
        return;
    }
    let table = Arc::new(SpliceTable::new(10).unwrap());
    let mut shares: Vec<_> = (0..3).map(|number| table.share(number, 3, INTERFACES.to_vec(), NOW)).collect();
    assert_eq!(shares.iter().map(|share| share.capacity()).collect::<Vec<_>>(), [3, 3, 4]);
    let mut taken = Vec::new();
    for number in 0..30 {
        taken.extend(shares[number % 3].take(&pair(number as u16)).map(|id| id.index()));
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..10).collect::<Vec<_>>(), "and then there is no more");
    let mut unknown = pair(40);
    unknown.ends[1].link.interface = InterfaceId::at(2).unwrap();
    assert!(table.share(0, 1, INTERFACES.to_vec(), NOW).take(&unknown).is_none(), "nobody knows the way");
    let foreign = PairId::new(0, 0);
    assert!(shares[0].look(foreign).is_some() && shares[1].look(foreign).is_none());
}

#[test]
fn a_peer_is_reached_by_the_way_that_was_said_last() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let mut draw = Draw::new(3);
    for number in 0..40 {
        scene.renew(&mut draw);
        let (id, side) = (scene.id.unwrap(), Side::BOTH[number as usize % 2]);
        let station = MacAddress([2, 7, 7, 7, 7, number as u8]);
        let link = LinkHeader { destination: station, source: station, ..*scene.model.link(side) };
        scene.splices.point(id, side, link, 1_400);
        scene.model.set_link(side, link, 1_400);
        assert_eq!(scene.look(), scene.model);
        let frame = Segment::next(&scene.model, side.other(), scene.vlan).frame(&scene.model);
        _ = scene.check(number, &frame);
    }
}

/// What was in a ring at the switch.
#[test]
fn a_frame_that_has_come_to_the_stack_is_translated_there_and_learnt_from() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let mut draw = Draw::new(4);
    for number in 0..2_000 {
        if number % 50 == 0 {
            scene.renew(&mut draw);
        }
        let frame = draw.frame(&scene.model, scene.vlan);
        if number % 2 == 0 {
            _ = scene.check(number, &frame);
            continue;
        }
        let (now, mut one, mut other) = (scene.now(), frame.clone(), frame.clone());
        let said = scene.splices.translate(now, scene.id.unwrap(), &mut one);
        assert_eq!(said, scene.model.translate(now, &mut other));
        assert_eq!(one, other);
        assert_eq!(crate::scene::like(&scene.look()), crate::scene::like(&scene.model));
    }
}

#[test]
fn segments_of_a_claim_are_the_stacks_and_others_for_that_address_the_kernels() {
    if !is_root() {
        return;
    }
    let table = Arc::new(SpliceTable::new(9).unwrap());
    let program = load(&table, None);
    let mut splices = table.share(0, 1, INTERFACES.to_vec(), NOW);
    let mut frames = Vec::new();
    for client in ["203.0.113.9", "2001:db8::9"] {
        // A backend's answer to its client.
        let mut pair = pair(3);
        let end = &mut pair.ends[Side::Backend as usize];
        let address: IpAddr = client.parse().unwrap();
        end.tuple.local.address = address;
        end.tuple.remote.address =
            if address.is_ipv4() { [198, 18, 0, 11].into() } else { "2001:2::11".parse().unwrap() };
        frames.push((end.tuple, Segment::next(&pair, Side::Backend, None).frame(&pair), pair));
    }
    let decided = |frame: &[u8]| {
        let before = program.verdicts().unwrap();
        let (action, _) = program.test_run(frame).unwrap();
        let after = program.verdicts().unwrap();
        let count = |name| {
            after.iter().zip(before.iter()).filter(|((it, after), (_, before))| *it == name && after > before).count()
        };
        (action, count("passed_foreign") == 1, count("dropped_no_socket") == 1)
    };
    let (kernels, ours) = ((XDP_PASS, true, false), (XDP_DROP, false, true));
    for (tuple, frame, pair) in &frames {
        assert_eq!(decided(frame), kernels, "nobody has spoken for it");
        let id = splices.claim(tuple).unwrap();
        assert_eq!(decided(frame), ours, "no socket takes it");
        assert_eq!((splices.look(id), splices.forget(id), splices.len()), (None, None, 0), "that is no pair");
        let mut other = frame.clone();
        *other.get_mut(if tuple.local.address.is_ipv4() { 14 + 20 } else { 14 + 40 }).unwrap() ^= 1;
        assert_eq!(decided(&other), kernels, "that is from another port");
        // The pair that it becomes comes first, whichever is found.
        let spliced = splices.take(pair).unwrap();
        splices.release(id, tuple);
        assert_eq!(decided(frame), (XDP_TX, false, false));
        splices.release(id, tuple);
        splices.forget(spliced).unwrap();
        assert_eq!(decided(frame), kernels);
    }
    splices.claim(&frames[0].0).unwrap();
    drop(splices);
    assert_eq!(decided(&frames[0].1), kernels, "a worker that goes leaves nothing");
}
