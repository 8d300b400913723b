//! Frames come in: parsed, looked up, and handed to whom they are for.

use super::{FlowHash, Stack, flow_table::Flow};
use crate::{
    drops::DropReason,
    prefetch::prefetch,
    time::Instant,
    wire::{self, FourTuple, IpHeader, LinkHeader, Packet, ParsedFrame},
};
use std::net::IpAddr;

/// Frames that are looked at together.
const LOOK_AHEAD: usize = 16;
/// So many flows are at hand anyway: what belongs to them fits into a CPU's own cache.
const PREFETCH_ABOVE: u64 = 256;

/// The flow that a frame seems to belong to, at a glance.
type Glimpsed = (FourTuple, FlowHash);

impl Stack {
    /// Takes in one frame. Bounded work: at most one segment is handled and one reply queued.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        self.take_in(now, frame, None);
    }

    /// Takes in a batch of frames that arrived in this order. Where there have been many flows this waits for memory once for a
    /// good part of the batch, and not once for each frame.
    pub fn handle_frames<'a>(&mut self, now: Instant, frames: impl IntoIterator<Item = &'a [u8]>) {
        let mut frames = frames.into_iter();
        if self.flows.added() < PREFETCH_ABOVE {
            return frames.for_each(|frame| self.handle_frame(now, frame));
        }
        loop {
            let mut batch: [(&[u8], Option<Glimpsed>); LOOK_AHEAD] = [(&[], None); LOOK_AHEAD];
            let mut len = 0;
            for (place, frame) in batch.iter_mut().zip(&mut frames) {
                *place = (frame, wire::peek_flow(frame).map(|tuple| (tuple, self.secrets.identify(&tuple))));
                len += 1;
            }
            self.prefetch(&batch[..len]);
            for (frame, flow) in &batch[..len] {
                self.take_in(now, frame, flow.as_ref());
            }
            if len < LOOK_AHEAD {
                return;
            }
        }
    }

    /// Names the memory that a batch will need: the flow table first, then what it leads to, and so on.
    fn prefetch(&self, batch: &[(&[u8], Option<Glimpsed>)]) {
        let hashes = || batch.iter().filter_map(|(_, flow)| flow.map(|(_, hash)| hash.slot));
        hashes().for_each(|hash| prefetch(self.flows.home(hash)));
        let indices = || hashes().filter_map(|hash| self.flows.guess(hash)).filter_map(Flow::connection);
        indices().for_each(|index| self.connections.prefetch_slot(index));
        indices().for_each(|index| self.connections.prefetch(index));
    }

    fn take_in(&mut self, now: Instant, frame: &[u8], flow: Option<&Glimpsed>) {
        self.stats.frames_received += 1;
        // Looked at where it was written: to move it would wait for it to have been.
        let handled = match &wire::parse(frame, self.config.checksums) {
            Ok(parsed) => self.handle_parsed(now, parsed, flow),
            Err(reason) => Err(*reason),
        };
        if let Err(reason) = handled {
            self.drops.count(reason);
            self.complain(now, frame, reason);
        }
    }

    fn handle_parsed(
        &mut self,
        now: Instant,
        frame: &ParsedFrame<'_>,
        flow: Option<&Glimpsed>,
    ) -> Result<(), DropReason> {
        if !frame.link.vlan.are_of(self.config.vlan) {
            return Err(DropReason::OtherVlan);
        }
        if frame.link.destination != self.mac && !frame.link.destination.is_group() {
            return Err(DropReason::OtherStation);
        }
        let turned = self.turned(&frame.link);
        let link = turned.as_ref().unwrap_or(&frame.link);
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
                let hash = match flow {
                    Some((seen, hash)) if *seen == tuple => *hash,
                    _ => self.secrets.identify(&tuple),
                };
                self.handle_segment(now, link, ip, segment, (tuple, hash))
            }
        }
    }

    /// Behind a director, where a packet counts as coming from: answers go to the router, and no segment says anything of the way.
    #[inline]
    pub(super) fn turned(&self, link: &LinkHeader) -> Option<LinkHeader> {
        self.config.answers_to.map(|station| LinkHeader { source: station, ..*link })
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
