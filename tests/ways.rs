//! Ways to destinations, followed through what the kernel does with its routes, links and neighbours. Needs root.

#[path = "common/library.rs"]
mod common;

use caps::{CapSet, Capability};
use common::is_root;
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use std::{
    io::Write,
    net::IpAddr,
    os::fd::AsFd,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use xskip::host::{
    netns::{Namespace, Registry},
    way::{NoWay, ORIGINATOR, Way, Ways},
};

/// How long something may take that takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];

/// Two namespaces and a veth pair between them, `way0` here and `way1` there. They go when the value is dropped.
struct Pair {
    here: String,
    there: String,
}

impl Pair {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ways-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { here: format!("{name}-a"), there: format!("{name}-b") };
        let registry = Registry::lock().unwrap();
        registry.create(&pair.here).unwrap();
        registry.create(&pair.there).unwrap();
        drop(registry);
        pair.here(&format!("link add way0 address 02:00:00:00:00:01 type veth peer way1 netns {}", pair.there));
        pair.there("link set way1 address 02:00:00:00:00:02");
        for (side, end) in [(&pair.here, 1), (&pair.there, 2)] {
            let link = format!("way{}", end - 1);
            ip(side, &format!("address add 198.18.0.{end}/24 dev {link}"));
            ip(side, &format!("address add 2001:2::{end}/64 dev {link} nodad"));
            ip(side, "link set lo up");
            ip(side, &format!("link set {link} up"));
            // Who is silent is found to be in a fifth of a second.
            for version in ["ipv4", "ipv6"] {
                set(side, &format!("net.{version}.neigh.{link}.retrans_time_ms"), "70");
                set(side, &format!("net.{version}.neigh.{link}.delay_first_probe_time"), "1");
            }
        }
        pair
    }

    /// Has `ip` do something here.
    fn here(&self, arguments: &str) -> String {
        ip(&self.here, arguments)
    }

    fn there(&self, arguments: &str) -> String {
        ip(&self.there, arguments)
    }

    /// Runs a test here.
    fn run(&self, test: impl FnOnce(&Self) + Send) {
        Namespace::open(&self.here).unwrap().run(|| test(self)).unwrap();
    }

    /// The neighbours here, as `ip` shows them, but for multicast groups and ages.
    fn neighbours(&self) -> Vec<String> {
        let all = self.here("-d neigh show");
        let mut all: Vec<_> = all.lines().filter(|line| !line.starts_with("ff02")).map(str::to_owned).collect();
        all.sort();
        all
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Ok(registry) = Registry::lock() {
            registry.delete(&self.here).ok();
            registry.delete(&self.there).ok();
        }
    }
}

