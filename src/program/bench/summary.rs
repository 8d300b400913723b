//! What was measured, round by round: medians, ratios between contenders, and the JSON that others read.

use std::{collections::BTreeMap, fs};

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    legit::LegitFigures,
    scenario::{ATTEMPTS, Baseline, FAILURES, HANDSHAKE_P99, Scenario},
};

/// Names with values, in the order in which they were set; a JSON object. A metric that could not be taken is `null`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<(&'static str, Option<f64>)>);

impl Metrics {
    /// Sets a metric, or notes that it could not be taken.
    pub fn set(&mut self, name: &'static str, value: impl Into<Option<f64>>) {
        let value = value.into().filter(|value| value.is_finite());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// A metric's value, if it was taken.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| *known == name)?.1
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + '_ {
        self.0.iter().copied()
    }

    /// Sets what the legitimate clients saw under the flood.
    pub fn set_legit(&mut self, figures: &LegitFigures) {
        self.set(ATTEMPTS, figures.attempts as f64);
        self.set(FAILURES, figures.failures as f64);
        self.set("legit_handshake_us_p50", microseconds(&figures.handshake, 0.5));
        self.set(HANDSHAKE_P99, microseconds(&figures.handshake, 0.99));
        self.set("legit_full_us_p50", microseconds(&figures.full, 0.5));
        self.set("legit_full_us_p99", microseconds(&figures.full, 0.99));
    }

    /// Sets what the legitimate clients saw before the flood.
    pub fn set_idle(&mut self, figures: &LegitFigures) {
        self.set("idle_handshake_us_p50", microseconds(&figures.handshake, 0.5));
        self.set("idle_handshake_us_p99", microseconds(&figures.handshake, 0.99));
    }

    /// The medians over rounds, of those rounds in which the metric was taken.
    pub fn median(rounds: &[Self]) -> Self {
        let mut medians = Self::default();
        for (name, _) in rounds.iter().flat_map(Self::iter) {
            let taken = rounds.iter().filter_map(|round| round.get(name)).collect();
            medians.set(name, median(taken));
        }
        medians
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// A quantile of a histogram of nanoseconds, in microseconds, unless the histogram is empty.
pub(super) fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1000.0)
}

/// The middle of some values; that of the middle two where their number is even.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// A point of a curve: a percentile, and the time (in microseconds) within which that share was served. JSON: a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point(pub f64, pub f64);

/// How long handshakes took, by percentile **of all attempts**: a curve ends where attempts began to fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curves {
    /// Before the flood.
    pub idle: Vec<Point>,
    /// Under the flood.
    pub flood: Vec<Point>,
}

impl Curves {
    /// The curves of what was seen before the flood and under it; rounds are put together by [`LegitFigures::merge`].
    pub fn new(idle: &LegitFigures, flood: &LegitFigures) -> Self {
        Self { idle: curve(idle), flood: curve(flood) }
    }
}

/// Percentiles get closer together towards 100, by half a decade at each tenth step, as far as the attempts bear out.
fn curve(figures: &LegitFigures) -> Vec<Point> {
    let (served, attempts) = (figures.handshake.len() as f64, figures.attempts as f64);
    if served == 0.0 {
        return Vec::new();
    }
    (0..=80)
        .map(|step| 1.0 - 10_f64.powf(f64::from(step) / -20.0))
        // The last share shown is that of one attempt.
        .filter(|share| (1.0 - share) * attempts >= 1.0 && share * attempts <= served)
        .map(|share| {
            let time = figures.handshake.value_at_quantile(share * attempts / served) as f64 / 1000.0;
            Point((share * 1e7).round() / 1e5, time)
        })
        .collect()
}

/// One contender's results.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Its name.
    pub name: String,
    /// Why it could not run, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// What was measured, round by round. A round that failed is there, empty: rounds are compared in pairs.
    pub rounds: Vec<Metrics>,
    /// The medians over the rounds.
    pub median: Metrics,
    /// How long handshakes took, by percentile, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curves: Option<Curves>,
    /// What the scenario draws, where it draws anything: where from left to right, and how much; summed up over the rounds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<(f64, f64)>,
}

impl Results {
    /// One that ran.
    pub fn new(name: impl Into<String>, rounds: Vec<Metrics>) -> Self {
        let median = Metrics::median(&rounds);
        Self { name: name.into(), unavailable: None, rounds, median, curves: None, series: Vec::new() }
    }

    /// Adds how long handshakes took.
    #[must_use]
    pub fn with_curves(self, curves: Curves) -> Self {
        Self { curves: Some(curves), ..self }
    }

