//! A worker's application on a stack, and a backend on another, in virtual time.

use super::*;
use crate::{
    CloseReason,
    config::StackConfig,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack},
    worker::{Application, Context, WorkerIndex, Workers},
};

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// What a backend does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It answers and closes, as it is asked to.
    Polite,
    /// It answers and keeps the connection open.
    Clinging,
    /// It says nothing.
    Silent,
    /// It closes without a word.
    Curt,
    /// It resets the connection.
    Rude,
}

struct Pair {
    now: Instant,
    checker: Checker,
    prober: Prober,
    balancer: Stack,
    backend: Stack,
    manner: Manner,
    /// The backend's connections that are open.
    talking: Vec<ConnectionId>,
    /// How those ended that are not.
    ended: Vec<CloseReason>,
}

impl Pair {
    fn new(manner: Manner, kind: Kind, port: u16) -> Self {
        let stack = |mac, addresses: &[(&str, Ownership)], seed| {
            let local = |&(cidr, ownership): &(&str, _)| LocalAddress { cidr: cidr.parse().unwrap(), ownership };
            Stack::new(StackConfig::default(), mac, addresses.iter().map(local).collect(), Secrets::from_seed(seed))
        };
        let (vip, source) = (("198.18.0.80/32", Ownership::Own), ("198.18.0.1/24", Ownership::Shared));
        let mut balancer = stack(OURS, &[vip, source], 1);
        let mut backend = stack(THEIRS, &[vip], 2);
        backend.listen(None, 80).unwrap();
        let now = Instant::from_millis(5_000);
        let checker = Checker::new(3, 8);
        let prober = checker.application()(&mut Context::new(now, &mut balancer, WorkerIndex::ONLY));
        let via = Via { interface: InterfaceId::FIRST, next_hop: THEIRS, mtu: 1_500, tunnel: None };
        let route = Ok(Route { source: "198.18.0.1".parse().unwrap(), ports: Arc::new([40_000]), via });
        let check = Check { kind, ..target("a").check };
        let address = SocketAddr::new("198.18.0.80".parse().unwrap(), port);
        checker.check([Target { route, check, address, ..target("a") }], &Workers::default());
        Self { now, checker, prober, balancer, backend, manner, talking: Vec::new(), ended: Vec::new() }
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = self.turn();
            let deadlines = [due, self.balancer.poll_timeout(), self.backend.poll_timeout()];
            let next = deadlines.into_iter().flatten().min().unwrap_or(end).max(self.now + Duration::from_millis(1));
            if next > end {
                break;
            }
            self.now = next;
        }
        self.now = end;
    }

    /// What a worker does in a few turns, or until there is nothing more to do.
    fn turn(&mut self) -> Option<Instant> {
        self.balancer.handle_timeout(self.now);
        self.backend.handle_timeout(self.now);
        let mut due = None;
        for _ in 0..16 {
            let cx = &mut Context::new(self.now, &mut self.balancer, WorkerIndex::ONLY);
            while let Some(event) = cx.stack().poll_event() {
                self.prober.event(event, cx);
            }
            due = self.prober.on_turn(cx);
            while let Some(event) = self.backend.poll_event() {
                self.serve(event);
            }
            if self.carry() == 0 {
                break;
            }
        }
        due
    }

    fn carry(&mut self) -> usize {
        let (mut buffer, mut count) = ([0; 1_600], 0);
        for is_ours in [true, false] {
            let (from, to) = match is_ours {
                true => (&mut self.balancer, &mut self.backend),
                false => (&mut self.backend, &mut self.balancer),
            };
            while let Some(length) = from.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                to.handle_frame(self.now, InterfaceId::FIRST, &buffer[..length]);
                count += 1;
            }
        }
        count
    }

    fn serve(&mut self, event: Event) {
        let id = match event {
            Event::Accepted(id, _) => {
                self.talking.push(id);
                id
            }
            Event::Ready(id) => id,
            Event::Closed(id, reason) => {
                self.talking.retain(|other| *other != id);
                return self.ended.push(reason);
            }
            _ => return,
        };
        let Some(mut stream) = self.backend.stream(self.now, id) else { return };
        let mut request = [0; 1_024];
        let is_asked = stream.read(&mut request) > 0;
        match self.manner {
            Manner::Curt => stream.close(),
            Manner::Rude => stream.abort(),
            _ if stream.at_end() => stream.close(),
            Manner::Polite if is_asked => {
                stream.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfine\n");
                stream.close();
            }
            Manner::Clinging if is_asked => {
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n");
            }
            _ => {}
        }
    }

    fn news(&self) -> Vec<(Health, Option<String>)> {
        self.checker.news().try_iter().map(|news| (news.health, news.why)).collect()
    }

    /// No connection, and nothing that keeps a port, is left on either side's stack.
    #[track_caller]
    fn assert_over(&mut self) {
        self.checker.check([], &Workers::default());
        self.pass(2 * SECOND);
        assert_eq!(self.balancer.flow_counts(), (0, 0, 0));
        assert!(self.talking.is_empty());
    }
}

