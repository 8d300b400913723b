//! The ends of a connection: RFC 9293 §3.6, figure 5, and what cuts it short.

use super::{
    super::state::{State, Step},
    *,
};
use crate::{
    tcp::{CloseReason, timestamps::TimestampState},
    wire::{TcpOptions, tcp_options::Timestamps},
};

#[test]
fn the_state_table_is_figure_5() {
    use State::*;
    let table = [
        (Established, Step::FinSent, FinWait1),
        (Established, Step::FinReceived, CloseWait),
        (FinWait1, Step::FinAcknowledged, FinWait2),
        (FinWait1, Step::FinReceived, Closing),
        (FinWait2, Step::FinReceived, TimeWait),
        (CloseWait, Step::FinSent, LastAck),
        (Closing, Step::FinAcknowledged, TimeWait),
        (LastAck, Step::FinAcknowledged, Closed),
    ];
    for state in State::ALL {
        for step in [Step::FinSent, Step::FinAcknowledged, Step::FinReceived] {
            let expected = table.iter().find(|row| (row.0, row.1) == (state, step)).map(|row| row.2);
            assert_eq!(state.after(step), expected, "{step:?} in {state}");
        }
    }
}

#[test]
fn a_passive_close() {
    let mut bench = Bench::new();
    bench.receive(1, 1, FIN | ACK, b"");
    assert_eq!(bench.connection.state(), State::CloseWait);
    assert!(bench.connection.is_at_end());
    let answer = bench.sent_one();
    assert_eq!((answer.ack, answer.flags), (2, ACK));
    bench.connection.close(bench.config.at(bench.now));
    let fin = bench.sent_one();
    assert_eq!((fin.seq, fin.ack, fin.flags), (1, 2, FIN | ACK));
    assert_eq!(bench.connection.state(), State::LastAck);
    bench.receive(2, 2, ACK, b"");
    assert_eq!((bench.connection.state(), bench.connection.end()), (State::Closed, Some(CloseReason::Finished)));
}

#[test]
fn an_active_close_with_data_after_our_fin() {
    let mut bench = Bench::new();
    bench.connection.shutdown_write();
    assert_eq!(bench.sent_one().flags, FIN | ACK);
    assert_eq!(bench.connection.state(), State::FinWait1);
    bench.receive(1, 2, ACK, b"");
    assert_eq!(bench.connection.state(), State::FinWait2);
    bench.receive(1, 2, ACK | PSH, b"still talking");
    assert_eq!(bench.read_all(), b"still talking");
    bench.receive(14, 2, FIN | ACK, b"");
    assert_eq!(bench.connection.state(), State::TimeWait);
    assert_eq!(bench.connection.sequence(), (ISS.advance(2), IRS.advance(15)));
}

#[test]
fn a_fin_that_acknowledges_ours_leads_straight_to_time_wait() {
    let mut bench = Bench::new();
    bench.connection.shutdown_write();
    bench.sent();
    bench.receive(1, 2, FIN | ACK, b"");
    assert_eq!(bench.connection.state(), State::TimeWait);
}

#[test]
fn a_simultaneous_close() {
    let mut bench = Bench::new();
    bench.connection.shutdown_write();
    bench.sent();
    bench.receive(1, 1, FIN | ACK, b"");
    assert_eq!(bench.connection.state(), State::Closing);
    assert_eq!(bench.sent_one().ack, 2);
    bench.receive(2, 2, ACK, b"");
    assert_eq!(bench.connection.state(), State::TimeWait);
}

#[test]
fn data_that_come_before_our_fin_is_acknowledged_are_acknowledged() {
    let mut bench = Bench::new();
    bench.write(10);
    bench.connection.shutdown_write();
    assert_eq!(bench.sent_one().flags, FIN | PSH | ACK);
    bench.receive(1, 1, ACK, &pattern(0, 2_920));
    let answer = bench.sent_one();
    assert_eq!((answer.seq, answer.ack, answer.data.len()), (12, 2_921, 0), "behind our FIN");
}

