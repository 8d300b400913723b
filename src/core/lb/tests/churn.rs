//! No flow is ever sent to another backend while its own lives, whatever is changed: and others do not keep that.

use crate::lb::{
    RowCount,
    churn::{Method, Outcome, Shape, run},
};

const QUIET: Shape = Shape {
    rows: RowCount::new(251).unwrap(),
    backends: 6,
    flows: 250,
    changes: 12,
    seconds: 600,
    memory: 4_096,
    moves: false,
    flood: false,
};

/// Seeds of each shape; `XSKIP_CHURN_SEEDS` says how many, for who has time.
fn seeds() -> u64 {
    std::env::var("XSKIP_CHURN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

fn sum(shape: Shape, method: Method, seeds: u64) -> Outcome {
    let mut sum = Outcome::default();
    for seed in 0..seeds {
        let (outcome, story) = run(seed, shape, method);
        assert!(method != Method::Rows || outcome.broken == 0, "seed {seed} of {shape:?}: {outcome:?}\n{story}");
        sum += outcome;
    }
    println!(
        "  {method:<5?} {:>8} flows {:>9} segments {:>6} changes | broken {:>6}  excused {:>6}  \
         SYNs refused {:>5}  remembered {:>5}",
        sum.flows, sum.segments, sum.changes, sum.broken, sum.excused, sum.refused, sum.remembered
    );
    sum
}

/// The three methods, each in the same worlds.
fn compare(title: &str, shape: Shape) -> [Outcome; 3] {
    println!("{title}, {} seeds:", seeds());
    [Method::Rows, Method::Hash, Method::Lru].map(|method| sum(shape, method, seeds()))
}

#[test]
fn no_flow_is_broken_by_a_change() {
    let [rows, hash, lru] = compare("one balancer a flow", QUIET);
    assert_eq!((rows.broken, rows.excused), (0, 0));
    assert!(hash.broken > rows.flows / 100, "the changes are such as break flows");
    assert_eq!(lru.broken, 0, "there is room for all flows, and nobody moves");
}

#[test]
fn no_flow_is_broken_by_a_change_in_a_flood() {
    let [rows, hash, lru] = compare("in a flood, with memory for 64", Shape { memory: 64, flood: true, ..QUIET });
    assert_eq!((rows.broken, rows.excused), (0, 0));
    assert!(hash.broken > 0 && lru.broken > 0, "the flood takes what memory there is");
}

#[test]
fn no_flow_is_broken_by_a_change_without_any_memory() {
    println!("in a flood, without any memory, {} seeds:", seeds());
    let rows = sum(Shape { memory: 0, flood: true, ..QUIET }, Method::Rows, seeds());
    assert_eq!((rows.broken, rows.excused, rows.remembered), (0, 0, 0));
}

#[test]
fn a_flow_that_moves_to_another_balancer_finds_its_backend() {
    let [rows, hash, lru] = compare("flows that move between balancers", Shape { moves: true, changes: 4, ..QUIET });
    assert_eq!(rows.broken, 0);
    assert!(rows.excused < lru.broken + lru.excused && rows.excused < hash.broken + hash.excused);
    assert!(lru.broken > 0, "one balancer does not know what another remembers");
}

#[test]
fn no_flow_of_many_is_broken_by_a_change() {
    let rows = RowCount::new(1_021).unwrap();
    println!("many flows, {} seeds:", seeds() / 10);
    let rows = sum(Shape { rows, backends: 20, flows: 10_000, changes: 10, ..QUIET }, Method::Rows, seeds() / 10);
    assert_eq!((rows.broken, rows.excused), (0, 0));
    assert!(rows.remembered < rows.flows / 20, "few are remembered at a time");
}
