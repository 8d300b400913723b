//! A pair of connections leaves the stack, for whoever translates its segments from then on.

use super::{ConnectionId, Stack, connections::Entry, flow_table::Flow, interface::Interface};
use crate::{
    splice::{Busy, Half, Pair, PairId, Side, WhyNot},
    tcp::Terms,
    time::Instant,
    wire::{
        self, TcpFlags, TcpHeader, TcpOptions,
        ip::{Codepoint, Dscp},
        tcp_options::Timestamps,
    },
};

/// Segments at most in which one side gets what the other one had said: what a connection in the middle of its life sends at once.
const MOST_UNREAD: usize = 24;

/// One of the connections, and what is asked of both.
struct Candidate {
    half: Half,
    agreed: Terms,
    /// The most data its peer may put in a segment, and the most it takes.
    sizes: (u32, u32),
    dscp: Dscp,
    /// Octets that have come and were neither read nor acknowledged.
    unread: usize,
    /// Whether a router has marked something of its peer's, and that was not answered.
    is_marked: bool,
}

impl Candidate {
    /// The most data in a segment to its peer, octets.
    fn most(&self) -> usize {
        self.sizes.1.max(1) as usize
    }

    /// Segments that its peer is sent for what the other one had said.
    fn segments_of(&self, speaker: &Self) -> usize {
        speaker.unread.div_ceil(self.most())
    }
}

impl Stack {
    /// Hands a client's and a backend's connection on to the [`Carrier`](crate::splice::Carrier), which translates segments between them
    /// from then on. Both leave the stack at once, and nobody is told: no event comes. Their ids mean nothing from now on, and their
    /// indices may be used again.
    ///
    /// What has come of either and was neither read nor acknowledged is sent to the other one, in segments of the pair: nobody else is
    /// told that it came, so its sender says again what is lost of it. Nothing else is sent.
    ///
    /// Until [`Stack::forget_pair`] their ports stay taken. What comes of them here all the same, as the rest of a batch, is translated
    /// here; and what the pair refuses is dropped and counted ([`DropReason::Parted`](crate::drops::DropReason::Parted)), rather than
    /// answered by a RST.
    ///
    /// # Errors
    /// [`WhyNot`] names what stands in the way. Nothing has changed then, and both may be [spliced](Stack::splice) on.
    pub fn part_with(&mut self, now: Instant, client: ConnectionId, backend: ConnectionId) -> Result<PairId, WhyNot> {
        if client == backend {
            return Err(WhyNot::Same);
        }
        if !self.parted.has_carrier() {
            return Err(WhyNot::NoCarrier);
        }
        let ids = [client, backend];
        let speaks = ids.map(|id| self.entry_mut(id).is_some_and(|entry| entry.connection.readable_len() > 0));
        let candidates = [
            self.candidate(now, client, speaks[1]).map_err(|busy| WhyNot::Busy(Side::Client, busy))?,
            self.candidate(now, backend, speaks[0]).map_err(|busy| WhyNot::Busy(Side::Backend, busy))?,
        ];
        check_fit(&candidates)?;
        self.check_unread(&candidates)?;
        let mut pair = Pair::new(now, &candidates[0].half, &candidates[1].half);
        for side in Side::BOTH {
            pair.said(side, candidates[side as usize].unread as u32);
        }
        let id = self.parted.take(&pair).ok_or(WhyNot::NoRoom)?;
        for side in Side::BOTH {
            self.pass_unread(ids[side as usize], &pair, side, &candidates);
        }
        ids.into_iter().for_each(|id| self.let_go(id));
        Ok(id)
    }

    fn candidate(&mut self, now: Instant, id: ConnectionId, is_spoken_to: bool) -> Result<Candidate, Busy> {
        let cx = self.config.tcp.at(now);
        let entry = self.connections.find_mut(id, cx.config).ok_or(Busy::Gone)?;
        let Entry { connection, via, .. } = entry;
        if !entry.attached {
            return Err(Busy::NotOpen);
        }
        if via.as_ref().is_some_and(|via| via.tunnel.is_some()) {
            return Err(Busy::Tunnel);
        }
        if entry.ready_queued || !entry.pending_errors.is_empty() {
            return Err(Busy::Unheard);
        }
        let Interface { mtu, answers_to, .. } = self.interfaces[connection.link().interface];
        let half = connection.half(cx, mtu, is_spoken_to)?;
        // As connections do whose way nobody has named.
        let follows = via.is_none() && answers_to.is_none();
        Ok(Candidate {
            half: Half { follows, ..half },
            agreed: connection.terms(),
            sizes: connection.segment_sizes(mtu),
            dscp: connection.dscp(),
            unread: connection.readable_len(),
            is_marked: connection.owes_echo(),
        })
    }

