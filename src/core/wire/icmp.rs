//! ICMP: echo (RFC 792, RFC 4443), the neighbour discovery messages that an end host answers (RFC 4861), and errors about
//! packets of ours.

use super::{
    checksum::Checksum,
    ethernet::MacAddress,
    icmp_error::IcmpError,
    ip::{IpHeader, Protocol},
};
use crate::drops::DropReason;
use std::net::{IpAddr, Ipv6Addr};

/// Bytes in front of an echo's data.
pub const ECHO_HEADER_LEN: usize = 8;
/// Bytes of a neighbour advertisement with the target's link-layer address.
pub const ADVERTISEMENT_LEN: usize = 32;
/// Bytes of a neighbour solicitation with our link-layer address.
pub const SOLICITATION_LEN: usize = 32;

/// Bytes of a neighbour solicitation without one.
pub const PROBE_LEN: usize = 24;

/// What RFC 4861 §7.1 demands of every neighbour discovery message: it has crossed no router.
pub const NEIGHBOUR_HOP_LIMIT: u8 = 255;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

const OPTION_SOURCE_LINK_ADDRESS: u8 = 1;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// An ICMP message we act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpMessage<'a> {
    /// Someone asks whether we are there.
    EchoRequest {
        /// Identifier and sequence number, returned as they came.
        identifier: [u8; 4],
        /// The data, returned as it came.
        data: &'a [u8],
    },
    /// Someone asks for the link-layer address of `target`.
    NeighbourSolicitation {
        /// The address asked for.
        target: Ipv6Addr,
    },
    /// Someone tells the link-layer address of `target`.
    NeighbourAdvertisement {
        /// Whose address it is.
        target: Ipv6Addr,
        /// The address; `None` where it is the frame's source.
        mac: Option<MacAddress>,
    },
    /// Something is wrong with a packet of ours.
    Error(IcmpError),
}

impl<'a> IcmpMessage<'a> {
    /// Whether this is between neighbours, and of no concern to whoever is beyond a router (RFC 4861 §4).
    pub fn is_neighbour_discovery(&self) -> bool {
        matches!(self, Self::NeighbourSolicitation { .. } | Self::NeighbourAdvertisement { .. })
    }

    /// Reads and verifies a message.
    ///
    /// # Errors
    /// The [`DropReason`] that applies; messages we do not act on are [`DropReason::IgnoredIcmp`].
    pub fn parse(ip: &IpHeader, bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, data) = bytes.split_first_chunk::<ECHO_HEADER_LEN>().ok_or(DropReason::TruncatedIcmp)?;
        if !pseudo_header(ip, bytes.len()).with(bytes).is_valid() {
            return Err(DropReason::BadIcmpChecksum);
        }
        if let Some(error) = IcmpError::parse(ip.protocol, header, data) {
            return error.map(Self::Error);
        }
        let [kind, code, _, _, identifier @ ..] = *header;
        match (ip.protocol, kind) {
            (Protocol::Icmpv4, ECHO_REQUEST) | (Protocol::Icmpv6, ECHO_REQUEST_V6) if code == 0 => {
                Ok(Self::EchoRequest { identifier, data })
            }
            (Protocol::Icmpv6, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT) => {
                let (target, options) = data.split_first_chunk::<16>().ok_or(DropReason::MalformedNeighbour)?;
                let target = Ipv6Addr::from(*target);
                // RFC 4861 §7.1: and options have a length.
                if ip.hop_limit != NEIGHBOUR_HOP_LIMIT
                    || code != 0
                    || target.is_multicast()
                    || !options_are_valid(options)
                {
                    return Err(DropReason::MalformedNeighbour);
                }
                Ok(match kind {
                    NEIGHBOUR_SOLICITATION => Self::NeighbourSolicitation { target },
                    _ => Self::NeighbourAdvertisement { target, mac: target_link_address(options) },
                })
            }
            _ => Err(DropReason::IgnoredIcmp),
        }
    }
}

