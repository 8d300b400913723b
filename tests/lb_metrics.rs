//! `/metrics` of `xskip lb run`, as curl and Prometheus ask for it. Needs root.

#[path = "lb_run/balancer.rs"]
mod balancer;
mod common;
#[path = "lb_metrics/exposition.rs"]
mod exposition;
#[path = "balancer/net.rs"]
mod net;
#[path = "lb_metrics/queries.rs"]
mod queries;

use balancer::{BOTH, Ground, PROGRAM, TALK, config};
use common::{is_root, wait_until};
use exposition::Exposition;
use net::VIPS;
use nix::sys::signal::Signal;
use queries::Query;
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

const AT: &str = "127.0.0.1:9920";

const TRANSLATED: &str = "
[[service]]
name = \"translated\"
address = \"198.18.0.80:9\"
mode = \"nat\"
check.kind = \"none\"
[[service.backend]]
name = \"b1\"
address = \"198.18.0.11:7\"
[[service]]
name = \"proxied\"
address = \"198.18.0.80:10\"
mode = \"proxy\"
check.kind = \"none\"
[[service.backend]]
name = \"b1\"
address = \"198.18.0.11:7\"
";

const HANDED_OVER: &str = "
[[service]]
name = \"handed\"
address = \"198.18.0.80:11\"
syn_proxy = \"always\"
check.kind = \"none\"
[[service.backend]]
name = \"b1\"
address = \"198.18.0.11\"
";

/// The file of a balancer with metrics there.
fn with_metrics(at: &str, generation: u32, backends: &[(&str, &str)]) -> String {
    format!("metrics = \"{at}\"\n{}", config(generation, backends))
}

/// What curl gets in the balancer's namespace: the head, and the rest.
#[track_caller]
fn curl(ground: &Ground, what: &str) -> (String, String) {
    let said = ground.net.sh("balancer", &format!("curl -sS -i --max-time 20 {what}"));
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{said}"));
    (head.to_owned(), body.to_owned())
}

