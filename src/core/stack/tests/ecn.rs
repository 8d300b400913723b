//! ECN from the SYN on, and code points to the end (RFC 3168, RFC 2474).

use super::*;
use crate::{
    config::{Ecn, TcpConfig},
    wire::{
        ip::{Codepoint, Dscp},
        tcp_options::Timestamps,
    },
};

const ECE: TcpFlags = TcpFlags::ECE;
const CWR: TcpFlags = TcpFlags::CWR;

fn with_clock() -> TcpOptions {
    let timestamps = Some(Timestamps { value: 77_000, echo: 0 });
    TcpOptions { mss: Some(1_460), timestamps, ..TcpOptions::default() }
}

impl Bench {
    /// A SYN that asks for ECN.
    fn ask(&mut self, options: TcpOptions) -> Sent {
        let syn = TcpHeader { options, ..self.header(IRS, SeqNumber::default(), SYN | ECE | CWR) };
        self.send(syn, b"");
        self.sent_one()
    }

    /// The client ends its handshake; whether data from us can be marked.
    fn ends_with_ecn(&mut self, answer: &Sent) -> bool {
        let echo = |ours: Timestamps| Timestamps { value: 77_001, echo: ours.value };
        let options = TcpOptions { timestamps: answer.header.options.timestamps.map(echo), ..TcpOptions::default() };
        let last = TcpHeader { options, ..self.header(IRS.advance(1), answer.header.seq.advance(1), ACK) };
        self.send(last, b"hello");
        let events = self.events();
        let [Event::Accepted(id, _), Event::Ready(_)] = events[..] else { panic!("{events:?}") };
        self.with_stream(id, |stream| stream.echo());
        let classes = self.classes();
        let [class] = classes[..] else { panic!("{classes:?}") };
        Codepoint::of(class) == Codepoint::Capable0
    }

    /// The traffic classes of everything the stack has to send.
    fn classes(&mut self) -> Vec<u8> {
        let class = |frame: &Vec<u8>| match wire::parse(frame, ChecksumPolicy::Verify).unwrap().packet {
            Packet::Tcp(ip, _) => ip.traffic_class,
            other => panic!("TCP was expected: {other:?}"),
        };
        self.frames().iter().map(class).collect()
    }
}

#[test]
fn shld_8_a_syn_that_asks_for_ecn_gets_it() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let answer = bench.ask(TcpOptions::default());
        assert!(answer.has(SYN | ACK | ECE), "RFC 3168 §6.1.1: ECE and not CWR");
        assert_eq!(bench.ask(TcpOptions::default()), answer, "the entry remembers it");
        assert!(bench.ends_with_ecn(&answer));
    }
}

#[test]
fn shld_8_a_syn_that_does_not_ask_does_not_get_it() {
    for flags in [SYN, SYN | ECE, SYN | CWR] {
        let mut bench = Bench::new();
        bench.send(bench.header(IRS, SeqNumber::default(), flags), b"");
        let answer = bench.sent_one();
        assert!(answer.has(SYN | ACK));
        assert!(!bench.ends_with_ecn(&answer));
    }
}

#[test]
fn shld_8_ecn_can_be_switched_off() {
    let tcp = TcpConfig { ecn: Ecn::Off, ..TcpConfig::default() };
    let mut bench = Bench::with(StackConfig { tcp, ..StackConfig::default() });
    let answer = bench.ask(TcpOptions::default());
    assert!(answer.has(SYN | ACK));
    assert!(!bench.ends_with_ecn(&answer));
}

#[test]
fn shld_8_no_syn_ack_can_be_marked() {
    // RFC 3168 §6.1.1.
    let mut bench = Bench::new();
    bench.send(bench.header(IRS, SeqNumber::default(), SYN | ECE | CWR), b"");
    assert_eq!(bench.classes(), [0]);
}

