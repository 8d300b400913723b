//! What is said of our addresses, octet by octet where RFCs name them.

use super::*;

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Both of our addresses, at this station.
fn claims(station: MacAddress) -> Claims {
    Claims {
        addresses: vec![address("198.18.0.1"), address("2001:2::1")],
        shared: vec![address("198.18.0.254")],
        station,
        vlan: None,
    }
}

#[test]
fn a_probe_comes_from_nobody_and_an_announcement_from_the_address() {
    let probe = claims(OURS).probe(address("198.18.0.1"));
    assert_eq!(probe[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1]);
    assert_eq!(probe[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!((&probe[28..32], &probe[38..42]), (&[0, 0, 0, 0][..], &[198, 18, 0, 1][..]), "RFC 5227 §2.1.1");
    let announcement = claims(OURS).announcement(address("198.18.0.1"));
    assert_eq!((&announcement[28..32], &announcement[38..42]), (&[198, 18, 0, 1][..], &[198, 18, 0, 1][..]));

    let probe = claims(OURS).probe(address("2001:2::1"));
    assert_eq!(probe[..6], [0x33, 0x33, 0xff, 0, 0, 1]);
    assert_eq!((probe.len(), probe[21], probe[54]), (78, 255, 135));
    assert_eq!(probe[22..38], [0; 16], "RFC 4862 §5.4.2, and so no option with our station: RFC 4861 §4.3");
    let announcement = claims(OURS).announcement(address("2001:2::1"));
    assert_eq!((announcement[54], announcement[58]), (136, 0x20), "RFC 4861 §7.2.6: override, not solicited");
    assert_eq!(announcement[80..86], OURS.0);
}

#[test]
fn who_has_our_address_is_named_and_who_asks_for_it_only_while_we_ask_too() {
    let ours = claims(OURS);
    for name in ["198.18.0.1", "2001:2::1"] {
        let conflict = Some((address(name), THEIRS));
        for probing in [false, true] {
            assert_eq!(ours.conflict(&claims(THEIRS).announcement(address(name)), probing), conflict, "{name}");
            assert_eq!(ours.conflict(&claims(OURS).announcement(address(name)), probing), None, "our own words");
        }
        assert_eq!(ours.conflict(&claims(THEIRS).probe(address(name)), true), conflict, "{name}");
        assert_eq!(ours.conflict(&claims(THEIRS).probe(address(name)), false), None, "it is answered: {name}");
    }
    for name in ["198.18.0.2", "2001:2::2"] {
        assert_eq!(ours.conflict(&claims(THEIRS).announcement(address(name)), true), None);
        assert_eq!(ours.conflict(&claims(THEIRS).probe(address(name)), true), None);
    }
    for garbage in [&[][..], &[0; 14], &[0xff; 60]] {
        assert_eq!(ours.conflict(garbage, true), None);
    }
}

#[test]
fn workers_hear_who_asks_for_us_and_who_announces_himself_and_nothing_else() {
    let (ours, theirs) = (claims(OURS), claims(THEIRS));
    for name in ["198.18.0.1", "198.18.0.254", "2001:2::1"] {
        assert!(ours.concerns(&theirs.probe(address(name))), "a question for {name}");
    }
    for name in ["198.18.0.2", "2001:2::2"] {
        assert!(ours.concerns(&theirs.announcement(address(name))), "{name} announces itself");
        assert!(!ours.concerns(&theirs.probe(address(name))), "a question for {name}");
    }
    assert!(!ours.concerns(&[0; 60]));
}

#[test]
fn who_has_no_address_of_a_version_hears_nothing_of_its_neighbours_until_there_is_one() {
    for (ours, theirs) in [("198.18.0.1", "2001:2::2"), ("2001:2::1", "198.18.0.2")] {
        let (mut claims, theirs) = (claims(OURS).of(address(ours)), address(theirs));
        let said = Claims { station: THEIRS, ..claims.clone() }.announcement(theirs);
        assert!(!claims.concerns(&said), "{theirs} to {ours}");
        for (other, ownership) in [("198.18.0.77", Ownership::Shared), ("2001:2::77", Ownership::Own)] {
            claims.add(address(other), ownership);
        }
        assert!(claims.concerns(&said), "{theirs}");
        claims.remove(address("198.18.0.77"));
        claims.remove(address("2001:2::77"));
        assert!(!claims.concerns(&said), "{theirs}");
    }
}

#[test]
fn the_answer_to_a_probe_names_its_sender_and_nobody_as_its_target() {
    let IpAddr::V4(sender_ip) = address("198.18.0.1") else { unreachable!("it is IPv4") };
    let target_ip = Ipv4Addr::UNSPECIFIED;
    let reply = ArpPacket { operation: Operation::Reply, sender_mac: THEIRS, sender_ip, target_mac: OURS, target_ip };
    let link = LinkHeader { source: THEIRS, destination: OURS, ..LinkHeader::default() };
    let mut frame = vec![0; link.len() + arp::PACKET_LEN];
    reply.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
    assert_eq!(claims(OURS).conflict(&frame, true), Some((sender_ip.into(), THEIRS)));
}
