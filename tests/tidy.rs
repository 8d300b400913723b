//! The repository tests its own style: who may import whom, where clocks and `unsafe` may be, how long things may get.

#[path = "common/library.rs"]
mod common;

use common::skip;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The rooms, each with the rooms it may import: data move one way, and so do imports. The borders of crates are the compiler's affair.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("drops", &[]),
    ("stats", &[]),
    ("rng", &[]),
    ("prefetch", &[]),
    ("transport", &[]),
    ("wire", LEAVES),
    ("config", &["wire"]),
    ("splice", &["time", "drops", "wire"]),
    ("tcp", &["time", "drops", "stats", "rng", "config", "wire", "splice"]),
    ("stack", &["time", "drops", "stats", "rng", "prefetch", "config", "wire", "splice", "tcp"]),
    ("impair", LEAVES),
    ("lb", &["time", "drops", "rng", "transport", "wire", "tcp", "preface"]),
    ("preface", LEAVES),
    ("xdp", &["time", "drops", "stats", "rng", "prefetch", "transport", "lb", "wire", "splice"]),
    ("host", LEAVES),
    ("log_limit", &[]),
    ("worker", &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp", "log_limit"]),
    ("app", &["time", "drops", "config", "tcp", "stack", "worker", "rng", "wire", "log_limit"]),
    ("proxy", &["time", "tcp", "splice", "stack", "worker", "app"]),
    ("telemetry", &["time", "drops", "stats", "wire", "tcp", "xdp", "host", "worker", "log_limit"]),
    (
        "runtime",
        &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp", "host", "worker", "telemetry"],
    ),
    (
        "server",
        &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp", "host", "worker", "app", "runtime"],
    ),
    ("aio", &["time", "stats", "tcp", "stack", "worker", "runtime", "server", "log_limit"]),
    (
        "balancer",
        &[
            "time",
            "transport",
            "rng",
            "wire",
            "config",
            "tcp",
            "preface",
            "lb",
            "stack",
            "xdp",
            "host",
            "worker",
            "proxy",
            "runtime",
        ],
    ),
    ("capture", &["wire", "telemetry", "worker"]),
    ("bpf", &["rng", "xdp"]),
    ("prefix", &[]),
    ("backend", &["rng", "host", "bpf", "xdp", "prefix"]),
    ("relay", &["time", "impair", "xdp", "host", "bpf", "log_limit"]),
    ("lab", &["host", "impair", "relay"]),
    ("flood", &["rng", "wire", "xdp", "host", "bpf", "lab"]),
    ("doctor", &["host", "xdp"]),
    ("top", &[]),
    ("lb_file", &["time", "rng", "transport", "wire", "lb", "host", "prefix"]),
    ("control", &["telemetry", "log_limit"]),
    ("show", &["log_limit", "stats", "time", "drops", "tcp", "stack", "xdp", "worker", "runtime", "control", "top"]),
    ("lb_run", LB_RUN),
    ("load", &["time", "config", "tcp", "stack", "wire", "host", "worker", "runtime", "server"]),
    ("demo", DEMO),
    ("bench", &["lb", "stack", "app", "host", "bpf", "lab", "runtime", "server", "xdp", "flood", "lb_run"]),
];
/// Folders under `src/` that hold the rooms of a crate of their own.
const CRATES: &[&str] = &["core", "program"];
const DEMO: &[&str] =
    &["bench", "tcp", "config", "host", "lab", "runtime", "server", "stack", "app", "telemetry", "capture", "worker"];
const LB_RUN: &[&str] = &[
    "time",
    "drops",
    "stats",
    "wire",
    "lb",
    "xdp",
    "worker",
    "telemetry",
    "runtime",
    "balancer",
    "lb_file",
    "control",
];
const LEAVES: &[&str] = &["time", "drops", "stats", "rng", "prefetch", "transport"];
/// Rooms below the worker, which take time as an argument. `xdp` may wait for the kernel, so it has a clock of its own.
const CLOCKLESS: &[&str] = &["wire", "splice", "tcp", "stack", "app", "impair", "lb", "preface"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "thread::sleep"];

