//! Rows of docs/rfc9293.md that no other topic's test proves.

use super::*;

#[test]
fn must_1_and_rec_1_windows_are_unsigned_and_32_bits_wide() {
    let mut bench = Bench::with(TcpConfig::default(), &Handshake { peer_window_scale: Some(14), ..handshake() });
    bench.receive_with_window(1, 1, ACK, u16::MAX, b"");
    assert_eq!(
        bench.connection.send.window(),
        65_535 << 14,
        "more than a signed 16-bit window, or 30 bits, would hold"
    );
    let config = TcpConfig { receive_buffer: 1 << 30, ..TcpConfig::default() };
    let bench = Bench::with(config, &Handshake { peer_window_scale: Some(0), ..handshake() });
    assert!(bench.connection.receive.window() >= 60_000, "and so is ours: above 2^15 it is no negative number");
}

#[test]
fn shld_27_of_several_writes_only_the_last_is_pushed() {
    let mut bench = Bench::new();
    for start in [0, 500, 1_000] {
        bench.connection.write(&pattern(start, 500), &bench.config);
    }
    let pushed: Vec<_> = bench.sent().iter().map(|sent| (sent.data.len(), sent.flags.contains(PSH))).collect();
    assert_eq!(pushed, [(1_460, false), (40, true)]);
}

#[test]
fn must_60_what_was_written_is_never_held_back_for_ever() {
    // Nothing in flight: at once. Something small in flight: with its acknowledgment.
    let mut bench = Bench::new();
    bench.write(1);
    assert_eq!(bench.sent_ranges(), [(1, 1)]);
    bench.write(1);
    assert_eq!(bench.sent_ranges(), []);
    bench.receive(1, 2, ACK, b"");
    assert_eq!(bench.sent_ranges(), [(2, 1)]);
    // A window that has room for less than a segment: after a while.
    bench.receive_with_window(1, 3, ACK, 10, b"");
    bench.write(1_000);
    assert_eq!(bench.sent_ranges(), []);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(3, 10)]);
}
