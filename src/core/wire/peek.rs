//! A glance at a frame: whose flow it is, from the places where headers without options have it.

use super::{Endpoint, FourTuple, Protocol, ethernet};
use std::net::IpAddr;

/// Ethernet, IPv4 without options, and a TCP header's ports; Ethernet, IPv6 and the same.
const PORTS_END_V4: usize = 38;
const PORTS_END_V6: usize = 58;

/// The version and header length of IPv4 without options.
const PLAIN_IPV4: u8 = 0x45;
/// More fragments, and the fragment's offset.
const FRAGMENT: u16 = 0x3fff;

/// The flow of a TCP segment in a frame without VLAN tags, IP options or extension headers, and not in a fragment; `None` for
/// anything else, which [`parse`](super::parse) may still understand.
///
/// Nothing is checked: this decides who is to look at the frame, and whoever does refuses what is wrong with it.
pub fn peek_flow(frame: &[u8]) -> Option<FourTuple> {
    match u16::from_be_bytes(at(frame, 12)?) {
        ethernet::ETHER_TYPE_IPV4 => {
            let headers: &[u8; PORTS_END_V4] = frame.first_chunk()?;
            let fragment = u16::from_be_bytes([headers[20], headers[21]]) & FRAGMENT;
            if headers[14] != PLAIN_IPV4 || fragment != 0 || headers[23] != Protocol::Tcp.number() {
                return None;
            }
            let address = |offset| at::<4>(headers, offset).map(IpAddr::from);
            Some(FourTuple {
                local: Endpoint { address: address(30)?, port: u16::from_be_bytes([headers[36], headers[37]]) },
                remote: Endpoint { address: address(26)?, port: u16::from_be_bytes([headers[34], headers[35]]) },
            })
        }
        ethernet::ETHER_TYPE_IPV6 => {
            let headers: &[u8; PORTS_END_V6] = frame.first_chunk()?;
            if headers[14] >> 4 != 6 || headers[20] != Protocol::Tcp.number() {
                return None;
            }
            let address = |offset| at::<16>(headers, offset).map(IpAddr::from);
            Some(FourTuple {
                local: Endpoint { address: address(38)?, port: u16::from_be_bytes([headers[56], headers[57]]) },
                remote: Endpoint { address: address(22)?, port: u16::from_be_bytes([headers[54], headers[55]]) },
            })
        }
        _ => None,
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
