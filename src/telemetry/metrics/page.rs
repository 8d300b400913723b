//! The page of workers and their programs, whatever runs on them.

use super::{
    families::{Families, Written, encode},
    http::Form,
    process::Process,
};
use crate::{
    drops::DropReason,
    worker::{PortSnapshot, Snapshot},
    xdp::Verdicts,
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// A listener, as a page tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Where it listens.
    pub address: SocketAddr,
    /// How high its defence stands, in a word, of these.
    pub level: &'static str,
    /// All words there are for that.
    pub levels: &'static [&'static str],
    /// How often that has changed.
    pub changes: u64,
    /// SYNs for it, answered or not.
    pub syns: u64,
}

/// What there is to know of workers and of the programs before them.
#[derive(Clone, Debug, Default)]
pub struct WorkersPage {
    /// Each worker, by its number.
    pub workers: Vec<Snapshot>,
    /// The interfaces' names, in the order of each worker's queues.
    pub interfaces: Vec<String>,
    /// What the XDP programs decided, all of them together.
    pub verdicts: Verdicts,
    /// Each listener.
    pub listeners: Vec<ListenerCounts>,
}

/// Labels of a queue.
type OfQueue<'a> = [(&'static str, String); 3];

impl WorkersPage {
    /// The page, in words.
    pub fn write(self, form: Form) -> String {
        encode(self, form)
    }

    /// Each worker with its number.
    fn numbered(&self) -> impl Iterator<Item = (usize, &Snapshot)> {
        self.workers.iter().enumerate()
    }

