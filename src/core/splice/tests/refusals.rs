//! What is not passed on, and why.

use super::*;
use crate::rng::cases;
use proptest::prelude::*;

/// So far from the switch a segment begins, and how long it is; whether it passes.
#[test]
fn sequence_numbers_that_nobody_would_answer() {
    // The backend has offered 50,000 octets, and the proxy 60,000 before it: what was sent then is under way.
    let table = [
        (0i64, 0u32, true),
        (60_000, 1, true),
        // Who has probed a shut window with an octet stands behind that, and acknowledges from there.
        (60_001, 0, true),
        (60_002, 1, true),
        (60_003, 1, false),
        (-65_535, 0, true),
        (-65_536, 0, false),
        (-65_536, 1, true),
        (1 << 30, 100, false),
        (-(1 << 30), 100, false),
    ];
    for (begins, length, passes) in table {
        let mut pair = pair();
        let number = SeqNumber::new(CLIENT.0.wrapping_add(begins as u32));
        let said = TcpHeader { seq: number, ..header(Side::Client, 0, 0) };
        let mut frame = frame(&pair, Side::Client, &said, &vec![0; length as usize]);
        let expected = if passes { Ok(Side::Backend) } else { Err(Refusal::Sequence) };
        assert_eq!(pair.translate(NOW, &mut frame), expected, "{begins} {length}");
    }
}

#[test]
fn acknowledgments_of_what_was_never_sent_or_long_ago() {
    let table = [(0i64, true), (1, false), (-65_535, true), (-65_536, false), (1 << 30, false)];
    for (of, passes) in table {
        let mut pair = pair();
        let said = TcpHeader { ack: SeqNumber::new(CLIENT.1.wrapping_add(of as u32)), ..header(Side::Client, 0, 0) };
        let mut frame = frame(&pair, Side::Client, &said, b"");
        let expected = if passes { Ok(Side::Backend) } else { Err(Refusal::Acknowledgment) };
        assert_eq!(pair.translate(NOW, &mut frame), expected, "{of}");
    }
    // Once the backend has said something, that may be acknowledged, and no more.
    let mut pair = pair();
    pass(&mut pair, Side::Backend, &header(Side::Backend, 0, 0), &[0; 100]);
    assert_eq!(refuse(&mut pair, Side::Client, &header(Side::Client, 0, 101), b""), Refusal::Acknowledgment);
    pass(&mut pair, Side::Client, &header(Side::Client, 0, 100), b"");
}

/// A window that opens is known by what is passed on.
#[test]
fn the_right_edge_moves_with_the_windows_that_pass() {
    let mut pair = pair();
    let far = header(Side::Client, 100_000, 0);
    assert_eq!(refuse(&mut pair, Side::Client, &far, b"x"), Refusal::Sequence);
    let opens = TcpHeader { window: (120_000 >> BACKEND_SCALES.0) as u16, ..header(Side::Backend, 0, 0) };
    pass(&mut pair, Side::Backend, &opens, b"");
    pass(&mut pair, Side::Client, &far, b"x");
}

#[test]
fn flags_that_do_not_pass() {
    let table = [(SYN | ACK, Refusal::Syn), (FIN, Refusal::NoAck), (TcpFlags::empty(), Refusal::NoAck)];
    for (flags, refusal) in table {
        let mut pair = pair();
        let said = TcpHeader { flags, ..header(Side::Backend, 0, 0) };
        assert_eq!(refuse(&mut pair, Side::Backend, &said, b""), refusal, "{flags}");
    }
}

/// RFC 5961 §3.2: outside the window it is dropped, inside it is challenged by its receiver, and one that is exact is believed.
#[test]
fn resets() {
    let table = [
        (0i64, Ok(true)),
        (1, Ok(false)),
        (60_000, Ok(false)),
        (-1, Err(Refusal::Reset)),
        (60_001, Err(Refusal::Reset)),
        (1 << 31, Err(Refusal::Reset)),
    ];
    for flags in [RST, RST | ACK] {
        for (at, expected) in table {
            let mut pair = pair();
            let seq = SeqNumber::new(CLIENT.0.wrapping_add(at as u32));
            let ack = if flags == RST { SeqNumber::default() } else { SeqNumber::new(CLIENT.1) };
            let mut frame = frame(&pair, Side::Client, &TcpHeader { seq, ack, flags, ..TcpHeader::default() }, b"");
            let passed = pair.translate(NOW, &mut frame).map(|_| pair.is_ending());
            assert_eq!(passed, expected, "{flags} {at}");
            if passed.is_ok() && flags == RST {
                assert_eq!(read(&frame).1.ack, SeqNumber::default(), "what does not count is left alone");
            }
        }
    }
    let mut pair = pair();
    let mut damaged = frame(&pair, Side::Client, &TcpHeader { flags: RST, ..header(Side::Client, 0, 0) }, b"");
    damaged[50] ^= 1;
    assert_eq!(refuse_frame(&mut pair, &damaged), Some(Refusal::BadChecksum));
}