const MAX_FILE_LINES: usize = 520;
/// Of a file with tests: conversations are long, and nobody has to keep all of them in mind.
const MAX_TEST_LINES: usize = 620;
const MAX_FUNCTION_LINES: usize = 70;

/// Left-over markers, put together so that this file does not contain them.
fn markers() -> Vec<String> {
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"), ("todo", "!("), ("unimplemented", "!("), ("#[ig", "nore")]
        .iter()
        .map(|(start, end)| format!("{start}{end}"))
        .collect()
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The room a file under `src/` belongs to: the folder, or file, below the crate's.
    fn room(&self) -> Option<String> {
        let inside = self.path.strip_prefix("src").ok()?;
        let inside = CRATES.iter().find_map(|name| inside.strip_prefix(name).ok()).unwrap_or(inside);
        let first = inside.iter().next()?.to_str()?;
        Some(first.trim_end_matches(".rs").to_owned())
    }

    fn is_test(&self) -> bool {
        self.path.iter().any(|part| part == "tests" || part == "tests.rs") || self.path.ends_with("tests.rs")
    }

    /// The lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| {
            let line = line.trim_start();
            !line.starts_with("//")
        })
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(Path::new(folder), &mut found);
    }
    assert!(!found.is_empty(), "there are sources to look at");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|kind| ["rs", "c", "h"].iter().any(|known| kind == *known)) {
            let text = fs::read_to_string(&path).expect("a readable file");
            found.push(Source { path, text });
        }
    }
}

fn assert_none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Names of the rooms that a line imports: `crate::room`, also in a nested `use crate::{...}`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let known: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut found = Vec::new();
    let mut nested = false;
    for (number, line) in source.code() {
        if line.starts_with("use crate::{") {
            nested = !line.ends_with(';');
        } else if nested && line.starts_with('}') {
            nested = false;
        }
        let top_level = nested.then(|| line.strip_prefix("    ")).flatten().filter(|rest| !rest.starts_with(' '));
        let after_crate = line.split("crate::").skip(1);
        let one_line = line.strip_prefix("use crate::{").into_iter().flat_map(|rest| rest.split([',', '{']));
        for piece in after_crate.chain(top_level).chain(one_line.map(str::trim)) {
            let name: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_path = piece[name.len()..].starts_with("::") || piece[name.len()..].starts_with([',', ';', '}']);
            if known.contains(&name.as_str()) && is_path {
                found.push((number, name));
            }
        }
    }
    found
}

#[test]
fn imports_go_down_the_house_only() {
    let mut offences = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let Some(room) = source.room() else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else { continue };
        for (number, import) in imports(source) {
            if import != room && !allowed.contains(&import.as_str()) {
                offences.push(format!("{}:{number} imports {import}", source.path.display()));
            }
        }
    }
    assert_none("a room imports only from rooms below it", offences);
}

#[test]
fn every_room_is_on_the_plan() {
    let sources = sources(&["src"]);
    let unknown = sources.iter().filter_map(Source::room).filter(|room| {
        !["lib", "main", "build", "cli", "examples"].contains(&room.as_str())
            && ROOMS.iter().all(|(name, _)| name != room)
    });
    assert_none("tests/tidy.rs knows every room", unknown.collect());
}

/// Cargo finds tests and benchmarks by itself only where there is one crate. What stands in no manifest is never run.
#[test]
fn every_test_and_benchmark_is_in_one_manifest() {
    let manifests = ["Cargo.toml", "src/core/Cargo.toml", "src/program/Cargo.toml"]
        .map(|path| fs::read_to_string(path).expect("a manifest"))
        .map(|text| text.split("\n[").map(str::to_owned).collect::<Vec<_>>())
        .concat();
    let names = |folder: &str| {
        let entries = fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path());
        entries
            .filter(|path| path.extension().is_some_and(|kind| kind == "rs") || path.join("main.rs").exists())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let mut offences = Vec::new();
    for (kind, folder) in [("[test]]", "tests"), ("[bench]]", "benches")] {
        for name in names(folder) {
            let line = format!("name = \"{name}\"");
            let listed =
                manifests.iter().filter(|part| part.starts_with(kind) && part.lines().any(|l| l == line)).count();
            if listed != 1 {
                offences.push(format!("{folder}/{name} is in {listed}"));
            }
        }
    }
    assert_none("each test and benchmark is listed in one Cargo.toml", offences);
}

