//! What is decided before anything is touched.

use super::{Server, ServerError};
use crate::app::Echo;

fn server() -> Server {
    Server::on("nowhere").address("198.18.0.1/24".parse().unwrap()).port(7)
}

fn refusal(server: &Server) -> ServerError {
    server.start(|| Echo).expect_err("there is no such interface")
}

#[test]
fn what_is_said_twice_is_one() {
    let server = server().port(7).port(8).udp_port(7).udp_port(7).address("198.18.0.1/24".parse().unwrap());
    let server = server.shared_address([198, 18, 0, 2].into()).shared_address([198, 18, 0, 2].into());
    assert_eq!((server.ports, server.udp_ports), (vec![7, 8], vec![7]));
    assert_eq!((server.own.len(), server.shared.len()), (1, 1));
}

#[test]
fn an_address_with_two_meanings_is_refused() {
    let two_prefixes = server().address("198.18.0.1/16".parse().unwrap());
    assert!(matches!(refusal(&two_prefixes), ServerError::AddressTwice { .. }));
    let own_and_shared = server().shared_address([198, 18, 0, 1].into());
    let said = refusal(&own_and_shared).to_string();
    assert!(said.starts_with("198.18.0.1 was given twice"), "{said}");
}

#[test]
fn more_listeners_than_the_program_has_room_for_are_refused_before_anything_is_attached() {
    let many = |addresses: u32, ports: u16| {
        let addresses = (0..addresses).map(|last| format!("10.1.{}.{}/8", last / 250, last % 250 + 1).parse().unwrap());
        let server = addresses.fold(Server::on("nowhere"), Server::address);
        (1..=ports).fold(server, Server::port)
    };
    let said = refusal(&many(2, 2_049)).to_string();
    assert!(said.contains("4098 pairs") && said.contains("4096 can be served"), "{said}");
    for good in [many(256, 16), many(1, 4_096), many(4_096, 1)] {
        assert!(!matches!(refusal(&good), ServerError::TooManyListeners { .. }));
    }
}
