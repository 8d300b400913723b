//! The scenario `syn-flood`: each contender in turn, in a lab of its own, visited by legitimate clients at a steady rate, first
//! at peace and then under a flood.

use super::{
    BenchError,
    contender::Contender,
    legit::{LegitFigures, LegitLoad, LegitOptions},
    placement::Placement,
    scenario::SYN_FLOOD,
    summary::{self, Curves, Metrics, Report},
    turns::{Progress, Record, Second, take_turns, wait},
};
use crate::{
    flood::{Flood, FloodKind, FloodOptions},
    host::netns::Namespace,
    lab::{INTERFACE, Lab, LabName, LabOptions},
};
use std::{
    fs,
    net::SocketAddr,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// How long an attempt may take before it counts as failed: four transmissions of a SYN, as Linux does them.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
const SECOND: Duration = Duration::from_secs(1);
/// The first seconds of a contender, in which nothing is measured: caches fill, and neighbours get to know each other.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct SynFlood {
    /// How long each contender is flooded, in each round.
    pub duration: Duration,
    /// How long the clients are measured at peace before.
    pub idle: Duration,
    /// How often each contender has its turn.
    pub rounds: usize,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// What the flood is made of.
    pub kind: FloodKind,
    /// Its frames a second; none for as many as possible.
    pub rate: Option<u64>,
    /// Attempts of legitimate clients a second, half of them over IPv6.
    pub clients: u32,
}

impl Default for SynFlood {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            rounds: 3,
            contenders: Contender::ALL.to_vec(),
            kind: FloodKind::Syn,
            rate: None,
            clients: 100,
        }
    }
}

/// What one turn of a contender brought.
struct Turn {
    metrics: Metrics,
    idle: LegitFigures,
    flooded: LegitFigures,
}

impl SynFlood {
    /// Measures. `progress` hears of what goes on; `interrupted` may become true at any time, and ends it all
    /// with nothing left behind.
    ///
    /// # Errors
    /// [`BenchError`] says what went wrong. A contender that this machine cannot run is none: the report says so.
    pub fn run(&self, mut progress: impl FnMut(Progress), interrupted: &AtomicBool) -> Result<Report, BenchError> {
        let placement = Placement::choose()?;
        let records = take_turns(&self.contenders, self.rounds, &mut progress, |contender, progress| {
            self.turn(contender, placement, progress, interrupted)
        })?;
        let mut report = Report::new(&SYN_FLOOD, records.into_iter().map(results).collect());
        report.commands = vec![self.command()];
        report.placement = self.describe(placement);
        Ok(report)
    }

    fn turn(
        &self,
        contender: Contender,
        placement: Placement,
        progress: &mut dyn FnMut(Progress),
        interrupted: &AtomicBool,
    ) -> Result<Turn, BenchError> {
        let name: LabName = format!("bench{}", std::process::id()).parse()?;
        let lab = Lab::temporary_unless(&LabOptions { name, ..LabOptions::default() }, interrupted)?;
        steer_answers(lab.client().namespace(), placement.clients)?;
        let running = contender.start(&lab, placement.server)?;
        let stage = Stage { contender, lab: &lab, targets: running.targets(), placement, interrupted };
        stage.clients(self.clients, WARM_UP, None, &mut |_| ())?;
        let idle = match contender.serves_clients() {
            true => stage.clients(self.clients, self.idle, None, progress)?,
            false => LegitFigures::default(),
        };
        let memory = running.resident_kib();
        let flood = lab.client().run(|| Flood::start(&self.flood_options(&stage)))??;
        wait(WARM_UP, interrupted)?;
        let (before, began) = (flood.counts()?, Instant::now());
        let flooded = stage.clients(self.clients, self.duration, Some(&flood), progress)?;
        let (counts, elapsed) = (flood.counts()?.since(&before), began.elapsed().as_secs_f64());
        let grown = running.resident_kib().zip(memory).map(|(after, before)| after as f64 - before as f64);
        flood.stop();
        flood.finish()?;
        running.stop()?;
        let mut metrics = Metrics::default();
        metrics.set("offered_syn_per_second", counts.sent as f64 / elapsed);
        metrics.set("syn_ack_per_second", counts.syn_acks as f64 / elapsed);
        if contender.serves_clients() {
            metrics.set_legit(&flooded);
            metrics.set_idle(&idle);
            metrics.set("server_memory_growth_kib", grown);
        }
        Ok(Turn { metrics, idle, flooded })
    }

