//! Flows that are rewritten: opened, found from both ends, heard of and ended, in virtual time.

use crate::{
    lb::{
        BackendId, Census, FlowHash, Kind, MAX_SOURCES, NatMemory, NatSettings, NatTable, NatTicks, NatWindows, NoFlow,
        Number, Opening, Said, ServiceId, Tick, Transport,
    },
    rng::{SipKey, splitmix64},
    wire::{Endpoint, MacAddress, SeqNumber},
};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
};

const SYN: Kind = Kind::Syn(SeqNumber::new(7));
const SEGMENT: Kind = Kind::Segment(SeqNumber::new(8));
const FIN: Kind = Kind::Fin(SeqNumber::new(9));
const RST: Kind = Kind::Rst(SeqNumber::new(9));

fn end(address: [u8; 4], port: u16) -> Endpoint {
    Endpoint { address: address.into(), port }
}

fn settings(flows: u32, cpus: u32, sources: usize) -> NatSettings {
    let v4 = (1..=sources).map(|last| IpAddr::from([198, 18, 0, last as u8]));
    let v6 = (1..=sources).map(|last| IpAddr::from(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, last as u16)));
    NatSettings::new(SipKey::from_seed(5), flows, cpus, &v4.chain(v6).collect::<Vec<_>>())
}

/// The flow of a client with this number, to one of eight backends, as this CPU opens it.
fn opening(client: u32, cpu: u32, tick: Tick) -> Opening {
    let [a, b, c, d] = client.to_be_bytes();
    let is_ipv6 = client.is_multiple_of(5);
    let v6 = |last: u32| Endpoint {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, (last >> 16) as u16, last as u16).into(),
        port: 443,
    };
    let backend = client % 8;
    Opening {
        hash: FlowHash::from_bits(splitmix64(client.into())),
        cpu,
        tick,
        transport: if client.is_multiple_of(3) { Transport::Udp } else { Transport::Tcp },
        client: if is_ipv6 { v6(client) } else { end([10 | a, b, c, d], 40_000) },
        service: if is_ipv6 { v6(0xffff_0000) } else { end([198, 18, 0, 80], 443) },
        backend: if is_ipv6 { v6(0xeeee_0000 | backend) } else { end([198, 19, 0, backend as u8], 8_443) },
        id: BackendId { service: ServiceId(client % 2), number: Number::new(1 + backend as u16).unwrap() },
        interface: 3,
        station: MacAddress([2, 0, 0, 0, 0, 1]),
        ours: MacAddress([2, 0, 0, 0, 0, 2]),
    }
}

fn find(table: NatTable<'_>, of: &Opening) -> Option<u32> {
    table.find(of.hash, of.transport, of.client, of.service)
}

fn ticks() -> NatTicks {
    NatWindows::default().in_ticks()
}

fn sweep(table: NatTable<'_>, tick: Tick) -> Census {
    let mut census = Census::default();
    table.sweep(0..table.sets(), tick, &ticks(), &mut census);
    census
}

/// Two sweeps, as it takes to end a flow.
fn expire(table: NatTable<'_>, tick: Tick) -> u64 {
    sweep(table, tick);
    sweep(table, tick).ended
}

#[test]
fn a_flow_is_found_from_both_ends_as_it_was_opened() {
    let memory = NatMemory::new(settings(1_024, 4, 2));
    let table = memory.table();
    for client in 0..200 {
        let opening = opening(client, client % 4, Tick::new(9));
        assert_eq!(find(table, &opening), None);
        let number = table.open(&opening).unwrap();
        assert_eq!(find(table, &opening), Some(number));
        let flow = table.get(number).unwrap();
        assert_eq!(table.find_answer(flow.source, flow.port, flow.transport, opening.backend), Some(number));
        assert_eq!((flow.client, flow.service, flow.backend), (opening.client, opening.service, opening.backend));
        assert_eq!((flow.interface, flow.station, flow.ours), (3, opening.station, opening.ours));
        assert_eq!(flow.number(), Some(opening.id.number));
        assert_eq!(u32::from(flow.service_number), opening.id.service.index() as u32);
        assert_eq!(flow.source as usize >= MAX_SOURCES, opening.backend.address.is_ipv6());
        assert!(flow.port >= 1_024 && u32::from(flow.port) % 4 == client % 4, "each CPU has ports of its own");
        let other = Endpoint { port: 1, ..opening.backend };
        assert_eq!(table.find_answer(flow.source, flow.port, flow.transport, other), None);
        let is_udp = flow.transport == Transport::Udp;
        let other = if is_udp { Transport::Tcp } else { Transport::Udp };
        assert_eq!(table.find_answer(flow.source, flow.port, other, opening.backend), None);
    }
}

