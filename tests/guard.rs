//! The XDP program's guard, frame by frame: the cookies it makes are the stack's own, and strangers end here. Needs root.

#[path = "common/library.rs"]
mod common;

use std::net::{IpAddr, SocketAddr};

use common::{is_root, pair::*};
use proptest::prelude::*;
use xskip::{
    config::StackConfig,
    host::cores::{self, Cores},
    rng::SipKey,
    stack::{Cidr, LocalAddress, Ownership},
    wire::{
        self, ChecksumPolicy, InterfaceId, IpHeader, LinkHeader, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions,
        checksum::Checksum,
        ethernet::{VlanTag, VlanTags},
        tcp_options::Timestamps,
    },
    xdp::{Action, Program, ProgramOptions, Service, Steering, SynAckFields, Unfinished, WayOut},
};

fn any_options() -> impl Strategy<Value = TcpOptions> {
    let timestamps = prop::option::of(any::<u32>().prop_map(|value| Timestamps { value, echo: 0 }));
    (536..u16::MAX, prop::option::of(0..15u8), any::<bool>(), timestamps).prop_map(
        |(mss, window_scale, sack_permitted, timestamps)| TcpOptions {
            mss: Some(mss),
            window_scale,
            sack_permitted,
            timestamps,
            ..TcpOptions::default()
        },
    )
}

#[test]
fn the_program_answers_as_the_stack_would_to_the_byte() {
    if !is_root() {
        return;
    }
    for seed in 1..5 {
        let pair = std::cell::RefCell::new(Pair::new(seed));
        let strategy = (any_options(), any::<u32>(), 1..u16::MAX, any::<bool>(), prop::option::of(0..8u16));
        let tried = runner(200).run(&strategy, |(options, seq, port, ipv6, priority)| {
            let mut pair = pair.borrow_mut();
            let tag = priority.map(|priority| VlanTag { protocol: 0x8100, control: priority << 13 });
            let vlan = tag.and_then(|tag| VlanTags::default().with(tag)).unwrap_or_default();
            let link = LinkHeader { vlan, ..link() };
            let syn = TcpHeader { options, source_port: port, ..header(SYN, seq, 0) };
            let syn = frame(&link, ipv6, &syn, b"");
            let (action, answer) = pair.run(&syn);
            prop_assert_eq!(action, XDP_TX);
            prop_assert!(answer.len() <= syn.len(), "no SYN-ACK is longer than its SYN");
            prop_assert_eq!(Some(answer), pair.answer(&syn));
            Ok(())
        });
        tried.unwrap();
    }
}

#[test]
fn the_options_of_real_clients_are_read_however_they_are_laid_out() {
    if !is_root() {
        return;
    }
    let mut pair = Pair::new(8);
    let linux = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
    let windows = [2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2];
    let macos = [2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 9, 8, 7, 6, 0, 0, 0, 0, 4, 2, 0, 0];
    let mut lists: Vec<Vec<u8>> = vec![linux.to_vec(), windows.to_vec(), macos.to_vec(), vec![2, 4, 5, 180]];
    // Nearly the same: a scale beyond the limit, NOPs elsewhere, something in place of SACK.
    for (list, at, value) in [(&linux[..], 19, 15), (&windows, 7, 200), (&macos, 7, 15), (&linux, 4, 1), (&linux, 5, 1)]
    {
        lists.push(list.to_vec());
        lists.last_mut().unwrap()[at] = value;
    }
    let [mut nops_first, mut unknown] = [windows.to_vec(), macos.to_vec()];
    nops_first.rotate_right(4);
    unknown[20..24].copy_from_slice(&[253, 4, 0, 0]);
    lists.extend([nops_first, unknown]);
    for ipv6 in [false, true] {
        for (source_port, list) in (2_000..).zip(&lists) {
            let mut syn = frame(&link(), ipv6, &TcpHeader { source_port, ..header(SYN, 77, 0) }, list);
            // What was written as data becomes options.
            let tcp = if ipv6 { 54 } else { 34 };
            syn[tcp + 12] += (list.len() as u8 / 4) << 4;
            syn[tcp + 16..tcp + 18].fill(0);
            let sum = Checksum::pseudo_header(theirs(ipv6), ours(ipv6), 6, syn.len() - tcp).with(&syn[tcp..]);
            syn[tcp + 16..tcp + 18].copy_from_slice(&sum.field());
            let (action, answer) = pair.run(&syn);
            let expected = pair.answer(&syn);
            assert_eq!((action == XDP_TX).then_some(answer), expected, "{list:?}, IPv6 {ipv6}");
        }
        // Where there is no option at all the stack offers its MSS all the same; the program sends no more than it got.
        let syn = frame(&link(), ipv6, &TcpHeader { source_port: 3_000, ..header(SYN, 77, 0) }, b"");
        let ((_, answer), expected) = (pair.run(&syn), pair.answer(&syn).unwrap());
        assert_eq!((answer.len(), read(&answer).options), (syn.len(), TcpOptions::default()));
        assert_eq!(read(&answer).seq, read(&expected).seq);
    }
}

