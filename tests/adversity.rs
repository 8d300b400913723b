//! A server whose machine misbehaves under load: workers that stall, links that go down or become narrower, memory that runs out.
//! Needs root.

mod common;

use std::{
    path::Path,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use common::{
    is_root,
    served::{ADDRESS, Served, ok},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use xskip_cli::lab::{INTERFACE, Role};

/// Connections under way meanwhile, each for some three seconds and with this much in either direction.
const CONNECTIONS: usize = 4;
const PIECES: usize = 60;
const PIECE: usize = 200_000;

/// An echo service on two queues, so that each connection may change its queue at any time.
fn echo(more: &[&str]) -> Served {
    let arguments = [&["--address", ADDRESS, "--port", "7", "--app", "echo", "--json"], more].concat();
    Served::new(2, &arguments)
}

/// Kernel clients that send bit by bit and compare what comes back.
struct Load {
    clients: Vec<Child>,
    _folder: TempDir,
}

impl Load {
    fn start(served: &Served) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = |number: usize| {
            let script = script(&folder.path().join(number.to_string()));
            let command = served.client("bash", &["-euo", "pipefail", "-c", &script]);
            command.with(|command| command.stdout(Stdio::piped()).stderr(Stdio::piped())).spawn().unwrap()
        };
        let clients = (0..CONNECTIONS).map(client).collect();
        // So that something is under way.
        thread::sleep(Duration::from_millis(500));
        Self { clients, _folder: folder }
    }

    /// Everything that was sent has come back, in order.
    #[track_caller]
    fn finish(self) {
        for client in self.clients {
            ok(client.wait_with_output().unwrap());
        }
    }
}

fn script(file: &Path) -> String {
    let file = file.display();
    format!(
        "for piece in $(seq {PIECES}); do head -c {PIECE} /dev/urandom | tee -a {file}.sent; sleep 0.05; done \
         | socat -t 60 - TCP:198.18.0.1:7 > {file}.got; cmp {file}.sent {file}.got"
    )
}

fn set(served: &Served, role: Role, what: &[&str]) {
    let command = served.lab.side(role).command("ip").args(["link", "set", INTERFACE]).args(what);
    ok(command.output().unwrap());
}

/// A counter of all workers together.
fn sum(report: &Value, part: &str, counter: &str) -> u64 {
    report["workers"].as_array().unwrap().iter().map(|worker| worker[part][counter].as_u64().unwrap()).sum()
}

/// Every connection ended as its client wanted it to.
#[track_caller]
fn all_survived(report: &Value) {
    assert_eq!(sum(report, "stack", "connections_finished"), CONNECTIONS as u64, "{report:#}");
    for bad in ["connections_reset", "connections_aborted", "connections_timed_out"] {
        assert_eq!(sum(report, "stack", bad), 0, "{bad}: {report:#}");
    }
}

#[test]
fn workers_that_stall_for_a_second_lose_no_connection() {
    if !is_root() {
        return;
    }
    let mut served = echo(&[]);
    let load = Load::start(&served);
    for _ in 0..2 {
        served.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_secs(1));
        served.signal(Signal::SIGCONT);
        thread::sleep(Duration::from_millis(300));
    }
    load.finish();
    all_survived(&served.stop_balanced());
}

#[test]
fn connections_survive_an_interface_that_goes_down_and_up() {
    if !is_root() {
        return;
    }
    let mut served = echo(&[]);
    let load = Load::start(&served);
    for _ in 0..2 {
        set(&served, Role::Server, &["down"]);
        thread::sleep(Duration::from_millis(500));
        set(&served, Role::Server, &["up"]);
        thread::sleep(Duration::from_millis(500));
    }
    load.finish();
    let report = served.stop_balanced();
    all_survived(&report);
    assert!(sum(&report, "rings", "link_downs") >= 1, "{report:#}");
}

#[test]
fn connections_survive_a_link_that_becomes_narrower_and_wider() {
    if !is_root() {
        return;
    }
    let mut served = echo(&[]);
    let load = Load::start(&served);
    for mtu in ["1400", "1500"] {
        // Both ends, as where a link has really become narrower.
        set(&served, Role::Server, &["mtu", mtu]);
        set(&served, Role::Client, &["mtu", mtu]);
        thread::sleep(Duration::from_secs(1));
    }
    load.finish();
    let report = served.stop_balanced();
    all_survived(&report);
    assert_eq!(sum(&report, "stack", "mtu_changes"), 2 * 2, "each worker hears of both: {report:#}");
    assert!(sum(&report, "stack", "path_mtus_lowered") >= 1, "{report:#}");
}

#[test]
fn with_few_frames_receiving_goes_on_sending_waits_and_none_is_lost() {
    if !is_root() {
        return;
    }
    let mut served = echo(&["--frames", "16"]);
    Load::start(&served).finish();
    let report = served.stop_balanced();
    all_survived(&report);
    assert!(sum(&report, "rings", "no_frames") > 0, "frames were to run out: {report:#}");
    for worker in report["workers"].as_array().unwrap() {
        assert_eq!(worker["frames"]["total"], 16);
    }
}

#[test]
fn busy_polling_that_cannot_be_changes_nothing() {
    if !is_root() {
        return;
    }
    let mut served = echo(&["--busy-poll", "50"]);
    Load::start(&served).finish();
    let report = served.stop_balanced();
    all_survived(&report);
    assert_eq!(sum(&report, "rings", "receive_wake_ups"), 0, "a veth has nothing to be polled: {report:#}");
}

#[test]
fn jumbo_frames_carry_a_connection() {
    if !is_root() {
        return;
    }
    let mut served = Served::with_mtu(9_000, 2, &["--address", ADDRESS, "--port", "7", "--app", "echo", "--json"]);
    Load::start(&served).finish();
    let report = served.stop_balanced();
    all_survived(&report);
    let octets = (CONNECTIONS * PIECES * PIECE) as u64;
    let segments = sum(&report, "stack", "segments_transmitted");
    assert!(segments < octets / 3_500, "{segments} segments for {octets} octets: {report:#}");
}
