//! What arrives: in order, too early, twice, beyond the window; and when it is acknowledged.

use super::*;
use crate::tcp::Signals;

#[test]
fn shld_31_early_segments_wait_and_each_is_answered_at_once() {
    let mut bench = Bench::new();
    for (seq, data) in [(7, b"ghi"), (4, b"def"), (10, b"jkl")] {
        bench.receive(seq, 1, ACK, data);
        assert_eq!(bench.sent_one().ack, 1, "a duplicate acknowledgment for each (RFC 5681 §3.2)");
    }
    assert_eq!(bench.connection.take_signals(), Signals::OUT_OF_ORDER, "nothing can be read yet");
    bench.receive(1, 1, ACK, b"abc");
    assert_eq!(bench.sent_one().ack, 13, "the hole is filled: said at once");
    assert_eq!(bench.connection.take_signals(), Signals::READABLE);
    assert_eq!(bench.read_all(), b"abcdefghijkl");
}

#[test]
fn may_13_early_segments_within_a_batch_are_each_answered() {
    let mut bench = Bench::new();
    for seq in [4, 7, 10] {
        bench.receive(seq, 1, ACK, b"xyz");
    }
    let acks: Vec<_> = bench.sent().iter().map(|sent| sent.ack).collect();
    assert_eq!(acks, [1, 1, 1]);
}

#[test]
fn what_overlaps_is_taken_once() {
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, b"abcd");
    bench.receive(3, 1, ACK, b"cdef");
    bench.receive(9, 1, ACK, b"ijk");
    bench.receive(5, 1, ACK, b"efghij");
    assert_eq!(bench.read_all(), b"abcdefghijk");
}

#[test]
fn a_duplicate_is_acknowledged_and_dropped() {
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, b"abc");
    bench.sent();
    bench.refuse(1, 1, ACK, b"abc", DropReason::OutsideWindow);
    assert_eq!(bench.sent_one().ack, 4);
    assert_eq!(bench.read_all(), b"abc");
}

