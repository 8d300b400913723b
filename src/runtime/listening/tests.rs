//! Who has a port where some leave it while others come: workers without threads, interfaces or programs.

use super::*;
use crate::{
    config::StackConfig,
    stack::Secrets,
    time::Instant,
    wire::MacAddress,
    worker::{Mailbox, WorkerIndex},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

const PORT: u16 = 53;

fn listening(workers: usize) -> Listening {
    let mailboxes: Arc<[Mailbox]> = (0..workers).map(|_| Mailbox::new().unwrap()).collect();
    Listening {
        workers: Workers::new(mailboxes),
        places: Vec::new(),
        max_segment: MaxSegment::default(),
        listens: true,
        changes: Mutex::default(),
        book: Arc::default(),
    }
}

/// One of several workers.
struct Worker<'a> {
    index: WorkerIndex,
    stack: Stack,
    listening: &'a Listening,
}

impl<'a> Worker<'a> {
    fn new(number: usize, listening: &'a Listening) -> Self {
        let mac = MacAddress([2, 0, 0, 0, 0, number as u8]);
        let stack = Stack::new(StackConfig::default(), mac, Vec::new(), Secrets::from_seed(number as u64));
        Self { index: WorkerIndex { number, workers: listening.workers.len() }, stack, listening }
    }

    fn context(&mut self) -> Context<'_> {
        Context::new(Instant::from_millis(1_000), &mut self.stack, self.index).steered(self.listening)
    }

    fn obey(&mut self) {
        self.listening.workers.get(self.index.number).unwrap().obey(&mut self.context());
    }

    fn has_socket(&self) -> bool {
        self.stack.udp_socket_at(None, PORT).is_some()
    }

    /// Listens as a listener of async streams does.
    fn listen(&mut self) {
        let (listening, worker) = (self.listening, self.index.number);
        let is_there = self.stack.listen_with(None, PORT, listening.max_segment).is_err();
        if !is_there || listening.share_tcp(worker, None, PORT) == Share::Unwanted {
            Steering::listen(listening, worker, None, PORT).unwrap();
        }
    }
}

#[test]
fn a_port_that_nobody_wants_any_more_goes_once_it_is_heard_of() {
    let listening = listening(2);
    let [mut one, mut other] = [0, 1].map(|number| Worker::new(number, &listening));
    one.context().bind_udp(None, PORT).unwrap();
    other.obey();
    assert!(other.has_socket());
    listening.leave_udp(0, None, PORT);
    assert!(other.has_socket(), "not yet");
    other.obey();
    assert!(!other.has_socket());
}

/// Who binds where another worker's socket is about to be forgotten is not forgotten with it.
#[cfg(feature = "aio")]
#[test]
fn a_socket_that_is_bound_while_another_worker_leaves_stays_alive() {
    use crate::{
        aio::{Aio, UdpSocket},
        worker::Application,
    };
    let listening = listening(2);
    let [mut one, mut other] = [0, 1].map(|number| Worker::new(number, &listening));
    let id = one.context().bind_udp(None, PORT).unwrap();
    other.obey();
    one.context().leave_udp(id);
    let mut aio = Aio::new(&mut other.context(), || async {
        let _socket = UdpSocket::bind(PORT).unwrap();
        std::future::pending::<()>().await;
    });
    aio.on_turn(&mut other.context());
    other.obey();
    assert!(other.has_socket(), "somebody waits for datagrams there");
    one.obey();
    assert!(one.has_socket(), "as any worker may be the one they come to");
    drop(aio);
}

/// One worker leaves, another one comes, and the third hears of both, however the three are interleaved.
#[test]
fn whoever_comes_while_another_leaves_has_all_the_others_follow() {
    let listening = listening(3);
    let [mut leaving, mut coming, mut third] = [0, 1, 2].map(|number| Worker::new(number, &listening));
    for round in 0..500 {
        leaving.listen();
        third.obey();
        coming.obey();
        let under_way = AtomicUsize::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                listening.leave_tcp(0, None, PORT);
                leaving.stack.unlisten_at(None, PORT);
                under_way.fetch_sub(1, Ordering::Release);
            });
            scope.spawn(|| {
                coming.listen();
                under_way.fetch_sub(1, Ordering::Release);
            });
            while under_way.load(Ordering::Acquire) > 0 {
                third.obey();
            }
        });
        for worker in [&mut leaving, &mut coming, &mut third] {
            worker.obey();
        }
        assert!(coming.stack.listener_at(None, PORT).is_some(), "round {round}: it has come");
        assert!(third.stack.listener_at(None, PORT).is_some(), "round {round}: the third follows");
        listening.leave_tcp(1, None, PORT);
        coming.stack.unlisten_at(None, PORT);
        leaving.obey();
        third.obey();
        assert!(third.stack.listener_at(None, PORT).is_none(), "round {round}: nobody is left");
    }
}

/// Or else what it hears next, that another has left, is obeyed while nobody is known to want the port.
#[test]
fn nobody_hears_of_a_port_before_it_is_written_down() {
    let listening = listening(3);
    let [mut coming, mut third] = [1, 2].map(|number| Worker::new(number, &listening));
    thread::scope(|scope| {
        let book = listening.book();
        scope.spawn(|| Steering::listen(&listening, 1, None, PORT).unwrap());
        // Time enough to go wrong.
        thread::sleep(std::time::Duration::from_millis(50));
        third.obey();
        assert!(third.stack.listener_at(None, PORT).is_none());
        drop(book);
    });
    coming.obey();
    third.obey();
    assert!(third.stack.listener_at(None, PORT).is_some());
}
