//! Packet in, packet out: what the backend's tc program takes off, and what it leaves alone. Needs root.

mod common;

use common::{
    frames::{
        DESTINATION, FOREIGN_V4, FOREIGN_V6, HOP_BY_HOP, IPV6_FRAGMENT, OWN_V4, OWN_V6, PEER_V4, PEER_V6, ROUTING,
        SHARED_V4, SHARED_V6, TCP, UDP, ethernet, ipv4, ipv6, ports, with_tags,
    },
    is_root,
    pair::runner_of,
};
use proptest::prelude::*;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use xskip_cli::{
    bpf::{BackendProgram, BackendSettings, BackendTallies},
    wire::checksum::Checksum,
    xdp::tc::{Outcome, Trial},
};

const IPIP: u8 = 4;
const IPV6: u8 = 41;
const GUE_PORT: u16 = 6_080;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const ETHERNET: usize = 14;
/// `TC_ACT_UNSPEC`: whoever comes next has his say.
const NEXT: i32 = -1;
/// `TC_ACT_SHOT`.
const DROP: i32 = 2;

fn settings() -> BackendSettings {
    BackendSettings {
        tunnel_ends: vec![OWN_V4.into(), OWN_V6.into()],
        vips: vec![SHARED_V4.into(), SHARED_V6.into()],
        ..BackendSettings::default()
    }
}

/// What a balancer is told to encapsulate, and how.
#[derive(Clone, Copy, Debug)]
struct Kind {
    gue: bool,
    outer_ipv6: bool,
    inner_ipv6: bool,
}

fn kinds() -> impl Iterator<Item = Kind> {
    (0..8).map(|bits| Kind { gue: bits & 4 != 0, outer_ipv6: bits & 2 != 0, inner_ipv6: bits & 1 != 0 })
}

impl Kind {
    fn name(self) -> String {
        let (way, digit) = (if self.gue { "gue" } else { "ipip" }, |ipv6| if ipv6 { 6 } else { 4 });
        format!("{way}_{}in{}", digit(self.inner_ipv6), digit(self.outer_ipv6))
    }

    fn outer_len(self) -> usize {
        (if self.outer_ipv6 { 40 } else { 20 }) + if self.gue { 8 } else { 0 }
    }

    fn inner_type(self) -> u16 {
        if self.inner_ipv6 { TYPE_IPV6 } else { TYPE_IPV4 }
    }

    /// What stands between the outer IP header and the inner one, and the protocol of it.
    fn behind(self, inner: &[u8]) -> (u8, Vec<u8>) {
        match (self.gue, self.inner_ipv6) {
            (true, _) => (UDP, gue(inner)),
            (false, false) => (IPIP, inner.to_vec()),
            (false, true) => (IPV6, inner.to_vec()),
        }
    }

    fn around(self, inner: &[u8]) -> Vec<u8> {
        let (protocol, payload) = self.behind(inner);
        outer(self.outer_ipv6, protocol, &payload)
    }

    fn frame(self) -> Vec<u8> {
        self.around(&inner(self.inner_ipv6))
    }
}

fn outer(is_ipv6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    if is_ipv6 { ipv6(OWN_V6, protocol, payload) } else { ipv4(OWN_V4, protocol, 0, &[], payload) }
}

fn gue(payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let header = [40_001, GUE_PORT, length, 0].map(u16::to_be_bytes).concat();
    [&header, payload].concat()
}

/// A client's datagram for a virtual address, from the IP header on.
fn inner(is_ipv6: bool) -> Vec<u8> {
    let mut datagram = ports(80);
    datagram[4..6].copy_from_slice(&20u16.to_be_bytes());
    let frame = if is_ipv6 { ipv6(SHARED_V6, UDP, &datagram) } else { ipv4(SHARED_V4, UDP, 0, &[], &datagram) };
    frame[ETHERNET..].to_vec()
}

/// A program, and the tallies that are accounted for.
struct Tried {
    program: BackendProgram,
    so_far: BackendTallies,
}

impl Tried {
    fn new(settings: &BackendSettings) -> Self {
        Self { program: BackendProgram::load(settings).unwrap(), so_far: BackendTallies::default() }
    }

