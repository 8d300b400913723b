//! The demonstration and the example, as a newcomer runs them: needs root.

mod common;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use common::{Name, is_root, served::ok, wait_until, xskip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xskip_cli::{
    host::netns,
    lab::{INTERFACE, Lab, LabOptions},
};

#[test]
fn it_shows_both_handshakes_and_ends_with_ok() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demo.pcapng");
    let said = ok(xskip(&["demo", "--capture", file.to_str().unwrap()]).output().unwrap());
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().last(), Some("demo: ok"), "{said}");
    for shown in [
        "three-way handshake complete",
        "four-way close complete",
        "SYN-RECEIVED",
        "ESTABLISHED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "FIN-WAIT-1",
        "TIME-WAIT",
        "connection refused",
        "curl got 50000000 bytes, and each is right.",
        "times as many SYNs as the kernel did",
        "Not one client of xskip went without its page.",
        "of 20 clients b1 answered",
        "draining, was b",
        "6 of 6 downloads are whole",
        "Nobody noticed.",
        "servers' names, and a flood",
        " SYNs were sent, and ",
        "Their kernels have not heard of the flood.",
    ] {
        assert!(said.contains(shown), "{shown:?} in {said}");
    }
    // All handshakes lie before the large transfer.
    let tshark = ["-r", file.to_str().unwrap(), "-c", "300", "-Y", "tcp.flags.syn == 1"];
    let frames = Command::new("tshark").args(tshark).output();
    let frames = String::from_utf8(ok(frames.unwrap())).unwrap();
    assert!(frames.lines().count() >= 7, "three connections and a refusal: {frames}");
}

#[test]
fn an_interrupted_one_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let (first, drain, last) = ("2. A server in user space", "10. A load balancer", "11. A load balancer");
    for (signal, chapter) in
        [(Signal::SIGINT, first), (Signal::SIGTERM, first), (Signal::SIGINT, drain), (Signal::SIGINT, last)]
    {
        let mut demo = xskip(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let namespaces = [format!("demo{}-", demo.id()), format!("benchlb{}-", demo.id())];
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.find(|line| line.contains(chapter)).expect("it begins");
        let left = || {
            let all = netns::list().unwrap().into_iter();
            all.filter(|name| namespaces.iter().any(|its| name.starts_with(its))).collect::<Vec<_>>()
        };
        wait_until("there are hosts", || !left().is_empty());
        kill(Pid::from_raw(demo.id() as i32), signal).unwrap();
        lines.for_each(drop);
        let output = demo.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("interrupted: nothing was left behind"), "{said}");
        assert_eq!(left(), [""; 0]);
    }
}

#[test]
fn the_example_echoes() {
    if !is_root() {
        return;
    }
    let example = Path::new(env!("CARGO_BIN_EXE_xskip")).with_file_name("examples/echo");
    assert!(example.exists(), "build it first, as `cargo test` does: cargo build --example echo");
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
    let lab = Lab::temporary(&options).unwrap();
    let server = lab.server().command(example.to_str().unwrap()).args([INTERFACE, "198.18.0.1/24"]);
    let mut server = server.spawn().unwrap();
    let talk = "for i in $(seq 100); do echo hello | nc -N -w 5 198.18.0.1 7 && exit; sleep 0.1; done; exit 1";
    let said = lab.client().command("bash").args(["-c", talk]).output().unwrap();
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert_eq!(String::from_utf8(ok(said)).unwrap(), "hello\n");
}
