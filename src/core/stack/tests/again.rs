//! A port used again towards the same peer, whose last connection may wait in TIME-WAIT there still (RFC 6191).

use super::*;
use crate::{rng::SipKey, stack::ConnectError, wire::tcp_options::Timestamps};

/// The SYN of a stack that began when the calendar showed `begun` seconds, sent so many milliseconds later.
fn syn_of(begun: u64, millis: u64) -> Sent {
    let mut bench = Bench::new();
    let address = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Own };
    // Whatever else is secret in a process, this one outlasts it.
    let secrets = Secrets::from_seed(begun).with_numbers(SipKey::from_seed(9));
    bench.stack = Stack::new(StackConfig::default(), OURS, vec![address], secrets);
    bench.stack.set_calendar(Duration::from_secs(begun));
    bench.now = Instant::from_millis(millis);
    let (local, remote) = (Endpoint { address: bench.ours, port: 5_000 }, Endpoint { address: bench.theirs, port: 7 });
    bench.stack.connect_from(bench.now, remote, local).unwrap();
    let neighbour = bench.asked();
    bench.answer(neighbour);
    bench.sent_one()
}

fn timestamp(syn: &Sent) -> SeqNumber {
    SeqNumber::new(syn.header.options.timestamps.expect("a SYN of ours has timestamps").value)
}

#[test]
fn timestamps_and_numbers_go_on_where_those_of_the_last_connection_stopped() {
    let first = syn_of(1_000, 2_000);
    for (later, passed) in [(syn_of(1_000, 62_000), 60_000), (syn_of(1_100, 0), 98_000)] {
        assert_eq!(timestamp(&later).since(timestamp(&first)), passed, "milliseconds");
        assert_eq!(later.header.seq.since(first.header.seq), passed * 250, "ticks of 4 microseconds");
    }
}

#[test]
fn neither_jumps_where_the_calendar_is_set_meanwhile() {
    let syn = |set: Option<u64>| {
        let mut bench = Bench::new();
        bench.stack.set_calendar(Duration::from_secs(1_000));
        if let Some(seconds) = set {
            bench.stack.set_cookie_calendar(Duration::from_secs(seconds));
        }
        let (local, remote) =
            (Endpoint { address: bench.ours, port: 5_000 }, Endpoint { address: bench.theirs, port: 7 });
        bench.stack.connect_from(bench.now, remote, local).unwrap();
        let neighbour = bench.asked();
        bench.answer(neighbour);
        bench.sent_one()
    };
    let (unset, back, ahead) = (syn(None), syn(Some(10)), syn(Some(1_700_000_000)));
    assert_eq!((back.header, ahead.header), (unset.header, unset.header));
}

/// A connection from port 5,000 that we have closed first, and its last number.
fn closed_first(has_clocks: bool) -> (Bench, SeqNumber) {
    let mut bench = Bench::new();
    let (local, remote) = ends(&bench);
    let id = bench.stack.connect_from(bench.now, remote, local).unwrap();
    let neighbour = bench.asked();
    bench.answer(neighbour);
    let syn = bench.sent_one();
    let timestamps = syn.header.options.timestamps.map(|ours| Timestamps { value: 1, echo: ours.value });
    let options = TcpOptions { timestamps: timestamps.filter(|_| has_clocks), ..TcpOptions::default() };
    bench.reply_with(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, options, b"");
    // More than the clock that numbers come from will have counted by the next one.
    for _ in 0..100 {
        bench.with_stream(id, |stream| stream.write(&[0; 10_000]));
        let sent = bench.sent();
        let Some(last) = sent.last() else { continue };
        let end = last.header.seq.advance(last.data.len() as u32);
        bench.reply_with(&syn, IRS.advance(1), end, ACK, options, b"");
    }
    bench.with_stream(id, |stream| stream.close());
    let fin = bench.sent().pop().expect("it has a FIN");
    let end = fin.header.seq.advance(fin.data.len() as u32 + 1);
    bench.reply_with(&syn, IRS.advance(1), end, FIN | ACK, options, b"");
    bench.events();
    bench.sent();
    assert_eq!(bench.state_of(&syn), State::TimeWait);
    (bench, end)
}

fn ends(bench: &Bench) -> (Endpoint, Endpoint) {
    (Endpoint { address: bench.ours, port: 5_000 }, Endpoint { address: bench.theirs, port: 7 })
}

#[test]
fn a_connection_that_we_have_closed_first_may_be_followed_by_another_after_a_second() {
    let (mut bench, end) = closed_first(true);
    let (local, remote) = ends(&bench);
    let in_use = Err(ConnectError::InUse(FourTuple { local, remote }));
    assert_eq!(bench.stack.connect_from(bench.now, remote, local), in_use);
    bench.pass(Duration::from_millis(900));
    assert_eq!(bench.stack.connect_from(bench.now, remote, local), in_use);
    bench.pass(Duration::from_millis(400));
    bench.stack.connect_from(bench.now, remote, local).unwrap();
    let syn = bench.sent_one();
    assert!(end.precedes(syn.header.seq), "beyond all that was sent before");
    assert_eq!(bench.state_of(&syn), State::SynSent);
    // What the peer says of the old one meets the new one: there is nothing else.
    let clocks = Timestamps { value: 2_000, echo: syn.header.options.timestamps.unwrap().value };
    let options = TcpOptions { timestamps: Some(clocks), ..TcpOptions::default() };
    bench.reply_with(&syn, IRS.advance(9_000), syn.header.seq.advance(1), SYN | ACK, options, b"");
    assert_eq!(bench.state_of(&syn), State::Established);
    bench.pass(Duration::from_secs(120));
    assert_eq!(bench.state_of(&syn), State::Established, "the end of the old one's time is nothing to it");
}

#[test]
fn without_clocks_it_waits_its_whole_time() {
    let (mut bench, _) = closed_first(false);
    let (local, remote) = ends(&bench);
    bench.pass(Duration::from_secs(59));
    assert!(bench.stack.connect_from(bench.now, remote, local).is_err());
    bench.pass(Duration::from_secs(2));
    bench.stack.connect_from(bench.now, remote, local).unwrap();
}
