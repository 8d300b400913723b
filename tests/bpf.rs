//! The XDP program's verdicts, frame by frame, as `BPF_PROG_TEST_RUN` tells them: needs root.

mod common;
#[path = "bpf/fragments.rs"]
mod fragments;
#[path = "bpf/services.rs"]
mod services;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{Name, frames::*, is_root};
use fragments::fragment_cases;
use xskip_cli::{
    lab::{INTERFACE, Lab, LabOptions},
    rng::splitmix64,
    wire::{
        arp,
        ethernet::{ETHER_TYPE_ARP, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6},
    },
    xdp::{Program, ProgramOptions, Queue, QueueOptions, Require, Steering, Verdicts, XdpError, XdpMode},
};

/// A port of the shared addresses that is ours for UDP only.
const UDP_PORT: u16 = 5_353;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// A program twice: with a socket behind queue 0, to which test runs are accounted, and without.
struct Judge {
    connected: Program,
    alone: Program,
    // The socket goes before its interface, and the lab before its name.
    _queue: Queue,
    _lab: Lab,
    _name: Name,
}

/// Addresses of the stack's own, and the kernel's.
fn both_kinds() -> Steering {
    Steering {
        own: vec![OWN_V4.into(), OWN_V6.into()],
        shared: vec![(SHARED_V4, PORT).into(), (SHARED_V6, PORT).into()],
        shared_udp: vec![(SHARED_V4, UDP_PORT).into(), (SHARED_V6, UDP_PORT).into()],
        ..Steering::default()
    }
}

impl Judge {
    fn new() -> Self {
        Self::of(&both_kinds())
    }

    fn of(steering: &Steering) -> Self {
        let name = Name::new();
        let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
        let lab = Lab::temporary(&options).unwrap();
        let open = || Queue::open(INTERFACE, 0, XdpMode::Native, Require::Nothing, &QueueOptions::default());
        let queue = lab.server().run(open).unwrap().unwrap();
        let connected = Program::load(steering, &ProgramOptions::default()).unwrap();
        connected.connect(&queue).unwrap();
        Self {
            connected,
            alone: Program::load(steering, &ProgramOptions::default()).unwrap(),
            _queue: queue,
            _lab: lab,
            _name: name,
        }
    }

    /// The counter that says what the program thinks of the frame. Whatever it is: the action agrees with it, one frame
    /// counts once, the frame is left as it was, and without a socket what would be redirected is dropped.
    #[track_caller]
    fn verdict(&self, what: &str, frame: &[u8]) -> &'static str {
        let (verdict, action) = counted(&self.connected, what, frame);
        let (without, action_without) = counted(&self.alone, what, frame);
        if verdict.starts_with("passed_") {
            assert_eq!((action, action_without, without), (XDP_PASS, XDP_PASS, verdict), "{what}");
        } else {
            assert!(verdict.starts_with("redirected_"), "{what}: {verdict}");
            assert_eq!((action, action_without, without), (XDP_REDIRECT, XDP_DROP, "dropped_no_socket"), "{what}");
        }
        verdict
    }

    #[track_caller]
    fn check(&self, cases: &[Case]) {
        for case in cases {
            assert_eq!(self.verdict(&case.what, &case.frame), case.verdict, "{}", case.what);
        }
    }
}

/// Runs the program once and gives back the one counter that moved, by one, and the action.
#[track_caller]
fn counted(program: &Program, what: &str, frame: &[u8]) -> (&'static str, u32) {
    let before = program.verdicts().unwrap();
    let (action, after_run) = program.test_run(frame).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(after_run, frame, "{what}: the frame is as it was");
    let after = program.verdicts().unwrap();
    let moved: Vec<_> = before
        .iter()
        .zip(after.iter())
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| (name, after - before))
        .collect();
    match moved[..] {
        [(name, 1)] => (name, action),
        _ => panic!("{what}: counted {moved:?}"),
    }
}

fn sum(verdicts: &Verdicts) -> u64 {
    verdicts.iter().map(|(_, count)| count).sum()
}

/// A frame and what is to become of it.
struct Case {
    what: String,
    frame: Vec<u8>,
    verdict: &'static str,
    /// How many of its bytes the program must see to take it; `None` for frames it passes.
    needs: Option<usize>,
}

fn taken(what: impl Into<String>, frame: Vec<u8>, verdict: &'static str, needs: usize) -> Case {
    Case { what: what.into(), frame, verdict, needs: Some(needs) }
}

