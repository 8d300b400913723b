//! Timestamps and what they protect from (RFC 7323).

use super::*;
use crate::{
    tcp::timestamps::Clocks,
    wire::{TcpOptions, tcp_options::Timestamps},
};

/// Our clock shows this when the peer's shows [`THEIRS`]; both are about to wrap.
const OURS: u32 = u32::MAX - 20;
const THEIRS: u32 = u32::MAX - 10;

fn bench() -> Bench {
    let now = Instant::from_millis(1_000);
    let clocks = Some(Clocks::new(now, OURS, THEIRS));
    let config = TcpConfig::default();
    let mut connection = Connection::established(&Handshake { clocks, ..handshake() }, now, &config);
    connection.acks.sent = IRS.advance(1);
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
        self.connection.arrive(self.now, &link, &Segment { header, payload: data, traffic_class: 0 }, &self.config)
    }

    /// The option of the one segment that is sent now.
    fn option(&mut self) -> Timestamps {
        let mut buffer = vec![0; 2_000];
        let (length, _) = self.connection.poll_transmit(self.now, &self.config, &mut buffer).expect("one is sent");
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
fn a_segment_without_timestamps_is_refused_unless_it_is_a_reset() {
    // §3.2 and §5.2.
    let mut bench = bench();
    bench.refuse(1, 1, ACK, b"data", DropReason::MissingTimestamp);
    assert_eq!(bench.sent(), [], "in silence");
    bench.receive(1, 1, RST, b"");
    assert!(bench.connection.end().is_some());
}