    /// What becomes of a frame, and the one counter that says so.
    #[track_caller]
    fn judge(&mut self, trial: Trial<'_>) -> (Outcome, &'static str) {
        let outcome = self.program.try_on(trial).unwrap();
        let now = self.program.tallies().unwrap();
        let grown: Vec<_> = now.iter().zip(self.so_far.iter()).filter(|(now, before)| now.1 != before.1).collect();
        assert!(matches!(grown[..], [(now, before)] if now.1 == before.1 + 1), "one verdict: {grown:?}");
        self.so_far = now;
        (outcome, grown[0].0.0)
    }

    /// Passed, and not a bit of it changed.
    #[track_caller]
    fn passes(&mut self, frame: &[u8], verdict: &str) {
        let (outcome, said) = self.judge(Trial { frame, ..Trial::default() });
        assert_eq!((said, outcome.action), (verdict, NEXT), "{frame:02x?}");
        assert_eq!(outcome.frame, frame, "left as it came");
    }

    /// Taken out of its tunnel.
    #[track_caller]
    fn takes(&mut self, frame: &[u8], verdict: &str, packet: &[u8]) {
        let (outcome, said) = self.judge(Trial { frame, ..Trial::default() });
        assert_eq!((said, outcome.action), (verdict, NEXT), "{frame:02x?}");
        let ether_type = if packet[0] >> 4 == 6 { TYPE_IPV6 } else { TYPE_IPV4 };
        assert_eq!(outcome.frame, ethernet(&[], ether_type, packet));
    }
}

#[test]
fn all_eight_kinds_are_taken_off() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds() {
        let packet = inner(kind.inner_ipv6);
        tried.takes(&kind.around(&packet), &kind.name(), &packet);
        // Octets behind the packet are a frame's padding.
        let padded = [kind.around(&packet), vec![0; 9]].concat();
        tried.takes(&padded, &kind.name(), &[packet, vec![0; 9]].concat());
    }
}

#[test]
fn a_udp_checksum_may_be_there_and_need_not() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds().filter(|kind| kind.gue) {
        let packet = inner(kind.inner_ipv6);
        let (_, mut payload) = kind.behind(&packet);
        let (source, destination): (IpAddr, IpAddr) =
            if kind.outer_ipv6 { (PEER_V6.into(), OWN_V6.into()) } else { (PEER_V4.into(), OWN_V4.into()) };
        let field = Checksum::pseudo_header(source, destination, UDP, payload.len()).with(&payload).field();
        payload[6..8].copy_from_slice(&field);
        tried.takes(&outer(kind.outer_ipv6, UDP, &payload), &kind.name(), &packet);
    }
}

#[test]
fn a_frame_cut_off_anywhere_is_left_alone() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds() {
        let frame = kind.frame();
        // Less than the IP header that its type promises the kernel shows no program on trial; tests/backend.rs has it on a link.
        let shortest = ETHERNET + if kind.outer_ipv6 { 40 } else { 20 };
        for length in shortest..frame.len() {
            let cut = &frame[..length];
            let (outcome, said) = tried.judge(Trial { frame: cut, ..Trial::default() });
            assert_eq!((outcome.action, &outcome.frame[..]), (NEXT, cut), "{kind:?} at {length}: {said}");
            assert!(["passed_plain", "passed_malformed"].contains(&said), "{kind:?} at {length}: {said}");
        }
        tried.takes(&frame, &kind.name(), &inner(kind.inner_ipv6));
    }
}

/// A frame whose outer IPv4 header, if it is one, has a right checksum again.
fn resealed(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == TYPE_IPV4.to_be_bytes() && frame.len() >= ETHERNET + 20 {
        frame[24..26].fill(0);
        let field = Checksum::of(&frame[ETHERNET..ETHERNET + 20]).field();
        frame[24..26].copy_from_slice(&field);
    }
    frame
}

fn word(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]).into())
}

