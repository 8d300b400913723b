//! Streams and listeners in other hands: a runtime elsewhere, which polls what was woken and nothing else.

mod ends;

use super::*;
use crate::aio::remote::{self, Ended, Remote, RemoteListener, RemoteStream};
use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll, Wake},
    thread::{self, Thread},
};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Task = (Pin<Box<dyn Future<Output = ()>>>, Arc<Flag>);

/// A runtime of somebody else's.
#[derive(Default)]
struct Elsewhere(Vec<Task>);

impl Elsewhere {
    fn spawn<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let returned = result.clone();
        let task = async move {
            let output = future.await;
            returned.borrow_mut().replace(output);
        };
        self.0.push((Box::pin(task), Arc::new(Flag(AtomicBool::new(true)))));
        result
    }

    /// Polls those that were woken; whether any was. One that panics is one task.
    fn run(&mut self) -> bool {
        let mut any = false;
        self.0.retain_mut(|(future, flag)| {
            if !flag.0.swap(false, Ordering::SeqCst) {
                return true;
            }
            any = true;
            let waker = flag.clone().into();
            let polled = panic::catch_unwind(AssertUnwindSafe(|| {
                let polled = future.as_mut().poll(&mut task::Context::from_waker(&waker));
                // What it holds goes while it panics, as in other runtimes.
                polled.is_pending()
            }));
            polled.unwrap_or(false)
        });
        any
    }
}

/// Two hosts, of which the server's connections are had elsewhere.
struct Far {
    world: World,
    elsewhere: Elsewhere,
    remote: Remote,
}

impl Far {
    fn new() -> Self {
        let mut world = World::new();
        let (remote, main) = remote::by_hand();
        world.start(SERVER, main);
        Self { world, elsewhere: Elsewhere::default(), remote }
    }

    /// Runs everything until it rests.
    fn run(&mut self) {
        loop {
            self.world.run();
            if !self.elsewhere.run() {
                return;
            }
        }
    }

    #[track_caller]
    fn finish<T>(&mut self, result: &RefCell<Option<T>>) -> T {
        for _ in 0..300_000 {
            self.run();
            if let Some(result) = result.take() {
                return result;
            }
            self.world.now += Duration::from_millis(1);
        }
        panic!("nothing came of it");
    }

    fn listener(&mut self) -> RemoteListener {
        let remote = self.remote.clone();
        let bound = self.elsewhere.spawn(async move { remote.bind(PORT).await });
        self.finish(&bound).unwrap()
    }

    /// A connection that the client has opened, and both its ends: the far one, and the client's, to which `act` is done.
    fn accept<F: Future + 'static>(
        &mut self,
        act: impl FnOnce(TcpStream) -> F + 'static,
    ) -> (RemoteListener, RemoteStream)
    where
        F::Output: 'static,
    {
        let listener = self.listener();
        self.world.start(CLIENT, async move { act(TcpStream::connect(servers()[0]).await.unwrap()).await });
        let accepted = self.elsewhere.spawn(async move { (listener.accept().await.unwrap().0, listener) });
        let (stream, listener) = self.finish(&accepted);
        (listener, stream)
    }

    fn pass(&mut self, span: Duration) {
        let until = self.world.now + span;
        while self.world.now < until {
            self.run();
            self.world.now += Duration::from_millis(1);
        }
        self.run();
    }
}

