//! Two connections in a row on one 4-tuple, and a network that delivers again what was said on the first one: while the second
//! begins, while it lasts, and after either has ended.

use super::Octets;
use std::time::Duration;
use xskip_core::{
    config::{StackConfig, TcpConfig},
    stack::{ConnectError, ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack, SynMode},
    time::Instant,
    wire::{self, ChecksumPolicy, Endpoint, InterfaceId, MacAddress, Packet},
};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const ROUNDS: usize = 2;
const STEPS: usize = 60;

/// What an application writes in a round: nothing that it writes in another, nor the other one at all.
const fn mark(end: usize, round: usize) -> u8 {
    1 + (round * 2 + end) as u8
}

/// Each octet of `data` is a step, but the first, which says how the stacks are set up.
pub fn again(data: &[u8]) {
    let mut octets = Octets(data);
    let mut table = Table::new(octets.octet());
    for _ in 0..ROUNDS {
        table.connect(&mut octets);
        for _ in 0..STEPS {
            if octets.0.is_empty() {
                break;
            }
            table.step(&mut octets);
        }
    }
    table.finish();
}

struct Host {
    stack: Stack,
    /// Segments it has sent so far.
    said: Vec<Vec<u8>>,
    /// Its connections that are open, with the round they belong to.
    open: Vec<(ConnectionId, usize)>,
    /// In which rounds one was opened.
    opened: [bool; ROUNDS],
}

struct Table {
    hosts: [Host; 2],
    now: Instant,
    /// Rounds begun.
    begun: usize,
    /// A segment that comes again when so many others have come: who has sent it, and which.
    pending: Option<(u8, usize, u8)>,
}

impl Table {
    fn new(flags: u8) -> Self {
        let tcp = TcpConfig { timestamps: flags & 1 != 0, sack: flags & 2 != 0, ..TcpConfig::default() };
        let max_awake = if flags & 4 != 0 { 0 } else { 8 };
        let host = |number: u8| {
            let config = StackConfig {
                tcp: tcp.clone(),
                max_awake,
                max_connections: 4,
                max_half_open: 4,
                max_time_wait: 4,
                max_used_handshakes: 64,
                max_reset_handshakes: 64,
                ephemeral_ports: 40_000..=40_000,
                ..StackConfig::default()
            };
            let cidr = format!("198.18.0.{}/24", number + 1).parse().expect("an address");
            let address = LocalAddress { cidr, ownership: Ownership::Own };
            let secrets = Secrets::from_seed(u64::from(number) + 7);
            let stack = Stack::new(config, MacAddress([2, 0, 0, 0, 0, number]), vec![address], secrets);
            Host { stack, said: Vec::new(), open: Vec::new(), opened: [false; ROUNDS] }
        };
        let mut table = Self { hosts: [host(0), host(1)], now: Instant::from_millis(1_000), begun: 0, pending: None };
        let server = &mut table.hosts[SERVER].stack;
        server.listen(None, 80).unwrap();
        match flags >> 6 {
            0 => server.set_syn_mode(SynMode::Cookie),
            1 => server.accept_cookies_until(Instant::NEVER),
            _ => {}
        }
        table
    }

    /// The next connection, on the same 4-tuple, as soon as the client may use it again.
    fn connect(&mut self, octets: &mut Octets<'_>) {
        // Sequence numbers are a clock's: what was sent before lies behind, and needs no timestamps to be told.
        self.pass(Duration::from_secs(1));
        let remote = Endpoint { address: [198, 18, 0, 2].into(), port: 80 };
        if self.hosts[CLIENT].stack.flow_counts().0 > 0 {
            self.end(CLIENT, 2);
        }
        let id = loop {
            match self.hosts[CLIENT].stack.connect(self.now, remote, None) {
                Err(ConnectError::NoPortLeft(_)) => self.pass(Duration::from_secs(61)),
                connected => break connected.expect("the client has room"),
            }
        };
        self.hosts[CLIENT].open.push((id, self.begun));
        self.begun += 1;
        let when = octets.octet();
        self.pending = (when & 0x80 != 0).then(|| (when % 8, usize::from(when >> 3 & 1), octets.octet()));
        self.settle();
    }

