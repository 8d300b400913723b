//! What becomes of a flow's packets, one after the other, while things change around it.

use super::fixture::{Fixture, backends};
use crate::{
    lb::{
        Backend, Balancer, Candidate, Decision, Fragments, Health, Kind, OnUnhealthy, Placement, Refusal, Row, Script,
        Service, State, Transport, WhenAllDown, Why, Windows,
    },
    time::Instant,
    wire::SeqNumber,
};
use std::{sync::Arc, time::Duration};

const SYN: Kind = Kind::Syn(SeqNumber::new(1_000));
/// What the SYN announced.
const FIRST: Kind = Kind::Segment(SeqNumber::new(1_001));
/// What it did not.
const OTHER: Kind = Kind::Segment(SeqNumber::new(900_000_000));

#[test]
fn a_settled_row_remembers_nothing() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_to("web-1");
    for kind in [SYN, FIRST, OTHER, Kind::Error, Kind::Fin(SeqNumber::new(2_000))] {
        assert_eq!(it.send(&flow, kind), ("web-1".into(), Why::Settled));
    }
    assert_eq!(it.balancer.exceptions().0, 0);
    assert_eq!(it.balancer.poll_timeout(), None, "and has nothing to do");
}

#[test]
fn what_began_before_a_change_stays_and_what_begins_after_moves() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&old, SYN).0;
    it.configure(backends(4));
    assert_eq!(it.send(&old, FIRST), (home.clone(), Why::Before));
    assert_eq!(it.send(&new, SYN), ("web-4".into(), Why::Now));
    assert_eq!(it.send(&new, FIRST), ("web-4".into(), Why::Remembered));
    assert_eq!(it.send(&old, Kind::Error), (home, Why::Before));
    assert_eq!(it.send(&new, Kind::Error), ("web-4".into(), Why::Remembered));
    assert_eq!(it.balancer.exceptions().0, 1);
}

#[test]
fn a_row_stays_in_transition_as_long_as_its_older_flows_speak() {
    let mut it = Fixture::tcp(3);
    let old = it.flow_that_will_move(&backends(4));
    let home = it.send(&old, SYN).0;
    it.configure(backends(4));
    for _ in 0..50 {
        it.wait(Fixture::SILENCE);
        assert_eq!(it.send(&old, FIRST).0, home);
    }
    it.wait(Fixture::SILENCE + Duration::from_secs(3));
    assert_eq!(it.send(&old, FIRST), ("web-4".into(), Why::Settled), "who is silent for longer is taken for ended");
}

#[test]
fn a_flow_that_is_remembered_is_so_until_its_row_has_settled() {
    let mut it = Fixture::tcp(3);
    let new = it.flow_that_will_move(&backends(4));
    it.configure(backends(4));
    it.send(&new, SYN);
    it.send(&new, FIRST);
    it.wait(Fixture::SILENCE - Duration::from_secs(5));
    it.send(&new, FIRST);
    assert_eq!(it.balancer.exceptions().0, 1);
    it.wait(Duration::from_secs(20)); // nobody else has spoken
    assert_eq!(it.balancer.exceptions().0, 0);
    assert_eq!(it.send(&new, FIRST), ("web-4".into(), Why::Settled));
    it.wait(Duration::from_secs(20));
    assert_eq!(it.balancer.poll_timeout(), None, "no row is watched any more");
}

#[test]
fn memory_of_a_flow_that_ends_is_short() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    it.configure(backends(4));
    it.send(&new, SYN);
    it.send(&new, FIRST);
    it.send(&new, Kind::Fin(SeqNumber::new(1_001)));
    it.wait(Duration::from_secs(50));
    it.send(&old, OTHER);
    assert_eq!(it.send(&new, Kind::Segment(SeqNumber::new(1_002))).1, Why::Remembered, "the last acknowledgment");
    it.wait(Duration::from_secs(80));
    assert_eq!(it.balancer.exceptions().0, 0);
}

#[test]
fn a_forged_end_is_none() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    it.configure(backends(4));
    for (forged, left) in [(Kind::Rst(SeqNumber::new(800_000_000)), 1), (Kind::Fin(SeqNumber::new(1_001)), 0)] {
        it.send(&new, SYN);
        it.send(&new, FIRST);
        it.send(&old, OTHER);
        it.send(&new, forged);
        it.send(&new, Kind::Segment(SeqNumber::new(2_000)));
        it.wait(Duration::from_secs(100));
        assert_eq!(it.balancer.exceptions().0, left, "{forged:?}");
        it.send(&old, OTHER);
    }
}

