//! What `serve` takes to start, and what it has left when strangers are heard: needs root.

mod common;

use common::{
    Name, is_root,
    served::{ADDRESS, Served, ok},
};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::{Gid, Uid, chown, mkfifo},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;
use xskip_cli::{
    host::rights::Rights,
    lab::{INTERFACE, Lab, LabOptions},
};

const NOBODY: u32 = 65_534;
const GOOD: [&str; 5] = ["--address", ADDRESS, "--port", "80", "--json"];

/// The program where every user may run it: the folder that it is built in may be root's own.
struct Program {
    path: PathBuf,
    _folder: TempDir,
}

impl Program {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("xskip");
        fs::copy(env!("CARGO_BIN_EXE_xskip"), &path).unwrap();
        Self { path, _folder: folder }
    }

    /// How to start it as nobody, with these capabilities and no other.
    fn with_capabilities(&self, capabilities: &[&str]) -> Vec<String> {
        let added: Vec<_> = capabilities.iter().map(|name| name.replace("cap_", "+")).collect();
        let added = added.join(",");
        let mut words: Vec<String> =
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(str::to_owned).into();
        words.extend([format!("--inh-caps=-all,{added}"), format!("--ambient-caps=-all,{added}")]);
        words.push(self.path.to_str().unwrap().to_owned());
        words
    }
}

fn named() -> Vec<&'static str> {
    Rights::FOR_SERVING.split(',').collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// `/proc/PID/task/*/status`, each as its lines.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // One that has ended meanwhile has nothing left.
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let lines = |status: String| {
        let pairs = status.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    statuses.map(lines).collect()
}

/// Every thread of the process, the workers' and all others', has given up what can be.
#[track_caller]
fn has_nothing_left(pid: u32) {
    let threads = threads(pid);
    assert!(threads.len() >= 4, "main, a worker, the defence and the link's watch: {threads:#?}");
    for status in threads {
        let name = &status["Name"];
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set} of {name}");
        }
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"), "{name}");
    }
}

#[track_caller]
fn is_nobody(pid: u32) {
    for status in threads(pid) {
        for set in ["Uid", "Gid"] {
            let ids: Vec<_> = status[set].split_whitespace().collect();
            assert_eq!(ids, ["65534"; 4], "{set} of {}", status["Name"]);
        }
        assert!(!status["Groups"].split_whitespace().any(|group| group == "0"), "{}", status["Groups"]);
    }
}

#[test]
fn nobody_serves_with_exactly_the_capabilities_that_are_named_and_keeps_none() {
    if !is_root() {
        return;
    }
    let program = Program::new();
    let starter = program.with_capabilities(&named());
    // With cookies in XDP, so that the defence has something to do after that.
    let mut served = Served::started_by(&words(&starter), &[&GOOD[..], &["--cookies", "always"]].concat());
    let body = served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/bytes/1000000"]);
    assert_eq!(body.len(), 1_000_000);
    has_nothing_left(served.pid());
    is_nobody(served.pid());
    thread::sleep(Duration::from_millis(500));
    has_nothing_left(served.pid());
    let report = served.stop_balanced();
    assert!(report["verdicts"]["answered_syn"].as_u64() > Some(0), "{report:#}");
    assert!(report["defence"][0]["syns"].as_u64() > Some(0), "the counters are still read: {report:#}");
}

#[test]
fn each_of_them_is_needed_and_named_where_it_is_missing() {
    if !is_root() {
        return;
    }
    let program = Program::new();
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let run = |capabilities: &[&str], arguments: &[&str]| -> Output {
        let starter = program.with_capabilities(capabilities);
        let limited = ["prlimit", "--memlock=1048576:1048576"].map(str::to_owned).into_iter().chain(starter);
        let limited: Vec<String> = limited.collect();
        lab.server().command(&limited[0]).args(&limited[1..]).args(arguments).output().unwrap()
    };
    let serve = [&["serve", "--interface", INTERFACE][..], &GOOD].concat();
    for missing in named() {
        let others: Vec<_> = named().into_iter().filter(|capability| *capability != missing).collect();
        let output = run(&others, &serve);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "without {missing}: {said}");
        assert!(said.starts_with("xskip: ") && said.lines().count() == 1, "one sentence: {said}");
        let expected =
            if missing == "cap_ipc_lock" { "`ulimit -l unlimited`".to_owned() } else { missing.to_uppercase() };
        assert!(said.contains(&expected), "without {missing}: {said}");
        assert!(!said.contains("5.15"), "without {missing}: {said}");
    }
    // The doctor tries, whatever is missing: then it is the verifier who says so.
    let without_perfmon: Vec<_> = named().into_iter().filter(|capability| *capability != "cap_perfmon").collect();
    let output = run(&without_perfmon, &["doctor", "--interface", INTERFACE]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("CAP_PERFMON missing"), "{said}");
    assert!(
        said.contains("the kernel's verifier refused the XDP program") && !said.contains("5.15 or later"),
        "{said}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "libbpf's log is not for everybody");
}

/// A file that a user may read, and nobody else.
fn file_of(folder: &Path, name: &str, user: u32, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
    path
}

