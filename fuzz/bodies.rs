//! What the fuzz targets do with the octets they are given. Each must come to an end, and neither panic nor break a promise.

#![allow(dead_code, reason = "each target uses one of these")]

#[path = "again.rs"]
mod conversations_in_a_row;
#[path = "prefaces.rs"]
mod prefaces;

pub use conversations_in_a_row::again;
pub use prefaces::{hello, proxy};

use std::{net::IpAddr, time::Duration};
use xskip_core::{
    config::{StackConfig, TcpConfig},
    drops::DropReason,
    rng::SipKey,
    stack::{ConnectionId, Event, LocalAddress, Ownership, Secrets, Stack, SynMode},
    tcp::{
        Offer,
        cookie::{CookieJar, MasterKey},
    },
    time::Instant,
    wire::{
        self, ChecksumPolicy, Endpoint, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, Protocol,
        SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        tcp_options::{MAX_LEN, Timestamps},
    },
};

/// A frame as it comes from a wire: understood or refused, by the parser and by a stack that it is for.
pub fn frame(data: &[u8]) {
    for policy in [ChecksumPolicy::Verify, ChecksumPolicy::AcceptPartial] {
        if let Ok(parsed) = wire::parse(data, policy)
            && let Packet::Tcp(ip, segment) = parsed.packet
        {
            assert!(segment.payload.len() <= data.len() && segment.header.len() <= 60);
            assert_eq!(ip.source.is_ipv4(), ip.destination.is_ipv4());
        }
    }
    let mut stack = stack(StackConfig::default());
    stack.handle_frame(Instant::from_millis(1), InterfaceId::FIRST, data);
    drain(&mut stack, Instant::from_millis(1));
}

/// A list of TCP options: what is read can be written, and reads the same then.
pub fn options(data: &[u8]) {
    let list = &data[..data.len().min(40)];
    let Ok(read) = TcpOptions::parse(list) else { return };
    if read.len() <= MAX_LEN {
        let mut written = vec![0xee; read.len()];
        read.write(&mut written);
        assert_eq!(TcpOptions::parse(&written), Ok(read));
    }
}

/// A cookie: what is made is known again, and nothing else is.
pub fn cookie(data: &[u8]) {
    let mut octets = Octets(data);
    let mut jar = CookieJar::new(MasterKey::new(SipKey::from_seed(octets.word().into())), Duration::from_secs(1 << 30));
    let address = |word: u32, is_ipv6: bool| match is_ipv6 {
        true => IpAddr::from([word as u16, 0, 0, 0, 0, 0, 0, (word >> 16) as u16]),
        false => IpAddr::from(word.to_be_bytes()),
    };
    let flags = octets.octet();
    let is_ipv6 = flags & 1 != 0;
    let mut end = || Endpoint { address: address(octets.word(), is_ipv6), port: octets.word() as u16 };
    let tuple = FourTuple { local: end(), remote: end() };
    let irs = SeqNumber::new(octets.word());
    let offer = Offer {
        mss: octets.word() as u16,
        window_scale: (flags & 2 != 0).then(|| octets.octet() % 15),
        sack: flags & 4 != 0,
        ecn: flags & 8 != 0,
        timestamps: flags & 16 != 0,
    };
    let now = Instant::ZERO + Duration::from_millis(octets.word().into());
    let value = octets.word();
    let mut known = |offer: &Offer| {
        let made = jar.make(now, &tuple, irs, offer);
        jar.check(now, &tuple, irs, made.iss, made.timestamp.map(|echo| Timestamps { value, echo }))
    };
    // Where all was promised that was offered, what is known must be no more, and agree on scaling.
    if let Some(known) = known(&offer) {
        assert_eq!((known.window_scale.is_some(), known.timestamps), (offer.window_scale.is_some(), offer.timestamps));
        assert!(known.window_scale <= offer.window_scale && known.sack <= offer.sack && known.mss <= offer.mss);
    } else {
        assert!(!offer.timestamps, "with timestamps a cookie holds everything");
    }
    // Where no more was promised than is remembered, it is known exactly.
    if let Some(remembered) = offer.remembered(tuple.remote.address) {
        assert_eq!(known(&remembered), Some(remembered));
    }
    // Anything else: no panic. A MAC of 29 bits may be met by chance, so nothing is said of the answer.
    let guess = (octets.word() & 1 != 0).then(|| Timestamps { value: octets.word(), echo: octets.word() });
    jar.check(now, &tuple, SeqNumber::new(octets.word()), SeqNumber::new(octets.word()), guess);
}

