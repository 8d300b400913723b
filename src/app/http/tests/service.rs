//! Conversations.

use super::*;

const INDEX: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn the_index_is_text_and_the_connection_stays() {
    let (response, stays) = answer(INDEX);
    assert_eq!((response.status, stays), (200, true));
    assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(response.body.starts_with(b"xskip: "));
}

#[test]
fn a_request_may_be_split_anywhere() {
    let request = "GET /bytes/7?q HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";
    let (whole, _) = answer(request);
    assert_eq!(whole.body, pattern(7));
    for at in 1..request.len() {
        let mut client = Client::connect();
        client.send(&request[..at]);
        assert!(client.received.is_empty(), "answered after {at} octets");
        client.send(&request[at..]);
        assert_eq!(client.response(), whole, "split at {at}");
    }
}

#[test]
fn a_request_may_come_octet_by_octet() {
    let mut client = Client::connect();
    for octet in INDEX.repeat(2).as_bytes() {
        client.send([*octet]);
    }
    assert_eq!(client.responses(&["GET", "GET"]).len(), 2);
}

/// The receive ring begins with 2,048 octets, so that requests of a length that does not divide it wrap somewhere else
/// each time.
#[test]
fn requests_that_wrap_in_the_ring_are_read() {
    let request = format!("GET /bytes/3 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200));
    let mut client = Client::connect();
    for round in 0..request.len() {
        let (first, second) = request.split_at(round);
        client.send(first);
        client.send(second);
    }
    for response in client.responses(&vec!["GET"; request.len()]) {
        assert_eq!((response.status, response.body), (200, pattern(3)));
    }
    assert!(!client.ended);
}

#[test]
fn pipelined_requests_that_wrap_in_the_ring_are_answered_in_order() {
    let requests: String = (0..300).map(|index| format!("GET /bytes/{index} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    for piece in [97, 1_000, MSS] {
        let mut client = Client::connect();
        for octets in requests.as_bytes().chunks(piece) {
            client.send(octets);
        }
        let lengths: Vec<usize> = client.responses(&["GET"; 300]).iter().map(|response| response.body.len()).collect();
        assert_eq!(lengths, (0..300).collect::<Vec<_>>(), "in pieces of {piece}");
    }
}

#[test]
fn head_is_answered_without_content() {
    for target in ["/", "/bytes/1000", "/nowhere"] {
        let (head, stays) = answer(&format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (get, _) = answer(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((head.status, &head.fields), (get.status, &get.fields), "the same head for {target}");
        assert!(stays && !get.body.is_empty());
    }
}

#[test]
fn a_refused_head_is_answered_without_content() {
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("HEAD / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ] {
        assert_eq!(answer(request).0.status, status, "{request}");
    }
}

#[test]
fn pipelined_heads_and_gets_are_told_apart() {
    let mut client = Client::connect();
    client.send(
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/2 HTTP/1.1\r\nHost: a\r\n\r\n\
         HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let responses = client.responses(&["HEAD", "GET", "HEAD", "GET"]);
    assert_eq!(responses[1].body, pattern(2));
    assert_eq!(responses[2].field("content-length"), Some("9"));
    assert_eq!(responses[3].field("content-length"), Some("0"));
    assert!(client.ended);
}

#[test]
fn nothing_is_answered_behind_a_last_request() {
    let mut client = Client::connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{INDEX}"));
    client.send(INDEX);
    assert_eq!(client.responses(&["GET"]).len(), 1);
    assert!(client.ended && !client.reset, "what comes late is thrown away, not answered with a reset");
    client.finish();
    assert_eq!(client.stack.flow_counts(), (0, 0, 1), "the connection has ended in TIME-WAIT");
}

#[test]
fn connection_options_are_a_list_in_any_case() {
    for (version, option, stays) in [
        ("1.1", "close", false),
        ("1.1", "Close", false),
        ("1.1", "CLOSE", false),
        ("1.1", "upgrade, close", false),
        ("1.1", "close,keep-alive", false),
        ("1.1", "keep-alive ,\tclose", false),
        ("1.1", "keep-alive\r\nConnection: close", false),
        ("1.1", "closed", true),
        ("1.1", "not close", true),
        ("1.1", "keep-alive", true),
        ("1.1", "", true),
        ("1.0", "keep-alive", true),
        ("1.0", "Keep-Alive", true),
        ("1.0", "upgrade,keep-alive", true),
        ("1.0", "keep-alive, close", false),
        ("1.0", "upgrade", false),
        ("1.0", "", false),
    ] {
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        let (response, stayed) = answer(&request);
        assert_eq!((response.status, stayed), (200, stays), "{request}");
        // A client of HTTP/1.0 believes it only when it is told; one of HTTP/1.1 believes it anyway.
        let told = response.field("connection") == Some("keep-alive");
        assert_eq!(told, stays && version == "1.0", "{request}");
    }
}

#[test]
fn requests_that_cannot_be_answered_are_refused() {
    let host = "Host: a\r\n";
    for (name, request, status) in [
        ("no path of ours", format!("GET /nowhere HTTP/1.1\r\n{host}\r\n"), 404),
        ("a known method", format!("POST / HTTP/1.1\r\n{host}\r\n"), 405),
        ("another known method", format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 405),
        ("a known method nowhere", format!("DELETE /nowhere HTTP/1.1\r\n{host}\r\n"), 405),
        ("an unknown method", format!("BREW / HTTP/1.1\r\n{host}\r\n"), 501),
        ("a method in lower case", format!("get / HTTP/1.1\r\n{host}\r\n"), 501),
        ("garbage", "\x16\x03\x01\x02\r\n\r\n".to_owned(), 400),
        ("a request of HTTP/0.9", "GET /\r\n\r\n".to_owned(), 400),
        ("HTTP/2", format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
        ("a version that is none", format!("GET / HTPP/1.1\r\n{host}\r\n"), 400),
        ("a space before a colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("no host in absolute form", "GET http://a/ HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("two hosts in HTTP/1.0", format!("GET / HTTP/1.0\r\n{host}{host}\r\n"), 400),
        ("a host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), 400),
        ("a user at a host", "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n".to_owned(), 400),
        (
            "two framings",
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400,
        ),
        ("two lengths", format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        ("a length with a sign", format!("GET / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\n"), 400),
        ("a length of nothing", format!("GET / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"), 400),
        ("a length beyond measure", format!("GET / HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n", "9".repeat(20)), 400),
        ("a coding we have not", format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        ("65 fields", format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(64)), 431),
        ("a long field", format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "y".repeat(MAX_HEAD)), 431),
        ("fields without end", format!("GET / HTTP/1.1\r\n{host}{}", "X: yyyy\r\n".repeat(MAX_HEAD)), 431),
        ("a long target", format!("GET /{} HTTP/1.1\r\n{host}\r\n", "y".repeat(MAX_HEAD)), 414),
    ] {
        let (response, stays) = answer(&request);
        assert_eq!(response.status, status, "{name}");
        assert_eq!(response.field("allow"), (status == 405).then_some("GET, HEAD"), "{name}");
        // Where the head was understood, it is known where the next one begins.
        let understood = matches!(status, 404 | 405) || name.contains("method");
        assert_eq!(stays, understood, "{name}");
    }
}

#[test]
fn a_head_of_the_greatest_length_is_read() {
    let around = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    for (length, status) in [(MAX_HEAD - 1, 200), (MAX_HEAD, 200), (MAX_HEAD + 1, 431)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length - around));
        assert_eq!(request.len(), length);
        assert_eq!(answer(&request).0.status, status, "{length} octets");
    }
}

#[test]
fn hosts_of_every_kind_are_accepted() {
    for host in ["", "example.com", "example.com:8080", "198.18.0.1", "[2001:2::1]:80", "xn--bcher-kva.example", "a_b"]
    {
        assert_eq!(answer(&format!("GET / HTTP/1.1\r\nhost:\t{host} \r\n\r\n")).0.status, 200, "{host}");
    }
    assert_eq!(answer("GET / HTTP/1.0\r\n\r\n").0.status, 200, "HTTP/1.0 needs none");
}

#[test]
fn the_length_of_a_body_is_the_number_in_its_path() {
    for (number, length) in
        [("0", 0), ("1", 1), ("250", 250), ("252", 252), ("0007", 7), ("65536", 65_536), ("1000000", 1_000_000)]
    {
        let (response, stays) = answer(&format!("GET /bytes/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, stays), (200, true));
        assert_eq!(response.field("content-type"), Some("application/octet-stream"));
        assert_eq!(response.field("content-length"), Some(length.to_string().as_str()));
        assert!(response.body == pattern(length), "the pattern, {length} octets long");
    }
}

#[test]
fn what_is_no_number_is_not_found() {
    for number in
        ["", "x", "-1", "+1", "1.5", "0x10", "1e3", "%31", "1/", "1/2", "18446744073709551616", "99999999999999999999"]
    {
        let (response, _) = answer(&format!("GET /bytes/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, 404, "{number:?}");
    }
    assert_eq!(answer("GET /bytes/١ HTTP/1.1\r\nHost: a\r\n\r\n").0.body.first(), Some(&b'N'), "only ASCII has digits");
}

#[test]
fn the_greatest_body_is_begun_and_waits_for_its_reader() {
    let mut client = Client::connect();
    client.appetite = 300_000;
    client.send(format!("GET /bytes/{} HTTP/1.1\r\nHost: a\r\n\r\n{INDEX}", u64::MAX));
    let head = client.received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&client.received[..head]).contains("Content-Length: 18446744073709551615\r\n"));
    assert!(client.received.len() >= 300_000 && client.received.len() < 400_000);
    assert!(client.received[head..] == pattern(client.received.len() - head));
}

#[test]
fn absolute_form_names_the_same_resources() {
    for (target, status, length) in [
        ("http://example.com/bytes/5", 200, Some(5)),
        ("HTTP://example.com/bytes/5", 200, Some(5)),
        ("https://example.com:8443/bytes/5?a=b", 200, Some(5)),
        ("http://example.com/", 200, None),
        ("http://example.com", 200, None),
        ("http://example.com?/bytes/5", 200, None),
        ("/?from=http://example.com/bytes/5", 200, None),
        ("/bytes/5?a/b://c", 200, Some(5)),
        ("ftp://example.com/bytes/5", 404, None),
        ("http://example.com/nowhere", 404, None),
        ("example.com:80", 404, None),
        ("*", 404, None),
        ("?", 404, None),
    ] {
        let (response, _) = answer(&format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        assert_eq!(response.status, status, "{target}");
        match length {
            Some(length) => assert_eq!(response.body, pattern(length), "{target}"),
            None => assert_eq!(response.body.starts_with(b"xskip: "), status == 200, "{target}"),
        }
    }
}

#[test]
fn the_body_of_a_get_is_passed_over() {
    let get = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    for length in [1, 5, 10_000, 1 << 20] {
        let mut client = Client::connect();
        client.send(get(length));
        assert_eq!(client.response().status, 200, "the answer does not wait for the body");
        // The body is a request, which must not be taken for one.
        let body: Vec<u8> = INDEX.bytes().cycle().take(length).collect();
        client.send(&body);
        assert_eq!(client.response().status, 200);
        client.send(INDEX);
        assert_eq!(client.responses(&["GET", "GET"])[1].status, 200, "{length} octets");
        assert!(!client.ended);
    }
}

#[test]
fn bodies_pipelined_with_their_requests_are_passed_over() {
    let requests = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
                    GET /bytes/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\
                    GET /bytes/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n\r\n\
                    GET /bytes/2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 0..requests.len() {
        let mut client = Client::connect();
        client.send(&requests[..at]);
        client.send(&requests[at..]);
        let found: Vec<_> = client.responses(&["GET"; 4]).iter().map(|response| response.status).collect();
        assert_eq!(found, [405, 200, 200, 200], "split at {at}");
    }
}

#[test]
fn a_body_without_a_sensible_end_closes_the_connection() {
    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: Chunked\r\n\r\n",
        "Content-Length: 1048577\r\n\r\n",
        "Content-Length: 18446744073709551615\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ] {
        let (response, stays) = answer(&format!("GET / HTTP/1.1\r\nHost: a\r\n{framing}"));
        assert_eq!((response.status, stays), (200, false), "{framing}");
    }
}

#[test]
fn an_expectation_without_a_body_changes_nothing() {
    for length in ["", "Content-Length: 0\r\n"] {
        let (response, stays) = answer(&format!("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{length}\r\n"));
        assert_eq!((response.status, stays), (200, true));
    }
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer() {
    let mut client = Client::connect();
    client.send("GET /bytes/200000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish();
    assert_eq!(client.response().body.len(), 200_000);
    assert!(client.ended && !client.reset);
    assert_eq!(client.stack.flow_counts(), (0, 0, 0));
}

#[test]
fn a_request_that_ends_half_way_is_refused() {
    for request in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        let mut client = Client::connect();
        client.send(request);
        client.finish();
        assert_eq!(client.response().status, 400, "{request:?}");
        assert!(client.ended && !client.reset);
    }
}

#[test]
fn a_client_that_says_nothing_is_told_nothing() {
    let mut client = Client::connect();
    client.finish();
    assert!(client.received.is_empty() && client.ended && !client.reset);
    assert_eq!(client.stack.flow_counts(), (0, 0, 0));
}

#[test]
fn a_body_cut_short_ends_the_connection_in_silence() {
    let mut client = Client::connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    client.finish();
    assert_eq!(client.response().status, 200);
    assert!(client.ended && !client.reset);
}

#[test]
fn empty_lines_before_a_request_are_ignored() {
    let mut client = Client::connect();
    client.send(format!("\r\n{INDEX}\r\n\r\n{INDEX}"));
    assert_eq!(client.responses(&["GET", "GET"]).len(), 2);
}

#[test]
fn empty_lines_behind_the_last_request_are_no_request() {
    let mut client = Client::connect();
    client.send(format!("{INDEX}\r\n\n"));
    client.finish();
    assert_eq!(client.response().status, 200);
    assert!(client.ended && !client.reset);
    assert_eq!(client.stack.flow_counts(), (0, 0, 0));
}

#[test]
fn a_small_send_buffer_holds_requests_back_and_loses_none() {
    let mut config = StackConfig::default();
    config.tcp.send_buffer = 2_048;
    let mut client = Client::connect_to(config);
    client.send("GET /bytes/5000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50));
    for response in client.responses(&["GET"; 50]) {
        assert!(response.body == pattern(5_000));
    }
}
