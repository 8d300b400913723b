//! Explicit congestion notification (RFC 3168), and the code points of both directions.

use super::*;
use crate::{
    config::Ecn,
    tcp::{congestion::Controller, ecn},
    wire::{
        TcpOptions,
        ip::{Codepoint, Dscp},
        tcp_options::SackBlocks,
    },
};

const ECE: TcpFlags = TcpFlags::ECE;
const CWR: TcpFlags = TcpFlags::CWR;
const MARKED: Codepoint = Codepoint::CongestionExperienced;
const CAPABLE: Codepoint = Codepoint::Capable0;
const NOT_CAPABLE: Codepoint = Codepoint::NotCapable;

fn bench_with(congestion_control: CongestionControl) -> Bench {
    let config = TcpConfig { congestion_control, ..TcpConfig::default() };
    Bench::with(config, &Handshake { ecn: true, ..handshake() })
}

fn bench() -> Bench {
    bench_with(CongestionControl::Reno)
}

impl Bench {
    /// The peer sends a segment whose packet has this traffic class.
    fn arrives(&mut self, (seq, ack): (u32, u32), flags: TcpFlags, class: u8, data: &[u8]) -> Result<(), DropReason> {
        let (seq, ack) = (IRS.advance(seq), ISS.advance(ack));
        let header = TcpHeader { seq, ack, flags: flags | ACK, window: 64_000, ..TcpHeader::default() };
        let link = *self.connection.link();
        let segment = Segment { header, payload: data, traffic_class: class };
        self.connection.arrive(self.config.at(self.now), &link, &segment)
    }

    #[track_caller]
    fn marked(&mut self, seq: u32, flags: TcpFlags, codepoint: Codepoint, data: &[u8]) {
        assert_eq!(self.arrives((seq, 1), flags, codepoint as u8, data), Ok(()));
    }

