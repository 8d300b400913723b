//! For each fault that somebody may ask about: the sentence that names its cause.

use super::*;
use crate::{
    config::{KeepAlive, TcpConfig},
    tcp::{Cause, Happening},
    wire::tcp_options::Timestamps,
};

const SECOND: Duration = Duration::from_secs(1);
const CLOCK: u32 = 77_000;

/// One of either family, in which nobody falls asleep: who sleeps forgets.
fn benches() -> [Bench; 2] {
    let config = || StackConfig { max_awake: 64, ..StackConfig::default() };
    [Bench::with(config()), Bench::with(config()).over_ipv6()]
}

impl Bench {
    /// Lets every deadline come until `span` has passed.
    fn let_pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.frames();
        while let Some(deadline) = self.stack.poll_timeout().filter(|&deadline| deadline <= end) {
            self.pass(deadline.max(self.now) - self.now);
            self.frames();
            self.events();
        }
        self.pass(end - self.now);
        self.frames();
        self.events();
    }

    #[track_caller]
    fn explains(&self, id: ConnectionId, what: &str) {
        let said = self.stack.explain(self.now, id).expect("it is there");
        assert!(said.iter().any(|sentence| sentence.contains(what)), "{what:?} is not in {said:#?}");
    }

    #[track_caller]
    fn last_ended_for(&mut self, cause: Cause, what: &str) {
        let Some(ended) = self.stack.recent_ends().next() else {
            panic!("nothing has ended: {:?}", self.stack.stats())
        };
        assert_eq!(ended.ending.cause, cause, "{:#?}", ended.explain());
        let said = ended.explain().join(" ");
        assert!(said.contains(what), "{what:?} is not in {said:?}");
        let ladder = ended.history().to_string();
        assert!(ladder.trim_end().ends_with(&ended.ending.reason.to_string()), "{ladder}");
    }

    #[track_caller]
    fn has_example(&self, reason: DropReason, tuple: Option<FourTuple>) {
        let example = self.stack.drop_examples().find(|example| example.reason == reason).expect("there is one");
        assert_eq!((example.at, example.tuple), (self.now, tuple), "{example}");
        assert!(example.to_string().contains(reason.meaning()));
    }

    fn write(&mut self, id: ConnectionId, length: usize) {
        self.with_stream(id, |stream| assert_eq!(stream.write(&vec![7; length]), length));
        self.frames();
    }
}

#[test]
fn a_peer_that_does_not_read_and_one_that_does_again() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.write(id, 1_000);
        let shut = |ack: u32| TcpHeader { window: 0, ..bench.header(IRS.advance(1), iss.advance(ack), ACK) };
        let shut = shut(1_001);
        bench.send(shut, b"");
        bench.write(id, 500);
        bench.let_pass(5 * SECOND);
        bench.explains(id, "The peer's window is shut");
        bench.explains(id, "waits: for the peer's window to open");
        bench.send(bench.header(IRS.advance(1), iss.advance(1_001), ACK), b"");
        bench.frames();
        bench.explains(id, "The peer's window was shut once: it read too slowly.");
        let ladder = bench.stack.history(id).unwrap().to_string();
        assert!(ladder.contains("asked whether the peer's window has opened (1 in a row)"), "{ladder}");
    }
}

#[test]
fn an_application_that_does_not_read() {
    let tcp = TcpConfig { receive_buffer: 16_384, ..TcpConfig::default() };
    let mut bench = Bench::with(StackConfig { tcp, max_awake: 64, ..StackConfig::default() });
    let (id, iss) = bench.connect();
    let mut seq = IRS.advance(1);
    for _ in 0..64 {
        bench.send(bench.header(seq, iss.advance(1), ACK), &[1; 1_000]);
        bench.pass(Duration::from_millis(50));
        if let Some(last) = bench.sent().last() {
            seq = last.header.ack;
        }
    }
    bench.explains(id, "Our application does not read");
    assert_eq!(bench.stack.why_not_sending(bench.now, id).unwrap().name(), "application");
    bench.with_stream(id, |stream| stream.consume(stream.readable_len()));
    bench.frames();
    bench.explains(id, "Our application read too slowly");
}