fn foreign(what: impl Into<String>, frame: Vec<u8>) -> Case {
    Case { what: what.into(), frame, verdict: "passed_foreign", needs: None }
}

/// Extension headers of these kinds, the `n`th of them `8 * (n % 3 + 1)` bytes long, and behind them TCP.
fn extensions(kinds: &[u8], port: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    for (index, _) in kinds.iter().enumerate() {
        let extra = index % 3;
        payload.extend([kinds.get(index + 1).copied().unwrap_or(TCP), extra as u8]);
        payload.extend(vec![0; 6 + 8 * extra]);
    }
    payload.extend(ports(port));
    payload
}

/// An IPv6 packet of this chain to a shared port, and the bytes up to and with the port.
fn chain(kinds: &[u8], destination: Ipv6Addr) -> (Vec<u8>, usize) {
    let payload = extensions(kinds, PORT);
    let needs = 14 + 40 + payload.len() - 16;
    (ipv6(destination, kinds[0], &payload), needs)
}

// The tables.

fn own_cases() -> Vec<Case> {
    let mut cases = vec![
        taken("a SYN to the own IPv4 address", syn(OWN_V4.into(), PORT, &[]), "redirected_own", 34),
        taken("a SYN to the own IPv6 address", syn(OWN_V6.into(), PORT, &[]), "redirected_own", 54),
        taken("IPv4 and nothing behind", ipv4(OWN_V4, TCP, 0, &[], &[]), "redirected_own", 34),
        taken("IPv6 and nothing behind", ipv6(OWN_V6, 59, &[]), "redirected_own", 54),
        taken("an IPv4 header length of zero", shortened_header(OWN_V4), "redirected_own", 34),
    ];
    for protocol in 0..=255 {
        let what = |version| format!("protocol {protocol} of IPv{version}");
        cases.push(taken(what(4), ipv4(OWN_V4, protocol, 0, &[], &[0; 24]), "redirected_own", 34));
        cases.push(foreign(what(4), ipv4(FOREIGN_V4, protocol, 0, &[], &[0; 24])));
        cases.push(taken(what(6), ipv6(OWN_V6, protocol, &[0; 24]), "redirected_own", 54));
        cases.push(foreign(what(6), ipv6(FOREIGN_V6, protocol, &[0; 24])));
    }
    cases
}

/// A header that claims to be shorter than it can be.
fn shortened_header(destination: Ipv4Addr) -> Vec<u8> {
    let mut frame = ipv4(destination, TCP, 0, &[], &ports(PORT));
    frame[14] = 0x40;
    frame
}

fn shared_cases() -> Vec<Case> {
    let options = [1; 8];
    vec![
        taken("TCP to the shared IPv4 port", syn(SHARED_V4.into(), PORT, &[]), "redirected_shared", 38),
        taken("TCP to the shared IPv6 port", syn(SHARED_V6.into(), PORT, &[]), "redirected_shared", 58),
        taken("IPv4 options", ipv4(SHARED_V4, TCP, 0, &options, &ports(PORT)), "redirected_shared", 46),
        taken("all IPv4 options", ipv4(SHARED_V4, TCP, 0, &[1; 40], &ports(PORT)), "redirected_shared", 78),
        taken("don't fragment", ipv4(SHARED_V4, TCP, 0x4000, &[], &ports(PORT)), "redirected_shared", 38),
        foreign("another IPv4 port", syn(SHARED_V4.into(), PORT + 1, &[])),
        foreign("another IPv6 port", syn(SHARED_V6.into(), PORT + 1, &[])),
        foreign("the port with its bytes swapped", syn(SHARED_V4.into(), PORT.swap_bytes(), &[])),
        foreign("port zero", ipv4(SHARED_V4, TCP, 0, &[], &ports(0))),
        foreign("another IPv4 address", syn(FOREIGN_V4.into(), PORT, &[])),
        foreign("another IPv6 address", syn(FOREIGN_V6.into(), PORT, &[])),
        taken("UDP to the shared IPv4 port", ipv4(SHARED_V4, UDP, 0, &[], &ports(UDP_PORT)), "redirected_shared", 38),
        taken("UDP to the shared IPv6 port", ipv6(SHARED_V6, UDP, &ports(UDP_PORT)), "redirected_shared", 58),
        taken("UDP behind options", ipv4(SHARED_V4, UDP, 0, &options, &ports(UDP_PORT)), "redirected_shared", 46),
        foreign("UDP to TCP's IPv4 port", ipv4(SHARED_V4, UDP, 0, &[], &ports(PORT))),
        foreign("UDP to TCP's IPv6 port", ipv6(SHARED_V6, UDP, &ports(PORT))),
        foreign("TCP to UDP's IPv4 port", syn(SHARED_V4.into(), UDP_PORT, &[])),
        foreign("TCP to UDP's IPv6 port", syn(SHARED_V6.into(), UDP_PORT, &[])),
        foreign("ICMP", ipv4(SHARED_V4, ICMPV4, 0, &[], &ports(PORT))),
        foreign("ICMPv6", ipv6(SHARED_V6, ICMPV6, &ports(PORT))),
        foreign("an IPv4 header length of zero", shortened_header(SHARED_V4)),
        foreign("no room for options", ipv4(SHARED_V4, TCP, 0, &options, &[])),
        foreign("ARP about a shared address", arp_request(SHARED_V4)),
        foreign("a solicitation for a shared address", solicitation(solicited_node(SHARED_V6), SHARED_V6)),
        foreign("an unknown EtherType", ethernet(&[], 0x88cc, &[0; 46])),
        foreign("an 802.3 length", ethernet(&[], 46, &[0; 46])),
    ]
}

