//! Several at a time change what a running server serves, or a worker does not answer: nobody is left with half of it. Needs root.

mod common;

use common::{is_root, scene::Scene, wait_until};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use xskip_cli::{
    Context, Server,
    app::Http,
    lab::INTERFACE,
    runtime::{AddressRefused, Cookies, DefenceLevel, Running},
    stack::{BindError, InUse, ListenError},
    worker::{BindRefused, CommandError, ListenRefused, MAX_COMMANDS, WorkerHandle},
};

fn http(server: Server) -> Running {
    server.port(80).start(Http::default).unwrap()
}

/// Has a worker do nothing until what is returned is dropped, and then this.
fn hold(worker: &WorkerHandle, then: fn(&mut Context<'_>)) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let held = move |cx: &mut Context<'_>| {
        released.recv().ok();
        then(cx);
    };
    worker.post(held).unwrap();
    release
}

#[test]
fn a_worker_whose_queue_is_full_is_named_and_nobody_else_goes_on_with_what_it_could_not_be_told() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let running = scene.running();
    let (first, second) = (running.workers().get(0).unwrap(), running.workers().get(1).unwrap());
    let (release, released) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    second
        .post(move |_| {
            tell.send(()).unwrap();
            released.recv().ok();
        })
        .unwrap();
    told.recv().unwrap();
    let done = Arc::new(AtomicU32::new(0));
    for _ in 0..MAX_COMMANDS {
        let done = done.clone();
        second
            .post(move |_| {
                done.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
    }
    let full = CommandError::QueueFull { worker: 1 };
    assert_eq!((second.post(|_| ()), second.call(|_| ())), (Err(full), Err(full)));
    assert_eq!(running.listen(None, 8080), Err(ListenRefused::Worker(full)));
    assert_eq!(running.bind_udp(None, 5_000), Err(BindRefused::Worker(full)));
    let refused = running.add_address(INTERFACE, "198.18.0.77/24".parse().unwrap()).unwrap_err();
    assert!(matches!(refused, AddressRefused::Worker(error) if error == full), "{refused}");
    assert_eq!(first.call(|cx| cx.listen(None, 8080).map(drop)), Ok(Err(ListenRefused::Worker(full))));
    assert_eq!(first.call(|cx| cx.bind_udp(None, 5_000).map(drop)), Ok(Err(BindRefused::Worker(full))));
    drop(release);
    // What was queued is done, and what was refused has left nothing behind.
    second
        .call(|_| ())
        .or_else(|_| {
            wait_until("there is room", || second.post(|_| ()).is_ok());
            second.call(|_| ())
        })
        .unwrap();
    assert_eq!(done.load(Ordering::Relaxed), MAX_COMMANDS as u32);
    assert_eq!(running.addresses().len(), 1);
    for _ in 0..2 {
        running.listen(None, 8080).unwrap();
        running.bind_udp(None, 5_000).unwrap();
        running.add_address(INTERFACE, "198.18.0.77/24".parse().unwrap()).unwrap();
        assert!((0..10).all(|_| scene.get(8080)));
        assert!(running.unlisten(None, 8080).unwrap() && running.unbind_udp(None, 5_000).unwrap());
        running.remove_address("198.18.0.77".parse().unwrap(), InUse::Reset).unwrap();
    }
    scene.stop();
}

#[test]
fn a_worker_that_answers_too_late_has_done_nothing_for_good() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let running = scene.running();
    running.bind_udp(None, 6_000).unwrap();
    let first = running.workers().get(0).unwrap();
    let release = hold(&first, |_| {});
    let silent = CommandError::Silent { worker: 0 };
    let add = || running.add_address(INTERFACE, "198.18.0.77/24".parse().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(running.listen(None, 8080), Err(ListenRefused::Worker(silent))));
        scope.spawn(|| assert_eq!(running.unbind_udp(None, 6_000), Err(BindRefused::Worker(silent))));
        let refused = add().unwrap_err();
        assert!(matches!(refused, AddressRefused::Worker(error) if error == silent), "{refused}");
    });
    drop(release);
    // It has carried everything out by now, and has taken back what was refused.
    running.listen(None, 8080).unwrap();
    running.bind_udp(None, 6_000).unwrap();
    add().unwrap();
    assert!((0..10).all(|_| scene.get_from("198.18.0.77:8080")));
    scene.stop();
}

