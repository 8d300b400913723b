//! Benchmarks against others: the same load for each contender in turn, and a report that says what was done.
//!
//! * [`SynFlood`]: the scenario, from end to end;
//! * [`scenario`]: what each scenario measures, and how its numbers are to be read;
//! * [`contender`]: the servers that are compared;
//! * [`legit`]: the legitimate clients, whose fate under a flood is what counts;
//! * [`summary`]: what was measured, round by round, with medians and ratios: the JSON that others read;
//! * [`report`]: the same for people, as a table and as a page.

pub mod contender;
mod error;
pub mod legit;
pub mod report;
pub mod scenario;
pub mod summary;
mod syn_flood;
#[cfg(test)]
mod tests;
mod turns;

pub use self::{
    contender::Contender,
    error::BenchError,
    summary::Report,
    syn_flood::{Second, SynFlood},
    turns::Progress,
};
