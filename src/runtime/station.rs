//! Whom answers go to, where that is not whom a frame came from: the router of a server behind a director.

use super::{
    InterfaceChange, RuntimeError,
    link_watch::Followers,
    notice::{Notice, Notices},
};
use crate::{
    host::{
        Link,
        neighbour::{self, Inquiry},
    },
    wire::{MacAddress, ethernet::NoMacAddress},
    xdp::Guard,
};
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// Looks at the neighbour's entry between two datagrams to it, by which the kernel notices that it has moved.
const LOOKS_PER_QUESTION: u32 = 40;

/// A station on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// The one with this link address.
    Link(MacAddress),
    /// A neighbour of the kernel's: its link address is looked up, and followed where it changes.
    Neighbour(IpAddr),
}

impl FromStr for Station {
    type Err = NoStation;

    fn from_str(text: &str) -> Result<Self, NoStation> {
        let link = text.parse().map(Self::Link);
        link.or_else(|NoMacAddress| text.parse().map(Self::Neighbour)).map_err(|_| NoStation)
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(mac) => mac.fmt(f),
            Self::Neighbour(address) => address.fmt(f),
        }
    }
}

/// What was given names no station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a station is named by its link address, such as 02:00:5e:10:00:01, or by its IP address")]
pub struct NoStation;

impl Station {
    /// Its link address.
    pub(super) fn resolve(self, link: &Link) -> Result<MacAddress, RuntimeError> {
        let mac = match self {
            Self::Link(mac) => mac,
            Self::Neighbour(address) => {
                let found = neighbour::resolve(link, address)?;
                let silent = || RuntimeError::StationSilent { interface: link.name.clone(), address };
                MacAddress(found.ok_or_else(silent)?)
            }
        };
        if mac.is_group() || mac == MacAddress::default() || mac.0 == link.mac {
            return Err(RuntimeError::NoStation { station: self, mac });
        }
        Ok(mac)
    }
}

/// A neighbour that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    address: IpAddr,
    mac: MacAddress,
    guard: Arc<Guard>,
    /// Makes the kernel look whether it is where it was.
    inquiry: Inquiry,
    looks: u32,
}

impl Followed {
    /// Begins with a neighbour that has just been [resolved](Station::resolve).
    pub fn new(link: &Link, address: IpAddr, mac: MacAddress, guard: Arc<Guard>) -> Result<Self, RuntimeError> {
        let inquiry = Inquiry::new(link, address);
        let inquiry = inquiry.map_err(|source| RuntimeError::System { what: "reach the router", source })?;
        Ok(Self { address, mac, guard, inquiry, looks: 0 })
    }

    /// Looks where it is now, and tells the workers and the program where that is elsewhere.
    pub fn look(&mut self, link: &Link, followers: &Followers, notices: &Notices) {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_QUESTION) {
            self.inquiry.repeat();
        }
        // Who cannot be found now is where it was, for all that is known.
        let Ok(Some(found)) = neighbour::known(link, self.address) else { return };
        let mac = MacAddress(found);
        if mac == self.mac {
            return;
        }
        self.mac = mac;
        let interface = followers.interface;
        followers.workers.tell_all(move |cx| cx.stack().set_answers_to(interface, mac));
        self.guard.set_answers_to(mac.0);
        let change = InterfaceChange::Router { address: self.address, mac };
        notices.tell(Notice::Interface { interface: link.name.clone(), change });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_is_named_by_either_address() {
        let link = "02:00:5e:10:00:fe".parse();
        assert_eq!(link, Ok(Station::Link(MacAddress([2, 0, 0x5e, 0x10, 0, 0xfe]))));
        assert_eq!("198.18.0.254".parse(), Ok(Station::Neighbour([198, 18, 0, 254].into())));
        assert_eq!("2001:2::fe".parse(), Ok(Station::Neighbour("2001:2::fe".parse().unwrap())));
        for text in ["", "gateway", "02:00:5e:10:00", "02:00:5e:10:00:fe:00", "2:0:5e:10:0:fe", "+2:00:5e:10:00:fe"] {
            assert_eq!(text.parse::<Station>(), Err(NoStation), "{text}");
        }
    }

    #[test]
    fn who_is_no_other_station_is_refused() {
        let link = Link { mac: [2, 0, 0, 0, 0, 1], ..Link::default() };
        for mac in ["02:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"] {
            let station = Station::Link(mac.parse().unwrap());
            assert!(matches!(station.resolve(&link), Err(RuntimeError::NoStation { .. })), "{mac}");
        }
        let other: MacAddress = "02:00:00:00:00:02".parse().unwrap();
        assert_eq!(Station::Link(other).resolve(&link).unwrap(), other);
    }
}
