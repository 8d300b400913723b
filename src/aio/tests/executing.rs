//! Tasks: how many, how long, from where they are woken, and how they end.

use super::*;
use crate::worker::ExecutorCounts;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    thread,
};

#[test]
fn a_panic_in_a_task_resets_its_connections_and_no_other() {
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        let mut buffer = [0; 9];
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            if length == 0 {
                return;
            }
            assert_ne!(&buffer[..length], b"panic", "on purpose");
            stream.write_all(&buffer[..length]).await.unwrap();
        }
    });
    world.play(server, async {
        let mut good = TcpStream::connect(servers()[0]).await.unwrap();
        let mut bad = TcpStream::connect(servers()[0]).await.unwrap();
        bad.write_all(b"panic").await.unwrap();
        assert_eq!(bad.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        good.write_all(b"still").await.unwrap();
        assert_eq!(good.read(&mut [0; 9]).await.unwrap(), 5);
    });
    assert_eq!(world.stats(SERVER).panics, 1);
    assert_eq!(world.host(SERVER).stack.stats().application_panics, 1);
    // So it is in the worker's snapshot.
    let (stats, mut shown) = (world.stats(SERVER), ExecutorCounts::default());
    world.host(SERVER).aio.as_ref().unwrap().show(&mut shown);
    assert_eq!(shown.tasks, stats.tasks as u64);
    assert!(shown.events.contains(&("panics", 1)) && shown.events.contains(&("polls", stats.polls)), "{shown:?}");
}