#[test]
fn nobody_below_the_worker_reads_a_clock() {
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        if source.room().is_none_or(|room| !CLOCKLESS.contains(&room.as_str())) {
            continue;
        }
        for (number, line) in source.code() {
            if CLOCKS.iter().any(|clock| line.contains(clock)) {
                offences.push(format!("{}:{number}", source.path.display()));
            }
        }
    }
    assert_none("time is an argument", offences);
}

/// Files outside `src/xdp` with `unsafe` code: what a CPU can do has to be asked before a function compiled for it
/// is called, and a prefetch takes an address.
const UNSAFE_FILES: &[&str] = &["src/core/prefetch.rs", "src/core/wire/checksum/sum.rs"];

#[test]
fn unsafe_lives_in_the_xdp_room() {
    let mut offences = Vec::new();
    for source in sources(&["src", "examples"]) {
        if source.room().as_deref() == Some("xdp") || UNSAFE_FILES.iter().any(|file| source.path.ends_with(file)) {
            continue;
        }
        for (number, line) in source.code() {
            if ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|form| line.contains(form)) {
                offences.push(format!("{}:{number}", source.path.display()));
            }
        }
    }
    assert_none("unsafe code is confined to src/xdp and UNSAFE_FILES", offences);
}

#[test]
fn files_and_functions_are_short_enough_to_read() {
    let mut offences = Vec::new();
    for source in sources(&["src", "bpf", "tests", "examples"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        let most = if source.is_test() { MAX_TEST_LINES } else { MAX_FILE_LINES };
        if lines.len() > most {
            offences.push(format!("{} has {} lines", source.path.display(), lines.len()));
        }
        let mut open: Option<(usize, usize)> = None;
        for (index, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts = line.trim_start();
            let is_function = starts.starts_with("fn ") || starts.starts_with("pub") && line.contains(" fn ");
            if open.is_none() && is_function && source.path.extension().is_some_and(|kind| kind == "rs") {
                open = Some((index, indent));
            }
            if let Some((start, at)) = open
                && indent == at
                && (starts.starts_with('}') || (index == start && starts.ends_with('}')))
            {
                if index - start > MAX_FUNCTION_LINES {
                    offences.push(format!("{}:{} takes {} lines", source.path.display(), start + 1, index - start));
                }
                open = None;
            }
        }
    }
    assert_none(
        &format!("at most {MAX_FILE_LINES} lines a file, {MAX_TEST_LINES} of tests, {MAX_FUNCTION_LINES} a function"),
        offences,
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let markers = markers();
    let mut offences = Vec::new();
    for source in sources(&["src", "bpf", "tests", "examples", "benches"]) {
        for (index, line) in source.text.lines().enumerate() {
            if markers.iter().any(|marker| line.contains(marker.as_str())) {
                offences.push(format!("{}:{}", source.path.display(), index + 1));
            }
        }
    }
    assert_none("no markers of unfinished work", offences);
}

#[test]
fn wire_bytes_never_reach_an_unwrap() {
    let mut offences = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        if source
            .room()
            .is_none_or(|room| !["wire", "preface", "tcp", "stack", "worker", "xdp", "app"].contains(&room.as_str()))
        {
            continue;
        }
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if line.contains(".unwrap()") {
                offences.push(format!("{}:{}", source.path.display(), index + 1));
            }
        }
    }
    assert_none("a refusal is counted, not unwrapped", offences);
}

/// A test that cannot run here passes; whoever reads on would take it for one that ran.
#[test]
fn a_test_that_needs_rights_says_so_where_it_has_none() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests"]).iter().filter(|source| source.is_test() || source.room().is_none()) {
        for (number, line) in source.code().filter(|(_, line)| line.contains("geteuid(")) {
            let next = source.text.lines().skip(number).take(2).collect::<String>();
            if !["skip(", "SKIPPED: "].iter().any(|way| next.contains(way)) {
                offences.push(format!("{}:{number} asks {}", source.path.display(), line.trim()));
            }
        }
    }
    assert_none("a test asks `is_root`, or says \"SKIPPED: why\" itself", offences);
}

