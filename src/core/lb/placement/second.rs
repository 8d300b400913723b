//! Second choices: where a row's new flows go while its backend is down, known before it is.

use crate::rng::splitmix64;

/// Rows that are asked before another backend is drawn.
const PROBES: usize = 64;

/// For each row a backend other than its own, as an index; `None` where there is no other.
///
/// A row asks others, in an order of its own, and takes the first backend that is not the one it has. So the rows of
/// one that goes down spread over all the others, by their weights, whoever placed them. Where one backend has nearly
/// all the rows, that would take long, and the others are drawn from evenly.
pub(in crate::lb) fn second_choices(rows: &[u16], backends: usize) -> Vec<Option<u16>> {
    let count = rows.len();
    let choose = |(row, &first): (usize, &u16)| {
        if backends < 2 {
            return None;
        }
        let hash = splitmix64(row as u64);
        let step = hash as usize % (count - 1) + 1;
        let others = (1..=PROBES).map(|probe| rows[(row + probe * step) % count]);
        let drawn = || {
            let other = ((hash >> 32) * (backends as u64 - 1)) >> 32;
            other as u16 + u16::from(other >= u64::from(first))
        };
        Some(others.into_iter().find(|other| *other != first).unwrap_or_else(drawn))
    };
    rows.iter().enumerate().map(choose).collect()
}
