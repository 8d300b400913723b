//! From SYN to ESTABLISHED, and what comes in between (RFC 9293 §3.5, §3.10.7).

use super::*;
use crate::wire::tcp_options::Timestamps;

#[test]
fn must_14_and_must_67_three_ways_to_established() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        bench.send_syn(TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() });
        assert_eq!(bench.state(), State::SynReceived);
        let answer = bench.sent_one();
        assert!(answer.has(SYN | ACK));
        assert_eq!(answer.tuple, bench.tuple());
        assert_eq!((answer.link.destination, answer.link.source), (THEIRS, OURS));
        assert_eq!(answer.header.ack, IRS.advance(1));
        let mss = if bench.ours.is_ipv4() { 1_460 } else { 1_440 };
        assert_eq!(answer.header.options.mss, Some(mss), "MUST-67");
        assert!(answer.header.options.window_scale.is_some());
        assert_eq!(bench.events(), [], "nobody hears of a handshake before it is over");
        bench.send(bench.header(IRS.advance(1), answer.header.seq.advance(1), ACK), b"");
        assert_eq!(bench.state(), State::Established);
        assert!(matches!(bench.events()[..], [Event::Accepted(_, _)]));
    }
}

#[test]
fn options_are_offered_only_where_the_client_did() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let options = bench.sent_one().header.options;
    assert_eq!(options, TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
}

#[test]
fn the_last_segment_of_the_handshake_may_carry_data() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK | TcpFlags::PSH), b"GET");
    let events = bench.events();
    let [Event::Accepted(id, _), Event::Ready(same)] = events[..] else { panic!("{events:?}") };
    assert_eq!(id, same);
    assert_eq!(bench.with_stream(id, |stream| stream.readable().to_vec()), b"GET");
}

#[test]
fn the_same_syn_draws_the_same_answer() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let first = bench.sent_one();
    bench.pass(Duration::from_millis(300));
    bench.send_syn(TcpOptions::default());
    assert_eq!(bench.sent_one(), first);
    assert_eq!(bench.stack.flow_counts(), (0, 1, 0));
}

#[test]
fn a_challenge_promises_no_more_than_its_syn_ack() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions { window_scale: Some(2), ..TcpOptions::default() });
    let syn_ack = bench.sent_one().header;
    let scale = syn_ack.options.window_scale.expect("scaling is agreed on");
    assert!(scale > 0, "the default buffer needs it");
    // A segment far outside the window, then: it draws an acknowledgment.
    bench.send(bench.header(IRS.advance(1 << 20), syn_ack.seq.advance(1), ACK), b"");
    let challenge = bench.sent_one().header;
    assert!(u32::from(challenge.window) << scale <= u32::from(syn_ack.window), "{challenge:?}");
}

#[test]
fn another_syn_of_the_same_client_draws_a_challenge() {
    // RFC 5961 §4.2: a client that did restart answers it with an RST.
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(77), SeqNumber::default(), SYN), b"");
    let challenge = bench.sent_one();
    assert!(challenge.has(ACK));
    assert_eq!((challenge.header.seq, challenge.header.ack), (iss.advance(1), IRS.advance(1)));
    assert_eq!(bench.drops(DropReason::SynInWindow), 1);
}

#[test]
fn must_22_an_unanswered_syn_ack_is_sent_again_and_given_up() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let first = bench.sent_one();
    let mut waits = Vec::new();
    let mut before = bench.now;
    while let Some(deadline) = bench.stack.poll_timeout() {
        bench.now = deadline;
        bench.stack.handle_timeout(bench.now);
        let again = bench.sent();
        if !again.is_empty() {
            assert_eq!(again, std::slice::from_ref(&first));
            waits.push((bench.now - before).as_secs());
            before = bench.now;
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16]);
    assert_eq!(bench.drops(DropReason::HandshakeTimeout), 1);
    assert_eq!(bench.stack.flow_counts(), (0, 0, 0));
    assert_eq!(bench.now - Instant::from_millis(1_000), Duration::from_secs(63));
}

