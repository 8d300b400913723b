//! The Internet checksum (RFC 1071): a ones' complement sum that may be taken in any order and any word size.

use std::net::IpAddr;

/// A ones' complement sum under way, kept in the machine's own byte order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// The sum over `bytes` alone. An odd last byte is padded with zero, so only the last part of a packet may be odd.
    pub fn of(bytes: &[u8]) -> Self {
        Self::default().with(bytes)
    }

    /// The sum over the TCP, UDP or ICMPv6 pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
    ///
    /// Both addresses must be of one family; `length` is that of the transport header with its payload.
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let addresses = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::of(&source.octets()).with(&destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Self::of(&source.octets()).with(&destination.octets()),
            _ => unreachable!("a packet has addresses of one family"),
        };
        addresses.with(&[0, protocol]).with(&(length as u32).to_be_bytes())
    }

    /// The sum with `bytes` added.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        // Four bytes at a time into 64 bits: at most 2^32 carries fit above, far beyond any packet, and the loop vectorizes.
        let words = bytes.chunks_exact(4);
        let rest = words.remainder();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// The sum folded to 16 bits, not complemented, as its two bytes stand in a packet.
    pub fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// The checksum field: the complement of the folded sum.
    pub fn field(self) -> [u8; 2] {
        let [high, low] = self.folded();
        [!high, !low]
    }

    /// Whether a sum that included the checksum field comes out right.
    pub fn is_valid(self) -> bool {
        self.folded() == [0xff, 0xff]
    }
}