#[test]
fn a_handshake_begins_in_the_program_and_ends_in_the_stack() {
    if !is_root() {
        return;
    }
    let mut pair = Pair::new(9);
    for (number, (ipv6, with_timestamps)) in
        [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
    {
        let source_port = 1_000 + number as u16;
        let timestamps = with_timestamps.then_some(Timestamps { value: 5, echo: 0 });
        let options = TcpOptions { mss: Some(1_400), window_scale: Some(7), timestamps, ..TcpOptions::default() };
        let syn = TcpHeader { options, source_port, ..header(SYN, 1_000, 0) };
        let (_, answer) = pair.run(&frame(&link(), ipv6, &syn, b""));
        let answer = read(&answer);
        let echo = answer.options.timestamps.map(|ours| Timestamps { value: 6, echo: ours.value });
        let options = TcpOptions { timestamps: echo, ..TcpOptions::default() };
        let ack = TcpHeader { options, source_port, ..header(ACK, 1_001, answer.seq.get().wrapping_add(1)) };
        let last = frame(&link(), ipv6, &ack, b"GET /");
        // No socket serves the queue here, so what would be redirected is dropped, and counted as that.
        let before = pair.program.verdicts().unwrap().dropped_no_socket;
        assert_eq!(pair.run(&last).0, XDP_DROP);
        assert_eq!(pair.program.verdicts().unwrap().dropped_no_socket, before + 1);
        // What follows on its heels passes, too, before any worker has seen the flow.
        let next = TcpHeader { seq: SeqNumber::new(1_006), ..ack };
        pair.run(&frame(&link(), ipv6, &next, b"more"));
        assert_eq!(pair.program.verdicts().unwrap().dropped_no_socket, before + 2);
        pair.stack.handle_frame(pair.now, InterfaceId::FIRST, &last);
    }
    assert_eq!(pair.stack.stats().cookies_accepted, 4);
}

#[test]
fn strangers_end_here_and_flows_pass() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(3);
    pair.program.guard().set_closed_budget(0);
    let before = pair.program.verdicts().unwrap();
    for number in 0..1_000u32 {
        for flags in [ACK, ACK | FIN, RST, RST | ACK, FIN, SYN | ACK, TcpFlags::empty()] {
            let frame = frame(&link(), number % 2 == 0, &header(flags, number * 77_777, number * 99_999), b"x");
            assert_eq!(pair.run(&frame), (XDP_DROP, frame));
        }
    }
    let after = pair.program.verdicts().unwrap();
    assert_eq!(after.dropped_no_socket, before.dropped_no_socket, "nothing would have been redirected");
    assert_eq!((after.dropped_ack, after.dropped_reset, after.dropped_stray), (3_000, 2_000, 2_000));
    assert_eq!(pair.program.guard().invalid_cookies().unwrap(), 3_000);
    assert_eq!(pair.program.guard().strangers().unwrap(), 7_000);

    let filter = pair.program.guard().filter().clone();
    for ipv6 in [false, true] {
        let (remote, local) = (SocketAddr::new(theirs(ipv6), 40_000), SocketAddr::new(ours(ipv6), PORT));
        let passes = |flags| {
            let before = pair.program.verdicts().unwrap().dropped_no_socket;
            pair.run(&frame(&link(), ipv6, &header(flags, 5, 5), b"x"));
            pair.program.verdicts().unwrap().dropped_no_socket > before
        };
        filter.insert(remote, local);
        // A SYN, too, is the stack's business where it belongs to a flow: RFC 5961 §4.2.
        assert!(passes(ACK) && passes(RST) && passes(FIN | ACK) && passes(SYN));
        filter.insert(remote, local);
        filter.remove(remote, local);
        assert!(passes(ACK), "taking one copy out hides no other");
        filter.remove(remote, local);
        assert!(!passes(ACK));
    }
}

