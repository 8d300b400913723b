//! Ends that wait for nothing, and how the simulator tells them from those that wait in vain.

use crate::{
    apps::{Ending, Work},
    dice::PERCENT,
    link::Wire,
    misbehaviour::{Garbage, Misbehaviour},
    scenario::{Plan, Scenario},
    verdict::{run, try_scenario},
    world::World,
};
use std::time::Duration;
use xskip_core::{
    CloseReason,
    config::{KeepAlive, TcpConfig},
    time::Instant,
};

/// A client that connects, does `client`, and meets a server that does `server`.
fn scenario(seed: u64, tcp: TcpConfig, client: Work, server: Work) -> Scenario {
    let wire = Wire { delay: Duration::from_millis(5), ..Wire::default() };
    let plan = Plan { client: 1, start: Instant::from_millis(1), works: [client, server] };
    Scenario { plans: vec![plan], ..Scenario::plain(seed, tcp, wire) }
}

fn listens() -> Work {
    Work { ending: Ending::FinishLast, ..Work::send(0) }
}

/// A client that only listens, and whose acknowledgments are lost half of the time: one handshake in sixty is never completed.
fn unheard(seed: u64) -> Scenario {
    let tcp = TcpConfig { keep_alive: Some(KeepAlive::default()), ..TcpConfig::default() };
    let mut scenario = scenario(seed, tcp, listens(), Work::send(100));
    scenario.wires[0].faults.ack_loss = 50 * PERCENT;
    scenario
}

/// When a client that only listens was reset, where no server ever spoke to it; a keep-alive after `idle` excuses that.
fn reset_at(seed: u64, idle: Duration) -> Option<Instant> {
    let scenario = unheard(seed);
    let mut world = World::new(&scenario);
    let keep_alive = Some(KeepAlive { idle, ..KeepAlive::default() });
    let mut judged = scenario;
    judged.hosts[1].config.tcp.keep_alive = keep_alive;
    run(&mut world, &judged);
    let (reason, at) = world.apps(0)[0].and_then(|client| client.closed).expect("it has ended");
    (reason == CloseReason::ResetByPeer).then_some(at)
}

#[test]
fn a_client_that_was_never_heard_learns_it_when_it_asks() {
    let idle = KeepAlive::default().idle;
    let resets: Vec<_> = (1..=500).filter_map(|seed| reset_at(seed, idle)).collect();
    assert!(!resets.is_empty(), "somebody asked");
    assert!(resets.iter().all(|&at| at > Instant::ZERO + idle), "not before that: {resets:?}");
}

#[test]
#[should_panic(expected = "nobody is reset without need")]
fn a_reset_before_anything_was_asked_is_caught() {
    for seed in 1..=500 {
        reset_at(seed, 2 * KeepAlive::default().idle);
    }
}

/// A client that only listens, asks now and then whether its server is there, and whose acknowledgments nearly all get lost: the
/// server gives up. What became of the two where it did.
fn given_up(seed: u64) -> Option<[(CloseReason, Instant); 2]> {
    let tcp = TcpConfig { keep_alive: Some(KeepAlive::default()), ..TcpConfig::default() };
    let mut scenario = scenario(seed, tcp, listens(), Work::send(100_000));
    scenario.wires[0].faults.ack_loss = 90 * PERCENT;
    let mut world = World::new(&scenario);
    run(&mut world, &scenario);
    let [client, server] = world.apps(0).map(|app| app.and_then(|app| app.closed));
    client
        .zip(server)
        .map(|(client, server)| [client, server])
        .filter(|[_, (reason, _)]| *reason == CloseReason::TimedOut)
}

#[test]
fn who_asks_an_end_that_has_given_up_is_reset() {
    let ends: Vec<_> = (1..=100).filter_map(given_up).collect();
    let is_reset = |[(reason, at), (_, before)]: &[(CloseReason, Instant); 2]| {
        *reason == CloseReason::ResetByPeer && *at >= *before + KeepAlive::default().idle / 2
    };
    assert!(ends.iter().any(is_reset), "somebody asked: {ends:?}");
}

#[test]
fn those_who_wait_for_each_other_after_a_lie_come_to_rest_among_garbage() {
    let ends: Vec<_> = (1..=40)
        .map(|seed| {
            let mut scenario = scenario(seed, TcpConfig::default(), Work::send(20_000), listens());
            scenario.wires[0].faults.loss = 10 * PERCENT;
            scenario.misbehaviour[1] = Misbehaviour::AcknowledgesAhead;
            scenario.garbage = Some(Garbage { every: Duration::from_millis(50) });
            try_scenario(&scenario).expect("data that were acknowledged and have not come are gone for good").end
        })
        .collect();
    let waited = |end: &&Instant| **end > Instant::ZERO + Duration::from_secs(600);
    let late = Instant::ZERO + Duration::from_secs(3_600);
    assert!(ends.iter().any(|end| waited(&end)), "some waited: {ends:?}");
    assert!(ends.iter().all(|&end| end < late), "none waited longer than anybody is interested: {ends:?}");
}
