//! What becomes of a flow and why, table by table: for a connection there is, one that was, and one that never came to be.

use super::{
    ConnectionReport, EndReport, ExampleReport, HistoryReport, InspectError, Inspector, Name, NeighbourReport, drops,
};
use crate::{
    stack::{KnownFlow, LocalAddress, Ownership},
    wire::FourTuple,
    worker::WorkerHandle,
    xdp::{Action, Service},
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, ops::ControlFlow};

/// What a table says of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which one: `addresses`, `services`, `filter`, `flows`, `listeners`, `neighbours` or `verdict`.
    pub table: Name,
    /// What it says, in a sentence.
    pub text: String,
}

/// All that is known of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Our end, or what would be.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// What each table says, in the order in which a segment of the peer's would come to it; the last one says what would become of it.
    pub findings: Vec<Finding>,
    /// The connection, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionReport>,
    /// What has happened to it, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<String>,
    /// What has happened to it, event by event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryReport>,
    /// Connections between these two ends that ended unhappily of late, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<EndReport>,
    /// Frames between these two ends that were refused and kept as examples, each with the reason and what that means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedReport>,
}

/// A frame of the flow that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedReport {
    /// Why, by its name.
    pub reason: Name,
    /// What that means.
    pub meaning: Name,
    /// The frame.
    pub example: ExampleReport,
}

/// What one worker knows of it.
struct Known {
    connection: Option<ConnectionReport>,
    sentences: Vec<String>,
    history: Option<HistoryReport>,
    flow: Name,
}

fn known(worker: &WorkerHandle, names: super::Names, tuple: FourTuple) -> Result<Option<Known>, InspectError> {
    let number = worker.number();
    let answer = worker.call(move |cx| {
        let (now, stack) = (cx.now(), cx.stack());
        match stack.flow(now, &tuple) {
            KnownFlow::None => None,
            KnownFlow::TimeWait => Some(Known::of("TIME-WAIT: it is over, and lingers until old segments have gone")),
            KnownFlow::Parted => {
                Some(Known::of("one of a pair whose segments are translated in XDP, which looks at no more than these"))
            }
            KnownFlow::Listed(listed) => {
                let interface = names.of(listed.interface);
                let connection = ConnectionReport::new(number, interface, now, &listed);
                let (history, sentences) = match listed.id {
                    Some(id) => (stack.history(id), stack.explain(now, id)),
                    None => (None, None),
                };
                Some(Known {
                    connection: Some(connection),
                    sentences: sentences.unwrap_or_default(),
                    history: history.map(|history| HistoryReport::new(now, &history)),
                    flow: Name::Borrowed(listed.state.name()),
                })
            }
        }
    });
    Ok(Inspector::told(answer)?.flatten())
}

impl Known {
    fn of(flow: &'static str) -> Self {
        Self { connection: None, sentences: Vec::new(), history: None, flow: Name::Borrowed(flow) }
    }
}

impl Explanation {
    fn find(&mut self, table: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { table: Name::Borrowed(table), text: text.into() });
    }
}

