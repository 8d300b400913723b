//! What was measured, for people and for programs.

use crate::row::{Contender, Measured, Row, Work};
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
    pub fn print_head(&self) {
        println!("Medians of {} rounds (least to most).", self.rounds);
        println!("{:<28} {:>30} {:>30} {:>24}", "", "xskip", "smoltcp", "xskip/smoltcp");
    }

    /// Adds a row, and prints it.
    pub fn add(&mut self, row: Row, measured: Vec<Measured>) {
        let of = |contender| measured.iter().find(|measured| measured.contender == contender);
        let (ours, peer) = (of(Contender::Xskip), of(Contender::Smoltcp));
        let ratios = ours.zip(peer).map(|(ours, peer)| {
            let pairs = ours.rates.iter().zip(&peer.rates);
            pairs.map(|(ours, peer)| ours / peer).collect::<Vec<f64>>()
        });
        let cell =
            |measured: Option<&Measured>| measured.map_or("-".into(), |measured| rate(row.work, &measured.rates));
        let ratio = ratios.as_deref().map(Spread::of);
        let name = format!("{} {}", name(row.work), row.connections);
        let in_words = ratio.map_or("-".into(), |spread| spread.with(|ratio| format!("{ratio:.2}")));
        println!("{name:<28} {:>30} {:>30} {in_words:>24}", cell(ours), cell(peer));
        self.rows.push(as_json(row, &measured, ratio));
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

fn as_json(row: Row, measured: &[Measured], ratio: Option<Spread>) -> Value {
    let (unit, _) = row.work.unit();
    let contenders: Vec<Value> = measured
        .iter()
        .map(|Measured { contender, rates }| {
            let rounds: Vec<Value> = rates.iter().map(|rate| json!({ unit: rate })).collect();
            json!({ "name": contender, "rounds": rounds, "median": { unit: Spread::of(rates).median } })
        })
        .collect();
    let mut value = json!({ "work": row.work, "connections": row.connections, "contenders": contenders });
    if let Some(Spread { least, median, most }) = ratio {
        let spread = json!({ "median": median, "min": least, "max": most });
        value["ratios"] = json!({ "xskip/smoltcp": { unit: spread } });
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

    fn with(self, show: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", show(self.median), show(self.least), show(self.most))
    }
}
