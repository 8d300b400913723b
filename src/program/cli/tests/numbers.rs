//! Every number that can be typed, at and beyond the ends of what it may be.

use crate::cli::Arguments;
use clap::{Arg, Command, CommandFactory, Parser};
use std::collections::BTreeSet;

/// What else a command needs to be understood.
const NEEDED: &[(&str, &[&str])] = &[
    ("serve", &["--interface", "lo"]),
    ("show", &["connections"]),
    ("lb run", &["--config", "lb.toml"]),
    ("flood", &["--interface", "lo", "--target", "198.18.0.1:80"]),
    ("load", &["--interface", "lo", "--target", "198.18.0.1:80", "--mode", "keepalive"]),
];

/// An option and what it takes: what is just within its limits, and what is just beyond.
struct Number(&'static str, &'static [&'static str], &'static [&'static str]);

/// Lists take nothing at all for an empty one, and `0-3` for four numbers.
const LIST_OF_PORTS: (&[&str], &[&str]) = (&["", "0", "65535", "0-65535"], &["65536", "1-65536", "3-1"]);
const LIST_OF_QUEUES: (&[&str], &[&str]) = (&["", "0", "4294967295"], &["4294967296", "0-4294967295"]);
const LIST_OF_CORES: (&[&str], &[&str]) = (&["", "0", "1023"], &["1024", "4294967296", "0-1024"]);
const SECONDS: (&[&str], &[&str]) = (&["0", "0.5", "3153600000"], &["3153600001", "1e300", "NaN", "inf", "-0.1"]);
const BENCHED: (&[&str], &[&str]) = (&["0.001", "3000"], &["0", "3000.1", "NaN", "inf"]);

const NUMBERS: &[Number] = &[
    Number("serve --port", LIST_OF_PORTS.0, LIST_OF_PORTS.1),
    Number("serve --queues", LIST_OF_QUEUES.0, LIST_OF_QUEUES.1),
    Number("serve --cores", LIST_OF_CORES.0, LIST_OF_CORES.1),
    Number("serve --busy-poll", &["1", "1000000"], &["0", "1000001"]),
    Number("serve --frames", &["4", "16777216"], &["3", "16777217"]),
    Number("serve --syn-budget", &["1", "4294967295"], &["0", "4294967296"]),
    Number("serve --max-connections", &["1", "16777216"], &["0", "16777217"]),
    Number("serve --idle-timeout", &["0", "31536000"], &["31536001"]),
    Number("serve --keep-alive", &["1", "31536000"], &["0", "31536001"]),
    Number("serve --mss", &["88", "65535"], &["87", "65536"]),
    Number("serve --vlan", &["1", "4094"], &["0", "4095"]),
    Number("show --limit", &["1", "18446744073709551615"], &["0", "-1", "18446744073709551616"]),
    Number("serve --drain", &["0", "31536000"], &["31536001"]),
    Number("lb run --cores", LIST_OF_CORES.0, LIST_OF_CORES.1),
    Number("top --interval", &["0.1", "1", "60"], &["0", "0.099", "60.1", "NaN", "inf"]),
    Number("flood --rate", &["1", "100000000", "1_000", "max"], &["0", "100000001", "maximum"]),
    Number("flood --duration", &["0.001", "3600"], &["0", "3600.1", "NaN", "inf"]),
    Number("flood --source-port", &["1", "65535"], &["0", "65536"]),
    Number("flood --core", &["0", "1023"], &["1024", "4294967296"]),
    Number("flood --queue", &["0", "4294967295"], &["4294967296"]),
    Number("flood --seed", &["0", "18446744073709551615"], &["18446744073709551616"]),
    Number("load --addresses", &["1", "4294967295"], &["0", "4294967296"]),
    // What these may be depends on the mode, and no kernel is asked to say so.
    Number("load --connections", &["0", "4294967295"], &["4294967296"]),
    Number("load --half-open", &["0", "4294967295"], &["4294967296"]),
    Number("load --rate", &["0", "1000000000"], &["1000000001"]),
    Number("load --duration", SECONDS.0, SECONDS.1),
    Number("load --warmup", SECONDS.0, SECONDS.1),
    Number("load --ramp", SECONDS.0, SECONDS.1),
    Number("load --timeout", SECONDS.0, SECONDS.1),
    Number("load --mss", &["88", "65535"], &["87", "65536"]),
    Number("load --vlan", &["1", "4094"], &["0", "4095"]),
    Number("load --queues", LIST_OF_QUEUES.0, LIST_OF_QUEUES.1),
    Number("load --cores", LIST_OF_CORES.0, LIST_OF_CORES.1),
    Number("bench syn-flood --duration", BENCHED.0, BENCHED.1),
    Number("bench syn-flood --rounds", &["1", "1000"], &["0", "1001"]),
    Number("bench syn-flood --rate", &["1", "100000000", "max"], &["0", "100000001"]),
    Number("bench syn-flood --clients", &["1", "10000"], &["0", "10001"]),
    Number("bench lb --duration", BENCHED.0, BENCHED.1),
    Number("bench lb --rounds", &["1", "1000"], &["0", "1001"]),
    Number("bench lb --connections", &["1", "8000"], &["0", "8001"]),
    Number("bench lb --seed", &["0", "18446744073709551615"], &["18446744073709551616"]),
    Number("bench bulk --mtu", &["1280", "3498"], &["1279", "3499"]),
    Number("lab up --queues", &["1", "256"], &["0", "257"]),
    Number("lab up --mtu", &["1280", "65535"], &["1279", "65536"]),
];

/// The scenarios of `bench` that take the same numbers; how many connections, each says itself, before it begins.
const COMPARISONS: [&str; 5] = ["http", "connect-rate", "bulk", "latency", "idle-connections"];

/// Options whose value is a word, a name, an address or a path. An impairment's numbers, sizes and times are tested where they are
/// parsed, and what has a place instead of a name by itself.
const WORDS: &[&str] = &[
    "interface",
    "pins",
    "address",
    "shared",
    "answers_to",
    "connect",
    "gateway",
    "app",
    "require",
    "memory",
    "cookies",
    "cookie_master",
    "user",
    "give_up",
    "capture",
    "metrics",
    "target",
    "kind",
    "sources",
    "generator",
    "target_mac",
    "mode",
    "direction",
    "request",
    "json",
    "html",
    "contenders",
    "scenario",
    "screen",
    "state",
    "lab",
    "option",
    "name",
    "impair",
    "command",
    "config",
    "from",
    "vip",
    "hook",
    "control",
    "source",
    "service",
    "backend",
    "deadline",
    "weight",
    "list",
    "filter",
    "sort",
    "destination",
    "unhappy",
];

fn numbers() -> impl Iterator<Item = (String, &'static [&'static str], &'static [&'static str])> {
    let own = NUMBERS.iter().map(|&Number(option, within, beyond)| (option.to_owned(), within, beyond));
    let compared = COMPARISONS.into_iter().flat_map(|scenario| {
        [
            (format!("bench {scenario} --duration"), BENCHED.0, BENCHED.1),
            (format!("bench {scenario} --rounds"), &["1", "1000"][..], &["0", "1001"][..]),
            (format!("bench {scenario} --connections"), &["0", "4294967295"][..], &["4294967296"][..]),
        ]
    });
    own.chain(compared)
}

/// What comes of an option with a value, typed as two words and as one.
fn typed(option: &str, value: &str) -> [Result<Arguments, clap::Error>; 2] {
    let words: Vec<&str> = option.split(' ').collect();
    let (option, commands) = words.split_last().unwrap();
    let needed =
        NEEDED.iter().find(|(command, _)| *command == commands.join(" ")).map_or(&[][..], |(_, needed)| needed);
    let front = [&["xskip"][..], commands, needed].concat();
    let one = format!("{option}={value}");
    [[&front[..], &[option, value]].concat(), [&front[..], &[&one]].concat()].map(Arguments::try_parse_from)
}

#[track_caller]
fn refused(option: &str, value: &str) {
    for result in typed(option, value) {
        let error = result.map(|_| ()).expect_err(&format!("{option} {value:?}"));
        assert_eq!(error.exit_code(), 2, "{option} {value:?}");
        assert!(
            error.to_string().starts_with("error: ") && error.to_string().len() > 20,
            "{option} {value:?}: {error}"
        );
    }
}

#[test]
fn numbers_are_taken_within_their_limits() {
    for (option, within, _) in numbers() {
        for value in within {
            for result in typed(&option, value) {
                assert!(result.is_ok(), "{option} {value:?}: {}", result.unwrap_err());
            }
        }
    }
}

#[test]
fn numbers_are_refused_beyond_their_limits() {
    for (option, within, beyond) in numbers() {
        beyond.iter().for_each(|value| refused(&option, value));
        for value in
            ["-1", "18446744073709551616", "340282366920938463463374607431768211456", "many", "1,x", "0x10", "１"]
        {
            refused(&option, value);
        }
        if !within.contains(&"") {
            refused(&option, "");
        }
    }
}

/// A number that nobody has listed is a number that nobody has checked.
#[test]
fn every_option_is_a_listed_number_or_a_word() {
    fn visit(path: &str, command: &Command, found: &mut BTreeSet<String>) {
        let takes_value = |argument: &&Arg| argument.get_action().takes_values();
        let arguments = command.get_arguments().filter(takes_value).filter(|argument| {
            let is_word = WORDS.contains(&argument.get_id().as_str());
            !is_word && argument.get_id() != "help" && argument.get_id() != "version"
        });
        for argument in arguments {
            let name = argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"));
            found.insert(format!("{path} {name}").trim_start().to_owned());
        }
        for command in command.get_subcommands() {
            visit(format!("{path} {}", command.get_name()).trim_start(), command, found);
        }
    }
    let mut found = BTreeSet::new();
    visit("", &Arguments::command(), &mut found);
    let listed: BTreeSet<String> = numbers().map(|(option, _, _)| option).collect();
    assert_eq!(found, listed);
}
