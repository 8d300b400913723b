//! The command line by itself: what is typed, and what is refused before anything is touched.

mod interfaces;
mod numbers;

use super::Arguments;
use clap::{CommandFactory, Parser};

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_has_an_example_or_is_hidden() {
    let command = Arguments::command();
    let commands = command.get_subcommands().filter(|command| !command.has_subcommands());
    for command in commands {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(command.is_hide_set() || help.contains("sudo xskip"), "{}", command.get_name());
    }
}

#[test]
fn users_are_checked_where_they_are_typed() {
    for user in ["root", "0", "no such user", "4294967295:0", ""] {
        let typed = ["xskip", "serve", "--interface", "lo", "--user", user];
        let error = Arguments::try_parse_from(typed).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{user:?}");
    }
}

#[test]
fn weights_deadlines_and_backends_are_checked_where_they_are_typed() {
    let is_taken = |words: &[&str]| Arguments::try_parse_from([&["xskip", "lb"], words].concat()).is_ok();
    for weight in ["0", "100", "10000"] {
        assert!(is_taken(&["weight", "web/web-1", weight]), "{weight}");
    }
    for weight in ["10001", "4294967296", "-1", "", "1.5", "many"] {
        assert!(!is_taken(&["weight", "web/web-1", weight]), "{weight}");
    }
    for deadline in ["1s", "5m", "1.5m", "8760h"] {
        assert!(is_taken(&["drain", "web/web-1", "--deadline", deadline]), "{deadline}");
    }
    for deadline in ["0s", "999ms", "8761h", "5", "m", "-5m", "", "5d"] {
        assert!(!is_taken(&["drain", "web/web-1", "--deadline", deadline]), "{deadline}");
    }
    for backend in ["web", "web/", "/web-1", "a/b/c", ""] {
        assert!(!is_taken(&["serve", backend]), "{backend}");
    }
    for source in ["198.18.0.2", "198.18.0.2:65536", "host:80", ""] {
        let said = Arguments::try_parse_from(["xskip", "lb", "explain", source, "web"]).unwrap_err().to_string();
        assert!(said.contains("write an address and a port, such as 198.18.0.1:80"), "{said}");
    }
    assert!(is_taken(&["explain", "[2001:2::2]:5000", "web"]));
    assert!(!is_taken(&["status", "--config", "lb.toml", "--control", "socket"]), "either, or");
}