/// Where a connection was reset, or had said nothing of it.
fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn what_is_sent_comes_back_through_rings_of_any_size() {
    for (server, ring) in servers().into_iter().flat_map(|server| [(server, 1), (server, 97), (server, 1 << 16)]) {
        let mut far = Far::new();
        far.remote = far.remote.with_ring(ring);
        let listener = far.listener();
        assert_eq!(listener.local_addr(), "[::]:80".parse().unwrap());
        far.elsewhere.spawn(async move {
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!((stream.peer_addr(), stream.local_addr()), (peer, server));
            echo(stream).await.unwrap();
        });
        let length = if ring == 1 { 3_000 } else { 300_000 };
        let read = far.world.start(CLIENT, async move {
            let (mut reader, mut writer) = TcpStream::connect(server).await.unwrap().into_split();
            let reading = spawn_local(async move {
                let (mut all, mut buffer) = (Vec::new(), [0; 700]);
                while let length @ 1.. = reader.read(&mut buffer).await.unwrap() {
                    all.extend_from_slice(&buffer[..length]);
                }
                all
            });
            writer.write_all(&octets(length)).await.unwrap();
            writer.shutdown().unwrap();
            reading.await.unwrap()
        });
        assert!(far.finish(&read) == octets(length), "ring of {ring}");
        far.pass(Duration::from_secs(1));
        assert_eq!((far.world.flows(SERVER), far.world.stats(SERVER).panics), (0, 0));
        // The main future, the listener's, and the one that waits for the end: no pump is left.
        assert!(far.world.stats(SERVER).tasks <= 2, "{:?}", far.world.stats(SERVER));
    }
}

#[test]
fn connections_are_opened_from_elsewhere() {
    for server in servers() {
        let mut far = Far::new();
        far.world.start(CLIENT, serve(echo));
        let peer = SocketAddr::new(addresses(CLIENT)[usize::from(server.is_ipv6())], PORT);
        let (remote, own) = (far.remote.clone(), server.ip());
        let said = far.elsewhere.spawn(async move {
            let mut stream = remote.connect_from(own, peer).await.unwrap();
            assert_eq!((stream.peer_addr(), stream.local_addr().ip()), (peer, own));
            stream.set_nodelay(true).unwrap();
            stream.set_linger(Some(Duration::from_secs(1))).unwrap();
            assert_eq!(stream.info().await.unwrap().state, crate::tcp::State::Established);
            stream.write_all(b"hello").await.unwrap();
            let mut buffer = [0; 9];
            while stream.peek(&mut buffer).await.unwrap() < 5 {}
            stream.shutdown().unwrap();
            assert_eq!(kind(stream.write(b"more").await), io::ErrorKind::BrokenPipe);
            let said = read_to_end(&mut stream).await.unwrap();
            // The end stays the end.
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
            said
        });
        assert_eq!(far.finish(&said), b"hello");
        // Nobody listens there.
        let (remote, nobody) = (far.remote.clone(), SocketAddr::new(peer.ip(), 81));
        let refused = far.elsewhere.spawn(async move { remote.connect(nobody).await });
        assert_eq!(kind(far.finish(&refused)), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn who_does_not_read_holds_up_who_writes_either_way() {
    let total = 3_000_000;
    let mut far = Far::new();
    far.remote = far.remote.with_ring(4_096);
    let (_listener, mut stream) = far.accept(move |mut stream| async move {
        let sent = octets(total);
        stream.write_all(&sent).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        assert!(read_to_end(&mut stream).await.unwrap() == sent);
    });
    // Nothing is read for a while, so that the client comes to rest.
    far.pass(Duration::from_secs(1));
    let written = Rc::new(RefCell::new(0));
    let count = written.clone();
    let through = far.elsewhere.spawn(async move {
        let mut read = Vec::new();
        let mut buffer = vec![0; 10_000];
        while read.len() < total {
            let length = stream.read(&mut buffer).await.unwrap();
            read.extend_from_slice(&buffer[..length]);
        }
        assert!(read == octets(total));
        for piece in read.chunks(7_777) {
            stream.write_all(piece).await.unwrap();
            *count.borrow_mut() += piece.len();
        }
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await.unwrap().len()
    });
    far.pass(Duration::from_secs(1));
    let held_up = *written.borrow();
    assert!(held_up > 0 && held_up < total, "{held_up}");
    assert_eq!(far.finish(&through), 0);
    assert_eq!((*written.borrow(), far.world.stats(CLIENT).panics), (total, 0));
}

#[test]
fn halves_close_as_sockets_do() {
    let mut far = Far::new();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = heard.clone();
    let (_listener, stream) = far.accept(move |mut stream| async move {
        *hears.borrow_mut() = read_to_end(&mut stream).await.unwrap();
        stream.write_all(b"and you?").await.unwrap();
        stream.shutdown().unwrap();
    });
    let (mut reader, mut writer) = stream.into_split();
    let through = far.elsewhere.spawn(async move {
        writer.write_all(b"I am done").await.unwrap();
        drop(writer);
        let mut buffer = [0; 100];
        let length = reader.read(&mut buffer).await.unwrap();
        (buffer[..length].to_vec(), reader.read(&mut buffer).await.unwrap())
    });
    assert_eq!(far.finish(&through), (b"and you?".to_vec(), 0));
    assert_eq!(*heard.borrow(), b"I am done");
    far.pass(Duration::from_secs(1));
    assert_eq!((far.world.flows(SERVER), far.world.flows(CLIENT)), (0, 0));
    // Halves of two streams are not one.
    let (_listener, one) = Far::new().accept(|_| async {});
    let (_listener, other) = Far::new().accept(|_| async {});
    let ((reader, writer), (_, stranger)) = (one.into_split(), other.into_split());
    let remote::RemoteReuniteError(reader, _) = reader.reunite(stranger).unwrap_err();
    assert!(reader.reunite(writer).is_ok());
}

#[test]
fn a_reset_is_heard_behind_what_came_before_it() {
    let mut far = Far::new();
    far.remote = far.remote.with_ring(1_000);
    let (_listener, mut stream) = far.accept(|mut stream| async move {
        stream.write_all(b"last words").await.unwrap();
        sleep(Duration::from_millis(300)).await;
        stream.abort();
    });
    // Writes until nobody takes it any more, and waits then.
    let through = far.elsewhere.spawn(async move {
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 5_000]).await {
                break error.kind();
            }
        };
        let mut buffer = [0; 100];
        let length = stream.read(&mut buffer).await.unwrap();
        (error, buffer[..length].to_vec(), kind(stream.read(&mut buffer).await), kind(stream.set_nodelay(true)))
    });
    let reset = io::ErrorKind::ConnectionReset;
    assert_eq!(far.finish(&through), (reset, b"last words".to_vec(), reset, reset));
    assert_eq!(far.world.flows(SERVER), 0);
}

