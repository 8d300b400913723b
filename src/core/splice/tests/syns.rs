//! SYNs for a 4-tuple that a pair has: from a client that has rebooted, or uses its port again.

use super::*;

fn syn(flags: TcpFlags) -> TcpHeader {
    // A number from anywhere.
    let seq = SeqNumber::new(CLIENT.0).advance(1 << 30);
    TcpHeader { seq, flags, window: 1_000, options: stamps(5, 0), ..TcpHeader::default() }
}

/// RFC 5961 §4.2: whoever knows of no connection answers the challenge by an exact RST.
#[test]
fn one_is_challenged_and_the_answer_ends_the_pair() {
    for side in Side::BOTH {
        let mut pair = pair();
        let before = pair.clone();
        assert_eq!(refuse(&mut pair, side, &syn(SYN), b""), Refusal::Question);
        assert_eq!(refuse(&mut pair, side, &syn(SYN), b"early"), Refusal::Question);
        assert_eq!(pair, before);
        let challenge = pair.challenge(side);
        let (tuple, header, _) = read(&challenge);
        assert_eq!((tuple.remote, header.flags), (pair.tuple(side).remote, ACK));
        assert_eq!(header.seq, pair.stream(side.other()).sent);
        assert!(header.window > 0, "who is still there hears nothing else than before");
        let reset = TcpHeader { seq: header.ack, flags: RST, ..TcpHeader::default() };
        pass(&mut pair, side, &reset, b"");
        assert_eq!(pair.reset_by(), Some(side));
    }
}

#[test]
fn one_that_acknowledges_or_closes_is_nothing() {
    for flags in [SYN | ACK, SYN | FIN, SYN | FIN | ACK] {
        assert_eq!(refuse(&mut pair(), Side::Client, &syn(flags), b""), Refusal::Syn, "{flags}");
    }
}

#[test]
fn behind_the_end_somebody_wants_another_connection() {
    let mut pair = pair();
    pass(&mut pair, Side::Client, &TcpHeader { flags: RST, ..header(Side::Client, 0, 0) }, b"");
    assert!(pair.is_ending());
    for (flags, data, refusal) in [
        (SYN, &b""[..], Refusal::Over),
        (SYN, b"early", Refusal::Over),
        (SYN | ACK, b"", Refusal::Syn),
        (SYN | FIN, b"", Refusal::Syn),
    ] {
        assert_eq!(refuse(&mut pair, Side::Client, &syn(flags), data), refusal, "{flags}");
    }
}