#[test]
fn a_neighbour_that_is_gone() {
    for mut bench in benches() {
        let id = bench.begin();
        bench.frames();
        assert_eq!(bench.stack.why_not_sending(bench.now, id).unwrap().name(), "neighbour");
        bench.explains(id, "the link address of the next hop");
        bench.let_pass(30 * SECOND);
        bench.last_ended_for(Cause::NeighbourSilent, "No neighbour answered for the next hop's address");
    }
}

#[test]
fn a_path_that_takes_no_packets_as_large() {
    for mut bench in benches() {
        let (id, quoted) = bench.connect_and_write(5_000);
        let (kind, code) = if bench.ours.is_ipv4() { (3, 4) } else { (2, 0) };
        bench.send_error(kind, code, 1_300, &quoted[0][..64]);
        bench.explains(id, "The path took no packets as large as ours (ICMP)");
    }
}

#[test]
fn an_error_on_the_way_that_ends_nothing() {
    for mut bench in benches() {
        let (id, quoted) = bench.connect_and_write(100);
        let (kind, code) = if bench.ours.is_ipv4() { (3, 1) } else { (1, 3) };
        bench.send_error(kind, code, 0, &quoted[0][..64]);
        bench.explains(id, "an ICMP error says that the peer cannot be reached");
    }
}

#[test]
fn a_black_hole() {
    for mut bench in benches() {
        let (id, _) = bench.connect();
        bench.write(id, 1_000);
        bench.let_pass(3_600 * SECOND);
        bench.last_ended_for(Cause::Unacknowledged, "the peer is gone, or the path is a black hole");
        bench.last_ended_for(Cause::Unacknowledged, "The retransmission timeout expired");
    }
}

#[test]
fn one_timeout_and_an_answer_after_all() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.write(id, 1_000);
        bench.let_pass(Duration::from_millis(300));
        bench.send(bench.header(IRS.advance(1), iss.advance(1_001), ACK), b"");
        bench.explains(id, "The retransmission timeout expired once");
        bench.explains(id, "Segments sent again in all: 1.");
        let history = bench.stack.history(id).unwrap();
        assert!(history.has(|happening| happening == Happening::AgainByTimeout(1_000)), "{history}");
    }
}

#[test]
fn an_exact_rst_by_the_peer_or_in_its_name() {
    for mut bench in benches() {
        let (_, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), RST), b"");
        bench.last_ended_for(Cause::ResetByPeer, "The peer, or a middlebox in its name, reset it");
    }
}

#[test]
fn an_rst_that_misses_and_a_syn_out_of_nowhere() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(100), iss.advance(1), RST), b"");
        bench.explains(id, "An RST inside the window but not at RCV.NXT");
        bench.send(bench.header(IRS.back(70_000), iss.advance(1), RST), b"");
        bench.send(bench.header(IRS.advance(1), SeqNumber::default(), SYN), b"");
        bench.pass(SECOND);
        bench.send(bench.header(IRS.back(70_000), iss.advance(1), RST), b"");
        bench.explains(id, "A segment outside the receive window");
        bench.pass(SECOND);
        bench.send(bench.header(IRS.advance(1), SeqNumber::default(), SYN), b"");
        bench.explains(id, "A SYN on a synchronized connection");
        bench.has_example(DropReason::SynInWindow, Some(bench.tuple()));
    }
}

