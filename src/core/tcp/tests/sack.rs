//! Selective acknowledgments, both ways: RFC 2018, RFC 2883, RFC 6675.

use super::*;
use crate::{
    tcp::timestamps::TimestampState,
    wire::{
        TcpOptions,
        tcp_options::{SackBlocks, Timestamps},
    },
};

fn bench() -> Bench {
    Bench::with(TcpConfig::default(), &Handshake { sack: true, ..handshake() })
}

/// SACK blocks, relative to `base`.
fn blocks(base: SeqNumber, pairs: &[(u32, u32)]) -> SackBlocks {
    let add = |blocks: SackBlocks, &(left, right): &(u32, u32)| {
        blocks.with(base.advance(left), base.advance(right)).expect("no more than four")
    };
    pairs.iter().fold(SackBlocks::default(), add)
}

impl Bench {
    /// The peer acknowledges, and reports what it has.
    pub(super) fn reported(&mut self, ack: u32, pairs: &[(u32, u32)]) {
        let options = TcpOptions { sack: blocks(ISS, pairs), ..TcpOptions::default() };
        let header = TcpHeader {
            source_port: 40_000,
            destination_port: 80,
            seq: IRS.advance(1),
            ack: ISS.advance(ack),
            flags: ACK,
            window: 64_000,
            options,
            ..TcpHeader::default()
        };
        let link = *self.connection.link();
        let arrived = self.connection.arrive(
            self.config.at(self.now),
            &link,
            &Segment { header, payload: b"", traffic_class: 0 },
        );
        assert_eq!(arrived, Ok(()));
    }

    /// The reports of everything the connection has to send now, relative.
    fn reports(&mut self) -> Vec<Vec<(u32, u32)>> {
        let mut buffer = vec![0; 2_000];
        let mut reports = Vec::new();
        while let Some((length, _)) = self.connection.poll_transmit(self.config.at(self.now), &mut buffer) {
            assert!(length <= 14 + self.config.mtu, "no frame is longer than the MTU allows");
            let frame = wire::parse(&buffer[..length], ChecksumPolicy::Verify).unwrap();
            let Packet::Tcp(_, segment) = frame.packet else { panic!("a connection sends TCP") };
            let relative = |&(left, right): &(SeqNumber, SeqNumber)| (left.since(IRS), right.since(IRS));
            reports.push(segment.header.options.sack.as_slice().iter().map(relative).collect());
        }
        reports
    }

    /// Writes so many full segments and sends what the window allows.
    fn sends(&mut self, segments: usize) -> Vec<(u32, usize)> {
        self.connection.write(&pattern(0, segments * MSS as usize), &self.config);
        self.sent_ranges()
    }
}

/// Where segment number so and so of ours begins, counted from 0.
pub(super) fn at(segment: u32) -> u32 {
    1 + segment * MSS
}

#[test]
fn early_segments_are_reported_the_latest_first() {
    let mut bench = bench();
    for (seq, report) in [
        (101, vec![(101, 111)]),
        (301, vec![(301, 311), (101, 111)]),
        (201, vec![(201, 211), (301, 311), (101, 111)]),
        // One that joins two pieces is reported with both, and they are as one.
        (111, vec![(101, 121), (201, 211), (301, 311)]),
        (501, vec![(501, 511), (101, 121), (201, 211), (301, 311)]),
        (601, vec![(601, 611), (501, 511), (101, 121), (201, 211)]),
    ] {
        bench.receive(seq, 1, ACK, b"0123456789");
        assert_eq!(bench.reports(), [report], "after {seq}");
    }
    // When the holes are filled there is nothing more to say.
    for (seq, length) in [(1, 100), (121, 80), (211, 90), (311, 190), (511, 90)] {
        bench.receive(seq, 1, ACK, &vec![b'x'; length]);
    }
    assert_eq!(bench.reports(), [vec![]]);
    assert_eq!(bench.connection.readable_len(), 610);
}

