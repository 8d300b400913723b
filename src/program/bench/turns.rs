//! Contenders in turn, round by round: A B A B. Whatever else the machine does meanwhile meets all of them alike.

use super::{
    BenchError,
    contender::{Contender, ContenderError},
    legit::LegitFigures,
    scenario::Scenario,
    summary::Metrics,
};
use crate::flood::FloodCounts;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often the clock is looked at while something runs.
const STEP: Duration = Duration::from_millis(50);

/// What goes on, for whoever wants to look on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A contender's turn begins.
    Turn {
        /// The round, from 1.
        round: usize,
        /// Who it is.
        contender: &'static str,
    },
    /// A contender is left out from now on.
    Unavailable {
        /// Who it is.
        contender: &'static str,
        /// Why.
        reason: String,
    },
    /// A second of a turn under a flood is over.
    Second(Box<Second>),
    /// A turn is over.
    Measured {
        /// What is measured.
        scenario: &'static Scenario,
        /// Whose turn it was.
        contender: &'static str,
        /// What it brought.
        metrics: Metrics,
    },
}

/// What one second of a turn brought.
#[derive(Clone, Debug)]
pub struct Second {
    /// Whose turn it is.
    pub contender: Contender,
    /// What the flood did; none at peace.
    pub flood: Option<FloodCounts>,
    /// What the clients saw.
    pub clients: LegitFigures,
}

/// Whoever takes turns.
pub(super) trait Named: Copy {
    /// What it is called on the command line and in reports.
    fn name(self) -> &'static str;
}

impl Named for Contender {
    fn name(self) -> &'static str {
        Contender::name(self)
    }
}

/// A contender with all that its turns brought.
pub(super) struct Record<C, T> {
    pub contender: C,
    /// Why it cannot run here.
    pub unavailable: Option<String>,
    pub turns: Vec<T>,
}

/// Gives each contender its turn, in each round. One that this machine cannot run is left out from then on.
pub(super) fn take_turns<C: Named, T>(
    contenders: &[C],
    rounds: usize,
    progress: &mut dyn FnMut(Progress),
    mut turn: impl FnMut(C, &mut dyn FnMut(Progress)) -> Result<T, BenchError>,
) -> Result<Vec<Record<C, T>>, BenchError> {
    let record = |&contender| Record { contender, unavailable: None, turns: Vec::new() };
    let mut records: Vec<_> = contenders.iter().map(record).collect();
    for round in 1..=rounds {
        for record in records.iter_mut().filter(|record| record.unavailable.is_none()) {
            let contender = record.contender;
            progress(Progress::Turn { round, contender: contender.name() });
            match turn(contender, progress) {
                Ok(turn) => record.turns.push(turn),
                Err(BenchError::Contender(ContenderError::Unavailable { reason, .. })) => {
                    progress(Progress::Unavailable { contender: contender.name(), reason: reason.clone() });
                    record.unavailable = Some(reason);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(records)
}

/// Waits, unless it is interrupted.
pub(super) fn wait(period: Duration, interrupted: &AtomicBool) -> Result<(), BenchError> {
    let end = Instant::now() + period;
    loop {
        check(interrupted)?;
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(STEP)),
            _ => return Ok(()),
        }
    }
}

/// Goes on, unless it is interrupted.
pub(super) fn check(interrupted: &AtomicBool) -> Result<(), BenchError> {
    if interrupted.load(Ordering::Relaxed) { Err(BenchError::Interrupted) } else { Ok(()) }
}