/// Files that say how tests with random cases are run.
const CASES: &[&str] = &["src/core/rng.rs", "src/xdp/cases.rs", "tests/common/pair.rs"];

/// What is wrong with how a file runs tests with random cases, by line: without a seed of its own such a test may fail for whoever has
/// changed nothing.
fn unrepeatable(source: &Source) -> Vec<usize> {
    let code: Vec<_> = source.code().collect();
    let is_wrong = |index: usize, line: &str| {
        let begins = line.trim_start().starts_with("proptest!");
        let config = code.get(index + 1).map_or("", |(_, next)| next.trim_start());
        let is_told = config.starts_with("#![proptest_config(") && says(config, "cases(");
        begins && !is_told
            || says(line, "ProptestConfig")
            || says(line, "TestRunner::")
            || says(line, "test_runner::Config")
    };
    let lines = code.iter().enumerate().filter(|(index, (_, line))| is_wrong(*index, line));
    lines.map(|(_, (number, _))| *number).collect()
}

#[test]
fn random_tests_have_the_same_cases_in_every_run() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests", "examples", "benches"]) {
        if source.path.ends_with("tests/tidy.rs") || CASES.iter().any(|file| source.path.ends_with(file)) {
            continue;
        }
        offences.extend(unrepeatable(&source).iter().map(|number| format!("{}:{number}", source.path.display())));
    }
    assert_none("a test with random cases takes its configuration from `cases`, or its runner from `runner`", offences);

    let of = |text: &str| unrepeatable(&Source { path: PathBuf::new(), text: text.to_owned() });
    assert_eq!(of("proptest! {\n    #[test]\n"), [1]);
    assert_eq!(of("\nproptest!(|(number: u32)| {\n});\n"), [2]);
    assert_eq!(of("proptest! {\n    #![proptest_config(ProptestConfig::with_cases(9))]\n"), [1, 2]);
    assert_eq!(of("let runner = TestRunner::default();\n"), [1]);
    assert_eq!(of("proptest! {\n    // Few.\n    #![proptest_config(cases(9))]\n"), []);
}

/// By way of what the test harness makes of it: the test runs itself, and skips itself there.
#[test]
fn tests_that_are_skipped_are_counted() {
    const ASIDE: &str = "XSKIP_TIDY_ASIDE";
    if env::var_os(ASIDE).is_some() {
        skip("only to be counted");
        return skip("nor is this");
    }
    let count = |arguments: &[&str], aside: bool, ci: &str| {
        let mut tests = Command::new(env::current_exe().expect("this file"))
            .args(arguments)
            .arg("--show-output")
            .envs(aside.then_some((ASIDE, "yes")))
            .env_remove("CI")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests start");
        let said = tests.stdout.take().expect("a pipe");
        let counted =
            Command::new("scripts/skipped").env("CI", ci).stdin(said).output().expect("scripts/skipped starts");
        assert!(tests.wait().expect("the tests end").success());
        (String::from_utf8(counted.stdout).expect("text"), counted.status.success())
    };
    let one = ["--exact", "tests_that_are_skipped_are_counted"];
    let reasons = "1 test was skipped:\n     1  nor is this\n     1  only to be counted\n".to_owned();
    assert_eq!(count(&one, true, ""), (reasons.clone(), true));
    assert_eq!(count(&one, true, "true"), (reasons, false));
    let none = ["--exact", "nothing_is_left_unfinished"];
    assert_eq!(count(&none, false, "true"), ("no test was skipped\n".to_owned(), true));
}

