//! Benchmarks against others: the same load for each contender in turn, and a report that says what was done.
//!
//! * [`legit`]: the legitimate clients, whose fate under a flood is what counts;
//! * [`summary`]: what was measured, round by round, with medians and ratios: the JSON that others read;
//! * [`report`]: the same for people, as a table and as a page.

pub mod legit;
pub mod report;
pub mod summary;
#[cfg(test)]
mod tests;

pub use self::{
    legit::{LegitFigures, LegitLoad, LegitOptions},
    summary::{Contender, Metrics, Report},
};