#[test]
fn a_segment_that_is_older_than_the_last() {
    for mut bench in benches() {
        let clock = |value, echo| TcpOptions { timestamps: Some(Timestamps { value, echo }), ..TcpOptions::default() };
        bench.send_syn(TcpOptions { mss: Some(1_460), ..clock(CLOCK, 0) });
        let answer = bench.sent_one().header;
        let ours = answer.options.timestamps.unwrap().value;
        let segment = |bench: &Bench, value| TcpHeader {
            options: clock(value, ours),
            ..bench.header(IRS.advance(1), answer.seq.advance(1), ACK)
        };
        bench.send(segment(&bench, CLOCK + 10), b"");
        let Some(Event::Accepted(id, _)) = bench.events().into_iter().next() else { panic!("it was accepted") };
        bench.send(segment(&bench, CLOCK - 10), b"old");
        bench.explains(id, "A segment older than the last one, by its sender's clock (PAWS");
    }
}

#[test]
fn data_that_are_reordered_on_the_way_here() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(11), iss.advance(1), ACK), b"later");
        bench.explains(id, "Data came out of order: segments on the way here were lost or reordered.");
    }
}

#[test]
fn a_peer_that_has_vanished() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"x");
        let keep_alive = KeepAlive { idle: 60 * SECOND, interval: 5 * SECOND, probes: 3 };
        bench.with_stream(id, |stream| stream.set_keep_alive(Some(keep_alive)));
        bench.let_pass(120 * SECOND);
        bench.last_ended_for(Cause::KeepAlive, "it has vanished");
        bench.last_ended_for(Cause::KeepAlive, "asked 3 times whether it is there");
    }
}

#[test]
fn an_application_without_patience() {
    for mut bench in benches() {
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.set_user_timeout(Some(3 * SECOND)));
        bench.write(id, 100);
        bench.let_pass(10 * SECOND);
        bench.last_ended_for(Cause::UserTimeout, "within the time that the application allows");
    }
}

#[test]
fn handshakes_that_nobody_ends() {
    for mut bench in benches() {
        for port in 1..=50 {
            bench.port = port;
            bench.send_syn(TcpOptions::default());
        }
        bench.let_pass(300 * SECOND);
        bench.last_ended_for(Cause::SynAckUnanswered, "our SYN-ACK was not acknowledged");
        assert_eq!(bench.stack.recent_ends().count(), 1, "one a second is enough");
    }
}

#[test]
fn a_port_that_refuses_us_and_one_that_does_not_answer() {
    for mut bench in benches() {
        bench.begin();
        let next_hop = bench.asked();
        bench.answer(next_hop);
        let syn = bench.sent_one();
        bench.port = 7;
        let rst = bench.header(SeqNumber::default(), syn.header.seq.advance(1), RST | ACK);
        bench.send(TcpHeader { destination_port: syn.header.source_port, ..rst }, b"");
        bench.last_ended_for(Cause::RefusedByReset, "An RST answered our SYN");
        bench.begin();
        bench.let_pass(600 * SECOND);
        bench.last_ended_for(Cause::SynUnanswered, "The SYN drew no answer in time");
    }
}

#[test]
fn peers_that_say_nothing() {
    for mut bench in benches() {
        bench.connect();
        bench.let_pass(120 * SECOND);
        bench.last_ended_for(Cause::Silent, "The peer had said nothing since the handshake");
    }
}

#[test]
fn applications_that_reset_or_do_not_read_to_the_end() {
    for mut bench in benches() {
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.abort());
        bench.last_ended_for(Cause::Application, "Our application reset it.");
        bench.port += 1;
        bench.events();
        bench.frames();
        let (id, iss) = bench.connect();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"unread");
        bench.with_stream(id, |stream| stream.close());
        bench.last_ended_for(Cause::ClosedUnread, "it had not read");
    }
}

#[test]
fn a_budget_that_is_used_up() {
    for mut bench in
        [Bench::with(StackConfig { memory: Some(1 << 20), silence: None, max_awake: 1_000, ..StackConfig::default() })]
    {
        for port in 1..400 {
            bench.port = port;
            bench.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
            let Some(answer) = bench.sent().into_iter().find(|sent| sent.has(SYN | ACK)) else { break };
            bench.send(bench.header(IRS.advance(1), answer.header.seq.advance(1), ACK), &[1; 1_000]);
            bench.pass(Duration::from_millis(100));
            bench.events();
            bench.frames();
        }
        bench.last_ended_for(Cause::Memory, "The memory budget for connections was used up");
    }
}

