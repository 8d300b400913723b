//! Who says nothing goes after a while, and makes room where there is none.

use super::*;

const SILENCE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Client number so-and-so of many.
fn client(bench: &mut Bench, number: u32) {
    bench.port = number as u16 | 1 << 15;
    bench.theirs = IpAddr::from(((10 << 24) | ((number >> 15) + 2)).to_be_bytes());
}

/// A client shakes hands, and has nothing else to say. Our initial sequence number, where it was answered.
fn shake_hands(bench: &mut Bench) -> Option<SeqNumber> {
    bench.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
    let answers = bench.sent();
    let iss = answers.iter().find(|sent| sent.has(SYN | ACK))?.header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    Some(iss)
}

/// Lets every deadline come until `span` has passed.
fn wait(bench: &mut Bench, span: Duration) -> Vec<Sent> {
    let end = bench.now + span;
    let mut sent = bench.sent();
    while let Some(deadline) = bench.stack.poll_timeout().filter(|&deadline| deadline <= end) {
        bench.pass(deadline - bench.now);
        sent.extend(bench.sent());
        bench.events();
    }
    bench.pass(end - bench.now);
    sent.extend(bench.sent());
    sent
}

fn is_served(bench: &mut Bench) -> bool {
    bench.events();
    let Some(iss) = shake_hands(bench) else { return false };
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"GET");
    let ids: Vec<ConnectionId> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Accepted(id, _) | Event::Ready(id) => Some(id),
            _ => None,
        })
        .collect();
    let Some(&id) = ids.last() else { return false };
    bench.with_stream(id, |stream| stream.echo());
    bench.sent().iter().any(|sent| sent.tuple == bench.tuple() && sent.data == b"GET")
}

#[test]
fn who_says_nothing_is_reset_after_a_minute_and_not_before() {
    for max_awake in [0, 16] {
        let mut bench = Bench::with(StackConfig { max_awake, ..StackConfig::default() });
        let (_, iss) = bench.connect();
        assert_eq!(wait(&mut bench, SILENCE - SECOND), []);
        assert_eq!(bench.state(), State::Established);
        let sent = wait(&mut bench, 2 * SECOND);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].has(RST | ACK) && sent[0].header.seq == iss.advance(1), "{sent:?}");
        assert_eq!((bench.state(), bench.stack.stats().connections_silent), (State::Closed, 1));
        assert_eq!(bench.stack.poll_timeout(), None, "nothing is left");
    }
}

#[test]
fn an_octet_a_fin_or_an_acknowledgment_of_ours_breaks_the_silence() {
    for what in 0..4 {
        let mut bench = Bench::new();
        let (id, iss) = bench.connect();
        let next = bench.header(IRS.advance(1), iss.advance(1), ACK);
        match what {
            0 => bench.send(next, b"x"),
            1 => bench.send(TcpHeader { flags: FIN | ACK, ..next }, b""),
            2 => {
                bench.with_stream(id, |stream| stream.write(b"220 hello\r\n"));
                bench.sent();
                bench.send(bench.header(IRS.advance(1), iss.advance(12), ACK), b"");
            }
            // Octets behind a hole, a duplicate of the handshake's end, and a keep-alive say nothing.
            _ => {
                bench.send(TcpHeader { seq: IRS.advance(3), ..next }, b"x");
                bench.send(next, b"");
                bench.send(TcpHeader { seq: IRS, ..next }, b"");
            }
        }
        wait(&mut bench, 10 * SILENCE);
        assert_eq!(bench.stack.stats().connections_silent, u64::from(what == 3), "{what}");
    }
}

#[test]
fn a_server_that_spoke_first_waits_for_its_acknowledgment_as_long_as_for_any_other() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    bench.with_stream(id, |stream| stream.write(b"220 hello\r\n"));
    // At R1 the way to the peer is asked for, so the frames are not all segments.
    let pass = |bench: &mut Bench, seconds: u32| {
        for _ in 0..seconds {
            bench.pass(SECOND);
            bench.frames();
        }
    };
    pass(&mut bench, 200);
    assert_eq!(bench.state(), State::Established, "R2 decides");
    pass(&mut bench, 600);
    assert_eq!((bench.state(), bench.stack.stats().connections_timed_out), (State::Closed, 1));
}

#[test]
fn without_a_limit_on_silence_nobody_is_reset_but_to_make_room() {
    let mut bench = Bench::with(StackConfig { silence: None, max_connections: 1, ..StackConfig::default() });
    bench.connect();
    wait(&mut bench, 100 * SILENCE);
    assert_eq!(bench.stack.stats().connections_silent, 0);
    bench.port += 1;
    assert!(is_served(&mut bench));
    assert_eq!(bench.stack.stats().connections_silent, 1);
}

#[test]
fn the_fewer_places_are_left_the_less_silence_is_borne() {
    let mut bench = Bench::with(StackConfig { max_connections: 100, ..StackConfig::default() });
    let mut left = Vec::new();
    for number in 0..100 {
        bench.port = 1_000 + number;
        shake_hands(&mut bench).expect("there is room");
        bench.events();
        let deadline = bench.stack.silence_ends().expect("somebody is silent");
        left.push((deadline - bench.now).as_secs());
    }
    assert_eq!((left[0], left[74], left[86], left[99]), (60, 60, 33, 5), "{left:?}");
    // Time passes: so many go that the others may go on.
    wait(&mut bench, 6 * SECOND);
    let (remaining, ..) = bench.stack.flow_counts();
    assert!((70..100).contains(&remaining), "{remaining}");
    wait(&mut bench, SILENCE);
    assert_eq!(bench.stack.flow_counts().0, 0);
}

