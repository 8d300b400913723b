//! IPv4 or IPv6, as an address says.

pub use super::ip_header::{Codepoint, DEFAULT_HOP_LIMIT, Dscp, IpHeader, Protocol};

use super::{ethernet, ipv4, ipv6};
use std::net::IpAddr;

#[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
impl IpHeader {
    /// Bytes of the header as we send it.
    pub const fn len(&self) -> usize {
        header_len(self.source)
    }

    /// The EtherType that announces it.
    pub const fn ether_type(&self) -> u16 {
        match self.source {
            IpAddr::V4(_) => ethernet::ETHER_TYPE_IPV4,
            IpAddr::V6(_) => ethernet::ETHER_TYPE_IPV6,
        }
    }

    /// Writes the header for `payload_len` bytes and returns the room behind it.
    ///
    /// # Panics
    /// Where the packet does not fit `buffer`.
    #[inline(always)]
    pub fn write<'a>(&self, payload_len: usize, buffer: &'a mut [u8]) -> &'a mut [u8] {
        match self.source {
            IpAddr::V4(_) => ipv4::write(self, payload_len, buffer),
            IpAddr::V6(_) => ipv6::write(self, payload_len, buffer),
        }
    }
}

/// Bytes of the IP header we put in front of a segment from or to `address`.
pub const fn header_len(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => ipv4::HEADER_LEN,
        IpAddr::V6(_) => ipv6::HEADER_LEN,
    }
}
