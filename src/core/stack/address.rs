//! The addresses a stack answers to.

use crate::wire::{AddressError, InterfaceId, check_host};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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

/// An address with a prefix that cannot be read, or that no host can have.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// It does not parse.
    #[error("\"{0}\" is no address with a prefix length; write it like 198.18.0.1/24 or 2001:2::1/64")]
    Syntax(String),
    /// It names an interface.
    #[error("\"{0}\" comes with a zone, which says no more than the interface does: leave out what begins with %")]
    Zone(String),
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
    #[error(transparent)]
    Address(#[from] AddressError),
}

debug_as_display!(CidrError);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let syntax = || CidrError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        if address.contains('%') {
            return Err(CidrError::Zone(text.to_owned()));
        }
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        let cidr = Self { address, prefix };
        cidr.check().map(|()| cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// Whether a host can have this address, with this prefix.
    ///
    /// # Errors
    /// [`CidrError`] says why not.
    pub fn check(&self) -> Result<(), CidrError> {
        let Self { address, prefix } = *self;
        check_host(address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(CidrError::Prefix { address, prefix, most });
        }
        Ok(self.check_neighbour(address)?)
    }

    /// Whether `address` may be a host's, as far as this subnet goes: it is neither the subnet's own address nor its broadcast address.
    /// An address outside of the subnet may be.
    ///
    /// # Errors
    /// [`AddressError`] says why not.
    pub fn check_neighbour(&self, address: IpAddr) -> Result<(), AddressError> {
        if self.is_broadcast(address) {
            return Err(AddressError::NotUnicast(address));
        }
        match self.first() {
            Some((subnet, first)) if subnet == address => {
                Err(AddressError::Subnet { subnet, prefix: self.prefix, first })
            }
            _ => Ok(()),
        }
    }

    /// This subnet's own address, and the first host's behind it. Subnets of one or two addresses have none of the former
    /// (RFC 3021, RFC 6164).
    fn first(&self) -> Option<(IpAddr, IpAddr)> {
        match self.address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).filter(|&hosts| hosts > 1)?;
                let subnet = address.to_bits() & !hosts;
                Some((Ipv4Addr::from(subnet).into(), Ipv4Addr::from(subnet + 1).into()))
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(self.prefix.into()).filter(|&hosts| hosts > 1)?;
                let subnet = address.to_bits() & !hosts;
                Some((Ipv6Addr::from(subnet).into(), Ipv6Addr::from(subnet + 1).into()))
            }
        }
    }

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

/// An address, and the interface that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub interface: InterfaceId,
    pub local: LocalAddress,
}

/// All addresses of a stack. They are few, so a list is searched faster than a table.
///
/// Each belongs to one interface, where ARP and neighbour discovery answer for it. Packets to it are taken from any
/// (RFC 1122 §3.3.4.2, the weak model).
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    local: Vec<Placed>,
    /// The directed broadcasts of their subnets: both ends of whatever belongs to no connection are compared with them.
    broadcasts: Vec<IpAddr>,
}

impl Addresses {
    /// These addresses, all of them on the first interface.
    pub fn new(local: Vec<LocalAddress>) -> Self {
        let interface = InterfaceId::FIRST;
        let mut addresses = Self::default();
        addresses.local.extend(local.into_iter().map(|local| Placed { interface, local }));
        addresses.note_broadcasts();
        addresses
    }

    fn note_broadcasts(&mut self) {
        self.broadcasts = self.iter().filter_map(|local| local.cidr.broadcast()).collect();
    }

    /// Adds one.
    pub(super) fn insert(&mut self, interface: InterfaceId, local: LocalAddress) {
        self.local.push(Placed { interface, local });
        self.note_broadcasts();
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, address: IpAddr) {
        self.local.retain(|placed| placed.local.cidr.address != address);
        self.note_broadcasts();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.local.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.local.is_empty()
    }

    /// Whether `address` is one of ours, shared or not.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|local| local.cidr.address == address)
    }

    /// Whether `address` is ours alone.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.iter().any(|local| local.cidr.address == address && local.ownership == Ownership::Own)
    }

    /// The interface that `address` belongs to.
    pub fn interface_of(&self, address: IpAddr) -> Option<InterfaceId> {
        let placed = self.local.iter().find(|placed| placed.local.cidr.address == address);
        placed.map(|placed| placed.interface)
    }

    /// Whether `address` is one of ours and belongs to this interface, shared or not.
    pub fn is_on(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.on(interface).any(|local| local.cidr.address == address)
    }

    /// Whether `address` is ours alone and belongs to this interface.
    pub fn owns_on(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.on(interface).any(|local| local.cidr.address == address && local.ownership == Ownership::Own)
    }

    /// Whether `address` is the directed broadcast of a subnet of ours.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.broadcasts.contains(&address)
    }

    /// Addresses that no segment comes from, apart from those that are nobody's anywhere: ours, and the broadcast addresses of
    /// their subnets.
    pub fn impossible_sources(&self) -> Vec<IpAddr> {
        self.iter().flat_map(|local| [Some(local.cidr.address), local.cidr.broadcast()]).flatten().collect()
    }

    /// The addresses, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &LocalAddress> {
        self.local.iter().map(|placed| &placed.local)
    }

    /// Those of one interface.
    pub fn on(&self, interface: InterfaceId) -> impl Iterator<Item = &LocalAddress> {
        self.local.iter().filter(move |placed| placed.interface == interface).map(|placed| &placed.local)
    }

    /// With the interfaces that they belong to.
    pub(super) fn placed(&self) -> impl DoubleEndedIterator<Item = &Placed> {
        self.local.iter()
    }
}
