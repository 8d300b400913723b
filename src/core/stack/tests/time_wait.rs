//! What TIME-WAIT does about each segment, and what it takes to end it (RFC 9293 §3.10.7.4, RFC 1337, RFC 6191).

use super::*;
use crate::wire::tcp_options::Timestamps;

const CLOCK: u32 = 77_000;
/// Time-outs of TIME-WAIT are told to 17 ms.
const COARSE: Duration = Duration::from_millis(17);

fn timestamps(value: u32) -> TcpOptions {
    TcpOptions { timestamps: Some(Timestamps { value, echo: 0 }), ..TcpOptions::default() }
}

/// A connection that has just entered TIME-WAIT.
struct Lingering {
    bench: Bench,
    /// The last segment of the peer.
    fin: TcpHeader,
    has_clock: bool,
}

impl Lingering {
    fn new(mut bench: Bench, has_clock: bool) -> Self {
        let options = if has_clock { timestamps(CLOCK) } else { TcpOptions::default() };
        bench.send_syn(options);
        let iss = bench.sent_one().header.seq;
        bench.send(TcpHeader { options, ..bench.header(IRS.advance(1), iss.advance(1), ACK) }, b"");
        let Some(Event::Accepted(id, _)) = bench.events().first().copied() else { panic!("a connection was expected") };
        bench.with_stream(id, |stream| stream.close());
        assert!(bench.sent_one().has(FIN | ACK));
        let fin = TcpHeader { options, ..bench.header(IRS.advance(1), iss.advance(2), FIN | ACK) };
        bench.send(fin, b"");
        assert!(bench.sent_one().has(ACK));
        bench.events();
        assert_eq!(bench.state(), State::TimeWait);
        Self { bench, fin, has_clock }
    }

    /// Over both versions of IP, with timestamps and without.
    fn all() -> impl Iterator<Item = Self> {
        let benches = || [Bench::new(), Bench::new().over_ipv6()].into_iter();
        benches().map(|bench| Self::new(bench, true)).chain(benches().map(|bench| Self::new(bench, false)))
    }

    /// Where the peer's next octet would be.
    fn end(&self) -> SeqNumber {
        self.fin.seq.advance(1)
    }

    fn syn(&self, seq: SeqNumber, clock: u32) -> TcpHeader {
        let options = if self.has_clock { timestamps(clock) } else { TcpOptions::default() };
        TcpHeader { options, ..self.bench.header(seq, SeqNumber::default(), SYN) }
    }

    /// The client sends a segment; what it draws.
    fn answer(&mut self, header: TcpHeader, data: &[u8]) -> Vec<Sent> {
        self.bench.send(header, data);
        self.bench.sent()
    }

    /// It draws the last acknowledgment again, and TIME-WAIT goes on.
    #[track_caller]
    fn is_acknowledged(&mut self, header: TcpHeader, data: &[u8]) {
        let (seq, ack) = (self.fin.ack, self.end());
        let answers = self.answer(header, data);
        let [answer] = &answers[..] else { panic!("one answer was expected: {answers:?}") };
        assert!(answer.has(ACK), "{answer:?}");
        assert_eq!((answer.header.seq, answer.header.ack), (seq, ack));
        assert_eq!(self.bench.state(), State::TimeWait);
    }

    /// TIME-WAIT is over `span` from now, and not before.
    #[track_caller]
    fn ends_after(&mut self, span: Duration) {
        self.bench.pass(span.saturating_sub(COARSE));
        assert_eq!(self.bench.state(), State::TimeWait);
        self.bench.pass(2 * COARSE);
        assert_eq!(self.bench.state(), State::Closed);
    }
}

#[test]
fn x_tw_1_a_syn_that_opens_nothing_does_not_end_time_wait() {
    // RFC 1337 §3: nothing but time may, or a new connection to be.
    for mut lingering in Lingering::all() {
        let syn = lingering.syn(lingering.end().advance(1_000), CLOCK + 5);
        assert_eq!(lingering.answer(TcpHeader { flags: SYN | FIN, ..syn }, b""), []);
        assert_eq!(lingering.bench.drops(DropReason::ContradictoryFlags), 1);
        lingering.bench.stack.stop_listening();
        lingering.is_acknowledged(syn, b"");
        assert_eq!(lingering.bench.drops(DropReason::NoListener), 0);
        lingering.bench.stack.listen(None, PORT).unwrap();
        let answers = lingering.answer(syn, b"");
        assert!(answers[0].has(SYN | ACK), "{answers:?}");
    }
}

