//! A server's name, as a TLS client says it: a DNS name in lower case.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    net::{Ipv4Addr, Ipv6Addr},
    str::{self, FromStr},
};
use thiserror::Error;

/// Octets of the longest name: 255 with the lengths of its labels and the root's (RFC 1035 §2.3.4), so as text two fewer.
pub const MAX_NAME: usize = 253;

/// Octets of the longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A DNS name in lower case and without a trailing dot. Equal names are equal octets.
///
/// It lies where it is, in 254 octets: to find a name in a table takes no memory from anybody. Whoever keeps many keeps a `Box<str>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerName {
    length: u8,
    /// ASCII; zero behind the name.
    octets: [u8; MAX_NAME],
}

/// Why octets are no [`ServerName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotName {
    /// An IP address, which is no name (RFC 6066 §3).
    #[error("an IP address is no server name (RFC 6066 §3); write a DNS name, such as www.example.org")]
    Address,
    /// Not a DNS name.
    #[error(
        "this is no DNS name; write labels of letters, digits, `-` and `_`, of 63 octets at most and 253 in all, \
         such as www.example.org (names in other scripts as xn--...)"
    )]
    NotDns,
}

impl ServerName {
    /// The name that these octets spell, in letters of either case and with or without a trailing dot.
    ///
    /// Labels are as in RFC 1123 §2.1, and may have underscores, as real ones do. The last one is not all digits, so what looks
    /// like an IPv4 address is none of them; names in other scripts come as A-labels (RFC 6066 §3).
    ///
    /// # Errors
    /// Where they spell an IP address, or nothing that could be in the DNS.
    pub fn new(octets: &[u8]) -> Result<Self, NotName> {
        let octets = octets.strip_suffix(b".").unwrap_or(octets);
        let is_fine = octets.len() <= MAX_NAME && octets.split(|&octet| octet == b'.').all(is_label);
        let last = octets.rsplit(|&octet| octet == b'.').next().unwrap_or_default();
        if !is_fine || last.iter().all(u8::is_ascii_digit) {
            return Err(if is_address(octets) { NotName::Address } else { NotName::NotDns });
        }
        let mut name = Self { length: octets.len() as u8, octets: [0; MAX_NAME] };
        for (to, from) in name.octets.iter_mut().zip(octets) {
            *to = from.to_ascii_lowercase();
        }
        Ok(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.octets[..self.length.into()]).unwrap_or_default()
    }
}

fn is_label(label: &[u8]) -> bool {
    let is_inner = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let is_length_right = (1..=MAX_LABEL).contains(&label.len());
    is_length_right && label.iter().all(is_inner) && !label.starts_with(b"-") && !label.ends_with(b"-")
}

fn is_address(octets: &[u8]) -> bool {
    str::from_utf8(octets).is_ok_and(|text| {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        text.parse::<Ipv4Addr>().is_ok() || bare.parse::<Ipv6Addr>().is_ok()
    })
}

impl FromStr for ServerName {
    type Err = NotName;

    fn from_str(text: &str) -> Result<Self, NotName> {
        Self::new(text.as_bytes())
    }
}

impl AsRef<str> for ServerName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// So that a map of names is asked by text, and the other way round.
impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for ServerName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
