//! Windows that grow with the path, and acknowledgments at its beginning.

use super::*;
use crate::tcp::{
    byte_ring::ByteRing, handshake::syn_ack_window, receive::window_scale_for, timestamps::TimestampState,
};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Frames on their way: when each arrives, a number to break ties, at whom, and itself.
type Wire = BinaryHeap<Reverse<(Instant, u64, usize, Vec<u8>)>>;

/// Two connections and a path between them that loses nothing. The first one sends.
struct Path {
    ends: [Connection; 2],
    config: TcpConfig,
    now: Instant,
    wire: Wire,
    frames: u64,
    /// When each direction has sent what was given to it.
    free: [Instant; 2],
    megabits: u64,
    one_way: Duration,
}

impl Path {
    fn new(megabits: u64, round_trip: Duration, with_clocks: bool, config: TcpConfig) -> Self {
        let now = Instant::from_millis(1);
        let scale = Some(window_scale_for(config.receive_buffer));
        let clocks = with_clocks.then(|| TimestampState::new(now, 7, 7));
        let ours = Handshake { peer_window_scale: scale, sack: true, clocks, ..handshake() };
        let theirs = Handshake { tuple: ours.tuple.reversed(), iss: ours.irs, irs: ours.iss, ..ours };
        let ends = [ours, theirs].map(|handshake| Connection::established(config.at(now), &handshake));
        let mut path =
            Self { ends, config, now, wire: Wire::new(), frames: 0, free: [now; 2], megabits, one_way: round_trip / 2 };
        path.ends[1].acks.owe(); // the first one hears of the window
        path
    }

    fn transmit(&mut self, from: usize) {
        let mut buffer = vec![0; 2_000];
        while let Some((length, _)) = self.ends[from].poll_transmit(self.config.at(self.now), &mut buffer) {
            let takes = Duration::from_nanos(length as u64 * 8_000 / self.megabits);
            self.free[from] = self.free[from].max(self.now) + takes;
            self.frames += 1;
            let frame = buffer[..length].to_vec();
            self.wire.push(Reverse((self.free[from] + self.one_way, self.frames, 1 - from, frame)));
        }
    }

