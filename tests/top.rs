//! `xskip top` beside a server at work: on a terminal, and without one. Needs root.

mod common;

use common::{
    is_root,
    served::{ADDRESS, ADDRESS_V6, Served},
    wait_until,
};
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{self, Termios, tcgetattr},
    },
    unistd::Pid,
};
use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");
/// What puts a terminal's first page back, and shows its cursor.
const FIRST_PAGE: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

/// A server with its control socket where nobody else's is.
struct Watched {
    served: Served,
    folder: TempDir,
}

impl Watched {
    fn new(app: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("server.sock");
        let arguments = ["--address", ADDRESS, "--address", ADDRESS_V6, "--port", "80", "--app", app, "--json"];
        let served = Served::new(1, &[&arguments[..], &["--control", control.to_str().unwrap()]].concat());
        Self { served, folder }
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("server.sock")
    }

    fn top(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("top").arg("--control").arg(self.control()).args(arguments);
        command
    }

    fn once(&self, arguments: &[&str]) -> Output {
        self.top(&[&["--once", "--interval", "0.3"], arguments].concat()).stdin(Stdio::null()).output().unwrap()
    }

    fn connect(&self, to: &str) -> TcpStream {
        self.served.lab.client().run(|| TcpStream::connect(to)).unwrap().unwrap()
    }
}

#[track_caller]
fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A terminal of a size, and a program on it.
struct OnTerminal {
    child: Child,
    /// What the program has drawn so far.
    drawn: Arc<Mutex<String>>,
    keys: File,
    /// The program's end, and what it was like before.
    slave: OwnedFd,
    before: Termios,
}

impl OnTerminal {
    fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(Stdio::piped()).env("TERM", "xterm-256color");
        let child = child.spawn().unwrap();
        let (drawn, mut page) = (Arc::<Mutex<String>>::default(), File::from(master));
        let (keys, written) = (page.try_clone().unwrap(), drawn.clone());
        thread::spawn(move || {
            let mut piece = [0; 4_096];
            // It fails when the last one has closed the other end.
            while let Ok(count @ 1..) = page.read(&mut piece) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        Self { child, drawn, keys, slave, before }
    }

    fn has_drawn(&self, text: &str) -> bool {
        self.drawn.lock().unwrap().contains(text)
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait_until(text, || self.has_drawn(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end, after which the terminal must be what it was. Its exit code, and what it said.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let after = tcgetattr(&self.slave).unwrap();
        let flags = |of: &Termios| (of.local_flags, of.input_flags, of.output_flags, of.control_flags);
        assert_eq!(flags(&after), flags(&self.before), "{said}");
        assert!(after.local_flags.contains(termios::LocalFlags::ECHO | termios::LocalFlags::ICANON));
        wait_until("the first page is back", || self.has_drawn(FIRST_PAGE) && self.has_drawn(CURSOR));
        (code, said)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn one_screen_has_what_real_clients_do() {
    if !is_root() {
        return;
    }
    let mut watched = Watched::new("chargen");
    // They read nothing, so the server's data wait for them.
    let clients = ["198.18.0.1:80", "[2001:2::1]:80"].map(|to| watched.connect(to));
    wait_until("both are shown", || text(&watched.once(&[])).contains("connections            2"));
    let overview = text(&watched.once(&[]));
    assert!(overview.starts_with("xskip top  veth0, up 0:00:") && overview.contains("1 worker"), "{overview}");
    assert!(overview.lines().all(|line| line.chars().count() <= 80) && overview.lines().count() <= 24, "{overview}");
    wait_until("their windows are shut", || {
        let page = text(&watched.once(&["--screen", "connections"]));
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('!') && line.ends_with("window")).collect();
        rows.len() == 2
            && rows.iter().any(|row| row.contains("198.18.0.2:"))
            && rows.iter().any(|row| row.contains("[2001:2::2]:"))
    });
    let defence = text(&watched.once(&["--screen", "defence"]));
    assert!(defence.contains("198.18.0.1:80") && defence.contains("[2001:2::1]:80"), "{defence}");
    assert!(defence.contains("cache"), "{defence}");
    // A port that nobody listens on.
    watched.served.client_sh("curl -s --max-time 5 http://198.18.0.1:81/ || true");
    wait_until("what was refused is shown", || text(&watched.once(&["--screen", "drops"])).contains("no_listener"));
    drop(clients);
    watched.served.stop_balanced();
}

#[test]
fn a_terminal_is_as_it_was_after_every_way_to_end() {
    if !is_root() {
        return;
    }
    let mut watched = Watched::new("http");
    let start = |columns, rows| OnTerminal::start(watched.top(&["--interval", "0.2"]), columns, rows);
    // By a key, once all screens have been seen.
    let mut top = start(80, 24);
    top.wait_for("[1 overview]");
    for (key, drawn) in [("2", "[2 connections]"), ("\t", "[3 defence]"), ("4", "[4 drops]"), ("?", "stands")] {
        top.press(key);
        top.wait_for(drawn);
    }
    top.press("p");
    top.wait_for("PAUSED");
    top.press("q");
    assert_eq!(top.end(), (Some(0), String::new()));
    // By Ctrl-C, which is a key then; on a narrow terminal.
    let mut top = start(20, 10);
    top.wait_for("[1 overview]");
    top.press("\x03");
    assert_eq!(top.end(), (Some(0), String::new()));
    // By signals, on one that is too small.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let top = start(10, 3);
        top.wait_for("small:");
        kill(Pid::from_raw(top.child.id() as i32), signal).unwrap();
        assert_eq!(top.end(), (Some(0), String::new()));
    }
    // With its server.
    let top = start(80, 24);
    top.wait_for("[1 overview]");
    watched.served.stop_balanced();
    let (code, said) = top.end();
    assert_eq!(code, Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("server") && said.contains("xskip serve"), "{said}");
}

#[test]
fn without_a_terminal_or_a_server_a_sentence_says_what_to_do() {
    if !is_root() {
        return;
    }
    let mut watched = Watched::new("http");
    let output = watched.top(&[]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.lines().count() == 1 && said.contains("xskip show") && said.contains("--once"), "{said}");
    watched.served.stop_balanced();
    for arguments in [&["--once"][..], &[]] {
        let output = watched.top(arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = if arguments.is_empty() { 2 } else { 1 };
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{said}");
        assert!(said.contains("--control") || code == 2, "{said}");
    }
}
