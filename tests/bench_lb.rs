//! `xskip bench lb`, as short as it can be: what is measured is not judged here but where it must be nought.

mod common;

use common::{is_root, run_failing, run_ok, skip, xskip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    env, fs,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    bench::lb::{LbBench, LbContender, Trial},
    host::netns,
    lb::Mode,
};

/// Whether backends can be had.
fn is_able() -> bool {
    if !is_root() {
        return false;
    }
    let found = Command::new("nginx").arg("-v").output().is_ok();
    if !found {
        skip("nginx is not installed");
    }
    found
}

/// Runs a trial of some contenders, and gives back what it wrote. Who is missing on this machine has said so.
#[track_caller]
fn measure(trial: Trial, arguments: &[&str]) -> Value {
    let mode = arguments.windows(2).find(|it| it[0] == "--mode").map_or(Mode::Dsr, |it| mode_called(it[1]));
    let (scenario, name) = (trial.scenario(mode), trial.to_string());
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("page.html");
    let mut command = vec!["bench", "lb", "--scenario", &name, "--duration", "1", "--rounds", "1", "--json", "-"];
    command.extend(["--html", html.to_str().unwrap()]);
    command.extend(arguments);
    let output = run_cleanly(&mut xskip(&command));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.stdout.is_empty(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["scenario"], scenario.name);
    for contender in report["contenders"].as_array().unwrap() {
        if let Some(reason) = contender["unavailable"].as_str() {
            assert!(contender["name"] != "xskip" && said.contains(reason), "{said}");
            skip(reason);
            continue;
        }
        for metric in scenario.metrics {
            // HAProxy has no UDP, and a balancer that is none no memory.
            let lacks: &[&str] = match contender["name"].as_str() {
                Some("haproxy") => &["datagrams"],
                Some("direct") => &["held", "bytes_per"],
                _ => &[],
            };
            let is_none = lacks.iter().any(|what| metric.name.contains(what));
            assert_eq!(contender["rounds"][0][metric.name].is_number(), !is_none, "{}: {report:#}", metric.name);
        }
    }
    let page = fs::read_to_string(html).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(&page, options).expect("well-formed");
    assert!(page.contains(&format!("xskip bench lb --scenario {name} ")), "{page}");
    report
}

fn mode_called(name: &str) -> Mode {
    LbBench::MODES.into_iter().find(|mode| mode.name() == name).unwrap()
}

/// Runs the program to its end, which leaves none of its hosts behind.
#[track_caller]
fn run_cleanly(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_clean(id);
    output
}