#[test]
fn without_a_way_out_syns_are_the_stacks_and_strangers_end_here_all_the_same() {
    if !is_root() {
        return;
    }
    use Ownership::{Own, Shared};
    for (ownership, ipv6) in [(Own, false), (Own, true), (Shared, false), (Shared, true)] {
        let cidr = Cidr { address: ours(ipv6), prefix: if ipv6 { 64 } else { 24 } };
        let mut pair = Pair::with(11, StackConfig::default(), vec![LocalAddress { cidr, ownership }]);
        let guard = pair.program.guard().clone();
        let handed_up = |pair: &Pair, bytes: &[u8]| {
            let before = pair.program.verdicts().unwrap();
            assert_eq!(pair.run(bytes), (XDP_DROP, bytes.to_vec()), "there is no socket");
            let after = pair.program.verdicts().unwrap();
            assert_eq!(after.answered_syn, before.answered_syn);
            after.dropped_no_socket > before.dropped_no_socket
        };
        guard.set_way_out(WayOut::Nowhere);
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        let syn_header = TcpHeader { options, ..header(SYN, 7, 0) };
        let syn = frame(&link(), ipv6, &syn_header, b"");
        assert!(handed_up(&pair, &syn));
        let answer = read(&pair.answer(&syn).expect("the stack answers"));
        let end = |beyond: u32| frame(&link(), ipv6, &header(ACK, 8, answer.seq.get().wrapping_add(beyond)), b"");
        assert!(!handed_up(&pair, &end(2)), "no cookie");
        assert!(handed_up(&pair, &end(1)), "the stack's cookie is the program's");
        // What no answer is due to draws none from the stack either, and a budget is one for both.
        let from_nobody = TcpHeader { source_port: 0, ..header(SYN, 7, 0) };
        assert!(!handed_up(&pair, &frame(&link(), ipv6, &from_nobody, b"")));
        guard.set_prefix_budget(Some(1));
        let other = |port| frame(&link(), ipv6, &TcpHeader { source_port: port, ..syn_header }, b"");
        on_one_core();
        assert_eq!((1..50).filter(|&port| handed_up(&pair, &other(port))).count(), 1);
        guard.set_prefix_budget(None);
        for (way, action) in [(WayOut::Redirect, XDP_REDIRECT), (WayOut::Transmit, XDP_TX)] {
            guard.set_way_out(way);
            assert_eq!((pair.run(&syn).0, guard.has_way_out()), (action, true));
        }
    }
}

#[test]
fn what_no_cookie_can_hold_is_dropped() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(4);
    let dropped = |frame: &[u8]| {
        let before = pair.program.verdicts().unwrap().dropped_syn;
        assert_eq!(pair.run(frame).0, XDP_DROP);
        assert_eq!(pair.program.verdicts().unwrap().dropped_syn, before + 1);
    };
    let small = TcpOptions { mss: Some(535), ..TcpOptions::default() };
    dropped(&frame(&link(), false, &TcpHeader { options: small, ..header(SYN, 1, 0) }, b""));
    let mss = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    let good = frame(&link(), false, &TcpHeader { options: mss, ..header(SYN, 1, 0) }, b"");
    assert_eq!(pair.run(&good).0, XDP_TX);
    for (at, value) in [(54, 77), (55, 0), (55, 1), (55, 3), (55, 5), (55, 255), (46, 0x40), (46, 0)] {
        let mut bad = good.clone();
        bad[at] = value;
        mend_checksum(&mut bad);
        if (at, value) == (54, 77) {
            continue; // an unknown option of four bytes is skipped
        }
        dropped(&bad);
    }
    // The answer to a SYN with data is without them, and acknowledges the SYN alone.
    let with_data = TcpHeader { options: mss, ..header(SYN, 1, 0) };
    let (action, answer) = pair.run(&frame(&link(), false, &with_data, &[7; 1_000]));
    assert_eq!((action, read(&answer).ack.get()), (XDP_TX, 2));
}