/// An ICMP error to a shared address about a segment from there, with the protocol and source port that it quotes.
fn icmp_error(ipv6_: bool, kind: u8, protocol: u8, port: u16) -> Vec<u8> {
    let mut segment = ports(40_000);
    segment[..2].copy_from_slice(&port.to_be_bytes());
    let quoted = match ipv6_ {
        false => ipv4(FOREIGN_V4, protocol, 0x4000, &[], &segment),
        true => ipv6(FOREIGN_V6, protocol, &segment),
    };
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &quoted[14..]].concat();
    match ipv6_ {
        false => ipv4(SHARED_V4, ICMPV4, 0, &[], &message),
        true => ipv6(SHARED_V6, ICMPV6, &message),
    }
}

fn icmp_error_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ipv6, errors, needs, others) in
        [(false, &[3, 11, 12][..], 66, [0, 4, 5, 8]), (true, &[1, 2, 3, 4], 106, [0, 5, 128, 129])]
    {
        for &kind in errors {
            let what = |about| format!("ICMP error {kind} about {about}, IPv6: {ipv6}");
            cases.push(taken(what("the TCP port"), icmp_error(ipv6, kind, TCP, PORT), "redirected_shared", needs));
            cases.push(foreign(what("another port"), icmp_error(ipv6, kind, TCP, PORT + 1)));
            cases.push(taken(what("the UDP port"), icmp_error(ipv6, kind, UDP, UDP_PORT), "redirected_shared", needs));
            cases.push(foreign(what("another UDP port"), icmp_error(ipv6, kind, UDP, UDP_PORT + 1)));
        }
        for kind in others {
            cases.push(foreign(format!("ICMP type {kind}, IPv6: {ipv6}"), icmp_error(ipv6, kind, TCP, PORT)));
        }
    }
    cases
}

/// Frames with these tags, to each kind of address, and what becomes of them where they are of the VLAN that is served.
fn tagged_cases(tags: &[(u16, u16)]) -> Vec<Case> {
    let more = 4 * tags.len();
    let what = |what| format!("{what} behind {tags:04x?}");
    let tagged = |frame: Vec<u8>| with_tags(&frame, tags);
    let to = |destination, port| tagged(syn(destination, port, &[]));
    let taken = |about, frame, verdict, needs| taken(what(about), frame, verdict, needs + more);
    vec![
        taken("own IPv4", to(OWN_V4.into(), PORT), "redirected_own", 34),
        taken("own IPv6", to(OWN_V6.into(), PORT), "redirected_own", 54),
        taken("shared IPv4", to(SHARED_V4.into(), PORT), "redirected_shared", 38),
        taken("shared IPv6", to(SHARED_V6.into(), PORT), "redirected_shared", 58),
        foreign(what("another port"), to(SHARED_V4.into(), PORT + 1)),
        foreign(what("foreign IPv6"), to(FOREIGN_V6.into(), PORT)),
        taken("ARP", tagged(arp_request(OWN_V4)), "redirected_arp", 42),
    ]
}

/// The cases of [`tagged_cases`] where such frames are not ours.
fn passed_by(tags: &[(u16, u16)]) -> Vec<Case> {
    let cases = tagged_cases(tags).into_iter();
    cases.map(|case| Case { verdict: "passed_vlan", needs: None, ..case }).collect()
}

const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;

