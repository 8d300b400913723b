//! Listeners, how they are defended, and what has become of handshakes.

use super::{InspectError, Inspector, Name};
use crate::{drops::DropReason, worker::Snapshot, xdp::Verdicts};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Somebody who listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    /// At which address; nothing for all of them.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Connections that it has accepted.
    pub accepted: u64,
    /// How it is defended at each of its addresses.
    pub defence: Vec<DefenceReport>,
}

/// How a listener is defended at one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefenceReport {
    /// The address, and the port.
    pub address: SocketAddr,
    /// How high the defence stands: `cache`, `worker`, `xdp` or `budget`.
    pub level: Name,
    /// How often that has changed.
    pub changes: u64,
    /// SYNs for it, answered or not.
    pub syns: u64,
}

/// What has become of handshakes, at all listeners together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeReport {
    /// SYNs that began a handshake at a worker.
    pub begun: u64,
    /// Handshakes that are remembered now.
    pub half_open: u64,
    /// Handshakes that were forgotten to make room for newer ones: their cookies remain.
    pub evicted: u64,
    /// SYN-ACKs with a cookie that the XDP programs have sent.
    pub cookies_sent_by_xdp: u64,
    /// SYNs that the XDP programs have dropped: no cookie can hold them, they break a rule, or their source had enough answers.
    pub syns_dropped_by_xdp: u64,
    /// Connections that a cookie alone has opened.
    pub cookies_accepted: u64,
    /// Acknowledgments that opened none: no cookies of ours, from another clock, or used before; at workers, and in XDP.
    pub cookies_refused: u64,
    /// Handshakes that ended because our SYN-ACK was never acknowledged.
    pub timed_out: u64,
    /// Connections that came to be, those that we opened included.
    pub opened: u64,
}

/// Acknowledgments that begin no connection.
const REFUSED: [DropReason; 4] =
    [DropReason::StrayAck, DropReason::BadCookie, DropReason::MisdatedCookie, DropReason::UsedCookie];

impl HandshakeReport {
    pub(super) fn new(snapshots: &[Snapshot], verdicts: &Verdicts) -> Self {
        let sum = |of: &dyn Fn(&Snapshot) -> u64| snapshots.iter().map(of).sum::<u64>();
        Self {
            begun: sum(&|it| it.stats.handshakes_begun),
            half_open: sum(&|it| it.half_open.into()),
            evicted: sum(&|it| it.stats.handshakes_evicted),
            cookies_sent_by_xdp: verdicts.answered_syn,
            syns_dropped_by_xdp: verdicts.dropped_syn + verdicts.dropped_budget,
            cookies_accepted: sum(&|it| it.stats.cookies_accepted),
            cookies_refused: sum(&|it| REFUSED.iter().map(|&reason| it.drops.get(reason)).sum()) + verdicts.dropped_ack,
            timed_out: sum(&|it| it.drops.get(DropReason::HandshakeTimeout)),
            opened: sum(&|it| it.stats.connections_opened),
        }
    }
}

impl Inspector {
    /// Those who listen, in order of their ports.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn listeners(&self) -> Result<Vec<ListenerReport>, InspectError> {
        let mut accepted: BTreeMap<(u16, Option<IpAddr>), u64> = BTreeMap::new();
        for worker in self.of_workers() {
            let listening = worker.call(|cx| cx.stack().listeners().collect::<Vec<_>>());
            for one in Self::told(listening)?.unwrap_or_default() {
                *accepted.entry((one.port, one.address)).or_default() += one.accepted;
            }
        }
        let defence = self.defence.read();
        let is_alone = |at: SocketAddr| accepted.contains_key(&(at.port(), Some(at.ip())));
        let report = |(&(port, address), &accepted): (&(u16, Option<IpAddr>), &u64)| {
            let is_its = |at: SocketAddr| {
                at.port() == port && address.map_or_else(|| !is_alone(at), |address| address == at.ip())
            };
            let its = defence.iter().filter(|one| is_its(one.listener));
            let defence = its.map(|one| DefenceReport {
                address: one.listener,
                level: Name::Borrowed(one.level.name()),
                changes: one.changes,
                syns: one.syns,
            });
            ListenerReport { address, port, accepted, defence: defence.collect() }
        };
        Ok(accepted.iter().map(report).collect())
    }

    /// What has become of handshakes.
    ///
    /// # Errors
    /// Where a worker does not answer, or the kernel does not tell what programs have counted.
    pub fn handshakes(&self) -> Result<HandshakeReport, InspectError> {
        let mut snapshots = Vec::new();
        for worker in self.of_workers() {
            // What it shows of itself may be a tenth of a second old.
            let now = worker.call(|cx| {
                let stack = cx.stack();
                let (stats, drops, half_open) = (*stack.stats(), stack.drops().clone(), stack.flow_counts().1);
                Snapshot { stats, drops, half_open, ..Snapshot::default() }
            });
            snapshots.push(Self::told(now)?.unwrap_or_else(|| worker.snapshot()));
        }
        Ok(HandshakeReport::new(&snapshots, &self.verdicts()?))
    }
}
