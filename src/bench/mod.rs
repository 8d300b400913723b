//! Comparisons: what holds up, and how well.

pub mod contender;
