//! What a server at a shared address takes from the kernel's own programs is said at start. Needs root.

mod common;

use common::{Name, is_root};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use xskip_cli::{
    Server,
    app::Echo,
    lab::{INTERFACE, Lab, LabOptions},
    runtime::{Notice, SharingConflict},
};

/// In the range from which the kernel picks, unless somebody has changed it.
const PORT: u16 = 50_000;

/// The kernel's own address on the server's side.
const SHARED: [u8; 4] = [198, 18, 0, 254];

fn conflicts(lab: &Lab, own: bool) -> Vec<SharingConflict> {
    let server = Server::on(INTERFACE).port(PORT).udp_port(PORT);
    let server = match own {
        true => server.address("198.18.0.1/24".parse().unwrap()),
        false => server.shared_address(SHARED.into()),
    };
    let running = lab.server().run(|| server.start(|| Echo)).unwrap().unwrap();
    let conflict = |notice| match notice {
        Notice::Sharing(conflict) => Some(conflict),
        _ => None,
    };
    running.stop().unwrap().notices.into_iter().filter_map(conflict).collect()
}

#[track_caller]
fn sysctl(lab: &Lab, setting: &str) {
    common::served::ok(lab.server().command("sysctl").args(["-w", setting]).output().unwrap());
}

#[test]
fn what_a_shared_port_is_in_the_way_of_is_said_with_its_remedy() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let lab = Lab::temporary(&LabOptions { name: name.as_str().parse().unwrap(), ..LabOptions::default() }).unwrap();
    sysctl(&lab, "net.ipv4.ip_local_port_range=32768 60999");
    sysctl(&lab, "net.ipv4.ip_local_reserved_ports=40000-40001");
    // The kernel's programs: one at all addresses, one at the shared one, one that is not concerned.
    let listen = || {
        (
            TcpListener::bind(("0.0.0.0", PORT)),
            UdpSocket::bind((Ipv4Addr::from(SHARED), PORT)),
            TcpListener::bind(("127.0.0.1", PORT + 1)),
        )
    };
    let listeners = lab.server().run(listen).unwrap();
    let socket = |address: [u8; 4]| (address, PORT).into();
    let ephemeral =
        SharingConflict::Ephemeral { ports: vec![PORT], range: 32_768..=60_999, reserved: "40000-40001".to_owned() };
    let hidden = [
        SharingConflict::Hidden { socket: socket([0; 4]), udp: false },
        SharingConflict::Hidden { socket: socket(SHARED), udp: true },
    ];
    assert_eq!(conflicts(&lab, false), [&[ephemeral.clone()][..], &hidden[..]].concat());
    assert_eq!(conflicts(&lab, true), [], "an address of the stack's own is nobody else's");
    drop(listeners);
    assert_eq!(conflicts(&lab, false), std::slice::from_ref(&ephemeral));
    // The remedy, as it is said.
    let said = ephemeral.to_string();
    let (_, setting) = said.trim_end_matches('`').rsplit_once("sysctl -w ").unwrap();
    sysctl(&lab, setting);
    assert_eq!(conflicts(&lab, false), []);
}