#[test]
fn a_fin_waits_for_the_data_before_it() {
    let mut bench = Bench::new();
    bench.receive(4, 1, FIN | ACK, b"def");
    assert_eq!(bench.connection.state(), State::Established);
    assert_eq!(bench.sent_one().ack, 1, "the hole is reported");
    bench.receive(1, 1, ACK, b"abc");
    assert_eq!(bench.connection.state(), State::CloseWait);
    assert_eq!(bench.sent().last().unwrap().ack, 8);
    assert_eq!(bench.read_all(), b"abcdef");
}

#[test]
fn our_fin_rides_on_the_last_data_and_is_retransmitted_with_them() {
    let mut bench = Bench::new();
    bench.write(100);
    bench.connection.shutdown_write();
    let last = bench.sent_one();
    assert_eq!((last.data.len(), last.flags), (100, FIN | PSH | ACK));
    bench.wait_for_timer();
    let again = bench.sent_one();
    assert_eq!((again.seq, again.data.len(), again.flags), (1, 100, FIN | PSH | ACK));
    bench.receive(1, 102, ACK, b"");
    assert_eq!(bench.connection.state(), State::FinWait2);
    assert!(!bench.is_armed(Timer::Retransmit));
}

#[test]
fn the_acknowledgment_of_a_fin_can_be_a_segment_of_its_own() {
    let config = TcpConfig { separate_fin_ack: true, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(1, 1, FIN | ACK, b"");
    bench.connection.close(bench.config.at(bench.now));
    let flags: Vec<_> = bench.sent().iter().map(|sent| sent.flags).collect();
    assert_eq!(flags, [ACK, FIN | ACK]);
}

#[test]
fn shld_3_closing_with_unread_data_resets() {
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, b"unread");
    bench.connection.close(bench.config.at(bench.now));
    assert_eq!(bench.connection.end(), Some(CloseReason::Aborted));
}

#[test]
fn may_1_data_after_a_full_close_reset() {
    let mut bench = Bench::new();
    bench.connection.close(bench.config.at(bench.now));
    bench.sent();
    bench.receive(1, 2, ACK, b"");
    bench.refuse(1, 2, ACK, b"too late", DropReason::DataAfterClose);
    assert_eq!(bench.connection.end(), Some(CloseReason::Aborted));
}

#[test]
fn lingering_throws_data_away_and_lets_our_last_words_arrive() {
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, b"unread");
    bench.write(10);
    bench.connection.close_discarding(bench.config.at(bench.now));
    assert_eq!(bench.sent_one().flags, FIN | PSH | ACK);
    bench.receive(7, 1, ACK, &pattern(0, 1_000));
    bench.receive(1_007, 12, ACK, &pattern(0, 1_000));
    assert_eq!((bench.connection.state(), bench.connection.readable_len()), (State::FinWait2, 0));
    assert_eq!(bench.connection.sequence().1, IRS.advance(2_007), "taken, though nobody reads them");
    bench.pass(bench.config.fin_wait_2);
    assert_eq!(bench.connection.end(), Some(CloseReason::Finished), "but not for ever");
}

#[test]
fn nobody_waits_for_ever_in_fin_wait_2() {
    let mut bench = Bench::new();
    bench.connection.close(bench.config.at(bench.now));
    bench.sent();
    bench.receive(1, 2, ACK, b"");
    bench.sent();
    assert_eq!(bench.wait_for_timer(), bench.config.fin_wait_2);
    assert_eq!(bench.connection.end(), Some(CloseReason::Finished));
}

#[test]
fn x_rst_1_x_rst_2_and_x_rst_3_only_an_exact_reset_counts() {
    // RFC 5961 §3.2.
    let mut bench = Bench::new();
    bench.refuse(2, 1, RST, b"", DropReason::InexactReset);
    let challenge = bench.sent_one();
    assert_eq!((challenge.seq, challenge.ack, challenge.flags), (1, 1, ACK));
    bench.refuse(70_000, 1, RST, b"", DropReason::OutsideWindow);
    bench.refuse(0, 1, RST, b"", DropReason::OutsideWindow);
    assert_eq!(bench.sent(), [], "an RST outside the window draws nothing");
    bench.receive(1, 0, RST, b"");
    assert_eq!(bench.connection.end(), Some(CloseReason::ResetByPeer));
}

