//! Histograms.

use super::Histogram;
use std::time::Duration;

/// The steps that are not empty, by their ends in microseconds.
fn counted(histogram: &Histogram) -> Vec<(Option<u128>, u64)> {
    let steps = histogram.iter().filter(|&(_, count)| count > 0);
    steps.map(|(end, count)| (end.map(|it| it.as_micros()), count)).collect()
}

#[test]
fn what_ends_at_a_bound_is_below_it() {
    for (nanos, end) in [
        (0, Some(4)),
        (4_000, Some(4)),
        (4_001, Some(8)),
        (8_000, Some(8)),
        (8_001, Some(16)),
        (1_000_000, Some(1_024)),
        (16_777_216_000, Some(16_777_216)),
        (16_777_216_001, None),
        (u64::MAX, None),
    ] {
        let mut histogram = Histogram::default();
        histogram.count_one(Duration::from_nanos(nanos));
        assert_eq!(counted(&histogram), [(end, 1)], "{nanos} ns");
        assert_eq!((histogram.count(), histogram.sum()), (1, Duration::from_nanos(nanos)));
    }
}

#[test]
fn steps_grow_and_sums_do_not_overflow() {
    let mut histogram = Histogram::default();
    let ends: Vec<_> = histogram.iter().map(|(end, _)| end).collect();
    assert!(ends.len() == Histogram::BUCKETS && ends[Histogram::BUCKETS - 1].is_none());
    assert!(ends[..Histogram::BUCKETS - 1].windows(2).all(|pair| pair[1].unwrap() == 2 * pair[0].unwrap()));
    (0..3).for_each(|_| histogram.count_one(Duration::MAX));
    assert_eq!((histogram.count(), histogram.sum()), (3, Duration::from_nanos(u64::MAX)));
}

#[test]
fn a_quantile_is_where_its_step_ends() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile(500), None);
    for micros in [1, 3, 5, 900] {
        histogram.count_one(Duration::from_micros(micros));
    }
    let micros = |per_mille| histogram.quantile(per_mille).map(|end| end.as_micros());
    assert_eq!([0, 500, 501, 750, 751, 1_000].map(micros), [4, 4, 8, 8, 1_024, 1_024].map(Some));
    let later = {
        let mut later = histogram;
        later.count_one(Duration::from_secs(100));
        later
    };
    assert_eq!((later.since(&histogram).count(), later.since(&histogram).quantile(500)), (1, None));
    assert_eq!(later.since(&later), Histogram::default());
}
