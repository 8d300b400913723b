//! AF_XDP sockets and the attached program, on real veth pairs: needs root.

mod common;

use std::{
    net::Ipv4Addr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use common::{
    frames::{OURS, PEER, ethernet, ipv4},
    is_root,
    served::{ADDRESS, Served},
    station::{Bench, CLIENT, SERVER, Station, attach, open, program, wait},
};
use xskip_cli::{
    host::{Link, link::AttachMode},
    lab::{INTERFACE, Role},
    rng::splitmix64,
    wire::{
        self, ArpPacket, ChecksumPolicy, IpHeader, LinkHeader, MacAddress, Packet, Protocol, SeqNumber, TcpFlags,
        TcpHeader, arp,
        checksum::Checksum,
        ethernet::{ETHER_TYPE_ARP, ETHER_TYPE_IPV4, VlanTag, VlanTags},
        write_tcp,
    },
    xdp::{
        CopyMode, Frame, Program, ProgramOptions, Queue, QueueOptions, Require, Steering, XdpError, XdpMode, frame_len,
    },
};

/// Set aside for experiments (RFC 3692), so that nothing in either kernel takes it for something else.
const EXPERIMENT: u8 = 253;

/// The frame of this number: 60 to 1,514 bytes, which the number determines.
fn numbered(destination: Ipv4Addr, number: u32) -> Vec<u8> {
    let mut random = u64::from(number);
    let mut next = || {
        random = splitmix64(random);
        random
    };
    let length = match number {
        0 => 60,
        1 => 1_514,
        _ => 60 + next() as usize % 1_455,
    };
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend((0..length - 38).map(|_| next() as u8));
    ipv4(destination, EXPERIMENT, 0x4000, &[], &payload)
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[34..38].try_into().unwrap())
}

/// Sends frames `numbers` in batches that fit every ring on the way, and wants each at the other end, in order.
#[track_caller]
fn transfer(from: &mut Station, to: &mut Station, numbers: std::ops::Range<u32>) {
    for start in numbers.clone().step_by(64) {
        let batch = start..numbers.end.min(start + 64);
        batch.clone().for_each(|number| from.send(&numbered(to.own, number)));
        from.settle();
        let received = to.receive_all(batch.len());
        assert_eq!(received.len(), batch.len());
        for (number, frame) in batch.zip(received) {
            assert!(frame == numbered(to.own, number), "frame {number} came as {frame:02x?}");
        }
        to.balanced();
    }
}

#[test]
fn an_open_queue_has_every_frame_in_its_place() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let queue = bench.run(|| open(0, Require::Nothing, &QueueOptions::default()).unwrap());
    let audit = queue.audit();
    assert!(audit.is_balanced(), "{audit:?}");
    assert_eq!((audit.total, audit.free, audit.fill, audit.transmit, audit.held), (4_096, 2_048, 2_048, 0, 0));
    assert_eq!((queue.id(), queue.copy_mode()), (0, CopyMode::Copy), "veth copies");
    assert_eq!(queue.close(), audit);
    bench.run(|| open(0, Require::Native, &QueueOptions { frame_size: 4_096, ..QueueOptions::default() }).unwrap());
}

#[test]
fn what_stands_in_the_way_of_a_queue_is_said() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let options = QueueOptions::default();
    bench.run(|| {
        let first = open(0, Require::Nothing, &options).unwrap();
        let refused = open(0, Require::Nothing, &options).err();
        assert!(matches!(&refused, Some(XdpError::QueueBusy { interface, queue: 0 }) if interface == INTERFACE));
        drop(first);
        open(0, Require::Nothing, &options).expect("a closed queue is free again");
        for queue in [1, 7, 100_000] {
            let refused = open(queue, Require::Nothing, &options).err();
            assert!(matches!(&refused, Some(XdpError::NoSuchQueue { queue: no, .. }) if *no == queue), "{refused:?}");
        }
        let refused = open(0, Require::ZeroCopy, &options).err();
        assert!(matches!(refused, Some(XdpError::NoZeroCopy { .. })), "{refused:?}");
        open(0, Require::Nothing, &options).expect("a refusal leaves nothing behind");
        let refused = Queue::open("nowhere", 0, XdpMode::Native, Require::Nothing, &options).err();
        assert!(matches!(refused, Some(XdpError::Refused { .. })), "{refused:?}");
    });
}