/// Says that a flow of TCP has done its handshake.
fn establish(table: NatTable<'_>, number: u32, tick: Tick) {
    assert!(table.hear(number, SEGMENT, true, tick));
    assert!(table.hear(number, SEGMENT, false, tick));
}

/// Says that both ends have finished.
fn finish(table: NatTable<'_>, number: u32, tick: Tick) {
    assert!(table.hear(number, FIN, true, tick));
    assert!(table.hear(number, FIN, false, tick));
}

#[test]
fn flows_end_when_they_have_been_silent_for_as_long_as_their_state_allows() {
    let windows = ticks();
    let tcp = 1;
    let begin = Tick::new(u16::MAX - 20); // the circle of ticks closes meanwhile
    let after = |span: u16| Tick::new(begin.get().wrapping_add(span));
    type Happens = fn(NatTable<'_>, u32, Tick);
    let cases: [(u32, u16, Happens); 6] = [
        (tcp, windows.opening, |_, _, _| {}),
        (tcp, windows.established, establish),
        (tcp, windows.closing, |table, number, tick| {
            establish(table, number, tick);
            assert!(table.hear(number, FIN, false, tick) && table.hear(number, FIN, true, tick));
        }),
        (tcp, windows.closing, |table, number, tick| {
            establish(table, number, tick);
            assert!(table.hear(number, RST, true, tick));
        }),
        // One end may go on, and a RST that a segment follows was forged.
        (tcp, windows.established, |table, number, tick| {
            establish(table, number, tick);
            assert!(table.hear(number, FIN, false, tick) && table.hear(number, RST, true, tick));
            assert!(table.hear(number, SEGMENT, true, tick));
        }),
        (3, windows.datagrams, |table, number, tick| assert!(table.hear(number, Kind::Datagram, true, tick))),
    ];
    for (client, span, happens) in cases {
        let memory = NatMemory::new(settings(64, 1, 1));
        let table = memory.table();
        let opening = opening(client, 0, begin);
        let number = table.open(&opening).unwrap();
        happens(table, number, begin);
        assert_eq!(expire(table, after(span)), 0, "{client} {span}");
        assert_eq!(find(table, &opening), Some(number));
        assert_eq!(expire(table, after(span + 1)), 1, "{client} {span}");
        assert_eq!(find(table, &opening), None);
        assert_eq!(table.get(number), None);
        assert_eq!(sweep(table, after(span + 1)), Census::default());
    }
}

#[test]
fn what_is_dying_lives_on_if_it_speaks() {
    let memory = NatMemory::new(settings(64, 1, 1));
    let table = memory.table();
    let opening = opening(1, 0, Tick::new(0));
    let number = table.open(&opening).unwrap();
    let late = Tick::new(ticks().opening + 1);
    assert_eq!(sweep(table, late).ended, 0);
    assert_eq!(find(table, &opening), Some(number), "it is found to its end");
    assert!(table.hear(number, SYN, false, late));
    assert_eq!(expire(table, late), 0);
    assert_eq!(find(table, &opening), Some(number));
    assert!(table.release(number));
    assert!(!table.release(number) && !table.hear(number, SYN, false, late) && find(table, &opening).is_none());
}

#[test]
fn a_client_that_uses_its_port_again_keeps_the_flows_port_and_begins_anew() {
    let memory = NatMemory::new(settings(64, 1, 1));
    let table = memory.table();
    let number = table.open(&opening(1, 0, Tick::new(0))).unwrap();
    let port = table.get(number).unwrap().port;
    establish(table, number, Tick::new(1));
    assert!(table.hear(number, SYN, false, Tick::new(2)));
    assert!(table.get(number).unwrap().client_said.has(Said::SPOKEN), "a SYN in its midst may be forged");
    assert!(table.hear(number, RST, false, Tick::new(3)) && table.hear(number, SYN, false, Tick::new(4)));
    let flow = table.get(number).unwrap();
    assert_eq!((flow.port, flow.client_said, flow.backend_said), (port, Said::default(), Said::default()));
}

#[test]
fn a_full_table_keeps_what_is_established_and_recycles_what_nobody_answered() {
    let memory = NatMemory::new(settings(64, 1, 1));
    let table = memory.table();
    let (mut established, mut full) = (Vec::new(), 0);
    let tcp = (0..).filter(|client: &u32| !client.is_multiple_of(3));
    for client in tcp.clone().take(30) {
        let opening = opening(client, 0, Tick::new(0));
        let number = table.open(&opening).unwrap();
        establish(table, number, Tick::new(0));
        established.push((opening, number));
    }
    // A flood of one tick fills what is left, and no more.
    for client in tcp.clone().skip(30).take(2_000) {
        full += u32::from(table.open(&opening(client, 0, Tick::new(1))) == Err(NoFlow::Full));
    }
    assert!(full > 1_900 && sweep(table, Tick::new(1)).flows <= 64);
    // Later ones crowd out the flood, and nothing else.
    let later: Vec<Opening> = tcp.skip(5_000).take(20).map(|client| opening(client, 0, Tick::new(3))).collect();
    let opened = later.iter().filter(|it| table.open(it).is_ok()).count();
    assert!(opened >= 10, "{opened}");
    assert!(established.iter().all(|(opening, number)| find(table, opening) == Some(*number)));
    let census = sweep(table, Tick::new(3));
    assert!(census.flows <= 64 && census.by_service.values().sum::<u64>() == census.flows);
}

#[test]
fn ports_run_out_before_two_flows_share_one() {
    // With so many CPUs each has one port.
    let memory = NatMemory::new(settings(1 << 12, 64_512, 2));
    let table = memory.table();
    let all: Vec<Opening> =
        (1..400).filter(|it| it % 8 == 1 && it % 5 != 0).map(|it| opening(it, 3, Tick::new(0))).collect();
    let opened: Vec<u32> = all.iter().filter_map(|it| table.open(it).ok()).collect();
    // Two sources, of one port each, for TCP and UDP.
    assert_eq!(opened.len(), 4);
    assert_eq!(table.open(all.last().unwrap()), Err(NoFlow::NoPort));
    assert!(table.release(opened[0]));
    assert!(all.iter().any(|it| table.open(it).is_ok()));
    let none = NatMemory::new(NatSettings::new(SipKey::from_seed(1), 64, 1, &[]));
    assert_eq!(none.table().open(&all[0]), Err(NoFlow::NoPort));
}

#[test]
fn a_flow_that_is_over_leaves_its_port_to_another_where_none_is_free() {
    // With so many CPUs each has one port; so there are four flows, of two sources, for TCP and UDP.
    let memory = NatMemory::new(settings(1 << 12, 64_512, 2));
    let table = memory.table();
    let all = (1..).filter(|it| it % 8 == 1 && it % 5 != 0).map(|it| opening(it, 3, Tick::new(0)));
    let all: Vec<Opening> = all.take(100).filter(|it| it.transport == Transport::Tcp).collect();
    let opened: Vec<(&Opening, u32)> = all.iter().filter_map(|it| Some((it, table.open(it).ok()?))).collect();
    assert_eq!(opened.len(), 2);
    opened.iter().for_each(|(_, number)| establish(table, *number, Tick::new(0)));
    let later = |tick| Opening { tick: Tick::new(tick), ..*all.last().unwrap() };
    assert_eq!(table.open(&later(9)), Err(NoFlow::NoPort));
    // A client's RST may be forged.
    assert!(table.hear(opened[1].1, RST, false, Tick::new(3)));
    assert_eq!(table.open(&later(9)), Err(NoFlow::NoPort));
    let (before, number) = opened[0];
    let flow = table.get(number).unwrap();
    finish(table, number, Tick::new(9));
    assert_eq!(table.open(&later(10)), Err(NoFlow::NoPort), "the last of it may be under way yet");
    assert_eq!(table.open(&later(11)), Ok(number));
    let successor = table.get(number).unwrap();
    assert_eq!((successor.source, successor.port, successor.client), (flow.source, flow.port, later(11).client));
    assert!(successor.state() == "opening" && find(table, before).is_none());
    assert_eq!(find(table, &later(11)), Some(number));
    assert_eq!(find(table, opened[1].0), Some(opened[1].1));
}

#[test]
fn a_full_table_forgets_what_has_ended_and_not_what_lives() {
    let memory = NatMemory::new(settings(64, 1, 2));
    let table = memory.table();
    let tcp = || (1..).filter(|client: &u32| !client.is_multiple_of(3));
    let (mut flows, mut living) = (0, Vec::new());
    for number in tcp().take(2_000).filter_map(|client| table.open(&opening(client, 0, Tick::new(0))).ok()) {
        establish(table, number, Tick::new(0));
        flows += 1;
        if flows % 4 == 0 {
            living.push(number);
        } else {
            finish(table, number, Tick::new(0));
        }
    }
    assert!((50..=64).contains(&flows), "{flows}");
    let before: Vec<_> = living.iter().map(|&number| table.get(number)).collect();
    let later = tcp().skip(3_000).take(400).filter(|&client| table.open(&opening(client, 0, Tick::new(2))).is_ok());
    let later = later.count() as u64;
    assert!(later >= 35, "{later}");
    assert!(living.iter().map(|&number| table.get(number)).eq(before));
    assert_eq!(sweep(table, Tick::new(2)).opening, later, "none of these made room for another");
}

#[test]
fn tens_of_thousands_of_flows_come_and_go_and_no_two_are_one_to_a_backend() {
    let memory = NatMemory::new(settings(1 << 15, 3, 2));
    let table = memory.table();
    let mut random = 11;
    let mut draw = |bound: u64| {
        random = splitmix64(random);
        random % bound
    };
    let mut live: HashMap<u32, (Opening, u32)> = HashMap::new();
    let (mut tick, mut opened, mut ended) = (Tick::new(60_000), 0, 0);
    for step in 0..120_000 {
        let client = draw(60_000) as u32;
        if let Some((opening, number)) = live.get(&client) {
            assert_eq!(find(table, opening), Some(*number));
            let kind = [SYN, SEGMENT, SEGMENT, FIN, RST][draw(5) as usize];
            assert!(table.hear(*number, kind, draw(2) == 0, tick));
        } else {
            let opening = opening(client, draw(3) as u32, tick);
            assert_eq!(find(table, &opening), None);
            let number = table.open(&opening).expect("it never has more than three quarters of its room");
            opened += 1;
            live.insert(client, (opening, number));
        }
        if step % 4_000 == 3_999 {
            tick = Tick::new(tick.get().wrapping_add(40));
            ended += expire(table, tick);
            live.retain(|_, (opening, number)| {
                let is_there = find(table, opening) == Some(*number);
                assert_eq!(is_there, table.get(*number).is_some_and(|flow| flow.client == opening.client));
                is_there
            });
            check(table, &live);
        }
    }
    assert!(opened > 40_000 && ended > 20_000, "{opened} {ended}");
    assert_eq!(opened, ended + live.len() as u64);
    tick = Tick::new(tick.get().wrapping_add(ticks().established + 1));
    assert_eq!(expire(table, tick), live.len() as u64);
    assert!(table.index.iter().all(|place| place.load(std::sync::atomic::Ordering::Relaxed) == 0));
}

/// No two flows that live have the same backend, source and port, and each is found from there.
fn check(table: NatTable<'_>, live: &HashMap<u32, (Opening, u32)>) {
    let mut taken = HashSet::new();
    for (opening, number) in live.values() {
        let flow = table.get(*number).expect("it lives");
        assert!(taken.insert((flow.backend, flow.source, flow.port, flow.transport)));
        assert_eq!(table.find_answer(flow.source, flow.port, flow.transport, opening.backend), Some(*number));
    }
}
