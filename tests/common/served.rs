//! A lab with `xskip serve` running on its server side.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use xskip_cli::{
    host::Link,
    lab::{INTERFACE, Lab, LabOptions, SideCommand},
};

use super::{Name, PATIENCE};

/// The stack's addresses in the lab.
pub const ADDRESS: &str = "198.18.0.1/24";
pub const ADDRESS_V6: &str = "2001:2::1/64";

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");

/// A server at work in a lab of its own. Both go when the value is dropped.
pub struct Served {
    // The process goes before the lab, and the lab before its name.
    process: Process,
    pub lab: Lab,
    _name: Name,
}

/// A process that is ended when it is dropped.
struct Process {
    child: Child,
    /// Reads standard output to its end, so that a talkative process is never held up.
    output: Option<JoinHandle<String>>,
    /// What it said on standard error until it served.
    said: String,
    /// Reads the rest of standard error to its end likewise.
    errors: Option<JoinHandle<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server said after it had been told to stop.
pub struct Stopped {
    pub status: Option<i32>,
    pub output: String,
    /// What it said on standard error since it served.
    pub errors: String,
}

impl Served {
    /// A lab with a link that is bad in this way, and `xskip serve` in it.
    pub fn impaired(impairment: &str, arguments: &[&str]) -> Self {
        let impair = Some(impairment.parse().unwrap());
        Self::in_lab(LabOptions { impair, ..LabOptions::default() }, arguments, |_| ())
    }

    /// A lab of so many queues, and `xskip serve` in it with these arguments besides the interface.
    pub fn new(queues: u32, arguments: &[&str]) -> Self {
        Self::prepared(queues, arguments, |_| ())
    }

    /// [`Served::new`] on a link with this MTU.
    pub fn with_mtu(mtu: u32, queues: u32, arguments: &[&str]) -> Self {
        Self::in_lab(LabOptions { queues, mtu, ..LabOptions::default() }, arguments, |_| ())
    }

    /// [`Served::new`] in a lab where something was done before.
    pub fn prepared(queues: u32, arguments: &[&str], prepare: impl FnOnce(&Lab)) -> Self {
        Self::in_lab(LabOptions { queues, ..LabOptions::default() }, arguments, prepare)
    }

    /// A lab, and `xskip serve` in it, started by these words in front of `serve`.
    pub fn started_by(starter: &[&str], arguments: &[&str]) -> Self {
        let (name, lab) = new_lab(LabOptions::default());
        let process = serve(&lab, starter, arguments);
        Self { process, lab, _name: name }
    }

    fn in_lab(options: LabOptions, arguments: &[&str], prepare: impl FnOnce(&Lab)) -> Self {
        let (name, lab) = new_lab(options);
        prepare(&lab);
        let process = serve(&lab, &[PROGRAM], arguments);
        Self { process, lab, _name: name }
    }

    /// The HTTP service at the stack's own IPv4 address, port 80.
    pub fn http() -> Self {
        Self::new(1, &["--address", ADDRESS, "--port", "80", "--app", "http", "--json"])
    }

    /// Stops the server, which must have lost no frame, and starts another one in the same lab.
    #[track_caller]
    pub fn again(&mut self, arguments: &[&str]) {
        self.stop_balanced();
        self.process = serve(&self.lab, &[PROGRAM], arguments);
    }

    /// A program to be run on the client side.
    pub fn client(&self, program: &str, arguments: &[&str]) -> SideCommand<'_> {
        self.lab.client().command(program).args(arguments)
    }

    /// Runs a program on the client side, which must succeed, and gives back what it wrote.
    #[track_caller]
    pub fn client_ok(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        ok(self.client(program, arguments).output().unwrap())
    }

    /// Runs a shell script on the client side, which must succeed, and gives back what it wrote.
    #[track_caller]
    pub fn client_sh(&self, script: &str) -> String {
        String::from_utf8(self.client_ok("bash", &["-euo", "pipefail", "-c", script])).unwrap()
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What the server said on standard error until it served.
    pub fn said(&self) -> &str {
        &self.process.said
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Whether an XDP program is attached to the server's interface.
    pub fn is_attached(&self) -> bool {
        self.lab.server().run(|| Link::find(INTERFACE).unwrap().xdp.is_some()).unwrap()
    }

    /// Waits until something is so; a test that waits in vain has failed.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        super::wait_until(what, || is_so(self));
    }

    /// Tells the server to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> Stopped {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Waits until the server has stopped.
    #[track_caller]
    pub fn wait(&mut self) -> Stopped {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "the server does not stop"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        let output = self.process.output.take().unwrap().join().unwrap();
        let errors = self.process.errors.take().unwrap().join().unwrap();
        Stopped { status: status.code(), output, errors }
    }

    /// Stops the server, which must say that all went well and that no frame was lost, and gives back its counters.
    #[track_caller]
    pub fn stop_balanced(&mut self) -> Value {
        self.signal(Signal::SIGINT);
        self.wait_balanced()
    }

    /// As [`Served::stop_balanced`], for a server that has been told to stop already.
    #[track_caller]
    pub fn wait_balanced(&mut self) -> Value {
        let stopped = self.wait();
        assert_eq!(stopped.status, Some(0), "{}", stopped.output);
        let json = stopped.output.find("{\n").unwrap_or_else(|| panic!("no counters in {}", stopped.output));
        let report: Value = serde_json::from_str(&stopped.output[json..]).unwrap();
        for worker in report["workers"].as_array().unwrap() {
            assert_eq!(worker["frames"]["balanced"], true, "{report:#}");
        }
        assert!(!self.is_attached(), "the program is detached");
        report
    }
}

fn new_lab(options: LabOptions) -> (Name, Lab) {
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..options }).unwrap();
    (name, lab)
}

/// Starts `xskip serve` and waits until it serves.
fn serve(lab: &Lab, starter: &[&str], arguments: &[&str]) -> Process {
    let command = lab.server().command(starter[0]).args(&starter[1..]);
    let mut child = command
        .args(["serve", "--interface", INTERFACE])
        .args(arguments)
        .with(|command| command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let output = read(BufReader::new(child.stdout.take().unwrap()));
    let mut process = Process { child, output: Some(output), said: String::new(), errors: None };
    while !process.said.contains("serving") {
        let read = errors.read_line(&mut process.said).unwrap();
        assert!(read > 0, "xskip serve {arguments:?} ended: {}", process.said);
    }
    process.errors = Some(read(errors));
    process
}

/// Reads to the end, on a thread of its own.
fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// The output of something that must have succeeded.
#[track_caller]
pub fn ok(output: Output) -> Vec<u8> {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stdout));
    output.stdout
}
