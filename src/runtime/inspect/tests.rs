//! What needs no worker: frames in words, and numbers by name.

use super::{
    ConnectionReport, HandshakeReport, Name,
    explain::{Arrival, impossible_ends, serviced},
    frame,
};
use crate::{
    config::StackConfig,
    drops::DropReason,
    stack::{Cursor, KnownFlow, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{FourTuple, InterfaceId, MacAddress},
    worker::Snapshot,
    xdp::{Action, SynAckFields, Verdicts},
};
use std::net::SocketAddr;

fn octets(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const LINK: &str = "02000000000a 02000000000b";

#[test]
fn frames_are_described_as_far_as_they_go() {
    let v4 = "4500003c 00004000 40060000 c6120064 c6120001 9c400050 00000001 00000002 5012ffff 00000000";
    let v6 = "60000000 00141140 20010002000000000000000000000064 20010002000000000000000000000001 9c400050 0014 0000";
    let said = |link: &str, rest: &str| frame::describe(&octets(&format!("{link} {rest}")), 60);
    let from = "60 octets from 02:00:00:00:00:0b: ";
    for (rest, expected) in [
        (format!("0800 {v4}"), "TCP 198.18.0.100:40000 > 198.18.0.1:80, SYN,ACK seq 1 ack 2 window 65535"),
        (
            format!("8100 0007 0800 {v4}"),
            "VLAN 7, TCP 198.18.0.100:40000 > 198.18.0.1:80, SYN,ACK seq 1 ack 2 window 65535",
        ),
        (format!("86dd {v6}"), "UDP [2001:2::64]:40000 > [2001:2::1]:80"),
        ("0806 0001".to_owned(), "ARP"),
        ("88cc 0001".to_owned(), "EtherType 0x88cc"),
        (format!("0800 {}", &v4[..44]), "TCP 198.18.0.100 > 198.18.0.1, cut off"),
        (
            format!("0800 {}", v4.replace("00004000", "00002001")),
            "IPv4 198.18.0.100 > 198.18.0.1, a fragment at octet 8",
        ),
        (format!("0800 {}", v4.replace("40060000", "40010000")), "ICMP 198.18.0.100 > 198.18.0.1, type 156, code 64"),
        (format!("0800 {}", v4.replace("40060000", "402f0000")), "IP protocol 47 198.18.0.100 > 198.18.0.1"),
        ("0800 4500".to_owned(), "cut off before it says what it is"),
    ] {
        assert_eq!(said(LINK, &rest), format!("{from}{expected}"));
    }
    assert_eq!(frame::describe(&[], 0), "0 octets: cut off before it says what it is");
    assert_eq!(frame::hex(&[0, 255, 16]), "00ff10");
}

#[test]
fn no_beginning_of_a_frame_is_too_short_to_be_described() {
    let whole = octets(&format!("{LINK} 0800 4f00003c 00004000 40060000 c6120064 c6120001 9c400050 00000001 00000002"));
    for end in 0..whole.len() {
        frame::describe(&whole[..end], end);
    }
}

#[test]
fn a_connection_is_told_as_it_is() {
    let own =
        |host: u8| LocalAddress { cidr: format!("192.0.2.{host}/24").parse().unwrap(), ownership: Ownership::Own };
    let stack = |host: u8| {
        let mac = MacAddress([2, 0, 0, 0, 0, host]);
        Stack::new(StackConfig::default(), mac, vec![own(host)], Secrets::from_seed(host.into()))
    };
    let (now, mut client, mut server) = (Instant::from_millis(1), stack(2), stack(1));
    server.listen(None, 7).unwrap();
    let remote: SocketAddr = "192.0.2.1:7".parse().unwrap();
    let id = client.connect(now, remote.into(), None).unwrap();
    let mut buffer = [0; 1_600];
    for _ in 0..8 {
        while let Some(length) = client.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
            server.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
        }
        while let Some(length) = server.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
            client.handle_frame(now, InterfaceId::FIRST, &buffer[..length]);
        }
    }
    client.stream(now, id).unwrap().write(b"hello");
    let later = Instant::from_millis(2_001);
    let (listed, end) = client.connections_from(later, Cursor::default(), 16);
    let report = ConnectionReport::new(3, Name::Borrowed("eth0"), later, &listed[0]);
    assert!(end.is_none() && listed.len() == 1);
    assert_eq!((&*report.state, &*report.interface, report.worker), ("ESTABLISHED", "eth0", 3));
    assert_eq!((report.remote, report.idle_ms, report.send_queue, report.accepted), (remote, 2_000, 5, false));
    let tcp = report.tcp.unwrap();
    assert_eq!((tcp.unsent, tcp.in_flight, tcp.lost, tcp.retransmitted, tcp.ssthresh), (5, 0, 0, 0, None));
    assert!(tcp.timestamps && tcp.sack && tcp.cwnd > 0 && tcp.mss == 1_448);

    let tuple = FourTuple { local: report.local.into(), remote: report.remote.into() };
    assert!(matches!(client.flow(later, &tuple), KnownFlow::Listed(flow) if flow.id == Some(id)));
    assert!(matches!(client.flow(later, &tuple.reversed()), KnownFlow::None));
    assert!(matches!(server.flow(later, &tuple.reversed()), KnownFlow::Listed(_)));
    let listening: Vec<_> = server.listeners().map(|one| (one.address, one.port, one.accepted)).collect();
    assert_eq!(listening, [(None, 7, 1)]);
    let neighbours = client.neighbours_from(later, InterfaceId::FIRST, None, 16);
    assert_eq!(neighbours.len(), 1);
    assert_eq!((neighbours[0].address, neighbours[0].state.name()), (remote.ip(), "reachable"));
    assert!(client.neighbours_from(later, InterfaceId::FIRST, Some(remote.ip()), 16).is_empty());
}

