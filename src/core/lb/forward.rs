//! What becomes of a frame, octet by octet: the model of `bpf/balance.h`, which does the same in the kernel.

use super::{
    backend::{BackendId, Mode},
    balancer::Balancer,
    decide::{Decision, Refusal, Why},
    flow::Kind,
    sight::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, Sight},
};
use crate::{
    drops::named,
    time::Instant,
    wire::{
        Encapsulation, MacAddress, Tunnel,
        checksum::Checksum,
        tunnel::{Inner, ipv4_header, octets},
    },
};
use std::net::IpAddr;

pub use crate::wire::tunnel::GUE_PORT;

const HOP_LIMIT: u8 = 64;
/// What an ICMP error quotes: the longest IPv4 header and eight octets; a plain IPv6 header and twice as much as its
/// receiver needs.
const QUOTE_V4: usize = 68;
const QUOTE_V6: usize = 88;

/// How frames get to a backend, or to the router before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The kernel's index of the interface they leave by.
    pub interface: u32,
    /// The link address they go to.
    pub next_hop: MacAddress,
    /// The link address they come from: the interface's.
    pub ours: MacAddress,
    /// The largest IP packet that fits, octets. A way of less than [`Way::MIN_MTU`] is none.
    pub mtu: u16,
    /// Where tunnels begin: our address on that way, of the backend's family.
    pub source: IpAddr,
}

impl Way {
    /// What every IPv4 host takes (RFC 791 §3.1).
    pub const MIN_MTU: u16 = 576;
}

named! {
    /// Why a packet that is to go to a backend does not.
    Obstacle {
        /// Its header is cut off, its length is more than there is of it, or it quotes what was never sent.
        Malformed => "malformed",
        /// Its time to live, or hop limit, is used up.
        HopLimit => "hop_limit",
        /// Nobody knows where the backend is, or its interface is down.
        NoWay => "no_way",
        /// It is too big for the way, and its sender may not be told (RFC 1122 §3.2.2), or was told often enough.
        TooBig => "too_big",
        /// The interface's driver leaves no room for an outer header.
        Headroom => "headroom",
        /// What the program sends would not arrive: a veth whose other end takes no XDP frames.
        Undelivered => "undelivered",
    }
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// It is no service's: whoever has the address gets it.
    NotOurs,
    /// It goes to a backend.
    Sent {
        /// To which.
        backend: BackendId,
        /// Why there.
        why: Why,
        /// By the interface with this index.
        interface: u32,
        /// As it leaves.
        frame: Vec<u8>,
    },
    /// It is a SYN, and this goes back to its sender in a backend's name.
    SynAck {
        /// In whose name, as it would have got the SYN.
        backend: BackendId,
        /// As it leaves.
        frame: Vec<u8>,
    },
    /// It is too big for the way: this goes back to its sender.
    Told(Vec<u8>),
    /// The stack gets it and resets the flow, as its backend is down and keeps none.
    Reset(BackendId),
    /// The stack gets it and resets it, as it is in the midst of no flow of mode `nat` that there is.
    Unknown,
    /// It is a backend's, in mode `nat`, and goes to the client.
    Answered {
        /// By the interface with this index.
        interface: u32,
        /// As it leaves.
        frame: Vec<u8>,
    },
    /// It goes nowhere, by the tables.
    Refused(Refusal),
    /// It goes nowhere, though they name a backend.
    Hindered(Obstacle),
}

impl Balancer {
    /// What becomes of a frame that came untagged, or in this VLAN, and with what consequences for the tables. `way`
    /// says how backends are reached. Of services in mode `nat` [`Balancer::translate`] knows.
    pub fn forward(
        &mut self,
        frame: &[u8],
        vlan: Option<u16>,
        way: impl Fn(BackendId) -> Option<Way>,
        now: Instant,
    ) -> Forwarded {
        let Some(sight) = Sight::of(frame, vlan.unwrap_or(0)) else { return Forwarded::NotOurs };
        let Some(served) = self.find_service(&sight.flow).and_then(|id| self.served(id)) else {
            return Forwarded::NotOurs;
        };
        let (mode, by_address) = (served.config.mode, served.config.is_by_address());
        if sight.kind == Kind::Fragment && !sight.is_malformed && !by_address {
            return Forwarded::Refused(Refusal::Fragment);
        }
        if sight.is_malformed {
            return Forwarded::Hindered(Obstacle::Malformed);
        }
        let way = |backend| way(backend).filter(|way| way.mtu >= Way::MIN_MTU);
        if let Some(answered) = self.answer_syn(frame, &sight, |backend| way(backend).is_some(), now) {
            return answered;
        }
        let kind = self.handshake(frame, &sight, now).unwrap_or(sight.kind);
        let (backend, why) = match self.decide(&sight.flow, kind, now) {
            Decision::Forward(backend, why) => (backend, why),
            Decision::Reset(backend) => return Forwarded::Reset(backend),
            Decision::Drop(refusal) => return Forwarded::Refused(refusal),
        };
        let Some(way) = way(backend) else {
            return Forwarded::Hindered(Obstacle::NoWay);
        };
        let Some(end) = self.address(backend) else { return Forwarded::Hindered(Obstacle::NoWay) };
        let hash = self.key.hash(&sight.flow, by_address);
        let tunnel = mode.encapsulation().map(|encapsulation| Tunnel {
            encapsulation,
            source: way.source,
            end: end.address,
            flow: hash.get(),
        });
        match carry(frame, &sight, &way, tunnel) {
            Ok(Carried::On(frame)) => Forwarded::Sent { backend, why, interface: way.interface, frame },
            Ok(Carried::Back(frame)) => Forwarded::Told(frame),
            Err(obstacle) => Forwarded::Hindered(obstacle),
        }
    }
}

