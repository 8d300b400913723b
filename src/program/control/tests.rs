//! A socket without anything behind it but what a test answers.

use super::{Answers, AskError, Asked, Control, ControlError, Gone, Hearer, Role, Serving, ask};
use serde::Deserialize;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;

static ROLE: Role =
    Role { name: "parrot", setting: "--perch", start: "buy one", again: "it needs sleep", help: "parrot --help" };
const PATIENCE: Duration = Duration::from_secs(60);

/// Says so many numbers, from 0.
#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
}

#[derive(Debug, Default)]
struct Parrot {
    given_up: AtomicU64,
}

impl Answers for Parrot {
    type Request = Count;

    fn answer(&self, Count { count }: Count, hearer: &mut Hearer<'_, '_>) -> Result<(), Gone> {
        if count == 13 {
            return hearer.refuse("13 is bad luck: count to another number");
        }
        let say = |number| {
            // It thinks hard before each tenth.
            if number % 10 == 9 {
                hearer.keep()?;
            }
            hearer.say(&number)
        };
        let said = (0..count).try_for_each(say);
        self.given_up.fetch_add(u64::from(said.is_err()), Ordering::Relaxed);
        said
    }
}

struct Ground {
    parrot: Arc<Parrot>,
    serving: Option<Serving>,
    path: PathBuf,
    _folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let parrot = Arc::new(Parrot::default());
        let control = Control::take(&ROLE, &path).unwrap();
        assert_eq!(control.path(), path);
        let serving = Some(Serving::start(control, parrot.clone()).unwrap());
        Self { parrot, serving, path, _folder: folder }
    }

    fn count(&self, count: u64) -> Result<Asked<u64>, AskError> {
        Asked::begin(&ROLE, &self.path, &serde_json::json!({ "count": count }), PATIENCE)
    }

    fn say(&self, what: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).unwrap();
        stream.write_all(what).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[track_caller]
fn refused(path: &Path, said: &str) {
    let error = Control::take(&ROLE, path).unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
}

#[test]
fn an_answer_of_many_lines_comes_line_by_line() {
    let ground = Ground::new();
    // More than is gathered at a time, and than the kernel keeps.
    let numbers = ground.count(200_000).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    assert!(numbers.into_iter().eq(0..200_000));
    let one: u64 = ask(&ROLE, &ground.path, &serde_json::json!({ "count": 1 }), PATIENCE).unwrap();
    assert_eq!(one, 0);
    assert_eq!(ground.parrot.given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn refusals_and_nonsense_are_answered_in_a_sentence() {
    let ground = Ground::new();
    let error = ground.count(13).unwrap().next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "13 is bad luck: count to another number");
    assert!(
        ground.say(b"nonsense\n").contains("that is no request (") && ground.say(b"{}\n").contains("`parrot --help`")
    );
    assert!(ground.say(&[b' '; 4_096]).contains("4096 octets at most"));
    assert_eq!(ground.say(b"{\"count\":2}\n"), "0\n1\n");
    // What only says that there is more to come is no answer, and none is missing for it.
    assert!(ground.say(b"{\"count\":10}\n").ends_with("8\n\n9\n"));
    assert_eq!(ground.count(10).unwrap().map(Result::unwrap).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    // Nothing at all is no answer.
    let nothing = ask::<u64>(&ROLE, &ground.path, &serde_json::json!({ "count": 0 }), PATIENCE).unwrap_err();
    assert!(nothing.to_string().contains("no parrot of this version of xskip (it hung up)"), "{nothing}");
}

#[test]
fn who_hangs_up_is_given_up_and_nobody_is_waited_for_in_the_end() {
    let mut ground = Ground::new();
    let mut asked = ground.count(u64::MAX).unwrap();
    assert_eq!(asked.next().unwrap().unwrap(), 0);
    drop(asked);
    // One that does not read, and is there still when all of it ends.
    let mut idle = ground.count(u64::MAX).unwrap();
    assert_eq!(idle.next().unwrap().unwrap(), 0);
    drop(ground.serving.take());
    assert_eq!(ground.parrot.given_up.load(Ordering::Relaxed), 2);
    assert!(!ground.path.exists() && !ground.path.with_extension("sock.lock").exists());
    let error = ground.count(1).unwrap_err().to_string();
    assert_eq!(error, format!("no parrot runs at {}: buy one", ground.path.display()));
}

#[test]
fn who_reads_nothing_is_cut_off() {
    let ground = Ground::new();
    let mut asked = ground.count(u64::MAX).unwrap();
    while ground.parrot.given_up.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    // It hears what the kernel has for it, and then the end.
    assert!(asked.by_ref().map_while(Result::ok).count() > 0);
    assert!(asked.next().is_none_or(|last| last.is_err()));
}

#[test]
fn a_path_has_one_owner_and_what_a_dead_one_has_left_is_replaced() {
    let mut ground = Ground::new();
    refused(&ground.path, "already: stop that one, or give this one another `--perch`");
    assert_eq!(fs::metadata(&ground.path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(ground.serving.take());
    // Left by a process that was killed: a socket, and the file beside it.
    drop(UnixListener::bind(&ground.path).unwrap());
    fs::write(ground.path.with_extension("sock.lock"), "").unwrap();
    let control = Control::take(&ROLE, &ground.path).unwrap();
    drop(control);
    assert!(!ground.path.exists());
    fs::write(&ground.path, "precious").unwrap();
    refused(&ground.path, "is there and no socket of a parrot's: remove it");
    assert_eq!(fs::read_to_string(&ground.path).unwrap(), "precious");
    refused(Path::new("/nowhere/at/all"), "the control socket /nowhere/at/all cannot be made");
    let foreign = Control::take(&ROLE, Path::new("/")).unwrap_err();
    assert!(matches!(foreign, ControlError::System { .. } | ControlError::InTheWay { .. }), "{foreign}");
}