#[test]
fn must_11_only_an_exact_reset_breaks_a_handshake_off() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    bench.sent();
    bench.send(bench.header(IRS.advance(2), SeqNumber::default(), RST), b"");
    assert_eq!(bench.state(), State::SynReceived);
    bench.sent();
    bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"");
    assert_eq!(bench.state(), State::Closed);
    assert_eq!(bench.stack.stats().handshakes_reset, 1);
    assert_eq!(bench.sent(), []);
}

#[test]
fn x_rst_3_a_reset_in_the_window_challenges_a_handshake() {
    // RFC 5961 §3.2 (MUST): SYN-RECEIVED is no exception. §7: ten a second.
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        bench.send_syn(TcpOptions::default());
        let iss = bench.sent_one().header.seq;
        for offset in [0, 1 << 20, 1 << 31] {
            bench.send(bench.header(IRS.advance(offset), SeqNumber::default(), RST), b"");
            assert_eq!((bench.sent(), bench.state()), (vec![], State::SynReceived), "outside the window");
        }
        let reset = |bench: &mut Bench| {
            bench.send(bench.header(IRS.advance(101), SeqNumber::default(), RST), b"");
            bench.sent()
        };
        let challenges = reset(&mut bench);
        let [challenge] = &challenges[..] else { panic!("a challenge was expected: {challenges:?}") };
        assert!(challenge.has(ACK));
        assert_eq!((challenge.header.seq, challenge.header.ack), (iss.advance(1), IRS.advance(1)));
        assert_eq!((0..300).map(|_| reset(&mut bench).len()).sum::<usize>(), 9);
        bench.pass(Duration::from_millis(999));
        bench.frames();
        assert_eq!(reset(&mut bench), []);
        bench.now += Duration::from_millis(1);
        assert_eq!(reset(&mut bench).len(), 1);
        assert_eq!(bench.state(), State::SynReceived);
        // A peer that did reset answers the challenge by its number.
        bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"");
        assert_eq!(bench.state(), State::Closed);
    }
}

#[test]
fn x_rst_3_a_reset_in_the_window_challenges_a_simultaneous_open_too() {
    let mut bench = Bench::new();
    let (_, syn) = bench.begin_with_syn();
    let (source_port, destination_port) = (syn.tuple.remote.port, syn.tuple.local.port);
    let segment = |bench: &Bench, seq: u32, flags| {
        let header = bench.header(IRS.advance(seq), SeqNumber::default(), flags);
        TcpHeader { source_port, destination_port, ..header }
    };
    bench.send(segment(&bench, 0, SYN), b"");
    assert!(bench.sent_one().has(SYN | ACK));
    let mut challenges = Vec::new();
    for _ in 0..300 {
        bench.send(segment(&bench, 101, RST), b"");
        challenges.extend(bench.sent());
    }
    assert_eq!(challenges.len(), 10, "{challenges:?}");
    assert!(challenges[0].has(ACK));
    assert_eq!((challenges[0].header.seq, challenges[0].header.ack), (syn.header.seq.advance(1), IRS.advance(1)));
    assert_eq!(bench.stack.state_of(&syn.tuple), State::SynReceived);
}