#[test]
fn a_syn_that_nothing_follows_is_forgotten() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let other = it.another_in_the_row_of(&old);
    it.configure(backends(4));
    it.send(&new, SYN);
    it.wait(Duration::from_secs(60));
    assert_eq!(it.send(&new, FIRST).1, Why::Remembered, "the SYN-ACK may have been lost five times");
    it.send(&old, FIRST);
    it.send(&other, SYN);
    it.wait(Duration::from_secs(60));
    assert_eq!(it.balancer.exceptions().0, 2);
    it.wait(Duration::from_secs(30));
    assert_eq!(it.balancer.exceptions().0, 1);
    assert_eq!(it.send(&other, FIRST).1, Why::Before);
}

#[test]
fn a_second_change_breaks_neither_generation() {
    let mut it = Fixture::tcp(3);
    let (first, second) = it.two_flows_that_will_move_twice(&backends(4), &backends(5));
    let home = it.send(&first, SYN).0;
    it.configure(backends(4));
    assert_eq!(it.send(&second, SYN).0, "web-4");
    it.send(&second, FIRST);
    it.configure(backends(5));
    assert_eq!(it.send(&first, FIRST), (home, Why::Before));
    assert_eq!(it.send(&second, FIRST), ("web-4".into(), Why::Remembered));
    let third = it.another_in_the_row_of(&first);
    assert_eq!(it.send(&third, SYN), ("web-5".into(), Why::Now));
}

#[test]
fn who_is_removed_is_forgotten_at_once() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_to("web-2");
    it.send(&flow, SYN);
    it.configure(backends(3).into_iter().filter(|it| it.name != "web-2").collect());
    let (name, why) = it.send(&flow, FIRST);
    assert!(name != "web-2" && why == Why::Settled);
}

#[test]
fn who_drains_keeps_its_flows_until_the_deadline() {
    let mut it = Fixture::tcp(3);
    let (old, new) = (it.flow_to("web-2"), it.flow_to("web-2"));
    it.send(&old, SYN);
    let until = it.now + Duration::from_secs(300);
    let mut next = backends(3);
    next[1].state = State::Drain { until };
    it.configure(next);
    assert_eq!(it.send(&old, FIRST), ("web-2".into(), Why::Before));
    assert_ne!(it.send(&new, SYN).0, "web-2", "it takes no new flows, nor old ones that begin anew");
    let id = it.balancer.backend(it.service(), "web-2").unwrap();
    assert!(it.balancer.share(id, it.now).older > 0 && it.balancer.share(id, it.now).rows == 0);
    it.send(&new, SYN);
    it.send(&new, FIRST);
    let shares = it.balancer.shares(it.now);
    assert_eq!(shares.values().map(|share| share.remembered).sum::<usize>(), 1);
    for (id, backend) in it.balancer.backends(it.service()) {
        assert_eq!(shares[&id], it.balancer.share(id, it.now), "{}", backend.name);
    }
    assert!(it.balancer.poll_timeout().unwrap() <= until);
    for _ in 0..29 {
        it.wait(Duration::from_secs(10));
        assert_eq!(it.send(&old, FIRST).0, "web-2");
    }
    it.wait(Duration::from_secs(11));
    assert_ne!(it.send(&old, FIRST).0, "web-2");
    assert_eq!(it.balancer.share(id, it.now).older, 0);
}

#[test]
fn weight_nought_takes_no_new_flows_and_keeps_the_old() {
    let mut it = Fixture::tcp(2);
    let flow = it.flow_to("web-2");
    it.send(&flow, SYN);
    let mut next = backends(2);
    next[1].weight = 0;
    it.configure(next);
    assert_eq!(it.send(&flow, FIRST), ("web-2".into(), Why::Before));
    assert_eq!(
        it.send(&flow, Kind::Syn(SeqNumber::new(77))),
        ("web-1".into(), Why::Now),
        "a port used again starts anew"
    );
    assert_eq!(it.send(&flow, Kind::Segment(SeqNumber::new(78))).0, "web-1");
}

