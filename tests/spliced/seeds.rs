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
    let asked = asked_for("XSKIP_SIM_SEEDS");
    let hook = asked.map(|_| panic::take_hook());
    if hook.is_some() {
        // This test is alone then, and everything that goes wrong is told in the end.
        panic::set_hook(Box::new(|_| ()));
    }
    let count = asked.unwrap_or(SEEDS);
    let all = try_seeds(asked_for("XSKIP_SIM_FROM").unwrap_or(1), count);
    if let Some(hook) = hook {
        panic::set_hook(hook);
    }
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
        ("parted", with(&|it| it.parted), 45),
        ("with frames under way", with(&|it| it.under_way > 0), 15),
        ("with something of the client's unread", with(&|it| it.unread[0] > 0), 5),
        ("with something of the backend's unread", with(&|it| it.unread[1] > 0), 5),
        ("with something of both unread", with(&|it| it.unread.iter().all(|&octets| octets > 0)), 1),
        ("with frames that the stack translated", with(&|it| it.late > 0), 20),
        ("finished", with(&|it| it.over == Some(Over::Finished)), 35),
        ("reset", with(&|it| matches!(it.over, Some(Over::Reset(_)))), 4),
        ("removed", with(&|it| it.removed), 1),
        ("attacked", with(&|it| it.forged > 0), 8),
        ("asked by somebody else's SYN", with(&|it| it.asked > 0), 4),
        ("of more than a hundred frames", with(&|it| it.translated > 100), 10),
    ];
    let late = with(&|it| it.is_late);
    assert!(late * 2_000 <= count.max(2_000), "{late} of {count} repeated their last segment too late");
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

/// A simulation that finds nothing wrong has to be one that would.
#[test]
fn broken_translations_are_found() {
    type Spoil = fn(&mut [u8]) -> bool;
    let table: [(&str, Spoil, &str); 3] = [
        ("two words of data change places, which no sum tells", |frame| swap_words(frame), "a wrong octet"),
        ("no window is passed on but a shut one", |frame| shut(frame), ""),
        ("the end is lost", |frame| frame[47] & 1 == 0, ""),
    ];
    for (name, broken, said) in table {
        let mut found = Vec::new();
        for seed in 1..=30 {
            let mut plan = Plan::from_seed(seed);
            (plan.ipv6, plan.is_attacked) = (false, false);
            let mut world = World::new(&plan);
            world.broken = Some(broken);
            if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| world.run())) {
                found.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
            }
        }
        assert!(found.len() > 3 && found.iter().all(|text| text.contains(said)), "{name}: {found:?}");
    }
}

/// Behind the IPv4 header.
const TCP: usize = 34;

fn swap_words(frame: &mut [u8]) -> bool {
    let data = TCP + usize::from(frame[TCP + 12] >> 4) * 4;
    if frame.len() >= data + 4 {
        let (first, second) = frame[data..data + 4].split_at_mut(2);
        first.swap_with_slice(second);
    }
    true
}

/// The window goes to where nobody looks: into the urgent pointer, so that the sum stays right.
fn shut(frame: &mut [u8]) -> bool {
    let (window, urgent) = (TCP + 14, TCP + 18);
    if frame[urgent..urgent + 2] == [0, 0] {
        frame.copy_within(window..window + 2, urgent);
        frame[window..window + 2].fill(0);
    }
    true
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
