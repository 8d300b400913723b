//! One server on two interfaces at once. Needs root.

mod common;

use common::{is_root, run_failing, scene, served::Served};
use pcap_file::pcapng::{Block, PcapNgReader, blocks::interface_description::InterfaceDescriptionOption};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    process::Stdio,
    thread,
};
use xskip_cli::{
    Server,
    app::Http,
    host::{
        Link,
        ethtool::{Ethtool, plain_wire},
    },
    lab::{INTERFACE, Lab, Side},
    runtime::{Running, RuntimeError},
    stack::InUse,
};

/// The second interface, on both sides.
const SECOND: &str = "veth1";

/// What is served: on the lab's own interface, which is named before these, and on the second one.
const TWO: [&str; 6] = ["--address", "198.18.0.1/24", "--interface", SECOND, "--address", "198.18.1.1/24"];

/// Adds a second pair of so many queues between the two sides, as plain a wire as the first.
fn second_pair(lab: &Lab, queues: u32) {
    let client = format!("{}-client", lab.name());
    sh(
        lab.server(),
        &format!(
            "ip link add {SECOND} numrxqueues {queues} numtxqueues {queues} type veth \
                 peer name {SECOND} netns {client} numrxqueues {queues} numtxqueues {queues}"
        ),
    );
    let sides = [lab.server(), lab.client()];
    for side in sides {
        let plain = || Ethtool::open()?.set_features(&Link::find(SECOND)?, plain_wire());
        side.run(plain).unwrap().unwrap();
    }
    // Only then up: the kernel notes when an end comes up whether frames may be redirected to it.
    for side in sides {
        sh(
            side,
            &format!(
                "for key in disable_ipv6 accept_dad accept_ra router_solicitations; do \
                     sysctl -qw net.ipv6.conf.{SECOND}.$key=0; done; ip link set {SECOND} up"
            ),
        );
    }
    let addresses =
        format!("ip address add 198.18.1.2/24 dev {SECOND}; ip address add 2001:2:0:1::2/64 dev {SECOND} nodad");
    sh(lab.client(), &addresses);
    let carrier = || sides.iter().all(|side| side.run(|| Link::find(SECOND).unwrap().running).unwrap());
    common::wait_until("the second link is up", carrier);
}

fn sh(side: &Side, script: &str) {
    let command = side.command("bash").args(["-euo", "pipefail", "-c", script]);
    let output = command.with(|command| command.stderr(Stdio::inherit())).output().unwrap();
    assert!(output.status.success(), "{script}");
}

fn serve(queues: u32, arguments: &[&str]) -> Served {
    Served::prepared(queues, &[&TWO[..], arguments].concat(), |lab| second_pair(lab, queues))
}

/// Frames that were received by an interface and sent by it, over all workers.
fn frames(report: &Value, interface: &str) -> [u64; 2] {
    let workers = report["workers"].as_array().unwrap().iter();
    let ports = workers.flat_map(|worker| worker["ports"].as_array().unwrap());
    let rings: Vec<&Value> = ports.filter(|port| port["interface"] == interface).map(|port| &port["rings"]).collect();
    ["received", "transmitted"].map(|name| rings.iter().map(|rings| rings[name].as_u64().unwrap()).sum())
}

/// Every worker has a queue of either interface, and has lost no frame on the way.
fn is_balanced_on_both(report: &Value, workers: usize) {
    assert_eq!(report["workers"].as_array().unwrap().len(), workers);
    for worker in report["workers"].as_array().unwrap() {
        let ports = worker["ports"].as_array().unwrap();
        let names: BTreeSet<&str> = ports.iter().map(|port| port["interface"].as_str().unwrap()).collect();
        assert_eq!((ports.len(), names), (2, BTreeSet::from([INTERFACE, SECOND])));
        assert!(ports.iter().all(|port| port["frames"]["balanced"] == true), "{worker:#}");
        assert_eq!((&worker["interface"], &worker["queue"]), (&ports[0]["interface"], &ports[0]["queue"]));
    }
}

