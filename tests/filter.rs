//! The program's list of flows: what it lets pass, and how rarely it is wrong. Needs root.

#[path = "common/library.rs"]
mod common;

use common::{is_root, pair::runner};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    thread,
};
use xskip::{
    rng::splitmix64,
    xdp::{FlowFilter, Program, ProgramOptions, Steering},
};

fn program(flows: u32) -> Program {
    Program::load(&Steering::default(), &ProgramOptions { flows, ..ProgramOptions::default() }).unwrap()
}

/// Flow number so and so, of either IP version.
fn flow(number: u64) -> (SocketAddr, SocketAddr) {
    let bits = splitmix64(number);
    let (high, low) = ((bits >> 32) as u32, bits as u32);
    let remote: IpAddr = match number % 2 {
        0 => IpAddr::V4(high.into()),
        _ => IpAddr::V6((u128::from(bits) << 64 | u128::from(splitmix64(bits))).into()),
    };
    let local: IpAddr = if remote.is_ipv4() { [198, 18, 0, 1].into() } else { "2001:2::1".parse().unwrap() };
    (SocketAddr::new(remote, low as u16), SocketAddr::new(local, 80))
}

fn contains(filter: &FlowFilter, number: u64) -> bool {
    let (remote, local) = flow(number);
    filter.contains(remote, local)
}

#[test]
fn at_its_rated_load_it_lists_every_flow_and_hardly_a_stranger() {
    if !is_root() {
        return;
    }
    for rated in [1_000, 65_536, 300_000] {
        let program = program(rated);
        let filter = program.guard().filter();
        for number in 0..rated.into() {
            let (remote, local) = flow(number);
            filter.insert(remote, local);
        }
        assert!((0..rated.into()).all(|number| contains(filter, number)));
        assert_eq!(filter.len(), rated as usize, "every flow found room");
        assert!(filter.capacity() >= 2 * rated as usize);
        let strangers = 1_000_000;
        let taken = (0..strangers).filter(|stranger| contains(filter, (1 << 40) + stranger)).count();
        assert!(taken < 300, "{taken} of a million taken for flows at {rated}; 122 are to be expected");
        for number in 0..rated.into() {
            let (remote, local) = flow(number);
            filter.remove(remote, local);
        }
        assert!(filter.is_empty());
    }
}

#[test]
fn with_more_flows_than_room_nobody_is_turned_away() {
    if !is_root() {
        return;
    }
    let program = program(16);
    let filter = program.guard().filter();
    let flows = 10 * filter.capacity() as u64;
    let each = |work: &dyn Fn(SocketAddr, SocketAddr)| {
        for number in 0..flows {
            let (remote, local) = flow(number);
            work(remote, local);
        }
    };
    each(&|remote, local| filter.insert(remote, local));
    assert!((0..flows).all(|number| contains(filter, number)));
    each(&|remote, local| filter.remove(remote, local));
    assert!(filter.is_empty());
    assert!(!contains(filter, 1 << 40), "with room again, strangers are strangers");
}

#[test]
fn no_flow_ever_hides_another() {
    if !is_root() {
        return;
    }
    // Few buckets and many flows, so that tags and buckets are shared; each number stands for a flow that comes or goes.
    let steps = prop::collection::vec(0..40u64, 0..400);
    let program = program(8);
    let filter = program.guard().filter();
    let mut runner = runner(256);
    let tried = runner.run(&steps, |steps| {
        let mut listed: HashMap<u64, bool> = HashMap::new();
        for number in steps {
            let is_listed = listed.entry(number).or_default();
            let (remote, local) = flow(number);
            if *is_listed {
                filter.remove(remote, local)
            } else {
                filter.insert(remote, local)
            }
            *is_listed = !*is_listed;
            for (&number, _) in listed.iter().filter(|(_, is_listed)| **is_listed) {
                prop_assert!(contains(filter, number), "flow {}", number);
            }
        }
        for (&number, _) in listed.iter().filter(|(_, is_listed)| **is_listed) {
            let (remote, local) = flow(number);
            filter.remove(remote, local);
        }
        prop_assert!(filter.is_empty());
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn any_number_of_threads_may_write() {
    if !is_root() {
        return;
    }
    let program = program(1_000);
    let filter = program.guard().filter();
    thread::scope(|scope| {
        for worker in 0..4u64 {
            scope.spawn(move || {
                for round in 0..50 {
                    let flows = (0..250).map(|number| worker << 32 | round << 16 | number);
                    for (remote, local) in flows.clone().map(flow) {
                        filter.insert(remote, local);
                    }
                    assert!(flows.clone().all(|number| contains(filter, number)));
                    for (remote, local) in flows.map(flow) {
                        filter.remove(remote, local);
                    }
                }
            });
        }
    });
    assert!(filter.is_empty());
}
