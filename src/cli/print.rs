//! What is printed, by every command alike: results on standard output, the rest on standard error.
//!
//! `println!` panics where nobody reads any more. A result that cannot be written is a failure, and one whose reader has left, as
//! `head` does, ends the program as it ends every other one in a pipe. What is said beside it is for whoever listens.

use super::Failure;
use std::{
    error::Error,
    fmt::{self, Display},
    io::{self, ErrorKind, Write},
};

/// Nobody reads what is written.
#[derive(Debug)]
pub struct ReaderGone;

impl Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl Error for ReaderGone {}

/// Writes a result and ends the line.
pub fn result(text: impl Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush()).map_err(not_written)
}

/// A result that could not be written.
pub fn not_written(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => format!("the output could not be written: {error}").into(),
    }
}

/// Says something on standard error.
pub fn note(text: impl Display) {
    // In one piece, so that lines of several threads do not mix.
    io::stderr().write_all(format!("xskip: {text}\n").as_bytes()).ok();
}
