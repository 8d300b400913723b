//! What came of it.

use super::{
    Mode,
    tally::{Failures, Tally},
    task::Task,
};
use crate::{runtime::Setup, stack::ConnectError};
use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};
use std::fmt;

/// Bits in a gigabit.
const GIGABIT: f64 = 1e9;

/// Times in microseconds; none where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99: Option<f64>,
    /// 999 of 1,000 took no longer.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
}

impl Percentiles {
    fn of(nanoseconds: &Histogram<u64>) -> Self {
        if nanoseconds.is_empty() {
            return Self::default();
        }
        let within = |share| Some(nanoseconds.value_at_quantile(share) as f64 / 1_000.0);
        Self {
            p50: within(0.5),
            p90: within(0.9),
            p99: within(0.99),
            p999: within(0.999),
            max: Some(nanoseconds.max() as f64 / 1_000.0),
            mean: Some(nanoseconds.mean() / 1_000.0),
        }
    }
}

/// What one worker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerFigures {
    /// Its queue.
    pub queue: u32,
    /// The core that it was pinned to, if it was.
    pub core: Option<usize>,
    /// Requests, connections or pings that it completed.
    pub completed: u64,
}

/// What came of a load, without its warm-up. Serialized it is what `xskip load --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// What was done.
    #[serde(serialize_with = "as_text")]
    pub mode: Mode,
    /// To whom, as `IP:PORT`.
    pub target: String,
    /// Connections asked for.
    pub connections: u32,
    /// How long it was measured: less than asked for where it was interrupted.
    pub seconds: f64,
    /// Whether requests, or connections, were due at a rate.
    pub open_loop: bool,
    /// That rate.
    pub offered_per_second: Option<u64>,
    /// Requests, connections, pings or downloads completed.
    pub completed: u64,
    /// `completed` in a second.
    pub per_second: f64,
    /// What failed, by kind, from the beginning on.
    pub failed: Failures,
    /// All of that.
    pub failed_total: u64,
    /// Those that were due and not completed in the end; none in a closed loop. Their latencies are not among those below.
    pub unfinished: Option<u64>,
    /// Payload received, bytes.
    pub bytes_received: u64,
    /// Payload taken from the application to be sent, bytes: where it is much, the last of it is in send buffers still.
    pub bytes_sent: u64,
    /// Payload received, a second.
    pub download_gbit_per_second: f64,
    /// Payload sent, a second.
    pub upload_gbit_per_second: f64,
    /// From a request's beginning, or from when it was due, to the end of its response; with it the handshake in
    /// [`Mode::Connect`], and the server's close.
    pub latency_us: Percentiles,
    /// From a connection's beginning, or from when it was due, until it was open.
    pub handshake_us: Percentiles,
    /// Connections open in the end.
    pub established: u64,
    /// Connections open when there were most. Workers' maxima are added, wherever in time they are.
    pub established_peak: u64,
    /// How long it took to open the connections that idle, seconds.
    pub open_seconds: Option<f64>,
    /// By how much this process grew, from before it opened the interface until the connections that idle were open, for each
    /// of them; bytes.
    pub resident_bytes_per_connection: Option<f64>,
    /// Who did how much of it.
    pub workers: Vec<WorkerFigures>,
    /// Why connections could not even be begun, where some could not.
    #[serde(skip)]
    pub obstacle: Option<ConnectError>,
}

fn as_text<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(mode)
}

