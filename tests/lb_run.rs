//! `xskip lb run`, and what the other commands say to it, between real clients and real backends. Needs root.

#[path = "lb_run/balancer.rs"]
mod balancer;
mod common;
#[path = "balancer/net.rs"]
mod net;
#[path = "lb_run/others.rs"]
mod others;

use balancer::{BOTH, Ground, HTTP, Load, PROGRAM, Running, TALK, config};
use common::{is_root, wait_until};
use net::{Talk, VIPS};
use nix::sys::signal::Signal;
use std::{
    collections::BTreeSet,
    fmt::Display,
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    sync::Arc,
    time::Duration,
};
use xskip_cli::{
    lb::Health,
    lb_run::{Options, Run},
    xdp::Require,
};

fn names<'a>(answers: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
    answers.into_iter().map(String::as_str).collect()
}

/// A backend's object in the status.
fn backend<'a>(status: &'a serde_json::Value, service: &str, name: &str) -> &'a serde_json::Value {
    let find = |list: &'a serde_json::Value, name: &str| {
        list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name} in {list}"))
    };
    find(&find(&status["services"], service)["backends"], name)
}

#[test]
fn a_backend_is_drained_under_load_and_comes_back_and_no_request_fails() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let running = ground.run();
    // Long connections, at both VIPs.
    let open = |number: usize| {
        let mut talk = ground.net.connect(VIPS[number % 2], TALK);
        let who = talk.ask(1_000).unwrap();
        (talk, who)
    };
    let mut talks: Vec<(Talk, String)> = (0..40).map(open).collect();
    assert_eq!(names(talks.iter().map(|(_, who)| who)), BTreeSet::from(["b1", "b2"]));
    let load = Load::start(&ground);
    wait_until("curl is at work", || backend(&ground.status(), "web", "b1")["flows"].as_u64() > Some(20));

    for service in ["web", "four", "six"] {
        let said = ground.ok(&["drain", &format!("{service}/b1"), "--deadline", "1h"]);
        assert!(said.starts_with(&format!("service {service} changes\n  ~ b1 ")), "{said}");
        assert!(said.contains("b1: drain, weight 100; ") && said.contains("given up in "), "{said}");
    }
    // From now on nothing new begins there, and what had begun goes on.
    let before = backend(&ground.status(), "web", "b1")["flows"].clone();
    let others = backend(&ground.status(), "web", "b2")["flows"].as_u64().unwrap();
    wait_until("the other one has taken over", || {
        backend(&ground.status(), "web", "b2")["flows"].as_u64() > Some(others + 40)
    });
    let status = ground.status();
    assert_eq!(backend(&status, "web", "b1")["flows"], before, "{status}");
    assert_eq!(backend(&status, "web", "b1")["state"], "drain");
    assert_eq!(names(&ground.who(10)), BTreeSet::from(["b2"]));
    for (talk, who) in &mut talks {
        assert_eq!(talk.ask(10).unwrap(), *who);
    }

    for service in ["web", "four", "six"] {
        ground.ok(&["serve", &format!("{service}/b1")]);
    }
    wait_until("it is back", || backend(&ground.status(), "web", "b1")["flows"].as_u64() > before.as_u64());
    for (talk, who) in &mut talks {
        assert_eq!(talk.ask(10).unwrap(), *who);
    }
    let answers = load.end();
    assert!(answers.len() > 100, "{answers:?}");
    assert_eq!(names(&answers), BTreeSet::from(["b1", "b2"]), "no request has failed");
    assert!(running.said().contains("service web changes\nxskip:   ~ b1 "), "{}", running.said());
}

