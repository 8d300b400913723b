//! What is sent: segments, windows, probes, Nagle's algorithm, retransmission.

use super::*;
use crate::tcp::congestion::Controller;

fn acknowledge_all(bench: &mut Bench) {
    let ack = bench.connection.send.nxt().since(ISS);
    bench.receive(1, ack, ACK, b"");
}

#[test]
fn must_61_and_shld_28_data_go_out_in_full_segments_the_last_one_pushed() {
    let mut bench = Bench::new();
    bench.write(4_000);
    let sent = bench.sent();
    let ranges: Vec<_> = sent.iter().map(|sent| (sent.seq, sent.data.len(), sent.flags.contains(PSH))).collect();
    assert_eq!(ranges, [(1, 1_460, false), (1_461, 1_460, false), (2_921, 1_080, true)]);
    let bytes: Vec<u8> = sent.into_iter().flat_map(|sent| sent.data).collect();
    assert!(bytes == pattern(0, 4_000));
}

#[test]
fn the_peers_mss_and_the_mtu_both_bound_a_segment() {
    for (peer_mss, mtu, expected) in [(536, 1_500, 536), (9_000, 1_500, 1_460), (1_460, 576, 536), (0, 1_500, 64)] {
        let config = TcpConfig { mtu, ..TcpConfig::default() };
        let mut bench = Bench::with(config, &Handshake { peer_mss, ..handshake() });
        bench.write(3_000);
        assert_eq!(bench.sent()[0].data.len(), expected, "MSS {peer_mss}, MTU {mtu}");
    }
}

#[test]
fn shld_7_small_segments_wait_for_one_another() {
    // Nagle as modified by Minshall: only a small segment in flight makes a small one wait.
    let mut bench = Bench::new();
    bench.write(10);
    assert_eq!(bench.sent_ranges(), [(1, 10)]);
    bench.write(10);
    assert_eq!(bench.sent_ranges(), [], "one small segment is in flight");
    acknowledge_all(&mut bench);
    assert_eq!(bench.sent_ranges(), [(11, 10)]);
    acknowledge_all(&mut bench);
    bench.write(1_470);
    assert_eq!(bench.sent_ranges(), [(21, 1_460), (1_481, 10)], "a full one makes none wait");
    bench.write(10);
    assert_eq!(bench.sent_ranges(), []);
}

#[test]
fn must_17_nagles_algorithm_can_be_switched_off() {
    for off_by_default in [false, true] {
        let mut bench = Bench::with(TcpConfig { nagle: !off_by_default, ..quiet() }, &handshake());
        if !off_by_default {
            bench.connection.set_nodelay(true);
        }
        for part in 0..5 {
            bench.write(10);
            assert_eq!(bench.sent_ranges(), [(1 + part * 10, 10)]);
        }
        bench.connection.set_nodelay(false);
        bench.write(10);
        assert_eq!(bench.sent_ranges().is_empty(), !off_by_default, "and on again, but for what is configured");
    }
}

#[test]
fn the_initial_window_is_ten_segments_and_slow_start_doubles_it() {
    // RFC 6928, RFC 5681 §3.1 with appropriate byte counting.
    let mut bench = Bench::with(TcpConfig { write_ahead: 200_000, ..quiet() }, &handshake());
    bench.write(200_000);
    assert_eq!(bench.sent().len(), 10);
    for acknowledged in 1..=10 {
        bench.receive(1, 1 + acknowledged * MSS, ACK, b"");
        assert_eq!(bench.sent().len(), 2);
    }
    assert_eq!(bench.connection.congestion.window(), 20 * MSS);
}

#[test]
fn nothing_is_sent_beyond_the_peers_window() {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 2_000, b"");
    bench.write(10_000);
    let end = |sent: Vec<Sent>| sent.iter().map(|sent| sent.seq + sent.data.len() as u32).max().unwrap_or(0);
    assert!(end(bench.sent()) <= 2_001);
    bench.receive_with_window(1, 1_461, ACK, 3_000, b"");
    assert!(end(bench.sent()) <= 1_461 + 3_000);
}

#[test]
fn an_older_segment_does_not_bring_an_older_window_back() {
    // RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2.
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 9_000, b"new");
    assert_eq!(bench.connection.send.window(), 9_000);
    bench.receive_with_window(4, 1, ACK, 8_000, b"");
    let _ = bench.arrive(1, 1, ACK, 100, b"");
    assert_eq!(bench.connection.send.window(), 8_000);
}