fn http() -> Kind {
    Kind::Http(Http::default())
}

fn down(why: &str) -> Vec<(Health, Option<String>)> {
    vec![(Health::Down, Some(why.to_owned()))]
}

#[test]
fn who_answers_is_up_and_each_check_has_a_connection_of_its_own() {
    let mut pair = Pair::new(Manner::Polite, http(), 80);
    pair.pass(60 * SECOND);
    assert_eq!(pair.news(), [(Health::Up, None)]);
    // From one port, which no check before leaves in TIME-WAIT.
    assert!((27..=34).contains(&pair.ended.len()), "{:?}", pair.ended);
    assert!(pair.ended.iter().all(|end| *end == CloseReason::Finished), "{:?}", pair.ended);
    pair.assert_over();
}

#[test]
fn who_does_not_close_is_up_and_soon_left() {
    let mut pair = Pair::new(Manner::Clinging, http(), 80);
    pair.pass(30 * SECOND);
    assert_eq!(pair.news(), [(Health::Up, None)]);
    assert!(pair.talking.len() <= 1 && pair.ended.len() > 10, "{:?}", pair.ended);
    assert!(pair.ended.iter().all(|end| *end == CloseReason::ResetByPeer), "{:?}", pair.ended);
    pair.assert_over();
}

#[test]
fn who_answers_otherwise_is_down_and_it_is_said_why() {
    for (manner, why) in [
        (Manner::Silent, "timed out after 1s, waiting for the answer"),
        (Manner::Curt, "closed without an answer"),
        (Manner::Rude, "reset by the backend"),
    ] {
        let mut pair = Pair::new(manner, http(), 80);
        pair.pass(20 * SECOND);
        assert_eq!(pair.news(), down(why), "{manner:?}");
        pair.manner = Manner::Polite;
        pair.pass(10 * SECOND);
        assert_eq!(pair.news(), [(Health::Up, None)], "{manner:?}");
        pair.assert_over();
    }
    let mut pair = Pair::new(Manner::Polite, http(), 81);
    pair.pass(20 * SECOND);
    assert_eq!(pair.news(), down("refused"));
    pair.assert_over();
}

#[test]
fn who_is_only_connected_to_hears_nothing_of_it() {
    let mut pair = Pair::new(Manner::Polite, Kind::Tcp, 80);
    pair.pass(20 * SECOND);
    assert_eq!(pair.news(), [(Health::Up, None)]);
    assert_eq!((pair.talking.len(), pair.ended.len()), (0, 0));
    assert!(pair.balancer.stats().connections_opened > 8);
    pair.assert_over();
}

#[test]
fn a_worker_that_ends_leaves_nobody_waiting() {
    let mut pair = Pair::new(Manner::Silent, http(), 80);
    while pair.talking.is_empty() {
        pair.pass(SECOND / 10);
    }
    let cx = &mut Context::new(pair.now, &mut pair.balancer, WorkerIndex::ONLY);
    pair.prober.draining(cx);
    pair.pass(20 * SECOND);
    assert_eq!((&pair.ended[..], pair.news()), (&[CloseReason::ResetByPeer][..], vec![]));
    assert_eq!(pair.balancer.flow_counts(), (0, 0, 0));
}
