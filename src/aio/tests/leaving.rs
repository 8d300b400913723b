//! What is left where something goes away otherwise than it should: a destructor that panics, a listener of another worker's, a context
//! that is not at hand.

use super::*;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "in a destructor");
    }
}

#[test]
fn a_destructor_that_panics_is_its_tasks_affair_and_ends_nobody_else() {
    let mut world = World::new();
    world.start(SERVER, async {
        let bomb = Bomb;
        let mut task = spawn_local(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        serve(echo).await;
    });
    let client = world.start(CLIENT, async {
        let mut stream = TcpStream::connect(servers()[1]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    assert_eq!(world.finish(&client), b"hello");
    assert_eq!(world.stats(SERVER).panics, 1);
}

/// Asks for the time when it is dropped, which only tasks may.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        now();
    }
}

#[test]
fn what_tasks_hold_is_dropped_with_their_worker_whatever_its_destructors_ask_for() {
    let mut world = World::new();
    world.start(SERVER, async {
        for _ in 0..3 {
            drop(spawn_local(async {
                let _late = Late;
                std::future::pending::<()>().await;
            }));
        }
        let _late = Late;
        serve(echo).await;
    });
    world.run();
    assert_eq!(world.stats(SERVER).tasks, 4);
    world.host(SERVER).aio = None;
}

#[test]
fn what_a_writer_that_panics_has_said_does_not_look_like_all() {
    let mut world = World::new();
    let server = serve(|stream: TcpStream| async move {
        let (mut reader, mut writer) = stream.into_split();
        drop(spawn_local(async move {
            writer.write_all(b"half of ").await.unwrap();
            sleep(Duration::from_millis(5)).await;
            panic!("in the midst of it");
        }));
        reader.read(&mut [0; 9]).await.ok();
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn whoever_waits_for_connections_gets_one_whichever_others_wait_as_well() {
    let mut world = World::new();
    world.start(SERVER, async {
        let listener = Rc::new(TcpListener::bind(PORT).unwrap());
        for _ in 0..2 {
            let listener = listener.clone();
            drop(spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                // And is busy with that one.
                std::future::pending::<()>().await;
            }));
        }
        std::future::pending::<()>().await;
    });
    let client = world.start(CLIENT, async {
        let mut streams = Vec::new();
        for server in servers() {
            let mut stream = TcpStream::connect(server).await.unwrap();
            let mut word = [0; 5];
            assert_eq!(stream.read(&mut word).await.unwrap(), 5);
            streams.push(stream);
        }
        streams.len()
    });
    assert_eq!(world.finish(&client), 2);
}

/// As if another worker had dropped its listener and had one again.
fn listen_anew() {
    with_context(|cx| {
        assert!(cx.stack().unlisten_at(None, PORT));
        cx.stack().listen(None, PORT).unwrap();
    });
}

#[test]
fn a_listener_that_another_worker_has_begun_anew_is_this_ones_as_well() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(PORT).unwrap();
        listen_anew();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().unwrap();
        std::future::pending::<()>().await;
    };
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    assert_eq!(read, b"hello");
}

#[test]
fn what_another_worker_has_begun_since_is_not_ended_with_a_listener_of_before() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(PORT).unwrap();
        listen_anew();
        drop(listener);
        assert!(with_context(|cx| cx.stack().listener_at(None, PORT)).is_some(), "the other worker's clients come on");
        serve(echo).await;
    };
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[1]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    assert_eq!(read, b"hello");
}

#[test]
fn what_is_dropped_while_the_context_is_in_use_is_closed_at_once_all_the_same() {
    let mut world = World::new();
    let server = serve(|stream: TcpStream| async move {
        let (reader, mut writer) = stream.into_split();
        writer.write_all(b"hello").await.unwrap();
        with_context(|_| drop(writer));
        // The other half lives on.
        let _reader = reader;
        std::future::pending::<()>().await;
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    assert_eq!(read, b"hello");
}

#[test]
fn what_waits_where_nobody_listens_waits_ten_seconds_and_what_comes_later_not_at_all() {
    let mut world = World::new();
    world.host(SERVER).stack.listen(None, 81).unwrap();
    let server = async {
        sleep(Duration::from_secs(40)).await;
        let listener = TcpListener::bind(81).unwrap();
        let mut streams = Vec::new();
        loop {
            streams.push(listener.accept().await.unwrap());
        }
    };
    let (early, late, last) = world.play(server, async {
        let target = |at: usize| SocketAddr::from((addresses(SERVER)[at], 81));
        let ends = async |mut stream: TcpStream| {
            let began = now();
            let error = timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await;
            (error.map(|read| read.map_err(|error| error.kind())), (now() - began).as_secs())
        };
        let early = [TcpStream::connect(target(0)).await.unwrap(), TcpStream::connect(target(1)).await.unwrap()];
        let [first, second] = early;
        let early = [ends(first).await, ends(second).await];
        let late = ends(TcpStream::connect(target(1)).await.unwrap()).await;
        sleep(Duration::from_secs(40)).await;
        (early, late, ends(TcpStream::connect(target(0)).await.unwrap()).await)
    });
    let reset = Ok(Err(io::ErrorKind::ConnectionReset));
    assert_eq!(early, [(reset, 10), (reset, 0)]);
    assert_eq!(late, (reset, 0));
    assert_eq!(last, (Err(Elapsed(Duration::from_secs(30))), 30), "it is served once somebody listens");
    assert_eq!((world.stats(SERVER).unclaimed, world.stats(SERVER).refused), (3, 0));
}

#[test]
fn a_socket_or_listener_that_was_dropped_may_be_had_again() {
    let mut world = World::new();
    world.play(async {}, async {
        for _ in 0..3 {
            let (listener, socket) = (TcpListener::bind(PORT).unwrap(), UdpSocket::bind(53).unwrap());
            assert!(with_context(|cx| cx.stack().listener_at(None, PORT).is_some()));
            assert!(with_context(|cx| cx.stack().udp_socket_at(None, 53).is_some()));
            drop((listener, socket));
            assert!(with_context(|cx| cx.stack().listener_at(None, PORT).is_none()));
            assert!(with_context(|cx| cx.stack().udp_socket_at(None, 53).is_none()));
        }
    });
}
