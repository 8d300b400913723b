//! How applications hear of the end: of the data first, then of the connection, and whose index is whose meanwhile.

use super::*;
use crate::stack::ListenError;

impl Bench {
    /// A connection whose application has closed its side, and whose peer has then closed, too.
    fn both_closed(&mut self, data: &[u8]) -> ConnectionId {
        let (id, iss) = self.connect();
        self.with_stream(id, |stream| stream.shutdown_write());
        let fin = self.sent_one();
        assert_eq!(fin.header.flags, FIN | ACK);
        self.send(self.header(IRS.advance(1), iss.advance(2), ACK | FIN), data);
        assert_eq!(self.state(), State::TimeWait);
        id
    }
}

#[test]
fn the_end_of_the_data_is_read_before_the_connection_is_gone() {
    let mut bench = Bench::new();
    let id = bench.both_closed(b"");
    assert_eq!(bench.stack.poll_event(), Some(Event::Ready(id)));
    assert!(bench.with_stream(id, |stream| stream.at_end()), "whoever is told can see it");
    assert_eq!(bench.stack.poll_event(), Some(Event::Closed(id, CloseReason::Finished)));
    assert_eq!(bench.stack.poll_event(), None);
    assert!(bench.stack.stream(bench.now, id).is_none());
}

#[test]
fn who_does_not_look_at_the_end_is_told_of_the_connections_end_all_the_same() {
    let mut bench = Bench::new();
    let id = bench.both_closed(b"");
    assert_eq!(bench.events(), [Event::Ready(id), Event::Closed(id, CloseReason::Finished)]);
    assert_eq!((bench.stack.flow_counts().0, bench.stack.poll_timeout().is_some()), (0, true), "TIME-WAIT is left");
}

#[test]
fn a_stack_wants_to_be_asked_again_while_a_connections_end_is_yet_to_be_told() {
    let mut bench = Bench::new();
    let id = bench.both_closed(b"");
    assert_eq!(bench.stack.poll_event(), Some(Event::Ready(id)));
    assert_eq!(bench.stack.poll_timeout(), Some(Instant::ZERO));
}

#[test]
fn data_that_came_with_the_end_wait_until_they_are_read() {
    let mut bench = Bench::new();
    let id = bench.both_closed(b"last words");
    assert_eq!(bench.events(), [Event::Ready(id)]);
    let mut words = [0; 32];
    assert_eq!(bench.with_stream(id, |stream| (stream.at_end(), stream.read(&mut words))), (false, 10));
    assert_eq!(bench.events(), [Event::Closed(id, CloseReason::Finished)]);
}

#[test]
fn an_index_is_not_used_again_before_the_end_of_its_owner_was_told() {
    let mut bench = Bench::new();
    let (old, iss) = bench.connect();
    bench.send(bench.header(IRS.advance(1), iss.advance(1), RST), b"");
    assert_eq!(bench.stack.flow_counts().0, 0);
    // As a proxy does, which connects before it has heard of everything.
    let new = bench.begin();
    assert_ne!(new.index(), old.index());
    assert_eq!(bench.events(), [Event::Closed(old, CloseReason::ResetByPeer)]);
    bench.port += 1;
    bench.frames();
    let (next, _) = bench.connect();
    assert_eq!(next.index(), old.index(), "an index that nobody holds comes first");
}

#[test]
fn ends_that_nobody_hears_of_keep_newcomers_out_and_cost_nobody_a_connection() {
    let mut bench = Bench::with(StackConfig { max_connections: 2, ..StackConfig::default() });
    let (stays, _) = bench.connect();
    for _ in 0..2_000 {
        bench.port += 1;
        bench.send_syn(TcpOptions::default());
        let Some(answer) = bench.sent().pop() else { continue };
        let iss = answer.header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        bench.send(bench.header(IRS.advance(1), iss.advance(1), RST), b"");
        bench.sent();
    }
    // One stays, and the place of the other one is as good as those that ends may take.
    assert_eq!(bench.stack.stats().connections_opened, 1 + 1 + 1_024, "so many ends may wait to be told, and no more");
    assert_eq!(bench.drops(DropReason::ConnectionLimit), 2_000 - 1 - 1_024);
    assert!(bench.stack.stream(bench.now, stays).is_some());
    bench.events();
    bench.port += 1;
    bench.connect();
}

#[test]
fn events_say_which_listener_has_accepted() {
    let mut bench = Bench::new();
    let Err(ListenError::Twice { listener: everywhere, .. }) = bench.stack.listen(None, PORT) else {
        panic!("it does")
    };
    let here = bench.stack.listen(Some(bench.ours), PORT).unwrap();
    assert_ne!(everywhere, here);
    let accepted = |bench: &mut Bench| {
        bench.port += 1;
        bench.send_syn(TcpOptions::default());
        let iss = bench.sent_one().header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let events = bench.events();
        let [Event::Accepted(_, listener)] = events[..] else { panic!("{events:?}") };
        listener
    };
    assert_eq!(accepted(&mut bench), here, "the one at this very address comes first");
    assert!(bench.stack.unlisten(here) && !bench.stack.unlisten(here));
    assert_eq!(accepted(&mut bench), everywhere);
    assert_ne!(bench.stack.listen(Some(bench.ours), PORT), Ok(here), "a listener's name is never another one's");
    bench.stack.stop_listening();
    bench.port += 1;
    bench.send_syn(TcpOptions::default());
    assert!(bench.sent_one().has(RST | ACK));
}
