//! The contenders, each in a lab of its own: they answer real clients and leave nothing behind. Needs root.

mod common;

use common::{Name, is_root, skip};
use std::{
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use xskip_cli::{
    bench::contender::{Contender, ContenderError, RunningContender},
    host::{Link, cores::Cores, netns, sysctl},
    lab::{INTERFACE, Lab, LabOptions, Side},
    runtime::{RunReport, Running},
};

/// The last core there is.
fn core() -> usize {
    Cores::read().unwrap().iter().last().unwrap()
}

fn temporary(name: &Name) -> Lab {
    Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap()
}

/// Everything about the server's side that a contender may change, and that it must put back.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    xdp: bool,
    said: Vec<String>,
    settings: Vec<Option<String>>,
}

fn said(side: &Side, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(side.command(program).args(arguments).output().unwrap().stdout).unwrap()
}

fn traces(lab: &Lab) -> Traces {
    let side = lab.server();
    let settings = [
        "net/ipv4/tcp_syncookies",
        "net/ipv4/tcp_max_syn_backlog",
        "net/ipv4/tcp_timestamps",
        "net/ipv4/tcp_synack_retries",
        "net/ipv4/tcp_congestion_control",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/veth0/rp_filter",
        "net/core/somaxconn",
    ];
    Traces {
        xdp: side.run(|| Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap(),
        said: vec![
            said(side, "nft", &["list", "tables"]),
            said(side, "ip", &["-4", "route", "show", "default"]),
            said(side, "ip", &["-6", "route", "show", "default"]),
            said(side, "ss", &["-Hltn"]),
        ],
        settings: side.run(|| settings.map(|key| sysctl::read(key).unwrap()).to_vec()).unwrap(),
    }
}

/// Nothing differs from before, and nobody is in the namespace any more. A thread that was waited for may be seen for a
/// moment yet.
#[track_caller]
fn assert_put_back(lab: &Lab, before: &Traces, what: &str) {
    assert_eq!(traces(lab), *before, "after {what}");
    let deadline = Instant::now() + Duration::from_secs(10);
    let processes = || lab.server().namespace().processes().unwrap();
    while !processes().is_empty() {
        assert!(Instant::now() < deadline, "after {what}: {:?}", processes());
        thread::sleep(Duration::from_millis(10));
    }
}

/// What curl says, or its exit code.
fn fetch(lab: &Lab, target: SocketAddr) -> Result<String, Option<i32>> {
    let url = format!("http://{target}/");
    let arguments = ["--silent", "--globoff", "--noproxy", "*", "--max-time", "10", &url];
    let output = lab.client().command("curl").args(arguments).output().unwrap();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(output.status.code()) }
}

/// Starts it, or says why this machine cannot.
fn start(contender: Contender, lab: &Lab) -> Option<RunningContender> {
    match contender.start(lab, core()) {
        Err(ContenderError::Unavailable { reason, .. }) => {
            skip(&reason);
            None
        }
        other => Some(other.unwrap()),
    }
}

/// Fetches over both protocols, in two lives of the contender: one is stopped, one dropped. Gives back the report of the
/// first.
fn serves(contender: Contender) -> Option<RunReport> {
    let name = Name::new();
    let lab = temporary(&name);
    let before = traces(&lab);
    let fetch_all = |running: &RunningContender| {
        let targets = running.targets();
        assert!(targets.len() == 2 && targets[0].is_ipv4() && targets[1].is_ipv6(), "{targets:?}");
        for target in targets {
            for _ in 0..5 {
                let page = fetch(&lab, target).unwrap_or_else(|code| panic!("{contender} at {target}: {code:?}"));
                assert!(page.contains("page"), "{page}");
            }
        }
        assert!(running.resident_kib() > Some(100));
    };
    let running = start(contender, &lab)?;
    fetch_all(&running);
    // curl ends before its last segment has been heard.
    let finished = |running: &Running| -> u64 {
        running.workers().iter().map(|worker| worker.snapshot().stats.connections_finished).sum()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while running.running().is_some_and(|running| finished(running) < 10) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let report = running.stop().unwrap();
    assert_put_back(&lab, &before, &format!("{contender} was stopped"));

    let running = contender.start(&lab, core()).unwrap();
    fetch_all(&running);
    drop(running);
    assert_put_back(&lab, &before, &format!("{contender} was dropped"));

    drop(lab);
    let left = netns::list().unwrap();
    assert!(!left.contains(&name.namespace("server")) && !left.contains(&name.namespace("client")), "{left:?}");
    report
}

#[test]
fn xskip_serves_with_cookies_from_its_program() {
    if !is_root() {
        return;
    }
    let report = serves(Contender::Xskip).expect("a server of this crate reports");
    assert_eq!(report.verdicts.answered_syn, 10, "{:?}", report.verdicts);
}

#[test]
fn xskip_serves_with_cookies_from_its_worker() {
    if !is_root() {
        return;
    }
    let report = serves(Contender::XskipUserspace).expect("a server of this crate reports");
    assert_eq!(report.verdicts.answered_syn, 0, "{:?}", report.verdicts);
    assert_eq!(report.stats().connections_finished, 10);
}

#[test]
fn the_kernel_serves() {
    if !is_root() {
        return;
    }
    assert!(serves(Contender::Kernel).is_none());
}

#[test]
fn the_kernel_serves_behind_the_syn_proxy() {
    if !is_root() {
        return;
    }
    assert!(serves(Contender::NftSynproxy).is_none());
}

#[test]
fn the_proxy_shakes_hands_before_the_server_does() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = temporary(&name);
    let Some(running) = start(Contender::NftSynproxy, &lab) else { return };
    let proxied = || {
        let table = lab.server().run(|| std::fs::read_to_string("/proc/thread-self/net/stat/synproxy").unwrap());
        let table = table.unwrap();
        let syns = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        syns.map(|count| u32::from_str_radix(count, 16).unwrap()).sum::<u32>()
    };
    for (number, target) in (1..).zip(running.targets()) {
        fetch(&lab, target).unwrap();
        assert_eq!(proxied(), number, "{target}");
    }
    running.stop().unwrap();
}

