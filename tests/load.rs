//! `xskip load` against servers of ours and of the kernel's, over real AF_XDP rings on a veth pair: needs root.

mod common;

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    Name, is_root, run_failing,
    served::{ADDRESS, ADDRESS_V6, Served, ok},
    skip,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use xskip_cli::lab::{INTERFACE, Lab, LabOptions, SideCommand};

/// The kernel's own address on the server's side.
const KERNEL: &str = "198.18.0.254";
const OURS: &str = "198.18.0.100/24";

/// `xskip load` on the client's side, from 198.18.0.100.
fn load<'a>(lab: &'a Lab, target: &str, arguments: &[&str]) -> SideCommand<'a> {
    let ours = if target.starts_with('[') { "2001:2::100/64" } else { OURS };
    lab.client()
        .command(env!("CARGO_BIN_EXE_xskip"))
        .args(["load", "--interface", INTERFACE, "--address", ours, "--target", target, "--json", "-"])
        .args(arguments)
}

fn report(output: Output) -> Value {
    serde_json::from_slice(&ok(output)).unwrap()
}

#[track_caller]
fn loaded(lab: &Lab, target: &str, arguments: &[&str]) -> Value {
    let report = report(load(lab, target, arguments).output().unwrap());
    assert_eq!(report["failed_total"], 0, "{arguments:?}: {report:#}");
    report
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("{name} is a number in {report:#}"))
}

#[test]
fn a_vlan_is_used_by_whoever_was_told_to() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--vlan", "7", "--port", "80", "--app", "http", "--json"]);
    let brief = ["--mode", "keepalive", "--duration", "0.5", "--warmup", "0"];
    let report = loaded(&served.lab, "198.18.0.1:80", &[&brief[..], &["--vlan", "7", "--mss", "600"]].concat());
    assert!(number(&report, "completed") > 100.0, "{report:#}");
    for arguments in [&["--timeout", "0.2"][..], &["--timeout", "0.2", "--vlan", "8"]] {
        let output = load(&served.lab, "198.18.0.1:80", &[&brief[..], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "nobody is there: {output:?}");
    }
    served.stop_balanced();
}

#[test]
fn http_in_every_mode_against_our_own_server() {
    if !is_root() {
        return;
    }
    let mut served =
        Served::new(1, &["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--app", "http", "--json"]);
    let short = ["--duration", "1", "--warmup", "0.2"];
    for target in ["198.18.0.1:80", "[2001:2::1]:80"] {
        let arguments = ["--mode", "keepalive", "--connections", "16", "--request", "/bytes/3000"];
        let report = loaded(&served.lab, target, &[&arguments[..], &short].concat());
        assert!(number(&report, "completed") > 100.0 && report["established"] == 16, "{report:#}");
        assert!(number(&report, "bytes_received") >= 3_000.0 * number(&report, "completed"), "{report:#}");
        let report = loaded(&served.lab, target, &[&["--mode", "connect", "--connections", "16"][..], &short].concat());
        assert!(number(&report, "completed") > 100.0, "{report:#}");
        assert!(number(&report["handshake_us"], "p50") < number(&report["latency_us"], "p50"), "{report:#}");
    }
    let arguments = ["--mode", "keepalive", "--connections", "4", "--rate", "500"];
    let report = loaded(&served.lab, "198.18.0.1:80", &[&arguments[..], &short].concat());
    let finished = number(&report, "completed") + number(&report, "unfinished");
    assert!((400.0..=650.0).contains(&finished) && report["open_loop"] == true, "{report:#}");
    let arguments = ["--mode", "bulk", "--connections", "2", "--request", "/bytes/1000000"];
    let report = loaded(&served.lab, "198.18.0.1:80", &[&arguments[..], &short].concat());
    assert!(number(&report, "download_gbit_per_second") > 0.001, "{report:#}");
    // Their resets come all at once: each time as many as a server that is kept waiting has frames for.
    for _ in 0..2 {
        let arguments = ["--mode", "idle", "--connections", "1500", "--addresses", "2", "--duration", "0.5"];
        let report = loaded(&served.lab, "198.18.0.1:80", &arguments);
        assert_eq!((&report["established"], &report["connections"]), (&1_500.into(), &1_500.into()), "{report:#}");
        assert!(number(&report, "resident_bytes_per_connection") > 0.0, "{report:#}");
    }
    let report = served.stop_balanced();
    // Every idle connection was left with a reset of its own.
    let reset = report["workers"][0]["stack"]["connections_reset"].as_u64().unwrap();
    assert!(reset >= 3_000, "{report:#}");
}

