//! The file of the row key.

use crate::{
    lb::RowKey,
    lb_file::{known_row_key, row_key},
    rng::SipKey,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    thread,
};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

fn octets(key: &RowKey) -> [u8; 16] {
    key.of_flows().to_bytes()
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn it_is_made_once_for_its_owner_alone_and_then_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("row.key");
    assert!(known_row_key(&path).unwrap().is_none());
    assert!(!path.exists(), "looking makes nothing");
    let made = row_key(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(octets(&row_key(&path).unwrap()), octets(&made));
    assert_eq!(octets(&known_row_key(&path).unwrap().unwrap()), octets(&made));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let other = row_key(&folder.path().join("other.key")).unwrap();
    assert_ne!(octets(&other), octets(&made));
}

#[test]
fn all_who_make_it_at_a_time_get_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("row.key");
    let keys = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| octets(&row_key(&path).unwrap()))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(keys.windows(2).all(|two| two[0] == two[1]), "{keys:?}");
}

#[test]
fn one_of_a_fleet_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("row.key");
    write(&path, &format!("{KEY}\n"), 0o400);
    let expected = RowKey::new(SipKey::from_hex(KEY).unwrap());
    assert_eq!(octets(&row_key(&path).unwrap()), octets(&expected));
}

#[test]
fn what_is_no_secret_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("row.key");
    let shown = path.display();
    for (content, mode, part) in [
        (KEY, 0o640, format!("others may read {shown} (mode 0640): run `chmod 600 {shown}`")),
        (KEY, 0o604, format!("others may read {shown} (mode 0604): run `chmod 600 {shown}`")),
        (KEY, 0o620, format!("others may write to {shown} (mode 0620): run `chmod 600 {shown}`")),
        ("", 0o600, format!("{shown} must hold 32 hexadecimal digits")),
        (&KEY[1..], 0o600, format!("{shown} must hold 32 hexadecimal digits")),
        (&"0".repeat(32), 0o600, format!("{shown} holds nothing but zeros")),
    ] {
        write(&path, content, mode);
        for said in [row_key(&path).unwrap_err().to_string(), known_row_key(&path).unwrap_err().to_string()] {
            assert!(said.starts_with(&format!("no row key: {part}")), "{said}");
            assert!(!said.contains(KEY), "a key that is told is no key: {said}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn where_none_can_be_made_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere").join("row.key");
    let said = row_key(&path).unwrap_err().to_string();
    assert!(said.starts_with(&format!("no row key: {} cannot be made: ", path.display())), "{said}");
    let link = folder.path().join("link");
    symlink(folder.path().join("gone"), &link).unwrap();
    let said = row_key(&link).unwrap_err().to_string();
    assert!(said.contains("leads nowhere: remove it"), "{said}");
}
