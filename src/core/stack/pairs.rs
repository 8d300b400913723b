//! What becomes of pairs that were handed on, as far as the stack has a part in it: frames that come here all the same, other ways, and
//! their end.

use super::{FlowHash, Glimpse, Stack, Via};
use crate::{
    drops::DropReason,
    splice::{self, Carrier, Pair, PairId, Refusal, Side},
    tcp::path_mtu::believed_mtu,
    time::Instant,
    wire::{ChecksumPolicy, ErrorKind, FourTuple, IcmpError, InterfaceId, LinkHeader, MacAddress, Packet, ParsedFrame},
};
use std::collections::{HashMap, VecDeque};

/// The connections of pairs that are translated elsewhere, and who does that.
#[derive(Default)]
pub(super) struct Parted {
    carrier: Option<Box<dyn Carrier>>,
    flows: HashMap<FourTuple, PairId>,
    /// Those that were forgotten because somebody wanted their ports, until their application asks.
    gone: HashMap<PairId, Pair>,
    /// Flows of the stack's own whose local end is a client's address. What is left of one in TIME-WAIT is known by its hash alone.
    claims: HashMap<FlowHash, Claim>,
    /// Those in TIME-WAIT, the oldest first; some may be over.
    waiting: VecDeque<FlowHash>,
}

/// Of so many places one may be that of a flow in TIME-WAIT: others want to begin.
const PLACES_PER_WAITING: usize = 8;

/// A flow whose segments come here because the carrier was asked for them.
#[derive(Clone, Copy, Debug)]
struct Claim {
    id: PairId,
    tuple: FourTuple,
    /// A connection, or one in TIME-WAIT; both for as long as the one takes the other's place.
    uses: u32,
}

impl Parted {
    /// Whether a flow is one of them.
    #[inline]
    pub fn contains(&self, tuple: &FourTuple) -> bool {
        !self.flows.is_empty() && self.flows.contains_key(tuple)
    }

    /// Whether a flow's local end is a client's address, and its segments are for us all the same.
    #[cold]
    pub fn speaks_for(&self, tuple: &FourTuple, hash: FlowHash) -> bool {
        self.claims.contains_key(&hash) || self.contains(tuple)
    }

    /// Has a flow's segments come here, until it is [released](Self::release). Whether they do.
    pub fn claim(&mut self, tuple: &FourTuple, hash: FlowHash) -> bool {
        if let Some(claim) = self.claims.get_mut(&hash) {
            claim.uses += u32::from(claim.tuple == *tuple);
            return claim.tuple == *tuple;
        }
        let Some(id) = self.carrier.as_mut().and_then(|carrier| carrier.claim(tuple)) else { return false };
        self.claims.insert(hash, Claim { id, tuple: *tuple, uses: 1 });
        true
    }

    /// A flow is over, or a pair's by now: where it was claimed, that is over as well.
    #[inline]
    pub fn release(&mut self, hash: FlowHash) {
        if self.has_claims() {
            self.release_one(hash);
        }
    }

    /// A flow waits in TIME-WAIT from now on. Where more of those that are claimed do than may, the one that has waited longest, and its
    /// hash.
    pub fn wait(&mut self, hash: FlowHash) -> Option<(FourTuple, FlowHash)> {
        if !self.claims.contains_key(&hash) {
            return None;
        }
        while self.waiting.front().is_some_and(|oldest| !self.claims.contains_key(oldest)) {
            self.waiting.pop_front();
        }
        self.waiting.push_back(hash);
        let places = self.carrier.as_ref().map_or(0, |carrier| carrier.capacity());
        if self.waiting.len() <= (places / PLACES_PER_WAITING).max(1) {
            return None;
        }
        let oldest = self.waiting.pop_front()?;
        self.claims.get(&oldest).map(|claim| (claim.tuple, oldest))
    }

