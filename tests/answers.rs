//! One list of what is answered: whatever SYN the XDP program answers the stack would answer, to the octet, and what the stack
//! answers the program does, but for the exceptions below. Random frames, most of them odd; needs root.

#[path = "common/library.rs"]
mod common;

use std::{cell::RefCell, collections::BTreeMap, net::IpAddr};

use common::{is_root, pair::*};
use proptest::{prelude::*, sample::Index};
use xskip::{
    config::{StackConfig, TcpConfig},
    drops::DropReason,
    stack::{LocalAddress, Ownership, Secrets, SynMode},
    tcp::{State, cookie::CookieJar},
    wire::{
        self, ChecksumPolicy, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, Protocol, TcpFlags,
        TcpHeader, TcpOptions, checksum::Checksum, ip::Dscp, tcp_options::Timestamps,
    },
};

/// The most data of a SYN that the program sums up.
const MAX_SYN_DATA: usize = 2_048;

/// Addresses of the stack's own, more than one of a family and of several subnets, and one that is shared with the kernel.
const ADDRESSES: [(&str, Ownership); 6] = [
    ("198.18.0.1/24", Ownership::Own),
    ("198.18.1.65/26", Ownership::Own),
    ("198.18.2.9/31", Ownership::Own),
    ("198.51.100.7/24", Ownership::Shared),
    ("2001:2::1/64", Ownership::Own),
    ("2001:2:0:1::9/64", Ownership::Shared),
];

/// Sources that some rule is about, or that are next to such.
const SOURCES_V4: [&str; 20] = [
    "0.0.0.0",
    "0.1.2.3",
    "1.0.0.0",
    "10.0.0.1",
    "126.255.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "128.0.0.1",
    "198.18.0.1",
    "198.18.0.255",
    "198.18.1.65",
    "198.18.1.127",
    "198.18.2.8",
    "198.51.100.7",
    "198.51.100.255",
    "223.255.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
];
const SOURCES_V6: [&str; 14] = [
    "::",
    "::1",
    "::2",
    "::1:0:1",
    "0:0:0:1::",
    "::ffff:1.2.3.4",
    "::fffe:1.2.3.4",
    "::1:ffff:1.2.3.4",
    "2001:2::1",
    "2001:2:0:1::9",
    "2001:2::ffff",
    "fe80::1",
    "feff::1",
    "ff02::1",
];

/// What may be odd about a SYN.
#[derive(Clone, Debug)]
enum Oddity {
    Nothing,
    Destination(MacAddress),
    Source(MacAddress),
    From(Index),
    SourcePortZero,
    Flags(u8),
    Port(u16),
    To(Index),
    Tags(Vec<(u16, u16)>),
    /// Bits of an octet of the IP header, its checksum right or not.
    IpOctet(Index, u8, bool),
    /// Bits of an octet of the TCP header or its data, likewise.
    TcpOctet(Index, u8, bool),
    TotalLength(i16),
    PartialChecksum,
    IpOptions(u8),
    /// An extension header of this kind, with an option or a route in it.
    Extension(u8, u8),
    Cut(Index),
    Padding(usize),
}

/// A SYN as it is made, before something is odd about it.
#[derive(Clone, Debug)]
struct Syn {
    to: Index,
    source: u16,
    sequence: u32,
    options: Vec<u8>,
    data: Vec<u8>,
    oddities: Vec<Oddity>,
}

/// What a frame is made of, until it is a frame.
struct Parts {
    link: LinkHeader,
    tags: Vec<(u16, u16)>,
    source: IpAddr,
    destination: IpAddr,
    tcp: TcpHeader,
}

fn address(text: &str) -> IpAddr {
    text.split('/').next().unwrap().parse().unwrap()
}

