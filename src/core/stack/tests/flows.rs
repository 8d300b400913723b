//! Connections from open to end as the application and the peer see them; TIME-WAIT; fairness.

use super::*;
use crate::{config::TcpConfig, stack::SoftError};

#[test]
fn an_echo_and_a_passive_close() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
    assert_eq!(bench.events(), [Event::Ready(id)]);
    assert_eq!(bench.with_stream(id, |stream| stream.echo()), 5);
    let echo = bench.sent_one();
    assert_eq!((&echo.data[..], echo.header.ack), (&b"hello"[..], IRS.advance(6)));
    bench.send(bench.header(IRS.advance(6), iss.advance(6), FIN | ACK), b"");
    assert_eq!(bench.events(), [Event::Ready(id)]);
    assert!(bench.with_stream(id, |stream| stream.at_end()));
    assert_eq!(bench.state(), State::CloseWait);
    bench.with_stream(id, |stream| stream.close());
    let fin = bench.sent();
    assert!(fin.last().unwrap().has(FIN | ACK));
    assert_eq!(bench.state(), State::LastAck);
    bench.send(bench.header(IRS.advance(7), iss.advance(7), ACK), b"");
    closed(&bench.events(), id, CloseReason::Finished);
    assert_eq!(bench.stack.flow_counts(), (0, 0, 0));
    assert!(bench.stack.stream(bench.now, id).is_none(), "its id means nothing from now on");
}

/// Closes first; returns what the client must know to go on.
fn active_close(bench: &mut Bench) -> (ConnectionId, SeqNumber) {
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.close());
    assert!(bench.sent_one().has(FIN | ACK));
    bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"");
    (id, iss)
}

#[test]
fn must_13_an_active_close_leaves_a_time_wait_entry_and_no_connection() {
    let mut bench = Bench::new();
    let (id, iss) = active_close(&mut bench);
    let last = bench.sent_one();
    assert!(last.has(ACK));
    assert_eq!((last.header.seq, last.header.ack), (iss.advance(2), IRS.advance(2)));
    closed(&bench.events(), id, CloseReason::Finished);
    assert_eq!(bench.stack.flow_counts(), (0, 0, 1));
    assert_eq!(bench.state(), State::TimeWait);
    bench.pass(Duration::from_millis(59_999));
    assert_eq!(bench.state(), State::TimeWait);
    bench.pass(Duration::from_millis(18));
    assert_eq!(bench.state(), State::Closed, "2 MSL are over, and 17 ms at most");
    assert_eq!(bench.stack.poll_timeout(), None);
}

#[test]
fn the_acknowledgment_that_ends_closing_draws_none() {
    // §3.10.7.4: the peer's FIN has been acknowledged when it came.
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let (id, iss) = bench.connect();
        bench.with_stream(id, |stream| stream.close());
        assert!(bench.sent_one().has(FIN | ACK));
        bench.send(bench.header(IRS.advance(1), iss.advance(1), FIN | ACK), b"");
        assert_eq!(bench.state(), State::Closing);
        let acknowledgment = bench.sent_one();
        assert_eq!((acknowledgment.header.seq, acknowledgment.header.ack), (iss.advance(2), IRS.advance(2)));
        bench.send(bench.header(IRS.advance(2), iss.advance(2), ACK), b"");
        assert_eq!((bench.state(), bench.sent()), (State::TimeWait, vec![]));
    }
    // Where both come in one batch, one acknowledgment is due still.
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.close());
    bench.sent();
    bench.send(bench.header(IRS.advance(1), iss.advance(1), FIN | ACK), b"");
    bench.send(bench.header(IRS.advance(2), iss.advance(2), ACK), b"");
    assert_eq!(bench.state(), State::TimeWait);
    assert_eq!(bench.sent_one().header.ack, IRS.advance(2));
}

#[test]
fn no_reset_ends_time_wait() {
    // RFC 1337 §3.
    let mut bench = Bench::new();
    active_close(&mut bench);
    bench.sent();
    bench.send(bench.header(IRS.advance(2), SeqNumber::default(), RST), b"");
    assert_eq!((bench.state(), bench.frames().len()), (State::TimeWait, 0));
}

#[test]
fn may_2_a_new_syn_may_end_time_wait_and_an_old_one_may_not() {
    // MAY-2; RFC 6191 §2 for the case without timestamps.
    let mut bench = Bench::new();
    let (_, iss) = active_close(&mut bench);
    bench.sent();
    bench.send(bench.header(IRS, SeqNumber::default(), SYN), b"");
    assert!(bench.sent_one().has(ACK), "an old duplicate draws the old acknowledgment");
    bench.send(bench.header(IRS.advance(1_000), SeqNumber::default(), SYN), b"");
    let answer = bench.sent_one();
    assert!(answer.has(SYN | ACK));
    assert!(iss.advance(2).precedes(answer.header.seq), "MAY-2: our number is beyond what the old connection used");
    assert_eq!((bench.state(), bench.stack.flow_counts()), (State::SynReceived, (0, 1, 0)));
}

