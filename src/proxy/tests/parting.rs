//! Pairs that leave the stack, and whose segments are translated.

use super::*;
use crate::splice::Table;

fn spliced(number: u8) -> Target {
    backend(number).spliced()
}

impl<R: Router> Lab<R> {
    /// With room for so many pairs.
    fn with_room(mut self, pairs: u32) -> Self {
        self.host(PROXY).stack.set_carrier(Box::new(Table::new(pairs)));
        self
    }

    /// Connections of the proxy's stack, and those that have left it.
    fn connections(&mut self) -> (u32, usize) {
        let stack = &self.host(PROXY).stack;
        (stack.flow_counts().0, stack.parted())
    }
}

#[test]
fn what_is_said_first_goes_through_and_so_does_all_the_rest() {
    for is_servers in [false, true] {
        let (router, story) = Teller::to([spliced(FIRST)]);
        let mut lab = Lab::new(router).with_room(4);
        let client = lab.connect();
        let server = lab.accepted_one(FIRST);
        let (talker, id, hearer, other) =
            if is_servers { (FIRST, server, CLIENT, client) } else { (CLIENT, client, FIRST, server) };
        lab.say(talker, id, b"hello");
        assert_eq!(story.borrow().last().unwrap(), "spliced", "before the first octet");
        assert_eq!(lab.connections(), (0, 2));
        assert_eq!(lab.read(hearer, other), b"hello");
        let much: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
        for _ in 0..3 {
            assert_eq!(lab.say(hearer, other, &much), much.len());
            let mut read = Vec::new();
            while read.len() < much.len() {
                lab.pass(Duration::from_millis(100));
                read.extend(lab.read(talker, id));
            }
            assert!(read == much);
        }
        lab.at(CLIENT, client, |stream| stream.shutdown_write());
        assert!(lab.at(FIRST, server, |stream| stream.at_end()));
        lab.at(FIRST, server, |stream| stream.close());
        assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::Finished));
        lab.pass(Duration::from_secs(5));
        assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "connected", "spliced", "Finished"]);
        assert!(lab.proxy.is_empty());
        assert_eq!(lab.connections(), (0, 0));
        let expected = if is_servers { [60_000, 5] } else { [5, 60_000] };
        assert_eq!(lab.proxy.router().carried, expected, "each octet once, and no end");
    }
}

#[test]
fn what_backends_are_told_first_is_said_by_the_proxy() {
    let (router, story) = Teller::to([Target { preface: b"about you: ".to_vec(), skip: 2, ..spliced(FIRST) }]);
    let mut lab = Lab::new(router).with_room(4);
    let client = lab.connect();
    lab.say(CLIENT, client, b"##question");
    let server = lab.accepted_one(FIRST);
    assert_eq!(lab.read(FIRST, server), b"about you: ##question", "what came later was not to be skipped");
    assert_eq!(story.borrow().last().unwrap(), "spliced");
    lab.say(FIRST, server, b"answer");
    assert_eq!(lab.read(CLIENT, client), b"answer");
}

/// What is busy all the time, both ways, is kept quiet for a moment, and no octet of it is lost for that.
#[test]
fn a_pair_that_is_busy_from_the_beginning_leaves_in_the_midst() {
    const MUCH: usize = 3_000_000;
    let (router, story) = Teller::to([Target { preface: b"about you: ".to_vec(), ..spliced(FIRST) }]);
    // By the time that there is room, they are in the midst of it.
    let mut lab = Lab::new(router).with_room(0);
    lab.lag = 1;
    let now = lab.now;
    let remote: SocketAddr = ([198, 18, 0, PROXY], PORT).into();
    let client = lab.host(CLIENT).stack.connect(now, remote.into(), None).unwrap();
    let octet = |at: usize| (at * 7 % 251) as u8;
    let mut has_room = false;
    let mut ends = vec![(CLIENT, client, 0, Vec::new())];
    while ends.len() < 2 || ends.iter().any(|(.., heard)| heard.len() < MUCH) {
        let now = lab.now;
        if ends.len() < 2 {
            ends.extend(lab.accepted(FIRST).first().map(|&server| (FIRST, server, 0, Vec::new())));
        }
        for (host, id, said, heard) in &mut ends {
            let mut stream = lab.host(*host).stack.stream(now, *id).unwrap();
            *said += stream.write(&(*said..*said + 1_000).map(octet).collect::<Vec<u8>>());
            let mut read = vec![0; stream.readable_len()];
            stream.read(&mut read);
            heard.extend(read);
        }
        if !has_room && lab.proxy.router().carried[1] > 200_000 {
            (lab, has_room) = (lab.with_room(4), true);
            lab.proxy.full_until = Instant::ZERO;
        }
        // One frame at a time, so that the last ones are always under way.
        if lab.step(1) {
            lab.now += Duration::from_millis(1);
        }
        assert!(lab.now < Instant::from_millis(100_000), "they go on no longer");
    }
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "connected", "spliced"]);
    let [(.., by_client), (.., by_server)] = &ends[..] else { panic!("two ends") };
    let (head, rest) = by_server.split_at(11);
    assert!(head == b"about you: " && rest.iter().enumerate().all(|(at, &it)| it == octet(at)));
    assert!(by_client.iter().enumerate().all(|(at, &it)| it == octet(at)));
}

