//! Which addresses a host can have, as they are given by whoever sets one up. What the parsers refuse from the wire is the same, but
//! that a sender may not know its address yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address that no host can have, or another one's in disguise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A host cannot have it.
    #[error(
        "{0} cannot be a host's address: it is unspecified, loopback, multicast or broadcast; choose a unicast address"
    )]
    NotUnicast(IpAddr),
    /// An IPv4 address that is written as one of IPv6, and would be two different ones to those who compare (RFC 4942 §2.2).
    #[error("{mapped} is {ipv4} written as an address of IPv6: write {ipv4}")]
    Mapped {
        /// As it was written.
        mapped: Ipv6Addr,
        /// What it stands for.
        ipv4: Ipv4Addr,
    },
    /// The address of a subnet: in IPv6 that of all its routers (RFC 4291 §2.6.1).
    #[error("{subnet}/{prefix} names the subnet, and no host in it: choose a host's address, such as {first}")]
    Subnet {
        /// The subnet's address.
        subnet: IpAddr,
        /// Bits of its prefix.
        prefix: u8,
        /// The first host's address in it.
        first: IpAddr,
    },
    /// An address of one link, with the number of an interface.
    #[error("{address} comes with the zone %{zone}, which says no more than the interface does: leave it out")]
    Zone {
        /// The address.
        address: Ipv6Addr,
        /// The interface's number.
        zone: u32,
    },
}

/// Whether an address can be one host's.
///
/// # Errors
/// [`AddressError`] says why not.
pub fn check_host(address: IpAddr) -> Result<(), AddressError> {
    let is_nobodys = match address {
        // RFC 1122 §3.2.1.3 (a) and (b): the whole of 0.0.0.0/8 is nobody's.
        IpAddr::V4(address) => address.octets()[0] == 0 || address.is_broadcast(),
        IpAddr::V6(mapped) => {
            if let Some(ipv4) = mapped.to_ipv4_mapped() {
                return Err(AddressError::Mapped { mapped, ipv4 });
            }
            mapped.is_unspecified()
        }
    };
    if is_nobodys || address.is_loopback() || address.is_multicast() {
        Err(AddressError::NotUnicast(address))
    } else {
        Ok(())
    }
}

/// Whether a host can be spoken to at an address with a port: [`check_host`], and no zone that names an interface.
///
/// # Errors
/// [`AddressError`] says why not.
pub fn check_remote(remote: SocketAddr) -> Result<(), AddressError> {
    if let SocketAddr::V6(remote) = remote
        && remote.scope_id() != 0
    {
        return Err(AddressError::Zone { address: *remote.ip(), zone: remote.scope_id() });
    }
    check_host(remote.ip())
}
