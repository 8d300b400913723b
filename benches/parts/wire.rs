//! What is done with every segment before its connection hears of it, and what a handshake costs in cookies.

use divan::{Bencher, black_box, counter::BytesCount};
use std::{net::Ipv4Addr, time::Duration};
use xskip::{
    rng::{SipKey, splitmix64},
    stack::{Flow, FlowTable, Secrets},
    tcp::{
        Offer,
        cookie::{CookieJar, MasterKey},
    },
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, IpHeader, LinkHeader, Packet, Protocol, SeqNumber, TcpFlags,
        TcpHeader, TcpOptions, checksum::Checksum, tcp_options::Timestamps,
    },
};

const SEGMENT: [usize; 3] = [0, 64, 1_448];
const NOW: Instant = Instant::from_millis(1_000);

/// A server's 4-tuple of this number.
fn tuple(number: u32) -> FourTuple {
    let end = |address: u32, port: u32| Endpoint { address: Ipv4Addr::from(address).into(), port: port as u16 };
    FourTuple { local: end(0xc612_0001, 80), remote: end(0x0a00_0000 + number / 50_000, 10_000 + number % 50_000) }
}

/// A segment from that client with so many octets of data, and timestamps.
fn segment(number: u32, octets: usize) -> Vec<u8> {
    let FourTuple { local, remote } = tuple(number);
    let link = LinkHeader::default();
    let ip = IpHeader::new(remote.address, local.address, Protocol::Tcp);
    let tcp = TcpHeader {
        source_port: remote.port,
        destination_port: local.port,
        flags: TcpFlags::ACK,
        options: TcpOptions { timestamps: Some(Timestamps { value: 1, echo: 2 }), ..TcpOptions::default() },
        ..TcpHeader::default()
    };
    let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, &tcp) + octets];
    wire::write_tcp(&link, &ip, &tcp, (&vec![0x55; octets], &[]), &mut frame);
    frame
}

/// A frame with so many octets of data becomes a value; its checksums are verified.
#[divan::bench(args = SEGMENT)]
fn parse(bencher: Bencher, octets: usize) {
    let frame = segment(0, octets);
    bencher.counter(BytesCount::new(frame.len())).bench_local(|| {
        black_box(wire::parse(black_box(&frame), ChecksumPolicy::Verify)).expect("it is a good frame");
    });
}

/// From a frame of a request to its flow, among so many.
#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn parse_and_find(bencher: Bencher, flows: u32) {
    /// Frames, which fit in a cache, of flows all over the table.
    const FRAMES: u32 = 1_024;
    let secrets = Secrets::from_seed(1);
    let tuples: Vec<FourTuple> = (0..flows).map(tuple).collect();
    let mut table = FlowTable::new(tuples.len());
    for (number, tuple) in (0..).zip(&tuples) {
        table.insert(secrets.hash_flow(tuple), Flow::Connection(number));
    }
    let frames: Vec<Vec<u8>> =
        (0..FRAMES).map(|number| segment((splitmix64(number.into()) % u64::from(flows)) as u32, 64)).collect();
    let mut turns = frames.iter().cycle();
    bencher.bench_local(|| {
        let frame = turns.next().expect("it is a circle");
        let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("it is a good frame");
        let Packet::Tcp(ip, segment) = parsed.packet else { unreachable!("it is a segment") };
        let tuple = FourTuple::of_received(&ip, &segment.header);
        let is_it = |flow| matches!(flow, Flow::Connection(index) if tuples[index as usize] == tuple);
        black_box(table.find(secrets.hash_flow(&tuple), is_it)).expect("it is there");
    });
}

/// The keyed hash of a 4-tuple.
#[divan::bench]
fn hash_flow(bencher: Bencher) {
    let (secrets, tuple) = (Secrets::from_seed(1), tuple(1));
    bencher.bench_local(|| secrets.hash_flow(black_box(&tuple)));
}

/// The sum over so many octets.
#[divan::bench(args = [20, 64, 1_460, 9_000])]
fn checksum(bencher: Bencher, octets: usize) {
    let data = vec![0x55; octets];
    bencher.counter(BytesCount::new(octets)).bench_local(|| Checksum::of(black_box(&data)).field());
}

const OFFER: Offer = Offer { mss: 1_460, window_scale: Some(7), sack: true, ecn: false, timestamps: false };

fn jar() -> CookieJar {
    CookieJar::new(MasterKey::new(SipKey::from_seed(1)), Duration::ZERO)
}

/// What answers a SYN.
#[divan::bench]
fn make_cookie(bencher: Bencher) {
    let (mut jar, tuple) = (jar(), tuple(1));
    bencher.bench_local(|| jar.make(NOW, black_box(&tuple), SeqNumber::new(7), &OFFER));
}

/// What admits a client that nobody remembers.
#[divan::bench]
fn check_cookie(bencher: Bencher) {
    let (mut jar, tuple) = (jar(), tuple(1));
    let irs = SeqNumber::new(7);
    let iss = jar.make(NOW, &tuple, irs, &OFFER).iss;
    bencher.bench_local(|| {
        let offer = jar.check(NOW, black_box(&tuple), irs, iss, None);
        assert_eq!(offer, Some(OFFER), "a cookie of ours");
    });
}
