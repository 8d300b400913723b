//! The sum itself: eight octets at a time, or thirty-two where the CPU has AVX2 and there are enough of them.
//!
//! The only `unsafe` code outside `src/xdp`: the calls of functions that were compiled for AVX2, after the CPU was asked. What
//! they do is safe code.

/// From so many octets on the vectors pay for their set-up and for adding up their lanes.
const WIDE_FROM: usize = 128;

/// The ones' complement sum of two numbers: the carry is taken around.
#[inline]
pub const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// The sum over `bytes`, padded with zeros to whole words.
#[inline]
pub fn of(bytes: &[u8]) -> u64 {
    if bytes.len() < WIDE_FROM {
        return words(bytes);
    }
    long(bytes)
}

fn long(bytes: &[u8]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if avx2::serves(bytes.len()) {
        // SAFETY: `serves` has asked the CPU for AVX2, which is all that `avx2::sum` requires.
        return unsafe { avx2::sum(bytes) };
    }
    words(bytes)
}

/// Copies `source` to `destination`, which must be as long, and returns the sum over it.
#[inline]
pub fn copy(source: &[u8], destination: &mut [u8]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if source.len() >= WIDE_FROM && avx2::serves(source.len()) {
        // SAFETY: `serves` has asked the CPU for AVX2, which is all that `avx2::copy` requires.
        return unsafe { avx2::copy(source, destination) };
    }
    destination.copy_from_slice(source);
    // Not over the copy: what was stored a moment ago in pieces of another size is slow to load.
    words(source)
}

/// The sum in words of 64 bits, whose carries gather in the upper half of 128.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks();
    let sum = words.iter().fold(0, |sum: u128, word| sum + u128::from(u64::from_ne_bytes(*word)));
    add(add(sum as u64, (sum >> 64) as u64), last_word(bytes))
}

/// What is behind the last whole word, padded with zeros.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    let length = bytes.len() % 8;
    if length == 0 {
        return 0;
    }
    let word = match bytes.last_chunk() {
        // The octets in front of it are shifted out.
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * length),
        None => bytes.iter().rev().fold(0, |word, &octet| word << 8 | u64::from(octet)),
    };
    word.to_le()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2 {
    use std::arch::{is_x86_feature_detected, x86_64::*};
    use zerocopy::{transmute, transmute_mut, transmute_ref};

    /// Octets of a vector.
    const WIDTH: usize = 32;
    /// Octets of a turn of the loops.
    const BLOCK: usize = 4 * WIDTH;
    /// So many octets are 2,048 vectors: no lane gets beyond 2^27 on either side of zero, nor the sum of all eight beyond 2^30.
    const LONGEST: usize = 1 << 16;
    /// From so many octets on it pays to store at aligned addresses.
    const ALIGNED_FROM: usize = 512;

    /// Whether these functions may be called, and work for so many octets. The CPU is asked once, when the process first does;
    /// from then on it is a load and a test.
    #[inline]
    pub fn serves(length: usize) -> bool {
        length <= LONGEST && is_x86_feature_detected!("avx2")
    }

    #[target_feature(enable = "avx2")]
    pub fn sum(bytes: &[u8]) -> u64 {
        let mut lanes = Lanes::new();
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            lanes.add_all(block.as_chunks().0);
        }
        let (vectors, rest) = rest.as_chunks();
        lanes.add_all(vectors);
        super::add(lanes.total(bytes.len() - rest.len()), super::words(rest))
    }

    #[target_feature(enable = "avx2")]
    pub fn copy(source: &[u8], destination: &mut [u8]) -> u64 {
        assert_eq!(source.len(), destination.len(), "a copy is as long as what is copied");
        // The ends, whole or in part, as one vector each.
        if let (Some(from), Some(to)) = (source.first_chunk::<WIDTH>(), destination.first_chunk_mut()) {
            *to = *from;
        }
        if let (Some(from), Some(to)) = (source.last_chunk::<WIDTH>(), destination.last_chunk_mut()) {
            *to = *from;
        }
        // A store that straddles two cache lines costs two. Odd addresses stay odd: octets must not change places in words.
        let ahead =
            if source.len() < ALIGNED_FROM { 0 } else { destination.as_ptr().addr().wrapping_neg() % WIDTH / 2 * 2 };
        let (first, source) = source.split_at(ahead);
        let destination = &mut destination[ahead..];
        let mut lanes = Lanes::new();
        let (blocks, rest) = source.as_chunks::<BLOCK>();
        let (copies, rest_copy) = destination.as_chunks_mut::<BLOCK>();
        for (block, copy) in blocks.iter().zip(copies) {
            let (from, to): (&[[u8; WIDTH]; 4], &mut [[u8; WIDTH]; 4]) = (transmute_ref!(block), transmute_mut!(copy));
            // One by one: what is copied block by block the compiler may copy all at once instead, and read twice.
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
            to[3] = from[3];
            lanes.add_all(from);
        }
        let (vectors, rest) = rest.as_chunks();
        for (vector, copy) in vectors.iter().zip(rest_copy.as_chunks_mut().0) {
            *copy = *vector;
        }
        lanes.add_all(vectors);
        let ends = super::add(super::words(first), super::words(rest));
        super::add(lanes.total(source.len() - rest.len()), ends)
    }

    /// Eight sums of 32 bits, of words of 16 bits less 2^15 each: what multiplies and adds takes them for signed.
    struct Lanes(__m256i);

    impl Lanes {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn new() -> Self {
            Self(_mm256_setzero_si256())
        }

        #[target_feature(enable = "avx2")]
        #[inline]
        fn add_all(&mut self, vectors: &[[u8; WIDTH]]) {
            for vector in vectors {
                let signed = _mm256_xor_si256(transmute!(*vector), _mm256_set1_epi16(i16::MIN));
                self.0 = _mm256_add_epi32(self.0, _mm256_madd_epi16(signed, _mm256_set1_epi16(1)));
            }
        }

        /// The sum of the `length` octets that were added.
        #[target_feature(enable = "avx2")]
        #[inline]
        fn total(self, length: usize) -> u64 {
            let four = _mm_add_epi32(_mm256_castsi256_si128(self.0), _mm256_extracti128_si256::<1>(self.0));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            let signed = i64::from(_mm_cvtsi128_si32(one));
            // Never negative: each word is in it with its 2^15.
            (signed + ((length / 2) << 15) as i64) as u64
        }
    }
}