#[test]
fn must_37_a_shut_window_is_probed_patiently_for_as_long_as_the_peer_answers() {
    // RFC 9293 §3.8.6.1.
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.write(5_000);
    assert_eq!(bench.sent(), []);
    let mut waits = Vec::new();
    for _ in 0..30 {
        waits.push(bench.wait_for_timer());
        assert_eq!(bench.sent_ranges(), [(1, 1)], "one octet asks");
        bench.receive_with_window(1, 1, ACK, 0, b"");
        assert_eq!(bench.sent(), []);
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert_eq!(waits.last(), Some(&bench.config.rto_max));
    bench.receive_with_window(1, 1, ACK, 10_000, b"");
    let mut bytes: Vec<u8> = bench.sent().into_iter().flat_map(|sent| sent.data).collect();
    acknowledge_all(&mut bench);
    bytes.extend(bench.sent().into_iter().flat_map(|sent| sent.data));
    assert!(bytes == pattern(0, 5_000), "the open window takes all of it, the probed octet included: {}", bytes.len());
}

#[test]
fn a_shut_window_of_a_peer_that_is_gone_is_not_probed_for_ever() {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.write(5_000);
    bench.sent();
    let mut probes = 0;
    while bench.connection.end().is_none() {
        bench.wait_for_timer();
        probes += bench.sent().len();
        assert!(probes < 100);
    }
    assert_eq!(bench.connection.end(), Some(crate::tcp::CloseReason::TimedOut));
}

#[test]
fn must_38_a_window_too_small_to_be_worth_filling_is_filled_after_a_while() {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 100, b"");
    bench.write(5_000);
    assert_eq!(bench.sent(), [], "a silly window is not used at once");
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 100)]);
}

#[test]
fn the_retransmission_timer_runs_exactly_while_something_is_in_flight() {
    let mut bench = Bench::new();
    assert!(!bench.is_armed(Timer::Retransmit));
    bench.write(10);
    bench.sent();
    assert!(bench.is_armed(Timer::Retransmit));
    acknowledge_all(&mut bench);
    bench.sent();
    assert_eq!(bench.connection.poll_timeout(), None);
}

#[test]
fn must_18_a_timeout_backs_off_and_is_not_measured() {
    // RFC 6298 §5.4 to §5.7 and Karn's algorithm (MUST-18).
    let mut bench = Bench::new();
    bench.write(10);
    bench.sent();
    assert_eq!(bench.wait_for_timer(), Duration::from_secs(1));
    assert_eq!(bench.sent_one().kind, SentKind::Retransmission);
    assert_eq!(bench.wait_for_timer(), Duration::from_secs(2));
    bench.sent();
    acknowledge_all(&mut bench);
    assert_eq!(bench.connection.round_trip_time(), None, "which transmission was acknowledged, nobody knows");
    bench.write(10);
    bench.sent();
    bench.pass(Duration::from_millis(30));
    acknowledge_all(&mut bench);
    assert_eq!(bench.connection.round_trip_time(), Some(Duration::from_millis(30)));
}

#[test]
fn must_19_after_a_timeout_slow_start_repairs_everything_in_flight() {
    let mut bench = Bench::new();
    bench.write(10 * MSS as usize);
    bench.sent();
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 1_460)], "one segment");
    bench.receive(1, 1 + MSS, ACK, b"");
    assert_eq!(bench.sent().len(), 2);
    bench.receive(1, 1 + 3 * MSS, ACK, b"");
    assert_eq!(bench.sent().len(), 3, "RFC 3465 §2.3: by one segment an acknowledgment, whatever it covers");
    bench.receive(1, 1 + 10 * MSS, ACK, b"");
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.connection.send.flight_size(), 0);
}

#[test]
fn three_duplicates_repair_one_loss_without_a_timeout() {
    // RFC 5681 §3.2.
    let mut bench = Bench::new();
    bench.write(10 * MSS as usize);
    bench.sent();
    for _ in 0..2 {
        bench.receive(1, 1, ACK, b"");
        assert_eq!(bench.sent(), []);
    }
    bench.receive(1, 1, ACK, b"");
    let again = bench.sent_one();
    assert_eq!((again.seq, again.data.len(), again.kind), (1, 1_460, SentKind::Retransmission));
    assert_eq!(bench.connection.congestion.window(), 5 * MSS);
    for _ in 3..9 {
        bench.receive(1, 1, ACK, b"");
        assert_eq!(bench.sent(), [], "once is enough");
    }
    bench.receive(1, 1 + 10 * MSS, ACK, b"");
    assert_eq!(bench.connection.congestion.window(), 5 * MSS);
}