#[test]
fn who_is_off_gets_nothing() {
    let mut it = Fixture::tcp(2);
    let flow = it.flow_to("web-2");
    it.send(&flow, SYN);
    let mut next = backends(2);
    next[1].state = State::Off;
    it.configure(next);
    assert_eq!(it.send(&flow, FIRST), ("web-1".into(), Why::Settled));
}

#[test]
fn without_anybody_to_serve_new_flows_are_dropped_and_old_ones_stay() {
    let mut it = Fixture::tcp(1);
    let flow = it.flow_to("web-1");
    it.send(&flow, SYN);
    let mut next = backends(1);
    next[0].state = State::Drain { until: Instant::NEVER };
    it.configure(next);
    assert_eq!(it.send(&flow, FIRST).0, "web-1");
    assert_eq!(it.decide(&flow, SYN), Decision::Drop(Refusal::NoBackend));
}

#[test]
fn a_forged_syn_moves_no_flow() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_that_will_move(&backends(4));
    let home = it.send(&flow, SYN).0;
    it.send(&flow, FIRST);
    it.configure(backends(4));
    assert_eq!(it.send(&flow, Kind::Syn(SeqNumber::new(3_000_000_000))).0, "web-4");
    assert_eq!(it.send(&flow, FIRST).0, home, "only what the SYN announced would follow it");
    it.wait(Duration::from_secs(100));
    let late = Kind::Segment(SeqNumber::new(3_000_000_001));
    assert_eq!(it.send(&flow, late).0, home, "and not for ever: the flow itself may get there");
}

#[test]
fn a_forged_syn_moves_no_flow_that_is_remembered() {
    let mut it = Fixture::tcp(3);
    let (flow, _) = it.two_flows_that_will_move_twice(&backends(4), &backends(5));
    it.configure(backends(4));
    it.send(&flow, SYN);
    it.send(&flow, FIRST);
    it.configure(backends(5));
    let forged = Kind::Syn(SeqNumber::new(3_000_000_000));
    assert_eq!(it.send(&flow, forged).0, "web-5");
    for _ in 0..5 {
        assert_eq!(it.send(&flow, FIRST), ("web-4".into(), Why::Remembered));
        it.wait(Duration::from_secs(50));
    }
    let entry = it.balancer.entries().next().unwrap().1;
    assert!(entry.confirmed && entry.before.is_none(), "nothing is left of what was forged");
    assert_eq!(it.send(&flow, Kind::Syn(SeqNumber::new(2_000_000_000))).0, "web-5");
    let announced = Kind::Segment(SeqNumber::new(2_000_000_001));
    assert_eq!(it.send(&flow, announced).0, "web-5", "but a client that means it begins anew");
    assert_eq!(it.send(&flow, FIRST).0, "web-5");
}

#[test]
fn a_syn_once_more_goes_where_the_first_went() {
    let mut it = Fixture::tcp(3);
    let (flow, _) = it.two_flows_that_will_move_twice(&backends(4), &backends(5));
    it.configure(backends(4));
    assert_eq!(it.send(&flow, SYN), ("web-4".into(), Why::Now));
    it.configure(backends(5));
    assert_eq!(it.send(&flow, SYN), ("web-4".into(), Why::Remembered));
    it.send(&flow, FIRST);
    assert_eq!(it.send(&flow, SYN), ("web-4".into(), Why::Remembered), "even a late one");
    assert_eq!(it.send(&flow, FIRST), ("web-4".into(), Why::Remembered));
}

#[test]
fn a_handshake_lasts_from_its_last_syn_and_leaves_who_is_down() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_that_will_move(&backends(4));
    it.configure(backends(4));
    it.send(&flow, SYN);
    it.wait(Duration::from_secs(40));
    it.send(&flow, SYN);
    it.wait(Duration::from_secs(50));
    assert_eq!(it.send(&flow, FIRST), ("web-4".into(), Why::Remembered));

    let other = it.another_that_moved();
    assert_eq!(it.send(&other, SYN).0, "web-4");
    it.tell("web-4", Health::Down);
    let (second, _) = it.send(&other, SYN);
    assert_ne!(second, "web-4");
    assert_eq!(it.send(&other, FIRST).0, second);
    assert_eq!(it.send(&flow, SYN), ("web-4".into(), Why::Remembered), "a flow stays, whatever is forged for it");
}

