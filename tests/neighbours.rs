//! Stations on the link that move, that have our addresses, or that hear of them: needs root.

mod common;

use common::{
    Name, is_root,
    served::{ADDRESS, ADDRESS_V6, Served, ok},
    wait_until,
};
use xskip_cli::{
    Server,
    app::Echo,
    host::Link,
    lab::{INTERFACE, Lab, LabOptions, Side},
    runtime::Notice,
};

/// The other side's station once it has moved.
const ELSEWHERE: &str = "02:00:00:00:00:77";

#[track_caller]
fn sh(side: &Side, script: &str) -> String {
    let output = side.command("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    String::from_utf8(ok(output)).unwrap()
}

fn station(side: &Side) -> String {
    let mac = side.run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// A lab that goes before its name does.
fn new_lab() -> (Lab, Name) {
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
    (Lab::temporary(&options).unwrap(), name)
}

#[test]
fn an_address_that_another_station_has_is_an_error_at_start_that_names_it() {
    if !is_root() {
        return;
    }
    let (lab, _name) = new_lab();
    sh(lab.client(), "ip addr add 198.18.0.1/24 dev veth0; ip addr add 2001:2::1/64 dev veth0 nodad");
    for address in [ADDRESS, ADDRESS_V6] {
        let command = lab.server().command(env!("CARGO_BIN_EXE_xskip"));
        let arguments = ["serve", "--interface", INTERFACE, "--address", address, "--port", "80"];
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let (ip, _) = address.split_once('/').unwrap();
        for part in [ip, &station(lab.client()), "--no-probe"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(lab.server().run(|| Link::find(INTERFACE).unwrap().xdp).unwrap(), None);
        assert!(!sh(lab.server(), "ip maddr show dev veth0").contains("ff02::1:ff00:1"));
    }
}

#[test]
fn who_does_not_ask_serves_an_address_all_the_same_and_defends_it() {
    if !is_root() {
        return;
    }
    let (lab, _name) = new_lab();
    let (client, server) = (lab.client(), lab.server());
    let start = || {
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap()).address(ADDRESS_V6.parse().unwrap());
        server.port(7).probe(false).start(|| Echo).unwrap()
    };
    let running = server.run(start).unwrap();
    // What the kernel there says when it gets another link-layer address.
    sh(client, "sysctl -qw net.ipv4.conf.veth0.arp_notify=1 net.ipv6.conf.veth0.ndisc_notify=1");
    sh(client, "ip addr add 198.18.0.1/32 dev veth0; ip addr add 2001:2::1/128 dev veth0 nodad");
    let said = |address: &str| {
        running.notices().into_iter().find_map(|notice| match notice {
            Notice::AddressConflict { address: found, station, .. } if found.to_string() == address => Some(station),
            _ => None,
        })
    };
    sh(client, &format!("ip link set dev veth0 address {ELSEWHERE}"));
    for address in ["198.18.0.1", "2001:2::1"] {
        wait_until("the conflict is said", || said(address).is_some());
        assert_eq!(said(address).unwrap().to_string(), ELSEWHERE);
    }
    running.stop().unwrap();
}

#[test]
fn our_addresses_are_announced_and_their_groups_joined_for_as_long_as_they_are_served() {
    if !is_root() {
        return;
    }
    let forget = |lab: &Lab| {
        for address in ["198.18.0.1", "2001:2::1"] {
            sh(lab.client(), &format!("ip neigh replace {address} lladdr {ELSEWHERE} dev veth0 nud stale"));
        }
    };
    let mut served =
        Served::prepared(1, &["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--json"], forget);
    let ours = station(served.lab.server());
    served.wait_until("the neighbour has heard", |served| {
        let known = served.client_sh("ip neigh show dev veth0");
        ["198.18.0.1 ", "2001:2::1 "]
            .iter()
            .all(|who| known.lines().any(|line| line.starts_with(who) && line.contains(&ours)))
    });
    assert!(sh(served.lab.server(), "ip maddr show dev veth0").contains("ff02::1:ff00:1"));
    served.stop_balanced();
    assert!(!sh(served.lab.server(), "ip maddr show dev veth0").contains("ff02::1:ff00:1"));
}

#[test]
fn our_own_station_is_followed_when_it_gets_another_address() {
    if !is_root() {
        return;
    }
    // SYNs are answered in XDP, which looks whom a frame is for.
    let arguments = ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--cookies", "always", "--json"];
    let mut served = Served::new(2, &arguments);
    served.client_sh("curl -sf http://198.18.0.1/ http://[2001:2::1]/");
    sh(served.lab.server(), &format!("ip link set dev veth0 address {ELSEWHERE}"));
    served.wait_until("it is announced", |served| {
        let known = served.client_sh("ip neigh show dev veth0");
        ["198.18.0.1 ", "2001:2::1 "]
            .iter()
            .all(|who| known.lines().any(|line| line.starts_with(who) && line.contains(ELSEWHERE)))
    });
    served.client_sh("curl -sf --max-time 15 http://198.18.0.1/ http://[2001:2::1]/");
    served.stop_balanced();
}

/// A client that has all it takes, and asks for more from another station: nothing of that is new to the server.
const MOVES: &str = "exec 3<>/dev/tcp/$ADDRESS/19; sleep 0.3; ip link set dev veth0 address 02:00:00:00:00:77; \
    sleep 0.1; timeout 15 head -c 30000000 <&3 | wc -c";

#[test]
fn a_client_that_moves_is_followed_at_addresses_of_either_kind() {
    if !is_root() {
        return;
    }
    let own = ["--address", ADDRESS, "--address", ADDRESS_V6];
    let shared = ["--shared", "198.18.0.254", "--shared", "2001:2::fe"];
    for (address, addresses) in
        [("198.18.0.1", own), ("2001:2::1", own), ("198.18.0.254", shared), ("2001:2::fe", shared)]
    {
        let prepare = |lab: &Lab| {
            sh(
                lab.server(),
                "ip addr replace 198.18.0.254/24 dev veth0; ip addr replace 2001:2::fe/64 dev veth0 nodad",
            );
        };
        let arguments = [&addresses[..], &["--port", "19", "--app", "chargen", "--json"]].concat();
        let mut served = Served::prepared(2, &arguments, prepare);
        let taken = served.client_sh(&MOVES.replace("$ADDRESS", address));
        assert_eq!(taken.trim(), "30000000", "{address}");
        served.stop_balanced();
    }
}