    /// Adds what the scenario draws.
    #[must_use]
    pub fn with_series(self, series: Vec<(f64, f64)>) -> Self {
        Self { series, ..self }
    }

    /// One that could not run, and why.
    pub fn unavailable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        let unavailable = Some(reason.into());
        Self { unavailable, ..Self::new(name, Vec::new()) }
    }

    /// The share of legitimate attempts that succeeded over all rounds, from 0 to 1.
    pub fn success(&self) -> Option<f64> {
        let sum = |name| self.rounds.iter().filter_map(|round| round.get(name)).sum::<f64>();
        let attempts = sum(ATTEMPTS);
        (attempts > 0.0).then(|| 1.0 - sum(FAILURES) / attempts)
    }

    /// The least and the greatest value of a metric over the rounds.
    pub fn range(&self, name: &str) -> Option<(f64, f64)> {
        let taken: Vec<f64> = self.rounds.iter().filter_map(|round| round.get(name)).collect();
        Some((taken.iter().copied().min_by(f64::total_cmp)?, taken.iter().copied().max_by(f64::total_cmp)?))
    }
}

/// One contender against another in one metric, over rounds taken in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Ratios by metric, by pair of names (`"xskip/kernel"`).
pub type Ratios = BTreeMap<String, BTreeMap<&'static str, Ratio>>;

/// Each contender against each baseline. A pair of rounds counts where both have the metric, and the baseline's is not 0.
pub fn ratios(contenders: &[Results], baselines: &[Baseline]) -> Ratios {
    let mut all = Ratios::new();
    for baseline in baselines {
        let Some(against) = contenders.iter().find(|contender| contender.name == baseline.name) else { continue };
        for contender in contenders.iter().filter(|contender| contender.name != baseline.name) {
            let of_pair: BTreeMap<_, _> = (contender.median.iter())
                .filter(|(name, _)| baseline.metrics.is_none_or(|wanted| wanted.contains(name)))
                .filter_map(|(name, _)| Some((name, ratio(contender, against, name)?)))
                .collect();
            if !of_pair.is_empty() {
                all.insert(format!("{}/{}", contender.name, baseline.name), of_pair);
            }
        }
    }
    all
}

fn ratio(contender: &Results, baseline: &Results, name: &str) -> Option<Ratio> {
    let mut values: Vec<f64> = (contender.rounds.iter().zip(&baseline.rounds))
        .filter_map(|(ours, theirs)| Some(ours.get(name)? / theirs.get(name)?))
        .filter(|ratio| ratio.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    Some(Ratio { min: *values.first()?, max: *values.last()?, median: median(values)? })
}

/// Where it was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The model of its processor.
    pub cpu: String,
    /// How many cores are online.
    pub cores: usize,
    /// The version of `xskip`.
    pub xskip: String,
}

impl Machine {
    /// This machine. What it does not tell is `unknown`.
    pub fn read() -> Self {
        let kernel = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            cpus.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value)
        };
        let unknown = || "unknown".to_owned();
        Self {
            kernel: kernel.unwrap_or_else(|_| unknown()),
            cpu: field("model name").map_or_else(unknown, |name| name.trim().to_owned()),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            xskip: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// All there is to tell. Serialized, it is the JSON that `--json` writes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// How many rounds there were.
    pub rounds: usize,
    /// Where it was measured.
    pub machine: Machine,
    /// The contenders, in the order in which they ran.
    pub contenders: Vec<Results>,
    /// Contenders against each other.
    pub ratios: Ratios,
    /// What was run, as one would type it.
    pub commands: Vec<String>,
    /// What ran on which core, a line each.
    pub placement: Vec<String>,
    /// How the numbers were taken, a sentence or two each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Report {
    /// Puts together what was measured on this machine, and compares it to the scenario's baselines. Commands, placement and
    /// notes are left to be filled in.
    pub fn new(scenario: &Scenario, contenders: Vec<Results>) -> Self {
        Self {
            scenario: scenario.name.to_owned(),
            rounds: contenders.iter().map(|contender| contender.rounds.len()).max().unwrap_or(0),
            machine: Machine::read(),
            ratios: ratios(&contenders, scenario.baselines),
            contenders,
            commands: Vec::new(),
            placement: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A contender by name, if it ran.
    pub fn contender(&self, name: &str) -> Option<&Results> {
        self.contenders.iter().find(|contender| contender.name == name && contender.unavailable.is_none())
    }

    /// A ratio, if it could be taken.
    pub fn ratio(&self, pair: &str, metric: &str) -> Option<&Ratio> {
        self.ratios.get(pair)?.get(metric)
    }
}