#[track_caller]
fn scrape(ground: &Ground, at: &str) -> Exposition {
    let (head, body) = curl(ground, &format!("http://{at}/metrics"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{head}"
    );
    Exposition::read(&body)
}

fn connect(ground: &Ground, at: &str) -> TcpStream {
    let stream = ground.net.on("balancer", || TcpStream::connect(at)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Says something as it is; returns what is answered, to its end.
fn say(ground: &Ground, what: &[u8]) -> String {
    let mut stream = connect(ground, AT);
    // Who is refused before it was heard may find the connection reset, behind the answer.
    stream.write_all(what).ok();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer
}

/// No counter of the earlier page is less in the later one, or gone.
#[track_caller]
fn nothing_went_down(before: &Exposition, after: &Exposition) {
    for ((name, labels), &value) in before.series.iter().filter(|((name, _), _)| name.ends_with("_total")) {
        let now = after.series.get(&(name.clone(), labels.clone()));
        assert!(now.is_some_and(|&now| now >= value), "{name} {labels:?} was {value}, and is {now:?}");
    }
}

#[test]
fn what_was_sent_is_what_is_counted() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    ground.write(&with_metrics(AT, 7, &BOTH));
    let running = ground.run();
    assert!(running.said().contains(&format!("metrics are at http://{AT}/metrics")), "{}", running.said());
    let before = scrape(&ground, AT);
    let answers = ground.who(12);
    // A SYN that has no hop left, and no answer.
    let dead = ground.net.on("client", || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_ttl_v4(1).unwrap();
        let at: SocketAddr = format!("{}:{TALK}", VIPS[0]).parse().unwrap();
        socket.connect_timeout(&at.into(), Duration::from_millis(200)).is_err()
    });
    assert!(dead);
    let (mut after, mut status) = (scrape(&ground, AT), ground.status());
    // The last segments of connections may yet come: nothing has between one scrape and the next, nor at the status in between.
    wait_until("all is quiet", || {
        status = ground.status();
        let last = std::mem::replace(&mut after, scrape(&ground, AT));
        last.sum("xskip_lb_packets_total", ("outcome", "forwarded"))
            == after.sum("xskip_lb_packets_total", ("outcome", "forwarded"))
    });
    for name in ["b1", "b2"] {
        let labels = [("service", "four"), ("backend", name)];
        let grown = |what: &str| after.get(what, &labels) - before.get(what, &labels);
        let its = answers.iter().filter(|who| *who == name).count() as f64;
        assert_eq!(grown("xskip_lb_backend_flows_total"), its, "{name}");
        // Each has a SYN of 60 octets and a segment with a request at least.
        assert!(grown("xskip_lb_backend_packets_total") >= 3.0 * its);
        assert!(grown("xskip_lb_backend_bytes_total") >= 160.0 * its);
    }
    let grown = |name: &str, label: (&str, &str)| after.sum(name, label) - before.sum(name, label);
    let forwarded = grown("xskip_lb_packets_total", ("outcome", "forwarded"));
    assert_eq!(forwarded, grown("xskip_lb_backend_packets_total", ("service", "four")));
    assert!(grown("xskip_lb_packets_total", ("reason", "hop_limit")) >= 1.0);
    assert_eq!(forwarded, grown("xskip_lb_xdp_frames_total", ("verdict", "balanced")));

    // What `xskip lb status` says has the same names and figures.
    let reasons = after.of("xskip_lb_packets_total").map(|(labels, count)| (labels["reason"].as_str(), count));
    let outcomes = status["outcomes"].as_object().unwrap();
    let told = outcomes.iter().map(|(name, count)| (name.as_str(), count.as_f64().unwrap()));
    assert_eq!(sorted(reasons), sorted(told));
    let of = |name| backend_of(&status, "four", "b1", name);
    let labels = [("service", "four"), ("backend", "b1")];
    for (metric, field) in [
        ("xskip_lb_backend_packets_total", "packets"),
        ("xskip_lb_backend_bytes_total", "octets"),
        ("xskip_lb_backend_flows_total", "flows"),
        ("xskip_lb_backend_resets_total", "resets"),
        ("xskip_lb_backend_weight", "weight"),
        ("xskip_lb_backend_rows", "rows"),
        ("xskip_lb_backend_older_rows", "older_rows"),
        ("xskip_lb_backend_remembered_flows", "remembered"),
        ("xskip_lb_backend_health_changes_total", "health_changes"),
    ] {
        assert_eq!(Some(after.get(metric, &labels)), of(field).as_f64(), "{metric}");
    }
    assert_eq!(after.get("xskip_lb_config_generation", &[]), 7.0);
    assert_eq!(Some(after.get("xskip_lb_remembered_flows_limit", &[])), status["remembered_limit"].as_f64());
    assert_eq!(after.get("xskip_lb_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(after.get("xskip_lb_worker_received_frames_total", &[("worker", "0")]) > 0.0, "ARP");
    assert!(after.get("process_start_time_seconds", &[]) == before.get("process_start_time_seconds", &[]));
    assert!(after.get("process_cpu_seconds_total", &[]) >= before.get("process_cpu_seconds_total", &[]));
    assert!(after.get("process_resident_memory_bytes", &[]) > 1e6);
    nothing_went_down(&before, &after);
}

fn sorted<'a>(pairs: impl Iterator<Item = (&'a str, f64)>) -> Vec<(&'a str, f64)> {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by_key(|(name, _)| *name);
    pairs
}

/// A field of a backend in the status.
fn backend_of<'a>(status: &'a serde_json::Value, service: &str, backend: &str, field: &str) -> &'a serde_json::Value {
    let find = |list: &'a serde_json::Value, name: &str| {
        list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name} in {list}"))
    };
    &find(&find(&status["services"], service)["backends"], backend)[field]
}

/// What the kernel says of threads of this name.
fn threads(running: &balancer::Running, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    statuses.filter(|status| field(status, "Name") == name).collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut fields = status.lines().filter_map(|line| line.split_once(":\t"));
    fields.find(|(it, _)| *it == name).unwrap_or_else(|| panic!("{name}: {status}")).1
}

