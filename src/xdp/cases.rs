//! Random cases for tests, of this room and of those in tests/.

use proptest::test_runner::{Config, RngSeed, contextualize_config};

/// How a test with random cases is run: with so many, the same in every run, so that whoever changes nothing sees no test fail; and
/// without files of past failures, for a failure becomes a test with a name. Other cases are tried by PROPTEST_RNG_SEED, and more of
/// them by PROPTEST_CASES: `scripts/soak --cases`.
pub fn cases(count: u32) -> Config {
    let config = Config { cases: count, rng_seed: RngSeed::Fixed(793), failure_persistence: None, ..Config::default() };
    contextualize_config(config)
}
