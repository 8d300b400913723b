//! Looking on: `--capture` and `--ladder`, wherever the stack carries traffic; and all counters as JSON.

use super::{Failure, number, print};
use clap::Args;
use serde_json::{Map, Value, json};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};
use xskip_cli::{
    capture::{Capture, CaptureError, CaptureSummary},
    runtime::{RunReport, Setup},
    telemetry::{Ladder, LadderOptions, LadderSummary, Taps},
    worker::{PortReport, Tap},
};

#[derive(Clone, Debug, Default, Args)]
#[group(skip)] // its name would clash with that of the command it is flattened into
pub struct Arguments {
    /// Write every frame, both ways, to a pcapng file or a FIFO, for Wireshark or tshark. Where it is not taken in time, frames are
    /// lost, and counted
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,

    /// Draw each connection's life as a sequence diagram, on standard output. Where it is not read in time, segments are lost, and
    /// counted
    #[arg(long)]
    pub ladder: bool,

    /// Have what is counted at http://ADDRESS:PORT/metrics, in OpenMetrics, for Prometheus; the address is one of the kernel's, such as
    /// 127.0.0.1:9920
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = number::socket_address)]
    pub metrics: Option<SocketAddr>,
}

/// Says where metrics are, where there are any.
pub fn say_where(arguments: &Arguments) {
    if let Some(address) = arguments.metrics {
        print::note(format_args!("metrics are at http://{address}/metrics"));
    }
}

/// Those who look on.
pub struct Observation {
    capture: Option<Arc<Capture>>,
    ladder: Option<Arc<Ladder>>,
}

/// What they have seen.
pub struct Seen {
    capture: Option<Result<CaptureSummary, CaptureError>>,
    ladder: Option<LadderSummary>,
}

impl Observation {
    pub fn begin(arguments: &Arguments, interfaces: &[&str]) -> Result<Self, Failure> {
        let capture = arguments.capture.as_ref().map(|path| Capture::create(path, interfaces)).transpose()?;
        let ladder = arguments.ladder.then(|| Ladder::new(io::stdout(), LadderOptions::default())).transpose()?;
        Ok(Self { capture: capture.map(Arc::new), ladder: ladder.map(Arc::new) })
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

    /// Writes out what is left, as long as somebody takes it. Both are told to end before either is waited for.
    pub fn close(&self) -> Seen {
        if let Some(capture) = &self.capture {
            capture.dismiss();
        }
        Seen {
            ladder: self.ladder.as_ref().map(|ladder| ladder.finish()),
            capture: self.capture.as_ref().map(|capture| capture.finish()),
        }
    }
}

impl Seen {
    /// Says on standard error what a capture holds, and what is missing.
    pub fn tell(self) -> Result<(), Failure> {
        if let Some(LadderSummary { frames, lost, unread }) = self.ladder
            && (lost > 0 || unread)
        {
            let why = if unread { "nobody reads it" } else { "it was not read in time" };
            print::note(format_args!("the ladder is not whole, because {why}: {frames} frames drawn, {lost} lost"));
        }
        match self.capture.transpose()? {
            Some(CaptureSummary { frames, bytes, lost: 0 }) => {
                print::note(format_args!("captured {frames} frames, {bytes} bytes"));
            }
            Some(CaptureSummary { frames, bytes, lost }) => {
                print::note(format_args!(
                    "captured {frames} frames, {bytes} bytes; {lost} lost, because they came faster than they were written"
                ));
            }
            None => {}
        }
        Ok(())
    }

    /// Frames, and how many are missing, of each who looked on; none where nobody did.
    pub fn as_json(&self) -> Option<Value> {
        let mut observers = Map::new();
        match &self.capture {
            Some(Ok(CaptureSummary { frames, bytes, lost })) => {
                observers.insert("capture".to_owned(), json!({ "frames": frames, "bytes": bytes, "lost": lost }));
            }
            Some(Err(CaptureError::Write { frames, lost, .. } | CaptureError::Unread { frames, lost, .. })) => {
                observers.insert("capture".to_owned(), json!({ "frames": frames, "lost": lost }));
            }
            Some(Err(_)) | None => {}
        }
        if let Some(LadderSummary { frames, lost, .. }) = self.ladder {
            observers.insert("ladder".to_owned(), json!({ "frames": frames, "lost": lost }));
        }
        (!observers.is_empty()).then_some(Value::Object(observers))
    }
}

/// Sums up what a server did.
pub fn sum_up(report: &RunReport) {
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
}

/// All counters.
pub fn as_json(report: &RunReport, seen: &Seen) -> Value {
    let port = |(setup, port): (&Setup, &PortReport)| {
        let frames = &port.frames;
        json!({
            "interface": setup.interface,
            "queue": port.queue,
            "rings": object(port.statistics.iter()),
            "frames": { "total": frames.total, "accounted": frames.accounted(), "balanced": frames.is_balanced() },
        })
    };
    let workers = report.workers.iter().map(|worker| {
        // The first queue's figures are the worker's, as they were when each had one.
        let ports: Vec<Value> = report.setups.iter().zip(&worker.ports).map(port).collect();
        let mut about = ports.first().cloned().unwrap_or_else(|| json!({}));
        about["ports"] = ports.into();
        about["stack"] = object(worker.stats.iter());
        about["drops"] = object(worker.drops.iter().map(|(reason, count)| (reason.name(), count)));
        about
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
        "observers": seen.as_json().unwrap_or_else(|| json!({})),
    })
}

fn object<'a>(counters: impl Iterator<Item = (&'a str, u64)>) -> Value {
    Value::Object(counters.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}
