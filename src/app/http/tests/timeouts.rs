//! Clients that take their time.

use super::*;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

fn seconds(span: Option<Duration>) -> u64 {
    span.expect("something happens").as_secs()
}

#[test]
fn a_head_that_does_not_end_is_answered_with_408_however_many_octets_come() {
    let mut client = Client::connect();
    client.wait(10 * SECOND);
    client.send("G");
    // An octet every second is no reason to wait longer.
    for octet in HEAD.as_bytes()[1..].iter().take(25) {
        assert_eq!(client.wait(SECOND), None);
        client.send([*octet]);
    }
    assert_eq!(seconds(client.wait(60 * SECOND)), 5);
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (408, Some("close")));
    assert!(client.ended && !client.reset);
}

#[test]
fn a_long_head_in_pieces_is_not_waited_for_longer() {
    let mut client = Client::connect();
    client.send(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(3_000)));
    client.wait(20 * SECOND);
    client.send("x".repeat(3_000));
    assert_eq!(seconds(client.wait(60 * SECOND)), 10);
    assert_eq!(client.response().status, 408);
}

#[test]
fn each_request_has_a_time_of_its_own() {
    let mut client = Client::connect();
    for _ in 0..10 {
        let (first, second) = HEAD.split_at(9);
        client.send(first);
        assert_eq!(client.wait(25 * SECOND), None);
        // The end of one and the beginning of the next in a segment.
        client.send(format!("{second}{first}"));
        assert_eq!(client.wait(25 * SECOND), None);
        client.send(second);
        assert_eq!(client.wait(50 * SECOND), None);
    }
    assert_eq!(client.responses(&["GET"; 20]).len(), 20);
    assert!(!client.ended);
}

#[test]
fn a_pause_ends_the_connection_in_order_and_without_a_word() {
    let mut client = Client::connect();
    client.send(HEAD);
    assert_eq!(seconds(client.wait(90 * SECOND)), 60);
    assert!(client.ended && !client.reset);
    assert_eq!(client.response().status, 200);
    // Empty lines are no beginning.
    let mut client = Client::connect();
    client.send(HEAD);
    for _ in 0..5 {
        client.wait(10 * SECOND);
        client.send("\r\n");
    }
    assert_eq!(seconds(client.wait(90 * SECOND)), 10);
}

#[test]
fn who_never_says_anything_is_reset() {
    let config = StackConfig { silence: None, ..StackConfig::default() };
    let mut client = Client::connect_to(config);
    assert_eq!(seconds(client.wait(90 * SECOND)), 60);
    assert!(client.reset && client.received.is_empty());
}

#[test]
fn a_body_that_does_not_come_ends_the_connection() {
    let mut client = Client::connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_eq!(client.response().status, 200);
    for _ in 0..11 {
        assert_eq!(client.wait(10 * SECOND), None);
        client.send("x");
    }
    assert_eq!(seconds(client.wait(60 * SECOND)), 10);
    assert!(client.ended && !client.reset);
    assert_eq!(client.responses(&["GET"]).len(), 1, "408 would be the answer to a request that never came");
}

