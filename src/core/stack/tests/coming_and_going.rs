//! Addresses and listeners that come and go while there are connections.

use super::*;
use crate::stack::{AddAddressError, InUse, ListenError, RemoveAddressError};

fn own(text: &str) -> LocalAddress {
    LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Own }
}

/// By IPv4 and by IPv6, with connections that fall asleep when they can and with such that do not.
fn each() -> impl Iterator<Item = Bench> {
    let bench = |max_awake| Bench::with(StackConfig { max_awake, ..StackConfig::default() });
    [bench(0), bench(0).over_ipv6(), bench(9), bench(9).over_ipv6()].into_iter()
}

impl Bench {
    /// Another address of ours in the same subnet, which the client speaks to from now on.
    fn elsewhere(&mut self) -> LocalAddress {
        let local = own(if self.ours.is_ipv4() { "198.18.0.5/24" } else { "2001:2::5/64" });
        self.ours = local.cidr.address;
        local
    }

    /// What a SYN draws, from a port of its own.
    fn answer_to_syn(&mut self) -> Vec<Sent> {
        self.port += 1;
        self.send_syn(TcpOptions::default());
        self.sent()
    }
}

#[test]
fn an_address_that_is_added_is_there_from_the_next_frame_on() {
    for mut bench in each() {
        let (id, iss) = bench.connect();
        let before = bench.ours;
        let local = bench.elsewhere();
        assert_eq!(bench.answer_to_syn(), []);
        assert_eq!(bench.drops(DropReason::OtherDestination), 1);
        bench.stack.add_address(InterfaceId::FIRST, local).unwrap();
        bench.connect();
        bench.ours = before;
        bench.port -= 1;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"data");
        bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"data", "nobody else is disturbed"));
    }
}

#[test]
fn an_address_in_use_stays_and_the_refusal_says_by_how_many() {
    for mut bench in each() {
        let (id, iss) = bench.connect();
        bench.stack.bind_udp(Some(bench.ours), 53).unwrap();
        bench.stack.bind_udp(None, 53).unwrap();
        assert_eq!(bench.stack.users_of(bench.ours), (1, 1));
        let error = bench.stack.remove_address(bench.now, bench.ours, InUse::Refuse).unwrap_err();
        assert_eq!(error, RemoveAddressError::InUse { address: bench.ours, connections: 1, sockets: 1 });
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"data");
        bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"data"));
        assert_eq!(
            error.to_string(),
            format!(
                "{} is in use by 1 connections and 1 UDP sockets; close them first, or have them reset",
                bench.ours
            )
        );
    }
}

#[test]
fn an_address_that_nobody_uses_goes_and_what_was_begun_there_is_forgotten() {
    for mut bench in each() {
        bench.send_syn(TcpOptions::default());
        let iss = bench.sent_one().header.seq;
        assert_eq!(bench.state(), State::SynReceived);
        assert_eq!(bench.stack.remove_address(bench.now, bench.ours, InUse::Refuse), Ok(0));
        assert_eq!(bench.stack.flow_counts(), (0, 0, 0));
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        bench.pass(Duration::from_secs(60));
        assert_eq!((bench.sent(), bench.events()), (vec![], vec![]), "it is another host's now");
        assert_eq!(bench.drops(DropReason::OtherDestination), 1);
        let again = bench.stack.remove_address(bench.now, bench.ours, InUse::Refuse);
        assert_eq!(again, Err(RemoveAddressError::NotOurs(bench.ours)));
    }
}

#[test]
fn connections_at_an_address_that_is_taken_away_are_reset_and_no_others() {
    for mut bench in each() {
        let (other, _) = bench.connect();
        let local = bench.elsewhere();
        bench.stack.add_address(InterfaceId::FIRST, local).unwrap();
        let ids: Vec<_> = (0..3)
            .map(|_| {
                bench.port += 1;
                bench.connect()
            })
            .collect();
        let socket = bench.stack.bind_udp(Some(bench.ours), 53).unwrap();
        assert_eq!(bench.stack.remove_address(bench.now, bench.ours, InUse::Reset), Ok(3));
        let sent = bench.sent();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|sent| sent.has(RST | ACK) && sent.tuple.local.address == bench.ours), "{sent:?}");
        let events = bench.events();
        for (id, _) in ids {
            closed(&events, id, CloseReason::Aborted);
            assert!(bench.stack.stream(bench.now, id).is_none());
        }
        let remote = Endpoint { address: bench.theirs, port: 9 };
        let unbound = bench.stack.send_udp(bench.now, socket, None, remote, b"?");
        assert_eq!(unbound, Err(crate::stack::SendError::Unbound));
        assert_eq!(bench.with_stream(other, |stream| stream.state()), State::Established);
        assert_eq!(bench.stack.flow_counts(), (1, 0, 0));
        // The port is free again, and so is the address.
        bench.stack.add_address(InterfaceId::FIRST, local).unwrap();
        bench.stack.bind_udp(Some(bench.ours), 53).unwrap();
        bench.connect();
    }
}

