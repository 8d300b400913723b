//! The flood generator in a lab: what is counted arrives, nothing stays behind, and a server outlives every kind of flood.

mod common;

use common::{
    is_root,
    served::{ADDRESS, ADDRESS_V6, Served, ok},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{process::Stdio, thread, time::Duration};
use xskip_cli::{flood::FloodKind, host::Link, lab::INTERFACE};

const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");
/// The server's interface: with it, the generator asks nobody, and every frame that arrives is one of its own.
const SERVER_MAC: &str = "02:78:73:6b:00:01";

fn flood(served: &Served, arguments: &str) -> Value {
    let script = format!("{PROGRAM} flood --interface veth0 --json {arguments}");
    serde_json::from_str(&served.client_sh(&script)).unwrap()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn what_is_counted_as_sent_arrives() {
    if !is_root() {
        return;
    }
    for target in ["198.18.0.1:80", "[2001:2::1]:80"] {
        for generator in ["live-frames", "af-xdp"] {
            let mut served = Served::new(
                1,
                &["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--cookies", "always", "--json"],
            );
            let mut sent = 0;
            for kind in FloodKind::ALL {
                let said = flood(
                    &served,
                    &format!(
                        "--target {target} --target-mac {SERVER_MAC} --kind {kind} --rate 5000 --duration 0.2 --generator {generator}"
                    ),
                );
                assert_eq!(said["generator"], generator);
                let counts = &said["counts"];
                // The rate is exact; only the last frames may have come too late.
                assert!((1..=1_000).contains(&count(&counts["sent"])), "{said}");
                if kind == FloodKind::Syn {
                    assert_eq!(counts["syn_acks"], counts["sent"], "every SYN is answered");
                }
                sent += count(&counts["sent"]);
            }
            let report = served.stop_balanced();
            let verdicts = report["verdicts"].as_object().unwrap();
            let others = ["passed_foreign", "redirected_arp", "redirected_neighbour"];
            let arrived: u64 =
                verdicts.iter().filter(|(name, _)| !others.contains(&name.as_str())).map(|(_, n)| count(n)).sum();
            assert_eq!(arrived, sent, "{target} by {generator}: {report:#}");
        }
    }
}

#[test]
fn a_server_outlives_every_kind_in_every_mode() {
    if !is_root() {
        return;
    }
    for mode in ["always", "worker", "never", "auto"] {
        let arguments = ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--cookies", mode, "--json"];
        let mut served = Served::new(1, &arguments);
        for kind in FloodKind::ALL {
            for (target, host) in [("198.18.0.1:80", "198.18.0.1"), ("[2001:2::1]:80", "[2001:2::1]")] {
                let said = flood(&served, &format!("--target {target} --kind {kind} --duration 0.2"));
                assert!(count(&said["counts"]["sent"]) > 0, "{said}");
                let url = format!("http://{host}/bytes/100000");
                let body = served.client_ok("curl", &["-gsS", "--max-time", "20", &url]);
                assert_eq!(body.len(), 100_000, "{mode}, {kind}");
            }
        }
        served.stop_balanced();
    }
}

#[test]
fn a_flooded_listener_is_guarded_and_its_neighbour_is_not() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "80,81", "--cookies", "auto", "--json"]);
    flood(&served, "--target 198.18.0.1:80 --rate 200000 --duration 2");
    // The cache is full of SYNs that nobody stands behind; clients of either port notice nothing.
    for port in [80, 81] {
        let url = format!("http://198.18.0.1:{port}/");
        served.client_ok("curl", &["-sS", "--max-time", "20", &url]);
    }
    let report = served.stop_balanced();
    let stack = &report["workers"][0]["stack"];
    assert!(count(&report["verdicts"]["answered_syn"]) > 0, "{report:#}");
    assert!(count(&stack["cookies_accepted"]) >= 1, "{report:#}");
    let [flooded, neighbour] = &report["defence"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((&flooded["listener"], &neighbour["listener"]), (&"198.18.0.1:80".into(), &"198.18.0.1:81".into()));
    assert_eq!(flooded["level"], "xdp", "{report:#}");
    // The cache is one for all, and it was too small for a moment.
    assert!(["cache", "worker"].iter().any(|level| neighbour["level"] == *level), "{report:#}");
    assert_eq!(neighbour["syns"], 1, "{report:#}");
}