#[test]
fn x_syn_1_and_may_12_a_syn_draws_a_challenge_and_no_more_than_ten_a_second() {
    // RFC 5961 §4.2 and §7.
    let mut bench = Bench::new();
    let mut challenges = 0;
    for _ in 0..50 {
        bench.refuse(1, 1, SYN, b"", DropReason::SynInWindow);
        challenges += bench.sent().len();
    }
    assert_eq!(challenges, 10);
    bench.pass(Duration::from_secs(1));
    bench.refuse(1, 1, SYN, b"", DropReason::SynInWindow);
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.connection.state(), State::Established);
}

#[test]
fn x_syn_1_a_syn_anywhere_draws_no_more_than_ten_challenges_a_second() {
    // RFC 5961 §4.2 asks nothing of its sequence number, and nobody asks for its timestamps: outside the window, and with an old
    // clock or none where there should be one.
    let clocked = Handshake { clocks: Some(TimestampState::new(Instant::ZERO, 5, 70)), ..handshake() };
    for (handshake, timestamps) in [(handshake(), None), (clocked, None), (clocked, Some(9)), (clocked, Some(71))] {
        for (seq, flags) in [(70_000, SYN), (0, SYN), (1 << 31, SYN | ACK), (70_000, SYN | FIN), (5, SYN)] {
            let connection = Connection::established(quiet().at(Instant::ZERO), &handshake);
            let timestamps = timestamps.map(|value| Timestamps { value, echo: 5 });
            let options = TcpOptions { timestamps, ..TcpOptions::default() };
            let (seq, ack) = (IRS.advance(seq), ISS.advance(1));
            let header = TcpHeader { seq, ack, flags, window: 9, options, ..TcpHeader::default() };
            let mut bench = Bench { connection, config: quiet(), now: Instant::from_millis(1_000) };
            let mut answers = 0;
            for _ in 0..300 {
                bench.pass(Duration::from_millis(3));
                let segment = Segment { header, payload: b"data", traffic_class: 0 };
                assert!(bench.connection.arrive(bench.config.at(bench.now), &handshake.link, &segment).is_err());
                answers += bench.sent().len();
            }
            assert_eq!(answers, 10, "{flags:?} at {seq:?}, {timestamps:?}");
        }
    }
}

#[test]
fn data_and_a_fin_outside_the_window_are_answered_each_time() {
    // What came before comes again because its acknowledgment was lost (RFC 9293 §3.10.7.4), and it does until one arrives.
    let mut bench = Bench::new();
    bench.receive(1, 1, ACK, b"data");
    bench.read_all();
    bench.sent();
    for (seq, flags, data) in [(1, ACK, &b"data"[..]), (70_000, ACK, b"data"), (4, FIN | ACK, b"")] {
        for _ in 0..50 {
            bench.refuse(seq, 1, flags, data, DropReason::OutsideWindow);
            assert_eq!(bench.sent_one().ack, 5);
        }
    }
}

#[test]
fn x_ack_1_acknowledgments_of_the_unsent_and_the_long_gone_are_challenged() {
    // RFC 5961 §5.2.
    let mut bench = Bench::new();
    bench.refuse(1, 2, ACK, b"data", DropReason::UnacceptableAck);
    assert_eq!(bench.sent_one().ack, 1);
    let long_gone = 1u32.wrapping_sub(70_000);
    bench.refuse(1, long_gone, ACK, b"data", DropReason::UnacceptableAck);
    assert_eq!(bench.sent_one().ack, 1);
    bench.refuse(1, 1, TcpFlags::empty(), b"data", DropReason::NoAck);
    assert_eq!(bench.read_all(), b"");
}

#[test]
fn a_peer_that_is_gone_is_given_up() {
    let mut bench = Bench::new();
    bench.write(10);
    bench.sent();
    let mut waits = Vec::new();
    while bench.connection.state() != State::Closed {
        waits.push(bench.wait_for_timer());
        bench.sent();
    }
    assert_eq!(bench.connection.end(), Some(CloseReason::TimedOut));
    assert_eq!(waits.len() as u32, bench.config.max_timeouts + 1);
    assert!(waits.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(bench.config.rto_max)), "{waits:?}");
    let total: Duration = waits.iter().sum();
    assert!(total >= Duration::from_secs(100), "SHLD-11: {total:?}");
}