#[test]
fn an_orderly_end_leaves_nothing_behind_and_a_usual_conversation_writes_nothing() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        for round in 0..50 {
            bench.send(bench.header(IRS.advance(1 + round), iss.advance(1 + round), ACK), b"?");
            bench.with_stream(id, |stream| stream.echo());
            bench.frames();
            bench.pass(Duration::from_millis(3));
        }
        let history = bench.stack.history(id).unwrap();
        assert_eq!(history.events, [], "{history}");
        bench.send(bench.header(IRS.advance(51), iss.advance(51), ACK | FIN), b"");
        bench.explains(id, "The peer closed its side first (FIN).");
        bench.with_stream(id, |stream| stream.close());
        bench.frames();
        bench.send(bench.header(IRS.advance(52), iss.advance(52), ACK), b"");
        assert_eq!((bench.state(), bench.stack.recent_ends().count()), (State::Closed, 0));
    }
}

#[test]
fn who_slept_has_no_history_and_is_not_woken_for_it() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.send(bench.header(IRS.advance(11), iss.advance(1), ACK), b"late");
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"0123456789");
    bench.with_stream(id, |stream| stream.consume(14));
    bench.events();
    bench.let_pass(SECOND);
    assert_eq!(bench.stack.connections_asleep(), 1);
    let history = bench.stack.history(id).unwrap();
    assert_eq!((history.events.len(), history.began.name()), (0, "woken"));
    bench.explains(id, "It has slept");
    assert_eq!(bench.stack.connections_asleep(), 1);
}

#[test]
fn frames_that_are_of_no_connection_leave_an_example_a_second() {
    for mut bench in benches() {
        bench.stack.set_syn_mode(SynMode::Cookie);
        let stray = bench.header(IRS, SeqNumber::new(5), ACK);
        bench.send(stray, b"");
        bench.has_example(DropReason::BadCookie, Some(bench.tuple()));
        bench.send(TcpHeader { destination_port: 81, ..stray }, b"");
        let local = Endpoint { port: 81, ..bench.tuple().local };
        bench.has_example(DropReason::NoListener, Some(FourTuple { local, ..bench.tuple() }));
        let first = bench.now;
        for millis in [0, 500, 499, 1] {
            bench.pass(Duration::from_millis(millis));
            bench.port += 1;
            bench.send(stray, b"");
        }
        bench.has_example(
            DropReason::BadCookie,
            Some(FourTuple { remote: Endpoint { port: stray.source_port, ..bench.tuple().remote }, ..bench.tuple() }),
        );
        assert_eq!(bench.now, first + SECOND);

        let ip = IpHeader::new(bench.theirs, bench.ours, Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(&bench.link, &ip, &stray) + 200];
        wire::write_tcp(&bench.link, &ip, &stray, (&[9; 200], &[]), &mut frame);
        *frame.last_mut().unwrap() ^= 1;
        bench.stack.handle_frame(bench.now, InterfaceId::FIRST, &frame);
        let wrong = |example: &crate::stack::DropExample<'_>| example.reason == DropReason::BadTcpChecksum;
        let example = bench.stack.drop_examples().find(wrong).unwrap();
        assert_eq!((example.octets, example.length), (&frame[..96], frame.len()));
    }
}

#[test]
fn the_last_256_ends_are_remembered() {
    let mut bench = Bench::new();
    for port in 1..=300 {
        bench.port = port;
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.abort());
        bench.events();
        bench.frames();
    }
    let ports: Vec<u16> = bench.stack.recent_ends().map(|ended| ended.tuple.remote.port).collect();
    assert!(ports.iter().copied().eq((45..=300).rev()), "{ports:?}");
}
