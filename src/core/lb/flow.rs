//! Whose packet it is: the flow, the row it falls on, and what of it says that a flow begins.

use super::placement::RowCount;
use crate::{
    rng::SipKey,
    transport::Transport,
    wire::{FourTuple, QuotedFlow, SeqNumber, TcpFlags, TcpHeader, ip::Protocol},
};
use std::{fmt, hash::Hasher, net::IpAddr};

/// Octets of the longest flow: two addresses, two ports and the protocol.
const OCTETS: usize = 37;

/// A client's flow to a service. Its local end is the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What carries it.
    pub transport: Transport,
    /// Its ends. In a fragment that is not the first both ports are 0.
    pub tuple: FourTuple,
}

impl Flow {
    /// The flow that an ICMP error is about: it quotes what we, or a backend in our name, have sent, so the source
    /// there is the VIP. `None` where that was neither TCP nor UDP.
    pub fn of_quote(quoted: &QuotedFlow) -> Option<Self> {
        let transport = match quoted.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            Protocol::Icmpv4 | Protocol::Icmpv6 => return None,
        };
        Some(Self { transport, tuple: quoted.tuple })
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport, self.tuple.remote, self.tuple.local)
    }
}

/// What a packet of a flow says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SYN without ACK: a flow begins.
    Syn(SeqNumber),
    /// A segment that ends a handshake whose SYN was answered in a backend's name, and stands for that SYN: the number is its.
    Handshake(SeqNumber),
    /// A segment in the midst of it.
    Segment(SeqNumber),
    /// A FIN: the client will say nothing more.
    Fin(SeqNumber),
    /// A RST, which nobody answers.
    Rst(SeqNumber),
    /// A datagram.
    Datagram,
    /// A fragment, the first one or another.
    Fragment,
    /// An ICMP error about something that the flow's backend sent.
    Error,
}

impl Kind {
    /// What a TCP header says. One with SYN and ACK begins nothing: no client sends that.
    pub fn of(header: &TcpHeader) -> Self {
        let flags = header.flags;
        if flags.contains(TcpFlags::RST) {
            Self::Rst(header.seq)
        } else if flags.contains(TcpFlags::FIN) {
            Self::Fin(header.seq)
        } else if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK) {
            Self::Syn(header.seq)
        } else {
            Self::Segment(header.seq)
        }
    }

    /// Whether it may come of the client alone, and so speaks for the flow: errors may come of anybody.
    pub(super) const fn speaks(self) -> bool {
        !matches!(self, Self::Error)
    }

    /// Its sequence number, where it has one that a client chose.
    pub(super) const fn seq(self) -> Option<SeqNumber> {
        match self {
            Self::Syn(seq) | Self::Handshake(seq) | Self::Segment(seq) | Self::Fin(seq) | Self::Rst(seq) => Some(seq),
            Self::Datagram | Self::Fragment | Self::Error => None,
        }
    }
}

/// The secret of the row hash. All balancers of a fleet have the same one, and it never rotates: another key is another
/// table.
#[derive(Clone, Copy, Debug)]
pub struct RowKey {
    flows: SipKey,
    placement: SipKey,
}

impl RowKey {
    /// What comes of the secret of a fleet.
    pub fn new(secret: SipKey) -> Self {
        let derived = |purpose: &[u8]| secret.derive(|hasher| hasher.write(purpose));
        Self { flows: derived(b"xskip rows"), placement: derived(b"xskip placement") }
    }

    /// The key that flows are hashed with, for the one other place that does: the XDP program.
    pub fn of_flows(&self) -> SipKey {
        self.flows
    }

    /// The key that names are hashed with, for [`Placement`](super::Placement).
    pub fn of_placement(&self) -> SipKey {
        self.placement
    }

    /// The hash of a flow: SipHash-1-3 of the VIP, the client's address, the VIP's port, the client's, and the
    /// protocol, as they are on the wire. With `ByAddress` the ports count as 0.
    pub fn hash(&self, flow: &Flow, by_address: bool) -> FlowHash {
        let mut tuple = flow.tuple;
        if by_address {
            tuple.local.port = 0;
            tuple.remote.port = 0;
        }
        let mut octets = [0; OCTETS];
        let length = tuple.with_octets(|of_tuple| {
            octets[..of_tuple.len()].copy_from_slice(of_tuple);
            of_tuple.len()
        });
        octets[length] = flow.transport.number();
        FlowHash(self.flows.hash_short(&octets[..=length]))
    }
}

/// A flow's hash: its upper half says the row, and all of it stands for the flow where it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowHash(u64);

impl FlowHash {
    /// The hash with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All 64 bits.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The row among so many. A multiplication spreads as evenly as a remainder would, and costs less.
    pub const fn row(self, rows: RowCount) -> u32 {
        self.part(self.0 >> 32, rows.get() as u64) as u32
    }

    /// One of `count`, independent of the row.
    pub(super) const fn one_of(self, count: usize) -> usize {
        self.part(self.0 & 0xffff_ffff, count as u64) as usize
    }

    const fn part(self, half: u64, count: u64) -> u64 {
        (half * count) >> 32
    }
}

/// Whether an address is one that a service may have.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    crate::wire::check_host(address).is_ok()
}
