//! What chance decides, from a seed.

use xskip::rng::splitmix64;

pub struct Draw {
    seed: u64,
}

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub fn number(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        splitmix64(self.seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