/// A peer that does anything, an application that does anything, and a clock that goes on: each octet of `data` is a step.
pub fn conversation(data: &[u8]) {
    let mut octets = Octets(data);
    let flags = octets.octet();
    let tcp = TcpConfig {
        nagle: flags & 1 != 0,
        sack: flags & 2 != 0,
        receive_buffer: 1_000 << (flags >> 4),
        send_buffer: 1_000 << (flags >> 4),
        max_holes: 4,
        ..TcpConfig::default()
    };
    let config = StackConfig {
        tcp,
        max_connections: 3,
        max_half_open: 2,
        max_time_wait: 2,
        max_replies: 16,
        ..StackConfig::default()
    };
    let mut table = Conversation::new(stack(config));
    if flags & 4 != 0 {
        table.stack.set_syn_mode(SynMode::Cookie);
    }
    if flags & 8 != 0 {
        let remote = Endpoint { address: PEER.into(), port: 9 };
        table.ids.extend(table.stack.connect(table.now, remote, None).ok());
    }
    for _ in 0..400 {
        if octets.0.is_empty() {
            break;
        }
        table.step(&mut octets);
    }
    table.finish();
}

const OURS: [u8; 4] = [198, 18, 0, 1];
const PEER: [u8; 4] = [198, 18, 0, 2];
const OUR_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn stack(config: StackConfig) -> Stack {
    let address = LocalAddress { cidr: "198.18.0.1/24".parse().expect("an address"), ownership: Ownership::Own };
    let mut stack = Stack::new(config, OUR_MAC, vec![address], Secrets::from_seed(7));
    stack.listen(None, 80).unwrap();
    stack
}

fn drain(stack: &mut Stack, now: Instant) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 2_000];
    let mut frames = Vec::new();
    while let Some(length) = stack.poll_transmit(now, InterfaceId::FIRST, &mut buffer) {
        let parsed = wire::parse(&buffer[..length], ChecksumPolicy::Verify);
        // The answer to an echo, and an error about what is no TCP, are nothing that the parser takes in.
        let is_fine = parsed.is_ok() || matches!(parsed, Err(DropReason::IgnoredIcmp | DropReason::UnmatchedIcmp));
        assert!(is_fine, "what is sent is well-formed: {parsed:?}");
        frames.push(buffer[..length].to_vec());
        assert!(frames.len() < 100_000, "a stack does not send without end");
    }
    frames
}

/// Octets taken one after the other; zero when there are no more.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn octet(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.octet(), self.octet(), self.octet(), self.octet()])
    }
}

/// A stack, and what its peer has seen: the numbers that make a segment plausible.
struct Conversation {
    stack: Stack,
    now: Instant,
    ids: Vec<ConnectionId>,
    port: (u16, u16),
    /// The peer's next number, and the next one that it expects.
    seq: SeqNumber,
    ack: SeqNumber,
    clock: (u32, u32),
}

impl Conversation {
    fn new(stack: Stack) -> Self {
        let (seq, ack) = (SeqNumber::new(u32::MAX - 3_000), SeqNumber::new(0));
        Self { stack, now: Instant::from_millis(1_000), ids: Vec::new(), port: (40_000, 80), seq, ack, clock: (0, 0) }
    }

    fn step(&mut self, octets: &mut Octets<'_>) {
        let kind = octets.octet();
        match kind % 8 {
            0..=3 => self.send(kind, octets),
            4 => {
                // From a microsecond to half an hour.
                self.now += Duration::from_micros(1 << (octets.octet() % 31));
                self.stack.handle_timeout(self.now);
            }
            5 => self.answer_arp(),
            _ => self.act(octets),
        }
        self.settle();
    }

