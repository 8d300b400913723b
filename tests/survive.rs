//! `xskip lb run` with `survive`: ended, killed and started again, and nobody notices. Needs root.

#[path = "lb_run/balancer.rs"]
mod balancer;
#[path = "balancer/bpf_fs.rs"]
mod bpf_fs;
mod common;
#[path = "balancer/net.rs"]
mod net;
#[path = "survive/stream.rs"]
mod stream;

use balancer::{BOTH, Ground, TALK};
use bpf_fs::BpfFs;
use common::{is_root, wait_until};
use net::{Talk, VIPS};
use nix::sys::signal::Signal;
use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, process::Output};
use stream::{DATAGRAMS, Stream};

/// Where packets are rewritten, and where they come from then.
const REWRITTEN: [&str; 2] = ["198.18.0.81", "2001:2::81"];
const SOURCES: [&str; 2] = ["198.18.0.5", "2001:2::5"];
/// All services, each with its address: those that are talked to, and then that for datagrams, which backends get in GUE or in frames.
const SERVICES: [(&str, &str, &str, u16); 6] = [
    ("four", "198.18.0.80", "tcp", TALK),
    ("six", "[2001:2::80]", "tcp", TALK),
    ("rewritten-four", "198.18.0.81", "tcp", TALK),
    ("rewritten-six", "[2001:2::81]", "tcp", TALK),
    ("datagrams", "198.18.0.80", "udp", DATAGRAMS),
    ("rewritten-datagrams", "198.18.0.81", "udp", DATAGRAMS),
];

/// A net, a file and a place for what survives.
struct Scene {
    ground: Ground,
    bpf: BpfFs,
    survive: Option<&'static str>,
    sources: &'static [&'static str],
}

impl Scene {
    fn new(survive: Option<&'static str>) -> Self {
        let scene = Self { ground: Ground::new(3), bpf: BpfFs::new(), survive, sources: &SOURCES };
        for (number, is_ipv6) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
            let at = |port| SocketAddr::new(net::address(10 + number, is_ipv6), port);
            [TALK, DATAGRAMS].into_iter().for_each(|port| scene.ground.net.serve_at(&format!("b{number}"), at(port)));
        }
        scene.write(&BOTH);
        scene
    }

    /// Writes the file.
    fn write(&self, backends: &[(&str, &str)]) {
        let mut text =
            format!("interface = \"eth0\"\ncontrol = \"control.sock\"\npins = \"{}\"\n", self.bpf.pins().display());
        text += &self.survive.map(|time| format!("survive = \"{time}\"\n")).unwrap_or_default();
        text += &format!("nat = {{ sources = {:?} }}\n", self.sources);
        for (name, vip, protocol, port) in SERVICES {
            let mode = if name.starts_with("rewritten") { "nat" } else { "dsr" };
            text +=
                &format!("\n[[service]]\nname = \"{name}\"\naddress = \"{vip}:{port}\"\nprotocol = \"{protocol}\"\n");
            text += &format!("mode = \"{mode}\"\ncheck.kind = \"none\"\n");
            for (backend, said) in backends {
                let number: u16 = backend[1..].parse().unwrap();
                let address = net::address(10 + number, vip.starts_with('['));
                text += &format!("[[service.backend]]\nname = \"{backend}\"\naddress = \"{address}\"\n{said}\n");
            }
        }
        self.ground.write(&text);
    }

    /// Long connections, at all addresses, and who has each.
    fn talks(&self, count: usize) -> Vec<(Talk, String)> {
        let all = VIPS.iter().chain(&REWRITTEN).cycle();
        all.take(count).map(|vip| self.talk(vip)).collect()
    }

    fn talk(&self, vip: &str) -> (Talk, String) {
        let mut talk = self.ground.net.connect(vip, TALK);
        let who = talk.ask(1_000).unwrap();
        (talk, who)
    }

    /// What the kernel says of the balancer's interface.
    fn link(&self) -> String {
        self.ground.net.sh("balancer", "ip link show dev eth0")
    }
}

