//! Where the stack stands on its link: which VLAN is its own, and which way frames go to a peer.

use super::*;
use crate::wire::{
    ArpPacket, arp, ethernet,
    ethernet::{VlanTag, VlanTags},
};

/// Another station than the client's.
const ELSEWHERE: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);

fn tags(list: &[(u16, u16)]) -> VlanTags {
    let tags = list.iter().map(|&(protocol, control)| VlanTag { protocol, control });
    tags.fold(VlanTags::default(), |tags, tag| tags.with(tag).expect("at most two"))
}

fn both() -> [Bench; 2] {
    [Bench::new(), Bench::new().over_ipv6()]
}

impl Bench {
    fn serve_vlan(&mut self, id: u16) {
        let mut served = Self::with(StackConfig { vlan: Some(id), ..StackConfig::default() });
        std::mem::swap(&mut self.stack, &mut served.stack);
    }

    fn ping(&mut self) {
        let kind = if self.ours.is_ipv4() { 8 } else { 128 };
        self.send_icmp(255, &[kind, 0, 0, 0, 1, 2, 3, 4]);
    }

    fn ask_for_us(&mut self) {
        let (IpAddr::V4(target_ip), IpAddr::V4(sender_ip)) = (self.ours, self.theirs) else {
            let IpAddr::V6(target) = self.ours else { unreachable!("not IPv4") };
            return self.send_icmp(255, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat());
        };
        let target_mac = MacAddress::default();
        let request =
            ArpPacket { operation: arp::Operation::Request, sender_mac: THEIRS, sender_ip, target_mac, target_ip };
        let mut frame = vec![0; self.link.len() + arp::PACKET_LEN];
        request.write(self.link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// A packet of a protocol that nobody speaks, which IPv6 complains of.
    fn send_unknown_protocol(&mut self) {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Udp);
        let mut frame = vec![0; self.link.len() + ip.len() + 8];
        ip.write(8, self.link.write(ip.ether_type(), &mut frame));
        let at = self.link.len() + if self.ours.is_ipv4() { 9 } else { 6 };
        frame[at] = 132;
        if self.ours.is_ipv4() {
            let header = self.link.len()..self.link.len() + 20;
            frame[at + 1..at + 3].fill(0);
            let sum = wire::checksum::Checksum::of(&frame[header]).field();
            frame[at + 1..at + 3].copy_from_slice(&sum);
        }
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// Where segments go that are sent now; questions to neighbours are counted beside them.
    fn ways(&mut self) -> (Vec<MacAddress>, usize) {
        let frames = self.frames();
        let parsed = frames.iter().map(|frame| wire::parse(frame, ChecksumPolicy::Verify).expect("it is well-formed"));
        let (segments, questions): (Vec<_>, Vec<_>) =
            parsed.partition(|parsed| matches!(parsed.packet, Packet::Tcp(..)));
        (segments.iter().map(|parsed| parsed.link.destination).collect(), questions.len())
    }

    /// Where the application's next words go. They are acknowledged, by the way that the client's frames take.
    #[track_caller]
    fn way_of_data(&mut self, id: ConnectionId) -> MacAddress {
        self.ways();
        assert_eq!(self.with_stream(id, |stream| stream.write(b"hello")), 5);
        let sent = self.sent();
        let [segment] = &sent[..] else { panic!("one segment was expected: {sent:?}") };
        segment.link.destination
    }
}

#[test]
fn what_is_of_another_vlan_is_refused_whatever_it_is() {
    let others: [&[(u16, u16)]; 5] = [
        &[(0x8100, 5)],
        &[(0x8100, 0xffff)],
        &[(0x88a8, 0)],
        &[(0x8100, 0), (0x8100, 0)],
        &[(0x88a8, 5), (0x8100, 0x200a)],
    ];
    for mut bench in both() {
        for (number, others) in (1..).zip(others) {
            bench.link.vlan = tags(others);
            bench.send_syn(TcpOptions::default());
            bench.ping();
            bench.ask_for_us();
            bench.send_unknown_protocol();
            assert_eq!(bench.frames(), Vec::<Vec<u8>>::new(), "{others:x?}");
            // The last one is refused for its protocol, and not complained of for its VLAN.
            assert_eq!(bench.drops(DropReason::OtherVlan), 3 * number);
            assert_eq!(bench.drops(DropReason::UnknownProtocol), number);
        }
    }
}

#[test]
fn a_tag_without_a_vlan_is_a_priority_and_comes_back() {
    for mut bench in both() {
        bench.link.vlan = tags(&[(0x8100, 0xa000)]);
        bench.send_syn(TcpOptions::default());
        assert_eq!(bench.sent_one().link.vlan, bench.link.vlan);
        bench.ping();
        bench.ask_for_us();
        for frame in bench.frames() {
            assert_eq!(frame[12..16], [0x81, 0x00, 0xa0, 0x00]);
        }
        assert_eq!(bench.stack.stats().neighbour_replies, 1);
    }
}

#[test]
fn a_stack_in_a_vlan_heeds_its_tag_and_speaks_by_it() {
    for mut bench in both() {
        bench.serve_vlan(5);
        for others in [&[][..], &[(0x8100, 0)], &[(0x8100, 6)], &[(0x88a8, 5)], &[(0x8100, 5), (0x8100, 5)]] {
            bench.link.vlan = tags(others);
            bench.send_syn(TcpOptions::default());
            assert_eq!(bench.frames().len(), 0, "{others:x?}");
        }
        assert_eq!(bench.drops(DropReason::OtherVlan), 5);
        // Whatever priority it has.
        bench.link.vlan = tags(&[(0x8100, 0xe005)]);
        bench.send_syn(TcpOptions::default());
        assert_eq!(bench.sent_one().link.vlan, bench.link.vlan);
        // What answers no frame has the tag, too.
        bench.begin();
        let question = bench.frames().remove(0);
        assert_eq!(question[12..16], [0x81, 0x00, 0x00, 0x05]);
    }
}

/// Segments of the client's that anybody may have sent who knows who talks to whom, or has guessed a little more.
fn unproven(bench: &Bench, iss: SeqNumber, written: u32) -> Vec<(&'static str, TcpHeader, &'static [u8])> {
    let (nxt, una, sent) = (IRS.advance(6), iss.advance(6), iss.advance(1 + written));
    vec![
        ("an empty one, old in all", bench.header(nxt, una, ACK), b""),
        ("an empty one somewhere in the window", bench.header(nxt.advance(999), una.back(3), ACK), b""),
        ("an empty one that acknowledges nothing yet", bench.header(nxt.advance(1), una, ACK), b""),
        ("early data", bench.header(nxt.advance(1_000), una, ACK), b"early"),
        ("old data", bench.header(nxt.back(5), una, ACK), b"again"),
        ("a probe of the peer's", bench.header(nxt.back(1), una, ACK), b""),
        ("an acknowledgment of what was never sent", bench.header(nxt, sent.advance(99), ACK), b""),
        ("a reset that is not exact", bench.header(nxt.advance(9), una, RST), b""),
        ("a SYN", bench.header(nxt, una, SYN), b""),
        ("no acknowledgment", bench.header(nxt, una, TcpFlags::empty()), b"data"),
        ("nothing of the sort", bench.header(nxt.advance(1 << 30), una, ACK), b"data"),
    ]
}

#[test]
fn what_proves_nothing_does_not_change_the_way_asleep_or_awake() {
    let cases = (0..11).flat_map(|number| [(number, 0), (number, 4_096)]);
    for (number, max_awake) in cases {
        let bench = || Bench::with(StackConfig { max_awake, ..StackConfig::default() });
        for mut bench in [bench(), bench().over_ipv6()] {
            let (id, iss) = bench.connect();
            // Both have been heard, so that there is something old.
            bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
            bench.with_stream(id, |stream| stream.consume(5));
            assert_eq!(bench.way_of_data(id), THEIRS);
            bench.send(bench.header(IRS.advance(6), iss.advance(6), ACK), b"");
            bench.pass(Duration::from_secs(2));
            bench.ways();
            bench.events();
            let (name, header, data) = unproven(&bench, iss, 5).swap_remove(number);
            bench.link.source = ELSEWHERE;
            bench.send(header, data);
            let (ways, questions) = bench.ways();
            assert!(ways.iter().all(|&way| way == THEIRS), "{name}: {ways:?}");
            assert_eq!(questions, 1, "{name}: the neighbour is asked whether it has moved");
            assert_eq!(bench.way_of_data(id), THEIRS, "{name}");
        }
    }
}

#[test]
fn new_data_and_new_acknowledgments_come_by_the_way_that_answers_go() {
    for mut bench in both() {
        let (id, iss) = bench.connect();
        bench.link.source = ELSEWHERE;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
        assert_eq!(bench.way_of_data(id), ELSEWHERE);
        bench.link.source = THEIRS;
        bench.send(bench.header(IRS.advance(6), iss.advance(6), ACK), b"");
        assert_eq!(bench.way_of_data(id), THEIRS);
        // What fills a gap is next, too, and so is a FIN.
        bench.send(bench.header(IRS.advance(7), iss.advance(6), ACK), b"b");
        bench.link.source = ELSEWHERE;
        bench.send(bench.header(IRS.advance(6), iss.advance(6), ACK), b"a");
        assert_eq!(bench.ways().0.last(), Some(&ELSEWHERE));
        bench.link.source = THEIRS;
        bench.send(bench.header(IRS.advance(8), iss.advance(6), FIN | ACK), b"");
        assert_eq!(bench.ways().0, [THEIRS]);
        assert_eq!(bench.stack.stats().neighbour_questions, 0, "nobody had to be asked");
    }
}

#[test]
fn a_peer_that_sends_again_what_has_arrived_is_followed_when_its_neighbours_confirm_it() {
    for mut bench in both() {
        let (id, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
        // The acknowledgment is lost with the old way. The client's timer expires.
        assert_eq!(bench.way_of_data(id), THEIRS);
        bench.link.source = ELSEWHERE;
        let again = bench.header(IRS.advance(1), iss.advance(1), ACK);
        for _ in 0..1_000 {
            bench.send(again, b"hello");
        }
        let (ways, questions) = bench.ways();
        assert_eq!((ways, questions), (vec![THEIRS], 1), "however many make us ask");
        bench.answer_as(bench.theirs, ELSEWHERE);
        assert_eq!(bench.ways().0, [ELSEWHERE], "the acknowledgment, once more");
        // What was said just now is not asked for again, though somebody else says otherwise.
        bench.link.source = THEIRS;
        bench.send(again, b"hello");
        assert_eq!(bench.ways(), (vec![ELSEWHERE], 0));
        // A second later it is, by a timeout or a segment, whichever comes first.
        bench.pass(Duration::from_secs(1));
        bench.send(again, b"hello");
        assert_eq!(bench.ways().1, 1);
        bench.answer_as(bench.theirs, ELSEWHERE);
        assert_eq!(bench.ways().0, [], "nothing has changed");
    }
}

#[test]
fn a_handshake_goes_the_way_of_who_repeats_its_number_or_acknowledges_ours() {
    for mut bench in both() {
        bench.send_syn(TcpOptions::default());
        let iss = bench.sent_one().header.seq;
        bench.link.source = ELSEWHERE;
        // Another SYN, a wrong acknowledgment: neither has seen anything of the handshake.
        bench.send(bench.header(IRS.advance(9), SeqNumber::default(), SYN), b"");
        assert_eq!(bench.sent_one().link.destination, THEIRS, "a challenge");
        bench.send(bench.header(IRS.advance(99_999), iss.advance(1), ACK), b"");
        assert_eq!(bench.sent_one().link.destination, THEIRS, "another");
        bench.send_syn(TcpOptions::default());
        assert_eq!(bench.sent_one().link.destination, ELSEWHERE, "the SYN-ACK, once more");
        bench.link.source = THEIRS;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let events = bench.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("{events:?}") };
        assert_eq!(bench.way_of_data(id), THEIRS);
    }
}

#[test]
fn a_bare_syn_does_not_lead_a_connection_that_we_open_away_from_its_neighbour() {
    for mut bench in both() {
        let (id, syn) = bench.begin_with_syn();
        bench.link.source = ELSEWHERE;
        bench.reply(&syn, IRS, SeqNumber::default(), SYN, b"");
        let answer = bench.sent_one();
        assert_eq!((answer.link.destination, answer.header.flags), (THEIRS, SYN | ACK), "{answer:?}");
        // Who acknowledges it has seen it.
        bench.reply(&syn, IRS.advance(1), syn.header.seq.advance(1), ACK, b"");
        assert_eq!(bench.events(), [Event::Connected(id)]);
        assert_eq!(bench.way_of_data(id), ELSEWHERE);
    }
}

#[test]
fn time_wait_answers_whoever_asks_and_has_nothing_to_lose() {
    for mut bench in both() {
        let (id, iss) = bench.connect();
        bench.with_stream(id, |stream| stream.close());
        bench.ways();
        bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
        assert_eq!((bench.state(), bench.ways().0), (State::TimeWait, vec![THEIRS]));
        bench.pass(Duration::from_secs(2));
        bench.link.source = ELSEWHERE;
        bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
        assert_eq!(bench.ways(), (vec![ELSEWHERE], 0));
    }
}

#[test]
fn behind_a_director_answers_go_to_the_router_and_neighbours_hear_what_they_ask() {
    for bench in both() {
        let config = StackConfig { answers_to: Some(ELSEWHERE), ..StackConfig::default() };
        let mut bench = if bench.ours.is_ipv6() { Bench::with(config).over_ipv6() } else { Bench::with(config) };
        // THEIRS is the director, who hands on what clients send.
        bench.send_syn(TcpOptions::default());
        let syn_ack = bench.sent_one();
        assert_eq!(syn_ack.link.destination, ELSEWHERE);
        bench.send(bench.header(IRS.advance(1), syn_ack.header.seq.advance(1), ACK), b"hello");
        let events = bench.events();
        let [Event::Accepted(id, _), ..] = events[..] else { panic!("{events:?}") };
        assert_eq!(bench.way_of_data(id), ELSEWHERE);
        // A segment that repeats what is there makes nobody ask for another way.
        bench.send(bench.header(IRS.advance(1), syn_ack.header.seq.advance(1), ACK), b"hello");
        assert_eq!(bench.ways(), (vec![ELSEWHERE], 0));

        // What is not acknowledged goes to the router again, and to its standby once that has taken over: nobody is asked.
        let standby = MacAddress([2, 0, 0, 0, 0, 8]);
        for station in [ELSEWHERE, standby, ELSEWHERE] {
            bench.stack.set_answers_to(InterfaceId::FIRST, station);
            let mut sent = (Vec::new(), 0);
            while sent.0.is_empty() {
                let due = bench.stack.poll_timeout().expect("it is sent again") - bench.now;
                bench.pass(due);
                sent = bench.ways();
            }
            assert_eq!(sent, (vec![station], 0));
        }

        bench.port += 1;
        bench.send(bench.header(IRS, SeqNumber::new(7), ACK), b"stray");
        assert_eq!(bench.ways().0, [ELSEWHERE], "a reset");
        bench.ping();
        bench.send_unknown_protocol();
        let errors_and_echoes = bench.frames();
        assert_eq!(errors_and_echoes.len(), 2);
        assert!(errors_and_echoes.iter().all(|frame| frame[..6] == ELSEWHERE.0));
        bench.ask_for_us();
        assert_eq!(bench.frames()[0][..6], THEIRS.0, "whoever asks is a neighbour");

        // The router's standby takes over.
        bench.stack.set_answers_to(InterfaceId::FIRST, standby);
        bench.send(bench.header(IRS, SeqNumber::new(7), ACK), b"stray");
        assert_eq!(bench.ways().0, [standby]);
    }
}
