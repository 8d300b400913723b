//! Connections that sleep while they are idle: nobody can tell.

use super::*;
use crate::{
    config::{CongestionControl, KeepAlive, TcpConfig},
    tcp::timestamps::TimestampState,
    wire::{ip::Dscp, tcp_options::Timestamps},
};
use proptest::prelude::*;

/// A peer, with or without timestamps, that takes everything in.
struct Peer {
    bench: Bench,
    id: ConnectionId,
    nxt: SeqNumber,
    received: SeqNumber,
    clock: Option<TimestampState>,
}

impl Peer {
    fn new(max_awake: u32, has_clock: bool) -> Self {
        Self::with(max_awake, has_clock, TcpConfig::default().quick_acks)
    }

    fn with(max_awake: u32, has_clock: bool, quick_acks: u32) -> Self {
        // CUBIC's curve begins anew after a rest; all else is the same.
        let tcp = TcpConfig { congestion_control: CongestionControl::Reno, quick_acks, ..TcpConfig::default() };
        let mut bench = Bench::with(StackConfig { tcp, max_awake, silence: None, ..StackConfig::default() });
        let mut clock = has_clock.then(|| TimestampState::new(bench.now, 77_000, 0));
        let options = TcpOptions {
            mss: Some(1_460),
            window_scale: Some(7),
            sack_permitted: has_clock,
            timestamps: clock.map(|clock| clock.option(bench.now)),
            ..TcpOptions::default()
        };
        bench.send_syn(options);
        let answer = bench.sent_one().header;
        clock = clock.zip(answer.options.timestamps).map(|(clock, theirs)| clock.with_recent(theirs.value));
        let id = ConnectionId { index: 0, generation: 1 };
        let mut peer = Self { bench, id, nxt: IRS.advance(1), received: answer.seq.advance(1), clock };
        peer.send(b"");
        assert!(matches!(peer.bench.events()[..], [Event::Accepted(opened, _)] if opened == id));
        peer
    }

    fn send(&mut self, data: &[u8]) {
        let timestamps: Option<Timestamps> = self.clock.map(|clock| clock.option(self.bench.now));
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        let header = TcpHeader { options, ..self.bench.header(self.nxt, self.received, ACK) };
        self.bench.send(header, data);
        self.nxt = self.nxt.advance(data.len() as u32);
    }

