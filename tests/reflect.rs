//! What is measured by, frame by frame: what the bare reflector sends back is a right SYN-ACK, and what is passed on has other link
//! addresses and nothing else. They take nothing else. Needs root.

mod common;

use common::{
    frames::{self, OURS, PEER, PEER_V4, PEER_V6, SHARED_V4, SHARED_V6},
    is_root,
};
use std::net::IpAddr;
use xskip_cli::{
    bpf::{PassOn, Reflector},
    wire::{
        self, ChecksumPolicy, IpHeader, LinkHeader, Packet, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        tcp_options::Timestamps,
    },
};

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

const ENDS: [(IpAddr, IpAddr); 2] =
    [(IpAddr::V4(PEER_V4), IpAddr::V4(SHARED_V4)), (IpAddr::V6(PEER_V6), IpAddr::V6(SHARED_V6))];

fn frame((source, destination): (IpAddr, IpAddr), header: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    let link = LinkHeader { destination: OURS, source: PEER, ..LinkHeader::default() };
    let mut buffer = vec![0; 400];
    let ip = IpHeader::new(source, destination, Protocol::Tcp);
    let length = wire::write_tcp(&link, &ip, header, (payload, &[]), &mut buffer);
    buffer.truncate(length);
    buffer
}

fn syn(seq: u32, ack: u32, options: TcpOptions) -> TcpHeader {
    TcpHeader {
        source_port: 40_000,
        destination_port: 80,
        seq: SeqNumber::new(seq),
        ack: SeqNumber::new(ack),
        flags: TcpFlags::SYN,
        window: 64_240,
        options,
        ..TcpHeader::default()
    }
}

fn options() -> TcpOptions {
    TcpOptions {
        mss: Some(1_460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0xdead_beef, echo: 0 }),
        ..TcpOptions::default()
    }
}

#[test]
fn every_syn_comes_back_as_a_right_syn_ack() {
    if !is_root() {
        return;
    }
    let reflector = Reflector::load(false).unwrap();
    for ends in ENDS {
        for seq in [0, 1, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_fffe, u32::MAX, 0x5eed_5eed, 0x1234_5678] {
            for ack in [0, 1, 0xffff_0000, u32::MAX] {
                for options in [TcpOptions::default(), options()] {
                    let sent = syn(seq, ack, options);
                    let (action, answer) = reflector.test_run(&frame(ends, &sent, &[])).unwrap();
                    assert_eq!(action, XDP_TX, "{sent:?}");
                    let parsed = wire::parse(&answer, ChecksumPolicy::Verify).expect("an answer is well-formed");
                    assert_eq!((parsed.link.source, parsed.link.destination), (OURS, PEER));
                    let Packet::Tcp(ip, segment) = parsed.packet else { panic!("{parsed:?}") };
                    assert_eq!((ip.destination, ip.source), ends);
                    let expected = TcpHeader {
                        source_port: 80,
                        destination_port: 40_000,
                        seq: segment.header.seq,
                        ack: SeqNumber::new(seq.wrapping_add(1)),
                        flags: TcpFlags::SYN | TcpFlags::ACK,
                        ..sent
                    };
                    assert_eq!(segment.header, expected);
                }
            }
        }
    }
}

#[test]
fn flags_beside_the_syn_stay_and_the_checksum_is_right_all_the_same() {
    if !is_root() {
        return;
    }
    let reflector = Reflector::load(false).unwrap();
    for ends in ENDS {
        let header = TcpHeader { flags: TcpFlags::SYN | TcpFlags::PSH, ..syn(7, 0, options()) };
        let (action, answer) = reflector.test_run(&frame(ends, &header, b"early")).unwrap();
        assert_eq!(action, XDP_TX);
        let Packet::Tcp(_, segment) = wire::parse(&answer, ChecksumPolicy::Verify).unwrap().packet else { panic!() };
        assert_eq!(segment.header.flags, TcpFlags::SYN | TcpFlags::ACK | TcpFlags::PSH);
        assert_eq!(segment.payload, b"early");
    }
}

