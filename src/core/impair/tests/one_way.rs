//! A direction in virtual time.

use std::time::Duration;

use crate::{
    impair::{Counts, HELD_MAX, Impairment, OneWay},
    time::Instant,
};

fn up(text: &str) -> OneWay {
    let [up, _] = text.parse::<Impairment>().unwrap_or_else(|error| panic!("{text}: {error}")).ways();
    up
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A frame that can be told from others.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0xee; 100];
    frame[..4].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[..4].try_into().unwrap())
}

/// Sends so many numbered frames, `apart` from each other, and says which came through and when.
fn send(way: &mut OneWay, count: u32, apart: Duration) -> Vec<(Instant, u32)> {
    let mut arrived = Vec::new();
    let mut now = Instant::ZERO;
    for at in 0..count {
        drain(way, Some(now), &mut arrived);
        way.push(now, 0, &frame(at));
        now += apart;
    }
    drain(way, None, &mut arrived);
    assert_eq!(way.held(), 0);
    arrived
}

/// Takes out what is through by `until`, each frame at its own time.
fn drain(way: &mut OneWay, until: Option<Instant>, arrived: &mut Vec<(Instant, u32)>) {
    while let Some(due) = way.next_deadline().filter(|due| until.is_none_or(|until| *due <= until)) {
        let (_, bytes) = way.front(due).expect("what is due is there");
        arrived.push((due, number(bytes)));
        assert!(way.pop(due));
    }
}

fn numbers(arrived: &[(Instant, u32)]) -> Vec<u32> {
    arrived.iter().map(|(_, number)| *number).collect()
}

#[test]
fn unimpaired_a_frame_is_through_at_once_and_unchanged() {
    let mut way = up("");
    assert_eq!((way.front(ms(5)), way.next_deadline()), (None, None));
    assert!(!way.pop(ms(5)));
    way.push(ms(5), 3, b"one");
    way.push(ms(5), 1, b"two");
    assert_eq!(way.front(ms(5)), Some((3, &b"one"[..])));
    assert!(way.pop(ms(5)));
    assert_eq!(way.front(ms(5)), Some((1, &b"two"[..])));
    assert!(way.pop(ms(5)));
    assert_eq!((way.pop(ms(5)), way.held()), (false, 0));
    assert_eq!(way.counts(), Counts { pushed: 2, popped: 2, ..Counts::default() });
}

#[test]
fn a_delay_holds_each_frame_for_its_time() {
    let mut way = up("delay=20ms");
    way.push(ms(1), 0, &frame(1));
    way.push(ms(4), 0, &frame(2));
    assert_eq!(way.next_deadline(), Some(ms(21)));
    assert_eq!(way.front(Instant::from_nanos(20_999_999)), None);
    assert!(!way.pop(ms(20)) && way.pop(ms(21)));
    assert_eq!((way.front(ms(23)), way.next_deadline()), (None, Some(ms(24))));
}

#[test]
fn losses_are_as_many_as_asked_for_and_the_same_for_a_seed() {
    let lost = |text: &str| {
        let mut way = up(text);
        let arrived = numbers(&send(&mut way, 200_000, Duration::from_micros(10)));
        assert_eq!(way.counts().lost, 200_000 - arrived.len() as u64);
        (way.counts().lost, arrived)
    };
    let (count, arrived) = lost("loss=1%,seed=7");
    // Five standard deviations of a binomial distribution: sqrt(200,000 * 0.01 * 0.99) is 44.5.
    assert!(count.abs_diff(2_000) < 223, "{count} of 200,000 at 1 %");
    assert_eq!(lost("loss=1%,seed=7").1, arrived, "a seed repeats itself");
    assert_eq!(lost("loss=1%,delay=3ms,duplicate=0%,seed=7").1, arrived, "a delay changes nothing about who is lost");
    assert_ne!(lost("loss=1%,seed=8").1, arrived);
    assert_eq!(lost("loss=100%").0, 200_000);
    // Not every hundredth, but without a memory: of those lost, one in a hundred is followed by another.
    let (count, arrived) = lost("loss=10%");
    let pairs = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 2).count() as u64;
    assert!(pairs.abs_diff(count * 9 / 100) < 250, "{pairs} runs of losses of {count}");
}

