//! Which end goes first, and what the other one hears of it.

use super::*;

#[test]
fn a_stack_that_ends_first_says_so() {
    let mut far = Far::new();
    let (listener, mut stream) = far.accept(|mut stream| async move {
        stream.write_all(b"before").await.unwrap();
        sleep(Duration::from_secs(100)).await;
    });
    far.run();
    let (remote, mut draining) = (far.remote.clone(), Box::pin(far.remote.draining()));
    let mut nobody = task::Context::from_waker(task::Waker::noop());
    assert!(draining.as_mut().poll(&mut nobody).is_pending());
    let through = far.elsewhere.spawn(async move {
        let accepted = listener.accept().await.map(drop);
        draining.await;
        let mut buffer = [0; 9];
        let length = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"before");
        let peer = "198.18.0.2:80".parse().unwrap();
        [
            accepted,
            stream.read(&mut buffer).await.map(drop),
            stream.write(b"more").await.map(drop),
            stream.info().await.map(drop),
            remote.bind(81).await.map(drop),
            remote.connect(peer).await.map(drop),
        ]
    });
    far.run();
    far.world.host(SERVER).aio = None;
    for result in far.finish(&through) {
        let error = result.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Ended>(), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}

#[test]
fn what_was_asked_of_a_worker_that_ends_is_answered() {
    // It has not been heard yet.
    let mut far = Far::new();
    let remote = far.remote.clone();
    let asked = far.elsewhere.spawn(async move {
        let peer = "198.18.0.2:80".parse().unwrap();
        [remote.connect(peer).await.map(drop), remote.bind(81).await.map(drop)]
    });
    far.elsewhere.run();
    far.world.host(SERVER).aio = None;
    for result in far.finish(&asked) {
        assert!(result.unwrap_err().get_ref().unwrap().is::<Ended>());
    }
}

#[test]
fn a_worker_that_ends_resets_what_is_left_and_says_that_it_has_ended() {
    let mut far = Far::new();
    let (_listener, mut stream) = far.accept(|mut stream| async move { read_to_end(&mut stream).await });
    let through = far.elsewhere.spawn(async move { stream.read(&mut [0]).await });
    far.run();
    far.world.drain(SERVER);
    let now = far.world.now;
    far.world.host(SERVER).stack.abort_all(now);
    assert!(far.finish(&through).unwrap_err().get_ref().unwrap().is::<Ended>());
}

#[test]
fn octets_that_nobody_reads_make_the_end_a_reset_whenever_they_came() {
    let mut far = Far::new();
    let heard = Rc::new(RefCell::new(None));
    let hears = heard.clone();
    let (_listener, stream) = far.accept(move |mut stream| async move {
        sleep(Duration::from_millis(5)).await;
        stream.write_all(b"nobody reads this").await.unwrap();
        *hears.borrow_mut() = Some(read_to_end(&mut stream).await);
    });
    let (reader, mut writer) = stream.into_split();
    drop(reader);
    far.pass(Duration::from_millis(50));
    far.elsewhere.spawn(async move { writer.write_all(b"goodbye").await });
    assert_eq!(kind(far.finish(&heard)), io::ErrorKind::ConnectionReset);
}

#[test]
fn the_other_half_of_one_that_panicked_hears_that_the_connection_was_given_up() {
    let mut far = Far::new();
    let (_listener, stream) = far.accept(|mut stream| async move { read_to_end(&mut stream).await });
    let (mut reader, writer) = stream.into_split();
    let through = far.elsewhere.spawn(async move { reader.read(&mut [0]).await });
    far.run();
    far.elsewhere.spawn(async move {
        let _writer = writer;
        panic!("as a test wants it");
    });
    let error = far.finish(&through).unwrap_err();
    assert_eq!(error.to_string(), crate::tcp::CloseReason::Aborted.to_string());
}

#[test]
fn a_drain_is_heard_and_connections_go_on() {
    let mut far = Far::new();
    let (_listener, stream) = far.accept(|mut stream| async move {
        sleep(Duration::from_millis(50)).await;
        stream.write_all(b"still here").await.unwrap();
        stream.shutdown().unwrap();
    });
    let draining = far.remote.draining();
    let through = far.elsewhere.spawn(async move {
        draining.await;
        let mut stream = stream;
        read_to_end(&mut stream).await.unwrap()
    });
    far.run();
    far.world.drain(SERVER);
    assert_eq!(far.finish(&through), b"still here");
}

#[test]
fn a_runtime_that_is_shut_down_first_closes_what_it_had() {
    let mut far = Far::new();
    let listener = far.listener();
    far.elsewhere.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"welcome").await.unwrap();
        stream.read(&mut [0]).await
    });
    let heard = far.world.start(CLIENT, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    far.run();
    far.elsewhere = Elsewhere::default();
    assert_eq!(far.finish(&heard), b"welcome");
    far.pass(Duration::from_secs(1));
    assert_eq!((far.world.flows(SERVER), far.world.stats(SERVER).panics), (0, 0));
}
