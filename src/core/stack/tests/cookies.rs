//! Handshakes that nobody remembers.

use super::*;
use crate::wire::tcp_options::Timestamps;

const CLOCK: u32 = 77_000;

fn linux() -> TcpOptions {
    let timestamps = Some(Timestamps { value: CLOCK, echo: 0 });
    TcpOptions { mss: Some(1_460), window_scale: Some(7), timestamps, ..TcpOptions::default() }
}

fn plain() -> TcpOptions {
    TcpOptions { mss: Some(1_460), window_scale: Some(7), sack_permitted: true, ..TcpOptions::default() }
}

impl Bench {
    /// The segment that ends the handshake which this SYN-ACK began, as a client would send it.
    fn last_of_handshake(&self, answer: &Sent) -> TcpHeader {
        let echo = |ours: Timestamps| Timestamps { value: CLOCK + 1, echo: ours.value };
        let timestamps = answer.header.options.timestamps.map(echo);
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        TcpHeader { options, ..self.header(IRS.advance(1), answer.header.seq.advance(1), ACK) }
    }

    /// Shakes hands halfway, and lets others push the handshake out of the cache.
    fn forgotten(&mut self, options: TcpOptions) -> Sent {
        self.send_syn(options);
        let answer = self.sent_one();
        for port in 1..=10 {
            let syn = TcpHeader { source_port: port, ..self.header(IRS, SeqNumber::default(), SYN) };
            self.send(syn, b"");
        }
        self.frames();
        assert_eq!(self.state(), State::Closed, "the handshake is forgotten");
        answer
    }
}

fn small_cache() -> StackConfig {
    StackConfig { max_half_open: 10, ..StackConfig::default() }
}

#[test]
fn a_forgotten_handshake_ends_well() {
    for options in [plain(), linux()] {
        for mut bench in [Bench::with(small_cache()), Bench::with(small_cache()).over_ipv6()] {
            let answer = bench.forgotten(options);
            bench.send(bench.last_of_handshake(&answer), b"GET /");
            let events = bench.events();
            let [Event::Accepted(id, _), Event::Ready(_)] = events[..] else { panic!("{events:?}") };
            assert_eq!(bench.stack.stats().cookies_accepted, 1);
            // What the client has offered holds: scaled windows, timestamps in each segment.
            bench.with_stream(id, |stream| stream.echo());
            let echo = bench.sent_one();
            assert_eq!(echo.data, b"GET /");
            assert_eq!(echo.header.options.timestamps.is_some(), options.timestamps.is_some());
            assert_eq!(echo.header.options.timestamps.map(|ours| ours.echo), options.timestamps.map(|_| CLOCK + 1));
        }
    }
}

#[test]
fn our_clock_goes_on_from_where_the_cookie_left_it() {
    let mut bench = Bench::with(small_cache());
    let answer = bench.forgotten(linux());
    bench.pass(Duration::from_millis(700));
    bench.send(bench.last_of_handshake(&answer), b"x");
    bench.pass(Duration::from_millis(5));
    let Some(Event::Accepted(id, _)) = bench.events().first().copied() else { panic!() };
    bench.with_stream(id, |stream| stream.echo());
    let (syn_ack, data) =
        (answer.header.options.timestamps.unwrap(), bench.sent_one().header.options.timestamps.unwrap());
    assert_eq!(data.value.wrapping_sub(syn_ack.value), 5);
}

#[test]
fn a_forged_acknowledgment_opens_nothing() {
    for options in [plain(), linux()] {
        let mut bench = Bench::with(small_cache());
        let answer = bench.forgotten(options);
        let good = bench.last_of_handshake(&answer);
        for bad in [
            TcpHeader { ack: good.ack.advance(1), ..good },
            TcpHeader { seq: good.seq.advance(1), ..good },
            TcpHeader { source_port: good.source_port + 1, ..good },
            TcpHeader { flags: SYN | ACK, ..good },
        ] {
            bench.send(bad, b"");
            assert!(bench.sent_one().header.flags.contains(RST));
        }
        assert_eq!((bench.events(), bench.drops(DropReason::BadCookie)), (vec![], 4));
        bench.send(good, b"");
        assert_eq!(bench.state(), State::Established);
    }
}