#[test]
fn x_seq_1_a_handshake_looks_at_the_sequence_number_before_the_acknowledgment() {
    // §3.10.7.4: outside the window an acknowledgment is due, whatever the segment says; inside, an RST for a wrong one.
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    for (seq, flags) in [(0, ACK), (1 << 20, ACK), (1 << 20, TcpFlags::empty()), (1 << 20, SYN), (1 << 20, SYN | ACK)] {
        bench.send(bench.header(IRS.advance(seq), iss.advance(9), flags), b"");
        let answer = bench.sent_one();
        assert!(answer.has(ACK), "{flags:?} at {seq}: {answer:?}");
        assert_eq!((answer.header.seq, answer.header.ack), (iss.advance(1), IRS.advance(1)));
    }
    assert_eq!((bench.drops(DropReason::OutsideWindow), bench.state()), (5, State::SynReceived));
    // Where it ends in the window, some of it is acceptable.
    bench.send(bench.header(IRS, iss.advance(1), ACK), b"xyz");
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_handshake_does_not_end_by_a_segment_older_than_its_syn() {
    // R1 of RFC 7323 §5.3.
    let mut bench = Bench::new();
    let clock = |value| TcpOptions { timestamps: Some(Timestamps { value, echo: 0 }), ..TcpOptions::default() };
    bench.send_syn(clock(70));
    let iss = bench.sent_one().header.seq;
    let last = bench.header(IRS.advance(1), iss.advance(1), ACK);
    bench.send(TcpHeader { options: clock(69), ..last }, b"");
    assert!(bench.sent_one().has(ACK));
    assert_eq!((bench.drops(DropReason::OldTimestamp), bench.state()), (1, State::SynReceived));
    bench.send(TcpHeader { options: clock(70), ..last }, b"");
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn the_same_syn_again_and_again_is_answered_ten_times_a_second() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    bench.sent_one();
    let answers: usize = (0..300)
        .map(|_| {
            bench.send_syn(TcpOptions::default());
            bench.sent().len()
        })
        .sum();
    assert_eq!(answers, 10);
}

#[test]
fn a_wrong_acknowledgment_is_reset_and_the_handshake_goes_on() {
    // §3.10.7.4, SYN-RECEIVED.
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(9), ACK), b"");
    let reset = bench.sent_one();
    assert!(reset.has(RST));
    assert_eq!(reset.header.seq, iss.advance(9));
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn what_belongs_to_nobody_is_reset() {
    // §3.10.7.1: the RST must be one that the sender takes.
    let mut bench = Bench::new();
    bench.send(TcpHeader { destination_port: 81, ..bench.header(IRS, SeqNumber::default(), SYN) }, b"");
    let reset = bench.sent_one();
    assert!(reset.has(RST | ACK));
    assert_eq!((reset.header.seq, reset.header.ack), (SeqNumber::default(), IRS.advance(1)));
    let ack = SeqNumber::new(77);
    bench.send(bench.header(IRS, ack, ACK), b"stray");
    let reset = bench.sent_one();
    assert!(reset.has(RST));
    assert_eq!(reset.header.seq, ack);
    bench.send(bench.header(IRS, SeqNumber::default(), FIN), b"12345");
    assert_eq!(bench.sent(), [], "without SYN, ACK or RST nothing can be said to a listener");
}