/// What the client hears once the far end has been let go by `act`, before which it has sent `sends`.
fn heard_after(sends: &'static [u8], act: impl FnOnce(RemoteStream) + 'static) -> io::Result<Vec<u8>> {
    let mut far = Far::new();
    let heard = Rc::new(RefCell::new(None));
    let hears = heard.clone();
    let (_listener, stream) = far.accept(move |mut stream| async move {
        stream.write_all(sends).await.unwrap();
        *hears.borrow_mut() = Some(read_to_end(&mut stream).await);
    });
    far.run();
    far.elsewhere.spawn(async move { act(stream) });
    let heard = far.finish(&heard);
    far.pass(Duration::from_secs(1));
    assert_eq!(far.world.flows(SERVER), 0);
    heard
}

/// Writes without waiting.
fn write_now(stream: &mut RemoteStream, data: &[u8]) {
    let mut nobody = task::Context::from_waker(task::Waker::noop());
    let written = futures_io::AsyncWrite::poll_write(Pin::new(stream), &mut nobody, data);
    assert!(matches!(written, Poll::Ready(Ok(length)) if length == data.len()));
}

#[test]
fn a_stream_that_is_let_go_ends_as_a_socket_does() {
    let reset = io::ErrorKind::ConnectionReset;
    let said = |mut stream: RemoteStream| write_now(&mut stream, b"goodbye");
    assert_eq!(heard_after(b"", said).unwrap(), b"goodbye");
    // What had come was not read.
    assert_eq!(kind(heard_after(b"unread", said)), reset);
    // It was not to be.
    let discarded = heard_after(b"unread", |mut stream| {
        write_now(&mut stream, b"goodbye");
        stream.close_discarding();
    });
    assert_eq!(discarded.unwrap(), b"goodbye");
    assert_eq!(kind(heard_after(b"", RemoteStream::abort)), reset);
    let lingering = heard_after(b"", |stream| stream.set_linger(Some(Duration::ZERO)).unwrap());
    assert_eq!(kind(lingering), reset);
    // A task that panics has not said all that it wanted to.
    let panicked = heard_after(b"", |mut stream| {
        write_now(&mut stream, b"half of it");
        panic!("as a test wants it");
    });
    assert_eq!(kind(panicked), reset);
}

