//! Gathering and scattering, without a kernel.

use super::Large;

#[test]
fn a_packet_is_whole_with_its_last_chunk() {
    let mut large = Large::new(9_022, 3_840);
    assert!(!large.is_gathering());
    assert_eq!(large.gather(b"first ", false), None);
    assert!(large.is_gathering());
    assert_eq!(large.gather(b"second ", false), None);
    let packet = large.gather(b"last", true).expect("it has come to its end");
    assert!(!large.is_gathering());
    assert_eq!(large.received(packet), b"first second last");
}

#[test]
fn packets_that_are_held_at_once_have_buffers_of_their_own_and_give_them_on() {
    let mut large = Large::new(9_022, 3_840);
    let mut packet = |text: &[u8]| large.gather(text, true).unwrap();
    let (first, second) = (packet(b"one"), packet(b"the other"));
    assert_eq!((large.received(first), large.received(second)), (&b"one"[..], &b"the other"[..]));
    large.done_receiving(first);
    let third = large.gather(b"3", true).unwrap();
    assert_eq!((third, large.received(third)), (first, &b"3"[..]), "nothing is left of what was there");
    let (to_send, other) = (large.take(), large.take());
    assert_eq!((large.to_send_mut(to_send).len(), large.to_send(other).len()), (9_022, 9_022));
    large.done_sending(to_send);
    assert_eq!(large.take(), to_send);
}

#[test]
fn a_packet_takes_as_many_chunks_as_it_fills() {
    for (longest, more) in [(1, 0), (3_840, 0), (3_841, 1), (7_680, 1), (7_681, 2), (61_440, 15)] {
        assert_eq!(Large::new(longest, 3_840).more_chunks, more, "{longest} bytes");
    }
}
