//! Pairs that were handed on: what had come by then, what comes here later, and how they end.

use super::{
    parting::{Both, options},
    *,
};
use crate::{
    splice::{Busy, Carrier, Pair, PairId, Refusal, Side, Table, WhyNot},
    stack::Via,
    wire::tcp_options::Timestamps,
};
use std::sync::{Arc, Mutex};

fn stamps(value: u32) -> TcpOptions {
    TcpOptions { timestamps: Some(Timestamps { value, echo: 0 }), ..TcpOptions::default() }
}

impl Both {
    /// A side says something, of which the application hears and which nobody acknowledges yet.
    fn say_unheard(&mut self, side: usize, behind: u32, data: &[u8]) {
        self.say(side, behind, TcpFlags::PSH, data);
        self.bench.events();
    }
}

#[test]
fn what_has_come_is_passed_on_and_not_acknowledged() {
    for (side, from) in Side::BOTH.into_iter().enumerate() {
        let mut both = Both::new();
        both.say_unheard(side, 0, b"hello");
        let (_, pair) = both.paired();
        let sent = both.bench.sent_one();
        let other = 1 - side;
        assert_eq!((sent.tuple, &sent.data[..]), (*pair.tuple(from.other()), &b"hello"[..]));
        assert!(sent.has(ACK | TcpFlags::PSH));
        assert_eq!((sent.header.seq, sent.header.ack), (both.issues[other], IRS.advance(1)));
        let stream = pair.stream(from);
        assert_eq!((stream.acked, stream.sent, stream.carried), (both.issues[other], both.issues[other].advance(5), 5));
        assert_eq!(both.bench.stack.stats().segments_transmitted, 1);

        // Its acknowledgment is believed, and nothing beyond it.
        both.issues[other] = both.issues[other].advance(6);
        both.say(other, 0, TcpFlags::empty(), b"");
        assert_eq!((both.bench.sent(), both.bench.drops(DropReason::Parted)), (vec![], 1));
        both.issues[other] = both.issues[other].back(1);
        both.say(other, 0, TcpFlags::empty(), b"");
        let heard = both.bench.sent_one();
        assert_eq!(heard.header.ack, IRS.advance(6), "{from:?} has said so much");
        // What was lost comes again, and is what it was.
        both.say(side, 0, TcpFlags::PSH, b"hello");
        let again = both.bench.sent_one();
        assert_eq!((again.header.seq, &again.data[..]), (sent.header.seq, &b"hello"[..]));
    }
}

#[test]
fn both_sides_may_have_said_something() {
    let mut both = Both::new();
    both.say_unheard(0, 0, b"question");
    both.say_unheard(1, 0, b"greeting");
    let (_, pair) = both.paired();
    let sent = both.bench.sent();
    let said: Vec<_> = sent.iter().map(|it| (it.tuple, &it.data[..], it.header.ack)).collect();
    let acknowledged = IRS.advance(1);
    let expected = [
        (*pair.tuple(Side::Backend), &b"question"[..], acknowledged),
        (*pair.tuple(Side::Client), &b"greeting"[..], acknowledged),
    ];
    assert_eq!(said, expected, "neither is told that anything of it has come");
}

#[test]
fn segments_are_as_the_hearer_takes_them() {
    let mut both = Both::new();
    both.bench.with_stream(both.ids[0], |stream| stream.hold_acknowledgments(true));
    let all: Vec<_> = (0..4_500u32).map(|at| at as u8).collect();
    for (index, piece) in all.chunks(900).enumerate() {
        both.say_unheard(0, 900 * index as u32, piece);
    }
    assert_eq!(both.bench.sent(), [], "it is held");
    let (_, pair) = both.paired();
    let sent = both.bench.sent();
    let lengths: Vec<_> = sent.iter().map(|it| (it.data.len(), it.header.flags.contains(TcpFlags::PSH))).collect();
    assert_eq!(lengths, [(1_448, false), (1_448, false), (1_448, false), (156, true)]);
    assert_eq!(sent.iter().flat_map(|it| it.data.clone()).collect::<Vec<_>>(), all);
    // The client offers 64,000 octets by its SYN's scale of 5, and the backend was told another scale.
    let octets = 64_000u32 << 5;
    let scale = pair.ends[1].our_scale;
    let ours = sent[0].header.options.timestamps.expect("agreed on");
    for segment in sent {
        assert_eq!(u32::from(segment.header.window), (octets >> scale).min(65_535));
        assert_eq!(segment.header.options.timestamps, Some(ours));
        assert_eq!((ours.value, ours.echo), (pair.ends[1].clock, pair.ends[1].recent));
    }
}