/// Tags that make a frame another network's, whichever VLAN is served: another VLAN's, a provider's, two or three.
const OTHERS: [&[(u16, u16)]; 9] = [
    &[(CUSTOMER, 5)],
    &[(CUSTOMER, 0xffff)],
    &[(SERVICE, 0)],
    &[(SERVICE, 10)],
    &[(CUSTOMER, 0), (CUSTOMER, 10)],
    &[(CUSTOMER, 10), (CUSTOMER, 10)],
    &[(SERVICE, 10), (CUSTOMER, 10)],
    &[(CUSTOMER, 10), (SERVICE, 10)],
    &[(SERVICE, 10), (CUSTOMER, 10), (CUSTOMER, 10)],
];

fn vlan_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = OTHERS.iter().flat_map(|tags| passed_by(tags)).collect();
    // A priority, and no VLAN.
    cases.extend(tagged_cases(&[(CUSTOMER, 0)]));
    cases.extend(tagged_cases(&[(CUSTOMER, 0xf000)]));
    cases.extend(passed_by(&[(CUSTOMER, 10)]));
    // A tag that looks like one and is none: the pre-standard 0x9100.
    cases.push(foreign("an unknown kind of tag", with_tags(&syn(OWN_V4.into(), PORT, &[]), &[(0x9100, 0)])));
    cases
}

fn arp_cases() -> Vec<Case> {
    let reply = ethernet(&[], ETHER_TYPE_ARP, &arp_packet(arp::Operation::Reply, OWN_V4));
    let mut announcement = arp_request(OWN_V4);
    announcement.copy_within(38..42, 28);
    let mut padded = arp_request(OWN_V4);
    padded.resize(60, 0);
    let mut cases = vec![
        taken("a request for the own address", arp_request(OWN_V4), "redirected_arp", 42),
        taken("a request, padded", padded, "redirected_arp", 42),
        taken("a reply to the own address", reply, "redirected_arp", 42),
        foreign("a request for a foreign address", arp_request(FOREIGN_V4)),
        foreign("a request for the peer's address", arp_request(PEER_V4)),
        foreign("an announcement of the own address", announcement),
    ];
    let malformed: [(&str, usize, u8); 5] = [
        ("hardware", 1, 6),
        ("protocol", 2, 0x86),
        ("hardware length", 4, 8),
        ("protocol length", 5, 16),
        ("both", 4, 0),
    ];
    for (field, at, value) in malformed {
        let mut frame = arp_request(OWN_V4);
        frame[14 + at] = value;
        cases.push(foreign(format!("ARP with a wrong {field}"), frame));
    }
    cases
}

fn neighbour_cases() -> Vec<Case> {
    let unspecified = |mut frame: Vec<u8>| {
        frame[22..38].fill(0);
        frame
    };
    let behind_header = {
        let plain = solicitation(solicited_node(OWN_V6), OWN_V6);
        ipv6(solicited_node(OWN_V6), DESTINATION, &[&[ICMPV6, 0, 1, 4, 0, 0, 0, 0], &plain[54..]].concat())
    };
    let asked = solicitation(solicited_node(OWN_V6), OWN_V6);
    vec![
        taken("a solicitation for the own address", asked.clone(), "redirected_neighbour", 78),
        taken("duplicate address detection", unspecified(asked), "redirected_neighbour", 78),
        taken("a solicitation behind options", behind_header, "redirected_neighbour", 86),
        foreign("a solicitation for a foreign address", solicitation(solicited_node(FOREIGN_V6), FOREIGN_V6)),
        foreign("a foreign address of the same group", solicitation(solicited_node(OWN_V6), FOREIGN_V6)),
        foreign("an advertisement to everyone", advertisement("ff02::1".parse().unwrap(), OWN_V6)),
        foreign("an advertisement to a foreign address", advertisement(FOREIGN_V6, OWN_V6)),
    ]
}

