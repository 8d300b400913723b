//! The lab, on the kernel: needs root.

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Name, is_root, run, run_failing, run_ok, run_without_rights, xskip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use xskip_cli::{
    host::ethtool::{self, Ethtool},
    lab::{Lab, LabOptions, Role, STACK},
    relay::RelayCounts,
};

fn status(name: &Name) -> Value {
    serde_json::from_str(&run_ok(&["lab", "status", name.as_str(), "--json"])).unwrap()
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sends from the server's kernel to the client's, over both versions of IP.
fn transfer(lab: &Lab) {
    let (v4, v6) = lab.server().addresses();
    for address in [SocketAddr::from((v4, 8_080)), SocketAddr::from((v6, 8_080))] {
        let listener = lab.server().run(|| TcpListener::bind(address).unwrap()).unwrap();
        let sender = thread::spawn(move || listener.accept().unwrap().0.write_all(&vec![0x5a; 3_000_000]).unwrap());
        let mut stream = lab.client().run(|| TcpStream::connect(address).unwrap()).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        assert!(received.len() == 3_000_000 && received.iter().all(|byte| *byte == 0x5a));
    }
}

fn exists(name: &Name, side: &str) -> bool {
    Path::new("/run/netns").join(name.namespace(side)).exists()
}

fn assert_gone(name: &Name) {
    assert_eq!(status(name)["state"], "down");
    assert!(!exists(name, "server") && !exists(name, "client") && !exists(name, "relay"));
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
    assert!(!String::from_utf8_lossy(&links).contains("02:78:73:6b:"), "a link of a lab is outside");
}

#[test]
fn a_lab_comes_and_goes_without_a_trace() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    run_ok(&["lab", "up", name.as_str(), "--queues", "2"]);
    let report = status(&name);
    assert_eq!(report["state"], "up");
    assert_eq!((&report["queues"], &report["mtu"]), (&2.into(), &1_500.into()));
    for (side, v4, v6) in [(0, "198.18.0.254/24", "2001:2::fe/64"), (1, "198.18.0.2/24", "2001:2::2/64")] {
        let interface = &report["sides"][side]["interface"];
        assert_eq!(interface["running"], true);
        assert_eq!((&interface["rx_queues"], &interface["tx_queues"]), (&2.into(), &2.into()));
        let addresses = interface["addresses"].as_array().unwrap();
        assert!(addresses.contains(&v4.into()) && addresses.contains(&v6.into()), "{addresses:?}");
        let offloads = &interface["offloads"];
        assert_eq!(
            [&offloads["tx_checksums"], &offloads["super_frames"], &offloads["vlan_tags"]],
            [&Value::from(false); 3]
        );
        assert_eq!(offloads["gro"], true);
        assert_eq!(interface["xdp"], Value::Null);
    }
    assert!(run_ok(&["lab", "status", "--all"]).contains(name.as_str()));

    run_ok(&["lab", "down", name.as_str()]);
    assert_gone(&name);
    assert!(run_ok(&["lab", "down", name.as_str()]).contains("down already"));
}

#[test]
fn up_twice_is_up_once() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    run_ok(&["lab", "up", "--name", name.as_str()]);
    let inode =
        || fs::metadata(Path::new("/run/netns").join(name.namespace("server"))).map(|m| inode_number(&m)).unwrap();
    let before = inode();
    assert!(run_ok(&["lab", "up", "--name", name.as_str()]).contains("up already"));
    assert_eq!(inode(), before, "it was made anew");

    let said = run_failing(1, &["lab", "up", "--name", name.as_str(), "--queues", "3"]);
    assert!(said.contains("1 queue ") && said.contains("3 queues") && said.contains("xskip lab down"), "{said}");
    assert_eq!(status(&name)["queues"], 1);
    let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
    assert!(Lab::temporary(&options).unwrap_err().to_string().contains("up already"));
    assert_eq!(status(&name)["state"], "up", "a lab that was there before is not the temporary one's to remove");
}