#[test]
fn without_nft_the_proxy_is_not_to_be_had_and_the_rest_is() {
    if !is_root() {
        return;
    }
    // Programs are looked for where the process was told to when it began: hence another one.
    if std::env::var_os("WITHOUT_NFT").is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "without_nft_the_proxy_is_not_to_be_had_and_the_rest_is"]);
        let output = again.env("WITHOUT_NFT", "1").env("PATH", "/nonexistent").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let name = Name::new();
    let lab = temporary(&name);
    let error = Contender::NftSynproxy.start(&lab, core()).unwrap_err();
    assert!(matches!(error, ContenderError::Unavailable { .. }), "{error}");
    let said = error.to_string();
    assert!(said.starts_with("nft-synproxy is not to be had on this machine: nft did not start"), "{said}");
    Contender::Kernel.start(&lab, core()).unwrap().stop().unwrap();
}

/// The client's connections that were reset once they were established: `EstabResets` of RFC 4022.
fn connections_reset(lab: &Lab) -> u64 {
    let counters = lab.client().run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut tcp = counters.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
    let at = names.split(' ').position(|name| name == "EstabResets").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn the_reflector_answers_but_serves_nobody() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = temporary(&name);
    let before = traces(&lab);
    let nobody = Contender::Kernel.start(&lab, core()).unwrap();
    let targets = nobody.targets();
    nobody.stop().unwrap();
    for _ in 0..2 {
        let running = Contender::XdpTx.start(&lab, core()).unwrap();
        assert_eq!(running.targets(), targets);
        assert_eq!(running.resident_kib(), None);
        for &target in &targets {
            // The client takes itself for connected; then the server's kernel knows nothing of it, and resets.
            let resets = connections_reset(&lab);
            fetch(&lab, target).unwrap_err();
            assert_eq!(connections_reset(&lab), resets + 1, "{target}");
        }
        assert!(running.stop().unwrap().is_none());
        assert_put_back(&lab, &before, "the reflector was stopped");
        for &target in &targets {
            let resets = connections_reset(&lab);
            assert_eq!(fetch(&lab, target), Err(Some(7)), "refused by the kernel");
            assert_eq!(connections_reset(&lab), resets, "{target}");
        }
    }
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = temporary(&name);
    let before = traces(&lab);
    for contender in Contender::ALL {
        let said = contender.start(&lab, 9_999).unwrap_err().to_string();
        assert!(said.starts_with("core 9999 does not exist"), "{said}");
    }
    let first = Contender::Kernel.start(&lab, core()).unwrap();
    let with_first = traces(&lab);
    for contender in [Contender::Kernel, Contender::NftSynproxy] {
        let Err(error) = contender.start(&lab, core()) else { panic!("two servers at one address") };
        assert!(
            matches!(error, ContenderError::System { .. } | ContenderError::Unavailable { .. }),
            "{contender}: {error}"
        );
        assert_eq!(traces(&lab), with_first, "after {contender} failed");
    }
    first.stop().unwrap();
    assert_put_back(&lab, &before, "the first was stopped");
}
