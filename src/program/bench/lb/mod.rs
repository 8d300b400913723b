//! Load balancers compared: this crate's, HAProxy, nginx, the kernel's, each in turn before the same backends and clients; and, in
//! virtual time, what may be done with a balancer's memory.

mod balancing;
mod consistency;
mod contender;
mod datagrams;
mod defended;
mod events;
mod flood;
mod ground;
mod rest;
mod scenarios;
mod steady;
mod visitors;

pub(super) use self::scenarios::{DEFENDED, DRAIN, FLOOD, KILL, RELOAD, STATE, STEADY};
pub(crate) use self::{
    balancing::Balancing,
    defended::Siege,
    ground::{Answers, Ground},
};
pub use self::{
    consistency::{Consistency, LbState},
    contender::{LbContender, UnknownBalancer},
};

use self::{
    balancing::{BalanceOptions, Member},
    contender::names,
    ground::PORT,
};
use super::{
    BenchError,
    contender::nginx::{Nginx, NginxOptions, TUNING},
    contender::settings::Settings,
    placement::Placement,
    scenario::Scenario,
    summary::{Metrics, Report, Results},
    turns::{Named, Progress, take_turns},
};
use crate::{host::cores::Cores, lb::Mode};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::atomic::AtomicBool,
    time::Duration,
};

/// Backends in front of which balancers are.
const BACKENDS: u8 = 3;
/// Connections that a backend has room for: its worker needs some of them for itself.
const ROOM: u32 = 16_384;
/// Bytes of a download, which is asked for again and again.
const LARGE: u64 = 1 << 26;
/// The most that a client can have, as they may all go to one backend.
pub const MAX_CONNECTIONS: u32 = 8_000;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Trial {
    /// Nothing happens: requests, connections, and how long they take.
    #[default]
    Steady,
    /// A backend dies.
    Kill,
    /// A backend is drained.
    Drain,
    /// The list of backends changes, again and again.
    Reload,
    /// As many packets as will go; in [`Mode::Proxy`], which forwards none, clients of a service that SYNs flood.
    Flood,
}

impl Trial {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Steady, Self::Kill, Self::Drain, Self::Reload, Self::Flood];

    fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Kill => "kill",
            Self::Drain => "drain",
            Self::Reload => "reload",
            Self::Flood => "flood",
        }
    }

    /// The scenario of its report.
    pub fn scenario(self, mode: Mode) -> &'static Scenario {
        match self {
            Self::Flood if mode == Mode::Proxy => &scenarios::DEFENDED,
            Self::Steady => &scenarios::STEADY,
            Self::Kill => &scenarios::KILL,
            Self::Drain => &scenarios::DRAIN,
            Self::Reload => &scenarios::RELOAD,
            Self::Flood => &scenarios::FLOOD,
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Trial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|trial| trial.name() == text);
        found.ok_or_else(|| format!("{text:?} is no scenario: name one of {}", names()))
    }
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct LbBench {
    /// What is tried.
    pub trial: Trial,
    /// How this crate's balancer sends packets on.
    pub mode: Mode,
    /// How long each contender is measured, in each round: three times in [`Trial::Steady`].
    pub duration: Duration,
    /// How often each contender has its turn.
    pub rounds: usize,
    /// The client's connections at a time in [`Trial::Steady`], but when they download or are silent: 1 to [`MAX_CONNECTIONS`].
    pub connections: u32,
    /// Who takes part, of [`LbContender::of`].
    pub contenders: Vec<LbContender>,
    /// The program `xskip`, which runs as balancer and as client.
    pub program: PathBuf,
}

impl LbBench {
    /// The modes of this crate's balancer that can be measured.
    pub const MODES: [Mode; 5] = [Mode::Dsr, Mode::Ipip, Mode::Gue, Mode::Nat, Mode::Proxy];

    /// All who have a part in a trial.
    pub fn new(trial: Trial, mode: Mode, program: impl Into<PathBuf>) -> Self {
        Self {
            trial,
            mode,
            duration: Duration::from_secs(10),
            rounds: 3,
            connections: 64,
            contenders: LbContender::of(trial, mode),
            program: program.into(),
        }
    }

