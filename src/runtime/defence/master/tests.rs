use super::*;
use std::{fs, os::unix::fs::PermissionsExt, sync::mpsc};
use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f";
const OTHER: &str = "0f0e0d0c0b0a09080706050403020100";

fn write(folder: &TempDir, mode: u32) -> PathBuf {
    let path = folder.path().join("master");
    fs::write(&path, KEY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_file_that_others_may_read_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, is_told) in [(0o600, false), (0o640, true)] {
        let caution = read(&write(&folder, mode)).unwrap().caution;
        assert_eq!(caution.is_some(), is_told, "{mode:o}");
        assert!(caution.is_none_or(|caution| caution.contains("chmod 600") && !caution.contains(KEY)));
    }
}

/// A file whose reader gives these answers when it is told to, and hangs until then.
fn answering() -> (MasterFile, mpsc::Sender<Result<Found, String>>, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel();
    let (asked, asks) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let reader = move || {
        asked.send(()).unwrap();
        told.lock().unwrap().recv().unwrap_or_else(|_| Err("the test is over".to_owned()))
    };
    (MasterFile::read_by(reader, Notices::new(None, false)).unwrap(), tell, asks)
}

fn found(key: &str, caution: Option<&str>) -> Result<Found, String> {
    Ok(Found { key: SipKey::from_hex(key).unwrap(), caution: caution.map(str::to_owned) })
}

/// Lets the reader answer, and looks until that has come.
fn answer(
    file: &mut MasterFile,
    tell: &mpsc::Sender<Result<Found, String>>,
    asks: &mpsc::Receiver<()>,
    answer: Result<Found, String>,
) -> Option<[u8; 16]> {
    while file.unanswered.is_none() {
        file.look();
    }
    asks.recv().unwrap();
    tell.send(answer).unwrap();
    while file.answers.is_empty() {
        thread::yield_now();
    }
    file.look().map(SipKey::to_bytes)
}

#[test]
fn another_key_is_found_once() {
    let (mut file, tell, asks) = answering();
    let key = |key| SipKey::from_hex(key).map(SipKey::to_bytes);
    assert_eq!(answer(&mut file, &tell, &asks, found(KEY, None)), key(KEY));
    assert_eq!(answer(&mut file, &tell, &asks, found(KEY, None)), None);
    assert_eq!(answer(&mut file, &tell, &asks, found(OTHER, None)), key(OTHER));
    assert_eq!(answer(&mut file, &tell, &asks, Err("gone".to_owned())), None);
    assert_eq!(answer(&mut file, &tell, &asks, found(OTHER, None)), None);
}

#[test]
fn each_new_reason_is_told_once() {
    let mut complaints = Complaints::default();
    let told = [None, Some("gone"), Some("gone"), Some("garbage"), Some("gone"), None, None, Some("gone")]
        .map(|complaint| complaints.news(complaint.map(str::to_owned)).map(str::to_owned));
    let expected = [None, Some("gone"), None, Some("garbage"), Some("gone"), None, None, Some("gone")];
    assert_eq!(told, expected.map(|told| told.map(str::to_owned)));
}

#[test]
fn what_is_wrong_with_the_file_is_remembered_until_it_is_mended() {
    let (mut file, tell, asks) = answering();
    answer(&mut file, &tell, &asks, Err("gone".to_owned()));
    assert_eq!(file.complaints.last.as_deref(), Some("the cookies keep their key: gone"));
    answer(&mut file, &tell, &asks, found(KEY, Some("readable")));
    assert_eq!(file.complaints.last.as_deref(), Some("readable"));
    answer(&mut file, &tell, &asks, found(KEY, None));
    assert_eq!(file.complaints.last, None);
}

#[test]
fn a_file_that_hangs_is_told_of_and_holds_nobody_up() {
    let (mut file, tell, asks) = answering();
    for _ in 0..1_000 {
        assert!(file.look().is_none());
    }
    assert!(file.complaints.last.as_ref().unwrap().contains("does not answer"));
    asks.recv().unwrap();
    assert!(asks.try_recv().is_err(), "it is asked once, however often it is looked at");
    // It comes back.
    tell.send(found(KEY, None)).unwrap();
    while file.answers.is_empty() {
        thread::yield_now();
    }
    assert!(file.look().is_some());
    assert_eq!(file.complaints.last, None);
}

#[test]
fn a_reader_that_hangs_is_left_behind() {
    let (mut file, _tell, asks) = answering();
    file.look();
    asks.recv().unwrap();
    // Returns, though the reader has not.
    drop(file);
}

#[test]
fn the_first_key_is_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, 0o600);
    let (mut file, key) = MasterFile::open(path.clone(), Notices::new(None, false)).unwrap();
    assert_eq!(key.to_bytes(), SipKey::from_hex(KEY).unwrap().to_bytes());
    assert!(file.look().is_none(), "and no news");
    let error = MasterFile::open(folder.path().to_owned(), Notices::new(None, false)).unwrap_err().to_string();
    assert!(error.starts_with("no secret for cookies: ") && error.contains("no regular file"), "{error}");
}
