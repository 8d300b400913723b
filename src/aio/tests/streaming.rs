//! Octets: all of them, once, in order, whatever is given up in between.

use super::*;
use futures_io::AsyncRead as _;
use std::{
    io::{IoSlice, IoSliceMut},
    pin::Pin,
};

#[test]
fn what_is_sent_comes_back_by_both_ip_versions() {
    for server in servers() {
        let mut world = World::new();
        let read = world.play(serve(echo), async move {
            let mut stream = TcpStream::connect(server).await.unwrap();
            assert_eq!(stream.peer_addr(), server);
            assert_eq!(stream.local_addr().ip().is_ipv6(), server.is_ipv6());
            stream.set_nodelay(true).unwrap();
            assert_eq!(stream.info().unwrap().state, crate::tcp::State::Established);
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().unwrap();
            read_to_end(&mut stream).await.unwrap()
        });
        assert_eq!(read, b"hello");
    }
}

#[test]
fn who_does_not_read_holds_up_who_writes() {
    let mut world = World::new();
    let written = Rc::new(RefCell::new(0));
    let (count, total) = (written.clone(), 5_000_000);
    let server = serve(move |mut stream: TcpStream| async move {
        let go = sleep(Duration::from_secs(2));
        go.await;
        let read = read_to_end(&mut stream).await.unwrap();
        assert!(read == octets(total), "{} octets, or others", read.len());
    });
    world.start(SERVER, server);
    let result = world.start(CLIENT, async move {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        for piece in octets(total).chunks(10_000) {
            stream.write_all(piece).await.unwrap();
            *count.borrow_mut() += piece.len();
        }
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    world.pass(Duration::from_secs(1));
    let held_up = *written.borrow();
    assert!(held_up > 0 && held_up < total, "{held_up}");
    world.pass(Duration::from_millis(500));
    assert_eq!(*written.borrow(), held_up);
    world.finish(&result);
    assert_eq!((*written.borrow(), world.stats(SERVER).panics), (total, 0));
}

#[test]
fn either_side_may_close_first_and_go_on_reading() {
    // The server is first.
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        stream.write_all(b"I am done").await.unwrap();
        stream.shutdown().unwrap();
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&mut stream).await.unwrap(), b"and so am I");
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        let read = read_to_end(&mut stream).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        stream.write_all(b"and so am I").await.unwrap();
        stream.shutdown().unwrap();
        read
    });
    assert_eq!(read, b"I am done");
    world.pass(Duration::from_secs(1));
    assert_eq!((world.stats(SERVER).panics, world.stats(CLIENT).panics), (0, 0));
    assert_eq!((world.flows(SERVER), world.flows(CLIENT)), (0, 0));
    // The client is.
    let mut world = World::new();
    let server = serve(|mut stream: TcpStream| async move {
        let read = read_to_end(&mut stream).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        stream.write_all(&read).await.unwrap();
    });
    let read = world.play(server, async {
        let mut stream = TcpStream::connect(servers()[1]).await.unwrap();
        stream.write_all(b"question").await.unwrap();
        stream.shutdown().unwrap();
        read_to_end(&mut stream).await.unwrap()
    });
    assert_eq!(read, b"question");
}

#[test]
fn no_octet_is_lost_whatever_is_cancelled() {
    let mut world = World::new();
    let total = 300_000;
    let read = world.play(serve(echo), async move {
        let stream = TcpStream::connect(servers()[0]).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let writing = spawn_local(async move {
            let all = octets(total);
            let mut sent = 0;
            while sent < total {
                // Given up at once, given up after a while, waited for.
                let piece = &all[sent..total.min(sent + 7_000)];
                let now = poll_once(writer.write(piece)).await;
                sent += now.map_or(0, Result::unwrap);
                let later = timeout(Duration::from_micros(30), writer.write(&all[sent..])).await;
                sent += later.map_or(0, Result::unwrap);
            }
        });
        let (mut read, mut buffer) = (Vec::new(), [0; 900]);
        loop {
            if let Some(length) = poll_once(reader.read(&mut buffer)).await {
                read.extend_from_slice(&buffer[..length.unwrap()]);
            }
            match timeout(Duration::from_micros(20), reader.read(&mut buffer)).await {
                Ok(Ok(0)) => break,
                Ok(length) => read.extend_from_slice(&buffer[..length.unwrap()]),
                Err(_) => {}
            }
        }
        writing.await.unwrap();
        read
    });
    assert!(read == octets(total), "{} octets, or others", read.len());
}

