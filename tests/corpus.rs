//! The fuzz targets on stable Rust, without a fuzzer: every file of the corpus, and variations of it.
//!
//! Files under `fuzz/corpus` were found by `cargo +nightly fuzz run TARGET`, which takes what it finds there as its start.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::{fs, path::Path};
use xskip_core::rng::splitmix64;

/// Variations of each file.
const VARIATIONS: u64 = 20;

/// Runs a target on its corpus. Names the file, and the variation, that it fails on.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).expect("a corpus").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} holds a corpus", folder.display());
    for path in paths {
        let data = fs::read(&path).unwrap();
        for variation in 0..=VARIATIONS {
            let data = vary(data.clone(), variation);
            let run = std::panic::catch_unwind(|| body(&data));
            assert!(run.is_ok(), "{} fails in variation {variation}: {data:?}", path.display());
        }
    }
}

/// The data themselves for zero; otherwise with some octets changed, repeated or cut off.
fn vary(mut data: Vec<u8>, variation: u64) -> Vec<u8> {
    let mut dice = variation;
    let mut roll = |below: usize| {
        dice = splitmix64(dice);
        (dice % below.max(1) as u64) as usize
    };
    for _ in 0..variation.min(8) {
        let at = roll(data.len());
        match roll(4) {
            _ if data.is_empty() => data.push(roll(256) as u8),
            0 | 1 => data[at] = roll(256) as u8,
            2 => data.insert(at, roll(256) as u8),
            _ => drop(data.drain(at..(at + roll(8)).min(data.len()))),
        }
    }
    data
}

#[test]
fn frames_of_the_corpus() {
    replay("frame", bodies::frame);
}

#[test]
fn option_lists_of_the_corpus() {
    replay("options", bodies::options);
}

#[test]
fn conversations_of_the_corpus() {
    replay("conversation", bodies::conversation);
}

#[test]
fn cookies_of_the_corpus() {
    replay("cookie", bodies::cookie);
}

#[test]
fn connections_in_a_row_of_the_corpus() {
    replay("again", bodies::again);
}

#[test]
fn client_hellos_of_the_corpus() {
    replay("hello", bodies::hello);
}

#[test]
fn proxy_headers_of_the_corpus() {
    replay("proxy", bodies::proxy);
}

#[test]
fn random_conversations() {
    try_random(bodies::conversation);
}

#[test]
fn random_connections_in_a_row() {
    try_random(bodies::again);
}

fn try_random(body: fn(&[u8])) {
    for seed in 0..2_000 {
        let mut dice = splitmix64(seed);
        let length = 20 + (dice % 400) as usize;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            dice = splitmix64(dice);
            dice as u8
        })
        .take(length)
        .collect();
        let run = std::panic::catch_unwind(|| body(&data));
        assert!(run.is_ok(), "seed {seed}: {data:?}");
    }
}