    fn step(&mut self, octets: &mut Octets<'_>) {
        let kind = octets.octet();
        let end = usize::from(kind >> 3 & 1);
        match kind % 8 {
            0 | 1 => self.write(end, octets.octet().into()),
            2 | 3 => self.repeat(end, octets.octet()),
            // From a microsecond to half a minute.
            4 | 5 => self.pass(Duration::from_micros(1 << (octets.octet() % 25))),
            6 => self.end(end, octets.octet() % 2),
            _ => self.end(end, 2),
        }
        self.settle();
    }

    fn write(&mut self, end: usize, octets: usize) {
        let Host { stack, open, .. } = &mut self.hosts[end];
        if let Some(&(id, round)) = open.last()
            && let Some(mut stream) = stack.stream(self.now, id)
        {
            stream.write(&vec![mark(end, round); octets]);
        }
    }

    fn end(&mut self, end: usize, how: u8) {
        let Host { stack, open, .. } = &mut self.hosts[end];
        if let Some(&(id, _)) = open.last()
            && let Some(mut stream) = stack.stream(self.now, id)
        {
            match how {
                0 => stream.shutdown_write(),
                1 => stream.close(),
                _ => stream.abort(),
            }
        }
        self.settle();
    }

    /// A segment that was sent some time ago arrives once more.
    fn repeat(&mut self, end: usize, which: u8) {
        let said = &self.hosts[end].said;
        if !said.is_empty() {
            let frame = said[usize::from(which) % said.len()].clone();
            self.hosts[1 - end].stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.hosts.iter_mut().for_each(|host| host.stack.handle_timeout(self.now));
        self.settle();
    }

    /// Carries what is said, at once and without a loss, until nobody says anything.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            (0..2).for_each(|end| self.hear(end));
            let mut buffer = vec![0; 2_000];
            let sent = (0..2).find_map(|end| {
                let length = self.hosts[end].stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer)?;
                Some((end, length))
            });
            let Some((end, length)) = sent else { return };
            let frame = &buffer[..length];
            let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            if matches!(parsed.packet, Packet::Tcp(..)) {
                self.hosts[end].said.push(frame.to_vec());
            }
            self.hosts[1 - end].stack.handle_frame(self.now, InterfaceId::FIRST, frame);
            match self.pending.take() {
                Some((0, end, which)) => self.repeat(end, which),
                pending => self.pending = pending.map(|(left, end, which)| (left - 1, end, which)),
            }
        }
        panic!("two stacks come to a pause");
    }

    /// What an application hears: one connection in each round, and what the other one wrote in that.
    fn hear(&mut self, end: usize) {
        let round = self.begun.saturating_sub(1);
        let Host { stack, open, opened, .. } = &mut self.hosts[end];
        while let Some(event) = stack.poll_event() {
            match event {
                Event::Accepted(id, _) | Event::Connected(id) => {
                    assert!(!std::mem::replace(&mut opened[round], true), "one connection in a round, at {end}");
                    if end == SERVER {
                        open.push((id, round));
                    }
                }
                Event::Closed(id, _) => open.retain(|(known, _)| *known != id),
                _ => {}
            }
        }
        for &(id, round) in open.iter() {
            let Some(mut stream) = stack.stream(self.now, id) else { continue };
            let expected = mark(1 - end, round);
            let length = stream.readable().len();
            assert!(stream.readable().iter().all(|&octet| octet == expected), "nothing of another connection's");
            stream.consume(length);
        }
    }

    /// Once all is over nothing that comes again begins anything.
    fn finish(mut self) {
        for end in [CLIENT, SERVER] {
            self.end(end, 2);
        }
        for _ in 0..2 {
            for which in 0..=u8::MAX {
                self.repeat(usize::from(which % 2), which);
                self.settle();
            }
            self.pass(Duration::from_secs(20));
        }
        for _ in 0..200 {
            let next = self.hosts.iter().filter_map(|host| host.stack.poll_timeout()).min();
            let Some(deadline) = next else { break };
            self.pass(deadline.max(self.now) - self.now);
        }
        for host in &mut self.hosts {
            host.stack.abort_all(self.now);
            assert_eq!(host.stack.flow_counts(), (0, 0, 0), "nothing is left");
        }
    }
}
