//! What is logged, on its way to standard error. A thread of its own writes it, so that no worker ever waits for whoever reads it:
//! where it is not taken in time, lines are lost, and counted.

use crossbeam::channel::{Receiver, Sender, bounded};
use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};
use xskip_cli::host::confinement::{self, EarlierThread};

/// Lines that may wait.
const LINES: usize = 1_024;
/// How long the last ones may take at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the thread that writes.
#[derive(Clone)]
struct Way {
    lines: Sender<Line>,
    lost: Arc<AtomicU64>,
}

enum Line {
    Text(Vec<u8>),
    /// Everything before has been written.
    Done(Sender<()>),
    /// Rights are being given up.
    Renounce(Sender<()>),
}

impl Way {
    /// Sends a line that is answered, and waits for that.
    fn ask(&self, line: impl FnOnce(Sender<()>) -> Line) {
        let (sender, done) = bounded(1);
        if self.lines.send_timeout(line(sender), PATIENCE).is_ok() {
            let _ = done.recv_timeout(PATIENCE);
        }
    }
}

impl EarlierThread for Way {
    fn follow(&self) {
        self.ask(Line::Renounce);
    }
}

impl Write for Way {
    /// Takes a line, which comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Line::Text(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Way {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A log, which is written out when this is dropped.
pub struct Log(Option<Arc<Way>>);

/// Warnings always; the rest on demand. `RUST_LOG` may ask for single rooms, such as `xskip_cli::lab=debug`.
pub fn to_stderr(verbose: u8) -> Log {
    let level = match verbose {
        0 => "warn",
        1 => "xskip=info,warn",
        _ => "xskip=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // It would complain on standard error that standard error is closed, and panic.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).without_time().log_internal_errors(false);
    let subscriber = subscriber.with_ansi(io::stderr().is_terminal());
    let (sender, lines) = bounded(LINES);
    let way = Way { lines: sender, lost: Arc::default() };
    let lost = Arc::clone(&way.lost);
    let begin = move || {
        write(&lines, &lost, io::stderr());
    };
    match thread::Builder::new().name("xskip-log".to_owned()).spawn(begin) {
        Ok(_) => {
            subscriber.with_writer(way.clone()).init();
            let way = Arc::new(way);
            let weak: Weak<Way> = Arc::downgrade(&way);
            confinement::follow_by(weak);
            Log(Some(way))
        }
        // Where there is no thread to be had, what is about to go wrong is worth waiting for.
        Err(_) => {
            subscriber.with_writer(io::stderr).init();
            Log(None)
        }
    }
}

fn write(lines: &Receiver<Line>, lost: &AtomicU64, mut out: impl Write) {
    for line in lines {
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            writeln!(out, "xskip: {missing} lines of the log are lost, because it was not read in time").ok();
        }
        match line {
            Line::Text(text) => {
                out.write_all(&text).ok();
            }
            Line::Done(done) => {
                done.send(()).ok();
            }
            Line::Renounce(done) => {
                confinement::renounce();
                done.send(()).ok();
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(way) = &self.0 {
            way.ask(Line::Done);
        }
    }
}

#[cfg(test)]
mod tests;