/// More than is sent at once, or than the hearer has room for, is carried as before.
#[test]
fn too_much_stays() {
    let mut both = Both::new();
    both.bench.with_stream(both.ids[0], |stream| stream.hold_acknowledgments(true));
    for index in 0..25 {
        both.say_unheard(0, 1_448 * index, &[7; 1_448]);
    }
    let why = WhyNot::Busy(Side::Client, Busy::Unread);
    both.stays(why);

    let mut both = Both::new();
    both.bench.port = both.ports[1];
    let shut = TcpHeader { window: 1, options: stamps(78), ..both.bench.header(IRS.advance(1), both.issues[1], ACK) };
    both.bench.send(shut, b"");
    both.say_unheard(0, 0, &[7; 33]);
    both.stays(why);
}

#[test]
fn no_room_for_replies() {
    let config = StackConfig { max_replies: 2, max_awake: 0, ..StackConfig::default() };
    let mut both = Both::on(Bench::with(config), [options(1_460); 2]);
    both.bench.with_stream(both.ids[0], |stream| stream.hold_acknowledgments(true));
    for index in 0..3 {
        both.say_unheard(0, 1_448 * index, &[7; 1_448]);
    }
    both.stays(WhyNot::Busy(Side::Client, Busy::Unread));
}

#[test]
fn what_was_acknowledged_or_read_in_part_stays() {
    let mut both = Both::new();
    both.say_unheard(0, 0, b"one");
    both.bench.sent();
    both.say_unheard(0, 3, b"two");
    both.stays(WhyNot::Busy(Side::Client, Busy::Unread));
    // What was acknowledged is read: the rest is as if it had not come.
    both.bench.with_stream(both.ids[0], |stream| stream.consume(3));
    both.paired();
    let sent = both.bench.sent_one();
    assert_eq!((&sent.data[..], sent.header.seq), (&b"two"[..], both.issues[1]));

    let mut both = Both::new();
    both.say_unheard(0, 0, b"onetwo");
    both.bench.with_stream(both.ids[0], |stream| stream.consume(3));
    both.stays(WhyNot::Busy(Side::Client, Busy::AckOwed));
}

#[test]
fn holes_and_ends_stay() {
    let mut both = Both::new();
    both.say_unheard(0, 10, b"behind");
    both.stays(WhyNot::Busy(Side::Client, Busy::OutOfOrder));
    // Its sender may have heard of it by SACK, and would not say it again at once.
    both.bench.sent();
    both.say_unheard(0, 0, b"ten octets");
    both.stays(WhyNot::Busy(Side::Client, Busy::AckOwed));

    let mut both = Both::new();
    both.say(0, 0, FIN, b"bye");
    both.bench.events();
    both.stays(WhyNot::Busy(Side::Client, Busy::NotOpen));
}

#[test]
fn who_has_no_carrier_or_no_room_keeps_them() {
    let mut both = Both::new();
    both.bench.stack.set_carrier(Box::new(Table::new(0)));
    both.say_unheard(0, 0, b"hello");
    both.stays(WhyNot::NoRoom);
    assert_eq!(both.bench.sent().len(), 1, "only acknowledged, as ever");
    assert!(WhyNot::NoRoom.may_pass() && !WhyNot::NoCarrier.may_pass());

    let mut bench = Bench::new();
    let ids = [40_001, 40_002].map(|port| {
        bench.port = port;
        bench.connect().0
    });
    assert_eq!(bench.stack.part_with(bench.now, ids[0], ids[1]), Err(WhyNot::NoCarrier));
}

