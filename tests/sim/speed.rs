//! How fast it goes, and how little is sent twice: figures that a protocol can be held to, exact because time is virtual.

use crate::{
    dice::PERCENT,
    link::{Faults, Wire},
    scenario::{Plan, Scenario},
    verdict::run,
    world::{SERVER, World},
};
use std::time::Duration;
use xskip_core::{
    config::{CongestionControl, TcpConfig},
    time::Instant,
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Buffers that never hold anything back.
fn roomy() -> TcpConfig {
    TcpConfig { receive_buffer: 8_000_000, send_buffer: 8_000_000, ..TcpConfig::default() }
}

/// A wire of this rate and round trip, with room for what fits in one of these.
fn wire(rate: u64, round_trip: Duration) -> Wire {
    let queue = (u128::from(rate) * round_trip.as_nanos() / 8_000_000_000) as usize;
    Wire { delay: round_trip / 2, rate: Some(rate), queue, ..Wire::default() }
}

/// What the client of the first plan has sent, as the wire saw it: segments, those sent again, and when the last of these was.
fn sent(world: &World, plan: usize) -> (u64, u64, Instant) {
    let tuple = world.tuple(plan).expect("it was opened");
    let end = &world.watch.flow(&tuple).expect("it was seen").ends[0];
    (end.segments, end.resent, end.last_resent)
}

/// Runs to the end of the last application's work; how long it took from the first SYN, and the world then.
pub fn transfer(scenario: &Scenario) -> (Duration, World) {
    let mut world = World::new(scenario);
    run(&mut world, scenario);
    let started = scenario.plans.iter().map(|plan| plan.start).min().expect("there is something to do");
    let done = world.hosts[SERVER].apps.iter().map(|app| app.last_read).max().expect("there was something to do");
    (done - started, world)
}

/// Octets that the server has read from each client so far.
fn read(world: &World) -> Vec<u64> {
    world.hosts[SERVER].apps.iter().map(|app| app.read).collect()
}

fn run_until(world: &mut World, end: Instant) {
    while world.step(end) {}
}

#[test]
fn cubic_fills_a_link_within_ten_seconds() {
    let rate = 100_000_000;
    let scenario = Scenario::plain(1, roomy(), wire(rate, millis(40))).sending(Duration::ZERO, u64::MAX / 2);
    let mut world = World::new(&scenario);
    run_until(&mut world, Instant::from_millis(9_000));
    let before = read(&world)[0];
    run_until(&mut world, Instant::from_millis(10_000));
    let goodput = (read(&world)[0] - before) * 8;
    // Of 1,514 octets on the wire, 1,448 are data.
    let possible = rate * 1_448 / 1_514;
    assert!(goodput * 100 >= possible * 95, "{goodput} of {possible} bits a second");
}

#[test]
fn one_lost_segment_never_costs_a_timeout() {
    let (rate, round_trip) = (100_000_000, millis(40));
    let scenario = |lost_data: Vec<u64>| {
        let mut scenario = Scenario::plain(1, roomy(), wire(rate, round_trip)).sending(Duration::ZERO, 600_000);
        scenario.wires[0].faults = Faults { lost_data, ..Faults::default() };
        scenario
    };
    let (without, _) = transfer(&scenario(Vec::new()));
    // Slow start has sent 10, 20, 40 and 80 by then: the next window is one of more than 100.
    for lost in 151..=251 {
        let (with, world) = transfer(&scenario(vec![lost]));
        assert_eq!(sent(&world, 0).1, 1, "one is lost, one is sent again: {lost}");
        assert!(with < without + 2 * round_trip, "segment {lost}: {with:?} instead of {without:?}");
    }
}

#[test]
fn a_lost_tail_is_repaired_in_slow_start_after_a_probe() {
    let round_trip = millis(40);
    let scenario = |lost_data: Vec<u64>| {
        let mut scenario =
            Scenario::plain(1, roomy(), wire(100_000_000, round_trip)).sending(Duration::ZERO, 29 * 1_448);
        scenario.wires[0].faults = Faults { lost_data, ..Faults::default() };
        scenario
    };
    let (without, _) = transfer(&scenario(Vec::new()));
    // The probe waits for two round trips as they were measured (RFC 8985 §7.2), some of them with an acknowledgment delayed, from
    // the last acknowledgment on, which is delayed itself where the number of segments is odd.
    let delayed_ack = TcpConfig::default().delayed_ack;
    for tail in 1..=18u32 {
        // One for the probe and its report. Then what arrives is replaced, and earns one more where it fills a hole (RFC 9937 §6.2):
        // one goes out in the first round trip, two in the second, four in the third.
        let rounds = 1 + tail.next_power_of_two().ilog2();
        // Where one segment is alone, its acknowledgment may have been delayed for longer.
        let probe = 2 * round_trip * 5 / 4 + delayed_ack + millis(if tail == 1 { 200 } else { 0 });
        let (with, _) = transfer(&scenario((30 - u64::from(tail)..=29).collect()));
        assert!(with <= without + rounds * round_trip + probe, "the last {tail}: {with:?} instead of {without:?}");
    }
}

/// Reorders some packets, as many others overtaking them, with hosts whose clocks are so coarse. How many segments are sent
/// again, and when the last is.
fn reordered(seed: u64, tcp: TcpConfig, tick: Duration, chance: u32, others: u64) -> (u64, Instant) {
    let rate = 10_000_000;
    // So long do the others take.
    let held_up = Duration::from_nanos(others * 1_514 * 8_000_000_000 / rate);
    let wire = Wire { queue: 10_000_000, ..wire(rate, millis(40)) };
    let mut scenario = Scenario::plain(seed, tcp, wire).sending(Duration::ZERO, 5_000_000);
    scenario.wires[0].faults = Faults { reordering: chance, held_up, ..Faults::default() };
    for host in &mut scenario.hosts {
        host.tick = tick;
    }
    let (_, world) = transfer(&scenario);
    let (_, again, last) = sent(&world, 0);
    (again, last)
}

/// A little reordering; nothing may be sent again after the first second.
fn reorder(tick: Duration, chance: u32) {
    for seed in 1..=10 {
        let (again, last) = reordered(seed, small_window(), tick, chance, 3);
        assert!(last <= Instant::from_millis(1_000), "seed {seed}, {tick:?}: {again} sent again, the last at {last}");
    }
}

#[test]
fn a_little_reordering_is_no_loss() {
    reorder(Duration::from_nanos(1), 5 * PERCENT);
    reorder(millis(1), 5 * PERCENT);
}

#[test]
fn a_little_reordering_is_no_loss_on_a_coarse_clock_either() {
    reorder(millis(10), 5 * PERCENT);
    reorder(millis(10), PERCENT);
}

#[test]
fn much_reordering_is_learnt() {
    // Up to 24 ms: a quarter of the least round trip, which is 41 ms, is not enough. Each time that shows, the window grows by
    // another quarter (RFC 8985 §6.2 step 4), whether timestamps tell first or D-SACK has to.
    for timestamps in [true, false] {
        for (tick, seed) in
            [(Duration::from_nanos(1), 1), (Duration::from_nanos(1), 2), (millis(1), 3), (millis(10), 4)]
        {
            let (again, last) = reordered(seed, TcpConfig { timestamps, ..small_window() }, tick, 20 * PERCENT, 20);
            assert!(again <= 12, "timestamps {timestamps}, {tick:?}: {again} of 3,500 sent again, the last at {last}");
        }
    }
}

/// Windows as large as the link takes, so that its queue loses nothing.
fn small_window() -> TcpConfig {
    TcpConfig { receive_buffer: 100_000, send_buffer: 1_000_000, ..TcpConfig::default() }
}

#[test]
fn little_is_sent_twice() {
    for congestion_control in [CongestionControl::Cubic, CongestionControl::Reno] {
        for loss in [PERCENT / 10, PERCENT / 2, PERCENT, 2 * PERCENT, 5 * PERCENT] {
            for seed in 1..=10 {
                let tcp = TcpConfig { congestion_control, ..roomy() };
                let mut scenario =
                    Scenario::plain(seed, tcp, wire(50_000_000, millis(40))).sending(Duration::ZERO, 3_000_000);
                scenario.wires[0].faults = Faults { loss, ..Faults::default() };
                let (_, world) = transfer(&scenario);
                let (again, lost) = (sent(&world, 0).1, world.links[0].counts.lost_data);
                assert!(
                    again * 10 <= lost * 12,
                    "seed {seed}, {congestion_control:?}, loss {loss}: {again} sent again, {lost} lost"
                );
            }
        }
    }
}

#[test]
fn two_flows_share_a_link() {
    // When the second one begins decides whose segments the queue drops first, and so how the first minute goes.
    let mut shares: Vec<u64> = (0..5).map(|step| share_of_the_first(millis(460 + 20 * step))).collect();
    shares.sort_unstable();
    assert!(shares.iter().all(|share| (40..=60).contains(share)), "{shares:?} %");
    assert!((45..=55).contains(&shares[shares.len() / 2]), "{shares:?} %");
}

/// What the first of two flows gets of two minutes on one link, where the second begins at `start`, percent.
fn share_of_the_first(start: Duration) -> u64 {
    let mut scenario = Scenario::plain(1, roomy(), wire(20_000_000, millis(40)));
    scenario.hosts.push(scenario.hosts[1].clone());
    scenario = scenario.sending(Duration::ZERO, u64::MAX / 2).sending(start, u64::MAX / 2);
    scenario.plans[1] = Plan { client: 2, ..scenario.plans[1] };
    let mut world = World::new(&scenario);
    run_until(&mut world, Instant::ZERO + start);
    let before = read(&world)[0];
    run_until(&mut world, Instant::ZERO + start + Duration::from_secs(120));
    let both = read(&world);
    let (one, two) = (both[0] - before, both[1]);
    one * 100 / (one + two)
}
