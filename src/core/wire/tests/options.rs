//! TCP options: lists that stand anyhow, and lists that lie.

use super::*;
use crate::wire::tcp_options::{MAX_LEN, MAX_WINDOW_SCALE, SackBlocks, Timestamps};
use proptest::prelude::*;

fn sack(blocks: &[(u32, u32)]) -> SackBlocks {
    blocks.iter().fold(SackBlocks::default(), |sack, &(left, right)| {
        sack.with(SeqNumber::new(left), SeqNumber::new(right)).expect("at most four")
    })
}

#[test]
fn must_7_a_bad_option_list_is_refused() {
    const CASES: &[(&str, &[u8])] = &[
        ("a kind without a length", &[1, 1, 1, 2]),
        ("length 0", &[2, 0, 1, 1]),
        ("length 1", &[2, 1, 1, 1]),
        ("an unknown kind with length 0", &[254, 0, 1, 1]),
        ("an unknown kind with length 1", &[254, 1, 1, 1]),
        ("an unknown kind beyond the end", &[254, 5, 1, 1]),
        ("a length beyond the end", &[1, 2, 4, 5]),
        ("the greatest length", &[2, 255, 5, 180]),
        ("an MSS of one octet", &[2, 3, 5, 1]),
        ("an MSS of three octets", &[2, 5, 5, 180, 0, 1, 1, 1]),
        ("a window scale of no octets", &[3, 2, 1, 1]),
        ("a window scale of two octets", &[3, 4, 7, 7]),
        ("SACK permitted with an octet", &[4, 3, 0, 1]),
        ("timestamps of four octets", &[8, 6, 0, 0, 0, 1, 1, 1]),
        ("timestamps of nine octets", &[8, 11, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1]),
        ("SACK without blocks", &[5, 2, 1, 1]),
        ("half a SACK block", &[5, 6, 0, 0, 0, 1, 1, 1]),
        ("a SACK block and a half", &[5, 14, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1]),
        ("a fault behind good options", &[2, 4, 5, 180, 1, 3, 3, 7, 8, 9, 1, 1]),
    ];
    for (name, list) in CASES {
        assert_eq!(TcpOptions::parse(list), Err(DropReason::BadTcpOptions), "{name}");
        for ip in both_for_tcp() {
            assert_eq!(refusal_of(&frame_with_options(&ip, list)), Err(DropReason::BadTcpOptions), "{name}");
        }
    }
}

#[test]
fn a_fifth_sack_block_is_refused() {
    let list = |blocks: usize| [&[5, 2 + 8 * blocks as u8][..], &vec![0; 8 * blocks]].concat();
    assert_eq!(TcpOptions::parse(&list(4)).map(|options| options.sack.as_slice().len()), Ok(4));
    assert_eq!(TcpOptions::parse(&list(5)), Err(DropReason::BadTcpOptions));
    // The same in two options.
    assert_eq!(TcpOptions::parse(&[list(3), list(2)].concat()), Err(DropReason::BadTcpOptions));
}

#[test]
fn must_64_a_good_list_is_read_at_any_alignment() {
    let expected = TcpOptions {
        mss: Some(1_460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        ..TcpOptions::default()
    };
    let options = [&[2, 4, 5, 180][..], &[4, 2], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2], &[3, 3, 7]];
    for padding in 0..=4 {
        for turn in 0..options.len() {
            let mut order = options;
            order.rotate_left(turn);
            let list = [vec![1; padding], order.concat()].concat();
            assert_eq!(TcpOptions::parse(&list), Ok(expected), "{list:?}");
        }
    }
}

#[test]
fn must_4_the_end_of_the_list_ends_it() {
    let options = TcpOptions { mss: Some(536), ..TcpOptions::default() };
    assert_eq!(TcpOptions::parse(&[2, 4, 2, 24, 0, 2, 0, 3]), Ok(options));
    assert_eq!(TcpOptions::parse(&[0, 2, 4, 5]), Ok(TcpOptions::default()));
    assert_eq!(TcpOptions::parse(&[]), Ok(TcpOptions::default()));
}

