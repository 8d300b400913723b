//! What clients see of a server that is to end and lets them finish.

use super::*;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

impl Client {
    /// The worker is told to end.
    fn drain(&mut self) {
        self.services.draining(&mut context(self.now, &mut self.stack));
        self.exchange();
    }

    /// Whether the server has closed in order, and waits for nothing but the client's own FIN.
    fn is_let_go(&self) -> bool {
        self.ended && !self.reset && self.stack.has_said_all()
    }
}

#[test]
fn a_client_that_asks_for_nothing_more_is_told_at_once() {
    let mut client = Client::connect();
    client.send(HEAD);
    assert!(!client.ended && !client.stack.has_said_all());
    client.drain();
    assert!(client.is_let_go());
    assert_eq!(client.response().status, 200);
    client.finish();
    assert_eq!(client.stack.flow_counts().0, 0);
}

#[test]
fn a_body_under_way_is_sent_to_its_end_and_what_was_asked_for_behind_it_is_answered_and_the_last() {
    let mut client = Client::connect();
    client.appetite = 100_000;
    client.send("GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(HEAD);
    client.drain();
    assert!(!client.ended && client.received.len() < 1_000_000);
    client.appetite = usize::MAX;
    client.transmit(TcpFlags::ACK, b"");
    client.exchange();
    client.wait(SECOND);
    assert!(client.is_let_go());
    let responses = client.responses(&["GET"; 2]);
    assert_eq!((responses[0].body.len(), responses[0].field("connection")), (1_000_000, None));
    assert_eq!((responses[1].status, responses[1].field("connection")), (200, Some("close")));
}

#[test]
fn a_head_that_has_begun_gets_its_answer_which_is_the_last() {
    let mut client = Client::connect();
    let (first, second) = HEAD.split_at(9);
    client.send(first);
    client.drain();
    assert_eq!(client.wait(20 * SECOND), None);
    client.send(second);
    assert!(client.is_let_go());
    assert_eq!(client.response().field("connection"), Some("close"));
}

#[test]
fn a_body_that_nobody_needs_is_not_waited_for() {
    let mut client = Client::connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    client.drain();
    assert!(client.is_let_go());
    client.send([0; 1_000]);
    assert!(!client.reset, "what still comes is thrown away");
}

#[test]
fn who_has_just_come_has_a_second_to_ask() {
    let mut client = Client::connect();
    client.drain();
    assert_eq!(client.wait(SECOND / 2), None);
    client.send(HEAD);
    assert!(client.is_let_go());
    assert_eq!(client.response().field("connection"), Some("close"));

    let mut client = Client::connect();
    client.drain();
    assert_eq!(client.wait(SECOND / 2), None);
    client.wait(SECOND);
    assert!(client.is_let_go());
}

#[test]
fn all_are_told_however_many_there_are_and_those_who_come_meanwhile() {
    let mut client = Client::connect();
    for _ in 0..600 {
        client.another();
        client.send(HEAD);
    }
    client.services.draining(&mut context(client.now, &mut client.stack));
    client.services.on_turn(&mut context(client.now, &mut client.stack));
    let mut buffer = [0; 2_048];
    while let Some(length) = client.stack.poll_transmit(client.now, crate::wire::InterfaceId::FIRST, &mut buffer) {
        client.receive(&buffer[..length]);
    }
    assert_eq!(client.fins, 255, "not all in one turn, and the first one has not asked yet");
    client.another();
    client.send(HEAD);
    client.exchange();
    assert_eq!(client.fins, 601, "in its turn");
    client.finish();
    client.another(); // in the place of one that is through
    client.send(HEAD);
    assert_eq!((client.fins, client.response().field("connection")), (602, Some("close")), "at once");
    assert!(!client.reset);
}
