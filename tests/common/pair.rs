//! A stack and the XDP program beside it, with the same addresses and secrets: what does either make of a frame?

use std::net::{IpAddr, SocketAddr};

use super::cases::cases;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use xskip::{
    config::StackConfig,
    stack::{Addresses, Cidr, LocalAddress, Ownership, Secrets, Stack, SynAckProfile, SynMode},
    tcp::MaxSegment,
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, Protocol, SeqNumber,
        TcpFlags, TcpHeader,
    },
    xdp::{Action, Program, ProgramOptions, Service, Steering, SynAckFields, Unfinished},
};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
pub const XDP_REDIRECT: u32 = 4;

pub const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
pub const PORT: u16 = 80;
pub const SYN: TcpFlags = TcpFlags::SYN;
pub const ACK: TcpFlags = TcpFlags::ACK;
pub const RST: TcpFlags = TcpFlags::RST;
pub const FIN: TcpFlags = TcpFlags::FIN;

/// A stack and a program with the same addresses and secrets.
pub struct Pair {
    pub program: Program,
    pub stack: Stack,
    pub now: Instant,
}

/// What the program is told of a listener's SYN-ACKs.
pub fn syn_ack_fields(answer: SynAckProfile) -> SynAckFields {
    let SynAckProfile { mss, window, window_scale, sack, hop_limit, traffic_class } = answer;
    SynAckFields { mss, window, window_scale, sack, hop_limit, traffic_class }
}

pub fn ours(ipv6: bool) -> IpAddr {
    if ipv6 { "2001:2::1".parse().unwrap() } else { "198.18.0.1".parse().unwrap() }
}

pub fn theirs(ipv6: bool) -> IpAddr {
    if ipv6 { "2001:2::2".parse().unwrap() } else { "198.18.0.2".parse().unwrap() }
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        let own = |text: &str| LocalAddress { cidr: text.parse::<Cidr>().unwrap(), ownership: Ownership::Own };
        Self::with(seed, StackConfig::default(), vec![own("198.18.0.1/24"), own("2001:2::1/64")])
    }

    /// A pair that listens at all of its addresses.
    pub fn with(seed: u64, config: StackConfig, addresses: Vec<LocalAddress>) -> Self {
        let (secrets, now) = (Secrets::from_seed(seed), Instant::from_millis(seed % 1_000_000));
        let places = |of| addresses.iter().filter(move |local| local.ownership == of).map(|local| local.cidr.address);
        let steering = Steering {
            station: OURS.0,
            vlan: config.vlan,
            own: places(Ownership::Own).collect(),
            shared: places(Ownership::Shared).map(|address| SocketAddr::new(address, PORT)).collect(),
            impossible_sources: Addresses::new(addresses.clone()).impossible_sources(),
            ..Steering::default()
        };
        let station = config.answers_to;
        let unfinished = match config.checksums {
            ChecksumPolicy::Verify => Unfinished::Refused,
            ChecksumPolicy::AcceptPartial => Unfinished::Taken,
        };
        let mut stack = Stack::new(config, OURS, addresses.clone(), secrets);
        // Every other pair announces less than the link takes.
        let limit = if seed.is_multiple_of(2) { MaxSegment::default() } else { MaxSegment::new(1_000) };
        stack.listen_with(None, PORT, limit).unwrap();
        stack.set_syn_mode(SynMode::Cookie);
        let program = Program::load(&steering, &ProgramOptions::default()).unwrap();
        let guard = program.guard();
        for local in &addresses {
            let address = local.cidr.address;
            let fields = syn_ack_fields(stack.syn_ack_profile(Endpoint { address, port: PORT }));
            let service = Service::tcp(SocketAddr::new(address, PORT));
            program.services().serve(service, Action::Guarded(fields)).unwrap();
        }
        station.iter().for_each(|station| guard.set_answers_to(station.0));
        guard.set_unfinished(unfinished);
        let epoch = stack.cookies().epoch(now);
        for epoch in [epoch.saturating_sub(1), epoch] {
            guard.set_epoch_key(epoch, stack.cookies().key_of(epoch));
        }
        guard.begin_epoch(epoch);
        guard.arm(true);
        guard.settle();
        Self { program, stack, now }
    }

    /// What the program makes of a frame.
    pub fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.program.test_run(frame).unwrap()
    }

    /// What the stack answers.
    pub fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.stack.handle_frame(self.now, InterfaceId::FIRST, frame);
        let mut buffer = vec![0; 2_000];
        let length = self.stack.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer)?;
        buffer.truncate(length);
        Some(buffer)
    }
}

pub fn frame(link: &LinkHeader, ipv6: bool, tcp: &TcpHeader, data: &[u8]) -> Vec<u8> {
    let ip = IpHeader::new(theirs(ipv6), ours(ipv6), Protocol::Tcp);
    let mut frame = vec![0; wire::tcp_frame_len(link, &ip, tcp) + data.len()];
    wire::write_tcp(link, &ip, tcp, (data, &[]), &mut frame);
    frame
}

pub fn link() -> LinkHeader {
    LinkHeader { destination: OURS, source: THEIRS, ..LinkHeader::default() }
}

pub fn header(flags: TcpFlags, seq: u32, ack: u32) -> TcpHeader {
    let (source_port, destination_port) = (40_000, PORT);
    let (seq, ack) = (SeqNumber::new(seq), SeqNumber::new(ack));
    TcpHeader { source_port, destination_port, seq, ack, flags, window: 64_000, ..TcpHeader::default() }
}

/// The numbers of a SYN-ACK.
pub fn read(frame: &[u8]) -> TcpHeader {
    let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("an answer is well-formed");
    let Packet::Tcp(_, segment) = parsed.packet else { panic!("{parsed:?}") };
    segment.header
}

/// Runs a test with so many cases ([`cases`]).
pub fn runner(count: u32) -> TestRunner {
    TestRunner::new(cases(count))
}

/// One of several such runs, each of which has cases of its own.
pub fn runner_of(number: u64, count: u32) -> TestRunner {
    let config = cases(count);
    let rng_seed = match config.rng_seed {
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed.wrapping_add(number)),
        RngSeed::Random => RngSeed::Random,
    };
    TestRunner::new(Config { rng_seed, ..config })
}
