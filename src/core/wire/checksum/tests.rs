//! The sum against RFC 1071 word for word, at every alignment and around every length at which its paths change.

use super::{Checksum, sum};
use crate::wire::tests::reference_checksum;
use proptest::prelude::*;

/// Miri is slow, and has one path only.
const LONGEST: usize = if cfg!(miri) { 70 } else { 2_000 };

fn octets(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

#[test]
fn every_length_at_every_alignment_adds_up() {
    let longest = if cfg!(miri) { 40 } else { 700 };
    let bytes = octets(longest + 64);
    for start in 0..32 {
        for length in 0..=longest {
            let part = &bytes[start..start + length];
            assert_eq!(
                Checksum::of(part).field(),
                reference_checksum(part).to_be_bytes(),
                "{length} octets at {start}"
            );
        }
    }
}

#[test]
fn a_copy_is_whole_and_touches_nothing_else() {
    let longest = if cfg!(miri) { 40 } else { 600 };
    let bytes = octets(longest + 8);
    for length in 0..=longest {
        for (from, to) in [(0, 0), (0, 1), (1, 0), (3, 2), (2, 30), (7, 31), (5, 33)] {
            let source = &bytes[from..from + length];
            let mut room = vec![0xee; to + length + 40];
            let sum = Checksum::of_copied(source, &mut room[to..to + length]);
            assert_eq!(sum.field(), reference_checksum(source).to_be_bytes(), "{length} octets from {from} to {to}");
            assert_eq!(&room[to..to + length], source);
            assert!(
                room[..to].iter().chain(&room[to + length..]).all(|&octet| octet == 0xee),
                "{length} octets to {to}"
            );
        }
    }
}

#[test]
fn carries_go_around_in_every_path() {
    for length in [2, 8, 64, 126, 128, 1_500, 65_534, 65_536, 65_538, 200_000]
        .into_iter()
        .filter(|&length| length <= LONGEST || !cfg!(miri))
    {
        let ones = vec![0xff; length];
        let mut room = vec![0; length];
        assert_eq!(Checksum::of(&ones).folded(), [0xff; 2], "{length} octets");
        assert_eq!(Checksum::of_copied(&ones, &mut room).folded(), [0xff; 2], "{length} octets");
        assert_eq!(Checksum::of(&vec![0; length]).folded(), [0; 2], "{length} octets");
        // The least and the greatest word that the vectors take for signed ones.
        for word in [[0x00, 0x80], [0xff, 0x7f]] {
            let words = word.repeat(length / 2);
            assert_eq!(Checksum::of(&words).field(), reference_checksum(&words).to_be_bytes(), "{length} octets");
        }
    }
}

#[test]
fn a_sum_that_is_all_carry_is_not_zero() {
    assert_eq!(sum::add(u64::MAX, 1), 1);
    assert_eq!(sum::add(u64::MAX, u64::MAX), u64::MAX);
    let most = Checksum(u64::MAX);
    assert_eq!(most.plus(most).folded(), [0xff; 2]);
    assert_eq!(most.plus(Checksum::of_words(&[1])).field(), [0xff, 0xfe]);
}

#[test]
#[should_panic]
fn a_copy_needs_room() {
    Checksum::of_copied(&octets(200), &mut [0; 199]);
}

proptest! {
    #![proptest_config(crate::rng::cases(if cfg!(miri) { 8 } else { 512 }))]

    #[test]
    fn parts_of_any_length_make_a_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..=LONGEST),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut copy = vec![0; bytes.len()];
        let sum = cuts.windows(2).fold(Checksum::default(), |sum, cut| {
            let part = cut[0]..cut[1];
            sum.plus(Checksum::of_copied(&bytes[part.clone()], &mut copy[part]).behind(cut[0]))
        });
        prop_assert_eq!(sum.field(), reference_checksum(&bytes).to_be_bytes());
        prop_assert_eq!(copy, bytes);
    }

    #[test]
    fn words_count_as_they_stand_in_a_packet(words in prop::collection::vec(any::<u32>(), 0..40)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        prop_assert_eq!(Checksum::of_words(&words).field(), reference_checksum(&bytes).to_be_bytes());
    }
}
