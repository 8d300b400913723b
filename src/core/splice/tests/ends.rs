//! How pairs end.

use super::*;

const PATIENCE: Patience = Patience { open: Duration::from_secs(100), ended: Duration::from_secs(10) };

fn fin(from: Side, said: u32, heard: u32) -> TcpHeader {
    TcpHeader { flags: FIN | ACK, ..header(from, said, heard) }
}

fn later(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

#[test]
fn closed_by_both_and_heard_by_both() {
    for first in Side::BOTH {
        let (mut pair, second) = (pair(), first.other());
        pass(&mut pair, first, &fin(first, 0, 0), b"bye");
        pass(&mut pair, second, &header(second, 0, 4), b"");
        assert!(pair.stream(first).is_closed() && !pair.is_ending(), "half-closed is open");
        pass(&mut pair, second, &header(second, 0, 4), b"more");
        pass(&mut pair, second, &fin(second, 4, 4), b"");
        assert!(!pair.is_ending(), "nobody has heard of the second one");
        pass(&mut pair, first, &header(first, 4, 5), b"");
        assert!(pair.is_ending());
        assert_eq!((pair.over(later(9), &PATIENCE), pair.deadline(&PATIENCE)), (None, later(10)));
        assert_eq!(pair.over(later(10), &PATIENCE), Some(Over::Finished));
        // The last acknowledgment was lost, and the FIN comes again.
        pass(&mut pair, second, &fin(second, 4, 4), b"");
        pass(&mut pair, first, &header(first, 4, 5), b"");
    }
}

/// A FIN somebody made up: data go on beyond it.
#[test]
fn a_fin_in_the_midst_of_a_stream_ends_nothing() {
    let mut pair = pair();
    pass(&mut pair, Side::Client, &fin(Side::Client, 10, 0), b"");
    pass(&mut pair, Side::Client, &header(Side::Client, 0, 0), &[0; 100]);
    pass(&mut pair, Side::Backend, &header(Side::Backend, 0, 100), b"");
    assert!(!pair.stream(Side::Client).is_closed());
}

#[test]
fn reset_or_silent() {
    let mut pair = pair();
    assert_eq!((pair.over(later(99), &PATIENCE), pair.deadline(&PATIENCE)), (None, later(100)));
    assert_eq!(pair.over(later(100), &PATIENCE), Some(Over::Silent));
    // What is refused is no sign of life.
    refuse(&mut pair, Side::Client, &header(Side::Client, 1 << 30, 0), b"x");
    assert_eq!(pair.heard, NOW);
    let mut last = frame(&pair, Side::Client, &header(Side::Client, 0, 0), b"x");
    assert_eq!(pair.translate(later(50), &mut last), Ok(Side::Backend));
    assert_eq!(pair.over(later(100), &PATIENCE), None);

    pass(&mut pair, Side::Backend, &TcpHeader { flags: RST, ..header(Side::Backend, 0, 0) }, b"");
    assert_eq!(pair.over(later(9), &PATIENCE), None, "the RST may be lost, and what comes for it draws another one");
    assert_eq!(pair.over(later(10), &PATIENCE), Some(Over::Reset(Side::Backend)));
}

/// What both ends take for the proxy's last word: each with the number that it expects next.
#[test]
fn both_ends_are_reset_when_a_backend_goes() {
    for is_ipv4 in [true, false] {
        let mut pair = pair_of(is_ipv4);
        pass(&mut pair, Side::Client, &header(Side::Client, 0, 0), &[0; 300]);
        pass(&mut pair, Side::Backend, &fin(Side::Backend, 0, 300), &[0; 50]);
        let [to_client, to_backend] = pair.resets().map(|frame| read(&frame));
        for (side, (tuple, header, _)) in [(Side::Client, &to_client), (Side::Backend, &to_backend)] {
            assert_eq!((tuple, header.flags), (pair.tuple(side), RST | ACK));
        }
        let numbers = |header: &TcpHeader| (header.seq.get(), header.ack.get());
        assert_eq!(numbers(&to_client.1), (CLIENT.1 + 51, CLIENT.0.wrapping_add(300)));
        assert_eq!(numbers(&to_backend.1), (BACKEND.1 + 300, BACKEND.0 + 51));
    }
}
