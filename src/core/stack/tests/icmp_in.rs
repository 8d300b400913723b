//! ICMP errors about our segments: who is believed, and what it changes.

use super::*;
use crate::wire::Unreachable;

impl Bench {
    /// An ICMP error of the connection's IP version, with the four octets that each type uses in its own way.
    pub(super) fn send_error(&mut self, kind: u8, code: u8, field: u32, quoted: &[u8]) {
        let mut message = vec![kind, code, 0, 0];
        message.extend(field.to_be_bytes());
        message.extend(quoted);
        self.send_icmp(64, &message);
    }

    /// A connection with data on their way: its name, and the packets.
    pub(super) fn connect_and_write(&mut self, length: usize) -> (ConnectionId, Vec<Vec<u8>>) {
        let (id, _) = self.connect();
        self.with_stream(id, |stream| assert_eq!(stream.write(&vec![7; length]), length));
        (id, self.frames().into_iter().map(|frame| frame[14..].to_vec()).collect())
    }

    fn accepted(&self) -> u64 {
        self.stack.stats().icmp_errors_accepted
    }
}

fn benches() -> [Bench; 2] {
    [Bench::new(), Bench::new().over_ipv6()]
}

/// Type and code of "host unreachable" in either version.
fn host_unreachable(bench: &Bench) -> (u8, u8) {
    if bench.ours.is_ipv4() { (3, 1) } else { (1, 3) }
}

const HOST: SoftError = SoftError::Unreachable { kind: Unreachable::Host };

#[test]
fn must_54_an_error_finds_its_connection_by_what_it_quotes() {
    for mut bench in benches() {
        let (kind, code) = host_unreachable(&bench);
        let (first, quoted) = bench.connect_and_write(100);
        bench.port = 40_001;
        let (second, other) = bench.connect_and_write(100);
        bench.send_error(kind, code, 0, &quoted[0][..48]);
        assert_eq!(bench.events(), [Event::SoftError(first, HOST)]);
        // A router may say it as well as the peer.
        bench.theirs = if bench.ours.is_ipv4() { "203.0.113.9" } else { "2001:db8::9" }.parse().unwrap();
        bench.send_error(kind, code, 0, &other[0]);
        assert_eq!(bench.events(), [Event::SoftError(second, HOST)]);
        assert_eq!(bench.accepted(), 2);
    }
}

#[test]
fn must_54_an_error_must_quote_what_is_in_flight() {
    // RFC 5927 §4.1.
    for mut bench in benches() {
        let (kind, code) = host_unreachable(&bench);
        let (id, quoted) = bench.connect_and_write(100);
        let at = bench.stack.connections[id.index].connection.tuple().local.address;
        let start = if at.is_ipv4() { 24 } else { 44 };
        let seq = u32::from_be_bytes(quoted[0][start..start + 4].try_into().unwrap());
        let quoting = |offset: u32| {
            let mut quoted = quoted[0].clone();
            quoted[start..start + 4].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
            quoted
        };
        for offset in [u32::MAX, 100, 101, 1 << 31] {
            bench.send_error(kind, code, 0, &quoting(offset));
        }
        assert_eq!((bench.events(), bench.drops(DropReason::UnmatchedIcmp)), (vec![], 4));
        bench.send_error(kind, code, 0, &quoting(99));
        assert_eq!(bench.events(), [Event::SoftError(id, HOST)]);
        bench.send(bench.header(IRS.advance(1), SeqNumber::new(seq).advance(100), ACK), b"");
        bench.send_error(kind, code, 0, &quoting(0));
        assert_eq!((bench.events(), bench.drops(DropReason::UnmatchedIcmp)), (vec![], 5));
    }
}

