//! What the readers promise: the same whichever way octets arrive, and nothing before it is certain.

mod captured;
mod hello;
mod names;
mod proxy;

use std::fmt::Debug;

/// What a reader says of what has arrived.
#[derive(Debug, PartialEq)]
enum Word<A> {
    Partly(usize),
    Answer(A),
    Refused,
}

/// Every prefix of `octets` gets an answer that no continuation takes back, and whoever waits for what is needed misses nothing.
fn assert_promises<A: Debug + PartialEq>(octets: &[u8], read: impl Fn([&[u8]; 2]) -> Word<A>) {
    let whole = read([octets, &[]]);
    let mut waits_for = 0;
    for length in 0..=octets.len() {
        let (front, rest) = octets.split_at(length);
        assert_eq!(read([front, rest]), whole, "cut at {length}");
        let word = read([front, &[]]);
        assert_eq!(read([&front[..length / 2], &front[length / 2..]]), word, "{length}, cut in half");
        match &word {
            Word::Partly(needed) => {
                assert!(*needed > length, "{needed} needed, {length} there");
                waits_for = waits_for.max(*needed);
            }
            Word::Answer(_) => {
                assert!(length >= waits_for, "an answer at {length}, though {waits_for} were needed");
                assert_eq!(word, whole, "at {length}");
            }
            Word::Refused => assert_eq!(whole, Word::Refused, "at {length}"),
        }
    }
}

/// How often a reader is asked by whoever waits for what is needed, when octets come one at a time.
fn looks<A>(octets: &[u8], read: impl Fn([&[u8]; 2]) -> Word<A>) -> usize {
    let (mut looks, mut needed) = (0, 1);
    while needed <= octets.len() {
        looks += 1;
        let Word::Partly(more) = read([&octets[..needed], &[]]) else { break };
        needed = more;
    }
    looks
}

fn octets_of(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<_> = hexadecimal.chars().map(|digit| digit.to_digit(16).expect("a digit") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn crc32c_of_what_rfc_3720_has() {
    let sum = |octets: &[u8]| super::crc32c::crc32c(octets.iter().copied());
    let rising: Vec<u8> = (0..32).collect();
    assert_eq!([sum(&[0; 32]), sum(&[0xff; 32]), sum(&rising)], [0x8a91_36aa, 0x62a8_ab43, 0x46dd_794e]);
    assert_eq!(sum(b"123456789"), 0xe306_9283);
}
