//! Who else is there: clients that hang, a second balancer, and those without the rights.

use super::{
    backend,
    balancer::{BOTH, Ground, PROGRAM, config},
    common::{is_root, run_failing, run_without_rights, wait_until},
    names,
};
use nix::sys::signal::Signal;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
};
use xskip_cli::lb_run::{Request, ask};

/// Says something to the socket as it is, and returns the line that answers it.
fn say(control: &Path, what: &[u8]) -> String {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.write_all(what).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn clients_of_the_socket_that_hang_or_talk_nonsense_hold_nobody_up() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    ground.write(&config(1, &BOTH[..1]));
    let running = ground.run();
    let control = ground.control();
    // Fifteen that say nothing, or stop in the midst of it.
    let mut hanging: Vec<UnixStream> = (0..15).map(|_| UnixStream::connect(&control).unwrap()).collect();
    for stream in hanging.iter_mut().step_by(2) {
        stream.write_all(b"{\"command\":").unwrap();
    }
    for _ in 0..5 {
        ground.status();
    }
    assert_eq!(names(&ground.who(1)), BTreeSet::from(["b1"]));
    // As many as there may be, and there is no room for another: that is said at once.
    let said = "16 others are being answered: ask again";
    wait_until("it is full", || {
        hanging.push(UnixStream::connect(&control).unwrap());
        ask(&control, &Request::Status {}).is_err_and(|error| error.to_string() == said)
    });
    // They are cut off, with a word; what came beyond them was told to ask again.
    let mut cut_off = 0;
    for stream in &mut hanging {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer != format!("{{\"refused\":\"{said}\"}}\n") {
            assert_eq!(answer, "{\"refused\":\"no whole request came within 5 seconds\"}\n");
            cut_off += 1;
        }
    }
    assert!(cut_off >= 16, "{cut_off}");
    wait_until("there is room again", || ask(&control, &Request::Status {}).is_ok());

    assert!(say(&control, b"nonsense\n").starts_with("{\"refused\":\"that is no request ("));
    assert!(say(&control, b"{\"command\":\"status\",\"more\":1}\n").starts_with("{\"refused\":"));
    assert!(say(&control, b"{\"command\":\"halt\"}\n").contains("unknown variant `halt`"));
    assert!(say(&control, b"{\"command\":\"drain\",\"backend\":\"web\"}\n").contains("names no backend"));
    assert!(say(&control, b"{\"command\":\"weight\",\"backend\":\"web/b1\",\"weight\":10001}\n").contains("10000"));
    let endless = b"{\"command\":\"drain\",\"backend\":\"web/b1\",\"seconds\":18446744073709551615}\n";
    assert!(say(&control, endless).contains("beyond all calendars"));
    let long = [&[b' '; 4_096][..], b"{}"].concat();
    assert!(say(&control, &long[..4_096]).contains("4096 octets at most"));
    // Who hangs up his side has said all.
    let mut stream = UnixStream::connect(&control).unwrap();
    stream.write_all(b"{\"command\":\"status\"}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("{\"status\":{\"version\":1,"), "{answer}");
    assert!(!running.said().contains("panicked"), "{}", running.said());

    // It does not wait for who hangs when it ends.
    let mut running = running;
    let _hanging = UnixStream::connect(&control).unwrap();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0));
}

