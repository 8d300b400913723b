//! Checks and their sums.

use super::fixture::{Fixture, backends};
use crate::{
    lb::{Health, Pace, Tally},
    time::Instant,
};
use std::time::Duration;

fn counted(tally: &mut Tally, checks: &str) -> Vec<Option<Health>> {
    checks.chars().map(|it| tally.count(it == '+')).collect()
}

#[test]
fn only_failures_in_a_row_make_down() {
    let mut tally = Tally::new(2, 3);
    assert_eq!(tally.health(), Health::Unknown);
    assert_eq!(counted(&mut tally, "+"), [Some(Health::Up)]);
    assert_eq!(counted(&mut tally, "--+--+--"), [None; 8], "a lifetime of failures is no row of them");
    assert_eq!(counted(&mut tally, "-"), [Some(Health::Down)]);
    assert_eq!(counted(&mut tally, "-+-+-"), [None; 5]);
    assert_eq!(counted(&mut tally, "++"), [None, Some(Health::Up)]);
}

#[test]
fn a_start_without_answers_ends_down() {
    let mut tally = Tally::new(2, 3);
    assert_eq!(counted(&mut tally, "---"), [None, None, Some(Health::Down)]);
    let mut tally = Tally::new(0, 0);
    assert_eq!(counted(&mut tally, "-+"), [Some(Health::Down), Some(Health::Up)]);
}

#[test]
fn what_was_known_is_taken_up() {
    let mut tally = Tally::new(2, 3);
    tally.resume(Health::Down);
    assert_eq!(counted(&mut tally, "-+"), [None; 2]);
    assert_eq!(counted(&mut tally, "+"), [Some(Health::Up)]);
}

#[test]
fn checks_are_regular_and_no_two_together() {
    let (start, interval) = (Instant::from_millis(500), Duration::from_secs(2));
    let mut dues = Vec::new();
    for seed in 0..100 {
        let mut pace = Pace::new(start, interval, seed);
        assert!(pace.due() <= start + interval);
        let mut last = pace.due();
        for _ in 0..100 {
            assert!(!pace.is_due(Instant::from_nanos(last.as_nanos() - 1)));
            assert!(pace.is_due(last));
            let wait = pace.due() - last;
            assert!(wait >= interval * 9 / 10 && wait <= interval * 11 / 10, "{wait:?}");
            last = pace.due();
        }
        dues.push(last);
    }
    dues.sort();
    dues.dedup();
    assert_eq!(dues.len(), 100);
    let mut pace = Pace::new(start, interval, 1);
    assert!(pace.is_due(start + 100 * interval));
    assert!(!pace.is_due(start + 100 * interval), "who was held up does not catch up");
}

#[test]
fn changes_of_health_are_counted_as_long_as_a_backend_is_there() {
    let mut it = Fixture::tcp(2);
    let id = it.balancer.backend(it.service(), "web-2").unwrap();
    it.tell("web-2", Health::Down);
    assert!(!it.balancer.set_health(id, Health::Down, it.now), "no news");
    it.configure(backends(3));
    it.tell("web-2", Health::Up);
    assert_eq!(it.balancer.health_changes(id), 2, "through changes of others");
    it.configure(backends(1));
    assert_eq!(it.balancer.health_changes(id), 0);
}
