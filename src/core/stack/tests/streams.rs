//! What an application can do with streams: read and write in place, by the traits of `std`, and from one to another.

use super::*;
use crate::config::TcpConfig;
use std::io::{ErrorKind, Read, Write};

fn narrow(buffer: usize) -> Bench {
    let tcp = TcpConfig {
        receive_buffer: buffer,
        initial_window: buffer,
        send_buffer: buffer,
        write_ahead: buffer,
        ..TcpConfig::default()
    };
    Bench::with(StackConfig { tcp, max_awake: 0, ..StackConfig::default() })
}

/// A client's connection, and what it has sent so far.
struct Peer {
    id: ConnectionId,
    port: u16,
    seq: SeqNumber,
    ack: SeqNumber,
}

impl Peer {
    fn new(bench: &mut Bench) -> Self {
        bench.port += 1;
        let (id, iss) = bench.connect();
        Self { id, port: bench.port, seq: IRS.advance(1), ack: iss.advance(1) }
    }

    fn send(&mut self, bench: &mut Bench, flags: TcpFlags, data: &[u8]) {
        bench.port = self.port;
        bench.send(bench.header(self.seq, self.ack, ACK | flags), data);
        self.seq = self.seq.advance(data.len() as u32 + u32::from(flags.contains(FIN)));
    }

    /// Everything that is sent to it, which it acknowledges; and whether that is the end.
    fn hear(&mut self, bench: &mut Bench) -> (Vec<u8>, bool) {
        let (mut heard, mut ended) = (Vec::new(), false);
        loop {
            let sent = bench.sent();
            let mut is_news = false;
            for segment in sent.iter().filter(|sent| sent.tuple.remote.port == self.port) {
                assert_eq!(segment.header.seq.since(self.ack), 0, "nothing is lost here");
                let fin = segment.header.flags.contains(FIN);
                is_news |= fin || !segment.data.is_empty();
                self.ack = self.ack.advance(segment.data.len() as u32 + u32::from(fin));
                heard.extend_from_slice(&segment.data);
                ended |= fin;
            }
            if !is_news {
                return (heard, ended);
            }
            self.send(bench, TcpFlags::empty(), b"");
        }
    }
}

#[test]
fn both_pieces_of_a_ring_that_wraps_are_seen_and_answered_in_place() {
    let mut bench = narrow(2_048);
    let mut peer = Peer::new(&mut bench);
    let data: Vec<u8> = (0..3_000).map(|index| (index % 251) as u8).collect();
    peer.send(&mut bench, TcpFlags::PSH, &data[..1_400]);
    // Some is left, or the ring would begin anew.
    bench.with_stream(peer.id, |stream| stream.consume(1_300));
    peer.hear(&mut bench);
    peer.send(&mut bench, TcpFlags::PSH, &data[1_400..2_600]);
    bench.with_stream(peer.id, |stream| {
        let [first, second] = stream.readable_pieces();
        assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
        assert_eq!([first, second].concat(), &data[1_300..2_600]);
        let (pieces, mut writer) = stream.split();
        let written = pieces.map(|piece| writer.write(&piece[..50]));
        assert_eq!(written, [50, 50], "the answer is written while the question is looked at");
        let length = stream.readable_len();
        stream.consume(length);
    });
    let (heard, _) = peer.hear(&mut bench);
    assert_eq!(heard.len(), 100);
}

