//! One budget for all, whatever strangers send.

use super::*;
use crate::config::{TcpConfig, Thrift};
use std::ops::Range;

const BUDGET: usize = 8 << 20;
const MILLISECOND: Duration = Duration::from_millis(1);
const SCALE: u8 = 7;

/// A server with a budget, whose application answers whatever it hears with as much as it may write.
struct Crowd {
    bench: Bench,
    /// Whether it does, or does not even read.
    answers: bool,
    /// Clients that take everything in, and ask for more in each turn.
    readers: Vec<Client>,
    /// The most memory that was in use.
    most: usize,
}

/// A client's numbers: the next octet it sends, and the next it expects.
#[derive(Clone, Copy)]
struct Client {
    port: u16,
    seq: SeqNumber,
    ack: SeqNumber,
}

impl Crowd {
    fn new(tcp: TcpConfig) -> Self {
        let config = StackConfig { tcp, memory: Some(BUDGET), silence: None, ..StackConfig::default() };
        Self { bench: Bench::with(config), answers: true, readers: Vec::new(), most: 0 }
    }

    fn connect(&mut self, port: u16) -> Client {
        self.bench.port = port;
        let (mss, window_scale) = (Some(1_460), Some(SCALE));
        self.bench.send_syn(TcpOptions { mss, window_scale, sack_permitted: true, ..TcpOptions::default() });
        let answer = self.turn().into_iter().find(|sent| sent.has(SYN | ACK)).expect("everybody is answered");
        let client = Client { port, seq: IRS.advance(1), ack: answer.header.seq.advance(1) };
        self.say(client, 1_000, 0, b"");
        client
    }

    /// A client sends data, so far behind what it should send next.
    fn say(&mut self, client: Client, window: u16, offset: u32, data: &[u8]) {
        self.bench.port = client.port;
        let header = TcpHeader { window, ..self.bench.header(client.seq.advance(offset), client.ack, ACK) };
        self.bench.send(header, data);
    }

