//! The parts of a connection, each against a model simple enough to be right.

use super::*;
use crate::tcp::{
    assembler::{Assembler, TooManyPieces},
    byte_ring::ByteRing,
    congestion::{Ack, Controller, Cubic, Reno},
    receive::window_scale_for,
    rto::RttEstimator,
    timers::Timers,
    tuning::Tuning,
};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Debug)]
enum RingStep {
    Push(Vec<u8>),
    /// Written beyond the back, and joined later.
    WriteAhead(Vec<u8>),
    Spare(usize),
    Consume(usize),
    Look(usize, usize),
}

fn ring_step() -> impl Strategy<Value = RingStep> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..3_000);
    prop_oneof![
        bytes().prop_map(RingStep::Push),
        bytes().prop_map(RingStep::WriteAhead),
        (0..3_000usize).prop_map(RingStep::Spare),
        (0..6_000usize).prop_map(RingStep::Consume),
        (any::<usize>(), any::<usize>()).prop_map(|(offset, length)| RingStep::Look(offset, length)),
    ]
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn a_byte_ring_is_a_queue(steps in prop::collection::vec(ring_step(), 0..60)) {
        let (mut ring, mut model) = (ByteRing::default(), VecDeque::new());
        for step in steps {
            match step {
                RingStep::Push(bytes) => {
                    ring.push(&bytes);
                    model.extend(bytes);
                }
                RingStep::WriteAhead(bytes) => {
                    // The second half first, then the first half, then both join.
                    let (front, back) = bytes.split_at(bytes.len() / 2);
                    ring.write_at(ring.len() + front.len(), back);
                    ring.push(front);
                    ring.extend(back.len());
                    model.extend(bytes);
                }
                RingStep::Spare(limit) => {
                    let spare = ring.spare(limit);
                    prop_assert!(spare.len() <= limit && (limit == 0) == spare.is_empty());
                    spare.fill(7);
                    let length = spare.len();
                    ring.extend(length);
                    model.extend(std::iter::repeat_n(7, length));
                }
                RingStep::Consume(length) => {
                    let length = length.min(ring.len());
                    ring.consume(length);
                    model.drain(..length);
                }
                RingStep::Look(offset, length) => {
                    let offset = offset % (ring.len() + 1);
                    let length = length % (ring.len() - offset + 1);
                    let (first, second) = ring.range(offset, length);
                    let expected = model.iter().skip(offset).take(length);
                    prop_assert!(first.iter().chain(second).eq(expected));
                }
            }
            prop_assert_eq!(ring.len(), model.len());
            prop_assert!(model.is_empty() || ring.front()[0] == model[0]);
        }
    }

    #[test]
    fn an_assembler_is_a_set(pieces in prop::collection::vec((0..400u32, 1..60u32), 0..40), limit in 1..8usize) {
        let origin = SeqNumber::new(u32::MAX - 200);
        let (mut assembler, mut model) = (Assembler::default(), BTreeSet::new());
        for (start, length) in pieces {
            let mut wider = model.clone();
            wider.extend(start..start + length);
            let (from, to) = (origin.advance(start), origin.advance(start + length));
            match assembler.insert(from, to, limit) {
                Ok(()) => model = wider,
                Err(TooManyPieces) => prop_assert!(runs(&model).len() >= limit && runs(&wider).len() > limit),
            }
            let found: Vec<_> =
                assembler.pieces().map(|(start, end)| (start.since(origin), end.since(origin))).collect();
            prop_assert_eq!(found, runs(&model));
            // What is known, and what is missing, of a stretch around it.
            let (left, right) = (start.saturating_sub(20), start + length + 20);
            let within = |set: BTreeSet<u32>| runs(&set).first().copied();
            let known = assembler.first_known(origin.advance(left), origin.advance(right));
            let missing = assembler.first_missing(origin.advance(left), origin.advance(right));
            let relative = |(start, end): (SeqNumber, SeqNumber)| (start.since(origin), end.since(origin));
            prop_assert_eq!(known.map(relative), within((left..right).filter(|at| model.contains(at)).collect()));
            prop_assert_eq!(missing.map(relative), within((left..right).filter(|at| !model.contains(at)).collect()));
        }
        // Everything up to 100 arrives: the pieces that touch it are taken through.
        let mut reached = 100;
        while model.contains(&reached) {
            reached += 1;
        }
        prop_assert_eq!(assembler.take_through(origin.advance(100)), origin.advance(reached));
        prop_assert!(assembler.pieces().all(|(start, _)| start.since(origin) > reached));
        assembler.forget_before(origin.advance(200));
        model.retain(|&at| at >= 200 && at > reached);
        let left: Vec<_> = assembler.pieces().map(|(start, end)| (start.since(origin), end.since(origin))).collect();
        prop_assert_eq!(left, runs(&model));
    }
}

