//! What is read of requests, and said to them.

use super::{
    door::{Door, MetricsError},
    http::{self, Asked, Form},
};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

fn asked(request: &str) -> Result<Asked, String> {
    assert_eq!(http::end(request.as_bytes()), Some(request.len()), "{request:?}");
    http::read(request.as_bytes()).map_err(|refusal| String::from_utf8(refusal).unwrap())
}

fn form(accept: &str) -> Form {
    asked(&format!("GET /metrics HTTP/1.1\r\nHost: it\r\n{accept}\r\n")).unwrap().form
}

#[test]
fn a_head_ends_with_an_empty_line() {
    for (said, end) in [
        ("GET / HTTP/1.1\r\nHost: it\r\n\r\nmore", 28),
        ("GET / HTTP/1.1\nHost: it\n\n", 25),
        ("GET / HTTP/1.1\r\n\n", 17),
    ] {
        assert_eq!(http::end(said.as_bytes()), Some(end), "{said:?}");
        for short in 0..end {
            assert_eq!(http::end(&said.as_bytes()[..short]), None, "{said:?} {short}");
        }
    }
}

#[test]
fn the_older_form_is_for_those_who_want_no_other() {
    let prometheus = "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n";
    for accept in ["", "Accept: */*\r\n", "Accept: application/*\r\n", "Accept: image/png\r\n", prometheus] {
        assert_eq!(form(accept), Form::OpenMetrics, "{accept}");
    }
    for accept in [
        "Accept: text/plain\r\n",
        "accept: TEXT/PLAIN; version=0.0.4\r\n",
        "Accept: text/*\r\n",
        "Accept: image/png\r\nAccept: text/plain;q=0.5\r\n",
        "Accept: text/plain, application/openmetrics-text;q=0\r\n",
    ] {
        assert_eq!(form(accept), Form::Plain, "{accept}");
    }
}

#[test]
fn whatever_else_is_asked_is_refused_by_its_status() {
    let head = Asked { form: Form::OpenMetrics, only_head: true };
    assert_eq!(asked("HEAD /metrics?name=a HTTP/1.1\r\n\r\n"), Ok(head));
    assert_eq!(asked("HEAD http://127.0.0.1:9920/metrics HTTP/1.0\r\n\r\n"), Ok(head));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET http://it HTTP/1.1\r\n\r\n", "404 "),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 "),
        ("GET /x://y/metrics HTTP/1.1\r\n\r\n", "404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("get /metrics HTTP/1.1\r\n\r\n", "405 "),
        ("GET /metrics HTTP/2.0\r\n\r\n", "505 "),
        ("GET /metrics\r\n\r\n", "400 "),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n", "400 "),
        (&many, "431 "),
    ] {
        let refusal = asked(request).unwrap_err();
        assert!(refusal.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {refusal}");
        assert_eq!(refusal.contains("\r\nAllow: GET, HEAD\r\n"), status.starts_with("405"), "{refusal}");
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{refusal}");
    }
}

#[test]
fn a_door_moves_to_an_address_that_can_be_had_and_stays_where_it_is_otherwise() {
    let free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    let ((one, listener), (other, taken)) = (free(), free());
    drop(listener);
    let door = Door::open(Some(one)).unwrap();
    let is_open = |address: SocketAddr| TcpStream::connect(address).is_ok();
    assert!(is_open(one) && door.prepare(Some(one)).unwrap().is_none());
    assert!(matches!(door.prepare(Some(other)), Err(MetricsError::Taken { .. })));
    let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, one.port()));
    assert!(matches!(door.prepare(Some(every)), Err(MetricsError::Overlaps { .. })));
    let elsewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9_920));
    assert!(matches!(door.prepare(Some(elsewhere)), Err(MetricsError::Elsewhere { .. })));
    assert!(is_open(one) && door.listener().is_some());

    drop(taken);
    let there = door.prepare(Some(other)).unwrap().unwrap();
    assert!(is_open(one) && is_open(other), "both, for a moment");
    drop(there);
    assert!(is_open(one) && !is_open(other), "what is prepared may be let be");
    door.go(door.prepare(Some(other)).unwrap().unwrap());
    assert!(is_open(other) && !is_open(one));
    door.go(door.prepare(None).unwrap().unwrap());
    assert!(!is_open(other) && door.listener().is_none());
}
