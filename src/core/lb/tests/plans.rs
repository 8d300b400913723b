//! Plans: what is refused, what is shared, what is said of them, and what a flow's way is in words.

use super::fixture::{Fixture, backends};
use crate::{
    lb::{
        ApplyError, Backend, BackendId, Balancer, Candidate, Change, Fragments, Health, Kind, Limits, MAX_BACKENDS,
        Placement, PlanError, RowCount, Service, State,
    },
    rng::splitmix64,
    time::Instant,
    wire::{Endpoint, SeqNumber},
};
use proptest::prelude::*;
use std::{collections::HashSet, sync::Arc, time::Duration};

fn service(name: &str, host: u8, port: u16) -> Service {
    let address = Endpoint { address: std::net::Ipv4Addr::new(198, 18, 0, host).into(), port };
    let service = Service::tcp(name, address, Fixture::maglev()).with(backends(3));
    Service { rows: RowCount::new(1_021).unwrap(), ..service }
}

fn balancer(services: &[Service]) -> Balancer {
    let mut balancer = Balancer::new(Fixture::key(), Limits { exceptions: 100, ..Limits::default() });
    apply(&mut balancer, services);
    balancer
}

fn apply(balancer: &mut Balancer, services: &[Service]) {
    let plan = balancer.plan(services.to_vec(), Instant::ZERO).expect("a good configuration");
    balancer.apply(&plan, Instant::ZERO).expect("a plan that fits");
}

/// What is said of a configuration that is refused.
fn refused(services: Vec<Service>) -> Vec<String> {
    let mut balancer = balancer(&[service("web", 80, 443)]);
    let before = balancer.rows(balancer.service("web").unwrap()).unwrap().to_vec();
    let errors = balancer.plan(services, Instant::ZERO).expect_err("a bad configuration");
    balancer.handle_timeout(Instant::ZERO);
    assert_eq!(balancer.rows(balancer.service("web").unwrap()).unwrap(), before);
    errors.iter().map(PlanError::to_string).collect()
}

fn with_backends(change: impl FnOnce(&mut Vec<Backend>)) -> Vec<Service> {
    let mut one = service("web", 80, 443);
    change(&mut one.backends);
    vec![one]
}

#[derive(Debug)]
struct Wrong;