    fn flood_options(&self, stage: &Stage<'_>) -> FloodOptions {
        FloodOptions {
            rate: self.rate,
            // Longer than needed, however long the last clients take: it is stopped when they are done.
            duration: self.duration + 4 * PATIENCE,
            core: Some(stage.placement.clients),
            background: true,
            ..FloodOptions::new(INTERFACE, stage.targets[0], self.kind)
        }
    }

    /// As one would type it.
    fn command(&self) -> String {
        let names: Vec<_> = self.contenders.iter().map(Contender::to_string).collect();
        let rate = self.rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
        format!(
            "xskip bench syn-flood --duration {} --rounds {} --contenders {} --kind {} --rate {rate} --clients {}",
            self.duration.as_secs_f64(),
            self.rounds,
            names.join(","),
            self.kind,
            self.clients
        )
    }

    fn describe(&self, placement: Placement) -> Vec<String> {
        let Placement { server, clients } = placement;
        let rate = self.clients;
        vec![
            format!("core {server}: the server's thread."),
            format!(
                "core {clients}: the flood, and {rate} legitimate attempts a second, half of them over IPv6, before which the flood gives way. A veth delivers on the sender's core, so what answers SYNs in XDP or in the kernel runs here, too."
            ),
            "Replies to the flood are counted and dropped by an XDP program where they come back.".to_owned(),
        ]
    }
}

/// Where a turn takes place.
struct Stage<'a> {
    contender: Contender,
    lab: &'a Lab,
    targets: Vec<SocketAddr>,
    placement: Placement,
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    /// Lets clients come and go for a while, where there is somebody to visit.
    fn clients(
        &self,
        per_second: u32,
        period: Duration,
        flood: Option<&Flood>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<LegitFigures, BenchError> {
        let options = LegitOptions {
            targets: self.targets.clone(),
            per_second,
            patience: PATIENCE,
            core: Some(self.placement.clients),
        };
        let load = match self.contender.serves_clients() {
            true => Some(self.lab.client().run(|| LegitLoad::start(options))?.map_err(BenchError::Clients)?),
            false => None,
        };
        watch(self.contender, load, flood, period, progress, self.interrupted)
    }
}

/// Lets clients go on for a while, says each second what has come of them and of the flood, and waits for the last of them.
pub(super) fn watch(
    contender: Contender,
    load: Option<LegitLoad>,
    flood: Option<&Flood>,
    period: Duration,
    progress: &mut dyn FnMut(Progress),
    interrupted: &AtomicBool,
) -> Result<LegitFigures, BenchError> {
    let seen = || load.as_ref().map(LegitLoad::snapshot).unwrap_or_default();
    let (begun, mut figures) = (Instant::now(), LegitFigures::default());
    let mut counts = flood.map(Flood::counts).transpose()?;
    while let Some(left) = period.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        wait(left.min(SECOND), interrupted)?;
        let (before, counted) = (std::mem::replace(&mut figures, seen()), counts);
        counts = flood.map(Flood::counts).transpose()?;
        progress(Progress::Second(Box::new(Second {
            contender,
            flood: counts.zip(counted).map(|(now, before)| now.since(&before)),
            clients: figures.since(&before),
        })));
    }
    Ok(load.map(LegitLoad::finish).unwrap_or_default())
}

/// Puts the turns of a contender together.
fn results(record: Record<Contender, Turn>) -> summary::Results {
    let name = record.contender.to_string();
    if let Some(reason) = record.unavailable {
        return summary::Results::unavailable(name, reason);
    }
    let (mut idle, mut flooded) = (LegitFigures::default(), LegitFigures::default());
    for turn in &record.turns {
        idle.merge(&turn.idle);
        flooded.merge(&turn.flooded);
    }
    let rounds = record.turns.into_iter().map(|turn| turn.metrics).collect();
    summary::Results::new(name, rounds).with_curves(Curves::new(&idle, &flooded))
}

/// Lets the client's kernel do its part on the clients' core, wherever an answer was sent from.
///
/// A veth delivers on the sender's core, as long as it is one core that sends: when two do, one of them ends up delivering for
/// both, the other one sends without being held up, and the queue of 256 frames between them overruns. So everything on the
/// client's side has one core, the kernel's part of it included. The flood has the lowest priority there, and thereby all that
/// the clients leave; so what they measure is the server, and not how long a flood may keep its core.
pub(super) fn steer_answers(client: &Namespace, core: usize) -> Result<(), BenchError> {
    let mask = format!("{:x}", 1u64 << (core % 64));
    let file = format!("/sys/class/net/{INTERFACE}/queues/rx-0/rps_cpus");
    let written = client.run(|| fs::write(&file, mask))?;
    written.map_err(|source| BenchError::Steering { file, source })
}