#[test]
fn sizes_that_cannot_be_are_refused_by_name() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let default = QueueOptions::default();
    let refused =
        |what: &str, value: u32, options: QueueOptions| match bench.run(|| open(0, Require::Nothing, &options).err()) {
            Some(XdpError::BadOption { what: said, value: is, .. }) => assert_eq!((said, is), (what, value)),
            other => panic!("{what} {value}: {other:?}"),
        };
    for ring_size in [0, 3, 1_000, 2_047, u32::MAX] {
        refused("the ring size", ring_size, QueueOptions { ring_size, ..default });
    }
    for frame_size in [0, 1, 1_024, 3_000, 8_192, u32::MAX] {
        refused("the frame size", frame_size, QueueOptions { frame_size, ..default });
    }
    for frames in [0, 1, 3] {
        refused("the number of frames", frames, QueueOptions { frames, ..default });
    }
    bench.run(|| open(0, Require::Nothing, &default).expect("a refusal leaves nothing behind"));
}

#[test]
fn frames_arrive_byte_for_byte_and_in_order_in_both_directions() {
    if !is_root() {
        return;
    }
    const FRAMES: u32 = 10_000;
    let bench = Bench::new(1, 1_500);
    let [mut server, mut client] = Station::pair(&bench, XdpMode::Native, &QueueOptions::default());
    for start in (0..FRAMES).step_by(1_000) {
        transfer(&mut client, &mut server, start..start + 1_000);
        transfer(&mut server, &mut client, start..start + 1_000);
    }
    for station in [server, client] {
        let statistics = station.queue.statistics().unwrap();
        assert_eq!((statistics.received, statistics.transmitted), (u64::from(FRAMES), u64::from(FRAMES)));
        assert_eq!((station.dropped(), statistics.busy), (0, 0));
        assert_eq!(station.program.verdicts().unwrap().redirected_own, u64::from(FRAMES));
        let audit = station.queue.close();
        assert!(audit.is_balanced() && audit.transmit == 0, "{audit:?}");
    }
}

#[test]
fn a_queue_of_few_frames_both_sends_and_receives() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    for frames in [4, 64, 100] {
        let options = QueueOptions { frames, ring_size: 64, ..QueueOptions::default() };
        let [mut server, mut client] = Station::pair(&bench, XdpMode::Native, &options);
        for number in 0..500 {
            transfer(&mut client, &mut server, number..number + 1);
            transfer(&mut server, &mut client, number..number + 1);
        }
    }
}

#[test]
fn what_the_receiver_has_no_room_for_is_counted() {
    if !is_root() {
        return;
    }
    const FRAMES: u32 = 10_000;
    let bench = Bench::new(1, 1_500);
    let few = QueueOptions { frames: 64, ring_size: 64, ..QueueOptions::default() };
    let mut server = Station::new(bench.lab.server(), SERVER, XdpMode::Native, &few);
    let mut client = Station::new(bench.lab.client(), CLIENT, XdpMode::Native, &QueueOptions::default());
    let mut received = Vec::new();
    for sent in 0..FRAMES {
        client.send(&numbered(SERVER, sent));
        // The receiver looks in now and then, far too seldom.
        if sent % 500 == 499 {
            client.settle();
            received.extend(server.receive());
            server.balanced();
        }
    }
    client.settle();
    // What left the client either met the program or was refused by the pair itself, which the client's socket counts.
    let refused = client.queue.statistics().unwrap().busy;
    wait(|| server.program.verdicts().unwrap().redirected_own + refused == u64::from(FRAMES));
    wait(|| {
        received.extend(server.receive());
        received.len() as u64 + server.dropped() == server.program.verdicts().unwrap().redirected_own
    });
    assert!(server.dropped() > 0, "this was to be too much");
    assert!(received.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "in order");
    assert!(received.iter().all(|frame| *frame == numbered(SERVER, number(frame))), "byte for byte");
    server.balanced();
    // After the flood, everything as before.
    transfer(&mut client, &mut server, 0..1);
}

