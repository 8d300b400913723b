//! What somebody can learn from the answers to his own segments, who sends others in another one's name and does not see what those
//! draw.

use super::*;
use crate::rng::splitmix64;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What there may be between the server and somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    Handshake,
    Connection,
    TimeWait,
}

/// A sequence of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = splitmix64(self.0);
        self.0
    }

    fn number(&mut self) -> SeqNumber {
        SeqNumber::new(self.roll() as u32)
    }
}

impl Bench {
    /// A segment to `port` in the name of `theirs`; what follows from it is told apart by address.
    pub(super) fn send_to(&mut self, port: u16, header: TcpHeader, data: &[u8]) {
        self.send(TcpHeader { destination_port: port, ..header }, data);
    }

    fn arrange(&mut self, between: Between) {
        match between {
            Between::Nothing => {}
            Between::Handshake => self.send_syn(TcpOptions::default()),
            Between::Connection => {
                self.connect();
            }
            Between::TimeWait => {
                let (id, iss) = self.connect();
                self.with_stream(id, |stream| stream.close());
                self.frames();
                self.send(self.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
                assert_eq!(self.state(), State::TimeWait);
            }
        }
        self.frames();
        self.events();
        // Whatever it took, it took as long.
        self.now = Instant::from_millis(10_000);
        self.stack.handle_timeout(self.now);
        self.frames();
    }
}

/// The attack: the server is asked a question in the name of its client at .77, `forged` at a time, and then SYNs for a closed port
/// come from so many addresses of the attacker's own. How many RSTs these draw.
fn drawn(bench: Bench, between: Between, (flags, data): (TcpFlags, &[u8]), hosts: u16, seed: u64) -> usize {
    let mut bench = bench;
    let mut dice = Dice(seed);
    let is_ipv4 = bench.ours.is_ipv4();
    let address = |net: u16, host: u16| match is_ipv4 {
        true => IpAddr::from(Ipv4Addr::from_bits(0xc612_0000 + u32::from(host))),
        false => IpAddr::from(Ipv6Addr::new(0x2001, 2, 0, net, 0, 0, 0, host)),
    };
    let (victim, listens) = (address(0, 77), bench.stack.listeners.have(PORT));
    let _ = bench.stack.listen(None, PORT);
    bench.theirs = victim;
    bench.arrange(between);
    if !listens {
        bench.stack.stop_listening();
    }
    let mut seen = 0;
    for number in 0..2_100u16 {
        bench.now += Duration::from_nanos(dice.roll() % 40_000);
        if number < 600 {
            (bench.theirs, bench.port) = (victim, 40_000);
            let header = bench.header(dice.number(), dice.number(), flags);
            bench.send_to(PORT, header, data);
        } else {
            bench.theirs = address(1 + number % hosts, 100 + number % hosts);
            bench.port = 1_024 + number;
            let header = bench.header(dice.number(), SeqNumber::default(), SYN);
            bench.send_to(81, header, b"");
        }
        if number % 64 == 0 || number == 2_099 {
            seen += bench.sent().iter().filter(|sent| sent.tuple.remote.address != victim).count();
        }
    }
    seen
}

#[test]
fn a_stranger_cannot_tell_who_is_connected() {
    // As often as not is what chance comes to. Here it is exact: he sees the same, whatever there is.
    let kinds: [(TcpFlags, &[u8]); 8] = [
        (ACK, b""),
        (ACK, b"data"),
        (SYN, b""),
        (SYN | ACK, b""),
        (FIN | ACK, b""),
        (RST, b""),
        (TcpFlags::empty(), b"data"),
        (SYN | FIN, b""),
    ];
    for try_number in 0..100u64 {
        let kind = kinds[try_number as usize % kinds.len()];
        let bench = || {
            let mut bench = if try_number % 3 == 2 { Bench::new().over_ipv6() } else { Bench::new() };
            // Ports that are closed now, but were open, or connections of our own.
            if try_number % 5 == 4 {
                bench.stack.stop_listening();
            }
            bench
        };
        // From one address, and from as many as it takes to use up what there is for all.
        let hosts = if try_number % 2 == 0 { 1 } else { 30 };
        let seen = [Between::Nothing, Between::Handshake, Between::Connection, Between::TimeWait]
            .map(|between| drawn(bench(), between, kind, hosts, try_number));
        assert!(seen[0] > 100 && seen[0] < 1_500, "there is a limit to be seen: {seen:?}");
        assert!(seen.iter().all(|others| *others == seen[0]), "{kind:?}, {hosts} hosts: {seen:?}");
    }
}

#[test]
fn what_a_stranger_asked_before_does_not_change_what_he_sees() {
    // He asks of one port that is connected and, half a second later, of the next one that is not; or the other way round.
    let mut bench = Bench::new();
    bench.theirs = "198.18.0.77".parse().unwrap();
    bench.arrange(Between::Connection);
    let seen = [40_000, 40_001, 40_002, 40_000, 40_000].map(|port| {
        let mut seen = 0;
        for number in 0..2_100u16 {
            bench.now += Duration::from_micros(20);
            let is_forged = number < 600;
            bench.theirs = if is_forged { "198.18.0.77" } else { "198.18.0.78" }.parse().unwrap();
            bench.port = if is_forged { port } else { 1_024 + number };
            let (flags, to) = if is_forged { (ACK, PORT) } else { (SYN, 81) };
            bench.send_to(to, bench.header(SeqNumber::new(1 << 30), SeqNumber::new(1 << 30), flags), b"");
            seen += bench.sent().iter().filter(|sent| sent.tuple.remote.address == bench.theirs && !is_forged).count();
        }
        bench.pass(Duration::from_millis(500));
        bench.frames();
        seen
    });
    assert!(seen[0] > 100 && seen[0] < 1_500 && seen.iter().all(|others| *others == seen[0]), "{seen:?}");
}

#[test]
fn one_destination_does_not_use_up_what_others_need() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let ask = |bench: &mut Bench, count: u16| {
            for port in 1..=count {
                bench.port = port;
                bench.send(bench.header(IRS, SeqNumber::new(5), ACK), b"");
            }
            bench.sent().len()
        };
        assert_eq!(ask(&mut bench, 900), 100, "a tenth of what is sent at once in all");
        bench.theirs = if bench.ours.is_ipv4() { "198.18.0.3".parse() } else { "2001:2:0:1::3".parse() }.unwrap();
        assert_eq!(ask(&mut bench, 90), 90);
        bench.pass(Duration::from_millis(100));
        assert_eq!(ask(&mut bench, 900), 100);
        bench.pass(Duration::from_millis(5));
        assert_eq!(ask(&mut bench, 900), 5);
    }
    // Whoever has one address of a /64 may have all of them.
    let mut bench = Bench::new().over_ipv6();
    let mut answers = 0;
    for host in 1..=900 {
        bench.theirs = Ipv6Addr::new(0x2001, 2, 0, 9, 0, 0, host, 9).into();
        bench.send(bench.header(IRS, SeqNumber::new(5), ACK), b"");
        answers += bench.sent().len();
    }
    assert_eq!(answers, 100);
}

#[test]
fn a_4_tuple_draws_ten_resets_a_second() {
    let mut bench = Bench::new();
    let mut answers = 0;
    for _ in 0..300 {
        bench.send(bench.header(IRS, SeqNumber::new(5), ACK), b"");
        answers += bench.sent().len();
    }
    assert_eq!(answers, 10);
    bench.pass(Duration::from_millis(100));
    bench.send(bench.header(IRS, SeqNumber::new(5), ACK), b"");
    assert_eq!(bench.sent().len(), 1);
}
