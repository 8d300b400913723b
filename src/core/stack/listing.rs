//! The flows of a stack, listed in pieces: a million may be told between batches, and nobody waits for it.

use super::{ConnectionId, ListenerId, Stack, connections::Body, flow_table::Flow};
use crate::{
    tcp::{State, TcpInfo, WhyNotSending},
    time::Instant,
    wire::{FourTuple, InterfaceId},
};

/// Where a list goes on. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Handshakes are over, connections follow. In this order a flow that goes on from one to the other is not left out.
    past_handshakes: bool,
    index: u32,
}

/// One flow, as it was when it was listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The connection; `None` for a handshake that the peer has not ended yet.
    pub id: Option<ConnectionId>,
    /// The two ends.
    pub tuple: FourTuple,
    /// The state of RFC 9293 §3.3.2.
    pub state: State,
    /// The interface that its segments leave by.
    pub interface: InterfaceId,
    /// When the peer was last heard; when our SYN-ACK went out first, for a handshake.
    pub heard: Instant,
    /// Where it was, or is to be, accepted; `None` for one that we opened.
    pub listener: Option<ListenerId>,
    /// What TCP knows of it; `None` for a handshake, and for a connection that sleeps: nothing of that is queued or in flight.
    pub info: Option<TcpInfo>,
    /// Why it sends nothing now; [`WhyNotSending::Application`] for one that sleeps.
    pub waits_for: WhyNotSending,
}

/// What a stack knows of a flow.
#[derive(Clone, Debug)]
pub enum KnownFlow {
    /// A handshake or a connection.
    Listed(Box<Listed>),
    /// A connection that is over and lingers (TIME-WAIT).
    TimeWait,
    /// Of a pair of connections that was handed on, to whoever translates its segments.
    Parted,
    /// Nothing.
    None,
}

impl Stack {
    /// Lists flows from `cursor` on, half-open ones first, then connections, and says where to go on; `None` at the end. Looks at no more
    /// than `limit` places, so a piece may have fewer flows than that, or none.
    ///
    /// A flow that exists, in one of these two ways, from the first piece to the last is listed exactly once, whatever comes and goes
    /// meanwhile; one whose handshake ends meanwhile may be listed as both. Connections in TIME-WAIT are counted only
    /// ([`Stack::flow_counts`]): what is left of them does not know its 4-tuple.
    pub fn connections_from(&self, now: Instant, cursor: Cursor, limit: u32) -> (Vec<Listed>, Option<Cursor>) {
        let Cursor { mut past_handshakes, mut index } = cursor;
        let (mut listed, mut left) = (Vec::new(), limit.max(1));
        if !past_handshakes {
            let end = index.saturating_add(left).min(self.half_open.places());
            listed.extend((index..end).filter_map(|index| self.list_half_open(index)));
            left -= end.saturating_sub(index);
            if left == 0 {
                return (listed, Some(Cursor { past_handshakes, index: end }));
            }
            (past_handshakes, index) = (true, 0);
        }
        let places = self.connections.slots.places();
        let end = index.saturating_add(left).min(places);
        listed.extend((index..end).filter_map(|index| self.list_connection(now, index)));
        (listed, (end < places).then_some(Cursor { past_handshakes, index: end }))
    }

    fn list_half_open(&self, index: u32) -> Option<Listed> {
        let entry = self.half_open.find(index)?;
        Some(Listed {
            id: None,
            tuple: entry.handshake.tuple,
            state: State::SynReceived,
            interface: entry.interface(),
            heard: entry.answered(),
            listener: Some(entry.begun.listener),
            info: None,
            waits_for: WhyNotSending::Handshake,
        })
    }

    fn list_connection(&self, now: Instant, index: u32) -> Option<Listed> {
        let id = self.connections.id_at(index)?;
        let (info, (interface, heard)) = match self.connections.body(id)? {
            Body::Awake(entry) => {
                let info = entry.connection.info(entry.retransmitted);
                (Some(info), (entry.connection.link().interface, info.heard))
            }
            Body::Asleep(dormant) => (None, (dormant.interface(), dormant.heard())),
        };
        Some(Listed {
            id: Some(id),
            tuple: *self.connections.tuple(index),
            state: self.connections.state(index),
            interface,
            heard,
            listener: self.connections.listener_of(id),
            info,
            waits_for: self.why_not_sending(now, id)?,
        })
    }

    /// What there is of a flow, and what [`Stack::connections_from`] would list of it, where it is one that is listed.
    pub fn flow(&self, now: Instant, tuple: &FourTuple) -> KnownFlow {
        match self.find(tuple, self.secrets.identify(tuple)) {
            Some(Flow::Connection(index)) => {
                self.list_connection(now, index).map_or(KnownFlow::None, |listed| KnownFlow::Listed(Box::new(listed)))
            }
            Some(Flow::HalfOpen(index)) => {
                self.list_half_open(index).map_or(KnownFlow::None, |listed| KnownFlow::Listed(Box::new(listed)))
            }
            Some(Flow::TimeWait(_)) => KnownFlow::TimeWait,
            None if self.parted.contains(tuple) => KnownFlow::Parted,
            None => KnownFlow::None,
        }
    }

    /// Why a connection sends nothing now, which is not woken for this; `None` where it is no more.
    pub fn why_not_sending(&self, now: Instant, id: ConnectionId) -> Option<WhyNotSending> {
        Some(match &self.connections.body(id)? {
            Body::Awake(entry) => entry.connection.why_not_sending(self.config.tcp.at(now)),
            Body::Asleep(_) => WhyNotSending::Application,
        })
    }
}