#[test]
fn x_tw_1_only_the_peers_fin_begins_time_wait_anew() {
    // RFC 9293 §3.10.7.4, eighth: "The only thing that can arrive in this state is a retransmission of the remote FIN."
    for mut lingering in Lingering::all() {
        lingering.bench.pass(Duration::from_secs(50));
        let fin = lingering.fin;
        lingering.is_acknowledged(fin, b"");
        lingering.ends_after(Duration::from_secs(60));
    }
    // The last data may come again with it.
    let mut lingering = Lingering::new(Bench::new(), false);
    lingering.bench.pass(Duration::from_secs(50));
    let fin = TcpHeader { seq: lingering.fin.seq.back(4), ..lingering.fin };
    lingering.is_acknowledged(fin, b"last");
    lingering.ends_after(Duration::from_secs(60));
}

#[test]
fn x_tw_1_stray_segments_do_not_begin_time_wait_anew() {
    type Stray = (&'static str, fn(&Lingering) -> TcpHeader, &'static [u8]);
    let strays: [Stray; 9] = [
        ("an old SYN", |l| l.syn(l.end().back(2), CLOCK - 10), b""),
        ("a SYN with our number", |l| TcpHeader { flags: SYN | ACK, ..l.syn(l.end().advance(9), CLOCK + 9) }, b""),
        ("a FIN elsewhere", |l| TcpHeader { seq: l.fin.seq.back(1), ..l.fin }, b""),
        ("a FIN behind the end", |l| TcpHeader { seq: l.end(), ..l.fin }, b""),
        ("a FIN without ACK", |l| TcpHeader { flags: FIN, ..l.fin }, b""),
        ("a segment without ACK", |l| TcpHeader { seq: l.end(), flags: TcpFlags::empty(), ..l.fin }, b""),
        (
            "an acknowledgment of nothing",
            |l| TcpHeader { seq: l.end(), ack: l.fin.ack.advance(9), flags: ACK, ..l.fin },
            b"",
        ),
        ("old data", |l| TcpHeader { flags: ACK, ..l.fin }, b"x"),
        ("data behind the end", |l| TcpHeader { seq: l.end(), flags: ACK, ..l.fin }, b"x"),
    ];
    for (name, make, data) in strays {
        for mut lingering in Lingering::all() {
            let stray = make(&lingering);
            for _ in 0..5 {
                lingering.bench.pass(Duration::from_secs(10));
                lingering.is_acknowledged(stray, data);
                // RFC 5961 §7: once a second will do.
                let more: usize = (0..300).map(|_| lingering.answer(stray, data).len()).sum();
                assert!(more <= 1, "{name}: {more} more answers");
            }
            lingering.ends_after(Duration::from_secs(10));
        }
    }
}

#[test]
fn a_fin_of_an_earlier_time_is_a_stray_segment() {
    let mut lingering = Lingering::new(Bench::new(), true);
    lingering.bench.pass(Duration::from_secs(50));
    let old = TcpHeader { options: timestamps(CLOCK - 1), ..lingering.fin };
    lingering.is_acknowledged(old, b"");
    lingering.ends_after(Duration::from_secs(10));
}

/// A client of Linux' patience comes back: SYNs at these seconds. When it is let in, if it resets what it cannot use, and if
/// somebody on the way drops its RSTs.
fn let_in(make: impl Fn() -> Lingering, ahead: u32, clock: u32) -> [Option<u64>; 2] {
    [true, false].map(|resets| {
        let mut lingering = make();
        let seq = lingering.end().advance(ahead);
        let mut before = 0;
        for second in [0, 1, 3, 7, 15, 31, 63, 127] {
            lingering.bench.pass(Duration::from_secs(second - before));
            before = second;
            let syn = lingering.syn(seq, clock);
            let Some(answer) = lingering.answer(syn, b"").pop() else { continue };
            if answer.has(SYN | ACK) {
                assert_eq!(answer.header.ack, seq.advance(1));
                return Some(second);
            }
            if resets {
                // SYN-SENT: what acknowledges nothing of its own draws an RST (RFC 9293 §3.10.7.3).
                let reset = lingering.bench.header(answer.header.ack, SeqNumber::default(), RST);
                lingering.bench.send(reset, b"");
                assert_eq!((lingering.bench.sent(), lingering.bench.state()), (vec![], State::TimeWait));
            }
        }
        None
    })
}