#[test]
fn the_traits_of_std_tell_later_from_never() {
    let mut bench = narrow(65_536);
    let mut peer = Peer::new(&mut bench);
    bench.events();
    let mut buffer = [0; 8];
    bench.with_stream(peer.id, |stream| {
        let later = Read::read(stream, &mut buffer).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::WouldBlock);
    });
    peer.send(&mut bench, FIN, b"hello");
    bench.with_stream(peer.id, |stream| {
        assert_eq!(Read::read(stream, &mut []).unwrap(), 0, "an empty buffer is full at once");
        assert_eq!(Read::read(stream, &mut buffer).unwrap(), 5);
        assert_eq!(Read::read(stream, &mut buffer).unwrap(), 0, "nothing more will come");
        let mut written = 0;
        let later = loop {
            match Write::write(stream, &[0; 4_096]) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert_eq!((later.kind(), written > 0), (ErrorKind::WouldBlock, true));
        stream.shutdown_write();
        assert_eq!(Write::write(stream, b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(Write::write(stream, b"").unwrap(), 0);
    });
}

#[test]
fn only_who_asks_to_wait_for_room_is_told_of_it() {
    for waits in [false, true] {
        let mut bench = narrow(16_384);
        let mut peer = Peer::new(&mut bench);
        bench.with_stream(peer.id, |stream| {
            let room = stream.room();
            stream.write(&vec![0; room - 10]);
            assert_eq!(if waits { stream.room_or_wait() } else { stream.room() }, 10);
        });
        // More than what is taken lies behind: the peer hears everything, and so there is room.
        peer.hear(&mut bench);
        let expected: &[Event] = if waits { &[Event::Ready(peer.id)] } else { &[] };
        assert_eq!(bench.events(), expected);
    }
}

#[test]
fn a_stream_says_who_is_at_its_ends_and_what_tcp_knows() {
    let mut bench = narrow(65_536);
    let peer = Peer::new(&mut bench);
    bench.with_stream(peer.id, |stream| {
        assert_eq!(stream.local_addr(), "198.18.0.1:80".parse().unwrap());
        assert_eq!(stream.peer_addr(), format!("198.18.0.2:{}", peer.port).parse().unwrap());
        stream.set_nodelay(true);
        stream.write(&[0; 3_000]);
    });
    assert_eq!(bench.sent().len(), 3);
    let info = bench.with_stream(peer.id, |stream| stream.info());
    assert_eq!((info.state, info.mss, info.bytes_in_flight), (State::Established, 1_460, 3_000));
    assert_eq!((info.send_window, info.unacknowledged, info.unread, info.retransmitted), (64_000, 3_000, 0, 0));
    assert!(info.congestion_window >= 3_000);
    // Nobody answers, so it is sent again.
    bench.pass(Duration::from_secs(2));
    let again = bench.sent().len() as u32;
    assert!(again > 0);
    assert_eq!(bench.with_stream(peer.id, |stream| stream.info().retransmitted), again);
}

#[test]
fn a_splice_moves_data_and_their_end_and_says_what_it_did() {
    let mut bench = narrow(65_536);
    let (mut from, mut to) = (Peer::new(&mut bench), Peer::new(&mut bench));
    bench.events();
    let splice = |bench: &mut Bench, from: &Peer, to: &Peer| {
        let spliced = bench.stack.splice(bench.now, from.id, to.id).expect("both are there");
        (spliced.moved, spliced.ended, spliced.blocked)
    };
    assert_eq!(splice(&mut bench, &from, &to), (0, false, false));
    from.send(&mut bench, TcpFlags::PSH, b"hello");
    assert_eq!(splice(&mut bench, &from, &to), (5, false, false));
    assert_eq!(to.hear(&mut bench), (b"hello".to_vec(), false));
    from.send(&mut bench, FIN, b", world");
    assert_eq!(splice(&mut bench, &from, &to), (7, true, false));
    assert_eq!(to.hear(&mut bench), (b", world".to_vec(), true));
    // The other way is open still.
    to.send(&mut bench, FIN, b"bye");
    assert_eq!(splice(&mut bench, &to, &from), (3, true, false));
    assert_eq!(from.hear(&mut bench), (b"bye".to_vec(), true));
    bench.events();
    assert_eq!(bench.stack.splice(bench.now, from.id, to.id), None, "both have ended");
}

#[test]
fn a_splice_that_finds_no_room_goes_on_when_there_is_some() {
    let mut bench = narrow(8_192);
    let (mut from, mut to) = (Peer::new(&mut bench), Peer::new(&mut bench));
    let data: Vec<u8> = (0..12_000).map(|index| (index % 251) as u8).collect();
    let (mut sent, mut heard, mut blocked, mut on_its_way) = (0, Vec::new(), 0, Vec::new());
    // The sink acknowledges nothing at first, and everything then.
    for round in 0..40 {
        let length = 1_000.min(data.len() - sent);
        if length > 0 && bench.with_stream(from.id, |stream| stream.readable_len()) + length <= 4_096 {
            from.send(&mut bench, TcpFlags::PSH, &data[sent..sent + length]);
            sent += length;
        }
        let spliced = bench.stack.splice(bench.now, from.id, to.id).unwrap();
        on_its_way.extend(bench.sent().into_iter().filter(|sent| sent.tuple.remote.port == to.port));
        bench.events();
        if round > 20 {
            for segment in on_its_way.drain(..) {
                to.ack = segment.header.seq.advance(segment.data.len() as u32);
                heard.extend(segment.data);
            }
            to.send(&mut bench, TcpFlags::empty(), b"");
            assert!(!spliced.blocked || bench.events().contains(&Event::Ready(to.id)), "there is room again");
        }
        blocked += usize::from(spliced.blocked);
    }
    assert!(blocked > 0 && heard == data, "{blocked}, {} of {}", heard.len(), data.len());
}

#[test]
fn a_splice_with_itself_is_an_echo() {
    let mut bench = narrow(65_536);
    let mut peer = Peer::new(&mut bench);
    peer.send(&mut bench, FIN, b"hello");
    let spliced = bench.stack.splice(bench.now, peer.id, peer.id).unwrap();
    assert_eq!((spliced.moved, spliced.ended), (5, true));
    assert_eq!(peer.hear(&mut bench), (b"hello".to_vec(), true));
}

#[test]
fn timers_come_in_order_with_their_tokens_and_a_cancelled_one_does_not() {
    let mut bench = Bench::with(StackConfig { max_timers: 3, ..StackConfig::default() });
    let at = |bench: &Bench, millis| bench.now + Duration::from_millis(millis);
    let late = bench.stack.set_timer(at(&bench, 30), 3).unwrap();
    let early = bench.stack.set_timer(at(&bench, 10), 1).unwrap();
    let never = bench.stack.set_timer(at(&bench, 20), 2).unwrap();
    assert_eq!(bench.stack.set_timer(at(&bench, 1), 4), None, "that is all there may be");
    assert!(bench.stack.poll_timeout().is_some_and(|due| due <= at(&bench, 11)));
    bench.pass(Duration::from_millis(9));
    assert_eq!(bench.events(), []);
    bench.pass(Duration::from_millis(16));
    // Both have expired; up to here it can be taken back.
    bench.stack.cancel_timer(never);
    assert_eq!(bench.events(), [Event::Timer(early, 1)]);
    bench.stack.cancel_timer(early);
    let next = bench.stack.set_timer(at(&bench, 1), 5).unwrap();
    assert_ne!(next, early);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.events(), [Event::Timer(next, 5), Event::Timer(late, 3)]);
}
