//! What becomes of a flow and why, table by table: for a connection there is, one that was, and one that never came to be.

use super::{
    ConnectionReport, EndReport, ExampleReport, HistoryReport, InspectError, Inspector, Name, NeighbourReport, drops,
};
use crate::{
    stack::{Addresses, KnownFlow, LocalAddress, Ownership},
    wire::{FourTuple, check_host},
    worker::WorkerHandle,
    xdp::{Action, Service},
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, ops::ControlFlow};

/// What a table says of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which one: `addresses`, `services`, `filter`, `flows`, `sources`, `listeners`, `neighbours` or `verdict`.
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

    /// Takes what workers know; whether there is anything.
    fn take(&mut self, flows: Vec<(usize, Known)>) -> bool {
        let is_known = !flows.is_empty();
        for (worker, Known { connection, sentences, history, flow }) in flows {
            self.find("flows", format!("Worker {worker} has it: {flow}."));
            (self.connection, self.sentences, self.history) = (connection, sentences, history);
        }
        is_known
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
            // An address may have gone, and leave its flows behind; and some speak in others' names.
            (None, None) if self.flows(other, one)?.is_empty() && !self.flows(one, other)?.is_empty() => {
                (one, other, None)
            }
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
            None => self.explain_foreign(&mut it)?,
        }
        self.ends(|end| {
            if is_between((end.local, end.remote), &it) {
                it.ends.push(end);
            }
            ControlFlow::Continue(())
        })?;
        self.refused(&mut it)?;
        Ok(it)
    }

    /// What workers know of a flow between our end and the peer's, each with its number.
    fn flows(&self, local: SocketAddr, remote: SocketAddr) -> Result<Vec<(usize, Known)>, InspectError> {
        let tuple = FourTuple { local: local.into(), remote: remote.into() };
        let mut flows = Vec::new();
        for worker in self.of_workers() {
            flows.extend(known(&worker, self.names(), tuple)?.map(|known| (worker.number(), known)));
        }
        Ok(flows)
    }

    /// Neither end is an address of ours, as far as addresses go.
    fn explain_foreign(&self, it: &mut Explanation) -> Result<(), InspectError> {
        let (local, remote) = (it.local.ip(), it.remote.ip());
        let flows = self.flows(it.local, it.remote)?;
        it.find("addresses", match flows.is_empty() {
            true => format!(
                "Neither {remote} nor {local} is an address of this server: the XDP program leaves what is for them to the kernel, \
                 whose own `ss` and `ip route get` tell more."
            ),
            false => format!("{local} is no address of this server, or none any more; but a worker has this flow."),
        });
        it.take(flows);
        Ok(())
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
        let place = self.places.get(number);
        let action = place.and_then(|place| place.services.get(Service::tcp(local)));
        let answers = place.is_some_and(|place| place.guard.has_way_out());
        it.find("services", serviced(local.port(), action, address.ownership, answers));
        if let (Some(Action::Guarded(_)), Some(place)) = (action, place) {
            let knows = place.guard.filter().contains(remote, local);
            it.find("filter", match knows {
                true => "The XDP program lets segments between these two through: it takes them for those of a flow.",
                false => "The XDP program knows no flow between these two: apart from SYNs it lets through only ACKs with a valid cookie, and a few RSTs.",
            });
        }
        let is_known = it.take(self.flows(local, remote)?);
        if !is_known {
            it.find("flows", "No worker has a flow between these two.");
        }
        let addresses = self.listening.addresses().into_iter().map(|(_, address)| address).collect();
        let impossible = impossible_ends(local, remote, addresses).filter(|_| !is_known);
        let is_possible = impossible.is_none();
        impossible.into_iter().for_each(|text| it.find("sources", text));
        let listens = self.listener(it)?;
        self.neighbour(it)?;
        if !is_known {
            let ownership = address.ownership;
            it.find(
                "verdict",
                Arrival { port: local.port(), action, ownership, answers, is_possible, listens }.verdict(),
            );
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
                if example.local.zip(example.remote).is_some_and(|ends| is_between(ends, it)) {
                    let (name, meaning) = (Name::Borrowed(reason.name()), Name::Borrowed(reason.meaning()));
                    it.refused.push(RefusedReport { reason: name, meaning, example });
                }
            }
        }
        Ok(())
    }
}