fn extension_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let chains: [&[u8]; 6] = [
        &[HOP_BY_HOP],
        &[ROUTING],
        &[DESTINATION],
        &[HOP_BY_HOP, DESTINATION, ROUTING],
        &[DESTINATION; 5],
        &[HOP_BY_HOP, DESTINATION, ROUTING, DESTINATION, DESTINATION, ROUTING],
    ];
    for kinds in chains {
        let (frame, needs) = chain(kinds, SHARED_V6);
        cases.push(taken(format!("a shared port behind {kinds:?}"), frame, "redirected_shared", needs));
        cases.push(taken(format!("the own address and {kinds:?}"), chain(kinds, OWN_V6).0, "redirected_own", 54));
        cases.push(foreign(format!("a foreign address and {kinds:?}"), chain(kinds, FOREIGN_V6).0));
    }
    cases.push(foreign("seven extension headers", chain(&[DESTINATION; 7], SHARED_V6).0));
    cases.push(foreign("nine extension headers", chain(&[HOP_BY_HOP; 9], SHARED_V6).0));
    // Behind an authentication header (51) the port is where nobody may look.
    cases.push(foreign("a header of another kind", ipv6(SHARED_V6, 51, &extensions(&[51], PORT))));
    let too_long = [&[TCP, 255, 0, 0, 0, 0, 0, 0][..], &ports(PORT)].concat();
    cases.push(foreign("a header longer than the frame", ipv6(SHARED_V6, DESTINATION, &too_long)));
    cases.push(foreign("no extension header where one is announced", ipv6(SHARED_V6, ROUTING, &[])));
    cases.push(foreign("half an extension header", ipv6(SHARED_V6, ROUTING, &[TCP])));
    cases
}

#[test]
fn everything_to_an_own_address_is_taken_and_nothing_else() {
    if !is_root() {
        return;
    }
    Judge::new().check(&own_cases());
}

#[test]
fn of_a_shared_address_the_listed_tcp_port_is_taken_and_nothing_else() {
    if !is_root() {
        return;
    }
    Judge::new().check(&shared_cases());
}

#[test]
fn must_54_icmp_errors_go_to_whoever_sent_what_they_quote() {
    if !is_root() {
        return;
    }
    Judge::new().check(&icmp_error_cases());
}

#[test]
fn frames_of_a_vlan_are_the_kernels_and_those_with_a_mere_priority_ours() {
    if !is_root() {
        return;
    }
    Judge::new().check(&vlan_cases());
}

#[test]
fn where_a_vlan_is_served_what_has_its_tag_is_ours_and_nothing_else() {
    if !is_root() {
        return;
    }
    let judge = Judge::of(&Steering { vlan: Some(10), ..both_kinds() });
    judge.check(&tagged_cases(&[(CUSTOMER, 10)]));
    judge.check(&tagged_cases(&[(CUSTOMER, 0xe00a)]));
    for tags in OTHERS.iter().chain(&[&[][..], &[(CUSTOMER, 0)]]) {
        judge.check(&passed_by(tags));
    }
}

#[test]
fn address_resolution_for_own_addresses_is_taken() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    judge.check(&arp_cases());
    judge.check(&neighbour_cases());
}

#[test]
fn what_is_sent_to_an_own_address_is_taken_whatever_it_asks() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    let cases = [
        (solicitation(OWN_V6, OWN_V6), "redirected_neighbour"),
        (solicitation(OWN_V6, FOREIGN_V6), "redirected_own"),
        (advertisement(OWN_V6, FOREIGN_V6), "redirected_own"),
        (advertisement(OWN_V6, OWN_V6), "redirected_own"),
    ];
    for (number, (frame, verdict)) in cases.iter().enumerate() {
        assert_eq!(judge.verdict("neighbour discovery by unicast", frame), *verdict, "case {number}");
    }
    assert_eq!(judge.verdict("a cut solicitation", &solicitation(OWN_V6, OWN_V6)[..70]), "redirected_own");
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_not_ours() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    let (own, shared) = (OWN_V4.to_ipv6_mapped(), SHARED_V4.to_ipv6_mapped());
    judge.check(&[
        foreign("TCP to a mapped own address", ipv6(own, TCP, &ports(PORT))),
        foreign("TCP to a mapped shared address", ipv6(shared, TCP, &ports(PORT))),
        foreign("a solicitation for a mapped address", solicitation(solicited_node(own), own)),
    ]);
}

#[test]
fn fragments_stay_with_the_kernel_unless_the_address_or_the_port_is_ours() {
    if !is_root() {
        return;
    }
    Judge::new().check(&fragment_cases());
}

#[test]
fn ipv6_extension_headers_are_looked_behind_up_to_a_bound() {
    if !is_root() {
        return;
    }
    Judge::new().check(&extension_cases());
}

#[test]
fn an_address_both_own_and_shared_is_own() {
    if !is_root() {
        return;
    }
    let judge =
        Judge::of(&Steering { own: vec![OWN_V4.into()], shared: vec![(OWN_V4, PORT).into()], ..Steering::default() });
    assert_eq!(judge.verdict("the listed port", &syn(OWN_V4.into(), PORT, &[])), "redirected_own");
    assert_eq!(judge.verdict("another address", &syn(OWN_V6.into(), PORT, &[])), "passed_foreign");
}