fn option_lists() -> impl Strategy<Value = Vec<u8>> {
    let timestamps = prop::option::of(any::<(u32, u32)>().prop_map(|(value, echo)| Timestamps { value, echo }));
    let mss = prop_oneof![Just(None), (0..2_000u16).prop_map(Some), any::<u16>().prop_map(Some), Just(Some(1_460))];
    let usual = (mss, prop::option::of(0..16u8), any::<bool>(), timestamps);
    let usual = usual.prop_map(|(mss, window_scale, sack_permitted, timestamps)| {
        let options = TcpOptions { mss, window_scale, sack_permitted, timestamps, ..TcpOptions::default() };
        let mut list = vec![0; options.len()];
        options.write(&mut list);
        list
    });
    let piece = prop_oneof![
        Just(vec![1]),
        Just(vec![0]),
        Just(vec![2, 4, 5, 180]),
        (2..8u8).prop_map(|length| vec![2, length, 5, 180]),
        any::<u8>().prop_map(|scale| vec![3, 3, scale]),
        Just(vec![4, 2]),
        (0..40u8).prop_map(|length| [vec![5, length], vec![7; 16]].concat()),
        Just([vec![8, 10], vec![9; 8]].concat()),
        (0..12u8, 0..40u8).prop_map(|(kind, length)| vec![kind, length]),
        any::<[u8; 3]>().prop_map(|octets| octets.to_vec()),
    ];
    let pieces = prop::collection::vec(piece, 0..6).prop_map(|pieces| {
        let mut list = pieces.concat();
        list.truncate(40);
        list.resize(list.len().next_multiple_of(4), 0);
        list
    });
    prop_oneof![3 => usual, 1 => pieces]
}

fn oddities() -> impl Strategy<Value = Oddity> {
    let mac = prop_oneof![
        Just(MacAddress::BROADCAST),
        Just(MacAddress([0x33, 0x33, 0, 0, 0, 1])),
        Just(THEIRS),
        (0..6usize, 0..8u32).prop_map(|(octet, bit)| {
            let mut near = OURS;
            near.0[octet] ^= 1 << bit;
            near
        }),
    ];
    let tag = (
        prop_oneof![4 => Just(0x8100u16), 1 => Just(0x88a8)],
        prop_oneof![Just(0u16), Just(0xa000), Just(10), any::<u16>()],
    );
    prop_oneof![
        3 => any::<Index>().prop_map(Oddity::From),
        2 => mac.clone().prop_map(Oddity::Destination),
        1 => mac.prop_map(Oddity::Source),
        1 => Just(Oddity::SourcePortZero),
        1 => any::<u8>().prop_map(Oddity::Flags),
        1 => any::<u16>().prop_map(Oddity::Port),
        1 => any::<Index>().prop_map(Oddity::To),
        2 => prop::collection::vec(tag, 1..4).prop_map(Oddity::Tags),
        3 => (any::<Index>(), 1..=255u8, any::<bool>()).prop_map(|(at, bits, mend)| Oddity::IpOctet(at, bits, mend)),
        3 => (any::<Index>(), 1..=255u8, any::<bool>()).prop_map(|(at, bits, mend)| Oddity::TcpOctet(at, bits, mend)),
        1 => (-60..60i16).prop_map(Oddity::TotalLength),
        1 => Just(Oddity::PartialChecksum),
        1 => (1..=10u8).prop_map(Oddity::IpOptions),
        1 => (prop::sample::select(vec![0, 43, 44, 60]), 0..8u8).prop_map(|(kind, within)| Oddity::Extension(kind, within)),
        1 => any::<Index>().prop_map(Oddity::Cut),
        1 => (1..64usize).prop_map(Oddity::Padding),
    ]
}

fn syns() -> impl Strategy<Value = Syn> {
    let data = prop_oneof![
        6 => Just(Vec::new()),
        2 => prop::collection::vec(any::<u8>(), 1..40),
        1 => (0..2_100usize, any::<u8>()).prop_map(|(length, octet)| vec![octet; length]),
    ];
    let odd = prop_oneof![
        2 => Just(vec![Oddity::Nothing]),
        4 => prop::collection::vec(oddities(), 1),
        1 => prop::collection::vec(oddities(), 2),
    ];
    let syn = (any::<Index>(), 1..u16::MAX, any::<u32>(), option_lists(), data, odd);
    syn.prop_map(|(to, source, sequence, options, data, oddities)| Syn {
        to,
        source,
        sequence,
        options,
        data,
        oddities,
    })
}

