//! Frames in, frames out: what becomes of each field, of what is not passed on, and of the pair.

mod checksums;
mod ends;
mod fields;
mod refusals;
mod syns;
mod table;

use super::{Half, Over, Pair, Patience, Refusal, Side};
use crate::{
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, Protocol,
        SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        ethernet::VlanTags,
        tcp_options::{SackBlocks, Timestamps},
    },
};
use std::time::Duration;

const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;
const SYN: TcpFlags = TcpFlags::SYN;

/// The numbers at the switch. What the client sends next, and what it is sent next.
const CLIENT: (u32, u32) = (u32::MAX - 99, 5_000);
/// What the backend sends next, and what it is sent next.
const BACKEND: (u32, u32) = (900_000, 70_000);
/// Our clock towards each, and theirs.
const CLIENT_CLOCKS: (u32, u32) = (10_000, 700);
const BACKEND_CLOCKS: (u32, u32) = (40_000, u32::MAX - 5);
/// The scales of each, and those that each was told.
const CLIENT_SCALES: (u8, u8) = (7, 2);
const BACKEND_SCALES: (u8, u8) = (3, 9);

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const BACKENDS: MacAddress = MacAddress([2, 0, 0, 0, 0, 11]);

const NOW: Instant = Instant::from_millis(1_000);

fn end(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn half(ends: [&str; 2], station: MacAddress, (received, sent): (u32, u32)) -> Half {
    Half {
        tuple: FourTuple { local: end(ends[0]), remote: end(ends[1]) },
        link: LinkHeader { destination: station, source: OURS, ..LinkHeader::default() },
        mtu: 1_500,
        sent: SeqNumber::new(sent),
        received: SeqNumber::new(received),
        edge: SeqNumber::new(received).advance(60_000),
        reach: 60_000,
        window: 50_000,
        peer_scale: 0,
        our_scale: 0,
        clocks: None,
        follows: false,
    }
}

/// The two connections as they stand at the switch.
fn halves(is_ipv4: bool) -> [Half; 2] {
    let ends = match is_ipv4 {
        true => [["198.18.0.80:443", "203.0.113.9:40000"], ["198.18.0.1:50000", "198.18.0.11:8080"]],
        false => [["[2001:2::80]:443", "[2001:db8::9]:40000"], ["[2001:2::1]:50000", "[2001:2::11]:8080"]],
    };
    let interface = InterfaceId::at(1).unwrap();
    let mut client = half(ends[0], ROUTER, CLIENT);
    let mut backend = half(ends[1], BACKENDS, BACKEND);
    (client.clocks, backend.clocks) = (Some(CLIENT_CLOCKS), Some(BACKEND_CLOCKS));
    (client.peer_scale, client.our_scale) = CLIENT_SCALES;
    (backend.peer_scale, backend.our_scale) = BACKEND_SCALES;
    backend.link.interface = interface;
    [client, backend]
}

fn pair() -> Pair {
    pair_of(true)
}

fn pair_of(is_ipv4: bool) -> Pair {
    let [client, backend] = halves(is_ipv4);
    Pair::new(NOW, &client, &backend)
}

/// The header of an acknowledgment that a side sends next: so many octets after the switch each way.
fn header(from: Side, said: u32, heard: u32) -> TcpHeader {
    let (seq, ack) = if from == Side::Client { CLIENT } else { BACKEND };
    TcpHeader {
        seq: SeqNumber::new(seq).advance(said),
        ack: SeqNumber::new(ack).advance(heard),
        flags: ACK,
        window: 1_000,
        ..TcpHeader::default()
    }
}

/// The frame that a side sends to the proxy.
fn frame(pair: &Pair, from: Side, header: &TcpHeader, data: &[u8]) -> Vec<u8> {
    let (tuple, link) = (pair.tuple(from), pair.link(from));
    let header = TcpHeader { source_port: tuple.remote.port, destination_port: tuple.local.port, ..*header };
    let link = link.answered_by(link.destination);
    let link = LinkHeader { destination: OURS, source: link.source, ..link };
    let ip = IpHeader::new(tuple.remote.address, tuple.local.address, Protocol::Tcp);
    let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, &header) + data.len()];
    wire::write_tcp(&link, &ip, &header, (data, &[]), &mut frame);
    frame
}

/// What a frame says, if it is whole.
#[track_caller]
fn read(frame: &[u8]) -> (FourTuple, TcpHeader, Vec<u8>) {
    let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is translated is well-formed");
    let Packet::Tcp(ip, segment) = parsed.packet else { panic!("TCP was expected: {parsed:?}") };
    (FourTuple::of_received(&ip, &segment.header).reversed(), segment.header, segment.payload.to_vec())
}

/// A side sends a segment, and the other one gets what is returned.
#[track_caller]
fn pass(pair: &mut Pair, from: Side, header: &TcpHeader, data: &[u8]) -> TcpHeader {
    let mut frame = frame(pair, from, header, data);
    assert_eq!(pair.translate(NOW, &mut frame), Ok(from.other()), "{header:?}");
    let (tuple, translated, said) = read(&frame);
    assert_eq!(tuple, *pair.tuple(from.other()), "it comes from our end of the other connection");
    assert_eq!(said, data, "data are not touched");
    translated
}

/// A side sends a segment that goes nowhere, and leaves no trace.
#[track_caller]
fn refuse(pair: &mut Pair, from: Side, header: &TcpHeader, data: &[u8]) -> Refusal {
    let frame = frame(pair, from, header, data);
    refuse_frame(pair, &frame).unwrap_or_else(|| panic!("{header:?} passes"))
}

#[track_caller]
fn refuse_frame(pair: &mut Pair, frame: &[u8]) -> Option<Refusal> {
    let (before, mut changed) = (pair.clone(), frame.to_vec());
    let refusal = pair.translate(NOW, &mut changed).err()?;
    assert_eq!((&before, frame), (&*pair, &*changed), "neither frame nor pair has changed");
    Some(refusal)
}

fn stamps(value: u32, echo: u32) -> TcpOptions {
    TcpOptions { timestamps: Some(Timestamps { value, echo }), ..TcpOptions::default() }
}

fn blocks(list: &[(u32, u32)]) -> TcpOptions {
    let add = |blocks: SackBlocks, &(left, right): &(u32, u32)| {
        blocks.with(SeqNumber::new(left), SeqNumber::new(right)).unwrap()
    };
    TcpOptions { sack: list.iter().fold(SackBlocks::default(), add), ..TcpOptions::default() }
}
