//! Peers with timestamps (RFC 7323), as a stack sees them: who has a clock, and when it may be missing.

use super::*;
use crate::wire::tcp_options::Timestamps;

/// What the client's clock shows at its SYN.
const CLOCK: u32 = 77_000;

fn with_clock(value: u32, echo: u32) -> TcpOptions {
    TcpOptions { timestamps: Some(Timestamps { value, echo }), ..TcpOptions::default() }
}

impl Bench {
    /// A SYN with timestamps, and what it draws: our initial sequence number, and our clock.
    #[track_caller]
    fn begin_with_clock(&mut self) -> (SeqNumber, u32) {
        self.send_syn(TcpOptions { mss: Some(1_460), ..with_clock(CLOCK, 0) });
        let answer = self.sent_one().header;
        (answer.seq, answer.options.timestamps.expect("timestamps are agreed on").value)
    }

    /// A connection with timestamps.
    #[track_caller]
    fn connect_with_clock(&mut self) -> (ConnectionId, SeqNumber, u32) {
        let (iss, ours) = self.begin_with_clock();
        self.send_with_clock(IRS.advance(1), iss.advance(1), ACK, (CLOCK + 1, ours), b"");
        let events = self.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("a connection was expected: {events:?}") };
        assert_eq!(self.sent(), []);
        (id, iss, ours)
    }

    fn send_with_clock(
        &mut self,
        seq: SeqNumber,
        ack: SeqNumber,
        flags: TcpFlags,
        (value, echo): (u32, u32),
        data: &[u8],
    ) {
        self.send(TcpHeader { options: with_clock(value, echo), ..self.header(seq, ack, flags) }, data);
    }
}

/// All SYN modes but the one without memory, and both IP versions.
fn benches() -> [Bench; 2] {
    [Bench::new(), Bench::new().over_ipv6()]
}

#[test]
fn one_that_slept_for_24_days_takes_the_peers_clock_whatever_it_shows() {
    // RFC 7323 §5.5.
    for (max_awake, days) in [(0, 23), (1, 23), (0, 25), (1, 25)] {
        let mut bench = Bench::with(StackConfig { max_awake, silence: None, ..StackConfig::default() });
        let (_, iss, ours) = bench.connect_with_clock();
        assert_eq!(bench.stack.connections_asleep(), 1 - max_awake);
        bench.pass(Duration::from_secs(days * 24 * 3_600));
        let clock = CLOCK + 1 + (1 << 31);
        bench.send_with_clock(IRS.advance(1), iss.advance(1), ACK, (clock, ours), b"hello");
        let refused = bench.drops(DropReason::OldTimestamp);
        assert_eq!(refused, u64::from(days < 24), "after {days} days");
        assert_eq!(bench.events().len() as u64, 1 - refused);
    }
}

#[test]
fn a_reset_of_a_connection_with_timestamps_carries_them() {
    // RFC 7323 §3.2. What it echoes is zero where it acknowledges nothing.
    for mut bench in benches() {
        let (id, _, ours) = bench.connect_with_clock();
        bench.pass(Duration::from_millis(30));
        bench.with_stream(id, |stream| stream.abort());
        let reset = bench.sent_one();
        assert!(reset.has(RST | ACK));
        assert_eq!(reset.header.options, with_clock(ours.wrapping_add(30), CLOCK + 1));
    }
    for mut bench in benches() {
        let (iss, ours) = bench.begin_with_clock();
        bench.pass(Duration::from_millis(30));
        bench.send_with_clock(IRS.advance(1), iss.advance(9), ACK, (CLOCK + 1, ours), b"");
        let reset = bench.sent_one();
        assert!(reset.has(RST));
        assert_eq!(reset.header.options, with_clock(ours.wrapping_add(30), 0));
    }
    // Nobody has agreed on anything where there is no connection, nor where the peer has no clock.
    let mut bench = Bench::new();
    bench.send_with_clock(IRS, SeqNumber::new(77), ACK, (CLOCK, 5), b"stray");
    assert_eq!(bench.sent_one().header.options, TcpOptions::default());
    let (id, _) = bench.connect();
    bench.with_stream(id, |stream| stream.abort());
    assert_eq!(bench.sent_one().header.options, TcpOptions::default());
}

#[test]
fn a_handshake_ends_without_the_timestamps_that_were_agreed_on() {
    for mut bench in benches() {
        let (iss, ours) = bench.begin_with_clock();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"GET");
        let events = bench.events();
        let [Event::Accepted(id, _), Event::Ready(_)] = events[..] else { panic!("{events:?}") };
        bench.with_stream(id, |stream| stream.echo());
        let echo = bench.sent_one();
        assert_eq!((&echo.data[..], echo.header.options), (&b"GET"[..], with_clock(ours, CLOCK)));
    }
    // Where nobody remembers it, a part of the cookie is missing with them.
    let mut bench = Bench::new();
    bench.stack.set_syn_mode(SynMode::Cookie);
    let (iss, ours) = bench.begin_with_clock();
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"GET");
    assert!(bench.sent_one().has(RST));
    assert_eq!(bench.drops(DropReason::BadCookie), 1);
    bench.send_with_clock(IRS.advance(1), iss.advance(1), ACK, (CLOCK + 1, ours), b"GET");
    assert_eq!(bench.state(), State::Established);
}
