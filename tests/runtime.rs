//! Workers that are spoken to while they serve: commands, listeners that come and go, snapshots, wake-ups. Needs root.

mod common;

use common::{is_root, scene::Scene, wait_until};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use xskip_cli::{
    Application, ConnectionId, Context, Event, Server, Service,
    app::{Datagram, Echo, Http, Origin, Services},
    rng::SipKey,
    runtime::{Cookies, DefenceLevel, Running, RuntimeError},
    stack::{BindError, ListenError},
    tcp::{State, cookie::MasterKey},
    time::Instant,
    wire::FourTuple,
    worker::{BindRefused, CommandError, ListenRefused, Tap, TapEvent, WorkerHandle},
};

fn http(server: Server) -> Running {
    server.port(80).start(Http::default).unwrap()
}

#[test]
fn a_listener_comes_and_goes_while_the_server_runs_whoever_answers_syns() {
    if !is_root() {
        return;
    }
    for cookies in [Cookies::Never, Cookies::Always] {
        let scene = Scene::new(2, |server| http(server.cookies(cookies)));
        let running = scene.running();
        assert!(scene.get(80) && !scene.get(8080));
        running.listen(None, 8080).unwrap();
        assert!((0..10).all(|_| scene.get(8080)), "on whichever worker a flow lands, with cookies {cookies:?}");
        let twice = running.listen(None, 8080);
        assert!(matches!(twice, Err(ListenRefused::Stack(ListenError::Twice { port: 8080, .. }))), "{twice:?}");
        assert!(scene.get(8080), "whoever listens goes on");
        assert!(running.unlisten(None, 8080).unwrap() && !running.unlisten(None, 8080).unwrap());
        assert!(!scene.get(8080) && scene.get(80));
        assert!(matches!(running.listen(None, 0), Err(ListenRefused::Stack(ListenError::PortZero))));
    }
}

/// Serves pages, and listens once more as soon as it has been told to, on one of the workers.
struct Opener {
    pages: Services<Http>,
    opened: bool,
    wanted: Arc<AtomicU32>,
}

impl Application for Opener {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        self.pages.event(event, cx);
    }

    fn on_turn(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        if cx.worker().number == 1 && !self.opened && self.wanted.load(Ordering::Acquire) == 1 {
            cx.listen(None, 8080).unwrap();
            self.opened = true;
        }
        self.pages.on_turn(cx)
    }
}

#[test]
fn an_application_that_listens_on_one_worker_is_served_on_all_and_a_waker_gives_it_its_turn() {
    if !is_root() {
        return;
    }
    let wanted = Arc::new(AtomicU32::new(0));
    let shared = wanted.clone();
    let scene = Scene::new(2, |server| {
        let make = move |_: &mut Context<'_>| Opener {
            pages: Services::new(Http::default()),
            opened: false,
            wanted: shared.clone(),
        };
        server.port(80).start_with(make).unwrap()
    });
    assert!(scene.get(80) && !scene.get(8080));
    wanted.store(1, Ordering::Release);
    // Nothing happens on the link: whoever sleeps is woken by this alone.
    scene.running().workers().get(1).unwrap().waker().wake();
    wait_until("it listens", || scene.get(8080));
    assert!((0..10).all(|_| scene.get(8080)));
}

#[test]
fn commands_are_answered_while_the_server_works_and_refused_when_it_is_gone() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let workers = scene.running().workers().clone();
    let panicked = workers.get(0).unwrap().call(|_| -> () { panic!("on purpose") });
    assert_eq!(panicked, Err(CommandError::Panicked { worker: 0 }));
    workers.get(1).unwrap().post(|_| panic!("on purpose, and nobody waits for an answer")).unwrap();
    let numbers: Vec<_> = workers.iter().map(|worker| worker.call(|cx| cx.worker().number).unwrap()).collect();
    assert_eq!(numbers, [0, 1]);
    thread::scope(|scope| {
        let speaking = scope.spawn(|| {
            for _ in 0..2_000 {
                workers.iter().for_each(|worker| assert!(worker.call(|cx| cx.stack().flow_counts()).is_ok()));
            }
        });
        while !speaking.is_finished() {
            assert!(scene.get(80));
        }
    });
    scene.running.take().unwrap().stop().unwrap();
    assert_eq!(workers.get(0).unwrap().call(|_| ()), Err(CommandError::Gone { worker: 0 }));
    assert_eq!(workers.get(1).unwrap().post(|_| ()), Err(CommandError::Gone { worker: 1 }));
}

