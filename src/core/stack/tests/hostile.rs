//! Segments that somebody makes up, and peers that mean harm: what each is worth.

use super::*;
use crate::wire::tcp_options::{SackBlocks, Timestamps};

const BUFFER: u32 = 64_000;

/// A connection with a receive window of known size, and its sequence numbers.
struct Victim {
    bench: Bench,
    id: ConnectionId,
    iss: SeqNumber,
}

impl Victim {
    fn new() -> Self {
        let tcp = crate::config::TcpConfig { receive_buffer: BUFFER as usize, ..Default::default() };
        let mut bench = Bench::with(StackConfig { tcp, ..StackConfig::default() });
        let (id, iss) = bench.connect();
        Self { bench, id, iss }
    }

    /// A segment `offset` octets from where the peer is.
    fn inject(&mut self, offset: u32, flags: TcpFlags, ack: u32, data: &[u8]) -> Vec<Sent> {
        let seq = IRS.advance(1).advance(offset);
        let header = self.bench.header(seq, self.iss.advance(1).advance(ack), flags);
        self.bench.send(header, data);
        self.bench.sent()
    }

    /// The connection is as it was, and its peer can go on.
    #[track_caller]
    fn lives(&mut self, what: &str) {
        assert_eq!(self.bench.state(), State::Established, "{what}");
        assert_eq!(self.bench.with_stream(self.id, |stream| stream.readable_len()), 0, "{what}");
    }
}

/// Distances from RCV.NXT: around it, around the window's edge, around half the sequence space, and just behind.
const OFFSETS: [u32; 14] = [
    1,
    2,
    536,
    32_000,
    BUFFER - 1,
    BUFFER,
    BUFFER + 1,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    u32::MAX - 70_000,
    u32::MAX - 1,
    u32::MAX,
];

#[test]
fn x_rst_1_and_x_rst_3_a_blind_reset_kills_nobody_at_any_offset() {
    // RFC 5961 §3.2: only RCV.NXT itself will do, one guess in 2^32; inside the window it draws a challenge.
    for offset in OFFSETS {
        let mut victim = Victim::new();
        let answers = victim.inject(offset, RST, 0, b"");
        let is_inside = offset < BUFFER;
        assert_eq!(answers.len(), usize::from(is_inside), "at {offset}");
        assert!(answers.iter().all(|answer| answer.has(ACK)), "at {offset}");
        victim.lives("a reset");
    }
}

#[test]
fn x_syn_1_a_blind_syn_kills_nobody_at_any_offset() {
    // RFC 5961 §4.2: a challenge, wherever it is.
    for offset in OFFSETS.into_iter().chain([0]) {
        for flags in [SYN, SYN | ACK] {
            let mut victim = Victim::new();
            let answers = victim.inject(offset, flags, 0, b"");
            assert_eq!(answers.len(), 1, "at {offset}");
            assert!(answers[0].has(ACK), "at {offset}: {:?}", answers[0]);
            victim.lives("a SYN");
        }
    }
}

#[test]
fn x_ack_1_blind_data_are_refused_unless_their_acknowledgment_is_plausible() {
    // RFC 5961 §5.2: from SND.UNA - MAX.SND.WND to SND.NXT; half of what RFC 793 took is refused, and more.
    for ack in [1, 2, 1 << 20, 1 << 31, u32::MAX - 64_000, u32::MAX - 70_000] {
        let mut victim = Victim::new();
        let answers = victim.inject(0, ACK, ack, b"injected");
        assert_eq!(answers.len(), 1, "ACK {ack} ahead");
        victim.lives("injected data");
    }
    // Data beyond the window are not taken, whatever they acknowledge (RFC 9293 §3.10.7.4, first check).
    for offset in OFFSETS.into_iter().filter(|offset| *offset >= BUFFER) {
        let mut victim = Victim::new();
        victim.inject(offset, ACK, 0, b"x");
        victim.lives("data outside the window");
    }
}

#[test]
fn what_is_acknowledged_optimistically_is_not_sent_faster() {
    // Savage et al. 1999: acknowledgments of what was not sent draw a challenge and move nothing.
    let mut victim = Victim::new();
    victim.bench.with_stream(victim.id, |stream| stream.write(&[7; 60_000]));
    let sent: usize = victim.bench.sent().iter().map(|sent| sent.data.len()).sum();
    for _ in 0..5 {
        let answers = victim.inject(0, ACK, sent as u32 + 1, b"");
        assert!(answers.iter().all(|answer| answer.data.is_empty()), "{answers:?}");
    }
    assert_eq!(victim.bench.drops(DropReason::UnacceptableAck), 5);
}