#[test]
fn time_wait_has_a_limit() {
    let mut bench = Bench::with(StackConfig { max_time_wait: 2, ..StackConfig::default() });
    for port in 1..=3 {
        bench.port = port;
        active_close(&mut bench);
        bench.frames();
        bench.events();
    }
    assert_eq!(bench.stack.flow_counts(), (0, 0, 2));
    assert_eq!(bench.drops(DropReason::TimeWaitEvicted), 1);
    assert_eq!(bench.state(), State::TimeWait, "the newest is there");
}

#[test]
fn what_was_received_before_the_end_can_still_be_read() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.shutdown_write());
    bench.sent();
    bench.send(bench.header(IRS.advance(1), iss.advance(2), ACK), b"last ");
    bench.send(bench.header(IRS.advance(6), iss.advance(2), FIN | ACK), b"words");
    assert_eq!(bench.sent().len(), 1, "one acknowledgment, from TIME-WAIT");
    assert_eq!(bench.events(), [Event::Ready(id)], "not closed before the application has read it");
    assert_eq!(bench.state(), State::TimeWait);
    let mut buffer = [0; 20];
    let (length, at_end) = bench.with_stream(id, |stream| (stream.read(&mut buffer), stream.at_end()));
    assert_eq!((&buffer[..length], at_end), (&b"last words"[..], true));
    assert_eq!(bench.events(), [Event::Closed(id, CloseReason::Finished)]);
    assert_eq!(bench.sent(), [], "a connection that is over says nothing more");
}

#[test]
fn an_abort_leaves_nothing_behind_though_there_was_something_to_read() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.shutdown_write());
    bench.sent();
    bench.send(bench.header(IRS.advance(1), iss.advance(2), FIN | ACK), b"last words");
    bench.events();
    bench.with_stream(id, |stream| stream.abort());
    assert_eq!(bench.stack.flow_counts().0, 0);
    assert_eq!(bench.events(), [Event::Closed(id, CloseReason::Aborted)]);
}

#[test]
fn must_12_a_reset_from_the_peer_ends_it_at_once() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    bench.send(bench.header(IRS.advance(1), SeqNumber::default(), RST), b"");
    assert_eq!(bench.events(), [Event::Closed(id, CloseReason::ResetByPeer)]);
    assert_eq!((bench.stack.flow_counts(), bench.sent()), ((0, 0, 0), vec![]));
}

#[test]
fn an_abort_tells_the_peer() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| {
        stream.write(b"never sent");
        stream.abort();
    });
    let reset = bench.sent_one();
    assert!(reset.has(RST | ACK));
    assert_eq!((reset.header.seq, reset.header.ack), (iss.advance(1), IRS.advance(1)));
    closed(&bench.events(), id, CloseReason::Aborted);
    let (one, _) = bench.connect();
    bench.port += 1;
    bench.connect();
    bench.stack.abort_all(bench.now);
    assert_eq!(bench.sent().len(), 2);
    assert_eq!(bench.stack.flow_counts().0, 0);
    assert!(bench.stack.stream(bench.now, one).is_none());
}

#[test]
fn an_id_is_never_another_connections() {
    let mut bench = Bench::new();
    let (old, _) = bench.connect();
    bench.with_stream(old, |stream| stream.abort());
    bench.frames();
    bench.events();
    let (new, _) = bench.connect();
    assert_eq!(old.index(), new.index(), "the slot is used again");
    assert_ne!(old, new);
    assert!(bench.stack.stream(bench.now, old).is_none());
}

#[test]
fn connections_send_in_turn() {
    let mut bench = Bench::with(StackConfig::default());
    let mut ids = Vec::new();
    for port in 1..=3 {
        bench.port = port;
        let (id, _) = bench.connect();
        ids.push(id);
    }
    for id in ids {
        bench.with_stream(id, |stream| stream.write(&[0; 400_000]));
    }
    // The initial window is ten segments each: none waits until another has sent everything.
    let mut buffer = vec![0; 1_600];
    let mut ports = Vec::new();
    while let Some(length) = bench.stack.poll_transmit(bench.now, InterfaceId::FIRST, &mut buffer) {
        let parsed = wire::parse(&buffer[..length], ChecksumPolicy::Verify).unwrap();
        let Packet::Tcp(_, segment) = parsed.packet else { panic!() };
        ports.push(segment.header.destination_port);
    }
    assert_eq!(ports.len(), 30);
    ports.dedup();
    assert_eq!(ports, [1, 2, 3]);
}