#[test]
fn a_program_that_serves_nobody_passes_everything() {
    if !is_root() {
        return;
    }
    let judge = Judge::of(&Steering::default());
    for case in own_cases()
        .into_iter()
        .chain(shared_cases())
        .chain(icmp_error_cases())
        .chain(arp_cases())
        .chain(neighbour_cases())
    {
        assert_eq!(judge.verdict(&case.what, &case.frame), "passed_foreign", "{}", case.what);
    }
}

#[test]
fn a_frame_cut_short_is_taken_only_if_what_decides_is_there() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    // Of the 256 protocols, which differ in nothing here, the first of each kind will do.
    let own = own_cases().into_iter().take(9);
    let rest = [shared_cases(), vlan_cases(), arp_cases(), neighbour_cases(), fragment_cases(), extension_cases()];
    for case in own.chain(rest.into_iter().flatten()) {
        for length in 14..case.frame.len() {
            let what = format!("{}, cut to {length} bytes", case.what);
            let verdict = judge.verdict(&what, &case.frame[..length]);
            match case.needs {
                Some(needs) if length >= needs => assert_eq!(verdict, case.verdict, "{what}"),
                _ => assert!(verdict.starts_with("passed_"), "{what}: {verdict}"),
            }
        }
    }
}

#[test]
fn frames_too_short_for_their_headers_count_as_malformed() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    let tagged = with_tags(&syn(OWN_V4.into(), PORT, &[]), &[(CUSTOMER, 0)]);
    for (frame, header) in [
        (syn(OWN_V4.into(), PORT, &[]), 34),
        (syn(OWN_V6.into(), PORT, &[]), 54),
        (arp_request(OWN_V4), 42),
        (tagged, 38),
    ] {
        for length in 14..header {
            assert_eq!(
                judge.verdict("a cut header", &frame[..length]),
                "passed_malformed",
                "{length} of {header} bytes"
            );
        }
    }
}

#[test]
fn less_than_an_ethernet_header_is_never_shown_to_the_program() {
    if !is_root() {
        return;
    }
    let program =
        Program::load(&Steering { own: vec![OWN_V4.into()], ..Steering::default() }, &ProgramOptions::default())
            .unwrap();
    let frame = syn(OWN_V4.into(), PORT, &[]);
    for length in 0..14 {
        let refused = program.test_run(&frame[..length]);
        assert!(matches!(refused, Err(XdpError::Refused { .. })), "{length} bytes: {refused:?}");
    }
    assert_eq!(sum(&program.verdicts().unwrap()), 0, "what was not run is not counted");
}

#[test]
fn random_frames_are_passed_untouched_or_taken_and_each_is_counted() {
    if !is_root() {
        return;
    }
    const RUNS: u64 = 2_000;
    let judge = Judge::new();
    let mut random = 2_026;
    let mut next = || {
        random = splitmix64(random);
        random
    };
    for run in 0..RUNS {
        let length = 14 + (next() % 1_487) as usize;
        let mut frame: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        // Pure noise is foreign by its EtherType; two of three frames say they are something, to one of our addresses.
        if run % 3 != 0 {
            let ether_type = [ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPE_ARP, 0x8100, 0x88a8][(next() % 5) as usize];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            let (at, address) = match ether_type {
                ETHER_TYPE_IPV4 => (30, SHARED_V4.octets().to_vec()),
                ETHER_TYPE_IPV6 => (38, SHARED_V6.octets().to_vec()),
                _ => (38, OWN_V4.octets().to_vec()),
            };
            if let Some(room) = frame.get_mut(at..at + address.len()) {
                room.copy_from_slice(&address);
            }
            if ether_type == ETHER_TYPE_IPV6 && length > 20 {
                frame[20] = [HOP_BY_HOP, ROUTING, DESTINATION, TCP, ICMPV6][(next() % 5) as usize];
            }
        }
        judge.verdict(&format!("random frame {run} of {length} bytes"), &frame);
    }
    let (connected, alone) = (judge.connected.verdicts().unwrap(), judge.alone.verdicts().unwrap());
    assert_eq!((sum(&connected), sum(&alone)), (RUNS, RUNS));
    assert_eq!(connected.dropped_no_socket, 0, "there is a socket");
    assert!(connected.passed_foreign > RUNS / 2, "{connected:?}");
}