/// Makes the TCP checksum of an IPv4 frame right again.
fn mend_checksum(frame: &mut [u8]) {
    let tcp = 34;
    frame[tcp + 16..tcp + 18].fill(0);
    let length = frame.len() - tcp;
    let sum = Checksum::pseudo_header(theirs(false), ours(false), Protocol::Tcp.number(), length).with(&frame[tcp..]);
    frame[tcp + 16..tcp + 18].copy_from_slice(&sum.field());
}

#[test]
fn a_syn_whose_checksums_do_not_add_up_draws_no_answer() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(6);
    let mss = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    for ipv6 in [false, true] {
        let good = frame(&link(), ipv6, &TcpHeader { options: mss, ..header(SYN, 1, 0) }, b"");
        assert_eq!(pair.run(&good).0, XDP_TX);
        // Any octet of the IP header but the addresses of Ethernet and, in IPv6, what no checksum covers.
        for at in if ipv6 { 54..good.len() } else { 14..good.len() } {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            assert_ne!(pair.run(&bad).0, XDP_TX, "octet {at}, IPv6 {ipv6}");
        }
        // A length that the frame does not have.
        let mut long = good.clone();
        long[if ipv6 { 19 } else { 17 }] += 4;
        assert_eq!(pair.run(&long).0, XDP_DROP);
        // The sum of the pseudo-header alone counts where a veth's kernel may have left it.
        let mut partial = good.clone();
        let tcp = if ipv6 { 54 } else { 34 };
        let pseudo = Checksum::pseudo_header(theirs(ipv6), ours(ipv6), Protocol::Tcp.number(), good.len() - tcp);
        partial[tcp + 16..tcp + 18].copy_from_slice(&pseudo.folded());
        assert_eq!(pair.run(&partial).0, XDP_DROP);
        pair.program.guard().set_unfinished(Unfinished::Taken);
        let (action, answer) = pair.run(&partial);
        assert_eq!((action, answer), pair.run(&good), "where nobody is going to finish it, an answer is whole");
        pair.program.guard().set_unfinished(Unfinished::Refused);
    }
}

#[test]
fn in_a_packet_that_somebody_is_to_finish_the_answer_is_unfinished_too() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(6);
    pair.program.guard().set_unfinished(Unfinished::Kept);
    let mss = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    for ipv6 in [false, true] {
        let syn = |seq| frame(&link(), ipv6, &TcpHeader { options: mss, ..header(SYN, seq, 0) }, b"");
        let tcp = if ipv6 { 54 } else { 34 };
        let pseudo = |length: usize| {
            Checksum::pseudo_header(theirs(ipv6), ours(ipv6), Protocol::Tcp.number(), length - tcp).folded()
        };
        let sum = |frame: &[u8]| [frame[tcp + 16], frame[tcp + 17]];
        let whole = pair.run(&syn(1)).1;
        assert_ne!(sum(&whole), pseudo(whole.len()));
        assert!(wire::parse(&whole, ChecksumPolicy::Verify).is_ok());
        let mut unfinished = syn(1);
        let half = pseudo(unfinished.len());
        unfinished[tcp + 16..tcp + 18].copy_from_slice(&half);
        let (action, mut answer) = pair.run(&unfinished);
        assert_eq!((action, sum(&answer)), (XDP_TX, pseudo(answer.len())));
        // It is the same answer otherwise.
        answer[tcp + 16..tcp + 18].copy_from_slice(&sum(&whole));
        assert_eq!(answer, whole);
        // Damage that leaves neither is found.
        unfinished[tcp + 17] ^= 1;
        assert_eq!(pair.run(&unfinished).0, XDP_DROP);
        // A whole one that looks like the other comes by a wire, too, and nobody would finish its answer.
        let alike = (0..1 << 17).map(syn).find(|syn| sum(syn) == pseudo(syn.len())).expect("one in 65,536");
        let (action, answer) = pair.run(&alike);
        assert_eq!(action, XDP_TX);
        assert!(wire::parse(&answer, ChecksumPolicy::Verify).is_ok());
    }
}

