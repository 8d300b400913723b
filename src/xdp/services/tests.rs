//! The table of services in plain memory, without a kernel: what `find_slot` of `bpf/service.h` would find.

use super::{
    Action, MAX_LISTENERS, MAX_SERVICES, ServeError, Service, Services, SlotKeys, Steered, SynAckFields, Table,
    table::{self, Entry, Key},
};
use crate::{
    lb::{HAND_OVER_WINDOW_SCALE, Promise},
    xdp::{cases::cases, memory::SharedMemory, settings::Settings},
};
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
};

const FIELDS: SynAckFields =
    SynAckFields { mss: 0x1122, window: 0x3344, window_scale: 0x55, hop_limit: 0x66, sack: true, traffic_class: 0x77 };

/// With these, every key is looked for from slot 0 on.
const CROWDED: SlotKeys = SlotKeys([0; 3]);
const SPREAD: SlotKeys = SlotKeys([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb]);

fn table(keys: SlotKeys) -> Table {
    Table::new(SharedMemory::private(Table::WORDS), keys)
}

fn services(keys: SlotKeys) -> Services {
    Services::new(table(keys), Arc::new(Settings::new(SharedMemory::private(Settings::WORDS))))
}

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, host], port))
}

/// What the slot of a key says: the action, and whether the address is own.
fn said(services: &Services, key: Key) -> Option<(u32, bool)> {
    services.book().table.lookup(key).map(|(what, ..)| ((what >> 8) as u32, what & 0xff == REDIRECTED_OWN))
}

fn port(local: SocketAddr) -> Key {
    Service::tcp(local).key()
}

// As in `enum verdict` and `enum action`.
const REDIRECTED_OWN: u64 = 3;
const TO_KERNEL: u32 = 3;
const TO_STACK: u32 = 4;
const TO_BALANCE: u32 = 5;
const TO_TRANSLATE: u32 = 6;
const TO_CLIENTS: u32 = 7;
const TO_LISTENER: u32 = 8;
const TO_GUARDED: u32 = 9;

#[test]
fn a_slot_holds_what_the_program_reads() {
    let table = table(SPREAD);
    let key = Key::Port("2001:2::1".parse().unwrap(), 0x1234, super::Transport::Tcp);
    table.insert(key, &Entry { action: Action::Guarded(FIELDS), own: true, number: 0x0102_0304, rest: 3 }).unwrap();
    let (what, answers, number) = table.lookup(key).unwrap();
    assert_eq!(what, u64::from(TO_GUARDED) << 8 | REDIRECTED_OWN);
    assert_eq!(answers.to_le_bytes(), [0x22, 0x11, 0x44, 0x33, 0x55, 0x66, 1, 0x77]);
    assert_eq!(number, 0x0003_0102_0304);
}

#[test]
fn a_slot_says_what_is_promised_in_backends_names_until_it_is_not() {
    let services = services(SPREAD);
    let (web, other) = (Service::tcp(at(1, 443)), Service::tcp(at(1, 80)));
    let promise = Promise { timestamps: false, ..Promise::all(0x0102) };
    assert!(!services.promise(web, Some(promise)), "it is nobody's yet");
    services.balance(web, 7, false).unwrap();
    services.serve(other, Action::Stack).unwrap();
    assert!(!services.promise(other, Some(promise)), "no backend has it");
    let slot = |service: Service| services.book().table.lookup(service.key()).unwrap();
    assert_eq!((slot(web).1, slot(web).2), (0, 7));
    assert!(services.promise(web, Some(promise)));
    let (_, answers, number) = slot(web);
    assert_eq!(answers.to_le_bytes(), [2, 1, 0xf0, 0xfa, HAND_OVER_WINDOW_SCALE, 64, 1, 0]);
    // HANDS_OVER, and SACK and scaled windows, beside the number.
    assert_eq!(number, 0x000d_0000_0000_0007);
    services.balance(web, 7, false).unwrap();
    assert_eq!(slot(web).2, number, "to say again that it is balanced takes nothing back");
    services.balance(web, 8, false).unwrap();
    assert_eq!(slot(web).2, 8, "another service's promise is its own");
    assert!(services.promise(web, Some(promise)) && services.promise(web, None));
    assert_eq!((slot(web).1, slot(web).2), (0, 8));
}