#[test]
fn it_is_a_page_and_nothing_else_is_there() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    ground.write(&with_metrics(AT, 1, &BOTH[..1]));
    let mut running = ground.run();
    // While nobody comes, nothing wakes the thread that waits.
    let wakes = || field(&threads(&running, "xskip-metrics")[0], "voluntary_ctxt_switches").to_owned();
    wait_until("it waits", || field(&threads(&running, "xskip-metrics")[0], "State").starts_with('S'));
    let before = wakes();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(wakes(), before);
    // Both forms say the same, but for what changes by being asked for.
    let (head, plain) = curl(&ground, &format!("-H 'Accept: text/plain' http://{AT}/metrics"));
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    let (plain, page) = (Exposition::read_plain(&plain), scrape(&ground, AT));
    let names = |it: &Exposition| -> Vec<_> { it.series.keys().cloned().collect() };
    assert_eq!(names(&plain), names(&page));
    let (head, body) = curl(&ground, &format!("-I http://{AT}/metrics"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}\n{body}");
    for (what, status) in [
        (format!("http://{AT}/"), "404 Not Found"),
        (format!("-X DELETE http://{AT}/metrics"), "405 Method Not Allowed"),
        (format!("-d \"$(head -c 50000 /dev/zero | tr '\\0' a)\" http://{AT}/metrics"), "405 Method Not Allowed"),
        (format!("-H \"X: $(head -c 9000 /dev/zero | tr '\\0' a)\" http://{AT}/metrics"), "431 "),
    ] {
        let (head, _) = curl(&ground, &what);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {head}");
    }
    assert!(say(&ground, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(say(&ground, b"GET /metrics HTTP/1.0\r\n\r\n").ends_with("# EOF\n"));

    // Some who say nothing, or stop in the midst of it, hold up neither others nor who balances.
    let mut hanging: Vec<TcpStream> = (0..7).map(|_| connect(&ground, AT)).collect();
    for stream in hanging.iter_mut().step_by(2) {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    }
    scrape(&ground, AT);
    assert_eq!(ground.who(2), ["b1", "b1"]);
    // With as many as there may be another one is told so, at once. Those before are cut off with a word.
    wait_until("it is full", || {
        hanging.push(connect(&ground, AT));
        say(&ground, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 ")
    });
    let mut too_late = 0;
    for stream in &mut hanging {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok();
        too_late += usize::from(answer.starts_with("HTTP/1.1 408 "));
    }
    assert!(too_late >= 8, "{too_late}");
    wait_until("there is room again", || say(&ground, b"GET /metrics HTTP/1.1\r\n\r\n").ends_with("# EOF\n"));
    assert!(!running.said().contains("panicked"), "{}", running.said());

    // Who reads what strangers say has next to no rights: CAP_BPF, as some kernels want that for what is counted.
    let scraper = connect(&ground, AT);
    wait_until("it is heard", || !threads(&running, "xskip-scrape").is_empty());
    for status in threads(&running, "xskip-metrics").iter().chain(&threads(&running, "xskip-scrape")) {
        assert_eq!(u64::from_str_radix(field(status, "CapPrm"), 16).unwrap(), 1 << 39, "{status}");
    }
    // It does not wait for who hangs when it ends.
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    drop(scraper);
}

#[test]
fn metrics_move_with_the_file_and_counters_go_on() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    ground.write(&with_metrics(AT, 1, &BOTH));
    let running = ground.run();
    ground.who(8);
    let first = scrape(&ground, AT);
    let elsewhere = "198.18.0.1:9921";
    let since = running.mark();
    ground.write(&with_metrics(elsewhere, 2, &BOTH));
    running.wait_for_more(since, &format!("metrics are at http://{elsewhere}/metrics"));
    wait_until("it has moved", || ground.net.on("balancer", || TcpStream::connect(AT).is_err()));
    // Whoever is in the kernel's network can have it there.
    ground.net.sh("client", &format!("curl -sSf --max-time 20 http://{elsewhere}/metrics"));
    ground.who(4);
    let second = scrape(&ground, elsewhere);
    nothing_went_down(&first, &second);
    assert_eq!(second.get("xskip_lb_config_generation", &[]), 2.0);
    assert_eq!(second.get("xskip_lb_config_reloads_total", &[("result", "taken")]), 1.0);
    let flows = |it: &Exposition| it.sum("xskip_lb_backend_flows_total", ("service", "four"));
    assert_eq!((flows(&first), flows(&second)), (8.0, 12.0));

    // What cannot be had is refused with a sentence, and all of the file with it.
    let _taken = ground.net.on("balancer", || TcpListener::bind(AT).unwrap());
    let mut refused = 0.0;
    for (at, why) in [
        (AT, "`metrics` cannot be at 127.0.0.1:9920, where somebody else listens: `ss -ltnp` says who"),
        ("0.0.0.0:9921", "`metrics` cannot move from 198.18.0.1:9921 to 0.0.0.0:9921, which overlap"),
        ("198.18.0.9:9920", "this host has no address 198.18.0.9, which `metrics` needs"),
        ("127.0.0.1:80", "`metrics` at port 80 would take CAP_NET_BIND_SERVICE"),
    ] {
        let since = running.mark();
        ground.write(&with_metrics(at, 3, &BOTH[..1]));
        let said = running.wait_for_more(since, "the file is not taken, and all goes on as before: ");
        running.wait_for_more(since, why);
        assert!(!said.contains("panicked"), "{said}");
        refused += 1.0;
        let page = scrape(&ground, elsewhere);
        assert_eq!(page.get("xskip_lb_config_reloads_total", &[("result", "refused")]), refused, "{at}");
        assert_eq!(page.get("xskip_lb_config_last_reload_successful", &[]), 0.0);
        nothing_went_down(&second, &page);
        assert!(page.find("xskip_lb_backend_weight", &[("service", "four"), ("backend", "b2")]).is_some());
    }
    // A plan that is refused leaves them where they are, too.
    let since = running.mark();
    ground.write(&with_metrics("127.0.0.1:9922", 3, &BOTH).replace("198.18.0.80", "198.18.0.2"));
    running.wait_for_more(since, "the station 02:00:00:00:00:02");
    assert!(ground.net.on("balancer", || TcpStream::connect("127.0.0.1:9922").is_err()));
    // None, and some again.
    ground.write(&config(4, &BOTH));
    running.wait_for_more(since, "there are no metrics any more");
    wait_until("they are gone", || ground.net.on("balancer", || TcpStream::connect(elsewhere).is_err()));
    ground.write(&with_metrics("[::1]:9920", 5, &BOTH));
    running.wait_for_more(since, "metrics are at http://[::1]:9920/metrics");
    let last = scrape(&ground, "[::1]:9920");
    nothing_went_down(&second, &last);
    assert_eq!(last.get("xskip_lb_config_last_reload_successful", &[]), 1.0);
}

#[test]
fn a_balancer_whose_metrics_cannot_be_had_does_not_start() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    let _taken = ground.net.on("balancer", || TcpListener::bind(AT).unwrap());
    for (at, parts) in [
        (AT, &["`metrics` cannot be at 127.0.0.1:9920", "give another port"][..]),
        ("198.18.0.9:9920", &["lb.toml:1:11: ", "such as 127.0.0.1"]),
        ("127.0.0.1:80", &["lb.toml:1:11: ", "give a port from 1024 on"]),
    ] {
        ground.write(&with_metrics(at, 1, &BOTH[..1]));
        let mut command = ground.net.program("balancer", PROGRAM);
        let output = command.args(["lb", "run", "--config"]).arg(ground.file()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}"));
        assert!(!ground.net.sh("balancer", "ip link show eth0").contains("xdp") && !ground.control().exists());
        // What is known before it starts `check` says as well.
        if said.contains("lb.toml:1:11") {
            let checked = ground.refused(&["check"]);
            assert!(checked.contains(parts[1]), "{checked}");
        }
    }
}

#[test]
fn a_balancer_that_is_not_root_tells_as_much() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    ground.write(&with_metrics(AT, 1, &BOTH[..1]));
    let running = ground.begin_as_nobody();
    running.wait_for("balancing; Ctrl-C ends it");
    wait_until("the backend is reached", || {
        scrape(&ground, AT).sum("xskip_lb_backend_trouble", ("backend", "b1")) == 0.0
    });
    assert_eq!(ground.who(3), ["b1", "b1", "b1"]);
    let page = scrape(&ground, AT);
    assert_eq!(page.get("xskip_lb_backend_flows_total", &[("service", "four"), ("backend", "b1")]), 3.0);
    for name in ["process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"] {
        assert!(page.get(name, &[]) > 0.0, "{name}");
    }
}