#[test]
fn a_write_that_is_given_up_says_what_it_has_taken() {
    let mut far = Far::new();
    far.remote = far.remote.with_ring(300);
    let (_listener, mut stream) = far.accept(|mut stream| async move {
        let mut read = Vec::new();
        let mut buffer = [0; 64];
        loop {
            // Given up again and again.
            match poll_once(stream.read(&mut buffer)).await {
                Some(Ok(0)) => break,
                Some(length) => read.extend_from_slice(&buffer[..length.unwrap()]),
                None => sleep(Duration::from_millis(1)).await,
            }
        }
        assert!(read == octets(50_000), "{} octets, or others", read.len());
        stream.write_all(b"all there").await.unwrap();
    });
    let through = far.elsewhere.spawn(async move {
        let sent = octets(50_000);
        let mut left = &sent[..];
        while !left.is_empty() {
            match poll_once(stream.write(left)).await {
                Some(written) => left = &left[written.unwrap()..],
                None => left = &left[stream.write(left).await.unwrap()..],
            }
        }
        stream.shutdown().unwrap();
        loop {
            if let Some(read) = poll_once(read_to_end(&mut stream)).await {
                return read.unwrap();
            }
            stream.peek(&mut [0]).await.unwrap();
        }
    });
    assert_eq!(far.finish(&through), b"all there");
}

#[test]
fn what_is_given_up_leaves_nothing_behind() {
    let mut far = Far::new();
    let listener = Rc::new(far.listener());
    // An acceptance that is given up loses no connection.
    let accepting = listener.clone();
    far.elsewhere.spawn(async move { assert!(poll_once(accepting.accept()).await.is_none()) });
    far.run();
    let client = far.world.start(CLIENT, async { TcpStream::connect(servers()[0]).await.unwrap() });
    let _stream = far.finish(&client);
    let accepting = listener.clone();
    let accepted = far.elsewhere.spawn(async move { accepting.accept().await.unwrap().1 });
    assert_eq!(far.finish(&accepted).ip(), addresses(CLIENT)[0]);
    far.pass(Duration::from_secs(1));
    // An attempt that is given up is taken back.
    let before = far.world.flows(SERVER);
    let (remote, nobody) = (far.remote.clone(), "198.18.0.77:80".parse().unwrap());
    let mut attempt = Elsewhere::default();
    attempt.spawn(async move { remote.connect(nobody).await });
    attempt.run();
    far.run();
    assert_eq!(far.world.flows(SERVER), before + 1);
    drop(attempt);
    far.run();
    assert_eq!(far.world.flows(SERVER), before);
}

#[test]
fn a_listener_that_is_dropped_listens_no_more() {
    let mut far = Far::new();
    let listener = far.listener();
    let remote = far.remote.clone();
    let again = far.elsewhere.spawn(async move { remote.bind(PORT).await });
    assert_eq!(kind(far.finish(&again)), io::ErrorKind::AddrInUse);
    let waiting = far.world.start(CLIENT, async {
        let mut accepted = TcpStream::connect(servers()[0]).await.unwrap();
        let mut waiting = TcpStream::connect(servers()[1]).await.unwrap();
        let reset = waiting.read(&mut [0]).await;
        accepted.write_all(b"go on").await.unwrap();
        accepted.shutdown().unwrap();
        (kind(reset), read_to_end(&mut accepted).await.unwrap(), kind(TcpStream::connect(servers()[0]).await))
    });
    let accepted = far.elsewhere.spawn(async move { (listener.accept().await.unwrap().0, listener) });
    let (stream, listener) = far.finish(&accepted);
    far.pass(Duration::from_millis(100));
    drop(listener);
    far.elsewhere.spawn(echo(stream));
    let (reset, refused) = (io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused);
    assert_eq!(far.finish(&waiting), (reset, b"go on".to_vec(), refused));
    // Somebody else may.
    drop(far.listener());
}