    /// Takes in what the stack has to send; returns what is in it.
    fn receive(&mut self) -> Vec<(TcpHeader, usize)> {
        let mut received = Vec::new();
        for frame in self.bench.frames() {
            let parsed = wire::parse(&frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            // Besides segments, the peer's link address is asked for again.
            let Packet::Tcp(_, segment) = parsed.packet else { continue };
            self.received = self.received.latest(segment.header.seq.advance(segment.payload.len() as u32));
            self.clock =
                self.clock.zip(segment.header.options.timestamps).map(|(clock, it)| clock.with_recent(it.value));
            received.push((segment.header, segment.payload.len()));
        }
        received
    }

    fn is_open(&mut self) -> bool {
        self.bench.stack.stream(self.bench.now, self.id).is_some()
    }

    /// Acts on the connection while there is one: what nobody acknowledges for long enough ends it.
    fn act(&mut self, act: impl FnOnce(&mut crate::stack::Stream<'_>)) {
        if self.is_open() {
            self.bench.with_stream(self.id, act);
        }
    }

    fn step(&mut self, &(what, number): &(u8, u16)) -> (Vec<(TcpHeader, usize)>, Vec<Event>) {
        let number = usize::from(number);
        match what {
            0 => self.send(&vec![b'r'; number % 3_000 % 1_460]),
            1 => self.act(|stream| _ = stream.echo()),
            2 => self.act(|stream| _ = stream.write(&vec![b'w'; number % 9_000])),
            3 => self.send(b""),
            4 => self.bench.pass(Duration::from_millis(number as u64)),
            5 => self.act(|stream| stream.set_nodelay(number % 2 == 0)),
            6 => self.bench.pass(Duration::from_secs(25 * 24 * 3_600)),
            _ => self.act(|stream| stream.set_dscp(Dscp::new(number as u8 % 64).unwrap())),
        }
        let events = self.bench.events();
        (self.receive(), events)
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn one_that_sleeps_does_what_one_does_that_never_sleeps(
        has_clock in any::<bool>(),
        steps in prop::collection::vec((0..8u8, any::<u16>()), 1..60),
    ) {
        do_the_same([0, 1].map(|max_awake| Peer::new(max_awake, has_clock)), &steps)?;
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(64))] // they are long

    /// At the pace of a network, with a peer that mostly answers. Without quick acknowledgments: there they begin anew after a silence
    /// as long as the timeout, and one that has slept knows when that began to 17 ms only.
    #[test]
    fn one_that_sleeps_does_so_on_an_ordinary_path(
        has_clock in any::<bool>(),
        steps in prop::collection::vec(ordinary_step(), 1..200),
    ) {
        do_the_same([0, 1].map(|max_awake| Peer::with(max_awake, has_clock, 0)), &steps)?;
    }
}

fn ordinary_step() -> impl Strategy<Value = (u8, u16)> {
    prop_oneof![
        4 => (Just(0), 0..3_000u16),
        4 => (Just(1), Just(0)),
        2 => (Just(2), 0..9_000u16),
        6 => (Just(3), Just(0)),
        4 => (Just(4), 0..300u16),
        1 => (Just(4), 0..10_000u16),
        1 => (prop::sample::select(vec![5, 7]), any::<u16>()),
    ]
}

/// Does each step to a connection that sleeps and to one that does not, and sees them do the same.
fn do_the_same([mut sleeper, mut other]: [Peer; 2], steps: &[(u8, u16)]) -> Result<(), TestCaseError> {
    for step in steps {
        prop_assert_eq!(sleeper.step(step), other.step(step), "{:?}", step);
        prop_assert_eq!(other.bench.stack.connections_asleep(), 0);
    }
    for _ in 0..20 {
        // In the end everything has arrived, however late, and it is at rest or long gone.
        sleeper.step(&(4, 60_000));
        sleeper.step(&(1, 0));
        sleeper.step(&(3, 0));
    }
    let asleep = sleeper.bench.stack.connections_asleep(); // asked first: to be looked for wakes it
    prop_assert_eq!(asleep, u32::from(sleeper.is_open()));
    Ok(())
}

/// Found by chance: data that was never acknowledged, the peer away for 25 days again and again.
#[test]
fn one_that_sleeps_gives_its_peer_up_no_sooner_and_no_later() {
    let (mut sleeper, mut other) = (Peer::new(0, false), Peer::new(1, false));
    let steps = [(0, 10), (1, 0)].into_iter().chain([(6, 0); 30]).chain([(5, 1), (2, 100), (3, 0)]);
    for step in steps {
        assert_eq!(sleeper.step(&step), other.step(&step), "{step:?}");
    }
    assert!(!sleeper.is_open() && !other.is_open());
}

/// Found by chance: an answer after 25 days, which were no round trip.
#[test]
fn one_that_sleeps_takes_as_much_for_lost_after_an_answer_that_took_weeks() {
    let (mut sleeper, mut other) = (Peer::new(0, true), Peer::new(1, true));
    let weeks = (6, 0);
    let answered_late = [(2, 2_897), weeks, (4, 200), (3, 0)];
    // Behind a probe of the tail both of its segments have been under way for long enough, whatever a round trip took.
    let lost = [(0, 1), (1, 0), (2, 1), weeks];
    for step in answered_late.into_iter().chain(lost) {
        assert_eq!(sleeper.step(&step), other.step(&step), "{step:?}");
    }
    let (sent, _) = sleeper.step(&weeks);
    assert_eq!(sent.iter().map(|(_, length)| *length).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((sent, Vec::new()), other.step(&weeks));
}

/// A peer that has been heard since, but has sent no data, may be in slow start again.
#[test]
fn one_that_sleeps_acknowledges_at_once_after_a_rest_from_data() {
    let (mut sleeper, mut other) = (Peer::new(0, true), Peer::new(1, true));
    let data = [(0, 1), (1, 0), (3, 0)];
    let steps = data.into_iter().cycle().take(3 * 20).chain([(4, 60_000), (3, 0), (4, 50)]);
    for step in steps {
        assert_eq!(sleeper.step(&step), other.step(&step), "{step:?}");
    }
    assert_eq!(sleeper.bench.stack.connections_asleep(), 1);
    assert_eq!((sleeper.step(&(0, 1)).0.len(), other.step(&(0, 1)).0.len()), (1, 1));
}

#[test]
fn those_idle_for_longest_sleep_and_no_more_than_have_to() {
    let mut bench = Bench::with(StackConfig { max_awake: 3, ..StackConfig::default() });
    let mut ids = Vec::new();
    for port in 1..=10 {
        bench.port = port;
        ids.push(bench.connect());
        assert_eq!(bench.stack.connections_asleep(), u32::from(port).saturating_sub(3));
    }
    // Whoever is woken takes the place of one that has been idle for longer.
    for (port, (id, iss)) in (1..).zip(ids) {
        bench.port = port;
        assert_eq!(bench.state(), State::Established);
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
        assert_eq!(bench.events(), [Event::Ready(id)]);
        assert_eq!(bench.with_stream(id, |stream| stream.echo()), 5);
        assert_eq!(bench.sent_one().data, b"hello");
        bench.send(bench.header(IRS.advance(6), iss.advance(6), ACK), b"");
        bench.sent();
        assert_eq!(bench.stack.connections_asleep(), 7);
    }
    assert_eq!(bench.stack.flow_counts().0, 10);
}

#[test]
fn what_has_something_to_do_or_to_hear_of_stays_awake() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    assert_eq!(bench.stack.connections_asleep(), 1);
    bench.with_stream(id, |stream| stream.write(b"unacknowledged"));
    bench.sent();
    assert_eq!(bench.stack.connections_asleep(), 0);
    bench.send(bench.header(IRS.advance(1), iss.advance(15), ACK), b"unread");
    bench.sent();
    assert_eq!(bench.stack.connections_asleep(), 0);
    bench.with_stream(id, |stream| stream.consume(6));
    bench.pass(Duration::from_millis(40));
    bench.sent();
    assert_eq!(bench.stack.connections_asleep(), 0, "its application has not been told yet");
    bench.events();
    bench.with_stream(id, |_| {});
    bench.sent();
    assert_eq!(bench.stack.connections_asleep(), 1);
    bench.send(bench.header(IRS.advance(8), iss.advance(15), ACK), b"early");
    bench.sent();
    assert_eq!(bench.stack.connections_asleep(), 0, "a hole has to be reported");
}

#[test]
fn a_timer_of_the_past_wakes_nobody_and_a_keep_alive_does() {
    let keep_alive = KeepAlive { idle: Duration::from_secs(10), ..KeepAlive::default() };
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.set_keep_alive(Some(keep_alive)));
    bench.with_stream(id, |stream| stream.write(b"hello"));
    bench.sent();
    bench.send(bench.header(IRS.advance(1), iss.advance(6), ACK), b"");
    assert_eq!(bench.sent(), []);
    let mut passed = Duration::ZERO;
    while let Some(deadline) = bench.stack.poll_timeout()
        && passed < Duration::from_secs(9)
    {
        assert_eq!(bench.stack.connections_asleep(), 1);
        let span = deadline - bench.now;
        passed += span;
        bench.pass(span);
    }
    bench.pass(Duration::from_secs(10) - passed);
    let probe = bench.sent_one();
    assert_eq!((probe.header.seq, &probe.data[..]), (iss.advance(5), &b""[..]));
    assert_eq!(bench.stack.connections_asleep(), 0, "it waits for an answer");
}

#[test]
fn a_link_that_has_become_narrower_is_heeded_by_those_that_wake() {
    let mut peer = Peer::new(0, false);
    assert_eq!((peer.bench.sent(), peer.bench.stack.connections_asleep()), (Vec::new(), 1));
    peer.bench.stack.set_mtu(peer.bench.now, InterfaceId::FIRST, 1_400);
    assert_eq!(peer.bench.stack.connections_asleep(), 1, "it wakes nobody");
    peer.bench.with_stream(peer.id, |stream| stream.write(&[7; 2_000]));
    assert_eq!(peer.bench.sent().iter().map(|sent| sent.data.len()).collect::<Vec<_>>(), [1_360, 640]);
}

#[test]
fn an_icmp_error_wakes_nobody() {
    let mut bench = Bench::with(StackConfig { max_awake: 0, ..StackConfig::default() });
    let (id, quoted) = bench.connect_and_write(100);
    bench.send_error(3, 1, 0, &quoted[0]);
    assert_eq!(bench.stack.stats().icmp_errors_accepted, 1, "it is about what is in flight");
    let iss = SeqNumber::new(u32::from_be_bytes(quoted[0][24..28].try_into().unwrap())).back(1);
    bench.send(bench.header(IRS.advance(1), iss.advance(101), ACK), b"");
    bench.events();
    bench.frames();
    assert_eq!(bench.stack.connections_asleep(), 1);
    bench.send_error(3, 1, 0, &quoted[0]);
    assert_eq!((bench.drops(DropReason::UnmatchedIcmp), bench.stack.connections_asleep()), (1, 1));
    bench.with_stream(id, |stream| assert_eq!(stream.write(b"still there"), 11));
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let mut bench = Bench::with(StackConfig { max_awake: 10, ..StackConfig::default() });
    for port in 1..=100 {
        bench.port = port;
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.abort());
        bench.frames();
        bench.events();
        assert_eq!(bench.stack.connections.idle(), 0, "nobody is there who could be put to sleep");
    }
}
