//! docs/rfc9293.md against the tests: no MUST or SHOULD without a proof or a reason, and nothing named that is not there.

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

#[test]
fn every_must_and_should_is_proven_or_explained() {
    let empty: Vec<_> = rows()
        .into_iter()
        .filter(|(_, (level, proof))| !level.starts_with("MAY") && named(proof).is_empty() && proof.len() < 20)
        .map(|(id, _)| id)
        .collect();
    assert!(empty.is_empty(), "neither a test nor a reason: {empty:?}");
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