#[test]
fn bytes_and_pings_against_our_own_services() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "7", "--app", "echo", "--json"]);
    let short = ["--duration", "1", "--warmup", "0.2"];
    let report = loaded(&served.lab, "198.18.0.1:7", &[&["--mode", "latency"][..], &short].concat());
    assert!(number(&report, "completed") > 50.0 && number(&report["latency_us"], "p99") > 0.0, "{report:#}");
    let arguments = ["--mode", "bulk", "--connections", "2", "--direction", "both"];
    let report = loaded(&served.lab, "198.18.0.1:7", &[&arguments[..], &short].concat());
    assert!(number(&report, "bytes_received") > 1e5 && number(&report, "bytes_sent") > 1e5, "{report:#}");
    served.again(&["--address", ADDRESS, "--port", "9", "--app", "discard", "--json"]);
    let report =
        loaded(&served.lab, "198.18.0.1:9", &[&["--mode", "bulk", "--direction", "upload"][..], &short].concat());
    assert!(number(&report, "bytes_sent") > 1e5 && report["bytes_received"] == 0, "{report:#}");
    served.again(&["--address", ADDRESS, "--port", "19", "--app", "chargen", "--json"]);
    let report =
        loaded(&served.lab, "198.18.0.1:19", &[&["--mode", "bulk", "--connections", "3"][..], &short].concat());
    assert!(number(&report, "bytes_received") > 1e5 && report["bytes_sent"] == 0, "{report:#}");
    served.stop_balanced();
}

#[test]
fn two_queues_are_two_workers_that_share_the_work() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(2, &["--address", ADDRESS, "--port", "80", "--app", "http", "--json"]);
    let arguments = ["--mode", "keepalive", "--connections", "9", "--duration", "1", "--rate", "400"];
    let report = loaded(&served.lab, "198.18.0.1:80", &arguments);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.iter().map(|worker| worker["queue"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    for worker in workers {
        let completed = worker["completed"].as_u64().unwrap();
        assert!((100..=300).contains(&completed), "half of it each: {report:#}");
    }
    let arguments = ["--mode", "idle", "--connections", "1001", "--duration", "0.3"];
    let report = loaded(&served.lab, "198.18.0.1:80", &arguments);
    assert_eq!(report["established"], 1_001, "{report:#}");
    served.stop_balanced();
}

#[test]
fn a_server_that_is_killed_is_counted_by_kind() {
    if !is_root() {
        return;
    }
    let served = Served::http();
    let arguments = ["--mode", "keepalive", "--connections", "5", "--duration", "4", "--timeout", "1", "--warmup", "0"];
    let command = load(&served.lab, "198.18.0.1:80", &arguments);
    let child = command.with(|command| command.stdout(Stdio::piped()).stderr(Stdio::piped())).spawn().unwrap();
    served.wait_until("the load has begun", |served| is_client_attached(&served.lab));
    thread::sleep(Duration::from_millis(800));
    served.signal(Signal::SIGKILL);
    let report = report(child.wait_with_output().unwrap());
    assert!(number(&report, "completed") > 0.0, "{report:#}");
    assert!(number(&report["failed"], "timed_out") >= 5.0, "{report:#}");
    let kinds = ["refused", "timed_out", "reset", "bad_response", "unreachable", "other"];
    let sum: f64 = kinds.iter().map(|kind| number(&report["failed"], kind)).sum();
    assert_eq!(number(&report, "failed_total"), sum, "{report:#}");
}

fn is_client_attached(lab: &Lab) -> bool {
    lab.client().run(|| xskip_cli::host::Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap()
}

#[test]
fn an_interrupted_load_tells_the_figures_so_far_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let command =
        load(&served.lab, "198.18.0.1:80", &["--mode", "keepalive", "--connections", "3", "--duration", "600"]);
    let child = command.with(|command| command.stdout(Stdio::piped()).stderr(Stdio::piped())).spawn().unwrap();
    served.wait_until("the load has begun", |served| is_client_attached(&served.lab));
    thread::sleep(Duration::from_secs(2));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let begun = Instant::now();
    let report = report(child.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(30), "it ends early");
    assert!(number(&report, "completed") > 0.0 && number(&report, "seconds") < 600.0, "{report:#}");
    assert!(!is_client_attached(&served.lab), "the program is detached");
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_opened"], 3, "{report:#}");
}

#[test]
fn where_nobody_listens_it_says_so_and_fails() {
    if !is_root() {
        return;
    }
    let served = Served::http();
    let output = load(&served.lab, "198.18.0.1:81", &["--mode", "connect", "--duration", "0.5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nothing came of it");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&report["failed"], "refused") > 0.0, "{report:#}");
    assert_eq!(report["failed"]["refused"], report["failed_total"], "{report:#}");
    assert!(report["latency_us"]["p50"].is_null(), "{report:#}");
    // A neighbour that is not there.
    let arguments = ["--mode", "connect", "--duration", "4", "--warmup", "0"];
    let output = load(&served.lab, "198.18.0.77:80", &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&report["failed"], "unreachable") > 0.0, "{report:#}");
}