#[test]
fn names_are_said_as_they_are_whatever_is_in_them() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    let odd = r#"we"b\x,}né"#;
    let toml = |name: &str| format!("'{name}'");
    let text = with_metrics(AT, 1, &BOTH[..1]).replace("\"web\"", &toml(odd)).replace("\"b1\"", &toml(r"b\n1"));
    ground.write(&text);
    let _running = ground.run();
    let page = scrape(&ground, AT);
    assert_eq!(page.get("xskip_lb_backend_weight", &[("service", odd), ("backend", r"b\n1")]), 100.0);
    let plain = curl(&ground, &format!("-H 'Accept: text/plain' http://{AT}/metrics")).1;
    let plain = Exposition::read_plain(&plain);
    assert_eq!(plain.get("xskip_lb_backend_weight", &[("service", odd), ("backend", r"b\n1")]), 100.0);
}

/// A balancer that has backends of all kinds: up, down, drained until a deadline, and off; services in the modes `nat` and `proxy`, and one
/// whose SYNs it answers.
fn with_all_states(ground: &Ground) -> balancer::Running {
    let backends = [("b1", ""), ("b2", ""), ("b9", ""), ("b3", "state = \"off\"")];
    let checked = "check = { kind = \"tcp\", interval = \"200ms\" }";
    let file = with_metrics(AT, 1, &backends).replace("check.kind = \"none\"", checked);
    let key = ground.folder().join("cookie.key");
    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let head = "nat = { sources = [\"198.18.0.5\"] }\ncookie_master_file = \"cookie.key\"";
    ground.write(&format!("{head}\n{file}{TRANSLATED}{HANDED_OVER}"));
    let running = ground.begin();
    running.wait_for("balancing; Ctrl-C ends it");
    ground.ok(&["drain", "four/b2", "--deadline", "1h"]);
    let health = |page: &Exposition, backend, health| {
        page.get("xskip_lb_backend_health", &[("service", "four"), ("backend", backend), ("health", health)]) == 1.0
    };
    wait_until("it is known who is well", || {
        let page = scrape(ground, AT);
        health(&page, "b1", "up") && health(&page, "b2", "up") && health(&page, "b9", "down")
    });
    running
}