fn inode_number(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[test]
fn changed_settings_are_set_again() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    run_ok(&["lab", "up", name.as_str()]);
    ip(&["-n", &name.namespace("client"), "address", "flush", "dev", "veth0"]);
    ip(&["-n", &name.namespace("server"), "link", "set", "veth0", "down"]);
    run_ok(&["lab", "up", name.as_str()]);
    let report = status(&name);
    assert_eq!(report["sides"][0]["interface"]["running"], true);
    let addresses = report["sides"][1]["interface"]["addresses"].as_array().unwrap();
    assert!(addresses.contains(&"198.18.0.2/24".into()), "{addresses:?}");
}

#[test]
fn bad_settings_are_refused_before_anything_is_made() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    for (option, value, expected) in [
        ("--queues", "0", "0 is not in 1..=256"),
        ("--queues", "257", "257 is not in 1..=256"),
        ("--mtu", "1279", "1279 is not in 1280..=65535"),
        ("--mtu", "65536", "65536 is not in 1280..=65535"),
    ] {
        let said = run_failing(2, &["lab", "up", name.as_str(), option, value]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(run_failing(2, &["lab", "up", "../etc"]).contains("cannot name a lab"));
    assert!(run_failing(2, &["lab", "up", "--queues", "many"]).contains("invalid value"));
    assert_gone(&name);
}

#[test]
fn without_rights_it_says_which_are_missing() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let output = run_without_rights(&["lab", "up", name.as_str()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not permitted") && said.contains("CAP_SYS_ADMIN") && said.lines().count() == 1, "{said}");
    assert_gone(&name);
}

#[test]
fn two_labs_live_side_by_side() {
    if !is_root() {
        return;
    }
    let names = [Name::new(), Name::new()];
    for name in &names {
        run_ok(&["lab", "up", name.as_str()]);
    }
    for name in &names {
        transfer(&Lab::find(&name.as_str().parse().unwrap()).unwrap());
    }
    run_ok(&["lab", "down", names[0].as_str()]);
    assert_gone(&names[0]);
    assert_eq!(status(&names[1])["state"], "up");
}

#[test]
fn commands_run_inside_and_pass_on_their_status() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let exec = |side: &'static str, script: &'static str| {
        run(&["lab", "exec", "--name", name.as_str(), side, "--", "sh", "-c", script])
    };
    let said = exec("client", "true");
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("is not up: run `xskip lab up"));

    run_ok(&["lab", "up", name.as_str()]);
    assert_eq!(exec("client", "exit 42").status.code(), Some(42));
    assert_eq!(exec("server", "kill -TERM $$").status.signal(), Some(15));
    assert_eq!(String::from_utf8_lossy(&exec("server", "ls /sys/class/net").stdout), "lo\nveth0\n");
    let said = run_failing(1, &["lab", "exec", name.as_str(), "server", "--", "no-such-program"]);
    assert!(said.contains("could not start no-such-program"), "{said}");
    let said = run_failing(2, &["lab", "exec", name.as_str(), "middle", "--", "true"]);
    assert!(said.contains("name `server` or `client`"), "{said}");
    run_failing(2, &["lab", "exec", name.as_str(), "server"]);
}

#[test]
fn processes_inside_are_told_and_outlive_the_lab() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::up(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let mut child = lab.server().command("sleep").args(["60"]).spawn().unwrap();
    let processes = status(&name)["sides"][0]["processes"].clone();
    assert_eq!(processes[0]["pid"], child.id());
    let output = run(&["lab", "down", name.as_str()]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&child.id().to_string()));
    assert_gone(&name);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The exact set of offloads, and a transfer between the two kernels through each end's receive path.
#[test]
fn kernels_send_plain_frames_to_each_other() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), queues: 2, mtu: 1_500, impair: None };
    let lab = Lab::temporary(&options).unwrap();
    for role in [Role::Server, Role::Client] {
        let link = lab.side(role).link().unwrap();
        let features = lab.side(role).run(|| Ethtool::open().unwrap().features(&link).unwrap()).unwrap();
        for (feature, on) in ethtool::plain_wire() {
            assert_eq!(features.get(feature).is_some_and(|feature| feature.on), on, "{role}: {feature}");
        }
        let channels = lab.side(role).run(|| Ethtool::open().unwrap().channels(&link).unwrap()).unwrap();
        assert!(channels.is_none_or(|channels| (channels.rx, channels.tx) == (2, 2)), "{channels:?}");
    }

    transfer(&lab);
    drop(lab);
    assert_gone(&name);
}

