//! The stack on a wire of its own: frames in, frames and events out, in virtual time.

mod again;
mod alone;
mod beginnings;
mod coming_and_going;
mod connecting;
mod cookies;
mod counted;
mod ecn;
mod ends;
mod explained;
mod flows;
mod handshakes;
mod hostile;
mod icmp_in;
mod icmp_out;
mod interfaces;
mod link;
mod listing;
mod max_segment;
mod memory;
mod moving;
mod neighbours;
mod offers;
mod pairs;
mod parting;
mod parts;
mod path_mtu;
mod rfc9293;
mod routes;
mod sharing;
mod silence;
mod sleeping;
mod strangers;
mod streams;
mod time_wait;
mod timestamps;
mod udp;
mod used;
mod via;

use super::{
    Cidr, ConnectionId, Event, FlowFingerprint, FlowObserver, LocalAddress, Ownership, Secrets, SoftError, Stack,
    SynMode,
};
use crate::{
    config::StackConfig,
    drops::DropReason,
    tcp::{CloseReason, State},
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, IcmpMessage, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet,
        Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions, arp::Operation,
    },
};
use std::{net::IpAddr, time::Duration};

const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;
const SYN: TcpFlags = TcpFlags::SYN;

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const PORT: u16 = 80;

/// The client's first sequence number.
const IRS: SeqNumber = SeqNumber::new(u32::MAX - 5);

/// A segment the stack has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    link: LinkHeader,
    tuple: FourTuple,
    header: TcpHeader,
    data: Vec<u8>,
}

impl Sent {
    fn has(&self, flags: TcpFlags) -> bool {
        self.header.flags == flags
    }
}

/// A stack at 198.18.0.1 and 2001:2::1 that listens on port 80, and a client at the other end of the wire.
struct Bench {
    stack: Stack,
    now: Instant,
    link: LinkHeader,
    ours: IpAddr,
    theirs: IpAddr,
    port: u16,
}

impl Bench {
    fn new() -> Self {
        // Whatever a test does, it does with connections that fall asleep whenever they can.
        Self::with(StackConfig { max_awake: 0, ..StackConfig::default() })
    }

    fn with(config: StackConfig) -> Self {
        let own = |text: &str| LocalAddress { cidr: text.parse::<Cidr>().unwrap(), ownership: Ownership::Own };
        let addresses = vec![own("198.18.0.1/24"), own("2001:2::1/64")];
        let mut stack = Stack::new(config, OURS, addresses, Secrets::from_seed(1));
        stack.listen(None, PORT).unwrap();
        let link = LinkHeader { destination: OURS, source: THEIRS, ..LinkHeader::default() };
        let (ours, theirs) = ("198.18.0.1".parse().unwrap(), "198.18.0.2".parse().unwrap());
        Self { stack, now: Instant::from_millis(1_000), link, ours, theirs, port: 40_000 }
    }

    fn over_ipv6(mut self) -> Self {
        (self.ours, self.theirs) = ("2001:2::1".parse().unwrap(), "2001:2::2".parse().unwrap());
        self
    }

    fn tuple(&self) -> FourTuple {
        let local = Endpoint { address: self.ours, port: PORT };
        FourTuple { local, remote: Endpoint { address: self.theirs, port: self.port } }
    }

    fn state(&self) -> State {
        self.stack.state_of(&self.tuple())
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.stack.drops().get(reason)
    }

    fn header(&self, seq: SeqNumber, ack: SeqNumber, flags: TcpFlags) -> TcpHeader {
        let (source_port, destination_port) = (self.port, PORT);
        TcpHeader { source_port, destination_port, seq, ack, flags, window: 64_000, ..TcpHeader::default() }
    }

    /// The client sends a segment.
    fn send(&mut self, header: TcpHeader, data: &[u8]) {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(&self.link, &ip, &header) + data.len()];
        wire::write_tcp(&self.link, &ip, &header, (data, &[]), &mut frame);
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    fn send_syn(&mut self, options: TcpOptions) {
        let syn = TcpHeader { options, ..self.header(IRS, SeqNumber::default(), SYN) };
        self.send(syn, b"");
    }

    /// Every frame the stack has to send.
    fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1_600];
        let mut frames = Vec::new();
        while let Some(length) = self.stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
            frames.push(buffer[..length].to_vec());
            assert!(frames.len() < 10_000, "a stack does not send without end");
        }
        frames
    }

    /// Every segment the stack has to send, whatever it asks its neighbours meanwhile.
    fn sent(&mut self) -> Vec<Sent> {
        let understand = |frame: &Vec<u8>| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(ip, segment) = parsed.packet else { panic!("TCP was expected: {parsed:?}") };
            let tuple = FourTuple::of_received(&ip, &segment.header).reversed();
            Sent { link: parsed.link, tuple, header: segment.header, data: segment.payload.to_vec() }
        };
        self.frames().iter().filter(|frame| !is_question(frame)).map(understand).collect()
    }

    #[track_caller]
    fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.stack.poll_event()).collect()
    }

    /// Shakes hands; returns the connection and our initial sequence number.
    #[track_caller]
    fn connect(&mut self) -> (ConnectionId, SeqNumber) {
        self.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
        let iss = self.sent_one().header.seq;
        self.send(self.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let events = self.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("a connection was expected: {events:?}") };
        assert_eq!(self.sent(), [], "the last segment of the handshake is not answered");
        (id, iss)
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.stack.handle_timeout(self.now);
    }

    #[track_caller]
    fn with_stream<T>(&mut self, id: ConnectionId, act: impl FnOnce(&mut super::Stream<'_>) -> T) -> T {
        act(&mut self.stack.stream(self.now, id).expect("the connection is there"))
    }
}

/// Whether a frame asks a neighbour where it is.
fn is_question(frame: &[u8]) -> bool {
    match wire::parse(frame, ChecksumPolicy::Verify).map(|frame| frame.packet) {
        Ok(Packet::Arp(packet)) => packet.operation == Operation::Request,
        Ok(Packet::Icmp(_, message)) => matches!(message, IcmpMessage::NeighbourSolicitation { .. }),
        _ => false,
    }
}

#[track_caller]
fn closed(events: &[Event], id: ConnectionId, reason: CloseReason) {
    assert!(events.contains(&Event::Closed(id, reason)), "{events:?}");
}
