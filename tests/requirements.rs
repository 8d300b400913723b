//! docs/rfc9293.md against the tests: no MUST or SHOULD without a proof, and nothing named that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// One row: its level, and what stands in the last column.
type Rows = BTreeMap<String, (String, String)>;

fn rows() -> Rows {
    let page = fs::read_to_string("docs/rfc9293.md").expect("the page");
    let mut rows = Rows::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, level, _, proof] = cells[..] else { panic!("four columns: {line}") };
        if id.contains('-') && !id.starts_with("--") && !id.starts_with('*') {
            let known = rows.insert(id.to_owned(), (level.to_owned(), proof.to_owned()));
            assert!(known.is_none(), "{id} has two rows");
        }
    }
    assert!(rows.len() >= 129, "the page has all of RFC 9293: {}", rows.len());
    rows
}

/// The names of all tests, wherever they are.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    ["src", "tests"].iter().for_each(|folder| collect(Path::new(folder), &mut names));
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("a readable file");
            let mut lines = text.lines().skip_while(|line| line.trim() != "#[test]").peekable();
            while lines.next().is_some() {
                let function = lines.by_ref().find_map(|line| line.trim().strip_prefix("fn "));
                names.extend(function.and_then(|rest| rest.split('(').next()).map(str::to_owned));
                while lines.peek().is_some_and(|line| line.trim() != "#[test]") {
                    lines.next();
                }
            }
        }
    }
}

/// Names in backquotes.
fn named(proof: &str) -> Vec<&str> {
    proof.split('`').skip(1).step_by(2).filter(|name| !name.contains(':')).collect()
}

/// Whether a test is named after a row: `must_13_...`, or `..._and_must_13_...`.
fn is_named_after(test: &str, id: &str) -> bool {
    let id = id.to_lowercase().replace('-', "_");
    format!("_{test}_").contains(&format!("_{id}_"))
}

/// Whether a row names a test, or refers to one that does: `As MUST-51: ...`; or names the method whose documentation tells it to those
/// whose rule it is. Words alone prove nothing, however many they are.
fn is_proven(rows: &Rows, id: &str) -> bool {
    let has_test = |id: &str| rows.get(id).is_some_and(|(_, proof)| !named(proof).is_empty());
    let referred = rows[id].1.strip_prefix("As ").and_then(|rest| rest.split_once(": "));
    let told = rows[id].1.strip_prefix("A rule for applications: `Stream::").and_then(|rest| rest.split_once('`'));
    has_test(id)
        || referred.is_some_and(|(other, why)| has_test(other) && !why.is_empty())
        || told.is_some_and(|(method, _)| documentation_of(method).contains("RFC "))
}

/// What stands above a method of `Stream`.
fn documentation_of(method: &str) -> String {
    let text = fs::read_to_string("src/core/stack/stream.rs").expect("the file of `Stream`");
    let above = text.split_once(&format!("    pub fn {method}(")).map_or("", |(above, _)| above);
    let lines: Vec<&str> =
        above.trim_end().lines().rev().take_while(|line| line.trim_start().starts_with("///")).collect();
    lines.concat()
}

#[test]
fn every_must_and_should_is_proven() {
    let rows = rows();
    let empty: Vec<_> =
        rows.iter().filter(|(id, (level, _))| !level.starts_with("MAY") && !is_proven(&rows, id)).collect();
    assert!(empty.is_empty(), "no test, nor \"As ROW: why\" of a row that has one: {empty:?}");
}

#[test]
fn words_are_no_proof() {
    let proofs = [
        "`must_1_a`, says a test.",
        "As MUST-1: alike.",
        "As MUST-1: ",
        "As MUST-2: alike.",
        "As MUST-9: alike.",
        "Not done, for twenty good reasons.",
        "A rule for applications: `Stream::write_urgent` says so.",
        "A rule for applications: `Stream::close_kindly` says so.",
    ];
    let rows: Rows =
        (1..).zip(proofs).map(|(n, proof)| (format!("MUST-{n}"), ("MUST".to_owned(), proof.to_owned()))).collect();
    let proven: Vec<_> = rows.keys().filter(|id| is_proven(&rows, id)).collect();
    assert_eq!(proven, ["MUST-1", "MUST-2", "MUST-7"]);
}

#[test]
fn every_test_that_is_named_exists() {
    let tests = tests();
    let rows = rows();
    let unknown: Vec<_> =
        rows.values().flat_map(|(_, proof)| named(proof)).filter(|name| !tests.contains(*name)).collect();
    assert!(unknown.is_empty(), "no such test: {unknown:?}");
}

#[test]
fn every_test_named_after_a_row_is_in_it() {
    let tests = tests();
    let mut forgotten = Vec::new();
    for (id, (_, proof)) in rows() {
        let named = named(&proof);
        forgotten
            .extend(tests.iter().filter(|test| is_named_after(test, &id) && !named.contains(&test.as_str())).cloned());
    }
    assert!(forgotten.is_empty(), "not in docs/rfc9293.md: {forgotten:?}");
}
