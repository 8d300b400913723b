//! What is decided before anything is touched.

use super::{Runtime, RuntimeError};
use crate::app::{Echo, Services};

fn runtime() -> Runtime {
    Runtime::on("nowhere").address("198.18.0.1/24".parse().unwrap()).port(7)
}

fn refusal(runtime: &Runtime) -> RuntimeError {
    runtime.start(|_| Services::new(Echo)).expect_err("there is no such interface")
}

#[test]
fn what_is_said_twice_is_one() {
    let runtime = runtime().port(7).port(8).udp_port(7).udp_port(7).address("198.18.0.1/24".parse().unwrap());
    let mut runtime = runtime.shared_address([198, 18, 0, 2].into()).shared_address([198, 18, 0, 2].into());
    assert_eq!((runtime.interface().own.len(), runtime.interface().shared.len()), (1, 1));
    assert_eq!((runtime.ports, runtime.udp_ports), (vec![7, 8], vec![7]));
}

#[test]
fn an_address_with_two_meanings_is_refused() {
    let two_prefixes = runtime().address("198.18.0.1/16".parse().unwrap());
    assert!(matches!(refusal(&two_prefixes), RuntimeError::AddressTwice { .. }));
    let own_and_shared = runtime().shared_address([198, 18, 0, 1].into());
    let said = refusal(&own_and_shared).to_string();
    assert!(said.starts_with("198.18.0.1 was given twice"), "{said}");
}

#[test]
fn more_listeners_than_the_program_has_room_for_are_refused_before_anything_is_attached() {
    let many = |addresses: u32, ports: u16| {
        let addresses = (0..addresses).map(|last| format!("10.1.{}.{}/8", last / 250, last % 250 + 1).parse().unwrap());
        let runtime = addresses.fold(Runtime::on("nowhere"), Runtime::address);
        (1..=ports).fold(runtime, Runtime::port)
    };
    let said = refusal(&many(2, 2_049)).to_string();
    assert!(said.contains("4098 pairs") && said.contains("4096 can be served"), "{said}");
    for good in [many(256, 16), many(1, 4_096), many(4_096, 1)] {
        assert!(!matches!(refusal(&good), RuntimeError::TooManyListeners { .. }));
    }
}

#[test]
fn what_is_said_of_interfaces_that_cannot_be_served_together_is_refused() {
    let twice = runtime().and_on("nowhere").address("198.18.1.1/24".parse().unwrap());
    assert!(matches!(refusal(&twice), RuntimeError::InterfaceTwice { interface } if interface == "nowhere"));
    let without = runtime().and_on("elsewhere");
    assert!(matches!(refusal(&without), RuntimeError::NoAddressOn { interface } if interface == "elsewhere"));
    let name = |number: u8| (format!("nowhere{number}"), format!("198.18.{number}.1/24").parse().unwrap());
    let many = (1..9).map(name).fold(runtime(), |runtime, (name, address)| runtime.and_on(name).address(address));
    assert!(matches!(refusal(&many), RuntimeError::TooManyInterfaces { count: 9 }));
    let same = runtime().and_on("elsewhere").address("198.18.0.1/24".parse().unwrap());
    assert!(matches!(refusal(&same), RuntimeError::AddressTwice { .. }));
}

#[test]
fn what_is_said_after_an_interface_is_said_of_that_one() {
    let runtime = runtime().vlan(5).and_on("elsewhere").address("198.18.1.1/24".parse().unwrap()).queues([1]);
    let [first, second] = &runtime.interfaces[..] else { panic!("two interfaces") };
    assert_eq!((first.vlan, second.vlan), (Some(5), None));
    assert_eq!((first.own.len(), second.own.len()), (1, 1));
    assert_eq!((first.queues.len(), second.queues.len()), (0, 1));
}