#[track_caller]
fn ip(namespace: &str, arguments: &str) -> String {
    let output = Command::new("ip").args(["-n", namespace]).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn set(namespace: &str, name: &str, value: &str) {
    let setting = format!("{name}={value}");
    let output =
        Command::new("ip").args(["netns", "exec", namespace, "sysctl", "-q", "-w", &setting]).output().unwrap();
    assert!(output.status.success(), "{setting}: {}", String::from_utf8_lossy(&output.stderr));
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Waits, as a caller does, until something holds of a destination.
#[track_caller]
fn wait(ways: &mut Ways, of: &str, mut is_so: impl FnMut(&Result<Way, NoWay>) -> bool) {
    let (of, patience) = (address(of), Instant::now() + PATIENCE);
    loop {
        ways.poll(Instant::now()).unwrap();
        let way = ways.way(of).unwrap_or_else(|| panic!("nothing was told of {of}"));
        if is_so(way) {
            return;
        }
        assert!(Instant::now() < patience, "{of}: waited in vain, {way:?}");
        let due = ways.deadline().map_or(patience, |due| due.min(patience));
        let limit = TimeSpec::from(due.saturating_duration_since(Instant::now()));
        ppoll(&mut [PollFd::new(ways.as_fd(), PollFlags::POLLIN)], Some(limit), None).unwrap();
    }
}

/// Waits for a way that is like this.
#[track_caller]
fn wait_way(ways: &mut Ways, of: &str, is_so: impl Fn(&Way) -> bool) -> Way {
    wait(ways, of, |way| way.as_ref().is_ok_and(&is_so));
    ways.way(address(of)).unwrap().clone().unwrap()
}

#[track_caller]
fn wait_ok(ways: &mut Ways, of: &str) -> Way {
    wait_way(ways, of, |_| true)
}

/// Waits until there is none, for a reason like this.
#[track_caller]
fn wait_why(ways: &mut Ways, of: &str, is_so: impl Fn(&NoWay) -> bool) -> NoWay {
    wait(ways, of, |way| way.as_ref().is_err_and(&is_so));
    ways.way(address(of)).unwrap().clone().unwrap_err()
}

fn has_failed(why: &NoWay) -> bool {
    matches!(why, NoWay::Failed(_))
}

fn watching(of: &[&str]) -> Ways {
    let mut ways = Ways::open().unwrap();
    ways.watch(&of.iter().map(|of| address(of)).collect::<Vec<_>>());
    ways
}

#[test]
fn neighbours_are_found_and_given_back() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let before = pair.neighbours();
        let mut ways = watching(&["198.18.0.2", "2001:2::2"]);
        for (there, here) in [("198.18.0.2", "198.18.0.1"), ("2001:2::2", "2001:2::1")] {
            let way = wait_ok(&mut ways, there);
            let expected = Way {
                ifindex: way.ifindex,
                interface: "way0".to_owned(),
                next_hop: address(there),
                next_mac: THEIR_MAC,
                our_mac: OUR_MAC,
                mtu: 1_500,
                source: address(here),
            };
            assert_eq!(way, expected);
            assert!(pair.here(&format!("-d neigh get {there} dev way0")).contains(&format!("proto {ORIGINATOR}")));
        }
        assert!(ways.poll(Instant::now()).unwrap().is_empty(), "nothing is told twice");
        drop(ways);
        assert_eq!(pair.neighbours(), before);
    });
}

#[test]
fn what_was_there_before_stays() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        pair.here("neigh add 198.18.0.2 dev way0 lladdr 02:00:00:00:00:02 nud reachable");
        pair.here("neigh add 198.18.0.7 dev way0 lladdr 02:00:00:00:00:07 nud permanent");
        pair.here("neigh add 198.18.0.8 dev way0 lladdr 02:00:00:00:00:08 nud stale extern_learn");
        pair.here("neigh add 198.18.0.9 dev way0 managed");
        let kept = ["198.18.0.7", "198.18.0.8", "198.18.0.9"];
        let show = |pair: &Pair| kept.map(|of| pair.here(&format!("-d neigh get {of} dev way0")));
        let mut ways = watching(&["198.18.0.2", "198.18.0.7", "198.18.0.8", "198.18.0.9"]);
        assert_eq!(wait_ok(&mut ways, "198.18.0.7").next_mac, [2, 0, 0, 0, 0, 7]);
        assert_eq!(wait_ok(&mut ways, "198.18.0.8").next_mac, [2, 0, 0, 0, 0, 8]);
        wait_why(&mut ways, "198.18.0.9", has_failed);
        assert!(pair.here("-d neigh get 198.18.0.2 dev way0").contains("managed"));
        let before = show(pair);
        drop(ways);
        assert_eq!(show(pair).map(|entry| entry.contains("managed")), [false, false, true]);
        assert_eq!(show(pair)[..2], before[..2]);
        let left = pair.here("-d neigh get 198.18.0.2 dev way0");
        assert!(left.contains("lladdr 02:00:00:00:00:02") && !left.contains("managed"), "{left}");
    });
}

#[test]
fn one_that_is_watched_no_longer_is_given_back() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        pair.here("route add 198.51.100.0/24 via 198.18.0.2");
        let mut ways = watching(&["198.51.100.1", "198.51.100.2", "2001:2::2"]);
        // Two behind one gateway share it.
        for of in ["198.51.100.1", "198.51.100.2"] {
            assert_eq!(wait_ok(&mut ways, of).next_hop, address("198.18.0.2"));
        }
        wait_ok(&mut ways, "2001:2::2");
        ways.watch(&[address("198.51.100.2"), address("2001:2::2")]);
        assert!(ways.poll(Instant::now()).unwrap().is_empty());
        assert!(pair.here("-d neigh get 198.18.0.2 dev way0").contains("managed"));
        assert!(ways.way(address("198.51.100.1")).is_none());
        ways.watch(&[address("2001:2::2")]);
        ways.poll(Instant::now()).unwrap();
        assert!(!pair.neighbours().iter().any(|neighbour| neighbour.starts_with("198.18.0.2")));
        assert!(pair.here("-d neigh get 2001:2::2 dev way0").contains("managed"));
    });
}