#[test]
fn shld_4_who_comes_back_is_let_in_at_once_or_by_the_next_syn_or_when_time_wait_is_over() {
    const AHEAD: u32 = 1 << 28;
    const BEHIND: u32 = 0u32.wrapping_sub(1 << 28);
    // Linux does all of this, but for clocks that are behind where RSTs are dropped: there each SYN begins its TIME-WAIT anew.
    type Case = (u32, u32, bool, [u64; 2]);
    let cases: [Case; 8] = [
        (AHEAD, CLOCK + 1, true, [0, 0]),
        (BEHIND, CLOCK + 1, true, [0, 0]),
        (AHEAD, CLOCK, true, [0, 0]), // RFC 6191 §2: an equal clock, and a higher number
        (0, CLOCK, true, [1, 63]),
        (AHEAD, CLOCK - 1, true, [1, 63]),
        (BEHIND, CLOCK, true, [1, 63]),
        (AHEAD, 0, false, [0, 0]),
        (BEHIND, 0, false, [1, 63]),
    ];
    for (ahead, clock, has_clock, seconds) in cases {
        for is_ipv6 in [false, true] {
            let make = || {
                let bench = if is_ipv6 { Bench::new().over_ipv6() } else { Bench::new() };
                Lingering::new(bench, has_clock)
            };
            assert_eq!(let_in(make, ahead, clock), seconds.map(Some), "{ahead} ahead, {clock}");
        }
    }
}

#[test]
fn a_reset_that_answers_an_old_duplicate_does_not_end_time_wait() {
    // RFC 1337 §3: nor does it keep the last acknowledgment from whoever asks for it.
    for mut lingering in Lingering::all() {
        let old = TcpHeader { flags: ACK, ..lingering.fin };
        lingering.is_acknowledged(old, b"x");
        for (seq, flags) in [(lingering.end(), RST), (lingering.end(), RST | ACK), (lingering.end().advance(1), RST)] {
            let reset = lingering.bench.header(seq, lingering.fin.ack, flags);
            assert_eq!(lingering.answer(reset, b""), []);
        }
        lingering.bench.pass(Duration::from_secs(30));
        lingering.is_acknowledged(old, b"x");
        let fin = lingering.fin;
        lingering.is_acknowledged(fin, b"");
        lingering.ends_after(Duration::from_secs(60));
    }
}

#[test]
fn an_inexact_reset_lets_nobody_in() {
    let mut lingering = Lingering::new(Bench::new(), false);
    for seq in [lingering.end().advance(1), lingering.fin.seq] {
        let reset = lingering.bench.header(seq, SeqNumber::default(), RST);
        assert_eq!(lingering.answer(reset, b""), []);
    }
    let syn = lingering.syn(lingering.end().back(1_000), 0);
    lingering.is_acknowledged(syn, b"");
}

#[test]
fn who_is_asked_again_crowds_nobody_out() {
    let mut bench = Bench::with(StackConfig { max_time_wait: 64, ..StackConfig::default() });
    let mut fins = Vec::new();
    for port in 1..=60 {
        bench.port = port;
        let lingering = Lingering::new(bench, false);
        fins.push(lingering.fin);
        bench = lingering.bench;
    }
    for _ in 0..40 {
        bench.pass(Duration::from_secs(1));
        for fin in &fins[1..] {
            bench.send(*fin, b"");
            assert_eq!(bench.sent().len(), 1, "each FIN is answered");
        }
    }
    for port in 61..=64 {
        bench.port = port;
        bench = Lingering::new(bench, false).bench;
    }
    assert_eq!((bench.stack.flow_counts().2, bench.drops(DropReason::TimeWaitEvicted)), (64, 0));
    bench.port = 1;
    assert_eq!(bench.state(), State::TimeWait, "it came first, and was asked nothing");
}
