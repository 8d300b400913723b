//! Windows and reports where segments overtake each other.

use super::{sack::at, *};
use crate::tcp::congestion::Controller;

#[test]
fn an_acknowledgment_on_a_segment_sent_again_brings_its_window_along() {
    let mut bench = Bench::new();
    bench.write(6_000);
    assert_eq!(bench.sent_ranges(), [(1, 1_460), (1_461, 1_460), (2_921, 1_460), (4_381, 1_460), (5_841, 160)]);
    // The peer's data: the first segment is lost, the second comes.
    bench.receive_with_window(101, 1, ACK, 10_000, &[0; 100]);
    // Now the first one again, with all that has happened meanwhile.
    bench.receive_with_window(1, 6_001, ACK, 100, &[0; 100]);
    bench.write(1_000);
    assert_eq!(bench.connection.send.window(), 100);
    let data: usize = bench.sent_ranges().iter().map(|(_, length)| length).sum();
    assert_eq!(data, 0, "nothing beyond what was offered, nor a silly little");
}

#[test]
fn a_window_that_was_overtaken_does_not_count() {
    let mut bench = Bench::new();
    bench.write(3_000);
    bench.sent();
    bench.receive_with_window(1, 2_921, ACK, 1_000, b"");
    bench.receive_with_window(1, 1_461, ACK, 5_000, b"");
    assert_eq!(bench.connection.send.window(), 1_000);
}

#[test]
fn two_shut_windows_probed_at_once_start_no_war_of_acknowledgments() {
    // Both ends have sent an octet beyond the other's window, which is not taken. So both stand behind what the other expects.
    let config = TcpConfig { receive_buffer: 1_000, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(1, 1, ACK, &[0; 1_000]);
    bench.sent();
    bench.receive_with_window(1_001, 1, ACK, 0, b"");
    bench.write(10);
    assert_eq!(bench.sent_ranges(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 1)], "the probe");
    bench.receive_with_window(1_002, 1, ACK, 0, b"");
    assert_eq!(bench.sent(), [], "what has nothing to say is not answered");
    bench.receive_with_window(1_002, 2, ACK, 100, b"");
    assert_eq!(bench.sent_ranges(), [(2, 9)], "but it is heard");
}

#[test]
fn empty_segments_from_elsewhere_draw_few_answers() {
    let mut bench = Bench::new();
    let mut answers = 0;
    for _ in 0..1_000 {
        bench.refuse(70_000_000, 1, ACK, b"", DropReason::OutsideWindow);
        answers += bench.sent().len();
    }
    assert!((1..=10).contains(&answers), "{answers}");
}

/// A connection with seven segments on their way, of which the first three have been acknowledged.
fn three_of_seven() -> Bench {
    let mut bench = Bench::with(TcpConfig::default(), &Handshake { sack: true, ..handshake() });
    bench.write(7 * MSS as usize);
    assert_eq!(bench.sent().len(), 7);
    bench.reported(at(3), &[]);
    assert_eq!(bench.sent_ranges(), []);
    bench
}

#[test]
fn what_an_acknowledgment_reports_counts_though_a_later_one_was_faster() {
    // RFC 2018 §4: what is reported has arrived, whenever that was said.
    let mut bench = three_of_seven();
    bench.reported(at(2), &[(at(4), at(7))]);
    assert_eq!(bench.sent_ranges(), [(at(3), MSS as usize)]);
    assert_eq!(bench.connection.send.sacked(), 3 * MSS);
}

#[test]
fn a_report_that_was_overtaken_is_no_report_of_duplicates() {
    // What it tells of has been acknowledged meanwhile, and was not when it was said (RFC 2883 §4).
    let mut bench = Bench::with(TcpConfig::default(), &Handshake { sack: true, ..handshake() });
    bench.write(7 * MSS as usize);
    assert_eq!(bench.sent().len(), 7);
    bench.reported(1, &[(at(1), at(4))]);
    assert_eq!(bench.sent_ranges(), [(at(0), MSS as usize)]);
    let reduced = bench.connection.congestion.window();
    bench.reported(at(4), &[]);
    for _ in 0..3 {
        bench.reported(1, &[(at(0), at(1)), (at(2), at(3))]);
    }
    assert_eq!(bench.connection.congestion.window(), reduced, "nothing is undone");
    bench.reported(at(4), &[(at(0), at(1))]);
    assert!(bench.connection.congestion.window() > reduced, "now it is");
}

#[test]
fn an_overtaken_report_is_looked_at_as_closely_as_any() {
    for lie in [
        (at(4), at(8)),     // beyond what was sent
        (at(6), at(5)),     // backwards
        (at(3), at(7)),     // what would have been acknowledged
        (at(1), at(2)),     // what is
        (at(4) + 1, at(5)), // less than a segment
    ] {
        let mut bench = three_of_seven();
        bench.reported(at(2), &[lie, lie, lie]);
        assert_eq!((bench.sent_ranges(), bench.connection.send.sacked()), (vec![], 0), "{lie:?}");
    }
    // An acknowledgment from before everybody's memory is from nobody (RFC 5961 §5.2).
    let mut bench = three_of_seven();
    bench.refuse(1, at(3).wrapping_sub(64_001), ACK, b"", DropReason::UnacceptableAck);
}
