//! What is printed, by every command alike: results on standard output, the rest on standard error.
//!
//! `println!` panics where nobody reads any more. A result that cannot be written is a failure, and one whose reader has left, as
//! `head` does, ends the program as it ends every other one in a pipe. What is said beside it is for whoever listens.

use super::Failure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    error::Error,
    fmt::{self, Display},
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

/// How long whoever reads may pause where nobody may be held up by that.
const PATIENCE: Duration = Duration::from_secs(1);
/// Octets that a pipe takes in one piece if it takes any (`PIPE_BUF`).
const PIECE: usize = 4_096;

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

/// Writes a result as [`result`] does, at the end of a command that others may look on at. Their pager may have stopped to read long
/// ago: that is noticed, and not waited for.
pub fn last(text: impl Display) -> Result<(), Failure> {
    write_soon(io::stdout().as_fd(), format!("{text}\n").as_bytes()).map_err(not_written)
}

/// A result that could not be written.
pub fn not_written(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => format!("the output could not be written: {error}").into(),
    }
}

/// Says something on standard error, or lets it be where nobody takes it.
pub fn note(text: impl Display) {
    // In one piece, so that lines of several threads do not mix.
    write_soon(io::stderr().as_fd(), format!("xskip: {text}\n").as_bytes()).ok();
}

/// Says on standard error what has a form that others read, such as `FILE:LINE:COLUMN: what`, and no word of ours before it.
pub fn as_it_is(text: impl Display) {
    write_soon(io::stderr().as_fd(), format!("{text}\n").as_bytes()).ok();
}

/// Writes as long as somebody takes it.
fn write_soon(out: BorrowedFd<'_>, mut octets: &[u8]) -> io::Result<()> {
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    while !octets.is_empty() {
        match poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], patience) {
            Ok(0) => return Err(io::Error::new(ErrorKind::TimedOut, "nobody reads it")),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match nix::unistd::write(out, &octets[..octets.len().min(PIECE)]) {
            Ok(written) => octets = &octets[written..],
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
