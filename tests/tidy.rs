//! The repository tests its own style: who may import whom, where clocks and `unsafe` may be, how long things may get.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The rooms, each with the rooms it may import. Data move one way; so do imports. That none of `xskip-core` imports one of
/// `xskip`, and none of `xskip` one of the program, is the compiler's affair.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("drops", &[]),
    ("stats", &[]),
    ("rng", &[]),
    ("prefetch", &[]),
    ("wire", LEAVES),
    ("config", &["wire"]),
    ("tcp", &["time", "drops", "stats", "rng", "config", "wire"]),
    ("stack", &["time", "drops", "stats", "rng", "prefetch", "config", "wire", "tcp"]),
    ("impair", LEAVES),
    ("xdp", LEAVES),
    ("host", LEAVES),
    ("worker", &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp"]),
    ("app", &["time", "drops", "config", "tcp", "stack", "worker", "rng", "wire"]),
    ("telemetry", &["time", "drops", "stats", "wire", "tcp", "host", "worker"]),
    ("runtime", &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp", "host", "worker"]),
    (
        "server",
        &["time", "drops", "stats", "rng", "config", "wire", "tcp", "stack", "xdp", "host", "worker", "app", "runtime"],
    ),
    ("capture", &["telemetry", "worker"]),
    ("bpf", &["xdp"]),
    ("relay", &["time", "impair", "xdp", "host", "bpf"]),
    ("lab", &["host", "impair", "relay"]),
    ("flood", &["rng", "wire", "xdp", "host", "bpf", "lab"]),
    ("doctor", &["host", "xdp"]),
    ("load", &["time", "config", "tcp", "stack", "wire", "host", "worker", "runtime", "server"]),
    (
        "demo",
        &[
            "bench",
            "tcp",
            "config",
            "drops",
            "host",
            "lab",
            "runtime",
            "server",
            "stack",
            "app",
            "telemetry",
            "capture",
            "worker",
            "xdp",
        ],
    ),
    ("bench", &["stack", "app", "host", "bpf", "lab", "runtime", "server", "xdp", "flood"]),
];
/// Folders under `src/` that hold the rooms of a crate of their own.
const CRATES: &[&str] = &["core", "program"];
const LEAVES: &[&str] = &["time", "drops", "stats", "rng", "prefetch"];

/// Rooms below the worker, which take time as an argument. `xdp` may wait for the kernel, so it has a clock of its own.
const CLOCKLESS: &[&str] = &["wire", "tcp", "stack", "app", "impair"];
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
            nested = true;
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
        if source.room().is_none_or(|room| !["wire", "tcp", "stack", "worker", "xdp", "app"].contains(&room.as_str())) {
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

/// Public names of before, which CHANGELOG.md maps to those of now.
const FORMER_NAMES: &[&str] = &[
    "ServerError",
    "ServerReport",
    "GuardedListener",
    "set_no_delay(",
    "Event::Opened",
    "Event::Trouble",
    "Signals::TROUBLED",
    "take_report",
    "climb(",
    "Clocks::",
    "fn tend",
    ".tend(",
];

#[test]
fn nothing_has_a_name_of_before() {
    let mut offences = Vec::new();
    for source in sources(&["src", "bpf", "examples", "benches"]) {
        for (number, line) in source.code() {
            if let Some(name) = FORMER_NAMES.iter().find(|name| line.contains(*name)) {
                offences.push(format!("{}:{number} says {name}", source.path.display()));
            }
        }
    }
    assert_none("names that have gone are gone", offences);
}