#[test]
fn it_redirects_where_it_is_told_to() {
    if !is_root() {
        return;
    }
    let reflector = Reflector::load(true).unwrap();
    for ends in ENDS {
        let (action, _) = reflector.test_run(&frame(ends, &syn(1, 0, options()), &[])).unwrap();
        assert_eq!(action, XDP_REDIRECT);
    }
}

#[test]
fn everything_else_is_the_kernels_untouched() {
    if !is_root() {
        return;
    }
    let reflector = Reflector::load(false).unwrap();
    let mut others = vec![
        ("ARP", frames::arp_request(SHARED_V4)),
        ("a neighbour solicitation", frames::solicitation(frames::solicited_node(SHARED_V6), SHARED_V6)),
        ("UDP over IPv4", frames::ipv4(SHARED_V4, frames::UDP, 0, &[], &frames::ports(80))),
        ("UDP over IPv6", frames::ipv6(SHARED_V6, frames::UDP, &frames::ports(80))),
        ("a tagged SYN", frames::syn(SHARED_V4.into(), 80, &[0x8100])),
    ];
    for ends in ENDS {
        let other_port = TcpHeader { destination_port: 81, ..syn(1, 0, options()) };
        others.push(("another port", frame(ends, &other_port, &[])));
        for flags in [
            TcpFlags::ACK,
            TcpFlags::RST,
            TcpFlags::FIN | TcpFlags::ACK,
            TcpFlags::SYN | TcpFlags::ACK,
            TcpFlags::SYN | TcpFlags::RST,
            TcpFlags::SYN | TcpFlags::FIN,
        ] {
            others.push(("not a SYN", frame(ends, &TcpHeader { flags, ..syn(1, 1, options()) }, &[])));
        }
        let whole = frame(ends, &syn(1, 0, TcpOptions::default()), &[]);
        others.extend((14..whole.len()).map(|length| ("cut off", whole[..length].to_vec())));
    }
    let mut fragment = frame(ENDS[0], &syn(1, 0, options()), &[]);
    fragment[20] |= 0x20;
    others.push(("a first fragment", fragment));
    for (what, frame) in others {
        let (action, after) = reflector.test_run(&frame).unwrap();
        assert_eq!((action, &after), (XDP_PASS, &frame), "{what}");
    }
}

#[test]
fn what_is_passed_on_has_other_link_addresses_and_nothing_else() {
    if !is_root() {
        return;
    }
    let (client, backends) = ([2, 0, 0, 0, 0, 9], [1, 2, 3].map(|it| [2, 0, 0, 0, 1, it]));
    let program = PassOn::load(SHARED_V4, client, &backends).unwrap();
    let [there, there_v6] = ENDS;
    let mut stations = Vec::new();
    for port in 40_000..40_006 {
        let sent = frame(there, &TcpHeader { source_port: port, ..syn(1, 2, options()) }, b"text");
        let (action, came) = program.test_run(&sent).unwrap();
        assert_eq!((action, &came[6..]), (XDP_REDIRECT, &[&OURS.0[..], &sent[12..]].concat()[..]));
        stations.push(came[..6].to_vec());
    }
    assert_eq!(stations[..3], stations[3..], "the port says which");
    assert!(backends.iter().all(|backend| stations.contains(&backend.to_vec())), "{stations:?}");
    let back = frame((there.1, there.0), &syn(1, 2, options()), b"text");
    let (action, came) = program.test_run(&back).unwrap();
    assert_eq!((action, came), (XDP_REDIRECT, [&client[..], &OURS.0, &back[12..]].concat()));
    let elsewhere = frame((there.0, there.0), &syn(1, 2, options()), &[]);
    for other in [frame(there_v6, &syn(1, 2, options()), &[]), elsewhere, back[..30].to_vec()] {
        assert_eq!(program.test_run(&other).unwrap(), (XDP_PASS, other));
    }
}