#[test]
fn at_the_limit_a_new_client_is_served_at_once_however_many_are_silent() {
    for (syn_mode, max_awake) in [(SynMode::Cache, 4_096), (SynMode::Cookie, 4_096), (SynMode::Cache, 0)] {
        let mut bench = Bench::with(StackConfig { max_awake, ..StackConfig::default() });
        bench.stack.set_syn_mode(syn_mode);
        for number in 0..65_536 {
            client(&mut bench, number);
            assert!(shake_hands(&mut bench).is_some(), "{number}");
            bench.events();
        }
        assert_eq!(bench.stack.flow_counts().0, 65_536);
        client(&mut bench, 70_000);
        assert!(is_served(&mut bench), "{syn_mode:?}");
        // A thousand more that say nothing do not push out who has spoken.
        let served = bench.tuple();
        for number in 80_000..90_000 {
            client(&mut bench, number);
            assert!(shake_hands(&mut bench).is_some(), "{number}");
            bench.events();
        }
        assert_eq!(bench.stack.state_of(&served), State::Established);
        assert_eq!(bench.stack.stats().connections_silent, 10_001, "{syn_mode:?}");
        wait(&mut bench, 2 * SILENCE);
        assert_eq!(bench.stack.flow_counts().0, 1, "all of them end");
        assert_eq!(bench.stack.state_of(&served), State::Established);
    }
}

#[test]
fn the_longest_silent_goes_first_and_a_stalled_one_only_after_all_of_them() {
    let mut bench = Bench::with(StackConfig { max_connections: 3, ..StackConfig::default() });
    let mut ids = Vec::new();
    for port in 1..=3 {
        bench.port = port;
        ids.push(bench.connect());
    }
    // The second one speaks.
    bench.port = 2;
    bench.send(bench.header(IRS.advance(1), ids[1].1.advance(1), ACK), b"x");
    for (port, gone) in [(4, 1), (5, 3), (6, 4)] {
        bench.port = port;
        shake_hands(&mut bench).expect("somebody makes room");
        bench.port = gone;
        assert_eq!(bench.state(), State::Closed, "{port}");
    }
    bench.port = 2;
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn where_nobody_makes_room_a_syn_draws_nothing_and_the_end_of_a_handshake_a_reset() {
    for syn_mode in [SynMode::Cache, SynMode::Cookie] {
        let mut bench = Bench::with(StackConfig { max_connections: 1, ..StackConfig::default() });
        bench.stack.set_syn_mode(syn_mode);
        // One handshake is answered while there is room, and ends when there is none.
        bench.port = 7;
        bench.send_syn(TcpOptions::default());
        let late = bench.sent_one().header.seq;
        bench.port = 8;
        let iss = shake_hands(&mut bench).expect("there is room");
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"x");
        bench.frames();
        bench.port = 7;
        bench.send(bench.header(IRS.advance(1), late.advance(1), ACK), b"");
        let reset = bench.sent_one();
        assert!(reset.has(RST) && reset.header.seq == late.advance(1), "{reset:?}");
        assert_eq!((bench.state(), bench.drops(DropReason::ConnectionLimit)), (State::Closed, 1));
        bench.port = 9;
        bench.send_syn(TcpOptions::default());
        assert_eq!((bench.sent(), bench.drops(DropReason::ConnectionLimit)), (Vec::new(), 2));
        assert_eq!(bench.stack.flow_counts(), (1, 0, 0));
    }
}

#[test]
fn a_handshake_that_ends_while_too_many_wait_is_ended_again_later() {
    for syn_mode in [SynMode::Cache, SynMode::Cookie] {
        let mut bench = Bench::with(StackConfig { max_backlog: 1, ..StackConfig::default() });
        bench.stack.set_syn_mode(syn_mode);
        bench.port = 7;
        shake_hands(&mut bench).expect("it is answered");
        bench.port = 8;
        let iss = shake_hands(&mut bench).expect("it is answered");
        assert_eq!(bench.sent(), []);
        assert_eq!((bench.state(), bench.drops(DropReason::BacklogFull)), (State::SynReceived, 1));
        assert_eq!(bench.events().len(), 1);
        // The client has nothing to say, and is asked again.
        let again = wait(&mut bench, SECOND);
        assert!(again.len() == 1 && again[0].has(SYN | ACK) && again[0].header.seq == iss, "{again:?}");
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        assert_eq!((bench.state(), bench.events().len()), (State::Established, 1));
    }
}

#[test]
fn so_many_end_in_a_turn_as_there_is_room_for_resets() {
    let mut bench = Bench::with(StackConfig { max_replies: 96, ..StackConfig::default() });
    for number in 0..1_000 {
        client(&mut bench, number);
        shake_hands(&mut bench).expect("there is room");
        bench.events();
    }
    let resets = wait(&mut bench, 2 * SILENCE);
    assert_eq!((resets.len(), bench.drops(DropReason::ReplyQueueFull)), (1_000, 0));
}

#[test]
fn resets_leave_room_for_who_wants_to_connect() {
    let mut bench = Bench::with(StackConfig { max_replies: 8, ..StackConfig::default() });
    for number in 0..20 {
        client(&mut bench, number);
        shake_hands(&mut bench).expect("there is room");
    }
    bench.stack.abort_all(bench.now);
    client(&mut bench, 30);
    bench.send_syn(TcpOptions::default());
    let sent = bench.sent();
    assert_eq!((sent.len(), bench.drops(DropReason::ReplyQueueFull)), (7, 14));
    assert!(sent[6].has(SYN | ACK), "{sent:?}");
}
