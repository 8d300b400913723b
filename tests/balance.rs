//! What the XDP program does to frames for balanced services, beside the model in Rust, by `BPF_PROG_TEST_RUN`: needs root.

#[path = "balance/cookies.rs"]
mod cookies;
#[path = "balance/draw.rs"]
mod draw;
#[path = "balance/nat.rs"]
mod nat;
#[path = "balance/scene.rs"]
mod scene;

#[path = "common/draw.rs"]
mod chance;
#[path = "common/library.rs"]
mod common;

use common::{
    cases::cases,
    frames::{OURS, PEER, PEER_V4, PEER_V6, arp_request, solicitation, solicited_node, syn},
    is_root,
};
use draw::Draw;
use proptest::test_runner::RngSeed;
use scene::{Scene, VIP_V4, VIP_V6, XDP_DROP, XDP_PASS, XDP_TX};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};
use xskip::{
    lb::{Forwarded, Health, Obstacle, State, Why},
    wire::{ArpPacket, IpHeader, Protocol, arp, icmp},
};

/// How many frames are drawn, unless PROPTEST_CASES says otherwise.
const FRAMES: u32 = 60_000;

/// What the program counts for what the model says.
fn outcome(forwarded: &Forwarded) -> Option<&'static str> {
    Some(match forwarded {
        Forwarded::NotOurs => return None,
        Forwarded::Sent { why, .. } => why.name(),
        Forwarded::Told(_) => "told_too_big",
        Forwarded::Reset(_) => "reset",
        Forwarded::Unknown => "reset_unknown",
        Forwarded::Answered { .. } => "answers",
        Forwarded::SynAck { .. } => "answered_syn",
        Forwarded::Refused(refusal) => refusal.name(),
        Forwarded::Hindered(obstacle) => obstacle.name(),
    })
}

#[test]
fn the_program_does_what_the_model_does_to_any_frame_while_backends_come_and_go() {
    if !is_root() {
        return;
    }
    let config = cases(FRAMES);
    let RngSeed::Fixed(seed) = config.rng_seed else { panic!("a seed is always fixed") };
    let mut scene = Scene::new();
    let mut draw = Draw::new(seed);
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut ended, mut answers) = (0, VecDeque::new());
    for number in 0..config.cases as usize {
        if number % 250 == 249 {
            scene.churn(draw.number());
            // All but what is established, now and then; and all.
            ended += scene.sweep(if number % 4_000 == 3_999 { 10_000 } else { 1_000 });
        }
        let frame = match scene.flow(draw.number()).filter(|_| number % 3 == 0) {
            _ if number % 3 == 1 && draw.number().is_multiple_of(2) && !answers.is_empty() => {
                let answer: &Vec<u8> = &answers[draw.number() as usize % answers.len()];
                let conclusion = draw.conclusion(answer);
                draw.damaged(conclusion)
            }
            Some(flow) => {
                let answer = draw.answer(&flow);
                draw.damaged(answer)
            }
            None => draw.frame(),
        };
        let forwarded = scene.check(number, &frame);
        if let Forwarded::SynAck { frame, .. } = &forwarded {
            answers.push_front(frame.clone());
            answers.truncate(100);
        }
        if let Some(outcome) = outcome(&forwarded) {
            *expected.entry(outcome).or_default() += 1;
        }
    }
    let counted: BTreeMap<&str, u64> = scene.outcomes().into_iter().filter(|&(_, count)| count > 0).collect();
    assert_eq!(counted, expected);
    scene.check_memory();
    assert!(config.cases < FRAMES || scene.check_flows() > 10);
    // A test in which one of these never happened would prove less than it says.
    let happened = |name: &str| counted.get(name).copied().unwrap_or(0) > 0;
    let whys = Why::ALL.iter().filter(|why| **why != Why::NoRoom).map(|why| why.name());
    let others = [
        "fragment",
        "no_backend",
        "all_down",
        "malformed",
        "hop_limit",
        "no_way",
        "too_big",
        "told_too_big",
        "reset",
        "unknown",
        "reset_unknown",
        "answers",
        "answered_syn",
        "bad_syn",
    ];
    let missing: Vec<&str> = whys.chain(others).filter(|name| !happened(name)).collect();
    assert!(config.cases < FRAMES || ended > 300, "{ended}");
    assert!(config.cases < FRAMES || missing.is_empty(), "never happened: {missing:?} of {counted:?}");
}

