//! Even shares, few moves, and no order.

use crate::{
    lb::{Candidate, Maglev, Placement, Rendezvous, RowCount, RowKey, placement::second_choices},
    rng::{SipKey, splitmix64},
};
use proptest::prelude::*;

const ROWS: usize = RowCount::DEFAULT.get() as usize;

fn key() -> SipKey {
    RowKey::new(SipKey::from_seed(7)).of_placement()
}

fn names(count: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..count).map(|index| format!("web-{index}.example")).collect();
    names.sort();
    names
}

/// The table of these, sorted as a balancer sorts them: for each row a name.
fn place<'a>(placement: &dyn Placement, backends: &[(&'a str, u32)], rows: usize) -> Vec<&'a str> {
    let mut backends = backends.to_vec();
    backends.sort_unstable();
    let candidates: Vec<_> = backends.iter().map(|&(name, weight)| Candidate { name, weight }).collect();
    let mut table = vec![0; rows];
    placement.place(&candidates, &mut table);
    table.into_iter().map(|index| backends[usize::from(index)].0).collect()
}

fn equal(names: &[String]) -> Vec<(&str, u32)> {
    names.iter().map(|name| (name.as_str(), 100)).collect()
}

fn count(table: &[&str], name: &str) -> usize {
    table.iter().filter(|it| **it == name).count()
}

/// Rows that lead elsewhere, though the backend they led to is still there.
fn moved(before: &[&str], after: &[&str]) -> usize {
    let still = |name: &&str| after.contains(name);
    let known: std::collections::HashMap<&str, bool> = before.iter().map(|name| (*name, still(name))).collect();
    before.iter().zip(after).filter(|(one, other)| one != other && known[*one]).count()
}

#[test]
fn maglev_shares_are_even_to_a_row() {
    let maglev = Maglev::new(key());
    for backends in [1, 2, 3, 10, 100, 1_000, 4_000] {
        let names = names(backends);
        let table = place(&maglev, &equal(&names), ROWS);
        let mut counts = std::collections::HashMap::new();
        table.iter().for_each(|name| *counts.entry(*name).or_insert(0) += 1);
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        assert_eq!(counts.len(), backends);
        assert!(most - least <= 1, "{backends} backends have {least} to {most} rows");
    }
}

#[test]
fn one_of_a_hundred_that_goes_moves_few_rows_of_others() {
    let names = names(100);
    let mut shares = Vec::new();
    for seed in 0..5 {
        let maglev = Maglev::new(SipKey::from_seed(seed));
        let before = place(&maglev, &equal(&names), ROWS);
        for gone in [0, 17, 50, 99] {
            let rest: Vec<_> = equal(&names).into_iter().filter(|(name, _)| *name != names[gone]).collect();
            let share = moved(&before, &place(&maglev, &rest, ROWS)) as f64 / ROWS as f64;
            assert!(share <= 0.007, "{:.3} % of the others' rows moved", share * 100.0);
            shares.push(share * 100.0);
        }
    }
    let (least, most) = shares.iter().fold((100.0_f64, 0.0_f64), |(least, most), it| (least.min(*it), most.max(*it)));
    println!("one of 100 removed moved {least:.3} to {most:.3} % of the others' rows");
}

#[test]
fn one_that_comes_takes_its_share_and_moves_few_others() {
    let names = names(101);
    let maglev = Maglev::new(key());
    let (before, after) = (place(&maglev, &equal(&names[..100]), ROWS), place(&maglev, &equal(&names), ROWS));
    let taken = count(&after, &names[100]);
    assert!(taken.abs_diff(ROWS / 101) <= 1);
    let others = moved(&before, &after) - taken;
    assert!(others * 1_000 <= ROWS * 7, "{others} rows moved between others");
}

#[test]
fn rendezvous_moves_none_of_the_others() {
    let names = names(100);
    let rendezvous = Rendezvous::new(key());
    let before = place(&rendezvous, &equal(&names), 4_093);
    let rest: Vec<_> = equal(&names).into_iter().filter(|(name, _)| *name != names[17]).collect();
    assert_eq!(moved(&before, &place(&rendezvous, &rest, 4_093)), 0);
}

