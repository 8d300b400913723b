//! What stands in the way is said in one sentence with its remedy, and nothing is left behind: needs root.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use common::{Name, is_root, output_without_rights, run, run_failing, run_without_rights, served::Served, skip};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use xskip_cli::{
    host::{Link, cores::Cores},
    lab::{INTERFACE, Lab, LabOptions},
};

const GOOD: [&str; 6] = ["--interface", INTERFACE, "--address", "198.18.0.1/24", "--port", "80"];

/// A lab for things to go wrong in.
struct Ground {
    lab: Lab,
    _name: Name,
}

impl Ground {
    fn new() -> Self {
        Self::with(1, 1_500)
    }

    fn with(queues: u32, mtu: u32) -> Self {
        let name = Name::new();
        let lab =
            Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), queues, mtu, impair: None }).unwrap();
        Self { lab, _name: name }
    }

    /// Does something to the server's side first.
    #[track_caller]
    fn prepare(&self, script: &str) {
        let output = self.lab.server().command("bash").args(["-euc", script]).output().unwrap();
        common::served::ok(output);
    }

    fn serve(&self, arguments: &[&str]) -> Output {
        let command = self.lab.server().command(env!("CARGO_BIN_EXE_xskip"));
        command.args(["serve"]).args(arguments).output().unwrap()
    }

    /// `xskip serve` must refuse with a sentence that contains all of `parts`, and leave the interface alone.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.serve(arguments);
        one_sentence(&output, 1, parts);
        assert!(!self.is_attached(), "nothing is attached after {arguments:?}");
    }

    fn is_attached(&self) -> bool {
        self.lab.server().run(|| Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap()
    }
}

/// The program said one sentence with all of `parts`, on standard error, and ended with this status.
#[track_caller]
fn one_sentence(output: &Output, status: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.starts_with("xskip: ") && said.trim_end().lines().count() == 1, "one sentence: {said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing but the sentence");
}

#[test]
fn without_rights() {
    if !is_root() {
        return;
    }
    let mut arguments = vec!["serve"];
    arguments.extend(GOOD);
    one_sentence(&run_without_rights(&arguments), 1, &["CAP_NET_ADMIN", "CAP_BPF", "run as root", "setcap"]);
}

#[test]
fn no_such_interface() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let arguments = ["--interface", "nowhere0", "--address", "198.18.0.1/24", "--port", "80"];
    ground.refuses(&arguments, &["there is no interface nowhere0", "only lo, veth0", "name one of these"]);
}

#[test]
fn an_interface_that_is_down() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    ground.prepare("ip link set dev veth0 down");
    ground.refuses(&GOOD, &["veth0 is down", "`ip link set dev veth0 up`"]);
}

#[test]
fn fewer_queues_than_asked_for() {
    if !is_root() {
        return;
    }
    let ground = Ground::with(2, 1_500);
    let arguments = [&GOOD[..], &["--queues", "0-2"]].concat();
    ground.refuses(&arguments, &["has 2 queue(s)", "queue 2 was asked for", "ethtool -L veth0"]);
}

#[test]
fn another_program_is_attached_already() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let second = served.lab.server().command(env!("CARGO_BIN_EXE_xskip"));
    let second = second.args(["serve", "--interface", INTERFACE, "--address", "198.18.0.7/24", "--port", "81"]);
    one_sentence(&second.output().unwrap(), 1, &["another XDP program", "bpftool prog show id", "xdp off"]);
    assert!(served.is_attached(), "the first one is left alone");
    served.client_ok("curl", &["-sS", "http://198.18.0.1/"]);
    served.stop_balanced();
}

#[test]
fn a_driver_without_native_mode() {
    if !is_root() {
        return;
    }
    // The loopback device is such a driver.
    let ground = Ground::new();
    ground.prepare("ip link set dev lo mtu 1500; ip link set dev lo up");
    let arguments = ["--interface", "lo", "--address", "198.18.9.1/24", "--port", "80"];
    let native = [&arguments[..], &["--require", "native"]].concat();
    ground.refuses(&native, &["lo does not run XDP in its driver", "--require", "drop the requirement"]);

    // Without the requirement it runs in generic mode, and says so.
    let command = ground.lab.server().command(env!("CARGO_BIN_EXE_xskip"));
    let command = command.args(["serve"]).args(arguments).with(|command| command.stderr(Stdio::piped()));
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("serving; Ctrl-C")).collect();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    let said = said.join("\n");
    assert!(said.contains("asked for native XDP") && said.contains("got generic XDP"), "it is announced: {said}");
}

