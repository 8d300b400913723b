//! Ends that are no ends of data.

use super::*;

/// A pair with a question under way.
fn pair(patience: Patience) -> (Lab<Teller>, Story, ConnectionId, ConnectionId) {
    let (mut router, story) = Teller::to([backend(FIRST)]);
    router.patience = patience;
    let mut lab = Lab::new(router);
    let client = lab.connect();
    let server = lab.accepted_one(FIRST);
    lab.say(CLIENT, client, b"question");
    (lab, story, client, server)
}

#[test]
fn a_reset_is_passed_on() {
    let (mut lab, story, client, server) = pair(Patience::default());
    lab.at(CLIENT, client, |stream| stream.abort());
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
    assert_eq!(story.borrow().last().unwrap(), "ByClient");

    let (mut lab, story, client, server) = pair(Patience::default());
    lab.at(FIRST, server, |stream| stream.abort());
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(story.borrow().last().unwrap(), "ByBackend");
    assert!(lab.proxy.is_empty());
}

#[test]
fn a_client_that_leaves_while_its_backend_is_asked_for_leaves_nothing_behind() {
    let (router, story) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::new(router);
    lab.host(FIRST).is_cut_off = true;
    let client = lab.connect();
    lab.at(CLIENT, client, |stream| stream.abort());
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "ByClient"]);
    assert!(lab.proxy.is_empty());
    lab.pass(Duration::from_secs(300));
    assert_eq!(lab.host(PROXY).stack.connection_at(0), None, "nobody is asked for any longer");
}

#[test]
fn who_says_nothing_first_has_so_long_and_no_longer_whatever_it_drips() {
    struct Never;
    impl Router for Never {
        type Session = ();
        fn open(&mut self, _: &Ends) {}
        fn look(&mut self, _: &mut (), _: Said<'_>) -> Decision {
            Decision::Wait { octets: 1_000 }
        }
    }
    for drips in [false, true] {
        let mut lab = Lab::new(Never);
        let client = lab.connect();
        for _ in 0..9 {
            lab.pass(Duration::from_secs(1));
            if drips {
                lab.say(CLIENT, client, b".");
            }
        }
        assert_eq!(lab.end_of(CLIENT, client), None);
        lab.pass(Duration::from_secs(2));
        assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
        assert!(lab.proxy.is_empty());
    }
}

#[test]
fn a_pair_that_says_nothing_is_given_up_and_one_that_does_is_not() {
    let (mut lab, story, client, server) = pair(Patience { idle: Duration::from_secs(60), ..Patience::default() });
    for _ in 0..4 {
        lab.pass(Duration::from_secs(40));
        lab.say(FIRST, server, b".");
        lab.pass(Duration::from_secs(10));
        lab.say(CLIENT, client, b".");
    }
    assert_eq!(story.borrow().last().unwrap(), "connected");
    lab.pass(Duration::from_secs(62));
    assert_eq!(story.borrow().last().unwrap(), "Idle");
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
}

#[test]
fn a_router_may_change_its_mind() {
    let (mut lab, story, client, server) = pair(Patience::default());
    lab.proxy.router_mut().review = Some(Review::Keep);
    lab.run();
    assert_eq!(lab.end_of(CLIENT, client), None);
    lab.proxy.router_mut().review = Some(Review::Reset);
    lab.run();
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
    assert_eq!(story.borrow().last().unwrap(), "Revoked");
}

/// As servers do that refuse an upload: they answer, close, and reset what still comes. The answer is there to be read all the same.
#[test]
fn what_a_backend_has_answered_is_read_though_it_resets_what_still_comes() {
    let (mut lab, story, client, server) = pair(Patience::default());
    lab.read(FIRST, server);
    let length = lab.say(FIRST, server, &[7; 10_000]);
    lab.at(FIRST, server, |stream| stream.close());
    lab.say(CLIENT, client, b"and more of what nobody reads");
    assert_eq!(story.borrow().last().unwrap(), "ByBackend");
    let mut read = 0;
    while read < length {
        let piece = lab.read(CLIENT, client).len();
        assert!(piece > 0, "{read} of {length}");
        read += piece;
    }
    assert!(lab.at(CLIENT, client, |stream| stream.at_end()));
    assert!(lab.proxy.is_empty());
}

#[test]
fn a_backend_that_is_revoked_before_it_has_answered_is_followed_by_another() {
    let (router, story) = Teller::to([backend(FIRST), backend(SECOND)]);
    let mut lab = Lab::new(router);
    lab.host(FIRST).is_cut_off = true;
    lab.connect();
    lab.proxy.router_mut().review = Some(Review::Reset);
    let cx = &mut Context::new(lab.now, &mut lab.hosts[0].1.stack, WorkerIndex::ONLY);
    lab.proxy.on_turn(cx);
    lab.proxy.router_mut().review = None;
    lab.run();
    lab.accepted_one(SECOND);
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "failed Revoked", "connected"]);
}

#[test]
fn what_the_stack_itself_has_reset_is_nobodys_fault() {
    let (mut lab, story, client, server) = pair(Patience::default());
    let now = lab.now;
    lab.host(PROXY).stack.abort_all(now);
    lab.run();
    assert_eq!(story.borrow().last().unwrap(), "Dropped");
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert_eq!(lab.end_of(FIRST, server), Some(CloseReason::ResetByPeer));
}

#[test]
fn many_pairs_are_reviewed_a_part_in_each_turn() {
    let (router, _) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::with(router, StackConfig::default());
    let clients: Vec<_> = (0..1_500).map(|_| lab.connect()).collect();
    lab.proxy.router_mut().review = Some(Review::Reset);
    let cx = &mut Context::new(lab.now, &mut lab.hosts[0].1.stack, WorkerIndex::ONLY);
    assert_eq!(lab.proxy.on_turn(cx), Some(lab.now), "there are more");
    assert!((400..=500).contains(&lab.proxy.len()), "{} are left", lab.proxy.len());
    lab.proxy.router_mut().review = None;
    let cx = &mut Context::new(lab.now, &mut lab.hosts[0].1.stack, WorkerIndex::ONLY);
    lab.proxy.on_turn(cx);
    assert_eq!(lab.proxy.len(), clients.len() - 1_024, "none of these is to go");
}

/// A proxy closes first in its clients' name, and would run out of ports.
#[test]
fn ports_that_wait_are_used_again() {
    let (router, story) = Teller::to([backend(FIRST)]);
    let few = StackConfig { ephemeral_ports: 50_000..=50_003, ..StackConfig::default() };
    let mut lab = Lab::with(router, few);
    for round in 0..12 {
        let client = lab.connect();
        let server = lab.accepted(FIRST)[round];
        lab.at(CLIENT, client, |stream| stream.shutdown_write());
        lab.at(FIRST, server, |stream| stream.close());
        assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::Finished));
        lab.pass(Duration::from_millis(500));
    }
    assert_eq!(story.borrow().iter().filter(|what| *what == "Finished").count(), 12);
}