/// A backend's connection that has just been opened, and its first number.
fn backend(both: &mut Both) -> (ConnectionId, u16, SeqNumber) {
    let remote = Endpoint { address: both.bench.theirs, port: 8_080 };
    let via = Via { interface: InterfaceId::FIRST, next_hop: THEIRS, mtu: 1_500, tunnel: None };
    let ours = both.bench.ours;
    let id = both.bench.stack.connect_via(both.bench.now, remote, ours, &[50_000], via).expect("a port is free");
    let syn = both.bench.sent_one().header;
    answer(both, &syn);
    assert_eq!(both.bench.events(), [Event::Connected(id)]);
    (id, syn.source_port, syn.seq.advance(1))
}

fn answer(both: &mut Both, syn: &TcpHeader) {
    let back = TcpHeader {
        source_port: 8_080,
        destination_port: syn.source_port,
        options: TcpOptions { timestamps: Some(Timestamps { value: 5, echo: 0 }), ..options(1_460) },
        ..both.bench.header(IRS, syn.seq.advance(1), SYN | ACK)
    };
    both.bench.send(back, b"");
}

/// The client's octets carry the acknowledgment that the backend is owed, and come again until the backend has them.
#[test]
fn a_backend_that_may_have_missed_our_acknowledgment_hears_the_client() {
    for is_acknowledged in [false, true] {
        let mut both = Both::new();
        let (id, port, first) = backend(&mut both);
        if is_acknowledged {
            assert_eq!(both.bench.sent().len(), 1);
            both.ids[1] = id;
            both.stays(WhyNot::Busy(Side::Backend, Busy::Unconfirmed));
        }
        both.ids[1] = id;
        both.say_unheard(0, 0, b"question");
        let (_, pair) = both.paired();
        let sent = both.bench.sent_one();
        assert_eq!((&sent.data[..], sent.header.seq, sent.header.ack), (&b"question"[..], first, IRS.advance(1)));
        assert_eq!(pair.tuple(Side::Backend).local.port, port);
        // Its SYN-ACK comes again: what answers it is the client's, again.
        let syn = TcpHeader { source_port: port, seq: first.back(1), ..sent.header };
        answer(&mut both, &syn);
        assert_eq!((both.bench.sent(), both.bench.drops(DropReason::Parted)), (vec![], 1));
        both.say(0, 0, TcpFlags::PSH, b"question");
        assert_eq!(both.bench.sent_one().header.ack, IRS.advance(1));
    }
}

#[test]
fn acknowledgments_are_held() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    let say = |bench: &mut Bench, behind: u32, length: usize| {
        bench.send(bench.header(IRS.advance(1 + behind), iss.advance(1), ACK), &vec![7; length]);
        bench.events();
        bench.sent().len()
    };
    assert_eq!(say(&mut bench, 0, 1_000), 1, "at the start each segment is acknowledged");
    bench.with_stream(id, |stream| {
        stream.consume(1_000);
        stream.hold_acknowledgments(true);
    });
    assert_eq!([1_000, 2_000, 3_000].map(|behind| say(&mut bench, behind, 1_000)), [0; 3]);
    bench.pass(Duration::from_millis(40));
    assert_eq!(bench.sent_one().header.ack, IRS.advance(4_001));
    // What comes out of order is answered at once, and so is what fills the hole.
    assert_eq!(say(&mut bench, 5_000, 1_000), 1);
    assert_eq!(say(&mut bench, 4_000, 1_000), 1);
    // So is what leaves no room to go on.
    let acknowledged: usize = (6..80).map(|index| say(&mut bench, 1_000 * index, 1_000)).sum();
    assert!((1..20).contains(&acknowledged), "{acknowledged}");
    let sleeping = bench.with_stream(id, |stream| stream.readable_len());
    assert!(sleeping > 60_000, "all that was offered has come: {sleeping}");

    bench.with_stream(id, |stream| {
        stream.consume(sleeping);
        stream.hold_acknowledgments(false);
    });
}

