//! What a runtime tells whoever asks for its metrics.

use super::{
    ListenerDefence, RuntimeError,
    defence::{Level, View},
    interface::Served,
};
use crate::{
    telemetry::metrics::{Door, Exporter, ListenerCounts, WorkersPage},
    worker::Workers,
    xdp::{Guard, Verdicts, XdpError},
};
use std::{net::SocketAddr, sync::Arc};

/// Takes the address for metrics, if there is any: before rights are given up, as its port may take one.
pub(super) fn door(address: Option<SocketAddr>) -> Result<Option<Arc<Door>>, RuntimeError> {
    Ok(address.map(|address| Door::open(Some(address))).transpose()?.map(Arc::new))
}

/// What is looked at when somebody asks.
struct Sources {
    workers: Workers,
    interfaces: Vec<(String, Arc<Guard>)>,
    defence: View,
}

impl Sources {
    fn page(&self) -> Result<WorkersPage, XdpError> {
        let mut verdicts = Verdicts::default();
        for (_, guard) in &self.interfaces {
            verdicts.merge(&guard.verdicts()?);
        }
        Ok(WorkersPage {
            workers: self.workers.iter().map(|worker| worker.snapshot()).collect(),
            interfaces: self.interfaces.iter().map(|(name, _)| name.clone()).collect(),
            verdicts,
            listeners: self.defence.read().iter().map(counts).collect(),
        })
    }
}

fn counts(of: &ListenerDefence) -> ListenerCounts {
    let &ListenerDefence { listener: address, level, changes, syns } = of;
    ListenerCounts { address, level: level.name(), levels: Level::NAMES, changes, syns }
}

/// Begins to answer at the door, if there is one.
pub(super) fn export(
    door: Option<Arc<Door>>,
    workers: &Workers,
    interfaces: &[Served],
    defence: View,
) -> Result<Option<Exporter>, RuntimeError> {
    let Some(door) = door else { return Ok(None) };
    let of = |served: &Served| (served.setup.interface.clone(), served.program.guard().clone());
    let sources = Sources { workers: workers.clone(), interfaces: interfaces.iter().map(of).collect(), defence };
    let page = move |form| sources.page().map(|page| page.write(form)).map_err(|error| error.to_string());
    let exporter = Exporter::at(door, page);
    exporter.map(Some).map_err(|source| RuntimeError::System { what: "serve /metrics", source })
}