/// All rows go to the backend with the largest weight.
#[derive(Debug)]
struct Heaviest;

impl Placement for Heaviest {
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]) {
        let heaviest = (0..backends.len()).max_by_key(|&index| backends[index].weight).unwrap_or(0);
        rows.fill(heaviest as u16);
    }
}

#[test]
fn a_flow_that_is_remembered_at_home_is_not_forgotten_before_home_has_settled() {
    let weighed = |weights: [u32; 3]| {
        backends(3).into_iter().zip(weights).map(|(it, weight)| Backend { weight, ..it }).collect::<Vec<_>>()
    };
    let service = Service::tcp("web", Fixture::VIP, Arc::new(Heaviest));
    let mut it = Fixture::new(service, weighed([9, 1, 0]), 100);
    let flow = it.flow_to("web-1");
    it.tell("web-1", Health::Down);
    assert_eq!(it.send(&flow, SYN), ("web-2".into(), Why::SecondChoice));
    it.send(&flow, FIRST);
    it.configure(weighed([1, 9, 0]));
    let without_first = weighed([0, 1, 9])[1..].to_vec();
    it.configure(without_first);
    let row = Row::from_bits(it.balancer.rows(it.service()).unwrap()[0]);
    assert!(row.before.is_some() && row.before == it.balancer.entries().next().map(|(_, entry)| entry.backend));
    it.wait(Duration::from_secs(5));
    assert_eq!(it.send(&flow, FIRST), ("web-2".into(), Why::Remembered));
    it.wait(Fixture::SILENCE - Duration::from_secs(1)); // longer than nobody else has spoken
    assert_eq!(it.send(&flow, FIRST).0, "web-2");
    it.wait(Fixture::SILENCE - Duration::from_secs(1));
    assert_eq!(it.send(&flow, FIRST).0, "web-2");
}

#[test]
fn errors_and_strangers_leave_no_trace() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_that_will_move(&backends(4));
    it.configure(backends(4));
    let before = it.balancer.image().tables;
    it.wait(Duration::from_secs(5));
    it.send(&flow, Kind::Error);
    assert_eq!(it.balancer.image().tables, before, "an error is not a word of the flow");
    it.send(&flow, OTHER);
    assert_eq!(it.balancer.exceptions().0, 0);
}

#[test]
fn a_flood_puts_a_change_off_and_breaks_nothing() {
    let mut it = Fixture::new(Service::tcp("web", Fixture::VIP, Fixture::maglev()), backends(3), 2);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&old, SYN).0;
    it.configure(backends(4));
    let flood: Vec<_> = (0..2).map(|_| it.another_that_moved()).collect();
    flood.iter().for_each(|flow| _ = it.send(flow, SYN));
    let (name, why) = it.send(&new, SYN);
    assert_eq!(why, Why::NoRoom);
    assert_ne!(name, "web-4");
    assert_eq!(it.send(&new, FIRST), (name, Why::Before));
    assert_eq!(it.send(&old, FIRST), (home, Why::Before));
    it.wait(Duration::from_secs(90));
    assert_eq!(it.send(&new, SYN), ("web-4".into(), Why::Now), "when it is over, the change takes hold");
}

#[test]
fn a_flood_at_rows_in_transition_breaks_no_established_flow() {
    let mut it = Fixture::new(Service::tcp("web", Fixture::VIP, Fixture::maglev()), backends(2), 1_000);
    let flows: Vec<_> = (0..300).map(|number| it.flow_to(if number % 2 == 0 { "web-1" } else { "web-2" })).collect();
    let homes: Vec<_> = flows.iter().map(|flow| it.send(flow, SYN).0).collect();
    let mut next = backends(2);
    next[1].state = State::Drain { until: Instant::NEVER };
    it.configure(next);
    let in_transition =
        it.balancer.rows(it.service()).unwrap().iter().filter(|row| Row::from_bits(**row).before.is_some());
    assert_eq!(in_transition.count(), 510, "half the rows");
    for round in 0..30 {
        for _ in 0..1_000 {
            let stranger = it.stranger();
            it.decide(&stranger, Kind::Syn(SeqNumber::new(round)));
        }
        for (flow, home) in flows.iter().zip(&homes) {
            assert_eq!(it.send(flow, FIRST).0, *home);
        }
        it.wait(Duration::from_secs(1));
    }
    assert_eq!(it.balancer.exceptions(), (1_000, 1_000));
    assert!(it.balancer.counts().forwarded(Why::NoRoom) > 10_000);
}