#[test]
fn a_frame_cut_off_anywhere_is_what_the_model_says() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let mut draw = Draw::new(2);
    for number in 0..40 {
        let frame = draw.whole();
        for length in 14..=frame.len() {
            scene.check(number, &frame[..length]);
        }
    }
}

#[test]
fn older_flows_go_home_until_they_have_been_silent_for_the_window() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let frames: Vec<_> = (0..400).map(draw::segment).collect();
    let homes = scene.backends_of(&frames);
    scene.set_state("dsr-1", State::Drain { until: xskip::time::Instant::NEVER });
    assert_eq!(scene.backends_of(&frames), homes, "a drain moves no flow");
    // They speak now and then: that is heard, and their rows stay as they are.
    for _ in 0..3 {
        scene.age(scene.silence() * 2 / 3);
        assert_eq!(scene.backends_of(&frames), homes);
    }
    let later = scene.silence() + Duration::from_secs(5);
    scene.age(later);
    let moved = scene.backends_of(&frames);
    assert_ne!(moved, homes);
    let one = homes.iter().flatten().find(|name| *name == "dsr-1");
    assert!(one.is_some() && !moved.iter().flatten().any(|name| name == "dsr-1"));
}

#[test]
fn memory_that_is_full_puts_a_change_off_and_breaks_nothing() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::with_room_for(16);
    let old: Vec<_> = (0..300).map(draw::segment).collect();
    let homes = scene.backends_of(&old);
    scene.set_state("dsr-2", State::Drain { until: xskip::time::Instant::NEVER });
    for client in 1_000..3_000 {
        scene.check(client as usize, &draw::syn(client));
    }
    assert_eq!(scene.backends_of(&old), homes);
    assert!(scene.outcomes().contains_key(Why::NoRoom.name()));
    scene.set_health("dsr-2", Health::Down);
    for client in 3_000..4_000 {
        scene.check(client as usize, &draw::syn(client));
    }
    assert!(scene.outcomes().contains_key("exceptions_full"));
}

#[test]
fn errors_about_what_is_too_big_have_a_budget() {
    if !is_root() {
        return;
    }
    let scene = Scene::with_budget(3);
    let frame = draw::large(7);
    let outputs: Vec<_> = (0..50).map(|_| scene.run(&frame)).collect();
    let told = outputs.iter().filter(|(action, _)| *action != XDP_DROP).count();
    // In two ticks, should one end meanwhile, and on two CPUs.
    assert!((1..=12).contains(&told), "{told}");
    assert_eq!(scene.outcomes()[Obstacle::TooBig.name()], 50 - told as u64);
}

#[test]
fn all_that_is_remembered_is_learnt_however_much_it_is() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::with_room_for(60_000);
    // In several batches, with buckets of many.
    assert_eq!(scene.pin(50_000), 50_000);
}

#[test]
fn segments_that_are_reset_are_counted_for_their_backends() {
    if !is_root() {
        return;
    }
    let (mut scene, mut draw) = (Scene::new(), Draw::new(5));
    let mut expected = BTreeMap::new();
    for number in 0..12_000 {
        if number == 4_000 {
            let down = ["reset-1", "six-reset-2", "nat-1", "nat-3"];
            down.into_iter().for_each(|name| scene.set_health(name, Health::Down));
        }
        if let Forwarded::Reset(backend) = scene.check(number, &draw.frame()) {
            *expected.entry(backend).or_default() += 1;
        }
    }
    assert!(expected.len() >= 3, "{expected:?}");
    assert_eq!(scene.resets(), expected);
}

