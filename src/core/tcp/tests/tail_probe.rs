//! What an acknowledgment says of a tail probe (RFC 8985 §7.4.2).

use super::*;
use crate::tcp::{
    congestion::Ack,
    outcome::{AckEvent, AckTime, Acknowledged, SendRange},
    send::SendSide,
    tail_probe::{ProbeAnswer, TailProbe},
};

const TIME: AckTime = AckTime { now: Instant::from_millis(1_000), echo: None };

/// Three segments of ten octets are sent, of which `acknowledged` octets are acknowledged.
fn sent_and_acknowledged(acknowledged: u32) -> SendSide {
    let mut send = SendSide::new(ISS, IRS, 10, 0, TIME.now, Duration::ZERO);
    send.write(&[0; 30]);
    for _ in 0..3 {
        let range = SendRange { seq: send.nxt(), length: 10, fin: false };
        send.sent(&range, TIME.now);
    }
    send.acknowledge(ISS.advance(1 + acknowledged), &TIME);
    send
}

fn event(dsack: Option<(u32, u32)>, is_duplicate: bool) -> AckEvent {
    let ack = Ack { octets: 0, limited: false, now: TIME.now, rtt: Duration::ZERO };
    let dsack = dsack.map(|(left, right)| (ISS.advance(1 + left), ISS.advance(1 + right)));
    let acknowledged = Acknowledged { dsack, ..Acknowledged::default() };
    AckEvent { ack, acknowledged, time: TIME, is_duplicate, sack: true, smoothed: None }
}

#[test]
fn the_answer_to_a_probe_tells_repair_from_duplicate() {
    let end = ISS.advance(21);
    let probe = |is_retransmission| TailProbe::Sent { end, is_retransmission };
    let rows = [
        ("it is not acknowledged yet", true, 10, None, false, ProbeAnswer::Nothing, probe(true)),
        ("either may have been acknowledged", true, 20, None, false, ProbeAnswer::Nothing, probe(true)),
        ("the second acknowledgment says nothing new", true, 20, None, true, ProbeAnswer::Nothing, TailProbe::None),
        ("a D-SACK covers it", true, 20, Some((10, 20)), true, ProbeAnswer::Duplicate, TailProbe::None),
        ("a D-SACK covers something else", true, 20, Some((0, 10)), true, ProbeAnswer::Nothing, probe(true)),
        ("more is acknowledged, and no D-SACK came", true, 30, None, false, ProbeAnswer::Repair, TailProbe::None),
        ("it was new data", false, 20, None, false, ProbeAnswer::Nothing, TailProbe::None),
        ("it was new data, and more is acknowledged", false, 30, None, false, ProbeAnswer::Nothing, TailProbe::None),
    ];
    for (case, is_retransmission, acknowledged, dsack, is_duplicate, answer, left) in rows {
        let mut tail = probe(is_retransmission);
        let send = sent_and_acknowledged(acknowledged);
        assert_eq!(tail.process_ack(&event(dsack, is_duplicate), &send), answer, "{case}");
        assert_eq!(tail, left, "{case}");
    }
}

#[test]
fn without_a_probe_there_is_no_answer() {
    for mut tail in [TailProbe::None, TailProbe::Due] {
        let before = tail;
        let answer = tail.process_ack(&event(None, true), &sent_and_acknowledged(30));
        assert_eq!((answer, tail), (ProbeAnswer::Nothing, before));
    }
}
