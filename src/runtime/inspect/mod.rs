//! What runs, looked into: connections, listeners, workers, drops and neighbours, as plain data, for whoever asks.
//!
//! An [`Inspector`] asks workers by commands, in pieces that are short and between which it pauses, so that a million connections are
//! listed without a request being held up; what workers show of themselves anyway it only reads. Nothing is kept between two questions, and
//! nothing is asked as long as nobody wants to know.
//!
//! ```no_run
//! # fn f(running: xskip::runtime::Running) -> Result<(), Box<dyn std::error::Error>> {
//! use std::ops::ControlFlow;
//!
//! let counts = running.inspector().connections(|connection| {
//!     println!("{} <-> {}: {}", connection.local, connection.remote, connection.state);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} in TIME-WAIT", counts.time_wait);
//! # Ok(())
//! # }
//! ```

mod connections;
mod drops;
mod explain;
mod frame;
mod history;
mod listeners;
mod neighbours;
mod sample;
#[cfg(test)]
mod tests;

pub use self::{
    connections::{ConnectionReport, FlowCounts, ListPlace, TcpReport},
    drops::{DropReport, ExampleReport},
    explain::{Explanation, Finding, RefusedReport},
    history::{EndReport, EndingReport, EventReport, HistoryReport},
    listeners::{DefenceReport, HandshakeReport, ListenerReport},
    neighbours::NeighbourReport,
    sample::{QueueReport, Sample, WorkerReport},
};

use super::{Running, Setup, defence::View, listening::Listening};
use crate::{
    worker::{CommandError, Workers},
    xdp::{Guard, Services, XdpError},
};
use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex},
};

/// A name out of a list that is known when this is compiled; one that was read is kept.
pub type Name = Cow<'static, str>;

/// Why something cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A worker does not say.
    #[error(transparent)]
    Worker(#[from] CommandError),
    /// The kernel does not say what programs have counted.
    #[error("{0}")]
    Program(String),
}

impl From<XdpError> for InspectError {
    fn from(error: XdpError) -> Self {
        Self::Program(error.to_string())
    }
}

/// An interface, as far as it is looked into.
struct Place {
    name: String,
    guard: Arc<Guard>,
    services: Arc<Services>,
}

/// Looks into what is [`Running`], from any thread that is no worker's. Cheap to clone; where what it looks into has ended, there is
/// nothing to see.
#[derive(Clone)]
pub struct Inspector {
    workers: Workers,
    setups: Arc<[Setup]>,
    places: Arc<[Place]>,
    defence: View,
    listening: Arc<Listening>,
    /// Held by whoever lists connections or neighbours, from one piece to the next.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Running {
    /// Looks into connections, listeners, workers, drops and neighbours, for as long as there are any.
    pub fn inspector(&self) -> Inspector {
        let place = |served: &super::interface::Served| Place {
            name: served.setup.interface.clone(),
            guard: served.program.guard().clone(),
            services: served.program.services().clone(),
        };
        Inspector {
            workers: self.workers.clone(),
            setups: self.setups().into(),
            places: self.interfaces.iter().map(place).collect(),
            defence: self.defence_view(),
            listening: self.listening.clone(),
            turn: Arc::default(),
        }
    }
}

impl Inspector {
    /// The interfaces' names, in the order of each worker's queues.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| &*place.name)
    }

    /// What was asked for and what the kernel gave, for each interface.
    pub fn setups(&self) -> &[Setup] {
        &self.setups
    }

    /// What workers tell, one after the other; one that has ended tells nothing.
    fn of_workers(&self) -> impl Iterator<Item = crate::worker::WorkerHandle> {
        self.workers.iter()
    }

    /// What a worker tells; nothing, where it has ended.
    fn told<T>(answer: Result<T, CommandError>) -> Result<Option<T>, CommandError> {
        match answer {
            Err(CommandError::Gone { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }
}

/// The names of interfaces, by their numbers.
#[derive(Clone, Debug, Default)]
struct Names(Arc<[Name]>);

impl Names {
    fn of(&self, interface: crate::wire::InterfaceId) -> Name {
        self.0.get(interface.index()).cloned().unwrap_or_default()
    }
}
