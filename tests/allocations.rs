//! What a stack does with a segment, a balancer with a packet, or a reader with what is said first on a connection, takes no
//! memory from the allocator, once it has what it needs.

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use xskip_core::{
    config::{StackConfig, TcpConfig},
    lb::{Backend, Balancer, Flow, Kind, Limits, Maglev, RowKey, Service, Transport},
    preface::{
        Hello, client_hello,
        proxy_protocol::{self, Header, MAX_HEADER, Version},
    },
    rng::SipKey,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    time::Instant,
    wire::{Endpoint, FourTuple, InterfaceId, MacAddress, SeqNumber},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PORT: u16 = 7;
const SERVER: Endpoint = Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), port: PORT };
const BATCH: usize = 64;

/// Frames on their way from one stack to the other.
struct Batch {
    buffers: Vec<Vec<u8>>,
    lengths: Vec<usize>,
}

impl Batch {
    fn new() -> Self {
        Self { buffers: vec![vec![0; 2_048]; BATCH], lengths: Vec::with_capacity(BATCH) }
    }

    fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers.iter().zip(&self.lengths).map(|(buffer, length)| &buffer[..*length])
    }

    fn fill(&mut self, now: Instant, stack: &mut Stack) {
        self.lengths.clear();
        for buffer in &mut self.buffers {
            let Some(length) = stack.poll_transmit(now, InterfaceId::FIRST, buffer) else { return };
            self.lengths.push(length);
        }
    }
}

/// A client, a server that sends everything back, and a wire between them.
struct Pair {
    stacks: [Stack; 2],
    batches: [Batch; 2],
    now: Instant,
    opened: Vec<ConnectionId>,
    /// Octets that have come back to the client.
    echoed: usize,
}

impl Pair {
    fn open(connections: usize, max_awake: u32) -> Self {
        let stack = |host: u8| {
            let tcp = TcpConfig { receive_buffer: 65_536, send_buffer: 65_536, ..TcpConfig::default() };
            let config = StackConfig { tcp, max_awake, ..StackConfig::default() };
            let cidr = format!("198.18.0.{host}/24").parse().unwrap();
            let addresses = vec![LocalAddress { cidr, ownership: Ownership::Own }];
            Stack::new(config, MacAddress([2, 0, 0, 0, 0, host]), addresses, Secrets::from_seed(host.into()))
        };
        let mut stacks = [stack(2), stack(1)];
        stacks[1].listen(None, PORT).unwrap();
        let now = Instant::from_millis(1_000);
        let opened = Vec::with_capacity(connections);
        let mut pair = Self { stacks, batches: [Batch::new(), Batch::new()], now, opened, echoed: 0 };
        for _ in 0..connections {
            pair.stacks[0].connect(pair.now, SERVER, None).unwrap();
            pair.settle();
        }
        assert_eq!(pair.opened.len(), connections);
        pair
    }

    /// Lets both ends work until neither has anything to do at once.
    fn settle(&mut self) {
        loop {
            self.now += Duration::from_micros(10);
            for end in 0..2 {
                self.stacks[end].handle_frames(self.now, InterfaceId::FIRST, self.batches[1 - end].frames());
                self.stacks[end].handle_timeout(self.now);
                while let Some(event) = self.stacks[end].poll_event() {
                    self.handle(end, event);
                }
                self.batches[end].fill(self.now, &mut self.stacks[end]);
            }
            if self.batches.iter().all(|batch| batch.lengths.is_empty()) {
                return;
            }
        }
    }

    fn handle(&mut self, end: usize, event: Event) {
        match event {
            Event::Accepted(id, _) | Event::Connected(id) if end == 0 => self.opened.push(id),
            Event::Ready(id) => {
                let Some(mut stream) = self.stacks[end].stream(self.now, id) else { return };
                if end == 1 {
                    stream.echo();
                    if stream.at_end() {
                        stream.close();
                    }
                } else {
                    self.echoed += stream.readable_len();
                    while !stream.readable().is_empty() {
                        stream.consume(stream.readable().len());
                    }
                }
            }
            _ => {}
        }
    }

    /// Every connection sends so much, in turn, and gets it back.
    fn lap(&mut self, octets: usize) {
        let data = [7; 16_384];
        for number in 0..self.opened.len() {
            let id = self.opened[number];
            let written = self.stacks[0].stream(self.now, id).unwrap().write(&data[..octets]);
            assert_eq!(written, octets);
            self.settle();
        }
        // Whatever has waited for company, acknowledgments for example, goes out.
        self.now += Duration::from_millis(250);
        self.settle();
    }