#[test]
fn must_6_and_must_68_unknown_options_are_skipped_by_their_length() {
    let options = TcpOptions { mss: Some(536), ..TcpOptions::default() };
    for unknown in [&[254, 2][..], &[254, 6, 2, 4, 0, 9], &[30, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[19, 3, 1]] {
        assert_eq!(TcpOptions::parse(&[unknown, &[2, 4, 2, 24]].concat()), Ok(options), "{unknown:?}");
    }
}

#[test]
fn a_window_scale_above_fourteen_is_taken_for_fourteen() {
    for (shift, taken) in [(0, 0), (13, 13), (14, 14), (15, 14), (255, 14)] {
        let options = TcpOptions::parse(&[3, 3, shift]).unwrap();
        assert_eq!(options.window_scale, Some(taken));
    }
    assert_eq!(MAX_WINDOW_SCALE, 14);
}

#[test]
fn must_69_options_are_written_in_words_with_their_padding_in_front() {
    let options = TcpOptions { window_scale: Some(7), sack: sack(&[(1, 0x0203_0405)]), ..TcpOptions::default() };
    let mut list = vec![0xee; options.len()];
    options.write(&mut list);
    assert_eq!(list, [1, 3, 3, 7, 1, 1, 5, 10, 0, 0, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn the_options_of_a_header_start_behind_twenty_octets() {
    for ip in both_for_tcp() {
        // Forty octets of options, the most there can be, and data right behind them.
        let frame = spoilt_segment(&ip, |segment| {
            segment[12] = 0xf0;
            segment.extend([1; 36]);
            segment.extend([2, 4, 2, 24]);
            segment.extend(b"data");
        });
        let (_, _, segment) = segment_of(&frame);
        assert_eq!((segment.header.options.mss, segment.payload), (Some(536), &b"data"[..]));
    }
}

fn any_options() -> impl Strategy<Value = TcpOptions> {
    let timestamps = prop::option::of((any::<u32>(), any::<u32>()));
    let blocks = prop::collection::vec((any::<u32>(), any::<u32>()), 0..=4);
    let shift = prop::option::of(0..=MAX_WINDOW_SCALE);
    (prop::option::of(any::<u16>()), shift, any::<bool>(), timestamps, blocks)
        .prop_map(|(mss, window_scale, sack_permitted, timestamps, blocks)| TcpOptions {
            mss,
            window_scale,
            sack_permitted,
            timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            sack: sack(&blocks),
        })
        .prop_filter("a header has room for forty octets", |options| options.len() <= MAX_LEN)
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn options_that_fit_are_read_back(options in any_options(), payload in prop::collection::vec(any::<u8>(), 0..50)) {
        let mut list = vec![0xee; options.len()];
        options.write(&mut list);
        prop_assert_eq!(TcpOptions::parse(&list), Ok(options));
        for ip in both_for_tcp() {
            let frame = tcp_frame(&link(), &ip, &tcp_header(options), &payload);
            let (_, _, segment) = segment_of(&frame);
            prop_assert_eq!((segment.header.options, segment.payload), (options, &payload[..]));
        }
    }

    #[test]
    fn any_list_that_is_read_says_what_its_octets_say(list in prop::collection::vec(0u8..12, 0..=40)) {
        // Small octets make kinds and lengths that often fit. Reading must end, and never beyond the list.
        if let Ok(options) = TcpOptions::parse(&list) {
            let has = |kind: u8, length: u8| list.windows(2).any(|pair| pair == [kind, length]);
            prop_assert!(options.mss.is_none() || has(2, 4));
            prop_assert!(options.window_scale.is_none() || has(3, 3));
            prop_assert!(!options.sack_permitted || has(4, 2));
            prop_assert!(options.timestamps.is_none() || has(8, 10));
            prop_assert!(options.sack.as_slice().is_empty() || has(5, 10));
        }
    }
}