#[test]
fn a_thousand_listeners_come_and_go_under_load() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, |server| http(server.cookies(Cookies::Always)));
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for port in 10_000..11_000 {
                scene.running().listen(None, port).unwrap();
                assert!(scene.running().unlisten(None, port).unwrap());
            }
        });
        while !changing.is_finished() {
            assert!(scene.get(80));
        }
    });
    assert!(!scene.get(10_999) && scene.get(80));
}

#[test]
fn a_snapshot_shows_what_was_served_and_then_stays_as_it_is() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, http);
    let worker = scene.running().workers().get(0).unwrap();
    assert!((0..5).all(|_| scene.get(80)));
    wait_until("the snapshot shows it", || worker.snapshot().stats.connections_opened == 5);
    let shown = worker.snapshot();
    assert!(shown.frames_in > 0 && shown.frames_out > 0 && shown.turns > 0, "{shown:?}");
    let [port] = &shown.ports[..] else { panic!("one queue: {shown:?}") };
    assert!(port.statistics.received > 0 && port.frames.is_balanced(), "{port:?}");
    // Who has nothing to show does not wake up for it: connections in TIME-WAIT end after a minute, and nothing else is due.
    wait_until("nothing is left to show", || {
        let before = worker.snapshot().turns;
        thread::sleep(Duration::from_millis(500));
        worker.snapshot().turns == before
    });
}

#[test]
fn who_waits_is_told_to_stop_by_anybody() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(1, http);
    let running = scene.running.take().unwrap();
    let stopper = running.stopper();
    let waiting = thread::spawn(move || running.wait());
    stopper.stop();
    let report = waiting.join().unwrap().unwrap();
    assert_eq!(report.workers.len(), 1);
}

#[test]
fn a_listener_at_one_address_and_one_at_all_of_them_do_not_take_each_other_along() {
    if !is_root() {
        return;
    }
    // What nobody of ours is served at a shared address is the kernel's, which has no listener.
    let here = "198.18.0.1".parse().unwrap();
    let scene = Scene::shared(1, here, http);
    let running = scene.running();
    running.listen(None, 8080).unwrap();
    running.listen(Some(here), 8080).unwrap();
    assert!(running.unlisten(Some(here), 8080).unwrap());
    assert!(scene.get(8080), "the one at all addresses is there yet");
    assert!(running.unlisten(None, 8080).unwrap() && !scene.get(8080));
    running.listen(Some(here), 8080).unwrap();
    assert!(!running.unlisten(None, 8080).unwrap(), "there is none at all addresses");
    assert!(scene.get(8080), "the one at this address is there yet");
    assert!(running.listen(None, 8080).is_ok() && running.unlisten(None, 8080).unwrap());
    assert!(scene.get(8080));
    assert!(running.unlisten(Some(here), 8080).unwrap() && !scene.get(8080));
}

#[test]
fn a_second_listener_on_a_port_leaves_the_first_ones_defence_as_it_is() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, |server| http(server.cookies(Cookies::Always)));
    let answered = || scene.running().verdicts().unwrap().answered_syn;
    assert!(scene.get(80) && answered() == 1);
    scene.running().listen(Some("198.18.0.1".parse().unwrap()), 80).unwrap();
    assert!(scene.get(80));
    assert_eq!(answered(), 2, "XDP answers as before");
}

#[test]
fn an_address_that_is_not_served_is_nobodys_to_listen_at() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, http);
    let elsewhere = "198.18.0.77".parse().unwrap();
    let refused = scene.running().listen(Some(elsewhere), 8080).unwrap_err();
    assert_eq!(refused, ListenRefused::NotServed(elsewhere));
    assert!(refused.to_string().starts_with("198.18.0.77 is no address of this server"), "{refused}");
    let worker = scene.running().workers().get(0).unwrap();
    let asked = worker.call(move |cx| cx.listen(Some(elsewhere), 8080).map(drop)).unwrap();
    assert_eq!(asked, Err(ListenRefused::NotServed(elsewhere)), "nor an application's");
    assert!(!worker.call(move |cx| cx.stack().unlisten_at(Some(elsewhere), 8080)).unwrap(), "nothing is left behind");
}

/// Echoes, and panics at what it cannot read.
struct Fragile;

