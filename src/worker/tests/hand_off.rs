//! The hand-off between workers, without threads: what is whose, in which order, and what a full mailbox refuses.

use super::{HandOff, Mailbox, Placement, mailboxes, secrets};
use crate::{
    stack::Secrets,
    wire::{
        self, Endpoint, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Protocol, SeqNumber, TcpFlags,
        TcpHeader, TcpOptions,
    },
};
use std::{net::IpAddr, sync::Arc};

const WORKERS: usize = 3;

/// Worker 0's end of the hand-off, and every mailbox.
fn first_of(placement: Placement) -> (HandOff, Vec<HandOff>) {
    let mailboxes: Arc<[Mailbox]> = mailboxes(WORKERS);
    let hand_off = |ours| HandOff::new(placement, secrets(), ours, mailboxes.clone());
    (hand_off(0), (0..WORKERS).map(hand_off).collect())
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

/// Whatever waits at a worker.
fn mail(hand_off: &HandOff) -> Vec<Vec<u8>> {
    let parcels = std::iter::from_fn(|| hand_off.mailbox().take());
    parcels.flat_map(|parcel| parcel.frames().map(|incoming| incoming.frame.to_vec()).collect::<Vec<_>>()).collect()
}

/// The port of a flow that is worker 1's.
fn port_of_the_second() -> u16 {
    (40_000..).find(|&port| Secrets::worker_of(secrets().hash_flow(&tuple(port)), WORKERS) == 1).unwrap()
}

#[test]
fn the_segments_of_a_flow_reach_its_worker_in_the_order_they_came() {
    let (mut first, all) = first_of(Placement::ByHash);
    let ports = 40_000..40_032;
    let mut expected = vec![Vec::new(); WORKERS];
    for number in 0..100 {
        for port in ports.clone() {
            let frame = segment(port, number);
            let owner = Secrets::worker_of(secrets().hash_flow(&tuple(port)), WORKERS);
            assert_eq!(
                first.keep(InterfaceId::FIRST, &frame).is_none(),
                owner != 0,
                "whoever got it keeps its own, and only those"
            );
            if owner != 0 {
                expected[owner].push(frame);
            }
        }
        assert_eq!(first.send(), 0);
    }
    for (worker, expected) in all.iter().zip(expected) {
        assert_eq!(mail(worker), expected);
    }
}

#[test]
fn a_tagged_segment_is_its_flows_too() {
    let (mut first, all) = first_of(Placement::ByHash);
    let mut frame = segment(port_of_the_second(), 1);
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x0a]);
    assert!(first.keep(InterfaceId::FIRST, &frame).is_none());
    assert_eq!(first.send(), 0);
    assert_eq!(mail(&all[1]), [frame]);
}

#[test]
fn a_frame_brings_along_what_was_seen_of_it_whichever_worker_has_it() {
    let (mut first, all) = first_of(Placement::ByHash);
    let mut kept = 0;
    for port in 40_000..40_032 {
        let frame = segment(port, 1);
        let seen = Some(secrets().glimpse_of(tuple(port)));
        if let Some(incoming) = first.keep(InterfaceId::FIRST, &frame) {
            assert_eq!((incoming.frame, incoming.glimpse), (&frame[..], seen));
            kept += 1;
        } else {
            assert_eq!(first.send(), 0);
            let parcel = all.iter().find_map(|worker| worker.mailbox().take()).expect("somebody has it");
            let came: Vec<_> = parcel.frames().map(|incoming| (incoming.frame, incoming.glimpse)).collect();
            assert_eq!(came, [(&frame[..], seen)]);
        }
    }
    assert!((1..32).contains(&kept), "some stay and some go");
}

#[test]
fn a_parcel_has_frames_of_one_interface_and_order_is_kept() {
    let (mut first, all) = first_of(Placement::ByHash);
    let second = InterfaceId::at(1).unwrap();
    let frames: Vec<_> = (0..4).map(|number| segment(port_of_the_second(), number)).collect();
    let ways = [InterfaceId::FIRST, InterfaceId::FIRST, second, InterfaceId::FIRST];
    for (frame, interface) in frames.iter().zip(ways) {
        assert!(first.keep(interface, frame).is_none());
    }
    assert_eq!(first.send(), 0);
    let mut came = Vec::new();
    while let Some(parcel) = all[1].mailbox().take() {
        came.extend(parcel.frames().map(|incoming| (parcel.interface(), incoming.frame.to_vec())));
    }
    assert_eq!(came, ways.into_iter().zip(frames).collect::<Vec<_>>());
}

#[test]
fn a_mailbox_that_nobody_empties_refuses_what_is_too_much() {
    for per_parcel in [1, 7, 64] {
        let (mut first, all) = first_of(Placement::ByHash);
        let frame = segment(port_of_the_second(), 1);
        let mut batch = || {
            assert!((0..per_parcel).all(|_| first.keep(InterfaceId::FIRST, &frame).is_none()));
            first.send()
        };
        let taken = (0..10_000).take_while(|_| batch() == 0).count();
        assert!(taken < 10_000, "there is an end to it");
        assert_eq!(batch(), per_parcel, "the whole parcel is refused");
        assert_eq!(mail(&all[1]).len(), taken * per_parcel, "what was refused is not there, and what was there stayed");
        assert_eq!(batch(), 0, "there is room again");
    }
}

#[test]
fn where_the_queue_decides_segments_stay_with_whoever_got_them() {
    let (mut first, all) = first_of(Placement::ByQueue);
    for port in 40_000..40_032 {
        assert!(first.keep(InterfaceId::FIRST, &segment(port, 1)).is_some());
    }
    assert_eq!(first.send(), 0);
    assert!(all.iter().all(|worker| worker.mailbox().take().is_none()));
}

#[test]
fn a_worker_with_mail_has_no_time_to_sleep() {
    let (mut first, all) = first_of(Placement::ByHash);
    assert!(all[1].mailbox().may_sleep());
    assert!(first.keep(InterfaceId::FIRST, &segment(port_of_the_second(), 1)).is_none());
    assert!(all[1].mailbox().may_sleep(), "a frame that is set aside has not been sent");
    assert_eq!(first.send(), 0);
    assert!(!all[1].mailbox().may_sleep());
    all[1].mailbox().woke(true);
    all[1].mailbox().take().unwrap();
    assert!(all[1].mailbox().may_sleep());
}
