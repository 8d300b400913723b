use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::Serialize;

use super::{PREFIX_V4, PREFIX_V6, benchmarking_v6};

/// One of the two sides of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Where the server runs.
    Server,
    /// Where the client runs.
    Client,
}

impl Role {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];

    /// The addresses of the kernel on this side; their prefix lengths are [`PREFIX_V4`] and [`PREFIX_V6`].
    pub fn addresses(self) -> (Ipv4Addr, Ipv6Addr) {
        match self {
            Self::Server => (Ipv4Addr::new(198, 18, 0, 254), benchmarking_v6(0xfe)),
            Self::Client => (Ipv4Addr::new(198, 18, 0, 2), benchmarking_v6(0x2)),
        }
    }

    /// The Ethernet address of the interface on this side: locally administered, and the same in every lab, so that one
    /// capture reads like another. It is also the mark by which a lab is told from somebody else's namespaces.
    pub fn mac(self) -> [u8; 6] {
        let last = match self {
            Self::Server => 0x01,
            Self::Client => 0x02,
        };
        [0x02, b'x', b's', b'k', 0x00, last]
    }

    /// The index of the interface on this side, beyond those that a new namespace may have in use.
    pub(super) fn interface_index(self) -> u32 {
        match self {
            Self::Server => 101,
            Self::Client => 102,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            other => Err(format!("{other:?} is not a side of a lab: name `server` or `client`")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// The addresses that a kernel on a side has, with their prefix lengths.
pub(super) fn kernel_addresses(role: Role) -> [(IpAddr, u8); 2] {
    let (v4, v6) = role.addresses();
    [(v4.into(), PREFIX_V4), (v6.into(), PREFIX_V6)]
}
