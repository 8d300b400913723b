//! Where connections lead, and whom else is asked.

use super::*;

/// By a word and a line feed: to the first, to the second, or nowhere. It counts how often it is asked.
#[derive(Default)]
struct ByLine {
    asked: Rc<RefCell<Vec<usize>>>,
}

impl Router for ByLine {
    type Session = ();

    fn open(&mut self, _: &Ends) {}

    fn look(&mut self, _: &mut (), said: Said<'_>) -> Decision {
        self.asked.borrow_mut().push(said.len());
        let text = said.pieces.concat();
        match text.iter().position(|&octet| octet == b'\n') {
            None => Decision::Wait { octets: 6 },
            Some(at) => match &text[..at] {
                b"first" => Decision::To(backend(FIRST)),
                b"second" => Decision::To(backend(SECOND)),
                b"bye" => Decision::Close,
                b"panic" => panic!("as it was told"),
                _ => Decision::Reset,
            },
        }
    }
}

#[test]
fn a_router_sees_what_is_said_first_and_the_backend_does_as_well() {
    let router = ByLine::default();
    let asked = router.asked.clone();
    let mut lab = Lab::new(router);
    let client = lab.connect();
    for octet in b"second\nand more" {
        lab.say(CLIENT, client, &[*octet]);
    }
    let server = lab.accepted_one(SECOND);
    assert_eq!(lab.read(SECOND, server), b"second\nand more");
    assert_eq!(lab.accepted(FIRST), []);
    assert_eq!(*asked.borrow(), [0, 6, 7], "not for each octet");
}

#[test]
fn who_is_closed_or_reset_never_sees_a_backend() {
    for (words, end) in [(&b"bye\n bye"[..], CloseReason::Finished), (b"what?\n", CloseReason::ResetByPeer)] {
        let mut lab = Lab::new(ByLine::default());
        let client = lab.connect();
        lab.say(CLIENT, client, words);
        if end == CloseReason::Finished {
            assert!(lab.at(CLIENT, client, |stream| stream.at_end()));
            lab.at(CLIENT, client, |stream| stream.close());
            lab.pass(Duration::from_secs(1));
        }
        assert_eq!(lab.end_of(CLIENT, client), Some(end));
        assert!(lab.proxy.is_empty() && lab.accepted(FIRST).is_empty() && lab.accepted(SECOND).is_empty());
    }
}

#[test]
fn who_ends_before_it_has_said_enough_is_reset() {
    let mut lab = Lab::new(ByLine::default());
    let client = lab.connect();
    lab.say(CLIENT, client, b"fir");
    lab.at(CLIENT, client, |stream| stream.shutdown_write());
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    assert!(lab.proxy.is_empty());
}

#[test]
fn a_panic_of_the_router_resets_one_client_and_no_other() {
    let mut lab = Lab::new(ByLine::default());
    let (one, other) = (lab.connect(), lab.connect());
    lab.say(CLIENT, one, b"first\n");
    lab.say(CLIENT, other, b"panic\n");
    assert_eq!(lab.end_of(CLIENT, other), Some(CloseReason::ResetByPeer));
    let server = lab.accepted_one(FIRST);
    lab.say(CLIENT, one, b"still here");
    assert_eq!(lab.read(FIRST, server), b"first\nstill here");
}

#[test]
fn a_backend_that_refuses_or_is_silent_is_followed_by_another() {
    for is_silent in [false, true] {
        let (mut router, story) = Teller::to([backend(FIRST), backend(SECOND)]);
        router.patience.connect = Duration::from_secs(2); // the stack itself gives up later
        let mut lab = Lab::new(router);
        match is_silent {
            true => lab.host(FIRST).is_cut_off = true,
            false => assert!(lab.host(FIRST).stack.unlisten_at(None, PORT)),
        }
        let client = lab.connect();
        lab.say(CLIENT, client, b"anybody?");
        lab.pass(Duration::from_secs(4));
        let server = lab.accepted_one(SECOND);
        assert_eq!(lab.read(SECOND, server), b"anybody?");
        let why = if is_silent { "failed TimedOut" } else { "failed Ended(Refused)" };
        assert_eq!(*story.borrow(), ["open 198.18.0.1:80", why, "connected"]);
    }
}

#[test]
fn where_no_backend_is_left_the_client_is_reset() {
    let (router, story) = Teller::to([backend(FIRST), backend(SECOND)]);
    let mut lab = Lab::new(router);
    for host in [FIRST, SECOND] {
        assert!(lab.host(host).stack.unlisten_at(None, PORT));
    }
    let client = lab.connect();
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::ResetByPeer));
    let refused = "failed Ended(Refused)";
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", refused, refused, "Unreached"]);
}

#[test]
fn a_target_that_cannot_be_is_a_failure_like_any_other() {
    let nowhere = Target::at("224.0.0.1:80".parse().unwrap());
    let (router, story) = Teller::to([nowhere, backend(SECOND)]);
    let mut lab = Lab::new(router);
    lab.connect();
    lab.accepted_one(SECOND);
    assert_eq!(story.borrow()[1], "failed NotBegun(NotUnicast(224.0.0.1))");
}