/// Whether the stack listens on port 8080.
fn has_listener(cx: &mut Context<'_>) -> bool {
    match cx.stack().listen(None, 8080) {
        Ok(listener) => !cx.stack().unlisten(listener),
        Err(refused) => matches!(refused, ListenError::Twice { .. }),
    }
}

/// Whether the stack has a UDP socket at port 5000.
fn has_socket(cx: &mut Context<'_>) -> bool {
    cx.stack().udp_socket_at(None, 5_000).is_some()
}

#[test]
fn who_asks_for_what_an_application_has_asked_for_meanwhile_takes_it_from_nobody() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let running = scene.running();
    let [first, second] = [0, 1].map(|number| running.workers().get(number).unwrap());
    // What the second worker's application does when it is let: somebody has waited for that worker since before.
    let on_second = |ask: fn(&mut Context<'_>)| hold(&second, ask);
    thread::scope(|scope| {
        let release = on_second(|cx| assert!(cx.listen(None, 8080).is_ok()));
        let listened = scope.spawn(|| running.listen(None, 8080));
        wait_until("the first worker listens", || first.call(has_listener).unwrap());
        drop(release);
        let twice = listened.join().unwrap();
        assert!(matches!(twice, Err(ListenRefused::Stack(ListenError::Twice { port: 8080, .. }))), "{twice:?}");
        let release = on_second(|cx| assert!(cx.bind_udp(None, 5_000).is_ok()));
        let bound = scope.spawn(|| running.bind_udp(None, 5_000));
        wait_until("the first worker has a socket", || first.call(has_socket).unwrap());
        drop(release);
        assert_eq!(bound.join().unwrap(), Err(BindRefused::Stack(BindError::InUse(5_000))));
    });
    let both = [first, second].map(|worker| worker.call(|cx| (has_listener(cx), has_socket(cx))));
    assert_eq!(both, [Ok((true, true)); 2]);
    scene.stop();
}

#[test]
fn who_listens_and_who_ends_it_at_the_same_time_come_one_after_the_other() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let running = scene.running();
    let [first, second] = [0, 1].map(|number| running.workers().get(number).unwrap());
    let release = hold(&second, |_| {});
    thread::scope(|scope| {
        let listened = scope.spawn(|| running.listen(None, 8080));
        wait_until("the first worker listens", || first.call(has_listener).unwrap());
        let ended = scope.spawn(|| running.unlisten(None, 8080));
        // Long enough for it to get in between, if it could.
        thread::sleep(Duration::from_millis(200));
        drop(release);
        assert_eq!(listened.join().unwrap(), Ok(()));
        assert_eq!(ended.join().unwrap(), Ok(true));
    });
    assert!(![first, second].iter().any(|worker| worker.call(has_listener).unwrap()));
    assert_eq!(running.unlisten(None, 8080), Ok(false), "and the program knows of none");
    scene.stop();
}

#[test]
fn on_a_worker_nobody_waits_for_workers() {
    if !is_root() {
        return;
    }
    let running = Arc::new(OnceLock::<Running>::new());
    let mut scene = Scene::new(1, http);
    running.set(scene.running.take().unwrap()).unwrap();
    let (server, worker) = (running.clone(), running.get().unwrap().workers().get(0).unwrap());
    let refused = worker.call(move |cx| {
        let server = server.get().unwrap();
        // Who tells it of the cookies has to wait for it.
        let ours = server.workers().get(cx.worker().number).unwrap();
        while ours.post(|_| ()).is_ok() {}
        server.set_cookies(Cookies::Worker);
        let added = server.add_address(INTERFACE, "198.18.0.77/24".parse().unwrap()).unwrap_err();
        let removed = server.remove_address("198.18.0.1".parse().unwrap(), InUse::Reset).unwrap_err();
        [added, removed].map(|refused| matches!(refused, AddressRefused::Worker(CommandError::OnWorker)))
    });
    assert_eq!(refused, Ok([true, true]));
    let is_set = || running.get().unwrap().defence()[0].level == DefenceLevel::Worker;
    wait_until("cookies are used as was said", is_set);
    scene.running = Arc::into_inner(running).unwrap().into_inner();
    scene.stop();
}
