use super::{arp, can_cross, mtu, reverse_path, senders, state, vip_nowhere, vip_on_link};
use crate::{bpf::BackendSettings, host::Link};

fn link(mtu: u32) -> Link {
    Link { name: "eth0.5".to_owned(), mtu, up: true, ..Link::default() }
}

fn settings(tunnel_ends: &[&str]) -> BackendSettings {
    BackendSettings {
        tunnel_ends: tunnel_ends.iter().map(|end| end.parse().unwrap()).collect(),
        ..BackendSettings::default()
    }
}

#[test]
fn who_may_send_is_said_or_advised() {
    assert!(senders(&settings(&[])).unwrap().to_string().contains("name the balancers with --from"));
    let senders_known = BackendSettings { senders: vec![("10.0.0.2".parse().unwrap(), 32)], ..settings(&[]) };
    assert_eq!(senders(&senders_known), None);
}

#[test]
fn arp_is_silent_by_the_settings_that_make_it_so() {
    for (ignore, announce) in [(1, 2), (2, 2), (8, 3)] {
        assert_eq!(arp(&link(1_500), ignore, announce), None);
    }
    for ignore in [0, 3, 4, 9] {
        let remedy = arp(&link(1_500), ignore, 2).unwrap().remedy;
        assert!(remedy.contains("`sysctl -w net/ipv4/conf/eth0.5/arp_ignore=1`"), "{remedy}");
        assert!(!remedy.contains("arp_announce"), "{remedy}");
    }
    let remedy = arp(&link(1_500), 0, 1).unwrap().remedy;
    assert!(remedy.contains("arp_ignore=1` and `sysctl -w net/ipv4/conf/eth0.5/arp_announce=2`"), "{remedy}");
}

#[test]
fn only_the_strict_reverse_path_filter_is_in_the_way() {
    assert_eq!((reverse_path(&link(1_500), 0), reverse_path(&link(1_500), 2)), (None, None));
    let remedy = reverse_path(&link(1_500), 1).unwrap().remedy;
    assert_eq!(remedy, "run `sysctl -w net/ipv4/conf/eth0.5/rp_filter=2`");
}

#[test]
fn a_link_that_takes_full_packets_in_their_tunnel_is_left_alone() {
    let (ipv4, both) = (settings(&["10.0.0.2"]), settings(&["10.0.0.2", "fd00::2"]));
    assert_eq!((mtu(&link(1_528), &ipv4), mtu(&link(1_548), &both)), (None, None));
    let advice = mtu(&link(1_527), &ipv4).unwrap().to_string();
    assert!(advice.contains("up to 1528") && advice.contains("mtu 1528") && advice.contains("advmss 1439"), "{advice}");
    assert!(mtu(&link(1_547), &both).unwrap().remedy.contains("advmss 1439"));
}

#[test]
fn virtual_addresses_belong_on_the_loopback_interface() {
    let (v4, v6) = ("198.18.0.80".parse().unwrap(), "2001:2::80".parse().unwrap());
    assert!(vip_nowhere(v4).remedy.contains("`ip address add 198.18.0.80/32 dev lo`"));
    assert!(vip_nowhere(v6).remedy.contains("`ip address add 2001:2::80/128 dev lo`"));
    assert!(vip_on_link(v4, &link(1_500)).remedy.contains("dev lo"));
    let down = Link { up: false, ..link(1_500) };
    assert!(state(&down).unwrap().remedy.contains("`ip link set dev eth0.5 up`"));
    assert_eq!(state(&link(1_500)), None);
}

#[test]
fn this_kernel_is_tried() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: programs are loaded by root");
        return;
    }
    // No kernel that these tests run on is older than Linux 6.3, which learnt it.
    assert!(can_cross().unwrap());
}
