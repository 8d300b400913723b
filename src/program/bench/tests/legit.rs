//! Legitimate clients against servers that answer, refuse, reset, talk nonsense or say nothing. No assertion is about time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::bench::legit::{LegitFigures, LegitLoad, LegitOptions};

const ANYWHERE: &str = "127.0.0.1:0";
/// Long enough for a machine that is busy with other tests.
const PATIENT: Duration = Duration::from_secs(10);

fn options(target: SocketAddr) -> LegitOptions {
    LegitOptions { targets: vec![target], per_second: 500, patience: PATIENT, core: None }
}

/// Runs clients until so many have started.
fn visit(options: LegitOptions, attempts: u64) -> LegitFigures {
    let load = LegitLoad::start(options).expect("clients");
    while load.snapshot().attempts < attempts {
        thread::sleep(Duration::from_millis(1));
    }
    load.finish()
}

/// A server that treats each connection so, once it has the request. Tells its address, and how many connections it has had.
fn serve(treat: impl Fn(TcpStream) + Send + 'static) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind(ANYWHERE).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn({
        let count = count.clone();
        move || {
            for connection in listener.incoming() {
                let mut connection = connection.expect("a connection");
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if connection.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                treat(connection);
            }
        }
    });
    (address, count)
}

/// All attempts failed, for this reason.
fn assert_all_failed(figures: &LegitFigures, reason: &str) {
    assert_eq!(figures.failures, figures.attempts);
    assert_eq!(figures.full.len(), 0);
    let reasons: Vec<_> = figures.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(reasons, [(reason, figures.attempts)]);
}

#[test]
fn answers_in_pieces_are_answers() {
    let treat = |mut connection: TcpStream| {
        for piece in ["HTT", "P/1.1 200 OK\r\n", "Content-Length: 2\r\n\r\nhi"] {
            connection.write_all(piece.as_bytes()).expect("sends");
        }
    };
    let (one, visits_of_one) = serve(treat);
    let (other, visits_of_other) = serve(treat);
    let figures = visit(LegitOptions { targets: vec![one, other], ..options(one) }, 20);
    assert_eq!(figures.failures, 0, "{:?}", figures.reasons);
    assert!(figures.attempts >= 20);
    assert_eq!(figures.full.len(), figures.attempts);
    assert_eq!(figures.handshake.len(), figures.attempts);
    assert_eq!(figures.lateness.len(), figures.attempts);
    assert!(figures.handshake.max() <= figures.full.max());
    assert_eq!(visits_of_one.load(Ordering::SeqCst), figures.attempts.div_ceil(2), "the targets take turns");
    assert_eq!(visits_of_other.load(Ordering::SeqCst), figures.attempts / 2);
}

#[test]
fn a_wrong_answer_is_a_failure() {
    for wrong in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 2", "220 mail.example ESMTP\r\n"] {
        let (target, visits) = serve(move |mut connection| connection.write_all(wrong.as_bytes()).expect("sends"));
        let figures = visit(options(target), 5);
        assert_all_failed(&figures, "wrong answer");
        assert_eq!(figures.handshake.len(), figures.attempts, "the handshake was all right");
        assert_eq!(visits.load(Ordering::SeqCst), figures.attempts);
    }
}

#[test]
fn no_answer_is_a_failure() {
    let (target, _) = serve(drop);
    assert_all_failed(&visit(options(target), 5), "closed without an answer");
}

#[test]
fn a_reset_is_a_failure() {
    let (target, visits) = serve(|connection| {
        let socket = Socket::from(connection);
        socket.set_linger(Some(Duration::ZERO)).expect("an abortive close");
    });
    let figures = visit(options(target), 5);
    assert_all_failed(&figures, "reset");
    assert_eq!(visits.load(Ordering::SeqCst), figures.attempts);
}

#[test]
fn a_refusal_is_a_failure() {
    // Bound, so that nobody else gets the port; but not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let anywhere: SocketAddr = ANYWHERE.parse().expect("an address");
    socket.bind(&anywhere.into()).expect("a port");
    let target = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let figures = visit(options(target), 5);
    assert_all_failed(&figures, "connection refused");
    assert_eq!(figures.handshake.len(), 0);
}

#[test]
fn patience_ends_a_silent_handshake() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let anywhere: SocketAddr = ANYWHERE.parse().expect("an address");
    socket.bind(&anywhere.into()).expect("a port");
    socket.listen(0).expect("listens");
    let target = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    // One fills the queue of a server that never accepts; further SYNs meet silence.
    let _first = TcpStream::connect(target).expect("a place in the queue");
    let figures = visit(LegitOptions { patience: Duration::from_millis(50), ..options(target) }, 5);
    assert_all_failed(&figures, "handshake timed out");
    assert_eq!(figures.handshake.len(), 0);
}

#[test]
fn patience_ends_a_silent_answer() {
    let listener = TcpListener::bind(ANYWHERE).expect("a listener");
    let target = listener.local_addr().expect("its address");
    // The kernel shakes hands for a server that never accepts, as long as its queue has room.
    let few = LegitOptions { per_second: 50, patience: Duration::from_millis(500), ..options(target) };
    let figures = visit(few, 3);
    assert_all_failed(&figures, "answer timed out");
    assert_eq!(figures.handshake.len(), figures.attempts);
}

#[test]
fn dropping_stops_at_once() {
    let listener = TcpListener::bind(ANYWHERE).expect("a listener");
    let target = listener.local_addr().expect("its address");
    // With an hour of patience, a drop that waited for the attempts under way would never return.
    let options = LegitOptions { per_second: 1, patience: Duration::from_secs(3600), ..options(target) };
    drop(LegitLoad::start(options).expect("clients"));
}

#[test]
fn options_without_sense_are_refused() {
    let target = ANYWHERE.parse().expect("an address");
    let no_target = LegitOptions { targets: Vec::new(), ..options(target) };
    let no_rate = LegitOptions { per_second: 0, ..options(target) };
    let no_patience = LegitOptions { patience: Duration::ZERO, ..options(target) };
    let no_such_core = LegitOptions { core: Some(1023), ..options(target) };
    let so_many = LegitOptions { per_second: u32::MAX, ..options(target) };
    for (options, remedy) in [
        (no_target, "name at least one target"),
        (no_rate, "ask for at least 1"),
        (no_patience, "allow more than 0 s"),
        (no_such_core, "name a core that is online"),
        (so_many, "ask for fewer attempts"),
    ] {
        let error = LegitLoad::start(options).err().expect("a refusal");
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn rounds_add_up() {
    let (target, _) = serve(drop);
    let one = visit(options(target), 3);
    let mut both = one.clone();
    both.merge(&one);
    assert_eq!((both.attempts, both.failures), (2 * one.attempts, 2 * one.failures));
    assert_eq!(both.reasons["closed without an answer"], 2 * one.failures);
    assert_eq!(both.handshake.len(), 2 * one.handshake.len());
}

#[test]
fn times_are_kept_as_long_as_they_are() {
    let mut figures = LegitFigures::default();
    for nanoseconds in [1_000, 80_000, 3_000_000_000] {
        figures.handshake.saturating_record(nanoseconds);
        assert!(figures.handshake.max().abs_diff(nanoseconds) * 500 < nanoseconds);
    }
}
