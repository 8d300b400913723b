//! `xskip show` and `xskip explain` beside `xskip serve` in a lab, with real clients. Needs root.

mod common;

use common::{
    PATIENCE, is_root, run_failing,
    served::{ADDRESS, ADDRESS_V6, Served},
    wait_until, xskip,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Output, Stdio},
    time::Instant,
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");
/// The server's interface: with it, a flood asks nobody.
const SERVER_MAC: &str = "02:78:73:6b:00:01";

/// A server that is asked.
struct Shown {
    served: Served,
    folder: TempDir,
}

impl Shown {
    fn new(app: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control.sock");
        let arguments =
            ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--app", app, "--json", "--control"];
        let served = Served::new(1, &[&arguments[..], &[control.to_str().unwrap()], more].concat());
        Self { served, folder }
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn ask(&self, words: &str) -> Output {
        let mut command = xskip(&words.split(' ').collect::<Vec<_>>());
        command.arg("--control").arg(self.control()).output().unwrap()
    }

    #[track_caller]
    fn text(&self, words: &str) -> String {
        let output = self.ask(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, words: &str) -> String {
        let output = self.ask(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, said.lines().count()),
            (Some(1), &b""[..], 1),
            "{words}: {said}"
        );
        said
    }

    #[track_caller]
    fn json(&self, words: &str) -> Vec<Value> {
        let text = self.text(&format!("{words} --json"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The connections that are listed, without what stands behind them.
    #[track_caller]
    fn connections(&self, filter: &str) -> Vec<Value> {
        let words = format!("show connections {filter}");
        let rows = self.json(words.trim_end());
        rows.into_iter().filter(|row| row.get("counts").is_none()).collect()
    }

    /// What is said of the flow of the only client there is.
    #[track_caller]
    fn explain_it(&self) -> String {
        let one = &self.connections("")[0];
        self.text(&format!("explain {} {}", one["remote"].as_str().unwrap(), one["local"].as_str().unwrap()))
    }

    /// A shell on the client's side, until it is dropped.
    fn client(&self, script: &str) -> Client {
        let command = self.served.client("bash", &["-c", script]).with(|command| command.stdout(Stdio::null()));
        Client(command.spawn().unwrap())
    }

    /// A client that says so much and reads nothing.
    fn silent_reader(&self, says: &str) -> Client {
        self.client(&format!("exec 3<>/dev/tcp/198.18.0.1/80; printf '{says}' >&3; exec sleep 600"))
    }
}

struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What comes up line by line.
struct Followed(Child, BufReader<std::process::ChildStdout>);

impl Followed {
    fn new(shown: &Shown, words: &str) -> Self {
        let mut command = xskip(&words.split(' ').collect::<Vec<_>>());
        let command = command.arg("--control").arg(shown.control()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    /// The next line of which this is so.
    #[track_caller]
    fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut line = String::new();
            assert!(self.1.read_line(&mut line).unwrap() > 0 && Instant::now() < deadline, "it ends before");
            let value: Value = serde_json::from_str(&line).unwrap();
            if is_it(&value) {
                return value;
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn every_list_tells_what_is_there_in_text_and_in_json() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &[]);
    let _idle = shown.client("exec 3<>/dev/tcp/198.18.0.1/80 4<>/dev/tcp/2001:2::1/80; exec sleep 600");
    wait_until("both are open", || shown.connections("").len() == 2);
    let text = shown.text("show connections");
    assert!(
        text.starts_with("State        Recv-Q Send-Q Local Address:Port        Peer Address:Port\nESTABLISHED"),
        "{text}"
    );
    assert!(text.ends_with("2 shown, of 2 connections and 0 handshakes; 0 more in TIME-WAIT\n"), "{text}");
    let six = shown.connections("src 2001:2::/64 and sport = :80 and not dport = :80 and waits application");
    assert_eq!(six.len(), 1, "{six:?}");
    assert!(
        six[0]["mss"].as_u64() > Some(1_000) && six[0]["rto_us"].is_u64() && six[0]["interface"] == "veth0",
        "{six:?}"
    );
    assert_eq!(shown.connections("state syn-received").len(), 0);
    assert_eq!(shown.json("show connections --limit 1").len(), 2);
    let by_idle = shown.json("show connections --sort idle");
    assert!(by_idle[0]["idle_ms"].as_u64() >= by_idle[1]["idle_ms"].as_u64());
    assert_eq!(by_idle[2]["counts"]["connections"], 2);

    let listeners = shown.json("show listeners");
    assert_eq!((&listeners[0]["port"], &listeners[0]["accepted"]), (&80.into(), &2.into()));
    assert_eq!(listeners[0]["defence"][0]["level"], "cache");
    assert_eq!(listeners[1]["handshakes"]["opened"], 2);
    let workers = shown.json("show workers");
    assert_eq!((&workers[0]["connections"], &workers[0]["queues"][0]["frames"]), (&2.into(), &4_096.into()));
    let neighbours = shown.json("show neighbours");
    let addresses: Vec<_> = neighbours.iter().filter_map(|one| one["address"].as_str()).collect();
    assert!(addresses.contains(&"198.18.0.2") && addresses.contains(&"2001:2::2"), "{addresses:?}");
    for list in ["listeners", "workers", "neighbours", "drops"] {
        let text = shown.text(&format!("show {list}"));
        assert!(!text.is_empty() && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    let said = shown.refused("show connections sprot = :80");
    assert_eq!(said, "xskip: word 1 of the filter, `sprot`, is not understood: `sport` may be meant\n");
    let said = shown.refused("show connections --sort rtt --limit 10001");
    assert!(said.contains("give a --limit up to 10000"), "{said}");
    shown.served.stop_balanced();
    let said = shown.refused("show connections");
    assert!(said.starts_with("xskip: no server runs at ") && said.contains("start one by `xskip serve`"), "{said}");
}

#[test]
fn what_is_refused_is_counted_and_shown_by_an_example() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &[]);
    assert_eq!(shown.text("show drops total > 1000000"), "nothing was refused\n");
    let mut followed = Followed::new(&shown, "show drops --follow --json");
    let flood = "flood --interface veth0 --target 198.18.0.1:80 --target-mac";
    let kind = "--kind malformed --rate 2000 --duration 1.5 --generator af-xdp";
    shown.served.client_sh(&format!("{PROGRAM} {flood} {SERVER_MAC} {kind}"));
    let followed =
        followed.wait_for(|row| row["reason"] == "bad_tcp_checksum" && row["per_second"].as_f64() > Some(0.0));
    assert_eq!(followed["layer"], "stack");
    let checksum = &shown.json("show drops reason bad_tcp_checksum")[0];
    assert!(checksum["meaning"].as_str().unwrap().contains("checksum does not add up"), "{checksum}");
    let example = &checksum["example"];
    assert!(example["text"].as_str().unwrap().contains(" > 198.18.0.1:80, "), "{example}");
    assert!(example["hex"].as_str().unwrap().starts_with(&SERVER_MAC.replace(':', "")), "{example}");
    // And it is found by the flow that it seemed to be of.
    let ends = ["remote", "local"].map(|end| example[end].as_str().unwrap().parse::<SocketAddr>().unwrap());
    let text = shown.text(&format!("explain {} {}", ends[0], ends[1]));
    assert!(text.contains("A frame of it that was refused (bad_tcp_checksum)"), "{text}");
    let text = shown.text("show drops");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    shown.served.stop_balanced();
}

#[test]
fn connections_that_begin_and_end_are_followed() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &[]);
    // Once what was there before is told, all that comes has begun since.
    let before = shown.silent_reader("");
    wait_until("it is open", || shown.connections("").len() == 1);
    let mut followed = Followed::new(&shown, "show connections dst 198.18.0.0/24 --follow --json");
    let mut workers = Followed::new(&shown, "show workers --follow --json");
    let told = followed.wait_for(|row| row["state"] == "ESTABLISHED");
    assert_eq!(told.get("event"), None);
    let idle = shown.silent_reader("");
    let began = followed.wait_for(|row| row["event"] == "began");
    assert_eq!((&began["local"], &began["state"]), (&"198.18.0.1:80".into(), &"ESTABLISHED".into()));
    workers.wait_for(|row| row["connections"] == 2);
    drop((idle, before));
    let ended = |row: &Value, of: &Value| row["event"] == "ended" && row["remote"] == of["remote"];
    let mut left = vec![&began, &told];
    while !left.is_empty() {
        let row = followed.wait_for(|row| left.iter().any(|of| ended(row, of)));
        left.retain(|of| !ended(&row, of));
    }
    workers.wait_for(|row| row["connections"] == 0);
    // A server that ends hangs up, and whoever follows says so.
    shown.served.stop_balanced();
    assert_eq!(followed.0.wait().unwrap().code(), Some(1));
}

#[test]
fn a_flow_that_never_came_to_be_is_explained_by_the_tables() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &["--cookies", "always"]);
    shown.served.client_sh("curl -sS --max-time 5 http://198.18.0.1:81/ || true");
    for (flow, said) in [
        (
            "198.18.0.2:4000 198.18.0.1:81",
            &["has no entry for port 81", "Nobody listens on port 81", "answered with an RST"][..],
        ),
        ("198.18.0.2:4000 198.18.0.1:80", &["guards port 80", "Port 80 is listened on", "No worker has a flow"]),
        ("[2001:2::1]:80 [2001:2::2]:4000", &["[2001:2::1]:80 <-> [2001:2::2]:4000", "A SYN would begin a connection"]),
        ("198.18.0.255:4000 198.18.0.1:80", &["198.18.0.255 is the broadcast address", "is dropped, a SYN as well"]),
        ("[2001:2::1]:4000 [2001:2::1]:80", &["2001:2::1 is an address of this server itself", "is dropped"]),
        ("192.0.2.1:1 192.0.2.2:2", &["is an address of this server: the XDP program leaves", "to the kernel"]),
    ] {
        let text = shown.text(&format!("explain {flow}")).split_whitespace().collect::<Vec<_>>().join(" ");
        said.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
    }
    let tables = &shown.json("explain 198.18.0.2:4000 198.18.0.1:81")[0];
    assert_eq!(tables["findings"][0]["table"], "addresses");
    shown.served.stop_balanced();
}

#[test]
fn a_window_that_the_peer_shuts_and_an_application_that_does_not_read_are_named() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("chargen", &[]);
    let client = shown.silent_reader("");
    wait_until("its window is shut", || shown.connections("waits window").len() == 1);
    wait_until("that is explained", || {
        let text = shown.explain_it().split_whitespace().collect::<Vec<_>>().join(" ");
        text.contains("The peer's window is shut, so it does not read what we send")
            && text.contains("asked whether the peer's window")
    });
    drop(client);
    shown.served.stop();

    // What answers and is not read stops reading: here it is our window that shuts.
    let mut shown = Shown::new("http", &[]);
    let asks = "for i in $(seq 100000); do printf 'GET /bytes/1000000 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; done >&3";
    let client = shown.client(&format!("exec 3<>/dev/tcp/198.18.0.1/80; {asks}; exec sleep 600"));
    wait_until("our window is shut", || {
        shown.connections("").len() == 1
            && shown.explain_it().contains("Our application does not read: our window is shut")
    });
    assert_eq!(shown.connections("recv-q > 0 and send-q > 0").len(), 1);
    drop(client);
    shown.served.stop();
}

#[test]
fn resets_and_black_holes_are_named_afterwards_and_meanwhile() {
    if !is_root() {
        return;
    }
    let unhappy = tempfile::NamedTempFile::new().unwrap();
    let mut shown = Shown::new("chargen", &["--unhappy", unhappy.path().to_str().unwrap()]);
    // A process that ends with data unread: its kernel resets the connection.
    let client = shown.silent_reader("");
    wait_until("it is open", || shown.connections("waits window").len() == 1);
    let one = shown.connections("")[0].clone();
    drop(client);
    let flow = format!("explain {} {}", one["local"].as_str().unwrap(), one["remote"].as_str().unwrap());
    wait_until("it is reset", || shown.connections("").is_empty());
    let text = shown.text(&flow).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("A connection between them that ended") && text.contains("reset it with an exact RST"),
        "{text}"
    );
    wait_until("it is written down", || {
        let text = std::fs::read_to_string(unhappy.path()).unwrap();
        text.lines().any(|line| {
            let end: Value = serde_json::from_str(line).unwrap();
            end["remote"] == one["remote"] && end["history"]["ending"]["cause"] == "reset_by_peer"
        })
    });