    /// Whether there may be anything to release: a hash is not free of cost.
    #[inline]
    pub fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    #[cold]
    fn release_one(&mut self, hash: FlowHash) {
        let Some(claim) = self.claims.get_mut(&hash) else { return };
        claim.uses -= 1;
        let Claim { id, tuple, uses } = *claim;
        if uses > 0 {
            return;
        }
        self.claims.remove(&hash);
        if let Some(carrier) = &mut self.carrier {
            carrier.release(id, &tuple);
        }
    }

    /// Whether there is somebody to hand pairs on to.
    pub fn has_carrier(&self) -> bool {
        self.carrier.is_some()
    }

    /// Hands one on; `None` where there is no room.
    pub fn take(&mut self, pair: &Pair) -> Option<PairId> {
        let id = self.carrier.as_mut()?.take(pair)?;
        self.flows.extend(Side::BOTH.map(|side| (*pair.tuple(side), id)));
        Some(id)
    }

    /// The pair of a flow, and how it stands.
    fn of(&self, tuple: &FourTuple) -> Option<(PairId, Pair)> {
        let id = *self.flows.get(tuple)?;
        Some((id, self.look(id)?))
    }

    fn look(&self, id: PairId) -> Option<Pair> {
        self.carrier.as_ref()?.look(id)
    }

    fn forget(&mut self, id: PairId) -> Option<Pair> {
        let pair = self.carrier.as_mut()?.forget(id)?;
        for side in Side::BOTH {
            self.flows.remove(pair.tuple(side));
        }
        Some(pair)
    }

    /// All of them, in an order that does not depend on the table's.
    fn ids(&self) -> Vec<PairId> {
        let mut ids: Vec<_> = self.flows.values().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

impl std::fmt::Debug for Parted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parted").field("carrier", &self.carrier.is_some()).field("flows", &self.flows).finish()
    }
}

impl Stack {
    /// Says who translates the segments of pairs that the stack [parts with](Stack::part_with). To be called before there are any.
    pub fn set_carrier(&mut self, carrier: Box<dyn Carrier>) {
        self.parted.carrier = Some(carrier);
    }

    /// How a pair stands; `None` where it is no more: it was forgotten, or its client has begun another connection with the same ports
    /// behind its end. Then it is to be [forgotten](Stack::forget_pair) all the same.
    pub fn pair(&self, id: PairId) -> Option<Pair> {
        self.parted.look(id)
    }

    /// Connections that were handed on and not forgotten, two of each pair.
    pub fn parted(&self) -> usize {
        self.parted.flows.len()
    }

    /// A pair is over: nobody is told, its ports are free, and what comes of it yet belongs to no connection. How it stood; also where
    /// [it is no more](Stack::pair), once.
    pub fn forget_pair(&mut self, id: PairId) -> Option<Pair> {
        let Some(pair) = self.parted.forget(id) else { return self.parted.gone.remove(&id) };
        for side in Side::BOTH {
            self.observer.closed(self.observer.fingerprint(pair.tuple(side)));
        }
        Some(pair)
    }

    /// Ends a pair by a RST to each side, for a backend that is taken away. What comes of it yet belongs to no connection, and is answered
    /// as such. Whether there was such a pair, and room for the RSTs: otherwise nothing has changed.
    pub fn reset_pair(&mut self, id: PairId) -> bool {
        let Some(pair) = self.parted.look(id).filter(|pair| self.has_room_for_resets(pair)) else { return false };
        let pair = self.forget_pair(id).unwrap_or(pair);
        for (side, frame) in Side::BOTH.into_iter().zip(pair.resets()) {
            match self.queue(pair.link(side).interface, &frame) {
                Ok(()) => self.stats.resets_transmitted += 1,
                Err(reason) => self.drops.count(reason),
            }
        }
        true
    }

    /// Whether there is room now to [reset](Stack::reset_pair) a pair, or there is no such pair.
    pub fn may_reset_pair(&self, id: PairId) -> bool {
        self.parted.look(id).is_none_or(|pair| self.has_room_for_resets(&pair))
    }

