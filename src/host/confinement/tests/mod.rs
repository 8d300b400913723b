//! Each on threads of their own: what is given up is gone for good.

mod verdicts;

use super::*;
use crate::host::{Link, rights::Rights};
use nix::sys::{
    signal::{Signal, kill},
    socket::{AddressFamily, SockFlag, SockType, socket},
};
use std::{
    fs::{File, OpenOptions},
    io,
    net::TcpListener,
    process::Command,
    thread,
};

/// What comes of `work` on a thread whose system calls are filtered.
fn filtered<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let filtered = move || {
        filter::apply(seccompiler::apply_filter).unwrap();
        work()
    };
    thread::spawn(filtered).join().unwrap()
}

#[track_caller]
fn refused<T>(result: io::Result<T>) {
    assert_eq!(result.map(|_| ()).map_err(|error| error.raw_os_error()), Err(Some(libc::EPERM)));
}

#[test]
fn nothing_is_started() {
    refused(filtered(|| Command::new("/bin/true").status()));
    // But threads are.
    filtered(|| thread::spawn(|| ()).join().unwrap());
}

#[test]
fn no_file_is_written_that_was_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "before").unwrap();
    let mut open = File::create(folder.path().join("open")).unwrap();
    filtered(move || {
        refused(File::create(&path));
        refused(File::create_new(path.with_extension("new")));
        refused(OpenOptions::new().write(true).open(&path));
        refused(OpenOptions::new().append(true).open(&path));
        refused(OpenOptions::new().read(true).write(true).open(&path));
        refused(std::fs::remove_file(&path));
        refused(std::fs::rename(&path, path.with_extension("moved")));
        refused(std::fs::create_dir(path.with_extension("folder")));
        refused(std::os::unix::fs::symlink("/", path.with_extension("link")));
        refused(std::fs::hard_link(&path, path.with_extension("hard")));
        refused(std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before", "reading is another matter");
        io::Write::write_all(&mut open, b"and so is what is open").unwrap();
    });
}

#[test]
fn nobody_is_spoken_to_but_netlink() {
    filtered(|| {
        refused(TcpListener::bind("127.0.0.1:0"));
        refused(std::net::UdpSocket::bind("127.0.0.1:0"));
        refused(std::os::unix::net::UnixStream::connect("/nowhere"));
        assert!(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), None).is_ok());
        let of_netfilter = nix::sys::socket::SockProtocol::NetlinkNetFilter;
        refused(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), of_netfilter).map_err(Into::into));
        assert!(Link::find("lo").is_ok(), "what the watch of the link does");
    });
}

#[test]
fn other_processes_are_out_of_reach() {
    filtered(|| refused(kill(nix::unistd::getppid(), None::<Signal>).map_err(Into::into)));
    // But a panic or an abort reaches this one.
    filtered(|| assert_eq!(nix::sys::signal::raise(Signal::SIGCONT), Ok(())));
}

#[test]
fn no_namespace_gives_rights_back() {
    use nix::sched::{CloneFlags, unshare};
    filtered(|| refused(unshare(CloneFlags::CLONE_NEWUSER).map_err(Into::into)));
    filtered(|| refused(prctl::set_dumpable(true).map_err(Into::into)));
}

#[test]
fn capabilities_go_and_a_thread_inherits_none() {
    thread::spawn(|| {
        give_up_capabilities().unwrap();
        let none =
            Rights { net_admin: false, net_raw: false, bpf: false, perfmon: false, sys_admin: false, ipc_lock: false };
        assert_eq!(Rights::read().unwrap(), none);
        thread::spawn(move || assert_eq!(Rights::read().unwrap(), none)).join().unwrap();
        assert_eq!(permitted(&std::fs::read_to_string("/proc/thread-self/status").unwrap()), Some(0));
    })
    .join()
    .unwrap();
}

#[test]
fn the_permitted_set_is_read_from_a_status() {
    assert_eq!(permitted("Name:\tx\nCapInh:\t1\nCapPrm:\t000001ffffffffff\nCapEff:\t0\n"), Some(0x1ff_ffff_ffff));
    assert_eq!(permitted("Name:\tx\n"), None);
    assert_eq!(permitted("CapPrm:\tnone\n"), None);
}

#[test]
fn users_are_names_or_numbers_and_never_root() {
    let user = |text: &str| text.parse::<User>();
    let both = user("12345:23456").unwrap();
    assert_eq!((both.uid().as_raw(), both.gid().as_raw(), both.groups().len()), (12_345, 23_456, 1));
    assert_eq!(both.to_string(), "12345:23456");
    for (text, part) in [
        ("root", "root is whom"),
        ("0", "root is whom"),
        ("0:65534", "root is whom"),
        ("", "there is no user"),
        ("no such user", "there is no user"),
        ("-1", "there is no user"),
        ("4294967295", "there is no user"),
        // To the kernel it means that nothing changes.
        ("4294967295:1", "no UID:GID"),
        ("1:4294967295", "no UID:GID"),
        ("1:4294967296", "no UID:GID"),
        ("1:", "no UID:GID"),
        ("nobody:nogroup", "no UID:GID"),
    ] {
        let error = user(text).unwrap_err();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn a_thread_that_is_ending_is_told_by_its_flags() {
    let alive = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    assert!(!is_ending(&alive), "{alive}");
    assert!(is_ending("7 (a) b) R 1 7 7 0 -1 4194372 0 0 0\n") && !is_ending("7 (a) b) R 1 7 7 0 -1 4194368 0 0 0\n"));
    assert!(!is_ending("7 (cut off"));
}