    /// A connection comes, is used, and goes.
    fn visit(&mut self) {
        self.opened.clear();
        self.stacks[0].connect(self.now, SERVER, None).unwrap();
        self.settle();
        self.lap(64);
        self.stacks[0].stream(self.now, self.opened[0]).unwrap().close();
        self.settle();
        assert_eq!(self.stacks[0].flow_counts().0, 0);
    }

    #[track_caller]
    fn assert_steady(&mut self, octets: usize) {
        for _ in 0..3 {
            self.lap(octets);
        }
        let (before, echoed) = (allocations(), self.echoed);
        for _ in 0..10 {
            self.lap(octets);
        }
        let counted = allocations() - before;
        assert_eq!(self.echoed - echoed, 10 * octets * self.opened.len(), "all of it has come back");
        assert_eq!(counted, 0, "{octets} octets at a time over {} connections", self.opened.len());
    }
}

/// One test, so that no other thread allocates meanwhile.
#[test]
fn nothing_is_allocated_for_a_segment() {
    let mut pair = Pair::open(100, 1_000);
    pair.assert_steady(64);
    pair.assert_steady(16_384);
    let mut sleepers = Pair::open(500, 20);
    sleepers.assert_steady(64);
    assert!(sleepers.stacks.iter().all(|stack| stack.connections_asleep() >= 480), "most of them sleep in between");

    let mut guests = Pair::open(1, 1_000);
    let first = guests.opened[0];
    guests.stacks[0].stream(guests.now, first).unwrap().close();
    guests.settle();
    (0..10).for_each(|_| guests.visit());
    let before = allocations();
    (0..50).for_each(|_| guests.visit());
    assert!(allocations() - before <= 50, "the handshake of one that we open takes one, and nothing else any");

    balance();
    read_prefaces();
}

/// Names in hellos, of one record and of many, and PROXY headers, both ways: at every length at which somebody may look.
fn read_prefaces() {
    let hellos: [&[u8]; 2] =
        [include_bytes!("../fuzz/corpus/hello/openssl"), include_bytes!("../fuzz/corpus/hello/records_of_nine")];
    let ends = ["192.0.2.1:40000", "198.51.100.1:443", "[2001:db8::1]:443"].map(|end| end.parse().unwrap());
    let (mut named, mut read) = (0, 0);
    let before = allocations();
    for hello in hellos.map(|file| &file[1..]) {
        for length in 0..=hello.len() {
            named += usize::from(matches!(client_hello([&hello[..length], &[]]), Hello::Named(_)));
        }
    }
    for (version, source, destination) in [
        (Version::V1, ends[0], ends[1]),
        (Version::V1, ends[2], ends[2]),
        (Version::V2, ends[0], ends[1]),
        (Version::V2, ends[0], ends[2]),
    ] {
        let mut header = [0; MAX_HEADER];
        let length = proxy_protocol::write(version, source, destination, &mut header);
        for length in 0..=length {
            read += usize::from(matches!(proxy_protocol::read([&header[..length], &[]]), Header::Read { .. }));
        }
    }
    assert_eq!(allocations() - before, 0, "for what is said first");
    assert_eq!((named, read), (2, 4));
}

/// Half of a balancer's rows are in transition, so half of the flows are remembered, and forgotten again, more than
/// there is room for.
fn balance() {
    let key = RowKey::new(SipKey::from_seed(1));
    let end = |host: u32, port: u16| Endpoint { address: Ipv4Addr::from_bits(host).into(), port };
    let vip = end(0xc612_0050, PORT);
    let service = Service::tcp("web", vip, Arc::new(Maglev::new(key.of_placement())));
    let backends = [1, 2].map(|host| Backend::new(format!("web-{host}"), end(0xc612_0100 + host, PORT)));
    let mut balancer = Balancer::new(key, Limits { exceptions: 500, ..Limits::default() });
    let mut now = Instant::from_millis(1_000_000);
    for count in [1, 2] {
        let plan = balancer.plan([service.clone().with(backends[..count].to_vec())], now).unwrap();
        balancer.apply(&plan, now).unwrap();
    }
    let mut counted = 0;
    for round in 0..50 {
        let before = allocations();
        for client in 0..2_000 {
            let tuple = FourTuple { local: vip, remote: end(0xcb00_7100 + round, client + 1_024) };
            let flow = Flow { transport: Transport::Tcp, tuple };
            for kind in [Kind::Syn(SeqNumber::new(1)), Kind::Segment(SeqNumber::new(2)), Kind::Fin(SeqNumber::new(3))] {
                assert!(balancer.decide(&flow, kind, now).backend().is_some());
            }
        }
        counted += allocations() - before;
        assert_eq!(balancer.exceptions().0, 500);
        now += Duration::from_secs(90);
        balancer.handle_timeout(now);
        assert_eq!(balancer.exceptions().0, 0);
    }
    assert_eq!(counted, 0, "for decisions");
}
