//! Frames for balanced services: whole ones of every kind, and what chance makes of them.

pub use crate::chance::Draw;
use crate::scene::{
    ADDRESS_V4, ADDRESS_V6, BY_ADDRESS, COOKIE, COOKIE_GUE, DSR, GUE, IPIP, NAT, NAT_UDP, OPEN, RESET, REST_V4,
    SOURCES, UDP, VIP_V4, VIP_V6,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use xskip::{lb::NatFlow, wire::checksum::Checksum};

const TCP: u8 = 6;
const UDP_PROTOCOL: u8 = 17;

/// A client by its number: few enough that they come again.
pub fn client(number: u16, ipv6: bool) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into()
    } else {
        Ipv4Addr::new(203, 0, high, low).into()
    }
}

fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0x28, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
            header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            header.extend(source.octets());
            header.extend(destination.octets());
            finish(&mut header);
            whole_checksum([header, payload.to_vec()].concat(), (source.into(), destination.into()), 20)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x62, 0x80, 0, 0];
            header.extend((payload.len() as u16).to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(source.octets());
            header.extend(destination.octets());
            whole_checksum([header, payload.to_vec()].concat(), (source.into(), destination.into()), 40)
        }
        _ => unreachable!("one family"),
    }
}

/// The packet with the checksum of what it carries, where that has one and is whole.
fn whole_checksum(mut packet: Vec<u8>, (source, destination): (IpAddr, IpAddr), header: usize) -> Vec<u8> {
    let protocol = if header == 20 { packet[9] } else { packet[6] };
    let (_, payload) = packet.split_at_mut(header);
    let at = match protocol {
        TCP => 16,
        UDP_PROTOCOL => 6,
        _ => 2,
    };
    let length = payload.len();
    if length < at + 2 {
        return packet;
    }
    let sum = if protocol == 1 {
        Checksum::of(payload)
    } else {
        Checksum::pseudo_header(source, destination, protocol, length).with(payload)
    };
    let field = sum.field();
    payload[at..at + 2].copy_from_slice(&field);
    packet
}

fn is_udp(port: u16) -> bool {
    matches!(port, UDP | NAT_UDP)
}

fn finish(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = Checksum::of(header).field();
    header[10..12].copy_from_slice(&checksum);
}

fn tcp(ports: (u16, u16), seq: u32, flags: u8, data: usize) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(ports.0.to_be_bytes());
    segment.extend(ports.1.to_be_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(vec![0x5a; data]);
    segment
}