#[test]
fn must_54_an_error_about_no_connection_of_ours_is_counted_and_nothing_else() {
    let mut bench = Bench::new();
    let (_, quoted) = bench.connect_and_write(100);
    let changed = |at: usize| {
        let mut quoted = quoted[0].clone();
        quoted[at] ^= 1;
        quoted
    };
    // Our address, theirs, our port, theirs.
    for at in [15, 19, 21, 23] {
        bench.send_error(3, 1, 0, &changed(at));
    }
    bench.link.destination = MacAddress::BROADCAST;
    bench.send_error(3, 1, 0, &quoted[0]);
    assert_eq!((bench.events(), bench.drops(DropReason::UnmatchedIcmp)), (vec![], 5));
    assert_eq!((bench.accepted(), bench.frames().len()), (0, 0));
}

#[test]
fn shld_25_soft_errors_are_told_to_the_application() {
    use Unreachable::{Host, Network, SourceRoute};
    for (code, kind) in [(0, Network), (1, Host), (5, SourceRoute)] {
        let mut bench = Bench::new();
        let (id, quoted) = bench.connect_and_write(100);
        bench.send_error(3, code, 0, &quoted[0]);
        assert_eq!(bench.events(), [Event::SoftError(id, SoftError::Unreachable { kind })]);
    }
}

#[test]
fn must_56_no_error_ends_a_connection() {
    for (is_ipv6, kinds) in [
        (false, [(3, 0), (3, 1), (3, 5), (11, 0), (11, 1), (12, 0)]),
        (true, [(1, 0), (1, 3), (1, 1), (3, 0), (4, 1), (4, 2)]),
    ] {
        let mut bench = if is_ipv6 { Bench::new().over_ipv6() } else { Bench::new() };
        let (id, quoted) = bench.connect_and_write(100);
        for (kind, code) in kinds {
            bench.send_error(kind, code, 0, &quoted[0]);
            assert_eq!(bench.state(), State::Established, "type {kind}, code {code}");
        }
        assert_eq!(bench.accepted(), 6);
        assert!(bench.events().iter().all(|event| matches!(event, Event::SoftError(troubled, _) if *troubled == id)));
        assert_eq!(bench.frames().len(), 0, "nor is it a reason to send anything");
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.sent_one().data, [7; 100], "and TCP goes on trying");
    }
}

#[test]
fn shld_26_a_hard_error_ends_a_handshake_and_troubles_a_connection() {
    // RFC 5927 §4.2: what has once answered speaks TCP and listens, whatever a stranger says.
    for (mut bench, kind, codes) in [(Bench::new(), 3, &[2u8, 3][..]), (Bench::new().over_ipv6(), 1, &[4])] {
        for &code in codes {
            bench.send_syn(TcpOptions::default());
            let mut syn_ack = bench.frames().remove(0).split_off(14);
            assert_eq!(bench.state(), State::SynReceived);
            let seq = if kind == 3 { 24 } else { 44 } + 3;
            syn_ack[seq] ^= 1;
            bench.send_error(kind, code, 0, &syn_ack);
            assert_eq!(bench.state(), State::SynReceived, "that was not our SYN-ACK");
            syn_ack[seq] ^= 1;
            bench.send_error(kind, 0, 0, &syn_ack);
            assert_eq!(bench.state(), State::SynReceived, "nor does a soft error end it");
            bench.send_error(kind, code, 0, &syn_ack);
            assert_eq!(bench.state(), State::Closed);
        }
        assert_eq!(bench.stack.stats().handshakes_refused, codes.len() as u64);
        let (id, quoted) = bench.connect_and_write(100);
        for &code in codes {
            bench.send_error(kind, code, 0, &quoted[0]);
            let events = bench.events();
            let [Event::SoftError(troubled, SoftError::Unreachable { kind })] = events[..] else {
                panic!("{events:?}")
            };
            assert!(troubled == id && kind.is_hard());
        }
        assert_eq!(bench.state(), State::Established);
    }
}

