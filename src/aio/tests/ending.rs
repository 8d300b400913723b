//! How connections and listeners end, and what whoever waits is told.

use super::*;
use crate::tcp::CloseReason;

fn reason(error: &io::Error) -> Option<CloseReason> {
    error.get_ref()?.downcast_ref().copied()
}

#[test]
fn a_reset_is_told_to_reader_and_writer() {
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        stream.read(&mut [0; 9]).await.unwrap();
        stream.abort();
    });
    let (read, written) = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let read = stream.read(&mut [0; 9]).await.unwrap_err();
        (read, stream.write(b"more").await.unwrap_err())
    });
    for error in [read, written] {
        assert_eq!((error.kind(), reason(&error)), (io::ErrorKind::ConnectionReset, Some(CloseReason::ResetByPeer)));
    }
}

#[test]
fn a_drop_delivers_what_was_written_and_resets_what_was_not_read() {
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        let mut first = [0; 1];
        stream.read(&mut first).await.unwrap();
        stream.write_all(&octets(100_000)).await.unwrap();
        // "r" has more behind it that is not read.
    });
    let (all, reset) = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"a").await.unwrap();
        let all = read_to_end(&mut stream).await;
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"rest").await.unwrap();
        (all, read_to_end(&mut stream).await)
    });
    assert_eq!(all.unwrap(), octets(100_000));
    assert_eq!(reset.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn last_words_reach_a_peer_that_is_not_done_with_sending() {
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        stream.write_all(b"413").await.unwrap();
        stream.close_discarding();
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(&octets(20_000)).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        stream.write_all(&octets(1_000)).await.unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap(), b"413");
}

#[test]
fn no_linger_is_a_reset() {
    let mut world = World::new();
    let server = serve(|stream: TcpStream| async move {
        assert_eq!(stream.linger(), None);
        stream.set_linger(Some(Duration::ZERO));
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[1]).await.unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_limited_linger_gives_up_what_nobody_acknowledges() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(PORT).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read(&mut [0; 1]).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        stream.write_all(b"lost").await.unwrap();
        stream.set_linger(Some(Duration::from_secs(5)));
        drop(stream);
        sleep(Duration::from_secs(1_000)).await;
    };
    world.start(SERVER, server);
    let client = world.start(CLIENT, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream
    });
    let _stream = world.finish(&client);
    world.is_cut = true;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.flows(SERVER), 1);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.flows(SERVER), 0);
}

#[test]
fn why_a_connection_cannot_be_opened_is_an_error_of_its_kind() {
    let mut world = World::new();
    let kinds = world.play(std::future::ready(()), async {
        let far = |last| SocketAddr::from(([198, 18, 0, last], PORT));
        let refused = TcpStream::connect(servers()[1]).await.unwrap_err();
        assert_eq!(reason(&refused), Some(CloseReason::Refused));
        let silent = TcpStream::connect(far(77)).await.unwrap_err();
        let nowhere = TcpStream::connect(([203, 0, 113, 1], PORT).into()).await.unwrap_err();
        let own = TcpStream::connect(far(CLIENT)).await.unwrap_err();
        let foreign = TcpStream::connect_from([198, 18, 0, 9].into(), far(SERVER)).await.unwrap_err();
        [refused, silent, nowhere, own, foreign].map(|error| error.kind())
    });
    use io::ErrorKind::*;
    assert_eq!(kinds, [ConnectionRefused, HostUnreachable, NetworkUnreachable, InvalidInput, AddrNotAvailable]);
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    let mut world = World::new();
    world.start(SERVER, serve(echo));
    world.is_cut = true;
    let client = world.start(CLIENT, async {
        let outcome = timeout(Duration::from_secs(1), TcpStream::connect(servers()[0])).await.map(drop);
        assert!(poll_once(TcpStream::connect(servers()[1])).await.is_none());
        outcome
    });
    assert_eq!(world.finish(&client), Err(Elapsed(Duration::from_secs(1))));
    world.run();
    assert_eq!((world.flows(CLIENT), world.flows(SERVER)), (0, 0));
}

