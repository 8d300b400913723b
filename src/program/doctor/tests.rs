use super::*;
use crate::{
    host::{
        Link,
        ethtool::{Feature, Features, Rss, plain_wire},
        far_end::FarEnd,
        rights::{AfXdp, KernelVersion, Rights},
    },
    xdp::{CopyMode, XdpMode},
};

const ALL_RIGHTS: Rights =
    Rights { net_admin: true, net_raw: true, bpf: true, perfmon: true, sys_admin: true, ipc_lock: true };

fn nic() -> Link {
    Link {
        index: 2,
        name: "eth0".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1_500,
        up: true,
        running: true,
        driver: Some("ixgbe".to_owned()),
        rx_queues: 4,
        tx_queues: 4,
        ..Link::default()
    }
}

fn veth() -> Link {
    Link { kind: Some("veth".to_owned()), driver: Some("veth".to_owned()), ..nic() }
}

fn features(on: &[&str]) -> Features {
    on.iter().map(|name| ((*name).to_owned(), Feature { on: true, changeable: true })).collect()
}

/// Each line that is not ok must say what to do.
#[track_caller]
fn expect(line: Line, verdict: Verdict, part: &str) {
    assert_eq!(line.verdict, verdict, "{line}");
    assert_eq!(line.remedy.is_some(), verdict != Verdict::Ok, "{line}");
    assert!(line.to_string().contains(part), "{part} is missing in\n{line}");
}

#[test]
fn rights() {
    expect(machine::capabilities(&ALL_RIGHTS), Verdict::Ok, "CAP_BPF");
    expect(machine::capabilities(&Rights { bpf: false, ..ALL_RIGHTS }), Verdict::Fail, "CAP_BPF missing");
    let without_perfmon = machine::capabilities(&Rights { perfmon: false, ..ALL_RIGHTS });
    expect(without_perfmon, Verdict::Fail, "`setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock+ep`");
    expect(machine::capabilities(&Rights { sys_admin: false, ..ALL_RIGHTS }), Verdict::Warn, "labs");
}

#[test]
fn kernels() {
    for (release, verdict, part) in [
        ("5.10.0-28-amd64", Verdict::Fail, "too old"),
        ("5.15.0-91-generic", Verdict::Ok, "5.15"),
        ("6.15.11", Verdict::Ok, "6.15"),
        ("6.16.9", Verdict::Warn, "panic"),
        ("6.17.2", Verdict::Warn, "0ebc27a4c67d"),
        ("6.18.0", Verdict::Ok, "6.18"),
    ] {
        expect(machine::kernel(KernelVersion::parse(release).unwrap(), release), verdict, part);
    }
}

#[test]
fn sockets_and_memory() {
    expect(machine::af_xdp(&AfXdp::Available), Verdict::Ok, "can be opened");
    expect(machine::af_xdp(&AfXdp::Missing), Verdict::Fail, "CONFIG_XDP_SOCKETS");
    expect(machine::af_xdp(&AfXdp::NotPermitted), Verdict::Fail, "CAP_NET_RAW");
    expect(machine::memlock(None, false), Verdict::Ok, "unlimited");
    expect(machine::memlock(Some(8 << 20), true), Verdict::Ok, "CAP_IPC_LOCK");
    expect(machine::memlock(Some(8 << 20), false), Verdict::Warn, "ulimit -l");
    expect(machine::memlock(Some(1 << 30), false), Verdict::Ok, "1024 MiB");
    expect(machine::bpf_jit(Some("0")), Verdict::Warn, "bpf_jit_enable=1");
    expect(machine::bpf_jit(Some("1")), Verdict::Ok, "on");
}

#[test]
fn link_state_and_mtu() {
    expect(interface::state(&nic()), Verdict::Ok, "up");
    expect(interface::state(&Link { up: false, running: false, ..nic() }), Verdict::Fail, "ip link set dev eth0 up");
    expect(interface::state(&Link { running: false, ..nic() }), Verdict::Warn, "cable");
    expect(interface::state(&Link { running: false, ..veth() }), Verdict::Warn, "peer");
    expect(interface::mtu(&Link { mtu: 9_000, ..nic() }), Verdict::Ok, "9000");
    expect(interface::mtu(&Link { mtu: 61_418, ..nic() }), Verdict::Ok, "61418");
    expect(interface::mtu(&Link { mtu: 61_419, ..nic() }), Verdict::Fail, "mtu 61418");
}

