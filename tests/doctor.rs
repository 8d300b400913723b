//! The doctor, on interfaces of a lab: needs root.

mod common;

use std::process::Output;

use common::{Name, is_root, run, run_without_rights};
use serde_json::Value;
use xskip_cli::{
    host::ethtool::Ethtool,
    lab::{INTERFACE, Lab, LabOptions, Role},
    xdp::{Program, ProgramOptions, Require, Steering},
};

/// The report of an examination inside one side of a lab, and the exit status it came with.
fn examine(lab: &Lab, role: Role) -> (Value, Option<i32>) {
    let output = lab
        .side(role)
        .command(env!("CARGO_BIN_EXE_xskip"))
        .args(["doctor", "--interface", INTERFACE, "--json"])
        .output()
        .unwrap();
    (report(&output), output.status.code())
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn line<'a>(report: &'a Value, check: &str) -> &'a Value {
    let lines = report["lines"].as_array().unwrap();
    lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no {check} in {report:#}"))
}

#[track_caller]
fn expect(report: &Value, check: &str, verdict: &str, part: &str) {
    let line = line(report, check);
    assert!(line["verdict"] == verdict && line.to_string().contains(part), "{verdict} and {part} in {line:#}");
}

fn lab(name: &Name, queues: u32, mtu: u32) -> Lab {
    Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), queues, mtu, impair: None }).unwrap()
}

#[test]
fn a_lab_is_healthy_on_both_sides() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = lab(&name, 1, 1_500);
    for (role, other) in [(Role::Server, "client"), (Role::Client, "server")] {
        let (report, code) = examine(&lab, role);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["interface"], INTERFACE);
        expect(&report, "xdp", "ok", "native");
        expect(&report, "zero copy", "ok", "copied");
        expect(&report, "veth peer", "ok", &name.namespace(other));
        expect(&report, "xdp answers", "ok", "arrives");
        for check in ["capabilities", "kernel", "af_xdp", "memlock", "cores", "link", "mtu", "queues", "rss", "routes"]
        {
            assert!(line(&report, check)["finding"].is_string());
        }
        // What it tried is undone.
        assert_eq!(lab.side(role).link().unwrap().xdp, None);
    }
}

#[test]
fn a_peer_that_leaves_checksums_undone_is_found_out() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = lab(&name, 1, 1_500);
    let link = lab.client().link().unwrap();
    let spoil = || Ethtool::open().unwrap().set_features(&link, [("tx-checksum-ip-generic", true), ("rx-gro", false)]);
    lab.client().run(spoil).unwrap().unwrap();
    let (report, code) = examine(&lab, Role::Server);
    assert_eq!((&report["verdict"], code), (&"warn".into(), Some(0)));
    let ethtool = format!("ip netns exec {} ethtool -K {INTERFACE}", name.namespace("client"));
    expect(&report, "veth peer", "warn", &format!("`{ethtool} tx off`"));
    expect(&report, "xdp answers", "warn", &format!("`{ethtool} gro off; {ethtool} gro on`"));
}

#[test]
fn a_missing_interface_is_in_the_way() {
    if !is_root() {
        return;
    }
    let output = run(&["doctor", "--interface", "no-such-link", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    expect(&report(&output), "interface", "fail", "there is no no-such-link here, only lo");
    let output = run(&["doctor", "--interface", "lo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("lo is not Ethernet"));
}

#[test]
fn an_interface_that_is_down_is_in_the_way() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = lab(&name, 1, 1_500);
    let set_down = ["link", "set", INTERFACE, "down"];
    assert!(lab.server().command("ip").args(set_down).output().unwrap().status.success());
    let (report, code) = examine(&lab, Role::Server);
    assert_eq!(code, Some(1));
    expect(&report, "link", "fail", "ip link set dev veth0 up");
    expect(&report, "xdp", "warn", "not tried");
    expect(&examine(&lab, Role::Client).0, "link", "warn", "without a carrier");
}

#[test]
fn a_running_program_is_left_alone() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = lab(&name, 1, 1_500);
    let index = lab.server().link().unwrap().index;
    let attach = || {
        let mut program = Program::load(&Steering::default(), &ProgramOptions::default()).unwrap();
        program.attach(INTERFACE, index, Require::Native).unwrap();
        program
    };
    let program = lab.server().run(attach).unwrap();
    let attached = lab.server().link().unwrap().xdp.unwrap();
    let (report, code) = examine(&lab, Role::Server);
    assert_eq!(code, Some(1));
    expect(&report, "xdp", "fail", &format!("the program {} is attached already (native)", attached.program));
    assert_eq!(lab.server().link().unwrap().xdp, Some(attached));
    drop(program);
    expect(&examine(&lab, Role::Server).0, "xdp", "ok", "native");
}

#[test]
fn fall_backs_and_limits_are_told() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let jumbo = lab(&name, 64, 9_000);
    let (report, code) = examine(&jumbo, Role::Server);
    assert_eq!(code, Some(0), "{report:#}");
    expect(&report, "xdp", "ok", "native mode");
    expect(&report, "mtu", "ok", "9000 bytes");
    expect(&report, "queues", "warn", "64 queues");
    drop(jumbo);
    let beyond = lab(&name, 1, 65_000);
    let (report, code) = examine(&beyond, Role::Server);
    assert_eq!(code, Some(1));
    expect(&report, "mtu", "fail", "65000 bytes");
}

#[test]
fn missing_rights_are_in_the_way() {
    if !is_root() {
        return;
    }
    let output = run_without_rights(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    expect(&report, "capabilities", "fail", "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON missing");
    expect(&report, "af_xdp", "fail", "CAP_NET_RAW");
}

#[test]
fn the_machine_alone_is_examined_without_an_interface() {
    let output = run(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("kernel") && !text.contains("zero copy"), "{text}");
    let help = run(&["doctor", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("sudo xskip doctor --interface eth0"));
    assert_eq!(run(&["doctor", "--interface"]).status.code(), Some(2));
}