#[test]
fn the_two_directions_have_fates_of_their_own() {
    let [mut up, mut down] = "loss=50%,seed=3".parse::<Impairment>().unwrap().ways();
    let both = [&mut up, &mut down].map(|way| numbers(&send(way, 1_000, Duration::ZERO)));
    assert_ne!(both[0], both[1]);
}

#[test]
fn jitter_varies_the_delay_and_keeps_the_order() {
    let mut way = up("delay=20ms,jitter=5ms");
    // Far enough apart that none waits for another: the whole spread shows.
    let apart = Duration::from_millis(11);
    let delays: Vec<_> =
        send(&mut way, 10_000, apart).into_iter().map(|(at, number)| at - (Instant::ZERO + apart * number)).collect();
    let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(Duration::from_millis(15) <= *least && *least < Duration::from_micros(15_100), "{least:?}");
    assert!(Duration::from_micros(24_900) < *most && *most <= Duration::from_millis(25), "{most:?}");
    let mean = delays.iter().sum::<Duration>() / 10_000;
    assert!(mean.abs_diff(Duration::from_millis(20)) < Duration::from_micros(150), "{mean:?}");

    let arrived = send(&mut up("delay=20ms,jitter=20ms"), 10_000, Duration::from_micros(100));
    assert!(numbers(&arrived).is_sorted() && arrived.is_sorted(), "jitter alone reorders nothing");
    assert_eq!(arrived.len(), 10_000);
}

#[test]
fn a_reordered_frame_overtakes_those_under_way() {
    let mut way = up("delay=10ms,reorder=2%,seed=1");
    let arrived = send(&mut way, 100_000, Duration::from_millis(1));
    let early = arrived.iter().filter(|(at, number)| *at == ms(u64::from(*number))).count() as u64;
    assert_eq!(early, way.counts().overtook);
    assert!(early.abs_diff(2_000) < 222, "{early} of 100,000 at 2 %");
    assert_eq!(arrived.len(), 100_000, "none is lost");
    // The others are late by the delay, in order.
    let late: Vec<_> = arrived.iter().filter(|(at, number)| *at == ms(u64::from(*number) + 10)).collect();
    assert_eq!(late.len() as u64, 100_000 - early);
    assert!(late.is_sorted());
}

#[test]
fn a_rate_spaces_frames_by_the_time_they_take() {
    // 100 bytes at 1 Mbit/s take 0.8 ms.
    let mut way = up("rate=1mbit");
    let arrived = send(&mut way, 5, Duration::ZERO);
    let expected: Vec<_> = (0..5).map(|n| (Instant::from_nanos(800_000 * (u64::from(n) + 1)), n)).collect();
    assert_eq!(arrived, expected);
    // What was not used while nobody sent is not saved up.
    way.push(ms(100), 0, &frame(9));
    way.push(ms(100), 0, &frame(9));
    assert_eq!(way.next_deadline(), Some(Instant::from_nanos(100_800_000)));
    assert!(way.pop(ms(101)));
    assert_eq!(way.next_deadline(), Some(Instant::from_nanos(101_600_000)));
}

#[test]
fn a_rate_comes_before_the_delay() {
    let arrived = send(&mut up("rate=1mbit,delay=20ms"), 2, Duration::ZERO);
    assert_eq!(arrived, [(Instant::from_nanos(20_800_000), 0), (Instant::from_nanos(21_600_000), 1)]);
}

