//! Rows of docs/rfc9293.md that no other topic's test proves.

use super::*;

/// A client's SYN with these options, and as many octets as we may send it at once in the first segment that follows.
fn first_segment(mut bench: Bench, options: TcpOptions) -> (Bench, usize) {
    bench.send_syn(options);
    let iss = bench.sent_one().header.seq;
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    let Some(Event::Accepted(id, _)) = bench.stack.poll_event() else { panic!("a connection was expected") };
    bench.with_stream(id, |stream| stream.write(&[7; 20_000]));
    let length = bench.sent()[0].data.len();
    (bench, length)
}

#[test]
fn must_15_a_peer_that_names_no_mss_takes_the_default() {
    assert_eq!(first_segment(Bench::new(), TcpOptions::default()).1, 536);
    assert_eq!(first_segment(Bench::new().over_ipv6(), TcpOptions::default()).1, 1_220);
}

#[test]
fn the_mss_a_peer_names_is_bounded_both_ways() {
    // RFC 9293 §3.7.1 has no lower bound; without one a peer could have us send octet by octet (CVE-2019-11479).
    for (named, taken) in [(0, 64), (1, 64), (63, 64), (64, 64), (65, 65), (65_535, 1_460)] {
        let options = TcpOptions { mss: Some(named), ..TcpOptions::default() };
        assert_eq!(first_segment(Bench::new(), options).1, taken, "MSS {named}");
    }
}

#[test]
fn shld_5_and_must_65_only_a_syn_says_the_mss() {
    let options = TcpOptions { mss: Some(1_000), window_scale: Some(3), ..TcpOptions::default() };
    let mut bench = Bench::new();
    let (id, iss) = {
        bench.send_syn(options);
        let answer = bench.sent_one();
        assert!(answer.header.options.mss.is_some());
        let iss = answer.header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let Some(Event::Accepted(id, _)) = bench.stack.poll_event() else { panic!("a connection was expected") };
        (id, iss)
    };
    bench.with_stream(id, |stream| {
        stream.write(&[7; 5_000]);
        stream.shutdown_write();
    });
    bench.send(bench.header(IRS.advance(3_000), iss.advance(1), ACK), b"early");
    let sent = bench.sent();
    assert!(sent.len() > 4);
    for segment in sent {
        let options = segment.header.options;
        assert_eq!((options.mss, options.window_scale, options.sack_permitted), (None, None, false), "{segment:?}");
    }
}

#[test]
fn must_5_options_are_taken_in_any_segment() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    let options = TcpOptions { mss: Some(99), window_scale: Some(9), sack_permitted: true, ..TcpOptions::default() };
    let header = TcpHeader { options, ..bench.header(IRS.advance(1), iss.advance(1), ACK) };
    bench.send(header, b"data");
    bench.with_stream(id, |stream| {
        assert_eq!(stream.readable(), b"data");
        stream.write(&[7; 3_000]);
    });
    assert_eq!(bench.sent()[0].data.len(), 1_460, "what only a SYN may say changes nothing later");
}

#[test]
fn must_41_a_new_listener_disturbs_no_connection() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    assert!(bench.stack.listen(None, PORT).is_err(), "somebody does");
    bench.stack.listen(Some(bench.ours), PORT).unwrap();
    bench.stack.listen(None, PORT + 1).unwrap();
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"still here");
    bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"still here"));
    assert_eq!(bench.stack.flow_counts(), (1, 0, 0));
}

#[test]
fn must_42_two_addresses_share_a_port() {
    let own = |text: &str| LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Own };
    let addresses = vec![own("198.18.0.1/24"), own("198.18.0.3/24")];
    let mut bench = Bench::new();
    bench.stack = Stack::new(StackConfig::default(), OURS, addresses, Secrets::from_seed(1));
    let (first, second) = (bench.ours, "198.18.0.3".parse().unwrap());
    bench.stack.listen(Some(first), PORT).unwrap();
    bench.stack.listen(Some(second), PORT).unwrap();
    let mut locals = Vec::new();
    for address in [first, second] {
        bench.ours = address;
        let (id, _) = bench.connect();
        locals.push(bench.with_stream(id, |stream| stream.local_addr().ip()));
    }
    assert_eq!(locals, [first, second]);
}

#[test]
fn must_45_the_local_address_stays_and_must_49_the_hop_limit_is_configured() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let tcp = crate::config::TcpConfig { hop_limit: 7, ..Default::default() };
        let config = StackConfig { tcp, ..StackConfig::default() };
        let addresses = ["198.18.0.1/24", "198.18.0.3/24", "2001:2::1/64", "2001:2::3/64"]
            .map(|text| LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Own });
        bench.stack = Stack::new(config, OURS, addresses.to_vec(), Secrets::from_seed(1));
        bench.stack.listen(None, PORT).unwrap();
        let mut all = Vec::new();
        bench.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
        all.extend(bench.frames());
        let Packet::Tcp(_, answer) = wire::parse(&all[0], ChecksumPolicy::Verify).unwrap().packet else { panic!() };
        let iss = answer.header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"data");
        let Some(Event::Accepted(id, _)) = bench.stack.poll_event() else { panic!("a connection was expected") };
        bench.with_stream(id, |stream| stream.write(b"answer"));
        all.extend(bench.frames());
        bench.with_stream(id, |stream| stream.abort());
        all.extend(bench.frames());
        assert!(all.len() >= 3);
        for frame in all {
            let Packet::Tcp(ip, _) = wire::parse(&frame, ChecksumPolicy::Verify).unwrap().packet else { panic!() };
            assert_eq!((ip.source, ip.hop_limit), (bench.ours, 7));
        }
    }
}

#[test]
fn must_9_numbers_of_passive_opens_cannot_be_told_from_others() {
    // Every one is a cookie under a keyed hash: one port's number tells nothing of the next one's, or of the same one's a
    // moment later in another stack.
    let number = |seed, port| {
        let mut bench = Bench::new();
        let own = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Own };
        bench.stack = Stack::new(StackConfig::default(), OURS, vec![own], Secrets::from_seed(seed));
        bench.stack.listen(None, PORT).unwrap();
        bench.port = port;
        bench.send_syn(TcpOptions::default());
        bench.sent_one().header.seq
    };
    let numbers: Vec<SeqNumber> = (1..200).map(|port| number(1, port)).collect();
    let is_near = |pair: &[SeqNumber]| pair[1].since(pair[0]).min(pair[0].since(pair[1])) < 1 << 10;
    assert!(numbers.windows(2).filter(|pair| is_near(pair)).count() < 3);
    assert_ne!(number(1, 7), number(2, 7));
}

#[test]
fn shld_2_a_reset_with_data_is_a_reset() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"because I say so");
    closed(&bench.events(), id, CloseReason::ResetByPeer);
}
