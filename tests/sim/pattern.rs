//! What is sent: octets that only their place decides, so that a wrong one is seen wherever it turns up.

use std::sync::LazyLock;
use xskip_core::rng::splitmix64;

/// The pattern repeats after so many octets: a prime, which no segment size divides.
const PERIOD: u64 = 65_521;
/// The most that [`of`] gives at once.
pub const PIECE: usize = 65_536;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let octet = |place: u64| (splitmix64(place % PERIOD) >> 32) as u8;
    (0..PERIOD + PIECE as u64).map(octet).collect()
});

/// At most [`PIECE`] octets of a stream from `offset` on. `key` tells streams apart.
pub fn of(key: u64, offset: u64, length: usize) -> &'static [u8] {
    let start = ((splitmix64(key) % PERIOD + offset) % PERIOD) as usize;
    &TABLE[start..start + length]
}

/// Whether these octets are the stream's from `offset` on.
pub fn matches(key: u64, mut offset: u64, octets: &[u8]) -> bool {
    octets.chunks(PIECE).all(|piece| {
        let same = piece == of(key, offset, piece.len());
        offset += piece.len() as u64;
        same
    })
}