/// The runs of consecutive numbers in a set, each from its first up to the one behind its last.
fn runs(set: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in set {
        match runs.last_mut() {
            Some(run) if run.1 == number => run.1 += 1,
            _ => runs.push((number, number + 1)),
        }
    }
    runs
}

#[test]
fn the_retransmission_timeout_follows_rfc_6298() {
    let config = TcpConfig::default();
    let millis = Duration::from_millis;
    let mut rtt = RttEstimator::new(&config);
    assert_eq!(rtt.rto(), Duration::from_secs(1), "§2.1");
    rtt.measured(millis(400), &config);
    assert_eq!(rtt.rto(), millis(400 + 4 * 200), "§2.2");
    rtt.measured(millis(480), &config);
    // §2.3: RTTVAR = 3/4 · 200 + 1/4 · 80, SRTT = 7/8 · 400 + 1/8 · 480
    assert_eq!(rtt.smoothed(), Some(millis(410)));
    assert_eq!(rtt.rto(), millis(410 + 4 * 170));
    rtt.back_off(&config);
    assert_eq!(rtt.rto(), 2 * millis(410 + 4 * 170), "§5.5");
    for _ in 0..20 {
        rtt.back_off(&config);
    }
    assert_eq!(rtt.rto(), config.rto_max, "§2.5");
    for _ in 0..100 {
        rtt.measured(millis(1), &config);
    }
    assert_eq!(rtt.rto(), config.rto_min, "§2.4");
}

/// Somebody stood still meanwhile. What is remembered of it is what a connection that sleeps can remember, to the microsecond.
#[test]
fn what_took_weeks_is_remembered_alike_asleep_and_awake() {
    let (config, weeks) = (TcpConfig::default(), Duration::from_secs(25 * 24 * 3_600));
    let mut awake = RttEstimator::new(&config);
    awake.measured(weeks, &config);
    assert_eq!(awake.rto(), config.rto_max);
    let mut resumed = RttEstimator::resume(&awake.suspend());
    for _ in 0..100 {
        assert_eq!((resumed.rto(), resumed.smoothed()), (awake.rto(), awake.smoothed()));
        awake.measured(Duration::from_millis(100), &config);
        resumed.measured(Duration::from_millis(100), &config);
    }
    assert!(awake.rto() < Duration::from_secs(1), "{:?}", awake.rto());

    let (begin, nxt) = (Instant::from_millis(1), SeqNumber::new(1));
    let mut awake = Tuning::new(1 << 20, begin);
    awake.measured(weeks);
    let mut resumed = Tuning::resume(awake.suspend(), begin);
    let told = [1, 2].map(|hours| {
        let later = begin + Duration::from_secs(hours * 3_600);
        (awake.arrived(nxt, later), resumed.arrived(nxt, later))
    });
    assert_eq!(told, [(None, None), (Some(0), Some(0))]);
}

fn ack(octets: u32, limited: bool) -> Ack {
    Ack { octets, limited, now: Instant::ZERO, rtt: Duration::from_millis(100) }
}

/// CUBIC's windows, in segments of 1,000 octets, after each of so many round trips of 100 ms in which all of it was used.
fn cubic_rounds(cubic: &mut Cubic, now: &mut Instant, rounds: usize) -> Vec<u32> {
    let rtt = Duration::from_millis(100);
    let mut round = || {
        *now += rtt;
        for _ in 0..cubic.window() / 1_000 {
            cubic.acknowledged(&Ack { octets: 1_000, limited: true, now: *now, rtt });
        }
        cubic.window() / 1_000
    };
    (0..rounds).map(|_| round()).collect()
}

