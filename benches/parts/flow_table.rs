//! The flow table, from one that fits in a cache to one of ten million flows.

use divan::{Bencher, black_box};
use xskip::{
    rng::splitmix64,
    stack::{Flow, FlowTable},
};

const FLOWS: [u32; 4] = [1_000, 100_000, 1_000_000, 10_000_000];

/// Look-ups of a batch of frames.
const BATCH: u32 = 64;

fn hash(number: u32) -> u32 {
    splitmix64(number.into()) as u32
}

fn table(flows: u32) -> FlowTable {
    let mut table = FlowTable::new(flows as usize);
    for number in 0..flows {
        table.insert(hash(number), Flow::Connection(number));
    }
    table
}

/// Numbers of flows, in an order that no cache foresees.
fn order(flows: u32) -> impl FnMut() -> u32 {
    let mut turn = 0;
    move || {
        turn += 1;
        (splitmix64(!turn) % u64::from(flows)) as u32
    }
}

fn find_one(table: &FlowTable, number: u32) {
    black_box(table.find(hash(number), |flow| flow == Flow::Connection(number))).expect("it is there");
}

/// One that is there.
#[divan::bench(args = FLOWS)]
fn find(bencher: Bencher, flows: u32) {
    let (table, mut next) = (table(flows), order(flows));
    bencher.bench_local(|| find_one(&table, black_box(next())));
}

/// A batch of those that are there.
#[divan::bench(args = FLOWS)]
fn find_batch(bencher: Bencher, flows: u32) {
    let (table, mut next) = (table(flows), order(flows));
    bencher.counter(BATCH).bench_local(|| {
        for _ in 0..BATCH {
            find_one(&table, next());
        }
    });
}

/// One that is not there.
#[divan::bench(args = FLOWS)]
fn miss(bencher: Bencher, flows: u32) {
    let (table, mut next) = (table(flows), order(flows));
    bencher.bench_local(|| {
        let found = table.find(hash(flows + black_box(next())), |_| false);
        assert_eq!(found, None, "it was never put in");
    });
}

/// One is taken out and put in again.
#[divan::bench(args = FLOWS)]
fn remove_and_insert(bencher: Bencher, flows: u32) {
    let (mut table, mut next) = (table(flows), order(flows));
    bencher.bench_local(|| {
        let number = black_box(next());
        table.remove(hash(number), Flow::Connection(number));
        table.insert(hash(number), Flow::Connection(number));
    });
}
