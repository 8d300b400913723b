//! Secrets and seeds. Keys come from the operating system once, at start; everything random after that is derived.

use siphasher::{
    sip::{SipHasher13, SipHasher24},
    sip128::{self, Hasher128},
};
use std::hash::Hasher;

/// A 128-bit key for SipHash.
#[derive(Clone, Copy)]
pub struct SipKey([u8; 16]);

impl SipKey {
    /// A key that nobody outside this process can know.
    ///
    /// # Errors
    /// Where the operating system cannot provide random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// A key derived from a seed, for simulations and tests that must repeat.
    pub const fn from_seed(seed: u64) -> Self {
        let low = splitmix64(seed);
        let high = splitmix64(low);
        Self((((high as u128) << 64) | low as u128).to_le_bytes())
    }

    /// The key that 32 hexadecimal digits spell; `None` where they do not.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let is_hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }

    /// The key that [`SipKey::to_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Another key, which tells nothing of this one: the 128-bit SipHash-2-4 of whatever `feed` writes.
    #[must_use]
    pub fn derive(&self, feed: impl FnOnce(&mut sip128::SipHasher24)) -> Self {
        let mut hasher = sip128::SipHasher24::new_with_key(&self.0);
        feed(&mut hasher);
        Self(hasher.finish128().as_bytes())
    }

    /// The key itself, for the one other place that needs it: the XDP program.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// SipHash-1-3 of a few bytes: for tables, which are asked far more often than cookies are made.
    pub fn hash_short(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.0).hash(bytes)
    }

    /// SipHash-2-4 of whatever `feed` writes.
    pub fn hash(&self, feed: impl FnOnce(&mut SipHasher24)) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        feed(&mut hasher);
        hasher.finish()
    }
}

impl std::fmt::Debug for SipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SipKey(..)") // a key that can be logged is no key
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014): mixes a seed into 64 well-spread bits.
pub const fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How a test with random cases is run: with so many, the same in every run, so that whoever changes nothing sees no test fail; and
/// without files of past failures, for a failure becomes a test with a name. Other cases are tried by PROPTEST_RNG_SEED, and more of
/// them by PROPTEST_CASES: `scripts/soak --cases`.
#[cfg(test)]
pub(crate) fn cases(count: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed, contextualize_config};
    let config = Config { cases: count, rng_seed: RngSeed::Fixed(793), failure_persistence: None, ..Config::default() };
    contextualize_config(config)
}