#[test]
fn handshakes_are_summed_up_over_workers_and_programs() {
    let mut worker = Snapshot::default();
    worker.stats.handshakes_begun = 5;
    worker.drops.count(DropReason::BadCookie);
    worker.drops.count(DropReason::UsedCookie);
    let verdicts = Verdicts { answered_syn: 7, dropped_ack: 2, dropped_budget: 1, ..Verdicts::default() };
    let sum = HandshakeReport::new(&[worker.clone(), worker], &verdicts);
    assert_eq!((sum.begun, sum.cookies_sent_by_xdp, sum.cookies_refused, sum.syns_dropped_by_xdp), (10, 7, 6, 1));
}

#[test]
fn nobody_is_where_no_segment_can_come_from() {
    let addresses = ["198.18.0.1/24", "2001:2::1/64"]
        .map(|cidr| LocalAddress { cidr: cidr.parse().unwrap(), ownership: Ownership::Own });
    let why = |local: &str, remote: &str| {
        impossible_ends(local.parse().unwrap(), remote.parse().unwrap(), addresses.to_vec()).unwrap_or_default()
    };
    for (remote, said) in [
        ("198.18.0.2:4000", ""),
        ("198.18.0.2:0", "Port 0 means no port"),
        ("198.18.0.1:4000", "198.18.0.1 is an address of this server itself"),
        ("198.18.0.255:4000", "198.18.0.255 is the broadcast address of a subnet"),
        ("224.0.0.1:4000", "224.0.0.1 is no host's address"),
        ("0.0.0.0:4000", "0.0.0.0 is no host's address"),
        ("255.255.255.255:4000", "is no host's address"),
        ("[2001:2::2]:4000", ""),
        ("[2001:2::1]:4000", "2001:2::1 is an address of this server itself"),
        ("[ff02::1]:4000", "ff02::1 is no host's address"),
        ("[::]:4000", ":: is no host's address"),
    ] {
        let local = if remote.starts_with('[') { "[2001:2::1]:80" } else { "198.18.0.1:80" };
        let found = why(local, remote);
        assert!(found.starts_with(said) || found.contains(said), "{remote}: {found}");
        assert_eq!(found.is_empty(), said.is_empty(), "{remote}: {found}");
    }
    assert!(why("198.18.0.1:0", "198.18.0.2:4000").contains("Port 0"));
}

#[test]
fn what_would_become_of_a_segment_follows_from_every_table() {
    let fields =
        SynAckFields { mss: 1_460, window: 65_535, window_scale: 7, sack: true, hop_limit: 64, traffic_class: 0 };
    let guarded = Arrival {
        port: 80,
        action: Some(Action::Guarded(fields)),
        ownership: Ownership::Own,
        answers: true,
        is_possible: true,
        listens: true,
    };
    let shared = Arrival { action: None, ownership: Ownership::Shared, ..guarded };
    for (arrival, said) in [
        (guarded, "so would an ACK with a valid cookie"),
        (Arrival { listens: false, ..guarded }, "would answer a SYN nevertheless, and the ACK that follows"),
        (Arrival { listens: false, answers: false, ..guarded }, "a SYN would be answered with an RST"),
        (Arrival { is_possible: false, ..guarded }, "is dropped, a SYN as well"),
        (Arrival { is_possible: false, ..shared }, "the kernel's to answer"),
    ] {
        assert!(arrival.verdict().contains(said), "{}", arrival.verdict());
    }
    let text = |answers| serviced(80, guarded.action, Ownership::Own, answers);
    assert!(text(true).contains("it answers SYNs with cookies") && text(false).contains("leaves SYNs to the workers"));
}