impl Placement for Wrong {
    fn place(&self, backends: &[Candidate<'_>], rows: &mut [u16]) {
        rows[9] = backends.len() as u16;
    }
}

#[test]
fn what_is_wrong_is_said_with_its_remedy() {
    let ours = || service("web", 80, 443);
    let by_address = Service { fragments: Fragments::ByAddress, ..service("dns", 80, 53) };
    let many =
        (0..=MAX_BACKENDS).map(|number| Backend::new(format!("web-{number}"), Fixture::address(1))).collect::<Vec<_>>();
    let large =
        |many: &Vec<Backend>| Service { rows: RowCount::DEFAULT, ..service("large", 81, 443) }.with(many.clone());
    let cases: Vec<(Vec<Service>, &str)> = vec![
        (vec![ours(), service("web", 81, 443)], "two services are called `web`"),
        (vec![ours(), service("other", 80, 443)], "have the same address, port and transport"),
        (vec![ours(), by_address], "which say no port, and `web` has its address"),
        (
            vec![service("other", 80, 443), Service { address: "224.0.0.1".parse().unwrap(), ..ours() }],
            "224.0.0.1 is no address",
        ),
        (with_backends(Vec::clear), "`web` has no backends: list one"),
        (vec![large(&many)], "4097 backends, and 4096 is the most"),
        (
            vec![Service { rows: RowCount::new(101).unwrap(), ..service("small", 81, 443) }.with(many[..102].to_vec())],
            "101 is the most",
        ),
        (with_backends(|it| it[1].name = "web-1".into()), "two backends of `web` are called `web-1`"),
        (with_backends(|it| it[1].name.clear()), "has no name"),
        (with_backends(|it| it[1].weight = 10_001), "`web/web-2` has weight 10001: 10000 is the largest"),
        (
            with_backends(|it| it[1].address.address = "198.18.0.80".parse().unwrap()),
            "has the address of service `web`",
        ),
        (with_backends(|it| it[1].address.address = "0.0.0.0".parse().unwrap()), "`web/web-2` needs"),
        (vec![Service { rows: RowCount::SMALL, ..ours() }], "has 1021 rows and keeps them"),
        (vec![Service { placement: Arc::new(Wrong), ..ours() }], "gave row 9 to backend 3 of 3"),
    ];
    for (services, expected) in cases {
        let errors = refused(services);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{expected}: {errors:?}");
    }
    let both = refused(with_backends(|it| {
        it[0].weight = 20_000;
        it[1].name = it[2].name.clone();
    }));
    assert_eq!(both.len(), 2, "all of it is said: {both:?}");
}

#[test]
fn a_plan_that_another_overtook_is_not_applied() {
    let mut balancer = balancer(&[service("web", 80, 443)]);
    let late = balancer.plan([service("web", 80, 443).with(backends(4))], Instant::ZERO).unwrap();
    apply(&mut balancer, &[service("web", 80, 443).with(backends(5))]);
    assert_eq!(balancer.apply(&late, Instant::ZERO).unwrap_err(), ApplyError::Stale);
    assert_eq!(balancer.backends(balancer.service("web").unwrap()).count(), 5);
}

#[test]
fn services_with_the_same_backends_share_a_table() {
    let tables = |balancer: &Balancer| {
        let ids: Vec<_> = balancer.services().map(|(id, _)| id).collect();
        ids.iter().filter_map(|&id| balancer.table(id)).collect::<HashSet<_>>().len()
    };
    let mut three = vec![service("a", 80, 443), service("b", 80, 80), service("c", 81, 443)];
    three[1].backends.iter_mut().for_each(|backend| backend.address.port = 80); // where they are is not asked
    three[2].backends.reverse();
    let mut it = balancer(&three);
    assert_eq!(tables(&it), 1);
    three.iter_mut().for_each(|service| *service = service.clone().with(backends(4)));
    apply(&mut it, &three);
    assert_eq!(tables(&it), 1, "they have changed alike");
    let four = it.backend(it.service("b").unwrap(), "web-4").unwrap();
    assert_eq!(it.backend(it.service("a").unwrap(), "web-4").unwrap().number, four.number);

    three[0] = three[0].clone().with(backends(5));
    apply(&mut it, &three);
    assert_eq!(tables(&it), 2);
    three[1] = three[1].clone().with(backends(5));
    apply(&mut it, &three);
    assert_eq!(tables(&it), 3, "the same backends, and another past");
    three.push(service("d", 82, 443).with(backends(5)));
    apply(&mut it, &three);
    assert_eq!(tables(&it), 3, "who is new has no past");
}

#[test]
fn a_name_that_comes_back_as_another_service_inherits_nothing() {
    let mut it = Fixture::tcp(2);
    let flow = it.flow_to("web-2");
    it.tell("web-2", Health::Down);
    it.send(&flow, Kind::Syn(SeqNumber::new(5)));
    assert_eq!(it.balancer.exceptions().0, 1);
    let other = service("other", 81, 443);
    let plan = it.balancer.plan([other], it.now).unwrap();
    it.balancer.apply(&plan, it.now).unwrap();
    assert_eq!(it.balancer.exceptions().0, 0);
    assert_eq!(it.balancer.service("other").map(|id| id.index()), Some(0), "its place is free");
    let gone = BackendId { service: it.balancer.service("other").unwrap(), number: crate::lb::Number::new(9).unwrap() };
    assert!(!it.balancer.set_health(gone, Health::Down, it.now) && it.balancer.address(gone).is_none());
}

#[test]
fn a_plan_says_what_it_changes() {
    let it = balancer(&[service("web", 80, 443), service("old", 81, 443)]);
    let mut next = service("web", 80, 443);
    next.backends.remove(0);
    next.backends[0].weight = 50;
    next.backends[1].state = State::Drain { until: Instant::NEVER };
    next.backends.push(Fixture::backend(4));
    let plan = it.plan([next, service("new", 82, 443)], Instant::ZERO).unwrap();
    let text = plan.to_string();
    for line in [
        "service new is new",
        "service old goes, and all its flows end",
        "service web changes",
        "  + web-4 198.18.1.4:443 weight 100\n",
        "  - web-1\n",
        "  ~ web-2 198.18.1.2:443 weight 50, was web-2 198.18.1.2:443 weight 100\n",
        "  ~ web-3 198.18.1.3:443 weight 100, draining, was web-3",
        "  rows: ",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let same = it.plan([service("web", 80, 443), service("old", 81, 443)], Instant::ZERO).unwrap();
    assert!(same.is_empty() && same.to_string() == "nothing changes\n");
}

#[test]
fn a_plan_counts_rows_as_they_will_be() {
    let mut it = balancer(&[service("web", 80, 443)]);
    let id = it.service("web").unwrap();
    for next in [backends(4), backends(4)[1..].to_vec(), backends(6)] {
        let next = service("web", 80, 443).with(next);
        let plan = it.plan([next], Instant::ZERO).unwrap();
        let change = plan.changes[0].clone();
        let before = it.rows(id).unwrap().to_vec();
        it.apply(&plan, Instant::ZERO).unwrap();
        let rows = |bits: &[u64]| bits.iter().map(|&bits| crate::lb::Row::from_bits(bits)).collect::<Vec<_>>();
        let (before, after) = (rows(&before), rows(it.rows(id).unwrap()));
        let moved = before.iter().zip(&after).filter(|(one, other)| one.now != other.now).count();
        assert_eq!((change.what, change.moved as usize), (Change::Changed, moved));
        assert_eq!(change.remembered as usize, after.iter().filter(|row| row.before.is_some()).count());
    }
}

#[test]
fn a_flow_is_explained() {
    let mut it = Fixture::tcp(3);
    let (old, new) = it.two_flows_that_will_move(&backends(4));
    it.configure(backends(4));
    it.send(&new, Kind::Syn(SeqNumber::new(5)));
    it.send(&new, Kind::Segment(SeqNumber::new(6)));
    let home = it.send(&old, Kind::Segment(SeqNumber::new(5))).0;
    it.tell("web-4", Health::Down);
    let text = it.balancer.explain(&old, it.now);
    for line in [
        "tcp 203.0.113.",
        " -> 198.18.0.80:443: service web",
        " of 1021: new flows go to web-4 (198.18.1.4:443, health down)",
        "second choice, while that is down: web-",
        &format!("older flows go to {home} "),
        "the flow is not remembered",
        "a SYN goes to ",
        "because the row's backend is down",
        &format!("any other segment goes to {home}, as older flows of the row do"),
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let text = it.balancer.explain(&new, it.now);
    assert!(text.contains("the flow is remembered at web-4") && text.contains("as is remembered"), "{text}");
    let mut stranger = old;
    stranger.tuple.local.port = 1;
    let text = it.balancer.explain(&stranger, it.now);
    assert!(text.contains("no service has 198.18.0.80:1 by tcp"), "{text}");
}

/// An explanation is of the tables that decide, so it never contradicts them.
#[test]
fn an_explanation_agrees_with_the_decision() {
    let mut it = Fixture::tcp(4);
    it.configure(backends(6));
    it.tell("web-5", Health::Down);
    for _ in 0..200 {
        let flow = it.another_that_moved();
        let (syn, segment) = (Kind::Syn(SeqNumber::new(5)), Kind::Segment(SeqNumber::new(6)));
        let text = it.balancer.explain(&flow, it.now);
        let told = |what: &str| text.lines().find(|line| line.contains(what)).map(str::to_owned).unwrap_or_default();
        let (of_segment, of_syn) = (told("any other segment"), told("a SYN goes"));
        assert!(of_segment.contains(&format!("goes to {},", it.send(&flow, segment).0)), "{text}");
        assert!(of_syn.contains(&format!("goes to {},", it.send(&flow, syn).0)), "{text}");
    }
}

#[test]
fn ten_thousand_services_take_the_memory_of_one() {
    let services: Vec<Service> = (0..10_000_u32)
        .map(|number| {
            let address = Endpoint { address: std::net::Ipv4Addr::from_bits(0x0a00_0000 | number).into(), port: 443 };
            Service::tcp(format!("service-{number}"), address, Fixture::maglev()).with(backends(3))
        })
        .collect();
    let it = balancer(&services);
    let image = it.image();
    assert_eq!((it.services().count(), image.tables.len()), (10_000, 1));
    assert!(image.tables[0].len() * size_of::<u64>() <= 1 << 20);
}

#[test]
fn four_thousand_backends_are_served() {
    let many = (0..4_000_u32).map(|number| {
        let address = Endpoint { address: std::net::Ipv4Addr::from_bits(0x0a00_0000 | number).into(), port: 443 };
        Backend { weight: 1 + number % 100, ..Backend::new(format!("web-{number}"), address) }
    });
    let mut it = balancer(&[Service { rows: RowCount::DEFAULT, ..service("web", 80, 443).with(many.clone()) }]);
    let id = it.service("web").unwrap();
    assert_eq!(it.spare(id).len(), 4_000);
    let plan = it
        .plan([Service { rows: RowCount::DEFAULT, ..service("web", 80, 443).with(many.skip(1)) }], Instant::ZERO)
        .unwrap();
    let change = &plan.changes[0];
    assert!(change.ended > 0 && change.moved < 65_537 / 50, "{change:?}");
    it.apply(&plan, Instant::ZERO).unwrap();
    assert!(it.poll_timeout().is_some());
    it.handle_timeout(Instant::ZERO + Duration::from_secs(8_000));
    assert_eq!(it.poll_timeout(), None);
}

proptest! {
    #![proptest_config(crate::rng::cases(32))]
    #[test]
    fn order_does_not_matter(weights in prop::collection::vec(0..500_u32, 1..40), seed: u64) {
        let address = Fixture::address;
        let mut backends: Vec<_> = (0_u8..).zip(&weights)
            .map(|(number, &weight)| Backend { weight, ..Backend::new(format!("web-{number}"), address(number + 1)) })
            .collect();
        let leads = |backends: &[Backend]| {
            let it = balancer(&[service("web", 80, 443).with(backends.to_vec())]);
            let id = it.service("web").unwrap();
            let name = |number| it.name(BackendId { service: id, number }).map(str::to_owned);
            let rows = it.rows(id).unwrap().iter().map(|&bits| crate::lb::Row::from_bits(bits));
            rows.map(|row| (row.now.and_then(name), row.second.and_then(name))).collect::<Vec<_>>()
        };
        let before = leads(&backends);
        let mixed = |name: &str| name.bytes().fold(seed, |sum, byte| splitmix64(sum ^ u64::from(byte)));
        backends.sort_by_key(|backend| mixed(&backend.name));
        prop_assert_eq!(before, leads(&backends));
    }
}

#[test]
fn shares_of_all_are_those_of_each_though_services_have_tables_in_common() {
    let service = |name: &str, port, backends| {
        let at = Endpoint { port, ..Fixture::VIP };
        let service = Service::tcp(name, at, Fixture::maglev()).with(backends);
        Service { rows: RowCount::new(1_021).unwrap(), ..service }
    };
    let mut balancer = Balancer::new(Fixture::key(), Limits::default());
    let now = Instant::from_millis(1_000_000);
    for (one, other) in [(3, 3), (3, 2), (4, 2)] {
        let services =
            [service("a", 1, backends(one)), service("b", 2, backends(one)), service("c", 3, backends(other))];
        let plan = balancer.plan(services, now).unwrap();
        balancer.apply(&plan, now).unwrap();
        let id = |name: &str| balancer.service(name).unwrap();
        assert_eq!(balancer.table(id("a")), balancer.table(id("b")));
        let shares = balancer.shares(now);
        for (service, _) in balancer.services() {
            for (id, backend) in balancer.backends(service) {
                assert_eq!(shares[&id], balancer.share(id, now), "{}", backend.name);
            }
            let rows = shares.iter().filter(|(id, _)| id.service == service).map(|(_, share)| share.rows);
            assert_eq!(rows.sum::<u32>(), 1_021);
        }
    }
}