/// Names of before: as CHANGELOG.md maps it to that of now, what a line of code that still has it says, and below which path.
const FORMER_NAMES: &[(&str, &str, &str)] = &[
    ("server::ServerError", "ServerError", ""),
    ("server::ServerReport", "ServerReport", ""),
    ("server::Running", "server::Running", ""),
    ("server::Notice", "server::Notice", ""),
    ("server::Cookies", "server::Cookies", ""),
    ("Running::setup", ".setup()", ""),
    ("worker::Report::queue", "report.queue", ""),
    ("worker::Report::queue_statistics", "report.queue_statistics", ""),
    ("worker::Report::frames", "report.frames", ""),
    ("server::Seat", "Seat", ""),
    ("worker::Control", "worker::Control", ""),
    ("xskip::lab", "xskip::lab", ""),
    ("xskip::relay", "xskip::relay", ""),
    ("xskip::flood", "xskip::flood", ""),
    ("xskip::doctor", "xskip::doctor", ""),
    ("xskip::load", "xskip::load", ""),
    ("xskip::bench", "xskip::bench", ""),
    ("xskip::demo", "xskip::demo", ""),
    ("telemetry::Capture", "telemetry::Capture", ""),
    ("telemetry::CaptureError", "telemetry::CaptureError", ""),
    ("telemetry::CaptureSummary", "telemetry::CaptureSummary", ""),
    ("xdp::Flood", "xdp::FloodProgram", ""),
    ("xdp::Reflector", "xdp::Reflector", ""),
    ("xdp::RelayProgram", "xdp::RelayProgram", ""),
    ("Event::Opened", "Event::Opened", ""),
    ("Event::Trouble", "Event::Trouble", ""),
    ("Trouble", "Trouble", ""),
    ("Service::troubled", "fn troubled", ""),
    ("Stream::peer", "fn peer", "src/core/stack/stream.rs"),
    ("Stream::local", "fn local", "src/core/stack/stream.rs"),
    ("Stream::set_no_delay", "set_no_delay", ""),
    ("Stream::finish", "fn finish", "src/core/stack/stream.rs"),
    ("Stream::linger", "fn linger", "src/core/stack/stream.rs"),
    ("Stream::forward", "fn forward", "src/core/stack/stream.rs"),
    ("Stream::writable", "fn writable", "src/core/stack/stream.rs"),
    ("Application::handle", "fn handle", "src/worker/application.rs"),
    ("Application::tend", "tend", ""),
    ("Application::drain", "fn drain", "src/worker/application.rs"),
    ("StackConfig::reports", "reports:", "src/core/config.rs"),
    ("TcpConfig::r1", "r1:", "src/core/config.rs"),
    ("HandOff::pass_on", "pass_on", "src/worker"),
    ("Guard::list", "fn list", "src/xdp/guard.rs"),
    ("GuardedListener", "GuardedListener", ""),
    ("Guard::guesses", "guesses", "src/xdp"),
    ("Control::guesses", "guesses", "src/worker"),
    ("ProgramOptions::listeners", "listeners:", "src/xdp/program.rs"),
    ("MAX_SAME_PORT", "MAX_SAME_PORT", ""),
    ("ServerError::TooManyAddresses", "RuntimeError::TooManyAddresses", ""),
    ("tcp::connection::Handshake", "connection::Handshake", ""),
    ("tcp::connection::MaxSegment", "connection::MaxSegment", ""),
    ("tcp::connection::mss_for", "connection::mss_for", ""),
    ("tcp::cookie::Offer", "cookie::Offer", ""),
    ("tcp::Connection::rest", "fn rest", "src/core/tcp"),
    ("tcp::Connection::wake", "fn wake", "src/core/tcp"),
    ("tcp::Connection::set_way", "set_way", "src/core/tcp"),
    ("tcp::Connection::has_way", "has_way", "src/core/tcp"),
    ("tcp::Signals::TROUBLED", "TROUBLED", ""),
    ("tcp::Signals::OTHER_WAY", "OTHER_WAY", ""),
    ("tcp::timestamps::Clocks", "Clocks", ""),
    ("wire::Complaint", "Complaint", ""),
    ("wire::Refused", "struct Refused", "src/core/wire"),
    ("bench::contender::Standing", "Standing", ""),
    ("bench::scenario::Lead", "Lead", "src/program/bench"),
    ("bench::scenario::Base", "Base", "src/program/bench"),
    ("Scenario::leads", ".leads", ""),
    ("Scenario::bases", ".bases", ""),
    ("stack::FlowWatch", "FlowWatch", ""),
    ("stack::FlowName", "FlowName", ""),
    ("FlowWatch::closes_soon", "closes_soon", ""),
    ("Stack::watch_flows", "watch_flows", ""),
    ("tcp::Connection::finish", "fn finish", "src/core/tcp/write.rs"),
    ("tcp::Connection::linger", "fn linger", "src/core/tcp"),
    ("tcp::Connection::heed_handshake", "heed_handshake", ""),
    ("tcp::Passage", "Passage", ""),
    // Words of the house that were nobody else's.
    ("", "take_report", ""),
    ("", "climb", ""),
    ("", "next_hop::", ""),
    ("", "trouble::", ""),
    ("", ".complain(now", ""),
    ("", ".settle(now", ""),
    ("", ".conclude(", ""),
    ("", "Untold", ""),
    ("", "lay_down(", ""),
    ("", ".way_to(", ""),
    ("", "set_way(", ""),
    ("", "look_for_another_way", ""),
    ("", "heed_path_mtu", ""),
    ("", ".forgive(", ""),
    ("", ".lose_all(", ""),
    ("", "now: Instant, config: &TcpConfig", ""),
];

