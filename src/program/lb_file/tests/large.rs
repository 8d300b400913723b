//! Large files, and files of chance.

use super::{GOOD, good, read};
use crate::{lb::MAX_SERVICES, rng::splitmix64};
use std::fmt::Write as _;

fn service(text: &mut String, index: usize, backends: impl Iterator<Item = usize>) {
    let [_, _, high, low] = (index as u32).to_be_bytes();
    write!(text, "[[service]]\nname = \"s{index}\"\naddress = \"198.19.{high}.{low}:80\"\n").unwrap();
    for backend in backends {
        let [_, _, high, low] = (backend as u32).to_be_bytes();
        write!(text, "[[service.backend]]\nname = \"b{backend}\"\naddress = \"198.18.{high}.{low}\"\n").unwrap();
    }
}

#[test]
fn ten_thousand_services_in_one_file() {
    let mut text = "interface = \"eth0\"\n".to_owned();
    (1..=10_000).for_each(|index| service(&mut text, index, 1..=2));
    let file = good(&text);
    assert_eq!(file.services.len(), 10_000);
    // And all of them wrong.
    let faults = read(&text.replace("address = \"198.19.", "address = \"198.18.")).unwrap_err();
    assert!(faults.count() > 2, "{faults}");
    let faults = read(&text.replace(":80\"", "\"")).unwrap_err();
    assert_eq!(faults.count(), 10_000);
    (10_001..=MAX_SERVICES + 1).for_each(|index| service(&mut text, index, 1..=2));
    let faults = read(&text).unwrap_err().to_string();
    let line = 2 + MAX_SERVICES * 9;
    assert!(faults.starts_with(&format!("lb.toml:{line}:1: 16385 services are more than 16384")), "{faults}");
}

#[test]
fn four_thousand_backends_in_one_service() {
    let mut text = "interface = \"eth0\"\n".to_owned();
    service(&mut text, 1, 1..=4_000);
    assert_eq!(good(&text).services[0].backends.len(), 4_000);
    (4_001..=4_097).for_each(|index| {
        let [_, _, high, low] = (index as u32).to_be_bytes();
        write!(text, "[[service.backend]]\nname = \"b{index}\"\naddress = \"198.18.{high}.{low}\"\n").unwrap();
    });
    let faults = read(&text).unwrap_err().to_string();
    assert!(faults.starts_with("lb.toml:2:1: service `s1` has 4097 backends, and 4096 is the most"), "{faults}");
    // As many errors as backends, each in its place.
    let same: String = text
        .lines()
        .map(|line| if line.starts_with("name = \"b") { "name = \"b\"\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let faults = read(&same).unwrap_err();
    let lines: Vec<usize> =
        faults.iter().filter(|it| it.what.starts_with("two backends")).map(|it| it.place.unwrap().0).collect();
    assert_eq!(lines, (0..4_096).map(|index| 9 + 3 * index).collect::<Vec<_>>());
}

/// Pieces of files, which make them no TOML more often than not.
const PIECES: &[&str] = &[
    "[[service]]\n",
    "[service.check]\n",
    "[[service.backend]]\n",
    "[service]\n",
    "name = ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\n",
    "\"\"\"",
    "# ",
    "\\u001b",
    "é\u{feff}",
    "\0",
    "rows = ",
];

/// Lines, which leave them TOML.
const LINES: &[&str] = &[
    "name = \"web\"",
    "address = \"[2001:2::80]:0\"",
    "address = \"198.18.0.80\"",
    "address = \"198.18.0.11:443\"",
    "mode = \"gue\"",
    "rows = 65536",
    "rows = -9_223_372_036_854_775_808",
    "weight = 0",
    "weight = 1e3",
    "state = \"off\"",
    "state = \"drain\"",
    "kind = \"none\"",
    "kind = \"tcp\"",
    "interval = \"10ms\"",
    "timeout = \"3s\"",
    "fragments = \"address\"",
    "protocol = \"udp\"",
    "interfaces = [\"eth0\", 7, []]",
    "service = 1",
    "check = {}",
    "backend = [[], {}]",
    "unhealthy_drain = \"1s\"",
    "[[service]]",
    "[service.check]",
    "[[service.backend]]",
    "[[service.check]]",
    "[service.backend]",
    "\"\" = 1979-05-27",
    "a.b.c = true",
];

/// What chance makes of the good file.
fn spoilt(mut draw: impl FnMut(usize) -> usize) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    for _ in 0..draw(4) {
        let (at, line) = (draw(lines.len()), LINES[draw(LINES.len())]);
        match draw(4) {
            0 => lines.insert(at, line),
            1 => lines[at] = line,
            2 => drop(lines.remove(at)),
            _ => lines.swap(at, draw(GOOD.lines().count()).min(at)),
        }
    }
    let mut text: Vec<char> = lines.join("\n").chars().collect();
    for _ in 0..draw(3) {
        let at = draw(text.len() + 1);
        let end = (at + draw(30)).min(text.len());
        let piece = PIECES[draw(PIECES.len())].chars();
        match draw(4) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end, piece)),
            2 => drop(text.splice(at..at, piece)),
            _ => text.truncate(at.max(1)),
        }
    }
    text.into_iter().collect()
}

/// Whatever a file says, it is taken or refused.
#[test]
fn no_text_makes_it_panic() {
    let mut seed = 15;
    let mut draw = |below: usize| {
        seed = splitmix64(seed);
        (seed % below as u64) as usize
    };
    let (mut taken, mut refused, mut no_toml) = (0, 0, 0);
    for _ in 0..10_000 {
        match read(&spoilt(&mut draw)) {
            Ok(file) => {
                taken += 1;
                assert!(!file.services.is_empty() && file.services.iter().all(|service| !service.backends.is_empty()));
            }
            Err(faults) if faults.to_string().contains("this is no TOML") => no_toml += 1,
            Err(faults) => {
                refused += 1;
                assert!(!faults.to_string().is_empty());
            }
        }
    }
    let of_each = [taken, refused, no_toml];
    assert!(of_each.iter().all(|&count| count > 500), "taken, refused, no TOML: {of_each:?} test one thing alone");
}
