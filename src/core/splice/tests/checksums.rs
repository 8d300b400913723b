//! Checksums are amended, never computed anew: right stays right, and wrong stays wrong.

use super::*;
use crate::rng::cases;
use proptest::prelude::*;

/// A frame whose options are these octets, as they stand; its checksum is right.
fn with_options(pair: &Pair, from: Side, list: &[u8]) -> Vec<u8> {
    let mut raw = frame(pair, from, &header(from, 0, 0), &[]);
    raw.extend_from_slice(list);
    let (ip, tcp) = (14, 34);
    let length = (raw.len() - ip) as u16;
    raw[ip + 2..ip + 4].copy_from_slice(&length.to_be_bytes());
    raw[ip + 10..ip + 12].fill(0);
    let sum = wire::checksum::Checksum::of(&raw[ip..tcp]).field();
    raw[ip + 10..ip + 12].copy_from_slice(&sum);
    raw[tcp + 12] = ((20 + list.len()) as u8 / 4) << 4;
    raw[tcp + 16..tcp + 18].fill(0);
    let tuple = pair.tuple(from);
    let pseudo = wire::checksum::Checksum::pseudo_header(tuple.remote.address, tuple.local.address, 6, raw.len() - tcp);
    let sum = pseudo.with(&raw[tcp..]).field();
    raw[tcp + 16..tcp + 18].copy_from_slice(&sum);
    raw
}

/// Options stand where their sender likes: at odd places each octet is the other half of a word.
#[test]
fn options_at_odd_places() {
    let stamps: Vec<u8> = [8, 10].into_iter().chain(701u32.to_be_bytes()).chain(10_000u32.to_be_bytes()).collect();
    let sack: Vec<u8> = [5, 10].into_iter().chain(4_900u32.to_be_bytes()).chain(5_100u32.to_be_bytes()).collect();
    for odd in [1, 2, 3] {
        let (front, behind) = (vec![1; odd], vec![1; 4 - odd]);
        let list = [&front[..], &stamps, &sack, &behind].concat();
        let mut pair = pair();
        let mut frame = with_options(&pair, Side::Client, &list);
        assert_eq!(pair.translate(NOW, &mut frame), Ok(Side::Backend));
        let options = read(&frame).1.options;
        assert_eq!(options.timestamps, Some(Timestamps { value: 40_001, echo: u32::MAX - 5 }), "{odd}");
        assert_eq!(options.sack, blocks(&[(899_900, 900_100)]).sack, "{odd}");
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_segment_stays_right_and_a_damaged_one_stays_damaged(
        is_ipv4: bool,
        by_client: bool,
        (said, window, urgent) in (0u32..40_000, any::<u16>(), any::<u16>()),
        clocks: Option<(u32, u32)>,
        sack in prop::collection::vec((any::<u32>(), any::<u32>()), 0..=3),
        data in prop::collection::vec(any::<u8>(), 1..300),
        damage: prop::sample::Index,
    ) {
        let mut pair = pair_of(is_ipv4);
        let from = if by_client { Side::Client } else { Side::Backend };
        let mut options = blocks(&sack);
        options.timestamps = clocks.map(|(value, echo)| Timestamps { value, echo });
        let header = TcpHeader { window, urgent, options, ..header(from, said, 0) };
        let whole = frame(&pair, from, &header, &data);
        let mut translated = whole.clone();
        prop_assert_eq!(pair.clone().translate(NOW, &mut translated), Ok(from.other()));
        prop_assert!(wire::parse(&translated, ChecksumPolicy::Verify).is_ok());

        let mut damaged = whole;
        let first = damaged.len() - data.len();
        damaged[first + damage.index(data.len())] ^= 0x10;
        prop_assert_eq!(pair.translate(NOW, &mut damaged), Ok(from.other()));
        prop_assert!(wire::parse(&damaged, ChecksumPolicy::Verify).is_err());
    }
}

/// A kernel leaves it to a NIC to finish a checksum, and there is none on a veth.
#[test]
fn partial_checksums_are_refused() {
    for is_ipv4 in [true, false] {
        let mut pair = pair_of(is_ipv4);
        let mut partial = frame(&pair, Side::Client, &header(Side::Client, 0, 0), b"hello");
        let tcp = if is_ipv4 { 34 } else { 54 };
        let tuple = *pair.tuple(Side::Client);
        let length = partial.len() - tcp;
        let sum = wire::checksum::Checksum::pseudo_header(tuple.remote.address, tuple.local.address, 6, length);
        partial[tcp + 16..tcp + 18].copy_from_slice(&sum.folded());
        assert_eq!(refuse_frame(&mut pair, &partial), Some(Refusal::PartialChecksum));
    }
}

/// One segment in 65,536 has a checksum that equals the pseudo header's sum: it would never get through, however often it is sent.
#[test]
fn a_finished_checksum_that_looks_partial_passes() {
    let mut pair = pair();
    let found = (0..=u16::MAX).find_map(|urgent| {
        let said = TcpHeader { urgent, ..header(Side::Client, 0, 0) };
        let frame = frame(&pair, Side::Client, &said, b"hello");
        let tuple = pair.tuple(Side::Client);
        let sum =
            wire::checksum::Checksum::pseudo_header(tuple.remote.address, tuple.local.address, 6, frame.len() - 34);
        (frame[50..52] == sum.folded()).then_some(frame)
    });
    let mut frame = found.expect("one of all urgent pointers makes it so");
    assert_eq!(pair.translate(NOW, &mut frame), Ok(Side::Backend));
    read(&frame);
}
