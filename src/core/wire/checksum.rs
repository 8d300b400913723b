//! The Internet checksum (RFC 1071): a ones' complement sum that may be taken in any order and any word size.

#[allow(unsafe_code)] // functions compiled for AVX2 are called; every block says who asked the CPU
mod sum;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// A ones' complement sum under way: a number modulo 2^64 - 1, whose words are in the machine's own byte order.
///
/// That modulus is a multiple of 2^16 - 1, RFC 1071's, so what is folded at the end is the sum of 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// The sum over `bytes` alone. An odd last byte is padded with zero, so only the last part of a packet may be odd, unless
    /// what follows is taken [`Checksum::behind`] it.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sum::of(bytes))
    }

    /// The sum over words that stand in the packet in network byte order: fewer than 2^32 of them.
    #[inline]
    pub fn of_words(words: &[u32]) -> Self {
        Self(words.iter().map(|word| u64::from(word.to_be())).sum())
    }

    /// Copies `source` to `destination` and returns the sum over it: one pass where both are wanted.
    ///
    /// # Panics
    /// Where the two differ in length.
    #[inline]
    pub fn of_copied(source: &[u8], destination: &mut [u8]) -> Self {
        Self(sum::copy(source, destination))
    }

    /// The sum over the TCP, UDP or ICMPv6 pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
    ///
    /// Both addresses must be of one family; `length` is that of the transport header with its payload.
    #[inline(always)]
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let addresses = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::of_words(&[source.to_bits(), destination.to_bits()]),
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::of_address(source.octets()).plus(Self::of_address(destination.octets()))
            }
            _ => unreachable!("a packet has addresses of one family"),
        };
        addresses.plus(Self::of_words(&[protocol.into(), length as u32]))
    }

    /// The sum with `bytes` added.
    #[must_use]
    #[inline]
    pub fn with(self, bytes: &[u8]) -> Self {
        self.plus(Self::of(bytes))
    }

    /// The sum with that of another part added.
    #[must_use]
    #[inline]
    pub const fn plus(self, part: Self) -> Self {
        Self(sum::add(self.0, part.0))
    }

    /// What the sum counts where so many bytes are in front of the part it was taken over: behind an odd number of them, upper
    /// and lower halves of words change places (RFC 1071 §2 B).
    #[must_use]
    #[inline]
    pub const fn behind(self, length: usize) -> Self {
        if length.is_multiple_of(2) { self } else { Self(self.0.rotate_left(8)) }
    }

    /// The sum folded to 16 bits, not complemented, as its two bytes stand in a packet.
    #[inline]
    pub const fn folded(self) -> [u8; 2] {
        // Each half, added to the other, carries into the upper one: what is left there has its carry taken around.
        let words = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        ((words.wrapping_add(words.rotate_left(16)) >> 16) as u16).to_ne_bytes()
    }

    /// The checksum field: the complement of the folded sum.
    #[inline]
    pub const fn field(self) -> [u8; 2] {
        let [high, low] = self.folded();
        [!high, !low]
    }

    /// Whether a sum that included the checksum field comes out right.
    #[inline]
    pub const fn is_valid(self) -> bool {
        matches!(self.folded(), [0xff, 0xff])
    }

    #[inline]
    fn of_address(octets: [u8; 16]) -> Self {
        let address = u128::from_ne_bytes(octets);
        Self(address as u64).plus(Self((address >> 64) as u64))
    }
}