/// What the outer headers are to say of a packet: which kind of tunnel it is, and how many octets they count inside; or why it passes.
fn outer_model(outer_ipv6: bool, packet: &[u8]) -> Result<(Kind, usize), &'static str> {
    let header = if outer_ipv6 { 40 } else { 20 };
    if packet.len() < header {
        return Err("passed_plain");
    }
    let (protocol, header_len) =
        if outer_ipv6 { (packet[6], 40) } else { (packet[9], usize::from(packet[0] & 15) * 4) };
    let is_later = !outer_ipv6 && word(packet, 6) & 0x1fff != 0;
    let has_udp = protocol == UDP && !is_later && packet.len() >= header_len + 8;
    let gue = has_udp && word(packet, header_len + 2) == usize::from(GUE_PORT);
    if !gue && ![IPIP, IPV6].contains(&protocol) {
        return Err("passed_plain");
    }
    let is_ours = if outer_ipv6 { packet[24..40] == OWN_V6.octets() } else { packet[16..20] == OWN_V4.octets() };
    if !is_ours {
        return Err("passed_address");
    }
    if !outer_ipv6 && word(packet, 6) & 0x3fff != 0 {
        return Err("passed_fragment");
    }
    if header_len > header {
        return Err("passed_options");
    }
    let (total, version) = if outer_ipv6 { (40 + word(packet, 4), 6) } else { (word(packet, 2), 4) };
    let is_good = packet[0] >> 4 == version && header_len == header && total > header && total <= packet.len();
    if !is_good || !outer_ipv6 && Checksum::of(&packet[..20]).field() != [0, 0] {
        return Err("passed_malformed");
    }
    if !gue {
        return Ok((Kind { gue, outer_ipv6, inner_ipv6: protocol == IPV6 }, total - header));
    }
    let length = word(packet, header + 4);
    if length <= 8 || length > total - header {
        return Err("passed_malformed");
    }
    match packet[header + 8] {
        first if first >> 6 != 1 => Err("passed_variant"),
        first => Ok((Kind { gue, outer_ipv6, inner_ipv6: first >> 4 == 6 }, length - 8)),
    }
}

/// What is to become of a frame, decided once more, from the specifications.
fn model(frame: &[u8]) -> (String, Option<Vec<u8>>) {
    let outer_ipv6 = match word(frame, 12) as u16 {
        TYPE_IPV4 => false,
        TYPE_IPV6 => true,
        _ => return ("passed_plain".into(), None),
    };
    let packet = &frame[ETHERNET..];
    let (kind, inside) = match outer_model(outer_ipv6, packet) {
        Ok(tunnel) => tunnel,
        Err(verdict) => return (verdict.into(), None),
    };
    let malformed = || ("passed_malformed".into(), None);
    let inner = &packet[kind.outer_len()..];
    let claims = match kind.inner_ipv6 {
        true if inner.len() >= 40 && inner[0] >> 4 == 6 => 40 + word(inner, 4),
        false if inner.len() >= 20 && inner[0] >> 4 == 4 => {
            let header = usize::from(inner[0] & 15) * 4;
            if header < 20 || word(inner, 2) < header {
                return malformed();
            }
            word(inner, 2)
        }
        _ => return malformed(),
    };
    if claims > inside {
        return malformed();
    }
    let is_vip =
        if kind.inner_ipv6 { inner[24..40] == SHARED_V6.octets() } else { inner[16..20] == SHARED_V4.octets() };
    if !is_vip {
        return ("passed_vip".into(), None);
    }
    let ecn = |packet: &[u8], is_ipv6: bool| if is_ipv6 { packet[1] >> 4 & 3 } else { packet[1] & 3 };
    let merged = match (ecn(packet, outer_ipv6), ecn(inner, kind.inner_ipv6)) {
        (3, 0) => return ("dropped_congested".into(), None),
        (3, _) => 3,
        (1, 2) => 1,
        (_, inner) => inner,
    };
    let packet = marked(inner, kind.inner_ipv6, merged);
    (kind.name(), Some([&frame[..12], &kind.inner_type().to_be_bytes(), &packet].concat()))
}

/// The packet with other congestion bits. A header checksum is as wrong as before.
fn marked(packet: &[u8], is_ipv6: bool, ecn: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if is_ipv6 {
        packet[1] = packet[1] & 0xcf | ecn << 4;
    } else if packet[1] & 3 != ecn {
        let word = |bytes: &[u8]| u32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let before = word(&packet);
        packet[1] = packet[1] & 0xfc | ecn;
        // RFC 1624, equation 3.
        let mut sum = (!word(&packet[10..]) & 0xffff) + (!before & 0xffff) + word(&packet);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    packet
}

#[track_caller]
fn agrees(tried: &mut Tried, frame: &[u8]) -> &'static str {
    let (outcome, said) = tried.judge(Trial { frame, ..Trial::default() });
    let (verdict, taken) = model(frame);
    let action = if verdict == "dropped_congested" { DROP } else { NEXT };
    assert_eq!((said, outcome.action), (verdict.as_str(), action), "{frame:02x?}");
    assert_eq!(outcome.frame, taken.as_deref().unwrap_or(frame), "{verdict} of {frame:02x?}");
    said
}

