//! Listeners that come and go while the guard is up, on the program itself: needs root.

#[path = "common/library.rs"]
mod common;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use common::{is_root, pair::*};
use xskip::{
    config::StackConfig,
    stack::{Cidr, LocalAddress, Ownership},
    wire::{InterfaceId, TcpHeader, TcpOptions},
    xdp::{Action, MAX_LISTENERS, ServeError, Service, SynAckFields},
};

/// A port that nobody listens on in the beginning.
const LATE: u16 = 8_007;

const FIELDS: SynAckFields =
    SynAckFields { mss: 1_460, window: 65_535, window_scale: 4, sack: true, hop_limit: 64, traffic_class: 0 };

fn syn(ipv6: bool, destination_port: u16, source_port: u16) -> Vec<u8> {
    let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    frame(&link(), ipv6, &TcpHeader { options, destination_port, source_port, ..header(SYN, 1_000, 0) }, b"")
}

/// A program and a stack with one address, of either ownership.
fn pair_at(ownership: Ownership, ipv6: bool) -> Pair {
    let cidr = Cidr { address: ours(ipv6), prefix: if ipv6 { 64 } else { 24 } };
    Pair::with(14, StackConfig::default(), vec![LocalAddress { cidr, ownership }])
}

#[test]
fn a_listener_added_during_a_flood_is_answered_with_cookies_like_any_other() {
    if !is_root() {
        return;
    }
    for (ownership, ipv6) in
        [(Ownership::Own, false), (Ownership::Own, true), (Ownership::Shared, false), (Ownership::Shared, true)]
    {
        let mut pair = pair_at(ownership, ipv6);
        let guard = pair.program.guard().clone();
        guard.set_closed_budget(0);
        // What a SYN for the late port comes to, and one for the first listener.
        let outcome = |pair: &Pair| {
            let before = pair.program.verdicts().unwrap();
            let action = pair.run(&syn(ipv6, LATE, 40_000)).0;
            let after = pair.program.verdicts().unwrap();
            assert_eq!(pair.run(&syn(ipv6, PORT, 40_001)).0, XDP_TX, "the other listener is served all the time");
            (action, after.dropped_closed - before.dropped_closed, after.passed_foreign - before.passed_foreign)
        };
        let closed = match ownership {
            Ownership::Own => (XDP_DROP, 1, 0),
            Ownership::Shared => (XDP_PASS, 0, 1),
        };
        assert_eq!(outcome(&pair), closed, "{ownership:?}");
        let services = pair.program.services().clone();
        let service = Service::tcp(SocketAddr::new(ours(ipv6), LATE));
        services.serve(service, Action::Guarded(FIELDS)).unwrap();
        assert_eq!(outcome(&pair), (XDP_TX, 0, 0));
        // The cookie is the stack's own: the handshake's last segment passes, and the stack takes it.
        let answer = read(&pair.run(&syn(ipv6, LATE, 41_000)).1);
        pair.stack.listen(None, LATE).unwrap();
        let ack = TcpHeader {
            destination_port: LATE,
            source_port: 41_000,
            ..header(ACK, 1_001, answer.seq.get().wrapping_add(1))
        };
        let ack = frame(&link(), ipv6, &ack, b"");
        let before = pair.program.verdicts().unwrap().dropped_no_socket;
        pair.run(&ack);
        assert_eq!(pair.program.verdicts().unwrap().dropped_no_socket, before + 1, "no socket serves the queue here");
        pair.stack.handle_frame(pair.now, InterfaceId::FIRST, &ack);
        assert_eq!(pair.stack.stats().cookies_accepted, 1);
        // Without the guard its SYNs are the stack's; forgotten, they are what they were.
        assert!(services.set_guarded(service.local, false));
        assert_eq!(outcome(&pair), (XDP_DROP, 0, 0), "no socket");
        assert!(services.forget(service));
        assert_eq!(outcome(&pair), closed);
        assert!(!services.set_guarded(service.local, true), "what is forgotten is not guarded again");
    }
}

#[test]
fn syns_are_counted_by_listener_and_a_number_given_again_has_another_id() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(15);
    let (services, guard) = (pair.program.services(), pair.program.guard());
    let service = Service::tcp(SocketAddr::new(ours(false), LATE));
    services.serve(service, Action::Listener(FIELDS)).unwrap();
    let late = || services.listeners().into_iter().find(|listener| listener.local == service.local);
    let first = late().unwrap();
    (1..=5).for_each(|port| drop(pair.run(&syn(false, LATE, port))));
    assert_eq!(guard.syns(first.number).unwrap(), 5);
    services.serve(service, Action::Guarded(FIELDS)).unwrap();
    let guarded = late().unwrap();
    assert_eq!((guarded.number, guarded.id, guarded.is_guarded), (first.number, first.id, true), "it is the same one");
    services.serve(service, Action::Stack).unwrap();
    assert_eq!(late(), None, "no listener any more");
    services.serve(service, Action::Listener(FIELDS)).unwrap();
    assert!(late().unwrap().id > first.id);
}

#[test]
fn a_thousand_listeners_come_and_go_while_syns_are_judged() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(16);
    let services = pair.program.services();
    let known = services.len();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for round in 0..20u16 {
                let late: Vec<_> =
                    (0..1_000).map(|port| Service::tcp(SocketAddr::new(ours(port % 2 == 0), 10_000 + port))).collect();
                for &service in &late {
                    services.serve(service, Action::Guarded(FIELDS)).unwrap();
                }
                // Not in the order in which they came.
                let turn = usize::from(round) * 37 % late.len();
                assert!(late[turn..].iter().chain(&late[..turn]).all(|&service| services.forget(service)));
            }
            over.store(true, Ordering::Release);
        });
        let mut asked = 0u16;
        while !over.load(Ordering::Acquire) {
            asked = asked.wrapping_add(1).max(1);
            for ipv6 in [false, true] {
                assert_eq!(pair.run(&syn(ipv6, PORT, asked)).0, XDP_TX, "SYN {asked}: this listener stays");
                let (action, _) = pair.run(&syn(ipv6, 10_000 + asked % 1_000, asked));
                assert!([XDP_TX, XDP_DROP].contains(&action), "there, or a closed port: {action}");
            }
        }
        changes.join().unwrap();
    });
    assert_eq!((services.len(), services.listeners().len()), (known, 2));
    let verdicts = pair.program.verdicts().unwrap();
    assert_eq!(verdicts.passed_foreign, 0, "the address was ours all the time");
    assert!(verdicts.answered_syn > 0);
}

#[test]
fn more_listeners_than_there_are_counters_for_are_refused_and_nothing_changes() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(17);
    let services = pair.program.services();
    let service = |port| Service::tcp(SocketAddr::new(ours(false), port));
    let room = MAX_LISTENERS as u16 - 2;
    (0..room).for_each(|port| services.serve(service(20_000 + port), Action::Listener(FIELDS)).unwrap());
    let refused = services.serve(service(LATE), Action::Guarded(FIELDS)).unwrap_err();
    assert_eq!(refused, ServeError::TooManyListeners);
    assert!(refused.to_string().contains("4096 listeners already: serve fewer, or forget some"), "{refused}");
    assert_eq!(services.get(service(LATE)), None);
    assert!(services.forget(service(20_000)));
    services.serve(service(LATE), Action::Guarded(FIELDS)).unwrap();
    assert_eq!(pair.run(&syn(false, LATE, 1)).0, XDP_TX);
}