#[test]
fn a_connection_being_opened_holds_its_address_too() {
    for mut bench in each() {
        let remote = Endpoint { address: bench.theirs, port: 9 };
        let id = bench.stack.connect(bench.now, remote, None).unwrap();
        let refused = bench.stack.remove_address(bench.now, bench.ours, InUse::Refuse);
        assert!(matches!(refused, Err(RemoveAddressError::InUse { connections: 1, sockets: 0, .. })), "{refused:?}");
        assert_eq!(bench.stack.remove_address(bench.now, bench.ours, InUse::Reset), Ok(1));
        closed(&bench.events(), id, CloseReason::Aborted);
        assert_eq!(bench.sent(), [], "nobody is there yet to be told");
        let refused = bench.stack.connect(bench.now, remote, None);
        assert_eq!(refused, Err(crate::stack::ConnectError::NoRoute(bench.theirs)));
    }
}

#[test]
fn time_wait_at_an_address_that_was_away_still_answers_when_it_is_back() {
    for mut bench in each() {
        let (id, iss) = bench.connect();
        bench.with_stream(id, |stream| stream.shutdown_write());
        bench.sent();
        let fin = bench.header(IRS.advance(1), iss.advance(2), FIN | ACK);
        bench.send(fin, b"");
        bench.sent();
        bench.events();
        assert_eq!(bench.state(), State::TimeWait);
        let prefix = if bench.ours.is_ipv4() { 24 } else { 64 };
        let local = LocalAddress { cidr: Cidr { address: bench.ours, prefix }, ownership: Ownership::Own };
        assert_eq!(bench.stack.remove_address(bench.now, bench.ours, InUse::Refuse), Ok(0));
        bench.send(fin, b"");
        assert_eq!((bench.sent(), bench.drops(DropReason::OtherDestination)), (vec![], 1));
        bench.stack.add_address(InterfaceId::FIRST, local).unwrap();
        bench.send(fin, b"");
        assert!(bench.sent_one().has(ACK));
        bench.pass(Duration::from_secs(61));
        assert_eq!(bench.stack.flow_counts(), (0, 0, 0));
    }
}

#[test]
fn an_address_that_cannot_be_is_refused_and_nothing_has_changed() {
    let mut bench = Bench::with(StackConfig { max_addresses: 3, ..StackConfig::default() });
    let nowhere = InterfaceId::at(1).unwrap();
    let refused = |bench: &mut Bench, interface, address: &str, prefix| {
        let cidr = Cidr { address: address.parse().unwrap(), prefix };
        let local = LocalAddress { cidr, ownership: Ownership::Own };
        bench.stack.add_address(interface, local).unwrap_err()
    };
    let error = refused(&mut bench, nowhere, "198.18.0.5", 24);
    assert_eq!(error, AddAddressError::NoInterface(nowhere));
    assert_eq!(error.to_string(), "the stack has no interface 1; add it first, or name one that it has");
    let error = refused(&mut bench, InterfaceId::FIRST, "198.18.0.1", 16);
    assert_eq!(error, AddAddressError::Taken { address: bench.ours, interface: InterfaceId::FIRST });
    for (address, prefix) in [("0.0.0.0", 0), ("224.0.0.1", 4), ("198.19.0.0", 24), ("198.19.0.1", 33), ("::1", 128)] {
        assert!(matches!(refused(&mut bench, InterfaceId::FIRST, address, prefix), AddAddressError::Invalid(_)));
    }
    // Broadcast of a subnet that there is; and a subnet whose broadcast there is.
    for (address, prefix) in [("198.18.0.255", 16), ("198.18.0.2", 31)] {
        let error = bench.stack.add_address(InterfaceId::FIRST, own(&format!("{address}/{prefix}")));
        assert_eq!(error.is_err(), prefix == 16, "{address}: {error:?}");
    }
    let error = refused(&mut bench, InterfaceId::FIRST, "198.18.0.9", 24);
    assert_eq!(error, AddAddressError::Limit(3));
    assert_eq!(bench.stack.remove_address(bench.now, "198.18.0.2".parse().unwrap(), InUse::Refuse), Ok(0));
    bench.connect();
}

#[test]
fn who_listens_already_goes_on_and_is_named() {
    let mut bench = Bench::new();
    let listener = bench.stack.listen(None, 81).unwrap();
    assert_eq!(bench.stack.listen(None, 81), Err(ListenError::Twice { port: 81, listener }));
    assert_eq!(bench.stack.listen(None, 0), Err(ListenError::PortZero));
    let alone = bench.stack.listen(Some(bench.ours), 81).unwrap();
    assert_ne!(alone, listener);
    assert!(bench.stack.unlisten_at(None, 81) && !bench.stack.unlisten_at(None, 81));
    assert_ne!(bench.stack.listen(None, 81), Ok(listener), "another one has another name");
    let mut bench = Bench::with(StackConfig { max_listeners: 2, ..StackConfig::default() });
    bench.stack.listen(None, 81).unwrap();
    assert_eq!(bench.stack.listen(None, 82), Err(ListenError::Limit(2)));
}

