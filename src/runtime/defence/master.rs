//! The file that holds the secret of cookies: read by a thread of its own, because what a path leads to may hang (a FIFO, a file
//! system of another machine), and whoever defends must not wait.

#[cfg(test)]
mod tests;

use crate::{
    rng::SipKey,
    runtime::{Notice, RuntimeError, notice::Notices},
};
use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The largest file that is taken for one with a key.
const MOST: u64 = 64;
/// How long the file may take in the beginning.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looks in vain, one a second, after which it is said that the file does not answer.
const SILENT_LOOKS: u32 = 5;

/// What the file held.
#[derive(Clone, Debug)]
pub(super) struct Found {
    key: SipKey,
    /// What is wrong with it, though not so wrong that the key is refused.
    caution: Option<String>,
}

/// Looks into the file, as often as it is told to, until it is dropped. A reader that hangs is left behind: it holds nothing.
#[derive(Debug)]
pub(in crate::runtime) struct MasterFile {
    current: Option<SipKey>,
    ask: Sender<()>,
    answers: Receiver<Result<Found, String>>,
    /// Looks since the reader was asked, if it has not answered yet.
    unanswered: Option<u32>,
    complaints: Complaints,
    notices: Notices,
}

impl MasterFile {
    /// Reads it for the first time; with the key that it holds.
    pub fn open(path: PathBuf, notices: Notices) -> Result<(Self, SipKey), RuntimeError> {
        let shown = path.display().to_string();
        let mut file = Self::read_by(move || read(&path), notices)?;
        file.ask.try_send(()).ok();
        let silent = || format!("{shown} cannot be read: nothing came of it in {} s", PATIENCE.as_secs());
        let answer = file.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(silent()));
        let found = answer.map_err(|why| RuntimeError::CookieMaster { why })?;
        file.current = Some(found.key);
        file.complain(found.caution);
        Ok((file, found.key))
    }

    /// One whose reader has not been asked yet.
    fn read_by(
        read: impl Fn() -> Result<Found, String> + Send + 'static,
        notices: Notices,
    ) -> Result<Self, RuntimeError> {
        // One question at a time, and room for its answer: the reader never waits for who asks.
        let (ask, asked) = bounded::<()>(1);
        let (answer, answers) = bounded(1);
        let reader = move || asked.iter().map(|()| read()).try_for_each(|found| answer.send(found)).unwrap_or_default();
        let thread = thread::Builder::new().name("xskip-master".to_owned()).spawn(reader);
        thread
            .map_err(|source| RuntimeError::System { what: "start the thread that reads the master's file", source })?;
        Ok(Self { current: None, ask, answers, unanswered: None, complaints: Complaints::default(), notices })
    }

    /// Another key, if the file was found to hold one since the last look. Never waits.
    pub fn look(&mut self) -> Option<SipKey> {
        let answer = self.answers.try_recv();
        match (&answer, self.unanswered) {
            (Err(TryRecvError::Empty), Some(looks)) => {
                self.unanswered = Some(looks.saturating_add(1));
                if looks == SILENT_LOOKS {
                    self.complain(Some("the file of the cookies' master key does not answer".to_owned()));
                }
                return None;
            }
            _ => self.unanswered = self.ask.try_send(()).ok().map(|()| 0),
        }
        match answer.ok()? {
            Ok(Found { key, caution }) => {
                self.complain(caution);
                let before = self.current.replace(key);
                before.is_none_or(|before| before.to_bytes() != key.to_bytes()).then_some(key)
            }
            Err(why) => {
                self.complain(Some(format!("the cookies keep their key: {why}")));
                None
            }
        }
    }

    fn complain(&mut self, complaint: Option<String>) {
        if let Some(news) = self.complaints.news(complaint) {
            self.notices.tell(Notice::CookieMaster { finding: news.to_owned() });
        }
    }
}

/// What there is to complain of, which is looked at every second, and said when it begins.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<String>,
}

impl Complaints {
    /// What is to be said, now that this, or nothing, is wrong.
    fn news(&mut self, complaint: Option<String>) -> Option<&str> {
        let is_news = complaint != self.last;
        self.last = complaint;
        self.last.as_deref().filter(|_| is_news)
    }
}

/// The secret that a file holds. Links are followed: Kubernetes, for one, changes secrets by them.
fn read(path: &Path) -> Result<Found, String> {
    let shown = path.display();
    let unread = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    // Without O_NONBLOCK, to open a FIFO is to wait for whoever writes to it.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unread)?;
    // Asked of what was opened, not of a name that may lead elsewhere by now.
    let about = file.metadata().map_err(unread)?;
    if !about.is_file() {
        return Err(format!("{shown} is no regular file: put the key into one"));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(format!("others may write to {shown} (mode {mode:04o}): run `chmod 600 {shown}`"));
    }
    let caution =
        format!("others may read the cookies' master key in {shown} (mode {mode:04o}): run `chmod 600 {shown}`");
    let caution = (mode & 0o044 != 0).then_some(caution);
    let mut octets = Vec::new();
    file.take(MOST + 1).read_to_end(&mut octets).map_err(unread)?;
    let make = "`head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'` makes one";
    let text = std::str::from_utf8(&octets).ok().filter(|text| text.len() as u64 <= MOST);
    let key = text
        .and_then(|text| SipKey::from_hex(text.trim()))
        .ok_or_else(|| format!("{shown} must hold 32 hexadecimal digits, and nothing else: {make}"))?;
    if key.to_bytes() == [0; 16] {
        return Err(format!("{shown} holds nothing but zeros, which anybody may guess: {make}"));
    }
    Ok(Found { key, caution })
}
