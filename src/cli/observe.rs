//! Looking on: `--capture`, `--ladder` and `--json`, wherever traffic is carried.

use super::{Failure, print};
use clap::Args;
use serde_json::{Map, Value, json};
use std::{io, path::PathBuf, sync::Arc};
use xskip::{
    server::ServerReport,
    telemetry::{Capture, Ladder, LadderOptions, Taps},
    worker::Tap,
};

#[derive(Clone, Debug, Default, Args)]
#[group(skip)] // its name would clash with that of the command it is flattened into
pub struct Arguments {
    /// Write every frame, both ways, to a pcapng file, for Wireshark or tshark
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,

    /// Draw each connection's life as a sequence diagram, on standard output
    #[arg(long)]
    pub ladder: bool,

    /// Print all counters at the end, as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Those who look on.
pub struct Observation {
    capture: Option<Arc<Capture>>,
    ladder: Option<Arc<Ladder>>,
    json: bool,
}

impl Observation {
    pub fn begin(arguments: &Arguments, interface: &str) -> Result<Self, Failure> {
        let capture = arguments.capture.as_ref().map(|path| Capture::create(path, interface)).transpose()?;
        let ladder = arguments.ladder.then(|| Ladder::new(io::stdout(), LadderOptions::default()));
        Ok(Self { capture: capture.map(Arc::new), ladder: ladder.map(Arc::new), json: arguments.json })
    }

    pub fn tap(&self) -> Option<Arc<dyn Tap>> {
        let mut taps: Vec<Arc<dyn Tap>> = Vec::new();
        if let Some(capture) = &self.capture {
            taps.push(capture.clone());
        }
        if let Some(ladder) = &self.ladder {
            taps.push(ladder.clone());
        }
        if taps.len() > 1 { Some(Arc::new(Taps::new(taps))) } else { taps.pop() }
    }

    /// Writes out what is left, and sums up.
    pub fn end(&self, report: &ServerReport) -> Result<(), Failure> {
        if let Some(ladder) = &self.ladder {
            ladder.finish();
        }
        // Whether or not anybody reads the counters, the capture is brought to its end.
        let printed = if self.json { print::result(format_args!("{:#}", as_json(report))) } else { Ok(()) };
        let stats = report.stats();
        print::note(format_args!(
            "{} connections opened: {} finished, {} reset by peers, {} reset by us, {} timed out",
            stats.connections_opened,
            stats.connections_finished,
            stats.connections_reset,
            stats.connections_aborted,
            stats.connections_timed_out,
        ));
        if let Some(diagnosis) = report.diagnosis() {
            print::note(diagnosis);
        }
        if let Some(capture) = &self.capture {
            let summary = capture.finish()?;
            print::note(format_args!("captured {} frames, {} bytes", summary.frames, summary.bytes));
        }
        printed
    }
}

fn as_json(report: &ServerReport) -> Value {
    let workers = report.workers.iter().map(|worker| {
        let frames = &worker.frames;
        json!({
            "queue": worker.queue,
            "stack": object(worker.stats.iter()),
            "drops": object(worker.drops.iter().map(|(reason, count)| (reason.name(), count))),
            "rings": object(worker.queue_statistics.iter()),
            "frames": { "total": frames.total, "accounted": frames.accounted(), "balanced": frames.is_balanced() },
        })
    });
    let defence = report.defence.iter().map(|defence| {
        json!({
            "listener": defence.listener.to_string(),
            "level": defence.level.name(),
            "changes": defence.changes,
            "syns": defence.syns,
        })
    });
    json!({
        "verdicts": object(report.verdicts.iter()),
        "defence": defence.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

fn object<'a>(counters: impl Iterator<Item = (&'a str, u64)>) -> Value {
    Value::Object(counters.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}