/// What makes the file anew, and who says so.
fn reloads(ground: &Ground, running: &Running, how: &str, generation: u32, backends: &[(&str, &str)]) {
    let text = config(generation, backends);
    let since = running.mark();
    match how {
        "rewrite" => ground.write(&text),
        "mv" => {
            let new = ground.folder().join("lb.toml.new");
            fs::write(&new, &text).unwrap();
            fs::rename(&new, ground.file()).unwrap();
        }
        "symlink" => {
            // As kubelet mounts configurations: lb.toml -> ..data/lb.toml, and ..data is replaced.
            let version = ground.folder().join(format!("..{generation}"));
            fs::create_dir(&version).unwrap();
            fs::write(version.join("lb.toml"), &text).unwrap();
            symlink(&version, ground.folder().join("..data_tmp")).unwrap();
            fs::rename(ground.folder().join("..data_tmp"), ground.folder().join("..data")).unwrap();
            if !ground.file().is_symlink() {
                let link = ground.folder().join("link");
                symlink("..data/lb.toml", &link).unwrap();
                fs::rename(&link, ground.file()).unwrap();
            }
        }
        other => panic!("{other}"),
    }
    wait_until(&format!("{how} has the file read anew"), || ground.status()["generation"] == generation);
    running.wait_for_more(since, "rows: ");
}

#[test]
fn the_file_is_read_anew_when_it_is_rewritten_or_replaced_or_a_link_to_it_is() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let running = ground.run();
    let one = [("b1", "state = \"drain\""), ("b2", "")];
    for (generation, how) in (2..).zip(["rewrite", "mv", "mv", "rewrite", "symlink", "symlink", "symlink"]) {
        let is_one = generation % 2 == 0;
        reloads(&ground, &running, how, generation, if is_one { &one } else { &BOTH });
        let expected: &[&str] = if is_one { &["b2"] } else { &["b1", "b2"] };
        assert_eq!(names(&ground.who(20)), expected.iter().copied().collect(), "{how}");
    }
    // What changes nothing is said to.
    let since = running.mark();
    let text = fs::read_to_string(ground.file()).unwrap();
    fs::write(fs::canonicalize(ground.file()).unwrap(), text).unwrap();
    running.wait_for_more(since, "nothing changes");
}

#[test]
fn sighup_and_the_command_have_the_file_read_as_well() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let running = ground.run();
    // A service comes at another address, and goes again: nothing but the file tells of it.
    let more = "\n[[service]]\nname = \"more\"\naddress = \"198.18.0.81:7001\"\n\
        [[service.backend]]\nname = \"b1\"\naddress = \"198.18.0.11\"\n";
    ground.net.sh("b1", "ip address add 198.18.0.81/32 dev lo");
    let since = running.mark();
    running.signal(Signal::SIGHUP);
    running.wait_for_more(since, "nothing changes");

    ground.write(&(config(2, &BOTH) + more));
    running.wait_for_more(since, "service more is new");
    running.wait_for_more(since, "xskip:   + b1 198.18.0.11:7001 weight 100\n");
    wait_until("it is checked, and nobody listens there", || ground.ok(&["status"]).contains("down: refused"));
    let _more = ground.net.on("b1", || std::net::TcpListener::bind("198.18.0.81:7001").unwrap());
    wait_until("it is up", || backend(&ground.status(), "more", "b1")["health"] == "up");
    assert!(backend(&ground.status(), "more", "b1")["why"].is_null());
    let said = ground.ok(&["reload"]);
    assert_eq!(said, "nothing changes\n");
    ground.net.sh("client", "ping -q -c 3 -i 0.1 -W 2 198.18.0.81");

    ground.write(&config(3, &BOTH));
    running.wait_for_more(since, "service more goes, and all its flows end");
    wait_until("nobody answers for its address any more", || {
        ground
            .net
            .sh("client", "ip neigh flush all; ping -q -c 1 -W 1 198.18.0.81 && echo there || echo gone")
            .contains("gone")
    });
    assert_eq!(names(&ground.who(20)), BTreeSet::from(["b1", "b2"]));
}