#[test]
fn reports_that_lie_lose_nothing() {
    // RFC 2018 §8: what is reported is not forgotten before it is acknowledged.
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions { mss: Some(1_000), sack_permitted: true, ..TcpOptions::default() });
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    let Some(Event::Accepted(id, _)) = bench.stack.poll_event() else { panic!("a connection was expected") };
    bench.with_stream(id, |stream| stream.write(&[7; 8_000]));
    assert_eq!(bench.sent().len(), 8);
    let lies: [(u32, u32); 6] = [(1, 8_001), (1_001, 8_001), (8_001, 9_001), (5_001, 4_001), (0, 1), (3_000, u32::MAX)];
    for (left, right) in lies {
        let sack = SackBlocks::default().with(iss.advance(left), iss.advance(right)).unwrap();
        let options = TcpOptions { sack, ..TcpOptions::default() };
        bench.send(TcpHeader { options, ..bench.header(IRS.advance(1), iss.advance(1), ACK) }, b"");
        bench.sent();
    }
    // Nothing of it was true: everything comes again, in the end.
    let mut again = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let Some(deadline) = bench.stack.poll_timeout() else { break };
        bench.now = bench.now.max(deadline);
        bench.stack.handle_timeout(bench.now);
        for sent in bench.sent() {
            again.insert(sent.header.seq.since(iss));
            let next = (1..=8).map(|number| number * 1_000 + 1).find(|end| !again.contains(&(end - 1_000)));
            let ack = iss.advance(next.map_or(8_001, |end| end - 1_000));
            bench.send(bench.header(IRS.advance(1), ack, ACK), b"");
        }
    }
    assert_eq!(again.len(), 8, "{again:?}");
}

#[test]
fn a_clock_that_goes_back_is_refused_and_one_that_wraps_is_not() {
    // PAWS (RFC 7323 §5.3), across 2^32 and by 2^31.
    let syn = |value| TcpOptions { timestamps: Some(Timestamps { value, echo: 0 }), ..TcpOptions::default() };
    let mut bench = Bench::new();
    bench.send_syn(syn(u32::MAX - 1));
    let answer = bench.sent_one();
    let (iss, ours) = (answer.header.seq, answer.header.options.timestamps.unwrap().value);
    let mut at = IRS.advance(1);
    let mut segment = |bench: &mut Bench, value: u32, is_taken: bool| {
        let timestamps = Some(Timestamps { value, echo: ours });
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        bench.send(TcpHeader { options, ..bench.header(at, iss.advance(1), ACK) }, b"x");
        bench.frames();
        if is_taken {
            at = at.advance(1);
        }
        at.since(IRS.advance(1))
    };
    for (value, is_taken) in
        [(u32::MAX, true), (3, true), (2, false), (u32::MAX, false), (3 + (1 << 31), false), (2 + (1 << 31), true)]
    {
        let expected = segment(&mut bench, value, is_taken);
        let event = bench.events();
        let Some(Event::Accepted(id, _) | Event::Ready(id)) =
            event.first().copied().or(Some(Event::Ready(id_of(&mut bench))))
        else {
            panic!("{event:?}")
        };
        let read = bench.with_stream(id, |stream| stream.readable_len() as u32);
        assert_eq!(read, expected, "TSval {value}");
    }
    assert_eq!(bench.drops(DropReason::OldTimestamp), 3);
}

/// The only connection there is.
fn id_of(bench: &mut Bench) -> ConnectionId {
    ConnectionId { index: 0, generation: bench.stack.connections.awake_mut(0).unwrap().generation }
}

#[test]
fn an_old_duplicate_of_another_turn_is_refused() {
    // Without timestamps, sequence numbers alone: what lies 2^31 or 2^32 octets back is outside the window.
    let mut victim = Victim::new();
    for back in [1u32, 1_000, 1 << 16, 1 << 31] {
        victim.inject(0u32.wrapping_sub(back), ACK, 0, b"o");
        victim.lives("an old duplicate");
    }
}

