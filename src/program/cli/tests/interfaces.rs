//! What is said of which interface, by where it stands.

use crate::cli::{Arguments, Command, interfaces::Interface};
use clap::Parser;

/// What comes of `xskip serve` with these words.
fn typed(words: &str) -> Result<Vec<Interface>, clap::Error> {
    let words = ["xskip", "serve"].into_iter().chain(words.split_whitespace());
    let Command::Serve(arguments) = Arguments::try_parse_from(words)?.command else { unreachable!() };
    Ok(arguments.interfaces.0)
}

fn named(name: &str) -> Interface {
    Interface { name: name.to_owned(), ..Interface::default() }
}

fn serve(words: &str) -> Vec<Interface> {
    typed(words).unwrap()
}

#[test]
fn what_stands_behind_an_interface_is_said_of_that_one() {
    let typed = serve(
        "--interface a --address 192.0.2.1/24 --gateway 192.0.2.254 --address 192.0.2.2/24 --vlan 5 --queues 0-1 \
         --interface b --shared 198.51.100.1 --queues=2,3 --address=198.51.100.2/24 --answers-to 198.51.100.254",
    );
    let a = Interface {
        addresses: vec!["192.0.2.1/24".parse().unwrap(), "192.0.2.2/24".parse().unwrap()],
        gateways: vec!["192.0.2.254".parse().unwrap()],
        vlan: Some(5),
        queues: Some("0-1".parse().unwrap()),
        ..named("a")
    };
    let b = Interface {
        addresses: vec!["198.51.100.2/24".parse().unwrap()],
        shared: vec!["198.51.100.1".parse().unwrap()],
        answers_to: Some("198.51.100.254".parse().unwrap()),
        queues: Some("2,3".parse().unwrap()),
        ..named("b")
    };
    assert_eq!(typed, [a, b]);
}

#[test]
fn what_stands_before_the_first_interface_is_said_of_the_first() {
    let typed = serve("--vlan 7 --address 192.0.2.1/24 --interface a --port 80 --interface b --address 192.0.2.2/24");
    let a = Interface { addresses: vec!["192.0.2.1/24".parse().unwrap()], vlan: Some(7), ..named("a") };
    let b = Interface { addresses: vec!["192.0.2.2/24".parse().unwrap()], ..named("b") };
    assert_eq!(typed, [a, b]);
}

#[test]
fn with_one_interface_the_order_does_not_matter() {
    let options = [
        "--interface a",
        "--address 192.0.2.1/24",
        "--shared 192.0.2.2",
        "--queues 1",
        "--vlan 9",
        "--gateway 192.0.2.3",
    ];
    let first = serve(&options.join(" "));
    for turn in 1..options.len() {
        let turned = [&options[turn..], &options[..turn]].concat().join(" ");
        assert_eq!(serve(&turned), first, "{turned}");
    }
    assert_eq!(first.len(), 1);
}

#[test]
fn what_an_interface_has_one_of_is_said_once_of_each() {
    for twice in ["--vlan 5 --vlan 6", "--queues 0 --queues 1", "--answers-to 192.0.2.1 --answers-to 192.0.2.2"] {
        let error = typed(&format!("--interface a --interface b {twice}")).unwrap_err();
        let option = twice.split(' ').next().unwrap();
        assert_eq!(error.exit_code(), 2, "{twice}");
        let said = error.to_string();
        assert!(said.starts_with(&format!("error: {option} was given twice for b: give it once for each")), "{said}");
        // What stands in front of the first interface and behind it is said of the same one.
        let (before, behind) = twice.split_at(twice.rfind(" --").unwrap());
        assert!(typed(&format!("{before} --interface a {behind}")).is_err(), "{twice}");
        assert!(typed(&format!("--interface a {before} --interface b {behind}")).is_ok(), "{twice}");
    }
}

#[test]
fn without_an_interface_it_is_asked_for() {
    let error = typed("--address 192.0.2.1/24").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--interface <IF>"), "{error}");
}

#[test]
fn several_interfaces_are_in_the_help() {
    let error = typed("--help").unwrap_err();
    assert!(
        error.to_string().contains("--interface eth0 --address 192.0.2.80/24 --interface eth1 --address"),
        "{error}"
    );
}
