//! The parts of a stack against models simple enough to be right.

use super::super::{
    Addresses, Cidr, Flow, FlowFingerprint, FlowHash, FlowTable, Secrets,
    aged_slab::AgedSlab,
    rate_limit::RateLimit,
    slab::Slab,
    time_wait::{TimeWait, TimeWaits},
    timer_wheel::{TICK, TimerWheel},
};
use crate::{
    config::TcpConfig,
    tcp::Connection,
    time::{Coarse, Instant},
    wire::{Endpoint, FourTuple},
};
use proptest::prelude::*;
use std::{
    collections::{HashMap, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    /// Few hashes, so that probes collide, and many of them near the end, so that they wrap.
    #[test]
    fn a_flow_table_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..40u32), 0..400)) {
        let hash = |key: u32| if key.is_multiple_of(3) { 60 + key % 7 } else { u32::MAX - key % 5 };
        let flow = |key: u32| match key % 4 {
            0 | 1 => Flow::Connection(key),
            2 => Flow::HalfOpen(key),
            _ => Flow::TimeWait(key),
        };
        let mut table = FlowTable::new(32);
        let mut model = HashMap::new();
        for (insert, key) in steps {
            if insert && model.len() < 32 && !model.contains_key(&key) {
                table.insert(hash(key), flow(key));
                model.insert(key, flow(key));
            } else if !insert && model.remove(&key).is_some() {
                table.remove(hash(key), flow(key));
            }
            prop_assert_eq!(table.len(), model.len());
            for key in 0..40 {
                prop_assert_eq!(table.find(hash(key), |found| found == flow(key)), model.get(&key).copied());
            }
        }
    }

    /// Each token fires once, not before its deadline (but for what the wheel may do early: nothing), and no later than the
    /// first look after it.
    #[test]
    fn a_timer_wheel_is_a_list_of_deadlines(
        steps in prop::collection::vec((0..3u8, 0..30u32, 0..200_000_000u64, 0..32u32), 0..300)
    ) {
        let mut wheel = TimerWheel::new(30);
        let mut model: HashMap<u32, u64> = HashMap::new();
        let mut now = 0u64;
        let tick = TICK.as_nanos() as u64;
        for (what, token, span, shift) in steps {
            // Spans from nanoseconds to days.
            let span = (span << shift) % 500_000_000_000_000;
            match what {
                0 => {
                    let due = (now + span).div_ceil(tick).max(now / tick + 1);
                    wheel.arm(token, Instant::from_nanos(now + span));
                    let entry = model.entry(token).or_insert(due);
                    *entry = due.min(*entry);
                }
                1 => {
                    wheel.cancel(token);
                    model.remove(&token);
                }
                _ => {
                    now += span / 50;
                    if let Some(deadline) = model.values().min() {
                        let next = wheel.next_deadline().expect("something is armed");
                        prop_assert!(next.as_nanos() <= deadline * tick, "never told to look too late");
                    }
                    let mut fired = Vec::new();
                    while let Some(token) = wheel.expire(Instant::from_nanos(now)) {
                        fired.push(token);
                    }
                    let mut expected: Vec<u32> =
                        model.iter().filter(|&(_, &due)| due <= now / tick).map(|(&token, _)| token).collect();
                    model.retain(|_, due| *due > now / tick);
                    fired.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(fired, expected);
                }
            }
            prop_assert_eq!(wheel.next_deadline().is_none(), model.is_empty());
        }
    }

    #[test]
    fn an_aged_slab_is_a_queue(steps in prop::collection::vec((0..3u8, any::<usize>()), 0..200)) {
        let mut slab = AgedSlab::new(8);
        // Oldest first: index and value.
        let mut model: VecDeque<(u32, usize)> = VecDeque::new();
        for (what, number) in steps {
            let position = number % model.len().max(1);
            match what {
                0 => match slab.insert(number) {
                    Ok(index) => model.push_back((index, number)),
                    Err(back) => prop_assert!(back == number && model.len() == 8),
                },
                1 if !model.is_empty() => {
                    let (index, value) = model.remove(position).unwrap();
                    prop_assert_eq!(slab.remove(index), Some(value));
                    prop_assert_eq!(slab.remove(index), None);
                }
                _ => {
                    let oldest = slab.oldest().map(|index| (index, slab[index]));
                    prop_assert_eq!(oldest, model.front().copied());
                }
            }
            prop_assert_eq!(slab.len() as usize, model.len());
            prop_assert_eq!(slab.is_full(), model.len() == 8);
        }
    }

    /// Entries leave in the order in which they came or were last restarted, not before their time and no later than 17 ms after
    /// it. A place that was given up early stays taken; who is restarted takes one of two spare ones besides.
    #[test]
    fn time_waits_are_a_queue(steps in prop::collection::vec((0..5u8, any::<u32>()), 0..300)) {
        let mut waits = TimeWaits::new(16, MSL_TWICE);
        let mut model: VecDeque<Place> = VecDeque::new();
        let mut now = Instant::from_millis(5);
        for (what, number) in steps {
            let here: Vec<usize> = (0..model.len()).filter(|&at| model[at].state == Waiting::Here).collect();
            let chosen = here.get(number as usize % here.len().max(1)).copied();
            let moved = model.iter().filter(|place| place.state == Waiting::Elsewhere).count();
            match (what, chosen) {
                (0, _) => {
                    let mut evicted = None;
                    while model.iter().filter(|place| place.state != Waiting::Elsewhere).count() >= 16 {
                        let first = model.pop_front().unwrap();
                        evicted = (first.state == Waiting::Here).then_some(first.number);
                    }
                    prop_assert_eq!(waits.make_room().map(|(_, entry)| entry.hash().slot), evicted);
                    let index = waits.insert(time_wait(number), now).unwrap();
                    model.push_back(Place { number, began: now, index, state: Waiting::Here });
                }
                (1, Some(at)) => {
                    model[at].state = Waiting::Over;
                    waits.remove(model[at].index);
                }
                (2, Some(at)) => {
                    let place = model[at];
                    let again = waits.restart(place.index, now);
                    let is_fresh = now - place.began < Duration::from_millis(980);
                    prop_assert!(again == place.index || (!is_fresh && moved < 2));
                    prop_assert!(again != place.index || moved == 2 || now - place.began < Duration::from_millis(1_020));
                    if again != place.index {
                        model[at].state = Waiting::Elsewhere;
                        model.push_back(Place { began: now, index: again, ..place });
                    }
                }
                _ => {
                    now += Duration::from_millis(u64::from(number % 40_000));
                    let mut expected = Vec::new();
                    while let Some(&first) = model.front()
                        && Instant::from(Coarse::not_before(first.began + MSL_TWICE)) <= now
                    {
                        expected.extend((first.state == Waiting::Here).then_some(first.number));
                        model.pop_front();
                    }
                    let over = std::iter::from_fn(|| waits.expire(now).map(|(_, entry)| entry.hash().slot));
                    prop_assert_eq!(over.collect::<Vec<_>>(), expected);
                }
            }
            let here: Vec<&Place> = model.iter().filter(|place| place.state == Waiting::Here).collect();
            prop_assert_eq!(waits.len() as usize, here.len());
            prop_assert!(here.iter().all(|place| waits.get(place.index).hash().slot == place.number));
        }
    }
}