impl Application for Fragile {
    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        if let Event::Ready(id) = event
            && let Some(mut stream) = cx.stream(id)
        {
            let mut octets = [0; 64];
            let count = stream.read(&mut octets);
            assert!(!octets[..count].contains(&0), "a zero, of all things");
            stream.write(&octets[..count]);
        }
    }
}

/// A peer that has been answered on port 7.
fn connect() -> TcpStream {
    let mut peer = TcpStream::connect("198.18.0.1:7").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(b"good").unwrap();
    peer.read_exact(&mut [0; 4]).unwrap();
    peer
}

#[test]
fn an_application_that_panics_leaves_no_peer_waiting_and_is_named_for_it() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(1, |server| server.port(7).start_with(|_| Fragile).unwrap());
    let mut peers = scene.lab.client().run(|| [connect(), connect(), connect()]).unwrap();
    peers[1].write_all(&[0]).unwrap();
    for peer in &mut peers {
        let error = peer.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "of all of them: {error}");
    }
    let error = scene.running.take().unwrap().wait().unwrap_err();
    assert!(matches!(error, RuntimeError::ApplicationPanicked { queue: 0, .. }), "{error}");
    assert!(error.to_string().contains("(a zero, of all things), so its connections were reset"), "{error}");
}

/// Panics at a frame that ends in `zero`, and at every one after it.
#[derive(Default)]
struct FragileTap(AtomicU32);

impl Tap for FragileTap {
    fn frame(&self, event: &TapEvent<'_>) {
        let is_at_fault = event.frame.ends_with(b"zero") || self.0.load(Ordering::Relaxed) > 0;
        self.0.store(is_at_fault.into(), Ordering::Relaxed);
        assert!(!is_at_fault, "on purpose, in a test");
    }
}

#[test]
fn a_tap_that_panics_leaves_no_peer_waiting() {
    if !is_root() {
        return;
    }
    let tap = Arc::<FragileTap>::default();
    let mut scene = Scene::new(1, |server| server.port(7).tap(tap).start(|| Echo).unwrap());
    let mut peers = scene.lab.client().run(|| [connect(), connect()]).unwrap();
    peers[1].write_all(b"zero").unwrap();
    for peer in &mut peers {
        let error = peer.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let error = scene.running.take().unwrap().wait().unwrap_err();
    assert!(matches!(error, RuntimeError::WorkerPanicked { queue: 0 }), "{error}");
}

#[test]
fn an_application_that_cannot_be_made_says_why() {
    if !is_root() {
        return;
    }
    let make = |_: &mut Context<'_>| -> Fragile { panic!("no {}", "such file") };
    let mut scene = Scene::new(1, move |server| server.port(7).start_with(make).unwrap());
    let error = scene.running.take().unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("panicked (no such file)"), "{error}");
}

/// Answers a datagram by the number of its worker.
struct Number;

impl Service for Number {
    type Session = ();

