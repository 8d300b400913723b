//! `/metrics` of `xskip serve`, as curl and Prometheus ask for it. Needs root.

mod common;
#[path = "lb_metrics/exposition.rs"]
mod exposition;
#[path = "lb_metrics/queries.rs"]
mod queries;

use common::{
    is_root,
    served::{ADDRESS, ADDRESS_V6, Served},
    skip, wait_until,
};
use exposition::Exposition;
use nix::sys::signal::Signal;
use queries::Query;
use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use xskip_cli::{
    telemetry::metrics::{Form, WorkersPage},
    worker::Snapshot,
};

const AT: &str = "127.0.0.1:9920";

fn served(more: &[&str]) -> Served {
    let arguments =
        ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--app", "http", "--json", "--metrics", AT];
    Served::new(1, &[&arguments[..], more].concat())
}

/// A page with what a server with an executor has on it as well.
fn with_executor(mut page: Exposition) -> Exposition {
    let mut worker = Snapshot::default();
    (worker.executor.tasks, worker.executor.events) = (3, vec![("polls", 7), ("slow_polls", 0)]);
    let made_up = WorkersPage { workers: vec![worker], ..WorkersPage::default() }.write(Form::OpenMetrics);
    let of_executor =
        Exposition::read(&made_up).series.into_iter().filter(|((name, _), _)| name.contains("_executor_"));
    page.series.extend(of_executor);
    page
}

