//! A path that takes smaller packets than we send: what is believed, and what is sent instead.

use super::*;
use crate::tcp::{congestion::Controller, path_mtu::believed_mtu};

const SEGMENT: usize = MSS as usize;

impl Bench {
    fn limit(&mut self, mtu: usize) -> Result<(), DropReason> {
        self.connection.limit_path(self.config.at(self.now), mtu, self.now + self.config.path_mtu_lifetime)
    }
}

#[test]
fn a_claim_is_believed_within_reason() {
    let (v4, v6) = (IpAddr::from([198, 18, 0, 2]), IpAddr::from([0x2001, 2, 0, 0, 0, 0, 0, 2]));
    const NO: Result<usize, DropReason> = Err(DropReason::ImplausibleMtu);
    for (remote, packet_len, claimed, expected) in [
        (v4, 1_500, 1_400, Ok(1_400)),
        (v4, 9_000, 1_500, Ok(1_500)),
        (v4, 1_400, 1_400, NO),
        (v4, 1_000, 1_400, NO),
        // No path is believed to be narrower than this.
        (v4, 1_500, 100, Ok(552)),
        (v4, 1_500, 68, Ok(552)),
        (v4, 1_500, 67, NO),
        // Routers that do not say: the next plateau of RFC 1191 §7.1.
        (v4, 9_000, 0, Ok(8_166)),
        (v4, 1_500, 0, Ok(1_492)),
        (v4, 1_492, 0, Ok(1_006)),
        (v4, 600, 0, Ok(552)),
        (v4, 40, 0, NO),
        // RFC 8201 §4.
        (v6, 1_500, 1_280, Ok(1_280)),
        (v6, 1_500, 1_279, NO),
        (v6, 1_500, 0, NO),
        (v6, 1_400, 1_400, NO),
        (v6, 1_500, u32::MAX, NO),
    ] {
        let believed = believed_mtu(remote, packet_len, claimed);
        assert_eq!(believed, expected, "{packet_len} bytes to {remote}, {claimed} claimed");
    }
}

#[test]
fn shld_6_everything_too_large_is_sent_again_in_pieces_that_fit() {
    let mut bench = Bench::new();
    bench.write(5_000);
    bench.connection.shutdown_write();
    assert_eq!(bench.sent_ranges(), [(1, 1_460), (1_461, 1_460), (2_921, 1_460), (4_381, 620)]);
    assert_eq!(bench.limit(1_040), Ok(()));
    // Pieces are as large as they may be, wherever segments ended before.
    let mut again = bench.sent();
    for ack in [1_001, 2_001, 3_001, 4_001] {
        bench.receive(1, ack, ACK, b"");
        again.extend(bench.sent());
    }
    let ranges: Vec<_> = again.iter().map(|sent| (sent.seq, sent.data.len())).collect();
    assert_eq!(ranges, [(1, 1_000), (1_001, 1_000), (2_001, 1_000), (3_001, 1_000), (4_001, 380)]);
    for sent in &again {
        assert_eq!(
            (sent.kind, &sent.data),
            (SentKind::Retransmission, &pattern(sent.seq as usize - 1, sent.data.len()))
        );
        assert!(!sent.flags.contains(FIN), "that went with what was small enough");
    }
    bench.receive(1, 5_002, ACK, b"");
    assert_eq!((bench.sent_ranges(), bench.connection.send.flight_size()), (vec![], 0));
}

#[test]
fn what_a_router_did_not_take_is_sent_again_in_slow_start() {
    // RFC 1191 §6.5, RFC 8201 §5.4: one segment until acknowledgments come, and back to the window that there was.
    for congestion_control in [CongestionControl::Reno, CongestionControl::Cubic] {
        let mut bench =
            Bench::with(TcpConfig { congestion_control, ..quiet() }, &Handshake { sack: true, ..handshake() });
        bench.write(30 * SEGMENT);
        assert_eq!(bench.sent().len(), 10);
        let window = bench.connection.congestion.window();
        assert_eq!(bench.limit(770), Ok(()));
        assert_eq!(bench.sent_ranges(), [(1, 730)], "{congestion_control:?}");
        let (mut acknowledged, mut rounds) = (1, 0);
        while bench.connection.congestion.window() < window {
            acknowledged += bench.connection.congestion.window();
            bench.receive(1, acknowledged, ACK, b"");
            bench.sent();
            rounds += 1;
        }
        assert!(rounds <= 6, "{congestion_control:?}: doubled each time, and not halved before: {rounds}");
    }
}

#[test]
fn a_router_that_says_the_same_of_each_segment_draws_one() {
    let mut bench = Bench::with(quiet(), &Handshake { sack: true, ..handshake() });
    bench.write(10 * SEGMENT);
    assert_eq!(bench.sent().len(), 10);
    assert_eq!(bench.limit(770), Ok(()));
    assert_eq!(bench.sent_ranges(), [(1, 730)]);
    for _ in 1..10 {
        assert_eq!(bench.limit(770), Err(DropReason::ImplausibleMtu));
        assert_eq!(bench.sent_ranges(), []);
    }
    // However narrow, one after the other.
    for mtu in (560..770).rev() {
        assert_eq!(bench.limit(mtu), Ok(()));
        assert!(bench.sent().len() <= 1, "{mtu}");
    }
}