    /// A turn of the worker, of the application, and of the readers.
    fn turn(&mut self) -> Vec<Sent> {
        self.bench.stack.handle_timeout(self.bench.now);
        while let Some(event) = self.bench.stack.poll_event() {
            let (Event::Ready(id) | Event::Accepted(id, _)) = event else { continue };
            let Some(mut stream) = self.bench.stack.stream(self.bench.now, id) else { continue };
            let heard = stream.readable_len();
            if self.answers {
                stream.consume(heard);
                while heard > 0 && stream.write(&[7; 65_536]) > 0 {}
            }
        }
        let mut sent = Vec::new();
        for frame in self.bench.frames() {
            let parsed = wire::parse(&frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            if let Packet::Tcp(ip, segment) = parsed.packet {
                let tuple = FourTuple::of_received(&ip, &segment.header).reversed();
                sent.push(Sent { link: parsed.link, tuple, header: segment.header, data: segment.payload.to_vec() });
            }
        }
        self.most = self.most.max(self.bench.stack.memory());
        self.bench.now += MILLISECOND;
        for place in 0..self.readers.len() {
            let mut reader = self.readers[place];
            for sent in sent.iter().filter(|sent| sent.tuple.remote.port == reader.port) {
                reader.ack = reader.ack.latest(sent.header.seq.advance(sent.data.len() as u32));
                reader.seq = reader.seq.latest(sent.header.ack);
            }
            self.say(reader, 1_000, 0, b"x"); // again, where it was refused
            self.readers[place] = reader;
        }
        sent
    }

    /// An ordinary client asks, and is answered in the same turn.
    #[track_caller]
    fn serves(&mut self, port: u16) -> Client {
        let mut client = self.connect(port);
        self.say(client, 1_000, 0, b"GET");
        client.seq = client.seq.advance(3);
        let mine = self.turn().into_iter().find(|sent| sent.tuple.remote.port == port && !sent.data.is_empty());
        let answer = mine.expect("an ordinary client is served");
        client.ack = answer.header.seq.advance(answer.data.len() as u32);
        client
    }

    /// So many clients come, and ask, in one turn.
    fn ask_together(&mut self, ports: Range<u16>) {
        let (mss, window_scale) = (Some(1_460), Some(SCALE));
        for port in ports {
            self.bench.port = port;
            self.bench.send_syn(TcpOptions { mss, window_scale, sack_permitted: true, ..TcpOptions::default() });
        }
        for answer in self.turn().into_iter().filter(|sent| sent.has(SYN | ACK)) {
            let (port, seq, ack) = (answer.tuple.remote.port, IRS.advance(1), answer.header.seq.advance(1));
            self.say(Client { port, seq, ack }, 1, 0, b"GET");
        }
        self.turn();
    }

    #[track_caller]
    fn check(&self) {
        let peak = self.bench.stack.stats().memory_peak;
        assert!(peak as usize <= BUDGET + 128 * 1_024, "{peak} octets at most, at whatever moment");
        assert_eq!(self.bench.stack.memory(), self.bench.stack.connections.audit(), "each octet is accounted for");
        assert!(peak as usize >= self.most);
    }

    /// All go; what remains is for those who come next.
    #[track_caller]
    fn ends(mut self) {
        self.check();
        self.bench.stack.abort_all(self.bench.now);
        self.turn();
        self.turn();
        assert_eq!(self.bench.stack.memory(), self.bench.stack.connections.audit());
        assert_eq!(self.bench.stack.config.tcp.thrift, Thrift::None, "{}", self.bench.stack.memory());
    }
}

#[test]
fn a_request_and_a_tiny_window_cost_no_more_than_the_budget() {
    let mut crowd = Crowd::new(TcpConfig::default());
    for port in 1..=3_000 {
        let client = crowd.connect(port);
        crowd.say(client, 1, 0, b"GET");
        crowd.turn();
        if port % 100 == 0 {
            crowd.serves(40_000 + port);
        }
    }
    assert!(crowd.bench.stack.stats().connections_slow > 100);
    crowd.ends();
}

#[test]
fn however_many_come_in_one_turn_the_budget_holds_at_every_moment() {
    let mut crowd = Crowd::new(TcpConfig::default());
    for batch in 0..60 {
        crowd.ask_together(1 + batch * 256..1 + (batch + 1) * 256);
        if batch % 10 == 9 {
            crowd.serves(40_000 + batch);
        }
    }
    crowd.check();
    assert!(crowd.bench.stack.stats().connections_slow > 10_000);
    crowd.ends();
}

#[test]
fn an_octet_in_every_page_of_the_window_costs_no_more_than_the_budget() {
    let mut crowd = Crowd::new(TcpConfig::default());
    for port in 1..=3_000 {
        let client = crowd.connect(port);
        for page in 1..16 {
            crowd.say(client, 1_000, page * 4_096 - 1, b"x");
        }
        crowd.turn();
        if port % 100 == 0 {
            crowd.serves(40_000 + port);
        }
    }
    // What came early goes first: nobody has to.
    assert!(crowd.bench.drops(DropReason::MemoryPressure) > 0);
    assert_eq!(crowd.bench.stack.stats().connections_slow, 0);
    crowd.ends();
}

#[test]
fn acknowledgments_of_what_may_not_have_come_cost_no_more_than_the_budget() {
    let mut crowd = Crowd::new(TcpConfig::default());
    for port in 1..=100 {
        let mut client = crowd.connect(port);
        crowd.say(client, u16::MAX, 0, b"GET");
        client.seq = client.seq.advance(3);
        for _ in 0..12 {
            for sent in crowd.turn() {
                if sent.tuple.remote.port == port {
                    client.ack = client.ack.latest(sent.header.seq.advance(sent.data.len() as u32));
                }
            }
            crowd.say(client, u16::MAX, 0, b"");
            // The application writes on: it is asked to, and here by a word more.
            crowd.say(client, u16::MAX, 0, b"x");
            client.seq = client.seq.advance(1);
        }
        if port % 10 == 0 {
            crowd.serves(40_000 + port);
        }
    }
    assert!(crowd.bench.stack.stats().memory_peak as usize > BUDGET / 2, "it was asked for");
    crowd.ends();
}

#[test]
fn pages_of_a_window_that_has_grown_cost_no_more_than_the_budget() {
    // As if it had grown already.
    let mut crowd = Crowd::new(TcpConfig { initial_window: 3 << 20, ..TcpConfig::default() });
    for port in 1..=60 {
        let mut client = crowd.connect(port);
        crowd.say(client, 1_000, 0, b"x");
        client.seq = client.seq.advance(1);
        crowd.turn();
        for page in 1..700 {
            crowd.say(client, 1_000, page * 4_096, b"x");
        }
        crowd.turn();
        if port % 10 == 0 {
            crowd.serves(40_000 + port);
        }
    }
    crowd.ends();
}

#[test]
fn what_nobody_reads_costs_no_more_than_the_budget() {
    let mut crowd = Crowd { answers: false, ..Crowd::new(TcpConfig::default()) };
    for port in 1..=500 {
        let mut client = crowd.connect(port);
        for _ in 0..40 {
            crowd.say(client, 1_000, 0, &[1; 1_460]);
            // Whoever is not acknowledged sends it again: here that is all a client knows.
            let acks: Vec<_> = crowd.turn().into_iter().filter(|sent| sent.tuple.remote.port == port).collect();
            client.seq = acks.iter().map(|sent| sent.header.ack).fold(client.seq, SeqNumber::latest);
        }
    }
    assert!(crowd.bench.stack.stats().connections_slow > 0);
    crowd.ends();
}

#[test]
fn where_nothing_may_grow_data_are_refused_until_there_is_room_and_who_has_nothing_gets_a_little() {
    let mut crowd = Crowd::new(TcpConfig::default());
    let mut client = crowd.connect(1);
    // What is next in order is taken while nothing is unread, then as much as there is room for, and then no more.
    for (length, taken) in [(1_460, 1_460), (500, 500), (1_460, 0), (88, 88), (1, 0)] {
        crowd.bench.stack.config.tcp.thrift = Thrift::Strict;
        crowd.say(client, 1_000, 0, &vec![1; length]);
        let answer = crowd.bench.sent_one().header.ack;
        assert_eq!(answer.since(client.seq), taken, "{length}");
        client.seq = answer;
    }
    assert_eq!(crowd.bench.drops(DropReason::MemoryPressure), 2);
    let Some(Event::Ready(id)) = crowd.bench.events().pop() else { panic!("there is something to read") };
    // What comes early is refused where it needs room.
    crowd.bench.stack.config.tcp.thrift = Thrift::Strict;
    crowd.say(client, 1_000, 4_000, b"early");
    assert_eq!(crowd.bench.drops(DropReason::MemoryPressure), 3);
    let (read, written) = crowd.bench.with_stream(id, |stream| {
        let read = stream.read(&mut [0; 9_000]);
        (read, stream.write(&[2; 9_000]))
    });
    assert_eq!((read, written), (2_048, 2_048));
    crowd.bench.stack.config.tcp.thrift = Thrift::Strict;
    crowd.bench.sent();
    crowd.bench.stack.config.tcp.thrift = Thrift::Strict;
    crowd.say(client, 1_000, 0, &[1; 1_460]);
    client.seq = client.seq.advance(1_460);
    let last = crowd.bench.sent().pop().expect("it is acknowledged");
    assert_eq!(last.header.ack, client.seq, "there is room again");
    // It is told of room when all is acknowledged.
    crowd.bench.events();
    crowd.bench.stack.config.tcp.thrift = Thrift::Strict;
    client.ack = client.ack.advance(2_048);
    crowd.say(client, 1_000, 0, b"");
    assert_eq!(crowd.bench.events(), [Event::Ready(id)]);
}

#[test]
fn where_memory_is_scarce_nobody_writes_ahead() {
    let mut crowd = Crowd::new(TcpConfig::default());
    crowd.connect(1);
    let id = crowd.bench.stack.connection_at(0).expect("it is open");
    crowd.bench.stack.config.tcp.thrift = Thrift::Sparing;
    assert_eq!(crowd.bench.with_stream(id, |stream| stream.write(&[2; 200_000])), 4_096);
    crowd.bench.stack.config.tcp.thrift = Thrift::None;
    assert_eq!(crowd.bench.with_stream(id, |stream| stream.write(&[2; 200_000])), 128 * 1_024 - 4_096);
}

#[test]
fn who_takes_what_is_sent_stays_and_who_does_not_goes() {
    let mut crowd = Crowd::new(TcpConfig::default());
    for port in 50_001..=50_020 {
        let reader = crowd.serves(port);
        crowd.readers.push(reader);
    }
    for port in 1..=2_000 {
        let client = crowd.connect(port);
        crowd.say(client, 1, 0, b"GET");
        crowd.turn();
    }
    assert!(crowd.bench.stack.stats().connections_slow > 100);
    for reader in std::mem::take(&mut crowd.readers) {
        crowd.bench.port = reader.port;
        assert_eq!(crowd.bench.state(), State::Established);
    }
    crowd.ends();
}

#[test]
fn what_an_application_keeps_counts() {
    let mut crowd = Crowd::new(TcpConfig::default());
    let (id, _) = crowd.bench.connect();
    let before = crowd.bench.stack.memory();
    crowd.bench.with_stream(id, |stream| stream.keep(1 << 20));
    assert_eq!(crowd.bench.stack.memory(), before.max(crowd.bench.stack.connections.audit()));
    assert!(crowd.bench.stack.memory() >= 1 << 20);
    assert_eq!(crowd.bench.stack.connections_asleep(), 0, "it does not sleep with that");
    crowd.bench.with_stream(id, |stream| stream.keep(9 << 20));
    crowd.turn();
    assert_eq!((crowd.bench.state(), crowd.bench.stack.memory()), (State::Closed, 0));
}
