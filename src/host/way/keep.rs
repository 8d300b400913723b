//! Has the kernel keep neighbours known, and gives them back.

use super::{
    HostError, Rtnl,
    messages::{self, neighbour},
    neighbours::{Entry, Key, Share, Told},
};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// RFC 863: whoever listens there wants nothing of what it gets.
const DISCARD: u16 = 9;

pub(super) struct Keeping {
    /// One for each IP version that the kernel has: opened beforehand, because a confined process opens none.
    sockets: Vec<UdpSocket>,
    /// Whether the kernel has refused to be told for want of rights, which do not come back.
    may_not: bool,
}

impl Keeping {
    pub fn new() -> Self {
        let open = |address: IpAddr| {
            let socket = UdpSocket::bind((address, 0)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        let addresses = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Self { sockets: addresses.into_iter().filter_map(open).collect(), may_not: false }
    }

    /// Has the kernel keep these neighbours, each given with a destination behind it, and whether there is no such
    /// entry yet.
    pub fn keep(&mut self, rtnl: &mut Rtnl, neighbours: &[(Key, IpAddr, bool)]) -> Result<Vec<Told>, HostError> {
        let answers = if self.may_not {
            neighbours.iter().map(|_| Err(io::ErrorKind::PermissionDenied.into())).collect()
        } else {
            let requests = neighbours.iter().map(|&(key, _, new)| messages::keep(key, new)).collect();
            rtnl.change_each("have neighbours kept known", requests, NLM_F_CREATE)?
        };
        let told = neighbours.iter().zip(answers).map(|(&(_, user, _), answer)| match answer {
            Ok(()) => Told::Kept,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.may_not = true;
                self.ask(user);
                Told::Asked
            }
            Err(error) => Told::Refused { errno: error.raw_os_error().unwrap_or(libc::EINVAL) },
        });
        Ok(told.collect())
    }

    /// Makes the kernel look for the next hop to a destination.
    fn ask(&self, destination: IpAddr) {
        let is_of = |socket: &&UdpSocket| socket.local_addr().is_ok_and(|it| it.is_ipv4() == destination.is_ipv4());
        if let Some(socket) = self.sockets.iter().find(is_of) {
            // Whatever comes of it: an error is another datagram's, and the kernel has been made to look.
            socket.send_to(&[0], (destination, DISCARD)).ok();
        }
    }
}

/// What the kernel has of these neighbours.
pub(super) fn look(rtnl: &mut Rtnl, keys: &[Key]) -> Result<Vec<Option<Entry>>, HostError> {
    let requests = keys.iter().map(|&key| messages::neighbour_request(key)).collect();
    let answers = rtnl.ask_each("look at neighbours", requests)?;
    let entry = |answer: io::Result<Option<RouteNetlinkMessage>>| match answer {
        Ok(Some(RouteNetlinkMessage::NewNeighbour(message))) => neighbour(&message).map(|(_, entry)| entry),
        _ => None,
    };
    Ok(answers.into_iter().map(entry).collect())
}

/// Gives neighbours back, as far as the kernel lets us.
pub(super) fn give_back(rtnl: &mut Rtnl, left: &[(Key, Share)]) -> Result<(), HostError> {
    let what = "give neighbours back";
    let of = |wanted| left.iter().filter(move |&&(_, share)| share == wanted).map(|&(key, _)| key);
    let joined: Vec<_> = of(Share::Flag).collect();
    let answers = rtnl.change_each(what, joined.iter().map(|&key| messages::release(key)).collect(), 0)?;
    // Where the kernel does not know where it is, there is nothing to keep.
    let unknown = joined.iter().zip(answers).filter(|(_, answer)| answer.is_err()).map(|(&key, _)| key);
    let forgotten = of(Share::All).chain(unknown).map(messages::forget).collect();
    for error in rtnl.change_each(what, forgotten, 0)?.into_iter().filter_map(Result::err) {
        // Somebody else has deleted it, or its interface; or there is no right to do it any more.
        tracing::debug!("a neighbour was not given back: {error}");
    }
    Ok(())
}
