//! What a worker shows of itself, and to whom.

use super::{Workers, mailboxes, stack};
use crate::{
    drops::DropReason,
    time::Instant,
    worker::{Published, Snapshot},
};
use std::time::Duration;

#[test]
fn a_snapshot_holds_what_the_stack_has_counted() {
    let boxes = mailboxes(1);
    let worker = Workers::new(boxes.clone()).get(0).unwrap();
    assert_eq!(worker.snapshot().at, Instant::ZERO);
    let (mut stack, mut snapshot) = (stack(), Snapshot::default());
    stack.count_drop(DropReason::StrayAck);
    assert!(snapshot.is_behind(&stack));
    snapshot.read(Instant::ZERO + Duration::from_secs(1), &stack);
    assert!(!snapshot.is_behind(&stack));
    assert!(boxes[0].published().show(&snapshot));
    let shown = worker.snapshot();
    assert_eq!((shown.at, shown.drops.get(DropReason::StrayAck)), (Instant::ZERO + Duration::from_secs(1), 1));
}

#[test]
fn a_reader_that_stalls_keeps_no_worker_waiting() {
    let published = Published::default();
    let reading = published.hold();
    assert!(!published.show(&Snapshot::default()), "left for the next turn");
    drop(reading);
    assert!(published.show(&Snapshot::default()));
}

#[test]
fn two_snapshots_make_rates() {
    let before = Snapshot { at: Instant::ZERO + Duration::from_secs(1), ..Snapshot::default() };
    let mut after = Snapshot { at: Instant::ZERO + Duration::from_secs(3), ..before.clone() };
    (after.frames_in, after.frames_out, after.stats.connections_opened) = (2_000, 4_000, 10);
    after.drops.count(DropReason::StrayAck);
    after.asleep = Duration::from_millis(500);
    let rates = after.since(&before);
    assert_eq!((rates.frames_in, rates.frames_out, rates.connections_opened), (1_000.0, 2_000.0, 5.0));
    assert_eq!((rates.drops, rates.busy), (0.5, 0.75));
    assert_eq!(before.since(&after), crate::worker::Rates::default(), "the wrong way round there is nothing");
}

#[test]
fn what_the_defence_goes_by_is_told_with_every_batch() {
    let boxes = mailboxes(2);
    let mut stack = stack();
    stack.count_drop(DropReason::BadCookie);
    stack.count_drop(DropReason::StrayReset);
    boxes.iter().for_each(|mailbox| mailbox.published().count(&stack));
    let workers = Workers::new(boxes);
    assert_eq!(workers.total(Published::invalid_cookies), 2);
    assert_eq!(workers.total(Published::strangers), 4);
    assert_eq!(workers.total(Published::connections), 0);
}