#[test]
fn without_room_and_with_a_home_that_is_down_a_syn_has_to_come_again() {
    let mut it = Fixture::new(Service::tcp("web", Fixture::VIP, Fixture::maglev()), backends(3), 0);
    let flow = it.flow_to("web-2");
    it.tell("web-2", Health::Down);
    assert_eq!(it.decide(&flow, SYN), Decision::Drop(Refusal::ExceptionsFull));
    assert_eq!(it.balancer.counts().refused(Refusal::ExceptionsFull), 1);
}

#[test]
fn new_flows_avoid_who_is_down_and_nothing_else_moves() {
    let mut it = Fixture::tcp(3);
    let (old, new) = (it.flow_to("web-2"), it.flow_to("web-2"));
    it.send(&old, SYN);
    let rows = it.balancer.image().tables;
    it.tell("web-2", Health::Down);
    let (second, why) = it.send(&new, SYN);
    assert!(second != "web-2" && why == Why::SecondChoice);
    assert_eq!(it.send(&new, FIRST), (second.clone(), Why::Remembered));
    assert_eq!(it.send(&old, FIRST), ("web-2".into(), Why::Settled), "a check that fails proves nothing");
    it.tell("web-2", Health::Up);
    assert_eq!(it.send(&new, FIRST), (second, Why::Remembered));
    let third = it.another_in_the_row_of(&new);
    assert_eq!(it.send(&third, SYN), ("web-2".into(), Why::Settled));
    let leads = |tables: Vec<Box<[u64]>>| tables[0].iter().map(|row| *row as u32).collect::<Vec<_>>();
    assert_eq!(leads(it.balancer.image().tables), leads(rows), "health changes no table");
}

#[test]
fn with_both_choices_down_any_other_takes_new_flows() {
    let mut it = Fixture::tcp(4);
    let flow = it.flow_to("web-2");
    it.tell("web-2", Health::Down);
    let second = it.send(&flow, Kind::Syn(SeqNumber::new(5))).0;
    it.tell(&second, Health::Down);
    let (name, why) = it.send(&flow, SYN);
    assert!(name != "web-2" && name != second && why == Why::Spare);
    assert_eq!(it.send(&flow, FIRST), (name, Why::Remembered));
}

#[test]
fn with_all_down_a_service_is_open_or_closed() {
    for when_all_down in [WhenAllDown::Open, WhenAllDown::Closed] {
        let service = Service { when_all_down, ..Service::tcp("web", Fixture::VIP, Fixture::maglev()) };
        let mut it = Fixture::new(service, backends(2), 100);
        let flow = it.flow_to("web-1");
        it.tell("web-1", Health::Down);
        it.tell("web-2", Health::Down);
        match when_all_down {
            WhenAllDown::Open => assert_eq!(it.send(&flow, SYN), ("web-1".into(), Why::Open)),
            WhenAllDown::Closed => assert_eq!(it.decide(&flow, SYN), Decision::Drop(Refusal::AllDown)),
        }
        assert_eq!(it.send(&flow, OTHER).0, "web-1", "flows stay where they are");
    }
}

#[test]
fn flows_of_who_is_down_are_reset_when_patience_ends() {
    let service = Service {
        on_unhealthy: OnUnhealthy::Drain(Duration::from_secs(30)),
        ..Service::tcp("web", Fixture::VIP, Fixture::maglev())
    };
    let mut it = Fixture::new(service, backends(2), 100);
    let flow = it.flow_to("web-1");
    it.send(&flow, SYN);
    it.tell("web-1", Health::Down);
    it.wait(Duration::from_secs(29));
    assert_eq!(it.send(&flow, FIRST).0, "web-1");
    it.wait(Duration::from_secs(2));
    assert!(matches!(it.decide(&flow, FIRST), Decision::Reset(_)));
    assert!(matches!(it.decide(&flow, Kind::Rst(SeqNumber::new(1_001))), Decision::Forward(..)), "a RST draws none");
    assert_eq!(it.send(&flow, Kind::Syn(SeqNumber::new(7))).0, "web-2");
    assert_eq!(it.send(&flow, Kind::Segment(SeqNumber::new(8))).0, "web-2");
    it.tell("web-1", Health::Up);
    let other = it.flow_to("web-1");
    assert_eq!(it.send(&other, OTHER).0, "web-1");
}