#[test]
fn lengths_that_lie_take_nothing_off() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds() {
        let inner_at = ETHERNET + kind.outer_len();
        let mut fields = vec![ETHERNET + if kind.outer_ipv6 { 4 } else { 2 }];
        fields.push(inner_at + if kind.inner_ipv6 { 4 } else { 2 });
        fields.extend(kind.gue.then_some(inner_at - 4));
        for field in fields {
            let mut verdicts = BTreeSet::new();
            for value in (0..200).chain([1_500, 0x7fff, 0x8000, 0xffd7, 0xffd8, 0xffff]) {
                let mut frame = kind.frame();
                frame[field..field + 2].copy_from_slice(&u16::to_be_bytes(value));
                verdicts.insert(agrees(&mut tried, &resealed(frame)));
            }
            let expected = [kind.name().as_str(), "passed_malformed"].map(str::to_owned);
            assert!(verdicts.iter().copied().eq(expected.iter().map(String::as_str)), "{kind:?} {field}: {verdicts:?}");
        }
    }
}

/// Octets of a good frame changed, some of its end cut off, or something put there: the program agrees with the model.
#[test]
fn the_program_does_what_the_model_does() {
    if !is_root() {
        return;
    }
    let tried = RefCell::new(Tried::new(&settings()));
    let seen = RefCell::new(BTreeMap::<_, u32>::new());
    let changes = prop::collection::vec((0usize..120, any::<u8>()), 0..4);
    let bits = prop::collection::vec((12usize..100, 0u32..8), 0..3);
    let frames = (0usize..8, changes, bits, 0usize..60, any::<bool>(), any::<bool>());
    let frames = frames.prop_map(|(kind, changes, bits, end, longer, reseal)| {
        let mut frame = kinds().nth(kind).unwrap().frame();
        for (at, value) in changes.into_iter().filter(|(at, _)| at % 3 == 0) {
            frame.get_mut(at).into_iter().for_each(|octet| *octet = value);
        }
        for (at, bit) in bits {
            frame.get_mut(at).into_iter().for_each(|octet| *octet ^= 1 << bit);
        }
        let length = if longer { frame.len() + end } else { frame.len() - end / 8 };
        frame.resize(length.max(ETHERNET), 0xa5);
        if reseal { resealed(frame) } else { frame }
    });
    // Extension headers are not in the model.
    let is_modelled = |frame: &[u8]| {
        let is_ipv6 = frame[12..14] == TYPE_IPV6.to_be_bytes();
        !is_ipv6 || frame.len() < 21 || ![HOP_BY_HOP, ROUTING, IPV6_FRAGMENT, DESTINATION].contains(&frame[20])
    };
    let mut runner = runner_of(15, 20_000);
    runner
        .run(&frames, |frame| {
            if is_modelled(&frame) {
                let verdict = agrees(&mut tried.borrow_mut(), &frame);
                *seen.borrow_mut().entry(verdict).or_default() += 1;
            }
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    assert!(seen.len() >= 15, "many verdicts are among them: {seen:?}");
}

#[test]
fn fragments_and_options_outside_are_left_alone() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds().filter(|kind| !kind.outer_ipv6) {
        let (protocol, payload) = kind.behind(&inner(kind.inner_ipv6));
        tried.passes(&ipv4(OWN_V4, protocol, 0x2000, &[], &payload), "passed_fragment");
        // Of a later one nobody can tell whether its UDP is GUE.
        let later = if kind.gue { "passed_plain" } else { "passed_fragment" };
        tried.passes(&ipv4(OWN_V4, protocol, 0x2001, &[], &payload), later);
        tried.passes(&ipv4(OWN_V4, protocol, 0x0001, &[], &payload), later);
        for words in [1, 10] {
            tried.passes(&ipv4(OWN_V4, protocol, 0, &vec![1; 4 * words], &payload), "passed_options");
        }
        // Don't fragment is none.
        tried.takes(&ipv4(OWN_V4, protocol, 0x4000, &[], &payload), &kind.name(), &inner(kind.inner_ipv6));
    }
    for kind in kinds().filter(|kind| kind.outer_ipv6) {
        let (protocol, payload) = kind.behind(&inner(kind.inner_ipv6));
        let extended = |header: &[u8]| [header, &payload].concat();
        let plain = [protocol, 0, 1, 4, 0, 0, 0, 0];
        for extension in [HOP_BY_HOP, ROUTING, DESTINATION] {
            tried.passes(&ipv6(OWN_V6, extension, &extended(&plain)), "passed_options");
        }
        let longer = [&[protocol, 1, 1, 12][..], &[0; 12]].concat();
        tried.passes(&ipv6(OWN_V6, DESTINATION, &extended(&longer)), "passed_options");
        let two = [[ROUTING, 0, 1, 4, 0, 0, 0, 0], plain].concat();
        tried.passes(&ipv6(OWN_V6, HOP_BY_HOP, &extended(&two)), "passed_options");
        let fragment = |offset: u16| [&[protocol, 0][..], &offset.to_be_bytes(), &[0, 0, 0, 9]].concat();
        tried.passes(&ipv6(OWN_V6, IPV6_FRAGMENT, &extended(&fragment(1))), "passed_fragment");
        let later = if kind.gue { "passed_plain" } else { "passed_fragment" };
        tried.passes(&ipv6(OWN_V6, IPV6_FRAGMENT, &extended(&fragment(0x100))), later);
        tried.passes(&ipv6(FOREIGN_V6, DESTINATION, &extended(&plain)), "passed_address");
        // Seven of them, and headers that the frame does not have, are read to no end.
        let chain = [[DESTINATION, 0, 1, 4, 0, 0, 0, 0]; 6].concat();
        tried.passes(&ipv6(OWN_V6, DESTINATION, &[chain, extended(&plain)].concat()), "passed_plain");
        tried.passes(&ipv6(OWN_V6, DESTINATION, &[protocol, 0]), "passed_plain");
        let beyond = if kind.gue { "passed_plain" } else { "passed_options" };
        tried.passes(&ipv6(OWN_V6, DESTINATION, &[protocol, 200, 0, 0]), beyond);
    }
}

#[test]
fn only_what_is_ours_is_taken() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    let packet = inner(false);
    // Another end, and no end of ours that the wire may name otherwise: a mapped address is nobody's.
    tried.passes(&ipv4(FOREIGN_V4, IPIP, 0, &[], &packet), "passed_address");
    tried.passes(&ipv4(SHARED_V4, IPIP, 0, &[], &packet), "passed_address");
    tried.passes(&ipv6(OWN_V4.to_ipv6_mapped(), IPIP, &packet), "passed_address");
    // Inside, only virtual addresses count: neither the tunnel's end nor any other of this host.
    for address in [FOREIGN_V4, OWN_V4, [127, 0, 0, 1].into()] {
        let other = ipv4(address, UDP, 0, &[], &ports(80))[ETHERNET..].to_vec();
        tried.passes(&ipv4(OWN_V4, IPIP, 0, &[], &other), "passed_vip");
        tried.passes(&ipv4(OWN_V4, UDP, 0, &[], &gue(&other)), "passed_vip");
    }
    let mapped = ipv6(SHARED_V4.to_ipv6_mapped(), UDP, &ports(80))[ETHERNET..].to_vec();
    tried.passes(&ipv4(OWN_V4, IPV6, 0, &[], &mapped), "passed_vip");
    // No tunnel at all, though it may look like one.
    let mut other_port = gue(&packet);
    other_port[3] += 1;
    for plain in [
        ipv4(OWN_V4, UDP, 0, &[], &other_port),
        ipv4(OWN_V4, TCP, 0, &[], &gue(&packet)),
        ipv4(OWN_V4, 47, 0, &[], &packet),
        ipv6(OWN_V6, UDP, &other_port),
        ipv6(OWN_V6, 59, &packet),
        ethernet(&[], 0x0806, &packet),
        // A tag in the frame is the tag of another link.
        with_tags(&ipv4(OWN_V4, IPIP, 0, &[], &packet), &[(0x8100, 10)]),
    ] {
        tried.passes(&plain, "passed_plain");
    }
    // GUE with a header of its own; a bare IP header has a version that is one.
    tried.passes(&ipv4(OWN_V4, UDP, 0, &[], &gue(&[&[0, 4, 0, 0][..], &packet].concat())), "passed_variant");
    tried.passes(&ipv4(OWN_V4, UDP, 0, &[], &gue(b"Hello there")), "passed_malformed");
    tried.passes(&ipv4(OWN_V4, UDP, 0, &[], &gue(&[&[0x50][..], &packet[1..]].concat())), "passed_malformed");
    // A protocol that says IPv4 is no way to get IPv6 in.
    tried.passes(&ipv4(OWN_V4, IPIP, 0, &[], &inner(true)), "passed_malformed");
    tried.passes(&ipv4(OWN_V4, IPV6, 0, &[], &packet), "passed_malformed");
    let mut wrong = ipv4(OWN_V4, IPIP, 0, &[], &packet);
    wrong[24] ^= 1;
    tried.passes(&wrong, "passed_malformed");
}

