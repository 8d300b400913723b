//! Losses found by time (RFC 8985): the window for reordering, its timer, and what a probe of the tail has done.

use super::{super::tail_probe::TailProbe, sack::at, *};
use crate::{
    tcp::{
        congestion::Controller,
        rack::{Delivered, Rack},
        timestamps::TimestampState,
    },
    wire::{
        TcpOptions,
        tcp_options::{SackBlocks, Timestamps},
    },
};

const ROUND: Duration = Duration::from_millis(100);
const SEGMENT: usize = MSS as usize;

/// A connection that knows its round trip, 100 ms, and has so many segments on their way.
fn on_the_way(segments: u32) -> Bench {
    let mut bench = sack::timed();
    assert_eq!(sack::sends_more(&mut bench, segments as usize).len(), segments as usize);
    bench
}

#[test]
fn what_one_segment_has_overtaken_has_a_quarter_of_a_round_trip_left() {
    let mut bench = on_the_way(2);
    bench.now += ROUND;
    bench.reported(at(1), &[(at(2), at(3))]);
    assert_eq!(bench.sent_ranges(), []);
    assert_eq!(bench.wait_for_timer(), ROUND / 4);
    assert_eq!(bench.sent_ranges(), [(at(1), SEGMENT)]);
    assert_eq!(bench.connection.timeouts, 0);
}

#[test]
fn what_comes_in_time_is_not_sent_again_and_reordering_is_remembered() {
    let mut bench = on_the_way(10);
    bench.now += ROUND;
    bench.reported(at(1), &[(at(2), at(3))]);
    bench.pass(ROUND / 5);
    bench.reported(at(3), &[]);
    assert!(!bench.is_armed(Timer::Reordering));
    // From now on, three segments beyond a hole are no proof.
    bench.reported(at(3), &[(at(4), at(9))]);
    assert_eq!(bench.sent_ranges(), []);
    assert!(bench.is_armed(Timer::Reordering));
    bench.reported(at(9), &[]);
    assert!(!bench.is_armed(Timer::Reordering));
    assert!(bench.connection.congestion.window() > 10 * MSS, "nothing was taken for lost");
}

#[test]
fn what_a_timer_finds_lost_during_recovery_makes_no_burst() {
    // Reordering has been seen, ten segments are on their way: five, and 10 ms later five more.
    let mut bench = on_the_way(2);
    bench.now += ROUND;
    bench.reported(at(1), &[(at(2), at(3))]);
    bench.reported(at(3), &[]);
    for _ in 0..2 {
        bench.now += ROUND / 10;
        bench.connection.write(&pattern(0, 5 * SEGMENT), &bench.config);
        assert_eq!(bench.sent_ranges().len(), 5);
    }
    bench.now += ROUND;
    bench.reported(at(3), &[(at(12), at(13))]);
    assert_eq!(bench.sent_ranges(), []);
    // The first five are overdue, then the others: each time one goes out, and acknowledgments draw the rest.
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(3), SEGMENT)]);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(4), SEGMENT)]);
    assert_eq!(bench.connection.timeouts, 0);
    bench.now += ROUND;
    bench.reported(at(4), &[(at(12), at(13))]);
    assert_eq!(bench.sent_ranges(), [(at(5), SEGMENT), (at(6), SEGMENT)]);
}

fn delivered(number: u32, retransmitted: bool) -> Delivered {
    let end = ISS.advance(number * MSS);
    Delivered { end, sent_at: Instant::ZERO, order: number, retransmitted, answers_earlier: false }
}

/// A detect_losses of a path of 100 ms, on which the second segment came before the first where `reordered`.
fn rack(reordered: bool) -> Rack {
    rack_by_clock(reordered, Duration::ZERO)
}

fn rack_by_clock(reordered: bool, tick: Duration) -> Rack {
    let mut rack = Rack::new(ISS, tick);
    let order = if reordered { [2, 1] } else { [1, 2] };
    for number in order {
        rack.delivered(&delivered(number, false), Instant::ZERO + ROUND);
    }
    rack
}

#[test]
fn the_window_is_shut_only_where_reordering_was_never_seen() {
    for (reordered, recovering, reported, expected) in [
        (false, false, 2, ROUND / 4),
        (false, false, 3, Duration::ZERO),
        (false, true, 1, Duration::ZERO),
        (true, false, 3, ROUND / 4),
        (true, true, 9, ROUND / 4),
    ] {
        let window = rack(reordered).window(recovering, reported, Some(ROUND));
        assert_eq!(window, expected, "{reordered} {recovering} {reported}");
    }
}

#[test]
fn a_coarse_clock_makes_the_window_wider_by_two_ticks() {
    let tick = ROUND / 10;
    let mut rack = rack_by_clock(true, tick);
    assert_eq!(rack.window(false, 3, Some(ROUND)), ROUND / 4 + 2 * tick);
    rack.saw_spurious_retransmission(ISS, ISS.advance(100));
    assert_eq!(rack.window(false, 3, Some(ROUND)), ROUND / 2 + 2 * tick, "a clock is no coarser for that");
    assert_eq!(rack_by_clock(false, tick).window(false, 3, Some(ROUND)), Duration::ZERO, "three are three");
}

