//! `xskip bench`, as short as it can be: what is measured is not judged here, only that it is, and is written down.

mod common;

use common::{is_root, run, run_failing};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{fs, process::Stdio, thread, time::Duration};
use xskip::{bench::scenario::SYN_FLOOD, host::netns};

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

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let said = run_failing(2, &["bench", "syn-flood", "--contenders", "xskip,windows"]);
    assert!(said.contains("xskip, xskip-userspace, kernel, nft-synproxy, xdp-tx"), "{said}");
    for duration in ["0", "-1", "x", "1e9", "NaN"] {
        run_failing(2, &["bench", "syn-flood", &format!("--duration={duration}")]);
    }
    run_failing(2, &["bench", "syn-flood", "--rounds", "0"]);
    let said = run_failing(1, &["bench", "syn-flood", "--json", "/no/such/folder/file"]);
    assert!(said.contains("/no/such/folder/file cannot be written"), "{said}");
}

#[test]
fn a_signal_ends_it_and_leaves_no_lab() {
    if !is_root() {
        return;
    }
    let mut child = common::xskip(&["bench", "syn-flood", "--duration", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let name = format!("bench{}-client", child.id());
    let is_up = || netns::list().unwrap().contains(&name);
    for _ in 0..500 {
        if is_up() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(is_up());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!is_up());
}
