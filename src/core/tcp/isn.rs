//! Initial sequence numbers of the connections we open (RFC 6528). Those of connections that others open are cookies: see
//! [`super::cookie`].

use crate::{
    rng::SipKey,
    time::Instant,
    wire::{FourTuple, SeqNumber},
};
use std::hash::Hasher;

/// The number of our SYN: a clock that ticks every 4 µs (MUST-8), from a place that only the key knows (SHLD-1, MUST-9). A
/// 4-tuple used again begins beyond what it sent before, and no other 4-tuple's number tells anything of it.
///
/// With it, what our timestamps begin with, likewise (RFC 7323 §5.4). They tick every millisecond, so those of a 4-tuple used again
/// begin beyond where the last ones stopped: a peer that is in TIME-WAIT still lets that connection begin (RFC 6191 §2).
pub fn initial_numbers(now: Instant, key: &SipKey, tuple: &FourTuple) -> (SeqNumber, u32) {
    let (ticks, milliseconds) = ((now.as_micros() / 4) as u32, now.as_millis() as u32);
    // Either half of the hash tells nothing of the other.
    let offsets = tuple.with_octets(|octets| key.hash(|hasher| hasher.write(octets)));
    let sequence = SeqNumber::new(ticks.wrapping_add(offsets as u32));
    (sequence, milliseconds.wrapping_add((offsets >> 32) as u32))
}
