//! How many lines come of many.

use super::{LINES, LogLimit, More, SPAN};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

#[test]
fn ten_thousand_lines_of_a_kind_are_few_and_none_is_forgotten() {
    let limit = LogLimit::new();
    // A thousand a second.
    let said: Vec<(u64, More)> = (0..10_000)
        .filter_map(|millis| limit.admit_at(Duration::from_millis(millis)).map(|more| (millis, more)))
        .collect();
    assert_eq!(said.len(), LINES as usize);
    assert!(said.iter().all(|(_, more)| more.count() == 0));
    let next = limit.admit_at(SPAN).expect("it is time again");
    assert_eq!(next.count(), 10_000 - u64::from(LINES));
    assert_eq!(next.to_string(), " (and 9996 more of this kind)");
    assert_eq!(limit.admit_at(SPAN).map(|more| more.to_string()), Some(String::new()));
}

#[test]
fn one_now_and_then_is_always_said() {
    let limit = LogLimit::new();
    assert!((0..1_000).all(|ten| limit.admit_at(ten * SPAN / 2) == Some(More(0))));
}

#[test]
fn whoever_says_it_all_are_counted_together() {
    let (limit, said, unsaid) = (LogLimit::new(), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_500 {
                    if let Some(more) = limit.admit_at(Duration::ZERO) {
                        said.fetch_add(1, Ordering::Relaxed);
                        unsaid.fetch_add(more.count(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let last = limit.admit_at(SPAN).unwrap().count();
    assert_eq!(said.into_inner(), u64::from(LINES));
    assert_eq!(u64::from(LINES) + unsaid.into_inner() + last, 10_000);
}
