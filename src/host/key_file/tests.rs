use super::*;
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};
use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

fn write(folder: &TempDir, content: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("master");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[track_caller]
fn refused(path: &Path, part: &str) {
    let why = read(path).unwrap_err().to_string();
    assert!(why.contains(part) && why.contains(path.to_str().unwrap()), "{why}");
    assert!(!why.contains(KEY), "a key that is told is no key: {why}");
}

#[test]
fn a_file_that_others_may_write_is_refused_and_one_they_may_read_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o620, 0o602, 0o666, 0o777] {
        refused(&write(&folder, KEY, mode), &format!("mode {mode:04o}"));
    }
    for mode in [0o600, 0o400, 0o700] {
        assert_eq!(read(&write(&folder, KEY, mode)).unwrap().readable, None, "{mode:o}");
    }
    for mode in [0o640, 0o644, 0o444] {
        assert_eq!(read(&write(&folder, KEY, mode)).unwrap().readable, Some(mode));
    }
}

#[test]
fn a_key_is_32_digits_with_space_around() {
    let folder = tempfile::tempdir().unwrap();
    for content in [KEY.to_owned(), format!("{KEY}\n"), format!("\r\n  {}\t\n", KEY.to_uppercase())] {
        let found = read(&write(&folder, &content, 0o600)).unwrap();
        assert_eq!(found.key.to_bytes(), SipKey::from_hex(KEY).unwrap().to_bytes());
        assert_eq!(found.readable, None);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for content in ["", "\n", "key", &KEY[1..], &format!("{KEY}0"), &format!("{KEY}\n{KEY}"), "\u{fffd}"] {
        refused(&write(&folder, content, 0o600), "32 hexadecimal digits");
    }
    refused(&write(&folder, &format!("{KEY}{}", " ".repeat(33)), 0o600), "32 hexadecimal digits");
    refused(&write(&folder, &"0".repeat(32), 0o600), "nothing but zeros");
    fs::write(folder.path().join("master"), [0xff; 32]).unwrap();
    refused(&folder.path().join("master"), "32 hexadecimal digits");
}

#[test]
fn only_a_regular_file_is_read_and_a_link_may_lead_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    refused(&fifo, "no regular file");
    refused(folder.path(), "no regular file");
    refused(Path::new("/dev/zero"), "no regular file");
    refused(&folder.path().join("missing"), "cannot be read");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(write(&folder, KEY, 0o600), &link).unwrap();
    assert!(read(&link).is_ok());
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    refused(&link, "no regular file");
}

#[test]
fn no_more_is_read_than_a_key_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, KEY, 0o600);
    // A terabyte, if anybody read it.
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    refused(&path, "32 hexadecimal digits");
}