#[test]
fn the_window_grows_with_each_round_of_duplicates_and_shrinks_after_sixteen_recoveries() {
    // §6.2 step 4.
    let mut rack = rack(true);
    let window = |rack: &Rack| rack.window(false, 0, Some(2 * ROUND));
    rack.saw_spurious_retransmission(ISS, ISS.advance(100));
    assert_eq!(window(&rack), ROUND / 2);
    rack.saw_spurious_retransmission(ISS.advance(99), ISS.advance(300));
    assert_eq!(window(&rack), ROUND / 2, "once a round trip");
    rack.saw_spurious_retransmission(ISS.advance(100), ISS.advance(300));
    assert_eq!(window(&rack), 3 * ROUND / 4);
    for round in 2..20 {
        rack.saw_spurious_retransmission(ISS.advance(round * 300), ISS.advance(round * 300 + 300));
    }
    assert_eq!(window(&rack), 2 * ROUND, "never more than a round trip");
    for _ in 0..15 {
        rack.recovered();
    }
    assert_eq!(window(&rack), 2 * ROUND);
    rack.recovered();
    assert_eq!(window(&rack), ROUND / 4);
}

#[test]
fn transmissions_are_told_apart_though_the_clock_stands_still() {
    let mut rack = Rack::new(ISS, Duration::ZERO);
    rack.delivered(&delivered(5, false), Instant::ZERO);
    assert!(rack.has_overtaken(4));
    assert!(!rack.has_overtaken(5));
    assert!(!rack.has_overtaken(6));
    rack.delivered(&delivered(2, false), Instant::ZERO);
    assert!(rack.has_overtaken(4), "the last sent of all that arrived counts");
}

#[test]
fn an_answer_too_early_for_a_retransmission_is_none() {
    // §6.2 step 2: what was sent again at 0 ms is acknowledged within a tenth of the round trip.
    let mut rack = rack(false);
    rack.delivered(&delivered(9, true), Instant::ZERO + ROUND / 10);
    assert!(!rack.has_overtaken(8));
    let known = Delivered { answers_earlier: true, ..delivered(9, true) };
    rack.delivered(&known, Instant::ZERO + ROUND);
    assert!(!rack.has_overtaken(8), "the timestamp says so");
    rack.delivered(&delivered(9, true), Instant::ZERO + ROUND);
    assert!(rack.has_overtaken(8));
}

#[test]
fn a_probe_that_repaired_a_loss_reduces_the_window_and_one_in_vain_does_not() {
    // §7.4: the last segment, or only its acknowledgment, is lost.
    for arrived_twice in [false, true] {
        let mut bench = on_the_way(10);
        let window = bench.connection.congestion.window();
        bench.now += ROUND;
        bench.reported(at(10), &[]);
        let grown = bench.connection.congestion.window();
        assert!(grown > window);
        assert_eq!(bench.sent_ranges(), []);
        bench.wait_for_timer();
        assert_eq!(bench.sent_ranges(), [(at(10), SEGMENT)]);
        bench.now += ROUND;
        bench.reported(at(11), &[(at(10), at(11))][..usize::from(arrived_twice)]);
        let resolved = bench.connection.recovery.tail == TailProbe::None;
        assert_eq!(resolved, arrived_twice);
        bench.connection.write(&pattern(11 * SEGMENT, SEGMENT), &bench.config);
        assert_eq!(bench.sent_ranges().len(), 1);
        bench.reported(at(12), &[]);
        assert_eq!(bench.connection.recovery.tail, TailProbe::None);
        assert_eq!(bench.connection.congestion.window() < grown, !arrived_twice);
    }
}

#[test]
fn a_probe_is_of_new_data_where_there_are_any() {
    let mut bench = on_the_way(5);
    // A small write waits for the one before it (Nagle).
    bench.connection.write(b"small", &bench.config);
    assert_eq!(bench.sent_ranges(), [(at(6), 5)]);
    bench.connection.write(b"more", &bench.config);
    assert_eq!(bench.sent_ranges(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(6) + 5, 4)]);
}

#[test]
fn an_echo_says_nothing_of_a_probe_that_is_reported_early() {
    // RFC 7323 §4.3: what lies beyond a hole is not echoed. The last two of four are lost, and the last is sent again.
    let clocks = Some(TimestampState::new(Instant::ZERO, 7, 1));
    let config = TcpConfig::default();
    let connection =
        Connection::established(config.at(Instant::ZERO), &Handshake { sack: true, clocks, ..handshake() });
    let mut bench = Bench { connection, config, now: Instant::ZERO };
    let length = MSS - 12;
    let answer = |bench: &mut Bench, ack: u32, early: Option<(u32, u32)>| {
        let timestamps = Some(Timestamps { value: 1, echo: 7 });
        let block = |(left, right)| SackBlocks::default().with(ISS.advance(left), ISS.advance(right)).unwrap();
        let options =
            TcpOptions { timestamps, sack: early.map_or(SackBlocks::default(), block), ..TcpOptions::default() };
        let (seq, ack) = (IRS.advance(1), ISS.advance(ack));
        let header = TcpHeader { seq, ack, flags: ACK, window: 64_000, options, ..TcpHeader::default() };
        let link = *bench.connection.link();
        let segment = Segment { header, payload: b"", traffic_class: 0 };
        assert_eq!(bench.connection.arrive(bench.config.at(bench.now), &link, &segment), Ok(()));
    };
    answer(&mut bench, 1, None);
    bench.write(4 * length as usize);
    assert_eq!(bench.sent_ranges().len(), 4);
    bench.now += ROUND;
    answer(&mut bench, 1 + 2 * length, None);
    assert_eq!(bench.sent_ranges(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1 + 3 * length, length as usize)]);
    bench.now += ROUND;
    answer(&mut bench, 1 + 2 * length, Some((1 + 3 * length, 1 + 4 * length)));
    assert_eq!(bench.sent_ranges(), [(1 + 2 * length, length as usize)]);
}