#[test]
fn unknown_is_not_down() {
    let mut it = Fixture::tcp(1);
    let flow = it.flow_to("web-1");
    assert_eq!(it.send(&flow, SYN).0, "web-1");
}

#[test]
fn rows_of_datagrams_change_at_once_unless_a_flow_is_pinned() {
    let mut it = Fixture::new(Service::udp("web", Fixture::VIP, Fixture::maglev()), backends(3), 100);
    let (flow, pinned) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&pinned, Kind::Datagram).0;
    assert_eq!(it.send(&flow, Kind::Datagram).1, Why::Settled);
    let id = it.balancer.backend(it.service(), &home).unwrap();
    assert!(it.balancer.pin(&pinned, id, it.now));
    it.configure(backends(4));
    assert_eq!(it.send(&flow, Kind::Datagram), ("web-4".into(), Why::Settled));
    assert_eq!(it.send(&pinned, Kind::Datagram), (home.clone(), Why::Remembered));
    assert_eq!(it.send(&pinned, Kind::Error), (home.clone(), Why::Remembered));
    it.wait(Duration::from_secs(60));
    assert_eq!(it.send(&pinned, Kind::Datagram).0, home);
    assert!(it.balancer.unpin(&pinned, it.now) && !it.balancer.unpin(&pinned, it.now));
    assert_eq!(it.send(&pinned, Kind::Datagram).0, "web-4");
}

#[test]
fn fragments_are_dropped_or_placed_by_address() {
    let mut it = Fixture::tcp(3);
    let flow = it.flow_to("web-1");
    assert_eq!(it.decide(&flow, Kind::Fragment), Decision::Drop(Refusal::Fragment));

    let service = Service { fragments: Fragments::ByAddress, ..Service::udp("web", Fixture::VIP, Fixture::maglev()) };
    let mut it = Fixture::new(service, backends(3), 100);
    let mut flow = it.flow_to("web-2");
    let whole = it.send(&flow, Kind::Datagram).0;
    flow.tuple.remote.port = 0;
    flow.tuple.local.port = 0;
    assert_eq!(it.send(&flow, Kind::Fragment).0, whole, "the later ones have no ports");
    flow.tuple.local.port = 80;
    assert_eq!(it.decide(&flow, Kind::Datagram), Decision::Drop(Refusal::NoService), "another port is not served");
}

#[test]
fn a_service_of_every_port_leaves_others_theirs() {
    let mut it = Fixture::tcp(2);
    let every = Service::tcp("every", std::net::SocketAddr::new(Fixture::VIP.address, 0), Fixture::maglev())
        .with([Backend::new("other", Fixture::address(99))]);
    let web = it.service_with(backends(2));
    let plan = it.balancer.plan([web, every], it.now).unwrap();
    it.balancer.apply(&plan, it.now).unwrap();
    let mut flow = it.flow_to("web-1");
    assert_eq!(it.send(&flow, SYN).0, "web-1");
    flow.tuple.local.port = 22;
    assert_eq!(it.send(&flow, SYN).0, "other");
    flow.transport = Transport::Udp;
    assert_eq!(it.decide(&flow, Kind::Datagram), Decision::Drop(Refusal::NoService));
}

#[test]
fn a_number_is_given_again_late() {
    let mut it = Fixture::tcp(2);
    let number = |it: &Fixture, name: &str| it.balancer.backend(it.service(), name).map(|id| id.number.get());
    let (one, two) = (number(&it, "web-1").unwrap(), number(&it, "web-2").unwrap());
    let named = |names: &[u8]| names.iter().map(|&name| Fixture::backend(name)).collect::<Vec<_>>();
    it.configure(named(&[1, 3]));
    let three = number(&it, "web-3").unwrap();
    assert!(number(&it, "web-1") == Some(one) && three != one && three != two);
    it.wait(Fixture::SILENCE + Duration::from_secs(90));
    it.configure(named(&[1, 3, 4]));
    assert_eq!(number(&it, "web-4"), Some(two), "nothing that named it can be left");
}