/// Whether these are its two ends, in either order: what is ours may have been told otherwise than it is now.
fn is_between((one, other): (SocketAddr, SocketAddr), it: &Explanation) -> bool {
    [(one, other), (other, one)].contains(&(it.local, it.remote))
}

/// What the table of services says of a port. The XDP program `answers` where what it sends arrives.
pub(super) fn serviced(port: u16, action: Option<Action>, ownership: Ownership, answers: bool) -> String {
    match action {
        Some(Action::Kernel) => format!("The XDP program leaves port {port} there to the kernel."),
        Some(Action::Stack) => format!("The XDP program hands what is for port {port} to the workers."),
        Some(Action::Listener(_)) => {
            format!("The XDP program knows port {port} as a listener's: it counts SYNs, and hands all to the workers.")
        }
        Some(Action::Guarded(_)) if answers => format!(
            "The XDP program guards port {port}: it answers SYNs with cookies, and drops segments of flows that it does not know."
        ),
        Some(Action::Guarded(_)) => format!(
            "The XDP program guards port {port}: it drops segments of flows that it does not know, but leaves SYNs to the workers, as \
             its own answers would not arrive."
        ),
        Some(_) => format!("The XDP program sends what is for port {port} on to backends: ask `xskip lb explain`."),
        None if ownership == Ownership::Own => {
            format!("The XDP program has no entry for port {port}: the workers get it, as the whole address is theirs.")
        }
        None => format!("The XDP program has no entry for port {port}: the kernel gets it."),
    }
}

/// Why no segment of no flow can have these ends, where none can: what the parser, the stacks and the XDP program refuse alike.
pub(super) fn impossible_ends(local: SocketAddr, remote: SocketAddr, addresses: Vec<LocalAddress>) -> Option<String> {
    let address = remote.ip();
    if local.port() == 0 || remote.port() == 0 {
        return Some("Port 0 means no port: a segment that has it at either end is dropped.".to_owned());
    }
    let whose = if check_host(address).is_err() {
        "no host's address (RFC 1122 section 3.2.1.3, RFC 4291 section 2)"
    } else if addresses.iter().any(|local| local.cidr.address == address) {
        "an address of this server itself"
    } else if Addresses::new(addresses).impossible_sources().contains(&address) {
        "the broadcast address of a subnet of this server's"
    } else {
        return None;
    };
    Some(format!("{address} is {whose}: a segment that claims to come from there is dropped."))
}

/// What there is for a segment of no known flow.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub port: u16,
    pub action: Option<Action>,
    pub ownership: Ownership,
    /// Whether the XDP program's own answers arrive.
    pub answers: bool,
    /// Whether it can have the ends that it has.
    pub is_possible: bool,
    /// Whether anybody listens.
    pub listens: bool,
}

impl Arrival {
    /// What would become of it.
    pub fn verdict(self) -> String {
        let port = self.port;
        match (self.action, self.listens) {
            (Some(Action::Kernel), _) => "What comes is the kernel's to answer.".to_owned(),
            (None, _) if self.ownership == Ownership::Shared => "What comes is the kernel's to answer.".to_owned(),
            (Some(Action::Balance { .. } | Action::Translate { .. } | Action::Clients { .. }), _) => {
                "What comes is a backend's to answer.".to_owned()
            }
            _ if !self.is_possible => {
                "What comes is dropped, a SYN as well. Ask for the two ends that a client has on the wire.".to_owned()
            }
            (_, true) => "A SYN would begin a connection, and so would an ACK with a valid cookie where cookies are in use; any other \
                          segment would be answered with an RST, or dropped."
                .to_owned(),
            (Some(Action::Guarded(_)), false) if self.answers => format!(
                "No flow, no listener: the XDP program would answer a SYN nevertheless, and the ACK that follows would be answered with \
                 an RST. Listen on port {port}, or ask for another one."
            ),
            (_, false) => format!(
                "No flow, no listener: a SYN would be answered with an RST. Listen on port {port}, or ask for another one."
            ),
        }
    }
}
