//! A flow as it is kept: a key, and eleven words.

use super::settings::{address, halves};
use crate::{
    lb::{Number, Tick},
    transport::Transport,
    wire::{Endpoint, MacAddress},
};

/// Words that are kept of a flow beside its key.
pub(super) const WORDS: usize = 11;
/// The word with the ports, and when it was last heard of.
pub(super) const PORTS: usize = 6;
/// The word that says whose backend it has, and what both ends have said.
pub(super) const STATE: usize = 7;
/// The word with its place in the index, and the interface of its client.
pub(super) const PLACE: usize = 8;
/// The words with the link addresses of frames to its client.
pub(super) const LINK: usize = 9;

/// What one end has said, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said(u8);

impl Said {
    /// Something that is no SYN of a client's: the handshake is over at this end.
    pub const SPOKEN: Self = Self(1);
    /// A FIN.
    pub const FIN: Self = Self(2);
    /// A RST, and no segment since.
    pub const RST: Self = Self(4);

    /// Whether it said this.
    pub const fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    /// And this as well.
    pub(super) const fn and(self, what: Self) -> Self {
        Self(self.0 | what.0)
    }

    /// But for this.
    pub(super) const fn without(self, what: Self) -> Self {
        Self(self.0 & !what.0)
    }
}

/// A flow that is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatFlow {
    /// What carries it.
    pub transport: Transport,
    /// The client's end.
    pub client: Endpoint,
    /// The service's, as the client knows it.
    pub service: Endpoint,
    /// The backend's.
    pub backend: Endpoint,
    /// The number of the address that packets to the backend come from.
    pub source: u8,
    /// And the port.
    pub port: u16,
    /// The service's number.
    pub service_number: u16,
    /// The backend's.
    pub backend_number: u16,
    /// When either end was last heard of.
    pub heard: Tick,
    /// What the client has said,
    pub client_said: Said,
    /// and the backend.
    pub backend_said: Said,
    /// Its place in the index.
    pub place: u32,
    /// The interface that its client is behind.
    pub interface: u32,
    /// Who hands on frames to the client,
    pub station: MacAddress,
    /// and whom they come from.
    pub ours: MacAddress,
}

impl NatFlow {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        words[..2].copy_from_slice(&halves(self.client.address));
        words[2..4].copy_from_slice(&halves(self.service.address));
        words[4..6].copy_from_slice(&halves(self.backend.address));
        let port = |end: Endpoint| u64::from(end.port.to_be());
        words[PORTS] = port(self.client) | port(self.service) << 16 | port(self.backend) << 32;
        words[PORTS] |= u64::from(self.heard.get()) << 48;
        words[STATE] = u64::from(self.service_number) | u64::from(self.backend_number) << 16;
        words[STATE] |= u64::from(self.client_said.0) << 32 | u64::from(self.backend_said.0) << 40;
        words[PLACE] = u64::from(self.place) | u64::from(self.interface) << 32;
        words[LINK..].copy_from_slice(&link(self.station, self.ours));
        words
    }

    pub(super) fn from_words(key: Key, words: &[u64; WORDS]) -> Self {
        let end = |at: usize, shift: u32| {
            let port = u16::from_be((words[PORTS] >> shift) as u16);
            Endpoint { address: address([words[at], words[at + 1]]), port }
        };
        let octets = [words[LINK].to_le_bytes(), words[LINK + 1].to_le_bytes()].concat();
        let mac = |at: usize| MacAddress(std::array::from_fn(|octet| octets[at + octet]));
        Self {
            transport: if key.is_udp() { Transport::Udp } else { Transport::Tcp },
            client: end(0, 0),
            service: end(2, 16),
            backend: end(4, 32),
            source: key.source(),
            port: key.port(),
            service_number: words[STATE] as u16,
            backend_number: (words[STATE] >> 16) as u16,
            heard: Tick::new((words[PORTS] >> 48) as u16),
            client_said: Said((words[STATE] >> 32) as u8),
            backend_said: Said((words[STATE] >> 40) as u8),
            place: words[PLACE] as u32,
            interface: (words[PLACE] >> 32) as u32,
            station: mac(0),
            ours: mac(6),
        }
    }

    /// The number of its backend, where that is one.
    pub const fn number(&self) -> Option<Number> {
        Number::new(self.backend_number)
    }

    /// How far it has come, in a word.
    pub fn state(&self) -> &'static str {
        match self.transport {
            Transport::Udp => "open",
            Transport::Tcp if self.is_closing() => "closing",
            Transport::Tcp if self.is_opening() => "opening",
            Transport::Tcp => "open",
        }
    }

    /// Whether its handshake is not over, or its backend has not said anything.
    pub(super) fn is_opening(&self) -> bool {
        !self.client_said.has(Said::SPOKEN) || !self.backend_said.has(Said::SPOKEN)
    }

    /// Whether it may make room for another: nobody has answered it for a tick or more, or it ended as long ago.
    pub(super) fn may_go(&self, tick: Tick) -> bool {
        (self.is_opening() || self.has_ended()) && tick.is_beyond(self.heard, 1)
    }

    /// Whether it is over at the backend: that has reset it, or both ends have finished. A client's RST may be forged, and does not
    /// count.
    pub(super) fn has_ended(&self) -> bool {
        self.client_said.has(Said::FIN) && self.backend_said.has(Said::FIN) || self.backend_said.has(Said::RST)
    }

    /// Whether both ends have said that they will say nothing more, or one that there is nothing.
    pub(super) fn is_closing(&self) -> bool {
        let both = self.client_said.has(Said::FIN) && self.backend_said.has(Said::FIN);
        both || self.client_said.has(Said::RST) || self.backend_said.has(Said::RST)
    }
}

