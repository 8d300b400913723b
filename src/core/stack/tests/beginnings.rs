//! What a handshake tells of the path, and how data begin after it (RFC 6298 §5.7, RFC 5681 §3.1).

use super::*;
use crate::{config::CongestionControl, config::TcpConfig};

const ROUND_TRIP: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

fn plain() -> TcpOptions {
    TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() }
}

fn with_sack() -> TcpOptions {
    TcpOptions { sack_permitted: true, ..plain() }
}

/// Both IP versions, both congestion controllers; one sleeps while it is idle, the other never does.
fn benches() -> [Bench; 2] {
    [(CongestionControl::Cubic, 0), (CongestionControl::Reno, 1)].map(|(congestion_control, max_awake)| {
        let tcp = TcpConfig { congestion_control, ..TcpConfig::default() };
        let bench = Bench::with(StackConfig { tcp, max_awake, ..StackConfig::default() });
        if max_awake == 0 { bench } else { bench.over_ipv6() }
    })
}

impl Bench {
    /// Lets time pass until something is sent.
    #[track_caller]
    fn wait_for_segments(&mut self) -> (Duration, Vec<Sent>) {
        let begun = self.now;
        loop {
            self.now = self.now.max(self.stack.poll_timeout().expect("a timer runs"));
            self.stack.handle_timeout(self.now);
            let sent = self.sent_segments();
            if !sent.is_empty() {
                return (self.now - begun, sent);
            }
        }
    }

    /// A connection that a client opens, of which so many SYN-ACKs are lost.
    #[track_caller]
    fn accept_after(&mut self, lost: u32, options: TcpOptions) -> (ConnectionId, SeqNumber) {
        self.send_syn(options);
        let mut answer = self.sent_one();
        for _ in 0..lost {
            answer = self.wait_for_segments().1.remove(0);
            assert!(answer.has(SYN | ACK));
        }
        self.end_handshake(answer.header.seq)
    }

    #[track_caller]
    fn end_handshake(&mut self, iss: SeqNumber) -> (ConnectionId, SeqNumber) {
        self.pass(ROUND_TRIP);
        self.send(self.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let events = self.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("a connection was expected: {events:?}") };
        assert_eq!(self.sent(), []);
        (id, iss)
    }

    /// A connection that we open, of which so many SYNs are lost; and the segment that ends it, where both ends open at once.
    #[track_caller]
    fn open_after(&mut self, lost: u32, at_once: bool) -> (ConnectionId, Sent) {
        let (id, mut syn) = self.begin_with_syn();
        for _ in 0..lost {
            syn = self.wait_for_segments().1.remove(0);
            assert!(syn.has(SYN));
        }
        self.pass(ROUND_TRIP);
        if at_once {
            self.reply_with(&syn, IRS, SeqNumber::default(), SYN, plain(), b"");
            assert!(self.sent_one().has(SYN | ACK));
        }
        self.reply_with(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, plain(), b"");
        assert!(self.events().contains(&Event::Connected(id)));
        self.sent_one();
        // The window of a SYN is never scaled: this one is.
        self.reply(&syn, IRS.advance(1), syn.header.seq.advance(1), ACK, b"");
        self.sent();
        (id, syn)
    }

    /// How long an answer of 100 octets waits to be sent again.
    #[track_caller]
    fn patience(&mut self, id: ConnectionId) -> Duration {
        self.pass(5 * SECOND);
        self.with_stream(id, |stream| stream.write(&[7; 100]));
        assert_eq!(self.sent_segments().len(), 1);
        let (waited, again) = self.wait_for_segments();
        assert_eq!(again[0].data.len(), 100);
        waited
    }

    /// How many segments data begin with.
    fn first_flight(&mut self, id: ConnectionId) -> usize {
        self.with_stream(id, |stream| stream.write(&[7; 50_000]));
        self.sent_segments().len()
    }
}

#[test]
fn a_lost_first_answer_is_sent_again_as_soon_as_the_handshakes_round_trip_allows() {
    for mut bench in benches() {
        let (id, _) = bench.accept_after(0, plain());
        assert_eq!(bench.patience(id), Duration::from_millis(200), "the least timeout there is");
    }
    for mut bench in benches() {
        // Two round trips and the longest of delayed acknowledgments would be later (RFC 8985 §7.2).
        let (id, _) = bench.accept_after(0, with_sack());
        assert_eq!(bench.patience(id), Duration::from_millis(200));
    }
    for mut bench in benches() {
        let (id, _) = bench.open_after(0, false);
        assert_eq!(bench.patience(id), Duration::from_millis(200));
    }
}

