//! `xskip lb run` between a client and backends, and what is said to it.

#![allow(dead_code)] // each test uses some of it

use super::{
    common::{PATIENCE, wait_until},
    net::Net,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};
use tempfile::TempDir;

/// Where backends answer each line, and HTTP, with their names.
pub const TALK: u16 = 7_001;
pub const HTTP: u16 = 7_000;
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_xskip");

/// The file: a service that is talked to at each VIP, and one for curl, over these backends, each with what else is said of it.
pub fn config(generation: u32, backends: &[(&str, &str)]) -> String {
    let services = [("web", "198.18.0.80", HTTP), ("four", "198.18.0.80", TALK), ("six", "2001:2::80", TALK)];
    let mut text = format!("interface = \"eth0\"\ngeneration = {generation}\ncontrol = \"control.sock\"\n");
    for (name, vip, port) in services {
        let vip = SocketAddr::new(vip.parse().unwrap(), port);
        text += &format!("\n[[service]]\nname = \"{name}\"\naddress = \"{vip}\"\ncheck.kind = \"none\"\n");
        for (backend, said) in backends {
            let number: u16 = backend[1..].parse().unwrap();
            let address = super::net::address(10 + number, name == "six");
            text += &format!("[[service.backend]]\nname = \"{backend}\"\naddress = \"{address}\"\n{said}\n");
        }
    }
    text
}

/// Backends that serve, with nothing else said.
pub const BOTH: [(&str, &str); 2] = [("b1", ""), ("b2", "")];

/// A net whose backends answer, and a file.
pub struct Ground {
    pub net: Net,
    folder: TempDir,
}

impl Ground {
    pub fn new(backends: u16) -> Self {
        let net = Net::new(backends);
        for number in 1..=backends {
            let name = format!("b{number}");
            net.serve(&name, TALK);
            serve_http(&net, &name);
        }
        let folder = tempfile::tempdir().unwrap();
        let ground = Self { net, folder };
        ground.write(&config(1, &BOTH));
        ground
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("lb.toml")
    }

    pub fn control(&self) -> PathBuf {
        self.folder().join("control.sock")
    }

    pub fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    /// `xskip lb` in the balancer's namespace, to its end.
    pub fn lb(&self, words: &[&str]) -> Output {
        let mut command = self.net.program("balancer", PROGRAM);
        command.arg("lb").args(words).arg("--config").arg(self.file()).output().unwrap()
    }

    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.lb(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// It must be refused; returns what is said.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) -> String {
        let output = self.lb(words);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).unwrap()
    }

    /// A balancer that serves, and reaches its backends.
    #[track_caller]
    pub fn run(&self) -> Running {
        let running = self.begin();
        running.wait_for("balancing; Ctrl-C ends it");
        wait_until("the backends are reached", || {
            let status = self.status();
            let services = status["services"].as_array().unwrap();
            services.iter().flat_map(|it| it["backends"].as_array().unwrap()).all(|it| it["trouble"].is_null())
        });
        running
    }

    /// A balancer that may or may not get as far as that.
    pub fn begin(&self) -> Running {
        self.begin_by(&[PROGRAM])
    }

    /// [`Ground::begin`], by these words, of which the last one is the program.
    pub fn begin_by(&self, starter: &[&str]) -> Running {
        let words = [starter, &["lb", "run", "--config"]].concat();
        let mut command = self.net.program("balancer", words[0]);
        command.args(&words[1..]).arg(self.file());
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (errors, its) = (child.stderr.take().unwrap(), Arc::clone(&said));
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut said = its.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Running { child, said }
    }

    /// [`Ground::begin`], as nobody, with the five rights that it takes.
    pub fn begin_as_nobody(&self) -> Running {
        chown(self.folder(), Some(65_534), Some(65_534)).unwrap();
        let rights = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";
        let starter = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", rights];
        // Where nobody finds the program, nobody runs it.
        let program = self.folder().join("xskip");
        if !program.exists() {
            fs::copy(PROGRAM, &program).unwrap();
        }
        self.begin_by(&[&starter[..], &["--ambient-caps", rights, program.to_str().unwrap()]].concat())
    }

    /// Who answers so many new connections.
    #[track_caller]
    pub fn who(&self, count: usize) -> Vec<String> {
        let ask = |_| {
            let mut talk = self.net.connect(super::net::VIPS[0], TALK);
            talk.ask(1).unwrap_or_else(|error| panic!("{error}"))
        };
        (0..count).map(ask).collect()
    }
}

/// A balancer's process. It is killed when the value is dropped.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// How much it has said so far: for [`Running::wait_for_more`].
    pub fn mark(&self) -> usize {
        self.said.lock().unwrap().len()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str) {
        self.wait_for_more(0, what);
    }

    /// Waits until it has said something since then, and returns all that it has.
    #[track_caller]
    pub fn wait_for_more(&self, since: usize, what: &str) -> String {
        let patience = Instant::now() + PATIENCE;
        while !self.said()[since..].contains(what) {
            assert!(Instant::now() < patience, "waited in vain for {what:?}:\n{}", self.said());
            thread::sleep(std::time::Duration::from_millis(10));
        }
        self.said()[since..].to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end; returns its status.
    pub fn ends(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Has a backend answer HTTP with its name.
fn serve_http(net: &Net, backend: &str) {
    let at = SocketAddr::new(super::net::VIPS[0].parse().unwrap(), HTTP);
    let listener = net.on(backend, || TcpListener::bind(at).unwrap());
    let name = backend.to_owned();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let name = name.clone();
            thread::spawn(move || {
                let (mut heard, mut piece) = (Vec::new(), [0; 1_024]);
                while !heard.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(count @ 1..) => heard.extend_from_slice(&piece[..count]),
                        _ => return,
                    }
                }
                let length = name.len() + 1;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}\n");
                stream.write_all(head.as_bytes()).ok();
            });
        }
    });
}

/// curl, again and again, until the value is dropped or asked.
pub struct Load {
    child: Option<Child>,
    stop: PathBuf,
}

impl Load {
    pub fn start(ground: &Ground) -> Self {
        let stop = ground.folder().join("stop");
        fs::remove_file(&stop).ok();
        let script = format!(
            "while [ ! -e {} ]; do curl -sS --max-time 5 http://198.18.0.80:{HTTP}/ 2>&1 || echo FAILED; done",
            stop.display()
        );
        let mut command = ground.net.program("client", "bash");
        let child = command.args(["-uc", &script]).stdout(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child), stop }
    }

    /// Who has answered, request by request.
    pub fn end(mut self) -> Vec<String> {
        fs::write(&self.stop, "").unwrap();
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        fs::write(&self.stop, "").ok();
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
