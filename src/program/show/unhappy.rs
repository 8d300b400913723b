//! Connections that end otherwise than they should have, written down: one JSON object a line, by a thread of its own.

use crate::{
    control::Gone,
    log_limit::LogLimit,
    runtime::{
        Inspector,
        inspect::{EndReport, InspectError},
    },
};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;

/// How often workers are asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// Ends that are written down in that time; of more it is said how many.
const EVERY_TIME: u64 = 100;
/// Octets that a file may have, from whenever: then nothing more is written.
const MOST: u64 = 64 << 20;

/// Why there is no such file.
#[derive(Error)]
#[error("unhappy ends cannot be written to {}: {source}; give another file by --unhappy", .path.display())]
pub struct UnhappyError {
    path: PathBuf,
    source: io::Error,
}

debug_as_display!(UnhappyError);

/// What stands in a line: an end, and when it was.
#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    end: &'a EndReport,
}

/// Lines on their way to a file, or to whatever else takes them: as many as may be.
pub(super) struct Book<W> {
    to: W,
    /// Octets that it has.
    length: u64,
    /// Lines of this time, and those that were left out.
    lines: u64,
    left_out: u64,
    is_over: bool,
}

impl<W: Write> Book<W> {
    pub fn new(to: W, length: u64) -> Self {
        Self { to, length, lines: 0, left_out: 0, is_over: length >= MOST }
    }

    /// Writes a line down, unless there were enough of late, or ever.
    pub fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        if self.lines >= EVERY_TIME {
            self.left_out += 1;
            return Ok(());
        }
        self.lines += 1;
        self.push(line)
    }

    fn push(&mut self, line: &impl Serialize) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        let mut octets = serde_json::to_vec(line)?;
        octets.push(b'\n');
        self.length += octets.len() as u64;
        self.to.write_all(&octets)?;
        if self.length >= MOST {
            self.is_over = true;
            self.to.write_all(b"{\"full\":true}\n")?;
        }
        Ok(())
    }

    /// Another second begins.
    pub fn begin(&mut self) -> io::Result<()> {
        self.lines = 0;
        match std::mem::take(&mut self.left_out) {
            0 => Ok(()),
            left_out => self.push(&serde_json::json!({ "left_out": left_out })),
        }
    }
}

/// A file, opened, that nothing was written to yet: before rights are given up.
#[derive(Debug)]
pub struct UnhappyFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl UnhappyFile {
    /// Opens a file, to write behind what is there.
    ///
    /// # Errors
    /// [`UnhappyError`] says what to do.
    pub fn open(path: &Path) -> Result<Self, UnhappyError> {
        let open = || {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|source| UnhappyError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Writes down what ends unhappily from now on, until what is returned is dropped.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn begin(self, inspector: Inspector) -> io::Result<Unhappy> {
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new().name("xskip-unhappy".to_owned()).spawn(move || {
            let Self { path, file, length } = self;
            let mut seen = Vec::new();
            let ask = |visit: &mut Visit<'_>| inspector.ends_since(&mut seen, visit);
            if let Err(error) = write(ask, Book::new(file, length), &stopped) {
                tracing::warn!("unhappy ends are written to {} no more: {error}", path.display());
            }
        })?;
        Ok(Unhappy { stop: Some(stop), thread: Some(thread) })
    }
}

/// The thread that writes; it ends when this is dropped.
#[derive(Debug)]
pub struct Unhappy {
    stop: Option<Sender<Gone>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Unhappy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What is told of ends.
pub(super) type Visit<'a> = dyn FnMut(EndReport) -> ControlFlow<()> + 'a;

/// Asks for ends once a second, and writes them down, until it is over. Who does not answer is asked again the next time: a worker may be
/// busy for long, and goes on then.
pub(super) fn write<W: Write>(
    mut ask: impl FnMut(&mut Visit<'_>) -> Result<(), InspectError>,
    mut book: Book<W>,
    stopped: &Receiver<Gone>,
) -> io::Result<()> {
    loop {
        let is_over = !matches!(stopped.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout));
        book.begin()?;
        let mut failed = None;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let told = ask(&mut |end| {
            let time = now - end.ago_ms as f64 / 1_000.0;
            match book.write(&Line { time, end: &end }) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if is_over {
            return Ok(());
        }
        if let Err(error) = told {
            static UNTOLD: LogLimit = LogLimit::new();
            if let Some(more) = UNTOLD.admit() {
                tracing::warn!("unhappy ends are not told, and are asked for again: {error}{more}");
            }
        }
    }
}