pub(super) fn link(station: MacAddress, ours: MacAddress) -> [u64; 2] {
    let mut octets = [0; 16];
    octets[..6].copy_from_slice(&station.0);
    octets[6..12].copy_from_slice(&ours.0);
    let bits = u128::from_le_bytes(octets);
    [bits as u64, (bits >> 64) as u64]
}

/// What a flow is found by for an answer: 40 bits of the hash, two of its state, protocol, source and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(pub u64);

/// Where a flow is in its life, in a key.
const STATE_BITS: u64 = 3 << 21;
const UDP: u64 = 1 << 20;
const TAG: u64 = !0 << 24;

impl Key {
    pub const FREE: Self = Self(0);

    /// The key of a flow that is free yet.
    pub const fn new(hash: u64, source: u8, port: u16, is_udp: bool) -> Self {
        Self(hash & TAG | if is_udp { UDP } else { 0 } | (source as u64) << 16 | port as u64)
    }

    /// Being filled, or emptied: nobody's but whose claim that is.
    pub const fn claimed(self) -> Self {
        Self(self.0 & !STATE_BITS | 1 << 21)
    }

    pub const fn live(self) -> Self {
        Self(self.0 & !STATE_BITS | 2 << 21)
    }

    /// Found still, but on its way out unless it speaks.
    pub const fn dying(self) -> Self {
        Self(self.0 & !STATE_BITS | 3 << 21)
    }

    pub const fn is_claimed(self) -> bool {
        self.0 & STATE_BITS == 1 << 21
    }

    pub const fn is_found(self) -> bool {
        self.0 >> 21 & 2 != 0
    }

    pub const fn is_dying(self) -> bool {
        self.0 & STATE_BITS == STATE_BITS
    }

    pub const fn is_free(self) -> bool {
        self.0 == 0
    }

    /// Whether it is of the same flow, wherever that is in its life.
    pub const fn is_same(self, other: Self) -> bool {
        (self.0 ^ other.0) & !STATE_BITS == 0
    }

    pub const fn is_udp(self) -> bool {
        self.0 & UDP != 0
    }

    const fn source(self) -> u8 {
        (self.0 >> 16 & 0xf) as u8
    }

    const fn port(self) -> u16 {
        self.0 as u16
    }
}