#[test]
fn a_gateway_may_be_of_the_other_version() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        pair.here("route add 198.51.100.0/24 via inet6 2001:2::2 mtu 1400");
        pair.here("-6 route add 2001:db8::/32 via 2001:2::2 mtu 1300");
        let mut ways = watching(&["198.51.100.1", "2001:db8::1"]);
        let way = wait_ok(&mut ways, "198.51.100.1");
        assert_eq!((way.next_hop, way.next_mac, way.mtu), (address("2001:2::2"), THEIR_MAC, 1_400));
        assert_eq!(way.source, address("198.18.0.1"));
        let way = wait_ok(&mut ways, "2001:db8::1");
        assert_eq!((way.next_hop, way.mtu, way.source), (address("2001:2::2"), 1_300, address("2001:2::1")));
        // The link's is smaller.
        pair.here("link set way0 mtu 1290");
        assert_eq!(wait_way(&mut ways, "198.51.100.1", |way| way.mtu != 1_400).mtu, 1_290);
        pair.here("link set way0 mtu 9000");
        assert_eq!(wait_way(&mut ways, "198.51.100.1", |way| way.mtu != 1_290).mtu, 1_400);
    });
}

#[test]
fn another_station_is_told_at_once() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        // It announces its address when it changes.
        set(&pair.there, "net.ipv4.conf.way1.arp_notify", "1");
        set(&pair.there, "net.ipv6.conf.way1.ndisc_notify", "1");
        let mut ways = watching(&["198.18.0.2", "2001:2::2"]);
        for of in ["198.18.0.2", "2001:2::2"] {
            assert_eq!(wait_ok(&mut ways, of).next_mac, THEIR_MAC);
        }
        pair.there("link set way1 address 02:00:00:00:00:03");
        for of in ["198.18.0.2", "2001:2::2"] {
            wait_way(&mut ways, of, |way| way.next_mac == OTHER_MAC);
        }
        // And so is another one of ours.
        pair.here("link set way0 address 02:00:00:00:00:04");
        for of in ["198.18.0.2", "2001:2::2"] {
            wait_way(&mut ways, of, |way| way.our_mac == [2, 0, 0, 0, 0, 4]);
        }
    });
}

#[test]
fn a_link_goes_down_and_comes_up() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let of = ["198.18.0.2", "2001:2::2"];
        let mut ways = watching(&of);
        of.iter().for_each(|of| drop(wait_ok(&mut ways, of)));
        // Without a carrier the routes stay, and neighbours are forgotten.
        pair.there("link set way1 down");
        for of in of {
            let why = wait_why(&mut ways, of, |_| true);
            assert_eq!(why, NoWay::LinkDown { interface: "way0".to_owned() });
        }
        pair.there("link set way1 up");
        pair.there("address replace 2001:2::2/64 dev way1 nodad");
        of.iter().for_each(|of| drop(wait_ok(&mut ways, of)));
        // Down, it loses its routes, without a word of IPv4's, and its IPv6 addresses.
        pair.here("link set way0 down");
        for of in of {
            wait_why(&mut ways, of, |why| *why == NoWay::NoRoute { errno: libc::ENETUNREACH });
        }
        pair.here("link set way0 up");
        pair.here("address replace 2001:2::1/64 dev way0 nodad");
        of.iter().for_each(|of| drop(wait_ok(&mut ways, of)));
        pair.here("link delete way0");
        for of in of {
            wait_why(&mut ways, of, |why| *why == NoWay::NoRoute { errno: libc::ENETUNREACH });
        }
    });
}