#[test]
fn a_file_that_is_wrong_or_half_written_changes_nothing_and_clients_are_served() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let running = ground.run();
    let load = Load::start(&ground);
    let plans = ground.status()["plans"].clone();
    let good = config(2, &BOTH);
    let half = &good[..good.len() / 2];
    let wrong: [(String, &str); 8] = [
        (half.to_owned(), "lb.toml:"),
        (String::new(), "it is empty, and a balancer without services is none"),
        ("interface = \"eth0\"\ncontrol = \"control.sock\"\n".to_owned(), "ends without a [[service]]"),
        (config(2, &[]), "has no backends"),
        (config(2, &[("b1", "weight = 0"), ("b2", "state = \"off\"")]), "nobody serves it"),
        (good.replace("eth0", "eth1"), "there is no interface `eth1` here"),
        (good.replace("control.sock", "other.sock"), "`control` is settled when a balancer starts"),
        (good.replace("198.18.0.80", "198.18.0.2"), "the station 02:00:00:00:00:02"),
    ];
    for (text, why) in &wrong {
        let since = running.mark();
        ground.write(text);
        running.wait_for_more(since, "the file is not taken, and all goes on as before: ");
        let said = running.wait_for_more(since, why);
        assert!(!said.contains("panicked"), "{said}");
        // By the command it is said again, to who asks. Where the socket is, the file does not say now.
        let control = ground.control();
        let mut command = ground.net.program("balancer", PROGRAM);
        let output = command.args(["lb", "reload", "--control", control.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{why}: {said}");
    }
    let since = running.mark();
    ground.write(half);
    // What was refused before is of an address, and names no line.
    running.wait_for_more(since, "lb.toml:");
    std::thread::sleep(Duration::from_millis(500));
    let said = ground.refused(&["status"]);
    assert!(said.contains("where the balancer is cannot be read: name its socket by --control"), "{said}");

    // Written in two pieces, each some time after the other: nothing happens before the file is closed.
    let since = running.mark();
    let mut file = fs::File::create(ground.file()).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    file.sync_all().unwrap();
    // Something else beside it is no news of it.
    fs::write(ground.folder().join("beside"), "").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let said = running.said()[since..].to_owned();
    assert!(!said.contains("change") && !said.contains("is not taken"), "{said}");
    file.write_all(&good.as_bytes()[half.len()..]).unwrap();
    drop(file);
    running.wait_for_more(since, "nothing changes");
    let status = ground.status();
    assert_eq!((&status["generation"], &status["plans"]), (&2.into(), &plans));
    let answers = load.end();
    assert_eq!(names(&answers), BTreeSet::from(["b1", "b2"]), "no request has failed");
}

#[test]
fn weights_and_explanations_are_those_that_clients_meet() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let _running = ground.run();
    for number in 0..10 {
        let vip = VIPS[number % 2];
        let at = SocketAddr::new(vip.parse().unwrap(), TALK);
        let stream = ground.net.on("client", || TcpStream::connect(at)).unwrap();
        let source = stream.local_addr().unwrap().to_string();
        let who = Talk::from(stream).ask(1).unwrap();
        let told = ground.ok(&["explain", &source, if number % 2 == 0 { "four" } else { "six" }]);
        assert!(told.contains(&format!("a SYN goes to {who},")), "{who}: {told}");
    }
    let said = ground.ok(&["weight", "four/b1", "300"]);
    assert!(said.starts_with("service four changes\n  ~ b1 198.18.0.11:7001 weight 300, was "), "{said}");
    let status = ground.status();
    let b1 = backend(&status, "four", "b1");
    assert_eq!((&b1["weight"], b1["share"].as_f64().map(f64::round)), (&300.into(), Some(75.0)), "{status}");
    ground.ok(&["weight", "four/b1", "0"]);
    assert_eq!(names(&ground.who(10)), BTreeSet::from(["b2"]));
    // A drain of the last one is done, and said to be what it is.
    let output = ground.lb(&["drain", "four/b2"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody serves four: its new flows are dropped"));

    let one_sentence = |words: &[&str], parts: &[&str]| {
        let said = ground.refused(words);
        assert!(said.starts_with("xskip: ") && said.lines().count() == 1, "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}"));
    };
    one_sentence(&["drain", "web/b3"], &["service `web` has no backend `b3`", "did you mean"]);
    one_sentence(&["serve", "wbe/b1"], &["there is no service `wbe`; did you mean `web`?"]);
    one_sentence(&["explain", "198.18.0.2:9", "wb"], &["there is no service `wb`; did you mean `web`?"]);
    one_sentence(&["explain", "198.18.0.2:9", "six"], &["six is at 2001:2::80, where nobody comes from 198.18.0.2"]);
    one_sentence(&["explain", "224.0.0.1:9", "web"], &["224.0.0.1"]);
    let every = "\n[[service]]\nname = \"every\"\naddress = \"198.18.0.82:0\"\n\
        [[service.backend]]\nname = \"b1\"\naddress = \"198.18.0.11\"\n";
    ground.write(&(config(2, &BOTH) + every));
    wait_until("it is there", || ground.status()["generation"] == 2);
    let told = ground.ok(&["explain", "198.18.0.2:9", "every:5353"]);
    assert!(told.contains("198.18.0.82:5353") && told.contains("a SYN goes to b1,"), "{told}");
    one_sentence(&["explain", "198.18.0.2:9", "every"], &["every has every port: say which one, such as every:443"]);
    one_sentence(&["explain", "198.18.0.2:9", "web:81"], &["web:81 is not the service's port, which is 7000"]);
}

#[test]
fn status_is_typed_and_the_same_for_people() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    ground.write(&config(7, &[("b1", ""), ("b2", ""), ("b9", "")]));
    let running = ground.begin();
    running.wait_for("balancing; Ctrl-C ends it");
    let said = running.said();
    assert!(said.contains("xskip: balancing web  tcp 198.18.0.80:7000  dsr over 3 backends\n"), "{said}");
    wait_until("it is known who is missing", || backend(&ground.status(), "web", "b9")["trouble"].is_string());
    wait_until("and who is not", || backend(&ground.status(), "web", "b1")["trouble"].is_null());
    let who = ground.net.sh("client", &format!("curl -sS --retry 20 --max-time 2 http://198.18.0.80:{HTTP}/"));
    let status = ground.status();
    let keys: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "config",
        "generation",
        "interfaces",
        "outcomes",
        "plans",
        "remembered",
        "remembered_limit",
        "rewritten",
        "rewritten_limit",
        "services",
        "version",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&status["version"], &status["generation"], &status["plans"]), (&1.into(), &7.into(), &1.into()));
    let it = backend(&status, "web", who.trim());
    let keys: Vec<&str> = it.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "address",
        "checks",
        "checks_failed",
        "drain_seconds",
        "flows",
        "health",
        "health_changes",
        "last_check_successful",
        "name",
        "octets",
        "older_rows",
        "packets",
        "proxied",
        "remembered",
        "resets",
        "rows",
        "share",
        "state",
        "trouble",
        "weight",
        "why",
    ];
    assert_eq!(keys, expected);
    assert!(it["packets"].as_u64() > Some(3) && it["octets"].as_u64() > Some(200), "{it}");
    assert!(status["outcomes"].as_object().unwrap().values().any(|count| count.as_u64() > Some(3)), "{status}");

    let text = ground.ok(&["status"]);
    assert!(text.starts_with("3 services on eth0, generation 7, plan 1 of "), "{text}");
    assert!(
        text.contains("\nweb  tcp 198.18.0.80:7000  dsr, 65537 rows\n  b1  serve  unknown  weight   100 "),
        "{text}"
    );
    assert!(text.contains("198.18.0.19"), "who is missing, and why: {text}");
}