#[track_caller]
fn assert_clean(id: u32) {
    let mut left = netns::list().unwrap();
    left.retain(|name| name.starts_with(&format!("benchlb{id}-")));
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn figure(report: &Value, contender: usize, metric: &str) -> f64 {
    report["contenders"][contender]["rounds"][0][metric].as_f64().unwrap_or_else(|| panic!("{metric}: {report:#}"))
}

#[test]
fn balancers_at_work_beside_a_direct_link() {
    if is_able() {
        let report = measure(Trial::Steady, &[]);
        assert_eq!(figure(&report, 0, "failed_requests") + figure(&report, 0, "failed_connections"), 0.0, "{report:#}");
        assert!(figure(&report, 0, "requests_per_second") > 0.0 && figure(&report, 0, "connections_per_second") > 0.0);
        assert!(report["ratios"]["xskip/direct"]["requests_per_second"]["median"].is_number(), "{report:#}");
        for (index, contender) in report["contenders"].as_array().unwrap().iter().enumerate() {
            let name = contender["name"].as_str().unwrap();
            if contender["unavailable"].is_null() {
                assert!(figure(&report, index, "download_gbit_per_second") > 0.0, "{name}: {report:#}");
            }
            // A proxy has two of the kernel's sockets for each, which are larger than that; who forwards has none.
            if contender["unavailable"].is_null() && name != "direct" {
                let [kernel, held] =
                    ["kernel_bytes_per_connection", "held_connections"].map(|it| figure(&report, index, it));
                let is_proxy = ["haproxy", "nginx-stream"].contains(&name);
                assert!(held > 1_000.0 && (kernel > 2_000.0) == is_proxy, "{name}: {report:#}");
            }
        }
    }
}

#[test]
fn what_is_proxied_has_a_bare_redirect_beside_it_that_serves() {
    if is_able() {
        let report = measure(Trial::Steady, &["--mode", "proxy", "--contenders", "xskip,redirect"]);
        for metric in ["failed_requests", "failed_connections", "failed_downloads", "failed_held_connections"] {
            assert_eq!(figure(&report, 1, metric), 0.0, "{metric}: {report:#}");
        }
        assert!(report["ratios"]["xskip/redirect"]["download_gbit_per_second"]["median"].is_number(), "{report:#}");
    }
}

#[test]
fn nobody_notices_a_drain_in_any_mode() {
    if is_able() {
        for mode in ["dsr", "ipip", "gue", "nat"] {
            let report = measure(Trial::Drain, &["--mode", mode, "--contenders", "xskip"]);
            for metric in ["failed_requests", "moved", "new_on_drained"] {
                assert_eq!(figure(&report, 0, metric), 0.0, "{mode}, {metric}: {report:#}");
            }
            assert!(figure(&report, 0, "kept_on_drained") > 0.0, "{mode}: {report:#}");
        }
    }
}

#[test]
fn a_drain_beside_others() {
    if is_able() {
        measure(Trial::Drain, &[]);
    }
}

#[test]
fn nobody_notices_reloads_and_no_datagram_is_lost() {
    if is_able() {
        let report = measure(Trial::Reload, &[]);
        assert_eq!(figure(&report, 0, "reloads"), 10.0);
        for metric in ["failed_requests", "moved", "lost_datagrams"] {
            assert_eq!(figure(&report, 0, metric), 0.0, "{metric}: {report:#}");
        }
        assert!(figure(&report, 0, "new_on_added") > 0.0 && figure(&report, 0, "datagrams") > 0.0, "{report:#}");
    }
}

#[test]
fn a_death_takes_along_what_the_dead_one_had_and_nobody_else() {
    if is_able() {
        let report = measure(Trial::Kill, &[]);
        assert!(figure(&report, 0, "failed_on_killed") > 0.0, "{report:#}");
        assert_eq!(figure(&report, 0, "failed_on_others"), 0.0, "{report:#}");
        let series = report["contenders"][0]["series"].as_array().unwrap();
        let drawn: f64 = series.iter().map(|point| point[1].as_f64().unwrap()).sum();
        assert_eq!((series.len(), drawn), (10, figure(&report, 0, "failed_requests")), "{report:#}");
    }
}

#[test]
fn a_flood_is_forwarded_beside_a_bare_redirect() {
    if is_root() {
        let report = measure(Trial::Flood, &[]);
        assert_eq!(report["contenders"][2]["name"], "redirect");
        for contender in [0, 1, 2] {
            let has_run = contender != 1 || report["contenders"][1]["unavailable"].is_null();
            assert!(!has_run || figure(&report, contender, "packets_per_second") > 0.0, "{report:#}");
        }
        assert!(report["ratios"]["xskip/redirect"]["packets_per_second"]["median"].is_number(), "{report:#}");
    }
}

#[test]
fn clients_of_a_proxied_service_are_served_under_a_flood() {
    if is_able() {
        let report = measure(Trial::Flood, &["--mode", "proxy"]);
        let names: Vec<_> =
            report["contenders"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["xskip", "haproxy", "nginx-stream"]);
        let failures = ["idle_failures", "legit_failures"].map(|name| figure(&report, 0, name));
        assert_eq!(failures, [0.0, 0.0], "{report:#}");
        assert!(figure(&report, 0, "served") > 0.0 && figure(&report, 0, "syn_ack_per_second") > 0.0, "{report:#}");
    }
}

#[test]
fn rows_break_no_flow_in_worlds_where_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("state.html");
    let arguments = ["bench", "lb", "--state", "rows,hash,lru", "--rounds", "2", "--json", "-", "--html"];
    let compare = || run_ok(&[&arguments[..], &[html.to_str().unwrap()]].concat());
    let said = compare();
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["scenario"], &report["rounds"]), (&"lb-state".into(), &2.into()));
    for (contender, breaks) in [(0, false), (1, true), (2, true)] {
        for round in 0..2 {
            let violations = report["contenders"][contender]["rounds"][round]["violations"].as_f64().unwrap();
            assert_eq!(violations > 0.0, breaks, "{report:#}");
        }
        assert!(report["contenders"][contender]["series"].as_array().unwrap().len() > 40, "{report:#}");
    }
    let page = fs::read_to_string(&html).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(&page, options).expect("well-formed");
    assert_eq!(page.matches("<polyline").count(), 3, "{page}");
    assert_eq!(said, compare(), "a world is its number");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    for (wrong, sentence) in [
        (["--contenders", "xskip,katran"], "\"katran\" is no contender: name xskip, haproxy, nginx-stream, nft-dnat"),
        (["--scenario", "storm"], "\"storm\" is no scenario: name one of steady, kill, drain, reload, flood"),
        (["--state", "luck"], "\"luck\" is no state of a balancer: name rows, hash or lru"),
        (["--seed", "7"], "--seed draws the worlds of --state, and nothing else"),
        (["--mode", "teleport"], "\"teleport\" is no mode that can be measured: name one of dsr, ipip, gue, nat"),
    ] {
        let said = run_failing(2, &["bench", "lb", wrong[0], wrong[1]]);
        assert!(said.contains(sentence), "{said}");
    }
    let said = run_failing(2, &["bench", "lb", "--scenario", "flood", "--contenders", "haproxy"]);
    assert!(said.contains("haproxy is no contender of lb --scenario flood: name xskip, nft-dnat, redirect"), "{said}");
    for trial in ["kill", "drain", "reload"] {
        let said = run_failing(2, &["bench", "lb", "--scenario", trial, "--contenders", "redirect"]);
        assert!(
            said.contains(&format!("redirect is no contender of lb --scenario {trial}: name xskip, haproxy")),
            "{said}"
        );
    }
    let proxies = ["bench", "lb", "--scenario", "flood", "--mode", "proxy", "--contenders", "redirect"];
    let said = run_failing(2, &proxies);
    let sentence = "redirect is no contender of lb --scenario flood --mode proxy: name xskip, haproxy, nginx-stream";
    assert!(said.contains(sentence), "{said}");
    let said = run_failing(2, &["bench", "lb", "--scenario", "kill", "--connections", "1"]);
    assert!(said.contains("--connections counts those of the client in the scenario steady"), "{said}");
    let said = run_failing(2, &["bench", "lb", "--scenario", "flood", "--state", "rows"]);
    assert!(said.contains("cannot be used with '--state"), "{said}");
    for trial in Trial::ALL {
        for mode in LbBench::MODES {
            assert_eq!(LbContender::of(trial, mode)[0], LbContender::Xskip);
        }
    }
}

#[test]
fn who_is_missing_is_named_with_what_to_install() {
    if !is_able() {
        return;
    }
    // A folder with all that is needed but for one program.
    let folder = tempfile::tempdir().unwrap();
    let path = env::var_os("PATH").unwrap();
    for program in ["ip", "nginx"] {
        let found = env::split_paths(&path).map(|it| it.join(program)).find(|it| it.exists()).unwrap();
        symlink(found, folder.path().join(program)).unwrap();
    }
    for (contender, package) in [("haproxy", "apt install haproxy"), ("nft-dnat", "apt install nftables")] {
        let arguments = ["bench", "lb", "--duration", "1", "--rounds", "1", "--contenders", contender];
        let output = run_cleanly(xskip(&arguments).env("PATH", folder.path()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{contender} was left out")) && said.contains(package), "{said}");
    }
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    if !is_able() {
        return;
    }
    let mut command = xskip(&["bench", "lb", "--scenario", "drain", "--duration", "60"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let of_child = format!("/proc/{0}/task/{0}/children", child.id());
    let children = || fs::read_to_string(&of_child).unwrap().split_whitespace().count();
    let deadline = Instant::now() + Duration::from_secs(60);
    // Three backends and a balancer.
    while children() < 4 {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_clean(child.id());
}