    /// Looks whether it makes sense, before anything is made: [`LbBench::run`] does so, too.
    ///
    /// # Errors
    /// [`BenchError::NotInTrial`].
    pub fn check(&self) -> Result<(), BenchError> {
        debug_assert!((1..=MAX_CONNECTIONS).contains(&self.connections), "the command line sees to that");
        let known = LbContender::of(self.trial, self.mode);
        match self.contenders.iter().find(|it| !known.contains(it)) {
            Some(&contender) => {
                let trial = if self.is_defence() {
                    format!("{} --mode {}", self.trial, self.mode)
                } else {
                    self.trial.to_string()
                };
                Err(BenchError::NotInTrial { trial, contender: contender.name(), names: names(&known) })
            }
            None => Ok(()),
        }
    }

    /// Whether clients are to be served while SYNs flood, instead of packets forwarded.
    fn is_defence(&self) -> bool {
        self.trial == Trial::Flood && self.mode == Mode::Proxy
    }

    /// Measures. `progress` hears of what goes on; `interrupted` may become true at any time, and ends it all with nothing left
    /// behind.
    ///
    /// # Errors
    /// [`BenchError`] says what went wrong. A contender that this machine cannot run is none: the report says so.
    pub fn run(&self, mut progress: impl FnMut(Progress), interrupted: &AtomicBool) -> Result<Report, BenchError> {
        self.check()?;
        let (scenario, places) = (self.trial.scenario(self.mode), Places::choose()?);
        let records = take_turns(&self.contenders, self.rounds, &mut progress, |contender, progress| {
            let brought = self.turn(contender, places, interrupted)?;
            progress(Progress::Measured { scenario, contender: contender.name(), metrics: brought.metrics.clone() });
            Ok(brought)
        })?;
        let results = records.into_iter().map(|record| match record.unavailable {
            Some(reason) => Results::unavailable(record.contender.name(), reason),
            None => {
                let (rounds, series): (_, Vec<_>) = record.turns.into_iter().map(|it| (it.metrics, it.series)).unzip();
                Results::new(record.contender.name(), rounds).with_series(sum(&series))
            }
        });
        let mut report = Report::new(scenario, results.collect());
        report.commands = vec![self.command()];
        report.placement = if self.is_defence() { places.defended() } else { places.describe(self.trial) };
        report.notes = scenarios::notes(self.trial, self.mode).iter().map(|&note| note.to_owned()).collect();
        if places.balancer == places.backends {
            report.notes.push(scenarios::SHARED_CORE.to_owned());
        }
        Ok(report)
    }

    fn turn(&self, contender: LbContender, places: Places, interrupted: &AtomicBool) -> Result<Brought, BenchError> {
        let stage = Stage { bench: self, contender, places, interrupted };
        match self.trial {
            Trial::Steady => stage.steady(),
            Trial::Kill => stage.kill(),
            Trial::Drain => stage.drain(),
            Trial::Reload => stage.reload(),
            Trial::Flood if self.is_defence() => stage.defended(),
            Trial::Flood => stage.flood(),
        }
    }

    /// As one would type it.
    fn command(&self) -> String {
        let connections = match self.trial {
            Trial::Steady => format!(" --connections {}", self.connections),
            _ => String::new(),
        };
        format!(
            "xskip bench lb --scenario {} --mode {} --duration {} --rounds {}{connections} --contenders {}",
            self.trial,
            self.mode,
            self.duration.as_secs_f64(),
            self.rounds,
            names(&self.contenders).replace(", ", ",")
        )
    }
}

/// Who runs on which core.
#[derive(Clone, Copy, Debug)]
struct Places {
    balancer: usize,
    backends: usize,
    clients: usize,
}

impl Places {
    /// Backends on the first core, clients on the last; the balancer between them, if there is a core.
    fn choose() -> Result<Self, BenchError> {
        let Placement { server: backends, clients } = Placement::choose()?;
        let between = Cores::read()?.iter().find(|&core| core != backends && core != clients);
        Ok(Self { balancer: between.unwrap_or(backends), backends, clients })
    }