#[test]
fn a_reset_is_never_answered() {
    let mut bench = Bench::new();
    for flags in [RST, RST | ACK] {
        bench.send(bench.header(IRS, SeqNumber::new(5), flags), b"");
        bench.send(TcpHeader { destination_port: 81, ..bench.header(IRS, SeqNumber::new(5), flags) }, b"");
    }
    assert_eq!(bench.frames(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.drops(DropReason::StrayReset), 4);
}

#[test]
fn resets_have_a_rate() {
    let mut bench = Bench::with(StackConfig { resets_per_second: 100, ..StackConfig::default() });
    let stray = |bench: &mut Bench, count: u32| {
        for _ in 0..count {
            bench.port = bench.port.wrapping_add(1).max(1); // each of another flow
            bench.send(bench.header(IRS, SeqNumber::new(5), ACK), b"");
        }
        bench.sent().len()
    };
    assert_eq!(stray(&mut bench, 1_000), 10, "a tenth of a second's worth at once");
    bench.pass(Duration::from_millis(50));
    assert_eq!(stray(&mut bench, 1_000), 5);
    let mut sum = 0;
    for _ in 0..4_000 {
        bench.pass(Duration::from_micros(250));
        sum += stray(&mut bench, 1);
    }
    assert_eq!(sum, 100, "a second's worth in a second, however often one asks");
    assert!(bench.drops(DropReason::RateLimited) > 0);
}

#[test]
fn must_57_and_must_63_segments_that_no_host_sends_are_dropped_in_silence() {
    let group = MacAddress([0x01, 0, 0x5e, 0, 0, 1]);
    type Case = (&'static str, fn(&mut Bench), DropReason);
    let cases: [Case; 6] = [
        ("LAND", |bench| bench.theirs = bench.ours, DropReason::OwnSource),
        ("a broadcast source", |bench| bench.theirs = "198.18.0.255".parse().unwrap(), DropReason::InvalidSource),
        ("a multicast source", |bench| bench.theirs = "224.0.0.1".parse().unwrap(), DropReason::InvalidSource),
        ("a group at the link", |bench| bench.link.destination = MacAddress::BROADCAST, DropReason::GroupDestination),
        ("to a broadcast", |bench| bench.ours = "198.18.0.255".parse().unwrap(), DropReason::GroupDestination),
        ("to somebody else", |bench| bench.ours = "198.18.0.9".parse().unwrap(), DropReason::OtherDestination),
    ];
    for (name, arrange, reason) in cases {
        let mut bench = Bench::new();
        arrange(&mut bench);
        bench.send_syn(TcpOptions::default());
        assert_eq!((bench.drops(reason), bench.frames().len()), (1, 0), "{name}");
    }
    // Nor is a connection that is there reached by way of a group.
    let mut bench = Bench::new();
    let (_, iss) = bench.connect();
    bench.link.destination = group;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"to everybody");
    assert_eq!((bench.drops(DropReason::GroupDestination), bench.events()), (1, vec![]));
    let mut bench = Bench::new();
    bench.link.destination = MacAddress([2, 9, 9, 9, 9, 9]);
    bench.send_syn(TcpOptions::default());
    assert_eq!(bench.drops(DropReason::OtherStation), 1);
    bench.link = LinkHeader { destination: OURS, source: group, ..bench.link };
    bench.send_syn(TcpOptions::default());
    assert_eq!(bench.drops(DropReason::GroupSourceMac), 1);
}

#[test]
fn the_oldest_handshake_makes_room_for_the_newest() {
    let mut bench = Bench::with(StackConfig { max_half_open: 10, ..StackConfig::default() });
    for port in 1..=11 {
        bench.port = port;
        bench.send_syn(TcpOptions::default());
    }
    assert_eq!(bench.stack.flow_counts(), (0, 10, 0));
    assert_eq!(bench.stack.stats().handshakes_evicted, 1);
    assert_eq!(bench.state(), State::SynReceived, "the newest is there");
    bench.port = 1;
    assert_eq!(bench.state(), State::Closed, "the oldest is not");
}

#[test]
fn connections_have_a_limit_that_heals() {
    let mut bench = Bench::with(StackConfig { max_connections: 1, ..StackConfig::default() });
    bench.port = 2;
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.port = 1;
    let (first, numbers) = bench.connect();
    bench.send(bench.header(IRS.advance(1), numbers.advance(1), ACK), b"it has spoken, and stays");
    assert_eq!(bench.events(), [Event::Ready(first)]);
    bench.port = 2;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    assert_eq!(bench.drops(DropReason::ConnectionLimit), 1);
    assert_eq!(bench.events(), []);
    bench.with_stream(first, |stream| stream.abort());
    // It was told that it has no connection, and gets one when it asks again.
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
    assert!(bench.sent().iter().any(|sent| sent.has(RST)));
    assert_eq!(bench.state(), State::Closed);
    bench.events();
    bench.connect();
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_server_that_stops_listening_keeps_what_it_has() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    bench.stack.stop_listening();
    bench.port = 2;
    bench.send_syn(TcpOptions::default());
    assert!(bench.sent_one().has(RST | ACK));
    assert_eq!(bench.with_stream(id, |stream| stream.state()), State::Established);
}

#[test]
fn a_listener_may_have_one_address_only() {
    let mut bench = Bench::new();
    bench.stack.stop_listening();
    bench.stack.listen(Some("2001:2::1".parse().unwrap()), PORT).unwrap();
    bench.send_syn(TcpOptions::default());
    assert!(bench.sent_one().has(RST | ACK));
    let mut bench = bench.over_ipv6();
    bench.send_syn(TcpOptions::default());
    assert!(bench.sent_one().has(SYN | ACK));
}

#[test]
fn a_client_whose_first_data_filled_the_window_and_were_lost_ends_the_handshake_all_the_same() {
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let syn_ack = bench.sent_one().header;
    let window = u32::from(syn_ack.window);
    let acknowledgment = |seq| bench.header(seq, syn_ack.seq.advance(1), ACK);
    let (beyond, edge) = (acknowledgment(IRS.advance(window + 2)), acknowledgment(IRS.advance(window + 1)));
    bench.send(beyond, b"");
    assert_eq!((bench.sent_one().header.flags, bench.state()), (ACK, State::SynReceived), "one octet behind it");
    bench.send(edge, b"");
    assert!(matches!(bench.events()[..], [Event::Accepted(_, _)]), "{:?}", bench.state());
}