#[test]
fn zero_copy_that_is_not_to_be_had() {
    if !is_root() {
        return;
    }
    let arguments = [&GOOD[..], &["--require", "zero-copy"]].concat();
    Ground::new().refuses(&arguments, &["veth0", "zero copy", "drop the requirement"]);
}

#[test]
fn an_address_that_the_kernel_uses() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let own = ["--interface", INTERFACE, "--address", "198.18.0.254/24", "--port", "80"];
    ground.refuses(&own, &["the kernel already uses 198.18.0.254", "`ip address del 198.18.0.254/24", "--shared"]);
    let shared = ["--interface", INTERFACE, "--shared", "198.18.0.77", "--port", "80"];
    ground.refuses(&shared, &["the kernel does not have 198.18.0.77", "`ip address add`"]);
}

#[test]
fn a_core_that_does_not_exist() {
    if !is_root() {
        return;
    }
    let arguments = [&GOOD[..], &["--cores", "1023"]].concat();
    Ground::new().refuses(&arguments, &["core 1023 does not exist", "the cores online are"]);
}

/// The command under `taskset -c`, with the last core only; none where there is one core.
fn on_the_last_core(command: &[&str]) -> Option<(usize, Vec<String>)> {
    let cores = Cores::read().unwrap();
    let last = cores.iter().last().filter(|_| cores.count() > 1)?;
    let (program, list) = (env!("CARGO_BIN_EXE_xskip"), last.to_string());
    let whole = [&["-c", &list, program], command].concat();
    Some((last, whole.into_iter().map(str::to_owned).collect()))
}

#[test]
fn a_core_that_taskset_has_taken_away() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let first = Cores::read().unwrap().iter().next().unwrap().to_string();
    let serve = [&["serve"], &GOOD[..], &["--cores", &first]].concat();
    let target = ["--interface", INTERFACE, "--target", "198.18.0.1:80"];
    let load = [&["load", "--mode", "connect", "--address", "198.18.0.9/24", "--cores", &first], &target[..]].concat();
    let flood = [&["flood", "--target-mac", "02:00:00:00:00:01", "--core", &first], &target[..]].concat();
    for command in [serve, load, flood] {
        let Some((last, arguments)) = on_the_last_core(&command) else { return skip("taskset takes two cores") };
        let output = ground.lab.server().command("taskset").args(arguments).output().unwrap();
        one_sentence(&output, 1, &[&format!("core {first} is not for this process"), &format!("leaves it {last};")]);
        assert!(!ground.is_attached());
    }
}

