//! The parser, the responses and the pattern, each alone.

use super::{
    request::{Method, Parsed, Request, RequestBody, Target},
    response::{Answer, Head},
    *,
};

fn request(method: Method, target: Target) -> Request {
    Request { method, target, keep_alive: true, is_1_0: true, body: RequestBody::Length(0) }
}

#[test]
fn a_head_is_partial_up_to_its_last_octet() {
    let octets = b"GET /bytes/12 HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcGET";
    let head = octets.len() - 6;
    for length in 0..head {
        assert_eq!(Request::parse(&octets[..length]), (Parsed::Partial, 0), "{length} octets");
    }
    let expected = Request { body: RequestBody::Length(3), ..request(Method::Get, Target::Bytes(12)) };
    for length in head..=octets.len() {
        assert_eq!(Request::parse(&octets[..length]), (Parsed::Whole(expected), head), "{length} octets");
    }
}

#[test]
fn lines_may_end_without_a_carriage_return() {
    let (parsed, length) = Request::parse(b"HEAD / HTTP/1.1\nHost: a\n\nrest");
    let expected = Request { is_1_0: false, ..request(Method::Head, Target::Index) };
    assert_eq!((parsed, length), (Parsed::Whole(expected), 25));
}

#[test]
fn the_longest_response_fits_its_room() {
    let methods = [Method::Get, Method::Head, Method::Known, Method::Unknown];
    let targets = [Target::Index, Target::Bytes(u64::MAX), Target::NotFound];
    let bodies = [RequestBody::Length(0), RequestBody::Unbounded];
    let mut longest = 0;
    for method in methods {
        for target in targets {
            for body in bodies {
                let head = Head::of(&Answer::to(&Request { body, ..request(method, target) }));
                assert!(head.as_bytes().windows(4).any(|end| end == b"\r\n\r\n"), "a head has an end");
                longest = longest.max(head.as_bytes().len());
            }
        }
    }
    // Room for some more text, because it is the room in the send buffer that is waited for.
    assert!((1..=MAX_RESPONSE - 256).contains(&longest), "{longest} octets");
}

#[test]
fn a_response_is_written_as_it_always_was() {
    let head = Head::of(&Answer::to(&request(Method::Get, Target::Bytes(12))));
    assert_eq!(
        head.as_bytes().escape_ascii().to_string(),
        "HTTP/1.1 200 OK\\r\\nServer: xskip\\r\\nContent-Type: application/octet-stream\\r\\nContent-Length: 12\\r\\n\
         Connection: keep-alive\\r\\n\\r\\n"
    );
    let head =
        Head::of(&Answer::to(&Request { body: RequestBody::Unbounded, ..request(Method::Known, Target::Index) }));
    assert_eq!(
        head.as_bytes().escape_ascii().to_string(),
        "HTTP/1.1 405 Method Not Allowed\\r\\nServer: xskip\\r\\nContent-Type: text/plain; charset=utf-8\\r\\n\
         Content-Length: 19\\r\\nAllow: GET, HEAD\\r\\nConnection: close\\r\\n\\r\\nMethod Not Allowed\\n"
    );
}

#[test]
fn the_pattern_goes_on_where_it_stopped() {
    let whole = super::pattern(40_000);
    for piece in [1, 7, 250, 251, 252, 16_063, 16_064, 16_065, 39_999, 50_000] {
        let mut pattern = Pattern::new(40_000);
        let mut made: Vec<u8> = Vec::new();
        while !pattern.is_finished() {
            let mut room = vec![0xff; piece];
            let length = pattern.fill(&mut room);
            assert!(length > 0 && room[length..].iter().all(|&octet| octet == 0xff), "only what it says is written");
            made.extend(&room[..length]);
        }
        assert!(made == whole, "in pieces of {piece}");
    }
    assert!(Pattern::new(0).is_finished());
}
