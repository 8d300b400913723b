//! Rendezvous hashing (Thaler and Ravishankar 1998) with weights by the logarithmic method (Schindelhauer and Schomaker
//! 2005), in whole numbers.
//!
//! Every row asks every backend for a number between 0 and 1, drawn from the row and the name, and goes to the one
//! whose -log(number) / weight is least. So who comes takes rows for itself only, and who goes leaves the others' where
//! they are. The price is an uneven spread, as of balls thrown into bins, and work of rows times backends.

use super::{Candidate, Placement};
use crate::rng::{SipKey, splitmix64};
use std::hash::Hasher;

/// Rendezvous hashing with weights: no row moves without need.
///
/// It takes rows times backends steps of a few nanoseconds: 65,537 rows and 100 backends some tens of milliseconds.
#[derive(Clone, Debug)]
pub struct Rendezvous {
    key: SipKey,
}

impl Rendezvous {
    /// With the key of a fleet: [`RowKey::of_placement`](crate::lb::RowKey::of_placement).
    pub fn new(key: SipKey) -> Self {
        Self { key }
    }
}

const ONE: u64 = 1 << 32;

/// -log2(number / 2^64) in units of 2^-32, rounded up: at most 64 of them. Digit by digit, so that every machine gets
/// the same.
fn minus_log2(number: u64) -> u64 {
    let number = number.max(1);
    let zeros = number.leading_zeros();
    // 1 <= mantissa / 2^63 < 2
    let mut mantissa = number << zeros;
    let mut fraction = 0;
    for digit in (0..32).rev() {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let is_two = square >> 64 != 0;
        mantissa = if is_two { (square >> 1) as u64 } else { square as u64 };
        fraction |= u64::from(is_two) << digit;
    }
    u64::from(zeros + 1) * ONE - fraction
}

impl Placement for Rendezvous {
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]) {
        let names: Vec<u64> =
            backends.iter().map(|backend| self.key.hash(|hasher| hasher.write(backend.name.as_bytes()))).collect();
        for (index, row) in (0..).zip(rows) {
            let of_row = self.key.hash(|hasher| hasher.write_u32(index));
            let (mut best, mut cost, mut weight) = (0, u64::MAX, 1);
            for (candidate, (backend, name)) in (0..).zip(backends.iter().zip(&names)) {
                let (number, heavy) = (splitmix64(name ^ of_row), u64::from(backend.weight));
                // -log2(x) >= 1 - x: mostly that is enough to know.
                if ((!number >> 32) * weight) >= cost.saturating_mul(heavy) {
                    continue;
                }
                let bid = minus_log2(number);
                if cost == u64::MAX || bid * weight < cost * heavy {
                    (best, cost, weight) = (candidate, bid, heavy);
                }
            }
            *row = best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right() {
        for number in [1, 2, 3, 1 << 32, 0x1234_5678_9abc_def0, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let exact = 64.0 - (number as f64).log2();
            let ours = minus_log2(number) as f64 / ONE as f64;
            assert!((ours - exact).abs() < 1e-6, "{number}: {ours} and {exact}");
        }
    }
}