    // From here on nothing that the server sends is answered.
    let _client = shown.client("exec cat < /dev/tcp/198.18.0.1/80");
    wait_until("it is open", || shown.connections("state established").len() == 1);
    shown.served.client_sh("ip address del 198.18.0.2/24 dev veth0");
    wait_until("it sends again and again", || {
        let text = shown.explain_it().split_whitespace().collect::<Vec<_>>().join(" ");
        text.contains("The retransmission timeout expired") && text.contains("sent again after a timeout")
    });
    assert_eq!(shown.connections("retrans > 0").len(), 1);
    // The neighbour is asked, too, and says nothing.
    wait_until("the neighbour is asked", || !shown.json("show neighbours dst 198.18.0.2 and state asked").is_empty());
    shown.served.signal(Signal::SIGINT);
    shown.served.stop();
}

#[test]
fn clients_that_hang_or_talk_nonsense_hold_nobody_up() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &[]);
    let say = |what: &[u8]| {
        let mut stream = UnixStream::connect(shown.control()).unwrap();
        stream.write_all(what).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(say(b"GET / HTTP/1.1\r\n").starts_with("{\"refused\":\"that is no request ("));
    assert!(say(b"{\"command\":\"show\",\"list\":\"files\"}\n").contains("unknown variant `files`"));
    assert!(say(&[0xff; 4_096]).contains("4096 octets at most"));
    // One that follows and never reads, and some that say nothing.
    let mut hanging: Vec<_> = (0..15).map(|_| UnixStream::connect(shown.control()).unwrap()).collect();
    hanging[0].write_all(b"{\"command\":\"show\",\"list\":\"workers\",\"follow\":true}\n").unwrap();
    shown.text("show connections");
    shown.served.client_ok("curl", &["-sS", "--max-time", "30", "http://198.18.0.1/"]);
    let mut cut_off = String::new();
    hanging[1].read_to_string(&mut cut_off).unwrap();
    assert_eq!(cut_off, "{\"refused\":\"no whole request came within 5 seconds\"}\n");
    // None of them is waited for when it ends.
    shown.served.stop_balanced();
}