#[test]
fn connections_wait_for_who_accepts_slowly() {
    let mut far = Far::new();
    let listener = far.listener();
    let opened = far.world.start(CLIENT, async {
        let mut streams = Vec::new();
        for _ in 0..2_000 {
            streams.push(TcpStream::connect(servers()[0]).await.unwrap());
        }
        streams
    });
    let streams = far.finish(&opened);
    far.pass(Duration::from_millis(10));
    let accepted = far.elsewhere.spawn(async move {
        let mut accepted = Vec::new();
        for _ in 0..2_000 {
            accepted.push(listener.accept().await.unwrap());
        }
        accepted
    });
    assert_eq!(far.finish(&accepted).len(), streams.len());
    assert_eq!(far.world.stats(SERVER).refused, 0);
}

#[test]
fn rings_are_memory_of_their_connections() {
    let mut far = Far::new();
    let before = far.world.host(SERVER).stack.memory();
    far.remote = far.remote.with_ring(100_000);
    let (_listener, stream) = far.accept(|mut stream| async move { read_to_end(&mut stream).await });
    let kept = far.world.host(SERVER).stack.memory() - before;
    assert!(kept >= 200_000, "{kept}");
    drop(stream);
    far.pass(Duration::from_secs(1));
    let left = far.world.host(SERVER).stack.memory() - before;
    assert!(left < 100_000, "{left}");
}

/// Whatever is awaited may be awaited in a task of a runtime with several threads.
#[test]
fn all_of_it_may_be_had_by_any_thread() {
    fn send<T: Send>(_: T) {}
    fn handles<T: Send>() {}
    handles::<(Remote, RemoteListener, remote::Incoming, RemoteStream, remote::RemoteReadHalf, remote::RemoteWriteHalf)>(
    );
    let _ = |remote: &Remote, listener: &RemoteListener, stream: &mut RemoteStream| {
        send(remote.bind(80));
        send(remote.connect(servers()[0]));
        send(remote.connect_from(addresses(SERVER)[0], servers()[0]));
        send(remote.draining());
        send(listener.accept());
        send(stream.info());
        send(stream.read(&mut [0]));
        send(stream.peek(&mut [0]));
        send(stream.write(&[0]));
        send(stream.write_all(&[0]));
    };
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps until it is woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut task, mut future) = (task::Context::from_waker(&waker), std::pin::pin!(future));
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn threads_that_sleep_are_woken_whatever_the_order() {
    let (mut far, total) = (Far::new(), 400_000);
    far.remote = far.remote.with_ring(257);
    far.world.start(CLIENT, serve(echo));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let remote = far.remote.clone();
            thread::spawn(move || {
                let peer = SocketAddr::new(addresses(CLIENT)[0], PORT);
                let (mut reader, mut writer) = block_on(remote.connect(peer)).unwrap().into_split();
                let writing = thread::spawn(move || {
                    for piece in octets(total).chunks(1_001) {
                        block_on(writer.write_all(piece)).unwrap();
                    }
                    // Dropped, it closes our side.
                });
                let (mut read, mut buffer) = (Vec::new(), [0; 300]);
                while let length @ 1.. = block_on(reader.read(&mut buffer)).unwrap() {
                    read.extend_from_slice(&buffer[..length]);
                }
                writing.join().unwrap();
                read == octets(total)
            })
        })
        .collect();
    while !threads.iter().all(|thread| thread.is_finished()) {
        far.world.run();
        far.world.now += Duration::from_micros(100);
    }
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}
