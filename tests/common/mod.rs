//! What the tests share.

#![allow(dead_code, unused_imports)] // each test uses some of it

pub mod handover;
#[path = "library.rs"]
mod library;
pub mod packet;
pub mod scene;
pub mod served;
pub mod station;
pub mod tunnel;

pub use library::{frames, is_root, pair, skip};

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The program under test.
pub fn xskip(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xskip"));
    command.args(arguments);
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    xskip(arguments).output().unwrap()
}

/// Runs the program, which must succeed, and gives back what it said.
pub fn run_ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "xskip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail with this status, and gives back the sentence it said.
pub fn run_failing(status: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "xskip {arguments:?}: {said}");
    said
}

/// Runs the program to its end as a root that has none of the rights it needs.
pub fn run_without_rights(arguments: &[&str]) -> Output {
    output_without_rights(&mut xskip(arguments))
}

/// Runs a program to its end as a root that has none of the rights that serving takes.
pub fn output_without_rights(command: &mut Command) -> Output {
    use caps::{CapSet, Capability};
    // On a thread of its own: what is dropped from the bounding set is gone for good, for it and what it starts.
    let run = move || {
        for capability in [
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_IPC_LOCK,
        ] {
            caps::drop(None, CapSet::Bounding, capability).unwrap();
        }
        command.output().unwrap()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// A lab's name that no other test uses. The lab is taken down when the value is dropped, also by a failing test.
pub struct Name(String);

impl Name {
    /// A name of its own.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("t{}-{number}", std::process::id()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The network namespace of a side.
    pub fn namespace(&self, side: &str) -> String {
        format!("{}-{side}", self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = run(&["lab", "down", &self.0]);
        for side in ["server", "client", "relay"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(side)]).output();
        }
    }
}

/// How long a program may take for what it does at once: far more than it needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so; a test that waits in vain has failed.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