fn udp(ports: (u16, u16), data: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend((8 + data as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(vec![0x5a; data]);
    datagram
}

fn frame(packet: Vec<u8>) -> Vec<u8> {
    let ether_type: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type, &packet].concat()
}

/// The frame that answers an IP packet of ours with this segment.
pub fn packet_of(ours: &[u8], segment: &[u8]) -> Vec<u8> {
    let address = |at: usize| -> IpAddr {
        if ours[0] >> 4 == 4 {
            <[u8; 4]>::try_from(&ours[at..at + 4]).unwrap().into()
        } else {
            <[u8; 16]>::try_from(&ours[at..at + 16]).unwrap().into()
        }
    };
    let (vip, client) = if ours[0] >> 4 == 4 { (12, 16) } else { (8, 24) };
    frame(packet(address(client), address(vip), TCP, segment))
}

fn dsr(number: u16, seq: u32, flags: u8, data: usize) -> Vec<u8> {
    let segment = tcp((40_000, DSR), seq, flags, data);
    frame(packet(client(number, false), VIP_V4.parse().unwrap(), TCP, &segment))
}

/// A SYN of a client for the first service.
pub fn syn(number: u16) -> Vec<u8> {
    dsr(number, 1_000, 0x02, 0)
}

/// A segment of its flow.
pub fn segment(number: u16) -> Vec<u8> {
    dsr(number, 1_001, 0x10, 10)
}

/// One that is too big for a tunnel, from a client that may be told.
pub fn large(number: u16) -> Vec<u8> {
    let segment = tcp((40_000, IPIP), 1_001, 0x10, 1_460);
    frame(packet(client(number, false), VIP_V4.parse().unwrap(), TCP, &segment))
}

/// A client's segment for a service in mode `nat`.
pub fn nat(number: u16, flags: u8) -> Vec<u8> {
    frame(packet(client(number, false), VIP_V4.parse().unwrap(), TCP, &tcp((40_000, NAT), 1_000, flags, 0)))
}

/// What a backend answers to a flow of its clients.
pub fn nat_answer(flow: &NatFlow, flags: u8) -> Vec<u8> {
    let source = SOURCES[usize::from(flow.source)].parse().unwrap();
    frame(packet(flow.backend.address, source, TCP, &tcp((flow.backend.port, flow.port), 5, flags, 0)))
}

/// Addresses and ports of an answer as the client gets it.
pub fn nat_back(number: u16) -> Vec<u8> {
    let (IpAddr::V4(vip), IpAddr::V4(client)) = (VIP_V4.parse().unwrap(), client(number, false)) else {
        unreachable!("IPv4")
    };
    [&vip.octets()[..], &client.octets(), &NAT.to_be_bytes(), &40_000u16.to_be_bytes()].concat()
}

impl Draw {
    /// A whole frame, well-formed.
    pub fn whole(&mut self) -> Vec<u8> {
        let ipv6 = self.below(2) == 0;
        let number = self.below(40) as u16;
        let source = client(number, ipv6);
        let rest = self.below(8) == 0;
        let vip: IpAddr = if ipv6 {
            VIP_V6
        } else if rest {
            REST_V4
        } else {
            VIP_V4
        }
        .parse()
        .unwrap();
        let by_address = if ipv6 { ADDRESS_V6 } else { ADDRESS_V4 };
        let port = self.one_of(&[
            DSR, DSR, IPIP, IPIP, GUE, GUE, BY_ADDRESS, OPEN, RESET, RESET, NAT, NAT, NAT, NAT_UDP, NAT_UDP, UDP, 9,
            COOKIE, COOKIE, COOKIE, COOKIE_GUE, COOKIE_GUE,
        ]);
        let data = self.one_of(&[0, 0, 1, 8, 100, 536, 1_220, 1_400, 1_440, 1_452, 1_460]) as usize;
        let vip = if port == BY_ADDRESS { by_address.parse().unwrap() } else { vip };
        let from = 40_000 + self.below(3) as u16;
        let packet = match self.below(10) {
            0 => self.error(vip, source, (port, from)),
            1 => self.fragment(source, vip, (from, port)),
            _ if is_udp(port) => packet(source, vip, UDP_PROTOCOL, &udp((from, port), data)),
            _ => {
                let flags = self.one_of(&[0x02, 0x02, 0x02, 0x10, 0x10, 0x18, 0x18, 0x11, 0x04, 0x12]);
                let start = 1_000 * (1 + self.below(2) as u32);
                let seq = start + if flags == 0x02 { 0 } else { 1 + self.one_of(&[0, 10, 1 << 20]) };
                let mut segment = tcp((from, port), seq, flags, data);
                if flags == 0x02 && matches!(port, COOKIE | COOKIE_GUE) {
                    let options = self.options();
                    segment[12] += (options.len() as u8 / 4) << 4;
                    segment.splice(20..20, options.iter().copied());
                }
                packet(source, vip, TCP, &segment)
            }
        };
        let packet = if !ipv6 && self.below(6) == 0 { fragmentable(packet) } else { packet };
        let mut frame = frame(packet);
        if self.below(50) == 0 {
            frame[if ipv6 { 21 } else { 22 }] = self.below(2) as u8;
        }
        if self.below(20) == 0 { tagged(&frame) } else { frame }
    }

    /// A well-formed one of a client's for a service in mode `nat`.
    pub fn for_nat(&mut self) -> Vec<u8> {
        let ipv6 = self.below(2) == 0;
        let (source, vip) = (client(self.below(40) as u16, ipv6), if ipv6 { VIP_V6 } else { VIP_V4 });
        let (vip, data) = (vip.parse().unwrap(), self.one_of(&[0, 1, 99, 1_000]) as usize);
        frame(if self.below(2) == 0 {
            packet(source, vip, UDP_PROTOCOL, &udp((40_000, NAT_UDP), data))
        } else {
            let flags = self.one_of(&[0x02, 0x10, 0x18]);
            packet(source, vip, TCP, &tcp((40_000, NAT), 1_000, flags, data))
        })
    }

    /// A whole frame of a backend's to a flow, or from a router on the way about one, either way.
    pub fn answer(&mut self, flow: &NatFlow) -> Vec<u8> {
        let source = SOURCES.map(|source| source.parse::<IpAddr>().unwrap());
        let of_version = source.into_iter().filter(|it| it.is_ipv4() == flow.backend.address.is_ipv4());
        let source = of_version.collect::<Vec<_>>()[usize::from(flow.source) % 8];
        let data = self.one_of(&[0, 1, 9, 100, 1_220, 1_460]) as usize;
        let ports = (flow.backend.port, flow.port);
        let protocol = flow.transport.number();
        let transport = if protocol == UDP_PROTOCOL {
            udp(ports, data)
        } else {
            let flags = self.one_of(&[0x12, 0x12, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04]);
            tcp(ports, 9_000, flags, data)
        };
        let quoted = self.one_of(&[8, 8, 8, 20, 40]).min(transport.len());
        let router = client(0x5555, source.is_ipv6());
        let packet = match self.below(8) {
            0 => {
                let back = (ports.1, ports.0);
                let sent = if protocol == UDP_PROTOCOL { udp(back, 40) } else { tcp(back, 5, 0x10, 40) };
                let about = packet(source, flow.backend.address, protocol, &sent[..quoted]);
                self.error_about(router, source, &about)
            }
            1 => {
                let ports = (flow.service.port, flow.client.port);
                let sent = if protocol == UDP_PROTOCOL { udp(ports, 40) } else { tcp(ports, 5, 0x10, 40) };
                let about = packet(flow.service.address, flow.client.address, protocol, &sent[..quoted]);
                self.error_about(router, flow.service.address, &about)
            }
            _ => packet(flow.backend.address, source, protocol, &transport),
        };
        let frame = frame(packet);
        if self.below(20) == 0 { tagged(&frame) } else { frame }
    }

    fn error_about(&mut self, router: IpAddr, receiver: IpAddr, about: &[u8]) -> Vec<u8> {
        let kind = if receiver.is_ipv4() { self.one_of(&[3, 11]) } else { self.one_of(&[1, 2]) };
        let message = [&[kind, 4, 0, 0, 0, 0, 5, 0][..], about].concat();
        packet(router, receiver, if receiver.is_ipv4() { 1 } else { 58 }, &message)
    }

    /// Something like a whole frame.
    pub fn frame(&mut self) -> Vec<u8> {
        let frame = self.whole();
        self.damaged(frame)
    }

    /// What chance makes of a frame.
    pub fn damaged(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.one_of(&[0, 0, 0, 0, 1, 1, 2, 4]) {
            match self.below(4) {
                0 => {
                    let length = 14 + self.below(frame.len() as u64 - 13) as usize;
                    frame.truncate(length);
                }
                1 => frame.extend(vec![0; self.below(9) as usize]),
                _ => {
                    // Where it matters most: the headers.
                    let at = self.below((frame.len() as u64).min(100)) as usize;
                    frame[at] = if self.below(2) == 0 { self.number() as u8 } else { frame[at] ^ 1 << self.below(8) };
                }
            }
        }
        frame
    }

    fn error(&mut self, vip: IpAddr, client: IpAddr, ports: (u16, u16)) -> Vec<u8> {
        let protocol = if is_udp(ports.0) { UDP_PROTOCOL } else { TCP };
        let quoted = packet(vip, client, protocol, &tcp(ports, 77, 0x10, 0)[..8]);
        let (kind, code) = if vip.is_ipv4() { (self.one_of(&[3, 11, 12, 5]), 4) } else { (1 + self.below(5) as u8, 0) };
        let mut message = vec![kind, code, 0, 0, 0, 0, 5, 0];
        message.extend(quoted);
        // From a router on the way.
        let router = self::client(0x4444, vip.is_ipv6());
        packet(router, vip, if vip.is_ipv4() { 1 } else { 58 }, &message)
    }

    fn fragment(&mut self, source: IpAddr, vip: IpAddr, ports: (u16, u16)) -> Vec<u8> {
        let is_first = self.below(2) == 0;
        let protocol = if is_udp(ports.1) { UDP_PROTOCOL } else { TCP };
        let payload = tcp(ports, 5, 0x10, 40);
        let offset: u16 = if is_first { 0 } else { 8 };
        if vip.is_ipv4() {
            let mut packet = packet(source, vip, protocol, &payload);
            packet[6..8].copy_from_slice(&(0x2000 | offset).to_be_bytes());
            finish(&mut packet[..20]);
            packet
        } else {
            let mut header = vec![protocol, 0];
            header.extend((offset << 3 | 1).to_be_bytes());
            header.extend([0, 0, 0, 7]);
            packet(source, vip, 44, &[header, payload].concat())
        }
    }
}

/// The packet without DF.
fn fragmentable(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] &= !0x40;
    finish(&mut packet[..20]);
    packet
}

/// With a tag that says a priority only.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0x60, 0], &frame[12..]].concat()
}