impl Mode {
    /// What tunnels of this mode are like; `None` where there are none.
    pub const fn encapsulation(self) -> Option<Encapsulation> {
        match self {
            Self::Dsr | Self::Nat | Self::Proxy => None,
            Self::Ipip => Some(Encapsulation::Ip),
            Self::Gue => Some(Encapsulation::Gue),
        }
    }
}

pub(super) enum Carried {
    On(Vec<u8>),
    Back(Vec<u8>),
}

pub(super) fn carry(frame: &[u8], sight: &Sight, way: &Way, tunnel: Option<Tunnel>) -> Result<Carried, Obstacle> {
    let mut frame = frame.to_vec();
    let inner = pass_on(&mut frame[sight.ip_offset..], sight.source.is_ipv4())?;
    let overhead = tunnel.map_or(0, |tunnel| tunnel.overhead());
    let mtu = usize::from(way.mtu) - overhead;
    if usize::from(inner.length) > mtu {
        return tell_too_big(&frame, sight, mtu as u16).map(Carried::Back).ok_or(Obstacle::TooBig);
    }
    let mut link = frame[..sight.ip_offset].to_vec();
    link[..6].copy_from_slice(&way.next_hop.0);
    link[6..12].copy_from_slice(&way.ours.0);
    let mut outer = vec![0; overhead];
    if let Some(tunnel) = tunnel {
        link[sight.ip_offset - 2..].copy_from_slice(&tunnel.ether_type().to_be_bytes());
        tunnel.write(&inner, &mut outer);
    }
    Ok(Carried::On([&link[..], &outer, &frame[sight.ip_offset..]].concat()))
}

/// Lets a packet be one hop older (RFC 2003 §3.1).
pub(super) fn pass_on(packet: &mut [u8], is_ipv4: bool) -> Result<Inner, Obstacle> {
    let word = |packet: &[u8], at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let version = packet[0] >> 4;
    let (length, header_len, hops, traffic_class) = if is_ipv4 {
        (usize::from(word(packet, 2)), usize::from(packet[0] & 0xf) * 4, 8, packet[1])
    } else {
        (usize::from(word(packet, 4)) + IPV6_LEN, IPV6_LEN, 7, (word(packet, 0) >> 4) as u8)
    };
    if version != if is_ipv4 { 4 } else { 6 } || length < header_len || length > packet.len() {
        return Err(Obstacle::Malformed);
    }
    if packet[hops] <= 1 {
        return Err(Obstacle::HopLimit);
    }
    packet[hops] -= 1;
    if is_ipv4 {
        // The octet is the upper one of its word, so the sum has 0x100 less (RFC 1624 equation 3).
        let sum = u32::from(word(packet, 10)) + 0x100;
        let sum = if sum >= 0xffff { sum + 1 } else { sum } as u16;
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(Inner { is_ipv4, length: length as u16, traffic_class })
}

/// What tells the sender of a packet that it is too big (RFC 1191, RFC 4443 §3.2); `None` where it may not be told.
fn tell_too_big(frame: &[u8], sight: &Sight, mtu: u16) -> Option<Vec<u8>> {
    let packet = &frame[sight.ip_offset..];
    let is_ipv4 = sight.source.is_ipv4();
    if sight.kind == Kind::Error || is_ipv4 && packet[6] & 0x40 == 0 {
        return None;
    }
    let quote = packet.get(..if is_ipv4 { QUOTE_V4 } else { QUOTE_V6 })?;
    let mut message = if is_ipv4 { vec![3, 4, 0, 0, 0, 0] } else { vec![2, 0, 0, 0, 0, 0] };
    message.extend(mtu.to_be_bytes());
    message.extend(quote);
    let (vip, client) = (sight.destination, sight.source);
    let header = match (vip, client) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => {
            let checksum = Checksum::of(&message).field();
            message[2..4].copy_from_slice(&checksum);
            ipv4_header(0, (IPV4_LEN + message.len()) as u16, 1, vip, client).to_vec()
        }
        (vip, client) => {
            let checksum = Checksum::pseudo_header(vip, client, 58, message.len()).with(&message).field();
            message[2..4].copy_from_slice(&checksum);
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((message.len() as u16).to_be_bytes());
            header.extend([58, HOP_LIMIT]);
            header.extend([vip, client].into_iter().flat_map(octets));
            header
        }
    };
    let mut link = frame[..sight.ip_offset].to_vec();
    link.copy_within(6..12, 0);
    link[6..12].copy_from_slice(&frame[..6]);
    debug_assert!(link.len() >= ETHERNET_LEN);
    Some([link, header, message].concat())
}