impl Inspector {
    /// All that is known of the flow between two ends, whichever of them is ours.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn explain(&self, one: SocketAddr, other: SocketAddr) -> Result<Explanation, InspectError> {
        let is_ours = |end: SocketAddr| self.listening.place_of(end.ip());
        let (local, remote, place) = match (is_ours(other), is_ours(one)) {
            (Some(place), _) => (other, one, Some(place)),
            (None, Some(place)) => (one, other, Some(place)),
            (None, None) => (other, one, None),
        };
        let mut it = Explanation {
            local,
            remote,
            findings: Vec::new(),
            connection: None,
            sentences: Vec::new(),
            history: None,
            ends: Vec::new(),
            refused: Vec::new(),
        };
        match place {
            Some(place) => self.explain_ours(&mut it, place)?,
            None => it.find(
                "addresses",
                format!(
                    "Neither {} nor {} is an address of this server: the XDP program leaves what is for them to the kernel, whose \
                     own `ss` and `ip route get` tell more.",
                    remote.ip(),
                    local.ip()
                ),
            ),
        }
        self.refused(&mut it)?;
        Ok(it)
    }

    fn explain_ours(&self, it: &mut Explanation, (number, address): (usize, LocalAddress)) -> Result<(), InspectError> {
        let (local, remote) = (it.local, it.remote);
        let interface = self.places.get(number).map_or("", |place| &place.name);
        it.find(
            "addresses",
            match address.ownership {
                Ownership::Own => format!("{} is an address of this server's own, on {interface}.", local.ip()),
                Ownership::Shared => format!(
                    "{} is the kernel's, on {interface}: only the ports that this server has there are its own.",
                    local.ip()
                ),
            },
        );
        let action = self.places.get(number).and_then(|place| place.services.get(Service::tcp(local)));
        it.find("services", serviced(local.port(), action, address.ownership));
        if let Some(Action::Guarded(_)) = action {
            let knows = self.places[number].guard.filter().contains(remote, local);
            it.find("filter", match knows {
                true => "The XDP program lets segments between these two through: it takes them for those of a flow.",
                false => "The XDP program knows no flow between these two: of their segments it answers SYNs only, and takes cookies.",
            });
        }
        let tuple = FourTuple { local: local.into(), remote: remote.into() };
        let mut is_known = false;
        for worker in self.of_workers() {
            let Some(known) = known(&worker, self.names(), tuple)? else { continue };
            is_known = true;
            it.find("flows", format!("Worker {} has it: {}.", worker.number(), known.flow));
            (it.connection, it.sentences, it.history) = (known.connection, known.sentences, known.history);
        }
        if !is_known {
            it.find("flows", "No worker has a flow between these two.");
        }
        let listens = self.listener(it)?;
        self.neighbour(it)?;
        self.ends(|end| {
            if (end.local, end.remote) == (local, remote) {
                it.ends.push(end);
            }
            ControlFlow::Continue(())
        })?;
        if !is_known {
            it.find("verdict", verdict(local, listens, action, address.ownership));
        }
        Ok(())
    }

    /// Whether anybody listens there.
    fn listener(&self, it: &mut Explanation) -> Result<bool, InspectError> {
        let local = it.local;
        let is_it = |place: Option<std::net::IpAddr>| place.is_none_or(|address| address == local.ip());
        let found = self.listeners()?.into_iter().rfind(|one| one.port == local.port() && is_it(one.address));
        let Some(listener) = found else {
            it.find("listeners", format!("Nobody listens on port {} there.", local.port()));
            return Ok(false);
        };
        let whereto = listener.address.map_or_else(|| "every address".to_owned(), |address| address.to_string());
        let defence = self.defence.read().into_iter().find(|one| one.listener == local);
        let defence = defence.map_or_else(String::new, |one| format!("; against floods, {}", one.level));
        it.find(
            "listeners",
            format!(
                "Port {} is listened on at {whereto}; connections accepted there: {}{defence}.",
                local.port(),
                listener.accepted
            ),
        );
        Ok(true)
    }

    fn neighbour(&self, it: &mut Explanation) -> Result<(), InspectError> {
        let address = it.remote.ip();
        let mut found: Option<NeighbourReport> = None;
        self.neighbours(|neighbour| {
            if neighbour.address == address {
                found = Some(neighbour);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(NeighbourReport { interface, station, state, waiting, .. }) = found {
            let station = station.unwrap_or_else(|| "an unknown link address".to_owned());
            it.find("neighbours", match waiting {
                0 => format!("{address} is a neighbour on {interface}, at {station} ({state})."),
                _ => format!("{address} is a neighbour on {interface}, at {station} ({state}); {waiting} connections wait for its answer."),
            });
        }
        Ok(())
    }

    /// Frames between the two ends that were kept because they were refused.
    fn refused(&self, it: &mut Explanation) -> Result<(), InspectError> {
        for worker in self.of_workers() {
            for (reason, example) in drops::examples(&worker)? {
                let ends = (example.local, example.remote);
                if ends == (Some(it.local), Some(it.remote)) {
                    let (name, meaning) = (Name::Borrowed(reason.name()), Name::Borrowed(reason.meaning()));
                    it.refused.push(RefusedReport { reason: name, meaning, example });
                }
            }
        }
        Ok(())
    }
}

/// What the table of services says of a port.
fn serviced(port: u16, action: Option<Action>, ownership: Ownership) -> String {
    match action {
        Some(Action::Kernel) => format!("The XDP program leaves port {port} there to the kernel."),
        Some(Action::Stack) => format!("The XDP program hands what is for port {port} to the workers."),
        Some(Action::Listener(_)) => {
            format!("The XDP program knows port {port} as a listener's: it counts SYNs, and hands all to the workers.")
        }
        Some(Action::Guarded(_)) => format!(
            "The XDP program guards port {port}: it answers SYNs with cookies, and drops segments of flows that it does not know."
        ),
        Some(_) => format!("The XDP program sends what is for port {port} on to backends: ask `xskip lb explain`."),
        None if ownership == Ownership::Own => {
            format!("The XDP program has no entry for port {port}: the workers get it, as the whole address is theirs.")
        }
        None => format!("The XDP program has no entry for port {port}: the kernel gets it."),
    }
}

/// What would become of a SYN from there.
fn verdict(local: SocketAddr, listens: bool, action: Option<Action>, ownership: Ownership) -> String {
    let port = local.port();
    match (action, listens) {
        (Some(Action::Kernel), _) => "What comes is the kernel's to answer.".to_owned(),
        (None, _) if ownership == Ownership::Shared => "What comes is the kernel's to answer.".to_owned(),
        (Some(Action::Balance { .. } | Action::Translate { .. } | Action::Clients { .. }), _) => {
            "What comes is a backend's to answer.".to_owned()
        }
        (_, true) => {
            "A SYN would begin a connection; any other segment would be answered with an RST, or dropped.".to_owned()
        }
        (_, false) => format!(
            "No flow, no listener: a SYN would be answered with an RST. Listen on port {port}, or ask for another one."
        ),
    }
}