#[test]
fn a_drain_and_a_weight_outlive_a_restart_and_a_kill_and_the_kernel_has_its_traffic_meanwhile() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let is_attached = || ground.net.sh("balancer", "ip link show eth0").contains("xdp");
    let mut running = ground.run();
    let mode = fs::metadata(ground.control()).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o600, "its owner's alone");
    ground.ok(&["drain", "four/b1"]);
    ground.ok(&["weight", "web/b2", "7"]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    assert!(!is_attached() && !ground.control().exists());
    let left = |name: &str| ground.folder().join(name).exists();
    assert!(left("control.sock.state") && left("row.key") && !left("control.sock.lock"));
    assert!(ground.net.try_connect(VIPS[0], TALK).is_err(), "nobody has the address now");

    let mut running = ground.run();
    let is_as_said = || {
        let status = ground.status();
        let (one, other) = (backend(&status, "four", "b1"), backend(&status, "web", "b2"));
        (&one["state"], &other["weight"]) == (&"drain".into(), &7.into())
    };
    assert!(is_as_said());
    assert_eq!(names(&ground.who(10)), BTreeSet::from(["b2"]));

    // Killed, it leaves its socket, and nothing else.
    running.signal(Signal::SIGKILL);
    running.ends();
    wait_until("the program is gone", || !is_attached());
    assert!(ground.control().exists());
    let said = ground.refused(&["status"]);
    assert!(said.starts_with("xskip: no balancer runs at ") && said.contains("xskip lb run --config FILE"), "{said}");
    ground.net.sh("client", "ping -q -c 2 -i 0.1 -W 2 198.18.0.1");

    let mut running = ground.run();
    assert!(is_as_said());
    assert_eq!(names(&ground.who(10)), BTreeSet::from(["b2"]));
    ground.ok(&["serve", "four/b1"]);
    assert_eq!(names(&ground.who(20)), BTreeSet::from(["b1", "b2"]));
    running.signal(Signal::SIGINT);
    assert_eq!(running.ends(), Some(0));
}