#[test]
fn one_that_never_answers_is_asked_for_again_and_again() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let before = pair.neighbours();
        set(&pair.here, "net.ipv4.neigh.way0.interval_probe_time_ms", "300");
        let mut ways = watching(&["198.18.0.5"]);
        let told = ways.poll(Instant::now()).unwrap();
        let [(of, Err(NoWay::Unresolved(silence)))] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*of, silence.next_hop, &silence.last), (address("198.18.0.5"), address("198.18.0.5"), &None));
        let since = silence.since;
        let why = wait_why(&mut ways, "198.18.0.5", has_failed);
        let NoWay::Failed(silence) = why else { panic!("{why:?}") };
        assert_eq!((silence.since, silence.last), (since, None));
        // The kernel goes on asking, so it is found when it comes.
        pair.there("address add 198.18.0.5/24 dev way1");
        assert_eq!(wait_ok(&mut ways, "198.18.0.5").next_mac, THEIR_MAC);
        // And when it goes, its last way is there.
        pair.there("address del 198.18.0.5/24 dev way1");
        set(&pair.here, "net.ipv4.neigh.way0.base_reachable_time_ms", "100");
        pair.here("neigh replace 198.18.0.5 dev way0 lladdr 02:00:00:00:00:02 nud probe");
        let why = wait_why(&mut ways, "198.18.0.5", has_failed);
        assert_eq!(why.last().map(|way| way.next_mac), Some(THEIR_MAC));
        drop(ways);
        assert_eq!(pair.neighbours(), before);
    });
}

#[test]
fn a_neighbour_that_is_flushed_is_bridged_and_found_again() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let mut ways = watching(&["198.18.0.2"]);
        let way = wait_ok(&mut ways, "198.18.0.2");
        pair.here("neigh flush all");
        let why = wait_why(&mut ways, "198.18.0.2", |_| true);
        assert_eq!(why.last(), Some(&way), "{why:?}");
        assert_eq!(wait_ok(&mut ways, "198.18.0.2"), way);
        assert!(pair.here("-d neigh get 198.18.0.2 dev way0").contains("managed"));
        // Somebody else's change takes the flag away, and it is set again.
        pair.here("neigh replace 198.18.0.2 dev way0 lladdr 02:00:00:00:00:02 nud reachable");
        assert!(!pair.here("-d neigh get 198.18.0.2 dev way0").contains("managed"));
        wait(&mut ways, "198.18.0.2", |_| pair.here("-d neigh get 198.18.0.2 dev way0").contains("managed"));
    });
}

#[test]
fn routes_come_and_go() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let of = "203.0.113.1";
        pair.there("address add 198.18.0.3/24 dev way1");
        let mut ways = watching(&[of]);
        let no_route = |errno| move |why: &NoWay| *why == NoWay::NoRoute { errno };
        let by = |hop: &'static str| move |way: &Way| way.next_hop == address(hop);
        wait_why(&mut ways, of, no_route(libc::ENETUNREACH));
        pair.here("route add default via 198.18.0.2");
        wait_way(&mut ways, of, by("198.18.0.2"));
        pair.here("route add 203.0.113.0/24 via 198.18.0.3 src 198.18.0.1");
        wait_way(&mut ways, of, by("198.18.0.3"));
        // The gateway that is needed no longer is given back.
        assert!(!pair.neighbours().iter().any(|neighbour| neighbour.starts_with("198.18.0.2 ")));
        pair.here("route replace 203.0.113.0/24 via 198.18.0.2");
        wait_way(&mut ways, of, by("198.18.0.2"));
        for (kind, errno) in
            [("unreachable", libc::EHOSTUNREACH), ("prohibit", libc::EACCES), ("blackhole", libc::EINVAL)]
        {
            pair.here(&format!("route add {kind} 203.0.113.1/32"));
            let why = wait_why(&mut ways, of, no_route(errno));
            assert_eq!(why.last(), None);
            pair.here("route del 203.0.113.1/32");
            wait_way(&mut ways, of, by("198.18.0.2"));
        }
        pair.here("rule add to 203.0.113.0/24 prohibit pref 10");
        wait_why(&mut ways, of, no_route(libc::EACCES));
        pair.here("rule del pref 10");
        wait_way(&mut ways, of, by("198.18.0.2"));
        // A group of next hops changes without its routes.
        pair.here("nexthop add id 7 via 198.18.0.2 dev way0");
        pair.here("route replace 203.0.113.0/24 nhid 7");
        wait_way(&mut ways, of, by("198.18.0.2"));
        pair.here("nexthop replace id 7 via 198.18.0.3 dev way0");
        wait_way(&mut ways, of, by("198.18.0.3"));
    });
}

