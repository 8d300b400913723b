//! The examples at work, with real clients where there are any: needs root, but for the one without a kernel.

mod common;

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/beacon.rs"]
mod beacon;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/client.rs"]
mod client;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../src/program/examples/loaded.rs"]
mod loaded;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/sansio.rs"]
mod sansio;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/shutdown.rs"]
mod shutdown;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/tls.rs"]
mod tls;

use common::{
    Name, is_root,
    served::{ADDRESS, ok},
};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};
use xskip_cli::{
    CloseReason, RuntimeError, Server,
    app::{ByPort, Echo, Http},
    lab::{INTERFACE, Lab, LabOptions, Side},
    runtime::Running,
};

/// A lab with a server of one queue at work in it.
struct Scene {
    running: Option<Running>,
    lab: Lab,
    _name: Name,
}

impl Scene {
    fn new(start: impl FnOnce(Server) -> Result<Running, RuntimeError> + Send) -> Self {
        let name = Name::new();
        let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
        let lab = Lab::temporary(&options).unwrap();
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap());
        let running = lab.server().run(|| start(server)).unwrap().unwrap();
        Self { running: Some(running), lab, _name: name }
    }

    /// Runs Python on the client's side, which must succeed; what it wrote.
    #[track_caller]
    fn python(&self, script: &str) -> String {
        python(self.lab.client(), script)
    }

    #[track_caller]
    fn stop(&mut self) -> xskip::runtime::RunReport {
        self.running.take().unwrap().stop().unwrap()
    }
}

#[track_caller]
fn python(side: &Side, script: &str) -> String {
    String::from_utf8(ok(side.command("python3").args(["-c", script]).output().unwrap())).unwrap()
}

#[test]
fn curl_reads_a_page_and_much_more_over_tls() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let files = ["-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap()];
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=198.18.0.1", "-addext", "subjectAltName=IP:198.18.0.1"])
        .args(files)
        .output();
    ok(made.unwrap());
    let config = tls::config(&certificate, &key).unwrap();
    let mut scene = Scene::new(move |server| server.port(443).start(move || tls::Https::new(config.clone())));
    for (version, length) in [("--tlsv1.3", 12), ("--tls-max=1.2", 12), ("--tlsv1.3", 20_000_000)] {
        let (url, trust) = (format!("https://198.18.0.1/{length}"), certificate.to_str().unwrap());
        let version: Vec<&str> = version.split('=').collect();
        let curl =
            scene.lab.client().command("curl").args(["-sS", "--max-time", "60", "--cacert", trust]).args(&version);
        assert_eq!(ok(curl.args([url.as_str()]).output().unwrap()).len(), length);
    }
    scene.stop();
}

#[test]
fn a_client_hears_of_every_connection_how_it_ended() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
    let lab = Lab::temporary(&options).unwrap();
    ok(lab
        .client()
        .command("bash")
        .args(["-c", "ip addr add 198.18.0.2/24 dev veth0 2>/dev/null || true"])
        .output()
        .unwrap());
    // As many as are asked at once may wait to be accepted.
    let page = r#"
import http.server
http.server.ThreadingHTTPServer.request_queue_size = 128
server = http.server.ThreadingHTTPServer(("198.18.0.2", 8080), http.server.SimpleHTTPRequestHandler)
print("up", flush=True)
server.serve_forever()
"#;
    let peer = lab.client().command("python3").args(["-c", page]);
    let mut peer = peer.with(|command| command.stdout(Stdio::piped()).stderr(Stdio::null())).spawn().unwrap();
    BufReader::new(peer.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let ask = |target: &str, count| {
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap());
        lab.server().run(|| client::ask(&server, target.parse().unwrap(), count)).unwrap().unwrap()
    };
    let answered = ask("198.18.0.2:8080", 50);
    let refused = ask("198.18.0.2:81", 3);
    let unreachable = ask("198.18.0.77:80", 2);
    peer.kill().unwrap();
    peer.wait().unwrap();
    assert!(answered.len() == 50 && answered.iter().all(|outcome| matches!(outcome, Ok(100..))), "{answered:?}");
    assert_eq!(refused, vec![Err(CloseReason::Refused.to_string()); 3]);
    assert_eq!(unreachable, vec![Err(CloseReason::Unreachable.to_string()); 2]);
}

