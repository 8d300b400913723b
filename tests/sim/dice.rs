//! Random numbers that repeat.

use std::time::Duration;
use xskip_core::rng::splitmix64;

/// The chances of this module are parts of so many.
pub const CERTAIN: u32 = 100_000;
/// One per cent, as a chance.
pub const PERCENT: u32 = CERTAIN / 100;

/// A source of numbers that only its seed decides.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed. Each `part` of a run has its own, so that one draw more in one of them changes no other.
    pub fn new(seed: u64, part: u64) -> Self {
        Self(splitmix64(splitmix64(seed) ^ part))
    }

    /// Dice that differ from these, and draw nothing from them.
    pub fn apart(&self) -> Self {
        Self(splitmix64(!self.0))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        splitmix64(self.0)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    /// A number from `low` up to and including `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something happens that does so with this chance.
    pub fn happens(&mut self, chance: u32) -> bool {
        chance > 0 && self.below(CERTAIN.into()) < chance.into()
    }

    /// One of several things.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    /// A span of at most `longest`.
    pub fn span(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(longest.as_nanos() as u64 + 1))
    }

    /// A span that is `mean` on average, as between things that happen independently of each other.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let uniform = (self.below(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
        Duration::from_nanos((-uniform.ln() * mean.as_nanos() as f64) as u64)
    }
}