#[track_caller]
fn still(talks: &mut [(Talk, String)]) {
    for (talk, who) in talks {
        assert_eq!(talk.ask(10).unwrap(), *who);
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn ended_and_started_again_it_loses_no_packet_and_breaks_no_connection() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let Scene { ground, bpf, .. } = &scene;
    let mut running = ground.run();
    let mut talks = scene.talks(40);
    let (stream, rewritten) = (Stream::start(&ground.net, 3), Stream::to(&ground.net, REWRITTEN[0]));
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        stream.goes_on(300);
        running.signal(signal);
        running.ends();
        if signal == Signal::SIGTERM {
            running.wait_for("left: packets go on to backends for 1m");
        }
        // Nobody is there: packets go on, and connections begin.
        stream.goes_on(300);
        still(&mut talks);
        let said = text(&ground.lb(&["status"]));
        assert!(said.contains("has sent packets to backends without it for ") && said.contains("lb detach"), "{said}");
        // Who has forgotten where the VIPs are, or the sources, finds them again.
        // What is on its way to a neighbour that is deleted may be lost, whoever that is.
        stream.at_rest(|| {
            rewritten.at_rest(|| {
                for host in ["client", "b1", "b2"] {
                    ground.net.sh(host, "ip neigh flush dev eth0; ip -6 neigh flush dev eth0");
                }
            });
        });
        let mut new = scene.talks(8);
        stream.goes_on(100);
        running = ground.run();
        running.wait_for("going on from the balancer before");
        still(&mut new);
        still(&mut talks);
    }
    stream.goes_on(300);
    let lost_and_moved = (stream.end(), rewritten.end());
    assert_eq!(lost_and_moved, ((0, 0), (0, 0)), "datagrams lost, and flows that have met two backends");

    // Ctrl-C ends it for good.
    running.signal(Signal::SIGINT);
    assert_eq!(running.ends(), Some(0));
    running.wait_for("ended: the kernel has its traffic back");
    assert!(bpf.is_empty() && !scene.link().contains("xdp"), "{}", scene.link());
}

#[test]
fn killed_in_the_midst_of_a_change_it_goes_on_by_another_file() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let ground = &scene.ground;
    let mut running = ground.run();
    let mut talks = scene.talks(40);
    assert_eq!(talks.iter().map(|(_, who)| who.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["b1", "b2"]));
    // Half of the rows are in transition, and new flows that fall on them are remembered.
    scene.write(&[("b1", "state = \"drain\""), ("b2", "")]);
    let since = running.mark();
    ground.ok(&["reload"]);
    running.wait_for_more(since, "rows: ");
    let new = scene.talks(40);
    assert!(new.iter().all(|(_, who)| who == "b2"));
    talks.extend(new);
    let remembered = ground.status()["remembered"].as_u64().unwrap();
    assert!(remembered > 5, "{remembered}");
    let stream = Stream::start(&ground.net, 3);
    for (signal, backends) in [
        (Signal::SIGKILL, &[("b1", "state = \"drain\""), ("b2", ""), ("b3", "")][..]),
        (Signal::SIGTERM, &[("b3", ""), ("b2", "state = \"drain\""), ("b1", "")]),
        (Signal::SIGKILL, &[("b1", ""), ("b2", "weight = 50"), ("b3", "weight = 200")]),
    ] {
        stream.goes_on(200);
        running.signal(signal);
        running.ends();
        scene.write(backends);
        talks.extend(scene.talks(10));
        running = ground.run();
        let said = running.wait_for_more(0, "flows are remembered");
        assert!(said.contains("going on from the balancer before; "), "{said}");
        still(&mut talks);
        talks.extend(scene.talks(20));
        still(&mut talks);
    }
    stream.goes_on(200);
    let (lost, _) = stream.end();
    assert_eq!(lost, 0, "datagrams lost");
}

#[test]
fn a_start_that_fails_leaves_what_was_left_as_it_is() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let ground = &scene.ground;
    let mut running = ground.run();
    let mut talks = scene.talks(20);
    let stream = Stream::start(&ground.net, 3);
    running.signal(Signal::SIGKILL);
    running.ends();
    let text = fs::read_to_string(ground.file()).unwrap();
    // Somebody on the link has an address; and a backend is named twice.
    for (was, is, said) in [("[2001:2::80]", "[2001:2::2]", "2001:2::2"), ("\"b2\"", "\"b1\"", "lb.toml:")] {
        ground.write(&text.replace(was, is));
        let mut failed = ground.begin();
        assert_eq!(failed.ends(), Some(1));
        failed.wait_for(said);
        still(&mut talks);
        stream.goes_on(100);
    }
    ground.write(&text);
    let running = ground.run();
    running.wait_for("going on from the balancer before");
    still(&mut talks);
    stream.goes_on(100);
    assert_eq!(stream.end(), (0, 0));
}

