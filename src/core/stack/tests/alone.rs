//! Handshakes whose numbers are no cookies: who filters segments has to know them, or nothing that ends them would get here.

use super::*;
use crate::{
    stack::{FlowFingerprint, FlowObserver},
    wire::tcp_options::Timestamps,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// What a filter of flows knows: how often each was opened and not closed, by the client's port.
#[derive(Clone, Default)]
struct Filter(Arc<Mutex<HashMap<u64, i32>>>);

impl Filter {
    fn watch(bench: &mut Bench) -> Self {
        let filter = Self::default();
        bench.stack.observe_flows(Box::new(filter.clone()));
        filter
    }

    fn knows(&self, port: u16) -> i32 {
        self.0.lock().unwrap().get(&port.into()).copied().unwrap_or_default()
    }
}

impl FlowObserver for Filter {
    fn opened(&mut self, tuple: &FourTuple) {
        *self.0.lock().unwrap().entry(tuple.remote.port.into()).or_default() += 1;
    }

    fn fingerprint(&self, tuple: &FourTuple) -> FlowFingerprint {
        FlowFingerprint::new(tuple.remote.port.into())
    }

    fn closed(&mut self, fingerprint: FlowFingerprint) {
        *self.0.lock().unwrap().entry(fingerprint.get()).or_default() -= 1;
    }
}

/// Both versions of IP, with timestamps and without.
fn all_ways(mut try_one: impl FnMut(Bench, TcpOptions)) {
    for timestamps in [None, Some(Timestamps { value: 7, echo: 0 })] {
        for ipv6 in [false, true] {
            let bench = Bench::with(StackConfig { max_half_open: 4, ..StackConfig::default() });
            let options = TcpOptions { mss: Some(1_460), timestamps, ..TcpOptions::default() };
            try_one(if ipv6 { bench.over_ipv6() } else { bench }, options);
        }
    }
}

impl Bench {
    /// A connection that we close first, and its client's next SYN, with the same port. The answer to that.
    fn again_with_the_same_port(&mut self, options: TcpOptions) -> Sent {
        self.send_syn(options);
        let answer = self.sent_one();
        let last = self.end_of(&answer);
        self.send(last, b"");
        let Some(Event::Accepted(id, _)) = self.events().first().copied() else { panic!("a connection was expected") };
        self.with_stream(id, |stream| stream.close());
        self.sent();
        let fin = TcpHeader { ack: last.ack.advance(1), flags: FIN | ACK, ..last };
        self.send(fin, b"");
        self.sent();
        self.events();
        assert_eq!(self.state(), State::TimeWait);
        let timestamps = options.timestamps.map(|it| Timestamps { value: it.value + 10, ..it });
        let syn = TcpHeader {
            options: TcpOptions { timestamps, ..options },
            ..self.header(IRS.advance(1_000), SeqNumber::default(), SYN)
        };
        self.send(syn, b"");
        self.sent_one()
    }

    /// What ends the handshake of this SYN-ACK.
    fn end_of(&self, answer: &Sent) -> TcpHeader {
        let echo = |ours: Timestamps| Timestamps { value: ours.echo + 1, echo: ours.value };
        let options = TcpOptions { timestamps: answer.header.options.timestamps.map(echo), ..TcpOptions::default() };
        TcpHeader { options, ..self.header(answer.header.ack, answer.header.seq.advance(1), ACK) }
    }
}

#[test]
fn a_client_that_comes_again_with_its_port_is_known_where_its_number_is_no_cookie() {
    all_ways(|mut bench, options| {
        let filter = Filter::watch(&mut bench);
        bench.stack.set_syn_mode(SynMode::Cookie);
        let mut remembered = 0;
        for port in 1..=64 {
            bench.port = port;
            let answer = bench.again_with_the_same_port(options);
            assert!(answer.has(SYN | ACK), "{answer:?}");
            // Either a cookie is all there is of it, or it is known: nothing else gets past a filter.
            let is_alone = bench.state() == State::SynReceived;
            assert_eq!(filter.knows(port), is_alone.into(), "port {port}");
            remembered += u32::from(is_alone);
            bench.send(bench.end_of(&answer), b"");
            assert_eq!((bench.state(), filter.knows(port)), (State::Established, 1), "port {port}");
            bench.events();
            bench.stack.abort_all(bench.now);
            bench.frames();
            bench.events();
            assert_eq!(filter.knows(port), 0, "port {port}");
        }
        assert!(
            (8..=56).contains(&remembered),
            "a cookie is beyond the number before in half of all cases: {remembered}"
        );
    });
}

#[test]
fn what_no_cookie_can_say_is_known_from_its_syn_to_its_end() {
    // A scale without SACK and timestamps; and an MSS below all that a cookie may stand for.
    let scaled = TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() };
    let tiny = TcpOptions { mss: Some(100), ..TcpOptions::default() };
    for (options, mode) in [(scaled, SynMode::Cache), (tiny, SynMode::Cache), (tiny, SynMode::Cookie)] {
        all_ways(|mut bench, ordinary| {
            let filter = Filter::watch(&mut bench);
            bench.stack.set_syn_mode(mode);
            let begin = |bench: &mut Bench, options| {
                bench.send_syn(options);
                bench.sent_one()
            };
            let answer = begin(&mut bench, options);
            assert_eq!(filter.knows(bench.port), 1);
            bench.send(bench.end_of(&answer), b"");
            assert_eq!((bench.state(), filter.knows(bench.port)), (State::Established, 1), "as a connection, and once");
            bench.stack.abort_all(bench.now);
            assert_eq!(filter.knows(bench.port), 0);
            bench.frames();
            // Its client breaks it off.
            begin(&mut bench, options);
            bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"");
            assert_eq!((bench.state(), filter.knows(bench.port)), (State::Closed, 0));
            // Nobody ends it.
            begin(&mut bench, options);
            (0..6).for_each(|_| bench.pass(Duration::from_secs(60)));
            assert_eq!((bench.state(), filter.knows(bench.port)), (State::Closed, 0));
            bench.frames();
            // Others push it out.
            let first = bench.port;
            begin(&mut bench, options);
            for port in 100..110 {
                bench.port = port;
                begin(&mut bench, options);
            }
            assert_eq!((filter.knows(first), filter.knows(109)), (0, 1));
            // What a cookie says is on no list, whether it is remembered or not.
            bench.port = 200;
            begin(&mut bench, ordinary);
            assert_eq!(filter.knows(200), 0);
        });
    }
}
