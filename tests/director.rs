//! A server behind a director that hands frames on by link address: its answers go to the router. Needs root.

mod common;

use common::{Name, is_root, run_failing, served::Served};
use std::process::Stdio;
use xskip_cli::{
    host::Link,
    lab::{INTERFACE, Lab, LabOptions},
};

/// The address that director and server have both, and the two link addresses of the client's side.
const VIP: &str = "198.18.0.80";
const VIP_V6: &str = "2001:2::80";
const DIRECTOR: &str = "02:00:00:00:0d:01";
const ROUTER: &str = "02:00:00:00:0e:01";
/// What follows from that (RFC 4291, appendix A).
const ROUTER_V6: &str = "fe80::ff:fe00:e01";

/// The client's side is client, director and router in one. Its own link address is the router's, which takes answers; what it
/// sends has the director's, as if that had handed it on: so an answer to where it came from reaches nobody.
fn director(lab: &Lab) {
    let script = format!(
        "ip link set veth0 down; ip link set veth0 address {ROUTER}; ip link set veth0 up
         nft 'table netdev director {{ chain out {{ type filter hook egress device veth0 priority 0; \
             ether type {{ ip, ip6 }} ether daddr 02:78:73:6b:00:01 ether saddr set {DIRECTOR}; }}; }}'
         ip neighbour replace {VIP} lladdr 02:78:73:6b:00:01 dev veth0
         ip route add {VIP}/32 dev veth0 || true
         ip -6 route add {VIP_V6}/128 dev veth0 || true
         ip neighbour replace {VIP_V6} lladdr 02:78:73:6b:00:01 dev veth0"
    );
    sh(lab, false, &script);
    let script = format!(
        "ip address add {VIP}/32 dev lo; ip -6 address add {VIP_V6}/128 dev lo; sysctl -qw net.ipv4.conf.all.arp_ignore=1 \
             net.ipv4.conf.all.rp_filter=0"
    );
    sh(lab, true, &script);
}

fn sh(lab: &Lab, server: bool, script: &str) -> String {
    let side = if server { lab.server() } else { lab.client() };
    let command = side.command("bash").args(["-euo", "pipefail", "-c", script]);
    let output = command.with(|command| command.stderr(Stdio::inherit())).output().unwrap();
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).unwrap()
}

const CURL: &str = "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://198.18.0.80/bytes/100000";

#[test]
fn answers_go_to_the_router_in_the_worker_and_in_xdp_and_follow_it() {
    if !is_root() {
        return;
    }
    for cookies in ["never", "always"] {
        let router = "198.18.0.2";
        let serve = [
            "--shared",
            VIP,
            "--shared",
            VIP_V6,
            "--port",
            "80",
            "--cookies",
            cookies,
            "--answers-to",
            router,
            "--json",
        ];
        let mut served = Served::prepared(1, &serve, director);
        assert_eq!(served.client_sh(CURL), "200");
        assert_eq!(served.client_sh(&CURL.replace(VIP, &format!("[{VIP_V6}]"))), "200");
        // The router's standby takes over, and says so.
        let moved = "02:00:00:00:0e:02";
        served.client_sh(&format!(
            "ip link set veth0 address {moved}; ping -q -c 1 -W 2 198.18.0.254 || ping -q -c 3 -W 2 198.18.0.254"
        ));
        sh(&served.lab, true, "ip neighbour flush dev veth0; ping -q -c 1 -W 2 198.18.0.2");
        let known = |served: &Served| sh(&served.lab, true, "ip neighbour show 198.18.0.2").contains(moved);
        served.wait_until("the kernel knows the new router", known);
        served.client_sh(&format!("ip neighbour replace {VIP} lladdr 02:78:73:6b:00:01 dev veth0"));
        // What was answered to the old one is sent again to the new one.
        assert_eq!(served.client_sh(CURL), "200");
        served.stop_balanced();
    }
}

#[test]
fn a_router_may_be_named_by_its_link_local_address() {
    if !is_root() {
        return;
    }
    let serve = ["--shared", VIP_V6, "--port", "80", "--cookies", "always", "--answers-to", ROUTER_V6, "--json"];
    let mut served = Served::prepared(1, &serve, director);
    assert_eq!(served.client_sh(&CURL.replace(VIP, &format!("[{VIP_V6}]"))), "200");
    served.stop_balanced();
}

#[test]
fn without_it_answers_go_to_the_director_and_reach_nobody() {
    if !is_root() {
        return;
    }
    let mut served = Served::prepared(1, &["--shared", VIP, "--port", "80", "--json"], director);
    let curl = CURL.replace("-m 10", "-m 1");
    let output = served.client("bash", &["-c", &curl]).output().unwrap();
    assert!(!output.status.success(), "the scene is as described: {output:?}");
    served.stop_balanced();
}

#[test]
fn a_station_that_is_none_is_refused_before_anything_is_attached() {
    let named = ["serve", "--interface", "veth0", "--shared", "198.18.0.254", "--port", "80", "--answers-to"];
    let said = run_failing(2, &[&named[..], &["gateway"]].concat());
    assert!(said.contains("a station is named by its link address"), "{said}");
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    for (station, sentence) in [
        ("02:78:73:6b:00:01", "is this interface's own link address"),
        ("ff:ff:ff:ff:ff:ff", "a group's"),
        ("198.18.0.77", "nobody on veth0 answers for 198.18.0.77"),
    ] {
        let command = lab.server().command(env!("CARGO_BIN_EXE_xskip")).args(named).args([station]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(sentence), "{station}: {said}");
        assert!(lab.server().run(|| Link::find(INTERFACE).unwrap().xdp.is_none()).unwrap());
    }
}