#[test]
fn two_with_one_path_and_what_a_killed_one_has_left() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("http", &[]);
    let control = shown.control();
    let second = |control: &str| {
        let words =
            ["serve", "--interface", "veth0", "--address", "198.18.0.9/24", "--port", "81", "--control", control];
        shown.served.client(PROGRAM, &words).output().unwrap()
    };
    let output = second(control.to_str().unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("xskip: a server runs at ") && said.contains("give this one another `--control`"),
        "{said}"
    );
    assert_eq!(second("/nowhere/at/all").status.code(), Some(1));
    shown.text("show workers");

    // One that is killed leaves a socket, which the next one replaces; so does one that has given up the right to remove it.
    shown.served.signal(Signal::SIGKILL);
    shown.served.wait();
    assert!(control.exists());
    let said = shown.refused("show workers");
    assert!(said.contains("no server runs at"), "{said}");
    let folder = shown.folder;
    let arguments =
        ["--address", ADDRESS, "--port", "80", "--app", "http", "--json", "--give-up", "nothing", "--control"];
    let mut served = Served::new(1, &[&arguments[..], &[control.to_str().unwrap()]].concat());
    let mut asked = xskip(&["show", "workers", "--control", control.to_str().unwrap()]);
    assert!(asked.output().unwrap().status.success());
    served.stop_balanced();
    assert!(!control.exists() && !folder.path().join("control.sock.lock").exists(), "it is gone");
}

