//! Many seeds, the same seed twice, and one seed looked at closely.

use crate::{
    plan::Plan,
    world::{Outcome, World},
};
use std::{
    collections::BTreeMap,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use xskip_core::splice::Over;

/// Seeds that are tried unless the environment says otherwise.
const SEEDS: u64 = 400;

/// A number from the environment.
fn asked_for(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse().ok();
    assert!(number.is_some(), "{name} is a number, and not \"{text}\"");
    number
}

fn try_seed(seed: u64) -> Result<Outcome, String> {
    let run = || World::new(&Plan::from_seed(seed)).run();
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Runs seeds on all cores: what came of each, in order.
fn try_seeds(from: u64, count: u64) -> Vec<(u64, Result<Outcome, String>)> {
    let (next, all) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let result = try_seed(seed);
            all.lock().expect("nobody panics with it").push((seed, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    let mut all = all.into_inner().expect("nobody panics with it");
    all.sort_by_key(|(seed, _)| *seed);
    all
}

#[test]
fn hundreds_of_seeds() {
    let count = asked_for("XSKIP_SIM_SEEDS").unwrap_or(SEEDS);
    let hook = panic::take_hook();
    // Everything that goes wrong is told in the end.
    panic::set_hook(Box::new(|_| ()));
    let all = try_seeds(asked_for("XSKIP_SIM_FROM").unwrap_or(1), count);
    panic::set_hook(hook);
    let failures: Vec<_> = all.iter().filter_map(|(seed, it)| Some((seed, it.as_ref().err()?))).collect();
    for (seed, text) in &failures {
        eprintln!(
            "seed {seed}: {text}\n  see it again: XSKIP_SIM_SEED={seed} cargo test --test spliced replay -- --nocapture"
        );
    }
    assert!(failures.is_empty(), "{} of {count} seeds failed", failures.len());

    let outcomes: Vec<_> = all.iter().filter_map(|(_, it)| it.as_ref().ok()).collect();
    let with = |is_so: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|it| is_so(it)).count() as u64;
    let told = [
        ("parted", with(&|it| it.parted), 50),
        ("with frames under way", with(&|it| it.under_way > 0), 15),
        ("finished", with(&|it| it.over == Some(Over::Finished)), 35),
        ("reset", with(&|it| it.over == Some(Over::Reset)), 4),
        ("removed", with(&|it| it.removed), 1),
        ("of more than a hundred frames", with(&|it| it.translated > 100), 10),
    ];
    let frames: u64 = outcomes.iter().map(|it| it.translated).sum();
    let mut refused = BTreeMap::new();
    for reason in outcomes.iter().flat_map(|it| &it.refused) {
        *refused.entry(reason).or_insert(0) += 1;
    }
    println!("{count} seeds, {frames} frames translated: {told:?}; refused: {refused:?}");
    for (what, seen, percent) in told {
        assert!(count < 100 || seen * 100 >= count * percent, "only {seen} of {count} {what}");
    }
}

#[test]
fn same_seed_same_outcome() {
    for seed in 1..=20 {
        assert_eq!(try_seed(seed), try_seed(seed), "seed {seed}");
    }
}

/// Shows everything that happens under a seed: that of `XSKIP_SIM_SEED`.
#[test]
fn replay() {
    let plan = Plan::from_seed(asked_for("XSKIP_SIM_SEED").unwrap_or(1));
    let mut world = World::new(&plan);
    world.trace = Some(String::new());
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let trace = world.trace.take().unwrap_or_default();
    println!("{plan:#?}\n{trace}\n{}\n{result:?}", world.describe());
    assert!(trace.lines().count() > 4, "there is something to see");
    if let Err(panic) = result {
        panic::resume_unwind(panic);
    }
}
