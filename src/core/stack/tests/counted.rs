//! What is counted beside the conversation: octets, what came out of order, and how long a first answer took.

use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// One of either family, and one in which everybody falls asleep who can.
fn benches() -> [Bench; 3] {
    let awake = || Bench::with(StackConfig { max_awake: 64, ..StackConfig::default() });
    [awake(), awake().over_ipv6(), Bench::new()]
}

#[test]
fn octets_are_those_of_all_frames() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        let before = *bench.stack.stats();
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), &[1; 100]);
        bench.with_stream(id, |stream| stream.write(&[2; 1_000]));
        let sent: usize = bench.frames().iter().map(Vec::len).sum();
        let stats = bench.stack.stats();
        let headers = if bench.ours.is_ipv4() { 14 + 20 + 20 } else { 14 + 40 + 20 };
        assert_eq!(stats.octets_received - before.octets_received, headers + 100);
        assert_eq!(stats.octets_transmitted - before.octets_transmitted, sent as u64);
        // What is refused has come as well.
        let (before, mut garbage) = (*stats, Vec::from([0; 60]));
        bench.stack.handle_frame(bench.now, InterfaceId::FIRST, garbage.as_slice());
        garbage.clear();
        bench.stack.handle_frame(bench.now, InterfaceId::FIRST, garbage.as_slice());
        assert_eq!(bench.stack.stats().octets_received - before.octets_received, 60);
    }
}

#[test]
fn numbers_that_count_no_events_are_none() {
    let names: Vec<_> = Bench::new().stack.stats().events().map(|(name, _)| name).collect();
    assert!(names.contains(&"segments_received") && names.contains(&"segments_out_of_order"));
    assert!(!["memory_peak", "octets_received", "octets_transmitted"].iter().any(|name| names.contains(name)));
}

#[test]
fn each_segment_behind_a_gap_is_counted() {
    for mut bench in benches() {
        let (_, iss) = bench.connect();
        let data = |at: u32| bench.header(IRS.advance(1 + at), iss.advance(1), ACK);
        let segments: [TcpHeader; 4] = [data(10), data(30), data(0), data(20)];
        for (header, out_of_order) in segments.into_iter().zip([1, 2, 2, 2]) {
            bench.send(header, &[0; 10]);
            assert_eq!(bench.stack.stats().segments_out_of_order, out_of_order);
        }
    }
}

#[test]
fn the_first_octet_is_timed_from_what_the_peer_said_last() {
    for mut bench in benches() {
        let (id, iss) = bench.connect();
        bench.frames();
        bench.pass(70 * MILLI);
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"GET");
        bench.frames();
        bench.pass(30 * MILLI);
        let count = |bench: &Bench| bench.stack.timings().first_octets.count();
        assert_eq!(count(&bench), 0, "an acknowledgment is no octet");
        bench.with_stream(id, |stream| stream.write(b"200"));
        bench.frames();
        let first = bench.stack.timings().first_octets;
        assert_eq!((first.count(), first.sum()), (1, 30 * MILLI));
        // What follows is no first one, whether it slept meanwhile or not.
        bench.send(bench.header(IRS.advance(4), iss.advance(4), ACK), b"GET");
        bench.frames();
        bench.pass(Duration::from_secs(3));
        bench.with_stream(id, |stream| stream.write(b"200"));
        bench.frames();
        assert_eq!(count(&bench), 1);
    }
}

#[test]
fn a_connection_that_only_closes_has_no_first_octet() {
    for mut bench in benches() {
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.close());
        assert!(bench.sent().iter().any(|sent| sent.has(FIN | ACK)));
        assert_eq!(bench.stack.timings().first_octets.count(), 0);
        let (id, _) = {
            bench.port += 1;
            bench.connect()
        };
        bench.with_stream(id, |stream| {
            stream.write(b"x");
            stream.close();
        });
        bench.frames();
        assert_eq!(bench.stack.timings().first_octets.count(), 1);
    }
}