#[test]
fn an_accept_that_is_cancelled_loses_no_connection() {
    let mut world = World::new();
    let server = async {
        let listener = TcpListener::bind(PORT).unwrap();
        assert!(poll_once(listener.accept()).await.is_none());
        assert!(timeout(Duration::from_millis(5), listener.accept()).await.is_err());
        sleep(Duration::from_secs(1)).await; // it comes meanwhile
        let mut stream = listener.incoming().next().await.unwrap();
        stream.write_all(b"here").await.unwrap();
    };
    let read = world.play(server, async {
        sleep(Duration::from_millis(100)).await;
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        read_to_end(&mut stream).await
    });
    assert_eq!(read.unwrap(), b"here");
}

#[test]
fn a_peek_takes_nothing() {
    let mut world = World::new();
    let read = world.play(serve(echo), async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        stream.write_all(b"twice").await.unwrap();
        let mut buffer = [0; 9];
        let seen = stream.peek(&mut buffer[..3]).await.unwrap();
        assert_eq!(&buffer[..seen], b"twi");
        while stream.peek(&mut buffer).await.unwrap() < 5 {
            yield_now().await;
        }
        assert_eq!(&buffer[..5], b"twice");
        let length = stream.read(&mut buffer).await.unwrap();
        buffer[..length].to_vec()
    });
    assert_eq!(read, b"twice");
}

#[test]
fn several_buffers_are_read_and_written_at_once() {
    let mut world = World::new();
    world.play(serve(echo), async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        let written = std::future::poll_fn(|task| {
            let pieces = [&b"ab"[..], b"", b"cdef", b"ghi"].map(IoSlice::new);
            futures_io::AsyncWrite::poll_write_vectored(Pin::new(&mut stream), task, &pieces)
        });
        assert_eq!(written.await.unwrap(), 9);
        let mut buffer = [0; 9];
        while stream.peek(&mut buffer).await.unwrap() < 9 {
            yield_now().await;
        }
        let (mut one, mut two, mut three) = ([0; 4], [0; 0], [0; 9]);
        let read = std::future::poll_fn(|task| {
            let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two), IoSliceMut::new(&mut three)];
            Pin::new(&mut stream).poll_read_vectored(task, &mut buffers)
        });
        assert_eq!(read.await.unwrap(), 9);
        assert_eq!((&one, &three[..5]), (b"abcd", &b"efghi"[..]));
    });
}

#[test]
fn tokios_traits_carry_octets_too() {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    let mut world = World::new();
    world.play(serve(echo), async {
        let mut stream = TcpStream::connect(servers()[0]).await.unwrap();
        assert!(AsyncWrite::is_write_vectored(&stream));
        let written = std::future::poll_fn(|task| AsyncWrite::poll_write(Pin::new(&mut stream), task, b"hello"));
        assert_eq!(written.await.unwrap(), 5);
        let closed = std::future::poll_fn(|task| AsyncWrite::poll_shutdown(Pin::new(&mut stream), task));
        closed.await.unwrap();
        let mut memory = [std::mem::MaybeUninit::uninit(); 32];
        let mut buffer = ReadBuf::uninit(&mut memory);
        for _ in 0..2 {
            let read = std::future::poll_fn(|task| AsyncRead::poll_read(Pin::new(&mut stream), task, &mut buffer));
            read.await.unwrap();
        }
        assert_eq!(buffer.filled(), b"hello");
    });
}

#[test]
fn halves_may_be_dropped_in_either_order_and_joined_again() {
    let mut world = World::new();
    world.play(serve(echo), async {
        // The writing half first: our side is closed, and what comes is read.
        let (mut reader, mut writer) = TcpStream::connect(servers()[0]).await.unwrap().into_split();
        writer.write_all(b"first").await.unwrap();
        drop(writer);
        let mut buffer = [0; 9];
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        drop(reader);
        // The reading half first: we go on writing.
        let (reader, mut writer) = TcpStream::connect(servers()[0]).await.unwrap().into_split();
        drop(reader);
        writer.write_all(b"second").await.unwrap();
        drop(writer);
        // Together again, nothing was closed.
        let (reader, writer) = TcpStream::connect(servers()[1]).await.unwrap().into_split();
        let (other, another) = TcpStream::connect(servers()[1]).await.unwrap().into_split();
        let ReuniteError(reader, another) = reader.reunite(another).unwrap_err();
        drop((other, another));
        let mut stream = reader.reunite(writer).unwrap();
        let (mut reader, mut writer) = stream.split();
        writer.write_all(b"third").await.unwrap();
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 5);
        // The peer is still open: nobody has closed our side.
        assert!(timeout(Duration::from_secs(1), reader.read(&mut buffer)).await.is_err());
    });
    world.pass(Duration::from_secs(1));
    assert_eq!((world.flows(SERVER), world.flows(CLIENT)), (0, 0));
}
