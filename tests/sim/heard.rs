//! Which octets of a stream have arrived somewhere, in whatever order.

use std::collections::BTreeMap;

/// Pieces of a stream, by their place in it. The SYN has place 0.
#[derive(Debug, Default)]
pub struct Heard {
    /// Everything before has arrived.
    next: u64,
    /// What has arrived beyond, by where it begins; pieces neither touch nor overlap.
    early: BTreeMap<u64, u64>,
}

impl Heard {
    /// Everything before this place has arrived.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds what lies from `start` up to `end`.
    pub fn add(&mut self, mut start: u64, mut end: u64) {
        if end <= self.next || start >= end {
            return;
        }
        while let Some((&left, &right)) = self.early.range(..=end).next_back().filter(|&(_, &right)| right >= start) {
            (start, end) = (start.min(left), end.max(right));
            self.early.remove(&left);
        }
        if start <= self.next {
            self.next = end;
        } else {
            self.early.insert(start, end);
        }
    }

    /// Whether all from `start` up to `end` has arrived.
    pub fn has(&self, start: u64, end: u64) -> bool {
        end <= self.next || self.early.range(..=start).next_back().is_some_and(|(_, &right)| end <= right)
    }
}

#[test]
fn pieces_join() {
    let mut heard = Heard::default();
    for (start, end) in [(4, 6), (8, 9), (6, 8), (11, 12), (2, 5)] {
        heard.add(start, end);
    }
    assert!(heard.has(2, 9) && !heard.has(2, 10) && !heard.has(1, 3) && heard.next() == 0);
    heard.add(0, 3);
    assert_eq!(heard.next(), 9);
    heard.add(5, 11);
    assert_eq!(heard.next(), 12);
}
