//! What was measured, for people and for programs.

use crate::{
    row::{Contender, Measured, Row, Work},
    workers::Scaling,
};
use serde_json::{Value, json};
use std::{fs, io, path::Path};

/// The table.
#[derive(Debug)]
pub struct Report {
    rounds: u32,
    rows: Vec<Value>,
}

impl Report {
    /// A table without rows.
    pub fn new(rounds: u32) -> Self {
        Self { rounds, rows: Vec::new() }
    }

    /// Says what the columns are.
    pub fn print_head(&self, workers: Option<usize>) {
        println!("Medians of {} rounds (least to most).", self.rounds);
        let [one, other] = columns(workers);
        println!("{:<28} {one:>30} {other:>30} {:>24}", "", ratio_name(workers));
    }

    /// Adds a row, and prints it.
    pub fn add(&mut self, row: Row, measured: &[Measured]) {
        let of = |contender| measured.iter().find(|measured| measured.contender == contender);
        let rates = |contender| of(contender).map(|measured| measured.rates.as_slice());
        let (ours, peer) = (rates(Contender::Xskip), rates(Contender::Smoltcp));
        let ratio = ours.zip(peer).map(|(ours, peer)| Spread::of_ratios(ours, peer));
        print_row(row, ours, peer, ratio);
        let columns = columns(None).into_iter().zip([ours, peer]);
        let contenders = columns.filter_map(|(name, rates)| Some((name, rates?))).collect::<Vec<_>>();
        self.rows.push(as_json(row, &contenders, &ratio_name(None), ratio));
    }

    /// Adds a row that compares one worker with several, and prints it.
    pub fn add_scaling(&mut self, row: Row, Scaling { workers, one, all }: &Scaling) {
        let workers = Some(*workers);
        let ratio = Some(Spread::of_ratios(all, one));
        print_row(row, Some(one), Some(all), ratio);
        let [first, second] = columns(workers);
        let contenders = [(first, one.as_slice()), (second, all.as_slice())];
        self.rows.push(as_json(row, &contenders, &ratio_name(workers), ratio));
    }

    /// Writes everything to a file, as JSON.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let report = json!({ "scenario": "memory", "rounds": self.rounds, "rows": self.rows });
        fs::write(path, format!("{report:#}\n"))
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::RequestResponse => "request-response",
        Work::Bulk => "bulk",
        Work::Churn => "churn",
    }
}

fn rate(work: Work, rates: &[f64]) -> String {
    let spread = Spread::of(rates);
    match work {
        Work::RequestResponse | Work::Churn => spread.with(|rate| format!("{:.3}", rate / 1e6)) + " M/s",
        Work::Bulk => spread.with(|rate| format!("{rate:.1}")) + " Gbit/s",
    }
}

/// What is compared: contenders, or numbers of workers.
fn columns(workers: Option<usize>) -> [String; 2] {
    workers.map_or_else(
        || ["xskip".to_owned(), "smoltcp".to_owned()],
        |workers| ["1 worker".to_owned(), format!("{workers} workers")],
    )
}

fn ratio_name(workers: Option<usize>) -> String {
    workers.map_or_else(|| "xskip/smoltcp".to_owned(), |workers| format!("{workers} workers/1"))
}

fn print_row(row: Row, one: Option<&[f64]>, other: Option<&[f64]>, ratio: Option<Spread>) {
    let cell = |rates: Option<&[f64]>| rates.map_or("-".into(), |rates| rate(row.work, rates));
    let ratio = ratio.map_or("-".into(), |spread| spread.with(|ratio| format!("{ratio:.2}")));
    let name = format!("{} {}", name(row.work), row.connections);
    println!("{name:<28} {:>30} {:>30} {ratio:>24}", cell(one), cell(other));
}

fn as_json(row: Row, contenders: &[(String, &[f64])], ratio_name: &str, ratio: Option<Spread>) -> Value {
    let (unit, _) = row.work.unit();
    let contenders = contenders.iter().map(|(name, rates)| {
        let rounds: Vec<Value> = rates.iter().map(|rate| json!({ unit: rate })).collect();
        json!({ "name": name, "rounds": rounds, "median": { unit: Spread::of(rates).median } })
    });
    let contenders: Vec<Value> = contenders.collect();
    let mut value = json!({ "work": row.work, "connections": row.connections, "contenders": contenders });
    if let Some(Spread { least, median, most }) = ratio {
        let spread = json!({ "median": median, "min": least, "max": most });
        value["ratios"] = json!({ ratio_name: { unit: spread } });
    }
    value
}

/// How figures spread.
#[derive(Clone, Copy, Debug)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// That of `figures`, of which there is one at least.
    fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        Self { least: sorted[0], median: (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0, most: sorted[last] }
    }

    /// That of the ratios of figures of the same round.
    fn of_ratios(over: &[f64], under: &[f64]) -> Self {
        Self::of(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<f64>>())
    }

    fn with(self, show: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", show(self.median), show(self.least), show(self.most))
    }
}