#[test]
fn queues_are_spread_over() {
    let table = |queues: &[u32]| Rss { indirection: queues.to_vec(), ..Rss::default() };
    expect(interface::rss(&nic(), Some(&table(&[0, 1, 2, 3, 0, 1, 2, 3]))), Verdict::Ok, "all 4");
    expect(interface::rss(&nic(), Some(&table(&[0, 1, 0, 1]))), Verdict::Warn, "only 2 of 4");
    expect(interface::rss(&nic(), Some(&table(&[]))), Verdict::Warn, "ethtool -x eth0");
    expect(interface::rss(&nic(), None), Verdict::Warn, "ethtool -x eth0");
    expect(interface::rss(&Link { rx_queues: 1, ..nic() }, None), Verdict::Ok, "one queue");
    expect(interface::rss(&veth(), None), Verdict::Ok, "sender");
}

#[test]
fn offloads_that_hide_something() {
    expect(interface::offloads(&nic(), &features(&["rx-gro"])), Verdict::Ok, "none");
    expect(interface::offloads(&nic(), &features(&["rx-lro"])), Verdict::Warn, "lro off");
    expect(interface::offloads(&nic(), &features(&["rx-vlan-hw-parse"])), Verdict::Warn, "rxvlan off");
    expect(interface::offloads(&veth(), &features(&["rx-vlan-hw-parse"])), Verdict::Ok, "none");
}

#[test]
fn a_peer_has_to_send_plain_frames() {
    let peer = |on: &[&str], namespace: Option<&str>| FarEnd {
        name: "veth9".to_owned(),
        namespace: namespace.map(str::to_owned),
        features: features(on),
        has_xdp: false,
    };
    expect(peer::judge(&peer(&["rx-gro"], Some("blue"))), Verdict::Ok, "veth9 in blue");
    let checksums = peer::judge(&peer(&["tx-checksum-ip-generic", "rx-gro"], Some("blue")));
    expect(checksums, Verdict::Warn, "`ip netns exec blue ethtool -K veth9 tx off`");
    let all: Vec<_> = plain_wire().filter(|(_, on)| !on).map(|(name, _)| name).collect();
    expect(peer::judge(&peer(&all, None)), Verdict::Warn, "`ethtool -K veth9 tx off tso off gso off`");
}

#[test]
fn what_xdp_sends_arrives_or_the_remedy_is_named() {
    let peer = |features| FarEnd { name: "veth9".to_owned(), features, ..FarEnd::default() };
    let (gro, none) = (peer(features(&["rx-gro"])), peer(features(&[])));
    expect(peer::way(Some(true), None), Verdict::Ok, "arrives");
    expect(peer::way(None, Some(&gro)), Verdict::Ok, "arrives");
    expect(peer::way(Some(false), Some(&gro)), Verdict::Warn, "`ethtool -K veth9 gro off; ethtool -K veth9 gro on`");
    expect(peer::way(None, Some(&none)), Verdict::Warn, "neither GRO nor an XDP program");
    expect(peer::way(None, None), Verdict::Warn, "/run/netns");
}

#[test]
fn what_was_tried_is_judged_by_the_device() {
    expect(trial::judge_mode(&nic(), XdpMode::Native), Verdict::Ok, "native");
    expect(trial::judge_mode(&nic(), XdpMode::Generic), Verdict::Warn, "ixgbe refused");
    expect(trial::judge_merging(&nic(), true), Verdict::Ok, "as it is");
    expect(trial::judge_merging(&nic(), false), Verdict::Warn, "`ethtool -K eth0 gro off`");
    expect(trial::judge_copy(&nic(), CopyMode::ZeroCopy), Verdict::Ok, "shares");
    expect(trial::judge_copy(&nic(), CopyMode::Copy), Verdict::Warn, "copies");
    expect(trial::judge_copy(&veth(), CopyMode::Copy), Verdict::Ok, "veth");
    expect(interface::default_route(&Link { has_default_route: true, ..nic() }), Verdict::Warn, "another way in");
}

#[test]
fn a_report_is_as_bad_as_its_worst_line() {
    let report = examine(Some("no-such-link"), Trial::Forbidden);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.to_string().ends_with("in the way"));
    let machine_only = examine(None, Trial::Forbidden);
    assert_eq!(machine_only.interface, None);
    assert!(machine_only.lines.len() < report.lines.len());
}
