//! Timestamps and what they protect from (RFC 7323).

use super::*;
use crate::{
    tcp::timestamps::TimestampState,
    wire::{TcpOptions, tcp_options::Timestamps},
};

/// Our clock shows this when the peer's shows [`THEIRS`]; both are about to wrap.
const OURS: u32 = u32::MAX - 20;
const THEIRS: u32 = u32::MAX - 10;

fn bench() -> Bench {
    let now = Instant::from_millis(1_000);
    let clocks = Some(TimestampState::new(now, OURS, THEIRS));
    let config = TcpConfig::default();
    let mut connection = Connection::established(config.at(now), &Handshake { clocks, ..handshake() });
    connection.acks.paid(IRS.advance(1));
    let mut bench = Bench { connection, config, now };
    assert_eq!(bench.at(0, 1, 1, b""), Ok(()));
    bench
}

impl Bench {
    /// The peer sends a segment when its clock shows so much more than [`THEIRS`].
    fn at(&mut self, later: u32, seq: u32, ack: u32, data: &[u8]) -> Result<(), DropReason> {
        let value = THEIRS.wrapping_add(later);
        let options = TcpOptions { timestamps: Some(Timestamps { value, echo: OURS }), ..TcpOptions::default() };
        let (seq, ack) = (IRS.advance(seq), ISS.advance(ack));
        let header = TcpHeader { seq, ack, flags: ACK, window: 64_000, options, ..TcpHeader::default() };
        let link = *self.connection.link();
        self.connection.arrive(self.config.at(self.now), &link, &Segment { header, payload: data, traffic_class: 0 })
    }

    /// The option of the one segment that is sent now.
    fn option(&mut self) -> Timestamps {
        let mut buffer = vec![0; 2_000];
        let (length, _) = self.connection.poll_transmit(self.config.at(self.now), &mut buffer).expect("one is sent");
        assert!(length <= 14 + self.config.mtu);
        let parsed = wire::parse(&buffer[..length], ChecksumPolicy::Verify).unwrap();
        let Packet::Tcp(_, segment) = parsed.packet else { panic!() };
        segment.header.options.timestamps.expect("every segment has timestamps")
    }
}

#[test]
fn our_clock_ticks_in_milliseconds_and_the_peers_comes_back() {
    let mut bench = bench();
    bench.write(5_000);
    assert_eq!(bench.option(), Timestamps { value: OURS, echo: THEIRS });
    bench.now += Duration::from_millis(30);
    assert_eq!(bench.option(), Timestamps { value: OURS.wrapping_add(30), echo: THEIRS });
    assert_eq!(bench.at(25, 1, 1, b"x"), Ok(()));
    assert_eq!(bench.option().echo, THEIRS.wrapping_add(25));
}

#[test]
fn the_option_takes_its_room_from_the_data() {
    let mut bench = bench();
    bench.write(3_000);
    assert_eq!(bench.sent()[0].data.len(), 1_448);
}

#[test]
fn the_echo_is_of_the_segment_that_the_acknowledgment_answers() {
    // §4.3: with delayed acknowledgments the earlier of two, around a hole the one before it.
    let mut bench = bench();
    assert_eq!(bench.at(10, 1, 1, &pattern(0, 1_448)), Ok(()));
    assert_eq!(bench.at(20, 1_449, 1, &pattern(0, 1_448)), Ok(()));
    assert_eq!(bench.option().echo, THEIRS.wrapping_add(10));
    assert_eq!(bench.at(30, 4_345, 1, &pattern(0, 1_448)), Ok(()));
    assert_eq!(bench.option().echo, THEIRS.wrapping_add(10), "what came early is not echoed");
    assert_eq!(bench.at(40, 2_897, 1, &pattern(0, 1_448)), Ok(()));
    assert_eq!(bench.option().echo, THEIRS.wrapping_add(40));
}

#[test]
fn an_old_duplicate_is_refused_even_inside_the_window() {
    // PAWS, §5.3.
    let mut bench = bench();
    assert_eq!(bench.at(50, 1, 1, b"new"), Ok(()));
    bench.sent();
    assert_eq!(bench.at(49, 4, 1, b"old"), Err(DropReason::OldTimestamp));
    assert_eq!(bench.sent_one().ack, 4, "it is acknowledged");
    assert_eq!(bench.at(50, 4, 1, b"er"), Ok(()));
    assert_eq!(bench.read_all(), b"newer");
}

#[test]
fn a_peers_clock_is_forgotten_after_24_idle_days() {
    // §5.5: by then it may show anything.
    let (half, day) = (1 << 31, Duration::from_secs(24 * 3_600));
    let mut bench = bench();
    assert_eq!(bench.at(5, 1, 1, b""), Ok(()));
    bench.now += 24 * day - Duration::from_millis(1);
    assert_eq!(bench.at(5 + half, 1, 1, b"x"), Err(DropReason::OldTimestamp));
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.at(9 + half, 70_000_000, 1, b"x"), Err(DropReason::OutsideWindow));
    bench.sent();
    assert_eq!(bench.at(6 + half, 1, 1, b"back"), Ok(()));
    assert_eq!(bench.option().echo, THEIRS.wrapping_add(6 + half), "what was refused has set no clock");
    assert_eq!(
        bench.at(5 + half, 5, 1, b"old"),
        Err(DropReason::OldTimestamp),
        "the new clock protects as the old one did"
    );
    assert_eq!(bench.read_all(), b"back");
}

#[test]
fn the_first_segment_after_24_idle_days_sets_the_clock_even_if_it_is_early() {
    // Or those behind it would be refused for another 24 days: either side of where a clock begins to look old.
    for later in [(1 << 31) - 2, 1 << 31] {
        let mut bench = bench();
        bench.now += Duration::from_secs(25 * 24 * 3_600);
        assert_eq!(bench.at(later, 5, 1, b"early"), Ok(()));
        bench.now += Duration::from_millis(10);
        assert_eq!(bench.at(later + 10, 1, 1, b"late"), Ok(()));
        assert_eq!(bench.read_all(), b"lateearly");
    }
}

#[test]
fn a_segment_without_timestamps_counts_though_they_were_agreed_on() {
    // §3.2 would have it dropped. Its numbers are checked as they are where nobody has a clock.
    let mut bench = bench();
    assert_eq!(bench.at(50, 1, 1, b"with"), Ok(()));
    bench.receive(5, 1, ACK, b"out");
    assert_eq!(bench.option(), Timestamps { value: OURS, echo: THEIRS.wrapping_add(50) }, "ours go on");
    bench.refuse(70_000_000, 1, ACK, b"outside", DropReason::OutsideWindow);
    assert_eq!(bench.at(49, 8, 1, b"old"), Err(DropReason::OldTimestamp), "nor has the peer's clock been forgotten");
    assert_eq!(bench.read_all(), b"without");
    bench.sent();
    // What it acknowledges counts, too.
    bench.write(100);
    assert_eq!(bench.sent_ranges(), [(1, 100)]);
    bench.receive(8, 101, ACK, b"");
    assert_eq!(bench.connection.send.flight_size(), 0);
    bench.receive(8, 101, RST, b"");
    assert!(bench.connection.end().is_some());
}