#[test]
fn files_are_whole_by_either_interface_with_one_queue_and_two_and_with_cookies_from_xdp() {
    if !is_root() {
        return;
    }
    for (queues, list, cookies) in [(1, "0", "auto"), (1, "0", "always"), (2, "0-1", "auto"), (2, "0-1", "always")] {
        // In front of `--interface veth1`, and so of the first; and behind it.
        let first = ["--queues", list, "--address", "2001:2::1/64"];
        let second = ["--queues", list, "--address", "2001:2:0:1::1/64"];
        let arguments = [&first[..], &TWO, &second, &["--port", "80", "--cookies", cookies, "--json"]].concat();
        let mut served = Served::prepared(queues, &arguments, |lab| second_pair(lab, queues));
        for address in ["198.18.0.1", "198.18.1.1", "[2001:2::1]", "[2001:2:0:1::1]"] {
            // Several, so that either queue has some.
            for _ in 0..4 {
                let script = format!("curl -sS -f -m 10 http://{address}/bytes/100000 | wc -c");
                assert_eq!(served.client_sh(&script).trim(), "100000", "{queues} queues, cookies {cookies}");
            }
        }
        let report = served.stop_balanced();
        is_balanced_on_both(&report, queues as usize);
        for interface in [INTERFACE, SECOND] {
            let [received, transmitted] = frames(&report, interface);
            // Eight files; each takes 69 segments of 1,460 octets.
            assert!(received > 8 * 4 && transmitted > 8 * 68, "{interface}: {report:#}");
        }
        // The verdicts are the sum over both.
        let answered = report["verdicts"]["answered_syn"].as_u64().unwrap();
        assert_eq!(answered >= 16, cookies == "always", "{report:#}");
    }
}

#[test]
fn an_address_is_served_by_its_own_interface_only() {
    if !is_root() {
        return;
    }
    let mut served = serve(1, &["--port", "80", "--json"]);
    assert!(served.client_sh("ping -q -c 1 -W 5 198.18.1.1").contains(" 0% packet loss"));
    // By the first interface, straight to its link address.
    served.client_sh(
        "ip neighbour replace 198.18.1.1 lladdr 02:78:73:6b:00:01 dev veth0; ip route add 198.18.1.1/32 dev veth0",
    );
    let strays = served.client("curl", &["-sS", "-m", "1", "http://198.18.1.1/"]).output().unwrap();
    assert!(!strays.status.success(), "{strays:?}");
    // The other address is as it was.
    served.client_ok("curl", &["-sS", "-f", "-m", "10", "http://198.18.0.1/"]);
    is_balanced_on_both(&served.stop_balanced(), 1);
}

#[test]
fn a_connection_that_is_opened_leaves_by_the_interface_that_its_peer_is_behind() {
    if !is_root() {
        return;
    }
    for queues in [1, 2] {
        let mut listener = None;
        let arguments = [&TWO[..], &["--connect", "198.18.1.2:7777", "--app", "echo", "--json"]].concat();
        let mut served = Served::prepared(queues, &arguments, |lab| {
            second_pair(lab, queues);
            listener = Some(lab.client().run(|| TcpListener::bind("198.18.1.2:7777")).unwrap().unwrap());
        });
        let (mut connection, peer) = listener.unwrap().accept().unwrap();
        assert_eq!(peer.ip().to_string(), "198.18.1.1", "the address of that interface");
        let sent: Vec<u8> = (0..100_000_u32).map(|octet| octet as u8).collect();
        let mut writer = connection.try_clone().unwrap();
        let writing = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&writing).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut echoed = Vec::new();
        connection.read_to_end(&mut echoed).unwrap();
        writing.join().unwrap();
        assert!(echoed == sent, "{} octets of {} came back", echoed.len(), sent.len());
        let report = served.stop_balanced();
        is_balanced_on_both(&report, queues as usize);
        assert!(frames(&report, SECOND)[1] > 68, "{report:#}");
        // What leaves by the other one is no more than questions whether somebody has our addresses.
        assert!(frames(&report, INTERFACE)[1] < 20, "{report:#}");
    }
}