#[test]
fn figures_go_to_a_file_and_a_summary_to_the_reader() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    let command = served.lab.client().command(env!("CARGO_BIN_EXE_xskip")).args([
        "load",
        "--interface",
        INTERFACE,
        "--address",
        OURS,
        "--target",
        "198.18.0.1:80",
        "--mode",
        "connect",
        "--duration",
        "0.3",
        "--json",
        file.to_str().unwrap(),
    ]);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "quiet in a pipe");
    let said = String::from_utf8(ok(output)).unwrap();
    assert!(said.starts_with("connect load on 198.18.0.1:80\n") && said.contains("failed: 0"), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(number(&report, "completed") > 0.0);
    served.stop_balanced();
}

#[test]
fn bad_use_is_refused_in_a_sentence() {
    let arguments = |own: &'static str, mode: &'static str| {
        ["load", "--interface", "lo", "--address", own, "--target", "198.18.0.1:80", "--mode", mode]
    };
    for (own, mode, more, part) in [
        (OURS, "keepalive", ["--connections", "0"], "0 connections"),
        (OURS, "bulk", ["--rate", "5"], "a rate means nothing in mode bulk"),
        (OURS, "idle", ["--connections", "70000"], "--addresses 2"),
        (OURS, "keepalive", ["--duration", "0"], "no duration"),
        ("2001:2::5/64", "connect", ["--rate", "5"], "IP version"),
        ("198.18.0.1/24", "connect", ["--rate", "5"], "does not talk to itself"),
        (OURS, "connect", ["--duration", "soon"], "no number of seconds"),
        (OURS, "surprise", ["--rate", "5"], "choose keepalive"),
    ] {
        let said = run_failing(2, &[&arguments(own, mode)[..], &more].concat());
        assert!(said.contains(part), "{said}");
    }
}

/// nginx on the kernel's sockets, on the server's side of a lab. Ended when it is dropped.
struct Nginx {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
            events {{ worker_connections 8192; }}
            http {{ access_log off; keepalive_requests 100; client_body_temp_path {root}; proxy_temp_path {root};
                fastcgi_temp_path {root}; uwsgi_temp_path {root}; scgi_temp_path {root};
                server {{ listen {KERNEL}:8080; location / {{ return 200 'some words'; }} }} }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let command = lab.server().command("nginx").args(["-c", file.to_str().unwrap()]);
        let child = command.with(|command| command.stdout(Stdio::null()).stderr(Stdio::null())).spawn().unwrap();
        let nginx = Self { child, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        let listens = || {
            let output = lab.server().command("ss").args(["-Hltn"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains(":8080")
        };
        while !listens() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_kernel_is_as_good_a_server() {
    if !is_root() {
        return;
    }
    if Command::new("nginx").arg("-v").output().is_err() {
        return skip("nginx is not installed");
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let _nginx = Nginx::start(&lab);
    let target = format!("{KERNEL}:8080");
    let short = ["--duration", "1", "--warmup", "0.2"];
    // It closes each connection after 100 requests, which is no failure.
    let arguments = ["--mode", "keepalive", "--connections", "4", "--duration", "2"];
    let report = loaded(&lab, &target, &arguments);
    assert!(number(&report, "completed") > 800.0, "{report:#}");
    let report = loaded(&lab, &target, &[&["--mode", "connect", "--connections", "8"][..], &short].concat());
    assert!(number(&report, "completed") > 100.0, "{report:#}");
    let arguments = ["--mode", "connect", "--connections", "100", "--rate", "200"];
    let report = loaded(&lab, &target, &[&arguments[..], &short].concat());
    let finished = number(&report, "completed") + number(&report, "unfinished");
    assert!((150.0..=260.0).contains(&finished), "{report:#}");
    let report = loaded(&lab, &target, &["--mode", "idle", "--connections", "500", "--duration", "0.5"]);
    assert_eq!(report["established"], 500, "{report:#}");
}
