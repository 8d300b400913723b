//! The file that holds the secret of cookies: read by a thread of its own, because what a path leads to may hang (a FIFO, a file
//! system of another machine), and whoever defends must not wait.

#[cfg(test)]
mod tests;

use crate::{
    host::key_file,
    rng::SipKey,
    runtime::{Notice, RuntimeError, notice::Notices},
};
use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

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

fn read(path: &Path) -> Result<Found, String> {
    let key_file::Found { key, readable } = key_file::read(path).map_err(|error| error.to_string())?;
    let shown = path.display();
    let caution = readable.map(|mode| {
        format!("others may read the cookies' master key in {shown} (mode {mode:04o}): run `chmod 600 {shown}`")
    });
    Ok(Found { key, caution })
}
