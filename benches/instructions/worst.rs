//! The worst that a single segment can cost a connection, or a single moment of its clock: what a peer does about as much as there may
//! be in flight, or out of order. Each has a bound, in instructions, that holds whatever the baseline says.

use crate::meter::Meter;
use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use xskip::{
    config::TcpConfig,
    tcp::{Connection, Handshake, MaxSegment},
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, LinkHeader, Packet, Segment, SeqNumber, TcpFlags, TcpHeader,
        TcpOptions, checksum::Checksum, tcp_options::SackBlocks,
    },
};

/// Something that is bad for us, and the most it may take.
struct Worst {
    name: &'static str,
    bound: f64,
    path: fn(&mut Meter),
}

const fn worst(name: &'static str, bound: f64, path: fn(&mut Meter)) -> Worst {
    Worst { name, bound, path }
}

/// All of them, with a fifth to spare. The most in flight are 8,192 segments, and the most out of order 4,096 pieces. Whatever is paid
/// for each of these is paid once: to report, lose or acknowledge it again, the peer must let it be sent again first. What he can do
/// as often as he likes takes no more than a few usual segments.
const ALL: [Worst; 13] = [
    worst("worst: all in flight reported", 1_200_000.0, |meter| reported(meter, false)),
    worst("worst: the same reported again", 5_000.0, |meter| reported(meter, true)),
    worst("worst: every other one reported", 9_000.0, alternately),
    worst("worst: all in flight found lost", 400_000.0, |meter| found_lost(meter, false)),
    worst("worst: none of it lost after all", 19_000.0, |meter| found_lost(meter, true)),
    worst("worst: all in flight acknowledged", 1_650_000.0, acknowledged),
    worst("worst: time-out, all in flight", 330_000.0, timed_out),
    worst("worst: all in flight too big", 1_200_000.0, too_big),
    worst("worst: a piece amid 4,095 others", 6_500.0, amid_pieces),
    worst("worst: many holes filled at once", 9_000.0, |meter| filled(meter, 1_460)),
    worst("worst: the last of 4,096 holes", 1_800.0, last_hole),
    worst("worst: options of 40 NOPs", 1_200.0, |meter| parsed(meter, &full_of_nops())),
    worst("worst: 1,422 options before TCP", 13_000.0, |meter| parsed(meter, &behind_options())),
];

/// Walks all of them.
pub fn walk() {
    for Worst { name, path, .. } in ALL {
        let mut meter = Meter::default();
        path(&mut meter);
        meter.finish(name);
    }
}

/// Prints what was counted beside the bounds; whether all are kept.
pub fn are_bounded(counted: &BTreeMap<String, f64>) -> bool {
    println!("{:<36} {:>12} {:>12}", "instructions at the worst", "bound", "now");
    let mut kept = true;
    for Worst { name, bound, .. } in ALL {
        let now = counted.get(name).copied().unwrap_or(f64::INFINITY);
        println!("{name:<36} {bound:>12.0} {now:>12.1}");
        if now > bound {
            eprintln!(
                "\"{name}\" takes more than its bound allows. A peer may do that as often as it likes: make it cheaper."
            );
            kept = false;
        }
    }
    kept
}

const ISS: SeqNumber = SeqNumber::new(u32::MAX - 100_000);
const IRS: SeqNumber = SeqNumber::new(u32::MAX - 200_000);
/// The least that a peer can make our segments, octets.
const LEAST: u16 = 64;
const ROUND: Duration = Duration::from_millis(10);

/// A connection, and what a peer says to it. Numbers are relative: 1 is the first octet.
struct Victim {
    connection: Connection,
    config: TcpConfig,
    now: Instant,
    buffer: Vec<u8>,
    /// Behind the last octet sent.
    nxt: u32,
}

