//! Whoever looks on stops nobody: pagers that pause, FIFOs that nobody reads, disks that are full. Needs root.

mod common;

use common::{Name, is_root, wait_until};
use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use serde_json::Value;
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};
use xskip_cli::{
    host::Link,
    lab::{INTERFACE, Lab, LabOptions},
};

const SERVE: [&str; 9] =
    ["serve", "--interface", INTERFACE, "--address", "198.18.0.1/24", "--port", "80", "--app", "http"];

/// A lab with a program on its server side.
struct Scene {
    child: Child,
    lab: Lab,
    _name: Name,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scene {
    fn new(arguments: &[&str], stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        let name = Name::new();
        let lab =
            Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
        let command = lab.server().command(env!("CARGO_BIN_EXE_xskip")).args(arguments);
        let (stdout, stderr) = (stdout.into(), stderr.into());
        let child = command.with(|command| command.stdin(Stdio::null()).stdout(stdout).stderr(stderr)).spawn().unwrap();
        let scene = Self { child, lab, _name: name };
        let is_attached = || scene.lab.server().run(|| Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap();
        wait_until("it serves", is_attached);
        scene
    }

    /// Every one of so many requests is answered, and so is a ping.
    fn answers(&self, requests: usize) {
        let script = format!(
            "for i in $(seq {requests}); do curl -sS --retry 3 --retry-connrefused -m 10 -o /dev/null http://198.18.0.1/; done
             ping -q -c 1 -W 5 198.18.0.1"
        );
        common::served::ok(
            self.lab.client().command("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap(),
        );
    }

    /// Tells it to end, which it has to: its exit status, and what it said on standard error where that is a pipe of ours.
    fn end(&mut self) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        let mut status = None;
        wait_until("it has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (status.unwrap().code(), said)
    }
}

/// A FIFO, its end to write to, and its reader, who pauses from the beginning.
fn paused(folder: &Path) -> (PathBuf, File, File) {
    let path = folder.join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    (path, writer, reader)
}

#[test]
fn a_ladder_whose_reader_pauses_stops_neither_clients_nor_ctrl_c_and_says_what_is_lost() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, reader) = paused(folder.path());
    let mut scene = Scene::new(&[&SERVE[..], &["--ladder"]].concat(), writer, Stdio::piped());
    scene.answers(200);
    let (status, said) = scene.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("the ladder is not whole, because nobody reads it: ") && said.contains(" lost"), "{said}");
    assert!(said.contains("200 connections opened: 200 finished"), "all else is said: {said}");
    drop(reader);
}

#[test]
fn everything_into_one_pager_that_pauses_is_no_worse() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, reader) = paused(folder.path());
    let stderr = writer.try_clone().unwrap();
    let mut scene = Scene::new(&[&["-vv"], &SERVE[..], &["--ladder", "--json"]].concat(), writer, stderr);
    scene.answers(200);
    // The counters that were asked for could not be printed.
    assert_eq!(scene.end().0, Some(1));
    drop(reader);
}

#[test]
fn a_capture_whose_reader_pauses_or_that_nobody_reads_stops_nobody() {
    if !is_root() {
        return;
    }
    for is_opened in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer, reader) = paused(folder.path());
        let reader = is_opened.then_some(reader);
        drop(writer);
        let capture = ["--capture", path.to_str().unwrap(), "--json"];
        let mut scene = Scene::new(&[&SERVE[..], &capture].concat(), Stdio::piped(), Stdio::piped());
        scene.answers(200);
        let mut stdout = BufReader::new(scene.child.stdout.take().unwrap());
        let (status, said) = scene.end();
        // What was asked for is not there: that is a failure, said in a sentence, beside all the rest.
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("are missing, because nobody reads it"), "{said}");
        let mut json = String::new();
        stdout.read_to_string(&mut json).unwrap();
        let counts: Value = serde_json::from_str(&json).unwrap();
        let (frames, lost) = (&counts["observers"]["capture"]["frames"], &counts["observers"]["capture"]["lost"]);
        let (frames, lost) = (frames.as_u64().unwrap(), lost.as_u64().unwrap());
        let rings = &counts["workers"][0]["rings"];
        let passed = rings["received"].as_u64().unwrap() + rings["transmitted"].as_u64().unwrap();
        assert!(lost > 0 && passed > 1_000, "{lost} lost: {rings:#}");
        assert_eq!(frames + lost, passed, "each frame is either there or counted: {frames} and {lost}, {rings:#}");
        drop(reader);
    }
}

#[test]
fn a_capture_onto_a_full_disk_stops_nobody_and_is_said_at_once() {
    if !is_root() {
        return;
    }
    let capture = ["--capture", "/dev/full"];
    let mut scene = Scene::new(&[&SERVE[..], &capture].concat(), Stdio::null(), Stdio::piped());
    let mut stderr = BufReader::new(scene.child.stderr.take().unwrap());
    scene.answers(20);
    let mut said = String::new();
    while !said.contains("the capture ends here") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert_eq!(scene.end().0, Some(1));
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("is the disk full?") && said.contains("20 connections opened"), "{said}");
}

#[test]
fn a_load_is_watched_in_the_same_way() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, writer, reader) = paused(folder.path());
    let file = folder.path().join("load.pcapng");
    let scene = Scene::new(&SERVE, Stdio::null(), Stdio::null());
    let json = folder.path().join("load.json");
    let (capture, figures) = (file.to_str().unwrap(), json.to_str().unwrap());
    let arguments = [
        "load",
        "--interface",
        INTERFACE,
        "--address",
        "198.18.0.100/24",
        "--target",
        "198.18.0.1:80",
        "--mode",
        "connect",
        "--duration",
        "1",
        "--warmup",
        "0",
        "--rate",
        "500",
        "--connections",
        "64",
        "--ladder",
        "--capture",
        capture,
        "--json",
        figures,
    ];
    let command = scene.lab.client().command(env!("CARGO_BIN_EXE_xskip")).args(arguments);
    let output = command.with(|command| command.stdout(writer).stderr(Stdio::piped())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // What it says in the end is not read either.
    assert!(output.status.code() == Some(1) && said.contains("could not be written: nobody reads it"), "{said}");
    let figures: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let completed = figures["completed"].as_u64().unwrap();
    assert!(completed > 250, "{figures:#}");
    assert!(figures["observers"]["ladder"]["lost"].as_u64() > Some(0), "{figures:#}");
    let captured = figures["observers"]["capture"]["frames"].as_u64().unwrap();
    assert!(captured >= 6 * completed && said.contains(&format!("captured {captured} frames")), "{said}");
    assert!(file.metadata().unwrap().len() > 60 * captured);
    drop(reader);
}
