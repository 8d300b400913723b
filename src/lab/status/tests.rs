use super::*;
use crate::host::link::{AttachMode, Peer};

fn end(role: Role, index: u32, peer: u32) -> Link {
    Link {
        index,
        name: INTERFACE.to_owned(),
        mac: role.mac(),
        mtu: 1_500,
        kind: Some("veth".to_owned()),
        peer: Some(Peer { index: peer, namespace_id: Some(0) }),
        rx_queues: 2,
        tx_queues: 2,
        ..Link::default()
    }
}

fn other(name: &str) -> Link {
    Link { name: name.to_owned(), ..Link::default() }
}

fn found(server: Vec<Link>, client: Vec<Link>) -> Found {
    let (server, client) = (judge_side(server, Role::Server), judge_side(client, Role::Client));
    judge(&LabName::default(), server, client)
}

#[test]
fn two_ends_of_one_pair_are_a_lab() {
    let (server, client) = (end(Role::Server, 2, 3), end(Role::Client, 3, 2));
    let whole = Found::Whole { queues: 2, mtu: 1_500 };
    assert_eq!(found(vec![other("lo"), server.clone()], vec![other("lo"), client.clone()]), whole);
    // Whatever somebody added to it stays part of it.
    assert_eq!(found(vec![server, other("ifb0")], vec![client]), whole);
}

#[test]
fn whatever_is_missing_makes_it_half() {
    let (server, client) = (end(Role::Server, 2, 3), end(Role::Client, 3, 2));
    assert_eq!(found(vec![other("lo"), other("sit0")], vec![client.clone()]), Found::Half);
    assert_eq!(found(vec![other("lo")], vec![other("lo")]), Found::Half);
    assert_eq!(found(vec![end(Role::Server, 2, 9)], vec![client.clone()]), Found::Half);
    assert_eq!(found(vec![server], vec![Link { mtu: 9_000, ..client }]), Found::Half);
    assert_eq!(judge(&LabName::default(), SideFound::Absent, SideFound::Empty), Found::Half);
    assert_eq!(judge(&LabName::default(), SideFound::Absent, SideFound::Absent), Found::Nothing);
}

#[test]
fn namespaces_of_others_are_left_alone() {
    let foreign = |namespace: &str, interface: &str| Found::Foreign {
        namespace: namespace.to_owned(),
        interface: interface.to_owned(),
    };
    assert_eq!(found(vec![other("lo"), other("eth0")], vec![]), foreign("lab-server", "eth0"));
    let alike = Link { mac: [2, 0, 0, 0, 0, 1], ..end(Role::Client, 3, 2) };
    assert_eq!(found(vec![end(Role::Server, 2, 3)], vec![alike]), foreign("lab-client", INTERFACE));
}

#[test]
fn the_text_tells_what_matters() {
    let interface = InterfaceStatus {
        name: INTERFACE.to_owned(),
        mac: "02:78:73:6b:00:01".to_owned(),
        mtu: 1_500,
        rx_queues: 2,
        tx_queues: 2,
        running: true,
        addresses: vec!["198.18.0.254/24".to_owned()],
        offloads: Offloads { tx_checksums: false, super_frames: false, vlan_tags: false, gro: true },
        xdp: Some(Attachment { program: 7, mode: AttachMode::Native }),
    };
    let process = Process { pid: 4_711, command: "nginx".to_owned() };
    let side = |interface| SideStatus {
        side: Role::Server,
        namespace: "lab-server".to_owned(),
        interface,
        processes: vec![process.clone()],
    };
    let text = side(Some(interface)).to_string();
    for part in ["running", "mtu 1500", "queues 2", "198.18.0.254/24", "gro on", "program 7 (native)", "4711 nginx"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(side(None).to_string().contains("veth0: missing"));
}
