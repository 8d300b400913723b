//! The stack's connections in a runtime of tokio's, with real clients and servers at the other end: needs root.

mod common;

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/axum_serve.rs"]
mod axum_serve;

use common::{
    Name, is_root,
    served::{ADDRESS, ADDRESS_V6, ok},
};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime,
};
use xskip::aio::remote::Remote;
use xskip_cli::{
    Server,
    lab::{INTERFACE, Lab, LabOptions},
    runtime::Running,
};

/// A lab with a stack at work in it, and a runtime beside.
struct Scene {
    tokio: runtime::Runtime,
    running: Running,
    remote: Remote,
    lab: Lab,
    _name: Name,
}

impl Scene {
    fn new() -> Self {
        let name = Name::new();
        let options = LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() };
        let lab = Lab::temporary(&options).unwrap();
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap()).address(ADDRESS_V6.parse().unwrap());
        let start = || server.drain(Duration::from_secs(10)).start_remote();
        let (running, remote) = lab.server().run(start).unwrap().unwrap();
        let tokio = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { tokio, running, remote, lab, _name: name }
    }

    #[track_caller]
    fn client(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        ok(self.lab.client().command(program).args(arguments).output().unwrap())
    }
}

#[test]
fn axum_serves_by_a_listener_of_ours() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let listener = scene.tokio.block_on(scene.remote.bind(80)).unwrap();
    let serving = scene.tokio.spawn(axum_serve::serve(listener, scene.remote.draining()));
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big");
    let body: Vec<u8> = (0..1_900_000u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&big, &body).unwrap();
    let curl = |arguments: &[&str]| scene.client("curl", &[&["-sS", "--max-time", "60"], arguments].concat());
    for url in ["http://198.18.0.1/", "http://[2001:2::1]/"] {
        assert_eq!(curl(&[url]), b"hello\n");
        // Longer than every ring and buffer on the way, there and back.
        let echo = format!("{url}echo");
        assert_eq!(curl(&["--data-binary", &format!("@{}", big.display()), &echo]), body);
    }
    let said = scene.client("wrk", &["-t1", "-c50", "-d1", "http://198.18.0.1/"]);
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("Requests/sec") && !said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    // Who asks for nothing is let go at once when the stack is to end, and axum comes to its end.
    let idle = scene.lab.client().command("bash").args(["-c", "exec 3<>/dev/tcp/198.18.0.1/80; echo open; cat <&3"]);
    let mut idle = idle.with(|command| command.stdout(Stdio::piped())).spawn().unwrap();
    assert_eq!(BufReader::new(idle.stdout.take().unwrap()).lines().next().unwrap().unwrap(), "open");
    let stats = scene.running.stop().unwrap().stats();
    assert!(idle.wait().unwrap().success());
    assert_eq!(stats.application_panics, 0, "{stats:?}");
    scene.tokio.block_on(serving).unwrap().unwrap();
}

#[test]
fn connections_are_opened_to_the_kernel_s_servers() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let (client, tokio) = (scene.lab.client(), &scene.tokio);
    let listeners = client.run(|| ["198.18.0.2:7", "[2001:2::2]:7"].map(std::net::TcpListener::bind));
    for listener in listeners.unwrap() {
        let listener = listener.unwrap();
        let place = listener.local_addr().unwrap();
        // An echo by the kernel's sockets.
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut back = stream.try_clone().unwrap();
            std::io::copy(&mut stream, &mut back).unwrap()
        });
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        let received = tokio.block_on(async {
            let stream = scene.remote.connect(place).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(stream);
            let sent = sent.clone();
            let writing = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            writing.await.unwrap();
            received
        });
        assert!(received == sent, "{} octets, or others", received.len());
        assert_eq!(echo.join().unwrap(), sent.len() as u64);
    }
    scene.running.stop().unwrap();
}

#[test]
fn a_stack_that_is_gone_says_so_to_a_runtime_that_is_not() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let listener = scene.tokio.block_on(scene.remote.bind(80)).unwrap();
    let accepting = scene.tokio.spawn(async move { listener.accept().await.map(drop) });
    scene.running.stop().unwrap();
    let error = scene.tokio.block_on(accepting).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the stack has ended; keep its `Running` for as long as its streams are used");
    let error = scene.tokio.block_on(scene.remote.bind(80)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
}
