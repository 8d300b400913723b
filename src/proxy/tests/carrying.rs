//! What goes through.

use super::*;

#[test]
fn octets_go_both_ways_and_so_does_the_end_of_them() {
    let (router, story) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::new(router);
    let client = lab.connect();
    let server = lab.accepted_one(FIRST);
    lab.say(CLIENT, client, b"question");
    assert_eq!(lab.read(FIRST, server), b"question");
    lab.at(CLIENT, client, |stream| stream.shutdown_write());
    assert!(lab.at(FIRST, server, |stream| stream.at_end()), "the end is passed on");
    // A half that is closed is no reason to close the other one.
    lab.say(FIRST, server, b"answer");
    assert_eq!(lab.read(CLIENT, client), b"answer");
    lab.at(FIRST, server, |stream| stream.close());
    assert_eq!(lab.end_of(CLIENT, client), Some(CloseReason::Finished));
    assert_eq!(*story.borrow(), ["open 198.18.0.1:80", "connected", "Finished"]);
    assert!(lab.proxy.is_empty());
}

#[test]
fn a_server_may_speak_first() {
    let (router, _) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::new(router);
    let client = lab.connect();
    let server = lab.accepted_one(FIRST);
    lab.say(FIRST, server, b"220 welcome");
    assert_eq!(lab.read(CLIENT, client), b"220 welcome");
}

#[test]
fn families_may_differ() {
    let (router, _) = Teller::to([Target::at("[2001:2::11]:80".parse().unwrap())]);
    let mut lab = Lab::new(router);
    let client = lab.connect();
    let server = lab.accepted_one(FIRST);
    lab.say(CLIENT, client, b"from IPv4");
    assert_eq!(lab.read(FIRST, server), b"from IPv4");
    let (router, _) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::new(router);
    let client = lab.connect_to("[2001:2::1]:80".parse().unwrap());
    let server = lab.accepted_one(FIRST);
    lab.say(CLIENT, client, b"from IPv6");
    assert_eq!(lab.read(FIRST, server), b"from IPv6");
}

/// Sends as much as goes in, ten thousand octets at a time; how much that was.
fn stuff<R: Router>(lab: &mut Lab<R>, host: u8, id: ConnectionId, from: u8) -> usize {
    let mut stuffed = 0;
    loop {
        let piece: Vec<u8> = (0..10_000).map(|place| ((stuffed + place) % 251) as u8 ^ from).collect();
        let written = lab.say(host, id, &piece);
        stuffed += written;
        if written < piece.len() {
            return stuffed;
        }
    }
}

/// A window that is shut shuts the one behind it, so what is kept in between is bounded; and nothing is lost when it opens.
#[test]
fn who_reads_nothing_holds_up_whoever_writes() {
    for (writer, reader) in [(CLIENT, FIRST), (FIRST, CLIENT)] {
        let (router, _) = Teller::to([backend(FIRST)]);
        let mut lab = Lab::new(router);
        let client = lab.connect();
        let server = lab.accepted_one(FIRST);
        let (from, to) = if writer == CLIENT { (client, server) } else { (server, client) };
        let stuffed = stuff(&mut lab, writer, from, 0x55);
        assert!(stuffed < 64 << 20, "{stuffed} octets went somewhere");
        // A minute of a window that is shut moves nothing, and ends nothing.
        lab.pass(Duration::from_secs(60));
        lab.at(writer, from, |stream| stream.shutdown_write());
        let mut read = Vec::new();
        loop {
            let piece = lab.read(reader, to);
            if piece.is_empty() {
                if lab.at(reader, to, |stream| stream.at_end()) {
                    break;
                }
                lab.pass(Duration::from_millis(100));
            }
            read.extend(piece);
        }
        assert_eq!(read.len(), stuffed);
        let is_right = |(place, &octet): (usize, &u8)| octet == (place % 251) as u8 ^ 0x55;
        assert!(read.iter().enumerate().all(is_right));
    }
}

#[test]
fn urgent_data_are_data() {
    let (router, _) = Teller::to([backend(FIRST)]);
    let mut lab = Lab::new(router);
    let client = lab.connect();
    let server = lab.accepted_one(FIRST);
    lab.at(CLIENT, client, |stream| stream.write_urgent(b"hurry"));
    assert_eq!(lab.read(FIRST, server), b"hurry");
}

#[test]
fn what_a_backend_is_told_first_comes_first_and_what_is_skipped_never() {
    let target = Target { preface: b"from 198.18.0.2\n".to_vec(), skip: 5, ..backend(FIRST) };
    let (router, _) = Teller::to([target]);
    let mut lab = Lab::new(router);
    let client = lab.connect();
    lab.say(CLIENT, client, b"12345");
    let server = lab.accepted_one(FIRST);
    assert_eq!(lab.read(FIRST, server), b"from 198.18.0.2\n12345", "it came when nothing was there to skip");

    let target = Target { preface: b"front ".to_vec(), skip: 5, ..backend(FIRST) };
    let mut lab = Lab::new(Patiently { target, wanted: 5 });
    let client = lab.connect();
    lab.say(CLIENT, client, b"12345678");
    let server = lab.accepted_one(FIRST);
    assert_eq!(lab.read(FIRST, server), b"front 678");
}

/// Waits for some octets.
struct Patiently {
    target: Target,
    wanted: usize,
}

impl Router for Patiently {
    type Session = ();

    fn open(&mut self, _: &Ends) {}

    fn look(&mut self, _: &mut (), said: Said<'_>) -> Decision {
        if said.len() < self.wanted {
            Decision::Wait { octets: self.wanted }
        } else {
            Decision::To(self.target.clone())
        }
    }
}