#[test]
fn the_proxy_passes_on_data_and_ends_both_ways() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(|server| server.port(80).start(|| proxy::Proxy::to("198.18.0.2:9000".parse().unwrap())));
    let said = scene.python(
        r#"
import socket, subprocess, threading
subprocess.run("ip addr add 198.18.0.2/24 dev veth0 2>/dev/null || true", shell=True)
def echo(listener):
    while True:
        c, _ = listener.accept()
        def serve(c):
            while data := c.recv(65536):
                if data == b"boom":
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    c.close()
                    return
                c.sendall(data)
            c.sendall(b"the end")
            c.close()
        threading.Thread(target=serve, args=(c,), daemon=True).start()
listener = socket.create_server(("198.18.0.2", 9000))
threading.Thread(target=echo, args=(listener,), daemon=True).start()
big = bytes(range(251)) * 40000
for _ in range(3):
    s = socket.create_connection(("198.18.0.1", 80), 20)
    def send(s=s):
        s.sendall(big)
        s.shutdown(socket.SHUT_WR)
    threading.Thread(target=send).start()
    assert s.makefile("rb").read() == big + b"the end"
s = socket.create_connection(("198.18.0.1", 80), 20)
s.sendall(b"boom")
try:
    print("read", s.recv(1))
except ConnectionResetError:
    print("reset")
"#,
    );
    assert_eq!(said, "reset\n");
    let report = scene.stop();
    assert_eq!(report.stats().connections_opened, 8, "each client has one connection behind it: {:?}", report.stats());
}

#[test]
fn two_stacks_converse_without_a_kernel() {
    let ([server, client], ended, frames) = sansio::converse();
    assert_eq!((&server[..], &client[..]), (&b"hi"[..], &b"hello"[..]));
    assert_eq!(ended, [Some(CloseReason::Finished); 2]);
    assert!((7..=12).contains(&frames), "{frames}");
}

#[test]
fn the_beacon_sends_by_the_clock_and_answers() {
    if !is_root() {
        return;
    }
    let collector = "198.18.0.2:9999".parse().unwrap();
    let mut scene =
        Scene::new(|server| server.udp_port(123).start_with(move |cx| beacon::Beacon::begin(collector, cx)));
    let said = scene.python(
        r#"
import socket, subprocess
subprocess.run("ip addr add 198.18.0.2/24 dev veth0 2>/dev/null || true", shell=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("198.18.0.2", 9999))
s.settimeout(20)
numbers = [int(s.recv(100).split()[1]) for _ in range(4)]
assert numbers == list(range(numbers[0], numbers[0] + 4)), numbers
q = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
q.bind(("198.18.0.2", 0))
q.settimeout(20)
q.sendto(b"?", ("198.18.0.1", 123))
print(q.recv(100).decode().split(":")[0])
"#,
    );
    assert_eq!(said, "198.18.0.2\n");
    scene.stop();
}

#[test]
fn who_waits_is_let_go_at_once_and_who_speaks_is_heard_out() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(|server| shutdown::server(server).start(shutdown::Lines::default));
    let script = r#"
import socket, sys
idle = socket.create_connection(("198.18.0.1", 7), 20)
amid = socket.create_connection(("198.18.0.1", 7), 20)
idle.sendall(b"hello\n")
assert idle.recv(100) == b"you said hello\n"
amid.sendall(b"half a ")
print("ready", flush=True)
assert idle.makefile("rb").read() == b"bye\n"
amid.sendall(b"line\n")
assert amid.makefile("rb").read() == b"you said half a line\nbye\n"
sys.stdin.read()
print("heard out", flush=True)
"#;
    let client = scene.lab.client().command("python3").args(["-c", script]);
    let client = client.with(|command| command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut client = client.spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let report = scene.stop();
    drop(client.stdin.take());
    assert_eq!(lines.next().unwrap().unwrap(), "heard out");
    client.wait().unwrap();
    assert_eq!(report.stats().connections_opened, 2);
}

#[test]
fn one_server_has_several_services_each_on_its_port() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(|server| {
        let services = |_: &mut xskip::Context<'_>| ByPort::new().service([80], Http::default()).service([7], Echo);
        server.port(80).port(7).start_with(services)
    });
    let said = scene.python(
        r#"
import socket, urllib.request
print(len(urllib.request.urlopen("http://198.18.0.1/bytes/1000", timeout=20).read()))
s = socket.create_connection(("198.18.0.1", 7), 20)
s.sendall(b"hello")
print(s.recv(5).decode())
"#,
    );
    assert_eq!(said, "1000\nhello\n");
    scene.stop();
}

#[test]
fn a_load_in_a_lab_tells_how_fast_it_was() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let report = loaded::load(name.as_str()).unwrap();
    assert!(report.per_second > 0.0, "{report:?}");
    assert!(Lab::find(&name.as_str().parse().unwrap()).is_err(), "the lab has gone");
}
