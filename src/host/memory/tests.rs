//! What a status says, and ours.

use super::*;

#[test]
fn resident_memory_is_read_from_the_status_of_a_process() {
    assert_eq!(resident_in("Name:\tx\nVmHWM:\t   200 kB\nVmRSS:\t    1234 kB\n"), Some(1_234 * 1_024));
    assert_eq!(resident_in("Name:\tkthreadd\n"), None);
    assert_eq!(resident_in("VmRSS:\t many kB\n"), None);
    assert!(resident("self") > Some(1 << 20));
    assert_eq!(resident("nobody"), None);
}

/// What may be used where these files say so.
fn available_with(files: &[(&str, &str)]) -> Option<u64> {
    available_by(|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned()))
}

#[test]
fn a_process_has_no_more_memory_than_the_machine_and_its_groups() {
    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       1000 kB\nMemFree:  10 kB\n");
    assert_eq!(available_with(&[]), None);
    assert_eq!(available_with(&[MACHINE]), Some(1_024_000));
    let second = ("/proc/self/cgroup", "0::/a/b\n");
    assert_eq!(available_with(&[MACHINE, second]), Some(1_024_000));
    assert_eq!(available_with(&[MACHINE, second, ("/sys/fs/cgroup/a/b/memory.max", "max\n")]), Some(1_024_000));
    assert_eq!(available_with(&[MACHINE, second, ("/sys/fs/cgroup/a/b/memory.max", "5000\n")]), Some(5_000));
    assert_eq!(available_with(&[MACHINE, second, ("/sys/fs/cgroup/a/memory.max", "4000\n")]), Some(4_000));
    let alone = ("/proc/self/cgroup", "0::/\n");
    assert_eq!(available_with(&[MACHINE, alone, ("/sys/fs/cgroup/memory.max", "3000\n")]), Some(3_000));
    let first = ("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:hugetlb,memory:/y\n1:name=systemd:/z\n");
    let limit = "/sys/fs/cgroup/memory/y/memory.limit_in_bytes";
    assert_eq!(available_with(&[MACHINE, first, (limit, "2000\n")]), Some(2_000));
    assert_eq!(available_with(&[MACHINE, first, (limit, "9223372036854771712\n")]), Some(1_024_000));
    assert!(available() > Some(1 << 20));
}