#[test]
fn under_taskset_a_server_is_where_it_says_and_where_it_may() {
    if !is_root() {
        return;
    }
    let ground = Ground::with(2, 1_500);
    let Some((last, arguments)) = on_the_last_core(&[&["serve"], &GOOD[..]].concat()) else {
        return skip("taskset takes two cores");
    };
    let command = ground.lab.server().command("taskset").args(arguments);
    let mut child = command.with(|command| command.stderr(Stdio::piped())).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("serving") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert!(said.contains(&format!("; queue 0 on core {last}; queue 1 on core {last};")), "{said}");
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let allowed: Vec<String> = threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .flat_map(|status| {
            status
                .lines()
                .filter_map(|line| line.strip_prefix("Cpus_allowed_list:"))
                .map(|list| list.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(allowed.len() > 2 && allowed.iter().all(|list| *list == last.to_string()), "{allowed:?}");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_mtu_beyond_what_frames_hold() {
    if !is_root() {
        return;
    }
    let ground = Ground::with(1, 65_000);
    ground.refuses(&GOOD, &["the MTU of veth0 is 65000", "`ip link set dev veth0 mtu 61418`"]);
}

#[test]
fn a_kernel_without_af_xdp() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let attempt = || {
        forbid_af_xdp();
        ground.serve(&GOOD)
    };
    // A filter is its thread's, and that of all it starts, for good.
    let output = thread::scope(|scope| scope.spawn(attempt).join().unwrap());
    one_sentence(&output, 1, &["this kernel cannot open AF_XDP sockets", "CONFIG_XDP_SOCKETS=y"]);
    assert!(!ground.is_attached());
}

/// Lets the kernel answer this thread as one does that was built without AF_XDP.
fn forbid_af_xdp() {
    let family = u64::try_from(libc::AF_XDP).unwrap();
    let is_af_xdp = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family).unwrap();
    let rules = BTreeMap::from([(libc::SYS_socket, vec![SeccompRule::new(vec![is_af_xdp]).unwrap()])]);
    let unsupported = SeccompAction::Errno(libc::EAFNOSUPPORT as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unsupported, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn what_was_typed_makes_no_sense() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--address", "198.18.0.1/24"], &["no port to listen on", "--port 80"]),
        (&["--address", "198.18.0.1/24", "--port", ""], &["no port to listen on", "--port 80"]),
        (&["--address", "198.18.0.1/24", "--port", "0"], &["port 0", "1 to 65535"]),
        (&["--port", "80"], &["no address", "--address"]),
        (&["--address", "198.18.0.1/24", "--port", "80", "--udp"], &["HTTP", "leave out --udp", "--app"]),
        (&["--shared", "::ffff:198.18.0.1", "--port", "80"], &["::ffff:198.18.0.1 is 198.18.0.1", "write 198.18.0.1"]),
        (&["--shared", "127.0.0.1", "--port", "80"], &["127.0.0.1", "unicast"]),
        (&["--address", "198.18.0.1/24", "--address", "198.18.0.1/16", "--port", "80"], &["198.18.0.1", "twice"]),
        (&["--address", "198.18.0.1/24", "--shared", "198.18.0.1", "--port", "80"], &["198.18.0.1", "twice"]),
        (&["--address", "198.18.0.1/24", "--gateway", "224.0.0.9", "--port", "80"], &["224.0.0.9", "unicast"]),
        (&["--address", "198.18.0.1/24", "--gateway", "198.18.0.255", "--port", "80"], &["198.18.0.255", "unicast"]),
        (
            &["--address", "198.18.0.1/24", "--gateway", "198.18.0.0", "--port", "80"],
            &["198.18.0.0/24 names the subnet"],
        ),
        (&["--address", "198.18.0.1/24", "--gateway", "198.18.0.1", "--port", "80"], &["198.18.0.1", "name a router"]),
        (&["--address", "198.18.0.1/24", "--connect", "[::ffff:198.18.0.2]:7"], &["write 198.18.0.2"]),
        (&["--address", "fe80::1/64", "--connect", "[fe80::2%3]:7"], &["fe80::2", "zone %3", "leave it out"]),
        (&["--address", "198.18.0.1/24", "--connect", "0.0.0.0:7"], &["0.0.0.0", "unicast"]),
    ];
    for (arguments, parts) in cases {
        let all = [&["serve", "--interface", "lo"], *arguments].concat();
        one_sentence(&run(&all), 2, parts);
    }
    for (arguments, part) in [
        (["--address", "198.18.0.1"], "198.18.0.1"),
        (["--address", "198.18.0.1/33"], "198.18.0.1/33"),
        (["--address", "198.18.0.0/24"], "such as 198.18.0.1"),
        (["--address", "2001:2::/64"], "such as 2001:2::1"),
        (["--address", "198.18.0.255/24"], "choose a unicast address"),
        (["--address", "::ffff:198.18.0.1/120"], "write 198.18.0.1"),
        (["--address", "fe80::1%lo/64"], "leave out what begins with %"),
        (["--vlan", "0"], "0 is not in 1..=4094"),
        (["--vlan", "4095"], "4095 is not in 1..=4094"),
        (["--port", "http"], "http"),
        (["--port", "70000"], "70000"),
        (["--cores", "1-"], "1-"),
        (["--queues", "3-1"], "3-1"),
        (["--require", "speed"], "nothing, native or zero-copy"),
        (["--app", "gopher"], "echo, http, discard, chargen"),
        (["--idle-timeout", "31536001"], "31536000"),
        (["--keep-alive", "0"], "1..=31536000"),
        (["--memory", "1.5G"], "write one like 64M or 1G"),
    ] {
        let said = run_failing(2, &["serve", "--interface", "lo", arguments[0], arguments[1]]);
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn a_queue_is_named_once() {
    if !is_root() {
        return; // queues are those of an interface, which is looked at with rights only
    }
    let typed = ["serve", "--interface", "lo", "--address", "198.18.0.1/24", "--port", "80", "--queues", "0,0"];
    one_sentence(&run(&typed), 2, &["queue 0", "twice"]);
}

#[test]
fn a_flood_goes_to_a_hosts_address() {
    for (target, part) in [
        ("224.0.0.1:80", "unicast"),
        ("127.0.0.1:80", "unicast"),
        ("[::ffff:198.18.0.1]:80", "write 198.18.0.1"),
        ("[fe80::1%3]:80", "leave it out"),
    ] {
        let said = run_failing(2, &["flood", "--interface", "lo", "--target", target]);
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn a_capture_file_that_cannot_be_written() {
    if !is_root() {
        return;
    }
    let arguments = [&GOOD[..], &["--capture", "/nowhere/at/all.pcapng"]].concat();
    Ground::new().refuses(&arguments, &["/nowhere/at/all.pcapng"]);
}

#[test]
fn too_few_file_descriptors() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let mut sentences = String::new();
    // One more each time, so that each step of the way to a server once has none left.
    for limit in 6..100 {
        let script = format!("ulimit -n {limit}; exec timeout -s INT 5 \"$0\" serve \"$@\"");
        let arguments = [&["-c", &script, env!("CARGO_BIN_EXE_xskip")], &GOOD[..]].concat();
        let output = ground.lab.server().command("bash").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("serving") {
            break;
        }
        one_sentence(&output, 1, &[]);
        assert!(said.contains("`ulimit -n") || said.contains("Too many open files"), "{limit} descriptors: {said}");
        sentences += &said;
    }
    // Which once was "it needs Linux 5.15".
    assert!(sentences.contains("no file descriptor was left to load the XDP program"), "{sentences}");
    assert!(!sentences.contains("5.15"), "{sentences}");
}

/// The example of that name, which `cargo test` builds beside its tests unless it is asked for single ones.
fn example(name: &str) -> Option<Command> {
    let path = Path::new(env!("CARGO_BIN_EXE_xskip")).with_file_name("examples").join(name);
    path.exists().then(|| Command::new(path))
}

#[test]
fn a_program_of_a_few_lines_says_the_remedy_too() {
    if !is_root() {
        return;
    }
    let Some(mut echo) = example("echo") else { return skip("the examples are not built: `cargo build --examples`") };
    let output = output_without_rights(echo.args(["lo", "198.18.0.1/24"]));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("Error: missing CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF"), "{said}");
    let ground = Ground::new();
    let run = |arguments: &[&str]| {
        let program = example("echo").unwrap().get_program().to_owned();
        let output = ground.lab.server().command(program).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = run(&["eth7", "198.18.0.1/24"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.starts_with("Error: there is no interface eth7 here, only lo, veth0: name one of these"), "{said}");
    let (status, said) = run(&[INTERFACE, "198.18.0.1"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.starts_with("Error: \"198.18.0.1\" is no address with a prefix length; write it like"), "{said}");
}

#[test]
fn a_program_of_a_few_lines_says_what_it_got_where_nobody_else_does() {
    if !is_root() {
        return;
    }
    let Some(echo) = example("echo") else { return skip("the examples are not built: `cargo build --examples`") };
    let ground = Ground::new();
    let command = ground.lab.server().command(echo.get_program()).args([INTERFACE, "198.18.0.1/24"]);
    let mut child = command.with(|command| command.stderr(Stdio::piped())).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(said.starts_with("xskip: veth0: asked for native XDP with zero copy (required: nothing), got"), "{said}");
    assert!(said.contains("copy mode; queue 0 on core "), "{said}");
}
