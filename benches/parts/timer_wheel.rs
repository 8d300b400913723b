//! The timer wheel, with up to a million timers.

use divan::{Bencher, black_box};
use std::time::Duration;
use xskip::{rng::splitmix64, stack::TimerWheel, time::Instant};

const TIMERS: [u32; 4] = [100, 10_000, 100_000, 1_000_000];

/// The longest that a timer of these runs.
const SPAN: Duration = Duration::from_millis(200);

/// A deadline within the span after `now`, which depends on `number` only.
fn deadline(now: Instant, number: u64) -> Instant {
    now + Duration::from_nanos(splitmix64(number) % SPAN.as_nanos() as u64)
}

fn wheel(timers: u32) -> TimerWheel {
    let mut wheel = TimerWheel::default();
    for token in 0..timers {
        wheel.arm(token, deadline(Instant::ZERO, token.into()));
    }
    wheel
}

/// A timer is called off and armed anew, with so many others beside it.
#[divan::bench(args = TIMERS)]
fn cancel_and_arm(bencher: Bencher, timers: u32) {
    let (mut wheel, mut turn) = (wheel(timers), 0);
    bencher.bench_local(|| {
        turn += 1;
        let token = (splitmix64(turn) % u64::from(timers)) as u32;
        wheel.cancel(black_box(token));
        wheel.arm(token, deadline(Instant::ZERO, turn));
    });
}

/// A timer that is armed already is to fire later: what every acknowledgment asks for.
#[divan::bench(args = TIMERS)]
fn put_off(bencher: Bencher, timers: u32) {
    let (mut wheel, mut turn) = (wheel(timers), 0);
    bencher.bench_local(|| {
        turn += 1;
        let token = (splitmix64(turn) % u64::from(timers)) as u32;
        wheel.arm(black_box(token), Instant::ZERO + SPAN);
    });
}

/// The next timer to run out is waited for, and armed anew.
#[divan::bench(args = TIMERS)]
fn expire_and_arm(bencher: Bencher, timers: u32) {
    let (mut wheel, mut now, mut turn) = (wheel(timers), Instant::ZERO, 0);
    bencher.bench_local(|| {
        let token = loop {
            match wheel.expire(now) {
                Some(token) => break token,
                None => now = wheel.next_deadline().expect("some are armed"),
            }
        };
        turn += 1;
        wheel.arm(black_box(token), deadline(now, turn));
    });
}