/// Sends a packet of 1,480 octets of this protocol by no socket that could hear of it.
const SEND: &str = r#"
import socket, struct, sys
source, destination, protocol = sys.argv[1], sys.argv[2], int(sys.argv[3])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("way0", 0))
macs = bytes.fromhex("020000000002020000000001")
if ":" in source:
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    packet = struct.pack("!IHBB", 6 << 28, 1440, protocol, 64) + ends
    link.send(macs + b"\x86\xdd" + packet + bytes(1440))
else:
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 1480, 1, 0x4000, 64, protocol, 0) + ends
    total = sum(struct.unpack("!10H", header))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack("!H", 0xffff - total) + header[12:]
    link.send(macs + b"\x08\x00" + header + bytes(1460))
"#;

#[test]
fn a_router_tells_how_much_fits_into_packets_that_no_socket_has_sent() {
    if !is_root() {
        return;
    }
    let pair = Pair::new();
    pair.there("link add far0 mtu 1400 type veth peer name far1");
    pair.there("link set far0 up");
    pair.there("link set far1 up");
    for (setting, version) in [("ip_forward", "ipv4"), ("conf.all.forwarding", "ipv6")] {
        set(&pair.there, &format!("net.{version}.{setting}"), "1");
    }
    let paths = [("198.18.0.1", "198.18.0.2", "198.18.1.", "24"), ("2001:2::1", "2001:2::2", "2001:2:0:1::", "64")];
    for (_, router, network, length) in paths {
        let prefix = format!("{network}0").replace("::0", "::");
        pair.here(&format!("route add {prefix}/{length} via {router}"));
        pair.there(&format!("route add {prefix}/{length} dev far0"));
        for host in [4, 17, 41] {
            let hop = format!("neighbour add {network}{host} lladdr 02:00:00:00:00:09 dev far0");
            pair.there(&hop);
        }
    }
    pair.run(|_| {
        let mut ways = Ways::open().unwrap();
        ways.hear_of([4, 17, 41]).unwrap();
        let all: Vec<String> =
            paths.iter().flat_map(|path| [4, 17, 41].map(|protocol| format!("{}{protocol}", path.2))).collect();
        ways.watch(&all.iter().map(|of| address(of)).collect::<Vec<_>>());
        for (source, _, network, _) in paths {
            for protocol in [4, 17, 41] {
                let backend = format!("{network}{protocol}");
                assert_eq!(wait_ok(&mut ways, &backend).mtu, 1_500);
                let sent = Command::new("python3").args(["-c", SEND, source, &backend, &protocol.to_string()]).output();
                let sent = sent.unwrap();
                assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
                wait_way(&mut ways, &backend, |way| way.mtu == 1_400);
            }
        }
        // Anybody could say so, so not too little is believed.
        pair.there("link set far0 mtu 1280");
        for (source, _, network, _) in paths {
            let backend = format!("{network}4");
            let sent = Command::new("python3").args(["-c", SEND, source, &backend, "4"]).output().unwrap();
            assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
            wait_way(&mut ways, &backend, |way| way.mtu == 1_328);
        }
    });
}

#[test]
fn this_host_groups_and_what_is_no_ethernet_are_no_destinations() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let own = ["198.18.0.1", "2001:2::1", "127.0.0.1", "::1"];
        let groups = ["198.18.0.255", "224.0.0.5", "ff02::5"];
        let mut ways = watching(&[&own[..], &groups[..], &["192.0.2.1"]].concat());
        own.iter().for_each(|of| drop(wait_why(&mut ways, of, |why| *why == NoWay::Local)));
        groups.iter().for_each(|of| drop(wait_why(&mut ways, of, |why| *why == NoWay::NotUnicast)));
        pair.here("tuntap add mode tun name tun0");
        pair.here("address add 192.0.2.2/24 dev tun0");
        pair.here("link set tun0 up");
        // Nobody has opened it: it has no carrier.
        wait_why(&mut ways, "192.0.2.1", |why| *why == NoWay::LinkDown { interface: "tun0".to_owned() });
        // An address of ours that comes makes a backend us, and the other way round.
        pair.here("address add 192.0.2.1/32 dev lo");
        wait_why(&mut ways, "192.0.2.1", |why| *why == NoWay::Local);
    });
}