    fn open(&mut self, _: ConnectionId, _: Origin, _: &mut Context<'_>) {}

    fn ready(&mut self, (): &mut (), _: ConnectionId, _: &mut Context<'_>) {}

    fn datagram(&mut self, _: &Datagram<'_>, answer: &mut Vec<u8>, cx: &mut Context<'_>) -> bool {
        answer.extend_from_slice(cx.worker().number.to_string().as_bytes());
        true
    }
}

/// What is answered to a datagram from each of 64 ports; `None` where nobody takes it.
fn ask(scene: &Scene, remote: &str) -> Option<BTreeSet<String>> {
    let ask = || {
        let socket = UdpSocket::bind("198.18.0.2:0").unwrap();
        socket.connect(remote).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send(b"?").unwrap();
        let mut answer = [0; 8];
        let count = socket.recv(&mut answer).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{remote}: {error}");
        });
        count.ok().map(|count| String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    scene.lab.client().run(|| (0..64).map(|_| ask()).collect()).unwrap()
}

/// Servers at an address of their own and at one that is shared, with two workers and no port.
fn at_either_address() -> [(Scene, &'static str); 2] {
    let here = "198.18.0.1".parse().unwrap();
    let start = |server: Server| server.start_with(|_| Services::new(Number)).unwrap();
    [(Scene::new(2, start), "198.18.0.1:5000"), (Scene::shared(2, here, start), "198.18.0.1:5000")]
}

#[test]
fn datagrams_of_a_port_that_is_bound_later_come_to_every_worker_at_addresses_of_either_kind() {
    if !is_root() {
        return;
    }
    let both = BTreeSet::from(["0".to_owned(), "1".to_owned()]);
    for (mut scene, remote) in at_either_address() {
        let here = Some("198.18.0.1".parse().unwrap());
        assert_eq!(ask(&scene, remote), None);
        for address in [None, here] {
            scene.running().bind_udp(address, 5_000).unwrap();
            assert_eq!(ask(&scene, remote).as_ref(), Some(&both));
            let twice = scene.running().bind_udp(address, 5_000);
            assert_eq!(twice, Err(BindRefused::Stack(BindError::InUse(5_000))));
            assert_eq!(ask(&scene, remote).as_ref(), Some(&both), "whoever is there goes on");
            assert!(scene.running().unbind_udp(address, 5_000).unwrap());
            assert!(!scene.running().unbind_udp(address, 5_000).unwrap());
            assert_eq!(ask(&scene, remote), None);
        }
        // One at all addresses and one at this one do not take each other along.
        [None, here].iter().for_each(|&address| scene.running().bind_udp(address, 5_000).unwrap());
        assert!(scene.running().unbind_udp(here, 5_000).unwrap());
        assert_eq!(ask(&scene, remote).as_ref(), Some(&both));
        let elsewhere = "198.18.0.77".parse().unwrap();
        for (address, port, refused) in
            [(None, 0, BindError::PortZero), (Some(elsewhere), 5_000, BindError::NotOurs(elsewhere))]
        {
            assert_eq!(scene.running().bind_udp(address, port), Err(BindRefused::Stack(refused)));
        }
        scene.stop();
    }
}

#[test]
fn a_port_that_one_application_binds_is_every_workers_and_the_others_may_have_it_too() {
    if !is_root() {
        return;
    }
    for (mut scene, remote) in at_either_address() {
        let workers = scene.running().workers().clone();
        let on = |number: usize| workers.get(number).unwrap();
        let bind = |number| on(number).call(|cx| cx.bind_udp(None, 5_000)).unwrap();
        let theirs = bind(1).unwrap();
        wait_until("the other worker knows", || ask(&scene, remote).is_some_and(|answers| answers.len() == 2));
        let ours = bind(0).unwrap();
        for (number, id) in [(0, ours), (1, theirs)] {
            assert_eq!(on(number).call(move |cx| cx.stack().udp_place(id)).unwrap(), Some((None, 5_000)));
            assert_eq!(bind(number), Err(BindRefused::Stack(BindError::InUse(5_000))), "it has it already");
        }
        on(0).call(move |cx| cx.unbind_udp(ours)).unwrap();
        wait_until("nobody has it", || ask(&scene, remote).is_none());
        assert!(bind(0).is_ok(), "it is free again");
        scene.stop();
    }
}

#[test]
fn cookies_are_used_as_is_said_under_way_and_their_keys_come_from_another_secret() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| http(server.cookies(Cookies::Never)));
    let answered = || scene.running().verdicts().unwrap().answered_syn;
    for (cookies, level, by_xdp) in [
        (Cookies::Always, DefenceLevel::Xdp, true),
        (Cookies::Worker, DefenceLevel::Worker, false),
        (Cookies::Never, DefenceLevel::Cache, false),
        (Cookies::Always, DefenceLevel::Xdp, true),
        (Cookies::Auto, DefenceLevel::Xdp, true),
    ] {
        let before = answered();
        scene.running().set_cookies(cookies);
        assert!((0..5).all(|_| scene.get(80)), "{cookies:?}");
        assert_eq!(answered() - before, if by_xdp { 5 } else { 0 }, "{cookies:?}");
        wait_until("it is told", || scene.running().defence()[0].level == level);
        // Of a listener that comes later it counts as well; where the pressure decides, that has had none.
        let level = if cookies == Cookies::Auto { DefenceLevel::Cache } else { level };
        scene.running().listen(None, 8080).unwrap();
        let is_known = || scene.running().defence().iter().any(|one| one.listener.port() == 8080 && one.level == level);
        wait_until("a new listener is defended likewise", is_known);
        assert!(scene.running().unlisten(None, 8080).unwrap());
    }
    // The keys of the epochs to come, on every worker.
    let keys = || {
        let of_one = |worker: WorkerHandle| {
            let key = worker.call(|cx| {
                let now = cx.now();
                let jar = cx.stack().cookies();
                jar.key_of(jar.epoch(now) + 2).to_bytes()
            });
            key.unwrap()
        };
        scene.running().workers().iter().map(of_one).collect::<BTreeSet<_>>()
    };
    let before = keys();
    scene.running().set_cookie_master(SipKey::from_seed(1));
    let (after, expected) = (keys(), MasterKey::new(SipKey::from_seed(1)));
    assert!(before.len() == 1 && after.len() == 1 && before != after);
    let worker = scene.running().workers().get(0).unwrap();
    let epoch = worker.call(|cx| {
        let now = cx.now();
        cx.stack().cookies().epoch(now)
    });
    // An epoch may have ended meanwhile.
    let expected = [epoch.unwrap() + 2, epoch.unwrap() + 1].map(|epoch| expected.of_epoch(epoch).to_bytes());
    assert!(expected.iter().any(|key| after.contains(key)));
    assert!((0..5).all(|_| scene.get(80)), "cookies of this epoch are as they were");
    scene.stop();
}

#[test]
fn a_server_that_drains_is_spoken_to_until_it_ends_and_accepts_nothing() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(1, |server| server.port(7).drain(Duration::from_secs(600)).start(|| Echo).unwrap());
    let mut peer = scene.lab.client().run(|| TcpStream::connect("198.18.0.1:7")).unwrap().unwrap();
    let hears = |peer: &mut TcpStream| {
        peer.write_all(b"good").unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
    };
    hears(&mut peer);
    let worker = scene.running().workers().get(0).unwrap();
    scene.running().drain();
    assert_eq!(scene.running().listen(None, 8080), Err(ListenRefused::Stopping));
    assert_eq!(worker.call(|cx| cx.listen(None, 8080).map(drop)), Ok(Err(ListenRefused::Stopping)));
    let connect = || scene.lab.client().run(|| TcpStream::connect("198.18.0.1:7")).unwrap();
    wait_until("nothing is accepted", || connect().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
    hears(&mut peer);
    assert_eq!(worker.call(|cx| cx.stack().flow_counts().0), Ok(1));
    assert!(scene.running().is_running());
    drop(peer);
    let running = scene.running.take().unwrap();
    let report = running.wait().unwrap();
    assert_eq!((report.stats().connections_opened, report.workers.len()), (1, 1));
    assert_eq!(worker.call(|_| ()), Err(CommandError::Gone { worker: 0 }));
}

#[test]
fn a_connection_outlives_the_drain_of_other_workers_whichever_queue_its_frames_come_by() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| server.port(7).drain(Duration::from_secs(60)).start(|| Echo).unwrap());
    let hears = |peer: &mut TcpStream| {
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.write_all(b"good").unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
    };
    let connect = || TcpStream::connect("198.18.0.1:7").unwrap();
    let mut peers: Vec<_> = scene.lab.client().run(|| (0..32).map(|_| connect()).collect()).unwrap();
    peers.iter_mut().for_each(hears);
    // Those of the second worker stay, and on average every other one's frames come by the first one's queue.
    let workers = scene.running().workers().clone();
    let (first, second) = (workers.get(0).unwrap(), workers.get(1).unwrap());
    peers.retain(|peer| {
        let (local, remote) = (peer.peer_addr().unwrap().into(), peer.local_addr().unwrap().into());
        second.call(move |cx| cx.stack().state_of(&FourTuple { local, remote })).unwrap() != State::Closed
    });
    assert!(!peers.is_empty());
    let left = |worker: &WorkerHandle| worker.call(|cx| cx.stack().flow_counts().0);
    wait_until("the first one has none", || left(&first) == Ok(0));
    scene.running().drain();
    peers.iter_mut().for_each(hears);
    assert_eq!((left(&first), left(&second)), (Ok(0), Ok(peers.len() as u32)), "frames are handed over");
    drop(peers);
    scene.stop();
}

#[test]
fn a_runtime_that_only_connects_listens_nowhere_and_takes_datagrams_all_the_same() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| server.only_connects().start_with(|_| Services::new(Number)).unwrap());
    assert_eq!(scene.running().listen(None, 8080), Err(ListenRefused::OnlyConnects));
    let worker = scene.running().workers().get(1).unwrap();
    assert_eq!(worker.call(|cx| cx.listen(None, 8080).map(drop)), Ok(Err(ListenRefused::OnlyConnects)));
    assert_eq!(ask(&scene, "198.18.0.1:5000"), None);
    worker.call(|cx| cx.bind_udp(None, 5_000)).unwrap().unwrap();
    wait_until("every worker knows", || ask(&scene, "198.18.0.1:5000").is_some_and(|answers| answers.len() == 2));
    scene.stop();
}
