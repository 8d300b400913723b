//! Flows that are rewritten, as the program has them.

use crate::{
    common::is_root,
    draw::{self, Draw},
    scene::{Scene, XDP_DROP},
};
use std::{thread, time::Duration};
use xskip::{
    lb::{Forwarded, NatFlow, Refusal, Tick},
    wire::checksum::Checksum,
    xdp::BalanceOptions,
};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const SYN_ACK: u8 = 0x12;

fn frame_of(forwarded: Forwarded) -> Option<Vec<u8>> {
    match forwarded {
        Forwarded::Sent { frame, .. } | Forwarded::Answered { frame, .. } => Some(frame),
        _ => None,
    }
}

/// Whether all checksums of an untagged frame are right, of what an error quotes as well.
fn is_right(frame: &[u8]) -> bool {
    let is_ipv4 = frame[12] == 8;
    let packet = &frame[14..];
    let header = if is_ipv4 { 20 } else { 40 };
    let (protocol, at) = if is_ipv4 { (packet[9], 12) } else { (packet[6], 8) };
    let addresses = &packet[at..header];
    let payload = &packet[header..];
    let pseudo = [addresses, &[0, protocol], &(payload.len() as u16).to_be_bytes()].concat();
    let covers = if protocol == 1 { payload.to_vec() } else { [&pseudo, payload].concat() };
    let is_sum = |octets: &[u8]| Checksum::of(octets).field() == [0, 0];
    let is_error = matches!(protocol, 1 | 58);
    let quote_is_right = !is_error || !is_ipv4 || is_sum(&payload[8..28]);
    (!is_ipv4 || is_sum(&packet[..20])) && is_sum(&covers) && quote_is_right
}

#[test]
fn what_is_rewritten_has_the_right_checksums_both_ways() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let mut draw = Draw::new(77);
    let mut rewritten = [0; 2];
    for number in 0..4_000 {
        let flow = scene.flow(draw.number()).filter(|_| number % 2 == 0);
        let answers = flow.is_some();
        let frame = if let Some(flow) = flow { draw.answer(&flow) } else { draw.for_nat() };
        if frame[12] == 0x81 || !is_right(&frame) {
            continue;
        }
        if let Some(output) = frame_of(scene.check(number, &frame)) {
            assert!(is_right(&output), "{frame:02x?}\n{output:02x?}");
            rewritten[usize::from(answers)] += 1;
        }
    }
    assert!(rewritten.iter().all(|&count| count > 500), "{rewritten:?}");
    assert!(scene.check_flows() > 50);
}

#[test]
fn a_flood_of_syns_crowds_out_itself_and_no_flow() {
    if !is_root() {
        return;
    }
    let scene = Scene::with_flows(BalanceOptions::default(), 64);
    let mut established = Vec::new();
    for client in 0..60 {
        let opened = scene.run(&draw::nat(client, SYN));
        let answer = scene.flow_of(draw::client(client, false)).filter(|_| opened.0 != XDP_DROP);
        let Some(flow) = answer else { continue };
        let answered = scene.run(&draw::nat_answer(&flow, SYN_ACK));
        assert_ne!(answered.0, XDP_DROP);
        assert_ne!(scene.run(&draw::nat(client, ACK)).0, XDP_DROP);
        established.push(client);
        if established.len() == 20 {
            break;
        }
    }
    assert_eq!(established.len(), 20);
    let flood = |clients: std::ops::Range<u16>| {
        clients.filter(|&client| scene.run(&draw::nat(client, SYN)).0 != XDP_DROP).count()
    };
    flood(1_000..3_000);
    assert!(scene.outcomes()["nat_full"] > 1_000);
    wait_for_ticks(&scene);
    assert!(flood(3_000..3_040) >= 10, "the flood of before makes room");
    for client in established {
        assert_ne!(scene.run(&draw::nat(client, ACK)).0, XDP_DROP, "client {client}");
    }
}

#[test]
fn segments_of_no_flow_are_reset_and_nothing_but_a_client_opens_one() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let mut check = |flags| scene.check(0, &draw::nat(9, flags));
    assert_eq!(check(ACK), Forwarded::Unknown);
    assert_eq!(check(SYN_ACK), Forwarded::Unknown);
    assert_eq!(check(RST), Forwarded::Refused(Refusal::Unknown));
    assert!(scene.flow(0).is_none());
    let opened = frame_of(scene.check(0, &draw::nat(9, SYN))).expect("it is opened");
    let flow = scene.flow(0).expect("and remembered");
    assert_eq!(opened[34..38], [flow.port.to_be_bytes(), 8_449u16.to_be_bytes()].concat()[..]);
    let again = frame_of(scene.check(0, &draw::nat(9, SYN))).expect("as before");
    assert_eq!(again, opened);
    let answer = frame_of(scene.check(0, &draw::nat_answer(&flow, SYN_ACK))).expect("it goes to the client");
    assert_eq!(answer[26..38], draw::nat_back(9)[..]);
    let other = NatFlow { port: flow.port ^ 4, ..flow };
    assert_eq!(scene.check(0, &draw::nat_answer(&other, SYN_ACK)), Forwarded::NotOurs);
    assert_eq!(scene.check_flows(), 1);
}

/// Waits until what was heard of by now may make room for another.
fn wait_for_ticks(scene: &Scene) {
    let begin = Tick::of(scene.now());
    while !Tick::of(scene.now()).is_beyond(begin, 2) {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn more_connections_come_and_go_than_there_are_ports_or_places() {
    if !is_root() {
        return;
    }
    // A port of each source for a CPU; or eight sets of places.
    for (flows, cpus) in [(1 << 12, 64_512), (64, 2)] {
        let mut scene = Scene::with_table(BalanceOptions::default(), flows, cpus);
        let mut opened = 0;
        for (round, clients) in [(0, 0..200), (1, 200..400), (2, 400..600)] {
            let before = opened;
            // Just behind a tick, so that both have the same one.
            let tick = Tick::of(scene.now());
            while Tick::of(scene.now()) == tick {
                thread::sleep(Duration::from_millis(5));
            }
            for client in clients {
                // As the model does, each of them.
                if frame_of(scene.check(client.into(), &draw::nat(client, SYN))).is_none() {
                    continue;
                }
                opened += 1;
                let flow = scene.flow_of(draw::client(client, false)).expect("it is opened");
                for flags in [SYN_ACK, FIN_ACK] {
                    assert!(frame_of(scene.check(client.into(), &draw::nat_answer(&flow, flags))).is_some());
                }
                assert!(frame_of(scene.check(client.into(), &draw::nat(client, FIN_ACK))).is_some());
            }
            assert!(opened > before, "round {round} of {cpus} CPUs");
            scene.check_flows();
            wait_for_ticks(&scene);
        }
    }
}