    /// As with the resets of connections, there is to be room left for who wants a new one.
    fn has_room_for_resets(&self, pair: &Pair) -> bool {
        let is_crowded =
            |side| self.interfaces.get(pair.link(side).interface).is_some_and(|it| it.replies.is_crowded());
        !Side::BOTH.into_iter().any(is_crowded)
    }

    /// Queues a frame of our own.
    fn queue(&mut self, interface: InterfaceId, frame: &[u8]) -> Result<(), DropReason> {
        let replies = &mut self.interfaces.get_mut(interface).ok_or(DropReason::NoInterface)?.replies;
        replies.push(frame.len(), |buffer| buffer.copy_from_slice(frame))
    }

    /// Resets pairs, as many as there is room for.
    pub(super) fn reset_all_pairs(&mut self) {
        for id in self.parted.ids() {
            if !self.reset_pair(id) {
                break;
            }
        }
    }

    /// Has what one side of a pair gets go by another way from now on. Whether it does: there is such a pair and such an interface, the way
    /// leads through no tunnel, and frames have as many VLAN tags as before, because translation makes them no longer.
    pub fn point_pair(&mut self, id: PairId, side: Side, via: &Via) -> bool {
        let Some(interface) = self.interfaces.get(via.interface) else { return false };
        let (mtu, link) = (interface.mtu.min(via.mtu), self.header_to(via.interface, via.next_hop));
        let is_same_length = |pair: Pair| pair.link(side).len() == link.len();
        if via.tunnel.is_some() || !self.parted.look(id).is_some_and(is_same_length) {
            return false;
        }
        self.point(id, side, link, mtu);
        true
    }

    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: usize) {
        if let Some(carrier) = &mut self.parted.carrier {
            carrier.point(id, side, link, u16::try_from(mtu).unwrap_or(u16::MAX));
        }
    }

    /// Our station has another address on an interface: frames of pairs come from there, too.
    pub(super) fn set_mac_of_pairs(&mut self, interface: InterfaceId, mac: MacAddress) {
        self.point_all(interface, |link, mtu| (LinkHeader { source: mac, ..link }, mtu));
    }

    /// An interface takes other packets: if smaller ones, so do the ways of pairs, as those of connections.
    pub(super) fn set_mtu_of_pairs(&mut self, interface: InterfaceId, limit: usize) {
        self.point_all(interface, |link, mtu| (link, mtu.min(limit)));
    }

    /// Changes the ways of pairs that lead through an interface.
    fn point_all(&mut self, interface: InterfaceId, change: impl Fn(LinkHeader, usize) -> (LinkHeader, usize)) {
        for id in self.parted.ids() {
            let Some(pair) = self.parted.look(id) else { continue };
            for side in Side::BOTH {
                let before = (*pair.link(side), usize::from(pair.ends[side as usize].mtu));
                let after = change(before.0, before.1);
                if before.0.interface == interface && after != before {
                    self.point(id, side, after.0, after.1);
                }
            }
        }
    }

    /// A segment of a pair has come to the stack: it was in a ring at the switch, or another worker has handed it over. Whoever
    /// translates is asked what becomes of it.
    ///
    /// # Errors
    /// [`DropReason::Parted`] where the pair refuses it, or what becomes of it where it begins another connection.
    #[cold]
    #[inline(never)]
    pub(super) fn arrive_at_pair(
        &mut self,
        now: Instant,
        parsed: &ParsedFrame<'_>,
        frame: &[u8],
        glimpse: Option<&Glimpse>,
    ) -> Result<(), DropReason> {
        let Packet::Tcp(ip, segment) = &parsed.packet else { return Err(DropReason::Parted) };
        let tuple = FourTuple::of_received(ip, &segment.header);
        let id = self.parted.flows.get(&tuple).copied();
        let (Some(id), Some(carrier)) = (id, &mut self.parted.carrier) else { return Err(DropReason::Parted) };
        let mut copy = frame.to_vec();
        // What hardware was to finish is finished here: nobody else would.
        if self.interfaces[parsed.link.interface].checksums == ChecksumPolicy::AcceptPartial {
            splice::finish_checksum(&mut copy);
        }
        match carrier.translate(now, id, &mut copy) {
            Ok(side) => self.pass_translated(id, side, &copy),
            Err(Refusal::Question) => self.challenge_at_pair(now, id, &tuple),
            Err(Refusal::Over) if self.leave_pair(id) => {
                self.stats.segments_received -= 1; // it is looked at anew, and counted again
                self.handle_parsed(now, parsed, glimpse)
            }
            Err(Refusal::TooBig) => {
                if let Some((_, pair)) = self.parted.of(&tuple) {
                    let mtu = pair.ends.iter().find(|end| end.tuple != tuple).map_or(0, |end| end.mtu);
                    self.tell_too_big(now, parsed.link.interface, frame, mtu.into());
                }
                Err(DropReason::Parted)
            }
            Err(_) => Err(DropReason::Parted),
        }
    }

    /// Another connection wants the ports of a pair that has ended. Whether there was one.
    fn leave_pair(&mut self, id: PairId) -> bool {
        let Some(pair) = self.forget_pair(id) else { return false };
        self.parted.gone.insert(id, pair);
        true
    }

    /// Somebody has sent a SYN for a pair that is open. He is answered as a stranger would be, within the limits that hold for those.
    fn challenge_at_pair(&mut self, now: Instant, id: PairId, tuple: &FourTuple) -> Result<(), DropReason> {
        self.admit_stray(now, tuple)?;
        let pair = self.parted.look(id).ok_or(DropReason::Parted)?;
        let side = pair.side_of(tuple).ok_or(DropReason::Parted)?;
        self.queue(pair.link(side).interface, &pair.challenge(side))
    }

    fn pass_translated(&mut self, id: PairId, side: Side, frame: &[u8]) -> Result<(), DropReason> {
        let link = *self.parted.look(id).ok_or(DropReason::Parted)?.link(side);
        let end = splice::packet_end(frame).ok_or(DropReason::Parted)?;
        let interface = self.interfaces.get_mut(link.interface).ok_or(DropReason::NoInterface)?;
        // The interface may take less than when the pair was made.
        if end > link.len() + interface.mtu {
            return Err(DropReason::Parted);
        }
        interface.replies.push(end, |buffer| buffer.copy_from_slice(&frame[..end]))?;
        self.stats.segments_translated += 1;
        Ok(())
    }

    /// An ICMP error about a segment of a pair. Only that a packet was too big means something to it: from then on those that do not
    /// fit are refused, and whoever translates tells their senders. It only ever lowers what fits, and not without end
    /// ([`believed_mtu`]).
    pub(super) fn icmp_error_at_pair(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        error: &IcmpError,
    ) -> Result<(), DropReason> {
        let (id, pair) = self.parted.of(tuple).ok_or(DropReason::UnmatchedIcmp)?;
        let side = pair.side_of(tuple).ok_or(DropReason::UnmatchedIcmp)?;
        // RFC 5927 §4.1, as with connections: it is about what is in flight.
        let stream = pair.stream(side.other());
        let seq = error.quote.seq;
        if seq.precedes(stream.acked) || !seq.precedes(stream.sent) {
            return Err(DropReason::UnmatchedIcmp);
        }
        let ErrorKind::TooBig { mtu } = error.kind else { return Err(DropReason::IgnoredIcmp) };
        let remote = tuple.remote.address;
        let mtu = believed_mtu(remote, error.quote.packet_len, mtu)?;
        if mtu >= usize::from(pair.ends[side as usize].mtu) {
            return Err(DropReason::ImplausibleMtu);
        }
        let link = *pair.link(side);
        self.point(id, side, link, mtu);
        let until = now + self.config.tcp.path_mtu_lifetime;
        if let Some(interface) = self.interfaces.get_mut(link.interface) {
            interface.path_mtus.insert(remote, mtu, until);
        }
        self.stats.path_mtus_lowered += 1;
        self.stats.icmp_errors_accepted += 1;
        Ok(())
    }
}
