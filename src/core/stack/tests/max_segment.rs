//! Segments that are smaller than the link would take, because somebody said so: TCP_MAXSEG.

use super::*;
use crate::{tcp::MaxSegment, wire::tcp_options::Timestamps};

const LIMIT: u16 = 600;

fn client() -> TcpOptions {
    TcpOptions { mss: Some(1_460), window_scale: Some(8), sack_permitted: true, ..TcpOptions::default() }
}

fn client_with_clock() -> TcpOptions {
    TcpOptions { timestamps: Some(Timestamps { value: 1, echo: 0 }), ..client() }
}

/// A stack whose only listener has a limit.
fn limited(max_awake: u32) -> Bench {
    let mut bench = Bench::with(StackConfig { max_awake, ..StackConfig::default() });
    bench.listen_anew(LIMIT);
    bench
}

impl Bench {
    fn listen_anew(&mut self, limit: u16) {
        assert!(self.stack.unlisten_at(None, PORT));
        self.stack.listen_with(None, PORT, MaxSegment::new(limit)).unwrap();
    }

    /// A client shakes hands; what the SYN-ACK announces, and the connection.
    #[track_caller]
    fn accept(&mut self, options: TcpOptions) -> (Option<u16>, ConnectionId) {
        self.send_syn(options);
        let answer = self.sent_one().header;
        let timestamps = answer.options.timestamps.map(|ours| Timestamps { value: 2, echo: ours.value });
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        self.send(TcpHeader { options, ..self.header(IRS.advance(1), answer.seq.advance(1), ACK) }, b"");
        let events = self.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("a connection was expected: {events:?}") };
        self.sent();
        (answer.options.mss, id)
    }

    /// The sizes of the segments in which so many octets leave.
    fn written_as(&mut self, id: ConnectionId, octets: usize) -> Vec<usize> {
        self.with_stream(id, |stream| stream.write(&vec![7; octets]));
        self.sent_segments().iter().map(|sent| sent.data.len()).collect()
    }
}

#[test]
fn what_a_listener_wants_is_announced_and_kept_to() {
    for mode in [SynMode::Cache, SynMode::Cookie] {
        for mut bench in [limited(0), limited(1).over_ipv6()] {
            bench.stack.set_syn_mode(mode);
            let (announced, id) = bench.accept(client());
            assert_eq!(announced, Some(LIMIT));
            assert_eq!(bench.written_as(id, 1_500), [600, 600, 300]);
            bench.port += 1;
            let (announced, id) = bench.accept(client_with_clock());
            assert_eq!(announced, Some(LIMIT));
            assert_eq!(bench.written_as(id, 1_500), [588, 588, 324], "options count as data");
        }
    }
}

#[test]
fn the_least_of_all_limits_counts() {
    let mut bench = limited(0);
    let (_, id) = bench.accept(TcpOptions { mss: Some(500), ..client() });
    assert_eq!(bench.written_as(id, 1_000), [500, 500], "the client wants less");
    bench.port += 1;
    bench.listen_anew(9_000);
    let (announced, id) = bench.accept(client());
    assert_eq!((announced, bench.written_as(id, 2_000)), (Some(1_460), vec![1_460, 540]), "the link takes less");
    bench.port += 1;
    bench.listen_anew(0);
    let (announced, _) = bench.accept(client());
    assert_eq!(announced, Some(MaxSegment::LEAST), "nobody wants less than that");
}

#[test]
fn who_listens_at_one_address_has_a_limit_of_its_own() {
    let mut bench = limited(0);
    bench.stack.listen_with(Some(bench.ours), PORT, MaxSegment::new(700)).unwrap();
    assert_eq!(bench.accept(client()).0, Some(700));
    let mut bench = bench.over_ipv6();
    assert_eq!(bench.accept(client()).0, Some(LIMIT));
    for local in [bench.ours, "198.18.0.1".parse().unwrap()].map(|address| Endpoint { address, port: PORT }) {
        let mss = if local.address.is_ipv4() { 700 } else { LIMIT };
        assert_eq!(bench.stack.syn_ack_profile(local).mss, mss, "XDP says the same");
    }
}

#[test]
fn a_connection_that_we_open_asks_for_what_its_application_wants() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let remote = Endpoint { address: bench.theirs, port: 7 };
        let id = bench.stack.connect(bench.now, remote, None).unwrap();
        bench.with_stream(id, |stream| stream.set_max_segment(MaxSegment::new(LIMIT)));
        let neighbour = bench.asked();
        bench.answer(neighbour);
        let syn = bench.sent_one();
        assert_eq!(syn.header.options.mss, Some(LIMIT));
        bench.reply_with(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, client(), b"");
        bench.sent_one();
        assert_eq!(bench.written_as(id, 1_500), [600, 600, 300]);
    }
}

#[test]
fn under_way_it_counts_for_what_is_sent_from_now_on_and_makes_nothing_larger() {
    for max_awake in [0, 1] {
        let mut bench = Bench::with(StackConfig { max_awake, ..StackConfig::default() });
        let (_, id) = bench.accept(client());
        assert_eq!(bench.written_as(id, 2_800), [1_460, 1_340]);
        bench.with_stream(id, |stream| stream.set_max_segment(MaxSegment::new(LIMIT)));
        assert_eq!(bench.sent(), [], "what is in flight is not sent again");
        assert_eq!(bench.written_as(id, 1_200), [600, 600]);
        bench.with_stream(id, |stream| stream.set_max_segment(MaxSegment::new(1_000)));
        assert_eq!(bench.written_as(id, 1_200), [600, 600]);
    }
    // It is not forgotten in sleep.
    let mut bench = Bench::new();
    let (_, id) = bench.accept(client());
    bench.with_stream(id, |stream| stream.set_max_segment(MaxSegment::new(LIMIT)));
    assert_eq!((bench.sent(), bench.stack.connections_asleep()), (vec![], 1));
    assert_eq!(bench.written_as(id, 1_000), [600, 400]);
}
