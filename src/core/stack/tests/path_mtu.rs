//! Path MTU discovery across connections: what one has learned, others begin with.

use super::*;

impl Bench {
    /// A router says that a packet was too big for a link that takes `mtu` bytes.
    fn too_big(&mut self, mtu: u32, quoted: &[u8]) {
        let (kind, code) = if self.ours.is_ipv4() { (3, 4) } else { (2, 0) };
        self.send_error(kind, code, mtu, &quoted[..64]);
    }

    fn headers_len(&self) -> usize {
        if self.ours.is_ipv4() { 40 } else { 60 }
    }

    /// Everything that is sent again because it did not fit: one segment, and the others as acknowledgments come.
    fn sent_in_turn(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        loop {
            let sent = self.sent();
            let Some(last) = sent.last() else { return all };
            let end = last.header.seq.advance(last.data.len() as u32);
            all.extend(sent);
            self.send(self.header(IRS.advance(1), end, ACK), b"");
        }
    }

    fn sizes_in_turn(&mut self) -> Vec<usize> {
        self.sent_in_turn().iter().map(|sent| sent.data.len()).collect()
    }

    /// Lengths of the data in everything sent.
    fn sizes(&mut self) -> Vec<usize> {
        self.sent().iter().map(|sent| sent.data.len()).collect()
    }
}

#[test]
fn shld_6_segments_follow_a_narrower_path_at_once() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let headers = bench.headers_len();
        let (_, quoted) = bench.connect_and_write(2_000);
        let full = 1_500 - headers;
        assert_eq!(quoted.iter().map(|packet| packet.len() - headers).collect::<Vec<_>>(), [full, 2_000 - full]);
        bench.too_big(1_400, &quoted[0]);
        assert_eq!(bench.sizes_in_turn(), [1_400 - headers, 100], "what did not fit goes again, in pieces");
        assert_eq!(bench.stack.stats().path_mtus_lowered, 1);
        assert_eq!(bench.events(), [], "there is nothing for the application to worry about");
    }
}

#[test]
fn must_16_what_one_connection_has_learned_the_next_one_knows() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let headers = bench.headers_len();
        let (_, quoted) = bench.connect_and_write(2_000);
        bench.too_big(1_400, &quoted[0]);
        bench.sent();
        bench.port = 40_001;
        let (_, next) = bench.connect_and_write(2_000);
        assert_eq!(next.iter().map(Vec::len).collect::<Vec<_>>(), [1_400, 2_000 - (1_400 - headers) + headers]);
        // It is the path to that destination, and no other.
        bench.theirs = if bench.ours.is_ipv4() { "198.18.0.3" } else { "2001:2::3" }.parse().unwrap();
        let (_, other) = bench.connect_and_write(2_000);
        assert_eq!(other[0].len(), 1_500);
    }
}

#[test]
fn must_16_larger_segments_are_tried_again_after_ten_minutes() {
    let mut bench = Bench::new();
    let (id, quoted) = bench.connect_and_write(2_000);
    bench.too_big(1_400, &quoted[0]);
    let last = bench.sent_in_turn().pop().unwrap();
    let answer = |bench: &mut Bench, last: &Sent| {
        let end = last.header.seq.advance(last.data.len() as u32);
        bench.send(bench.header(IRS.advance(1), end, ACK), b"");
    };
    // The rest of the first write was small enough; everything is acknowledged.
    let end = last.header.seq.advance(last.data.len() as u32 + 540);
    bench.send(bench.header(IRS.advance(1), end, ACK), b"");
    for (after, expected) in [(590, 1_360), (11, 1_460)] {
        bench.pass(Duration::from_secs(after));
        bench.with_stream(id, |stream| assert_eq!(stream.write(&[7; 3_000]), 3_000));
        let sent = bench.sent();
        assert_eq!(sent[0].data.len(), expected, "after another {after} s");
        answer(&mut bench, sent.last().unwrap());
    }
    bench.port = 40_001;
    let (_, next) = bench.connect_and_write(2_000);
    assert_eq!(next[0].len(), 1_500, "the next connection tries, too");
}

#[test]
fn shld_6_no_message_makes_a_path_wider() {
    let mut bench = Bench::new();
    let (_, quoted) = bench.connect_and_write(2_000);
    bench.too_big(1_400, &quoted[0]);
    let smaller: Vec<_> = bench.frames().into_iter().map(|frame| frame[14..].to_vec()).collect();
    // The same again, a larger one, and one that the packet would have fitted.
    for (mtu, quoted) in [(1_400, &quoted[0]), (1_450, &quoted[0]), (1_400, &smaller[0]), (1_500, &quoted[0])] {
        bench.too_big(mtu, quoted);
    }
    assert_eq!((bench.sizes(), bench.drops(DropReason::ImplausibleMtu)), (vec![], 4));
}

#[test]
fn must_54_a_packet_too_big_must_quote_what_is_in_flight() {
    let mut bench = Bench::new();
    let (_, quoted) = bench.connect_and_write(2_000);
    let mut forged = quoted[0].clone();
    forged[24] ^= 0x40;
    bench.too_big(600, &forged);
    assert_eq!((bench.sizes(), bench.drops(DropReason::UnmatchedIcmp)), (vec![], 1));
}

#[test]
fn the_paths_remembered_have_a_limit() {
    let mut bench = Bench::with(StackConfig { max_path_mtus: 4, ..StackConfig::default() });
    for last in 2..12 {
        bench.theirs = IpAddr::from([198, 18, 0, last]);
        let (_, quoted) = bench.connect_and_write(2_000);
        bench.too_big(1_400, &quoted[0]);
        bench.frames();
        bench.pass(Duration::from_millis(1));
    }
    assert_eq!(bench.stack.interfaces[InterfaceId::FIRST].path_mtus.len(), 4);
    bench.port = 40_001;
    for (last, expected) in [(11, 1_400), (8, 1_400), (7, 1_500), (2, 1_500)] {
        bench.theirs = IpAddr::from([198, 18, 0, last]);
        let (_, next) = bench.connect_and_write(2_000);
        assert_eq!(next[0].len(), expected, "198.18.0.{last}");
    }
}

#[test]
fn a_link_that_becomes_narrower_makes_segments_smaller_and_a_wider_one_those_to_come_larger() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let headers = bench.headers_len();
        bench.connect_and_write(2_000);
        bench.stack.set_mtu(bench.now, InterfaceId::FIRST, 1_400);
        assert_eq!(bench.sizes_in_turn(), [1_400 - headers, 100], "what did not fit goes again, in pieces");
        bench.stack.set_mtu(bench.now, InterfaceId::FIRST, 1_400);
        assert_eq!(bench.sizes(), [0; 0], "nothing has changed");
        bench.port = 40_001;
        let (_, next) = bench.connect_and_write(2_000);
        assert_eq!(next[0].len(), 1_400);
        bench.stack.set_mtu(bench.now, InterfaceId::FIRST, 1_500);
        bench.port = 40_002;
        let (_, wide) = bench.connect_and_write(2_000);
        assert_eq!(wide[0].len(), 1_500);
        let stats = bench.stack.stats();
        assert_eq!((stats.mtu_changes, stats.path_mtus_lowered), (2, 1));
    }
}
