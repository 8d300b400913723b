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
