//! The peer's window where segments overtake each other.

use super::*;

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
