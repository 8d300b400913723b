//! What was used is used up: no segment that the network delivers again opens a connection again (RFC 9293 §3.10.7).

use super::*;
use crate::{stack::used::UsedHandshakes, tcp::cookie::EPOCH, wire::tcp_options::Timestamps};

const CLOCK: u32 = 5_000;
const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// How a stack meets SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It remembers each, and nothing has gone wrong lately.
    Peace,
    /// It remembers each, but has forgotten some a moment ago.
    Evicting,
    /// It remembers none: as behind the XDP program.
    Cookie,
}

const MODES: [Mode; 3] = [Mode::Peace, Mode::Evicting, Mode::Cookie];

impl Mode {
    fn bench(self, ipv6: bool) -> Bench {
        let config = StackConfig { max_awake: 0, max_half_open: 4, ..StackConfig::default() };
        let bench = Bench::with(config);
        let mut bench = if ipv6 { bench.over_ipv6() } else { bench };
        match self {
            Self::Peace => {}
            Self::Evicting => bench.evict(),
            Self::Cookie => bench.stack.set_syn_mode(SynMode::Cookie),
        }
        bench
    }

    /// Why an acknowledgment opens nothing whose cookie is good, but used.
    fn refusal(self) -> DropReason {
        if self == Self::Peace { DropReason::StrayAck } else { DropReason::UsedCookie }
    }
}

/// Each mode over each version of IP, with timestamps and without.
fn all_ways(mut try_one: impl FnMut(Mode, Bench, TcpOptions)) {
    for mode in MODES {
        for ipv6 in [false, true] {
            for timestamps in [None, Some(Timestamps { value: CLOCK, echo: 0 })] {
                let options = TcpOptions { mss: Some(1_460), timestamps, ..TcpOptions::default() };
                try_one(mode, mode.bench(ipv6), options);
            }
        }
    }
}

impl Bench {
    /// Lets strangers push each other out of the cache.
    fn evict(&mut self) {
        for port in 1..=5 {
            self.send(TcpHeader { source_port: port, ..self.header(IRS, SeqNumber::default(), SYN) }, b"");
        }
        self.frames();
        assert!(self.stack.stats().handshakes_evicted > 0);
    }

    /// A SYN's answer, and the segment that ends the handshake.
    fn halfway(&mut self, irs: SeqNumber, options: TcpOptions) -> TcpHeader {
        self.send(TcpHeader { options, ..self.header(irs, SeqNumber::default(), SYN) }, b"");
        let answer = self.sent_one();
        assert!(answer.has(SYN | ACK), "{answer:?}");
        let echo = |ours: Timestamps| Timestamps { value: CLOCK + 1, echo: ours.value };
        let timestamps = answer.header.options.timestamps.map(echo);
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        TcpHeader { options, ..self.header(irs.advance(1), answer.header.seq.advance(1), ACK) }
    }

    fn complete(&mut self, first: TcpHeader) -> ConnectionId {
        self.send(first, GET);
        let events = self.events();
        self.sent();
        let [Event::Accepted(id, _), Event::Ready(_)] = events[..] else { panic!("{events:?}") };
        id
    }

    /// A segment that comes again draws an RST and nothing else.
    #[track_caller]
    fn opens_nothing(&mut self, segment: TcpHeader) {
        for data in [GET, b""] {
            self.send(segment, data);
            // Handshakes of strangers are under way besides.
            let port = self.port;
            let answers: Vec<_> = self.sent().into_iter().filter(|sent| sent.tuple.remote.port == port).collect();
            assert!(matches!(&answers[..], [answer] if answer.has(RST)), "{answers:?}");
            assert_eq!(answers[0].header.seq, segment.ack, "RFC 9293 §3.10.7.2");
        }
        assert_eq!((self.events(), self.state()), (vec![], State::Closed));
    }

    #[track_caller]
    fn is_refused(&mut self, segment: TcpHeader, reason: DropReason) {
        let before = self.drops(reason);
        self.opens_nothing(segment);
        assert_eq!(self.drops(reason), before + 2);
    }
}

/// How a connection may end without TIME-WAIT.
const ENDINGS: [&str; 3] = ["reset by the peer", "closed by the peer first", "aborted"];

/// Ends a connection that has received [`GET`].
fn end(bench: &mut Bench, id: ConnectionId, first: TcpHeader, how: &str) {
    let next = TcpHeader { seq: first.seq.advance(GET.len() as u32), ..first };
    match how {
        "reset by the peer" => bench.send(TcpHeader { flags: RST, options: TcpOptions::default(), ..next }, b""),
        "closed by the peer first" => {
            bench.send(TcpHeader { flags: FIN | ACK, ..next }, b"");
            bench.with_stream(id, |stream| {
                stream.consume(GET.len());
                stream.close();
            });
            bench.sent();
            bench.send(TcpHeader { seq: next.seq.advance(1), ack: next.ack.advance(1), ..next }, b"");
        }
        _ => bench.with_stream(id, |stream| stream.abort()),
    }
    bench.events();
    bench.sent();
    assert_eq!(bench.state(), State::Closed, "{how}");
}

