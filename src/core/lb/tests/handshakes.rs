//! Handshakes whose SYNs were answered in backends' names: what ends them begins a flow, by its cookie.

use super::fixture::{Fixture, backends};
use crate::{
    lb::{Kind, Why},
    wire::SeqNumber,
};
use std::time::Duration;

const ISN: SeqNumber = SeqNumber::new(1_000);
const ENDS: Kind = Kind::Handshake(ISN);
/// As a keep-alive of a client has it that has said nothing yet: one below what comes next.
const KEEP_ALIVE: Kind = Kind::Segment(ISN);

/// Pooled connections are opened long before anything is said on them.
#[test]
fn a_flow_that_began_by_its_cookie_stays_though_its_client_says_nothing_for_long() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&old, Kind::Segment(SeqNumber::new(9))).0;
    it.configure(backends(4));
    assert_eq!(it.send(&new, ENDS), ("web-4".into(), Why::Cookie));
    for _ in 0..6 {
        it.wait(Duration::from_secs(15));
        assert_eq!(it.send(&new, KEEP_ALIVE), ("web-4".into(), Why::Remembered));
        // Those of before keep the row as it is.
        assert_eq!(it.send(&old, Kind::Segment(SeqNumber::new(9))).0, home);
    }
    it.wait(Duration::from_secs(100));
    assert_eq!(it.send(&new, Kind::Segment(ISN.advance(1))).0, "web-4", "its cookie is no good any more by now");
}

#[test]
fn a_cookie_ends_what_was_there_of_the_same_ports() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_that_will_move(&backends(4));
    it.configure(backends(4));
    // A SYN that was forwarded, as backends answered them then; and the handshake of another one.
    assert_eq!(it.send(&flow, Kind::Syn(SeqNumber::new(77))), ("web-4".into(), Why::Now));
    assert_eq!(it.send(&flow, ENDS).0, "web-4");
    assert_eq!(it.send(&flow, KEEP_ALIVE), ("web-4".into(), Why::Remembered));
    // Sent again, it is what it was.
    assert_eq!(it.send(&flow, ENDS), ("web-4".into(), Why::Remembered));
    assert_eq!(it.balancer.exceptions().0, 1);
}
