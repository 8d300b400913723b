//! A peer that says nothing: keep-alive, R1 and R2, the user timeout.

use super::*;
use crate::{
    config::KeepAlive,
    tcp::{CloseReason, Signals, State},
};

const MINUTE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);

impl Bench {
    /// Lets timers expire, one after the other, up to `until`.
    fn pass_until(&mut self, until: Instant) -> Vec<Sent> {
        let mut sent = self.sent();
        while let Some(deadline) = self.connection.poll_timeout().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.connection.handle_timeout(self.config.at(self.now));
            if self.connection.state() == State::Closed {
                break;
            }
            sent.extend(self.sent());
        }
        self.now = self.now.max(until);
        sent
    }
}

#[test]
fn must_25_nobody_is_asked_unless_the_application_wants_it() {
    let mut bench = Bench::new();
    assert_eq!(TcpConfig::default().keep_alive, None);
    assert_eq!(bench.pass_until(bench.now + 10_000 * MINUTE), []);
}

#[test]
fn must_28_and_shld_12_an_idle_peer_is_asked_after_two_hours() {
    let mut bench = Bench::new();
    bench.connection.set_keep_alive(Some(KeepAlive::default()));
    assert_eq!(bench.pass_until(bench.now + (120 * MINUTE - MILLISECOND)), []);
    let probes = bench.pass_until(bench.now + MILLISECOND);
    let [probe] = &probes[..] else { panic!("one probe was expected: {probes:?}") };
    // SHLD-12: no data, and a number that makes the peer answer.
    assert_eq!((probe.seq, probe.ack, probe.flags, &probe.data[..]), (0, 1, ACK, &b""[..]));
}

#[test]
fn must_27_the_intervals_are_the_applications_and_must_29_one_lost_answer_proves_nothing() {
    let keep_alive = KeepAlive { idle: MINUTE, interval: Duration::from_secs(5), probes: 3 };
    let mut bench = Bench::new();
    bench.connection.set_keep_alive(Some(keep_alive));
    let begun = bench.now;
    assert_eq!(bench.pass_until(begun + MINUTE + Duration::from_secs(14)).len(), 3);
    assert_eq!(bench.connection.state(), State::Established, "two answers may be lost, and the third one late");
    bench.receive(1, 1, ACK, b"");
    let answered = bench.now;
    assert_eq!(bench.pass_until(answered + (MINUTE - MILLISECOND)), [], "the peer lives");
    assert_eq!(bench.pass_until(answered + 2 * MINUTE).len(), 3);
    assert_eq!(bench.connection.end(), Some(CloseReason::TimedOut));
    assert_eq!(bench.now - answered, 2 * MINUTE);
}

#[test]
fn must_26_only_an_idle_peer_is_asked() {
    let keep_alive = KeepAlive { idle: Duration::from_millis(100), ..KeepAlive::default() };
    let mut bench = Bench::new();
    bench.connection.set_keep_alive(Some(keep_alive));
    bench.write(1);
    bench.sent();
    let sent = bench.pass_until(bench.now + MINUTE);
    assert!(sent.iter().all(|sent| sent.kind == SentKind::Retransmission), "{sent:?}");
    // Traffic puts the question off.
    bench.receive(1, 2, ACK, b"");
    bench.sent();
    for _ in 0..100 {
        bench.now += Duration::from_millis(50);
        bench.connection.handle_timeout(bench.config.at(bench.now));
        assert_eq!(bench.sent(), []);
        bench.receive(1, 2, ACK, b"");
    }
}

#[test]
fn must_24_keep_alive_can_be_switched_off_again() {
    let mut bench = Bench::new();
    bench.connection.set_keep_alive(Some(KeepAlive { idle: MINUTE, ..KeepAlive::default() }));
    bench.sent();
    bench.connection.set_keep_alive(None);
    assert_eq!(bench.pass_until(bench.now + 10 * MINUTE), []);
}

#[test]
fn shld_9_and_shld_10_the_application_hears_of_the_third_retransmission() {
    let mut bench = Bench::new();
    bench.write(1);
    bench.sent();
    bench.connection.take_signals();
    for retransmission in 1..=3 {
        assert!(!bench.connection.take_signals().contains(Signals::R1_REACHED));
        bench.wait_for_timer();
        assert_eq!(bench.sent_one().kind, SentKind::Retransmission, "number {retransmission}");
    }
    assert!(bench.connection.take_signals().contains(Signals::R1_REACHED));
    bench.wait_for_timer();
    assert!(!bench.connection.take_signals().contains(Signals::R1_REACHED), "once is enough");
}

#[test]
fn must_20_and_shld_11_a_silent_peer_is_given_up_after_more_than_100_s() {
    let mut bench = Bench::new();
    bench.write(1);
    bench.sent();
    let begun = bench.now;
    bench.pass_until(begun + 60 * MINUTE);
    assert_eq!(bench.connection.end(), Some(CloseReason::TimedOut));
    let mut bench = Bench::new();
    bench.write(1);
    bench.pass_until(begun + Duration::from_secs(100));
    assert_eq!(bench.connection.end(), None);
}

#[test]
fn must_21_the_application_sets_how_long_it_waits() {
    for seconds in [3, 1_000] {
        let patience = Duration::from_secs(seconds);
        let mut bench = Bench::new();
        bench.connection.set_user_timeout(Some(patience));
        bench.write(1);
        bench.sent();
        let begun = bench.now;
        bench.pass_until(begun + (patience - MILLISECOND));
        assert_eq!(bench.connection.end(), None);
        bench.pass_until(begun + patience);
        assert_eq!(bench.connection.end(), Some(CloseReason::TimedOut), "{seconds} s");
    }
}

#[test]
fn the_user_timeout_begins_anew_with_each_acknowledgment() {
    let mut bench = Bench::new();
    bench.connection.set_user_timeout(Some(Duration::from_secs(3)));
    for octet in 0..10 {
        bench.write(1);
        bench.sent();
        bench.pass_until(bench.now + Duration::from_secs(2));
        bench.receive(1, 2 + octet, ACK, b"");
    }
    bench.sent();
    bench.pass_until(bench.now + 10 * MINUTE);
    assert_eq!(bench.connection.end(), None, "nothing is outstanding");
}

#[test]
fn must_37_a_window_that_stays_shut_is_no_reason_to_give_up() {
    let mut bench = Bench::new();
    bench.connection.set_user_timeout(Some(Duration::from_secs(30)));
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.write(100);
    bench.sent();
    for _ in 0..100 {
        bench.wait_for_timer();
        if !bench.sent().is_empty() {
            bench.receive_with_window(1, 1, ACK, 0, b"");
        }
        assert_eq!(bench.connection.end(), None);
    }
}