#[test]
fn a_first_segment_that_comes_again_opens_nothing_however_the_connection_ended() {
    for how in ENDINGS {
        all_ways(|mode, mut bench, options| {
            let first = bench.halfway(IRS, options);
            let id = bench.complete(first);
            end(&mut bench, id, first, how);
            // For as long as its cookie lives, and longer.
            bench.is_refused(first, mode.refusal());
            for _ in 0..5 {
                bench.pass(Duration::from_secs(11));
                bench.is_refused(first, mode.refusal());
            }
        });
    }
}

#[test]
fn nor_does_the_last_acknowledgment_end_the_handshake_that_a_late_syn_begins() {
    all_ways(|_, mut bench, options| {
        // A clock that has hardly begun adds nothing to a number.
        bench.now = Instant::from_nanos(1);
        let first = bench.halfway(IRS, options);
        let id = bench.complete(first);
        end(&mut bench, id, first, "closed by the peer first");
        let last = TcpHeader { seq: first.seq.advance(GET.len() as u32 + 1), ack: first.ack.advance(1), ..first };
        bench.send(TcpHeader { options, ..bench.header(IRS, SeqNumber::default(), SYN) }, b"");
        let answer = bench.sent_one().header;
        assert!(answer.seq.since(first.ack) >= 1 << 29, "far beyond what was said: {}", answer.seq.since(first.ack));
        bench.send(last, b"");
        bench.sent();
        assert_eq!((bench.events(), bench.state()), (vec![], State::SynReceived));
    });
}

#[test]
fn nor_does_it_when_time_wait_is_over_or_was_pushed_out() {
    all_ways(|mode, mut bench, options| {
        let first = bench.halfway(IRS, options);
        let id = bench.complete(first);
        bench.with_stream(id, |stream| {
            stream.consume(GET.len());
            stream.close();
        });
        bench.sent();
        let last = TcpHeader { seq: first.seq.advance(GET.len() as u32), ack: first.ack.advance(1), ..first };
        bench.send(TcpHeader { flags: FIN | ACK, ..last }, b"");
        bench.sent();
        assert_eq!(bench.state(), State::TimeWait);
        bench.events();
        bench.pass(Duration::from_secs(61));
        bench.is_refused(first, mode.refusal());
    });
}

#[test]
fn a_handshake_that_was_reset_does_not_come_back() {
    all_ways(|mode, mut bench, options| {
        let first = bench.halfway(IRS, options);
        bench.send(TcpHeader { flags: RST, ..bench.header(first.seq, SeqNumber::default(), RST) }, b"");
        assert_eq!(bench.sent(), []);
        bench.is_refused(first, mode.refusal());
    });
}

#[test]
fn a_handshake_that_was_pushed_out_and_then_reset_does_not_come_back() {
    let mut bench = Mode::Peace.bench(false);
    let first = bench.halfway(IRS, TcpOptions::default());
    bench.evict();
    bench.send(bench.header(first.seq, SeqNumber::default(), RST), b"");
    bench.is_refused(first, DropReason::UsedCookie);
}

#[test]
fn only_an_exact_reset_breaks_a_handshake_off_that_nobody_remembers() {
    // RFC 5961 §3.2 asks no less of who is remembered.
    let mut bench = Mode::Cookie.bench(false);
    let first = bench.halfway(IRS, TcpOptions::default());
    for off in [-1_i32, 1, 1_000] {
        bench.send(bench.header(first.seq.advance(off as u32), SeqNumber::default(), RST), b"");
    }
    bench.complete(first);
}

#[test]
fn a_syn_and_an_ack_that_both_come_again_open_nothing() {
    // RFC 9293 §3.4.1: each incarnation has a number of its own, or old segments would be taken for new ones.
    for how in ENDINGS {
        all_ways(|mode, mut bench, options| {
            let mut numbers = Vec::new();
            let first = bench.halfway(IRS, options);
            let id = bench.complete(first);
            end(&mut bench, id, first, how);
            for _ in 0..3 {
                bench.pass(Duration::from_millis(30));
                let again = bench.halfway(IRS, options);
                assert!(!numbers.contains(&again.ack) && again.ack != first.ack, "{mode:?}, {how}");
                numbers.push(again.ack);
                bench.send(first, GET);
                assert!(bench.sent_one().has(RST));
                assert_eq!(bench.events(), []);
                // The client, which has begun nothing, says so.
                bench.send(bench.header(again.seq, SeqNumber::default(), RST), b"");
                assert_eq!(bench.state(), State::Closed, "{mode:?}, {how}");
            }
        });
    }
}

