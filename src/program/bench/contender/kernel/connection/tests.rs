use super::*;
use std::net::{Ipv4Addr, TcpListener};

/// A connection over the loopback interface, and its client.
fn pair(service: Service) -> (Connection, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Connection::new(stream, service), client)
}

/// Lets the server do what is to be done, for as long as it takes until it is so.
fn serve_until(connection: &mut Connection, mut is_so: impl FnMut(Next) -> bool) {
    let mut buffer = vec![0; 4_096];
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so(connection.go_on(&mut buffer)) {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_request_ends_with_a_blank_line_wherever_it_is_cut() {
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for cut in 0..request.len() {
        let mut end = BlankLine::default();
        assert!(!end.is_in(&request[..cut]), "{cut}");
        assert!(end.is_in(&request[cut..]), "{cut}");
    }
    assert!(BlankLine::default().is_in(b"GET /\n\n"));
}

#[test]
fn the_response_is_as_long_as_it_says() {
    let text = std::str::from_utf8(RESPONSE).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
}

#[test]
fn an_echo_waits_for_room_and_loses_nothing() {
    let (mut connection, mut client) = pair(Service::Echo);
    let sent: Vec<u8> = (0..8 << 20).map(|index: u32| (index % 251) as u8).collect();
    let mut writer = client.try_clone().unwrap();
    let expected = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    serve_until(&mut connection, |next| next == Next::Writable);
    let reading = std::thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).unwrap();
        assert!(got == expected);
    });
    serve_until(&mut connection, |_| reading.is_finished());
    writing.join().unwrap();
    reading.join().unwrap();
    serve_until(&mut connection, |next| next == Next::Over);
}

#[test]
fn what_is_discarded_is_not_answered() {
    let (mut connection, mut client) = pair(Service::Discard);
    client.write_all(&[7; 100_000]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    serve_until(&mut connection, |next| next == Next::Over);
    drop(connection);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn only_a_request_can_be_late() {
    for (service, is_late) in [(Service::Page, true), (Service::Echo, false), (Service::Discard, false)] {
        let (connection, _client) = pair(service);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(connection.is_late(Duration::ZERO), is_late, "{service:?}");
        assert!(!connection.is_late(Duration::from_secs(60)));
    }
}
