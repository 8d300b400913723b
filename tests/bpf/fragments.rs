//! What becomes of fragments: at our own addresses, and at those that the kernel keeps. The order of the cases matters.

use super::{Case, UDP_PORT, common::frames::*, foreign, taken};

pub fn fragment_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, field) in [("first", 0x2000), ("middle", 0x2001), ("last", 0x0001), ("far", 0x1fff), ("flagged", 0x6000)]
    {
        let to = |destination| ipv4(destination, TCP, field, &[], &ports(PORT));
        let needs = if field & 0x1fff == 0 { 38 } else { 34 };
        cases.push(taken(format!("the {what} fragment to the shared port"), to(SHARED_V4), "redirected_shared", needs));
        cases.push(foreign(format!("the {what} fragment to a foreign address"), to(FOREIGN_V4)));
        cases.push(taken(format!("the {what} fragment to the own address"), to(OWN_V4), "redirected_own", 34));
    }
    for (protocol, port, other) in [(TCP, PORT, UDP_PORT), (UDP, UDP_PORT, PORT)] {
        let what = |which: &str| format!("the {which} fragment of protocol {protocol}");
        // Packets with numbers of their own, so that nothing is known of one by another.
        let v4 = |id, field, port| {
            let mut frame = ipv4(SHARED_V4, protocol, field, &[], &ports(port));
            frame[19] = id;
            frame
        };
        let v6 = |id, offset, port| {
            ipv6(SHARED_V6, IPV6_FRAGMENT, &[&[protocol, 0, 0, offset, 0, 0, protocol, id][..], &ports(port)].concat())
        };
        cases.push(foreign(what("early"), v4(80, 0x0001, port)));
        cases.push(foreign(what("early IPv6"), v6(80, 9, port)));
        cases.push(foreign(what("other port's first"), v4(81, 0x2000, other)));
        cases.push(foreign(what("other port's last"), v4(81, 0x0001, port)));
        cases.push(foreign(what("other port's first IPv6"), v6(81, 1, other)));
        cases.push(foreign(what("other port's last IPv6"), v6(81, 8, port)));
        cases.push(taken(what("first"), v4(82, 0x2000, port), "redirected_shared", 38));
        cases.push(taken(what("last"), v4(82, 0x0001, other), "redirected_shared", 34));
        cases.push(taken(what("first IPv6"), v6(82, 1, port), "redirected_shared", 66));
        cases.push(taken(what("last IPv6"), v6(82, 8, other), "redirected_shared", 62));
        cases.push(foreign(what("next packet's"), v4(83, 0x0001, port)));
        cases.push(foreign(what("next packet's IPv6"), v6(83, 8, port)));
    }
    let fragment = [&[TCP, 0, 0, 1, 0, 0, 0, 9][..], &ports(PORT)].concat();
    cases.push(taken(
        "an IPv6 fragment to the own address",
        ipv6(OWN_V6, IPV6_FRAGMENT, &fragment),
        "redirected_own",
        54,
    ));
    cases
}