#[test]
fn a_new_handshake_of_the_same_addresses_and_ports_opens_a_new_connection() {
    all_ways(|_, mut bench, options| {
        let mut irs = IRS;
        for round in 0..10 {
            let first = bench.halfway(irs, options);
            let id = bench.complete(first);
            end(&mut bench, id, first, ENDINGS[round % 3]);
            bench.opens_nothing(first);
            // Strangers draw so many resets a second.
            bench.pass(Duration::from_secs(1));
            bench.sent();
            // Not even the client's number has to be another one.
            if round % 2 == 0 {
                irs = irs.advance(70_000);
            }
        }
        assert_eq!(bench.stack.stats().connections_opened, 10);
    });
}

#[test]
fn at_peace_no_cookie_counts() {
    let mut bench = Mode::Peace.bench(false);
    // What a machine with the same secrets has begun.
    let mut other = Mode::Cookie.bench(false);
    let first = other.halfway(IRS, TcpOptions::default());
    bench.is_refused(first, DropReason::StrayAck);
}

#[test]
fn cookies_count_for_their_life_after_a_handshake_was_forgotten() {
    for forgets in [Mode::Evicting, Mode::Cookie] {
        let mut bench = forgets.bench(false);
        let mut other = Mode::Cookie.bench(false);
        if forgets == Mode::Cookie {
            bench.halfway(IRS.advance(9), TcpOptions::default());
            bench.stack.set_syn_mode(SynMode::Cache);
        }
        let mut is_accepted = |bench: &mut Bench| {
            (other.now, other.port) = (bench.now, other.port + 1);
            bench.port = other.port;
            let first = other.halfway(IRS, TcpOptions::default());
            bench.send(first, GET);
            bench.sent();
            bench.state() == State::Established
        };
        bench.pass(2 * EPOCH - Duration::from_millis(1));
        assert!(is_accepted(&mut bench), "{forgets:?}");
        bench.pass(Duration::from_millis(1));
        assert!(!is_accepted(&mut bench), "{forgets:?}");
    }
}

#[test]
fn who_takes_over_accepts_what_another_has_begun_for_as_long_as_it_is_told() {
    let (mut other, mut bench) = (Mode::Cookie.bench(false), Mode::Peace.bench(false));
    bench.stack.accept_cookies_until(bench.now + 2 * EPOCH);
    let first = other.halfway(IRS, TcpOptions::default());
    let id = bench.complete(first);
    end(&mut bench, id, first, "aborted");
    bench.is_refused(first, DropReason::UsedCookie);
    bench.pass(2 * EPOCH);
    bench.is_refused(first, DropReason::StrayAck);
}

#[test]
fn resets_of_strangers_push_out_no_handshake_that_was_used() {
    let config = StackConfig { max_used_handshakes: 8, max_reset_handshakes: 8, ..StackConfig::default() };
    let mut bench = Bench::with(config);
    bench.stack.set_syn_mode(SynMode::Cookie);
    let first = bench.halfway(IRS, TcpOptions::default());
    let id = bench.complete(first);
    end(&mut bench, id, first, "aborted");
    for number in 0..1_000 {
        bench.send(bench.header(SeqNumber::new(number * 77), SeqNumber::default(), RST), b"");
    }
    bench.is_refused(first, DropReason::UsedCookie);
}

#[test]
fn strangers_are_counted_whether_or_not_they_are_answered() {
    let mut bench = Bench::with(StackConfig { resets_per_second: 10, ..StackConfig::default() });
    for number in 0..100 {
        bench.send(bench.header(IRS, SeqNumber::new(number), ACK), b"");
    }
    assert_eq!((bench.drops(DropReason::StrayAck), bench.sent().len()), (100, 1));
    assert_eq!(bench.drops(DropReason::RateLimited), 99);
}

#[test]
fn the_oldest_of_a_bucket_makes_room() {
    let mut used = UsedHandshakes::new(16);
    // One bucket's worth, of which one comes again, and takes no second place.
    let number = |n: u32| SeqNumber::new(n * 1_000_003);
    for n in [1, 2, 3, 4, 5, 6, 7, 8, 1] {
        used.insert(0x7777_0000, number(n));
    }
    used.insert(0x7777_0001, number(9));
    assert!((1..=8).all(|n| used.contains(0x7777_0000, number(n))) && used.contains(0x7777_0001, number(9)));
    for (newcomer, kept) in [(10, [1, 3, 4, 5, 6, 7, 8, 10]), (11, [1, 4, 5, 6, 7, 8, 10, 11])] {
        used.insert(0x7777_0000, number(newcomer));
        let found: Vec<u32> = (1..=11).filter(|&n| used.contains(0x7777_0000, number(n))).collect();
        assert_eq!(found, kept.to_vec(), "the oldest has gone");
    }
    assert!(!used.contains(0x7778_0000, number(1)), "another flow with the same number");
    let mut none = UsedHandshakes::new(0);
    none.insert(1, number(1));
    assert!(!none.contains(1, number(1)));
}