#[test]
fn acknowledgments_of_strangers_alone_raise_the_guard() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "80", "--cookies", "auto", "--json"]);
    flood(&served, "--target 198.18.0.1:80 --kind ack --rate 200000 --duration 2");
    served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/"]);
    let report = served.stop_balanced();
    assert_eq!(report["defence"][0]["level"], "xdp", "{report:#}");
    assert!(count(&report["verdicts"]["dropped_ack"]) > 0, "{report:#}");
    // For as long as the flood was young RSTs went to those whose addresses it bore, at their rate.
    assert!(count(&report["workers"][0]["drops"]["stray_ack"]) > 0, "{report:#}");
}

#[test]
fn the_guard_goes_up_under_load_and_no_client_notices() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "80", "--cookies", "auto", "--json"]);
    let said = thread::scope(|scope| {
        let load = scope.spawn(|| {
            served.client_sh("wrk -t1 -c32 -d4s --timeout 10 -H 'Connection: close' http://198.18.0.1/bytes/100")
        });
        thread::sleep(Duration::from_secs(1));
        flood(&served, "--target 198.18.0.1:80 --rate 80000 --duration 2");
        load.join().unwrap()
    });
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let report = served.stop_balanced();
    assert!(count(&report["verdicts"]["answered_syn"]) > 0, "the guard was up: {report:#}");
}

#[test]
fn a_flood_that_ends_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let served = Served::http();
    let is_attached = || served.lab.client().run(|| Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap();
    let arguments = ["flood", "--interface", "veth0", "--target", "198.18.0.1:80", "--duration", "60"];
    for (signal, generator, status) in [
        (Signal::SIGINT, "live-frames", Some(0)),
        (Signal::SIGINT, "af-xdp", Some(0)),
        (Signal::SIGKILL, "live-frames", None),
        (Signal::SIGKILL, "af-xdp", None),
    ] {
        let mut child = served
            .client(PROGRAM, &arguments)
            .args(["--generator", generator])
            .with(|command| command.stdout(Stdio::piped()).stderr(Stdio::null()))
            .spawn()
            .unwrap();
        served.wait_until("the flood has begun", |_| is_attached());
        thread::sleep(Duration::from_millis(200));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), status, "{signal}, {generator}");
        served.wait_until("the program is detached", |_| !is_attached());
        served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/"]);
    }
}

#[test]
fn a_flood_does_not_leave_the_lab_by_accident() {
    if !is_root() {
        return;
    }
    let served = Served::http();
    let refused = |arguments: &str, status: i32| {
        let script = format!("{PROGRAM} flood {arguments} --duration 0.1 2>&1 || echo \"status $?\"");
        let said = served.client_sh(&script);
        assert!(said.ends_with(&format!("status {status}\n")), "{said}");
        said
    };
    let on = |target: &str| format!("--interface veth0 --target {target}");
    assert!(refused("--interface lo --target 198.18.0.1:80", 1).contains("is not one end of a veth pair"));
    assert!(refused(&on("192.0.2.1:80"), 1).contains("is not on the link of veth0, which has 198.18.0.0/24"));
    assert!(refused(&on("198.18.0.77:80"), 1).contains("nobody answers"));
    assert!(refused(&on("198.18.0.1:0"), 2).contains("the target's port"));
    assert!(refused(&on("198.18.0.1:80 --kind ping"), 2).contains("is no kind of flood"));
    assert!(refused(&on("198.18.0.1:80 --sources 2001:2::/64"), 2).contains("is not of the target's IP version"));
    served.client_ok("ip", &["route", "add", "default", "via", "198.18.0.254"]);
    let said = refused(&on("198.18.0.1:80"), 1);
    assert!(said.contains("holds a default route") && said.contains("--outside-lab"), "{said}");
    flood(&served, "--target 198.18.0.1:80 --duration 0.1 --outside-lab");
}

#[test]
fn a_kernel_answers_to_the_floods_addresses() {
    if !is_root() {
        return;
    }
    // Another target of the lab: the server side's own kernel, at a port where nobody listens.
    let served = Served::http();
    for target in ["198.18.0.254:9", "[2001:2::fe]:9"] {
        let said = flood(&served, &format!("--target {target} --rate 1000 --duration 0.2"));
        assert_eq!(said["counts"]["resets"], said["counts"]["sent"], "{said}");
    }
    ok(served.client("ping", &["-c", "1", "198.18.0.254"]).output().unwrap());
}