#[test]
fn a_flush_brings_back_frames_to_a_sender_that_has_none() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let mut queue = bench.run(|| open(0, Require::Nothing, &QueueOptions::default()).unwrap());
    for round in 0..5 {
        let mut frames: Vec<Frame> = std::iter::from_fn(|| queue.allocate()).collect();
        assert_eq!(frames.len(), 2_048, "round {round}: the pool without what is to be received into");
        assert_eq!(queue.audit().held, 2_048);
        assert!(queue.wants_flush(), "round {round}: a frame was asked for in vain");
        // Some go back unsent.
        frames.drain(..48).for_each(|frame| queue.release(frame));
        for mut frame in frames {
            queue.buffer(&mut frame)[..60].copy_from_slice(&ethernet(&[], 0x88b5, &[round; 46]));
            queue.transmit(frame, 60);
        }
        let audit = queue.audit();
        assert_eq!((audit.free, audit.transmit, audit.held), (48, 2_000, 0));
        wait(|| {
            queue.flush().unwrap();
            assert!(queue.audit().is_balanced());
            queue.audit().transmit == 0
        });
        assert_eq!(queue.audit().free, 2_048, "round {round}: they are back");
        assert!(queue.wants_flush(), "whoever was refused is to ask again");
        let frame = queue.allocate().unwrap();
        queue.release(frame);
        assert!(!queue.wants_flush(), "round {round}: nothing to do");
    }
    assert_eq!(queue.statistics().unwrap().transmitted, 10_000);
    queue.close();
}

#[test]
fn a_transmitted_frame_is_as_long_as_was_said_and_no_longer_than_its_room() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let mut queue = bench.run(|| open(0, Require::Nothing, &QueueOptions::default()).unwrap());
    let mut frame = queue.allocate().unwrap();
    assert_eq!(queue.buffer(&mut frame).len(), 2_048 - 256, "the kernel keeps 256 bytes");
    queue.transmit(frame, usize::MAX);
    let audit = queue.close();
    assert!(audit.is_balanced() && audit.held == 0, "{audit:?}");
}

#[test]
fn a_frame_of_another_queue_is_refused_and_changes_nothing() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(2, 1_500);
    let both = || [0, 1].map(|queue| open(queue, Require::Nothing, &QueueOptions::default()).unwrap());
    let [mut first, mut second] = bench.run(both);
    let before = second.audit();
    let refuses = |what: &str, act: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(act)).expect_err(what);
        let said = panic.downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        assert!(said.contains("a frame goes back to the queue it came from"), "{what}: {said}");
    };
    let mut kept = first.allocate().unwrap();
    refuses("data", &mut || drop(second.data(&kept).to_vec()));
    refuses("buffer", &mut || second.buffer(&mut kept).fill(0));
    let mut lost = [first.allocate(), first.allocate()];
    refuses("release", &mut || second.release(lost[0].take().unwrap()));
    refuses("transmit", &mut || second.transmit(lost[1].take().unwrap(), 60));
    assert_eq!(second.audit(), before);
    assert!(!second.wants_flush());
    second.close();
    // What the other queue was given is gone, and the accounts say so.
    first.release(kept);
    assert_eq!(first.audit().held, 2);
    assert!(!first.audit().is_balanced());
}

#[test]
fn traffic_goes_on_after_the_link_was_down() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let [mut server, mut client] = Station::pair(&bench, XdpMode::Native, &QueueOptions::default());
    transfer(&mut client, &mut server, 0..100);
    bench.set(Role::Client, "down");
    client.send(&numbered(SERVER, 100));
    for _ in 0..3 {
        let flushed = client.queue.flush();
        assert!(matches!(&flushed, Err(XdpError::LinkDown { interface }) if interface == INTERFACE), "{flushed:?}");
        client.balanced();
        assert_eq!(client.queue.audit().transmit, 1, "the frame stays where it is");
        assert!(client.queue.wants_flush(), "and waits for its chance");
    }
    bench.set(Role::Client, "up");
    // Until the pair has its carrier back, frames may go to nowhere.
    for side in [bench.lab.client(), bench.lab.server()] {
        wait(|| side.link().unwrap().running);
    }
    client.settle();
    wait(|| {
        client.send(&numbered(SERVER, 101));
        client.settle();
        server.receive().iter().any(|frame| number(frame) == 101)
    });
    wait(|| server.receive().is_empty());
    transfer(&mut client, &mut server, 102..300);
    transfer(&mut server, &mut client, 0..200);
    client.queue.close();
}

#[test]
fn closing_a_queue_whose_link_is_down_loses_no_frame() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let [_server, mut client] = Station::pair(&bench, XdpMode::Native, &QueueOptions::default());
    (0..100).for_each(|number| client.send(&numbered(SERVER, number)));
    bench.set(Role::Client, "down");
    let audit = client.queue.close();
    assert!(audit.is_balanced(), "{audit:?}");
    assert_eq!(audit.transmit, 100, "they go with the memory");
}

