//! Sequence numbers where the circle closes, and the checksum against its reference.

use super::*;
use crate::wire::checksum::Checksum;
use proptest::prelude::*;

const HALF: u32 = 1 << 31;

/// Places on the circle at which arithmetic that forgets to wrap goes wrong.
const EDGES: [u32; 8] = [0, 1, HALF - 1, HALF, HALF + 1, u32::MAX - 1, u32::MAX, 0x1234_5678];

fn seq(value: u32) -> SeqNumber {
    SeqNumber::new(value)
}

#[test]
fn going_on_and_going_back_wrap_around() {
    assert_eq!(seq(u32::MAX).advance(1), seq(0));
    assert_eq!(seq(u32::MAX - 9).advance(20), seq(10));
    assert_eq!(seq(0).back(1), seq(u32::MAX));
    assert_eq!(seq(10).back(20), seq(u32::MAX - 9));
    assert_eq!(seq(HALF).advance(HALF), seq(0));
    assert_eq!(seq(10).since(seq(u32::MAX - 9)), 20);
    assert_eq!(seq(u32::MAX).since(seq(0)), u32::MAX);
}

#[test]
fn order_holds_for_less_than_half_a_turn() {
    for start in EDGES.map(seq) {
        assert!(!start.precedes(start) && start.at_or_before(start));
        for distance in [1, 2, 1_000, HALF - 2, HALF - 1] {
            let later = start.advance(distance);
            assert!(start.precedes(later) && start.at_or_before(later), "{start} before {later}");
            assert!(!later.precedes(start) && !later.at_or_before(start), "{later} not before {start}");
            assert_eq!((start.latest(later), later.latest(start)), (later, later));
            assert_eq!((start.earliest(later), later.earliest(start)), (start, start));
        }
    }
}

#[test]
fn beyond_half_a_turn_the_order_turns_around() {
    for start in EDGES.map(seq) {
        let far = start.advance(HALF + 1);
        assert!(far.precedes(start) && !start.precedes(far), "{far} is nearer behind {start} than before it");
    }
}

#[test]
fn a_window_has_its_start_and_not_its_end() {
    for start in EDGES.map(seq) {
        for length in [1, 2, 65_535, HALF] {
            assert!(start.in_window(start, length));
            assert!(start.advance(length - 1).in_window(start, length));
            assert!(!start.advance(length).in_window(start, length));
            assert!(!start.back(1).in_window(start, length));
        }
        assert!(!start.in_window(start, 0), "nothing lies in a window of nothing");
    }
}

#[test]
fn a_sequence_number_shows_as_its_value() {
    assert_eq!(seq(4_294_967_295).to_string(), "4294967295");
    assert_eq!(seq(7).get(), 7);
}

#[test]
fn the_example_of_rfc_1071_adds_up() {
    let sum = Checksum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.folded(), [0xdd, 0xf2]);
    assert_eq!(sum.field(), [0x22, 0x0d]);
}

#[test]
fn carries_are_never_lost() {
    for length in [2, 4, 6, 1_500, 65_534] {
        let ones = vec![0xff; length];
        assert_eq!(Checksum::of(&ones).folded(), [0xff, 0xff], "{length} octets");
        assert!(Checksum::of(&ones).is_valid());
    }
}

#[test]
fn an_odd_octet_counts_as_the_upper_half_of_a_word() {
    assert_eq!(Checksum::of(&[0xab]).folded(), [0xab, 0]);
    assert_eq!(Checksum::of(&[0, 1, 0xab]).folded(), [0xab, 1]);
}

#[test]
fn pseudo_headers_are_those_of_the_rfcs() {
    for ip in [ip_v4(Protocol::Tcp), ip_v6(Protocol::Tcp), ip_v6(Protocol::Icmpv6)] {
        for length in [0, 1, 20, 1_460, 65_515] {
            let message = vec![0x5a; length];
            let sum = Checksum::pseudo_header(ip.source, ip.destination, ip.protocol.number(), length).with(&message);
            let reference = reference_checksum(&with_pseudo_header(&ip, &message)).to_be_bytes();
            assert_eq!(sum.field(), reference, "{ip:?}, {length} octets");
        }
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn the_checksum_is_the_references(bytes in prop::collection::vec(any::<u8>(), 0..=2_000)) {
        prop_assert_eq!(Checksum::of(&bytes).field(), reference_checksum(&bytes).to_be_bytes());
    }

    #[test]
    fn a_sum_may_be_taken_in_two_parts(
        bytes in prop::collection::vec(any::<u8>(), 0..=2_000),
        at in any::<prop::sample::Index>(),
    ) {
        // Only the last part may be odd.
        let (first, second) = bytes.split_at(at.index(bytes.len() + 1) & !1);
        prop_assert_eq!(Checksum::of(first).with(second).field(), reference_checksum(&bytes).to_be_bytes());
    }

    #[test]
    fn a_sum_with_its_own_field_is_valid(mut bytes in prop::collection::vec(any::<u8>(), 2..=200)) {
        bytes[..2].fill(0);
        let field = Checksum::of(&bytes).field();
        bytes[..2].copy_from_slice(&field);
        // Nothing but zeros has no valid checksum; real packets have a version or a pseudo-header.
        prop_assert_eq!(Checksum::of(&bytes).is_valid(), bytes.iter().any(|&octet| octet != 0));
    }

    #[test]
    fn distances_add_up(start in any::<u32>(), length in any::<u32>()) {
        prop_assert_eq!(seq(start).advance(length).since(seq(start)), length);
        prop_assert_eq!(seq(start).advance(length).back(length), seq(start));
    }
}