#[test]
fn a_lost_segment_is_sent_again_when_the_wheel_says_so() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    bench.with_stream(id, |stream| stream.write(b"hello"));
    let first = bench.sent_one();
    let deadline = bench.stack.poll_timeout().expect("the timer runs");
    assert!(deadline - bench.now <= Duration::from_millis(200));
    bench.pass(Duration::from_millis(199));
    assert_eq!(bench.sent(), []);
    bench.pass(Duration::from_millis(2));
    assert_eq!(bench.sent_one(), first);
    assert_eq!(bench.stack.stats().segments_retransmitted, 1);
    bench.send(bench.header(IRS.advance(1), iss.advance(6), ACK), b"");
    bench.sent();
    while let Some(deadline) = bench.stack.poll_timeout() {
        bench.now = bench.now.max(deadline);
        bench.stack.handle_timeout(bench.now);
        assert_eq!(bench.sent(), [], "nothing is outstanding any more");
    }
}

#[test]
fn must_47_a_silent_peer_is_given_up_and_the_application_hears_of_it() {
    let mut bench = Bench::new();
    let (id, _) = bench.connect();
    bench.with_stream(id, |stream| stream.write(b"hello"));
    bench.sent();
    let mut events = Vec::new();
    while let Some(deadline) = bench.stack.poll_timeout() {
        bench.now = bench.now.max(deadline);
        bench.stack.handle_timeout(bench.now);
        bench.frames();
        events.extend(bench.events());
    }
    let trouble = Event::SoftError(id, SoftError::ExcessiveRetransmission);
    assert_eq!(events, [trouble, Event::Closed(id, CloseReason::TimedOut)]);
    assert_eq!(bench.stack.stats().connections_timed_out, 1);
}

#[test]
fn replies_have_a_limit() {
    let mut bench = Bench::with(StackConfig { max_replies: 3, ..StackConfig::default() });
    for port in 1..=5 {
        bench.port = port;
        bench.send_syn(TcpOptions::default());
    }
    assert_eq!(bench.sent().len(), 3);
    assert_eq!(bench.drops(DropReason::ReplyQueueFull), 2);
}

#[test]
fn must_59_a_batch_draws_one_acknowledgment_or_none_where_an_answer_carries_it() {
    let mut bench = Bench::new();
    let (id, iss) = bench.connect();
    let mut seq = IRS.advance(1);
    for _ in 0..10 {
        bench.send(bench.header(seq, iss.advance(1), ACK), &[7; 1_000]);
        seq = seq.advance(1_000);
    }
    assert_eq!(bench.sent_one().header.ack, seq, "nobody has anything to say");
    let mut ack = iss.advance(1);
    for _ in 0..20 {
        bench.with_stream(id, |stream| stream.consume(stream.readable_len()));
        bench.send(bench.header(seq, ack, ACK | TcpFlags::PSH), b"request");
        assert!(matches!(bench.events().last(), Some(Event::Ready(_))));
        bench.with_stream(id, |stream| stream.write(b"answer"));
        let answer = bench.sent_one();
        (seq, ack) = (seq.advance(7), ack.advance(6));
        assert_eq!((answer.header.ack, &answer.data[..]), (seq, &b"answer"[..]));
        bench.pass(Duration::from_micros(100));
        assert_eq!(bench.sent(), []);
    }
}

#[test]
fn room_that_sending_makes_is_an_event_at_once() {
    let config = TcpConfig { write_ahead: 10_000, ..TcpConfig::default() };
    let mut bench = Bench::with(StackConfig { tcp: config, ..StackConfig::default() });
    let (id, _) = bench.connect();
    assert_eq!(bench.with_stream(id, |stream| stream.write(&[7; 20_000])), 10_000);
    assert_eq!(bench.events(), [], "nothing has been sent yet");
    bench.frames();
    assert_eq!(bench.stack.poll_timeout(), Some(Instant::ZERO), "whoever waits would keep it to himself");
    assert_eq!(bench.events(), [Event::Ready(id)], "before anything is acknowledged");
    assert_ne!(bench.stack.poll_timeout(), Some(Instant::ZERO));
    assert!(bench.with_stream(id, |stream| stream.write(&[7; 20_000])) > 0);
}

#[test]
fn a_connection_that_goes_before_its_last_words_were_read_has_not_ended_in_order() {
    for is_read in [false, true] {
        let mut bench = Bench::new();
        let (id, iss) = bench.connect();
        bench.with_stream(id, |stream| stream.shutdown_write());
        bench.send(bench.header(IRS.advance(1), iss.advance(1), FIN | ACK), b"last words");
        bench.sent();
        bench.send(bench.header(IRS.advance(12), iss.advance(2), ACK), b"");
        assert_eq!(bench.events(), [Event::Ready(id)], "it waits for its application");
        bench.with_stream(id, |stream| {
            if is_read {
                stream.consume(10);
            }
            stream.abort();
        });
        let reason = if is_read { CloseReason::Finished } else { CloseReason::Aborted };
        assert_eq!(bench.events(), [Event::Closed(id, reason)]);
        assert_eq!(bench.sent(), [], "the peer is through");
    }
}
