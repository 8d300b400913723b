//! `xskip serve` with real clients, over real AF_XDP rings on a veth pair: needs root.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    thread,
    time::Duration,
};

use common::{
    is_root,
    served::{ADDRESS, ADDRESS_V6, Served},
};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use xskip_cli::{
    lab::INTERFACE,
    xdp::{Queue, QueueOptions, Require, XdpMode},
};

/// The body of `/bytes/N`, made independently of the server.
fn body(length: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(length).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn curl_fetches_every_size_right_to_the_byte() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    for length in [0, 1, 1_459, 1_460, 1_461, 65_535, 65_536, 65_537, 20_000_000] {
        let url = format!("http://198.18.0.1/bytes/{length}");
        let got = served.client_ok("curl", &["-sS", "--max-time", "30", &url]);
        assert_eq!(sha256(&got), sha256(&body(length)), "{length} bytes");
    }
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_finished"], 9, "{report:#}");
}

#[test]
fn http_semantics_as_curl_sees_them() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let status = |arguments: &str| {
        served.client_sh(&format!("curl -sS -o /dev/null -w '%{{http_code}} %{{num_connects}} ' {arguments}"))
    };
    assert_eq!(status("http://198.18.0.1/"), "200 1 ");
    assert_eq!(status("--head http://198.18.0.1/bytes/1000000"), "200 1 ");
    assert_eq!(status("http://198.18.0.1/nowhere"), "404 1 ");
    assert_eq!(status("-X DELETE http://198.18.0.1/"), "405 1 ");
    assert_eq!(status("-d some=data http://198.18.0.1/"), "405 1 ");
    assert_eq!(status("--http1.0 http://198.18.0.1/"), "200 1 ");
    // Two requests on one connection, unless the client closes in between.
    assert_eq!(status("http://198.18.0.1/bytes/5 -o /dev/null http://198.18.0.1/bytes/6"), "200 1 200 0 ");
    let close = "-H 'Connection: close' http://198.18.0.1/bytes/5 -o /dev/null http://198.18.0.1/bytes/6";
    assert_eq!(status(close), "200 1 200 1 ");
    let garbage = served.client_sh("printf 'BREW coffee\\r\\n\\r\\n' | nc -w 5 198.18.0.1 80");
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    let pipelined = served.client_sh(
        "printf 'GET /bytes/3 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /nowhere HTTP/1.0\\r\\n\\r\\n' | nc -w 5 198.18.0.1 80 | tr -d '\\0'",
    );
    let (first, second) = (pipelined.find(" 200 OK"), pipelined.find(" 404 Not Found"));
    assert!(first.is_some() && first < second, "{pipelined}");
    served.stop_balanced();
}

#[test]
fn echo_returns_everything_both_ways_at_once() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "7", "--app", "echo", "--json"]);
    let transfer = "head -c 50000000 /dev/urandom > $FILE; \
        socat -t 30 - TCP:198.18.0.1:7 < $FILE | cmp - $FILE; rm $FILE";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sent");
    served.client_sh(&format!("FILE={}; {transfer}", file.display()));
    // A client that closes its side first still gets everything: half-close.
    assert_eq!(served.client_sh("printf 'the last words' | nc -N -w 10 198.18.0.1 7"), "the last words");
    served.stop_balanced();
}

#[test]
fn discard_reads_and_chargen_writes() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "9", "--app", "discard", "--json"]);
    assert_eq!(served.client_sh("head -c 5000000 /dev/zero | nc -N -w 10 198.18.0.1 9"), "");
    served.stop_balanced();
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "19", "--app", "chargen", "--json"]);
    let text = served.client_sh("nc -w 10 198.18.0.1 19 < /dev/null | head -c 148 || true");
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines[0].starts_with(" !\"#$%&'()*+,-./0123456789") && lines[0].len() == 72, "{text}");
    assert!(lines[1].starts_with("!\"#$%&'()*+,-./0123456789:"), "{text}");
    served.stop_balanced();
}