#[test]
fn the_source_follows_our_addresses() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let mut ways = watching(&["198.18.0.2"]);
        assert_eq!(wait_ok(&mut ways, "198.18.0.2").source, address("198.18.0.1"));
        pair.here("address add 198.18.0.9/24 dev way0");
        pair.here("address del 198.18.0.1/24 dev way0");
        pair.here("address add 198.18.0.9/24 dev way0");
        wait_way(&mut ways, "198.18.0.2", |way| way.source == address("198.18.0.9"));
    });
}

#[test]
fn without_rights_neighbours_are_found_all_the_same() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        pair.here("route add 198.51.100.0/24 via 198.18.0.2");
        let mut ways = Ways::open().unwrap();
        // Of this thread, which ends with the test.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        ways.watch(&[address("198.51.100.1"), address("2001:2::2")]);
        for of in ["198.51.100.1", "2001:2::2"] {
            assert_eq!(wait_ok(&mut ways, of).next_mac, THEIR_MAC);
        }
        assert!(!pair.neighbours().iter().any(|neighbour| neighbour.contains("managed")));
        // What is forgotten is asked for again, perhaps before anybody hears of it.
        pair.here("neigh flush all");
        assert!(pair.here("neigh show 198.18.0.2 dev way0").is_empty());
        wait(&mut ways, "198.51.100.1", |way| {
            way.is_ok() && pair.here("neigh show 198.18.0.2 dev way0").contains("lladdr 02:00:00:00:00:02")
        });
    });
}

#[test]
fn what_was_lost_in_a_flood_of_events_is_asked_for() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        pair.here("route add 203.0.113.0/24 via 198.18.0.2");
        let mut ways = watching(&["198.18.0.2", "203.0.113.1", "203.0.113.2"]);
        assert_eq!(wait_ok(&mut ways, "203.0.113.1").next_mac, THEIR_MAC);
        // More than fits into the socket, while nobody reads.
        let mut batch = tempfile::NamedTempFile::new().unwrap();
        for number in 0..40_000u32 {
            let [_, b, c, d] = number.to_be_bytes();
            writeln!(batch, "route add 10.{b}.{c}.{d}/32 via 198.18.0.2").unwrap();
        }
        pair.here(&format!("-batch {}", batch.path().display()));
        pair.here("neigh replace 198.18.0.2 dev way0 lladdr 02:00:00:00:00:03 nud permanent");
        pair.here("route add blackhole 203.0.113.2/32");
        pair.here("link set way0 name way9");
        let told = ways.poll(Instant::now()).unwrap();
        let told = |of: &str| told.iter().find(|(told, _)| *told == address(of)).map(|(_, way)| way.clone()).unwrap();
        let way = told("203.0.113.1").unwrap();
        assert_eq!((way.next_mac, way.interface.as_str()), (OTHER_MAC, "way9"));
        assert_eq!(told("203.0.113.2"), Err(NoWay::NoRoute { errno: libc::EINVAL }));
        assert_eq!(told("198.18.0.2").unwrap().next_mac, OTHER_MAC);
    });
}

#[test]
fn what_a_process_left_that_was_killed_is_given_back_by_the_next() {
    if !is_root() {
        return;
    }
    Pair::new().run(|pair| {
        let before = pair.neighbours();
        let mut killed = watching(&["198.18.0.2"]);
        wait_ok(&mut killed, "198.18.0.2");
        std::mem::forget(killed);
        assert_ne!(pair.neighbours(), before);
        let mut ways = watching(&["198.18.0.2"]);
        wait_ok(&mut ways, "198.18.0.2");
        drop(ways);
        assert_eq!(pair.neighbours(), before);
    });
}
