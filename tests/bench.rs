//! `xskip bench`, as short as it can be: what is measured is not judged here, only that it is, and is written down.

mod common;

use common::{is_root, run, run_failing, skip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    bench::{
        BenchError, Comparison, ProcessError, Work,
        contender::ContenderError,
        scenario::{SYN_FLOOD, Scenario},
    },
    host::{cores::Cores, netns},
};

#[test]
fn a_short_run_writes_everything_down() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("flood.json"), folder.path().join("flood.html"));
    let output = run(&[
        "bench",
        "syn-flood",
        "--duration",
        "1",
        "--rounds",
        "2",
        "--contenders",
        "xskip,kernel,xdp-tx",
        "--json",
        json.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("xskip / kernel"), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&report["scenario"], &report["rounds"]), (&"syn-flood".into(), &2.into()));
    for contender in &report["contenders"].as_array().unwrap()[..2] {
        for round in contender["rounds"].as_array().unwrap() {
            for metric in SYN_FLOOD.metrics {
                assert!(round[metric.name].is_number(), "{}: {round:#}", metric.name);
            }
            assert!(round["legit_attempts"].as_f64() >= Some(99.0), "{round:#}");
            assert!(round["syn_ack_per_second"].as_f64() > Some(0.0), "{round:#}");
        }
    }
    assert!(report["ratios"]["xskip/kernel"]["syn_ack_per_second"]["median"].is_number(), "{report:#}");
    let page = fs::read_to_string(html).unwrap();
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"), "{}", &page[..100]);
    assert!(page.contains("xskip bench syn-flood --duration 1 --rounds 2"));
}

/// Runs a scenario, as short as it can be, and gives back what it wrote: both contenders measured all there is.
#[track_caller]
fn compare(scenario: &Scenario, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("page.html");
    let mut command = vec!["bench", scenario.name, "--duration", "1", "--rounds", "1", "--json", "-"];
    command.extend(["--html", html.to_str().unwrap()]);
    command.extend(arguments);
    let output = run(&command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["scenario"], scenario.name);
    for (contender, name) in report["contenders"].as_array().unwrap().iter().zip(["xskip", "kernel"]) {
        assert_eq!(contender["name"], name);
        for metric in scenario.metrics {
            let value = &contender["rounds"][0][metric.name];
            // With one core for both there is no telling whose time it was.
            let is_known = Cores::read().unwrap().count() > 1 || !metric.name.contains("_us_per_");
            assert!(value.is_number() || !is_known, "{name} {}: {report:#}", metric.name);
        }
        for headline in scenario.headlines {
            assert!(
                contender["median"][headline.metric].as_f64() > Some(0.0),
                "{name} {}: {report:#}",
                headline.metric
            );
        }
    }
    for headline in scenario.headlines {
        let ratio = &report["ratios"]["xskip/kernel"][headline.metric];
        let [min, median, max] = ["min", "median", "max"].map(|of| ratio[of].as_f64().expect("a number"));
        assert!(0.0 < min && min <= median && median <= max, "{report:#}");
    }
    let page = fs::read_to_string(html).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(&page, options).expect("well-formed");
    assert!(page.contains(&format!("xskip bench {} --duration 1 --rounds 1", scenario.name)), "{page}");
    report
}

/// Whether the kernel's contender can be had.
fn has_nginx() -> bool {
    let found = std::process::Command::new("nginx").arg("-v").output().is_ok();
    if !found {
        skip("nginx is not installed");
    }
    found
}

#[test]
fn requests_beside_nginx() {
    if is_root() && has_nginx() {
        let report = compare(Work::Http.scenario(), &["--connections", "8"]);
        assert_eq!(report["contenders"][0]["median"]["failed_requests"], 0.0, "{report:#}");
    }
}

#[test]
fn connections_beside_nginx() {
    if is_root() && has_nginx() {
        compare(Work::ConnectRate.scenario(), &["--connections", "8"]);
    }
}

#[test]
fn bulk_beside_the_kernel() {
    if is_root() && has_nginx() {
        compare(Work::Bulk.scenario(), &["--mtu", "1400"]);
    }
}

#[test]
fn round_trips_beside_the_kernel() {
    if is_root() {
        let report = compare(Work::Latency.scenario(), &[]);
        assert!(report["notes"].as_array().is_some_and(|notes| !notes.is_empty()));
    }
}

#[test]
fn idle_connections_beside_nginx() {
    if is_root() && has_nginx() {
        let report = compare(Work::IdleConnections.scenario(), &["--connections", "2000"]);
        for contender in report["contenders"].as_array().unwrap() {
            assert_eq!(contender["median"]["connections"], 2_000.0, "{report:#}");
        }
        let kernel = &report["contenders"][1]["median"]["server_kernel_bytes_per_connection"];
        assert!(kernel.as_f64() > Some(1_000.0), "a kernel socket is larger than that: {report:#}");
    }
}

#[test]
fn without_nginx_the_kernel_is_left_out_and_the_report_says_why() {
    if !is_root() {
        return;
    }
    let arguments = ["bench", "http", "--duration", "1", "--rounds", "2", "--connections", "4", "--json", "-"];
    let output = common::xskip(&arguments).env("PATH", "/nonexistent").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("xskip: kernel was left out: nginx did not start") && said.contains("apt install"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [ours, kernel] = &report["contenders"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!(ours["rounds"].as_array().unwrap().len(), 2);
    assert!(kernel["unavailable"].as_str().unwrap().starts_with("nginx did not start"), "{report:#}");
    assert!(kernel["rounds"].as_array().unwrap().is_empty() && report["ratios"].as_object().unwrap().is_empty());
}

#[test]
fn whoever_was_named_and_could_not_run_makes_it_fail() {
    if !is_root() {
        return;
    }
    for (scenario, contenders, program) in
        [("http", "xskip,kernel", "nginx"), ("syn-flood", "nft-synproxy", "nftables")]
    {
        let arguments =
            ["bench", scenario, "--duration", "1", "--rounds", "1", "--contenders", contenders, "--json", "-"];
        let output = common::xskip(&arguments).env("PATH", "/nonexistent").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("was left out: ") && said.contains(&format!("install {program}")), "{said}");
        // What the others brought is not lost.
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["scenario"], scenario);
    }
}