#[test]
fn shld_8_where_the_cookie_is_all_there_is_ecn_is_not_agreed_to() {
    let mut bench = Bench::new();
    bench.stack.set_syn_mode(SynMode::Cookie);
    for options in [TcpOptions::default(), with_clock()] {
        bench.port += 1;
        let answer = bench.ask(options);
        assert!(answer.has(SYN | ACK));
        assert!(!bench.ends_with_ecn(&answer));
    }
}

#[test]
fn shld_8_a_forgotten_handshake_with_timestamps_keeps_what_was_agreed() {
    let mut bench = Bench::with(StackConfig { max_half_open: 1, ..StackConfig::default() });
    let answer = bench.ask(with_clock());
    assert!(answer.has(SYN | ACK | ECE));
    bench.send(TcpHeader { source_port: 7, ..bench.header(IRS, SeqNumber::default(), SYN) }, b"");
    bench.frames();
    assert_eq!(bench.state(), State::Closed);
    assert!(bench.ends_with_ecn(&answer));
    assert_eq!(bench.stack.stats().cookies_accepted, 1);
}

#[test]
fn shld_8_a_routers_mark_reaches_the_connection() {
    let mut bench = Bench::new();
    let iss = bench.ask(TcpOptions::default()).header.seq;
    let header = bench.header(IRS.advance(1), iss.advance(1), ACK);
    let mut ip = IpHeader::new(bench.theirs, bench.ours, Protocol::Tcp);
    ip.traffic_class = Codepoint::CongestionExperienced as u8;
    let data = [0; 2_000];
    let mut frame = vec![0; wire::tcp_frame_len(&bench.link, &ip, &header) + data.len()];
    wire::write_tcp(&bench.link, &ip, &header, (&data, &[]), &mut frame);
    bench.stack.handle_frame(bench.now, InterfaceId::FIRST, &frame);
    bench.pass(Duration::from_millis(100));
    assert!(bench.sent_one().has(ACK | ECE));
}

#[test]
fn must_48_a_code_point_is_kept_to_the_end() {
    let dscp = |number| Dscp::new(number).unwrap();
    let tcp = TcpConfig { dscp: dscp(10), ..TcpConfig::default() };
    for aborts in [false, true] {
        let mut bench = Bench::with(StackConfig { tcp: tcp.clone(), ..StackConfig::default() });
        bench.send_syn(TcpOptions::default());
        let mut buffer = vec![0; 1_600];
        let length = bench.stack.poll_transmit(bench.now, InterfaceId::FIRST, &mut buffer).unwrap();
        let parsed = wire::parse(&buffer[..length], ChecksumPolicy::Verify).unwrap();
        let Packet::Tcp(ip, segment) = parsed.packet else { panic!() };
        assert_eq!(ip.traffic_class, 10 << 2, "the SYN-ACK has the default");
        let iss = segment.header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let Some(Event::Accepted(id, _)) = bench.events().first().copied() else { panic!() };
        bench.with_stream(id, |stream| {
            stream.set_dscp(dscp(46));
            if aborts {
                stream.abort();
            } else {
                stream.close();
            }
        });
        assert_eq!(bench.classes(), [46 << 2], "the RST or FIN");
        if !aborts {
            bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
            assert_eq!(bench.state(), State::TimeWait);
            assert_eq!(bench.classes(), [46 << 2], "the last acknowledgment");
        }
    }
}

#[test]
fn may_9_an_application_can_read_the_peers_code_point() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    assert_eq!(bench.with_stream(id, |stream| stream.peer_dscp()), Dscp::default());
}

#[test]
fn shld_8_a_syn_that_was_lost_does_not_ask_again() {
    let tcp = TcpConfig { ecn: Ecn::Active, ..TcpConfig::default() };
    let mut bench = Bench::with(StackConfig { tcp, ..StackConfig::default() });
    bench.begin();
    let neighbour = bench.asked();
    bench.answer(neighbour);
    bench.sent();
    bench.pass(Duration::from_millis(1_100));
    assert!(bench.sent_one().has(SYN));
}