#[test]
fn shld_26_a_hard_error_ends_a_connection_that_is_not_open_yet() {
    for (mut bench, kind, soft, hard) in [(Bench::new(), 3, 1, 3), (Bench::new().over_ipv6(), 1, 3, 4)] {
        let (id, syn) = bench.begin_with_syn();
        let quote = |offset: u32| {
            let header = TcpHeader { seq: syn.header.seq.advance(offset), ..syn.header };
            let ip = IpHeader::new(syn.tuple.local.address, syn.tuple.remote.address, Protocol::Tcp);
            let mut frame = vec![0; wire::tcp_frame_len(&syn.link, &ip, &header)];
            wire::write_tcp(&syn.link, &ip, &header, (&[], &[]), &mut frame);
            frame.split_off(14)
        };
        bench.send_error(kind, hard, 0, &quote(1));
        assert_eq!((bench.events(), bench.drops(DropReason::UnmatchedIcmp)), (vec![], 1));
        bench.send_error(kind, soft, 0, &quote(0));
        assert_eq!(bench.events(), [Event::SoftError(id, HOST)], "a soft one may pass");
        bench.send_error(kind, hard, 0, &quote(0));
        assert_eq!(bench.events(), [Event::Closed(id, CloseReason::Refused)]);
        assert_eq!(bench.frames().len(), 0);
    }
}

#[test]
fn must_55_source_quench_changes_nothing() {
    let mut bench = Bench::new();
    let (id, quoted) = bench.connect_and_write(100);
    let window = bench.stack.connections[id.index].connection.congestion_window();
    for quoted in [&quoted[0][..], &[0xff; 28], &[]] {
        bench.send_error(4, 0, 0, quoted);
    }
    assert_eq!((bench.events(), bench.frames().len(), bench.drops(DropReason::SourceQuench)), (vec![], 0, 3));
    assert_eq!(bench.stack.connections[id.index].connection.congestion_window(), window);
}

#[test]
fn x_rep_1_icmp_errors_are_reported_once_until_they_have_been_read() {
    let mut bench = Bench::new();
    let (id, quoted) = bench.connect_and_write(100);
    for _ in 0..1_000 {
        for kind in [3, 11, 12] {
            bench.send_error(kind, 0, 0, &quoted[0]);
        }
    }
    let network = SoftError::Unreachable { kind: Unreachable::Network };
    let expected = [network, SoftError::TimeExceeded, SoftError::ParameterProblem];
    assert_eq!(bench.events(), expected.map(|trouble| Event::SoftError(id, trouble)));
    bench.send_error(11, 0, 0, &quoted[0]);
    assert_eq!(bench.events(), [Event::SoftError(id, SoftError::TimeExceeded)]);
}

#[test]
fn shld_20_reports_can_be_switched_off() {
    let mut bench = Bench::with(StackConfig { soft_error_events: false, ..StackConfig::default() });
    let (_, quoted) = bench.connect_and_write(100);
    bench.send_error(3, 1, 0, &quoted[0]);
    assert_eq!((bench.events(), bench.accepted()), (vec![], 1));
}

#[test]
fn must_50_ip_options_that_tcp_does_not_know_are_ignored() {
    let mut bench = Bench::new();
    let header = TcpHeader { options: TcpOptions::default(), ..bench.header(IRS, SeqNumber::default(), SYN) };
    let ip = IpHeader::new(bench.theirs, bench.ours, Protocol::Tcp);
    // A router alert, an option that nobody has heard of, and the end of the list.
    let options = [148, 4, 0, 0, 30, 5, 1, 2, 3, 0, 0, 0];
    let mut frame = vec![0; wire::tcp_frame_len(&bench.link, &ip, &header)];
    wire::write_tcp(&bench.link, &ip, &header, (&[], &[]), &mut frame);
    frame.splice(34..34, options).for_each(drop);
    frame[14] = 0x48;
    frame[17] += options.len() as u8;
    frame[24..26].fill(0);
    let field = wire::checksum::Checksum::of(&frame[14..46]).field();
    frame[24..26].copy_from_slice(&field);
    bench.stack.handle_frame(bench.now, InterfaceId::FIRST, &frame);
    assert!(bench.sent_one().has(SYN | ACK), "{:?}", bench.stack.drops().iter().collect::<Vec<_>>());
}