#[test]
fn the_scale_of_windows_is_what_backends_are_built_with() {
    let header = include_str!("../../../bpf/handover.h");
    assert!(header.contains(&format!("#define HANDOVER_WINDOW_SCALE {HAND_OVER_WINDOW_SCALE}\n")));
}

#[test]
fn what_is_rewritten_has_its_number_and_addresses_that_it_comes_from_theirs() {
    let services = services(SPREAD);
    let (service, source) = (Service::udp(at(1, 53)), at(2, 0).ip());
    services.serve_address(source).unwrap();
    services.steer(service, 9, Steered::Translated).unwrap();
    services.answer_clients(source, 3).unwrap();
    let number = |key| services.book().table.lookup(key).map(|(.., number)| number as u32);
    assert_eq!((said(&services, service.key()), number(service.key())), (Some((TO_TRANSLATE, false)), Some(9)));
    for of in [Service::tcp, Service::udp] {
        let all_ports = of(SocketAddr::new(source, 0)).key();
        assert_eq!((said(&services, all_ports), number(all_ports)), (Some((TO_CLIENTS, true)), Some(3)));
    }
    assert!(services.stop_balancing(service) && !services.stop_balancing(service));
    assert_eq!(said(&services, service.key()), None);
}

#[test]
fn services_know_whether_their_address_is_own_whichever_came_first() {
    let services = services(SPREAD);
    let (first, later) = (at(1, 80), at(1, 81));
    services.serve(Service::tcp(first), Action::Stack).unwrap();
    assert_eq!(said(&services, port(first)), Some((TO_STACK, false)));
    services.serve_address(first.ip()).unwrap();
    services.serve(Service::tcp(later), Action::Listener(FIELDS)).unwrap();
    services.serve(Service::tcp(at(2, 80)), Action::Kernel).unwrap();
    assert_eq!(said(&services, port(first)), Some((TO_STACK, true)));
    assert_eq!(said(&services, port(later)), Some((TO_LISTENER, true)));
    assert_eq!(said(&services, port(at(2, 80))), Some((TO_KERNEL, false)));
    assert_eq!(said(&services, Key::Address(first.ip())), Some((TO_STACK, true)));
    assert!(services.forget_address(first.ip()));
    assert_eq!(services.len(), 1, "with the address, what is served there is forgotten");
    assert!(services.listeners().is_empty());
}