impl Victim {
    fn new(peer_mss: u16) -> Self {
        let end = |last, port| Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, last)), port };
        let handshake = Handshake {
            tuple: FourTuple { local: end(1, 80), remote: end(2, 40_000) },
            link: LinkHeader::default(),
            iss: ISS,
            irs: IRS,
            peer_mss,
            peer_window_scale: Some(14),
            sack: true,
            ecn: false,
            clocks: None,
            max_segment: MaxSegment::default(),
        };
        let (config, now) = (TcpConfig::default(), Instant::from_millis(1_000));
        let connection = Connection::established(config.at(now), &handshake);
        let mut victim = Self { connection, config, now, buffer: vec![0; 2_048], nxt: 1 };
        victim.hears(1, 1, &[], b"");
        victim
    }

    /// With as much in flight as there may be.
    fn full(peer_mss: u16) -> Self {
        let mut victim = Self::new(peer_mss);
        let mut most = 0;
        loop {
            let sent = victim.says_all();
            if sent <= most {
                return victim;
            }
            most = sent;
            let all = victim.nxt;
            if most < victim.config.max_segments {
                victim.now += ROUND;
                victim.hears(1, all, &[], b"");
            }
        }
    }

    /// Lets it write and send as much as it may; how many segments that were.
    fn says_all(&mut self) -> usize {
        let mut segments = 0;
        loop {
            let room = self.connection.room_or_wait(&self.config);
            self.connection.write(&vec![7; room], &self.config);
            let before = segments;
            while self.says().is_some() {
                segments += 1;
            }
            if segments == before {
                return segments;
            }
        }
    }

    /// The next segment: where it begins and ends.
    fn says(&mut self) -> Option<(u32, u32)> {
        let (length, _) = self.connection.poll_transmit(self.config.at(self.now), &mut self.buffer)?;
        let frame = wire::parse(&self.buffer[..length], ChecksumPolicy::Verify).expect("what is sent is well-formed");
        let Packet::Tcp(_, segment) = frame.packet else { panic!("a connection sends TCP") };
        let start = segment.header.seq.since(ISS);
        let end = start + segment.payload.len() as u32;
        self.nxt = self.nxt.max(end);
        Some((start, end))
    }

    fn hears(&mut self, seq: u32, ack: u32, blocks: &[(u32, u32)], payload: &[u8]) {
        let add = |blocks: SackBlocks, &(left, right): &(u32, u32)| {
            blocks.with(ISS.advance(left), ISS.advance(right)).expect("no more than four")
        };
        let sack = blocks.iter().fold(SackBlocks::default(), add);
        let header = TcpHeader {
            source_port: 40_000,
            destination_port: 80,
            seq: IRS.advance(seq),
            ack: ISS.advance(ack),
            flags: TcpFlags::ACK,
            window: u16::MAX,
            options: TcpOptions { sack, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        let segment = Segment { header, payload, traffic_class: 0 };
        self.connection.arrive(self.config.at(self.now), &LinkHeader::default(), &segment).expect("it is acceptable");
    }

    /// Counts what a segment of the peer costs, with what is said to it at once.
    fn suffers(&mut self, meter: &mut Meter, (seq, ack): (u32, u32), blocks: &[(u32, u32)], payload: &[u8]) {
        meter.count(|| {
            self.hears(seq, ack, blocks, payload);
            self.connection.poll_transmit(self.config.at(self.now), &mut self.buffer)
        });
        meter.items(1);
    }

    /// Where the oldest segment in flight begins, if each has the least size.
    fn una(&self) -> u32 {
        self.nxt - self.config.max_segments as u32 * u32::from(LEAST)
    }
}

/// Four reports at once, each from a segment on to the end.
fn reported(meter: &mut Meter, again: bool) {
    let mut victim = Victim::full(LEAST);
    let (una, nxt) = (victim.una(), victim.nxt);
    let blocks = [1, 2, 3, 4].map(|number| (una + number * u32::from(LEAST), nxt));
    victim.now += ROUND;
    if again {
        victim.hears(1, una, &blocks, b"");
        while victim.says().is_some() {}
    }
    victim.suffers(meter, (1, una), &blocks, b"");
}

/// The last of many reports of every other segment.
fn alternately(meter: &mut Meter) {
    let mut victim = Victim::full(LEAST);
    let (una, least) = (victim.una(), u32::from(LEAST));
    victim.now += ROUND;
    let block = |number: u32| (una + (2 * number + 1) * least, una + (2 * number + 2) * least);
    for number in 1..4_095 {
        victim.hears(1, una, &[block(number)], b"");
        while victim.says().is_some() {}
    }
    victim.suffers(meter, (1, una), &[2_000, 2_001, 2_002, 4_095].map(block), b"");
}

/// The last one is reported, so all others are lost; and then, by a D-SACK, they are not.
fn found_lost(meter: &mut Meter, undone: bool) {
    let mut victim = Victim::full(LEAST);
    let (una, nxt, least) = (victim.una(), victim.nxt, u32::from(LEAST));
    victim.now += 10 * ROUND;
    victim.hears(1, una, &[(nxt - least, nxt)], b"");
    // The others may have been overtaken only: that takes a quarter of a round trip to tell (RFC 8985 §6.2).
    victim.now = victim.connection.poll_timeout().expect("they are looked at again");
    if !undone {
        meter.count(|| {
            victim.connection.handle_timeout(victim.config.at(victim.now));
            victim.connection.poll_transmit(victim.config.at(victim.now), &mut victim.buffer)
        });
        return meter.items(1);
    }
    victim.connection.handle_timeout(victim.config.at(victim.now));
    let again: Vec<_> = std::iter::from_fn(|| victim.says()).filter(|(start, end)| start < end).collect();
    let (last, before) = again.split_last().expect("something is sent again");
    let ack = last.1;
    for &block in before {
        victim.hears(1, ack, &[block], b"");
    }
    let (window, lost) = (victim.connection.congestion_window(), *last);
    victim.suffers(meter, (1, ack), &[lost], b"");
    assert!(victim.connection.congestion_window() > window, "it is undone");
}

/// All of it, where something was reported, so that each has to be looked at.
fn acknowledged(meter: &mut Meter) {
    let mut victim = Victim::full(LEAST);
    let (una, nxt, least) = (victim.una(), victim.nxt, u32::from(LEAST));
    victim.hears(1, una, &[(una + least, una + 2 * least)], b"");
    victim.suffers(meter, (1, nxt), &[], b"");
}

/// The probe of the tail, which nobody answers, and the time-out behind it.
fn timed_out(meter: &mut Meter) {
    let mut victim = Victim::full(LEAST);
    while victim.connection.congestion_window() > u32::from(LEAST) {
        victim.now = victim.connection.poll_timeout().expect("a timer runs");
        meter.count(|| victim.connection.handle_timeout(victim.config.at(victim.now)));
        meter.count(|| victim.connection.poll_transmit(victim.config.at(victim.now), &mut victim.buffer));
        while victim.says().is_some() {}
    }
    meter.items(1);
}

/// A router that takes next to nothing.
fn too_big(meter: &mut Meter) {
    let mut victim = Victim::full(1_460);
    meter.count(|| {
        let limited =
            victim.connection.limit_path(victim.config.at(victim.now), 552, victim.now + Duration::from_secs(600));
        limited.expect("it is believed");
        victim.connection.poll_transmit(victim.config.at(victim.now), &mut victim.buffer)
    });
    meter.items(1);
}

/// A peer that has sent every other octet, so many times, but for `left_out`.
fn in_pieces(pieces: u32, left_out: u32) -> Victim {
    let mut victim = Victim::new(1_460);
    for number in (0..pieces).filter(|&number| number != left_out) {
        victim.hears(2 + 2 * number, 1, &[], b"x");
    }
    while victim.says().is_some() {}
    victim
}

fn amid_pieces(meter: &mut Meter) {
    let mut victim = in_pieces(4_096, 2_048);
    victim.suffers(meter, (2 + 2 * 2_048, 1), &[], b"x");
}

fn filled(meter: &mut Meter, octets: usize) {
    let mut victim = in_pieces(4_096, u32::MAX);
    let payload = vec![b'x'; octets];
    victim.suffers(meter, (1, 1), &[], &payload);
}

fn last_hole(meter: &mut Meter) {
    let mut victim = in_pieces(4_096, u32::MAX);
    for number in 1..4_096 {
        victim.hears(1 + 2 * number, 1, &[], b"x");
    }
    victim.suffers(meter, (1, 1), &[], b"x");
    assert_eq!(victim.connection.readable_len(), 8_192, "all is there");
}

/// A frame that is long to read, though there is nothing wrong with it.
fn parsed(meter: &mut Meter, frame: &[u8]) {
    let is_good = meter.count(|| black_box(wire::parse(black_box(frame), ChecksumPolicy::Verify)).is_ok());
    assert!(is_good, "it is well-formed");
    meter.items(1);
}

/// An Ethernet header.
fn ethernet(protocol: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(protocol.to_be_bytes());
    frame
}

/// A segment with such options, its sum over this pseudo-header's addresses included.
fn tcp_behind(addresses: &[u8], options: &[u8]) -> Vec<u8> {
    let offset = ((20 + options.len() as u8) / 4) << 4;
    let mut tcp = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, offset, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    tcp.extend(options);
    let pseudo = [addresses, &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
    let sum = Checksum::of(&[pseudo, tcp.clone()].concat()).field();
    tcp[16..18].copy_from_slice(&sum);
    tcp
}

fn full_of_nops() -> Vec<u8> {
    let addresses = [198, 18, 0, 2, 198, 18, 0, 1];
    let tcp = tcp_behind(&addresses, &[1; 40]);
    let mut ip = vec![0x45, 0, 0, 20 + tcp.len() as u8, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(addresses);
    let sum = Checksum::of(&ip).field();
    ip[10..12].copy_from_slice(&sum);
    [ethernet(0x0800), ip, tcp].concat()
}

/// As many destination options as a frame has room for: an octet of padding each.
fn behind_options() -> Vec<u8> {
    const LENGTH: usize = 1_424;
    let end = |last| std::net::Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, last).octets();
    let addresses = [end(2), end(1)].concat();
    let tcp = tcp_behind(&addresses, &[]);
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(((LENGTH + tcp.len()) as u16).to_be_bytes());
    ip.extend([60, 64]);
    ip.extend(addresses);
    ip.extend([6, (LENGTH / 8 - 1) as u8]);
    ip.extend([0; LENGTH - 2]);
    [ethernet(0x86dd), ip, tcp].concat()
}
