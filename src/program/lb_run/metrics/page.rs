//! What there is to know at one moment, and how it is called. A scrape makes a page and throws it away: nothing is counted for it.

use crate::{
    balancer::{BackendStatus, ServiceStatus, Status},
    drops::{DropReason, Drops},
    lb::{Health, Obstacle, Refusal, State, Why},
    stats::StackStats,
    telemetry::metrics::{Families, Form, Process, Written, encode},
    time::Instant,
    worker::Snapshot,
    xdp::Verdicts,
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};
use std::time::{Duration, SystemTime};

/// How often the file was read anew, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Reloads {
    pub taken: u64,
    pub refused: u64,
    /// Whether the file that counts is the one that was read last.
    pub last_was_taken: bool,
    /// When the file that counts was taken.
    pub last_taken: SystemTime,
}

impl Reloads {
    /// At the start, which is a file that was taken and not read anew.
    pub fn none(now: SystemTime) -> Self {
        Self { taken: 0, refused: 0, last_was_taken: true, last_taken: now }
    }

    pub fn count(&mut self, is_taken: bool) {
        self.last_was_taken = is_taken;
        if is_taken {
            self.taken += 1;
            self.last_taken = SystemTime::now();
        } else {
            self.refused += 1;
        }
    }
}

/// Everything, gathered.
#[derive(Debug)]
pub struct Page {
    pub status: Status,
    pub now: Instant,
    pub generation: Option<u64>,
    pub reloads: Reloads,
    pub verdicts: Verdicts,
    pub workers: Vec<Snapshot>,
    pub process: Process,
}

impl Page {
    /// The page, in words.
    pub fn write(self, form: Form) -> String {
        encode(self, form)
    }

    /// Each service with each of its backends.
    fn backends(&self) -> impl Iterator<Item = (&ServiceStatus, &BackendStatus)> {
        self.status.services.iter().flat_map(|service| service.backends.iter().map(move |backend| (service, backend)))
    }

    /// One number of each backend that has it.
    pub(super) fn of_backends<T>(
        &self,
        what: impl Fn(&BackendStatus) -> Option<T>,
    ) -> impl Iterator<Item = ([(&'static str, &str); 2], T)> {
        self.backends().filter_map(move |(service, backend)| {
            Some(([("service", &*service.name), ("backend", &*backend.name)], what(backend)?))
        })
    }

    /// One of some states of each backend: 1 for the one that it is in, and 0 for the others.
    fn state_of_backends<'a>(
        &'a self,
        label: &'static str,
        states: &'static [&'static str],
        is: impl Fn(&BackendStatus) -> &'static str + 'a,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 3], u32)> + 'a {
        self.backends().flat_map(move |(service, backend)| {
            let now = is(backend);
            states.iter().map(move |&state| {
                let labels = [("service", &*service.name), ("backend", &*backend.name), (label, state)];
                (labels, u32::from(state == now))
            })
        })
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let families = &mut Families::of(&mut encoder);
        self.configuration(families)?;
        self.packets(families)?;
        self.rewritten(families)?;
        self.services(families)?;
        self.traffic_of_backends(families)?;
        self.proxied(families)?;
        self.health_of_backends(families)?;
        self.rows_of_backends(families)?;
        self.programs_and_workers(families)?;
        self.process.write(families)
    }
}