    /// Sequence number, ECN flags and traffic class of everything the connection has to send now.
    fn packets(&mut self) -> Vec<(u32, TcpFlags, u8)> {
        let mut buffer = vec![0; 2_000];
        let mut packets = Vec::new();
        while let Some((length, _)) = self.connection.poll_transmit(self.config.at(self.now), &mut buffer) {
            let frame = wire::parse(&buffer[..length], ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(ip, segment) = frame.packet else { panic!("a connection sends TCP") };
            packets.push((segment.header.seq.since(ISS), segment.header.flags & (ECE | CWR), ip.traffic_class));
        }
        packets
    }

    #[track_caller]
    fn packet(&mut self) -> (TcpFlags, Codepoint) {
        let packets = self.packets();
        let [(_, flags, class)] = packets[..] else { panic!("{packets:?}") };
        (flags, Codepoint::of(class))
    }
}

const NONE: TcpFlags = TcpFlags::empty();

#[test]
fn shld_8_new_data_can_be_marked_and_nothing_else() {
    // RFC 3168 §6.1.4 to §6.1.6.
    let mut bench = bench();
    bench.write(10);
    assert_eq!(bench.packet(), (NONE, CAPABLE));
    bench.wait_for_timer();
    assert_eq!(bench.packet(), (NONE, NOT_CAPABLE), "sent again");
    bench.marked(1, NONE, NOT_CAPABLE, &pattern(0, 3_000));
    assert_eq!(bench.packet(), (NONE, NOT_CAPABLE), "a bare acknowledgment");
    bench.receive(3_001, 11, ACK, b"");
    bench.connection.shutdown_write();
    assert_eq!(bench.packet(), (NONE, NOT_CAPABLE), "a bare FIN");
}

#[test]
fn shld_8_a_window_probe_cannot_be_marked() {
    let mut bench = bench();
    bench.receive_with_window(1, 1, ACK, 0, b"");
    bench.write(100);
    assert_eq!(bench.packets(), []);
    bench.wait_for_timer();
    assert_eq!(bench.packet(), (NONE, NOT_CAPABLE));
}

#[test]
fn shld_8_without_agreement_there_is_none_of_it() {
    let mut bench = Bench::new();
    bench.marked(1, NONE, MARKED, &pattern(0, 3_000));
    assert_eq!(bench.packet(), (NONE, NOT_CAPABLE));
    bench.write(20 * MSS as usize);
    let window = bench.connection.congestion.window();
    assert!(bench.packets().iter().all(|&(_, flags, class)| (flags, class) == (NONE, 0)));
    assert_eq!(bench.arrives((3_001, 1), ECE, 0, b""), Ok(()));
    assert_eq!(bench.connection.congestion.window(), window);
}

#[test]
fn shld_8_a_mark_is_echoed_until_the_peer_has_slowed_down() {
    // RFC 3168 §6.1.3.
    let mut bench = bench();
    bench.marked(1, NONE, CAPABLE, &pattern(0, 3_000));
    assert_eq!(bench.packet().0, NONE);
    bench.marked(3_001, NONE, MARKED, &pattern(0, 3_000));
    assert_eq!(bench.packet().0, ECE);
    bench.marked(6_001, NONE, CAPABLE, &pattern(0, 3_000));
    assert_eq!(bench.packet().0, ECE, "until it says so");
    bench.write(10);
    assert_eq!(bench.packet(), (ECE, CAPABLE), "data acknowledge, too");
    bench.marked(9_001, CWR, CAPABLE, &pattern(0, 3_000));
    assert_eq!(bench.packet().0, NONE);
    bench.marked(12_001, CWR, MARKED, &pattern(0, 3_000));
    assert_eq!(bench.packet().0, ECE, "a mark on the segment that says so is a new one");
}

#[test]
fn shld_8_a_mark_counts_only_on_acceptable_data() {
    let mut bench = bench();
    bench.marked(1, NONE, MARKED, b"");
    assert!(bench.arrives((1_000_000, 1), NONE, MARKED as u8, b"far").is_err());
    assert_eq!(bench.packet().0, NONE, "neither empty nor outside the window");
}

#[test]
fn shld_8_an_echo_halves_the_window_once_a_round_trip() {
    // RFC 3168 §6.1.2.
    let mut bench = bench();
    bench.write(40 * MSS as usize);
    assert_eq!(bench.packets().len(), 10);
    assert_eq!(bench.arrives((1, 1 + MSS), ECE, 0, b""), Ok(()));
    assert_eq!(bench.connection.congestion.window(), 5 * MSS, "half of what was in flight");
    for acknowledged in 2..=5 {
        assert_eq!(bench.arrives((1, 1 + acknowledged * MSS), ECE, 0, b""), Ok(()));
        assert_eq!(bench.packets(), [], "nothing fits the window");
    }
    assert_eq!(bench.arrives((1, 1 + 8 * MSS), ECE, 0, b""), Ok(()));
    let window = bench.connection.congestion.window();
    assert!((5 * MSS..=6 * MSS).contains(&window), "the same congestion: {window}");
    let packets = bench.packets();
    assert_eq!(packets[0], (1 + 10 * MSS, CWR, CAPABLE as u8), "the peer hears of it with the first new data");
    assert!(packets[1..].iter().all(|&(_, flags, _)| flags == NONE), "and once");
    assert_eq!(bench.arrives((1, 1 + 10 * MSS), ECE, 0, b""), Ok(()));
    let window = bench.connection.congestion.window();
    assert!(window >= 9 * MSS / 2, "up to the last that was sent before");
    bench.packets();
    assert_eq!(bench.arrives((1, 1 + 11 * MSS), ECE, 0, b""), Ok(()));
    assert!(bench.connection.congestion.window() < window, "beyond it is another round trip");
    assert!(!bench.connection.recovery.is_active(), "nothing was lost");
}

#[test]
fn shld_8_cubic_yields_less_to_a_mark_than_to_a_loss() {
    // RFC 8511 §3.
    let mut bench = bench_with(CongestionControl::Cubic);
    bench.write(10 * MSS as usize);
    bench.packets();
    assert_eq!(bench.arrives((1, 1), ECE, 0, b""), Ok(()));
    let window = f64::from(bench.connection.congestion.window()) / f64::from(MSS);
    assert!((window - 8.5).abs() < 0.01, "{window}");
}

#[test]
fn shld_8_while_a_loss_is_repaired_an_echo_takes_nothing_more() {
    let config = TcpConfig { congestion_control: CongestionControl::Reno, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &Handshake { ecn: true, sack: true, ..handshake() });
    bench.write(20 * MSS as usize);
    bench.packets();
    let reported = |bench: &mut Bench, to: u32, flags: TcpFlags| {
        let sack = SackBlocks::default().with(ISS.advance(1 + MSS), ISS.advance(1 + to * MSS)).unwrap();
        let options = TcpOptions { sack, ..TcpOptions::default() };
        let (seq, ack) = (IRS.advance(1), ISS.advance(1));
        let header = TcpHeader { seq, ack, flags: flags | ACK, window: 64_000, options, ..TcpHeader::default() };
        let link = *bench.connection.link();
        let segment = Segment { header, payload: b"", traffic_class: 0 };
        assert_eq!(bench.connection.arrive(bench.config.at(bench.now), &link, &segment), Ok(()));
    };
    reported(&mut bench, 5, NONE);
    bench.packets();
    assert!(bench.connection.recovery.is_active());
    let threshold = bench.connection.congestion.window();
    reported(&mut bench, 6, ECE);
    assert!(bench.connection.congestion.window() >= threshold, "one congestion, one reduction");
}

#[test]
fn shld_8_the_peer_hears_of_a_window_that_a_loss_has_reduced() {
    // RFC 3168 §6.1.2: whatever the reason.
    let mut bench = bench();
    bench.write(40 * MSS as usize);
    bench.packets();
    for _ in 0..3 {
        assert_eq!(bench.arrives((1, 1), NONE, 0, b""), Ok(()));
    }
    let packets = bench.packets();
    assert!(packets.contains(&(1, NONE, 0)), "sent again without a mark: {packets:?}");
    let new = bench.connection.send.nxt().since(ISS);
    assert_eq!(bench.arrives((1, new), NONE, 0, b""), Ok(()));
    let flags: Vec<_> = packets.into_iter().chain(bench.packets()).map(|(_, flags, _)| flags).collect();
    assert_eq!(flags.iter().filter(|&&flags| flags == CWR).count(), 1, "{flags:?}");

    let mut bench = self::bench();
    bench.write(2 * MSS as usize);
    bench.packets();
    bench.wait_for_timer();
    assert_eq!(bench.packets(), [(1, NONE, 0)]);
    assert_eq!(bench.arrives((1, 1 + 2 * MSS), NONE, 0, b""), Ok(()));
    bench.write(10);
    assert_eq!(bench.packet(), (CWR, CAPABLE));
}

#[test]
fn shld_8_what_syns_ask_for_and_how_they_are_answered() {
    // RFC 3168 §6.1.1.
    let asks = SYN | ECE | CWR;
    for (config, asked, agreed) in [(Ecn::Off, NONE, false), (Ecn::Passive, NONE, true), (Ecn::Active, ECE | CWR, true)]
    {
        assert_eq!(ecn::syn_flags(config, false), asked);
        assert_eq!(ecn::syn_flags(config, true), NONE, "a SYN that got no answer asks for less");
        assert_eq!(ecn::agrees_to_syn(config, asks), agreed);
        assert!(!ecn::agrees_to_syn(config, SYN | ECE) && !ecn::agrees_to_syn(config, SYN | CWR));
        let is_agreed = |flags| ecn::is_agreed_by_syn_ack(config, SYN | ACK | flags);
        assert_eq!(is_agreed(ECE), config == Ecn::Active);
        assert!(!is_agreed(ECE | CWR), "one that copies what it does not know");
        assert!(!is_agreed(CWR) && !is_agreed(NONE));
    }
}

#[test]
fn must_48_all_segments_carry_the_code_point_that_was_set() {
    let mut bench = bench();
    let dscp = |number| Dscp::new(number).unwrap();
    bench.write(10);
    assert_eq!(bench.packets(), [(1, NONE, CAPABLE as u8)], "0 unless told otherwise");
    bench.connection.set_dscp(dscp(46));
    bench.wait_for_timer();
    assert_eq!(bench.packets(), [(1, NONE, 46 << 2)], "what is sent again");
    bench.receive(1, 11, ACK, &pattern(0, 3_000));
    assert_eq!(bench.packets(), [(11, NONE, 46 << 2)], "bare acknowledgments");
    bench.write(10);
    assert_eq!(bench.packets(), [(11, CWR, 46 << 2 | CAPABLE as u8)], "data");
    assert_eq!(Dscp::new(64), None);
}

#[test]
fn shld_21_the_code_point_may_change_under_way() {
    let mut bench = Bench::new();
    for number in [10, 63, 0] {
        bench.connection.set_dscp(Dscp::new(number).unwrap());
        bench.write(2 * MSS as usize);
        assert!(bench.packets().iter().all(|&(_, _, class)| class == number << 2));
        let ack = bench.connection.send.nxt().since(ISS);
        bench.receive(1, ack, ACK, b"");
    }
}

#[test]
fn shld_22_the_configured_code_point_is_passed_on_unchanged() {
    for number in 0..64 {
        let config = TcpConfig { dscp: Dscp::new(number).unwrap(), ..TcpConfig::default() };
        let mut bench = Bench::with(config, &handshake());
        bench.write(10);
        assert_eq!(bench.packets(), [(1, NONE, number << 2)]);
    }
}

#[test]
fn shld_23_the_peers_code_point_does_not_change_ours() {
    let mut bench = Bench::new();
    bench.connection.set_dscp(Dscp::new(10).unwrap());
    assert_eq!(bench.arrives((1, 1), NONE, 46 << 2, &pattern(0, 3_000)), Ok(()));
    assert_eq!(bench.packets(), [(1, NONE, 10 << 2)]);
}

#[test]
fn may_9_the_peers_code_point_can_be_read() {
    let mut bench = bench();
    assert_eq!(bench.arrives((1, 1), NONE, 46 << 2 | MARKED as u8, b"x"), Ok(()));
    assert_eq!(bench.connection.peer_dscp().number(), 46);
    assert!(bench.arrives((1_000_000, 1), NONE, 8 << 2, b"far").is_err());
    assert_eq!(bench.connection.peer_dscp().number(), 46, "a stranger's says nothing");
}
