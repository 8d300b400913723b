use super::*;

#[test]
fn releases_of_many_makers_are_parsed() {
    let cases = [
        ("6.1.0-28-amd64", (6, 1, 0)),
        ("5.15.0-1084-aws", (5, 15, 0)),
        ("6.17-rc2", (6, 17, 0)),
        ("6.16.12", (6, 16, 12)),
        ("6.18.44-vm", (6, 18, 44)),
        ("5.4.0+", (5, 4, 0)),
    ];
    for (release, (major, minor, patch)) in cases {
        assert_eq!(KernelVersion::parse(release), Some(KernelVersion::new(major, minor, patch)), "{release}");
    }
    for nonsense in ["", "linux", "6", "6.x", ".6.1"] {
        assert_eq!(KernelVersion::parse(nonsense), None, "{nonsense}");
    }
}

#[test]
fn versions_are_ordered_by_number_and_not_by_letter() {
    assert!(KernelVersion::new(5, 4, 300) < KernelVersion::new(5, 15, 0));
    assert!(KernelVersion::new(5, 15, 0) < KernelVersion::new(6, 1, 0));
}

#[test]
fn missing_rights_are_named() {
    let none =
        Rights { net_admin: false, net_raw: false, bpf: false, perfmon: false, sys_admin: false, ipc_lock: false };
    assert_eq!(none.missing_for_serving(), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]);
    let enough = Rights { net_admin: true, net_raw: true, bpf: true, perfmon: true, ..none };
    assert!(enough.missing_for_serving().is_empty());
}

#[test]
fn the_running_kernel_tells_its_version() {
    let (version, release) = KernelVersion::running().unwrap();
    assert!(release.starts_with(&format!("{}.{}", version.major, version.minor)));
}