#[test]
fn a_partial_acknowledgment_repairs_the_next_hole() {
    // RFC 6582 §3.2.
    let mut bench = Bench::new();
    bench.write(10 * MSS as usize);
    bench.sent();
    for _ in 0..3 {
        bench.receive(1, 1, ACK, b"");
    }
    assert_eq!(bench.sent_ranges(), [(1, 1_460)]);
    bench.receive(1, 1 + 4 * MSS, ACK, b"");
    assert_eq!(bench.sent_ranges(), [(1 + 4 * MSS, 1_460)]);
    bench.receive(1, 1 + 10 * MSS, ACK, b"");
    assert_eq!(bench.sent(), []);
}

#[test]
fn x_lt_1_limited_transmit_sends_new_data_for_the_first_duplicates() {
    // RFC 3042.
    let mut bench = Bench::new();
    bench.write(20 * MSS as usize);
    assert_eq!(bench.sent().len(), 10);
    bench.receive(1, 1, ACK, b"");
    assert_eq!(bench.sent_ranges(), [(1 + 10 * MSS, 1_460)]);
    bench.receive(1, 1, ACK, b"");
    assert_eq!(bench.sent_ranges(), [(1 + 11 * MSS, 1_460)]);
}

#[test]
fn a_window_update_is_no_duplicate() {
    let mut bench = Bench::new();
    bench.write(10 * MSS as usize);
    bench.sent();
    for window in [63_000, 62_000, 61_000, 60_000] {
        bench.receive_with_window(1, 1, ACK, window, b"");
    }
    assert_eq!(bench.sent(), []);
    for _ in 0..4 {
        let seq = bench.connection.receive.nxt().since(IRS);
        bench.receive_with_window(seq, 1, ACK, 60_000, b"data");
    }
    assert!(bench.sent().iter().all(|sent| sent.data.is_empty()), "nor is a segment with data");
}

#[test]
fn a_long_silence_shrinks_the_window() {
    // RFC 5681 §4.1.
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.write(10 * MSS as usize);
        bench.sent();
        acknowledge_all(&mut bench);
    }
    assert!(bench.connection.congestion.window() > 10 * MSS);
    bench.sent();
    bench.pass(Duration::from_secs(10));
    bench.write(30 * MSS as usize);
    assert_eq!(bench.sent().len(), 10);
}

#[test]
fn the_application_hears_of_room_after_it_found_too_little() {
    let mut bench = Bench::with(TcpConfig { send_buffer: 200_000, write_ahead: 200_000, ..quiet() }, &handshake());
    let data = pattern(0, bench.config.send_buffer + 1);
    assert_eq!(bench.connection.write(&data, &bench.config), bench.config.send_buffer);
    bench.sent();
    let mut rounds = 0;
    while !bench.connection.take_signals().contains(crate::tcp::Signals::WRITABLE) {
        acknowledge_all(&mut bench);
        bench.sent();
        rounds += 1;
        assert!(rounds < 1_000);
    }
    assert!(bench.connection.room_or_wait(&bench.config) >= bench.config.send_buffer / 2);
}

#[test]
fn who_has_filled_the_room_to_the_last_octet_hears_of_more() {
    let write: fn(&mut Bench) -> usize = |bench| bench.connection.write(&pattern(0, 4_000), &bench.config);
    let in_place: fn(&mut Bench) -> usize =
        |bench| (0..2).map(|_| bench.connection.write_with(4_000, &bench.config, |room| room.len())).sum();
    for fill in [write, in_place] {
        let config = TcpConfig { send_buffer: 4_096, ..quiet() };
        let mut bench = Bench::with(config, &handshake());
        bench.connection.write(&pattern(0, 96), &bench.config);
        assert_eq!(fill(&mut bench), 4_000, "all that was asked for, and no more would fit");
        bench.sent();
        acknowledge_all(&mut bench);
        assert_eq!(bench.connection.take_signals(), crate::tcp::Signals::WRITABLE);
    }
}

#[test]
fn nothing_can_be_written_after_our_side_is_closed() {
    let mut bench = Bench::new();
    bench.connection.shutdown_write();
    assert_eq!(bench.connection.write(b"late", &bench.config), 0);
    let length = bench.connection.write_with(100, &bench.config, |room| room.len());
    assert_eq!(length, 0);
}
