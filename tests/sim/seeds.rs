//! Many seeds, the same seed twice, and one seed looked at closely.

use crate::{
    scenario::Scenario,
    verdict::{Outcome, run, try_seed},
    world::World,
};
use std::{
    env,
    io::IsTerminal,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Seeds that are tried unless the environment says otherwise.
const SEEDS: u64 = 5_000;

/// A number from the environment.
fn asked_for(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse().ok();
    assert!(number.is_some(), "{name} is a number, and not \"{text}\"");
    number
}

/// Runs seeds on all cores; those that fail, with what they said.
fn try_seeds(from: u64, count: u64) -> Vec<(u64, String)> {
    let (next, done) = (AtomicU64::new(from), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let progress = std::io::stderr().is_terminal();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            if let Err(text) = try_seed(seed) {
                failures.lock().expect("nobody panics with it").push((seed, text));
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if progress && done.is_multiple_of(500) {
                eprint!("\r{done} of {count} seeds");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    if progress {
        eprintln!("\r{count} seeds from {from}    ");
    }
    let mut failures = failures.into_inner().expect("nobody panics with it");
    failures.sort();
    failures
}

#[test]
fn thousands_of_seeds() {
    let asked = asked_for("XSKIP_SIM_SEEDS");
    let hook = asked.map(|_| panic::take_hook());
    if hook.is_some() {
        // This test is alone then, and everything that goes wrong is told in the end.
        panic::set_hook(Box::new(|_| ()));
    }
    let count = asked.unwrap_or(SEEDS);
    let failures = try_seeds(asked_for("XSKIP_SIM_FROM").unwrap_or(1), count);
    if let Some(hook) = hook {
        panic::set_hook(hook);
    }
    for (seed, text) in &failures {
        let line = text.lines().next().unwrap_or_default();
        eprintln!("seed {seed}: {line}\n  see it again: scripts/soak --replay {seed}");
    }
    assert!(failures.is_empty(), "{} of {count} seeds failed; the first of them:\n{}", failures.len(), failures[0].1);
}

#[test]
fn same_seed_same_frames() {
    for seed in 1..=40 {
        let [one, two]: [Result<Outcome, String>; 2] = [try_seed(seed), try_seed(seed)];
        assert_eq!(one, two, "seed {seed}");
    }
}

/// Shows a seed's whole ladder: that of `XSKIP_SIM_SEED`.
#[test]
fn replay() {
    let seed = asked_for("XSKIP_SIM_SEED").unwrap_or(1);
    let scenario = Scenario::from_seed(seed);
    let mut world = World::new(&scenario);
    world.trace.whole = true;
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(&mut world, &scenario)));
    let ladder = world.trace.draw();
    println!("{scenario:#?}\n{ladder}");
    assert!(ladder.lines().count() > 4, "there is something to see");
    if let Err(panic) = result {
        panic::resume_unwind(panic);
    }
}