    /// One number of each.
    fn of_workers<'a, T>(
        &'a self,
        what: impl Fn(&'a Snapshot) -> T + 'a,
    ) -> impl Iterator<Item = ([(&'static str, usize); 1], T)> + 'a {
        self.numbered().map(move |(number, it)| ([("worker", number)], what(it)))
    }

    /// Each queue, by its labels.
    fn queues(&self) -> impl Iterator<Item = (OfQueue<'_>, &PortSnapshot)> {
        self.numbered().flat_map(move |(number, worker)| {
            worker.ports.iter().zip(&self.interfaces).map(move |(port, interface)| {
                let labels = [
                    ("worker", number.to_string()),
                    ("interface", interface.clone()),
                    ("queue", port.queue.to_string()),
                ];
                (labels, port)
            })
        })
    }

    fn traffic(&self, families: &mut Families<'_, '_>) -> Written {
        families.infos("xskip_build", "The program.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
        families.counters(
            "xskip_worker_received_frames",
            "Frames that a worker has taken in.",
            None,
            self.of_workers(|it| it.frames_in),
        )?;
        families.counters(
            "xskip_worker_transmitted_frames",
            "Frames that a worker has sent.",
            None,
            self.of_workers(|it| it.frames_out),
        )?;
        families.counters(
            "xskip_worker_received",
            "Octets of the frames that a worker has taken in, from their link headers on.",
            Some(&Unit::Bytes),
            self.of_workers(|it| it.stats.octets_received),
        )?;
        families.counters(
            "xskip_worker_transmitted",
            "Octets of the frames that a worker has sent, from their link headers on.",
            Some(&Unit::Bytes),
            self.of_workers(|it| it.stats.octets_transmitted),
        )?;
        families.counters(
            "xskip_xdp_frames",
            "What the XDP programs decided of frames.",
            None,
            self.verdicts.iter().map(|(verdict, count)| ([("verdict", verdict)], count)),
        )?;
        families.gauges(
            "xskip_worker_flows",
            "Flows of a worker by their state: connections, handshakes that are remembered, and TIME-WAIT.",
            None,
            self.numbered().flat_map(|(number, it)| {
                let states = [("open", it.connections), ("half_open", it.half_open), ("time_wait", it.time_wait)];
                states.map(|(state, count)| ([("worker", number.to_string()), ("state", state.to_owned())], count))
            }),
        )
    }

    fn stacks(&self, families: &mut Families<'_, '_>) -> Written {
        let events = self.numbered().flat_map(|(number, it)| {
            let counts = it.stats.events();
            counts.map(move |(event, count)| ([("worker", number.to_string()), ("event", event.to_owned())], count))
        });
        families.counters(
            "xskip_stack_events",
            "What a worker's stack did: segments, retransmissions, RSTs, handshakes, cookies, and how connections ended.",
            None,
            events,
        )?;
        let drops = self.numbered().flat_map(|(number, it)| {
            let counts = DropReason::ALL.iter().map(|&reason| (reason.name(), it.drops.get(reason)));
            counts.map(move |(reason, count)| ([("worker", number.to_string()), ("reason", reason.to_owned())], count))
        });
        families.counters(
            "xskip_stack_drops",
            "Frames and segments that a worker's stack has refused, and why.",
            None,
            drops,
        )?;
        let octets = Some(&Unit::Bytes);
        families.gauges(
            "xskip_stack_memory",
            "What the connections of a worker have allocated.",
            octets,
            self.of_workers(|it| it.memory as u64),
        )?;
        families.gauges(
            "xskip_stack_memory_limit",
            "What the connections of a worker may allocate, where there is a limit.",
            octets,
            self.of_workers(|it| it.memory_limit).filter_map(|(labels, limit)| Some((labels, limit? as u64))),
        )?;
        families.gauges(
            "xskip_stack_memory_peak",
            "The most that the connections of a worker have had allocated.",
            octets,
            self.of_workers(|it| it.stats.memory_peak),
        )
    }

    fn timings(&self, families: &mut Families<'_, '_>) -> Written {
        families.histograms(
            "xskip_handshake",
            "How long handshakes took whose SYN or SYN-ACK was sent but once, and that no cookie ended.",
            self.of_workers(|it| &it.timings.handshakes),
        )?;
        families.histograms(
            "xskip_round_trip",
            "The smoothed round-trip time that connections ended with.",
            self.of_workers(|it| &it.timings.round_trips),
        )?;
        families.histograms(
            "xskip_first_octet",
            "From what a peer said last to the first octet of data to it, once for each connection.",
            self.of_workers(|it| &it.timings.first_octets),
        )?;
        families.histograms(
            "xskip_worker_batch",
            "How long batches took in which something was done: what came meanwhile has waited no longer.",
            self.of_workers(|it| &it.batches),
        )
    }

    fn work(&self, families: &mut Families<'_, '_>) -> Written {
        families.counters(
            "xskip_worker_turns",
            "Turns of a worker's loop, those with nothing to do included.",
            None,
            self.of_workers(|it| it.turns),
        )?;
        families.counters(
            "xskip_worker_commands",
            "Commands that a worker has carried out.",
            None,
            self.of_workers(|it| it.commands),
        )?;
        // Until its last turn, which may have begun a sleep that lasts: so these two belong together.
        families.seconds(
            "xskip_worker_uptime",
            "How long a worker has been at work, until it showed itself last.",
            self.of_workers(|it| it.at.saturating_since(crate::time::Instant::ZERO)),
        )?;
        families.seconds(
            "xskip_worker_asleep",
            "How much of that a worker has waited for something to do.",
            self.of_workers(|it| it.asleep),
        )
    }

    fn executors(&self, families: &mut Families<'_, '_>) -> Written {
        families.gauges(
            "xskip_executor_tasks",
            "Tasks that live on a worker, where it has an executor.",
            None,
            self.of_workers(|it| it.executor.tasks),
        )?;
        let events = self.numbered().flat_map(|(number, it)| {
            let events = it.executor.events.iter();
            events.map(move |&(event, count)| ([("worker", number.to_string()), ("event", event.to_owned())], count))
        });
        families.counters("xskip_executor_events", "What a worker's executor did.", None, events)
    }

    fn rings(&self, families: &mut Families<'_, '_>) -> Written {
        let events = self.queues().flat_map(|(labels, port)| {
            port.statistics.iter().map(move |(event, count)| {
                let [worker, interface, queue] = labels.clone();
                ([worker, interface, queue, ("event", event.to_owned())], count)
            })
        });
        families.counters("xskip_queue_events", "What a queue and the kernel's side of it did.", None, events)?;
        let frames = self.queues().flat_map(|(labels, port)| {
            let audit = port.frames;
            let places =
                [("pool", audit.free), ("fill", audit.fill), ("transmit", audit.transmit), ("held", audit.held)];
            places.map(|(place, count)| {
                let [worker, interface, queue] = labels.clone();
                ([worker, interface, queue, ("place", place.to_owned())], count)
            })
        });
        families.gauges(
            "xskip_queue_frames",
            "Where a queue's frames are: in the pool, in the fill ring or with the driver, on their way out, or with the stack.",
            None,
            frames,
        )?;
        families.gauges(
            "xskip_queue_link_down",
            "1 where a queue's link was down when last tried.",
            None,
            self.queues().map(|(labels, port)| (labels, u32::from(port.link_down))),
        )
    }

    fn defence(&self, families: &mut Families<'_, '_>) -> Written {
        let of_listeners = |count: fn(&ListenerCounts) -> u64| {
            self.listeners.iter().map(move |it| ([("listener", it.address.to_string())], count(it)))
        };
        let mut accepted: BTreeMap<(u16, Option<IpAddr>), u64> = BTreeMap::new();
        for listener in self.workers.iter().flat_map(|worker| &worker.listeners) {
            *accepted.entry((listener.port, listener.address)).or_default() += listener.accepted;
        }
        families.counters(
            "xskip_listener_accepted",
            "Connections that a listener has accepted, all workers together; * is every address.",
            None,
            accepted.into_iter().map(|((port, address), count)| {
                let everywhere = || format!("*:{port}");
                let name = address.map_or_else(everywhere, |address| SocketAddr::new(address, port).to_string());
                ([("listener", name)], count)
            }),
        )?;
        families.counters(
            "xskip_listener_syns",
            "SYNs for a listener, answered or not.",
            None,
            of_listeners(|it| it.syns),
        )?;
        families.counters(
            "xskip_listener_defence_changes",
            "How often a listener's defence has become another.",
            None,
            of_listeners(|it| it.changes),
        )?;
        let levels = self.listeners.iter().flat_map(|it| {
            it.levels.iter().map(|&level| {
                let labels = [("listener", it.address.to_string()), ("level", level.to_owned())];
                (labels, u32::from(level == it.level))
            })
        });
        families.gauges(
            "xskip_listener_defence",
            "How a listener is defended: 1 beside that, 0 beside the rest.",
            None,
            levels,
        )
    }
}

impl Collector for WorkersPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let families = &mut Families::of(&mut encoder);
        self.traffic(families)?;
        self.stacks(families)?;
        self.timings(families)?;
        self.work(families)?;
        self.executors(families)?;
        self.rings(families)?;
        self.defence(families)?;
        Process::look().write(families)
    }
}
