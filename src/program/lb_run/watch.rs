//! The thread that looks after the file: read anew when it was replaced or rewritten, and on SIGHUP.
//!
//! What is watched are folders, not the file: who replaces a file makes another one. Each folder on the way to it is, for the name
//! that leads on: the file, or one of the links by which it is reached, may be another one in the next moment.

use super::Session;
use crate::telemetry::metrics::clients::{bell, readable, wait};
use nix::sys::{
    eventfd::EventFd,
    inotify::{AddWatchFlags, InitFlags, Inotify},
};
use signal_hook::{consts::SIGHUP, low_level::pipe};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Component, Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long nothing may have changed before the file is read.
const QUIET: Duration = Duration::from_millis(100);
/// How long that is waited for at most.
const MOST: Duration = Duration::from_secs(1);
/// How often what is known of health is kept.
const KEEP: Duration = Duration::from_secs(1);
/// Links that are followed, as the kernel does.
const LINKS: usize = 40;

/// Whether a file is the same as before: device, inode, size, and when its content and itself have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([i128; 5]);

/// The fingerprint of the file at a path; nothing where there is none.
pub(super) fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let found = fs::metadata(path).ok()?;
    let moment = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let times = (moment(found.mtime(), found.mtime_nsec()), moment(found.ctime(), found.ctime_nsec()));
    Some(Fingerprint([found.dev().into(), found.ino().into(), found.size().into(), times.0, times.1]))
}

/// From now on SIGHUP makes something readable, and does nothing else.
pub(super) fn catch_hangup() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    pipe::register(SIGHUP, write)?;
    read.set_nonblocking(true)?;
    Ok(read)
}

/// The thread; it ends when this is dropped.
pub(super) struct Watch {
    bell: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(session: Arc<Session>, hangup: UnixStream) -> io::Result<Self> {
        let bell = Arc::new(bell()?);
        let its = Arc::clone(&bell);
        let path = std::path::absolute(session.config())?;
        let folders = Folders::watch(&path)?;
        let mut lookout = Lookout { session, path, folders, hangup, due: None };
        let thread = thread::Builder::new().name("xskip-lb-file".to_owned()).spawn(move || lookout.run(&its))?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bell.write(1).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Lookout {
    session: Arc<Session>,
    path: PathBuf,
    folders: Folders,
    hangup: UnixStream,
    /// When the file is looked at, and when at the latest.
    due: Option<(Instant, Instant)>,
}

impl Lookout {
    fn run(&mut self, bell: &EventFd) {
        // It may have been replaced before anybody watched.
        self.look();
        let mut keep = Instant::now() + KEEP;
        loop {
            let next = self.due.map_or(keep, |(due, _)| due.min(keep));
            let fds = [readable(bell), readable(&self.hangup), readable(&self.folders.inotify)];
            let [is_over, is_asked, is_news] = wait(fds, Some(next));
            if is_over {
                return;
            }
            if is_asked {
                // However many came, once is enough.
                while self.hangup.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
                self.session.reload().ok();
            }
            let now = Instant::now();
            if is_news && self.folders.has_news() {
                let latest = self.due.map_or(now + MOST, |(_, latest)| latest);
                self.due = Some(((now + QUIET).min(latest), latest));
            }
            if self.due.is_some_and(|(due, _)| due <= now) {
                self.due = None;
                self.look();
            }
            if keep <= now {
                self.session.keep_health();
                keep = now + KEEP;
            }
        }
    }

    /// Reads the file if it is another one than that which was read last.
    fn look(&mut self) {
        // Before it is looked at, so that nothing is missed; the folders, too, may be others than before.
        match Folders::watch(&self.path) {
            Ok(folders) => self.folders = folders,
            Err(error) => self.session.tell(&format_args!(
                "{} is not watched any more ({error}): reload it by `xskip lb reload`, or SIGHUP",
                self.path.display()
            )),
        }
        let found = fingerprint(&self.path);
        // Who moves a file away puts another one there.
        if found.is_some() && found != self.session.seen() {
            self.session.reload().ok();
        }
    }
}

/// The folders on the way to a file, and which names in each lead on.
pub(super) struct Folders {
    inotify: Inotify,
    /// By watch: the names, and whether they are files.
    names: HashMap<i32, (PathBuf, HashSet<OsString>)>,
}

impl Folders {
    pub fn watch(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut names: HashMap<i32, (PathBuf, HashSet<OsString>)> = HashMap::new();
        let events = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        let mut refused = None;
        for (folder, name) in way_to(path) {
            match inotify.add_watch(&folder, events | AddWatchFlags::IN_ONLYDIR) {
                Ok(watch) => {
                    names.entry(watch.as_raw()).or_insert_with(|| (folder, HashSet::new())).1.insert(name);
                }
                // A folder above may be closed to us.
                Err(errno) => refused = Some(errno),
            }
        }
        match refused {
            Some(errno) if names.is_empty() => Err(errno.into()),
            _ => Ok(Self { inotify, names }),
        }
    }

    /// Whether something has come to one of the names.
    pub fn has_news(&self) -> bool {
        let mut is_news = false;
        while let Ok(events) = self.inotify.read_events() {
            is_news |= events.iter().any(|event| {
                let is_lost = event.mask.intersects(AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_IGNORED);
                let Some(name) = &event.name else { return is_lost };
                let Some((folder, names)) = self.names.get(&event.wd.as_raw()) else { return is_lost };
                if !names.contains(name) {
                    return is_lost;
                }
                // A file that was only made is about to be written; a link or a folder is all there.
                let is_whole = || fs::symlink_metadata(folder.join(name)).is_ok_and(|found| !found.is_file());
                !event.mask.contains(AddWatchFlags::IN_CREATE) || is_whole()
            });
        }
        is_news
    }
}

/// Each folder on the way to a file, link by link, with the name in it that leads on.
fn way_to(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut steps = Vec::new();
    let mut left: Vec<OsString> = parts(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        steps.push((at.clone(), part.clone()));
        let next = at.join(&part);
        match fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(parts(&target));
            }
            _ => at = next,
        }
    }
    steps
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).rev().collect()
}