impl Page {
    fn configuration(&self, families: &mut Families<'_, '_>) -> Written {
        let Reloads { taken, refused, last_was_taken, last_taken } = self.reloads;
        families.infos("xskip_lb_build", "The program that balances.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
        families.gauge(
            "xskip_lb_config_generation",
            "The number of the file that counts, where it has one.",
            None,
            self.generation,
        )?;
        families.counters(
            "xskip_lb_config_reloads",
            "How often the file was read anew since the start, by what came of that.",
            None,
            [([("result", "taken")], taken), ([("result", "refused")], refused)],
        )?;
        families.gauge(
            "xskip_lb_config_last_reload_successful",
            "1 where the file that was read last is the one that counts, 0 where it was refused.",
            None,
            Some(u32::from(last_was_taken)),
        )?;
        let since = last_taken.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        families.gauge(
            "xskip_lb_config_last_reload_success_timestamp",
            "When the file that counts was taken, since 1970.",
            Some(&Unit::Seconds),
            Some(since.as_secs_f64()),
        )?;
        families.counter(
            "xskip_lb_plans",
            "Plans applied since the start: changes of the file, and what was said by hand.",
            None,
            Some(self.status.generation),
        )
    }

    fn packets(&self, families: &mut Families<'_, '_>) -> Written {
        let outcomes = &self.status.outcomes;
        let forwarded = Why::ALL.iter().map(|&why| ("forwarded", why.name(), outcomes.forwarded(why)));
        let refused = Refusal::ALL.iter().map(|&why| ("dropped", why.name(), outcomes.refused(why)));
        let hindered = Obstacle::ALL.iter().map(|&why| ("dropped", why.name(), outcomes.hindered(why)));
        let others = [
            ("forwarded", "answers", outcomes.answers()),
            ("answered", "told_too_big", outcomes.told_too_big()),
            ("answered", "answered_syn", outcomes.answered_syns()),
            ("reset", "reset", outcomes.reset()),
            ("reset", "reset_unknown", outcomes.reset_unknown()),
        ];
        let all = forwarded.chain(refused).chain(hindered).chain(others);
        families.counters(
            "xskip_lb_packets",
            "What has become of packets for services, all of them together, and why.",
            None,
            all.map(|(outcome, reason, count)| ([("outcome", outcome), ("reason", reason)], count)),
        )?;
        families.gauge(
            "xskip_lb_remembered_flows",
            "Flows that are remembered.",
            None,
            Some(self.status.remembered.0),
        )?;
        families.gauge(
            "xskip_lb_remembered_flows_limit",
            "How many flows may be remembered.",
            None,
            Some(self.status.remembered.1),
        )
    }

    /// Of services in mode `nat`, if there may be any.
    fn rewritten(&self, families: &mut Families<'_, '_>) -> Written {
        let (flows, opening, limit) = self
            .status
            .rewritten
            .map_or((None, None, None), |(flows, opening, limit)| (Some(flows), Some(opening), Some(limit)));
        families.gauge("xskip_lb_nat_flows", "Flows that are rewritten, each with a port of a source.", None, flows)?;
        families.gauge("xskip_lb_nat_opening_flows", "Those of them that nobody has answered yet.", None, opening)?;
        families.gauge("xskip_lb_nat_flows_limit", "How many flows may be rewritten.", None, limit)?;
        families.gauges(
            "xskip_lb_service_nat_flows",
            "Flows of a service that are rewritten, each with a port of a source.",
            None,
            self.status.services.iter().filter_map(|it| Some(([("service", &*it.name)], it.rewritten?))),
        )
    }

    fn services(&self, families: &mut Families<'_, '_>) -> Written {
        let of_service = |it: &ServiceStatus| {
            [
                ("service", it.name.clone()),
                ("address", it.address.to_string()),
                ("protocol", it.transport.to_string()),
                ("mode", it.mode.to_string()),
            ]
        };
        let services = &self.status.services;
        families.infos("xskip_lb_service", "A service that is served.", services.iter().map(of_service))?;
        families.gauges(
            "xskip_lb_service_rows",
            "Rows of a service's table.",
            None,
            services.iter().map(|it| ([("service", &*it.name)], it.rows)),
        )?;
        families.gauges(
            "xskip_lb_service_answers_syns",
            "1 where a service's SYNs are answered in its backends' names, 0 where they should be, and backends answer them.",
            None,
            services.iter().filter_map(|it| Some(([("service", &*it.name)], u32::from(it.hand_over.as_ref()?.is_ok())))),
        )?;
        let of_backend = |(service, backend): (&ServiceStatus, &BackendStatus)| {
            [
                ("service", service.name.clone()),
                ("backend", backend.name.clone()),
                ("address", backend.address.to_string()),
            ]
        };
        families.infos("xskip_lb_backend", "A backend of a service.", self.backends().map(of_backend))
    }

    fn traffic_of_backends(&self, families: &mut Families<'_, '_>) -> Written {
        families.counters(
            "xskip_lb_backend_packets",
            "Packets that a backend was sent since it came.",
            None,
            self.of_backends(|it| Some(it.tally.packets)),
        )?;
        families.counters(
            "xskip_lb_backend",
            "Octets of the packets that a backend was sent since it came, from the IP header on.",
            Some(&Unit::Bytes),
            self.of_backends(|it| Some(it.tally.octets)),
        )?;
        families.counters(
            "xskip_lb_backend_flows",
            "New flows of a backend since it came, by their SYNs: those that it was sent, or that were answered in its name.",
            None,
            self.of_backends(|it| Some(it.tally.flows)),
        )?;
        families.counters(
            "xskip_lb_backend_resets",
            "Segments of a backend's flows that were reset since it came, as it is down.",
            None,
            self.of_backends(|it| Some(it.tally.resets)),
        )
    }

    fn health_of_backends(&self, families: &mut Families<'_, '_>) -> Written {
        families.gauges(
            "xskip_lb_backend_state",
            "What a backend is there for: 1 beside its state, 0 beside others.",
            None,
            self.state_of_backends("state", &["serve", "drain", "off"], |it| match it.state {
                State::Serve => "serve",
                State::Drain { .. } => "drain",
                State::Off => "off",
            }),
        )?;
        families.gauges(
            "xskip_lb_backend_health",
            "What is known of a backend's health: 1 beside that, 0 beside the rest.",
            None,
            self.state_of_backends("health", &["up", "down", "unknown"], |it| match it.health {
                Health::Up => "up",
                Health::Down => "down",
                Health::Unknown => "unknown",
            }),
        )?;
        families.counters(
            "xskip_lb_backend_health_changes",
            "How often a backend's health has become another since it came.",
            None,
            self.of_backends(|it| Some(it.health_changes)),
        )?;
        families.gauges(
            "xskip_lb_backend_trouble",
            "1 where something keeps packets from a backend, or is about to: `xskip lb status` says what.",
            None,
            self.of_backends(|it| Some(u32::from(it.trouble.is_some()))),
        )?;
        families.counters(
            "xskip_lb_backend_checks",
            "Checks of a backend, of those that are checked.",
            None,
            self.of_backends(|it| Some(it.checks?.made)),
        )?;
        families.counters(
            "xskip_lb_backend_checks_failed",
            "Checks of a backend that have failed.",
            None,
            self.of_backends(|it| Some(it.checks?.failed)),
        )?;
        families.gauges(
            "xskip_lb_backend_last_check_successful",
            "1 where the last check of a backend succeeded, 0 where it failed.",
            None,
            self.of_backends(|it| Some(u32::from(it.checks?.last?))),
        )
    }

    fn rows_of_backends(&self, families: &mut Families<'_, '_>) -> Written {
        families.gauges(
            "xskip_lb_backend_weight",
            "A backend's share of new flows, beside the weights of others.",
            None,
            self.of_backends(|it| Some(it.weight)),
        )?;
        families.gauges(
            "xskip_lb_backend_rows",
            "Rows that lead to a backend, for new flows.",
            None,
            self.of_backends(|it| Some(it.share.rows)),
        )?;
        families.gauges(
            "xskip_lb_backend_older_rows",
            "Rows in transition that lead to a backend for older flows, of which one has spoken within the window.",
            None,
            self.of_backends(|it| Some(it.share.older)),
        )?;
        families.gauges(
            "xskip_lb_backend_remembered_flows",
            "Flows that are remembered to be a backend's.",
            None,
            self.of_backends(|it| Some(it.share.remembered)),
        )?;
        let left = |it: &BackendStatus| match it.state {
            State::Drain { until } if until < Instant::NEVER => Some(until.saturating_since(self.now)),
            _ => None,
        };
        families.gauges(
            "xskip_lb_backend_drain_remaining",
            "How long what is left of a drain may go on, where it has a deadline.",
            Some(&Unit::Seconds),
            self.of_backends(|it| left(it).as_ref().map(Duration::as_secs_f64)),
        )
    }

    fn programs_and_workers(&self, families: &mut Families<'_, '_>) -> Written {
        families.counters(
            "xskip_lb_xdp_frames",
            "What the XDP programs decided of frames.",
            None,
            self.verdicts.iter().map(|(verdict, count)| ([("verdict", verdict)], count)),
        )?;
        let of_workers = |count: fn(&Snapshot) -> u64| {
            (0_u32..).zip(&self.workers).map(move |(number, it)| ([("worker", number)], count(it)))
        };
        families.counters(
            "xskip_lb_worker_received_frames",
            "Frames that a worker has taken in.",
            None,
            of_workers(|it| it.frames_in),
        )?;
        families.counters(
            "xskip_lb_worker_transmitted_frames",
            "Frames that a worker has sent.",
            None,
            of_workers(|it| it.frames_out),
        )?;
        families.gauges(
            "xskip_lb_worker_connections",
            "Connections of a worker: those of checks.",
            None,
            of_workers(|it| it.connections.into()),
        )?;
        let (mut stats, mut drops) = (StackStats::default(), Drops::default());
        for worker in &self.workers {
            stats.merge(&worker.stats);
            drops.merge(&worker.drops);
        }
        families.counters(
            "xskip_lb_stack_events",
            "What the workers' stacks did: for checks, for neighbours, and for flows that are reset.",
            None,
            stats.events().map(|(event, count)| ([("event", event)], count)),
        )?;
        families.counters(
            "xskip_lb_stack_drops",
            "Frames and segments that the workers' stacks have refused, and why.",
            None,
            DropReason::ALL.iter().map(|&reason| ([("reason", reason.name())], drops.get(reason))),
        )?;
        families.gauge(
            "xskip_lb_stack_memory_peak",
            "The most memory that the connections of the workers' stacks took at any time.",
            Some(&Unit::Bytes),
            Some(stats.memory_peak),
        )
    }
}