#[test]
fn an_interface_has_one_program_and_none_after_it_is_dropped() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    bench.run(|| {
        let attached = || Link::find(INTERFACE).unwrap().xdp;
        let [mut first, mut second] = [program(SERVER), program(SERVER)];
        assert_eq!(attached(), None, "a loaded program is not attached");
        assert_eq!(attach(&mut first, Require::Native).unwrap(), XdpMode::Native);
        let attachment = attached().expect("an attached program shows");
        assert_eq!(attachment.mode, AttachMode::Native);
        for require in [Require::Nothing, Require::Native, Require::ZeroCopy] {
            let refused = attach(&mut second, require);
            assert!(matches!(&refused, Err(XdpError::Occupied { interface }) if interface == INTERFACE), "{refused:?}");
            let refused = attach(&mut first, require);
            assert!(matches!(refused, Err(XdpError::Occupied { .. })), "not even by itself: {refused:?}");
        }
        assert_eq!(attached(), Some(attachment), "a refusal changes nothing");
        drop(second);
        assert_eq!(attached(), Some(attachment), "nor does a program that never was attached");
        drop(first);
        assert_eq!(attached(), None);
        assert_eq!(attach(&mut program(SERVER), Require::Native).unwrap(), XdpMode::Native, "free again");
    });
}

#[test]
fn where_native_mode_is_impossible_generic_mode_is_announced_and_works() {
    if !is_root() {
        return;
    }
    // In native mode, a veth wants a page to hold the frame.
    let bench = Bench::new(1, 9_000);
    bench.run(|| {
        for require in [Require::Native, Require::ZeroCopy] {
            let refused = attach(&mut program(SERVER), require);
            assert!(matches!(refused, Err(XdpError::NoNative { .. })), "{refused:?}");
            assert_eq!(Link::find(INTERFACE).unwrap().xdp, None);
        }
    });
    let [mut server, mut client] = Station::pair(&bench, XdpMode::Generic, &QueueOptions::default());
    assert_eq!(bench.lab.server().link().unwrap().xdp.unwrap().mode, AttachMode::Generic);
    transfer(&mut client, &mut server, 0..1_000);
    transfer(&mut server, &mut client, 0..1_000);
}

#[test]
fn a_batch_takes_one_wake_up() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let [mut server, mut client] = Station::pair(&bench, XdpMode::Native, &QueueOptions::default());
    for start in (0..6_400).step_by(64) {
        (start..start + 64).for_each(|number| client.send(&numbered(SERVER, number)));
        client.flush();
        assert_eq!(server.receive_all(64).len(), 64);
        wait(|| client.queue.audit().transmit == 0 || client.queue.flush().is_err());
    }
    let sent = client.queue.statistics().unwrap();
    assert_eq!(sent.transmitted, 6_400);
    // What the kernel asks to be called for again is the kernel's; older ones take 32 frames at once.
    let asked = sent.wake_ups - sent.again - sent.busy;
    assert!(asked <= sent.flushes, "{asked} wake-ups for {} batches: {sent:?}", sent.flushes);
    let received = server.queue.statistics().unwrap();
    assert_eq!((received.wake_ups, received.receive_wake_ups), (0, 0), "to receive takes none: {received:?}");
}

/// The frame of this number on a link with this MTU: sizes go up to the largest, by way of those at which a chunk more is needed.
fn jumbo(destination: Ipv4Addr, mtu: usize, number: u32) -> Vec<u8> {
    let edges = [3_826, 3_827, 7_666, 7_667, mtu];
    let length = edges.get(number as usize % 8).copied().unwrap_or(60 + number as usize * 613 % (mtu - 60)).min(mtu);
    let payload: Vec<u8> =
        number.to_be_bytes().into_iter().chain((0..length - 24).map(|at| (at % 251) as u8)).collect();
    ipv4(destination, EXPERIMENT, 0x4000, &[], &payload)
}

/// Sends jumbo frames `numbers`, and wants each at the other end, in order.
#[track_caller]
fn jumbos(from: &mut Station, to: &mut Station, mtu: usize, numbers: std::ops::Range<u32>) {
    numbers.clone().for_each(|number| from.send(&jumbo(to.own, mtu, number)));
    from.settle();
    for (number, frame) in numbers.clone().zip(to.receive_all(numbers.len())) {
        let sent = jumbo(to.own, mtu, number);
        assert!(frame == sent, "frame {number} of {} bytes came as {}", sent.len(), frame.len());
    }
    to.balanced();
}