#[test]
fn a_full_queue_drops_the_newest() {
    let mut way = up("rate=1mbit,queue=3,delay=1s");
    for number in 0..5 {
        way.push(ms(0), 0, &frame(number));
    }
    assert_eq!((way.held(), way.counts().queue_full), (3, 2));
    // One has been sent, if not received: there is room for one more, and no other.
    way.push(Instant::from_nanos(799_999), 0, &frame(5));
    way.push(Instant::from_nanos(800_000), 0, &frame(6));
    way.push(Instant::from_nanos(800_000), 0, &frame(7));
    assert_eq!((way.held(), way.counts().queue_full), (4, 4));
    let mut arrived = Vec::new();
    drain(&mut way, None, &mut arrived);
    assert_eq!(numbers(&arrived), [0, 1, 2, 6]);
}

#[test]
fn a_duplicate_follows_its_frame_and_takes_its_time() {
    let mut way = up("duplicate=100%,rate=1mbit");
    let arrived = send(&mut way, 2, Duration::ZERO);
    assert_eq!(numbers(&arrived), [0, 0, 1, 1]);
    assert_eq!(arrived[1].0, Instant::from_nanos(1_600_000));
    assert_eq!(way.counts(), Counts { pushed: 2, popped: 4, duplicated: 2, ..Counts::default() });
    let mut way = up("duplicate=1%");
    let arrived = send(&mut way, 100_000, Duration::ZERO).len() as u64 - 100_000;
    assert!(arrived == way.counts().duplicated && arrived.abs_diff(1_000) < 158, "{arrived} of 100,000 at 1 %");
}

#[test]
fn corruption_turns_one_bit_behind_the_ethernet_header() {
    let mut way = up("corrupt=100%");
    let sent = [0x55; 60];
    let mut turned = [0u32; 60 * 8];
    for _ in 0..20_000 {
        way.push(ms(0), 0, &sent);
        let (_, bytes) = way.front(ms(0)).unwrap();
        let bits = (0..bytes.len() * 8).filter(|bit| (bytes[bit / 8] ^ sent[bit / 8]) >> (bit % 8) & 1 == 1);
        let bits: Vec<_> = bits.collect();
        assert_eq!((bytes.len(), bits.len()), (60, 1));
        turned[bits[0]] += 1;
        way.pop(ms(0));
    }
    let (header, packet) = turned.split_at(14 * 8);
    assert!(header.iter().all(|count| *count == 0), "the Ethernet header stays as it is");
    assert!(packet.iter().all(|count| *count > 0), "every other bit has its turn");
    // Nothing to turn over.
    way.push(ms(0), 0, &sent[..14]);
    assert_eq!(way.front(ms(0)), Some((0, &sent[..14])));
    assert_eq!(way.counts().corrupted, 20_000);
}

#[test]
fn of_a_corrupted_duplicate_one_is_whole() {
    let mut way = up("corrupt=100%,duplicate=100%");
    way.push(ms(0), 0, &frame(1));
    assert!(way.front(ms(0)).unwrap().1 != frame(1) && way.pop(ms(0)));
    assert_eq!(way.front(ms(0)).unwrap().1, frame(1));
}

#[test]
fn what_is_under_way_has_a_limit() {
    let mut way = up("delay=10s");
    for number in 0..HELD_MAX as u32 + 10 {
        way.push(ms(0), 0, &frame(number));
    }
    assert_eq!((way.held(), way.counts().overflowed), (HELD_MAX, 10));
    assert!(way.pop(ms(10_000)));
    way.push(ms(10_000), 0, &frame(0));
    assert_eq!((way.held(), way.counts().overflowed), (HELD_MAX, 10));
}

#[test]
fn every_frame_is_accounted_for() {
    let mut way = up("loss=5%,delay=2ms,jitter=1ms,reorder=5%,rate=2mbit,queue=20,duplicate=5%,corrupt=5%,seed=11");
    let arrived = send(&mut way, 50_000, Duration::from_micros(390)).len() as u64;
    let counts = way.counts();
    assert!(counts.queue_full > 0 && counts.overtook > 0 && counts.lost > 0);
    assert_eq!(counts.popped, arrived);
    assert_eq!(counts.pushed + counts.duplicated, counts.popped + counts.lost + counts.queue_full);
}
