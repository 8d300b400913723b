//! Where nobody reads what is printed, programs in a pipe end quietly: no kernel of any kind is needed.

mod common;

use common::xskip;
use nix::sys::signal::Signal;
use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};

/// Commands that print a result, whatever the machine.
const PRINTING: &[&[&str]] = &[
    &["doctor"],
    &["doctor", "--json"],
    &["doctor", "--passive", "--interface", "no-such-link"],
    &["lab", "status", "no-such-lab"],
    &["lab", "status", "no-such-lab", "--json"],
    &["lab", "status", "--all", "--json"],
];

/// A pipe that nobody reads from.
fn broken_pipe() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn run(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> (ExitStatus, String) {
    let output = xskip(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_result_that_nobody_reads_ends_the_program_as_every_other_in_a_pipe() {
    for arguments in PRINTING {
        let (status, said) = run(arguments, broken_pipe(), Stdio::piped());
        assert_eq!((status.signal(), &*said), (Some(Signal::SIGPIPE as i32), ""), "{arguments:?}: {status}");
    }
}

#[test]
fn help_that_nobody_reads_is_no_failure() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let (status, said) = run(arguments, broken_pipe(), Stdio::piped());
        assert_eq!((status.code(), &*said), (Some(0), ""), "{arguments:?}: {status}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_in_a_sentence() {
    for arguments in PRINTING {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (status, said) = run(arguments, full.into(), Stdio::piped());
        assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("xskip: the output could not be written: No space left"), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_said_to_nobody_changes_no_exit_status() {
    let refused: &[(&[&str], i32)] = &[
        (&["serve", "--interface", "lo", "--address", "198.18.0.1/24"], 2),
        (&["serve", "--interface", "lo", "--address", "198.18.0.1/24", "--port", "80", "--udp"], 2),
        (&["serve", "--interface", "lo", "--port", "many"], 2),
        (&["lab", "exec", "a", "b", "--name", "c", "--", "true"], 2),
        (&["lab", "exec", "no-such-lab", "client", "--", "true"], 1),
        (&["bench", "latency", "--connections", "0"], 2),
        (&["flood", "--interface", "no-such-link", "--target", "198.18.0.1:80"], 1),
    ];
    for (arguments, code) in refused {
        for stderr in [broken_pipe(), std::fs::File::options().write(true).open("/dev/full").unwrap().into()] {
            let (status, _) = run(&[&["-vv"], *arguments].concat(), Stdio::null(), stderr);
            assert_eq!(status.code(), Some(*code), "{arguments:?}: {status}");
        }
    }
}
