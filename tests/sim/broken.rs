//! The onlooker at work: what it must catch, caught.

use crate::{
    link::Wire,
    misbehaviour::Change,
    scenario::Scenario,
    verdict::{try_scenario, try_world},
};
use std::time::Duration;
use xskip_core::{config::TcpConfig, wire::TcpFlags};

fn scenario() -> Scenario {
    let wire = Wire { delay: Duration::from_millis(5), ..Wire::default() };
    Scenario::plain(1, TcpConfig::default(), wire).sending(Duration::ZERO, 50_000)
}

/// What is said of a run with a wire that changes segments, and their checksums with them.
fn on_the_wire(change: Change) -> String {
    try_world(&scenario(), |world| world.broken_wire = Some(change)).expect_err("it is caught")
}

#[track_caller]
fn caught(said: &str, expected: &str) {
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(expected), "{first}");
    assert!(said.contains(" seq "), "there is a ladder: {said}");
}

#[test]
fn nothing_is_wrong_with_an_honest_run() {
    assert!(try_scenario(&scenario()).is_ok());
}

#[test]
fn altered_octets_are_caught_at_the_reader() {
    let said = on_the_wire(|header, payload| {
        if payload.len() > 700 && header.seq.get().is_multiple_of(3) {
            payload[700] ^= 1;
        }
    });
    caught(&said, "octets come as they were written");
}

#[test]
fn a_connection_that_cannot_end_is_caught() {
    let said = on_the_wire(|header, _| header.flags.remove(TcpFlags::FIN));
    caught(&said, "whoever gives up has heard nothing, and has reason to");
}

#[test]
fn a_missing_rest_is_caught() {
    let said = on_the_wire(|header, payload| {
        if header.seq.get().is_multiple_of(5) && payload.len() > 1_000 {
            payload.truncate(1_000);
            header.flags.insert(TcpFlags::FIN);
        }
    });
    // The reader takes the end for the end and shuts its window, where the watch knows of more to come.
    caught(&said, "the right edge of a window stays or moves on");
}

#[test]
fn a_stack_that_breaks_a_rule_is_caught_on_the_wire() {
    let rules: [(Change, &str); 7] = [
        (|header, _| header.ack = header.ack.advance(1), "what has not come is not acknowledged"),
        (|header, _| header.seq = header.seq.advance(5_000), "no gaps"),
        (|_, payload| payload.iter_mut().take(1).for_each(|octet| *octet ^= 1), "octets are sent as they were written"),
        (|header, _| header.window = 0, "the right edge of a window stays or moves on"),
        (|header, _| header.window = u16::MAX, "no window is larger than the buffer"),
        (|_, payload| payload.extend([0; 100]), "no packet is larger than the MTU"),
        (|header, _| header.options.timestamps = None, "timestamps always or never"),
    ];
    for (change, rule) in rules {
        let said = try_world(&scenario(), |world| world.broken_stack = Some(change)).expect_err(rule);
        caught(&said, rule);
    }
}