/// What curl gets beside the server.
#[track_caller]
fn curl(served: &Served, more: &str) -> String {
    let words = format!("curl -sS --max-time 20 {more} http://{AT}/metrics");
    let output = served.lab.server().command("sh").args(["-c", &words]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn scrape(served: &Served) -> Exposition {
    Exposition::read(&curl(served, ""))
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn document(name: &str) -> String {
    fs::read_to_string(docs(name)).unwrap()
}

#[test]
fn what_was_served_is_what_is_counted() {
    if !is_root() {
        return;
    }
    let mut served = served(&[]);
    let before = scrape(&served);
    assert_eq!(before.find("xskip_worker_flows", &[("worker", "0"), ("state", "open")]), Some(0.0));
    for url in ["http://198.18.0.1/bytes/100000", "http://[2001:2::1]/"] {
        for _ in 0..3 {
            served.client_ok("curl", &["-sS", "-g", "--max-time", "30", url]);
        }
    }
    let event = |page: &Exposition, event| page.get("xskip_stack_events_total", &[("worker", "0"), ("event", event)]);
    wait_until("what was served is shown", || event(&scrape(&served), "connections_finished") == 6.0);
    let page = scrape(&served);
    assert_eq!(event(&page, "connections_opened"), 6.0);
    for histogram in ["xskip_handshake_seconds", "xskip_round_trip_seconds", "xskip_first_octet_seconds"] {
        let count = page.get(&format!("{histogram}_count"), &[("worker", "0")]);
        let end = [("le", "+Inf"), ("worker", "0")];
        assert_eq!((count, page.get(&format!("{histogram}_bucket"), &end)), (6.0, 6.0), "{histogram}");
        // An answer may be within the batch of its request.
        assert!(page.get(&format!("{histogram}_sum"), &[("worker", "0")]) > 0.0 || histogram.contains("first"));
    }
    assert!(page.get("xskip_worker_batch_seconds_count", &[("worker", "0")]) > 6.0);
    assert!(page.sum("xskip_listener_syns_total", ("listener", "198.18.0.1:80")) >= 3.0);
    assert!(page.get("xskip_worker_received_frames_total", &[("worker", "0")]) > 6.0);
    assert_eq!(page.get("xskip_listener_accepted_total", &[("listener", "*:80")]), 6.0);
    // Three answers of 100,000 octets, and a request has more than its headers.
    let octets = |way| page.get(&format!("xskip_worker_{way}_bytes_total"), &[("worker", "0")]);
    assert!((300_000.0..400_000.0).contains(&octets("transmitted")) && octets("received") > 6.0 * 66.0);
    for ((name, labels), value) in before.series.iter().filter(|((name, _), _)| name.ends_with("_total")) {
        assert!(page.series[&(name.clone(), labels.clone())] >= *value, "{name} {labels:?}");
    }
    Exposition::read_plain(&curl(&served, "-H 'Accept: text/plain'"));
    served.stop_balanced();
}

#[test]
fn a_server_that_has_given_up_its_rights_tells_as_much() {
    if !is_root() {
        return;
    }
    let mut served = served(&["--user", "nobody"]);
    let names = |page: &Exposition| page.series.keys().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    assert!(names(&scrape(&served)).contains("xskip_xdp_frames_total"));
    served.stop_balanced();
}

#[test]
fn clients_that_say_nothing_keep_nobody_waiting() {
    if !is_root() {
        return;
    }
    let mut served = served(&[]);
    // So many that some are refused, and those who say nothing go before they are told to.
    let connect = || served.lab.server().run(|| TcpStream::connect(AT)).unwrap().unwrap();
    let mut silent: Vec<_> = (0..100).map(|_| connect()).collect();
    served.client_ok("curl", &["-sS", "--max-time", "30", "http://198.18.0.1/"]);
    let mut said = String::new();
    silent[99].read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    drop(silent);
    wait_until("there is room again", || curl(&served, "-o /dev/null -w '%{http_code}'") == "200");
    served.stop_balanced();
}

#[test]
fn what_dashboard_alerts_and_page_speak_of_is_there() {
    if !is_root() {
        return;
    }
    let mut served = served(&[]);
    let page = with_executor(scrape(&served));
    let dashboard: serde_json::Value = serde_json::from_str(&document("grafana-server.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"].as_array().unwrap() {
            let query = Query::read(target["expr"].as_str().unwrap());
            let query = query.and_legend(target["legendFormat"].as_str().unwrap());
            query.is_in(&page);
            shown.extend(query.metrics);
        }
    }
    // All that is exported is told of, with its labels; and nothing else is.
    let mut told = BTreeSet::new();
    for line in document("metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let in_ticks = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let labels: BTreeSet<_> = cells[1].split("; ").filter_map(|it| in_ticks(it).into_iter().next()).collect();
        for name in in_ticks(cells[0]) {
            let found: BTreeSet<_> = page.labels_of(&name).keys().map(|&it| it.to_owned()).collect();
            assert_eq!(labels, found, "{name}");
            told.insert(name);
        }
    }
    let all: BTreeSet<String> = page.series.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(told, all);
    let unseen: Vec<_> = all.difference(&shown).collect();
    assert_eq!(unseen, ["xskip_build_info"], "what the dashboard leaves out");
    let rules = document("alerts.yaml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(alerts.len(), 3);
    alerts.into_iter().for_each(|alert| Query::read(&alert.replace("=~\"rx_ring_full|", "=~\"")).is_in(&page));
    served.stop_balanced();
}

/// Whether Prometheus is there.
fn has_prometheus() -> bool {
    let found = ["promtool", "prometheus"].iter().all(|it| Command::new(it).arg("--version").output().is_ok());
    if !found {
        skip("prometheus is not installed");
    }
    found
}

#[test]
fn prometheus_finds_nothing_to_complain_of_and_scrapes_it() {
    if !is_root() || !has_prometheus() {
        return;
    }
    let mut served = served(&[]);
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page");
    fs::write(&page, curl(&served, "-H 'Accept: text/plain'")).unwrap();
    let checked = Command::new("promtool").args(["check", "metrics"]).stdin(fs::File::open(&page).unwrap()).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let checked = Command::new("promtool").args(["check", "rules"]).arg(docs("alerts.yaml")).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let file = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n  - job_name: xskip\n    static_configs: [{{targets: [\"{AT}\"]}}]\n",
        docs("alerts.yaml")
    );
    fs::write(&file, text).unwrap();
    let words = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        "--web.listen-address=127.0.0.1:9909".to_owned(),
    ];
    let prometheus = served.lab.server().command("prometheus").args(&words);
    let prometheus = prometheus.with(|command| command.stdout(Stdio::null()).stderr(Stdio::null()));
    let mut prometheus = prometheus.spawn().unwrap();
    let ask = "curl -sS --max-time 5 'http://127.0.0.1:9909/api/v1/query?query=xskip_worker_flows'";
    let answers = || {
        let output = served.lab.server().command("sh").args(["-c", ask]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("half_open")
    };
    wait_until("Prometheus has scraped it", answers);
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
    served.stop_balanced();
}

#[test]
fn whoever_drains_is_looked_at_until_the_end() {
    if !is_root() {
        return;
    }
    let arguments = ["--address", ADDRESS, "--port", "7", "--app", "echo", "--json", "--drain", "600", "--metrics", AT];
    let mut served = Served::new(1, &arguments);
    let connect = || served.lab.client().run(|| TcpStream::connect("198.18.0.1:7")).unwrap();
    let last = connect().unwrap();
    served.signal(Signal::SIGINT);
    wait_until("nobody is accepted any more", || connect().is_err());
    let open = || scrape(&served).find("xskip_worker_flows", &[("worker", "0"), ("state", "open")]);
    wait_until("the last connection is shown", || open() == Some(1.0));
    drop(last);
    served.wait_balanced();
}