fn document(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(path).unwrap()
}

#[test]
fn states_and_checks_are_those_of_each_backend() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let _running = with_all_states(&ground);
    let page = scrape(&ground, AT);
    let get = |name: &str, backend| page.get(name, &[("service", "four"), ("backend", backend)]);
    for (backend, state) in [("b1", "serve"), ("b2", "drain"), ("b3", "off"), ("b9", "serve")] {
        for other in ["serve", "drain", "off"] {
            let labels = [("service", "four"), ("backend", backend), ("state", other)];
            let is_it = f64::from(u8::from(state == other));
            assert_eq!(page.get("xskip_lb_backend_state", &labels), is_it, "{labels:?}");
        }
    }
    assert_eq!(get("xskip_lb_backend_health_changes_total", "b1"), 1.0);
    assert_eq!((get("xskip_lb_backend_trouble", "b1"), get("xskip_lb_backend_trouble", "b9")), (0.0, 1.0));
    assert_eq!(get("xskip_lb_backend_last_check_successful", "b1"), 1.0);
    assert_eq!(get("xskip_lb_backend_last_check_successful", "b9"), 0.0);
    assert_eq!(get("xskip_lb_backend_checks_failed_total", "b9"), get("xskip_lb_backend_checks_total", "b9"));
    assert!(get("xskip_lb_backend_checks_total", "b1") >= 1.0);
    let of_off = [("service", "four"), ("backend", "b3")];
    assert_eq!(page.find("xskip_lb_backend_checks_total", &of_off), None, "who is off is not checked");
    let left = get("xskip_lb_backend_drain_remaining_seconds", "b2");
    // The deadline is told by the calendar, and what is left of it by the machine's own clock: they may drift.
    assert!((3_000.0..=3_660.0).contains(&left), "{left}");
    assert_eq!(page.of("xskip_lb_backend_drain_remaining_seconds").count(), 1);
    let status = ground.status();
    let of = |backend, field| backend_of(&status, "four", backend, field);
    assert_eq!((of("b1", "health_changes"), of("b1", "last_check_successful")), (&1.into(), &true.into()));
    assert_eq!(of("b9", "checks_failed"), of("b9", "checks"));
    assert!(of("b9", "checks").as_u64() >= Some(3) && of("b3", "checks").is_null());
    // It has no rows for new flows, and those that it had may still have older ones.
    assert_eq!(get("xskip_lb_backend_rows", "b2"), 0.0);
    assert!(get("xskip_lb_backend_older_rows", "b2") > 10_000.0);
    let rows = page.sum("xskip_lb_backend_rows", ("service", "four"));
    assert_eq!(rows, page.get("xskip_lb_service_rows", &[("service", "four")]));
    // Counters of checks go on when backends come.
    let text = fs::read_to_string(ground.file()).unwrap() + "weight = 50\n";
    ground.write(&text);
    wait_until("the file is read anew", || {
        scrape(&ground, AT).get("xskip_lb_config_reloads_total", &[("result", "taken")]) >= 1.0
    });
    nothing_went_down(&page, &scrape(&ground, AT));
}