#[test]
fn what_nobody_starts_again_gives_the_kernel_its_traffic_back() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("2s"));
    let Scene { ground, bpf, .. } = &scene;
    let mut running = ground.run();
    scene.talks(2);
    running.signal(Signal::SIGKILL);
    running.ends();
    wait_until("its time is over", || text(&ground.lb(&["status"])).contains("has given the kernel its traffic back"));
    // The program is there, and everything passes it: the kernel may serve the address itself.
    assert!(scene.link().contains("xdp"));
    ground.net.sh("balancer", "ip address add 198.18.0.80/32 dev eth0; ip address add 2001:2::80/128 dev eth0 nodad");
    ground.net.serve("balancer", TALK);
    ground.net.sh("client", "ip neigh flush dev eth0; ip -6 neigh flush dev eth0");
    assert!(VIPS.iter().all(|vip| scene.talk(vip).1 == "balancer"));
    ground.net.sh("balancer", "ip address del 198.18.0.80/32 dev eth0; ip address del 2001:2::80/128 dev eth0");
    // Another one takes its place, and then that is taken away.
    let mut running = ground.run();
    assert!(scene.talks(10).iter().all(|(_, who)| who != "balancer"));
    let said = ground.refused(&["detach"]);
    assert!(said.contains("a process that lives has "), "{said}");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0));
    assert_eq!(ground.ok(&["detach"]), "eth0: the kernel has its traffic back\n");
    assert!(bpf.is_empty() && !scene.link().contains("xdp"), "{}", scene.link());
    assert_eq!(ground.ok(&["detach"]), "eth0: no balancer has left anything there\n");
}

#[test]
fn by_default_nothing_survives_and_what_is_left_is_taken_over_once() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(None);
    let mut running = scene.ground.run();
    running.signal(Signal::SIGKILL);
    running.ends();
    assert!(scene.bpf.is_empty() && !scene.link().contains("xdp"), "{}", scene.link());

    scene.survive = Some("60s");
    scene.write(&BOTH);
    let mut running = scene.ground.run();
    let mut talks = scene.talks(10);
    running.signal(Signal::SIGTERM);
    running.ends();
    assert!(!scene.bpf.is_empty() && scene.link().contains("xdp"));
    let stream = Stream::start(&scene.ground.net, 3);
    stream.goes_on(100);
    // Chosen no longer, it takes over for the last time.
    scene.survive = None;
    scene.write(&BOTH);
    let mut running = scene.ground.run();
    still(&mut talks);
    stream.goes_on(100);
    assert_eq!(stream.end(), (0, 0));
    assert!(scene.bpf.is_empty());
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends(), Some(0));
    running.wait_for("ended: the kernel has its traffic back");
    assert!(!scene.link().contains("xdp"), "{}", scene.link());
}

#[test]
fn what_cannot_be_read_is_replaced_and_settled_flows_go_on() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let ground = &scene.ground;
    let mut running = ground.run();
    let mut talks: Vec<_> = VIPS.iter().cycle().take(20).map(|vip| scene.talk(vip)).collect();
    let stream = Stream::start(&ground.net, 3);
    let spoil: [fn(&Path); 5] = [
        // Flows that were rewritten are somebody else's.
        |folder| fs::rename(folder.join("entries"), folder.join("nat_sets")).unwrap(),
        |folder| {
            fs::remove_file(folder.join("nat_settings")).unwrap();
            fs::create_dir(folder.join("nat_settings")).unwrap();
        },
        // What was written down is something else.
        |folder| fs::rename(folder.join("settings"), folder.join("record")).unwrap(),
        // Names stand for what no balancer has made.
        |folder| {
            for name in ["record", "entries", "settings"] {
                fs::remove_file(folder.join(name)).unwrap();
                fs::create_dir(folder.join(name)).unwrap();
            }
        },
        // Rows are lost.
        |folder| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let rows = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("rows-"));
            rows.for_each(|path| fs::remove_file(path).unwrap());
        },
    ];
    let replaced = Some("the balancer before was of another version or row key");
    for (spoil, said) in spoil.into_iter().zip([None, None, replaced, replaced, None]) {
        running.signal(Signal::SIGKILL);
        running.ends();
        spoil(&scene.bpf.folder());
        running = ground.run();
        said.into_iter().for_each(|said| running.wait_for(said));
        still(&mut talks);
        still(&mut [scene.talk(REWRITTEN[0]), scene.talk(REWRITTEN[1])]);
        stream.goes_on(100);
    }
    assert_eq!(stream.end(), (0, 0));
    // The program that is attached is no balancer's any more: its link is gone from the folder.
    running.signal(Signal::SIGKILL);
    running.ends();
    fs::remove_file(scene.bpf.folder().join("link-eth0")).unwrap();
    wait_until("nobody holds the program", || !scene.link().contains("xdp"));
    let _running = ground.run();
    still(&mut scene.talks(4));
}