#[test]
fn a_drain_is_looked_at_to_its_end() {
    if !is_root() {
        return;
    }
    let mut shown = Shown::new("echo", &["--drain", "60"]);
    let client = shown.silent_reader("");
    wait_until("it is open", || shown.connections("").len() == 1);
    shown.served.signal(Signal::SIGINT);
    wait_until("nobody listens any more", || shown.json("show listeners").iter().all(|row| row.get("port").is_none()));
    assert_eq!(shown.connections("").len(), 1);
    drop(client);
    assert_eq!(shown.served.wait().status, Some(0));
    assert!(shown.refused("show workers").contains("no server runs at"));
}

#[test]
fn without_a_server_one_sentence_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nothing.sock");
    for words in [&["show", "connections"][..], &["explain", "198.18.0.1:80", "198.18.0.2:4000"]] {
        let said = run_failing(1, &[words, &["--control", nowhere.to_str().unwrap()]].concat());
        assert!(said.starts_with("xskip: no server runs at ") && said.lines().count() == 1, "{said}");
    }
    run_failing(2, &["show"]);
    run_failing(2, &["show", "files"]);
    run_failing(2, &["explain", "198.18.0.1", "198.18.0.2:4000"]);
}

#[test]
fn a_load_is_shown_as_well() {
    if !is_root() {
        return;
    }
    let shown = Shown::new("http", &[]);
    let control = shown.folder.path().join("load.sock");
    let words =
        ["load", "--interface", "veth0", "--address", "198.18.0.100/24", "--target", "198.18.0.1:80", "--mode", "idle"];
    let more = ["--connections", "5", "--duration", "60", "--control", control.to_str().unwrap()];
    let load = shown.served.client(PROGRAM, &[&words[..], &more].concat());
    let load = Client(load.with(|command| command.stdout(Stdio::null())).spawn().unwrap());
    let opened = || {
        let words = ["show", "connections", "state", "established", "--json", "--control", control.to_str().unwrap()];
        let output = xskip(&words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.contains("\"accepted\":false")).count()
    };
    wait_until("all are shown", || opened() == 5);
    drop(load);
}
