//! A pair of connections leaves the stack, for whoever translates its segments from then on.

use super::{ConnectionId, Stack, connections::Entry, flow_table::Flow};
use crate::{
    splice::{Busy, Half, Pair, Side, WhyNot},
    time::Instant,
    wire::FourTuple,
};
use std::collections::HashSet;

/// The connections of pairs that are translated elsewhere.
#[derive(Debug, Default)]
pub(super) struct Parted(HashSet<FourTuple>);

impl Parted {
    /// Whether a flow is one of them.
    pub fn contains(&self, tuple: &FourTuple) -> bool {
        !self.0.is_empty() && self.0.contains(tuple)
    }
}

/// One of the connections, and what is asked of both.
struct Candidate {
    half: Half,
    agreed: (bool, bool, bool),
    /// The most data its peer may put in a segment, and the most it takes.
    sizes: (u32, u32),
}

impl Stack {
    /// Hands a client's and a backend's connection on to whoever translates segments between them by the [`Pair`] that this returns. Both
    /// leave the stack at once, and nobody is told: no segment is sent for it, and no event comes. Their ids mean nothing from now on, and their indices may be used again.
    ///
    /// Until [`Stack::forget_pair`] their ports stay taken, and what comes of them is dropped and counted
    /// ([`DropReason::Parted`](crate::drops::DropReason::Parted)), rather than answered by a RST. Nothing is lost if the rest of a batch
    /// comes here: it is sent again. Whoever has it at hand may translate it.
    ///
    /// # Errors
    /// [`WhyNot`] names what stands in the way. Nothing has changed then, and both may be [spliced](Stack::splice) on.
    pub fn part_with(&mut self, now: Instant, client: ConnectionId, backend: ConnectionId) -> Result<Pair, WhyNot> {
        if client == backend {
            return Err(WhyNot::Same);
        }
        let candidates = [
            self.candidate(now, client).map_err(|busy| WhyNot::Busy(Side::Client, busy))?,
            self.candidate(now, backend).map_err(|busy| WhyNot::Busy(Side::Backend, busy))?,
        ];
        check_fit(&candidates)?;
        let [client_half, backend_half] = candidates.map(|candidate| candidate.half);
        for (id, half) in [(client, &client_half), (backend, &backend_half)] {
            self.let_go(id);
            self.parted.0.insert(half.tuple);
        }
        Ok(Pair::new(now, &client_half, &backend_half))
    }

    /// A pair is over: its ports are free, and what comes of it yet belongs to no connection.
    pub fn forget_pair(&mut self, pair: &Pair) {
        for side in Side::BOTH {
            self.parted.0.remove(pair.tuple(side));
        }
    }

    /// Connections that were handed on and not forgotten, two of each pair.
    pub fn parted(&self) -> usize {
        self.parted.0.len()
    }

    fn candidate(&mut self, now: Instant, id: ConnectionId) -> Result<Candidate, Busy> {
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
        let mtu = self.interfaces[connection.link().interface].mtu;
        Ok(Candidate {
            half: connection.half(cx, mtu)?,
            agreed: connection.agreed(),
            sizes: connection.segment_sizes(mtu),
        })
    }

    /// Takes a connection out without a word to anybody.
    fn let_go(&mut self, id: ConnectionId) {
        let entry = &self.connections[id.index];
        let (tuple, hash) = (*entry.connection.tuple(), entry.hash);
        self.flows.remove(hash, Flow::Connection(id.index));
        self.observer.closed(self.observer.fingerprint(&tuple));
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
    let ((clocks, sack, ecn), theirs) = (client.agreed, backend.agreed);
    if clocks != theirs.0 {
        return Err(WhyNot::Timestamps);
    }
    if sack != theirs.1 {
        return Err(WhyNot::Sack);
    }
    if ecn != theirs.2 {
        return Err(WhyNot::Ecn);
    }
    for (side, from, to) in [(Side::Client, client, backend), (Side::Backend, backend, client)] {
        if from.sizes.0 > to.sizes.1 {
            return Err(WhyNot::SegmentSize(side));
        }
    }
    Ok(())
}