#[test]
fn fragments_and_other_transports_end_here_while_the_guard_is_up() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(7);
    for ipv6 in [false, true] {
        let ack = frame(&link(), ipv6, &header(ACK, 1, 2), b"");
        let with_protocol = |number: u8| {
            let mut other = ack.clone();
            other[if ipv6 { 20 } else { 23 }] = number;
            other
        };
        let sctp = with_protocol(132);
        let mut fragment = ack.clone();
        if ipv6 {
            fragment[20] = 44
        } else {
            fragment[20] = 0x20
        }
        let strays = pair.program.verdicts().unwrap().dropped_stray;
        assert_eq!((pair.run(&sctp).0, pair.run(&fragment).0), (XDP_DROP, XDP_DROP));
        assert_eq!(pair.program.verdicts().unwrap().dropped_stray, strays + 2);
        // ICMP and UDP are the stack's; that no socket serves the queue here is another matter.
        let unserved = pair.program.verdicts().unwrap().dropped_no_socket;
        pair.run(&with_protocol(if ipv6 { 58 } else { 1 }));
        pair.run(&with_protocol(17));
        assert_eq!(pair.program.verdicts().unwrap().dropped_no_socket, unserved + 2);
    }
}

/// Budgets are a CPU's own, and a test's program runs where its thread does.
fn on_one_core() {
    cores::pin(Cores::read().unwrap().iter().next().unwrap()).unwrap();
}

#[test]
fn a_prefix_draws_no_more_answers_than_its_budget_unless_it_asks_again() {
    if !is_root() {
        return;
    }
    on_one_core();
    let pair = Pair::new(10);
    let guard = pair.program.guard();
    let syn_of = |host: u8, net: u8, ipv6: bool| {
        let source: IpAddr = match ipv6 {
            false => [198, 19, net, host].into(),
            true => format!("2001:2:0:8{net:x}00::{host:x}").parse().unwrap(),
        };
        let ip = IpHeader::new(source, ours(ipv6), Protocol::Tcp);
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        let tcp = TcpHeader { options, ..header(SYN, host.into(), 0) };
        let mut frame = vec![0; wire::tcp_frame_len(&link(), &ip, &tcp)];
        wire::write_tcp(&link(), &ip, &tcp, (b"", &[]), &mut frame);
        frame
    };
    let answered = |frame: &[u8]| pair.run(frame).0 == XDP_TX;
    for ipv6 in [false, true] {
        guard.set_prefix_budget(Some(3));
        guard.tick();
        // 3 of the first prefix; the second one has a budget of its own.
        assert_eq!((1..=9).filter(|&host| answered(&syn_of(host, 0, ipv6))).count(), 3);
        assert!(answered(&syn_of(1, 1, ipv6)));
        let dropped = pair.program.verdicts().unwrap().dropped_budget;
        assert!(!answered(&syn_of(9, 0, ipv6)), "it has been heard of, but not long ago");
        assert_eq!(pair.program.verdicts().unwrap().dropped_budget, dropped + 1);
        (0..10).for_each(|_| guard.tick());
        // A second later the budget is whole, and spent again; but who comes again is answered.
        assert_eq!((11..=19).filter(|&host| answered(&syn_of(host, 0, ipv6))).count(), 3);
        assert!((4..=9).all(|host| answered(&syn_of(host, 0, ipv6))));
        assert!(!answered(&syn_of(20, 0, ipv6)));
        (0..100).for_each(|_| guard.tick());
        assert_eq!((21..=23).filter(|&host| answered(&syn_of(host, 0, ipv6))).count(), 3);
        assert!(!answered(&syn_of(20, 0, ipv6)), "that is too late for the same SYN");
        guard.set_prefix_budget(None);
        assert!((30..=60).all(|host| answered(&syn_of(host, 0, ipv6))));
    }
}