    /// Sends so many octets, of which the other end reads those that `reads` lets it; how long that took. Ends early where
    /// nothing more moves within a second.
    fn send(&mut self, octets: usize, reads: bool) -> Duration {
        let (began, mut written, mut read) = (self.now, 0, 0);
        let data = vec![0; 1 << 20];
        let mut moved = self.now;
        while read < octets && self.now - moved < Duration::from_secs(1) {
            while self.wire.peek().is_some_and(|Reverse((arrives, ..))| *arrives <= self.now) {
                let Some(Reverse((_, _, to, frame))) = self.wire.pop() else { break };
                let parsed = wire::parse(&frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
                let Packet::Tcp(_, segment) = parsed.packet else { panic!("a connection sends TCP") };
                let link = *self.ends[to].link();
                assert_eq!(self.ends[to].arrive(self.config.at(self.now), &link, &segment), Ok(()));
                moved = self.now;
            }
            for end in &mut self.ends {
                end.handle_timeout(self.config.at(self.now));
            }
            written += self.ends[0].write(&data[..data.len().min(octets - written)], &self.config);
            let readable = if reads { self.ends[1].readable_len() } else { 0 };
            while self.ends[1].readable_len() > 0 && reads {
                self.ends[1].consume(self.ends[1].readable().len());
            }
            read += readable;
            self.transmit(0);
            self.transmit(1);
            let arrival = self.wire.peek().map(|Reverse((arrives, ..))| *arrives);
            let timeouts = self.ends.iter().filter_map(Connection::poll_timeout);
            self.now = timeouts.chain(arrival).min().expect("something is to come").max(self.now);
        }
        self.now - began
    }
}

/// How long octets take on a path of their own, headers included, with so many round trips for the start.
fn ideal(octets: usize, megabits: u64, round_trip: Duration) -> Duration {
    Duration::from_nanos(octets as u64 * 1_514 / 1_448 * 8_000 / megabits) + 10 * round_trip
}

#[test]
fn a_path_is_filled() {
    for (megabits, milliseconds, octets) in [(100, 40, 20_000_000), (1_000, 20, 50_000_000), (1_000, 1, 10_000_000)] {
        for with_clocks in [true, false] {
            let round_trip = Duration::from_millis(milliseconds);
            let mut path = Path::new(megabits, round_trip, with_clocks, TcpConfig::default());
            let (took, ideal) = (path.send(octets, true), ideal(octets, megabits, round_trip));
            assert!(took < ideal, "{megabits} Mbit/s over {milliseconds} ms took {took:?}, more than {ideal:?}");
        }
    }
}

#[test]
fn a_path_takes_no_more_than_it_needs() {
    // Half a megabit over 20 ms: 1,250 octets are under way, and some more wait for the slow link.
    let mut path = Path::new(1, Duration::from_millis(20), true, TcpConfig::default());
    path.send(1_000_000, true);
    assert!(path.ends[1].receive.limit() < 100_000, "{}", path.ends[1].receive.limit());
}

#[test]
fn a_peer_whose_data_nobody_reads_is_offered_no_more() {
    let mut path = Path::new(1_000, Duration::from_millis(20), true, TcpConfig::default());
    path.send(10_000_000, false);
    let kept = path.ends[1].readable_len();
    assert!((60_000..75_000).contains(&kept), "{kept}");
    assert_eq!(path.ends[1].receive.window(), 0);
}

#[test]
fn queues_that_have_run_empty_take_little_memory() {
    let mut ring = ByteRing::default();
    ring.push(&vec![7; 3_000_000]);
    ring.consume(2_999_999);
    ring.release();
    assert_eq!((ring.front(), ring.capacity()), (&[7][..], 1 << 18), "little while there is little in it");
    ring.push(&vec![9; 500_000]);
    ring.consume(500_001);
    ring.release();
    assert_eq!((ring.len(), ring.capacity()), (0, 0), "none while there is nothing");
    ring.push(&[8; 100_000]);
    ring.consume(100_000);
    ring.release();
    assert_eq!(ring.capacity(), 1 << 17, "a smaller one is used again");
}

#[test]
fn a_window_begins_small_and_its_scale_is_that_of_the_largest() {
    let config = TcpConfig::default();
    assert_eq!(syn_ack_window(&config), u16::MAX);
    let options = Handshake { peer_window_scale: Some(0), ..handshake() }.syn_ack_options(config.at(Instant::ZERO));
    let scale = options.window_scale.unwrap();
    assert!(config.receive_buffer >> scale <= usize::from(u16::MAX));
    assert!(config.receive_buffer >> (scale - 1) > usize::from(u16::MAX));
    let small = TcpConfig { initial_window: 10_000, ..TcpConfig::default() };
    let mut bench = Bench::with(small.clone(), &Handshake { peer_window_scale: Some(7), ..handshake() });
    assert_eq!(syn_ack_window(&small), 10_000);
    bench.receive(1, 1, ACK, &pattern(0, 3_000));
    let window = u32::from(bench.sent_one().window) << scale;
    assert!((6_900..10_000).contains(&window), "{window}");
}

#[test]
fn a_window_without_scaling_stays_within_16_bits() {
    let mut bench = Bench::with(TcpConfig::default(), &handshake());
    for _ in 0..200 {
        let seq = bench.connection.receive.nxt().since(IRS);
        bench.receive(seq, 1, ACK, &pattern(0, 1_460));
        bench.read_all();
        bench.sent();
        bench.pass(Duration::from_micros(10));
    }
    assert_eq!(bench.connection.receive.limit(), 65_535);
}

#[test]
fn an_application_writes_no_further_ahead_than_is_worth_while() {
    let config = TcpConfig { write_ahead: 100_000, ..quiet() };
    let mut bench = Bench::with(config, &handshake());
    assert_eq!(bench.connection.write(&pattern(0, 400_000), &bench.config), 100_000);
    assert!(!bench.connection.has_room_again(&bench.config), "nothing has been sent yet");
    for _ in 0..40 {
        bench.sent();
        let in_flight = bench.connection.send.flight_size() as usize;
        bench.connection.write(&pattern(0, 400_000), &bench.config);
        assert_eq!(bench.connection.send.buffered(), in_flight + 100_000);
        let ack = bench.connection.send.una().since(ISS) + MSS;
        bench.receive(1, ack, ACK, b"");
    }
}

#[test]
fn no_room_is_never_room_enough() {
    for (send_buffer, write_ahead) in [(1, 100_000), (100_000, 0)] {
        let mut bench = Bench::with(TcpConfig { send_buffer, write_ahead, ..quiet() }, &handshake());
        let written = bench.connection.write(&pattern(0, 100_000), &bench.config);
        assert!(written > 0);
        assert_eq!(bench.connection.write(b"more", &bench.config), 0);
        assert!(!bench.connection.has_room_again(&bench.config), "{send_buffer}, {write_ahead}");
    }
}

#[test]
fn room_that_sending_makes_is_heard_of_before_any_acknowledgment() {
    let mut bench = Bench::with(TcpConfig { write_ahead: 20_000, ..quiet() }, &handshake());
    assert_eq!(bench.connection.write(&pattern(0, 30_000), &bench.config), 20_000);
    bench.sent();
    assert!(bench.connection.has_room_again(&bench.config), "ten segments have gone");
    assert!(!bench.connection.has_room_again(&bench.config), "it is said once");
}

/// A connection that acknowledges the first three segments at once.
fn quick() -> Bench {
    Bench::with(TcpConfig { quick_acks: 3, ..quiet() }, &handshake())
}

#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut bench = quick();
    for part in 0..3 {
        bench.receive(1 + part * 100, 1, ACK, &pattern(0, 100));
        assert_eq!(bench.sent_one().ack, 101 + part * 100);
    }
    bench.receive(301, 1, ACK, &pattern(0, 100));
    assert_eq!(bench.sent(), [], "from then on one waits for company");
    assert_eq!(bench.wait_for_timer(), bench.config.delayed_ack);
    assert_eq!(bench.sent_one().ack, 401);
}

