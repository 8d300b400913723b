//! Benchmarks against others: the same load for each contender in turn, and a report that says what was done.
//!
//! * [`SynFlood`]: legitimate clients of a server under a flood;
//! * [`Comparison`]: the scenarios in which one client drives two servers in turn;
//! * [`lb`]: load balancers, each in turn before the same backends;
//! * [`scenario`]: what each scenario measures, and how its numbers are to be read;
//! * [`contender`]: the servers that are compared;
//! * [`legit`]: the legitimate clients, whose fate under a flood is what counts;
//! * [`summary`]: what was measured, round by round, with medians and ratios: the JSON that others read;
//! * [`report`]: the same for people, as a table and as a page.

mod account;
mod comparison;
pub mod contender;
mod error;
pub mod lb;
pub mod legit;
mod placement;
mod process;
pub mod report;
pub mod scenario;
pub mod summary;
mod syn_flood;
#[cfg(test)]
mod tests;
mod turns;

pub use self::{
    comparison::{Comparison, Work},
    contender::Contender,
    error::BenchError,
    process::ProcessError,
    summary::Report,
    syn_flood::SynFlood,
    turns::{Progress, Second},
};