#[test]
fn a_second_one_is_refused_with_one_sentence_and_leaves_the_first_alone() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let _running = ground.run();
    let second = |text: &str, parts: &[&str]| {
        let other = tempfile::tempdir().unwrap();
        let path = other.path().join("lb.toml");
        fs::write(&path, text).unwrap();
        let mut command = ground.net.program("balancer", PROGRAM);
        let output = command.args(["lb", "run", "--config"]).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("xskip: ") && said.lines().count() == 1, "one sentence: {said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}"));
        let left: Vec<_> = fs::read_dir(other.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lb.toml" || name == "row.key"), "{left:?}");
    };
    let control = ground.control();
    let same = config(1, &BOTH).replace("control.sock", control.to_str().unwrap());
    second(&same, &["a balancer runs at", "control.sock already", "another `control`"]);
    let elsewhere = config(1, &BOTH).replace("198.18.0.80", "198.18.0.90").replace("2001:2::80", "2001:2::90");
    second(&elsewhere, &["another XDP program", "eth0"]);
    // What is no socket is left where it is.
    let file = ground.folder().join("file");
    fs::write(&file, "precious").unwrap();
    second(&config(1, &BOTH).replace("control.sock", file.to_str().unwrap()), &["no socket of a balancer's"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(!ground.folder().join("file.lock").exists());
    second(&config(1, &BOTH).replace("control.sock", "/nowhere/at/all"), &["/nowhere/at/all cannot be made"]);
    assert_eq!(names(&ground.who(20)), BTreeSet::from(["b1", "b2"]));
    ground.status();
}

#[test]
fn without_rights_or_a_balancer_one_sentence_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.toml");
    fs::write(&path, config(1, &BOTH).replace("eth0", "lo")).unwrap();
    let config = path.to_str().unwrap();
    for command in ["status", "reload"] {
        let said = run_failing(1, &["lb", command, "--config", config]);
        assert!(said.starts_with("xskip: no balancer runs at ") && said.lines().count() == 1, "{said}");
    }
    if !is_root() {
        return;
    }
    let output = run_without_rights(&["lb", "run", "--config", config]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.lines().count() == 1, "{said}");
    assert!(!folder.path().join("control.sock").exists());
    assert!(!folder.path().join("control.sock.lock").exists());
}

#[test]
fn whoever_may_not_open_the_socket_is_told_so() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&control).unwrap();
    fs::set_permissions(&control, fs::Permissions::from_mode(0o000)).unwrap();
    let denied = std::thread::scope(|scope| {
        let ask = || {
            caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_DAC_OVERRIDE).unwrap();
            ask(&control, &Request::Status {}).unwrap_err().to_string()
        };
        scope.spawn(ask).join().unwrap()
    });
    assert!(denied.ends_with("control.sock of the balancer is for its owner alone: be that user, or root"), "{denied}");
}

#[test]
fn it_takes_five_rights_and_not_root() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(2);
    let mut running = ground.begin_as_nobody();
    running.wait_for("balancing; Ctrl-C ends it");
    wait_until("the backends are reached", || backend(&ground.status(), "four", "b2")["trouble"].is_null());
    wait_until("the backends are reached", || backend(&ground.status(), "four", "b1")["trouble"].is_null());
    assert_eq!(names(&ground.who(20)), BTreeSet::from(["b1", "b2"]));
    // What changes takes rights, too: an address that comes, and one that goes.
    let since = running.mark();
    ground.write(&config(2, &BOTH).replace("198.18.0.80:7000", "198.18.0.81:7000"));
    running.wait_for_more(since, "service web changes");
    ground.net.sh("client", "ping -q -c 3 -i 0.1 -W 2 198.18.0.81");
    ground.ok(&["drain", "four/b1"]);
    assert_eq!(names(&ground.who(10)), BTreeSet::from(["b2"]));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

#[test]
fn workers_keep_no_rights_and_nothing_can_gain_any() {
    if !is_root() {
        return;
    }
    let ground = Ground::new(1);
    ground.write(&config(1, &BOTH[..1]));
    let running = ground.run();
    let mut workers = 0;
    for task in fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        let held = u64::from_str_radix(&field("CapPrm:"), 16).unwrap();
        // DAC_OVERRIDE, NET_ADMIN, NET_RAW, IPC_LOCK, PERFMON and BPF.
        let may: u64 = [1, 12, 13, 14, 38, 39].iter().map(|bit| 1 << bit).sum();
        assert_eq!(held & !may, 0, "{status}");
        // Threads of workers are called by their queues.
        if field("Name:").strip_prefix("xskip-").is_some_and(|rest| rest.parse::<u32>().is_ok()) {
            assert_eq!(held, 0, "{status}");
            workers += 1;
        }
    }
    assert_eq!(workers, 1);
}