#[test]
fn no_kernel_has_the_stacks_addresses() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    for role in [Role::Server, Role::Client] {
        let addresses = lab.side(role).link().unwrap().addresses;
        assert!(!addresses.iter().any(|(address, _)| *address == STACK.0 || *address == STACK.1), "{addresses:?}");
    }
}

#[test]
fn leftovers_are_mended_by_up_and_removed_by_down() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let (server, client) = (name.namespace("server"), name.namespace("client"));
    let half_made: [&dyn Fn(); 5] = [
        &|| ip(&["netns", "delete", &client]),
        &|| ip(&["netns", "delete", &server]),
        &|| ip(&["-n", &server, "link", "delete", "veth0"]),
        &|| ip(&["-n", &client, "link", "set", "veth0", "mtu", "1400"]),
        // A crash between the two steps that make a name.
        &|| {
            ip(&["netns", "delete", &server]);
            fs::write(Path::new("/run/netns").join(&server), "").unwrap();
        },
    ];
    for spoil in half_made {
        run_ok(&["lab", "up", name.as_str()]);
        spoil();
        assert_eq!(status(&name)["state"], "half-made");
        assert!(run_failing(1, &["lab", "exec", name.as_str(), "client", "--", "true"]).contains("is not up"));
        assert!(run_ok(&["lab", "up", name.as_str()]).contains("leftovers"));
        assert_eq!(status(&name)["state"], "up");
        spoil();
        run_ok(&["lab", "down", name.as_str()]);
        assert_gone(&name);
    }
    // An empty namespace of that name is taken for the first step of a run that crashed.
    ip(&["netns", "add", &server]);
    run_ok(&["lab", "up", name.as_str()]);
    assert_eq!(status(&name)["state"], "up");
}

#[test]
fn namespaces_of_others_are_left_alone() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let server = name.namespace("server");
    ip(&["netns", "add", &server]);
    ip(&["-n", &server, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
    for verb in ["up", "down"] {
        let said = run_failing(1, &["lab", verb, name.as_str()]);
        assert!(said.contains(&server) && said.contains("not made by xskip"), "{said}");
    }
    assert!(exists(&name, "server") && !exists(&name, "client"));
    assert_eq!(status(&name)["state"], "foreign");
}

/// SIGKILL can come between any two steps, and whatever it leaves is mended; SIGINT leaves all or nothing.
#[test]
fn signals_in_the_middle_of_up_leave_nothing_behind() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let mut interrupted = 0;
    for (round, signal) in [Signal::SIGINT, Signal::SIGKILL].into_iter().cycle().take(40).enumerate() {
        let mut child =
            xskip(&["lab", "up", name.as_str()]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_micros(200 * round as u64));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).unwrap();
        let ended = child.wait().unwrap();
        if signal == Signal::SIGINT {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            let state = status(&name)["state"].clone();
            match ended.code() {
                Some(0) => assert_eq!(state, "up"),
                // Before the handler was in place, the signal ended the program, which had done nothing yet.
                code => assert_eq!(state, "down", "status {code:?}, it said {said:?}"),
            }
            interrupted += u32::from(ended.code() == Some(1));
        } else if round % 4 == 1 {
            run_ok(&["lab", "up", name.as_str()]);
            assert_eq!(status(&name)["state"], "up");
        }
        run_ok(&["lab", "down", name.as_str()]);
        assert_gone(&name);
    }
    println!("{interrupted} of 20 runs were interrupted in the middle");
}

#[test]
fn help_shows_an_example_for_each_command() {
    for command in [vec![], vec!["lab", "up"], vec!["lab", "down"], vec!["lab", "status"], vec!["lab", "exec"]] {
        let said = run_ok(&[command.as_slice(), &["--help"]].concat());
        assert!(said.contains("Example") && said.contains("sudo xskip"), "{command:?}: {said}");
    }
    run_failing(2, &["lab", "sideways"]);
}

fn impaired(name: &Name, impairment: &str) -> LabOptions {
    let impair = Some(impairment.parse().unwrap());
    LabOptions { name: name.as_str().parse().unwrap(), impair, ..LabOptions::default() }
}

