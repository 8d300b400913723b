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

/// A frame, what it says or why it cannot be understood, and the flow it belongs to if it is a segment.
type Understood<'a> = (&'a [u8], Result<ParsedFrame<'a>, DropReason>, Option<(FourTuple, FlowHash)>);

impl Stack {
    /// Takes in one frame. Bounded work: at most one segment is handled and one reply queued.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        let parsed = &wire::parse(frame, self.config.checksums);
        let flow = self.flow_of(parsed);
        self.take_in(now, frame, parsed, flow);
    }

    /// Takes in a batch of frames that arrived in this order. Where there have been many flows this waits for memory once for a
    /// good part of the batch, and not once for each frame.
    pub fn handle_frames<'a>(&mut self, now: Instant, frames: impl IntoIterator<Item = &'a [u8]>) {
        let mut frames = frames.into_iter();
        if self.flows.added() < PREFETCH_ABOVE {
            return frames.for_each(|frame| self.handle_frame(now, frame));
        }
        loop {
            let mut batch: [Option<Understood<'_>>; LOOK_AHEAD] = [const { None }; LOOK_AHEAD];
            let mut len = 0;
            for (place, frame) in batch.iter_mut().zip(&mut frames) {
                let (_, parsed, flow) = place.insert((frame, wire::parse(frame, self.config.checksums), None));
                *flow = self.flow_of(parsed);
                len += 1;
            }
            self.prefetch(&batch[..len]);
            for (frame, parsed, flow) in batch[..len].iter().flatten() {
                self.take_in(now, frame, parsed, *flow);
            }
            if len < LOOK_AHEAD {
                return;
            }
        }
    }

    fn flow_of(&self, parsed: &Result<ParsedFrame<'_>, DropReason>) -> Option<(FourTuple, FlowHash)> {
        let Ok(ParsedFrame { packet: Packet::Tcp(ip, segment), .. }) = parsed else { return None };
        let tuple = FourTuple::of_received(ip, &segment.header);
        Some((tuple, self.secrets.identify(&tuple)))
    }

    /// Names the memory that a batch will need: the flow table first, then what it leads to, and so on.
    fn prefetch(&self, batch: &[Option<Understood<'_>>]) {
        let hashes = || batch.iter().flatten().filter_map(|(_, _, flow)| flow.map(|(_, hash)| hash.slot));
        hashes().for_each(|hash| prefetch(self.flows.home(hash)));
        let indices = || hashes().filter_map(|hash| self.flows.guess(hash)).filter_map(Flow::connection);
        indices().for_each(|index| self.connections.prefetch_slot(index));
        indices().for_each(|index| self.connections.prefetch(index));
    }

    fn take_in(
        &mut self,
        now: Instant,
        frame: &[u8],
        parsed: &Result<ParsedFrame<'_>, DropReason>,
        flow: Option<(FourTuple, FlowHash)>,
    ) {
        self.stats.frames_received += 1;
        let handled = match parsed {
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
        flow: Option<(FourTuple, FlowHash)>,
    ) -> Result<(), DropReason> {
        if frame.link.destination != self.mac && !frame.link.destination.is_group() {
            return Err(DropReason::OtherStation);
        }
        match (&frame.packet, flow) {
            (Packet::Arp(packet), _) => self.handle_arp(now, &frame.link, packet),
            (Packet::Icmp(ip, message), _) => {
                self.check_source(ip.source)?;
                self.handle_icmp(now, &frame.link, ip, message)
            }
            (Packet::Udp(ip, datagram), _) => {
                self.check_source(ip.source)?;
                self.handle_datagram(&frame.link, ip, datagram)
            }
            (Packet::Tcp(ip, segment), Some(flow)) => self.handle_segment(now, &frame.link, ip, segment, flow),
            (Packet::Tcp(..), None) => unreachable!("every segment belongs to a flow"),
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
