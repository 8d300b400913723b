//! What is a server's name, and what is none.

use crate::preface::{NotName, ServerName};
use std::collections::HashMap;

#[test]
fn names_are_of_the_dns() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    for (said, name) in [
        ("example.org", "example.org"),
        ("WWW.Example.ORG", "www.example.org"),
        ("example.org.", "example.org"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("my_host.example", "my_host.example"),
        ("r3---sn.example", "r3---sn.example"),
        ("1.2.3.example", "1.2.3.example"),
        ("3com.com", "3com.com"),
        (&longest, &longest),
    ] {
        assert_eq!(said.parse::<ServerName>().map(|name| name.to_string()), Ok(name.to_owned()));
    }
    assert_eq!(longest.len(), 253);
}

#[test]
fn anything_else_is_no_name() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long = format!("{}a", "ab.".repeat(84) + "b");
    let long = format!("{long}.{long}");
    for said in [
        "",
        ".",
        "..",
        ".example",
        "a..b",
        "example.org..",
        "-a.example",
        "a-.example",
        "a b",
        "a/b",
        "*.example",
        "a\0b",
        "bücher.example",
        "example.1",
        "42",
        "1.2.3",
        "example.org:443",
        &long_label,
        &long,
    ] {
        assert_eq!(said.parse::<ServerName>(), Err(NotName::NotDns), "{said:?}");
    }
    for said in ["192.0.2.1", "192.0.2.1.", "2001:db8::1", "[2001:db8::1]", "::ffff:192.0.2.1"] {
        assert_eq!(said.parse::<ServerName>(), Err(NotName::Address), "{said:?}");
    }
    assert_eq!(ServerName::new(b"\xff\xfe.example"), Err(NotName::NotDns));
}

#[test]
fn a_name_is_found_by_its_text_and_takes_no_memory() {
    let name: ServerName = "WWW.example.org".parse().unwrap();
    let table = HashMap::from([(name.clone(), 1)]);
    assert_eq!((table.get("www.example.org"), table.get(&name)), (Some(&1), Some(&1)));
    assert_eq!(format!("{name:>16}{name:?}"), " www.example.org\"www.example.org\"");
    assert_eq!(size_of::<ServerName>(), 254);
}
