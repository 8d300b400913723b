//! Where the stack stands on its link: which VLAN is its own.

use super::*;
use crate::wire::{
    ArpPacket, arp, ethernet,
    ethernet::{VlanTag, VlanTags},
};

fn tags(list: &[(u16, u16)]) -> VlanTags {
    let tags = list.iter().map(|&(protocol, control)| VlanTag { protocol, control });
    tags.fold(VlanTags::default(), |tags, tag| tags.with(tag).expect("at most two"))
}

fn both() -> [Bench; 2] {
    [Bench::new(), Bench::new().over_ipv6()]
}

impl Bench {
    fn serve_vlan(&mut self, id: u16) {
        let mut served = Self::with(StackConfig { vlan: Some(id), ..StackConfig::default() });
        std::mem::swap(&mut self.stack, &mut served.stack);
    }

    fn ping(&mut self) {
        let kind = if self.ours.is_ipv4() { 8 } else { 128 };
        self.send_icmp(255, &[kind, 0, 0, 0, 1, 2, 3, 4]);
    }

    fn ask_for_us(&mut self) {
        let (IpAddr::V4(target_ip), IpAddr::V4(sender_ip)) = (self.ours, self.theirs) else {
            let IpAddr::V6(target) = self.ours else { unreachable!("not IPv4") };
            return self.send_icmp(255, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat());
        };
        let target_mac = MacAddress::default();
        let request =
            ArpPacket { operation: arp::Operation::Request, sender_mac: THEIRS, sender_ip, target_mac, target_ip };
        let mut frame = vec![0; self.link.len() + arp::PACKET_LEN];
        request.write(self.link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        self.stack.handle_frame(self.now, &frame);
    }

    /// A packet of a protocol that nobody speaks, which IPv6 complains of.
    fn send_unknown_protocol(&mut self) {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Udp);
        let mut frame = vec![0; self.link.len() + ip.len() + 8];
        ip.write(8, self.link.write(ip.ether_type(), &mut frame));
        let at = self.link.len() + if self.ours.is_ipv4() { 9 } else { 6 };
        frame[at] = 132;
        if self.ours.is_ipv4() {
            let header = self.link.len()..self.link.len() + 20;
            frame[at + 1..at + 3].fill(0);
            let sum = wire::checksum::Checksum::of(&frame[header]).field();
            frame[at + 1..at + 3].copy_from_slice(&sum);
        }
        self.stack.handle_frame(self.now, &frame);
    }
}

#[test]
fn what_is_of_another_vlan_is_refused_whatever_it_is() {
    let others: [&[(u16, u16)]; 5] = [
        &[(0x8100, 5)],
        &[(0x8100, 0xffff)],
        &[(0x88a8, 0)],
        &[(0x8100, 0), (0x8100, 0)],
        &[(0x88a8, 5), (0x8100, 0x200a)],
    ];
    for mut bench in both() {
        for (number, others) in (1..).zip(others) {
            bench.link.vlan = tags(others);
            bench.send_syn(TcpOptions::default());
            bench.ping();
            bench.ask_for_us();
            bench.send_unknown_protocol();
            assert_eq!(bench.frames(), Vec::<Vec<u8>>::new(), "{others:x?}");
            // The last one is refused for its protocol, and not complained of for its VLAN.
            assert_eq!(bench.drops(DropReason::OtherVlan), 3 * number);
            assert_eq!(bench.drops(DropReason::UnknownProtocol), number);
        }
    }
}

#[test]
fn a_tag_without_a_vlan_is_a_priority_and_comes_back() {
    for mut bench in both() {
        bench.link.vlan = tags(&[(0x8100, 0xa000)]);
        bench.send_syn(TcpOptions::default());
        assert_eq!(bench.sent_one().link.vlan, bench.link.vlan);
        bench.ping();
        bench.ask_for_us();
        for frame in bench.frames() {
            assert_eq!(frame[12..16], [0x81, 0x00, 0xa0, 0x00]);
        }
        assert_eq!(bench.stack.stats().neighbour_replies, 1);
    }
}

#[test]
fn a_stack_in_a_vlan_heeds_its_tag_and_speaks_by_it() {
    for mut bench in both() {
        bench.serve_vlan(5);
        for others in [&[][..], &[(0x8100, 0)], &[(0x8100, 6)], &[(0x88a8, 5)], &[(0x8100, 5), (0x8100, 5)]] {
            bench.link.vlan = tags(others);
            bench.send_syn(TcpOptions::default());
            assert_eq!(bench.frames().len(), 0, "{others:x?}");
        }
        assert_eq!(bench.drops(DropReason::OtherVlan), 5);
        // Whatever priority it has.
        bench.link.vlan = tags(&[(0x8100, 0xe005)]);
        bench.send_syn(TcpOptions::default());
        assert_eq!(bench.sent_one().link.vlan, bench.link.vlan);
        // What answers no frame has the tag, too.
        bench.begin();
        let question = bench.frames().remove(0);
        assert_eq!(question[12..16], [0x81, 0x00, 0x00, 0x05]);
    }
}