#[test]
fn an_early_fin_is_reported_with_its_data() {
    let mut bench = bench();
    bench.receive(101, 1, ACK | FIN, &[0; 100]);
    assert_eq!(bench.reports(), [vec![(101, 202)]]);
}

#[test]
fn what_came_again_is_reported_once() {
    let mut bench = bench();
    bench.receive(1, 1, ACK, &[b'x'; 100]);
    bench.refuse(1, 1, ACK, &[b'x'; 100], DropReason::OutsideWindow);
    assert_eq!(bench.reports(), [vec![(1, 101)]], "RFC 2883 §4.1.1");
    bench.receive(201, 1, ACK, &[b'x'; 100]);
    assert_eq!(bench.reports(), [vec![(201, 301)]]);
    bench.receive(221, 1, ACK, &[b'x'; 10]);
    assert_eq!(bench.reports(), [vec![(221, 231), (201, 301)]], "RFC 2883 §4.2: what it is part of comes second");
    bench.receive(301, 1, ACK, b"x");
    assert_eq!(bench.reports(), [vec![(201, 302)]]);
}

#[test]
fn what_came_again_in_part_is_reported_as_far_as_it_was_known() {
    // RFC 2883 §4.2: each time the stretch that came twice, and behind it what it is part of.
    let mut bench = bench();
    for (seq, length, report) in [
        (11, 10, vec![(11, 21)]),
        (16, 10, vec![(16, 21), (11, 26)]),
        // From before what is known into it, over the whole of it, and over more than one piece: the first one counts.
        (8, 5, vec![(11, 13), (8, 26)]),
        (6, 24, vec![(8, 26), (6, 30)]),
        (41, 10, vec![(41, 51), (6, 30)]),
        (25, 20, vec![(25, 30), (6, 51)]),
    ] {
        bench.receive(seq, 1, ACK, &vec![b'x'; length]);
        assert_eq!(bench.reports(), [report], "after {seq}");
    }
    bench.receive(1, 1, ACK, &[b'x'; 20]);
    assert_eq!(bench.reports(), [vec![(6, 21)]], "where the hole is filled, too");
    assert_eq!(bench.connection.readable_len(), 50);
}

#[test]
fn what_fills_a_hole_and_more_reports_the_more() {
    let mut bench = bench();
    bench.receive(11, 1, ACK, b"0123456789");
    bench.receive(31, 1, ACK, b"0123456789");
    assert_eq!(bench.reports().len(), 2);
    bench.receive(1, 1, ACK, &[b'x'; 20]);
    assert_eq!(bench.reports(), [vec![(11, 21), (31, 41)]]);
    // Half of it is old, and reaches to what waits: what was acknowledged comes first.
    bench.receive(11, 1, ACK, &[b'x'; 30]);
    assert_eq!(bench.reports(), [vec![(11, 21)]]);
    assert_eq!(bench.connection.readable_len(), 40);
}