impl Syn {
    /// The parts, as far as what is odd is in them; the rest is done to the frame.
    fn parts(&self, vlan: Option<u16>) -> Parts {
        let destination = address(ADDRESSES[self.to.index(ADDRESSES.len())].0);
        let tags = vlan.map(|id| (0x8100, id)).into_iter().collect();
        let tcp = TcpHeader { source_port: self.source, ..header(SYN, self.sequence, 0) };
        let mut parts = Parts { link: link(), tags, source: theirs(destination.is_ipv6()), destination, tcp };
        for oddity in &self.oddities {
            let ipv6 = destination.is_ipv6();
            match oddity {
                Oddity::Destination(mac) => parts.link.destination = *mac,
                Oddity::Source(mac) => parts.link.source = *mac,
                Oddity::From(index) if ipv6 => parts.source = address(SOURCES_V6[index.index(SOURCES_V6.len())]),
                Oddity::From(index) => parts.source = address(SOURCES_V4[index.index(SOURCES_V4.len())]),
                Oddity::To(index) if ipv6 => parts.destination = address(SOURCES_V6[index.index(SOURCES_V6.len())]),
                Oddity::To(index) => parts.destination = address(SOURCES_V4[index.index(SOURCES_V4.len())]),
                Oddity::SourcePortZero => parts.tcp.source_port = 0,
                Oddity::Flags(flags) => parts.tcp.flags = TcpFlags::from_bits_retain(*flags),
                Oddity::Port(port) => parts.tcp.destination_port = *port,
                Oddity::Tags(tags) => parts.tags.clone_from(tags),
                _ => {}
            }
        }
        parts
    }

    fn frame(&self, vlan: Option<u16>) -> Vec<u8> {
        let parts = self.parts(vlan);
        let mut frame = plain(&parts, &[&self.options[..], &self.data].concat());
        let tcp = if parts.source.is_ipv4() { 34 } else { 54 };
        frame[tcp + 12] = (5 + self.options.len() as u8 / 4) << 4;
        let sum_up = |frame: &mut [u8]| sum_up(&parts, frame);
        sum_up(&mut frame);
        for oddity in &self.oddities {
            let ipv4 = parts.source.is_ipv4();
            match *oddity {
                Oddity::IpOctet(at, bits, mend) => {
                    frame[14 + at.index(tcp - 14)] ^= bits;
                    if mend {
                        mend_ip(&mut frame, ipv4);
                    }
                }
                Oddity::TcpOctet(at, bits, mend) => {
                    let end = frame.len();
                    frame[tcp + at.index(end - tcp)] ^= bits;
                    if mend {
                        sum_up(&mut frame);
                    }
                }
                Oddity::TotalLength(more) => {
                    let at = if ipv4 { 16 } else { 18 };
                    let length = i16::from_be_bytes([frame[at], frame[at + 1]]).wrapping_add(more);
                    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
                    mend_ip(&mut frame, ipv4);
                }
                Oddity::PartialChecksum => {
                    let (source, destination) = (parts.source, parts.destination);
                    let pseudo = Checksum::pseudo_header(source, destination, 6, frame.len() - tcp).folded();
                    frame[tcp + 16..tcp + 18].copy_from_slice(&pseudo);
                }
                _ => {}
            }
        }
        self.change_shape(frame, &parts)
    }

    /// What makes a frame longer or shorter comes last.
    fn change_shape(&self, mut frame: Vec<u8>, parts: &Parts) -> Vec<u8> {
        for oddity in &self.oddities {
            match *oddity {
                Oddity::IpOptions(words) if parts.source.is_ipv4() => {
                    frame.splice(34..34, vec![1; usize::from(words) * 4]);
                    frame[14] = 0x45 + words;
                    lengthen(&mut frame, 16, u16::from(words) * 4);
                    mend_ip(&mut frame, true);
                }
                Oddity::Extension(kind, within) if parts.source.is_ipv6() => {
                    let header = [frame[20], 0, 1, within, 0, 0, 0, 0];
                    frame.splice(54..54, header);
                    frame[20] = kind;
                    lengthen(&mut frame, 18, 8);
                }
                _ => {}
            }
        }
        for oddity in &self.oddities {
            match *oddity {
                Oddity::Cut(at) => frame.truncate(14 + at.index(frame.len() - 14)),
                Oddity::Padding(more) => frame.resize(frame.len() + more, 0xaa),
                _ => {}
            }
        }
        let tags = parts.tags.iter().flat_map(|&(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()].concat());
        frame.splice(12..12, tags.collect::<Vec<_>>());
        frame
    }
}

/// A frame without tags whose options and data are these octets.
fn plain(parts: &Parts, behind: &[u8]) -> Vec<u8> {
    let ip = IpHeader::new(parts.source, parts.destination, Protocol::Tcp);
    let mut frame = vec![0; wire::tcp_frame_len(&parts.link, &ip, &parts.tcp) + behind.len()];
    wire::write_tcp(&parts.link, &ip, &parts.tcp, (behind, &[]), &mut frame);
    frame
}

