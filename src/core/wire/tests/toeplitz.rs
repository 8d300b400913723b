//! The vectors that Microsoft publishes with "Verifying the RSS hash calculation", and the table behind the hash.

use crate::wire::{
    Endpoint, FourTuple,
    toeplitz::{ReceiveScaling, toeplitz},
};
use std::net::{IpAddr, SocketAddr};

const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b,
    0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac,
    0x01, 0xfa,
];

/// Destination, source, the hash of addresses and ports, and the hash of the addresses alone.
const VECTORS: [(&str, &str, u32, u32); 8] = [
    ("161.142.100.80:1766", "66.9.149.187:2794", 0x51cc_c178, 0x323e_8fc2),
    ("65.69.140.83:4739", "199.92.111.2:14230", 0xc626_b0ea, 0xd718_262a),
    ("12.22.207.184:38024", "24.19.198.95:12898", 0x5c2b_394a, 0xd2d0_a5de),
    ("209.142.163.6:2217", "38.27.205.30:48228", 0xafc7_327f, 0x8298_9176),
    ("202.188.127.2:1303", "153.39.163.191:44251", 0x10e8_28a2, 0x5d18_09c5),
    ("[3ffe:2501:200:3::1]:1766", "[3ffe:2501:200:1fff::7]:2794", 0x4020_7d3d, 0x2cc1_8cd5),
    ("[ff02::1]:4739", "[3ffe:501:8::260:97ff:fe40:efab]:14230", 0xdde5_1bbf, 0x0f0c_461c),
    ("[fe80::200:f8ff:fe21:67cf]:38024", "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", 0x02d1_feef, 0x4b61_e985),
];

fn tuple(local: &str, remote: &str) -> FourTuple {
    let end = |text: &str| {
        let socket: SocketAddr = text.parse().unwrap();
        Endpoint { address: socket.ip(), port: socket.port() }
    };
    FourTuple { local: end(local), remote: end(remote) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[test]
fn the_hash_is_that_of_the_published_vectors() {
    for (destination, source, with_ports, addresses) in VECTORS {
        let FourTuple { local, remote } = tuple(destination, source);
        let mut input = [octets(remote.address), octets(local.address)].concat();
        assert_eq!(toeplitz(&KEY, &input), addresses, "{source} to {destination}");
        input.extend([remote.port.to_be_bytes(), local.port.to_be_bytes()].concat());
        assert_eq!(toeplitz(&KEY, &input), with_ports, "{source} to {destination}");
    }
}

#[test]
fn the_low_bits_of_the_hash_choose_the_queue() {
    let queues: Vec<u32> = (0..128).map(|entry| entry % 5).collect();
    let scaling = ReceiveScaling::new(KEY.to_vec(), queues.clone()).unwrap();
    for (destination, source, with_ports, _) in VECTORS {
        assert_eq!(scaling.queue_of(&tuple(destination, source)), queues[with_ports as usize % 128]);
    }
    assert!((0..5).all(|queue| scaling.reaches(queue)) && !scaling.reaches(5));
}

#[test]
fn a_key_too_short_and_a_table_of_odd_length_are_refused() {
    assert!(ReceiveScaling::new(KEY[..39].to_vec(), vec![0; 128]).is_none());
    assert!(ReceiveScaling::new(KEY.to_vec(), vec![]).is_none());
    assert!(ReceiveScaling::new(KEY.to_vec(), vec![0; 100]).is_none());
    assert!(ReceiveScaling::new(KEY.to_vec(), vec![0]).is_some());
}
