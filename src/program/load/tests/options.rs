//! What is asked for: what it comes to, and what is refused in which words.

use crate::load::{Direction, Load, LoadError, Mode, task::Workload};
use std::{net::IpAddr, time::Duration};

fn load(mode: Mode) -> Load {
    Load::new("veth0", "198.18.0.1:80".parse().unwrap(), mode).address("198.18.0.100/24".parse().unwrap())
}

#[track_caller]
fn refused(load: Load, parts: &[&str]) {
    let error = load.task().expect_err("it makes no sense");
    let said = error.to_string();
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert!(error.is_bad_use(), "{said}");
}

#[test]
fn numbers_that_come_to_nothing_are_refused() {
    refused(load(Mode::Keepalive).connections(0), &["0 connections", "at least 1"]);
    refused(load(Mode::Keepalive).half_open(0), &["half-open", "at least 1"]);
    refused(load(Mode::Keepalive).duration(Duration::ZERO), &["no duration"]);
    refused(load(Mode::Keepalive).rate(0), &["rate of 0"]);
    refused(load(Mode::Keepalive).timeout(Duration::ZERO), &["timeout of 0 s"]);
}

#[test]
fn what_means_nothing_in_a_mode_is_refused() {
    refused(load(Mode::Bulk).rate(5), &["rate", "bulk"]);
    refused(load(Mode::Idle).rate(5), &["rate", "idle", "--ramp"]);
    refused(load(Mode::Idle).warm_up(Duration::ZERO), &["warm-up", "idle"]);
    refused(load(Mode::Connect).rate(5).ramp(Duration::from_secs(1)), &["ramp", "connect"]);
    refused(load(Mode::Idle).request("/"), &["request", "idle"]);
    refused(load(Mode::Latency).request("/"), &["request", "latency"]);
    refused(load(Mode::Keepalive).direction(Direction::Upload), &["direction", "keepalive"]);
    refused(load(Mode::Bulk).direction(Direction::Both).request("/"), &["request", "upload"]);
}

#[test]
fn a_path_is_what_a_request_line_can_hold() {
    for bad in ["", "no/slash", "/a b", "/\r\nX: y", "/\u{e9}", &format!("/{}", "a".repeat(5_000))] {
        refused(load(Mode::Keepalive).request(bad), &["is no path"]);
    }
    let task = load(Mode::Connect).request("/bytes/5?x=%20").task().unwrap();
    let Workload::Http { request } = task.workload else { panic!("HTTP was expected") };
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET /bytes/5?x=%20 HTTP/1.1\r\nHost: 198.18.0.1:80\r\n"), "{request}");
    assert!(request.contains("Connection: close\r\n") && request.ends_with("\r\n\r\n"), "{request}");
}

#[test]
fn the_ends_must_be_able_to_meet() {
    let to = |target: &str, own: &str| {
        Load::new("veth0", target.parse().unwrap(), Mode::Connect).address(own.parse().unwrap())
    };
    refused(to("198.18.0.1:80", "198.18.0.1/24"), &["198.18.0.1", "does not talk to itself"]);
    refused(to("198.18.0.1:80", "2001:2::5/64"), &["2001:2::5", "198.18.0.1", "version"]);
    refused(to("198.18.0.1:0", "198.18.0.5/24"), &["port 0"]);
    refused(to("198.18.0.255:80", "198.18.0.5/24"), &["unicast"]);
    refused(to("198.18.0.0:80", "198.18.0.5/24"), &["198.18.0.0/24 names the subnet", "such as 198.18.0.1"]);
    refused(to("[2001:2::]:80", "2001:2::5/64"), &["2001:2::/64 names the subnet", "such as 2001:2::1"]);
    refused(to("[::ffff:198.18.0.1]:80", "198.18.0.5/24"), &["write 198.18.0.1"]);
    refused(to("[fe80::1%3]:80", "fe80::5/64"), &["fe80::1", "zone", "leave it out"]);
    for nobody in ["224.0.0.1:80", "127.0.0.1:80", "0.0.0.0:80", "0.9.9.9:80", "255.255.255.255:80"] {
        refused(to(nobody, "198.18.0.5/24"), &["unicast"]);
    }
    refused(to("203.0.113.1:80", "198.18.0.5/24"), &["no way leads", "gateway"]);
    assert!(to("203.0.113.1:80", "198.18.0.5/24").gateway(IpAddr::from([198, 18, 0, 1])).task().is_ok());
    assert!(to("[2001:2::1]:80", "2001:2::5/64").task().is_ok());
    let error = Load::new("veth0", "198.18.0.1:80".parse().unwrap(), Mode::Connect).task().unwrap_err();
    assert!(error.is_bad_use() && error.to_string().contains("--address"), "{error}");
}

#[test]
fn addresses_follow_each_other_within_their_subnet() {
    let task = load(Mode::Idle).consecutive_addresses(3).connections(190_000).task().unwrap();
    assert_eq!(task.sources, [100, 101, 102].map(|last| IpAddr::from([198, 18, 0, last])));
    refused(load(Mode::Idle).consecutive_addresses(156), &["198.18.0.100/24", "156", "larger subnet"]);
    assert!(load(Mode::Idle).consecutive_addresses(155).task().is_ok(), "the broadcast address is no host's");
    refused(load(Mode::Idle).consecutive_addresses(2_000), &["2000", "1024"]);
    let twice = load(Mode::Idle).address("198.18.0.100/24".parse().unwrap());
    refused(twice, &["198.18.0.100", "twice"]);
    let several = load(Mode::Idle).address("198.18.0.101/24".parse().unwrap());
    refused(several.clone().consecutive_addresses(2), &["one by one"]);
    assert_eq!(several.task().unwrap().sources.len(), 2);
    let over_the_target = Load::new("veth0", "198.18.0.1:80".parse().unwrap(), Mode::Idle)
        .address("198.17.255.254/12".parse().unwrap())
        .consecutive_addresses(5);
    refused(over_the_target, &["198.18.0.1", "does not talk to itself"]);
}

#[test]
fn there_are_no_more_connections_than_ports() {
    assert!(load(Mode::Idle).connections(64_512).task().is_ok());
    refused(load(Mode::Idle).connections(64_513), &["64513", "1 address", "64512", "--addresses 2"]);
    assert!(load(Mode::Idle).connections(64_513).consecutive_addresses(2).task().is_ok());
}

#[test]
fn what_the_interface_lacks_is_no_bad_use() {
    let found = LoadError::Server(crate::runtime::RuntimeError::InterfaceDown { interface: "veth0".to_owned() });
    assert!(!found.is_bad_use());
}

#[test]
fn modes_and_directions_are_read_as_they_are_written() {
    for text in ["keepalive", "connect", "bulk", "idle", "latency"] {
        assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
    }
    assert!("Bulk".parse::<Mode>().unwrap_err().contains("keepalive, connect"));
    assert_eq!("both".parse(), Ok(Direction::Both));
    assert!("up".parse::<Direction>().unwrap_err().contains("upload"));
}