#[test]
fn a_cookie_is_refused_after_its_life() {
    let mut bench = Bench::with(small_cache());
    bench.stack.set_syn_mode(SynMode::Cookie);
    bench.send_syn(linux());
    let answer = bench.sent_one();
    bench.pass(Duration::from_secs(129));
    bench.send(bench.last_of_handshake(&answer), b"");
    assert_eq!((bench.events(), bench.drops(DropReason::MisdatedCookie)), (vec![], 1), "it was ours, and that is told");
    bench.pass(Duration::from_secs(1_000));
    bench.send(bench.last_of_handshake(&answer), b"");
    assert_eq!((bench.events(), bench.drops(DropReason::BadCookie)), (vec![], 1));
}

#[test]
fn cookies_of_other_clocks_are_looked_for_at_a_rate() {
    let mut bench = Bench::new();
    bench.stack.set_syn_mode(SynMode::Cookie);
    bench.send_syn(linux());
    let answer = bench.sent_one();
    bench.pass(Duration::from_secs(129));
    let last = bench.last_of_handshake(&answer);
    for _ in 0..1_000 {
        bench.send(last, b"");
    }
    assert_eq!(bench.drops(DropReason::MisdatedCookie), 10, "a tenth of a second's worth");
    assert_eq!(bench.drops(DropReason::BadCookie), 990, "the others are told from nothing");
}

#[test]
fn what_is_forgotten_promises_what_its_cookie_holds_and_what_is_remembered_promises_all() {
    let scaled = |mss, scale, sack_permitted| TcpOptions {
        mss: Some(mss),
        window_scale: Some(scale),
        sack_permitted,
        ..TcpOptions::default()
    };
    // Of a SYN without timestamps: whether the cookie holds a scale and SACK.
    for (options, holds) in
        [(scaled(1_460, 8, true), true), (scaled(1_460, 3, true), false), (scaled(536, 8, false), false)]
    {
        let mut bench = Bench::with(small_cache());
        bench.stack.set_syn_mode(SynMode::Cookie);
        bench.send_syn(options);
        let answer = bench.sent_one();
        let promised = answer.header.options;
        assert_eq!((promised.window_scale.is_some(), promised.sack_permitted), (holds, holds), "{options:?}");
        bench.send(TcpHeader { window: 57, ..bench.last_of_handshake(&answer) }, b"");
        let Some(&Event::Accepted(id, _)) = bench.events().first() else { panic!("{options:?}") };
        // So many of whatever unit both ends have agreed on, and no octet more.
        bench.with_stream(id, |stream| stream.write(&[7; 50_000]));
        let sent: usize = bench.sent().iter().map(|segment| segment.data.len()).sum();
        let room = if holds { 13_140..=57 << 8 } else { 0..=57 };
        assert!(room.contains(&sent), "{sent}, {options:?}");

        let mut bench = Bench::with(small_cache());
        let answer = bench.forgotten(options);
        let promised = answer.header.options;
        assert_eq!((promised.window_scale.is_some(), promised.sack_permitted), (true, options.sack_permitted));
        bench.send(bench.last_of_handshake(&answer), b"");
        let state = if holds { State::Established } else { State::Closed };
        assert_eq!(bench.state(), state, "nothing that was promised is broken: {options:?}");
    }
}

