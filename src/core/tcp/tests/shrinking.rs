//! Windows that the peer shuts, or takes back (RFC 9293 §3.8.6 and §3.8.6.1).

use super::*;

/// A connection with ten segments in flight, of fifteen that were written.
fn in_flight() -> Bench {
    let mut bench = Bench::new();
    bench.write(15 * MSS as usize);
    assert_eq!(bench.sent().len(), 10);
    bench
}

#[test]
fn shld_15_nothing_new_is_sent_into_a_window_that_was_taken_back() {
    let mut bench = in_flight();
    bench.receive_with_window(1, 1 + 2 * MSS, ACK, 3 * MSS as u16, b"");
    assert_eq!(bench.sent(), [], "eight segments are in flight, five of them beyond the edge");
    bench.receive_with_window(1, 1 + 6 * MSS, ACK, 2 * MSS as u16, b"");
    assert_eq!(bench.sent(), []);
    bench.receive_with_window(1, 1 + 10 * MSS, ACK, 2 * MSS as u16, b"");
    assert_eq!(bench.sent_ranges(), [(1 + 10 * MSS, 1_460), (1 + 11 * MSS, 1_460)], "now it has room");
}

#[test]
fn shld_16_what_lies_within_a_smaller_window_is_still_sent_again() {
    let mut bench = in_flight();
    bench.receive_with_window(1, 1 + 2 * MSS, ACK, 3 * MSS as u16, b"");
    bench.sent();
    bench.wait_for_timer();
    let again = bench.sent_one();
    assert_eq!((again.seq, again.kind), (1 + 2 * MSS, SentKind::Retransmission));
}

#[test]
fn shld_17_data_beyond_a_smaller_window_do_not_end_the_connection() {
    let mut bench = in_flight();
    bench.receive_with_window(1, 1 + 2 * MSS, ACK, MSS as u16, b"");
    for _ in 0..5 {
        bench.sent();
        bench.wait_for_timer();
        bench.sent();
        bench.receive_with_window(1, 1 + 2 * MSS, ACK, MSS as u16, b"");
    }
    assert_eq!(bench.connection.end(), None);
    bench.receive(1, 1 + 10 * MSS, ACK, b"");
    assert_eq!(bench.sent_ranges().first(), Some(&(1 + 10 * MSS, 1_460)), "it goes on where it was");
}

#[test]
fn must_34_a_window_taken_back_altogether_is_survived() {
    // What may be sent is less than nothing then.
    let mut bench = in_flight();
    bench.receive_with_window(1, 1 + 2 * MSS, ACK, 0, b"");
    assert_eq!(bench.sent(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1 + 2 * MSS, 1)], "one octet asks");
    bench.receive_with_window(1, 1 + 2 * MSS, ACK, 0, b"");
    bench.receive(1, 1 + 2 * MSS, ACK, b"");
    let mut acknowledged = 2;
    while acknowledged < 15 {
        let sent = bench.sent_ranges();
        assert!(!sent.is_empty(), "{acknowledged} of 15 are acknowledged");
        assert!(sent.iter().all(|&(_, length)| length == MSS as usize));
        acknowledged += sent.len() as u32;
        bench.receive(1, 1 + acknowledged * MSS, ACK, b"");
    }
    assert!(!bench.connection.send.has_unsent() && bench.connection.send.flight_size() == 0);
}

/// A connection whose peer has shut its window, with something to send.
fn shut() -> Bench {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.write(5_000);
    assert_eq!(bench.sent(), []);
    bench
}

#[test]
fn must_35_a_shut_window_is_probed_with_data_in_flight_or_without() {
    let mut bench = shut();
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 1)]);
    let mut bench = in_flight();
    bench.receive_with_window(1, 1 + 5 * MSS, ACK, 0, b"");
    assert_eq!(bench.sent(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1 + 5 * MSS, 1)]);
}

#[test]
fn must_35_a_fin_alone_asks_as_well() {
    let mut bench = Bench::new();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.connection.shutdown_write();
    assert_eq!(bench.sent(), []);
    bench.wait_for_timer();
    assert!(bench.sent_one().flags.contains(FIN));
}

#[test]
fn must_36_the_answer_to_a_probe_opens_the_window() {
    let mut bench = shut();
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 1)]);
    bench.receive(1, 2, ACK, b"");
    let sent = bench.sent_ranges();
    assert_eq!(sent.first(), Some(&(2, 1_460)), "the octet was taken, and the rest follows");
    assert_eq!(sent.iter().map(|&(_, length)| length).sum::<usize>(), 4_999);
}

#[test]
fn shld_29_the_first_probe_goes_out_after_one_timeout() {
    let mut bench = shut();
    assert_eq!(bench.wait_for_timer(), bench.connection.rtt.rto());
    assert_eq!(bench.sent_ranges(), [(1, 1)]);
}

#[test]
fn shld_30_the_interval_between_probes_doubles() {
    let mut bench = shut();
    let mut last = bench.wait_for_timer();
    for _ in 0..5 {
        bench.sent();
        bench.receive_with_window(1, 1, ACK, 0, b"");
        assert_eq!(bench.sent(), []);
        let next = bench.wait_for_timer();
        assert_eq!(next, 2 * last);
        last = next;
    }
}