#[test]
fn after_a_silence_segments_are_acknowledged_at_once_again() {
    let mut bench = quick();
    bench.receive(1, 1, ACK, &pattern(0, 400));
    bench.receive(401, 1, ACK, &pattern(0, 400));
    bench.receive(801, 1, ACK, &pattern(0, 400));
    assert_eq!(bench.sent().len(), 1, "one for all that came together (MUST-58)");
    bench.pass(Duration::from_millis(900));
    bench.receive(1_201, 1, ACK, b"x");
    assert_eq!(bench.sent(), [], "that was no silence");
    bench.pass(Duration::from_millis(1_100));
    bench.sent();
    bench.receive(1_202, 1, ACK, b"x");
    assert_eq!(bench.sent_one().ack, 1_203);
}

#[test]
fn an_answer_in_the_same_turn_carries_the_quick_acknowledgment() {
    let mut bench = quick();
    for turn in 0..3 {
        bench.receive(1 + turn * 4, 1 + turn * 4, ACK | PSH, b"ping");
        assert_eq!(bench.read_all(), b"ping");
        bench.connection.write(b"pong", &bench.config);
        let answer = bench.sent_one();
        assert_eq!((answer.ack, answer.data.len()), (5 + turn * 4, 4));
        bench.pass(Duration::from_micros(50));
        assert_eq!(bench.sent(), [], "and nothing is left to say");
    }
}