#[test]
fn what_a_future_holds_that_panics_is_reset_as_well() {
    /// Keeps its stream in itself, not on the stack of the poll.
    struct Panics(TcpStream);
    impl Future for Panics {
        type Output = ();
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
            panic!("on purpose, with {}", self.0.peer_addr());
        }
    }
    let mut world = World::new();
    let read = world.play(serve(Panics), async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn ten_thousand_tasks_woken_at_once_leave_the_stack_its_turns() {
    const TASKS: u32 = 10_000;
    let mut world = World::new();
    let (gate, through) = (Rc::new(RefCell::new(Vec::<Waker>::new())), Rc::new(Cell::new(0)));
    let (wakers, count) = (gate.clone(), through.clone());
    world.start(SERVER, async move {
        for _ in 0..TASKS {
            let (wakers, count, mut waits) = (wakers.clone(), count.clone(), true);
            drop(spawn_local(async move {
                std::future::poll_fn(|task| {
                    if std::mem::take(&mut waits) {
                        wakers.borrow_mut().push(task.waker().clone());
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                count.set(count.get() + 1);
            }));
        }
        serve(echo).await;
    });
    world.run();
    assert_eq!((gate.borrow().len() as u32, through.get()), (TASKS, 0));
    gate.take().into_iter().for_each(Waker::wake);
    // A client is answered meanwhile, and no turn polls more than it may.
    let client = world.start(CLIENT, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.read(&mut [0; 9]).await.unwrap()
    });
    let mut answered_at = None;
    let mut turns = 0;
    while through.get() < TASKS {
        let before = world.stats(SERVER).polls;
        world.step();
        turns += 1;
        assert!(world.stats(SERVER).polls - before <= POLLS_A_TURN as u64);
        if client.borrow().is_some() {
            answered_at.get_or_insert(through.get());
        }
    }
    assert!(turns >= TASKS as usize / POLLS_A_TURN);
    assert_eq!(world.finish(&client), 5);
    assert_eq!(world.stats(SERVER).tasks, 1, "the main future is left");
}

#[test]
fn a_wake_from_another_thread_is_heard() {
    let mut world = World::new();
    let said = Arc::new(AtomicBool::new(false));
    let says = said.clone();
    let result = world.start(SERVER, async move {
        let (send, receive) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            says.store(true, Ordering::SeqCst);
            send.send(7).unwrap();
        });
        receive.await.unwrap()
    });
    // Virtual time stands still for the thread, which is waited for.
    while result.borrow().is_none() {
        world.step();
        thread::yield_now();
    }
    assert!(said.load(Ordering::SeqCst));
    assert_eq!(result.take(), Some(7));
}

#[test]
fn an_executor_that_ends_while_others_wake_its_tasks_drops_them_here() {
    /// Says where it is dropped.
    struct Here(thread::ThreadId, Rc<Cell<u32>>);
    impl Drop for Here {
        fn drop(&mut self) {
            assert_eq!(self.0, thread::current().id());
            self.1.set(self.1.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    for _ in 0..50 {
        let mut world = World::new();
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let (left, count) = (wakers.clone(), dropped.clone());
        world.start(SERVER, async move {
            for _ in 0..20 {
                let (left, here) = (left.clone(), Here(thread::current().id(), count.clone()));
                drop(spawn_local(std::future::poll_fn(move |task| {
                    let _ = &here;
                    left.borrow_mut().push(task.waker().clone());
                    Poll::<()>::Pending
                })));
            }
        });
        world.run();
        let wakers = wakers.take();
        assert_eq!(wakers.len(), 20);
        let waking = thread::spawn(move || {
            for _ in 0..3 {
                wakers.iter().for_each(Waker::wake_by_ref);
            }
        });
        drop(world);
        waking.join().unwrap();
    }
    assert_eq!(dropped.get(), 50 * 20);
}

#[test]
fn a_task_that_holds_up_its_worker_is_counted() {
    thread_local!(static BEGAN: std::time::Instant = std::time::Instant::now());
    thread_local!(static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) });
    let mut world = World::new();
    let result = world.start(SERVER, async {
        yield_now().await;
        PASSED.set(PASSED.get() + SLOW_POLL);
        yield_now().await;
        PASSED.set(PASSED.get() + SLOW_POLL + Duration::from_nanos(1));
        yield_now().await;
    });
    let clock = || BEGAN.with(|began| *began) + PASSED.get();
    world.host(SERVER).aio.as_ref().unwrap().reactor().executor.set_clock(clock);
    world.finish(&result);
    assert_eq!(world.stats(SERVER).slow_polls, 1);
}

#[test]
fn a_task_is_awaited_given_up_or_let_go() {
    let mut world = World::new();
    let gone = Rc::new(Cell::new(false));
    struct Sets(Rc<Cell<bool>>);
    impl Drop for Sets {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let (sets, let_go) = (Sets(gone.clone()), Rc::new(Cell::new(false)));
    let went = let_go.clone();
    let result = world.start(SERVER, async move {
        assert_eq!(spawn_local(async { 3 }).await, Ok(3));
        let panics = spawn_local(async { if true { panic!("on purpose") } else { 3 } });
        assert_eq!(panics.await, Err(JoinError::Panicked));
        let mut endless = spawn_local(async move {
            let _sets = sets;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        assert!(!endless.is_finished());
        endless.abort();
        assert!(endless.is_finished());
        assert_eq!(endless.await, Err(JoinError::Aborted));
        drop(spawn_local(async move {
            sleep(Duration::from_secs(1)).await;
            went.set(true);
        }));
    });
    world.finish(&result);
    assert!(gone.get() && !let_go.get());
    world.pass(Duration::from_secs(2));
    assert!(let_go.get());
    assert_eq!(world.stats(SERVER).tasks, 0);
}

#[test]
fn a_stream_that_is_dropped_outside_of_a_turn_is_closed_in_the_next() {
    let mut world = World::new();
    world.start(SERVER, serve(echo));
    let client = world.start(CLIENT, TcpStream::connect(servers()[0]));
    let stream = world.finish(&client).unwrap();
    assert_eq!(world.flows(CLIENT), 1);
    drop(stream);
    world.run();
    assert_eq!((world.flows(CLIENT), world.flows(SERVER)), (0, 0));
}

#[test]
fn that_all_main_futures_have_ended_is_heard_of() {
    use crossbeam::channel::TryRecvError;
    let mut world = World::new();
    let (main, ended) = application::until_all_end(|| async { sleep(Duration::from_secs(1)).await });
    for host in [SERVER, CLIENT] {
        let main = main();
        world.start(host, async {
            // What a main future has spawned is not waited for.
            drop(spawn_local(std::future::pending::<()>()));
            if worker().number == 0 {
                main.await;
            }
        });
    }
    // As when all workers have theirs.
    drop(main);
    world.pass(Duration::from_millis(900));
    assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
    world.pass(Duration::from_millis(200));
    assert_eq!(ended.try_recv(), Err(TryRecvError::Disconnected));
}