#[test]
fn only_senders_that_were_named_are_heard() {
    if !is_root() {
        return;
    }
    let with = |senders: Vec<(IpAddr, u8)>| Tried::new(&BackendSettings { senders, ..settings() });
    let frames: Vec<_> = kinds().map(|kind| (kind, kind.frame())).collect();
    let only = |tried: &mut Tried, heard: &dyn Fn(Kind) -> bool| {
        for (kind, frame) in &frames {
            match heard(*kind) {
                true => tried.takes(frame, &kind.name(), &inner(kind.inner_ipv6)),
                false => tried.passes(frame, "passed_sender"),
            }
        }
    };
    // PEER_V4 is 198.18.0.2, and PEER_V6 2001:2::2.
    only(&mut with(vec![(PEER_V4.into(), 32)]), &|kind| !kind.outer_ipv6);
    only(&mut with(vec![(PEER_V6.into(), 128)]), &|kind| kind.outer_ipv6);
    only(&mut with(vec![("198.18.0.0".parse().unwrap(), 30)]), &|kind| !kind.outer_ipv6);
    only(&mut with(vec![("198.18.0.4".parse().unwrap(), 30)]), &|_| false);
    only(&mut with(vec![("2001:2::".parse().unwrap(), 64), ("198.18.0.3".parse().unwrap(), 32)]), &|kind| {
        kind.outer_ipv6
    });
    // All of one family is none of the other.
    only(&mut with(vec![("::".parse().unwrap(), 0)]), &|kind| kind.outer_ipv6);
    only(&mut with(vec![("0.0.0.0".parse().unwrap(), 0)]), &|kind| !kind.outer_ipv6);
    // What he wraps is not looked at.
    with(vec![(FOREIGN_V4.into(), 32)]).passes(&ipv4(OWN_V4, IPIP, 0x2000, &[], &[]), "passed_sender");
}

