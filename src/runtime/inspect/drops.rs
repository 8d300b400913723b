//! What was refused: how much of it, why, and what it looks like.

use super::{InspectError, Inspector, Name, Sample, connections::millis, frame};
use crate::{
    drops::{DropReason, Drops},
    stack::DropExample,
    time::Instant,
    worker::{CommandError, WorkerHandle},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, net::SocketAddr};

/// Frames, or segments, that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropReport {
    /// Who refused them: `stack`, for workers, or `xdp`, for the programs before them.
    pub layer: Name,
    /// Why, by its name: see [`DropReason`] and [`Verdicts`](crate::xdp::Verdicts).
    pub reason: Name,
    /// What that means, in a sentence or two.
    pub meaning: Name,
    /// How many so far.
    pub total: u64,
    /// How many a second, between two samples.
    pub per_second: f64,
    /// One of them, the latest that was kept: workers keep one a second at most, programs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<ExampleReport>,
}

/// A frame that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleReport {
    /// The number of the worker that refused it.
    pub worker: usize,
    /// How long ago, milliseconds.
    pub ago_ms: u64,
    /// What it is, as far as its headers tell.
    pub text: String,
    /// Our end, where it is TCP in plain headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// Octets that it had.
    pub length: u64,
    /// The first of them, from the link header on, in hexadecimal: 96 at most.
    pub hex: String,
}

impl ExampleReport {
    pub(super) fn new(worker: usize, now: Instant, example: &DropExample<'_>) -> Self {
        Self {
            worker,
            ago_ms: millis(now.saturating_since(example.at)),
            text: frame::describe(example.octets, example.length),
            local: example.tuple.map(|tuple| tuple.local.into()),
            remote: example.tuple.map(|tuple| tuple.remote.into()),
            length: example.length as u64,
            hex: frame::hex(example.octets),
        }
    }
}

/// The examples that a worker has, each with its reason: one for each of a few dozen reasons at most, of 96 octets each.
pub(super) fn examples(worker: &WorkerHandle) -> Result<Vec<(DropReason, ExampleReport)>, CommandError> {
    let number = worker.number();
    // Copied on the worker, and made into words here.
    let kept = worker.call(move |cx| {
        let now = cx.now();
        let copy = |it: DropExample<'_>| (it.reason, it.at, it.octets.to_vec(), it.length, it.tuple);
        (now, cx.stack().drop_examples().map(copy).collect::<Vec<_>>())
    });
    let (now, kept) = Inspector::told(kept)?.unwrap_or_default();
    let report = |(reason, at, octets, length, tuple): &(_, _, Vec<u8>, _, _)| {
        let example = DropExample { reason: *reason, at: *at, octets, length: *length, tuple: *tuple };
        (*reason, ExampleReport::new(number, now, &example))
    };
    Ok(kept.iter().map(report).collect())
}

impl Inspector {
    /// What was refused, by reason, between two samples, with an example of each where one was kept: the reasons that occurred, workers'
    /// first.
    ///
    /// # Errors
    /// Where a worker does not answer.
    pub fn drops(&self, earlier: &Sample, later: &Sample) -> Result<Vec<DropReport>, InspectError> {
        let mut latest: HashMap<DropReason, ExampleReport> = HashMap::new();
        for worker in self.of_workers() {
            for (reason, example) in examples(&worker)? {
                let known = latest.entry(reason).or_insert_with(|| example.clone());
                if example.ago_ms < known.ago_ms {
                    *known = example;
                }
            }
        }
        let sum = |sample: &Sample| {
            let mut sum = Drops::default();
            sample.workers.iter().for_each(|worker| sum.merge(&worker.drops));
            sum
        };
        let (before, now, span) = (sum(earlier), sum(later), later.since(earlier).as_secs_f64());
        let per_second =
            |now: u64, before: u64| if span > 0.0 { now.saturating_sub(before) as f64 / span } else { 0.0 };
        let of_stack = now.iter().map(|(reason, total)| DropReport {
            layer: Name::Borrowed("stack"),
            reason: Name::Borrowed(reason.name()),
            meaning: Name::Borrowed(reason.meaning()),
            total,
            per_second: per_second(total, before.get(reason)),
            example: latest.remove(&reason),
        });
        let mut reports: Vec<_> = of_stack.collect();
        let verdicts = later.verdicts.drops().zip(earlier.verdicts.drops()).filter(|((_, _, total), _)| *total > 0);
        reports.extend(verdicts.map(|((name, meaning, total), (_, _, before))| DropReport {
            layer: Name::Borrowed("xdp"),
            reason: Name::Borrowed(name),
            meaning: Name::Borrowed(meaning),
            total,
            per_second: per_second(total, before),
            example: None,
        }));
        Ok(reports)
    }
}