/// The one process in the relay's namespace.
fn relay_pid(name: &Name) -> Pid {
    let report = status(name);
    let processes = report["relay"]["processes"].as_array().unwrap();
    assert_eq!((processes.len(), &processes[0]["command"]), (1, &"xskip-relay".into()), "{report:#}");
    Pid::from_raw(i32::try_from(processes[0]["pid"].as_i64().unwrap()).unwrap())
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: Pid) -> bool {
    // A zombie, which waits for its parent to take notice, has no command line any more.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn an_impaired_lab_comes_and_goes_without_a_trace() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let impairment = "delay=20ms,up:rate=50mbit,seed=7";
    let said = run_ok(&["lab", "up", name.as_str(), "--impair", impairment]);
    let written = "delay=20ms,up:rate=50mbit,seed=7";
    assert!(said.contains("carries") && said.contains(&format!("impairment: {written}")), "{said}");
    let report = status(&name);
    assert_eq!((&report["state"], &report["relay"]["impairment"]), (&"up".into(), &written.into()));
    assert_eq!(report["relay"]["carries"], true);
    // The ends look the same as without a relay.
    for (side, mac) in [(0, "02:78:73:6b:00:01"), (1, "02:78:73:6b:00:02")] {
        let interface = &report["sides"][side]["interface"];
        assert_eq!((&interface["name"], &interface["mac"]), (&"veth0".into(), &mac.into()));
        assert_eq!((&interface["running"], &interface["xdp"]), (&true.into(), &Value::Null));
    }
    for address in ["198.18.0.254", "2001:2::fe"] {
        let ping = ["lab", "exec", name.as_str(), "client", "--", "ping", "-q", "-c", "5", "-i", "0.2", address];
        let said = run_ok(&ping);
        let least: f64 = said.split("mdev = ").nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
        assert!(least >= 40.0, "twice 20 ms, and no shorter: {said}");
    }

    let pid = relay_pid(&name);
    assert!(run_ok(&["lab", "up", name.as_str(), "--impair", impairment]).contains("up already"));
    assert_eq!(relay_pid(&name), pid, "it is the same relay still");
    for (other, has) in [(&["--impair", "loss=1%"][..], "the impairment loss=1%"), (&[], "1 queue and MTU 1500 were")] {
        let said = run_failing(1, &[&["lab", "up", name.as_str()], other].concat());
        assert!(said.contains(written) && said.contains(has) && said.contains("xskip lab down"), "{said}");
    }
    run_ok(&["lab", "down", name.as_str()]);
    assert!(!is_alive(pid), "the relay has ended");
    assert_gone(&name);
}

#[test]
fn a_killed_relay_is_reported_and_mended() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    run_ok(&["lab", "up", name.as_str(), "--impair", "loss=1%"]);
    let kill_relay = || {
        kill(relay_pid(&name), Signal::SIGKILL).unwrap();
        wait_until("the kernel has taken its programs away", || status(&name)["relay"]["carries"] == false);
    };
    kill_relay();
    assert_eq!(status(&name)["state"], "half-made");
    let said = run_ok(&["lab", "status", name.as_str()]);
    assert!(said.contains("nothing gets through") && said.contains("`xskip lab up"), "{said}");
    assert!(run_failing(1, &["lab", "exec", name.as_str(), "client", "--", "true"]).contains("is not up"));
    assert!(run_ok(&["lab", "status", "--all"]).contains(name.as_str()));

    assert!(run_ok(&["lab", "up", name.as_str(), "--impair", "loss=1%"]).contains("leftovers"));
    assert_eq!(status(&name)["state"], "up");
    kill_relay();
    run_ok(&["lab", "down", name.as_str()]);
    assert_gone(&name);

    // What is left of a lab may be the middle only.
    run_ok(&["lab", "up", name.as_str(), "--impair", ""]);
    let pid = relay_pid(&name);
    ip(&["netns", "delete", &name.namespace("server")]);
    ip(&["netns", "delete", &name.namespace("client")]);
    assert!(run_ok(&["lab", "status", "--all"]).contains(name.as_str()));
    run_ok(&["lab", "down", name.as_str()]);
    assert!(!is_alive(pid), "the relay has ended");
    assert_gone(&name);
}

