//! Pairs, and segments of them: usual ones, and what chance makes of them.

pub use crate::chance::Draw;
use crate::scene::{LOCAL, VLAN};
use xskip::{
    splice::{Half, Pair, Side},
    time::Instant,
    wire::{Endpoint, FourTuple, InterfaceId, LinkHeader, MacAddress, SeqNumber, ethernet::VlanTags},
};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// What a segment is made of.
#[derive(Clone, Debug)]
pub struct Segment {
    pub from: Side,
    pub source: MacAddress,
    pub control: Option<u16>,
    pub hops: u8,
    pub ip_options: Vec<u8>,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
    pub is_told: bool,
}

impl Segment {
    /// What a side says next: nothing.
    pub fn next(pair: &Pair, from: Side, vlan: Option<u16>) -> Self {
        let (out, back) = (pair.stream(from), pair.stream(from.other()));
        Self {
            from,
            source: pair.link(from).destination,
            control: vlan,
            hops: 64,
            ip_options: Vec::new(),
            seq: out.sent.get().wrapping_sub(out.shift),
            ack: back.sent.get(),
            flags: ACK,
            window: 500,
            options: Vec::new(),
            data: Vec::new(),
            is_told: true,
        }
    }

    /// The frame, with right checksums.
    pub fn frame(&self, pair: &Pair) -> Vec<u8> {
        let FourTuple { local, remote } = *pair.tuple(self.from);
        let mut tcp = [remote.port.to_be_bytes(), local.port.to_be_bytes()].concat();
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([(5 + self.options.len() as u8 / 4) << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0, 0, 7]);
        tcp.extend(&self.options);
        tcp.extend(&self.data);
        let mut pseudo = Vec::new();
        let is_ipv4 = local.address.is_ipv4();
        for address in [remote.address, local.address] {
            match address {
                std::net::IpAddr::V4(address) => pseudo.extend(address.octets()),
                std::net::IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        let ends = pseudo.clone();
        pseudo.extend([0, 6]);
        pseudo.extend((tcp.len() as u16).to_be_bytes());
        let sum = !sum([&pseudo[..], &tcp].concat().as_slice());
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut frame = [[2, 0, 0, 0, 0, 1], self.source.0].concat();
        if let Some(control) = self.control {
            frame.extend([0x81, 0]);
            frame.extend(control.to_be_bytes());
        }
        frame.extend(if is_ipv4 { [8, 0] } else { [0x86, 0xdd] });
        if is_ipv4 {
            let length = 20 + self.ip_options.len();
            let mut ip = vec![0x40 | (length / 4) as u8, 0x28];
            ip.extend(((length + tcp.len()) as u16).to_be_bytes());
            ip.extend([0, 9, if self.is_told { 0x40 } else { 0 }, 0, self.hops, 6, 0, 0]);
            ip.extend(ends);
            ip.extend(&self.ip_options);
            let sum = !self::sum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(ip);
        } else {
            frame.extend([0x62, 0x80, 1, 2]);
            frame.extend((tcp.len() as u16).to_be_bytes());
            frame.extend([6, self.hops]);
            frame.extend(ends);
        }
        frame.extend(tcp);
        frame
    }
}

/// The one's complement sum of words.
pub fn sum(octets: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = octets.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Where the TCP header of a well-formed frame is, and the sum of what its checksum covers beside it.
fn covered(frame: &[u8]) -> (usize, u16) {
    let ip = if frame[12] == 0x81 { 18 } else { 14 };
    let (tcp, ends) =
        if frame[ip] >> 4 == 4 { (ip + usize::from(frame[ip] & 15) * 4, 12..20) } else { (ip + 40, 8..40) };
    let length = (frame.len() - tcp) as u16;
    let pseudo = [&frame[ip + ends.start..ip + ends.end], &[0, 6], &length.to_be_bytes()].concat();
    (tcp, sum(&pseudo))
}

/// The frame with a checksum that hardware is to finish.
pub fn unfinished(mut frame: Vec<u8>) -> Vec<u8> {
    let (tcp, pseudo) = covered(&frame);
    frame[tcp + 16..tcp + 18].copy_from_slice(&pseudo.to_be_bytes());
    frame
}

/// The frame with such data, of which there are some, that its checksum is right and looks like that.
pub fn coincidental(mut frame: Vec<u8>) -> Vec<u8> {
    let (tcp, pseudo) = covered(&frame);
    let data = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    if frame.len() < data + 2 {
        return frame;
    }
    frame[data..data + 2].fill(0);
    frame[tcp + 16..tcp + 18].copy_from_slice(&pseudo.to_be_bytes());
    let all = sum(&[&pseudo.to_be_bytes()[..], &frame[tcp..]].concat());
    frame[data..data + 2].copy_from_slice(&(!all).to_be_bytes());
    frame
}

impl Draw {
    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn vlan(&mut self) -> Option<u16> {
        self.one_of(&[None, None, Some(0), Some(VLAN)])
    }

    /// A pair as it stands at the switch.
    pub fn pair(&mut self, vlan: Option<u16>, now: Instant) -> Pair {
        let is_ipv4 = self.is_one_in(2);
        let remote = if is_ipv4 { ["203.0.113.9", "198.18.0.11"] } else { ["2001:db8::9", "2001:2::11"] };
        let has_clocks = !self.is_one_in(3);
        let mut half = |index: usize| {
            let local = LOCAL[if is_ipv4 { index } else { 2 + index }];
            let end = |address: &str, port| Endpoint { address: address.parse().unwrap(), port };
            let interface = InterfaceId::at(self.below(2) as usize).unwrap();
            let control = vlan.map(|id| id | (self.below(8) as u16 * 0x2000));
            let link = LinkHeader {
                destination: MacAddress([2, 0, 0, 0, 9, index as u8]),
                source: MacAddress([2, 0, 0, 0, 0, 1 + index as u8]),
                vlan: VlanTags::of(control),
                interface,
            };
            let number = self.number() as u32;
            let received = self.one_of(&[number, u32::MAX - 99, 0x7fff_ff00]);
            let window = self.one_of(&[0, 1_000, 65_535, 1 << 20]);
            Half {
                tuple: FourTuple { local: end(local, 443 + index as u16), remote: end(remote[index], 40_000) },
                link,
                mtu: self.one_of(&[1_500, 1_500, 1_280]),
                sent: SeqNumber::new(self.number() as u32),
                received: SeqNumber::new(received),
                edge: SeqNumber::new(received.wrapping_add(self.one_of(&[0, 60_000, 1 << 20]))),
                reach: self.one_of(&[1_000, 65_535, 1 << 20]),
                window,
                peer_scale: self.below(15) as u8,
                our_scale: self.below(15) as u8,
                clocks: has_clocks.then(|| (self.number() as u32, self.number() as u32)),
                follows: interface.index() == 0 && self.is_one_in(2),
            }
        };
        let (client, backend) = (half(0), half(1));
        Pair::new(now, &client, &backend)
    }

    fn timestamps(&mut self, pair: &Pair, from: Side) -> Vec<u8> {
        let clock = pair.ends[from as usize].clock;
        let echo = clock.wrapping_add(self.one_of(&[0, 0, 1, 5, u32::MAX, 1 << 30, (1 << 30) - 1, 1 << 31, 3 << 30]));
        [&[8, 10][..], &(self.number() as u32).to_be_bytes(), &echo.to_be_bytes()].concat()
    }

    fn sack(&mut self, pair: &Pair, from: Side, blocks: u64) -> Vec<u8> {
        let mut option = vec![5, 2 + 8 * blocks as u8];
        for _ in 0..2 * blocks {
            let edge = pair.stream(from.other()).acked.get().wrapping_add(self.below(5_000) as u32);
            option.extend(edge.to_be_bytes());
        }
        option
    }

    /// A list of options: usual ones, and any.
    fn options(&mut self, pair: &Pair, from: Side) -> Vec<u8> {
        let stamps = self.timestamps(pair, from);
        let (blocks, few) = (1 + self.below(4), 1 + self.below(3));
        let mut list = match self.below(12) {
            0 | 1 => Vec::new(),
            2..=4 => [&[1, 1][..], &stamps].concat(),
            5 | 6 => [&[1, 1][..], &stamps, &[1, 1], &self.sack(pair, from, few)].concat(),
            7 => [&[1, 1][..], &self.sack(pair, from, blocks)].concat(),
            8 => [&[1][..], &self.sack(pair, from, few), &stamps].concat(),
            9 => [&stamps[..], &[1], &self.sack(pair, from, 1), &[0, 0]].concat(),
            10 => [&[1, 3, 3, 7][..], &stamps, &[2, 4, 5, 0xb4]].concat(),
            _ => {
                let mut any = [&[1, 254, 5, 0, 0][..], &stamps].concat();
                let at = self.below(any.len() as u64) as usize;
                any[at] = self.one_of(&[0, 1, 2, 5, 8, 10, 255]);
                any
            }
        };
        if self.is_one_in(6) && !list.is_empty() {
            let at = self.below(list.len() as u64) as usize;
            list[at] = self.one_of(&[0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 18, 26, 34, 255]);
        }
        list.truncate(40);
        list.resize(list.len().next_multiple_of(4), if self.is_one_in(2) { 0 } else { 1 });
        list
    }

    fn near(&mut self, places: &[u32]) -> u32 {
        let place = self.one_of(places);
        place.wrapping_add(self.below(7) as u32).wrapping_sub(3)
    }

    fn segment(&mut self, pair: &Pair, vlan: Option<u16>) -> Segment {
        let from = Side::BOTH[self.below(2) as usize];
        let (out, back) = (pair.stream(from), pair.stream(from.other()));
        let mut segment = Segment::next(pair, from, vlan);
        let offset = self.below(2_000) as u32;
        if self.is_one_in(3) {
            let (sent, acked) = (out.sent.get(), out.acked.get());
            let low = acked.wrapping_sub(out.reach);
            let places = [sent, acked, sent, acked, out.edge.get(), out.offered.get(), low, sent.wrapping_add(offset)];
            segment.seq = self.near(&places).wrapping_sub(out.shift);
        }
        if self.is_one_in(3) {
            let (sent, acked) = (back.sent.get(), back.acked.get());
            segment.ack = self.near(&[sent, acked, sent.wrapping_sub(offset), acked.wrapping_sub(back.reach)]);
        }
        segment.flags =
            self.one_of(&[ACK, ACK, ACK, ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | PSH, ACK | PSH | 0x20]);
        if self.is_one_in(8) {
            segment.flags =
                self.one_of(&[ACK | FIN, ACK | FIN, RST, RST | ACK, RST | ACK, SYN, SYN, SYN | ACK, 0, FIN, 0xff]);
        } else if self.is_one_in(60) {
            segment.flags = self.number() as u8;
        }
        // One that is believed ends much; most of these are none.
        if segment.flags & RST != 0 && !self.is_one_in(4) {
            segment.seq = segment.seq.wrapping_add(self.one_of(&[1, u32::MAX, 1 << 30]));
        }
        let any = self.number() as u16;
        segment.window = self.one_of(&[0, 1, 500, any, 65_535]);
        segment.source = MacAddress([2, 0, 0, 0, 9, self.one_of(&[0, 0, 0, 1])]);
        segment.control = vlan.map(|id| id | (self.below(8) as u16 * 0x2000));
        let length = self.one_of(&[0, 0, 0, 1, 2, 3, 100, 511, 512, 513, 1_000, 1_220, 1_430, 1_460]);
        segment.data = (0..length).map(|_| self.number() as u8).collect();
        segment.options = self.options(pair, from);
        segment
    }

    /// Something like a segment of a pair.
    pub fn frame(&mut self, pair: &Pair, vlan: Option<u16>) -> Vec<u8> {
        let mut segment = self.segment(pair, vlan);
        let is_ipv4 = pair.tuple(segment.from).local.address.is_ipv4();
        match self.below(30) {
            0 => segment.hops = self.below(3) as u8,
            1 => segment.ip_options = vec![1; 4 * (1 + self.below(10) as usize)],
            2 => segment.control = if vlan.is_none() { Some(0) } else { None },
            3 => segment.source.0[0] |= 1,
            4 => segment.is_told = false,
            _ => {}
        }
        let mut frame = segment.frame(pair);
        let ip = if segment.control.is_some() { 18 } else { 14 };
        match self.below(30) {
            0 => frame = unfinished(frame),
            1 => frame = coincidental(frame),
            2 => {
                let last = frame.len() - 1;
                frame[last] ^= 1;
            }
            3 if is_ipv4 => frame[ip + 6] = self.one_of(&[0x20, 0x40, 0x01]),
            3 => frame[ip + 6] = self.one_of(&[0, 43, 44, 60]),
            4 => frame.extend(vec![0; self.below(9) as usize]),
            5 | 6 => self.damage(&mut frame),
            _ => {}
        }
        frame
    }

    fn damage(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.one_of(&[1, 1, 2, 4]) {
            if self.is_one_in(4) {
                let length = 14 + self.below(frame.len() as u64 - 13) as usize;
                frame.truncate(length);
            } else {
                let at = self.below((frame.len() as u64).min(100)) as usize;
                frame[at] = if self.is_one_in(2) { self.number() as u8 } else { frame[at] ^ 1 << self.below(8) };
            }
        }
    }
}