/// The rest of a batch, or what another worker hands over.
#[test]
fn a_frame_that_comes_late_is_translated() {
    let mut both = Both::new();
    let (id, pair) = both.paired();
    both.say(0, 0, TcpFlags::PSH, b"late");
    let sent = both.bench.sent_one();
    assert_eq!((sent.tuple, &sent.data[..]), (*pair.tuple(Side::Backend), &b"late"[..]));
    assert_eq!(both.bench.stack.stats().segments_translated, 1);
    assert_eq!(both.bench.stack.pair(id).map(|pair| pair.stream(Side::Client).carried), Some(4));
    // Padding of a short frame is no part of it.
    both.bench.port = both.ports[0];
    let header = both.bench.header(IRS.advance(5), both.issues[0], ACK);
    let ip = IpHeader::new(both.bench.theirs, both.bench.ours, Protocol::Tcp);
    let mut frame = vec![0; wire::tcp_frame_len(&both.bench.link, &ip, &header)];
    wire::write_tcp(&both.bench.link, &ip, &header, (&[], &[]), &mut frame);
    let length = frame.len();
    frame.resize(2_000, 0);
    both.bench.stack.handle_frame(both.bench.now, InterfaceId::FIRST, &frame);
    let frames = both.bench.frames();
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [length]);
}

#[test]
fn a_syn_is_challenged_while_the_pair_is_open_and_only_so_often() {
    let mut both = Both::new();
    let (id, pair) = both.paired();
    both.bench.port = both.ports[0];
    both.bench.send_syn(TcpOptions::default());
    let sent = both.bench.sent_one();
    assert!(sent.tuple == *pair.tuple(Side::Client) && sent.has(ACK));
    assert_eq!(both.bench.stack.pair(id), Some(pair), "nothing was learnt");
    for _ in 0..50 {
        both.bench.send_syn(TcpOptions::default());
    }
    assert_eq!(both.bench.sent().len(), 9, "RFC 5961 §7: ten in a second");
    // Who has forgotten the connection says so, and gets another one.
    let reset = TcpHeader { flags: RST, ..both.bench.header(sent.header.ack, SeqNumber::default(), RST) };
    both.bench.send(reset, b"");
    assert!(both.bench.sent_one().has(RST), "the backend hears of it");
    both.bench.send_syn(TcpOptions::default());
    assert!(both.bench.sent_one().has(SYN | ACK));
}

/// Nobody else would: a translated segment leaves as it came.
#[test]
fn a_checksum_that_hardware_was_to_finish_is_finished() {
    for (policy, passes) in [(ChecksumPolicy::AcceptPartial, true), (ChecksumPolicy::Verify, false)] {
        let config = StackConfig { checksums: policy, ..StackConfig::default() };
        let mut both = Both::on(Bench::with(config), [options(1_460); 2]);
        both.paired();
        both.bench.port = both.ports[0];
        let header = both.bench.header(IRS.advance(1), both.issues[0], ACK);
        let ip = IpHeader::new(both.bench.theirs, both.bench.ours, Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(&both.bench.link, &ip, &header) + 5];
        wire::write_tcp(&both.bench.link, &ip, &header, (b"hello", &[]), &mut frame);
        let sum = wire::checksum::Checksum::pseudo_header(both.bench.theirs, both.bench.ours, 6, frame.len() - 34);
        frame[50..52].copy_from_slice(&sum.folded());
        both.bench.stack.handle_frame(both.bench.now, InterfaceId::FIRST, &frame);
        let sent = both.bench.sent();
        assert_eq!(
            sent.iter().map(|sent| &sent.data[..]).collect::<Vec<_>>(),
            if passes { vec![b"hello"] } else { vec![] }
        );
    }
}

/// Where there is room for a few RSTs only, the others wait for their turn, and no pair is forgotten without.
#[test]
fn as_many_are_reset_as_there_is_room_for() {
    let config = StackConfig { max_replies: 4, ..StackConfig::default() };
    let mut both = Both::on(Bench::with(config), [options(1_460); 2]);
    let (id, _) = both.paired();
    both.bench.port = 50_000;
    for port in 0..3 {
        both.bench.port = 50_000 + port;
        both.bench.send(both.bench.header(IRS, IRS, ACK), b"");
    }
    assert!(!both.bench.stack.may_reset_pair(id) && !both.bench.stack.reset_pair(id));
    both.bench.stack.abort_all(both.bench.now);
    assert!(both.bench.stack.pair(id).is_some());
    both.bench.sent();
    assert!(both.bench.stack.may_reset_pair(id));
    both.bench.stack.abort_all(both.bench.now);
    assert_eq!((both.bench.sent().len(), both.bench.stack.parted()), (2, 0));
}