#[test]
fn listeners_are_told_apart_by_address_and_port() {
    if !is_root() {
        return;
    }
    let addresses: Vec<IpAddr> = (1..=20u8).map(|host| IpAddr::from([198, 18, 0, host])).collect();
    let program = Program::load(
        &Steering { station: OURS.0, own: addresses.clone(), ..Steering::default() },
        &ProgramOptions::default(),
    )
    .unwrap();
    let guard = program.guard();
    let fields =
        SynAckFields { mss: 1_460, window: 65_535, window_scale: 4, sack: true, hop_limit: 64, traffic_class: 0 };
    let services: Vec<_> =
        addresses.iter().flat_map(|&address| [80, 443].map(|port| SocketAddr::new(address, port))).zip(0..).collect();
    for &(service, _) in &services {
        program.services().serve(Service::tcp(service), Action::Guarded(fields)).unwrap();
    }
    for &(service, number) in &services {
        assert!(program.services().set_guarded(service, number % 3 == 0));
    }
    guard.arm(true);
    for &(service, number) in &services {
        let ip = IpHeader::new(theirs(false), service.ip(), Protocol::Tcp);
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        let tcp = TcpHeader { options, destination_port: service.port(), ..header(SYN, number, 0) };
        let mut syn = vec![0; wire::tcp_frame_len(&link(), &ip, &tcp)];
        wire::write_tcp(&link(), &ip, &tcp, (b"", &[]), &mut syn);
        let (action, _) = program.test_run(&syn).unwrap();
        assert_eq!(action == XDP_TX, number % 3 == 0, "{service}");
        assert_eq!(guard.syns(number).unwrap(), 1, "{service}");
    }
}

#[test]
fn closed_ports_draw_so_many_resets_and_then_silence() {
    if !is_root() {
        return;
    }
    on_one_core();
    let pair = Pair::new(11);
    let guard = pair.program.guard();
    guard.set_closed_budget(2);
    guard.tick();
    let before = pair.program.verdicts().unwrap();
    for source_port in 1..=5 {
        let closed = TcpHeader { destination_port: PORT + 1, source_port, ..header(SYN, 1, 0) };
        assert_eq!(pair.run(&frame(&link(), false, &closed, b"")).0, XDP_DROP);
    }
    let after = pair.program.verdicts().unwrap();
    // No socket serves the queue here: what would have been the stack's is counted as such.
    assert_eq!(after.dropped_no_socket - before.dropped_no_socket, 2);
    assert_eq!(after.dropped_closed - before.dropped_closed, 3);
}

#[test]
fn what_is_left_of_a_budget_does_not_tell_which_flows_are_known() {
    if !is_root() {
        return;
    }
    on_one_core();
    let pair = Pair::new(13);
    let guard = pair.program.guard();
    guard.set_prefix_budget(Some(3));
    guard.set_closed_budget(3);
    let mut sequence = 0;
    let mut is_let_in = |destination_port, source_port, ipv6| {
        sequence += 1;
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        let syn = TcpHeader { options, destination_port, source_port, ..header(SYN, sequence, 0) };
        let before = pair.program.verdicts().unwrap().dropped_no_socket;
        let answered = pair.run(&frame(&link(), ipv6, &syn, b"")).0 == XDP_TX;
        answered || pair.program.verdicts().unwrap().dropped_no_socket > before
    };
    for (port, ipv6) in [(PORT, false), (PORT, true), (PORT + 1, false), (PORT + 1, true)] {
        let (remote, local) = (SocketAddr::new(theirs(ipv6), 40_000), SocketAddr::new(ours(ipv6), port));
        for is_known in [false, true] {
            if is_known {
                guard.filter().insert(remote, local);
            }
            guard.tick();
            // Two in one client's name, and what is left for another one of his prefix.
            assert!((0..2).all(|_| is_let_in(port, 40_000, ipv6)));
            assert_eq!((1..=5).filter(|&other| is_let_in(port, other, ipv6)).count(), 1, "known: {is_known}");
            assert!(!is_let_in(port, 40_000, ipv6) || is_known, "a known flow's SYN is the stack's all the same");
            if is_known {
                guard.filter().remove(remote, local);
            }
        }
    }
}

#[test]
fn the_kernels_traffic_is_untouched_while_the_guard_is_up() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(5);
    let ip = IpHeader::new(theirs(false), "198.18.0.254".parse().unwrap(), Protocol::Tcp);
    for flags in [SYN, ACK, RST, SYN | ACK] {
        let tcp = header(flags, 1, 2);
        let mut frame = vec![0; wire::tcp_frame_len(&link(), &ip, &tcp)];
        wire::write_tcp(&link(), &ip, &tcp, (b"", &[]), &mut frame);
        assert_eq!(pair.run(&frame), (XDP_PASS, frame));
    }
}