impl LoadReport {
    /// That of workers who counted this, by their number. `grown` is by how much the process has grown, bytes.
    pub(super) fn new(task: &Task, setup: &Setup, tallies: &[(usize, Tally)], grown: Option<u64>) -> Self {
        let mut sum = Tally::default();
        tallies.iter().for_each(|(_, tally)| sum.merge(tally));
        let seconds = sum.measured.as_secs_f64();
        let each_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let gbit = |bytes: u64| each_second(bytes) * 8.0 / GIGABIT;
        let worker = |(number, tally): &(usize, Tally)| {
            let &(queue, core, _) = setup.queues.get(*number)?;
            Some(WorkerFigures { queue, core, completed: tally.completed })
        };
        let mut workers: Vec<_> = tallies.iter().filter_map(worker).collect();
        workers.sort_by_key(|worker| worker.queue);
        let is_idle = task.mode == Mode::Idle;
        let idling = (is_idle && sum.peak > 0).then_some(sum.peak as f64);
        Self {
            mode: task.mode,
            target: task.target.to_string(),
            connections: task.connections,
            seconds,
            open_loop: task.rate.is_some(),
            offered_per_second: task.rate,
            completed: sum.completed,
            per_second: each_second(sum.completed),
            failed: sum.failed,
            failed_total: sum.failed.total(),
            unfinished: task.rate.map(|_| sum.unfinished),
            bytes_received: sum.received,
            bytes_sent: sum.sent,
            download_gbit_per_second: gbit(sum.received),
            upload_gbit_per_second: gbit(sum.sent),
            latency_us: Percentiles::of(&sum.latency),
            handshake_us: Percentiles::of(&sum.handshake),
            established: sum.established,
            established_peak: sum.peak,
            open_seconds: sum.opened_in.map(|time| time.as_secs_f64()),
            resident_bytes_per_connection: idling.zip(grown).map(|(count, bytes)| bytes as f64 / count),
            workers,
            obstacle: sum.obstacle,
        }
    }

    /// Whether nothing came of it at all.
    pub fn is_fruitless(&self) -> bool {
        match self.mode {
            Mode::Idle => self.established_peak == 0,
            Mode::Bulk => self.bytes_received + self.bytes_sent == 0,
            Mode::Keepalive | Mode::Connect | Mode::Latency => self.completed == 0,
        }
    }

    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failures { refused, timed_out, reset, bad_response, unreachable, other } = self.failed;
        write!(f, "failed: {}", self.failed_total)?;
        let kinds = [
            (refused, "refused"),
            (timed_out, "timed out, without an answer"),
            (reset, "reset"),
            (bad_response, "bad responses"),
            (unreachable, "unreachable, because no neighbour answers"),
            (other, "others"),
        ];
        for (number, (count, kind)) in kinds.into_iter().filter(|&(count, _)| count > 0).enumerate() {
            write!(f, "{}{count} {kind}", if number == 0 { " (" } else { "; " })?;
        }
        if self.failed_total > 0 {
            f.write_str(")")?;
        }
        if let Some(unfinished) = self.unfinished.filter(|&count| count > 0) {
            write!(f, "; {unfinished} were due and not finished in the end")?;
        }
        Ok(())
    }

    fn write_idle(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { established, connections, open_seconds, resident_bytes_per_connection, .. } = self;
        writeln!(f, "open in the end: {established} of {connections} connections, at most {}", self.established_peak)?;
        if let Some(seconds) = open_seconds {
            writeln!(f, "opened in {seconds:.2} s, held for {:.2} s", self.seconds)?;
        }
        if let Some(bytes) = resident_bytes_per_connection {
            writeln!(f, "resident bytes a connection, on this side: {bytes:.0}")?;
        }
        Ok(())
    }

    fn write_pace(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (down, up) = (self.download_gbit_per_second, self.upload_gbit_per_second);
        if self.mode == Mode::Bulk {
            return writeln!(f, "{down:.3} Gbit/s download, {up:.3} Gbit/s upload in {:.2} s", self.seconds);
        }
        let what = match self.mode {
            Mode::Connect => "connections",
            Mode::Latency => "round trips",
            _ => "requests",
        };
        let Self { completed, seconds, per_second, connections, .. } = self;
        write!(f, "{completed} {what} in {seconds:.2} s, {per_second:.0} a second")?;
        match self.offered_per_second {
            Some(rate) => writeln!(f, ", of {rate} offered"),
            None => writeln!(f, ", {connections} at a time"),
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} load on {}", self.mode, self.target)?;
        match self.mode {
            Mode::Idle => self.write_idle(f)?,
            _ => self.write_pace(f)?,
        }
        for (name, times) in [("latency", &self.latency_us), ("handshake", &self.handshake_us)] {
            let &Percentiles {
                p50: Some(p50), p90: Some(p90), p99: Some(p99), p999: Some(p999), max: Some(max), ..
            } = times
            else {
                continue;
            };
            writeln!(f, "{name} in µs: {p50:.1} median, {p90:.1} p90, {p99:.1} p99, {p999:.1} p99.9, {max:.1} max")?;
        }
        self.write_failures(f)
    }
}
