//! The addresses a stack answers to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

/// Whose an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Ours alone: the stack answers ARP, neighbour discovery and ping for it.
    #[default]
    Own,
    /// The kernel's: only listed ports are ours, and neighbours are the kernel's business.
    Shared,
}

/// An IP address with the length of its subnet prefix, such as `198.18.0.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address itself.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
}

/// An address that cannot be read, or that no host can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// It does not parse.
    #[error("\"{0}\" is no address with a prefix length; write it like 198.18.0.1/24 or 2001:2::1/64")]
    Syntax(String),
    /// The prefix is longer than the address.
    #[error("/{prefix} is longer than {address} has bits; the most is /{most}")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// The prefix asked for.
        prefix: u8,
        /// The longest there is.
        most: u8,
    },
    /// A host cannot have it.
    #[error(
        "{0} cannot be a host's address: it is unspecified, loopback, multicast or broadcast; choose a unicast address"
    )]
    NotUnicast(IpAddr),
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let syntax = || CidrError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(CidrError::Prefix { address, prefix, most });
        }
        let cidr = Self { address, prefix };
        let unusable = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        if unusable || address == IpAddr::V4(Ipv4Addr::BROADCAST) || cidr.is_broadcast(address) {
            return Err(CidrError::NotUnicast(address));
        }
        Ok(cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// Whether `address` lies in this subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, true),
            IpAddr::V6(address) => (u128::from(address), false),
        };
        let ((ours, is_ipv4), (theirs, is_theirs_ipv4)) = (bits(self.address), bits(address));
        let differing = (ours ^ theirs).leading_zeros();
        is_ipv4 == is_theirs_ipv4 && differing >= self.prefix.into()
    }

    /// This subnet's directed broadcast. Subnets of one or two addresses have none (RFC 3021), nor have those of IPv6.
    pub fn broadcast(&self) -> Option<IpAddr> {
        let IpAddr::V4(ours) = self.address else { return None };
        let host_bits = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        (self.prefix < 31).then(|| Ipv4Addr::from(u32::from(ours) | host_bits).into())
    }

    /// Whether `address` is this subnet's directed broadcast.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.broadcast() == Some(address)
    }
}

/// An address of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address and its subnet.
    pub cidr: Cidr,
    /// Whether it is ours alone.
    pub ownership: Ownership,
}

/// All addresses of a stack. They are few, so a list is searched faster than a table.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Vec<LocalAddress>);

impl Addresses {
    /// These addresses.
    pub fn new(addresses: Vec<LocalAddress>) -> Self {
        Self(addresses)
    }

    /// Whether `address` is one of ours, shared or not.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|local| local.cidr.address == address)
    }

    /// Whether `address` is ours alone.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.0.iter().any(|local| local.cidr.address == address && local.ownership == Ownership::Own)
    }

    /// Whether `address` is the directed broadcast of a subnet of ours.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.0.iter().any(|local| local.cidr.is_broadcast(address))
    }

    /// Addresses that no segment comes from, apart from those that are nobody's anywhere: ours, and the broadcast addresses of
    /// their subnets.
    pub fn impossible_sources(&self) -> Vec<IpAddr> {
        self.0.iter().flat_map(|local| [Some(local.cidr.address), local.cidr.broadcast()]).flatten().collect()
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = &LocalAddress> {
        self.0.iter()
    }
}
