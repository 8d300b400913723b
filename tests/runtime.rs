//! Workers that are spoken to while they serve: commands, listeners that come and go, snapshots, wake-ups. Needs root.

mod common;

use common::{Name, is_root, served::ADDRESS, wait_until};
use std::{
    net::IpAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use xskip_cli::{
    Application, Context, Event, Server,
    app::{Http, Services},
    lab::{INTERFACE, Lab, LabOptions},
    runtime::{Cookies, Running},
    stack::ListenError,
    time::Instant,
    worker::{CommandError, ListenRefused},
};

/// A lab with a server at work in it.
struct Scene {
    running: Option<Running>,
    lab: Lab,
    _name: Name,
}

fn lab(queues: u32) -> (Name, Lab) {
    let name = Name::new();
    let options = LabOptions { name: name.as_str().parse().unwrap(), queues, ..LabOptions::default() };
    let lab = Lab::temporary(&options).unwrap();
    (name, lab)
}

impl Scene {
    fn new(queues: u32, start: impl FnOnce(Server) -> Running + Send) -> Self {
        let (name, lab) = lab(queues);
        let server = Server::on(INTERFACE).address(ADDRESS.parse().unwrap());
        let running = Some(lab.server().run(|| start(server)).unwrap());
        Self { running, lab, _name: name }
    }

    /// A server at an address that stays the kernel's.
    fn shared(address: IpAddr, start: impl FnOnce(Server) -> Running + Send) -> Self {
        let (name, lab) = lab(1);
        let link = lab.server().link().unwrap();
        lab.server().run(|| link.add_address(address, 24)).unwrap().unwrap();
        let server = Server::on(INTERFACE).shared_address(address);
        let running = Some(lab.server().run(|| start(server)).unwrap());
        Self { running, lab, _name: name }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Whether a page comes from this port.
    fn get(&self, port: u16) -> bool {
        let url = format!("http://198.18.0.1:{port}/bytes/10000");
        let curl = self.lab.client().command("curl").args(["-s", "-f", "-m", "5", "-o", "/dev/null", &url]);
        curl.with(|command| command.stdin(Stdio::null())).status().unwrap().success()
    }
}

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
    let scene = Scene::shared(here, http);
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
