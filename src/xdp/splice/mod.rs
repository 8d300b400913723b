//! Pairs of connections whose segments XDP programs translate, shared with those of all interfaces: `bpf/splice.h`.
//!
//! A worker takes pairs from its [`Splices`] and forgets them there; no two workers write to the same pair. Programs read what is fixed
//! of a pair, and write down what they learn, while a worker looks.

mod index;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub use table::{SpliceTable, Splices};