#[test]
fn a_syn_behind_the_end_begins_another_connection() {
    let mut both = Both::new();
    let (id, _) = both.paired();
    both.say(0, 0, RST, b"");
    assert_eq!(both.bench.sent().len(), 1, "the backend hears of it");
    assert!(both.bench.stack.pair(id).is_some_and(|pair| pair.is_ending()));
    let before = both.bench.stack.stats().segments_received;
    both.bench.port = both.ports[0];
    both.bench.send_syn(TcpOptions::default());
    assert!(both.bench.sent_one().has(SYN | ACK));
    assert_eq!((both.bench.stack.pair(id), both.bench.stack.parted()), (None, 0));
    assert_eq!(both.bench.stack.stats().segments_received, before + 1, "it came once");
    assert_eq!(both.bench.state(), State::SynReceived);
    let stood = both.bench.stack.forget_pair(id).expect("how it stood can be asked once");
    assert_eq!((stood.reset_by(), both.bench.stack.forget_pair(id)), (Some(Side::Client), None));
}

#[test]
fn both_are_reset() {
    type End = fn(&mut Bench, PairId);
    let ends: [End; 2] = [
        |bench, id| assert!(bench.stack.reset_pair(id) && !bench.stack.reset_pair(id)),
        |bench, _| bench.stack.abort_all(bench.now),
    ];
    for end in ends {
        let mut both = Both::new();
        let (id, pair) = both.paired();
        end(&mut both.bench, id);
        let sent = both.bench.sent();
        for (side, reset) in Side::BOTH.into_iter().zip(&sent) {
            assert_eq!((reset.tuple, reset.header.flags), (*pair.tuple(side), RST | ACK));
            assert_eq!((reset.header.seq, reset.header.ack), (both.issues[side as usize], IRS.advance(1)));
        }
        assert_eq!((sent.len(), both.bench.stack.parted(), both.bench.stack.pair(id)), (2, 0, None));
        assert_eq!(both.bench.stack.stats().resets_transmitted, 2);
        both.say(0, 0, TcpFlags::empty(), b"late");
        assert!(both.bench.sent_one().has(RST), "whoever asks is told");
    }
}

#[test]
fn a_stale_id_is_nobodys() {
    let mut both = Both::new();
    let (first, _) = both.paired();
    both.bench.stack.forget_pair(first).expect("it is there");
    let mut again = Both::on(both.bench, [options(1_460); 2]);
    let (second, pair) = again.paired();
    let stack = &mut again.bench.stack;
    let stale = PairId::new(second.index(), second.generation().wrapping_add(1));
    let via = Via { interface: InterfaceId::FIRST, next_hop: OURS, mtu: 1_500, tunnel: None };
    assert!(!stack.reset_pair(stale) && !stack.point_pair(stale, Side::Client, &via));
    assert_eq!((stack.pair(stale), stack.forget_pair(stale)), (None, None));
    assert_eq!((stack.pair(second), stack.parted()), (Some(pair), 2));
}

#[test]
fn a_backend_is_reached_by_another_way() {
    let mut both = Both::new();
    let (id, pair) = both.paired();
    let station = MacAddress([2, 0, 0, 0, 0, 77]);
    let via = Via { interface: InterfaceId::FIRST, next_hop: station, mtu: 1_400, tunnel: None };
    assert!(both.bench.stack.point_pair(id, Side::Backend, &via));
    let pointed = both.bench.stack.pair(id).expect("it is there");
    assert_eq!((pointed.ends[1].mtu, pointed.link(Side::Client)), (1_400, pair.link(Side::Client)));
    both.say(0, 0, TcpFlags::empty(), b"hello");
    let sent = both.bench.sent_one();
    assert_eq!((sent.link.destination, sent.link.source), (station, OURS));
    // What interface there is not, or takes frames that would have to grow, is no way.
    let nowhere = Via { interface: InterfaceId::at(1).unwrap(), ..via };
    assert!(!both.bench.stack.point_pair(id, Side::Backend, &nowhere));
    // Our own station may get another address.
    both.bench.stack.set_mac(InterfaceId::FIRST, THEIRS);
    both.bench.link.destination = THEIRS;
    both.say(0, 5, TcpFlags::empty(), b"hello");
    assert_eq!(both.bench.sent_one().link.source, THEIRS);
    // An interface may take less than before, and more means nothing to those that are there.
    let mtus = |both: &Both| both.bench.stack.pair(id).map(|pair| pair.ends.map(|end| end.mtu));
    for (mtu, expected) in [(1_300, [1_300; 2]), (1_500, [1_300; 2])] {
        both.bench.stack.set_mtu(both.bench.now, InterfaceId::FIRST, mtu);
        assert_eq!(mtus(&both), Some(expected));
    }
}