    /// The peer sends a segment that is plausible, but for what the octets change.
    fn send(&mut self, kind: u8, octets: &mut Octets<'_>) {
        let flags = TcpFlags::from_bits_truncate(octets.octet());
        let shift = |word: u8| i32::from(word as i8) * if kind & 0x80 != 0 { 1_000 } else { 1 };
        let (seq_shift, ack_shift) = match kind % 8 {
            0 | 1 => (0, 0),
            2 => (shift(octets.octet()), 0),
            _ => (shift(octets.octet()), shift(octets.octet())),
        };
        let seq = SeqNumber::new(self.seq.get().wrapping_add(seq_shift as u32));
        let ack = SeqNumber::new(self.ack.get().wrapping_add(ack_shift as u32));
        let extras = octets.octet();
        let mut options = TcpOptions::default();
        if extras & 1 != 0 {
            self.clock.0 = self.clock.0.wrapping_add(u32::from(octets.octet()));
            options.timestamps = Some(Timestamps { value: self.clock.0, echo: self.clock.1 });
        }
        if extras & 2 != 0 {
            (options.mss, options.window_scale) = (Some(octets.word() as u16), Some(octets.octet() % 15));
            options.sack_permitted = true;
        } else if extras & 4 != 0 {
            let left = self.ack.get().wrapping_add(shift(octets.octet()) as u32);
            let right = left.wrapping_add(u32::from(octets.octet()) * 100);
            let sack = options.sack.with(SeqNumber::new(left), SeqNumber::new(right));
            options.sack = sack.unwrap_or(options.sack);
        }
        let (source_port, destination_port) = (self.port.0, self.port.1);
        let window = if extras & 8 != 0 { octets.octet().into() } else { 60_000 };
        let urgent = if extras & 16 != 0 { octets.word() as u16 } else { 0 };
        let header = TcpHeader { source_port, destination_port, seq, ack, flags, window, urgent, options };
        let data = vec![0x55; if extras & 32 != 0 { usize::from(octets.octet()) * 6 } else { 0 }];
        self.frame(&header, &data);
        if seq_shift == 0 {
            let sent =
                data.len() as u32 + u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN));
            self.seq = self.seq.advance(sent);
        }
    }

    fn frame(&mut self, header: &TcpHeader, data: &[u8]) {
        let link = LinkHeader { source: PEER_MAC, destination: OUR_MAC, ..LinkHeader::default() };
        let ip = IpHeader::new(PEER.into(), OURS.into(), Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(&link, &ip, header) + data.len()];
        wire::write_tcp(&link, &ip, header, (data, &[]), &mut frame);
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    fn answer_arp(&mut self) {
        let reply = wire::ArpPacket {
            operation: wire::arp::Operation::Reply,
            sender_mac: PEER_MAC,
            sender_ip: PEER.into(),
            target_mac: OUR_MAC,
            target_ip: OURS.into(),
        };
        let link = LinkHeader { source: PEER_MAC, destination: OUR_MAC, ..LinkHeader::default() };
        let mut frame = vec![0; link.len() + wire::arp::PACKET_LEN];
        reply.write(link.write(0x0806, &mut frame));
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// The application does something to one of its connections.
    fn act(&mut self, octets: &mut Octets<'_>) {
        let (what, size) = (octets.octet(), usize::from(octets.octet()));
        if self.ids.is_empty() {
            return;
        }
        let id = self.ids[size % self.ids.len()];
        let Some(mut stream) = self.stack.stream(self.now, id) else { return };
        match what % 9 {
            0 | 1 => {
                stream.write(&vec![0xaa; size * 20]);
            }
            2 => {
                let length = stream.readable().len().min(size * 10);
                stream.consume(length);
            }
            3 => {
                stream.echo();
            }
            4 => stream.shutdown_write(),
            5 => stream.close(),
            6 => stream.close_discarding(),
            7 => stream.abort(),
            _ => {
                stream.write_urgent(&[0xbb; 5]);
                stream.set_user_timeout(Some(Duration::from_secs(size as u64)));
            }
        }
    }

    /// Takes in what the stack has to say, and looks at its promises.
    fn settle(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Accepted(id, _) | Event::Connected(id) if !self.ids.contains(&id) => self.ids.push(id),
                Event::Closed(id, _) => self.ids.retain(|known| *known != id),
                _ => {}
            }
        }
        for frame in drain(&mut self.stack, self.now) {
            let Ok(Packet::Tcp(_, segment)) = wire::parse(&frame, ChecksumPolicy::Verify).map(|parsed| parsed.packet)
            else {
                continue;
            };
            let header = segment.header;
            self.port = (header.destination_port, header.source_port);
            self.ack = header.seq.advance(segment.len());
            if let Some(timestamps) = header.options.timestamps {
                self.clock.1 = timestamps.value;
            }
        }
        let (connections, half_open, time_wait) = self.stack.flow_counts();
        assert!(connections <= 3 && half_open <= 2 && time_wait <= 2);
    }

    /// Whatever happened: once nobody says anything more and the application lets go, nothing is left.
    fn finish(mut self) {
        for id in std::mem::take(&mut self.ids) {
            if let Some(mut stream) = self.stack.stream(self.now, id) {
                stream.abort();
            }
        }
        self.settle();
        for _ in 0..200 {
            let Some(deadline) = self.stack.poll_timeout() else { break };
            self.now = self.now.max(deadline);
            self.stack.handle_timeout(self.now);
            self.settle();
        }
        self.stack.abort_all(self.now);
        self.settle();
        assert_eq!(self.stack.flow_counts(), (0, 0, 0));
    }
}
