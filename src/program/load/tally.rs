//! What one worker has counted.

use crate::{stack::ConnectError, tcp::CloseReason, time::Instant};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Significant figures of every histogram.
const FIGURES: u8 = 3;
/// The longest time that is told from a longer one, nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Why something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused,
    TimedOut,
    Reset,
    BadResponse,
    Unreachable,
    Other,
}

impl From<CloseReason> for Failure {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused => Self::Refused,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::ResetByPeer => Self::Reset,
            CloseReason::Unreachable => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

/// How many connections and requests failed, and why. Those of the warm-up are among them: no failure is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// Nobody listened.
    pub refused: u64,
    /// Nothing came back for as long as was allowed.
    pub timed_out: u64,
    /// The peer reset the connection.
    pub reset: u64,
    /// What came back was not what was asked for, or not all of it.
    pub bad_response: u64,
    /// No neighbour answered for the way to the target.
    pub unreachable: u64,
    /// Anything else: no port left, or a peer that closed a connection that was to stay.
    pub other: u64,
}

impl Failures {
    pub(super) fn count(&mut self, failure: Failure, times: u64) {
        *match failure {
            Failure::Refused => &mut self.refused,
            Failure::TimedOut => &mut self.timed_out,
            Failure::Reset => &mut self.reset,
            Failure::BadResponse => &mut self.bad_response,
            Failure::Unreachable => &mut self.unreachable,
            Failure::Other => &mut self.other,
        } += times;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { refused, timed_out, reset, bad_response, unreachable, other } = self;
        refused + timed_out + reset + bad_response + unreachable + other
    }

    fn merge(&mut self, other: &Self) {
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.reset += other.reset;
        self.bad_response += other.bad_response;
        self.unreachable += other.unreachable;
        self.other += other.other;
    }
}

/// The figures of one worker, and then of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub completed: u64,
    pub failed: Failures,
    /// Payload, bytes.
    pub received: u64,
    pub sent: u64,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    pub handshake: Histogram<u64>,
    /// Connections open in the end, and when there were most.
    pub established: u64,
    pub peak: u64,
    /// Requests of an open loop that were due and not completed in the end.
    pub unfinished: u64,
    /// How long it was measured.
    pub measured: Duration,
    /// How long it took to open the connections that idle.
    pub opened_in: Option<Duration>,
    /// The last reason for which a connection could not even be begun.
    pub obstacle: Option<ConnectError>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            completed: 0,
            failed: Failures::default(),
            received: 0,
            sent: 0,
            latency: histogram(),
            handshake: histogram(),
            established: 0,
            peak: 0,
            unfinished: 0,
            measured: Duration::ZERO,
            opened_in: None,
            obstacle: None,
        }
    }
}

impl Tally {
    /// Forgets the warm-up, but for what failed.
    pub fn begin(&mut self) {
        (self.completed, self.received, self.sent) = (0, 0, 0);
        self.latency.reset();
        self.handshake.reset();
    }

    /// Something was completed that began, or was due, back then.
    pub fn complete(&mut self, now: Instant, since: Instant) {
        self.completed += 1;
        self.latency.saturating_record(nanoseconds(now - since));
    }

    /// A connection is open that was begun, or was due, back then.
    pub fn opened(&mut self, now: Instant, since: Instant) {
        self.handshake.saturating_record(nanoseconds(now - since));
    }

    /// Adds the figures of another worker, of the same time.
    pub fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed.merge(&other.failed);
        self.received += other.received;
        self.sent += other.sent;
        for (ours, theirs) in [(&mut self.latency, &other.latency), (&mut self.handshake, &other.handshake)] {
            // Cannot fail: all have the same range.
            let _ = ours.add(theirs);
        }
        self.established += other.established;
        self.peak += other.peak;
        self.unfinished += other.unfinished;
        self.measured = self.measured.max(other.measured);
        self.opened_in = self.opened_in.max(other.opened_in);
        self.obstacle = self.obstacle.or(other.obstacle);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, FIGURES).expect("a range and a number of significant figures that are allowed")
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