#[test]
fn what_dashboard_alerts_and_page_speak_of_is_there() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let _running = with_all_states(&ground);
    let page = scrape(&ground, AT);

    let dashboard: serde_json::Value = serde_json::from_str(&document("grafana-lb.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "as Grafana 10 has it");
    assert_eq!(dashboard["__inputs"][0]["name"], "DS_PROMETHEUS");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["instance", "service", "backend"]);
    for variable in variables {
        let asked = variable["query"]["query"].as_str().unwrap();
        let (selector, label) = asked["label_values(".len()..asked.len() - 1].rsplit_once(", ").unwrap();
        Query::read(selector).and_legend(&format!("{{{{{label}}}}}")).is_in(&page);
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let (mut shown, mut queries) = (BTreeSet::new(), 0);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${DS_PROMETHEUS}");
        for target in panel["targets"].as_array().unwrap() {
            let query = Query::read(target["expr"].as_str().unwrap());
            let query = query.and_legend(target["legendFormat"].as_str().unwrap());
            query.is_in(&page);
            shown.extend(query.metrics);
            queries += 1;
        }
    }
    let rows = panels.iter().filter(|panel| panel["type"] == "row").map(|it| it["title"].as_str().unwrap());
    let expected = ["Traffic", "Backends and health", "Drains and rows", "Drops by reason", "Defence", "Process"];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert!(queries > 30);

    // All that is exported is told of, with its labels; and nothing else is.
    let text = document("load-balancer.md");
    let (_, section) = text.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut told = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let in_ticks = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        for name in in_ticks(cells[0]) {
            let labels = page.labels_of(&name);
            // Values stand behind a colon.
            let said = cells[1].split("; ").flat_map(|it| in_ticks(it.split(':').next().unwrap_or_default()));
            let said: BTreeSet<String> = match cells[1].contains(": ") {
                true => in_ticks(cells[1]).into_iter().filter(|it| labels.contains_key(it.as_str())).collect(),
                false => said.collect(),
            };
            assert_eq!(
                said.iter().map(String::as_str).collect::<Vec<_>>(),
                labels.keys().copied().collect::<Vec<_>>(),
                "{name}"
            );
            told.insert(name);
        }
    }
    let all: BTreeSet<String> = page.series.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(told, all);
    // The dashboard leaves out nothing but what its variables ask for.
    let unseen: Vec<_> = all.difference(&shown).collect();
    assert_eq!(unseen, ["xskip_lb_backend_info", "xskip_lb_service_info"]);
    let alerts: Vec<_> = section.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(alerts.len(), 6);
    alerts.into_iter().for_each(|alert| Query::read(alert).is_in(&page));
}