/// A place in TIME-WAIT's queue.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u32,
    began: Instant,
    index: u32,
    state: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Here,
    Elsewhere,
    Over,
}

const MSL_TWICE: Duration = Duration::from_secs(60);

fn time_wait(slot: u32) -> TimeWait {
    let hash = FlowHash { slot, check: 7 };
    TimeWait::new(hash, FlowFingerprint::default(), &Connection::blank(&TcpConfig::default()))
}

#[test]
fn a_slab_uses_a_freed_slot_first_and_keeps_its_limit() {
    let mut slab = Slab::new(2);
    assert_eq!((slab.insert('a'), slab.insert('b'), slab.insert('c')), (Ok(0), Ok(1), Err('c')));
    assert_eq!((slab.remove(0), slab.remove(0), slab.get(0)), (Some('a'), None, None));
    assert_eq!(slab.indices().collect::<Vec<_>>(), [1]);
    assert_eq!(slab.insert('d'), Ok(0));
    assert!(slab.is_full() && !slab.is_empty());
}

#[test]
fn a_bucket_gives_its_rate_and_no_more() {
    let mut limit = RateLimit::new(1_000);
    let mut now = Instant::ZERO;
    let mut taken = |now: Instant, tries: u32| (0..tries).filter(|_| limit.allow(now)).count();
    assert_eq!(taken(now, 1_000), 100);
    now += Duration::from_secs(100);
    assert_eq!(taken(now, 1_000), 100, "what is not taken in time is lost");
    let mut never = RateLimit::new(0);
    assert!(!never.allow(now));
}

