//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4), with weights.
//!
//! Every backend steps through the rows in an order of its own, drawn from its name, and they take turns: each takes
//! the next row that is still free. So shares are even to a row, and who comes or goes moves few rows of others.
//!
//! With weights, turns come as often as weights say: the k-th turn of a backend is due at (2k + 1) / weight, which is
//! how Webster and Sainte-Laguë give seats to parties. But the first turns of all come first, so whoever has a weight
//! has a row. With equal weights this is Maglev to the letter. Who is first among equals is drawn from names as well.

use super::{Candidate, Placement};
use crate::rng::SipKey;
use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    hash::Hasher,
};

/// Maglev hashing with weights: the default.
///
/// It takes as many steps as the rows have times their logarithm, on average: 65,537 rows take some 800,000, however
/// many backends there are.
#[derive(Clone, Debug)]
pub struct Maglev {
    key: SipKey,
}

impl Maglev {
    /// With the key of a fleet: [`RowKey::of_placement`](crate::lb::RowKey::of_placement).
    pub fn new(key: SipKey) -> Self {
        Self { key }
    }
}

/// A backend's way through the rows: from `at` on, `step` rows at a time. The number of rows is prime, so it meets them
/// all.
struct Walk {
    at: usize,
    step: usize,
}

impl Walk {
    fn next(&mut self, rows: usize) -> usize {
        let here = self.at;
        self.at = (here + self.step) % rows;
        here
    }
}

/// When a backend's next turn is due: at `odd` / `weight`, and of those due at once, `rank` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    odd: u64,
    weight: u64,
    rank: u16,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.odd * other.weight, other.odd * self.weight);
        mine.cmp(&theirs).then(self.rank.cmp(&other.rank))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Placement for Maglev {
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]) {
        const FREE: u16 = u16::MAX;
        let count = rows.len();
        let mut walks: Vec<Walk> = Vec::with_capacity(backends.len());
        let mut ranked: Vec<(u64, u16)> = Vec::with_capacity(backends.len());
        for (index, backend) in (0..).zip(backends) {
            let hash = self.key.hash(|hasher| hasher.write(backend.name.as_bytes()));
            let (low, high) = (hash as u32 as usize, (hash >> 32) as usize);
            walks.push(Walk { at: low % count, step: high % (count - 1) + 1 });
            ranked.push((hash, index));
        }
        // Indices decide only where 64-bit hashes of two names are equal, and they follow the names.
        ranked.sort_unstable();

        rows.fill(FREE);
        let mut left = count;
        let mut take = |index: u16| {
            let walk = &mut walks[usize::from(index)];
            // As long as a row is free, its walk meets it.
            while left > 0 {
                let row = &mut rows[walk.next(count)];
                if *row == FREE {
                    *row = index;
                    left -= 1;
                    break;
                }
            }
            left > 0
        };
        let mut turns = BinaryHeap::with_capacity(ranked.len());
        for (rank, &(_, index)) in (0..).zip(&ranked) {
            if !take(index) {
                return;
            }
            let weight = backends[usize::from(index)].weight.into();
            turns.push(Reverse(Turn { odd: 3, weight, rank }));
        }
        while let Some(mut turn) = turns.peek_mut() {
            if !take(ranked[usize::from(turn.0.rank)].1) {
                return;
            }
            turn.0.odd += 2;
        }
    }
}