#[test]
fn a_service_that_takes_anothers_place_is_counted_anew() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    for client in 0..50 {
        scene.check(usize::from(client), &draw::syn(client));
    }
    assert_eq!(scene.flows("dsr").iter().sum::<u64>(), 40, "one backend of six has no way, and gets none");
    scene.rename("other");
    assert_eq!(scene.flows("other"), [0; 6]);
    for client in 0..50 {
        scene.check(usize::from(client), &draw::syn(client));
    }
}

/// The answer to who asks for an address of the stack's: what the stack says itself.
fn answer(frame: &[u8], vip: IpAddr) -> Vec<u8> {
    let mut answer = [&PEER.0, &OURS.0, &frame[12..]].concat();
    match vip {
        IpAddr::V4(sender_ip) => {
            let (operation, target_ip) = (arp::Operation::Reply, PEER_V4);
            let packet = ArpPacket { operation, sender_mac: OURS, sender_ip, target_mac: PEER, target_ip };
            packet.write(&mut answer[14..]);
        }
        IpAddr::V6(target) => {
            let ip = IpHeader::new(vip, PEER_V6.into(), Protocol::Icmpv6);
            answer[22..38].copy_from_slice(&target.octets());
            answer[38..54].copy_from_slice(&PEER_V6.octets());
            icmp::write_advertisement(&ip, target, true, OURS, &mut answer[54..]);
        }
    }
    answer
}

#[test]
fn without_its_process_it_goes_on_until_the_time_is_over_and_then_everything_is_the_kernels() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let (four, six) = (VIP_V4.parse().unwrap(), VIP_V6.parse().unwrap());
    let questions = [
        (arp_request(four), IpAddr::V4(four)),
        (solicitation(solicited_node(six), six), IpAddr::V6(six)),
        (solicitation(six, six), IpAddr::V6(six)),
    ];
    let mut from_nobody = questions[1].0.clone();
    from_nobody[22..38].fill(0);
    let mut from_afar = questions[1].0.clone();
    from_afar[21] = 254;
    let longer = [&questions[1].0[..18], &[0, 40], &questions[1].0[20..], &[0; 8]].concat();
    let unanswered = [from_nobody, from_afar, longer, questions[1].0[..82].to_vec(), syn(four.into(), 9, &[])];
    // It has no sockets here. Where a process dies with its program, nobody is answered.
    for frame in questions.iter().map(|(frame, _)| frame).chain(&unanswered) {
        assert_eq!(scene.run(frame), (XDP_DROP, frame.clone()));
    }
    scene.last_for(Duration::from_secs(3_600));
    for client in 0..50 {
        scene.check(usize::from(client), &draw::syn(client));
    }
    for (frame, vip) in &questions {
        assert_eq!(scene.run(frame), (XDP_TX, answer(frame, *vip)), "{vip}");
    }
    for frame in &unanswered {
        assert_eq!(scene.run(frame), (XDP_DROP, frame.clone()));
    }
    // One that answers a flow that was opened here, and more of that.
    assert_ne!(scene.run(&draw::nat(1, 0x02)).0, XDP_DROP);
    let flow = scene.flow_of(draw::client(1, false)).unwrap();
    let rewritten = [draw::nat(2, 0x02), draw::nat(1, 0x10), draw::nat_answer(&flow, 0x12)];
    scene.last_for(Duration::ZERO);
    // Its clock may be a few milliseconds behind.
    let patience = Instant::now() + Duration::from_secs(60);
    while scene.run(&questions[0].0).0 != XDP_PASS {
        assert!(Instant::now() < patience, "it goes on");
    }
    let clients: Vec<Vec<u8>> = (0..50).map(draw::syn).collect();
    for frame in questions.iter().map(|(frame, _)| frame).chain(&unanswered).chain(&clients).chain(&rewritten) {
        assert_eq!(scene.run(frame), (XDP_PASS, frame.clone()));
    }
}
