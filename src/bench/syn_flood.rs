//! The scenario `syn-flood`: each contender in turn, in a lab of its own, visited by legitimate clients at a steady rate, first
//! at peace and then under a flood.

use super::{
    BenchError,
    contender::{Contender, ContenderError},
    legit::{LegitFigures, LegitLoad, LegitOptions},
    summary::{self, Curves, Metrics, Report},
};
use crate::{
    flood::{Flood, FloodKind, FloodOptions},
    host::cores::Cores,
    lab::{INTERFACE, Lab, LabName, LabOptions},
};
use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long an attempt may take before it counts as failed: four transmissions of a SYN, as Linux does them.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often the clock is looked at while something runs.
const STEP: Duration = Duration::from_millis(50);
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

/// Where things run.
///
/// A veth delivers on the sender's core, as long as it is one core that sends: when two do, one of them ends up delivering for
/// both, the other one sends without being held up, and the queue of 256 frames between them overruns. So everything on the
/// client's side has one core, the kernel's part of it included. The flood has the lowest priority there, and thereby all that
/// the clients leave; so what they measure is the server, and not how long a flood may keep its core.
#[derive(Clone, Copy, Debug)]
struct Placement {
    /// The server's thread.
    server: usize,
    /// The flood and the clients.
    clients: usize,
}

impl Placement {
    /// Lets the client's kernel do its part on the clients' core, too, wherever an answer was sent from.
    fn steer_answers(self, lab: &Lab) -> Result<(), BenchError> {
        let mask = format!("{:x}", 1u64 << (self.clients % 64));
        let file = format!("/sys/class/net/{INTERFACE}/queues/rx-0/rps_cpus");
        let written = lab.client().run(|| fs::write(&file, mask))?;
        written.map_err(|source| BenchError::Steering { file, source })
    }
}

/// What one turn of a contender brought.
struct Turn {
    metrics: Metrics,
    idle: LegitFigures,
    flooded: LegitFigures,
}

/// A contender with all that its turns brought.
struct Record {
    contender: Contender,
    unavailable: Option<String>,
    rounds: Vec<Metrics>,
    idle: LegitFigures,
    flooded: LegitFigures,
}

impl SynFlood {
    /// Measures. `progress` hears of each turn before it begins; `interrupted` may become true at any time, and ends it all
    /// with nothing left behind.
    ///
    /// # Errors
    /// [`BenchError`] says what went wrong. A contender that this machine cannot run is none: the report says so.
    pub fn run(&self, mut progress: impl FnMut(&str), interrupted: &AtomicBool) -> Result<Report, BenchError> {
        let placement = self.place()?;
        let mut records: Vec<_> = self.contenders.iter().map(|&contender| Record::new(contender)).collect();
        for round in 1..=self.rounds {
            for record in records.iter_mut().filter(|record| record.unavailable.is_none()) {
                progress(&format!("round {round} of {}: {}", self.rounds, record.contender));
                match self.turn(record.contender, placement, interrupted) {
                    Ok(turn) => record.add(turn),
                    Err(BenchError::Contender(ContenderError::Unavailable { reason, .. })) => {
                        progress(&format!("{} cannot run here: {reason}", record.contender));
                        record.unavailable = Some(reason);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut report = Report::new("syn-flood", records.into_iter().map(Record::into_results).collect());
        report.commands = vec![self.command()];
        report.placement = self.describe(placement);
        Ok(report)
    }

    /// The server has a core of its own where there are two.
    fn place(&self) -> Result<Placement, BenchError> {
        let cores: Vec<_> = Cores::read()?.iter().collect();
        match (cores.first(), cores.last()) {
            (Some(&server), Some(&clients)) => Ok(Placement { server, clients }),
            _ => Err(BenchError::NoCore),
        }
    }

    fn turn(&self, contender: Contender, placement: Placement, interrupted: &AtomicBool) -> Result<Turn, BenchError> {
        let name: LabName = format!("bench{}", std::process::id()).parse()?;
        let lab = Lab::temporary_unless(&LabOptions { name, ..LabOptions::default() }, interrupted)?;
        placement.steer_answers(&lab)?;
        let standing = contender.start(&lab, placement.server)?;
        let targets = standing.targets();
        let clients = |period: Duration| -> Result<LegitFigures, BenchError> {
            if !contender.serves_clients() {
                wait(period, interrupted)?;
                return Ok(LegitFigures::default());
            }
            let load = self.start_clients(&lab, &standing.targets(), placement)?;
            wait(period, interrupted)?;
            Ok(load.finish())
        };
        clients(WARM_UP)?;
        let idle = if contender.serves_clients() { clients(self.idle)? } else { LegitFigures::default() };
        let memory = standing.resident_kib();
        let mut options = FloodOptions::new(INTERFACE, targets[0], self.kind);
        // Longer than needed, however long the last clients take: it is stopped when they are done.
        (options.rate, options.duration) = (self.rate, self.duration + 4 * PATIENCE);
        (options.core, options.background) = (Some(placement.clients), true);
        let flood = lab.client().run(|| Flood::start(&options))??;
        wait(WARM_UP, interrupted)?;
        let (before, began) = (flood.counts()?, Instant::now());
        let flooded = clients(self.duration)?;
        let (counts, elapsed) = (flood.counts()?.since(&before), began.elapsed().as_secs_f64());
        let grown = standing.resident_kib().zip(memory).map(|(after, before)| after as f64 - before as f64);
        flood.stop();
        flood.finish()?;
        standing.stop()?;
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

    fn start_clients(&self, lab: &Lab, targets: &[SocketAddr], placement: Placement) -> Result<LegitLoad, BenchError> {
        let options = LegitOptions {
            targets: targets.to_vec(),
            per_second: self.clients,
            patience: PATIENCE,
            core: Some(placement.clients),
        };
        lab.client().run(|| LegitLoad::start(options))?.map_err(BenchError::Clients)
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

impl Record {
    fn new(contender: Contender) -> Self {
        let (idle, flooded) = (LegitFigures::default(), LegitFigures::default());
        Self { contender, unavailable: None, rounds: Vec::new(), idle, flooded }
    }

    fn add(&mut self, turn: Turn) {
        self.rounds.push(turn.metrics);
        self.idle.merge(&turn.idle);
        self.flooded.merge(&turn.flooded);
    }

    fn into_results(self) -> summary::Results {
        let name = self.contender.to_string();
        match self.unavailable {
            Some(reason) => summary::Results::unavailable(name, reason),
            None => summary::Results::new(name, self.rounds, Curves::new(&self.idle, &self.flooded)),
        }
    }
}

fn wait(period: Duration, interrupted: &AtomicBool) -> Result<(), BenchError> {
    let end = Instant::now() + period;
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(BenchError::Interrupted);
        }
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(STEP)),
            _ => return Ok(()),
        }
    }
}