#[test]
fn what_was_known_of_health_outlives_reload_and_restart_where_somebody_checks() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    // Nobody checks `web`, and the others so seldom that it does not happen here.
    let text = |generation| {
        let both = config(generation, &BOTH);
        let (web, others) = both.split_once("name = \"four\"").unwrap();
        let checked = others.replace("check.kind = \"none\"", "check.kind = \"tcp\"\ncheck.interval = \"1h\"");
        format!("{web}name = \"four\"{checked}")
    };
    ground.write(&text(1));
    let options = || Options { config: ground.file(), cores: Vec::new(), require: Require::Nothing, probe: false };
    let start = || ground.net.on("balancer", || Run::start(options(), Arc::new(|_: &dyn Display| ())).unwrap());
    let health = || {
        let status = ground.status();
        ["web", "four", "six"].map(|name| backend(&status, name, "b1")["health"].as_str().unwrap().to_owned())
    };
    let run = start();
    let kept = || fs::read_to_string(ground.folder().join("control.sock.state")).unwrap();
    for service in ["web", "four"] {
        assert!(run.session().balancing().set_health(service, "b1", Health::Down).unwrap());
    }
    assert_eq!(health(), ["down", "down", "unknown"]);
    wait_until("it is kept", || kept().matches("down").count() == 2);
    ground.write(&text(2));
    wait_until("the file is read anew", || ground.status()["generation"] == 2);
    assert_eq!(health(), ["down", "down", "unknown"]);
    run.stop().unwrap();

    let run = start();
    assert_eq!(health(), ["unknown", "down", "unknown"], "nobody would find out that web/b1 is well again");
    assert!(run.session().balancing().set_health("four", "b1", Health::Up).unwrap());
    wait_until("it is kept", || kept().contains("up") && !kept().contains("down"));
    run.stop().unwrap();
}
