//! What a balancer remembers, and how well flows keep their backends by it: worlds in virtual time.

use super::scenarios::STATE;
use crate::{
    bench::{
        BenchError,
        summary::{Metrics, Report, Results},
        turns::{Named, Progress, check, take_turns},
    },
    lb::{
        RowCount,
        churn::{self, Method, Outcome, Shape},
    },
};
use std::{str::FromStr, sync::atomic::AtomicBool};

/// What each world is like: strangers are more than there is memory for.
const SHAPE: Shape = Shape {
    rows: RowCount::new(1_021).unwrap(),
    backends: 10,
    flows: 2_000,
    changes: 40,
    seconds: 600,
    memory: 512,
    moves: false,
    flood: true,
};

/// What a balancer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbState(Method);

impl LbState {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 3] = [Self(Method::Rows), Self(Method::Hash), Self(Method::Lru)];
}

impl Named for LbState {
    fn name(self) -> &'static str {
        match self.0 {
            Method::Rows => "rows",
            Method::Hash => "hash",
            Method::Lru => "lru",
        }
    }
}

impl FromStr for LbState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| format!("{text:?} is no state of a balancer: name rows, hash or lru"))
    }
}

/// What is to be compared, in the same worlds.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// What balancers go by.
    pub states: Vec<LbState>,
    /// The number that the first world is drawn from; each other one has the next.
    pub seed: u64,
    /// How many worlds there are.
    pub rounds: usize,
}

impl Consistency {
    /// Lets the worlds pass. `progress` hears of what goes on; `interrupted` may become true at any time, and ends it all after the
    /// world that passes.
    ///
    /// # Errors
    /// [`BenchError::Interrupted`].
    pub fn run(&self, mut progress: impl FnMut(Progress), interrupted: &AtomicBool) -> Result<Report, BenchError> {
        let mut passed = 0;
        let records = take_turns(&self.states, self.rounds, &mut progress, |state, progress| {
            check(interrupted)?;
            let round = passed / self.states.len();
            passed += 1;
            let (outcome, _) = churn::run(self.seed.wrapping_add(round as u64), SHAPE, state.0);
            let metrics = metrics(&outcome);
            progress(Progress::Measured { scenario: &STATE, contender: state.name(), metrics: metrics.clone() });
            Ok((metrics, outcome.broken_after))
        })?;
        let results = records.into_iter().map(|record| {
            let (metrics, broken): (Vec<_>, Vec<_>) = record.turns.into_iter().unzip();
            let changes = metrics.iter().filter_map(|round| round.get("changes")).fold(0.0, f64::max);
            Results::new(record.contender.name(), metrics).with_series(add_up(&broken, changes as usize))
        });
        let mut report = Report::new(&STATE, results.collect());
        let names: Vec<_> = self.states.iter().map(|&state| state.name()).collect();
        let (names, seed, rounds) = (names.join(","), self.seed, self.rounds);
        report.commands = vec![format!("xskip bench lb --state {names} --seed {seed} --rounds {rounds}")];
        report.notes = vec![format!(
            "Nothing is measured here: the same command brings the same figures anywhere. Each world has two services, {} rows of \
             each, {} backends at first, and two balancers that remember up to {} flows each.",
            SHAPE.rows.get(),
            SHAPE.backends,
            SHAPE.memory
        )];
        Ok(report)
    }
}

fn metrics(outcome: &Outcome) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.set("flows", outcome.flows as f64);
    metrics.set("segments", outcome.segments as f64);
    metrics.set("changes", outcome.changes as f64);
    metrics.set("violations", outcome.broken as f64);
    metrics.set("refused_syns", outcome.refused as f64);
    metrics.set("remembered", outcome.remembered as f64);
    metrics
}

/// How many flows were broken in all rounds until so many changes had been made, from none to the most.
fn add_up(broken: &[Vec<u64>], changes: usize) -> Vec<(f64, f64)> {
    let mut all = 0;
    let until = |change: usize| {
        all += broken.iter().filter_map(|round| round.get(change)).sum::<u64>();
        (change as f64, all as f64)
    };
    (0..=changes).map(until).collect()
}

#[cfg(test)]
mod tests;
