//! What the XDP program does to segments of pairs, beside the model in Rust, by `BPF_PROG_TEST_RUN`: needs root.

#[path = "splice/draw.rs"]
mod draw;
#[path = "splice/hand.rs"]
mod hand;
#[path = "splice/scene.rs"]
mod scene;
#[path = "splice/table.rs"]
mod table;

#[path = "common/draw.rs"]
mod chance;
#[path = "common/library.rs"]
mod common;

use common::{cases::cases, is_root};
use draw::Draw;
use proptest::test_runner::RngSeed;
use scene::Scene;

/// How many frames are drawn, unless PROPTEST_CASES says otherwise.
const FRAMES: u32 = 30_000;
/// Frames for one pair.
const TURN: u32 = 150;

#[test]
fn the_program_does_what_the_model_does_to_any_segment_of_a_pair() {
    if !is_root() {
        return;
    }
    let config = cases(FRAMES);
    let RngSeed::Fixed(seed) = config.rng_seed else { panic!("a seed is always fixed") };
    let mut draw = Draw::new(seed);
    let mut scene = Scene::new();
    for number in 0..config.cases {
        if number % TURN == 0 {
            scene.renew(&mut draw);
        }
        let frame = draw.frame(&scene.model, scene.vlan);
        _ = scene.check(number, &frame);
    }
    // A test in which one of these never happened would prove less than it says.
    let rare: Vec<_> = scene.happened().into_iter().filter(|&(_, count)| count < 5).collect();
    assert!(config.cases < FRAMES || rare.is_empty(), "hardly ever happened: {rare:?} of {:?}", scene.happened());
}

#[test]
fn a_segment_cut_off_anywhere_is_what_the_model_says() {
    if !is_root() {
        return;
    }
    let (mut draw, mut scene) = (Draw::new(2), Scene::new());
    for number in 0..12 {
        scene.renew(&mut draw);
        let frame = draw.frame(&scene.model, scene.vlan);
        for length in 14..=frame.len() {
            _ = scene.check(number, &frame[..length]);
        }
    }
}
