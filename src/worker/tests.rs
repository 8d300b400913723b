//! The hand-off between workers, without threads: what is whose, in which order, and what a full mailbox refuses.

use super::{HandOff, Mailbox, Placement};
use crate::{
    drops::DropReason,
    stack::Secrets,
    wire::{
        self, Endpoint, FourTuple, IpHeader, LinkHeader, MacAddress, Protocol, SeqNumber, TcpFlags, TcpHeader,
        TcpOptions,
    },
};
use std::net::IpAddr;

const WORKERS: usize = 3;

/// Worker 0's end of the hand-off, and every mailbox.
fn first_of(placement: Placement) -> (HandOff, Vec<HandOff>) {
    let mailboxes: std::sync::Arc<[_]> = (0..WORKERS).map(|_| Mailbox::new().unwrap()).collect();
    let hand_off = |ours| HandOff::new(placement, secrets(), ours, mailboxes.clone());
    (hand_off(0), (0..WORKERS).map(hand_off).collect())
}

fn secrets() -> Secrets {
    Secrets::from_seed(7)
}

fn tuple(port: u16) -> FourTuple {
    let end = |last, port| Endpoint { address: IpAddr::from([198, 18, 0, last]), port };
    FourTuple { local: end(1, 80), remote: end(2, port) }
}

/// Segment number `number` of the client at `port`.
fn segment(port: u16, number: u32) -> Vec<u8> {
    let (source, destination) = (MacAddress([2, 0, 0, 0, 0, 2]), MacAddress([2, 0, 0, 0, 0, 1]));
    let link = LinkHeader { source, destination, ..LinkHeader::default() };
    let FourTuple { local, remote } = tuple(port);
    let ip = IpHeader::new(remote.address, local.address, Protocol::Tcp);
    let tcp = TcpHeader {
        source_port: remote.port,
        destination_port: local.port,
        seq: SeqNumber::new(number),
        ack: SeqNumber::new(0),
        flags: TcpFlags::ACK,
        window: 1,
        urgent: 0,
        options: TcpOptions::default(),
    };
    let mut frame = vec![0; 128];
    let length = wire::write_tcp(&link, &ip, &tcp, (&[], &[]), &mut frame);
    frame.truncate(length);
    frame
}

#[test]
fn the_segments_of_a_flow_reach_its_worker_in_the_order_they_came() {
    let (first, all) = first_of(Placement::ByHash);
    let ports = 40_000..40_032;
    let mut expected = vec![Vec::new(); WORKERS];
    for number in 0..100 {
        for port in ports.clone() {
            let frame = segment(port, number);
            let owner = Secrets::worker_of(secrets().hash_flow(&tuple(port)), WORKERS);
            assert_eq!(first.pass_on(&frame), Ok(owner != 0), "whoever got it keeps its own, and only those");
            if owner != 0 {
                expected[owner].push(frame);
            }
        }
    }
    for (worker, expected) in all.iter().zip(expected) {
        let taken: Vec<_> = std::iter::from_fn(|| worker.mailbox().take()).map(Vec::from).collect();
        assert_eq!(taken, expected);
    }
}

#[test]
fn a_mailbox_that_nobody_empties_refuses_what_is_too_much() {
    let (first, all) = first_of(Placement::ByHash);
    let port = (40_000..).find(|&port| Secrets::worker_of(secrets().hash_flow(&tuple(port)), WORKERS) == 1).unwrap();
    let posted = (0..).take_while(|&number| first.pass_on(&segment(port, number)) == Ok(true)).count();
    assert_eq!(first.pass_on(&segment(port, 0)), Err(DropReason::HandOffFull));
    let kept = std::iter::from_fn(|| all[1].mailbox().take()).count();
    assert_eq!(kept, posted, "what was refused is not there, and what was there stayed");
}

#[test]
fn where_the_queue_decides_segments_stay_with_whoever_got_them() {
    let (first, all) = first_of(Placement::ByQueue);
    for port in 40_000..40_032 {
        assert_eq!(first.pass_on(&segment(port, 1)), Ok(false));
    }
    assert!(all.iter().all(|worker| worker.mailbox().take().is_none()));
}

#[test]
fn a_worker_with_mail_has_no_time_to_sleep() {
    let (first, all) = first_of(Placement::ByHash);
    assert!(all[1].mailbox().may_sleep());
    let port = (40_000..).find(|&port| Secrets::worker_of(secrets().hash_flow(&tuple(port)), WORKERS) == 1).unwrap();
    first.pass_on(&segment(port, 1)).unwrap();
    assert!(!all[1].mailbox().may_sleep());
    all[1].mailbox().woke();
    all[1].mailbox().take().unwrap();
    assert!(all[1].mailbox().may_sleep());
}