#[test]
fn cubic_comes_back_to_where_it_lost_and_goes_cautiously_beyond() {
    let (mut cubic, mut now) = (Cubic::new(1_000), Instant::ZERO);
    assert_eq!(cubic.window(), 10_000);
    assert_eq!(cubic_rounds(&mut cubic, &mut now, 5), [20, 40, 80, 160, 320], "slow start doubles");
    cubic.lost(320_000);
    assert_eq!(cubic.window(), 224_000, "beta is 0.7");
    // K is the third root of 96 / 0.4: 6.2 seconds until it is where it was.
    let windows = cubic_rounds(&mut cubic, &mut now, 100);
    let back = windows.iter().position(|&window| window >= 320).unwrap();
    assert!((58..=68).contains(&back), "after {back} round trips: {windows:?}");
    let growth = |at: usize| windows[at + 5] - windows[at];
    assert!(growth(0) > growth(40), "concave before: {windows:?}");
    assert!(growth(70) < growth(90), "convex behind: {windows:?}");
    // Who loses before it is back makes room for others.
    let mut early = cubic.clone();
    early.lost(cubic.window());
    let before = early.window();
    cubic_rounds(&mut early, &mut now, 5);
    early.lost(early.window());
    assert!(early.window() < before);
}

#[test]
fn cubic_is_no_slower_than_reno_where_round_trips_are_short() {
    let (mut cubic, mut now) = (Cubic::new(1_000), Instant::ZERO);
    cubic.lost(20_000);
    assert_eq!(cubic.window(), 14_000);
    let rtt = Duration::from_micros(100);
    for _ in 0..100 {
        now += rtt;
        for _ in 0..cubic.window() / 1_000 {
            cubic.acknowledged(&Ack { octets: 1_000, limited: true, now, rtt });
        }
    }
    // 6 segments at 0.53 a round trip, and then one each.
    assert!((105_000..115_000).contains(&cubic.window()), "{}", cubic.window());
    let window = cubic.window();
    cubic.acknowledged(&Ack { octets: window, limited: false, now, rtt });
    assert_eq!(cubic.window(), window, "a window that was not tested does not grow");
    cubic.timed_out(window, true);
    assert_eq!(cubic.window(), 1_000);
    cubic.idled();
    assert_eq!(cubic.window(), 1_000);
    cubic.lost(1_000);
    assert_eq!(cubic.window(), 2_000, "never below two segments");
}

#[test]
fn must_19_congestion_avoidance_grows_by_a_segment_a_round_trip() {
    let mut reno = Reno::new(1_000);
    assert_eq!(reno.window(), 10_000);
    reno.lost(20_000);
    assert_eq!(reno.window(), 10_000, "half of what was in flight");
    for _ in 0..10 {
        reno.acknowledged(&ack(1_000, true));
    }
    assert_eq!(reno.window(), 11_000);
    reno.acknowledged(&ack(11_000, false));
    assert_eq!(reno.window(), 11_000, "a window that was not tested does not grow");
    reno.timed_out(11_000, true);
    assert_eq!(reno.window(), 1_000);
    for _ in 0..5 {
        reno.acknowledged(&ack(1_000, true));
    }
    assert_eq!(reno.window(), 5_500, "slow start up to the threshold");
    reno.timed_out(6_000, false);
    reno.lost(2_000);
    assert_eq!(reno.window(), 2_000, "never below two segments");
}

#[test]
fn the_initial_window_follows_rfc_6928() {
    for (mss, window) in [(536, 5_360), (1_460, 14_600), (2_000, 14_600), (9_000, 18_000)] {
        assert_eq!(Reno::new(mss).window(), window, "MSS {mss}");
    }
}

#[test]
fn the_window_scale_is_the_smallest_that_fits() {
    for (limit, scale) in [(0, 0), (65_535, 0), (65_536, 1), (512 * 1_024, 4), (1 << 30, 14), (usize::MAX, 14)] {
        assert_eq!(window_scale_for(limit), scale, "{limit}");
    }
}

#[test]
fn timers_expire_in_turn_and_once() {
    let mut timers = Timers::default();
    let at = Instant::from_millis;
    timers.arm(Timer::Retransmit, at(30));
    timers.arm_if_idle(Timer::Retransmit, at(10));
    timers.arm(Timer::DelayedAck, at(20));
    assert_eq!(timers.next(), Some(at(20)));
    assert_eq!(timers.expire(at(19)), None);
    assert_eq!(timers.expire(at(20)), Some(Timer::DelayedAck));
    assert_eq!(timers.expire(at(29)), None);
    timers.arm(Timer::Retransmit, at(25));
    assert_eq!((timers.expire(at(30)), timers.expire(at(30))), (Some(Timer::Retransmit), None));
    assert_eq!(timers.next(), None);
}