#[test]
fn rewritten_flows_end_where_they_would_come_from_elsewhere() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(Some("60s"));
    let mut running = scene.ground.run();
    let (mut kept, mut ended) = (scene.talk(VIPS[0]), scene.talk(REWRITTEN[0]));
    running.signal(Signal::SIGKILL);
    running.ends();
    scene.sources = &["198.18.0.6", "2001:2::6"];
    scene.write(&BOTH);
    let mut running = scene.ground.run();
    running.wait_for("flows in mode nat end");
    running.wait_for("going on from the balancer before");
    assert!(kept.0.ask(10).is_ok() && ended.0.ask(10).is_err());
    // And nobody goes on later from what was left then.
    let new = scene.talk(REWRITTEN[0]);
    running.signal(Signal::SIGKILL);
    running.ends();
    let _running = scene.ground.run();
    still(&mut [kept, new]);
}

#[test]
fn a_second_balancer_is_refused_and_where_it_survives_must_be_a_bpf_file_system() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let ground = &scene.ground;
    let _running = ground.run();
    let text = fs::read_to_string(ground.file()).unwrap();
    let second = |text: &str, said: &str| {
        ground.write(&text.replace("control.sock", "other.sock"));
        let mut second = ground.begin();
        assert_eq!(second.ends(), Some(1));
        second.wait_for(said);
    };
    second(&text, "a process that lives has ");
    second(&text.replace("survive", "# survive"), "another XDP program");
    let nowhere = tempfile::tempdir().unwrap();
    let pins = format!("{}\"", scene.bpf.pins().display());
    let elsewhere = format!("{}\"", nowhere.path().display());
    second(&text.replace(&pins, &elsewhere), "`survive` needs a BPF file system");
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
    ground.write(&text);
    scene.talks(4);
}

#[test]
fn it_takes_five_rights_and_a_folder_of_its_own() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let mut talks = Vec::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT] {
        let mut running = scene.ground.begin_as_nobody();
        running.wait_for("balancing; Ctrl-C ends it");
        assert_eq!(
            running.said().contains("going on from the balancer before"),
            !talks.is_empty(),
            "{}",
            running.said()
        );
        still(&mut talks);
        talks.extend(scene.talks(4));
        running.signal(signal);
        running.ends();
    }
    assert!(scene.bpf.is_empty() && !scene.link().contains("xdp"), "{}", scene.link());
}

#[test]
fn by_default_it_is_in_the_folder_that_systemd_has_and_the_doctor_knows_it() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(Some("60s"));
    let ground = &scene.ground;
    let text = fs::read_to_string(ground.file()).unwrap();
    ground.write(&text.replace("pins = ", "# "));
    // All of it in one namespace of mounts.
    let (program, file) = (balancer::PROGRAM, ground.file().display().to_string());
    let said = ground.net.sh(
        "balancer",
        &format!(
            "mount -t bpf bpf /sys/fs/bpf
             {program} lb run --config {file} 2>/dev/null & id=$!
             for i in $(seq 600); do {program} lb status --config {file} >/dev/null 2>&1 && break; sleep 0.1; done
             kill $id; wait $id
             {program} doctor --interface eth0 --passive || true
             {program} lb detach --interface eth0; ls /sys/fs/bpf/xskip; ip link show dev eth0"
        ),
    );
    assert!(said.contains("a balancer that has ended has left the program "), "{said}");
    let (_, behind) = said.split_once("eth0: the kernel has its traffic back\n").unwrap_or_else(|| panic!("{said}"));
    assert!(behind.lines().next().unwrap().contains(": eth0") && !behind.contains("xdp"), "{said}");
}