fn sum_up(parts: &Parts, frame: &mut [u8]) {
    let tcp = if parts.source.is_ipv4() { 34 } else { 54 };
    frame[tcp + 16..tcp + 18].fill(0);
    let length = frame.len() - tcp;
    let sum = Checksum::pseudo_header(parts.source, parts.destination, 6, length).with(&frame[tcp..]).field();
    frame[tcp + 16..tcp + 18].copy_from_slice(&sum);
}

fn mend_ip(frame: &mut [u8], ipv4: bool) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    if ipv4 && (34..=frame.len()).contains(&end) {
        frame[24..26].fill(0);
        let sum = Checksum::of(&frame[14..end]).field();
        frame[24..26].copy_from_slice(&sum);
    }
}

fn lengthen(frame: &mut [u8], at: usize, by: u16) {
    let length = u16::from_be_bytes([frame[at], frame[at + 1]]).wrapping_add(by);
    frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Why the program may leave a SYN to be repeated, or for good, that the stack answers: the whole list.
fn exception(pair: &Pair, jar: &mut CookieJar, syn: &[u8], answer: &TcpHeader) -> Option<&'static str> {
    let parsed = wire::parse(syn, ChecksumPolicy::AcceptPartial).expect("it was answered");
    let Packet::Tcp(ip, segment) = parsed.packet else { panic!("{parsed:?}") };
    let at_ip = parsed.link.len();
    // Nobody sends them with a SYN; to look behind them costs every SYN something.
    if ip.source.is_ipv4() && syn[at_ip] != 0x45 {
        return Some("IP options");
    }
    if ip.source.is_ipv6() && syn[at_ip + 6] != Protocol::Tcp.number() {
        return Some("extension headers");
    }
    if segment.payload.len() > MAX_SYN_DATA {
        return Some("much data");
    }
    // The stack's answer is worth nothing then: no cookie holds so small an MSS without timestamps.
    let tuple = FourTuple::of_received(&ip, &segment.header);
    let clocks = answer.options.timestamps.map(|ours| Timestamps { value: 1, echo: ours.value });
    let held = jar.check(pair.now, &tuple, segment.header.seq, answer.seq, clocks);
    held.is_none().then_some("no cookie holds it")
}

/// The stack's answer as the program gives it to a SYN that names no MSS: without ours, since no answer is longer than its SYN.
fn without_mss(answer: &[u8]) -> Vec<u8> {
    let parsed = wire::parse(answer, ChecksumPolicy::Verify).expect("an answer is well-formed");
    let Packet::Tcp(ip, segment) = parsed.packet else { panic!("{parsed:?}") };
    let options = TcpOptions { mss: None, ..segment.header.options };
    let tcp = TcpHeader { options, ..segment.header };
    let mut shorter = vec![0; answer.len() - 4];
    wire::write_tcp(&parsed.link, &ip, &tcp, (&[], &[]), &mut shorter);
    shorter
}

/// How often what happened.
#[derive(Default)]
struct Tally(RefCell<BTreeMap<String, u32>>);

impl Tally {
    fn count(&self, what: impl Into<String>) {
        *self.0.borrow_mut().entry(what.into()).or_default() += 1;
    }

    fn get(&self, what: &str) -> u32 {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }
}

/// Shows one frame to both, and compares.
fn compare(pair: &mut Pair, jar: &mut CookieJar, tally: &Tally, frame: &[u8]) -> Result<(), TestCaseError> {
    // A handshake that no cookie can hold is remembered, and goes on as it began: the program does not know of it.
    if let Ok(parsed) = wire::parse(frame, ChecksumPolicy::AcceptPartial)
        && let Packet::Tcp(ip, segment) = parsed.packet
        && pair.stack.state_of(&FourTuple::of_received(&ip, &segment.header)) == State::SynReceived
    {
        return Ok(());
    }
    let before = pair.stack.drops().clone();
    let (action, sent) = pair.run(frame);
    let answer = pair.answer(frame).filter(|answer| is_syn_ack(answer));
    while pair.stack.poll_transmit(pair.now, InterfaceId::FIRST, &mut [0; 2_000]).is_some() {}
    let refused = DropReason::ALL.iter().find(|&&reason| pair.stack.drops().get(reason) > before.get(reason));
    match (action == XDP_TX, answer) {
        (true, None) => prop_assert!(false, "answered by the program alone; the stack: {refused:?}\n{frame:02x?}"),
        (true, Some(answer)) => {
            tally.count("answered");
            let parsed = wire::parse(frame, ChecksumPolicy::AcceptPartial).expect("it was answered");
            let Packet::Tcp(_, segment) = parsed.packet else { panic!("{parsed:?}") };
            let expected = if segment.header.options.mss.is_some() { answer } else { without_mss(&answer) };
            prop_assert_eq!(&sent, &expected);
            prop_assert!(sent.len() <= frame.len(), "no SYN-ACK is longer than its SYN");
        }
        (false, Some(answer)) => {
            let why = exception(pair, jar, frame, &read(&answer));
            prop_assert!(why.is_some(), "answered by the stack alone\n{frame:02x?}");
            tally.count(why.unwrap());
        }
        (false, None) => tally.count(refused.map_or("nothing", |reason| reason.name())),
    }
    Ok(())
}