#[test]
fn where_there_is_no_room_or_they_do_not_fit_the_proxy_goes_on() {
    let (router, story) = Teller::to([spliced(FIRST)]);
    let mut lab = Lab::new(router).with_room(1);
    let clients = [lab.connect(), lab.connect()];
    for client in clients {
        lab.say(CLIENT, client, b"hello");
    }
    let servers = lab.accepted(FIRST);
    assert_eq!(lab.connections(), (2, 2));
    for server in &servers {
        assert_eq!(lab.read(FIRST, *server), b"hello");
    }
    assert_eq!(story.borrow().iter().filter(|it| *it == "spliced").count(), 1);
    // Of different IP versions they never fit.
    let (router, story) = Teller::to([Target::at("[2001:2::11]:80".parse().unwrap()).spliced()]);
    let mut lab = Lab::new(router).with_room(1);
    let client = lab.connect();
    lab.say(CLIENT, client, b"hello");
    let server = lab.accepted_one(FIRST);
    assert_eq!(lab.read(FIRST, server), b"hello");
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "connected"]);
}

fn one_that_has_left() -> (Lab<Teller>, Story, ConnectionId, ConnectionId) {
    let (router, story) = Teller::to([spliced(FIRST)]);
    let mut lab = Lab::new(router).with_room(1);
    let client = lab.connect();
    lab.say(CLIENT, client, b"hello");
    let server = lab.accepted_one(FIRST);
    assert_eq!(story.borrow().last().unwrap(), "spliced");
    (lab, story, client, server)
}

#[test]
fn a_reset_goes_through_and_says_whose_it_was() {
    for is_servers in [false, true] {
        let (mut lab, story, client, server) = one_that_has_left();
        let (from, id, to, other) =
            if is_servers { (FIRST, server, CLIENT, client) } else { (CLIENT, client, FIRST, server) };
        let now = lab.now;
        lab.host(from).stack.stream(now, id).unwrap().abort();
        lab.run();
        assert_eq!(lab.end_of(to, other), Some(CloseReason::ResetByPeer));
        lab.pass(Duration::from_secs(5));
        assert_eq!(story.borrow().last().unwrap(), if is_servers { "ByBackend" } else { "ByClient" });
        assert_eq!(lab.connections(), (0, 0));
    }
}

#[test]
fn a_backend_that_goes_takes_its_connections_along_and_nothing_else_does() {
    let (mut lab, story, client, server) = one_that_has_left();
    lab.proxy.router_mut().review = Some(Review::Keep);
    lab.pass(Duration::from_secs(60));
    let cx = &mut Context::new(lab.now, &mut lab.hosts[0].1.stack, WorkerIndex::ONLY);
    lab.proxy.draining(cx);
    lab.say(CLIENT, client, b"still here");
    assert_eq!(lab.read(FIRST, server), b"hellostill here");
    lab.proxy.router_mut().review = Some(Review::Reset);
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
    assert_eq!(story.borrow().last().unwrap(), "Revoked");
    assert_eq!(lab.proxy.router().carried, [15, 0]);
}

#[test]
fn one_that_says_nothing_is_reset_in_time() {
    let (mut lab, story, client, server) = one_that_has_left();
    lab.proxy.router_mut().patience.idle = Duration::from_secs(90);
    for _ in 0..4 {
        lab.pass(Duration::from_secs(80));
        lab.say(FIRST, server, b"tick");
    }
    assert_eq!(story.borrow().last().unwrap(), "spliced");
    lab.pass(Duration::from_secs(125));
    assert_eq!(story.borrow().last().unwrap(), "Idle");
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
}

/// Somebody else's connection has its ports by then, and is left alone.
#[test]
fn one_that_was_over_before_its_backend_went_is_told_as_it_ended() {
    let (router, story) = Teller::to([spliced(FIRST)]);
    let mut lab = Lab::new(router).with_room(2);
    let connect = |lab: &mut Lab<Teller>| {
        let (local, remote): (SocketAddr, SocketAddr) =
            (([198, 18, 0, CLIENT], 40_000).into(), ([198, 18, 0, PROXY], PORT).into());
        let now = lab.now;
        let id = lab.host(CLIENT).stack.connect_from(now, remote.into(), local.into()).unwrap();
        lab.run();
        lab.say(CLIENT, id, b"hello");
        id
    };
    let first = connect(&mut lab);
    let now = lab.now;
    lab.host(CLIENT).stack.stream(now, first).unwrap().abort();
    lab.run();
    connect(&mut lab);
    assert_eq!(lab.connections(), (0, 2), "the first one's ports are the second one's");
    lab.proxy.router_mut().review = Some(Review::Keep);
    lab.run();
    assert_eq!(story.borrow().last().unwrap(), "ByClient");
    assert_eq!((lab.proxy.len(), lab.proxy.router().carried), (1, [5, 0]), "the other one was not looked at yet");
}
