use crate::{bpf::FloodSource, lab::FLOODS};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// A block of addresses, of which random ones are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Where floods come from unless told otherwise: the parts of the benchmarking ranges (RFC 2544 appendix C.2.2, RFC 5180
    /// §8) that no lab's kernel has addresses in.
    pub fn default_for(target: IpAddr) -> Self {
        let [(v4, v4_length), (v6, v6_length)] = FLOODS;
        match target {
            IpAddr::V4(_) => Self { address: v4, length: v4_length },
            IpAddr::V6(_) => Self { address: v6, length: v6_length },
        }
    }

    /// The block of this length that an address is in.
    pub(super) fn around(address: IpAddr, length: u8) -> Self {
        let base = Self { address, length }.source().base;
        let base = Ipv6Addr::from(base);
        let first = if address.is_ipv4() { base.to_canonical() } else { base.into() };
        Self { address: first, length }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits its addresses share.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether an address is one of its own.
    pub fn contains(self, address: IpAddr) -> bool {
        let (mine, theirs) = (self.source(), octets(address));
        let fixed = theirs.iter().zip(mine.mask).map(|(byte, mask)| byte & !mask);
        self.address.is_ipv4() == address.is_ipv4() && fixed.eq(mine.base)
    }

    /// As the XDP program takes it.
    pub(super) fn source(self) -> FloodSource {
        let bits = if self.address.is_ipv4() { 96 } else { 0 } + u32::from(self.length);
        let mask = u128::MAX.checked_shr(bits).unwrap_or(0);
        let base = u128::from_be_bytes(octets(self.address)) & !mask;
        FloodSource { base: base.to_be_bytes(), mask: mask.to_be_bytes() }
    }
}

/// IPv4 addresses are mapped into IPv6.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no prefix: write an address and a length, such as 198.19.0.0/16");
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let length: u8 = length.parse().map_err(|_| bad())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if length > longest {
            return Err(bad());
        }
        let prefix = Self { address, length };
        if prefix.source().base != octets(address) {
            return Err(format!("{text:?} has bits set behind its {length}: write the block's first address"));
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}