#[test]
fn a_listener_that_is_dropped_resets_who_waits_and_refuses_who_comes() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(servers()[0]).unwrap();
        assert_eq!(TcpListener::bind(servers()[0]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let other = TcpListener::bind(8_080).unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        drop(listener);
        accepted.write_all(b"goes on").await.unwrap();
        drop(accepted);
        drop(other.accept().await.unwrap());
        TcpListener::bind(servers()[0]).unwrap().accept().await.unwrap().0.write_all(b"again").await.unwrap();
    };
    world.play(server, async {
        let mut first = TcpStream::connect(servers()[0]).await.unwrap();
        let mut second = TcpStream::connect(servers()[0]).await.unwrap();
        assert_eq!(second.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(read_to_end(&mut first).await.unwrap(), b"goes on");
        let third = TcpStream::connect(servers()[0]).await.unwrap_err();
        assert_eq!(third.kind(), io::ErrorKind::ConnectionRefused);
        drop(TcpStream::connect((addresses(SERVER)[1], 8_080).into()).await.unwrap());
        sleep(Duration::from_millis(1)).await;
        let mut fourth = TcpStream::connect(servers()[0]).await.unwrap();
        assert_eq!(read_to_end(&mut fourth).await.unwrap(), b"again");
    });
}

#[test]
fn what_came_before_anybody_bound_is_accepted() {
    let mut world = World::new();
    // As a port that was given to the server is listened on from the start.
    world.host(SERVER).stack.listen(None, PORT).unwrap();
    let server = async {
        sleep(Duration::from_secs(1)).await;
        serve(echo).await;
    };
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"early").await.unwrap();
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap(), b"early");
}

#[test]
fn a_full_backlog_resets_who_comes_and_says_so() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(PORT).unwrap();
        listener.set_backlog(2);
        sleep(Duration::from_secs(1)).await;
        while let Ok(Ok((mut stream, _))) = timeout(Duration::from_millis(100), listener.accept()).await {
            stream.write_all(b"in").await.unwrap();
        }
    };
    let outcomes = world.play(server, async {
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(TcpStream::connect(servers()[0]).await.unwrap());
        }
        let mut outcomes = Vec::new();
        for stream in &mut streams {
            outcomes.push(read_to_end(stream).await.map_err(|error| error.kind()));
        }
        outcomes
    });
    let (is_in, is_out) = (|| Ok(b"in".to_vec()), || Err(io::ErrorKind::ConnectionReset));
    assert_eq!(outcomes, [is_in(), is_in(), is_out(), is_out()]);
    assert_eq!(world.stats(SERVER).refused, 2);
}

#[test]
fn a_main_future_that_fails_or_panics_ends_its_worker() {
    type Fails = fn() -> io::Result<()>;
    let ways: [(Fails, &str); 2] = [
        (|| TcpListener::bind(0).map(drop), "the main future failed: port 0 means no port; listen on a port from 1"),
        (|| panic!("on purpose"), "the main future panicked"),
    ];
    for (fails, says) in ways {
        let mut host = Host::new(SERVER, StackConfig::default());
        let aio = Aio::new(&mut host.context(Instant::ZERO), move || async move { fails() });
        host.aio = Some(aio);
        let turn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.turn(Instant::ZERO)));
        let said = *turn.unwrap_err().downcast::<String>().unwrap();
        assert!(said.starts_with(says), "{said}");
    }
}

#[test]
fn the_drain_is_told_and_tasks_go_on_in_it() {
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        let mut end = draining();
        assert!(!end.has_begun());
        assert!(poll_once(draining()).await.is_none());
        std::pin::Pin::new(&mut end).await;
        sleep(Duration::from_millis(50)).await;
        stream.write_all(b"bye").await.unwrap();
        draining().await;
    });
    world.start(SERVER, server);
    let client = world.start(CLIENT, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await
    });
    world.pass(Duration::from_secs(1));
    assert!(client.borrow().is_none());
    world.host(SERVER).stack.stop_listening();
    world.drain(SERVER);
    assert_eq!(world.finish(&client).unwrap(), b"bye");
}