#[test]
fn must_18_a_syn_ack_that_was_sent_twice_measures_nothing() {
    for mut bench in benches() {
        bench.send_syn(plain());
        let answer = bench.sent_one();
        bench.send_syn(plain());
        assert_eq!(bench.sent_one(), answer);
        let (id, _) = bench.end_handshake(answer.header.seq);
        assert_eq!(bench.patience(id), SECOND);
    }
    for mut bench in benches() {
        // Nor does the SYN of a simultaneous open, which the SYN-ACK repeats.
        let (id, _) = bench.open_after(0, true);
        assert_eq!(bench.patience(id), SECOND);
    }
}

#[test]
fn of_a_handshake_that_nobody_remembers_nothing_is_known() {
    for mut bench in benches() {
        bench.stack.set_syn_mode(SynMode::Cookie);
        bench.send_syn(plain());
        let iss = bench.sent_one().header.seq;
        let (id, _) = bench.end_handshake(iss);
        assert_eq!(bench.patience(id), SECOND);
    }
}

#[test]
fn after_a_syn_or_syn_ack_that_was_lost_the_timeout_is_three_seconds() {
    // RFC 6298 §5.7.
    for lost in [1, 2, 3] {
        for mut bench in benches() {
            let (id, _) = bench.accept_after(lost, plain());
            assert_eq!(bench.patience(id), 3 * SECOND, "after {lost} SYN-ACKs");
        }
        for at_once in [false, true] {
            for mut bench in benches() {
                let (id, _) = bench.open_after(lost, at_once);
                assert_eq!(bench.patience(id), 3 * SECOND, "after {lost} SYNs");
            }
        }
    }
}

#[test]
fn what_is_measured_afterwards_counts_as_ever() {
    let mut bench = Bench::new();
    let (id, iss) = bench.accept_after(1, plain());
    bench.with_stream(id, |stream| stream.write(&[7; 100]));
    bench.sent();
    bench.pass(ROUND_TRIP);
    bench.send(bench.header(IRS.advance(1), iss.advance(101), ACK), b"");
    assert_eq!(bench.patience(id), Duration::from_millis(200));
}

#[test]
fn after_two_that_were_lost_data_begin_with_one_segment() {
    // RFC 5681 §3.1 and RFC 6928 §2.
    for (lost, segments) in [(0, 10), (1, 10), (2, 1), (3, 1)] {
        for mut bench in benches() {
            let (id, _) = bench.accept_after(lost, plain());
            assert_eq!(bench.first_flight(id), segments, "after {lost} SYN-ACKs");
        }
        for mut bench in benches() {
            let (id, _) = bench.open_after(lost, false);
            assert_eq!(bench.first_flight(id), segments, "after {lost} SYNs");
        }
    }
}

#[test]
fn a_path_that_is_known_to_be_narrow_changes_nothing_about_that() {
    for (lost, segments) in [(0, 10), (2, 1)] {
        for is_ours in [false, true] {
            let mut bench = Bench::new();
            bench.stack.interfaces[InterfaceId::FIRST].path_mtus.insert(bench.theirs, 1_040, Instant::NEVER);
            let id = if is_ours { bench.open_after(lost, false).0 } else { bench.accept_after(lost, plain()).0 };
            assert_eq!(bench.first_flight(id), segments, "segments of 1,000 octets");
        }
    }
}

#[test]
fn the_one_segment_becomes_two_when_it_is_acknowledged() {
    for mut bench in benches() {
        let (id, iss) = bench.accept_after(2, plain());
        assert_eq!(bench.first_flight(id), 1);
        let mss = if bench.ours.is_ipv4() { 1_460 } else { 1_440 };
        bench.pass(ROUND_TRIP);
        bench.send(bench.header(IRS.advance(1), iss.advance(1 + mss), ACK), b"");
        assert_eq!(bench.sent().len(), 2);
    }
}
