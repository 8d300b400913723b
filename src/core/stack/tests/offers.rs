//! What our SYN offers, and what comes of that.

use super::*;
use crate::{
    config::{Ecn, TcpConfig},
    tcp::{MaxSegment, Terms},
    wire::{ip::Codepoint, tcp_options::Timestamps},
};

#[test]
fn what_is_offered_is_agreed_on() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    let offered = syn.header.options;
    assert_eq!(offered.mss, Some(1_460));
    assert!(offered.window_scale.is_some() && offered.sack_permitted);
    let ours = offered.timestamps.expect("timestamps are offered");
    let theirs = Timestamps { value: 77, echo: ours.value };
    let options =
        TcpOptions { mss: Some(1_000), window_scale: Some(2), timestamps: Some(theirs), ..TcpOptions::default() };
    bench.reply_with(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, options, b"");
    assert_eq!(bench.sent_one().header.options.timestamps.unwrap().echo, 77);
    bench.with_stream(id, |stream| stream.write(&[7; 2_000]));
    let sizes: Vec<usize> = bench.sent().iter().map(|sent| sent.data.len()).collect();
    assert_eq!(sizes, [988, 988, 24], "the peer's MSS, without the timestamps");
}

#[test]
fn no_more_is_offered_than_another_connection_has() {
    let tcp = TcpConfig { ecn: Ecn::Passive, ..TcpConfig::default() };
    let all = Terms { max_segment: MaxSegment::new(1_000), ..Terms::default() };
    for (timestamps, sack, ecn) in [(true, true, true), (false, true, false), (true, false, false)] {
        let mut bench = Bench::with(StackConfig { tcp: tcp.clone(), ..StackConfig::default() });
        let terms = Terms { timestamps, sack, ecn, ..all };
        let id = bench.begin();
        bench.with_stream(id, |stream| assert!(stream.offer(terms)));
        let neighbour = bench.asked();
        bench.answer(neighbour);
        let syn = bench.sent_one();
        let options = &syn.header.options;
        assert_eq!((options.timestamps.is_some(), options.sack_permitted), (timestamps, sack));
        assert_eq!((options.mss, syn.has(SYN | TcpFlags::ECE | TcpFlags::CWR)), (Some(1_000), ecn));
        // Who takes all the same what was not offered, does so alone.
        let stamps = Timestamps { value: 77, echo: options.timestamps.map_or(0, |ours| ours.value) };
        let options =
            TcpOptions { mss: Some(1_460), sack_permitted: true, timestamps: Some(stamps), ..Default::default() };
        bench.reply_with(&syn, IRS, syn.header.seq.advance(1), SYN | ACK | TcpFlags::ECE, options, b"");
        assert!(bench.sent_one().has(ACK));
        bench.with_stream(id, |stream| {
            assert_eq!(stream.terms(), terms);
            assert!(!stream.offer(all), "the SYN has been sent");
        });
    }
}

#[test]
fn shld_8_our_own_syn_asks_for_ecn_where_that_is_configured() {
    const ECE: TcpFlags = TcpFlags::ECE;
    const CWR: TcpFlags = TcpFlags::CWR;
    let cases = [
        (Ecn::Active, SYN | ECE | CWR, ECE, Codepoint::Capable0),
        (Ecn::Active, SYN | ECE | CWR, ECE | CWR, Codepoint::NotCapable),
        (Ecn::Active, SYN | ECE | CWR, TcpFlags::empty(), Codepoint::NotCapable),
        (Ecn::Passive, SYN, ECE, Codepoint::NotCapable),
    ];
    for (ecn, asks, answer, expected) in cases {
        let tcp = TcpConfig { ecn, ..TcpConfig::default() };
        let mut bench = Bench::with(StackConfig { tcp, ..StackConfig::default() });
        let id = bench.begin();
        let neighbour = bench.asked();
        bench.answer(neighbour);
        let syn = bench.sent_one();
        assert!(syn.has(asks), "{syn:?}");
        bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK | answer, b"");
        assert!(bench.sent_one().has(ACK));
        bench.with_stream(id, |stream| stream.write(&[7; 20_000]));
        let frames = bench.frames();
        assert_eq!(frames.len(), 10, "the SYN-ACK's ECE echoes no mark");
        for frame in frames {
            let parsed = wire::parse(&frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(ip, segment) = parsed.packet else { panic!("TCP was expected: {parsed:?}") };
            assert_eq!(Codepoint::of(ip.traffic_class), expected);
            assert!(!segment.has(CWR), "{segment:?}");
        }
    }
}
