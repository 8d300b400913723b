//! Whoever speaks to a balancer that runs.

use super::protocol::{Answer, Request};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// How long a balancer may take: a reload asks on the link for each address that is new, and works out all tables.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest answer: the status of as many services and backends as there may be.
const MOST: u64 = 1 << 30;

/// Why there is no answer.
#[derive(Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody is there.
    #[error("no balancer runs at {path}: start one by `xskip lb run --config FILE`, or say where it is by --control")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is another user's.
    #[error("{path} is for the user who runs the balancer alone: be that user, or root")]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It says nothing.
    #[error("the balancer at {path} does not answer: its own output says why, or `xskip lb run` has to start anew")]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// What is said there is something else.
    #[error(
        "what answers at {path} is no balancer of this version of xskip ({why}): name the right socket by --control"
    )]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Anything else.
    #[error("the balancer at {path} cannot be spoken to: {source}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(AskError);

/// Asks the balancer whose control socket this is, and waits for its answer, which is never [`Answer::Refused`].
///
/// # Errors
/// [`AskError`] says what to do.
pub fn ask(control: &Path, request: &Request) -> Result<Answer, AskError> {
    let path = || control.to_owned();
    let system = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: path() },
        io::ErrorKind::PermissionDenied => AskError::NotPermitted { path: path() },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent { path: path() },
        _ => AskError::System { path: path(), source },
    };
    let protocol = |why: String| AskError::Protocol { path: path(), why };
    let mut stream = UnixStream::connect(control).map_err(system)?;
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(system)?;
    let mut line = serde_json::to_vec(request).map_err(|error| protocol(error.to_string()))?;
    line.push(b'\n');
    // Who is too busy says so, and does not wait for the question.
    let asked = stream.write_all(&line);
    let mut answer = String::new();
    let heard = BufReader::new(stream.take(MOST)).read_line(&mut answer);
    if answer.is_empty() {
        asked.map_err(system)?;
        heard.map_err(system)?;
        return Err(protocol("it hung up".to_owned()));
    }
    match serde_json::from_str(&answer).map_err(|error| protocol(error.to_string()))? {
        Answer::Refused(why) => Err(AskError::Refused(why)),
        answer => Ok(answer),
    }
}
