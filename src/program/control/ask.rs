//! Whoever speaks to a process that runs.

use super::{Refusal, Role};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    marker::PhantomData,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// The longest line of an answer, octets: the status of as many services and backends as a balancer may have.
const MOST: u64 = 1 << 30;

/// Why there is no answer.
#[derive(Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody is there.
    #[error("no {} runs at {path}: {}", .role.name, .role.start)]
    NotRunning {
        /// Who was asked.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
    },
    /// The socket is another user's: of who started it, whoever that goes on as.
    #[error("the control socket {path} of the {} is for its owner alone: be that user, or root", .role.name)]
    NotPermitted {
        /// Who was asked.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It says nothing.
    #[error("the {} at {path} does not answer: its own output says why, or {}", .role.name, .role.again)]
    Silent {
        /// Who was asked.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
    },
    /// What is said there is something else.
    #[error(
        "what answers at {path} is no {} of this version of xskip ({why}): name the right socket by --control", .role.name
    )]
    Protocol {
        /// Who was asked.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Anything else.
    #[error("the {} at {path} cannot be spoken to: {source}", .role.name)]
    System {
        /// Who was asked.
        role: &'static Role,
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

debug_as_display!(AskError);

/// An answer, line by line, as it comes; blank lines say only that there is more to come. It ends where the other side hangs up; what the last
/// line is, says whether that was the end.
pub struct Asked<A> {
    role: &'static Role,
    path: PathBuf,
    lines: BufReader<UnixStream>,
    line: Vec<u8>,
    /// What could not be said: who is too busy says so, and does not wait for the question.
    unsaid: Option<io::Error>,
    is_first: bool,
    answers: PhantomData<fn() -> A>,
}

impl<A> fmt::Debug for Asked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<A: DeserializeOwned> Asked<A> {
    /// Asks whoever has this socket; each line may take so long, a blank one as well.
    ///
    /// # Errors
    /// [`AskError`] says what to do.
    pub fn begin(
        role: &'static Role,
        control: &Path,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<Self, AskError> {
        let path = control.to_owned();
        let failed = |source| system(role, control, source);
        let mut stream = UnixStream::connect(control).map_err(failed)?;
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(failed)?;
        let mut line = serde_json::to_vec(request).map_err(|error| AskError::Protocol {
            role,
            path: path.clone(),
            why: error.to_string(),
        })?;
        line.push(b'\n');
        let unsaid = stream.write_all(&line).err();
        Ok(Self {
            role,
            path,
            lines: BufReader::new(stream),
            line: Vec::new(),
            unsaid,
            is_first: true,
            answers: PhantomData,
        })
    }

    fn protocol(&self, why: String) -> AskError {
        AskError::Protocol { role: self.role, path: self.path.clone(), why }
    }

    fn read(&mut self) -> Result<Option<A>, AskError> {
        let heard = loop {
            self.line.clear();
            let heard = self.lines.by_ref().take(MOST).read_until(b'\n', &mut self.line);
            if self.line != b"\n" {
                break heard;
            }
            self.is_first = false;
        };
        // Who is cut off in the midst of a line has heard no more than the lines before it.
        if self.line.last() != Some(&b'\n') {
            if let Some(error) = self.unsaid.take() {
                return Err(system(self.role, &self.path, error));
            }
            heard.map_err(|error| system(self.role, &self.path, error))?;
            return if self.is_first { Err(self.protocol("it hung up".to_owned())) } else { Ok(None) };
        }
        self.is_first = false;
        if let Ok(Refusal::Refused(why)) = serde_json::from_slice(&self.line) {
            return Err(AskError::Refused(why));
        }
        serde_json::from_slice(&self.line).map(Some).map_err(|error| self.protocol(error.to_string()))
    }
}

impl<A: DeserializeOwned> Iterator for Asked<A> {
    type Item = Result<A, AskError>;

    /// The next line. A refusal is an error.
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Asks whoever has this socket, and waits for a line that answers, for so long.
///
/// # Errors
/// [`AskError`] says what to do; a refusal is one.
pub fn ask<A: DeserializeOwned>(
    role: &'static Role,
    control: &Path,
    request: &impl Serialize,
    patience: Duration,
) -> Result<A, AskError> {
    let mut asked = Asked::begin(role, control, request, patience)?;
    let answer = asked.next();
    answer.unwrap_or_else(|| Err(asked.protocol("it hung up".to_owned())))
}

fn system(role: &'static Role, control: &Path, source: io::Error) -> AskError {
    let path = control.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { role, path },
        io::ErrorKind::PermissionDenied => AskError::NotPermitted { role, path },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent { role, path },
        _ => AskError::System { role, path, source },
    }
}