#[test]
fn packets_of_several_chunks_arrive_byte_for_byte() {
    if !is_root() {
        return;
    }
    const MTU: u32 = 9_000;
    let bench = Bench::new(1, MTU);
    let options = QueueOptions { frame_size: 4_096, longest: Some(frame_len(MTU)), ..QueueOptions::default() };
    for (fragments, mode) in [(true, XdpMode::Native), (false, XdpMode::Generic)] {
        let mut stations = [(bench.lab.server(), SERVER), (bench.lab.client(), CLIENT)]
            .map(|(side, own)| Station::with_program(side, own, mode, &options, fragments));
        let [server, client] = &mut stations;
        for start in (0..800).step_by(16) {
            jumbos(client, server, MTU as usize, start..start + 16);
            jumbos(server, client, MTU as usize, start..start + 16);
        }
        for station in stations {
            assert_eq!(station.queue.statistics().unwrap().received, 800, "{mode}: packets are counted, not chunks");
            let audit = station.queue.close();
            assert!(audit.is_balanced() && audit.transmit == 0, "{mode}: {audit:?}");
        }
    }
}

#[test]
fn frames_that_may_take_several_chunks_never_leave_one_without() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(1, 1_500);
    let longest = Some(frame_len(9_000));
    let options = QueueOptions { frames: 64, ring_size: 64, frame_size: 4_096, longest, ..QueueOptions::default() };
    let mut queue = bench.run(|| open(0, Require::Nothing, &options).unwrap());
    let free = queue.audit().free;
    let frames: Vec<Frame> = std::iter::from_fn(|| queue.allocate()).collect();
    assert_eq!(frames.len() as u32, free / 3, "each has three chunks to itself");
    assert_eq!(queue.statistics().unwrap().no_frames, 1);
    frames.into_iter().for_each(|frame| queue.release(frame));
    assert_eq!(queue.audit().free, free);
    for length in [0, 1, 3_840, 3_841, 9_022, usize::MAX] {
        let mut frame = queue.allocate().unwrap();
        assert_eq!(queue.buffer(&mut frame).len(), 9_022);
        queue.transmit(frame, length);
    }
    assert_eq!(queue.audit().transmit, 1 + 1 + 1 + 2 + 3 + 3);
    assert!(queue.audit().is_balanced(), "{:?}", queue.audit());
}

#[test]
fn a_program_takes_the_sockets_of_as_many_queues_as_it_was_loaded_for() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(2, 1_500);
    let both = || [0, 1].map(|queue| open(queue, Require::Nothing, &QueueOptions::default()).unwrap());
    let [first, second] = bench.run(both);
    for (queues, takes_second) in [(0, false), (1, false), (2, true)] {
        let program =
            Program::load(&Steering::default(), &ProgramOptions { queues, ..ProgramOptions::default() }).unwrap();
        program.connect(&first).unwrap();
        let connected = program.connect(&second);
        assert_eq!(connected.is_ok(), takes_second, "loaded for {queues}: {connected:?}");
        assert!(takes_second || matches!(connected, Err(XdpError::Refused { .. })), "{connected:?}");
    }
}

// Tags, which no kernel in the lab would put on or take off.

/// A frame's link header from the client's made-up station to the server's.
fn tagged(server: MacAddress, tags: &[VlanTag]) -> LinkHeader {
    let vlan = tags.iter().fold(VlanTags::default(), |vlan, &tag| vlan.with(tag).unwrap());
    LinkHeader { destination: server, source: PEER, vlan, ..LinkHeader::default() }
}

fn arp_request(link: &LinkHeader) -> Vec<u8> {
    let mut frame = vec![0; link.len() + arp::PACKET_LEN];
    let packet = ArpPacket {
        operation: arp::Operation::Request,
        sender_mac: PEER,
        sender_ip: CLIENT,
        target_mac: MacAddress::default(),
        target_ip: SERVER,
    };
    let link = LinkHeader { destination: MacAddress::BROADCAST, ..*link };
    packet.write(link.write(ETHER_TYPE_ARP, &mut frame));
    frame
}

