//! Async streams on several workers of one server: who has a port, who leaves it, and when the server is through. Needs root.

mod common;

use common::{is_root, scene::Scene, wait_until};
use std::{
    io::{ErrorKind, Read},
    net::{TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use xskip::aio;
use xskip_cli::{Server, lab::INTERFACE};

/// How many workers are to leave their ports, the one with the lowest number first.
#[derive(Clone, Default)]
struct Left(Arc<AtomicUsize>);

impl Left {
    async fn wait(&self) {
        while self.0.load(Ordering::Acquire) <= aio::worker().number {
            aio::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn accept(listener: aio::TcpListener, number: String) -> std::io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(number.as_bytes()).await?;
        stream.close_discarding();
    }
}

async fn answer(socket: aio::UdpSocket, number: String) -> std::io::Result<()> {
    let mut data = Vec::new();
    loop {
        let (local, client) = socket.recv(&mut data).await?;
        socket.send_from(local.ip(), number.as_bytes(), client).await?;
    }
}

/// Has TCP port 80 and UDP port 53 until it is to leave, and says by either which worker it is. Once all have left, it has them again.
async fn serve(left: Left) -> std::io::Result<()> {
    for round in 0..2 {
        let (listener, socket) = (aio::TcpListener::bind(80)?, aio::UdpSocket::bind(53)?);
        let number = aio::worker().number.to_string();
        let mut tasks = [aio::spawn_local(accept(listener, number.clone())), aio::spawn_local(answer(socket, number))];
        if round == 1 {
            std::future::pending::<()>().await;
        }
        left.wait().await;
        tasks.iter_mut().for_each(aio::JoinHandle::abort);
        while left.0.load(Ordering::Acquire) < 3 {
            aio::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Whom many clients in a row have met, by TCP and by UDP, and how many were refused.
fn meet(scene: &Scene) -> [[usize; 3]; 2] {
    let tcp = || {
        let mut said = String::new();
        TcpStream::connect("198.18.0.1:80")?.read_to_string(&mut said)?;
        Ok(said)
    };
    let udp = || {
        let socket = UdpSocket::bind("198.18.0.2:0")?;
        socket.connect("198.18.0.1:53")?;
        // Not everybody is told that nobody is there: that has a rate.
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send(b"?")?;
        let mut word = [0; 9];
        let length = socket.recv(&mut word)?;
        Ok(String::from_utf8_lossy(&word[..length]).into_owned())
    };
    let count = |ask: &dyn Fn() -> std::io::Result<String>| {
        let mut met = [0; 3];
        for _ in 0..24 {
            match ask() {
                Ok(number) => met[number.parse::<usize>().unwrap()] += 1,
                Err(error) => {
                    let refusals = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset, ErrorKind::WouldBlock];
                    assert!(refusals.contains(&error.kind()), "{error}");
                    met[2] += 1;
                }
            }
        }
        met
    };
    scene.lab.client().run(|| [count(&tcp), count(&udp)]).unwrap()
}

/// Whether either way leads to just these: the workers of both numbers, and a refusal.
fn is_met(scene: &Scene, wanted: [bool; 3]) -> bool {
    meet(scene).iter().all(|met| met.map(|times| times > 0) == wanted)
}

#[test]
fn a_port_is_the_servers_until_the_last_worker_has_left_it() {
    if !is_root() {
        return;
    }
    let starts: [fn(Server) -> Server; 2] = [|server| server, |server| server.port(80).udp_port(53)];
    for start in starts {
        let left = Left::default();
        let mut scene = Scene::new(2, |server| {
            let left = left.clone();
            start(server).start_async(move || serve(left.clone())).unwrap()
        });
        let stay = |number| left.0.store(number, Ordering::Release);
        wait_until("both workers are met", || is_met(&scene, [true, true, false]));
        stay(1);
        wait_until("one has left, and refuses", || is_met(&scene, [false, true, true]));
        stay(2);
        wait_until("nobody is there", || is_met(&scene, [false, false, true]));
        stay(3);
        wait_until("both are back", || is_met(&scene, [true, true, false]));
        scene.stop();
    }
}

#[test]
fn a_server_whose_main_futures_have_ended_ends_and_reports() {
    if !is_root() {
        return;
    }
    let scene = Scene::empty(2);
    let run = || {
        let server = Server::on(INTERFACE).address("198.18.0.1/24".parse().unwrap());
        server.run_async(|| async { aio::sleep(Duration::from_millis(20 * aio::worker().number as u64)).await })
    };
    let report = scene.lab.server().run(run).unwrap().unwrap();
    assert_eq!(report.workers.len(), 2);
    let fail = || {
        let server = Server::on(INTERFACE).address("198.18.0.1/24".parse().unwrap());
        server.run_async(|| async { if aio::worker().number == 0 { Err("on purpose") } else { Ok(()) } })
    };
    let error = scene.lab.server().run(fail).unwrap().unwrap_err();
    assert!(error.to_string().contains("on purpose"), "{error}");
}