#[test]
fn an_offer_that_no_cookie_holds_is_remembered_in_any_mode() {
    let mut bench = Bench::new();
    bench.stack.set_syn_mode(SynMode::Cookie);
    bench.send_syn(TcpOptions { mss: Some(500), ..TcpOptions::default() });
    let answer = bench.sent_one();
    assert_eq!(bench.stack.flow_counts().1, 1);
    bench.send(bench.last_of_handshake(&answer), b"");
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn the_same_syn_draws_the_same_answer_whether_or_not_it_is_remembered() {
    let mut bench = Bench::with(small_cache());
    let answer = bench.forgotten(linux());
    bench.send_syn(linux());
    assert_eq!(bench.sent_one(), answer);
}

#[test]
fn shld_4_by_its_clock_a_new_syn_ends_time_wait() {
    // RFC 6191 §2: its sequence number need not be larger then.
    let mut bench = Bench::new();
    bench.send_syn(linux());
    let answer = bench.sent_one();
    bench.send(bench.last_of_handshake(&answer), b"");
    let Some(Event::Accepted(id, _)) = bench.events().first().copied() else { panic!() };
    bench.with_stream(id, |stream| stream.close());
    bench.sent();
    let last = bench.last_of_handshake(&answer);
    bench.send(TcpHeader { ack: last.ack.advance(1), flags: FIN | ACK, ..last }, b"");
    let time_wait = bench.sent_one();
    assert_eq!(time_wait.header.options.timestamps.unwrap().echo, CLOCK + 1);
    assert_eq!(bench.state(), State::TimeWait);
    let mut syn = TcpHeader { seq: IRS.back(50_000), options: linux(), ..bench.header(IRS, SeqNumber::default(), SYN) };
    bench.send(syn, b"");
    assert!(bench.sent_one().has(ACK), "its clock shows an earlier time");
    syn.options.timestamps = Some(Timestamps { value: CLOCK + 2, echo: 0 });
    bench.send(syn, b"");
    assert!(bench.sent_one().has(SYN | ACK));
}

#[test]
fn in_cookie_mode_nothing_is_remembered_and_handshakes_end_well() {
    let mut bench = Bench::new();
    bench.stack.set_syn_mode(SynMode::Cookie);
    for options in [plain(), linux()] {
        bench.port += 1;
        bench.send_syn(options);
        let answer = bench.sent_one();
        assert_eq!(bench.stack.flow_counts().1, 0);
        bench.send(bench.last_of_handshake(&answer), b"");
        assert_eq!(bench.state(), State::Established);
    }
}

/// Counts how often each flow was opened and not closed.
#[derive(Clone, Default)]
struct Census(std::sync::Arc<std::sync::Mutex<std::collections::HashMap<FlowFingerprint, i32>>>);

impl FlowObserver for Census {
    fn opened(&mut self, tuple: &FourTuple) {
        *self.0.lock().unwrap().entry(self.fingerprint(tuple)).or_default() += 1;
    }

    fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint {
        FlowFingerprint::new(tuple.remote.port.into())
    }

    fn closed(&mut self, fingerprint: FlowFingerprint) {
        *self.0.lock().unwrap().entry(fingerprint).or_default() -= 1;
    }
}

#[test]
fn a_watch_hears_of_each_flow_once_until_time_wait_is_over() {
    let census = Census::default();
    let mut bench = Bench::with(StackConfig { max_time_wait: 3, ..StackConfig::default() });
    bench.stack.observe_flows(Box::new(census.clone()));
    let open = || -> i32 {
        let flows = census.0.lock().unwrap();
        assert!(flows.values().all(|count| (0..=1).contains(count)), "{flows:?}");
        flows.values().sum()
    };
    let mut ids = Vec::new();
    for port in 1..=10 {
        bench.port = port;
        ids.push(bench.connect());
    }
    assert_eq!(open(), 10);
    // One reset by the peer, one by us, five closed in order, the rest ended from above.
    bench.port = 1;
    bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"");
    bench.with_stream(ids[1].0, |stream| stream.abort());
    assert_eq!(open(), 8);
    for (port, (id, iss)) in (1..).zip(ids).skip(2).take(5) {
        bench.port = port;
        bench.with_stream(id, |stream| stream.close());
        bench.frames();
        bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
    }
    bench.frames();
    assert_eq!(open(), 6, "three are open, and three in TIME-WAIT: the oldest made room");
    // A new connection takes the place of one in TIME-WAIT.
    bench.send(bench.header(IRS.advance(1_000), SeqNumber::default(), SYN), b"");
    assert!((5..=6).contains(&open()), "its handshake is heard of where its number is no cookie");
    bench.stack.abort_all(bench.now);
    // Six time-outs of a handshake, and one of TIME-WAIT.
    (0..6).for_each(|_| bench.pass(Duration::from_secs(61)));
    assert_eq!(open(), 0);
}