#[test]
fn another_process_goes_on_where_one_ended() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&old, SYN).0;
    it.configure(backends(4));
    it.send(&new, SYN);
    it.send(&new, FIRST);
    let image = it.balancer.image();
    it.balancer = Balancer::resume(Fixture::key(), *it.limits(), image, it.now).unwrap();
    assert_eq!(it.send(&old, FIRST), (home.clone(), Why::Before));
    assert_eq!(it.send(&new, FIRST), ("web-4".into(), Why::Remembered));
    it.configure(backends(5));
    assert_eq!(it.send(&old, FIRST), (home, Why::Before));
    assert_eq!(it.send(&new, FIRST).0, "web-4");
    let mut broken = it.balancer.image();
    broken.tables[0] = Box::default();
    assert!(Balancer::resume(Fixture::key(), *it.limits(), broken, it.now).unwrap_err().to_string().contains("`web`"));
}

#[test]
fn another_process_does_not_give_a_number_that_is_still_named() {
    let mut it = Fixture::new(Service::tcp("web", Fixture::VIP, Arc::new(Heaviest)), backends(3), 100);
    let flow = it.flow_to("web-3");
    it.tell("web-3", Health::Down);
    it.configure(backends(4));
    it.send(&flow, SYN);
    it.send(&flow, FIRST);
    it.configure(backends(3));
    let named = it.balancer.entries().map(|(_, entry)| entry.backend.get()).collect::<Vec<_>>();
    assert_eq!(named, [4]);
    it.balancer = Balancer::resume(Fixture::key(), *it.limits(), it.balancer.image(), it.now).unwrap();
    it.configure([backends(3), vec![Fixture::backend(9)]].concat());
    let service = it.service();
    assert_eq!(it.balancer.backend(service, "web-9").map(|id| id.number.get()), Some(5));
}

#[test]
fn what_the_program_wrote_is_learnt() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    let home = it.send(&old, SYN).0;
    it.configure(backends(4));
    // The program has the same tables, and hears of the flows.
    let limits = *it.limits();
    let mut program = Balancer::resume(Fixture::key(), limits, it.balancer.image(), it.now).unwrap();
    it.wait(Fixture::SILENCE - Duration::from_secs(5));
    program.decide(&old, FIRST, it.now);
    program.decide(&new, SYN, it.now);
    program.decide(&new, FIRST, it.now);
    let service = it.service();
    it.balancer.learn_rows(service, program.rows(service).unwrap());
    it.balancer.learn_entries(program.entries());
    it.wait(Duration::from_secs(60));
    assert_eq!(it.send(&old, FIRST).0, home);
    assert_eq!(it.send(&new, FIRST), ("web-4".into(), Why::Remembered));
}

#[test]
fn health_comes_from_a_script_or_a_channel() {
    let mut it = Fixture::tcp(2);
    let id = it.balancer.backend(it.service(), "web-1").unwrap();
    let later = it.now + Duration::from_secs(10);
    let mut script = Script::new([(later, id, Health::Up), (it.now, id, Health::Down)]);
    assert_eq!(it.balancer.hear_of_health(&mut script, it.now), 1);
    assert_eq!(it.balancer.health(id), Some(Health::Down));
    assert_eq!(it.balancer.hear_of_health(&mut script, later), 1);
    assert_eq!(it.balancer.health(id), Some(Health::Up));
    let (sender, mut receiver) = std::sync::mpsc::channel();
    sender.send((id, Health::Down)).unwrap();
    assert_eq!(it.balancer.hear_of_health(&mut receiver, later), 1);
    it.configure(backends(3));
    let id = it.balancer.backend(it.service(), "web-1").unwrap();
    assert_eq!(it.balancer.health(id), Some(Health::Down), "a reload keeps what is known");
}

#[test]
fn limits_above_the_largest_are_taken_for_it() {
    let windows = Windows { silence: Duration::from_secs(1 << 20), ..Windows::default() };
    assert_eq!(windows.in_ticks().silence, 1 << 14);
}