#[test]
fn shares_follow_weights() {
    let weights = [("a", 200), ("b", 100), ("c", 100)];
    let maglev = place(&Maglev::new(key()), &weights, ROWS);
    let rendezvous = place(&Rendezvous::new(key()), &weights, ROWS);
    for (name, weight) in weights {
        let due = ROWS as f64 * f64::from(weight) / 400.0;
        assert!((count(&maglev, name) as f64 - due).abs() <= 1.0, "maglev: {name} has {}", count(&maglev, name));
        // Balls in bins: six standard deviations.
        let allowed = 6.0 * (due * (1.0 - due / ROWS as f64)).sqrt();
        let has = count(&rendezvous, name) as f64;
        assert!((has - due).abs() <= allowed, "rendezvous: {name} has {has}, not {due}");
    }
}

#[test]
fn who_has_a_weight_has_a_row() {
    let names = names(1_000);
    let mut weights: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    weights[0].1 = crate::lb::MAX_WEIGHT;
    let table = place(&Maglev::new(key()), &weights, ROWS);
    assert!(names.iter().all(|name| table.contains(&name.as_str())));
}

#[test]
fn as_many_backends_as_rows_have_one_each() {
    let names = names(101);
    let table = place(&Maglev::new(key()), &equal(&names), 101);
    assert!(names.iter().all(|name| count(&table, name) == 1));
}

/// Balancers of one fleet may run different releases: a table that another release makes otherwise breaks flows that
/// move. Whoever changes this value on purpose says so in the changelog.
#[test]
fn a_table_is_the_same_for_ever() {
    let names = names(10);
    let digest = |table: &[&str]| {
        table.iter().flat_map(|name| name.bytes()).fold(0, |sum, byte| splitmix64(sum ^ u64::from(byte)))
    };
    let weights: Vec<_> =
        names.iter().zip([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).map(|(name, weight)| (name.as_str(), weight)).collect();
    let maglev = digest(&place(&Maglev::new(key()), &weights, 4_093));
    let rendezvous = digest(&place(&Rendezvous::new(key()), &weights, 4_093));
    assert_eq!((maglev, rendezvous), (8_996_730_541_707_059_054, 2_688_864_776_210_739_510));
}

#[test]
fn second_choices_are_others_and_spread_by_weight() {
    let names = names(10);
    let backends = equal(&names);
    let candidates: Vec<_> = backends.iter().map(|&(name, weight)| Candidate { name, weight }).collect();
    let mut first = vec![0; ROWS];
    Maglev::new(key()).place(&candidates, &mut first);
    let second = second_choices(&first, 10);
    let mut spread = [0_usize; 10];
    for (first, second) in first.iter().zip(&second) {
        assert!(second.is_some() && Some(*first) != *second);
        if *first == 3 {
            spread[usize::from(second.unwrap())] += 1;
        }
    }
    let due = ROWS as f64 / 90.0;
    assert!(spread.iter().enumerate().all(|(index, &has)| index == 3 || (has as f64 - due).abs() < 6.0 * due.sqrt()));
}

#[test]
fn second_choices_take_little_work_where_one_has_nearly_all() {
    let mut first = vec![0; ROWS];
    first[5] = 1;
    first[9] = 2;
    let second = second_choices(&first, 3);
    assert!(
        second.iter().zip(&first).all(|(second, first)| second.is_some_and(|second| second != *first && second < 3))
    );
    assert!(second_choices(&[0; 101], 1).iter().all(Option::is_none));
}

#[test]
fn the_number_of_rows_is_prime() {
    assert_eq!(RowCount::new(65_537), Some(RowCount::DEFAULT));
    assert_eq!(RowCount::new(4_093), Some(RowCount::SMALL));
    for rows in [0, 1, 100, 65_535, 65_539, 4_095] {
        assert_eq!(RowCount::new(rows), None, "{rows}");
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn maglev_shares_are_within_two_rows_of_their_weight(weights in prop::collection::vec(1..100_u32, 1..30)) {
        let names = names(weights.len());
        let backends: Vec<_> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let table = place(&Maglev::new(key()), &backends, 4_093);
        let total: u32 = weights.iter().sum();
        for (name, weight) in backends {
            let due = 4_093.0 * f64::from(weight) / f64::from(total);
            let has = count(&table, name) as f64;
            prop_assert!((has - due).abs() <= 2.0, "{name} has {has}, not {due}");
        }
    }
}