#[test]
fn a_server_one_of_whose_interfaces_is_deleted_ends_and_names_it() {
    if !is_root() {
        return;
    }
    for (queues, gone) in [(1, SECOND), (2, SECOND), (1, INTERFACE)] {
        let mut served = serve(queues, &["--port", "80", "--json"]);
        sh(served.lab.server(), &format!("ip link del {gone}"));
        let stopped = served.wait();
        assert_eq!(stopped.status, Some(1), "{}", stopped.errors);
        assert!(stopped.errors.contains(&format!("xskip: {gone} is gone: it was deleted")), "{}", stopped.errors);
        let other = if gone == SECOND { INTERFACE } else { SECOND };
        let left = served.lab.server().run(|| Link::find(other).unwrap().xdp.is_some()).unwrap();
        assert!(!left, "no program is left on {other}");
    }
}

#[test]
fn each_interface_says_what_it_got() {
    if !is_root() {
        return;
    }
    let mut served = serve(1, &["--port", "80", "--json"]);
    let attached =
        |served: &Served, interface| served.lab.server().run(|| Link::find(interface).unwrap().xdp.is_some()).unwrap();
    for interface in [INTERFACE, SECOND] {
        assert!(served.said().contains(&format!("xskip: {interface}: asked for native XDP")), "{}", served.said());
        assert!(attached(&served, interface), "{interface}");
    }
    served.stop_balanced();
    assert!(!attached(&served, SECOND));
}

#[test]
fn interfaces_that_cannot_be_served_together_are_refused() {
    let refused = |status, words: &str| {
        let words = format!("serve --port 80 --interface lo --address 192.0.2.1/24 {words}");
        run_failing(status, &words.split_whitespace().collect::<Vec<_>>())
    };
    let said = refused(2, "--interface lo --address 192.0.2.2/24");
    assert!(said.contains("interface lo was named twice"), "{said}");
    let said = refused(2, "--interface elsewhere");
    assert!(said.contains("no address to serve on elsewhere"), "{said}");
    let said = refused(2, "--interface elsewhere --address 192.0.2.1/24");
    assert!(said.contains("192.0.2.1 was given twice"), "{said}");
    let more: Vec<String> = (2..10).map(|n| format!("--interface if{n} --address 192.0.2.{n}/24")).collect();
    let said = refused(2, &more.join(" "));
    assert!(said.contains("9 interfaces were named, but a worker serves 8 at most"), "{said}");
}

#[test]
fn interfaces_with_unlike_numbers_of_queues_are_refused_before_anything_is_attached() {
    if !is_root() {
        return;
    }
    let name = common::Name::new();
    let options = xskip_cli::lab::LabOptions { name: name.as_str().parse().unwrap(), queues: 2, ..Default::default() };
    let lab = Lab::temporary(&options).unwrap();
    second_pair(&lab, 1);
    let serve = [&["serve", "--interface", INTERFACE][..], &TWO, &["--port", "80"]].concat();
    let output = lab.server().command(env!("CARGO_BIN_EXE_xskip")).args(serve).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("veth0 has 2 queues to be served, but another interface only 1"), "{said}");
    assert!(lab.server().run(|| Link::find(INTERFACE).unwrap().xdp.is_none()).unwrap());
}

/// A server of the library's on both interfaces, with two workers.
fn start(lab: &Lab) -> Running {
    let first = Server::on(INTERFACE).address("198.18.0.1/24".parse().unwrap());
    let both = first.and_on(SECOND).address("198.18.1.1/24".parse().unwrap()).port(80);
    lab.server().run(|| both.start(Http::default).unwrap()).unwrap()
}

