//! The examples on async streams at work, with real clients, over both IP versions: needs root.

mod common;

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/async_proxy.rs"]
mod async_proxy;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/axum.rs"]
mod axum_example;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/clients.rs"]
mod clients;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/dns.rs"]
mod dns;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/grpc.rs"]
mod grpc;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/https.rs"]
mod https;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/resp.rs"]
mod resp;

use common::{
    is_root,
    scene::Scene,
    served::{ADDRESS, ADDRESS_V6, ok},
};
use sha2::{Digest, Sha256};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    time::Duration,
};
use tonic::{Code, transport::Channel};
use xskip_cli::{RuntimeError, Server, lab::INTERFACE, runtime::Running};

/// The server, by either IP version, as in a URL.
const HOSTS: [&str; 2] = ["198.18.0.1", "[2001:2::1]"];
/// And the client.
const CLIENTS: [&str; 2] = ["198.18.0.2", "[2001:2::2]"];

/// How long servers wait for what clients that mean well will say.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab of so many queues with a server at work in it.
fn scene(queues: u32, start: impl FnOnce(Server) -> Result<Running, RuntimeError> + Send) -> Scene {
    Scene::new(queues, |server| start(server.address(ADDRESS_V6.parse().unwrap())).unwrap())
}

/// Runs a program on the client's side, which must succeed; what it wrote.
#[track_caller]
fn run(scene: &Scene, program: &str, arguments: &[&str]) -> Vec<u8> {
    ok(scene.lab.client().command(program).args(arguments).output().unwrap())
}

#[track_caller]
fn said(scene: &Scene, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(run(scene, program, arguments)).unwrap()
}

#[track_caller]
fn python(scene: &Scene, script: &str) -> String {
    said(scene, "python3", &["-c", script])
}

/// How often something is asked for: so often, unless TIMES says otherwise.
fn times(times: usize) -> usize {
    std::env::var("TIMES").map_or(times, |times| times.parse().unwrap())
}

/// A server in Python on the client's side, which says when it is up.
struct Peer(Child);