fn is_syn_ack(frame: &[u8]) -> bool {
    let parsed = wire::parse(frame, ChecksumPolicy::Verify).map(|parsed| parsed.packet);
    matches!(parsed, Ok(Packet::Tcp(_, segment)) if segment.header.flags == SYN | ACK)
}

/// Stacks that differ in all that an answer may say.
fn configurations() -> [StackConfig; 4] {
    let odd = TcpConfig { sack: false, hop_limit: 17, dscp: Dscp::new(46).unwrap(), ..TcpConfig::default() };
    let small = TcpConfig { receive_buffer: 20_000, ..TcpConfig::default() };
    // A handshake that was reset here is begun anew by the stack, with a number that is no cookie: the program knows of no resets.
    let plain = StackConfig { max_reset_handshakes: 0, ..StackConfig::default() };
    [
        plain.clone(),
        StackConfig { tcp: odd, vlan: Some(10), ..plain.clone() },
        StackConfig { tcp: small, checksums: ChecksumPolicy::AcceptPartial, ..plain.clone() },
        StackConfig {
            vlan: Some(4_094),
            checksums: ChecksumPolicy::AcceptPartial,
            answers_to: Some(MacAddress([2, 0xff, 0, 0xfe, 0xfd, 1])),
            ..plain
        },
    ]
}

#[test]
fn what_the_program_answers_the_stack_would_to_the_octet_and_the_other_way_round() {
    if !is_root() {
        return;
    }
    let tally = Tally::default();
    for (seed, config) in (1..).zip(configurations()) {
        let local = |(text, ownership): &(&str, _)| LocalAddress { cidr: text.parse().unwrap(), ownership: *ownership };
        let vlan = config.vlan;
        let mut pair = Pair::with(seed, config, ADDRESSES.iter().map(local).collect());
        pair.stack.set_syn_mode(SynMode::Cookie);
        let jar = CookieJar::new(Secrets::from_seed(seed).cookie_master(), std::time::Duration::ZERO);
        let both = RefCell::new((pair, jar));
        let tried = runner_of(seed, 5_000).run(&syns(), |syn| {
            let (pair, jar) = &mut *both.borrow_mut();
            compare(pair, jar, &tally, &syn.frame(vlan))
        });
        tried.unwrap_or_else(|error| panic!("configuration {seed}: {error}"));
    }
    // Nothing is proved by frames that nobody would have answered anyway.
    assert!(tally.get("answered") > 6_000, "{:?}", tally.0);
    let reasons = [
        "group_source_mac",
        "other_vlan",
        "too_many_vlan_tags",
        "other_station",
        "group_destination",
        "invalid_source",
        "own_source",
        "other_destination",
        "port_zero",
        "bad_ip_checksum",
        "bad_ip_length",
        "bad_ip_header_length",
        "wrong_ip_version",
        "fragment",
        "bad_extension_headers",
        "unknown_protocol",
        "truncated_tcp",
        "bad_data_offset",
        "bad_tcp_options",
        "bad_tcp_checksum",
        "partial_tcp_checksum",
        "contradictory_flags",
        "no_ack",
        "no_listener",
        "stray_reset",
        "bad_cookie",
        "truncated_ip",
    ];
    let exceptions = ["IP options", "extension headers", "much data", "no cookie holds it"];
    for what in reasons.iter().chain(&exceptions) {
        assert!(tally.get(what) > 0, "{what} never happened: {:?}", tally.0);
    }
}
