//! Programs that run beside a bench, with CPU and memory of their own, and that end with it.

use crate::lab::{LabError, SideCommand};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStderr, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use thiserror::Error;

/// How long a program may take to be ready, and how long to end once it is told to. Far more than any needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one is looked at meanwhile.
const STEP: Duration = Duration::from_millis(5);

/// Why a program is of no use.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] LabError),

    /// It ended when it should have gone on, or with a failure.
    #[error("{name} ended ({status}) and said {said:?}: run it by itself in a lab (`xskip lab exec`) to see more")]
    Ended {
        /// The program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last line it wrote to standard error.
        said: String,
    },

    /// It did nothing for too long.
    #[error("{name} did not {what} within {seconds} s: is the machine busy with something else?")]
    Late {
        /// The program.
        name: &'static str,
        /// What it should have done.
        what: &'static str,
        /// How long it had.
        seconds: u64,
    },

    /// The kernel does not let us look after it.
    #[error("{name} cannot be waited for: {source}")]
    Lost {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// A program at work. Dropping the value ends it.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    output: Option<JoinHandle<Vec<u8>>>,
    said: Arc<Mutex<Said>>,
}

/// What is remembered of standard error.
#[derive(Debug, Default)]
struct Said {
    last: String,
    ready: bool,
}

impl Process {
    /// Starts a program, in a process group of its own: what is typed at the terminal is meant for the bench. A line on its
    /// standard error that contains `ready` says that it is.
    pub fn start(name: &'static str, command: SideCommand<'_>, ready: &'static str) -> Result<Self, ProcessError> {
        let mut child = command
            .with(|command| command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0))
            .spawn()?;
        let said = Arc::new(Mutex::new(Said::default()));
        if let Some(errors) = child.stderr.take() {
            let said = said.clone();
            thread::spawn(move || listen(errors, &said, ready));
        }
        // Read to its end from the beginning, so that a talkative program is never held up.
        let output = child.stdout.take().map(|mut output| {
            thread::spawn(move || {
                let mut octets = Vec::new();
                output.read_to_end(&mut octets).ok();
                octets
            })
        });
        Ok(Self { name, child, output, said })
    }

    /// Its number.
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until something is so, for as long as the program runs and there is patience.
    pub fn wait_until(&mut self, what: &'static str, mut is_so: impl FnMut(&Self) -> bool) -> Result<(), ProcessError> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.check()?;
            if Instant::now() > deadline {
                return Err(ProcessError::Late { name: self.name, what, seconds: PATIENCE.as_secs() });
            }
            thread::sleep(STEP);
        }
        Ok(())
    }

    /// Whether it has said that it is ready.
    pub fn is_ready(&self) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).ready
    }

    /// That it runs.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(self.failure(status)),
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::Lost { name: self.name, source })
    }

    /// What it wrote to standard output, once it has ended; `None` while it runs. One that fails without a word there has nothing
    /// to tell.
    pub fn outcome(&mut self) -> Result<Option<Vec<u8>>, ProcessError> {
        let Some(status) = self.ended()? else { return Ok(None) };
        let output = self.output.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        if output.is_empty() && !status.success() { Err(self.failure(status)) } else { Ok(Some(output)) }
    }

    fn failure(&self, status: ExitStatus) -> ProcessError {
        // Its last words may still be on their way.
        thread::sleep(10 * STEP);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        ProcessError::Ended { name: self.name, status, said }
    }

    /// Tells it to end, and waits until it has. Says how it ended; what does not end is ended, with all that it started.
    pub fn stop(&mut self) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        kill(self.id(), Signal::SIGINT).ok();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ended()? {
                Some(status) => return Ok(status),
                None if Instant::now() < deadline => thread::sleep(STEP),
                None => break,
            }
        }
        self.kill()
    }

    /// Ends it, and all that it started, without giving it a say.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        killpg(self.id(), Signal::SIGKILL).ok();
        self.child.wait().map_err(|source| ProcessError::Lost { name: self.name, source })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!("{error}");
        }
    }
}

fn listen(errors: ChildStderr, said: &Mutex<Said>, ready: &str) {
    for line in BufReader::new(errors).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.ready |= line.contains(ready);
        said.last = line;
    }
}
