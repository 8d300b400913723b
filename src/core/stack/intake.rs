//! Frames come in: parsed, looked up, and handed to whom they are for.

use super::{Glimpse, Incoming, Stack, flow_table::Flow, interface::Interface};
use crate::{
    drops::DropReason,
    prefetch::prefetch,
    time::Instant,
    wire::{self, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, ParsedFrame},
};
use std::net::IpAddr;

/// Frames that are looked at together.
const LOOK_AHEAD: usize = 16;
/// So many flows are at hand anyway: what belongs to them fits into a CPU's own cache.
const PREFETCH_ABOVE: u64 = 256;

impl Stack {
    /// Takes in one frame that came by `interface`. Bounded work: at most one segment is handled and one reply queued.
    pub fn handle_frame<'a>(&mut self, now: Instant, interface: InterfaceId, frame: impl Into<Incoming<'a>>) {
        let Incoming { frame, glimpse } = frame.into();
        self.take_in(now, interface, frame, glimpse.as_ref());
    }

    /// Takes in a batch of frames that arrived by `interface` in this order. Where there have been many flows this waits for memory
    /// once for a good part of the batch, and not once for each frame.
    pub fn handle_frames<'a, F: Into<Incoming<'a>>>(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frames: impl IntoIterator<Item = F>,
    ) {
        let mut frames = frames.into_iter().map(Into::into);
        if self.flows.added() < PREFETCH_ABOVE {
            return frames
                .for_each(|Incoming { frame, glimpse }| self.take_in(now, interface, frame, glimpse.as_ref()));
        }
        loop {
            let mut batch = [Incoming { frame: &[], glimpse: None }; LOOK_AHEAD];
            let mut len = 0;
            for (place, Incoming { frame, glimpse }) in batch.iter_mut().zip(&mut frames) {
                *place = Incoming { frame, glimpse: glimpse.or_else(|| self.secrets.glimpse(frame)) };
                len += 1;
            }
            self.prefetch(&batch[..len]);
            for Incoming { frame, glimpse } in &batch[..len] {
                self.take_in(now, interface, frame, glimpse.as_ref());
            }
            if len < LOOK_AHEAD {
                return;
            }
        }
    }

    /// Names the memory that a batch will need: the flow table first, then what it leads to, and so on.
    fn prefetch(&self, batch: &[Incoming<'_>]) {
        let hashes = || batch.iter().filter_map(|incoming| incoming.glimpse.map(|glimpse| glimpse.hash.slot));
        hashes().for_each(|hash| prefetch(self.flows.home(hash)));
        let indices = || hashes().filter_map(|hash| self.flows.guess(hash)).filter_map(Flow::connection);
        indices().for_each(|index| self.connections.prefetch_slot(index));
        indices().for_each(|index| self.connections.prefetch(index));
    }

    fn take_in(&mut self, now: Instant, interface: InterfaceId, frame: &[u8], glimpse: Option<&Glimpse>) {
        self.stats.frames_received += 1;
        self.stats.octets_received += frame.len() as u64;
        let Some(&Interface { checksums, .. }) = self.interfaces.get(interface) else {
            self.drop_examples.offer(now, DropReason::NoInterface, frame);
            return self.drops.count(DropReason::NoInterface);
        };
        // By reference: moving the value right after it was written would wait for the stores.
        let mut parsed = wire::parse(frame, checksums);
        let handled = match &mut parsed {
            Ok(parsed) => {
                parsed.link.interface = interface;
                self.handle_parsed(now, parsed, glimpse)
            }
            Err(reason) => Err(*reason),
        };
        if let Err(mut reason) = handled {
            if reason == DropReason::Parted
                && let Ok(parsed) = &parsed
            {
                match self.arrive_at_pair(now, parsed, frame, glimpse) {
                    Ok(()) => return,
                    Err(refused) => reason = refused,
                }
            }
            self.drops.count(reason);
            self.drop_examples.offer(now, reason, frame);
            self.answer_by_icmp_error(now, interface, frame, reason);
        }
    }

    pub(super) fn handle_parsed(
        &mut self,
        now: Instant,
        frame: &ParsedFrame<'_>,
        glimpse: Option<&Glimpse>,
    ) -> Result<(), DropReason> {
        let Interface { mac, vlan, answers_to, .. } = &self.interfaces[frame.link.interface];
        if !frame.link.vlan.are_of(*vlan) {
            return Err(DropReason::OtherVlan);
        }
        if frame.link.destination != *mac && !frame.link.destination.is_group() {
            return Err(DropReason::OtherStation);
        }
        let redirected = answered_to(&frame.link, *answers_to);
        let link = redirected.as_ref().unwrap_or(&frame.link);
        match &frame.packet {
            Packet::Arp(packet) => self.handle_arp(now, &frame.link, packet),
            Packet::Icmp(ip, message) => {
                self.check_source(ip.source)?;
                let link = if message.is_neighbour_discovery() { &frame.link } else { link };
                self.handle_icmp(now, link, ip, message)
            }
            Packet::Udp(ip, datagram) => {
                self.check_source(ip.source)?;
                self.handle_datagram(link, ip, datagram)
            }
            Packet::Tcp(ip, segment) => {
                let tuple = FourTuple::of_received(ip, &segment.header);
                let hash = match glimpse {
                    Some(glimpse) if glimpse.tuple == tuple => glimpse.hash,
                    _ => self.secrets.identify(&tuple),
                };
                self.handle_segment(now, link, ip, segment, &Glimpse { tuple, hash })
            }
        }
    }

    /// TCP and UDP are for one of our addresses, and from one that can be answered.
    pub(super) fn check_ends(&self, link: &LinkHeader, ip: &IpHeader) -> Result<(), DropReason> {
        // MUST-57: TCP to a group is dropped silently, whichever layer names the group.
        if link.destination.is_group() || ip.destination.is_multicast() || self.addresses.is_broadcast(ip.destination) {
            return Err(DropReason::GroupDestination);
        }
        // MUST-63; IPv4's other impossible sources have been refused by the parser.
        if ip.source.is_unspecified() {
            return Err(DropReason::InvalidSource);
        }
        if !self.addresses.contains(ip.destination) {
            return Err(DropReason::OtherDestination);
        }
        Ok(())
    }

    pub(super) fn check_source(&self, source: IpAddr) -> Result<(), DropReason> {
        if self.addresses.contains(source) {
            Err(DropReason::OwnSource)
        } else if self.addresses.is_broadcast(source) {
            Err(DropReason::InvalidSource)
        } else {
            Ok(())
        }
    }
}

/// The link header of a packet as it counts behind a director: as if it had come from the router, which is where answers go, wherever
/// it came from.
#[inline]
pub(super) fn answered_to(link: &LinkHeader, answers_to: Option<MacAddress>) -> Option<LinkHeader> {
    answers_to.map(|station| LinkHeader { source: station, ..*link })
}
