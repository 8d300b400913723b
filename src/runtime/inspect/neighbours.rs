//! Neighbours, as each worker knows them.

use super::{InspectError, Inspector, Name, connections::millis};
use crate::stack::Neighbour;
use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, ops::ControlFlow};

/// A neighbour, as one worker knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourReport {
    /// The number of the worker.
    pub worker: usize,
    /// The interface that it is on.
    pub interface: Name,
    /// Its address.
    pub address: IpAddr,
    /// Its link address, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// How sure that is: `reachable`, `stale`, `asked`, or `heard`, as [`NeighbourState`](crate::stack::NeighbourState) explains.
    pub state: Name,
    /// Since it answered last, milliseconds, where it was asked and did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_ms_ago: Option<u64>,
    /// Connections that wait for its answer.
    pub waiting: u64,
}

/// Neighbours that a worker tells in one command.
const PIECE: usize = 128;

impl NeighbourReport {
    fn new(worker: usize, interface: Name, now: Instant, neighbour: &Neighbour) -> Self {
        Self {
            worker,
            interface,
            address: neighbour.address,
            station: neighbour.station.map(|station| station.to_string()),
            state: Name::Borrowed(neighbour.state.name()),
            answered_ms_ago: neighbour.answered.map(|at| millis(now.saturating_since(at))),
            waiting: neighbour.waiting as u64,
        }
    }
}

impl Inspector {
    /// Shows `visit` each neighbour that each worker knows, by interface and address, until it says that it is enough.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn neighbours(&self, mut visit: impl FnMut(NeighbourReport) -> ControlFlow<()>) -> Result<(), InspectError> {
        let names = self.names();
        for worker in self.of_workers() {
            let Some(interfaces) = Self::told(worker.call(|cx| cx.stack().interfaces().collect::<Vec<_>>()))? else {
                continue;
            };
            for interface in interfaces {
                let mut after = None;
                loop {
                    let piece = self.in_turn(&worker, move |cx| {
                        let now = cx.now();
                        (now, cx.stack().neighbours_from(now, interface, after, PIECE))
                    });
                    let Some((now, neighbours)) = piece? else { break };
                    for neighbour in &neighbours {
                        after = Some(neighbour.address);
                        let report = NeighbourReport::new(worker.number(), names.of(interface), now, neighbour);
                        if visit(report).is_break() {
                            return Ok(());
                        }
                    }
                    if neighbours.len() < PIECE {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
