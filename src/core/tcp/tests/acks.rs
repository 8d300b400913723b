//! How many acknowledgments are owed.

use super::*;

#[test]
fn duplicates_owed_for_a_hole_are_forgotten_when_it_is_filled_in_the_same_batch() {
    let mut bench = Bench::new();
    bench.receive(11, 1, ACK, b"later");
    bench.receive(16, 1, ACK, b"still later");
    bench.receive(1, 1, ACK, b"0123456789");
    let sent = bench.sent_one();
    assert_eq!((sent.ack, sent.kind), (27, SentKind::Acknowledgment));
}

#[test]
fn of_many_segments_refused_in_one_batch_only_a_few_are_answered() {
    let config = TcpConfig { max_holes: 1, ..quiet() };
    let mut bench = Bench::with(config, &handshake());
    bench.receive(3, 1, ACK, b"x");
    assert_eq!(bench.sent().len(), 1);
    for seq in 10..50 {
        bench.refuse(2 * seq, 1, ACK, b"x", DropReason::TooManyHoles);
    }
    let sent = bench.sent();
    assert_eq!(sent.len(), 8, "more acknowledgments tell the peer nothing new");
    assert!(sent.iter().all(|sent| sent.ack == 1));
}

#[test]
fn a_segment_with_data_pays_for_all_duplicates_owed() {
    let mut bench = Bench::new();
    bench.receive(11, 1, ACK, b"later");
    bench.receive(16, 1, ACK, b"still later");
    bench.write(3);
    assert_eq!(bench.sent_one().data, pattern(0, 3));
}