fn echo_request(link: &LinkHeader) -> Vec<u8> {
    let mut message = b"\x08\x00\x00\x00\x12\x34\x00\x01the data come back".to_vec();
    let checksum = Checksum::of(&message).field();
    message[2..4].copy_from_slice(&checksum);
    let mut frame = vec![0; link.len() + 20 + message.len()];
    let ip = IpHeader::new(CLIENT.into(), SERVER.into(), Protocol::Icmpv4);
    ip.write(message.len(), link.write(ETHER_TYPE_IPV4, &mut frame)).copy_from_slice(&message);
    frame
}

fn syn(link: &LinkHeader, source_port: u16) -> Vec<u8> {
    let seq = SeqNumber::new(1_000);
    let tcp = TcpHeader { source_port, destination_port: 80, seq, flags: TcpFlags::SYN, ..TcpHeader::default() };
    let ip = IpHeader::new(CLIENT.into(), SERVER.into(), Protocol::Tcp);
    let mut frame = vec![0; link.len() + 40];
    write_tcp(link, &ip, &TcpHeader { window: 64_240, ..tcp }, (&[], &[]), &mut frame);
    frame
}

/// Sends a question and gives back the first frame that `answers` it.
#[track_caller]
fn ask(client: &mut Station, question: &[u8], mut answers: impl FnMut(&[u8]) -> bool) -> LinkHeader {
    client.send(question);
    client.settle();
    let mut answer = None;
    wait(|| {
        answer = answer.take().or_else(|| client.receive().into_iter().find(|frame| answers(frame)));
        answer.is_some()
    });
    LinkHeader::parse(&answer.unwrap()).unwrap().0
}

#[test]
fn frames_of_the_vlan_that_is_served_come_back_with_their_tag_and_others_do_not() {
    if !is_root() {
        return;
    }
    let mut served = Served::new(1, &["--address", ADDRESS, "--vlan", "10", "--port", "80", "--json"]);
    let mac = MacAddress(served.lab.server().link().unwrap().mac);
    assert_ne!(mac, OURS);
    let mut client = Station::in_vlan(served.lab.client(), CLIENT, 10);
    let customer = |control| VlanTag { protocol: 0x8100, control };
    let service = VlanTag { protocol: 0x88a8, control: 10 };
    // They come first, so that an answer would be there before those to the others.
    let others: [&[VlanTag]; 5] =
        [&[], &[customer(11)], &[service], &[service, customer(10)], &[customer(10), customer(10)]];
    for tags in others {
        client.send(&echo_request(&tagged(mac, tags)));
        client.send(&arp_request(&tagged(mac, tags)));
    }
    let kinds: [&[VlanTag]; 2] = [&[customer(10)], &[customer(0x6000 | 10)]];
    for (port, tags) in (50_000u16..).zip(kinds) {
        let link = tagged(mac, tags);
        let expected = link.answered_by(mac);
        let back = ask(&mut client, &arp_request(&link), |frame| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify);
            matches!(parsed.map(|parsed| parsed.packet), Ok(Packet::Arp(arp)) if arp.operation == arp::Operation::Reply
                && (arp.sender_mac, arp.sender_ip, arp.target_mac) == (mac, SERVER, PEER))
        });
        assert_eq!(back, expected, "the ARP reply to {tags:?}");
        let question = echo_request(&link);
        let back = ask(&mut client, &question, |frame| {
            let at = link.len() + 20;
            frame.get(at) == Some(&0) && frame[at + 4..] == question[at + 4..]
        });
        assert_eq!(back, expected, "the echo reply to {tags:?}");
        let back = ask(&mut client, &syn(&link, port), |frame| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify);
            matches!(parsed.map(|parsed| parsed.packet), Ok(Packet::Tcp(_, tcp))
                if tcp.header.flags == TcpFlags::SYN | TcpFlags::ACK
                    && (tcp.header.destination_port, tcp.header.ack) == (port, SeqNumber::new(1_001)))
        });
        assert_eq!(back, expected, "the SYN,ACK to {tags:?}");
    }
    let report = served.stop_balanced();
    assert_eq!(report["workers"][0]["stack"]["echo_replies"], kinds.len(), "{report:#}");
    // The lab's kernels have something untagged to say, too.
    assert!(report["verdicts"]["passed_vlan"].as_u64() >= Some(2 * others.len() as u64), "{report:#}");
    assert_eq!(report["workers"][0]["drops"], serde_json::json!({}), "{report:#}");
}