/// Who has said too large a packet hears of it, whether a router says so or we do.
#[test]
fn packets_that_are_too_big() {
    let mut both = Both::new();
    let (id, _) = both.paired();
    both.say(0, 0, TcpFlags::PSH, &[7; 1_400]);
    let frames = both.bench.frames();
    let mut quoted = frames[0][14..].to_vec();
    let to_pair = |both: &mut Both, mtu: u32, quoted: &[u8]| {
        both.bench.send_error(3, 4, mtu, quoted);
        both.bench.stack.pair(id).expect("it is there").ends[1].mtu
    };
    // Neither what was never said nor what is no smaller than before.
    let seq = u32::from_be_bytes(quoted[24..28].try_into().unwrap());
    for (offset, is_known) in [(1_400u32, false), (1 << 30, false), (3_000_000_000, false), (0, true)] {
        quoted[24..28].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
        let mtu = to_pair(&mut both, 1_300, &quoted);
        assert_eq!(mtu, if is_known { 1_300 } else { 1_500 }, "{offset}");
    }
    assert_eq!(both.bench.drops(DropReason::UnmatchedIcmp), 3);
    assert_eq!(to_pair(&mut both, 1_400, &quoted), 1_300, "it only ever gets smaller");
    assert_eq!(to_pair(&mut both, 60, &quoted), 1_300, "no link takes so little");
    assert_eq!(both.bench.stack.stats().icmp_errors_accepted, 1);

    both.say(0, 0, TcpFlags::PSH, &[7; 1_400]);
    let told = both.bench.frames();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0][34..36], &told[0][40..42]), (&[3u8, 4][..], &1_300u16.to_be_bytes()[..]));
    assert_eq!(told[0][30..34], [198, 18, 0, 2], "the client is told");
    both.say(0, 0, TcpFlags::PSH, &[7; 1_000]);
    assert_eq!(both.bench.sent_one().data.len(), 1_000);
    assert_eq!(to_pair(&mut both, 100, &quoted), 552, "and never without end");
}

#[test]
fn packets_that_are_too_big_for_an_ipv6_link() {
    let mut both = Both::on(Bench::new().over_ipv6(), [options(1_440); 2]);
    let (id, _) = both.paired();
    both.say(0, 0, TcpFlags::PSH, &[7; 1_400]);
    let quoted = both.bench.frames()[0][14..].to_vec();
    for (claimed, believed) in [(1_279, 1_500), (1_300, 1_300)] {
        both.bench.send_error(2, 0, claimed, &quoted);
        assert_eq!(both.bench.stack.pair(id).map(|pair| pair.ends[1].mtu), Some(believed));
    }
    both.say(0, 0, TcpFlags::PSH, &[7; 1_400]);
    let told = both.bench.frames().remove(0);
    assert_eq!((&told[54..56], &told[58..62]), (&[2u8, 0][..], &1_300u32.to_be_bytes()[..]));
}

