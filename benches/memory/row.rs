//! The rows of the table: what is done, over how many connections, and by whom.

use crate::{
    peer,
    shared::{Load, clock::Clock, ours::loads as ours},
};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// 64 octets there, 64 octets back, one request under way on each connection.
    RequestResponse,
    /// Data one way, as fast as they go.
    Bulk,
    /// Connections opened and closed, so many at once.
    Churn,
}

impl Work {
    /// Over how many connections, where nobody says it.
    fn usual(self) -> &'static [usize] {
        match self {
            Self::RequestResponse => &[1, 100, 1_000, 10_000, 100_000, 1_000_000],
            Self::Bulk => &[1, 16],
            Self::Churn => &[1, 100],
        }
    }

    /// What a rate is counted in, and how much of what a load counts that is.
    pub fn unit(self) -> (&'static str, f64) {
        match self {
            Self::RequestResponse => ("requests_per_second", 1.0),
            Self::Bulk => ("gbit_per_second", 8e-9),
            Self::Churn => ("connections_per_second", 1.0),
        }
    }
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// Two of our stacks.
    Xskip,
    /// Two smoltcp interfaces.
    Smoltcp,
}

impl Contender {
    /// Whether it can do this in reasonable time: smoltcp looks at every socket for every segment, which takes it minutes to open
    /// more connections than these.
    fn takes_part(self, row: Row) -> bool {
        self == Self::Xskip || row.connections <= 10_000
    }
}

/// One row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// What is done.
    pub work: Work,
    /// Over how many connections.
    pub connections: usize,
}

/// The rates of one contender, one a round.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Whose they are.
    pub contender: Contender,
    /// What [`Work::unit`] says.
    pub rates: Vec<f64>,
}

impl Row {
    /// The rows asked for.
    pub fn all(work: Option<Work>, connections: Option<usize>) -> Vec<Self> {
        let works = Work::value_variants().iter().filter(|&&known| work.is_none_or(|work| work == known));
        let rows = works.flat_map(|&work| {
            let usual = work.usual().iter().copied();
            let numbers: Vec<usize> = connections.map_or_else(|| usual.collect(), |number| vec![number]);
            numbers.into_iter().map(move |connections| Self { work, connections })
        });
        rows.collect()
    }

    /// Measures all contenders, or one of them, in turn.
    pub fn measure(self, only: Option<Contender>, rounds: u32, turn: Duration, clock: Clock) -> Vec<Measured> {
        let contenders = Contender::value_variants().iter().copied();
        let takes_part = |contender: &Contender| only.map_or(contender.takes_part(self), |only| only == *contender);
        let mut running: Vec<Running> =
            contenders.filter(takes_part).map(|contender| self.start(contender, clock)).collect();
        for _ in 0..rounds {
            for running in &mut running {
                running.turn(turn);
            }
        }
        let finish = |running: Running| {
            running.load.finish();
            running.measured
        };
        running.into_iter().map(finish).collect()
    }

    /// The rate of one of our pairs, measured from when everybody else who waits at `start` has got as far.
    pub fn by_itself(self, turn: Duration, clock: Clock, start: &Barrier) -> f64 {
        let mut running = self.start(Contender::Xskip, clock);
        running.run(turn / 10, 1);
        start.wait();
        running.turn(turn);
        running.load.finish();
        running.measured.rates[0]
    }

    fn start(self, contender: Contender, clock: Clock) -> Running {
        let Self { work, connections } = self;
        let load: Box<dyn Load> = match (work, contender) {
            (Work::RequestResponse, Contender::Xskip) => Box::new(ours::RequestResponse::new(connections, clock)),
            (Work::RequestResponse, Contender::Smoltcp) => Box::new(peer::RequestResponse::new(connections, clock)),
            (Work::Bulk, Contender::Xskip) => Box::new(ours::Bulk::new(connections, clock)),
            (Work::Bulk, Contender::Smoltcp) => Box::new(peer::Bulk::new(connections, clock)),
            (Work::Churn, Contender::Xskip) => Box::new(ours::Churn::new(connections, clock)),
            (Work::Churn, Contender::Smoltcp) => Box::new(peer::Churn::new(connections, clock)),
        };
        let measured = Measured { contender, rates: Vec::new() };
        Running { row: self, load, measured, done: 0 }
    }
}

/// A contender at work.
struct Running {
    row: Row,
    load: Box<dyn Load>,
    measured: Measured,
    done: u64,
}

impl Running {
    /// Warms up with a tenth of a turn, then measures a turn. Either lasts until each connection has had its turn as well.
    fn turn(&mut self, span: Duration) {
        let (_, _, steps) = self.run(span / 10, 1);
        // Looking at the clock must not weigh: some hundred times a turn.
        let (work, time, _) = self.run(span, (steps / 16).max(1));
        let (_, unit) = self.row.work.unit();
        self.measured.rates.push(work as f64 * unit / time.as_secs_f64());
    }

    /// Returns the work done, how long that took, and in how many steps.
    fn run(&mut self, span: Duration, steps_at_once: u64) -> (u64, Duration, u64) {
        let (start, before) = (Instant::now(), self.done);
        let mut steps = 0;
        loop {
            for _ in 0..steps_at_once {
                self.done = self.load.step();
            }
            steps += steps_at_once;
            let (work, time) = (self.done - before, start.elapsed());
            if time >= span && work >= self.row.connections as u64 {
                return (work, time, steps);
            }
        }
    }
}