#[test]
fn where_nobody_listens_any_more_a_syn_is_refused_and_connections_go_on() {
    for mut bench in each() {
        let (id, iss) = bench.connect();
        assert!(bench.stack.unlisten_at(None, PORT));
        let answers = bench.answer_to_syn();
        assert!(answers.len() == 1 && answers[0].has(RST | ACK), "{answers:?}");
        bench.port -= 1;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"data");
        bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"data"));
    }
}

#[test]
fn a_handshake_whose_listener_has_gone_ends_as_where_nobody_listens() {
    for mode in [SynMode::Cache, SynMode::Cookie] {
        for mut bench in each() {
            bench.stack.set_syn_mode(mode);
            bench.send_syn(TcpOptions { mss: Some(1_460), ..TcpOptions::default() });
            let iss = bench.sent_one().header.seq;
            assert!(bench.stack.unlisten_at(None, PORT));
            // Somebody who listens elsewhere makes no difference.
            bench.stack.listen(None, PORT + 1).unwrap();
            bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
            let reset = bench.sent_one();
            assert_eq!((reset.header.flags, reset.header.seq), (RST, iss.advance(1)));
            assert_eq!((bench.events(), bench.state()), (vec![], State::Closed));
            assert_eq!(bench.stack.flow_counts(), (0, 0, 0));
        }
    }
}

#[test]
fn a_syn_ack_whose_listener_has_gone_is_not_sent_again() {
    for mut bench in each() {
        bench.send_syn(TcpOptions::default());
        bench.sent_one();
        bench.stack.unlisten_at(None, PORT);
        bench.pass(Duration::from_secs(2));
        assert_eq!((bench.sent(), bench.stack.flow_counts()), (vec![], (0, 0, 0)));
    }
}

#[test]
fn a_handshake_goes_on_where_another_listener_has_gone_or_the_server_is_drained() {
    for drained in [false, true] {
        for mut bench in each() {
            bench.stack.listen(None, 81).unwrap();
            bench.send_syn(TcpOptions::default());
            let iss = bench.sent_one().header.seq;
            assert!(bench.stack.unlisten_at(None, 81));
            if drained {
                bench.stack.stop_listening();
            }
            bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
            assert!(matches!(bench.events()[..], [Event::Accepted(..)]));
        }
    }
}

#[test]
fn a_connection_knows_its_listener_awake_or_asleep_and_when_that_has_gone() {
    for mode in [SynMode::Cache, SynMode::Cookie] {
        for mut bench in each() {
            bench.stack.set_syn_mode(mode);
            assert!(bench.stack.unlisten_at(None, PORT));
            let everywhere = bench.stack.listen(None, PORT).unwrap();
            let (first, _) = bench.connect();
            let here = bench.stack.listen(Some(bench.ours), PORT).unwrap();
            bench.port += 1;
            let (second, _) = bench.connect();
            bench.stack.unlisten_at(None, PORT);
            assert_eq!(bench.stack.listener_of(first), Some(everywhere));
            assert_eq!(bench.stack.listener_of(second), Some(here));
            let remote = Endpoint { address: bench.theirs, port: 9 };
            let ours = bench.stack.connect(bench.now, remote, None).unwrap();
            assert_eq!(bench.stack.listener_of(ours), None);
            bench.with_stream(first, |stream| stream.abort());
            bench.events();
            assert_eq!(bench.stack.listener_of(first), None, "it is no more");
        }
    }
}

#[test]
fn a_thousand_listeners_come_and_go_between_two_segments() {
    for mut bench in each() {
        let (id, iss) = bench.connect();
        let mut next = iss.advance(1);
        for round in 0..5u32 {
            let ports = 1_000..2_000;
            let named: std::collections::HashSet<_> =
                ports.clone().map(|port| bench.stack.listen(None, port).unwrap()).collect();
            assert_eq!(named.len(), 1_000);
            let seq = IRS.advance(1 + 4 * round);
            bench.send(bench.header(seq, next, ACK), b"data");
            bench.with_stream(id, |stream| {
                assert_eq!(stream.readable(), b"data");
                stream.consume(4);
                stream.write(b"answer");
            });
            assert_eq!(bench.sent().iter().map(|sent| sent.data.len()).sum::<usize>(), 6);
            next = next.advance(6);
            bench.send_to(1_500, bench.header(IRS, SeqNumber::default(), SYN), b"");
            assert!(bench.sent_one().has(SYN | ACK));
            for port in ports {
                assert!(bench.stack.unlisten_at(None, port));
            }
            bench.send_to(1_500, bench.header(IRS, SeqNumber::default(), SYN), b"");
            assert!(bench.sent_one().has(RST | ACK), "the handshake's listener has gone");
        }
        assert_eq!(bench.stack.flow_counts(), (1, 0, 0));
    }
}
