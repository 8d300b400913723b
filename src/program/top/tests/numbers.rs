//! Numbers and addresses in columns.

use crate::top::text::{address, count, cut, lasted, octets, short, time};
use std::time::Duration;

#[test]
fn a_number_takes_five_columns_at_most() {
    for (number, expected) in [
        (0.0, "0"),
        (f64::NAN, "0"),
        (-3.0, "0"),
        (f64::INFINITY, "0"),
        (0.04, "0"),
        (0.25, "0.2"),
        (3.0, "3"),
        (3.04, "3.0"),
        (9.96, "10"),
        (12.4, "12"),
        (999.4, "999"),
        (999.6, "1.0k"),
        (1_234.0, "1.2k"),
        (345_678.0, "346k"),
        (999_600.0, "1.0M"),
        (1.2e18, "1200P"),
    ] {
        assert_eq!(short(number), expected, "{number}");
    }
    assert_eq!(count(u64::MAX), "18447P", "more than there are octets");
    assert!((0..64).all(|bits| count(1 << bits).chars().count() <= 5 || bits > 60));
}

#[test]
fn a_time_is_told_in_the_unit_that_suits_it() {
    for (micros, expected) in
        [(0, "0 µs"), (12, "12 µs"), (1_000, "1 ms"), (1_250, "1.2 ms"), (345_000, "345 ms"), (2_500_000, "2.5 s")]
    {
        assert_eq!(time(Duration::from_micros(micros)), expected);
    }
    assert_eq!((octets(0), octets(25_000_000)), ("0 B".to_owned(), "25 MB".to_owned()));
    assert_eq!(lasted(Duration::from_secs(59)), "0:00:59");
    assert_eq!(lasted(Duration::from_secs(86_400 * 3 + 3_600 * 4 + 65)), "3d 4:01:05");
}

#[test]
fn an_address_that_is_too_long_keeps_its_port() {
    let long = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535".parse().unwrap();
    assert_eq!(address(long, 47), "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535");
    for columns in 0..47 {
        let text = address(long, columns);
        assert!(text.ends_with(":65535") && text.chars().count() <= columns.max(7), "{columns} {text}");
    }
    assert_eq!(address("198.18.0.1:80".parse().unwrap(), 13), "198.18.0.1:80");
    assert_eq!(
        (cut("connections", 5), cut("connections", 0), cut("µµµ", 3)),
        ("conn…".to_owned(), String::new(), "µµµ".to_owned())
    );
}