#[test]
fn addresses_say_what_is_wrong_with_them() {
    let narrow = ["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/32", "fe80::1/128", "2001:2::/127"];
    for good in ["198.18.0.1/24", "2001:2::1/64", "240.0.0.1/4"].into_iter().chain(narrow) {
        assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
    }
    for (bad, part) in [
        ("198.18.0.1", "write it like 198.18.0.1/24"),
        ("198.18.0/24", "write it like"),
        ("198.18.0.1/x", "write it like"),
        ("198.18.0.1/33", "the most is /32"),
        ("2001:2::1/129", "the most is /128"),
        ("198.18.0.255/24", "choose a unicast address"),
        ("255.255.255.255/32", "choose a unicast address"),
        ("0.0.0.0/0", "choose a unicast address"),
        ("127.0.0.1/8", "choose a unicast address"),
        ("224.0.0.1/24", "choose a unicast address"),
        ("ff02::1/64", "choose a unicast address"),
        ("::/64", "choose a unicast address"),
        ("::1/128", "choose a unicast address"),
        ("0.1.2.3/8", "choose a unicast address"),
        (
            "198.18.0.0/24",
            "198.18.0.0/24 names the subnet, and no host in it: choose a host's address, such as 198.18.0.1",
        ),
        ("10.0.0.4/30", "such as 10.0.0.5"),
        ("10.0.0.0/8", "such as 10.0.0.1"),
        ("2001:2::/64", "such as 2001:2::1"),
        ("2001:2:0:0:8000::/65", "such as 2001:2::8000:0:0:1"),
        ("::ffff:198.18.0.1/120", "::ffff:198.18.0.1 is 198.18.0.1 written as an address of IPv6: write 198.18.0.1"),
        ("fe80::1%eth0/64", "leave out what begins with %"),
    ] {
        let said = bad.parse::<Cidr>().unwrap_err().to_string();
        let address = bad.split(['/', '%']).next().unwrap();
        assert!(said.contains(part) && said.contains(address), "{bad}: {said}");
    }
    let broadcast = |cidr: &str, address: &str| cidr.parse::<Cidr>().unwrap().is_broadcast(address.parse().unwrap());
    assert!(broadcast("198.18.0.1/24", "198.18.0.255") && broadcast("10.1.2.3/8", "10.255.255.255"));
    assert!(!broadcast("198.18.0.1/24", "198.18.1.255") && !broadcast("10.0.0.0/31", "10.0.0.1"));
    assert!(!Addresses::default().contains("198.18.0.1".parse().unwrap()));
}

#[test]
fn flows_that_collide_under_one_key_spread_under_another() {
    // What somebody can choose who knows the key of another process: here, all at one place of 1,024.
    const PLACES: u32 = 1_024;
    let place = |secrets: &Secrets, tuple: &FourTuple| secrets.hash_flow(tuple) % PLACES;
    let known = Secrets::from_seed(1);
    let tuple = |number: u32| FourTuple {
        local: Endpoint { address: [198, 18, 0, 1].into(), port: 80 },
        remote: Endpoint { address: Ipv4Addr::from_bits(number >> 16).into(), port: number as u16 },
    };
    let chosen: Vec<FourTuple> =
        (1 << 16..u32::MAX).map(tuple).filter(|tuple| place(&known, tuple) == 7).take(512).collect();
    for seed in 2..10 {
        let ours = Secrets::from_seed(seed);
        let mut flows = [0; PLACES as usize];
        chosen.iter().for_each(|tuple| flows[place(&ours, tuple) as usize] += 1);
        let most = flows.into_iter().max().unwrap_or(0);
        assert!(most <= 7, "seed {seed}: {most} of 512 at one place, which chance hardly ever does");
    }
}
