//! Connections in virtual time: scripted conversations, two of them over a bad wire, and the parts against models.

mod acks;
mod closing;
mod cookies;
mod ecn;
mod flight;
mod handshake;
mod karn;
mod liveness;
mod lossy;
mod overtaken;
mod parts;
mod path_mtu;
mod predicted;
mod prr;
mod rack;
mod receiving;
mod recorder;
mod rfc9293;
mod sack;
mod sending;
mod shrinking;
mod speed;
mod spurious;
mod tail_probe;
mod timestamps;
mod urgent;
mod windows;

use super::{Connection, Handshake, MaxSegment, SentKind, timers::Timer};
use crate::{
    config::{CongestionControl, TcpConfig},
    drops::DropReason,
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, LinkHeader, MacAddress, Packet, Segment, SeqNumber, TcpFlags,
        TcpHeader,
    },
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const PSH: TcpFlags = TcpFlags::PSH;
const RST: TcpFlags = TcpFlags::RST;
const SYN: TcpFlags = TcpFlags::SYN;
const URG: TcpFlags = TcpFlags::URG;

/// Where both sides' sequence numbers begin: close enough to the end that every test of some length wraps.
const ISS: SeqNumber = SeqNumber::new(u32::MAX - 2_000);
const IRS: SeqNumber = SeqNumber::new(u32::MAX - 1_000);

const MSS: u32 = 1_460;

fn tuple() -> FourTuple {
    let end = |last, port| Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, last)), port };
    FourTuple { local: end(1, 80), remote: end(2, 40_000) }
}

/// Reno's windows are easier to follow, and so are acknowledgments that do not depend on what came before.
fn quiet() -> TcpConfig {
    TcpConfig { congestion_control: CongestionControl::Reno, quick_acks: 0, ..TcpConfig::default() }
}

fn handshake() -> Handshake {
    let (source, destination) = (MacAddress([2, 0, 0, 0, 0, 1]), MacAddress([2, 0, 0, 0, 0, 2]));
    let link = LinkHeader { source, destination, ..LinkHeader::default() };
    let peer_mss = MSS as u16;
    Handshake {
        tuple: tuple(),
        link,
        iss: ISS,
        irs: IRS,
        peer_mss,
        peer_window_scale: None,
        sack: false,
        ecn: false,
        clocks: None,
        max_segment: MaxSegment::default(),
    }
}

/// A segment that the connection under test has sent. Sequence numbers are relative: 0 is the SYN, 1 the first octet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
    data: Vec<u8>,
    kind: SentKind,
}

/// One connection, a clock, and a peer that says what the test wants it to say.
struct Bench {
    connection: Connection,
    config: TcpConfig,
    now: Instant,
}

impl Bench {
    /// A connection whose peer has offered a window of 64,000 octets.
    fn new() -> Self {
        Self::with(quiet(), &handshake())
    }

    fn with(config: TcpConfig, handshake: &Handshake) -> Self {
        let now = Instant::from_millis(1_000);
        let connection = Connection::established(config.at(now), handshake);
        let mut bench = Self { connection, config, now };
        bench.receive(1, 1, ACK, b"");
        assert_eq!(bench.sent(), [], "the handshake's last segment is not answered");
        bench
    }

    /// The peer sends a segment, its numbers relative.
    #[track_caller]
    fn receive(&mut self, seq: u32, ack: u32, flags: TcpFlags, data: &[u8]) {
        self.receive_with_window(seq, ack, flags, 64_000, data);
    }

    #[track_caller]
    fn receive_with_window(&mut self, seq: u32, ack: u32, flags: TcpFlags, window: u16, data: &[u8]) {
        assert_eq!(self.arrive(seq, ack, flags, window, data), Ok(()));
    }

    /// The peer sends a segment that must be refused.
    #[track_caller]
    fn refuse(&mut self, seq: u32, ack: u32, flags: TcpFlags, data: &[u8], reason: DropReason) {
        assert_eq!(self.arrive(seq, ack, flags, 64_000, data), Err(reason));
    }

    fn arrive(&mut self, seq: u32, ack: u32, flags: TcpFlags, window: u16, data: &[u8]) -> Result<(), DropReason> {
        let header = TcpHeader {
            source_port: 40_000,
            destination_port: 80,
            seq: IRS.advance(seq),
            ack: ISS.advance(ack),
            flags,
            window,
            ..TcpHeader::default()
        };
        let link = *self.connection.link();
        self.connection.arrive(self.config.at(self.now), &link, &Segment { header, payload: data, traffic_class: 0 })
    }

    /// Everything the connection has to send now.
    fn sent(&mut self) -> Vec<Sent> {
        let mut buffer = vec![0; 2_000];
        let mut sent = Vec::new();
        while let Some((length, kind)) = self.connection.poll_transmit(self.config.at(self.now), &mut buffer) {
            let frame = wire::parse(&buffer[..length], ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(_, segment) = frame.packet else { panic!("a connection sends TCP") };
            sent.push(Sent {
                seq: segment.header.seq.since(ISS),
                ack: segment.header.ack.since(IRS),
                flags: segment.header.flags,
                window: segment.header.window,
                data: segment.payload.to_vec(),
                kind,
            });
            assert!(sent.len() < 10_000, "a connection does not send without end");
        }
        sent
    }

    /// Sequence number and length of everything the connection has to send now.
    fn sent_ranges(&mut self) -> Vec<(u32, usize)> {
        self.sent().iter().map(|sent| (sent.seq, sent.data.len())).collect()
    }

    /// The one segment the connection has to send now.
    #[track_caller]
    fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Lets time pass, as far as the next timer and with it.
    #[track_caller]
    fn wait_for_timer(&mut self) -> Duration {
        let deadline = self.connection.poll_timeout().expect("a timer runs");
        let waited = deadline - self.now;
        self.now = self.now.max(deadline);
        self.connection.handle_timeout(self.config.at(self.now));
        waited
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.connection.handle_timeout(self.config.at(self.now));
    }

    #[track_caller]
    fn write(&mut self, length: usize) {
        assert_eq!(self.connection.write(&pattern(0, length), &self.config), length);
    }

    fn is_armed(&self, timer: Timer) -> bool {
        self.connection.timers.is_armed(timer)
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.connection.readable().is_empty() {
            let piece = self.connection.readable().to_vec();
            self.connection.consume(piece.len());
            all.extend(piece);
        }
        all
    }
}

/// Octets that tell their position.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|position| (position % 251) as u8).collect()
}
