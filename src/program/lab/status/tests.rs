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
    judge(&LabName::default(), server, client, between::Found::Absent)
}

#[test]
fn two_ends_of_one_pair_are_a_lab() {
    let (server, client) = (end(Role::Server, 2, 3), end(Role::Client, 3, 2));
    let whole = Found::Whole { queues: 2, mtu: 1_500, impair: None };
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
    assert_eq!(judge(&LabName::default(), SideFound::Absent, SideFound::Empty, between::Found::Absent), Found::Half);
    assert_eq!(
        judge(&LabName::default(), SideFound::Absent, SideFound::Absent, between::Found::Absent),
        Found::Nothing
    );
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

fn relay_end(name: &str, last: u8, index: u32, peer: u32) -> Link {
    Link {
        name: name.to_owned(),
        mac: [0x02, b'x', b's', b'k', 0x00, last],
        xdp: Some(Attachment { program: 7, mode: AttachMode::Native }),
        ..end(Role::Client, index, peer)
    }
}

#[test]
fn two_pairs_and_a_living_relay_are_a_lab() {
    let (server, client) = (end(Role::Server, 101, 104), end(Role::Client, 102, 103));
    let found = |left: Link, right: Link| {
        let sides = [(server.clone(), Role::Server), (client.clone(), Role::Client)];
        let [server, client] = sides.map(|(link, role)| judge_side(vec![link], role));
        judge(&LabName::default(), server, client, between::judge(vec![other("lo"), left, right]))
    };
    let noted = |link: Link, alias: &str| Link { alias: Some(alias.to_owned()), ..link };
    let (left, right) = (relay_end("left", 3, 103, 102), relay_end("right", 4, 104, 101));
    let whole = |text: &str| Found::Whole { queues: 2, mtu: 1_500, impair: Some(text.parse().unwrap()) };
    assert_eq!(found(left.clone(), right.clone()), whole(""));
    assert_eq!(found(noted(left.clone(), "loss=1%"), right.clone()), whole("loss=1%"));
    // A long note goes on at the other end.
    assert_eq!(found(noted(left.clone(), "loss=1%,del"), noted(right.clone(), "ay=1ms")), whole("loss=1%,delay=1ms"));

    // A relay that was killed, another pair, a note that says nothing.
    assert_eq!(found(Link { xdp: None, ..left.clone() }, right.clone()), Found::Half);
    assert_eq!(found(left.clone(), relay_end("right", 4, 104, 99)), Found::Half);
    assert_eq!(found(noted(left.clone(), "good weather"), right.clone()), Found::Half);
    assert_eq!(found(left, other("right")), Found::Half);
}

#[test]
fn a_relays_namespace_may_be_half_made_or_somebody_elses() {
    let judged = |links| judge(&LabName::default(), SideFound::Absent, SideFound::Absent, between::judge(links));
    assert_eq!(judged(vec![other("lo")]), Found::Half);
    let foreign = Found::Foreign { namespace: "lab-relay".to_owned(), interface: "eth0".to_owned() };
    assert_eq!(judged(vec![other("lo"), other("eth0")]), foreign);
}