/// A program that is `xskip` but for one subcommand, in whose place a line of shell is run.
fn altered(folder: &Path, subcommand: &str, line: &str) -> PathBuf {
    let path = folder.join("altered");
    let real = env!("CARGO_BIN_EXE_xskip");
    fs::write(&path, format!("#!/bin/sh\n[ \"$1\" = {subcommand} ] || exec {real} \"$@\"\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_client_or_a_server_that_fails_is_an_error_that_leaves_nothing() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fail = |subcommand, line| {
        let program = altered(folder.path(), subcommand, line);
        let duration = Duration::from_millis(200);
        let comparison = Comparison { duration, rounds: 1, ..Comparison::new(Work::Http, program) };
        let error = comparison.run(|_| (), &AtomicBool::new(false)).unwrap_err();
        let lab = format!("bench{}-", std::process::id());
        assert!(netns::list().unwrap().iter().all(|name| !name.starts_with(&lab)));
        error
    };
    let error = fail("load", "echo it rains >&2; exit 1");
    assert!(matches!(&error, BenchError::Client(ProcessError::Ended { .. })), "{error}");
    let said = error.to_string();
    assert!(said.starts_with("xskip load ended (exit status: 1) and said \"it rains\""), "{said}");
    let error = fail("load", "echo nothing to complain about");
    assert!(matches!(&error, BenchError::Figures(_)), "{error}");
    let error = fail("serve", "echo no port >&2; exit 2");
    assert!(matches!(&error, BenchError::Contender(ContenderError::Process(ProcessError::Ended { .. }))), "{error}");
    // One that fails when it has told its figures is believed: they say how much failed.
    let figures = r#"echo '{"per_second": 0, "failed_total": 7}'; exit 1"#;
    let program = altered(folder.path(), "load", figures);
    let contenders = vec![xskip_cli::bench::Contender::Xskip];
    let comparison = Comparison {
        duration: Duration::from_millis(200),
        rounds: 1,
        contenders,
        ..Comparison::new(Work::ConnectRate, program)
    };
    let report = comparison.run(|_| (), &AtomicBool::new(false)).unwrap();
    let median = &report.contenders[0].median;
    assert_eq!((median.get("connections_per_second"), median.get("failed_connections")), (Some(0.0), Some(7.0)));
    assert_eq!(median.get("server_cpu_us_per_connection"), None);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let said = run_failing(2, &["bench", "syn-flood", "--contenders", "xskip,windows"]);
    assert!(said.contains("xskip, xskip-userspace, kernel, nft-synproxy, xdp-tx"), "{said}");
    for duration in ["0", "-1", "x", "1e9", "NaN"] {
        run_failing(2, &["bench", "syn-flood", &format!("--duration={duration}")]);
    }
    run_failing(2, &["bench", "syn-flood", "--rounds", "0"]);
    for (scenario, wrong, sentence) in [
        ("http", ["--contenders", "kernel,xdp-tx"], "xdp-tx is no contender of http: name xskip, kernel"),
        ("http", ["--contenders", "nginx"], "\"nginx\" is no contender here: name xskip, kernel"),
        ("latency", ["--connections", "0"], "latency cannot have 0 connections: ask for 1 to 60000"),
        ("idle-connections", ["--connections", "10000001"], "ask for 1 to 10000000"),
        ("bulk", ["--mtu", "9000"], "9000 is not in 1280..=3498"),
    ] {
        let said = run_failing(2, &["bench", scenario, wrong[0], wrong[1]]);
        assert!(said.contains(sentence), "{said}");
    }
    let said = run_failing(1, &["bench", "syn-flood", "--json", "/no/such/folder/file"]);
    assert!(said.contains("/no/such/folder/file cannot be written"), "{said}");
}

/// Waits until something is so; a test that waits in vain has failed.
#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a bench that would take a while.
fn begin(scenario: &str) -> Child {
    let mut command = common::xskip(&["bench", scenario, "--duration", "60"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_up(child: &Child) -> bool {
    netns::list().unwrap().contains(&format!("bench{}-client", child.id()))
}

/// Interrupts it, and sees that it ends and takes its lab with it.
fn interrupt(mut child: Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!is_up(&child));
}

#[test]
fn a_signal_ends_it_and_leaves_no_lab() {
    if is_root() {
        let child = begin("syn-flood");
        wait_until(|| is_up(&child));
        interrupt(child);
    }
}

#[test]
fn a_signal_ends_client_and_server_too() {
    if !is_root() {
        return;
    }
    let child = begin("http");
    let of_child = format!("/proc/{0}/task/{0}/children", child.id());
    let mut children = Vec::new();
    wait_until(|| {
        let text = fs::read_to_string(&of_child).unwrap();
        children = text.split_whitespace().map(|pid| PathBuf::from("/proc").join(pid)).collect();
        children.len() == 2
    });
    interrupt(child);
    assert!(children.iter().all(|process| !process.exists()), "{children:?}");
}
