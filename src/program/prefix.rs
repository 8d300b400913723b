//! Prefixes as one types them: `10.0.0.0/24`, or one address alone.

use std::{fmt, net::IpAddr, str::FromStr};
use thiserror::Error;

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no address or prefix: write 10.0.0.2, 10.0.0.0/24 or fd00::/64")]
pub struct PrefixError(String);

impl Prefix {
    /// The block of this length that an address is in; none where the address has fewer bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let shift = |bits: u32| bits.checked_sub(length.into());
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(shift(32)?).unwrap_or(0);
                IpAddr::from((u32::from(address) & mask).to_be_bytes())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(shift(128)?).unwrap_or(0);
                IpAddr::from((u128::from(address) & mask).to_be_bytes())
            }
        };
        Some(Self { address, length })
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits its addresses share.
    pub fn length(self) -> u8 {
        self.length
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let bad = || PrefixError(text.to_owned());
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        // "+8" is a number for Rust.
        let is_number = |length: &str| length.bytes().all(|digit| digit.is_ascii_digit());
        let length = match length {
            Some(length) => length.parse().ok().filter(|_| is_number(length)).ok_or_else(bad)?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, length).ok_or_else(bad)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn an_address_is_a_prefix_of_its_own() {
        for (text, shown) in [
            ("10.0.0.2", "10.0.0.2/32"),
            ("10.0.0.2/24", "10.0.0.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("255.255.255.255/1", "128.0.0.0/1"),
            ("fd00::2", "fd00::2/128"),
            ("fd00:1:2:3:4::/64", "fd00:1:2:3::/64"),
            ("fd00::1/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Prefix>().map(|prefix| prefix.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "fd00::/129", "fe80::1%eth0", "host", "1.2.3.4/+8", "/8"]
        {
            let error = bad.parse::<Prefix>().unwrap_err().to_string();
            assert!(error.contains("is no address or prefix: write 10.0.0.2"), "{bad}: {error}");
        }
    }
}