#[test]
fn what_a_client_reads_slowly_is_not_a_matter_of_these_times() {
    let mut client = Client::connect();
    client.appetite = 1;
    client.send("GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.wait(100 * SECOND);
    assert!(!client.ended && !client.reset);
}

#[test]
fn times_may_be_chosen_or_done_without() {
    let timeouts = Timeouts { head: 2 * SECOND, body: SECOND, pause: Duration::MAX };
    let mut client = Client::with(StackConfig { silence: None, ..StackConfig::default() }, Http::new(timeouts));
    assert_eq!(client.wait(1_000_000 * SECOND), None);
    client.send("G");
    assert_eq!(seconds(client.wait(10 * SECOND)), 2);
}

/// Thousands that never finish their requests, and one that does. Each ends in time, and he does not wait.
#[test]
fn a_slow_loris_takes_no_more_than_its_time() {
    const LORISES: usize = 3_000;
    let mut crowd = Crowd::new(LORISES);
    for _ in 0..3 {
        for number in 0..LORISES {
            crowd.send(number, b"X");
        }
        assert!(crowd.is_served(), "somebody else is served meanwhile");
        crowd.pass(9 * SECOND);
    }
    assert_eq!(crowd.stack.flow_counts().0 as usize, LORISES + 3);
    crowd.pass(4 * SECOND);
    assert_eq!(crowd.answers, LORISES, "each of them has its 408");
    crowd.pass(LAST_WORDS);
    assert_eq!(crowd.stack.flow_counts().0, 3, "and is gone, though it never closes, and acknowledges nothing");
    crowd.pass(60 * SECOND);
    crowd.pass(LAST_WORDS);
    assert_eq!(crowd.stack.flow_counts().0, 0);
}

/// Many clients that shook hands, and never acknowledge anything else.
struct Crowd {
    stack: Stack,
    services: Services<Http>,
    now: Instant,
    /// What each sends next, and what it has seen of us.
    numbers: Vec<(SeqNumber, SeqNumber)>,
    /// Responses of status 408.
    answers: usize,
}

impl Crowd {
    fn new(count: usize) -> Self {
        let local = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Own };
        let mut stack = Stack::new(StackConfig::default(), OURS, vec![local], Secrets::from_seed(1));
        stack.listen(None, 80).unwrap();
        let services = Services::new(Http::default());
        let mut crowd = Self { stack, services, now: Instant::from_millis(1_000), numbers: Vec::new(), answers: 0 };
        for number in 0..count {
            crowd.shake_hands(number);
        }
        crowd
    }

    fn shake_hands(&mut self, number: usize) {
        self.numbers.push((SeqNumber::new(7), SeqNumber::default()));
        self.transmit(number, TcpFlags::SYN, b"");
        self.turn();
        self.transmit(number, TcpFlags::ACK, b"");
        self.turn();
    }

    fn is_served(&mut self) -> bool {
        let number = self.numbers.len();
        self.shake_hands(number);
        self.transmit(number, TcpFlags::ACK, HEAD.as_bytes());
        self.turn().iter().any(|(port, data)| *port == number as u16 + 1 && data.starts_with(b"HTTP/1.1 200"))
    }

    fn send(&mut self, number: usize, data: &[u8]) {
        self.transmit(number, TcpFlags::ACK, data);
        self.turn();
    }

    fn transmit(&mut self, number: usize, flags: TcpFlags, payload: &[u8]) {
        let link = LinkHeader { destination: OURS, source: THEIRS, ..LinkHeader::default() };
        let ip = IpHeader::new(IpAddr::from([198, 18, 0, 2]), IpAddr::from([198, 18, 0, 1]), Protocol::Tcp);
        let (seq, ack) = self.numbers[number];
        let (source_port, window, options) = (number as u16 + 1, 65_535, TcpOptions::default());
        let tcp = TcpHeader { source_port, destination_port: 80, seq, ack, flags, window, urgent: 0, options };
        let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, &tcp) + payload.len()];
        wire::write_tcp(&link, &ip, &tcp, (payload, &[]), &mut frame);
        let length = payload.len() as u32 + u32::from(flags.contains(TcpFlags::SYN));
        self.numbers[number].0 = seq.advance(length);
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// A turn of the worker; what was sent, by port.
    fn turn(&mut self) -> Vec<(u16, Vec<u8>)> {
        self.stack.handle_timeout(self.now);
        while let Some(event) = self.stack.poll_event() {
            self.services.event(event, &mut context(self.now, &mut self.stack));
        }
        self.services.on_turn(&mut context(self.now, &mut self.stack));
        let (mut buffer, mut sent) = ([0; 2_048], Vec::new());
        while let Some(length) = self.stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
            let Ok(ParsedFrame { packet: Packet::Tcp(_, segment), .. }) =
                wire::parse(&buffer[..length], ChecksumPolicy::Verify)
            else {
                continue; // the way to a peer is asked for
            };
            let port = segment.header.destination_port;
            if segment.has(TcpFlags::SYN) {
                self.numbers[usize::from(port) - 1].1 = segment.header.seq.advance(1);
            }
            let is_first = segment.header.seq == self.numbers[usize::from(port) - 1].1;
            self.answers += usize::from(is_first && segment.payload.starts_with(b"HTTP/1.1 408"));
            if self.answers > 0 && is_first {
                self.numbers[usize::from(port) - 1].1 = SeqNumber::default(); // what is sent again counts once
            }
            sent.push((port, segment.payload.to_vec()));
        }
        sent
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            let due = self.services.on_turn(&mut context(self.now, &mut self.stack));
            let due = [due, self.stack.poll_timeout()].into_iter().flatten().min().unwrap_or(Instant::NEVER);
            self.now = due.max(self.now + Duration::from_millis(1)).min(end);
            self.turn();
        }
    }
}