#[test]
fn shld_6_a_fin_stays_with_the_last_piece() {
    let mut bench = Bench::new();
    bench.write(1_400);
    bench.connection.shutdown_write();
    assert!(bench.sent_one().flags.contains(FIN));
    assert_eq!(bench.limit(740), Ok(()));
    let mut again = bench.sent();
    bench.receive(1, 701, ACK, b"");
    again.extend(bench.sent());
    let ends: Vec<_> = again.iter().map(|sent| (sent.seq, sent.data.len(), sent.flags.contains(FIN))).collect();
    assert_eq!(ends, [(1, 700, false), (701, 700, true)]);
    bench.receive(1, 1_402, ACK, b"");
    assert_eq!(bench.connection.state(), crate::tcp::State::FinWait2);
}

#[test]
fn shld_6_a_path_may_become_narrower_twice_and_a_timeout_sends_what_fits() {
    let mut bench = Bench::new();
    bench.write(2_920);
    bench.sent();
    for mtu in [1_400, 800] {
        assert_eq!(bench.limit(mtu), Ok(()));
        assert!(bench.sent().iter().all(|sent| sent.data.len() <= mtu - 40));
    }
    assert_eq!(bench.limit(900), Err(DropReason::ImplausibleMtu));
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(1, 760)]);
    bench.receive(1, 761, ACK, b"");
    assert!(bench.sent().iter().all(|sent| sent.data.len() <= 760));
    bench.receive(1, 2_921, ACK, b"");
    bench.write(1_200);
    assert_eq!(bench.sent_ranges(), [(2_921, 760), (3_681, 440)]);
}

#[test]
fn shld_6_what_the_peer_reports_is_not_sent_again() {
    let mut bench = Bench::with(TcpConfig::default(), &Handshake { sack: true, ..handshake() });
    bench.write(3 * 1_460);
    bench.sent();
    bench.reported(1, &[(2_921, 4_381)]);
    bench.sent();
    assert_eq!(bench.limit(1_040), Ok(()));
    let mut again = bench.sent_ranges();
    for ack in [1_001, 2_001] {
        bench.reported(ack, &[(2_921, 4_381)]);
        again.extend(bench.sent_ranges());
    }
    assert_eq!(again, [(1, 1_000), (1_001, 1_000), (2_001, 920)]);
}

#[test]
fn must_16_options_count_and_a_fresh_connection_begins_with_a_window_to_match() {
    for (clocks, expected) in [(false, 1_000), (true, 988)] {
        let clocks = clocks.then(|| super::super::timestamps::TimestampState::new(Instant::ZERO, 1, 2));
        let handshake = Handshake { clocks, ..handshake() };
        let config = TcpConfig { congestion_control: CongestionControl::Reno, ..TcpConfig::default() };
        let mut connection = Connection::established(config.at(Instant::ZERO), &handshake);
        assert_eq!(connection.limit_path(config.at(Instant::ZERO), 1_040, Instant::from_millis(1)), Ok(()));
        assert_eq!(connection.send.mss(), expected);
        assert_eq!(connection.congestion.window(), 10 * expected, "RFC 6928");
        connection.lift_path_limit(Instant::ZERO);
        assert_eq!(connection.send.mss(), expected, "not yet");
        connection.lift_path_limit(Instant::from_millis(1));
        assert_eq!(connection.send.mss(), expected + 460);
    }
}

#[test]
fn a_controller_that_learns_of_smaller_segments_keeps_its_window() {
    for congestion_control in [CongestionControl::Reno, CongestionControl::Cubic] {
        let mut bench = Bench::with(TcpConfig { congestion_control, ..TcpConfig::default() }, &handshake());
        bench.write(10 * 1_460);
        bench.sent();
        bench.pass(Duration::from_millis(10));
        bench.receive(1, 1_461, ACK, b"");
        bench.receive(1, 1 + 10 * 1_460, ACK, b"");
        let window = bench.connection.congestion.window();
        assert_eq!(bench.limit(770), Ok(()));
        assert_eq!(bench.connection.congestion.window(), window, "{congestion_control:?}: nothing was lost");
        bench.connection.congestion.lost(1_460);
        assert_eq!(bench.connection.congestion.window(), 2 * 730, "but its least is two of the new ones");
    }
}

#[test]
fn a_path_that_becomes_wider_again_is_used_as_far_as_the_application_wants() {
    let config = TcpConfig::default();
    let mut connection = Connection::established(config.at(Instant::ZERO), &handshake());
    assert_eq!(connection.limit_path(config.at(Instant::ZERO), 1_040, Instant::from_millis(1)), Ok(()));
    connection.set_max_segment(MaxSegment::new(1_200), &config);
    assert_eq!(connection.send.mss(), 1_000, "the path takes less still");
    connection.lift_path_limit(Instant::from_millis(1));
    assert_eq!(connection.send.mss(), 1_200);
    connection.set_max_segment(MaxSegment::new(1_300), &config);
    assert_eq!(connection.send.mss(), 1_200);
    assert_eq!(connection.limit_path(config.at(Instant::ZERO), 1_140, Instant::from_millis(2)), Ok(()));
    connection.lift_path_limit(Instant::from_millis(2));
    assert_eq!(connection.send.mss(), 1_200);
}
