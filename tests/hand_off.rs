//! The hand-off between workers allocates nothing once its memory has gone round.

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use std::{net::IpAddr, sync::Arc};
use xskip::{
    stack::Secrets,
    wire::{
        Endpoint, FourTuple, InterfaceId, IpHeader, LinkHeader, MacAddress, Protocol, SeqNumber, TcpFlags, TcpHeader,
        TcpOptions, write_tcp,
    },
    worker::{HandOff, Mailbox, Placement},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WORKERS: usize = 3;
const BATCH: usize = 64;

/// A segment of the client at `port`, of 66 to 1,514 bytes.
fn segment(port: u16, number: u32) -> Vec<u8> {
    let (source, destination) = (MacAddress([2, 0, 0, 0, 0, 2]), MacAddress([2, 0, 0, 0, 0, 1]));
    let end = |last, port| Endpoint { address: IpAddr::from([198, 18, 0, last]), port };
    let FourTuple { local, remote } = FourTuple { local: end(1, 80), remote: end(2, port) };
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
    let payload = vec![number as u8; 12 + number as usize * 97 % 1_448];
    let mut frame = vec![0; 1_600];
    let link = LinkHeader { source, destination, ..LinkHeader::default() };
    let ip = IpHeader::new(remote.address, local.address, Protocol::Tcp);
    let length = write_tcp(&link, &ip, &tcp, (&payload, &[]), &mut frame);
    frame.truncate(length);
    frame
}

/// One batch through every worker: what each passed on, and what then came to whom.
fn turn(workers: &mut [HandOff], frames: &[Vec<u8>]) -> (usize, usize) {
    let (mut passed, mut came) = (0, 0);
    for worker in &mut *workers {
        passed += frames.iter().filter(|frame| worker.keep(InterfaceId::FIRST, frame).is_none()).count();
        assert_eq!(worker.send(), 0, "the mailboxes are emptied in time");
    }
    for worker in workers {
        while let Some(parcel) = worker.mailbox().take() {
            came += parcel.frames().filter(|incoming| incoming.frame.len() >= 66).count();
            worker.mailbox().give_back(parcel);
        }
    }
    (passed, came)
}

#[test]
fn a_steady_hand_off_allocates_nothing() {
    let mailboxes: Arc<[_]> = (0..WORKERS).map(|_| Mailbox::new().unwrap()).collect();
    let secrets = Secrets::from_seed(7);
    let new = |ours| HandOff::new(Placement::ByHash, secrets.clone(), ours, mailboxes.clone());
    let mut workers: Vec<_> = (0..WORKERS).map(new).collect();
    let frames: Vec<_> = (0..BATCH as u32).map(|number| segment(40_000 + number as u16 % 32, number)).collect();
    for _ in 0..100 {
        turn(&mut workers, &frames);
    }
    let before = allocations();
    let (mut passed, mut came) = (0, 0);
    for _ in 0..1_000 {
        let turn = turn(&mut workers, &frames);
        (passed, came) = (passed + turn.0, came + turn.1);
    }
    let counted = allocations() - before;
    // Each frame came to three workers, and belongs to one of them.
    assert_eq!((passed, came), (2 * 1_000 * BATCH, 2 * 1_000 * BATCH));
    assert_eq!(counted, 0);
}