#[test]
fn random_and_truncated_segments_never_upset_the_guard() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(6);
    let options = TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() };
    for ipv6 in [false, true] {
        let good = frame(&link(), ipv6, &TcpHeader { options, ..header(SYN, 1, 0) }, b"");
        for length in 14..good.len() {
            assert_ne!(pair.run(&good[..length]).0, XDP_TX, "a SYN that is cut off is not answered");
        }
        let mut random = 1;
        for _ in 0..5_000 {
            let mut frame = good.clone();
            for byte in &mut frame[if ipv6 { 54 } else { 34 } + 4..] {
                random = xskip::rng::splitmix64(random);
                *byte = random as u8;
            }
            let (action, after) = pair.run(&frame);
            assert!([XDP_DROP, XDP_TX].contains(&action));
            assert!(action != XDP_TX || wire::parse(&after, ChecksumPolicy::Verify).is_ok());
        }
    }
}

#[test]
fn keys_of_two_epochs_count() {
    if !is_root() {
        return;
    }
    let pair = Pair::new(7);
    let guard = pair.program.guard();
    let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    for epoch in 100..104 {
        guard.set_epoch_key(epoch, SipKey::from_seed(epoch));
    }
    // Each time with another port: a flow whose cookie was good once is remembered for a while.
    let mut ports = 1_000..;
    let mut accepted = |epoch: u64, last: bool, next: bool| {
        let source_port = ports.next().unwrap();
        guard.begin_epoch(101);
        let syn = TcpHeader { options, source_port, ..header(SYN, 1_000, 0) };
        let answer = read(&pair.run(&frame(&link(), false, &syn, b"")).1);
        guard.begin_epoch(epoch);
        guard.accept_last_epoch(last);
        guard.accept_next_epoch(next);
        let ack = TcpHeader { source_port, ..header(ACK, 1_001, answer.seq.get().wrapping_add(1)) };
        let before = pair.program.verdicts().unwrap().dropped_ack;
        pair.run(&frame(&link(), false, &ack, b""));
        pair.program.verdicts().unwrap().dropped_ack == before
    };
    for (last, next) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(accepted(100, last, next), next, "in the epoch before its own a cookie counts near the end");
        assert!(accepted(101, last, next), "in its own it does");
        assert_eq!(accepted(102, last, next), last, "one epoch later unless somebody guesses");
        assert!(!accepted(103, last, next), "two epochs later it is too old");
    }
}

#[test]
fn a_reset_reaches_the_stack_and_ends_a_handshake_that_nobody_remembers() {
    if !is_root() {
        return;
    }
    on_one_core();
    for ipv6 in [false, true] {
        let mut pair = Pair::new(12);
        let guard = pair.program.guard();
        guard.set_closed_budget(2);
        guard.tick();
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        let syn = frame(&link(), ipv6, &TcpHeader { options, ..header(SYN, 1_000, 0) }, b"");
        let answer = read(&pair.run(&syn).1);
        let before = pair.program.verdicts().unwrap();
        let reset = frame(&link(), ipv6, &header(RST, 1_001, 0), b"");
        for _ in 0..5 {
            pair.run(&reset);
        }
        let after = pair.program.verdicts().unwrap();
        // No socket serves the queue here: what would have been the stack's is counted as such.
        assert_eq!(after.dropped_no_socket - before.dropped_no_socket, 2, "so many in a tick");
        assert_eq!(after.dropped_reset - before.dropped_reset, 3);
        pair.stack.handle_frame(pair.now, InterfaceId::FIRST, &reset);
        let ack = frame(&link(), ipv6, &header(ACK, 1_001, answer.seq.get().wrapping_add(1)), b"GET /");
        pair.run(&ack);
        assert_eq!(
            pair.program.verdicts().unwrap().dropped_no_socket - after.dropped_no_socket,
            1,
            "its cookie is good"
        );
        assert!(read(&pair.answer(&ack).unwrap()).flags.contains(RST), "but it was broken off");
        assert_eq!(pair.stack.stats().connections_opened, 0);
    }
}
