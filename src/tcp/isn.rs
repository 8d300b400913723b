//! Initial sequence numbers (RFC 6528): a clock that separates incarnations, plus a secret that hides it.

use crate::{
    rng::SipKey,
    time::Instant,
    wire::{FourTuple, SeqNumber},
};
use std::hash::Hash;

/// Chooses initial sequence numbers.
#[derive(Debug)]
pub struct IsnGenerator {
    key: SipKey,
}

impl IsnGenerator {
    /// A generator whose numbers only the holder of `key` can predict (MUST-9).
    pub const fn new(key: SipKey) -> Self {
        Self { key }
    }

    /// The initial sequence number for a connection that begins now: M + F(4-tuple, key) of RFC 6528 §3, where M ticks
    /// every 4 µs (MUST-8).
    pub fn generate(&self, now: Instant, tuple: &FourTuple) -> SeqNumber {
        let ticks = (now.as_micros() / 4) as u32;
        let hidden = self.key.hash(|hasher| tuple.hash(hasher)) as u32;
        SeqNumber::new(ticks).advance(hidden)
    }
}
