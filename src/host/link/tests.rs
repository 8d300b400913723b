use std::net::Ipv4Addr;

use netlink_packet_route::route::RouteNextHop;

use super::*;

#[test]
fn a_missing_interface_is_named_with_those_there_are() {
    let error = Link::find("no-such-link").unwrap_err().to_string();
    assert!(error.starts_with("there is no interface no-such-link here, only "), "{error}");
}

#[test]
fn loopback_is_described() {
    let link = Link::find("lo").unwrap();
    assert_eq!((link.name.as_str(), link.mac, link.is_veth(), link.xdp), ("lo", [0; 6], false, None));
    assert!(!link.has_default_route);
}

#[test]
fn a_point_to_point_link_has_its_local_address() {
    let (ours, theirs) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
    let mut message = AddressMessage::default();
    message.header.prefix_len = 32;
    message.attributes = vec![AddressAttribute::Address(theirs), AddressAttribute::Local(ours)];
    assert_eq!(address(&message), Some((ours, 32)));
    message.attributes.clear();
    assert_eq!(address(&message), None);
}

#[test]
fn default_routes_are_those_of_the_main_table_without_a_prefix() {
    let mut route = RouteMessage::default();
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.attributes = vec![RouteAttribute::Oif(2)];
    assert!(is_default_by(&route, 2));
    assert!(!is_default_by(&route, 3));

    let mut hop = RouteNextHop::default();
    hop.interface_index = 3;
    let mut multipath = route.clone();
    multipath.attributes = vec![RouteAttribute::MultiPath(vec![hop])];
    assert!(is_default_by(&multipath, 3));

    let mut local = route.clone();
    local.header.table = 255; // RT_TABLE_LOCAL
    assert!(!is_default_by(&local, 2));
    route.header.destination_prefix_length = 24;
    assert!(!is_default_by(&route, 2));
}

#[test]
fn an_attached_program_is_told_with_its_mode() {
    assert_eq!(attachment(&[LinkXdp::Attached(XdpAttached::None)]), None);
    let native = [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7), LinkXdp::DrvProgId(7)];
    assert_eq!(attachment(&native), Some(Attachment { program: 7, mode: AttachMode::Native }));
    let generic = [LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::SkbProgId(9)];
    assert_eq!(attachment(&generic), Some(Attachment { program: 9, mode: AttachMode::Generic }));
}
