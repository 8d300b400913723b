//! A port used again towards the same peer, whose last connection may wait in TIME-WAIT there still (RFC 6191).

use super::*;
use crate::rng::SipKey;

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