#[test]
fn what_cannot_be_served_is_refused_with_the_remedy() {
    let services = services(SPREAD);
    let refused = |service, action| services.serve(service, action).unwrap_err().to_string();
    let said = refused(Service::tcp(at(1, 0)), Action::Stack);
    assert!(said.contains("port 0 of 198.18.0.1") && said.contains("from 1 to 65535"), "{said}");
    let said = refused(Service::udp(at(1, 53)), Action::Guarded(FIELDS));
    assert!(said.contains("198.18.0.1:53") && said.contains("Action::Stack"), "{said}");
    assert!(services.is_empty());
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_the_same() {
    let services = services(SPREAD);
    let mapped: IpAddr = "::ffff:198.18.0.1".parse().unwrap();
    services.serve(Service::tcp(at(1, 80)), Action::Stack).unwrap();
    assert!(services.forget(Service::tcp(SocketAddr::new(mapped, 80))));
    services.serve_address(mapped).unwrap();
    assert!(services.forget_address(at(1, 1).ip()) && services.is_empty());
}

#[test]
fn a_listener_keeps_its_number_and_a_forgotten_ones_is_given_again_last() {
    let services = services(SPREAD);
    let number = |port| services.listeners().iter().find(|listener| listener.local.port() == port).unwrap().number;
    services.serve(Service::tcp(at(1, 1)), Action::Listener(FIELDS)).unwrap();
    services.serve(Service::tcp(at(1, 2)), Action::Guarded(FIELDS)).unwrap();
    assert!(services.set_guarded(at(1, 1), true) && services.set_guarded(at(1, 2), false));
    assert_eq!((number(1), number(2)), (0, 1));
    assert!(services.forget(Service::tcp(at(1, 1))));
    for port in 3..=MAX_LISTENERS as u16 {
        services.serve(Service::tcp(at(1, port)), Action::Listener(FIELDS)).unwrap();
    }
    let fresh_first = (2..).zip(services.listeners());
    assert!(fresh_first.into_iter().all(|(port, one)| one.local.port() == port && one.number == u32::from(port) - 1));
    services.serve(Service::tcp(at(2, 7)), Action::Listener(FIELDS)).unwrap();
    let newest = *services.listeners().last().unwrap();
    assert_eq!((newest.local, newest.number), (at(2, 7), 0));
    let full = services.serve(Service::tcp(at(2, 8)), Action::Listener(FIELDS));
    assert_eq!(full, Err(ServeError::TooManyListeners));
    // The service that was the stack's stays that where it cannot become a listener.
    services.serve(Service::tcp(at(2, 9)), Action::Stack).unwrap();
    assert_eq!(services.serve(Service::tcp(at(2, 9)), Action::Listener(FIELDS)), Err(ServeError::TooManyListeners));
    assert_eq!(services.get(Service::tcp(at(2, 9))), Some(Action::Stack));
}

#[test]
fn what_backends_serve_has_its_number_and_an_address_says_whose_its_other_ports_are() {
    let services = services(SPREAD);
    let word = |key| services.book().table.lookup(key).map(|(what, _, number)| ((what >> 8) as u32, number));
    let address = Key::Address(at(1, 0).ip());
    services.balance(Service::tcp(at(1, 0)), 7, false).unwrap();
    services.serve_address(at(1, 0).ip()).unwrap();
    assert_eq!(word(port(at(1, 0))), Some((TO_BALANCE, 7)));
    assert_eq!(word(address), Some((TO_STACK, 1 << 32)), "said before the address was the stack's own");
    services.balance(Service::udp(at(1, 53)), 8, true).unwrap();
    assert_eq!(word(Service::udp(at(1, 53)).key()), Some((TO_BALANCE, 8)));
    assert_eq!(word(Service::udp(at(1, 0)).key()), Some((TO_BALANCE, 8 | 1 << 40)), "for later fragments only");
    assert_eq!(word(address), Some((TO_STACK, 3 << 32)));
    assert!(services.stop_balancing(Service::udp(at(1, 53))) && !services.stop_balancing(Service::udp(at(1, 53))));
    assert_eq!(word(address), Some((TO_STACK, 1 << 32)));
    assert!(services.stop_balancing(Service::tcp(at(1, 0))));
    assert_eq!((word(address), services.len()), (Some((TO_STACK, 0)), 1));
}

#[test]
fn a_table_filled_to_its_limit_finds_everything_and_refuses_the_next() {
    let services = services(SPREAD);
    let service = |number: usize| Service::udp(at((number >> 14) as u8, (number & 0x3fff) as u16 + 1));
    (0..MAX_SERVICES).for_each(|number| services.serve(service(number), Action::Stack).unwrap());
    assert!((0..MAX_SERVICES).all(|number| said(&services, service(number).key()) == Some((TO_STACK, false))));
    assert_eq!(services.serve(service(MAX_SERVICES), Action::Stack), Err(ServeError::TooManyServices));
    assert_eq!(services.serve_address(at(9, 1).ip()), Err(ServeError::TooManyServices));
    assert_eq!(services.refuse_source(at(9, 1).ip()), Err(ServeError::TooManyServices));
    services.serve(service(5), Action::Kernel).unwrap();
    assert!(services.forget(service(6)));
    services.serve_address(at(9, 1).ip()).unwrap();
}

#[test]
fn where_no_slot_is_within_reach_nothing_changes() {
    let services = services(CROWDED);
    (1..=table::MAX_PROBES as u16).for_each(|port| services.serve(Service::tcp(at(1, port)), Action::Stack).unwrap());
    let refused = services.serve(Service::tcp(at(1, table::MAX_PROBES as u16 + 1)), Action::Listener(FIELDS));
    assert_eq!(refused, Err(ServeError::TooManyServices));
    assert_eq!((services.len(), services.listeners().len()), (table::MAX_PROBES, 0));
    assert!(services.forget(Service::tcp(at(1, 1))));
    services.serve(Service::tcp(at(1, table::MAX_PROBES as u16 + 1)), Action::Listener(FIELDS)).unwrap();
    assert_eq!(services.listeners()[0].number, 0, "the number was not lost");
}

#[test]
fn sources_are_suspected_by_their_last_octet_and_may_be_taken_back() {
    use crate::xdp::settings::at::SUSPECTS;
    let services = services(SPREAD);
    let suspects = || services.settings.get(SUSPECTS) as u64 | (services.settings.get(SUSPECTS + 1) as u64) << 32;
    let source = |last: u8| IpAddr::from([198, 18, 0, last]);
    for last in [1, 65, 63] {
        services.refuse_source(source(last)).unwrap();
    }
    assert_eq!(suspects(), 1 << 1 | 1 << 63);
    assert!(services.book().table.lookup(Key::Source(source(65))).is_some());
    assert!(services.book().table.lookup(Key::Address(source(65))).is_none(), "it is nobody's service");
    assert!(services.allow_source(source(65)) && !services.allow_source(source(65)));
    assert_eq!(suspects(), 1 << 1 | 1 << 63, "another one ends alike");
    assert!(services.allow_source(source(1)) && services.allow_source(source(63)));
    assert_eq!((suspects(), services.len()), (0, 0));
}

#[test]
fn one_that_stays_is_found_at_any_moment_while_others_around_it_come_and_go() {
    let table = table(CROWDED);
    let entry = Entry { action: Action::Stack, own: false, number: 0, rest: 0 };
    let (early, stays) = (port(at(1, 1)), port(at(1, 2)));
    table.insert(early, &entry).unwrap();
    table.insert(stays, &entry).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..20_000u16 {
                let other = port(at(2, round % 20));
                if !table.remove(other) {
                    table.insert(other, &entry).unwrap();
                }
                if round % 3 == 0 && !table.remove(early) {
                    table.insert(early, &entry).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            assert!(table.lookup(stays).is_some());
        }
    });
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_table_says_what_was_last_said(steps in prop::collection::vec((0..24u16, 0..3u8), 0..200), crowded: bool) {
        let services = services(if crowded { CROWDED } else { SPREAD });
        let mut model: HashMap<SocketAddr, u32> = HashMap::new();
        let mut numbers = HashSet::new();
        for (number, step) in steps {
            let local = at(1, number + 1);
            let action = match step {
                0 => Some((Action::Stack, TO_STACK)),
                1 => Some((Action::Guarded(FIELDS), TO_GUARDED)),
                _ => None,
            };
            match action {
                Some((action, word)) => {
                    services.serve(Service::tcp(local), action).unwrap();
                    model.insert(local, word);
                }
                None => prop_assert_eq!(services.forget(Service::tcp(local)), model.remove(&local).is_some()),
            }
            for (number, local) in (1..=24).map(|port| (port, at(1, port))) {
                let is = said(&services, port(local)).map(|(action, _)| action);
                prop_assert_eq!(is, model.get(&local).copied(), "port {}", number);
            }
            let listeners = services.listeners();
            prop_assert_eq!(listeners.len(), model.values().filter(|&&word| word == TO_GUARDED).count());
            numbers.clear();
            prop_assert!(listeners.iter().all(|listener| numbers.insert(listener.number)), "two have one number");
        }
        let (taken, marked) = services.book().table.taken_and_marked();
        prop_assert_eq!(taken, model.len());
        prop_assert!(marked < 24, "marks do not pile up");
        model.keys().for_each(|&local| { services.forget(Service::tcp(local)); });
        prop_assert_eq!(services.book().table.taken_and_marked(), (0, 0), "an empty table has no marks");
    }
}

fn _is_shared<T: Send + Sync>(_: &T) {}

#[test]
fn any_thread_may_change_it() {
    let services = services(SPREAD);
    _is_shared(&services);
    thread::scope(|scope| {
        for host in 1..=4u8 {
            let services = &services;
            scope.spawn(move || {
                for round in 0..50 {
                    (1..=20).for_each(|port| {
                        services.serve(Service::tcp(at(host, port)), Action::Listener(FIELDS)).unwrap();
                    });
                    let kept = if round == 49 { 10 } else { 0 };
                    assert!((1..=20 - kept).all(|port| services.forget(Service::tcp(at(host, port)))));
                }
            });
        }
    });
    assert_eq!((services.len(), services.listeners().len()), (40, 40));
}
