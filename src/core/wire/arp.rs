//! The Address Resolution Protocol for IPv4 over Ethernet (RFC 826).

use super::ethernet::MacAddress;
use crate::drops::DropReason;
use std::net::Ipv4Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Bytes of an ARP packet about Ethernet and IPv4.
pub const PACKET_LEN: usize = size_of::<Layout>();

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: [u8; 6],
    sender_ip: [u8; 4],
    target_mac: [u8; 6],
    target_ip: [u8; 4],
}

/// What an ARP packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Asks who has the target address.
    Request,
    /// Tells who has the sender address.
    Reply,
}

/// An ARP packet about Ethernet and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Question or answer.
    pub operation: Operation,
    /// The sender's station address.
    pub sender_mac: MacAddress,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's station address; meaningless in a request.
    pub target_mac: MacAddress,
    /// The IPv4 address asked for.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Reads a packet; bytes behind it are Ethernet padding.
    ///
    /// # Errors
    /// [`DropReason::MalformedArp`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let (layout, _) = Layout::ref_from_prefix(bytes).map_err(|_| DropReason::MalformedArp)?;
        let expected = (layout.hardware, layout.protocol, layout.hardware_len, layout.protocol_len);
        if expected != (U16::new(1), U16::new(0x0800), 6, 4) {
            return Err(DropReason::MalformedArp);
        }
        let operation = match layout.operation.get() {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(DropReason::MalformedArp),
        };
        Ok(Self {
            operation,
            sender_mac: MacAddress(layout.sender_mac),
            sender_ip: layout.sender_ip.into(),
            target_mac: MacAddress(layout.target_mac),
            target_ip: layout.target_ip.into(),
        })
    }

    /// The answer to this request: `ours` is the station that has its target address.
    #[must_use]
    pub fn answered_by(&self, ours: MacAddress) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: ours,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Writes the packet to the front of `buffer`.
    ///
    /// # Panics
    /// Where `buffer` is shorter than [`PACKET_LEN`].
    pub fn write(&self, buffer: &mut [u8]) {
        let layout = Layout {
            hardware: U16::new(1),
            protocol: U16::new(0x0800),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(match self.operation {
                Operation::Request => 1,
                Operation::Reply => 2,
            }),
            sender_mac: self.sender_mac.0,
            sender_ip: self.sender_ip.octets(),
            target_mac: self.target_mac.0,
            target_ip: self.target_ip.octets(),
        };
        buffer[..PACKET_LEN].copy_from_slice(layout.as_bytes());
    }
}