#[test]
fn what_exceeds_the_window_is_cut_off() {
    let config = TcpConfig { receive_buffer: 1_000, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(1, 1, ACK, &pattern(0, 1_400));
    let answer = bench.sent_one();
    assert_eq!((answer.ack, answer.window), (1_001, 0));
    assert!(bench.read_all() == pattern(0, 1_000));
    assert_eq!(bench.sent_one().window, 1_000, "reading opens the window, and the peer hears of it");
}

#[test]
fn must_66_a_shut_window_takes_acknowledgments_and_resets_but_no_data() {
    let config = TcpConfig { receive_buffer: 1_000, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    bench.write(10);
    bench.sent();
    bench.receive(1, 1, ACK, &pattern(0, 1_000));
    bench.sent();
    // MUST-66: a probe with data that cannot be taken still acknowledges ours.
    bench.receive(1_001, 11, ACK, b"x");
    assert_eq!(bench.connection.send.flight_size(), 0);
    let answer = bench.sent_one();
    assert_eq!((answer.ack, answer.window), (1_001, 0));
    bench.receive(1_001, 0, RST, b"");
    assert!(bench.connection.end().is_some());
}

#[test]
fn must_39_the_window_opens_by_segments_not_by_crumbs() {
    // RFC 9293 §3.8.6.2.2.
    let config = TcpConfig { receive_buffer: 10_000, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    for part in 0..10 {
        bench.receive(1 + part * 1_000, 1, ACK, &pattern(0, 1_000));
    }
    assert_eq!(bench.sent().last().unwrap().window, 0);
    for _ in 0..2 {
        bench.connection.consume(1_000);
        assert_eq!(bench.sent(), [], "two segments' worth is not there yet");
    }
    bench.connection.consume(1_000);
    assert_eq!(bench.sent_one().window, 3_000);
}

#[test]
fn shld_14_the_right_edge_never_moves_back() {
    // With a window scale that rounds, and a window that grows meanwhile.
    let config = TcpConfig { receive_buffer: 1_000_000, ..TcpConfig::default() };
    let scaled = Handshake { peer_window_scale: Some(7), ..handshake() };
    let mut bench = Bench::with(config, &scaled);
    let scale = crate::tcp::receive::window_scale_for(1_000_000);
    let mut edge = 0;
    for (number, length) in (1..600).map(|number| (number, number * 37 % 1_460 + 1)) {
        let seq = bench.connection.receive.nxt().since(IRS);
        bench.receive(seq, 1, ACK, &pattern(0, length));
        if number % 3 == 0 {
            bench.connection.consume(length);
        }
        for sent in bench.sent() {
            let new_edge = sent.ack + (u32::from(sent.window) << scale);
            assert!(new_edge >= edge, "from {edge} to {new_edge}");
            edge = new_edge;
        }
    }
    let room = edge - bench.connection.receive.nxt().since(IRS);
    assert!(bench.connection.readable_len() + room as usize <= 1_000_000, "never more is invited than there is room");
}

#[test]
fn shld_19_every_second_segment_is_acknowledged() {
    // RFC 5681 §4.2.
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, &pattern(0, 1_460));
    assert_eq!(bench.sent(), [], "it waits for company");
    bench.receive(1_461, 1, ACK, &pattern(0, 1_460));
    assert_eq!(bench.sent_one().ack, 2_921);
}

#[test]
fn must_40_a_single_segment_is_acknowledged_after_a_while() {
    let mut bench = Bench::new();
    for seq in 1..10 {
        bench.receive(seq, 1, ACK, b"x");
        assert_eq!(bench.sent(), []);
        assert_eq!(bench.wait_for_timer(), bench.config.delayed_ack);
        assert_eq!(bench.sent_one().ack, seq + 1);
    }
    assert!(TcpConfig::default().delayed_ack < Duration::from_millis(500));
}

#[test]
fn must_40_the_wait_begins_with_the_first_of_several_small_segments() {
    let mut bench = Bench::new();
    let began = bench.now;
    for seq in 1..4 {
        bench.receive(seq, 1, ACK, b"x");
        assert_eq!(bench.sent(), []);
        bench.pass(Duration::from_millis(10));
    }
    bench.wait_for_timer();
    assert_eq!((bench.sent_one().ack, bench.now - began), (4, bench.config.delayed_ack));
}

#[test]
fn must_58_segments_that_arrive_together_are_acknowledged_together() {
    let mut bench = Bench::new();
    for part in 0..20 {
        bench.receive(1 + part * MSS, 1, ACK, &pattern(0, MSS as usize));
    }
    assert_eq!(bench.sent_one().ack, 1 + 20 * MSS);
}

#[test]
fn must_59_what_is_acknowledged_is_all_that_has_arrived() {
    // A hole that the next segment of the same batch fills is no hole to anybody.
    let mut bench = Bench::new();
    for (seq, data) in [(4, b"def"), (7, b"ghi"), (10, b"jkl"), (1, b"abc"), (13, b"mno")] {
        bench.receive(seq, 1, ACK, data);
    }
    assert_eq!(bench.sent_one().ack, 16, "duplicates would tell of a loss");
}

#[test]
fn may_8_a_window_may_stay_shut_for_as_long_as_nobody_reads() {
    let config = TcpConfig { receive_buffer: 2_000, ..quiet() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(1, 1, ACK, &pattern(0, 2_000));
    assert_eq!(bench.sent_one().window, 0);
    for _ in 0..100 {
        bench.pass(Duration::from_secs(3_600));
        bench.receive(2_001, 1, ACK, b"x");
        let answer = bench.sent_one();
        assert_eq!((answer.ack, answer.window), (2_001, 0), "the probe is answered, its octet not taken");
    }
    assert!(bench.read_all() == pattern(0, 2_000));
    assert_eq!(bench.sent_one().window, 2_000);
    bench.receive(2_001, 1, ACK, b"x");
    assert_eq!(bench.read_all(), b"x");
}

#[test]
fn shld_18_data_carry_the_acknowledgment_along() {
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK | PSH, b"ping");
    bench.write(4);
    let answer = bench.sent_one();
    assert_eq!((answer.ack, answer.data.len()), (5, 4));
    assert!(!bench.is_armed(Timer::DelayedAck), "nothing is owed any more");
}

#[test]
fn holes_have_a_limit() {
    let config = TcpConfig { max_holes: 3, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    for seq in [3, 5, 7] {
        bench.receive(seq, 1, ACK, b"x");
    }
    bench.refuse(9, 1, ACK, b"x", DropReason::TooManyHoles);
    bench.receive(4, 1, ACK, b"y");
    bench.receive(9, 1, ACK, b"x");
    bench.receive(1, 1, ACK, b"zw");
    assert_eq!(bench.read_all(), b"zwxyx", "the rest has holes still");
}

#[test]
fn every_second_segment_of_a_window_may_be_lost() {
    // A slow start that overruns a queue does that.
    let config = TcpConfig { initial_window: 1 << 20, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &Handshake { peer_window_scale: Some(7), ..handshake() });
    bench.receive(1, 1, ACK, &[0; 2 * MSS as usize]);
    bench.sent_one();
    let window = bench.connection.receive.window();
    assert!(window > 700 * MSS, "all the room there is, is offered by now");
    for segment in (3..window / MSS).step_by(2) {
        bench.receive(1 + segment * MSS, 1, ACK, &[0; MSS as usize]);
        bench.sent();
    }
}

#[test]
fn only_a_plausible_segment_changes_the_way_back() {
    let mut bench = Bench::new();
    let elsewhere = LinkHeader { destination: MacAddress([2, 9, 9, 9, 9, 9]), ..*bench.connection.link() };
    let mut arrive = |seq: u32| {
        let header =
            TcpHeader { seq: IRS.advance(seq), ack: ISS.advance(1), flags: ACK, window: 9, ..TcpHeader::default() };
        let _ = bench.connection.arrive(
            bench.config.at(bench.now),
            &elsewhere,
            &Segment { header, payload: b"x", traffic_class: 0 },
        );
        bench.connection.link().destination
    };
    assert_ne!(arrive(100_000), elsewhere.destination, "outside the window");
    assert_eq!(arrive(1), elsewhere.destination);
}