/// How often something happened to frames.
type HowOften = fn(&RelayCounts) -> u64;

/// Whatever happens to frames on the way, TCP makes good; and it did happen.
#[test]
fn what_a_bad_link_carries_is_right_to_the_byte() {
    if !is_root() {
        return;
    }
    let happened: [(&str, HowOften); 6] = [
        ("", |counts| counts.up.pushed),
        ("loss=1%,delay=2ms", |counts| counts.up.lost + counts.down.lost),
        ("duplicate=2%", |counts| counts.down.duplicated),
        ("corrupt=0.2%,delay=1ms", |counts| counts.down.corrupted),
        ("reorder=5%,delay=2ms,jitter=1ms", |counts| counts.down.overtook),
        ("rate=100mbit,queue=20", |counts| counts.down.queue_full),
    ];
    for (impairment, how_often) in happened {
        let name = Name::new();
        let lab = Lab::temporary(&impaired(&name, impairment)).unwrap();
        transfer(&lab);
        // 6 MB are some 4,100 frames. What the relay says may be a moment old.
        wait_until("all are counted", || lab.relay_counts().unwrap().down.popped > 4_000);
        let counts = lab.relay_counts().unwrap();
        assert!(how_often(&counts) > 0, "{impairment}: it did not happen: {counts:?}");
        drop(lab);
        assert_gone(&name);
    }
}

#[test]
fn a_bad_link_keeps_to_its_rate() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&impaired(&name, "down:rate=40mbit")).unwrap();
    let begin = Instant::now();
    transfer(&lab);
    // 6,000,000 bytes without their headers.
    assert!(begin.elapsed() >= Duration::from_millis(1_200), "{:?}", begin.elapsed());
}

#[test]
fn a_bad_link_has_queues_and_large_frames_too() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let options = LabOptions { queues: 2, mtu: 3_498, ..impaired(&name, "delay=1ms") };
    let lab = Lab::temporary(&options).unwrap();
    transfer(&lab);
    let ping = ["-q", "-c", "1", "-M", "do", "-s", "3470", "198.18.0.254"];
    assert!(lab.client().command("ping").args(ping).output().unwrap().status.success(), "a frame of the largest size");
    let said = run_failing(1, &["lab", "up", "--impair", "", "--mtu", "3499", name.as_str()]);
    assert!(said.contains("ask for 1280 to 3498 bytes"), "{said}");
}

/// A relay that is a thread of some program ends with its interfaces, and the program goes on.
#[test]
fn a_temporary_bad_link_may_be_taken_down_from_outside() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&impaired(&name, "loss=1%")).unwrap();
    let report = status(&name);
    assert_eq!((&report["state"], &report["relay"]["carries"]), (&"up".into(), &true.into()));
    assert_eq!(report["relay"]["processes"][0]["pid"], std::process::id());
    run_ok(&["lab", "down", name.as_str()]);
    assert_gone(&name);
    drop(lab);
    assert_gone(&name);
}

#[test]
fn bad_impairments_are_refused_with_the_remedy() {
    let name = Name::new();
    for (impairment, remedy) in [
        ("loss=1", "a percentage from 0% to 100%"),
        ("delay=20", "a time in us, ms or s"),
        ("jitter=1h", "a time in us, ms or s"),
        ("delay=1ms,jitter=2ms", "raise the delay"),
        ("reorder=many", "a percentage"),
        ("reorder=1%", "give a delay beside reorder"),
        ("rate=fast", "from 8kbit to 100gbit"),
        ("rate=1mbit,queue=0", "from 1 to 32768"),
        ("queue=10", "give a rate beside queue"),
        ("duplicate=101%", "a percentage"),
        ("corrupt=-1%", "a percentage"),
        ("seed=x", "a whole number below 2^64"),
        ("losss=1%", "there are loss, delay"),
        ("loss=1%,loss=1%", "keep one of them"),
        ("loss", "write loss=1%"),
    ] {
        let said = run_failing(2, &["lab", "up", name.as_str(), "--impair", impairment]);
        assert!(said.contains(remedy), "{impairment}: {said}");
    }
}