/// RFC 6040 figure 4.
#[test]
fn congestion_outside_is_told_inside() {
    if !is_root() {
        return;
    }
    let (not, one, zero, ce) = (0, 1, 2, 3);
    let mut tried = Tried::new(&settings());
    for kind in kinds() {
        for outside in [not, one, zero, ce] {
            for inside in [not, one, zero, ce] {
                let packet = marked(&inner(kind.inner_ipv6), kind.inner_ipv6, inside);
                let frame = kind.around(&packet);
                let outer = marked(&frame[ETHERNET..], kind.outer_ipv6, outside);
                let frame = [&frame[..ETHERNET], &outer].concat();
                let merged = match (inside, outside) {
                    (0, 3) => {
                        let (outcome, said) = tried.judge(Trial { frame: &frame, ..Trial::default() });
                        assert_eq!((said, outcome.action), ("dropped_congested", DROP));
                        continue;
                    }
                    (1 | 2, 3) => ce,
                    (2, 1) => one,
                    _ => inside,
                };
                let expected = marked(&packet, kind.inner_ipv6, merged);
                if !kind.inner_ipv6 {
                    assert_eq!(Checksum::of(&expected[..20]).field(), [0, 0], "its checksum is right");
                }
                tried.takes(&frame, &kind.name(), &expected);
            }
        }
    }
}

/// A receive offload may merge datagrams to one port: then the first one's inner packet is not all that is inside.
#[test]
fn merged_datagrams_are_left_alone() {
    if !is_root() {
        return;
    }
    let mut tried = Tried::new(&settings());
    for kind in kinds() {
        let two = [inner(kind.inner_ipv6), inner(kind.inner_ipv6)].concat();
        let frame = kind.around(&two);
        let (outcome, said) = tried.judge(Trial { frame: &frame, gso_size: 100, ..Trial::default() });
        assert_eq!((said, outcome.action, &outcome.frame), ("passed_merged", NEXT, &frame), "{kind:?}");
        // The same octets in a frame that stands for itself only are a packet and its padding.
        tried.takes(&frame, &kind.name(), &two);
        // A trial's frame is no super-frame of TCP, which is all that the kernel would shorten.
        let frame = kind.frame();
        let (outcome, said) = tried.judge(Trial { frame: &frame, gso_size: 100, ..Trial::default() });
        assert_eq!((said, outcome.action), ("dropped_refused", DROP), "{kind:?}");
    }
}
