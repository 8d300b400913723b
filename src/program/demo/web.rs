//! A server on the kernel's sockets that says its name: once, or on each line of something large.

use super::DemoError;
use crate::bench::lb::Ground;
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Lines of something large, of which each is a name and a line end: 12 MB.
const LINES: usize = 4_000_000;
/// Lines that are written at a time.
const PIECE: usize = 16_384;
const NAMES: [&str; 3] = ["b1", "b2", "b3"];
/// How long all that is asked for may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// Large answers.
#[derive(Default)]
struct Large {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// A server at work. Dropping it ends it.
pub(super) struct Web {
    name: &'static str,
    stop: Arc<AtomicBool>,
    large: Arc<Large>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts it on a backend, by number from 1.
    pub fn start(ground: &Ground, number: u8) -> Result<Self, DemoError> {
        let name = NAMES[usize::from(number - 1)];
        let listener = ground.host(name).run(|| TcpListener::bind("0.0.0.0:80"))??;
        listener.set_nonblocking(true)?;
        let (stop, large) = (Arc::new(AtomicBool::new(false)), Arc::new(Large::default()));
        let (its, its_large) = (Arc::clone(&stop), Arc::clone(&large));
        let serve = move || {
            while !its.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let large = Arc::clone(&its_large);
                        // Who has gone is nobody's fault.
                        thread::spawn(move || answer(stream, name, &large).ok());
                    }
                    Err(_) => thread::sleep(LOOK),
                }
            }
        };
        let thread = Some(thread::Builder::new().name("web".to_owned()).spawn(serve)?);
        Ok(Self { name, stop, large, thread })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Large answers that are under way.
    pub fn busy(&self) -> usize {
        // First the ends, so that there are never more of them.
        let ended = self.large.ended.load(Ordering::Acquire);
        self.large.begun.load(Ordering::Relaxed) - ended
    }

    /// Waits until so many large answers have begun, from all together.
    pub fn wait_for(webs: &[Self], count: usize, interrupted: &AtomicBool) -> Result<(), DemoError> {
        let deadline = Instant::now() + PATIENCE;
        while webs.iter().map(|web| web.large.begun.load(Ordering::Relaxed)).sum::<usize>() < count {
            if interrupted.load(Ordering::Relaxed) {
                return Err(DemoError::Interrupted);
            }
            if Instant::now() > deadline {
                return Err(DemoError::Wrong(format!(
                    "{count} downloads have not begun within {} s",
                    PATIENCE.as_secs()
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream, name: &str, large: &Large) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut asked, mut piece) = (Vec::new(), [0; 1_024]);
    while !asked.ends_with(b"\r\n\r\n") && asked.len() < 8_192 {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => asked.extend_from_slice(&piece[..count]),
        }
    }
    let is_large = asked.starts_with(b"GET /large ");
    let (line, lines) = (format!("{name}\n"), if is_large { LINES } else { 1 });
    let length = line.len() * lines;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    if !is_large {
        return stream.write_all(line.as_bytes());
    }
    large.begun.fetch_add(1, Ordering::Relaxed);
    let written = (0..lines).step_by(PIECE).try_for_each(|begun| {
        let piece = line.repeat(PIECE.min(lines - begun));
        stream.write_all(piece.as_bytes())
    });
    large.ended.fetch_add(1, Ordering::Release);
    written
}

/// Who said all of something large; nobody where it is not whole, or not of one.
pub(super) fn author(body: &[u8]) -> Option<String> {
    let name = NAMES.into_iter().find(|name| body.starts_with(name.as_bytes()))?;
    let line = [name.as_bytes(), b"\n"].concat();
    let is_whole = body.len() == line.len() * LINES && body.chunks(line.len()).all(|it| it == line);
    is_whole.then(|| name.to_owned())
}