#[test]
fn load_generators_see_no_error() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    for close in ["", "-H 'Connection: close'"] {
        let said = served.client_sh(&format!("wrk -t1 -c64 -d2s {close} http://198.18.0.1/bytes/100"));
        assert!(said.contains("requests in"), "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    }
    let said = served.client_sh("ab -q -n 3000 -c 20 http://198.18.0.1/bytes/100");
    assert!(said.contains("Complete requests:      3000") && said.contains("Failed requests:        0"), "{said}");
    let said = served.client_sh("h2load --h1 -n 3000 -c 20 -m 4 http://198.18.0.1/bytes/100");
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored"), "{said}");
    served.client_sh("for i in $(seq 200); do curl -sS -o /dev/null http://198.18.0.1/; done");
    served.stop_balanced();
}

#[test]
fn loss_both_ways_costs_time_and_nothing_else() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    served.client_sh(
        "nft 'table inet loss { \
            chain in { type filter hook input priority 0; ip saddr 198.18.0.1 numgen random mod 100 < 1 drop; }; \
            chain out { type filter hook output priority 0; ip daddr 198.18.0.1 numgen random mod 100 < 1 drop; }; }'",
    );
    let got = served.client_ok("curl", &["-sS", "--max-time", "60", "http://198.18.0.1/bytes/10000000"]);
    assert_eq!(sha256(&got), sha256(&body(10_000_000)));
    let report = served.stop_balanced();
    assert!(report["workers"][0]["stack"]["segments_retransmitted"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn the_kernel_takes_over_when_the_process_is_killed() {
    if !is_root() {
        return;
    }
    // A port that both listen on: as long as we serve it the kernel's own listener hears nothing.
    let served = Served::new(1, &["--shared", "198.18.0.254", "--port", "80"]);
    let kernel = "socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo kernel'";
    let mut kernel = served.lab.server().command("bash").args(["-c", &format!("exec {kernel}")]).spawn().unwrap();
    let mut load = served.client("wrk", &["-t1", "-c8", "-d30s", "http://198.18.0.254/"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let ask = "curl -sS -m 5 --http0.9 -o - http://198.18.0.254/bytes/3 2>/dev/null || true";
    assert_eq!(served.client_sh(ask), "\0\u{1}\u{2}");
    served.signal(Signal::SIGKILL);
    served.wait_until("the kernel has detached the program", |served| !served.is_attached());
    assert_eq!(served.client_sh(ask), "kernel\n", "the first one that comes is the kernel's");
    for child in [&mut load, &mut kernel] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_signal_resets_connections_and_detaches() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    // A connection without a request stays open until the server ends it: with an RST, so nc ends, too.
    let mut idle = served.client("bash", &["-c", "sleep 20 | nc 198.18.0.1 80"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_aborted"], 1, "{report:#}");
    assert_eq!(report["workers"][0]["stack"]["resets_transmitted"], 1, "{report:#}");
    idle.kill().unwrap();
    idle.wait().unwrap();
}

/// Ten minutes to finish, which no test waits for.
const DRAINING: [&str; 9] = ["--address", ADDRESS, "--port", "7", "--app", "echo", "--json", "--drain", "600"];

/// Tells the server to end, and waits until newcomers are refused.
fn drain(served: &Served) {
    served.signal(Signal::SIGINT);
    let refused = |served: &Served| !served.client("nc", &["-z", "198.18.0.1", "7"]).status().unwrap().success();
    served.wait_until("nobody listens", refused);
}

#[test]
fn draining_lets_connections_finish() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &DRAINING);
    let talk = "exec 3<>/dev/tcp/198.18.0.1/7; echo one >&3; head -n 1 <&3; read; echo two >&3; head -n 1 <&3";
    let talk = served.client("bash", &["-c", talk]);
    let mut talk = talk.with(|talk| talk.stdin(Stdio::piped()).stdout(Stdio::piped())).spawn().unwrap();
    let mut answers = BufReader::new(talk.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(answers.next().unwrap(), "one");
    drain(&served);
    writeln!(talk.stdin.take().unwrap()).unwrap();
    assert_eq!(answers.next().unwrap(), "two");
    talk.wait().unwrap();
    let report = served.wait_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_aborted"], 0, "{report:#}");
}

#[test]
fn draining_ends_with_the_last_answer_and_waits_for_no_idle_client() {
    if !is_root() {
        return;
    }
    let mut served =
        Served::new(1, &["--address", ADDRESS, "--port", "7", "--app", "http", "--json", "--drain", "600"]);
    // One client has had its answer and keeps the connection, the other one takes a second for a body.
    let idle =
        "exec 3<>/dev/tcp/198.18.0.1/7; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; cat <&3; echo closed";
    let idle = served.client("bash", &["-c", idle]);
    let mut idle = idle.with(|idle| idle.stdout(Stdio::piped())).spawn().unwrap();
    let mut answer = BufReader::new(idle.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(answer.next().unwrap().contains("200 OK"));
    let url = "http://198.18.0.1:7/bytes/5000000";
    let slow = served.client("curl", &["-sS", "--limit-rate", "4M", "-w", "%{size_download}", "-o", "/dev/null", url]);
    let slow = slow.with(|slow| slow.stdout(Stdio::piped())).spawn().unwrap();
    served
        .wait_until("both are connected", |served| served.client_sh("ss -Htn state established").lines().count() == 2);
    drain(&served);
    assert_eq!(answer.last().unwrap(), "closed");
    assert_eq!(String::from_utf8(slow.wait_with_output().unwrap().stdout).unwrap(), "5000000");
    idle.wait().unwrap();
    let report = served.wait_balanced();
    let stack = &report["workers"][0]["stack"];
    assert_eq!((&stack["connections_aborted"], &stack["resets_transmitted"]), (&0.into(), &1.into()), "{report:#}");
}

#[test]
fn a_second_signal_ends_the_draining() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &DRAINING);
    let mut idle = served.client("bash", &["-c", "sleep 20 | nc 198.18.0.1 7"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    drain(&served);
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_aborted"], 1, "{report:#}");
    idle.kill().unwrap();
    idle.wait().unwrap();
}

#[test]
fn a_shared_address_stays_the_kernels() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--shared", "198.18.0.254", "--port", "80", "--json"]);
    assert_eq!(served.client_ok("curl", &["-sS", "http://198.18.0.254/bytes/1000"]), body(1_000));
    served.client_ok("ping", &["-c", "2", "-i", "0.2", "198.18.0.254"]);
    let server = served.lab.server().command("bash").args(["-c", "echo kernel | nc -N -l 81"]);
    let mut kernel = server.spawn().unwrap();
    let said = served.client_sh("for i in $(seq 50); do nc -w 5 198.18.0.254 81 < /dev/null && break; sleep 0.1; done");
    assert_eq!(said, "kernel\n");
    kernel.wait().unwrap();
    let report = served.stop_balanced();
    assert_eq!(report["verdicts"]["redirected_arp"], 0, "the kernel answers for its address: {report:#}");
    assert!(report["verdicts"]["redirected_shared"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn two_queues_serve_flows_that_change_queues() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(2, &["--address", ADDRESS, "--port", "80", "--json"]);
    let said = served.client_sh("wrk -t1 -c64 -d2s http://198.18.0.1/bytes/20000");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let report = served.stop_balanced();
    let opened = |worker: usize| report["workers"][worker]["stack"]["connections_opened"].as_u64().unwrap();
    assert!(opened(0) > 0 && opened(1) > 0 && opened(0) + opened(1) == 65, "{report:#}");
    for worker in 0..2 {
        // wrk ends with resets, which may cross data; but no worker has kept another one waiting.
        assert!(report["workers"][worker]["drops"]["hand_off_full"].is_null(), "{report:#}");
    }
}

#[test]
fn ipv6_is_served_alike() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS_V6, "--port", "80", "--app", "http", "--json"]);
    assert_eq!(served.client_ok("curl", &["-sS", "-g", "http://[2001:2::1]/bytes/100000"]), body(100_000));
    served.client_ok("ping", &["-6", "-c", "2", "-i", "0.2", "2001:2::1"]);
    served.stop_balanced();
}

/// Connects to the kernel on the client's side, which sends a file and wants it back.
fn echo_on_a_connection_of_our_own(queues: u32, listen: &str, address: &str, target: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (file, script) = (folder.path().join("sent"), folder.path().join("peer"));
    let (file, script) = (file.display(), script.display());
    let sends = format!("cat {file} & head -c 3000000 | cmp - {file} && echo same > {file}.verdict\n");
    fs::write(folder.path().join("peer"), sends).unwrap();
    let arguments = ["--address", address, "--app", "echo", "--connect", target, "--json"];
    let mut peer = None;
    let mut served = Served::prepared(queues, &arguments, |lab| {
        let prepare =
            format!("head -c 3000000 /dev/urandom > {file}; exec socat {listen}:9000,reuseaddr SYSTEM:'bash {script}'");
        peer = Some(lab.client().command("bash").args(["-c", &prepare]).spawn().unwrap());
        let listening = "for i in $(seq 200); do ss -ltn | grep -q :9000 && exit; sleep 0.05; done; exit 1";
        assert!(lab.client().command("bash").args(["-c", listening]).status().unwrap().success());
    });
    assert!(peer.unwrap().wait().unwrap().success());
    let verdict = fs::read_to_string(folder.path().join("sent.verdict")).unwrap_or_default();
    assert_eq!(verdict, "same\n", "what came back to {target}");
    let report = served.stop_balanced();
    let counted = |what: &str| {
        let workers = report["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["stack"][what].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((counted("connections_begun"), counted("connections_opened")), (1, 1), "{report:#}");
}

#[test]
fn connections_of_our_own_reach_the_kernel() {
    if !is_root() {
        return;
    }
    echo_on_a_connection_of_our_own(1, "TCP4-LISTEN", ADDRESS, "198.18.0.2:9000");
    echo_on_a_connection_of_our_own(1, "TCP6-LISTEN", ADDRESS_V6, "[2001:2::2]:9000");
    echo_on_a_connection_of_our_own(2, "TCP4-LISTEN", ADDRESS, "198.18.0.2:9000");
}

#[test]
fn a_connection_that_nobody_takes_is_counted() {
    if !is_root() {
        return;
    }
    let arguments = ["--address", ADDRESS, "--app", "echo", "--connect", "198.18.0.2:9", "--json"];
    let mut served = Served::new(1, &arguments);
    served.client_ok("ping", &["-c", "1", "198.18.0.1"]);
    thread::sleep(Duration::from_millis(300));
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["connections_refused"], 1, "{report:#}");
}

#[test]
fn datagrams_are_echoed_and_unserved_ports_say_so() {
    if !is_root() {
        return;
    }
    for queues in [1, 2] {
        let mut served = Served::new(
            queues,
            &[
                "--address",
                ADDRESS,
                "--address",
                ADDRESS_V6,
                "--port",
                "7",
                "--app",
                "echo",
                "--udp",
                "--json",
                "--cookies",
                "always",
            ],
        );
        for server in ["UDP4:198.18.0.1:7", "UDP6:[2001:2::1]:7"] {
            assert_eq!(served.client_sh(&format!("printf 'over UDP' | socat -t 2 - {server}")), "over UDP");
            let most = if server.starts_with("UDP4") { 1_472 } else { 1_452 };
            let same =
                format!("cmp <(head -c {most} /dev/zero) <(head -c {most} /dev/zero | socat -t 2 -b 2000 - {server})");
            assert_eq!(served.client_sh(&same), "", "as much as a packet takes, {server}");
        }
        // The kernel tells the client what port unreachable says, though the guard is up.
        for server in ["UDP4:198.18.0.1:9", "UDP6:[2001:2::1]:9"] {
            let said = served.client_sh(&format!("printf x | socat -t 2 - {server} 2>&1 || true"));
            assert!(said.contains("Connection refused"), "{server}: {said}");
        }
        let nc = served.client_sh("printf 'from another client' | nc -u -w 1 198.18.0.1 7");
        assert_eq!(nc, "from another client");
        let report = served.stop_balanced();
        let counted = |what: &str| {
            let workers = report["workers"].as_array().unwrap().iter();
            workers.map(|worker| worker["stack"][what].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!((counted("datagrams_received"), counted("datagrams_transmitted")), (5, 5), "{report:#}");
        assert_eq!(counted("icmp_errors_transmitted"), 2, "{report:#}");
    }
}

#[test]
fn every_ping_is_answered() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let said = served.client_sh("ping -q -c 2000 -i 0.001 -s 1400 198.18.0.1");
    assert!(said.contains("2000 received"), "{said}");
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["echo_replies"], 2_000);
}

#[test]
fn capture_and_ladder_show_what_tcpdump_cannot() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.pcapng");
    let capture = file.to_str().unwrap();
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "80", "--ladder", "--capture", capture]);
    served.client_ok("curl", &["-sS", "http://198.18.0.1/"]);
    let stopped = served.stop();
    assert_eq!(stopped.status, Some(0));
    for seen in ["three-way handshake complete", "SYN-RECEIVED", "four-way close complete", "CLOSED"] {
        assert!(stopped.output.contains(seen), "{seen} in {}", stopped.output);
    }
    let fields = format!(
        "tshark -r {capture} -T fields -e tcp.flags.str -e frame.time_epoch -e tcp.checksum.status -o tcp.check_checksum:TRUE tcp 2>/dev/null"
    );
    let said = served.client_sh(&fields);
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split('\t').collect()).collect();
    assert!(rows.len() >= 9, "{said}");
    assert!(rows[0][0].contains('S') && rows[1][0].contains('S') && rows[1][0].contains('A'), "{said}");
    assert!(rows.iter().all(|row| row[2] == "1"), "every checksum is good: {said}");
    let times: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(times.is_sorted(), "{said}");
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((written - times[0]).abs() < 60.0, "captured {} and written {written}", times[0]);
}

#[test]
fn random_frames_disturb_nobody() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let mac = served.lab.server().link().unwrap().mac;
    served
        .lab
        .client()
        .run(|| {
            let mut queue =
                Queue::open(INTERFACE, 0, XdpMode::Native, Require::Nothing, &QueueOptions::default()).unwrap();
            let mut random = 1u64;
            for number in 0..20_000usize {
                let mut frame = loop {
                    match queue.allocate() {
                        Some(frame) => break frame,
                        None => drop(queue.flush()),
                    }
                };
                let length = 14 + number % 1_500;
                let buffer = &mut queue.buffer(&mut frame)[..length];
                for byte in buffer.iter_mut() {
                    random = xskip_cli::rng::splitmix64(random);
                    *byte = random as u8;
                }
                // Enough of a header that the program takes it for the stack's, and garbage from there on.
                buffer[..6].copy_from_slice(&mac);
                buffer[6] &= 0xfe;
                buffer[12..14].copy_from_slice(&[0x08, 0x00]);
                if length >= 34 {
                    buffer[14] = if number % 3 == 0 { buffer[14] } else { 0x45 };
                    buffer[30..34].copy_from_slice(&[198, 18, 0, 1]);
                }
                queue.transmit(frame, length);
                if number % 64 == 0 {
                    let _ = queue.flush();
                }
            }
            let _ = queue.flush();
            queue.close();
        })
        .unwrap();
    assert_eq!(served.client_ok("curl", &["-sS", "--max-time", "10", "http://198.18.0.1/bytes/1000"]), body(1_000));
    let report = served.stop_balanced();
    let drops = report["workers"][0]["drops"].as_object().unwrap();
    let total: u64 = drops.values().filter_map(serde_json::Value::as_u64).sum();
    assert!(total > 10_000 && drops.contains_key("bad_ip_checksum"), "counted by reason: {drops:?}");
}

#[test]
fn with_cookies_in_xdp_clients_see_no_difference() {
    if !is_root() {
        return;
    }
    for ports in ["80", "80,81"] {
        let arguments =
            ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", ports, "--json", "--cookies", "always"];
        let mut served = Served::new(1, &arguments);
        for length in [1, 100_000, 5_000_000] {
            for host in ["198.18.0.1", "[2001:2::1]"] {
                let url = format!("http://{host}/bytes/{length}");
                assert_eq!(served.client_ok("curl", &["-gsS", "--max-time", "20", &url]), body(length));
            }
        }
        served.client_ok("ping", &["-c", "2", "-i", "0.2", "198.18.0.1"]);
        let report = served.stop_balanced();
        let stack = &report["workers"][0]["stack"];
        assert_eq!(stack["handshakes_begun"], 0, "the stack saw no SYN: {report:#}");
        assert_eq!(stack["cookies_accepted"], stack["connections_opened"], "{report:#}");
        assert!(report["verdicts"]["answered_syn"].as_u64() >= stack["connections_opened"].as_u64(), "{report:#}");
    }
}

#[test]
fn with_cookies_in_xdp_ports_are_used_again() {
    if !is_root() {
        return;
    }
    // More connections than a client has ports: the later ones meet what TIME-WAIT remembers, and that is the stack's.
    let mut served = Served::new(1, &["--address", ADDRESS, "--port", "80", "--json", "--cookies", "always"]);
    let said = served.client_sh("wrk -t1 -c64 -d2s -H 'Connection: close' http://198.18.0.1/bytes/100");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let report = served.stop_balanced();
    let count = |value: &serde_json::Value| value.as_u64().unwrap();
    let stack = &report["workers"][0]["stack"];
    let (in_xdp, in_stack) = (count(&report["verdicts"]["answered_syn"]), count(&stack["handshakes_begun"]));
    assert!(in_xdp > 0 && in_xdp + in_stack >= count(&stack["connections_opened"]), "{report:#}");
    // Flows are in the filter before they can be used: not one segment of theirs was taken for a stranger's.
    for strangers in ["dropped_ack", "dropped_stray", "dropped_partial", "dropped_syn"] {
        assert_eq!(report["verdicts"][strangers], 0, "{report:#}");
    }
}

#[test]
fn a_successor_ends_the_handshakes_that_its_predecessor_began() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master");
    let write_master = |master: &str| {
        fs::write(&file, format!("{master}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    const SERVED: i32 = 0;
    const RESET: i32 = 56; // "failure in receiving network data", as curl calls it
    let (ours, another) = ("000102030405060708090a0b0c0d0e0f", "100102030405060708090a0b0c0d0e0f");
    let same = ["--address", ADDRESS, "--port", "80", "--json", "--cookie-master", file.to_str().unwrap()];
    for (before, after, master, status) in [
        (&["--cookies", "always"][..], &["--cookies", "always"][..], ours, SERVED),
        (&[], &["--cookies", "worker"], ours, SERVED),
        (&[], &["--cookies", "worker"], another, RESET),
        (&[], &["--take-over"], ours, SERVED),
        (&[], &[], ours, RESET), // where handshakes are remembered, and this one is not
    ] {
        write_master(ours);
        let mut served = Served::new(1, &[&same[..], before].concat());
        // The client hears the SYN-ACK, but nothing that it says to it gets through.
        served.client_sh(
            "nft 'table inet hold { chain out { type filter hook output priority 0; \
                tcp dport 80 tcp flags & (syn | ack) == ack drop; }; }'",
        );
        let curl = ["-sS", "--max-time", "15", "-o", "/dev/null", "http://198.18.0.1/"];
        let mut client = served.client("curl", &curl).spawn().unwrap();
        let is_established = |served: &Served| !served.client_sh("ss -Htn state established").is_empty();
        served.wait_until("the client takes its connection for open", is_established);
        write_master(master);
        served.again(&[&same[..], after].concat());
        served.client_sh("nft delete table inet hold");
        assert_eq!(client.wait().unwrap().code(), Some(status), "{before:?}, then {after:?}");
        served.stop_balanced();
    }
}