/// Whether code has this word, or these: not where they begin or end within another.
fn says(line: &str, words: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(words).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + words.len()..].chars().next());
        let (first, last) = (words.chars().next(), words.chars().next_back());
        let is_cut =
            |outer: Option<char>, inner: Option<char>| outer.is_some_and(is_inside) && inner.is_some_and(is_inside);
        !is_cut(before, first) && !is_cut(after, last)
    })
}

#[test]
fn nothing_has_a_name_of_before() {
    let mut offences = Vec::new();
    for source in sources(&["src", "bpf", "examples", "benches", "tests"]) {
        if source.path.ends_with("tests/tidy.rs") {
            continue;
        }
        let looked_for: Vec<_> = FORMER_NAMES
            .iter()
            .filter(|(_, words, below)| source.path.starts_with(below) && source.text.contains(words))
            .collect();
        for (number, line) in source.code() {
            if let Some((_, words, _)) = looked_for.iter().find(|(_, words, _)| says(line, words)) {
                offences.push(format!("{}:{number} says {words}", source.path.display()));
            }
        }
    }
    assert_none("names that have gone are gone", offences);
}

/// What CHANGELOG.md says has another name now, or is gone: `a::{b, c}` is two names. What stands there with other arguments has the
/// name that it had.
fn renamed() -> Vec<String> {
    let text = fs::read_to_string("CHANGELOG.md").expect("the changelog");
    let table =
        text.split("### Changed: names").nth(1).expect("a map of names").split("\n### ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let mut names = Vec::new();
    for (before, _) in rows.filter(|(before, now)| before.starts_with('`') && !now.starts_with("with ")) {
        for path in before.split('`').skip(1).step_by(2) {
            let (room, items) = path.split_once("::{").unwrap_or((path, ""));
            let items = items.trim_end_matches('}').split(", ").map(|item| item.trim_end_matches('…'));
            if path == room {
                names.push(path.to_owned());
            }
            names.extend(items.filter(|item| !item.is_empty()).map(|item| format!("{room}::{item}")));
        }
    }
    assert!(names.len() > 50, "the map is read: {names:?}");
    names
}

#[test]
fn every_name_of_before_is_looked_for() {
    let forgotten = renamed().into_iter().filter(|name| FORMER_NAMES.iter().all(|(known, ..)| known != name)).collect();
    assert_none("tests/tidy.rs looks for each name that CHANGELOG.md says is another now", forgotten);
}

#[test]
fn a_name_is_a_whole_word() {
    for line in ["seat: Seat,", "Seat", "(Seat)", "x::Seat::new()"] {
        assert!(says(line, "Seat"), "{line}");
    }
    for line in ["Seats", "mySeat", "Seat_", "seat"] {
        assert!(!says(line, "Seat"), "{line}");
    }
    assert!(says("x.setup()?", ".setup()") && !says("x.setup(1)", ".setup()"));
}

/// On a page of documentation each item stands alone, and "the same" says nothing there.
#[test]
fn every_doc_comment_stands_alone() {
    let mut offences = Vec::new();
    for source in sources(&["src", "bpf", "tests", "examples", "benches", "fuzz"]) {
        let mut in_doc = false;
        for (index, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            if text.is_some_and(|text| !in_doc && text.trim_start().starts_with("The same")) {
                offences.push(format!("{}:{}", source.path.display(), index + 1));
            }
            in_doc = text.is_some();
        }
    }
    assert_none("no doc comment begins by \"The same\"", offences);
}