const KEY: &str = "000102030405060708090a0b0c0d0e0f\n";

/// A folder that every user may enter.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn root_goes_on_as_another_user_and_what_was_opened_stays_open() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let master = file_of(folder.path(), "master", NOBODY, KEY);
    // Nobody may not write here: it is open before.
    let capture = folder.path().join("trace.pcapng");
    let more = ["--user", "nobody", "--ladder", "--cookie-master", master.to_str().unwrap()];
    let more = [&more[..], &["--capture", capture.to_str().unwrap()]].concat();
    let mut served = Served::new(1, &[&GOOD[..], &more].concat());
    has_nothing_left(served.pid());
    is_nobody(served.pid());
    served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/bytes/100000"]);
    served.stop_balanced();
    let about = fs::metadata(&capture).unwrap();
    assert!(about.len() > 100_000, "the capture is whole: {} octets", about.len());
    assert_eq!((about.mode() & 0o7777, about.uid()), (0o600, 0));
}

#[test]
fn a_root_that_stays_root_has_no_capability_either() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    has_nothing_left(served.pid());
    served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/"]);
    served.stop_balanced();
}

#[test]
fn what_is_given_up_can_be_chosen() {
    if !is_root() {
        return;
    }
    let status = |more: &[&str]| {
        let mut served = Served::new(1, &[&GOOD[..], more].concat());
        let status = threads(served.pid()).remove(0);
        // Who is not dumpable belongs to root, whatever its user.
        let owner = fs::metadata(format!("/proc/{}/environ", served.pid())).unwrap().uid();
        served.stop_balanced();
        let held = u64::from_str_radix(&status["CapPrm"], 16).unwrap() != 0;
        (held, status["NoNewPrivs"].clone(), status["Seccomp"].clone(), owner)
    };
    let expected =
        |held, privileges: &str, filter: &str, owner| (held, privileges.to_owned(), filter.to_owned(), owner);
    assert_eq!(status(&["--give-up", "nothing"]), expected(true, "0", "0", 0));
    assert_eq!(status(&["--give-up", "rights"]), expected(false, "1", "0", 0));
    assert_eq!(status(&["--user", "65534:65534"]), expected(false, "1", "2", 0));
    assert_eq!(status(&["--user", "65534:65534", "--dumpable"]), expected(false, "1", "2", NOBODY));
}

#[test]
fn a_user_that_cannot_be_had_is_told_before_anything_is_served() {
    if !is_root() {
        return;
    }
    let program = Program::new();
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    let folder = folder();
    let of_root = file_of(folder.path(), "master", 0, KEY);
    let serve = |starter: &[&str], more: &[&str]| {
        let arguments = [&starter[1..], &["serve", "--interface", INTERFACE], &GOOD, more].concat();
        let output = lab.server().command(starter[0]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("xskip: ") && said.lines().count() == 1, "one sentence: {said}");
        assert!(lab.server().link().unwrap().xdp.is_none(), "nothing is left behind");
        said
    };
    let said =
        serve(&[env!("CARGO_BIN_EXE_xskip")], &["--user", "nobody", "--cookie-master", of_root.to_str().unwrap()]);
    assert!(said.contains("master cannot be read: Permission denied"), "{said}");
    let starter = program.with_capabilities(&named());
    let said = serve(&words(&starter), &["--user", "1:1"]);
    assert!(said.contains("cannot go on as 1:1") && said.contains("CAP_SETUID"), "{said}");
}

#[test]
fn a_signal_ends_it_whatever_has_become_of_the_masters_file() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let master = file_of(folder.path(), "master", 0, KEY);
    let mut served = Served::new(1, &[&GOOD[..], &["--cookie-master", master.to_str().unwrap()]].concat());
    fs::remove_file(&master).unwrap();
    mkfifo(&master, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    thread::sleep(Duration::from_millis(2_500));
    served.client_ok("curl", &["-sS", "--max-time", "20", "http://198.18.0.1/"]);
    fs::remove_file(&master).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &master).unwrap();
    thread::sleep(Duration::from_millis(1_500));
    served.signal(Signal::SIGTERM);
    served.wait_balanced();
}

#[test]
fn a_load_has_nothing_left_either() {
    if !is_root() {
        return;
    }
    let mut served = Served::http();
    let folder = folder();
    let json = folder.path().join("figures.json");
    let load = ["load", "--interface", INTERFACE, "--address", "198.18.0.100/24", "--target", "198.18.0.1:80"];
    let load = [&load[..], &["--mode", "keepalive", "--duration", "3", "--json", json.to_str().unwrap()]].concat();
    let command = served.client(env!("CARGO_BIN_EXE_xskip"), &load);
    let child = command.with(|command| command.stdout(Stdio::piped()).stderr(Stdio::piped())).spawn().unwrap();
    let is_worker = |status: &BTreeMap<String, String>| status["Name"] == "xskip-0";
    let is_confined = |_: &Served| threads(child.id()).iter().any(is_worker);
    served.wait_until("the load has a worker", is_confined);
    has_nothing_left(child.id());
    ok(child.wait_with_output().unwrap());
    assert!(fs::read_to_string(&json).unwrap().contains("per_second"));
    served.stop_balanced();
}