#[test]
fn christmas_trees_open_nothing_and_close_nothing() {
    let all = TcpFlags::all();
    let mut bench = Bench::new();
    bench.send(bench.header(IRS, SeqNumber::default(), all), b"");
    assert_eq!((bench.state(), bench.sent()), (State::Closed, vec![]), "an RST is not answered");
    let mut victim = Victim::new();
    victim.inject(5, all, 0, b"");
    victim.lives("every flag, elsewhere in the window");
    let without_reset = all - RST;
    victim.inject(0, without_reset, 0, b"");
    victim.lives("every flag but RST: a SYN");
}

#[test]
fn data_on_a_syn_come_again() {
    // RFC 9293 §3.10.7.2 lets them be queued or not; ours may not be remembered at all, so they are not taken, and acknowledged
    // only when they come again.
    let mut bench = Bench::new();
    bench.send(bench.header(IRS, SeqNumber::default(), SYN), b"early");
    let answer = bench.sent_one();
    assert_eq!(answer.header.ack, IRS.advance(1));
    bench.send(bench.header(IRS.advance(1), answer.header.seq.advance(1), ACK), b"early");
    let Some(Event::Accepted(id, _)) = bench.stack.poll_event() else { panic!("a connection was expected") };
    bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"early"));
}

#[test]
fn a_split_handshake_is_not_taken_by_a_listener() {
    // Beardsley and Qian 2010: the answer to our SYN-ACK is the client's acknowledgment, never a SYN of its own.
    let mut bench = Bench::new();
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(50), iss.advance(1), SYN | ACK), b"");
    assert_eq!(bench.state(), State::SynReceived);
    assert_eq!(bench.drops(DropReason::SynInWindow), 1);
    assert_eq!(bench.events(), []);
}

#[test]
fn peers_that_never_open_their_windows_are_bounded() {
    // sockstress: a connection each, a request each, and a window that stays shut, though every probe is answered.
    let mut bench = Bench::with(StackConfig { max_stalled: 3, ..StackConfig::default() });
    let mut victims = Vec::new();
    for port in 1..=5 {
        bench.port = port;
        let (id, iss) = bench.connect();
        let shut = TcpHeader { window: 0, ..bench.header(IRS.advance(1), iss.advance(1), ACK) };
        bench.send(shut, b"");
        bench.with_stream(id, |stream| stream.write(&[7; 10_000]));
        bench.frames();
        victims.push((port, id, iss));
        bench.now += Duration::from_millis(50);
    }
    for _ in 0..60 {
        bench.events();
        bench.now = bench.now.max(bench.stack.poll_timeout().expect("probes go on"));
        bench.stack.handle_timeout(bench.now);
        bench.frames();
        for &(port, id, iss) in &victims {
            bench.port = port;
            if bench.stack.stream(bench.now, id).is_some() {
                let header = bench.header(IRS.advance(1), iss.advance(1), ACK);
                bench.send(TcpHeader { window: 0, ..header }, b"");
                bench.frames();
            }
        }
    }
    assert_eq!((bench.stack.flow_counts().0, bench.stack.stats().connections_evicted), (3, 2));
    let gone: Vec<u16> = victims
        .iter()
        .filter(|(_, id, _)| bench.stack.connections.id_at(id.index).is_none())
        .map(|(port, ..)| *port)
        .collect();
    assert_eq!(gone, [1, 2], "those that were stalled for longest");
}

#[test]
fn a_stalled_connection_makes_room_where_there_is_none() {
    let mut bench = Bench::with(StackConfig { max_connections: 1, ..StackConfig::default() });
    let (id, iss) = bench.connect();
    bench.send(TcpHeader { window: 0, ..bench.header(IRS.advance(1), iss.advance(1), ACK) }, b"a request");
    bench.with_stream(id, |stream| stream.write(b"never read"));
    bench.events();
    for _ in 0..20 {
        bench.frames();
        bench.now = bench.now.max(bench.stack.poll_timeout().expect("probes go on"));
        bench.stack.handle_timeout(bench.now);
    }
    bench.frames();
    bench.events();
    bench.port += 1;
    bench.send_syn(TcpOptions::default());
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    assert_eq!((bench.state(), bench.stack.stats().connections_evicted), (State::Established, 1));
    closed(&bench.events(), id, CloseReason::Aborted);
}
