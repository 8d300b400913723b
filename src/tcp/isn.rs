//! Initial sequence numbers of the connections we open (RFC 6528). Those of connections that others open are cookies: see
//! [`super::cookie`].

use crate::{
    rng::SipKey,
    time::Instant,
    wire::{FourTuple, SeqNumber},
};
use std::hash::Hash;

/// The number of our SYN: a clock that ticks every 4 µs (MUST-8), from a place that only the key knows (SHLD-1, MUST-9). A
/// 4-tuple used again begins beyond what it sent before, and no other 4-tuple's number tells anything of it.
pub fn initial_sequence_number(now: Instant, key: &SipKey, tuple: &FourTuple) -> SeqNumber {
    let ticks = (now.as_micros() / 4) as u32;
    SeqNumber::new(ticks.wrapping_add(keyed(key, b'S', tuple)))
}

/// What our timestamps begin with, likewise (RFC 7323 §5.4). They tick every millisecond, so those of a 4-tuple used again begin
/// beyond where the last ones stopped: a peer that is in TIME-WAIT still lets that connection begin (RFC 6191 §2).
pub fn initial_timestamp(now: Instant, key: &SipKey, tuple: &FourTuple) -> u32 {
    (now.as_millis() as u32).wrapping_add(keyed(key, b'T', tuple))
}

fn keyed(key: &SipKey, purpose: u8, tuple: &FourTuple) -> u32 {
    key.hash(|hasher| (purpose, tuple).hash(hasher)) as u32
}
