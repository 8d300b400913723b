//! Handshakes that a balancer has answered, ended at a backend: its kernel adopts the connections. Needs root.

mod common;

use common::{
    handover::{EVERYTHING, Site, accept, vips},
    is_root,
};
use std::io::{Read, Write};

#[test]
fn a_connection_begins_with_the_end_of_its_handshake() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        let (mut stream, from) = accept(&listener);
        assert_eq!(from, client.ours);
        site.send(&[client.data(b"question")]);
        let mut got = [0; 8];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"question");
        stream.write_all(b"answer").unwrap();
        let answer = std::iter::repeat_with(|| site.hear(&client)).find(|answer| !answer.data.is_empty()).unwrap();
        assert_eq!((answer.data.as_slice(), answer.header.seq), (&b"answer"[..], client.expected));
        assert_eq!(answer.header.ack, client.next);
        assert_eq!(site.counts(), [("adopted".to_owned(), count)]);
    }
}
