//! Round-trip times where everything is sent again: Karn's algorithm (RFC 6298 §3), and what tells all the same to which of the
//! transmissions an acknowledgment is the answer.

use super::{sack::at, *};
use crate::{
    tcp::timestamps::TimestampState,
    wire::{TcpOptions, tcp_options::Timestamps},
};

const SEGMENT: usize = MSS as usize;
const ROUND: Duration = Duration::from_millis(100);

/// A connection that knows its round trip, and whose segment 1 has timed out so often that the timeout is the longest there is;
/// its last transmission has just gone out.
fn given_up_nearly() -> Bench {
    let mut bench = sack::timed();
    assert_eq!(sack::sends_more(&mut bench, 1), [(at(1), SEGMENT)]);
    while bench.connection.rtt.rto() < bench.config.rto_max {
        bench.wait_for_timer();
        assert_eq!(bench.sent_ranges(), [(at(1), SEGMENT)]);
    }
    bench
}

#[test]
fn must_18_an_answer_that_may_be_to_either_transmission_tells_no_time() {
    let mut bench = given_up_nearly();
    bench.now += ROUND;
    bench.reported(at(2), &[]);
    assert_eq!(bench.connection.rtt.rto(), bench.config.rto_max);
}

#[test]
fn a_duplicate_that_was_expected_now_ends_the_back_off() {
    let mut bench = given_up_nearly();
    bench.now += ROUND;
    bench.reported(at(2), &[(at(1), at(2))]);
    assert_eq!(bench.connection.rtt.smoothed(), Some(ROUND));
    assert!(bench.connection.rtt.rto() <= 3 * ROUND, "{:?}", bench.connection.rtt.rto());
}

#[test]
fn a_duplicate_at_another_time_may_be_of_any_transmission() {
    // Much sooner than anything ever came back, or later than the timeout would be without its back-off.
    for (after, right) in [(ROUND / 2, at(2)), (4 * ROUND, at(2)), (ROUND, at(2) - 1)] {
        let mut bench = given_up_nearly();
        bench.now += after;
        bench.reported(at(2), &[(at(1), right)]);
        assert_eq!(bench.connection.rtt.rto(), bench.config.rto_max, "{after:?}");
    }
}

#[test]
fn a_connection_whose_every_segment_is_sent_again_does_not_crawl() {
    // The peer's first acknowledgment of each segment is lost, and the probe's; the third transmission draws one.
    let mut bench = given_up_nearly();
    bench.now += ROUND;
    bench.reported(at(2), &[(at(1), at(2))]);
    let began = bench.now;
    for segment in 2..12 {
        bench.write(SEGMENT);
        assert_eq!(bench.sent_ranges(), [(at(segment), SEGMENT)]);
        for _ in 0..2 {
            bench.wait_for_timer();
            assert_eq!(bench.sent_ranges(), [(at(segment), SEGMENT)]);
        }
        bench.now += ROUND;
        bench.reported(at(segment + 1), &[(at(segment), at(segment + 1))]);
    }
    assert!(bench.now - began < Duration::from_secs(10), "{:?}", bench.now - began);
}

#[test]
fn a_clock_that_comes_back_tells_which_transmission_was_answered() {
    // RFC 7323 §4.1: as soon as the echo is no older than the last transmission, there is nothing to be confused.
    for (echo_of_last, measured) in [(true, true), (false, false)] {
        let now = Instant::from_millis(1_000);
        let clocks = Some(TimestampState::new(now, 7, 1));
        let config = TcpConfig::default();
        let connection = Connection::established(config.at(now), &Handshake { clocks, ..handshake() });
        let mut bench = Bench { connection, config, now };
        let answer = |bench: &mut Bench, ack: u32, echo: Duration| {
            let timestamps = Some(Timestamps { value: 1, echo: 7 + echo.as_millis() as u32 });
            let options = TcpOptions { timestamps, ..TcpOptions::default() };
            let (seq, ack) = (IRS.advance(1), ISS.advance(ack));
            let header = TcpHeader { seq, ack, flags: ACK, window: 64_000, options, ..TcpHeader::default() };
            let link = *bench.connection.link();
            let segment = Segment { header, payload: b"", traffic_class: 0 };
            assert_eq!(bench.connection.arrive(bench.config.at(bench.now), &link, &segment), Ok(()));
        };
        answer(&mut bench, 1, Duration::ZERO);
        bench.write(1_000);
        assert_eq!(bench.sent().len(), 1);
        for _ in 0..3 {
            bench.wait_for_timer();
            assert_eq!(bench.sent().len(), 1);
        }
        let echo = if echo_of_last { bench.now - now } else { Duration::ZERO };
        bench.now += ROUND;
        answer(&mut bench, 1_001, echo);
        assert_eq!(bench.connection.rtt.smoothed(), measured.then_some(ROUND), "{echo:?}");
        assert_eq!(bench.connection.rtt.rto() <= 3 * ROUND, measured, "{:?}", bench.connection.rtt.rto());
    }
}

#[test]
fn a_segment_that_comes_again_is_echoed_again() {
    // Its sender has heard nothing of the first one, and must not measure from there.
    let now = Instant::from_millis(1_000);
    let handshake = Handshake { clocks: Some(TimestampState::new(now, 7, 1)), ..handshake() };
    for (seq, length, echoed) in [(1, 100, 50), (51, 50, 50), (1, 99, 1), (52, 50, 50), (1_000_000, 100, 1)] {
        let config = TcpConfig::default();
        let connection = Connection::established(config.at(now), &handshake);
        let mut bench = Bench { connection, config, now };
        let link = *bench.connection.link();
        let come = |bench: &mut Bench, seq: u32, length: usize, value: u32| {
            let options = TcpOptions { timestamps: Some(Timestamps { value, echo: 7 }), ..TcpOptions::default() };
            let (seq, ack) = (IRS.advance(seq), ISS.advance(1));
            let header = TcpHeader { seq, ack, flags: ACK, window: 64_000, options, ..TcpHeader::default() };
            let payload = pattern(0, length);
            let segment = Segment { header, payload: &payload, traffic_class: 0 };
            let _ = bench.connection.arrive(bench.config.at(bench.now), &link, &segment);
            let mut buffer = vec![0; 2_000];
            let (length, _) =
                bench.connection.poll_transmit(bench.config.at(bench.now), &mut buffer).expect("an answer");
            let frame = wire::parse(&buffer[..length], ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(_, segment) = frame.packet else { panic!("a connection sends TCP") };
            segment.header.options.timestamps.expect("every segment has timestamps").echo
        };
        assert_eq!(come(&mut bench, 1, 100, 1), 1);
        assert_eq!(come(&mut bench, seq, length, 50), echoed, "{seq}, {length} octets");
    }
}
