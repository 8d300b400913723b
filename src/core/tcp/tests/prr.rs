//! How much is sent while a loss is repaired (RFC 9937).

use super::{sack::at, *};
use crate::tcp::prr::Prr;

const SEGMENT: u32 = 1_000;

#[test]
fn the_flight_shrinks_in_proportion_to_what_arrives() {
    // 20 in flight are to become 10, and one is lost: a segment goes out for each two that arrive.
    let mut prr = Prr::new(10 * SEGMENT, 20 * SEGMENT);
    let mut in_flight = 19 * SEGMENT;
    let mut sent = Vec::new();
    for _ in 0..19 {
        in_flight -= SEGMENT;
        prr.acknowledged(SEGMENT, in_flight, false, SEGMENT);
        let mut now = 0;
        while in_flight + SEGMENT <= prr.window() {
            prr.sent(SEGMENT);
            in_flight += SEGMENT;
            now += 1;
        }
        sent.push(now);
    }
    assert_eq!(sent[0], 1, "the lost one goes out at once");
    assert!(sent.iter().all(|&count| count <= 1), "no bursts: {sent:?}");
    assert_eq!(sent.iter().sum::<u32>(), 10, "{sent:?}");
}

#[test]
fn after_a_great_loss_what_arrives_is_replaced_and_progress_earns_one_more() {
    let mut prr = Prr::new(10 * SEGMENT, 20 * SEGMENT);
    prr.acknowledged(SEGMENT, 2 * SEGMENT, false, SEGMENT);
    assert_eq!(prr.window(), 3 * SEGMENT);
    prr.sent(SEGMENT);
    prr.acknowledged(SEGMENT, 2 * SEGMENT, true, SEGMENT);
    assert_eq!(prr.window(), 4 * SEGMENT, "one for one, and one");
    prr.acknowledged(9 * SEGMENT, 8 * SEGMENT, true, SEGMENT);
    assert_eq!(prr.window(), 10 * SEGMENT, "and never beyond the new window");
}

#[test]
fn where_nothing_has_arrived_the_first_lost_segment_goes_out_all_the_same() {
    let mut prr = Prr::new(10 * SEGMENT, 20 * SEGMENT);
    prr.acknowledged(0, 15 * SEGMENT, false, SEGMENT);
    assert_eq!(prr.window(), 16 * SEGMENT);
    prr.sent(SEGMENT);
    prr.acknowledged(0, 16 * SEGMENT, false, SEGMENT);
    assert_eq!(prr.window(), 16 * SEGMENT);
}

/// A peer that loses the first of twenty segments, and how many new ones each of its acknowledgments lets out.
fn replacements(sack: bool) -> (Vec<usize>, u32) {
    let config = TcpConfig { congestion_control: CongestionControl::Reno, ..TcpConfig::default() };
    let mut bench = Bench::with(config, &Handshake { sack, ..handshake() });
    bench.write(60 * MSS as usize);
    assert_eq!(bench.sent().len(), 10);
    let grow = |number| {
        bench.reported(at(number), &[]);
        bench.sent().len()
    };
    assert_eq!((1..=10).map(grow).sum::<usize>(), 20);
    let counts = (1..20).map(|number| {
        bench.reported(at(10), &[(at(11), at(11 + number))][..usize::from(sack)]);
        bench.sent().len()
    });
    let counts = counts.collect();
    (counts, bench.connection.congestion_window() / MSS)
}

#[test]
fn peers_with_and_without_reports_get_new_data_all_through_recovery() {
    for sack in [true, false] {
        let (counts, window) = replacements(sack);
        assert!(counts.iter().all(|&count| count <= 1), "SACK {sack}: {counts:?}");
        let (early, late) = (counts[3..11].iter().sum::<usize>(), counts[11..].iter().sum::<usize>());
        assert!(early >= 2 && late >= 2, "SACK {sack}: neither a pause nor a burst: {counts:?}");
        assert!((10..=11).contains(&window), "SACK {sack}: {window}");
    }
}