fn options_are_valid(mut options: &[u8]) -> bool {
    while let [_, length, ..] = *options {
        match options.get(8 * usize::from(length)..) {
            Some(rest) if length > 0 => options = rest,
            _ => return false,
        }
    }
    options.is_empty()
}

/// The target's link-layer address, where options that are valid name it.
fn target_link_address(mut options: &[u8]) -> Option<MacAddress> {
    while let [kind, length, ..] = *options {
        let option = options.get(..8 * usize::from(length))?;
        if kind == OPTION_TARGET_LINK_ADDRESS {
            return option[2..].first_chunk().map(|address| MacAddress(*address));
        }
        options = &options[option.len()..];
    }
    None
}

/// Writes the answer to an echo request whose data already stands behind the header in `message`.
///
/// # Panics
/// Where `message` is shorter than [`ECHO_HEADER_LEN`].
pub fn write_echo_reply(ip: &IpHeader, identifier: [u8; 4], message: &mut [u8]) {
    let kind = if ip.protocol == Protocol::Icmpv6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message[4..8].copy_from_slice(&identifier);
    fill_checksum(ip, message);
}

/// Writes the advertisement that `target` is at `ours`; solicited where the question had a source to send it to.
///
/// # Panics
/// Where `message` is shorter than [`ADVERTISEMENT_LEN`].
pub fn write_advertisement(ip: &IpHeader, target: Ipv6Addr, solicited: bool, ours: MacAddress, message: &mut [u8]) {
    let flags = FLAG_OVERRIDE | if solicited { FLAG_SOLICITED } else { 0 };
    message[..8].copy_from_slice(&[NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[OPTION_TARGET_LINK_ADDRESS, 1]);
    message[26..32].copy_from_slice(&ours.0);
    fill_checksum(ip, &mut message[..ADVERTISEMENT_LEN]);
}

/// Writes the question who has `target`, asked by `ours`.
///
/// # Panics
/// Where `message` is shorter than [`SOLICITATION_LEN`].
pub fn write_solicitation(ip: &IpHeader, target: Ipv6Addr, ours: MacAddress, message: &mut [u8]) {
    message[..8].copy_from_slice(&[NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[OPTION_SOURCE_LINK_ADDRESS, 1]);
    message[26..32].copy_from_slice(&ours.0);
    fill_checksum(ip, &mut message[..SOLICITATION_LEN]);
}

/// Writes the question whether anybody has `target`, asked by who has no address yet: it names no station (RFC 4861 §4.3).
///
/// # Panics
/// Where `message` is shorter than [`PROBE_LEN`].
pub fn write_probe(ip: &IpHeader, target: Ipv6Addr, message: &mut [u8]) {
    message[..8].copy_from_slice(&[NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    message[8..24].copy_from_slice(&target.octets());
    fill_checksum(ip, &mut message[..PROBE_LEN]);
}

/// Whether an ICMPv6 message of this type is about neighbours.
pub fn is_discovery(kind: u8) -> bool {
    matches!(kind, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT)
}

/// The group that hears questions for this address (RFC 4291 §2.7.1), and its address on Ethernet (RFC 2464 §7).
pub fn solicited_node(address: Ipv6Addr) -> (Ipv6Addr, MacAddress) {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    (group, MacAddress([0x33, 0x33, 0xff, a, b, c]))
}

pub(super) fn fill_checksum(ip: &IpHeader, message: &mut [u8]) {
    let field = pseudo_header(ip, message.len()).with(message).field();
    message[2..4].copy_from_slice(&field);
}

/// ICMPv6 covers a pseudo-header (RFC 4443 §2.3), ICMPv4 does not.
fn pseudo_header(ip: &IpHeader, length: usize) -> Checksum {
    match (ip.source, ip.destination) {
        (IpAddr::V6(_), IpAddr::V6(_)) => {
            Checksum::pseudo_header(ip.source, ip.destination, Protocol::Icmpv6.number(), length)
        }
        _ => Checksum::default(),
    }
}