/// What a frame is made into, and why it goes nowhere.
#[test]
fn frames_that_are_no_segments_of_the_pair() {
    type Change = fn(&mut Vec<u8>);
    let table: [(&str, Change, Refusal); 14] = [
        ("of another port", |frame| frame[35] ^= 1, Refusal::NotOurs),
        ("from another address", |frame| frame[29] ^= 1, Refusal::NotOurs),
        ("ARP", |frame| frame[13] = 6, Refusal::NotOurs),
        ("UDP", |frame| frame[23] = 17, Refusal::NotOurs),
        ("cut off in the link header", |frame| frame.truncate(13), Refusal::NotOurs),
        ("cut off in the IP header", |frame| frame.truncate(30), Refusal::Malformed),
        ("cut off in the TCP header", |frame| frame.truncate(50), Refusal::Malformed),
        ("of another version", |frame| frame[14] = 0x65, Refusal::Malformed),
        ("with a short IP header", |frame| frame[14] = 0x44, Refusal::Malformed),
        ("with a short TCP header", |frame| frame[46] = 0x40, Refusal::Malformed),
        ("with a TCP header beyond its end", |frame| frame[46] = 0xf0, Refusal::Malformed),
        ("the first fragment", |frame| frame[20] = 0x20, Refusal::Fragment),
        ("the last fragment", |frame| frame[21] = 1, Refusal::Fragment),
        ("at its last hop", |frame| frame[22] = 1, Refusal::HopLimit),
    ];
    for (name, change, refusal) in table {
        let mut pair = pair();
        let mut frame = frame(&pair, Side::Client, &header(Side::Client, 0, 0), b"hello");
        change(&mut frame);
        assert_eq!(refuse_frame(&mut pair, &frame), Some(refusal), "{name}");
    }
    let mut pair = pair();
    let large = frame(&pair, Side::Client, &header(Side::Client, 0, 0), &[0; 1_461]);
    assert_eq!(refuse_frame(&mut pair, &large), Some(Refusal::TooBig));
}

#[test]
fn options_that_contradict_themselves() {
    let lists: [&[u8]; 7] = [
        &[8, 10, 0, 0],                                                  // cut off
        &[8, 0, 0, 0],                                                   // no length at all
        &[8, 6, 0, 0, 0, 0, 1, 1],                                       // another length than it has
        &[5, 6, 0, 0, 0, 0, 1, 1],                                       // half a block
        &[1, 1, 1, 5],                                                   // without a length
        &[8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0], // twice
        &[5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for list in lists {
        let mut pair = pair();
        let mut frame = frame(&pair, Side::Client, &header(Side::Client, 0, 0), &[]);
        frame.extend_from_slice(list);
        frame[17] += list.len() as u8;
        frame[46] = ((20 + list.len()) as u8 / 4) << 4;
        assert_eq!(refuse_frame(&mut pair, &frame), Some(Refusal::Malformed), "{list:?}");
    }
}

proptest! {
    #![proptest_config(cases(4_000))]

    /// Whatever the octets are, nothing is read or written beyond them.
    #[test]
    fn any_octets_at_all(
        is_ipv4: bool,
        changes in prop::collection::vec((0usize..90, any::<u8>()), 1..12),
        length in 20usize..120,
    ) {
        let mut pair = pair_of(is_ipv4);
        let said = TcpHeader { options: stamps(1, 2), ..header(Side::Client, 0, 0) };
        let mut frame = frame(&pair, Side::Client, &said, b"hello");
        for (at, octet) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = octet;
            }
        }
        frame.truncate(length);
        let before = frame.len();
        let _ = pair.translate(NOW, &mut frame);
        prop_assert_eq!(frame.len(), before);
    }
}
