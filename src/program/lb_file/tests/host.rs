//! Files that are right, but not on this machine.

use super::{GOOD, changed, good};
use crate::lb_file::Host;

fn host() -> Host {
    Host {
        interfaces: vec!["eth0".to_owned(), "lo".to_owned()],
        addresses: vec![
            ("127.0.0.1".parse().unwrap(), 8, "lo".to_owned()),
            ("198.18.0.2".parse().unwrap(), 24, "eth0".to_owned()),
            ("2001:2::2".parse().unwrap(), 64, "eth0".to_owned()),
        ],
        first_free_port: 1_024,
    }
}

#[track_caller]
fn said(was: &str, is: &str, expected: &str) {
    let text = changed(was, is);
    let faults = good(&text).check_host(&host()).unwrap_err();
    assert_eq!(faults.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), [expected], "{faults}");
    let (line, column) = faults.iter().next().unwrap().place.unwrap();
    let line = text.lines().nth(line - 1).unwrap();
    assert!(is.contains(&line[column - 1..]), "{faults}");
}

#[test]
fn what_a_machine_has_or_has_not() {
    good(GOOD).check_host(&host()).unwrap();
    said(
        "interface = \"eth0\"",
        "interfaces = [\"lo\", \"eth7\"]",
        "there is no interface `eth7` here, only eth0, lo: name one of these",
    );
    said(
        "address = \"198.18.0.80:443\"",
        "address = \"198.18.0.2:443\"",
        "the kernel has 198.18.0.2 and would answer for the service: run `ip address del 198.18.0.2/24 dev eth0`, or \
        give another",
    );
    said(
        "address = \"198.18.0.11\"",
        "address = \"2001:2::2\"",
        "2001:2::2 is this host's own, on eth0, and packets would come back: let the backend run elsewhere",
    );
    said(
        "interface = \"eth0\"",
        "interface = \"eth0\"\nmetrics = \"198.18.0.3:9920\"",
        "this host has no address 198.18.0.3, which `metrics` needs to be the kernel's: give one of its own, such as \
        127.0.0.1",
    );
    said(
        "interface = \"eth0\"",
        "interface = \"eth0\"\nmetrics = \"127.0.0.1:1023\"",
        "`metrics` at port 1023 would take CAP_NET_BIND_SERVICE, which a balancer does not keep: give a port from 1024 on",
    );
    for fine in ["127.0.0.53:1024", "0.0.0.0:9920", "[::]:9920", "198.18.0.2:9920"] {
        let text = changed("interface = \"eth0\"", &format!("interface = \"eth0\"\nmetrics = \"{fine}\""));
        good(&text).check_host(&host()).unwrap();
    }
}

#[test]
fn what_survives_needs_a_bpf_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().display();
    let said = |more: &str| {
        let text = changed("interface = \"eth0\"", &format!("interface = \"lo\"\npins = \"{there}\"\n{more}"));
        good(&text).check_this_host(|_| {}).err().map(|faults| faults.to_string()).unwrap_or_default()
    };
    let expected = format!(
        "lb.toml:3:11: `survive` needs a BPF file system, and {there} is in none: `mount -t bpf bpf /sys/fs/bpf`, or name a folder of \
         another one by `pins`\n    survive = \"30s\"\n              ^^^^^"
    );
    assert_eq!(said("survive = \"30s\""), expected);
    assert_eq!(said(""), "");
}

#[test]
fn this_machine_has_a_loopback_interface() {
    let host = Host::read().unwrap();
    assert!(host.interfaces.iter().any(|name| name == "lo"), "{host:?}");
    assert!(host.interfaces.is_sorted());
    assert!(host.addresses.iter().all(|(.., interface)| host.interfaces.contains(interface)), "{host:?}");
}