#[test]
fn with_timestamps_there_is_room_for_three_blocks() {
    let now = Instant::from_millis(1_000);
    let clocks = Some(TimestampState::new(now, 1, 1));
    let config = TcpConfig::default();
    let connection = Connection::established(config.at(now), &Handshake { sack: true, clocks, ..handshake() });
    let mut bench = Bench { connection, config, now };
    let link = *bench.connection.link();
    for seq in [101, 201, 301, 401] {
        let timestamps = Some(Timestamps { value: 1, echo: 1 });
        let header = TcpHeader {
            source_port: 40_000,
            destination_port: 80,
            seq: IRS.advance(seq),
            ack: ISS.advance(1),
            flags: ACK,
            window: 64_000,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        let segment = Segment { header, payload: b"0123456789", traffic_class: 0 };
        assert_eq!(bench.connection.arrive(bench.config.at(bench.now), &link, &segment), Ok(()));
    }
    let reports = bench.reports();
    assert_eq!(reports[0], [(401, 411), (301, 311), (201, 211)]);
    // Full segments have no room for any, and go out whole.
    bench.connection.write(&pattern(0, 2 * MSS as usize), &bench.config);
    assert_eq!(bench.reports()[..2], [vec![], vec![]]);
}

#[test]
fn a_peer_without_sack_hears_of_none() {
    let mut bench = Bench::new();
    bench.receive(101, 1, ACK, b"0123456789");
    assert_eq!(bench.reports(), [vec![]]);
    // Nor is one believed that reports unasked.
    assert_eq!(bench.sends(10).len(), 10);
    bench.reported(1, &[(at(1), at(9))]);
    assert_eq!(bench.sent_ranges(), [], "it counts as one duplicate, and no more");
}

#[test]
fn every_hole_is_filled_in_one_round_trip() {
    let mut bench = bench();
    assert_eq!(bench.sends(10).len(), 10);
    // Segments 0, 3 and 5 are missing.
    bench.reported(1, &[(at(1), at(2))]);
    bench.reported(1, &[(at(1), at(3))]);
    assert_eq!(bench.sent_ranges(), [], "two are no proof");
    bench.reported(1, &[(at(4), at(5)), (at(1), at(3))]);
    assert_eq!(bench.sent_ranges(), [(at(0), MSS as usize)]);
    bench.reported(1, &[(at(6), at(10)), (at(4), at(5)), (at(1), at(3))]);
    assert_eq!(bench.sent_ranges(), [(at(3), MSS as usize), (at(5), MSS as usize)]);
    bench.reported(at(3), &[(at(6), at(10)), (at(4), at(5))]);
    bench.reported(at(10), &[]);
    assert_eq!((bench.sent_ranges(), bench.connection.send.in_flight()), (vec![], 0));
}

#[test]
fn what_is_reported_is_not_sent_again_after_a_timeout() {
    let mut bench = bench();
    bench.sends(4);
    bench.reported(1, &[(at(1), at(2)), (at(3), at(4))]);
    bench.wait_for_timer();
    let mut again = bench.sent_ranges();
    bench.reported(at(2), &[(at(3), at(4))]);
    again.extend(bench.sent_ranges());
    assert_eq!(again, [(at(0), MSS as usize), (at(2), MSS as usize)]);
}

#[test]
fn a_peer_that_takes_its_report_back_gets_everything_again() {
    let mut bench = bench();
    bench.sends(3);
    bench.reported(1, &[(at(1), at(3))]);
    // The hole is filled, but what lay behind it is gone: the acknowledgment does not cover it.
    bench.reported(at(1), &[]);
    assert_eq!(bench.sent_ranges(), []);
    bench.wait_for_timer();
    let mut again = bench.sent_ranges();
    bench.reported(at(2), &[]);
    again.extend(bench.sent_ranges());
    assert_eq!(again, [(at(1), MSS as usize), (at(2), MSS as usize)], "RFC 2018 §8");
}

#[test]
fn reports_that_cannot_be_change_nothing() {
    for lie in [
        (at(10), at(11)),       // beyond what was sent
        (at(5), at(11)),        // partly so
        (at(5), at(4)),         // backwards
        (at(5), at(5)),         // nothing
        (at(0), at(3)),         // what is not acknowledged although it is the first
        (0, at(2)),             // before that
        (at(5) + 1, at(6) - 1), // less than a segment
        (at(0).wrapping_sub(1 << 31), at(3)),
    ] {
        let mut bench = bench();
        bench.sends(10);
        let before = bench.connection.send.in_flight();
        bench.reported(1, &[lie]);
        assert_eq!(bench.connection.send.in_flight(), before, "{lie:?}");
    }
}

#[test]
fn a_retransmission_that_is_lost_is_lost_again_without_a_timeout() {
    let mut bench = bench();
    bench.sends(10);
    bench.reported(1, &[(at(1), at(4))]);
    assert_eq!(bench.sent_ranges(), [(at(0), MSS as usize)]);
    // Much later new data go out, and arrive, but the retransmission has not.
    bench.now += Duration::from_millis(150);
    bench.reported(1, &[(at(1), at(10))]);
    bench.connection.write(&pattern(10 * MSS as usize, 3 * MSS as usize), &bench.config);
    bench.now += Duration::from_millis(150);
    assert_eq!(bench.sent_ranges().len(), 3);
    bench.reported(1, &[(at(1), at(12))]);
    assert_eq!(bench.sent_ranges(), [(at(0), MSS as usize)]);
}

/// A connection that knows its round trip: 100 ms.
pub(super) fn timed() -> Bench {
    let mut bench = bench();
    bench.sends(1);
    bench.now += Duration::from_millis(100);
    bench.reported(at(1), &[]);
    assert_eq!(bench.sent_ranges(), []);
    bench
}

/// Writes so many full segments more, behind the one that [`timed`] has sent.
pub(super) fn sends_more(bench: &mut Bench, segments: usize) -> Vec<(u32, usize)> {
    bench.connection.write(&pattern(MSS as usize, segments * MSS as usize), &bench.config);
    bench.sent_ranges()
}

#[test]
fn a_lost_tail_is_probed_before_the_timeout() {
    let mut bench = timed();
    assert_eq!(sends_more(&mut bench, 5).len(), 5);
    bench.now += Duration::from_millis(100);
    bench.reported(at(3), &[]);
    assert_eq!(bench.sent_ranges(), []);
    // The last three are lost: after two round trips the last of them goes out again, RFC 8985 §7.3.
    assert_eq!(bench.wait_for_timer(), Duration::from_millis(200));
    assert_eq!(bench.sent_ranges(), [(at(5), MSS as usize)]);
    // Its report tells of the others: what was sent so long before it is lost, without a timeout.
    bench.now += Duration::from_millis(100);
    bench.reported(at(3), &[(at(5), at(6))]);
    // What arrives may be replaced, and no more than that: RFC 9937.
    assert_eq!(bench.sent_ranges(), [(at(3), MSS as usize)]);
    bench.now += Duration::from_millis(100);
    bench.reported(at(4), &[(at(5), at(6))]);
    assert_eq!(bench.sent_ranges(), [(at(4), MSS as usize)]);
    bench.now += Duration::from_millis(100);
    bench.reported(at(6), &[]);
    assert_eq!((bench.sent_ranges(), bench.connection.timeouts), (vec![], 0));
}

#[test]
fn there_is_one_probe_and_then_the_timeout() {
    let mut bench = timed();
    sends_more(&mut bench, 3);
    bench.wait_for_timer();
    assert_eq!(bench.sent_ranges(), [(at(3), MSS as usize)]);
    // Three times the round trip, after the first measurement: RFC 6298 §2.2.
    assert_eq!(bench.wait_for_timer(), Duration::from_millis(300));
    assert_eq!(bench.sent_ranges(), [(at(1), MSS as usize)]);
    assert_eq!(bench.connection.timeouts, 1);
}

#[test]
fn a_single_segment_is_probed_for_instead_of_the_timeout() {
    // Its acknowledgment may only be late, so the timeout would come first: RFC 8985 §7.2.
    let mut bench = timed();
    sends_more(&mut bench, 1);
    assert_eq!(bench.wait_for_timer(), Duration::from_millis(300));
    assert_eq!((bench.sent_ranges(), bench.connection.timeouts), (vec![(at(1), MSS as usize)], 0));
    assert_eq!(bench.wait_for_timer(), Duration::from_millis(300));
    assert_eq!((bench.sent_ranges(), bench.connection.timeouts), (vec![(at(1), MSS as usize)], 1));
}

#[test]
fn x_lt_1_reports_let_new_data_out_before_a_loss_is_certain() {
    // RFC 3042, as RFC 6675 §5 (1) has it.
    let mut bench = bench();
    bench.connection.write(&pattern(0, 20 * MSS as usize), &bench.config);
    assert_eq!(bench.sent_ranges().len(), 10);
    bench.reported(1, &[(at(1), at(2))]);
    assert_eq!(bench.sent_ranges(), [(at(10), MSS as usize)]);
    bench.reported(1, &[(at(1), at(3))]);
    assert_eq!(bench.sent_ranges(), [(at(11), MSS as usize)]);
}
