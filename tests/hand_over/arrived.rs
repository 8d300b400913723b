//! What comes to a backend for the VIPs, seen on its interface.

#![allow(dead_code)] // each test uses some of it

use super::{
    net::{Net, VIPS},
    wire::{FourTuple, SeqNumber, tcp_options::TcpOptions},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::Read,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// A TCP segment for a VIP, as it came to a backend.
#[derive(Debug)]
pub struct Arrived {
    pub tuple: FourTuple,
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: u8,
    pub options: TcpOptions,
    pub payload: Vec<u8>,
}

impl Arrived {
    /// Reads a frame, behind the outer headers that there may be.
    pub fn read(frame: &[u8], outer: usize) -> Option<Self> {
        let packet = frame.get(14 + outer..)?;
        let end = |at: usize, length: usize| -> Option<IpAddr> {
            let octets = packet.get(at..at + length)?;
            Some(match length {
                4 => <[u8; 4]>::try_from(octets).ok()?.into(),
                _ => <[u8; 16]>::try_from(octets).ok()?.into(),
            })
        };
        let (source, destination, tcp, length) = match packet.first()? >> 4 {
            4 if packet.get(9) == Some(&6) => {
                let length = usize::from(u16::from_be_bytes([packet[2], packet[3]])) - 20;
                (end(12, 4)?, end(16, 4)?, packet.get(20..)?, length)
            }
            6 if packet.get(6) == Some(&6) => {
                let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                (end(8, 16)?, end(24, 16)?, packet.get(40..)?, length)
            }
            _ => return None,
        };
        let tcp = tcp.get(..length)?;
        let word = |at: usize| SeqNumber::new(u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]));
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let behind = usize::from(tcp[12] >> 4) * 4;
        let (remote, local) = (SocketAddr::new(source, port(0)), SocketAddr::new(destination, port(2)));
        let is_for_vip = VIPS.iter().any(|vip| vip.parse() == Ok(destination)) && local.port() == super::PORT;
        is_for_vip.then(|| Self {
            tuple: FourTuple { local: local.into(), remote: remote.into() },
            seq: word(4),
            ack: word(8),
            flags: tcp[13],
            options: TcpOptions::parse(&tcp[20..behind]).unwrap(),
            payload: tcp[behind..].to_vec(),
        })
    }
}

pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// All frames that come to a backend from now on.
pub fn capture(net: &Net, backend: &str) -> Socket {
    let every = Protocol::from(i32::from(0x0003u16.to_be()));
    let socket = net.on(backend, || Socket::new(Domain::PACKET, Type::RAW, Some(every))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// What has come for the VIPs once `is_all` says so.
pub fn arrived(capture: &mut Socket, outer: usize, is_all: impl Fn(&[Arrived]) -> bool) -> Vec<Arrived> {
    let (mut all, patience) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    let mut frame = [0; 2_048];
    while !is_all(&all) {
        assert!(Instant::now() < patience, "in vain: {all:?}");
        if let Ok(length) = capture.read(&mut frame) {
            all.extend(Arrived::read(&frame[..length], outer));
        }
    }
    all
}