    /// Whether what has come can be sent on at once: the other side has room for it, and so have the queues of our own. It is
    /// bounded, whatever the way to there.
    fn check_unread(&self, candidates: &[Candidate; 2]) -> Result<(), WhyNot> {
        let interface = |side: Side| candidates[side as usize].half.link.interface;
        let frames = |to: Side| candidates[to as usize].segments_of(&candidates[to.other() as usize]);
        for from in Side::BOTH {
            let (speaker, hearer) = (&candidates[from as usize], &candidates[from.other() as usize]);
            let other = if interface(from) == interface(from.other()) { frames(from) } else { 0 };
            let needed = hearer.segments_of(speaker);
            let fits = needed <= MOST_UNREAD
                && speaker.unread <= hearer.half.window as usize
                && (needed == 0 || needed + other <= self.interfaces[interface(from.other())].replies.room());
            if !fits {
                return Err(WhyNot::Busy(from, Busy::Unread));
            }
        }
        Ok(())
    }

    /// Queues what one side had said for the other one. It is said in the name of the one that hears it: by our clock and its own, and
    /// with the acknowledgment that it was sent last.
    fn pass_unread(&mut self, id: ConnectionId, pair: &Pair, from: Side, candidates: &[Candidate; 2]) {
        let (speaker, hearer) = (&candidates[from as usize], &candidates[from.other() as usize]);
        let connection = &self.connections[id.index].connection;
        let Half { tuple, link, .. } = &hearer.half;
        // A mark goes on to who echoes it: both sides have agreed on ECN, or neither has.
        let codepoint = if speaker.is_marked { Codepoint::CongestionExperienced } else { Codepoint::NotCapable };
        let ip = self.config.tcp.ip_header(tuple, hearer.dscp.with(codepoint));
        let timestamps = hearer.half.clocks.map(|(value, echo)| Timestamps { value, echo });
        for offset in (0..speaker.unread).step_by(hearer.most()) {
            let length = hearer.most().min(speaker.unread - offset);
            let mut flags = TcpFlags::ACK;
            flags.set(TcpFlags::PSH, offset + length == speaker.unread);
            let tcp = TcpHeader {
                source_port: tuple.local.port,
                destination_port: tuple.remote.port,
                seq: hearer.half.sent.advance(offset as u32),
                ack: hearer.half.received,
                flags,
                window: pair.window_field(from, speaker.half.window),
                urgent: 0,
                options: TcpOptions { timestamps, ..TcpOptions::default() },
            };
            let octets = connection.unread(offset, length);
            let frame_len = wire::tcp_frame_len(link, &ip, &tcp) + length;
            let queued = self.interfaces[link.interface].replies.push(frame_len, |buffer| {
                wire::write_tcp(link, &ip, &tcp, octets, buffer);
            });
            match queued {
                Ok(()) => self.stats.segments_transmitted += 1,
                Err(reason) => self.drops.count(reason), // there was room; and if not, it is lost as any other
            }
        }
    }

    /// Takes a connection out without a word to anybody. Who keeps a list of flows goes on knowing this one: it lives.
    fn let_go(&mut self, id: ConnectionId) {
        let Entry { hash, connection, .. } = &self.connections[id.index];
        if self.parted.has_claims() {
            self.parted.release(self.secrets.identify(connection.tuple()));
        }
        self.flows.remove(*hash, Flow::Connection(id.index));
        self.forget_stall(id);
        self.timers.cancel(id.index);
        self.connections.remove(id.index);
        self.connections.release(id.index);
        self.stats.connections_parted += 1;
    }
}

/// Whether what one peer sends is what the other one takes.
fn check_fit([client, backend]: &[Candidate; 2]) -> Result<(), WhyNot> {
    let (ends, links) = ([client.half.tuple, backend.half.tuple], [client.half.link, backend.half.link]);
    if ends[0].local.address.is_ipv4() != ends[1].local.address.is_ipv4() {
        return Err(WhyNot::Versions);
    }
    let tags = links.map(|link| link.vlan.as_slice().len());
    if tags[0] != tags[1] || tags[0] > 1 {
        return Err(WhyNot::Vlan);
    }
    let (ours, theirs) = (client.agreed, backend.agreed);
    if ours.timestamps != theirs.timestamps {
        return Err(WhyNot::Timestamps);
    }
    if ours.sack != theirs.sack {
        return Err(WhyNot::Sack);
    }
    if ours.ecn != theirs.ecn {
        return Err(WhyNot::Ecn);
    }
    for (side, from, to) in [(Side::Client, client, backend), (Side::Backend, backend, client)] {
        if from.sizes.0 > to.sizes.1 {
            return Err(WhyNot::SegmentSize(side));
        }
    }
    Ok(())
}
