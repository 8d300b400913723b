//! One piece of work done by one worker, and by several that share nothing.

use crate::{row::Row, shared::clock::Clock};
use std::{sync::Barrier, thread, time::Duration};
use xskip::host::cores::{self, Cores};

/// The rates of one worker and of all together, one a round.
#[derive(Clone, Debug, Default)]
pub struct Scaling {
    /// How many they are.
    pub workers: usize,
    /// What one worker does while the others rest, whichever core it is on.
    pub one: Vec<f64>,
    /// What all do together, at once.
    pub all: Vec<f64>,
}

impl Scaling {
    /// Has a thread on each of `cores`, each with both ends of its own, do the work of `row`: in each round one of them by itself,
    /// and then all at once.
    pub fn measure(row: Row, cores: &[usize], rounds: u32, turn: Duration, clock: Clock) -> Self {
        let mut scaling = Self { workers: cores.len(), ..Self::default() };
        for round in 0..rounds as usize {
            scaling.one.push(together(row, &[cores[round % cores.len()]], turn, clock));
            scaling.all.push(together(row, cores, turn, clock));
        }
        scaling
    }
}

/// A core for each of so many workers.
///
/// # Errors
/// Where there are not so many cores.
pub fn cores(workers: u32) -> Result<Vec<usize>, String> {
    let mut cores: Vec<usize> = Cores::read().map_err(|error| error.to_string())?.iter().collect();
    if workers as usize > cores.len() {
        return Err(format!("{workers} workers need as many cores, and there are {}: ask for fewer", cores.len()));
    }
    cores.truncate(workers as usize);
    Ok(cores)
}

/// The sum of what one worker a core does.
fn together(row: Row, cores: &[usize], turn: Duration, clock: Clock) -> f64 {
    let start = Barrier::new(cores.len());
    let work = &|core| {
        cores::pin(core).expect("a core that was listed takes a thread");
        row.by_itself(turn, clock, &start)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = cores.iter().map(|&core| scope.spawn(move || work(core))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker ends")).sum()
    })
}