#[test]
fn an_address_that_is_added_to_one_of_two_interfaces_is_served_there() {
    if !is_root() {
        return;
    }
    let (_name, lab) = scene::lab(2);
    second_pair(&lab, 2);
    let running = start(&lab);
    running.add_address(SECOND, "198.18.1.77/24".parse().unwrap()).unwrap();
    running.add_address(SECOND, "2001:2:0:1::77/64".parse().unwrap()).unwrap();
    let names = running.addresses().iter().map(|(name, local)| format!("{} on {name}", local.cidr)).collect::<Vec<_>>();
    assert_eq!(
        names,
        ["198.18.0.1/24 on veth0", "198.18.1.1/24 on veth1", "198.18.1.77/24 on veth1", "2001:2:0:1::77/64 on veth1"]
    );
    for host in ["198.18.0.1", "198.18.1.1", "198.18.1.77", "[2001:2:0:1::77]"] {
        assert!((0..4).all(|_| scene::get(&lab, host)), "{host}");
    }
    // All of an interface's may go, and come back.
    for address in ["198.18.1.1", "198.18.1.77", "2001:2:0:1::77"] {
        running.remove_address(address.parse().unwrap(), InUse::Reset).unwrap();
    }
    assert!(scene::get(&lab, "198.18.0.1") && !scene::get(&lab, "198.18.1.1"));
    running.add_address(SECOND, "198.18.1.1/24".parse().unwrap()).unwrap();
    assert!(scene::get(&lab, "198.18.1.1"));
    running.stop().unwrap();
}

#[test]
fn workers_one_of_whose_two_interfaces_is_gone_still_answer_and_refuse_what_is_said_of_it() {
    if !is_root() {
        return;
    }
    let (_name, lab) = scene::lab(2);
    second_pair(&lab, 2);
    let running = start(&lab);
    sh(lab.server(), &format!("ip link del {SECOND}"));
    common::wait_until("it is noticed", || !running.is_running());
    for worker in running.workers().iter() {
        assert_eq!(worker.call(|cx| cx.stack().interfaces().count()), Ok(2));
    }
    assert!(scene::get(&lab, "198.18.0.1"), "the other one is served until somebody ends it");
    let refused = running.add_address(SECOND, "198.18.1.77/24".parse().unwrap()).unwrap_err();
    assert!(refused.to_string().starts_with("veth1 is gone"), "{refused}");
    running.add_address(INTERFACE, "198.18.0.77/24".parse().unwrap()).unwrap();
    running.listen(None, 8080).unwrap();
    assert!(scene::get(&lab, "198.18.0.77:8080"));
    running.remove_address("198.18.1.1".parse().unwrap(), InUse::Reset).unwrap();
    let error = running.wait().unwrap_err();
    assert!(matches!(error, RuntimeError::InterfaceGone { ref interface } if interface == SECOND), "{error}");
}

#[test]
fn a_capture_tells_the_interfaces_apart() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.pcapng");
    let mut served = serve(2, &["--port", "80", "--json", "--capture", path.to_str().unwrap()]);
    served.client_sh("curl -sS -f -m 10 -o /dev/null http://198.18.0.1/ -o /dev/null http://198.18.1.1/");
    served.stop_balanced();
    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let (mut names, mut seen) = (Vec::new(), [0; 2]);
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(described) => {
                let is_name = |option: &InterfaceDescriptionOption| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                };
                names.extend(described.options.iter().find_map(is_name));
            }
            Block::EnhancedPacket(packet) => {
                let number = packet.interface_id as usize;
                let address = [198, 18, number as u8, 1];
                assert!(packet.data.windows(4).any(|octets| octets == address), "{packet:?}");
                seen[number] += 1;
            }
            _ => {}
        }
    }
    assert_eq!(names, [INTERFACE, SECOND]);
    assert!(seen.iter().all(|&frames| frames >= 8), "{seen:?}");
}