impl Peer {
    fn start(scene: &Scene, script: &str) -> Self {
        let peer = scene.lab.client().command("python3").args(["-c", script]);
        let mut peer = Self(peer.with(|command| command.stdout(Stdio::piped())).spawn().unwrap());
        let said = BufReader::new(peer.0.stdout.take().unwrap()).lines().next();
        assert_eq!(said.unwrap().unwrap(), "up");
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_router_of_axums_answers_by_async_streams() {
    if !is_root() {
        return;
    }
    let fails = || async { if true { panic!("on purpose") } else { "" } };
    let router = axum_example::router().route("/fails", ::axum::routing::get(fails));
    let mut scene = scene(1, move |server| {
        server.drain(Duration::from_secs(10)).start_async(move || axum_example::serve(router.clone()))
    });
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big");
    let body: Vec<u8> = (0..1_900_000u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&big, &body).unwrap();
    let curl = |arguments: &[&str]| {
        let curl = scene.lab.client().command("curl").args(["-sS", "--max-time", "60"]).args(arguments);
        ok(curl.output().unwrap())
    };
    // Longer than every buffer on the way, there and back, of known length and in chunks.
    let (data, echo) = (format!("@{}", big.display()), "http://198.18.0.1/echo");
    for url in ["http://198.18.0.1/", "http://[2001:2::1]/"] {
        assert_eq!(curl(&[url]), b"hello\n");
    }
    assert_eq!(curl(&["--data-binary", &data, echo]), body);
    assert_eq!(curl(&["--data-binary", &data, "-H", "Transfer-Encoding: chunked", echo]), body);
    // Many at once.
    let wrk = scene.lab.client().command("wrk").args(["-t1", "-c50", "-d1", "http://198.18.0.1/"]);
    let said = String::from_utf8(ok(wrk.output().unwrap())).unwrap();
    assert!(said.contains("Requests/sec") && !said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    // A handler that panics ends its connection, and no other.
    let fails = scene.lab.client().command("curl").args(["-sS", "--max-time", "60", "http://198.18.0.1/fails"]);
    assert_eq!(fails.output().unwrap().status.code(), Some(56), "a reset");
    // Who asks for nothing is let go at once when the server is to end.
    let idle = scene.lab.client().command("bash").args(["-c", "exec 3<>/dev/tcp/198.18.0.1/80; echo open; cat <&3"]);
    let mut idle = idle.with(|command| command.stdout(Stdio::piped())).spawn().unwrap();
    assert_eq!(BufReader::new(idle.stdout.take().unwrap()).lines().next().unwrap().unwrap(), "open");
    let stats = scene.stop().stats();
    assert!(idle.wait().unwrap().success());
    assert_eq!(stats.application_panics, 1, "{stats:?}");
}

#[test]
fn the_store_keeps_what_it_is_given_however_it_is_cut() {
    if !is_root() {
        return;
    }
    let mut scene = scene(1, |server| server.start_async(resp::serve));
    let said = python(
        &scene,
        r#"
import socket
s = socket.create_connection(("198.18.0.1", 6379), 10)
f = s.makefile("rb")
def cmd(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
# One octet at a time, then many commands at once, then a value larger than every buffer.
for octet in cmd(b"SET", b"a", b"1"):
    s.sendall(bytes([octet]))
assert f.readline() == b"+OK\r\n"
s.sendall(cmd(b"GET", b"a") * 5000)
for _ in range(5000):
    assert f.readline() + f.readline() == b"$1\r\n1\r\n"
big = bytes(range(251)) * 40000
s.sendall(cmd(b"SET", b"big", big))
assert f.readline() == b"+OK\r\n"
s.sendall(cmd(b"GET", b"big"))
assert f.readline() == b"$%d\r\n" % len(big)
assert f.read(len(big) + 2) == big + b"\r\n"
s.sendall(cmd(b"DEL", b"a", b"b") + cmd(b"GET", b"a") + cmd(b"FLY"))
assert f.readline() == b":1\r\n" and f.readline() == b"$-1\r\n" and f.readline().startswith(b"-ERR")
s.sendall(b"nonsense\r\n")
assert f.read() == b"-ERR protocol error\r\n"
# As many words as may be, and more, which are refused before they come.
def begin(data):
    s = socket.create_connection(("198.18.0.1", 6379), 10)
    s.sendall(data)
    return s.makefile("rb")
assert begin(cmd(b"DEL", *[b""] * 1023)).readline() == b":0\r\n"
for count in [1025, 10000000]:
    assert begin(b"*%d\r\n" % count).read() == b"-ERR protocol error\r\n"
print("good")
"#,
    );
    assert_eq!(said, "good\n");
    scene.stop();
}

#[test]
fn redis_own_programs_talk_to_the_store() {
    if !is_root() {
        return;
    }
    let mut scene = scene(1, |server| server.start_async(resp::serve));
    for host in ["198.18.0.1", "2001:2::1"] {
        let cli = |words: &[&str]| said(&scene, "redis-cli", &[&["-h", host], words].concat());
        assert_eq!(cli(&["PING"]) + &cli(&["PING", "hello"]), "PONG\nhello\n");
        assert_eq!(cli(&["SET", "name", "a value"]) + &cli(&["GET", "name"]), "OK\na value\n");
        assert_eq!(cli(&["INCR", "number"]) + &cli(&["INCR", "number"]) + &cli(&["GET", "number"]), "1\n2\n2\n");
        assert!(cli(&["INCR", "name"]).starts_with("ERR value is not an integer"));
        assert_eq!(cli(&["EXISTS", "name", "number", "nothing"]) + &cli(&["DEL", "name", "number"]), "2\n2\n");
        assert_eq!(cli(&["GET", "name"]), "\n");
        for pipelined in ["1", "16"] {
            let arguments =
                ["-h", host, "-q", "-n", "20000", "-c", "50", "-P", pipelined, "-t", "ping_mbulk,set,get,incr"];
            let said = said(&scene, "redis-benchmark", &arguments);
            assert_eq!(said.matches("requests per second").count(), 4, "{said}");
            assert!(!said.contains("Error"), "{said}");
        }
    }
    scene.stop();
}

#[test]
fn https_is_spoken_by_either_version_of_http() {
    if !is_root() {
        return;
    }
    let certified = rcgen::generate_simple_self_signed(["198.18.0.1", "2001:2::1"].map(str::to_owned)).unwrap();
    let acceptor = https::acceptor(&certified).unwrap();
    let mut scene = scene(1, move |server| server.start_async(move || https::serve(acceptor.clone(), PATIENCE)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cert.pem");
    std::fs::write(&file, certified.cert.pem()).unwrap();
    let trust = file.to_str().unwrap();
    for host in HOSTS {
        let url = format!("https://{host}/");
        for (option, version) in [("--http2", "2.0"), ("--http1.1", "1.1")] {
            let said = said(&scene, "curl", &["-sS", "--max-time", "60", "--cacert", trust, option, &url]);
            assert_eq!(said, format!("hello by HTTP/{version}\n"));
        }
        // By hand, with more: TIMES=100000. A name, as h2load puts IPv6 addresses into `:authority` without the brackets they need.
        let (times, connect) = (times(5_000), format!("--connect-to={host}:443"));
        for version in [&[][..], &["--h1"]] {
            let load = ["-n", &times.to_string(), "-c", "20", "-m", "10", &connect];
            let arguments = [&load, version, &["https://localhost/"]].concat();
            let said = said(&scene, "h2load", &arguments);
            assert!(said.contains(&format!("{times} succeeded, 0 failed, 0 errored, 0 timeout")), "{said}");
            println!("{}", said.lines().find(|line| line.starts_with("finished")).unwrap_or_default());
            let protocol = if version.is_empty() { "h2" } else { "http/1.1" };
            assert!(said.contains(&format!("Application protocol: {protocol}")), "{said}");
        }
        // Who speaks no TLS is told so, and ends nobody else.
        let plain = format!("http://{}:443/", host);
        let plain = scene.lab.client().command("curl").args(["-sS", "--max-time", "60", &plain]).output().unwrap();
        assert!(!plain.status.success());
    }
    scene.stop();
}

/// In Python: clients that say little or nothing, and hear what comes until they are let go.
const SILENT: &str = r#"
import socket, ssl, struct
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
# :method GET, :path /, :authority x, and the scheme: HTTP/2's own tables have the rest.
def request(scheme):
    block = b"\x82\x84\x41\1x" + scheme
    return struct.pack(">I", len(block))[1:] + b"\1\5\0\0\0\1" + block
def connect(host, port):
    return socket.create_connection((host, port), 60)
def secure(host, version):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([version])
    stream = context.wrap_socket(connect(host, 443))
    assert stream.selected_alpn_protocol() == version
    return stream
# All that comes until the other side ends: nobody answers its pings.
def hear(stream, word):
    stream.sendall(word)
    heard = b""
    try:
        while data := stream.recv(9999):
            heard += data
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return heard
"#;

#[test]
fn who_says_nothing_over_tls_is_let_go_at_every_step() {
    if !is_root() {
        return;
    }
    let acceptor = https::acceptor(&rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()).unwrap();
    let patience = Duration::from_millis(700);
    let mut scene = scene(1, move |server| server.start_async(move || https::serve(acceptor.clone(), patience)));
    let script = r#"
for host in ["198.18.0.1", "2001:2::1"]:
    assert hear(connect(host, 443), b"") == b""
    for version in ["h2", "http/1.1"]:
        hear(secure(host, version), b"")
    for word in [PREFACE[:1], PREFACE[:9], PREFACE]:
        hear(secure(host, "h2"), word)
    assert b"hello by HTTP/2.0" in hear(secure(host, "h2"), PREFACE + request(b"\x87"))
    hear(secure(host, "http/1.1"), b"GET / HT")
    assert b"hello by HTTP/1.1" in hear(secure(host, "http/1.1"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
print("good")
"#;
    assert_eq!(python(&scene, &format!("{SILENT}{script}")), "good\n");
    scene.stop();
}

#[test]
fn who_calls_nothing_or_vanishes_is_let_go() {
    if !is_root() {
        return;
    }
    let patience = Duration::from_millis(700);
    let mut scene = scene(1, move |server| server.start_async(move || grpc::serve(patience)));
    let script = r#"
for host in ["198.18.0.1", "2001:2::1"]:
    for word in [b"", PREFACE[:9], PREFACE]:
        hear(connect(host, 50051), word)
    assert len(hear(connect(host, 50051), PREFACE + request(b"\x86"))) > 60
print("good")
"#;
    assert_eq!(python(&scene, &format!("{SILENT}{script}")), "good\n");
    scene.stop();
}

/// As a compiler would write it.
async fn say(channel: Channel, method: &'static str, text: String) -> Result<String, tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<grpc::Text, grpc::Text>::default();
    let request = tonic::Request::new(grpc::Text { text });
    let answer = client.unary(request, tonic::codegen::http::uri::PathAndQuery::from_static(method), codec).await?;
    Ok(answer.into_inner().text)
}

#[test]
fn tonics_client_hears_what_it_says() {
    if !is_root() {
        return;
    }
    let times = times(4_000);
    let mut scene = scene(1, |server| server.start_async(|| grpc::serve(PATIENCE)));
    let talk = async |host: &str| {
        let channel = Channel::from_shared(format!("http://{host}:50051")).unwrap().connect().await.unwrap();
        let talkers: Vec<_> = (0..20)
            .map(|talker| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    for number in 0..times / 40 {
                        let text = format!("{talker} says {number}");
                        assert_eq!(say(channel.clone(), grpc::SAY, text.clone()).await.unwrap(), text);
                    }
                })
            })
            .collect();
        for talker in talkers {
            talker.await.unwrap();
        }
        let long = "long ".repeat(500_000);
        assert_eq!(say(channel.clone(), grpc::SAY, long.clone()).await.unwrap(), long);
        assert_eq!(say(channel.clone(), grpc::SAY, String::new()).await.unwrap_err().code(), Code::InvalidArgument);
        let nowhere = say(channel, "/xskip.Echo/Shout", "hello".to_owned()).await;
        assert_eq!(nowhere.unwrap_err().code(), Code::Unimplemented);
    };
    let client = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        HOSTS.iter().for_each(|host| runtime.block_on(talk(host)));
    };
    scene.lab.client().run(client).unwrap();
    scene.stop();
}

#[test]
fn the_async_proxy_passes_on_ten_megabytes_both_ways_and_every_end() {
    if !is_root() {
        return;
    }
    // One port for each IP version of the upstream.
    let [four, six] = CLIENTS.map(|host| format!("{host}:9000").parse::<SocketAddr>().unwrap());
    let mut scene = scene(1, move |server| {
        server.start_async(move || async move {
            xskip::aio::spawn_local(async_proxy::serve(81, six));
            async_proxy::serve(80, four).await
        })
    });
    let peer = Peer::start(
        &scene,
        r#"
import http.server, socket, struct
class Echo(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def shutdown_request(self, request): request.close()
server = Server(("::", 9000), Echo)
print("up", flush=True)
server.serve_forever()
"#,
    );
    let body: Vec<u8> = (0..10_000_000u32).map(|number| (number % 251 + number / 65_536) as u8).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for (host, port) in HOSTS.into_iter().flat_map(|host| [(host, 80), (host, 81)]) {
        let url = format!("http://{host}:{port}/");
        let back = run(&scene, "curl", &["-sS", "--max-time", "60", "-H", "Expect:", "--data-binary", &data, &url]);
        assert_eq!(Sha256::digest(&back), Sha256::digest(&body), "{url}");
        let reset = scene.lab.client().command("curl").args(["-sS", "--max-time", "60", &url]).output().unwrap();
        assert_eq!(reset.status.code(), Some(56), "a reset: {}", String::from_utf8_lossy(&reset.stderr));
    }
    drop(peer);
    let refused = scene.lab.client().command("curl").args(["-sS", "--max-time", "60", "http://198.18.0.1/"]).output();
    let refused = refused.unwrap().status.code();
    assert!(
        matches!(refused, Some(7 | 56)),
        "nobody is behind it, and the client is told while it connects or after: {refused:?}"
    );
    scene.stop();
}

#[test]
fn dig_finds_the_names() {
    if !is_root() {
        return;
    }
    let mut scene = scene(1, |server| server.start_async(dns::serve));
    for host in ["198.18.0.1", "2001:2::1"] {
        let server = format!("@{host}");
        let dig = |words: &[&str]| said(&scene, "dig", &[&[server.as_str(), "+tries=3", "+time=5"], words].concat());
        assert_eq!(dig(&["+short", "WWW.xskip.test", "A"]), "192.0.2.80\n");
        assert_eq!(dig(&["+short", "www.xskip.test", "AAAA"]), "2001:db8::80\n");
        assert_eq!(dig(&["+short", "four.xskip.test", "AAAA"]), "", "known, but not by that version");
        // What there is not may be kept as such (RFC 2308 §2): no data, or no such name, and the zone's SOA.
        for (name, status) in
            [("four.xskip.test", "NOERROR"), ("xskip.test", "NOERROR"), ("five.xskip.test", "NXDOMAIN")]
        {
            let said = dig(&[name, "AAAA"]);
            assert!(said.contains(&format!("status: {status}")) && said.contains("flags: qr aa rd;"), "{said}");
            assert!(said.contains("ANSWER: 0, AUTHORITY: 1") && said.contains("SOA\txskip.test."), "{said}");
        }
        assert!(dig(&["+short", "xskip.test", "SOA"]).starts_with("xskip.test. "));
        assert!(!dig(&["four.xskip.test", "A"]).contains("SOA"));
        // Others' names.
        for name in ["www.example.org", "xskip", "notxskip.test", "."] {
            let said = dig(&[name, "A"]);
            assert!(said.contains("status: REFUSED") && said.contains("flags: qr rd;"), "{said}");
        }
        assert!(dig(&["www.xskip.test", "CH", "TXT"]).contains("status: REFUSED"));
    }
    // What is no question is not answered.
    let said = python(
        &scene,
        r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect(("198.18.0.1", 53))
query = b"\1\2\1\0\0\1\0\0\0\0\0\0\3www\5xskip\4test\0\0\1\0\1"
for datagram in [b"", b"?", query[:14], query[:2] + b"\x81" + query[3:], query]:
    s.send(datagram)
print(s.recv(512)[-4:] == bytes([192, 0, 2, 80]))
"#,
    );
    assert_eq!(said, "True\n");
    scene.stop();
}

#[test]
fn ten_thousand_clients_are_heard_at_once() {
    if !is_root() {
        return;
    }
    let scene = Scene::empty(1);
    let _peer = Peer::start(
        &scene,
        r#"
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()
async def serve():
    server = await asyncio.start_server(echo, None, 7, backlog=4096)
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(serve())
"#,
    );
    for (target, count) in [("198.18.0.2:7", 10_000), ("[2001:2::2]:7", 1_000), ("198.18.0.2:8", 3)] {
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap()).address(ADDRESS_V6.parse().unwrap());
        let converse = || clients::converse_all(&server, target.parse().unwrap(), count);
        let tally = scene.lab.server().run(converse).unwrap().unwrap();
        let refused = xskip::CloseReason::Refused.to_string();
        let what = if target.ends_with(":8") { refused } else { "heard what they said".to_owned() };
        assert_eq!(tally, clients::Tally::from([(what, count)]), "{target}");
    }
}
