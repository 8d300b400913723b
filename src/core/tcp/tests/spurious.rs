//! What was taken for lost and was not: F-RTO (RFC 5682), Eifel detection (RFC 3522), D-SACK, and what is undone then.

use super::{sack::at, *};
use crate::{
    tcp::{
        congestion::{Ack, Congestion, Controller},
        timestamps::TimestampState,
    },
    wire::{TcpOptions, tcp_options::Timestamps},
};

const SEGMENT: usize = MSS as usize;
const ROUND: Duration = Duration::from_millis(100);

/// A connection with ten segments of thirty on their way, whose timer has just expired, and what it sent then.
fn timed_out(sack: bool) -> Bench {
    let mut bench = Bench::with(TcpConfig::default(), &Handshake { sack, ..handshake() });
    bench.write(30 * SEGMENT);
    assert_eq!(bench.sent().len(), 10);
    if sack {
        // The probe of the tail comes first, with new data.
        bench.wait_for_timer();
        assert_eq!(bench.sent_ranges(), [(at(10), SEGMENT)]);
    }
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(0), SEGMENT)]);
    assert_eq!((bench.connection.timeouts, bench.connection.congestion.window()), (1, MSS));
    bench
}

#[test]
fn a_timeout_that_was_only_delay_is_undone() {
    for sack in [false, true] {
        let mut bench = timed_out(sack);
        let next = if sack { 11 } else { 10 };
        bench.reported(at(1), &[]);
        // Two new segments, and nothing again (RFC 5682 §2.1 step 2b).
        assert_eq!(bench.sent_ranges(), [(at(next), SEGMENT), (at(next + 1), SEGMENT)], "SACK {sack}");
        bench.reported(at(2), &[]);
        assert!(bench.connection.congestion.window() >= 10 * MSS, "SACK {sack}: {:?}", bench.connection.congestion);
        assert!(bench.sent().iter().all(|sent| sent.kind == SentKind::New), "SACK {sack}");
    }
}

#[test]
fn a_timeout_that_was_loss_is_repaired_in_slow_start() {
    // §2.1 step 3a, and §3.1 where the peer reports.
    for sack in [false, true] {
        let mut bench = timed_out(sack);
        let next = if sack { 11 } else { 10 };
        bench.reported(at(1), &[]);
        assert_eq!(bench.sent_ranges().len(), 2);
        bench.reported(at(1), &[(at(next), at(next + 1))][..usize::from(sack)]);
        let again = bench.sent_ranges();
        assert_eq!(again.first(), Some(&(at(1), SEGMENT)), "SACK {sack}");
        assert!(bench.connection.congestion.window() <= 3 * MSS);
    }
}

#[test]
fn a_second_timeout_is_not_doubted() {
    let mut bench = timed_out(false);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(0), SEGMENT)]);
    bench.reported(at(1), &[]);
    assert_eq!(bench.sent_ranges().first(), Some(&(at(1), SEGMENT)));
}

/// A connection that has sent segment 0 again, because the three behind it were reported.
fn retransmitted() -> Bench {
    let mut bench = sack::timed();
    assert_eq!(sack::sends_more(&mut bench, 10).len(), 10);
    bench.now += ROUND;
    bench.reported(at(1), &[(at(2), at(5))]);
    assert_eq!(bench.sent_ranges(), [(at(1), SEGMENT)]);
    bench
}

#[test]
fn a_recovery_in_vain_is_undone_by_the_report_that_says_so() {
    let mut bench = retransmitted();
    let reduced = bench.connection.congestion.window();
    bench.now += ROUND / 10;
    bench.reported(at(11), &[]);
    assert_eq!(bench.connection.congestion.window(), reduced, "which of the two arrived, nobody knows");
    bench.now += ROUND;
    bench.reported(at(11), &[(at(1), at(2))]);
    assert!(bench.connection.congestion.window() > reduced, "RFC 2883 §4: both");
    // It took longer than the window for reordering was, so that has grown.
    assert_eq!(bench.connection.send.rack().window(true, 9, Some(ROUND)), ROUND / 2);
}

#[test]
fn a_report_about_something_else_undoes_nothing() {
    for lie in [(0, at(0)), (at(1), at(1)), (at(20), at(21)), (at(2), at(1)), (at(0), at(1))] {
        let mut bench = retransmitted();
        let reduced = bench.connection.congestion.window();
        bench.reported(at(11), &[]);
        bench.reported(at(11), &[lie]);
        assert_eq!(bench.connection.congestion.window(), reduced, "{lie:?}");
    }
}

#[test]
fn a_timestamp_from_before_the_retransmission_undoes_it_at_once() {
    // RFC 3522 §3.2.
    for (echoed, undone) in [(0, true), (200, false)] {
        let now = Instant::from_millis(1_000);
        let clocks = Some(TimestampState::new(now, 7, 1));
        let config = TcpConfig::default();
        let connection = Connection::established(config.at(now), &Handshake { clocks, ..handshake() });
        let mut bench = Bench { connection, config, now };
        let answer = |bench: &mut Bench, ack: u32, echo: u32| {
            let timestamps = Some(Timestamps { value: 1, echo: 7 + echo });
            let options = TcpOptions { timestamps, ..TcpOptions::default() };
            let (seq, ack) = (IRS.advance(1), ISS.advance(ack));
            let header = TcpHeader { seq, ack, flags: ACK, window: 64_000, options, ..TcpHeader::default() };
            let link = *bench.connection.link();
            let segment = Segment { header, payload: b"", traffic_class: 0 };
            assert_eq!(bench.connection.arrive(bench.config.at(bench.now), &link, &segment), Ok(()));
        };
        answer(&mut bench, 1, 0);
        bench.write(10 * SEGMENT);
        bench.sent();
        let window = bench.connection.congestion.window();
        bench.now += 2 * ROUND;
        for _ in 0..3 {
            answer(&mut bench, 1, 0);
        }
        assert_eq!(bench.sent_ranges(), [(1, SEGMENT - 12)]);
        assert!(bench.connection.congestion.window() < window);
        answer(&mut bench, 1 + 4 * (MSS - 12), echoed);
        assert_eq!(bench.connection.congestion.window() >= window, undone, "echo {echoed}");
        // A quarter of a round trip of 200 ms was too little, then: the window for reordering grows as it does for a D-SACK.
        let reordering = bench.connection.send.rack().window(false, 0, Some(4 * ROUND));
        assert_eq!(reordering, if undone { ROUND } else { ROUND / 2 }, "echo {echoed}");
        let again = bench.sent().iter().any(|sent| sent.kind == SentKind::Retransmission);
        assert_eq!(again, !undone, "echo {echoed}");
    }
}

#[test]
fn both_controllers_take_back_a_reduction_once() {
    for kind in [CongestionControl::Cubic, CongestionControl::Reno] {
        let mut congestion = Congestion::new(kind, 1_000);
        congestion.lost(10_000);
        congestion.undo();
        let (window, ack) = (congestion.window(), Ack { octets: 1_000, limited: true, now: Instant::ZERO, rtt: ROUND });
        congestion.acknowledged(&ack);
        assert_eq!((window, congestion.window()), (10_000, 11_000), "{kind:?} is in slow start again");
        congestion.timed_out(11_000, true);
        congestion.timed_out(1_000, false);
        congestion.undo();
        assert_eq!(congestion.window(), 11_000, "{kind:?}: as it was before the first timeout");
        congestion.timed_out(11_000, true);
        congestion.undo();
        congestion.lost(11_000);
        let reduced = congestion.window();
        congestion.undo();
        congestion.undo();
        assert!(congestion.window() > reduced, "{kind:?}");
    }
}