    fn defended(self) -> Vec<String> {
        let Self { balancer, backends, clients } = self;
        vec![
            format!(
                "core {clients}: the clients, and the flood, which gives way to them; what answers SYNs in XDP or in the kernel runs there, too, \
                 as a veth delivers on the sender's core."
            ),
            format!("core {balancer}: the balancer's process: HAProxy's thread, nginx's worker, xskip's worker."),
            format!("core {backends}: the backends, nginx with one worker each."),
        ]
    }

    fn describe(self, trial: Trial) -> Vec<String> {
        let Self { balancer, backends, clients } = self;
        if trial == Trial::Flood {
            return vec![
                format!("core {clients}: the flood, what forwards it, and the program that counts and ends it."),
                format!("core {balancer}: the process of xskip, which has no part in forwarding."),
            ];
        }
        vec![
            format!(
                "core {clients}: the clients, and what forwards in XDP or in the kernel: it runs where packets are sent."
            ),
            format!(
                "core {balancer}: the balancer's process: HAProxy's thread, nginx's worker, xskip's worker, which checks."
            ),
            format!("core {backends}: the backends, nginx with one worker each, and what answers datagrams."),
        ]
    }
}

/// What a turn brought.
struct Brought {
    metrics: Metrics,
    /// What is drawn of it.
    series: Vec<(f64, f64)>,
}

impl From<Metrics> for Brought {
    fn from(metrics: Metrics) -> Self {
        Self { metrics, series: Vec::new() }
    }
}

/// What all rounds together have at each place.
fn sum(rounds: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let mut sum = rounds.iter().max_by_key(|it| it.len()).cloned().unwrap_or_default();
    for (index, place) in sum.iter_mut().enumerate() {
        place.1 = rounds.iter().filter_map(|round| round.get(index)).map(|it| it.1).sum();
    }
    sum
}

/// A turn of a contender.
struct Stage<'a> {
    bench: &'a LbBench,
    contender: LbContender,
    places: Places,
    interrupted: &'a AtomicBool,
}

impl Stage<'_> {
    fn options(&self) -> BalanceOptions<'_> {
        BalanceOptions {
            contender: self.contender,
            mode: self.bench.mode,
            core: self.places.balancer,
            program: &self.bench.program,
            is_flood: self.bench.trial == Trial::Flood && !self.bench.is_defence(),
            cookie_master: None,
        }
    }

    /// Hosts, and backends that answer with their names.
    fn ground(&self, backends: u8) -> Result<Ground, BenchError> {
        let ground = Ground::switched(backends, self.options().answers(), self.interrupted)?;
        if self.contender == LbContender::Xskip && self.bench.mode.encapsulation().is_some() {
            for number in 1..=backends {
                let words = ["backend", "attach", "--interface", crate::lab::INTERFACE, "--from", "198.18.0.0/15"];
                ground.run(&format!("b{number}"), &self.bench.program, &words)?;
            }
        }
        Ok(ground)
    }

    fn serve(&self, ground: &Ground, backends: u8) -> Result<Vec<Backend>, BenchError> {
        let serve = |number: u8| {
            let host = ground.host(&format!("b{number}"));
            let mut settings = Settings::of(host)?;
            settings.write(&TUNING)?;
            let options = NginxOptions {
                target: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT),
                core: self.places.backends,
                connections: ROOM,
                large: if self.bench.trial == Trial::Steady { LARGE } else { 0 },
                page: &format!("b{number}"),
            };
            Ok(Backend { nginx: Nginx::start(host, &options)?, _settings: settings })
        };
        (1..=backends).map(serve).collect()
    }

    fn balance<'a>(&'a self, ground: &'a Ground, members: &[Member]) -> Result<Balancing<'a>, BenchError> {
        Balancing::start(ground, self.options(), members)
    }
}

/// A backend's server.
struct Backend {
    nginx: Nginx,
    _settings: Settings,
}