/// A router's mark is answered by who hears it.
#[test]
fn a_mark_goes_on() {
    let tcp = crate::config::TcpConfig { ecn: crate::config::Ecn::Active, ..Default::default() };
    for codepoint in [2, 3] {
        let config = StackConfig { tcp: tcp.clone(), max_awake: 0, ..StackConfig::default() };
        let mut bench = Bench::with(config);
        bench.stack.set_carrier(Box::new(Table::new(1)));
        let ids = [40_001, 40_002].map(|port| {
            bench.port = port;
            let setup = SYN | TcpFlags::ECE | TcpFlags::CWR;
            bench.send(TcpHeader { options: options(1_460), ..bench.header(IRS, SeqNumber::default(), setup) }, b"");
            let iss = bench.sent_one().header.seq;
            bench.send(TcpHeader { options: stamps(77), ..bench.header(IRS.advance(1), iss.advance(1), ACK) }, b"");
            let Some(Event::Accepted(id, _)) = bench.events().pop() else { panic!("a connection was expected") };
            (id, iss.advance(1))
        });
        bench.port = 40_001;
        let said = TcpHeader { options: stamps(78), ..bench.header(IRS.advance(1), ids[0].1, ACK) };
        let ip = IpHeader { traffic_class: codepoint, ..IpHeader::new(bench.theirs, bench.ours, Protocol::Tcp) };
        let mut frame = vec![0; wire::tcp_frame_len(&bench.link, &ip, &said) + 5];
        wire::write_tcp(&bench.link, &ip, &said, (b"hello", &[]), &mut frame);
        bench.stack.handle_frame(bench.now, InterfaceId::FIRST, &frame);
        bench.events();
        bench.stack.part_with(bench.now, ids[0].0, ids[1].0).expect("nothing is in the way");
        let frames = bench.frames();
        assert_eq!(frames.iter().map(|frame| frame[15] & 3).collect::<Vec<_>>(), [if codepoint == 3 { 3 } else { 0 }]);
    }
}

/// What an observer was told: how many flows have come and gone.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(Vec<FourTuple>, Vec<u64>)>>);

impl FlowObserver for Told {
    fn opened(&mut self, tuple: &FourTuple) {
        self.0.lock().unwrap().0.push(*tuple);
    }

    fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint {
        FlowFingerprint::new(tuple.remote.port.into())
    }

    fn closed(&mut self, fingerprint: FlowFingerprint) {
        self.0.lock().unwrap().1.push(fingerprint.get());
    }
}

/// A filter of known flows goes on to know them, or a flood's defence would answer for them.
#[test]
fn an_observer_hears_of_the_end_when_a_pair_is_forgotten() {
    let told = Told::default();
    let mut bench = Bench::new();
    bench.stack.observe_flows(Box::new(told.clone()));
    let mut both = Both::on(bench, [options(1_460); 2]);
    let (id, _) = both.paired();
    both.bench.sent();
    let heard = |told: &Told| {
        let (opened, closed) = &*told.0.lock().unwrap();
        (opened.len(), closed.clone())
    };
    assert_eq!(heard(&told), (2, vec![]));
    both.bench.stack.forget_pair(id).expect("it is there");
    assert_eq!(heard(&told), (2, both.ports.map(u64::from).to_vec()));
}

/// A carrier that says of everything that it does not know it.
struct Nobody;

impl Carrier for Nobody {
    fn take(&mut self, _: &Pair) -> Option<PairId> {
        Some(PairId::new(0, 0))
    }

    fn look(&self, _: PairId) -> Option<Pair> {
        None
    }

    fn translate(&mut self, _: Instant, _: PairId, _: &mut [u8]) -> Result<Side, Refusal> {
        Err(Refusal::Over)
    }

    fn point(&mut self, _: PairId, _: Side, _: LinkHeader, _: u16) {}

    fn forget(&mut self, _: PairId) -> Option<Pair> {
        None
    }

    fn claim(&mut self, _: &FourTuple) -> Option<PairId> {
        None
    }

    fn capacity(&self) -> usize {
        0
    }

    fn release(&mut self, _: PairId, _: &FourTuple) {}
}

#[test]
fn a_carrier_that_has_lost_a_pair_does_no_harm() {
    let mut both = Both::new();
    both.bench.stack.set_carrier(Box::new(Nobody));
    let id = both.part().expect("it takes everything");
    both.say(0, 0, TcpFlags::empty(), b"hello");
    assert_eq!((both.bench.sent(), both.bench.drops(DropReason::Parted)), (vec![], 1));
    assert_eq!((both.bench.stack.pair(id), both.bench.stack.forget_pair(id)), (None, None));
    assert!(!both.bench.stack.reset_pair(id));
}
