//! Addresses that come and go while a server runs: who hears of it, and what becomes of those who use them. Needs root.

mod common;

use common::{
    is_root,
    scene::{self, Scene},
    wait_until,
};
use std::{
    env,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, TcpStream},
    process::Stdio,
    time::Duration,
};
use xskip_cli::{
    Server,
    app::{Echo, Http},
    host::{Link, confinement::Confinement},
    lab::{INTERFACE, Role},
    runtime::{AddressRefused, Cookies, Notice, Running, RuntimeError},
    stack::{Cidr, InUse, Ownership, RemoveAddressError},
};

/// Addresses that a server has later, of either version, and what a client calls them.
const LATER: [(&str, &str, &str); 2] =
    [("198.18.0.77/24", "198.18.0.77", "198.18.0.77"), ("2001:2::77/64", "2001:2::77", "[2001:2::77]")];
/// The group that is asked for the second one.
const GROUP: &str = "ff02::1:ff00:77";

fn http(server: Server) -> Running {
    server.port(80).start(Http::default).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn add(running: &Running, address: &str) -> Result<(), AddressRefused> {
    running.add_address(INTERFACE, address.parse().unwrap())
}

/// Every address with whose it is.
fn addresses(running: &Running) -> Vec<(String, Ownership)> {
    running.addresses().iter().map(|(_, local)| (local.cidr.to_string(), local.ownership)).collect()
}

/// What the client's kernel knows of a neighbour.
fn neighbour(scene: &Scene, address: &str) -> String {
    scene.sh(Role::Client, &format!("ip neigh show {address} dev veth0"))
}

#[test]
fn an_address_that_is_added_is_announced_and_served_and_one_that_is_removed_is_nobodys() {
    if !is_root() {
        return;
    }
    for cookies in [Cookies::Never, Cookies::Always] {
        let mut scene = Scene::new(2, |server| http(server.cookies(cookies)));
        let ours = scene.lab.server().run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
        let ours = ours.map(|octet| format!("{octet:02x}")).join(":");
        for (cidr, address, host) in LATER {
            assert!(!scene.get_from(host), "{host} before");
            // A neighbour that knows the address already, of somebody else, hears of it.
            scene.sh(Role::Client, &format!("ip neigh replace {address} lladdr 02:00:00:00:00:77 dev veth0 nud stale"));
            add(scene.running(), cidr).unwrap();
            wait_until("the neighbour has heard", || neighbour(&scene, address).contains(&ours));
            assert!((0..10).all(|_| scene.get_from(host)), "{host}, cookies {cookies:?}");
            scene.sh(Role::Client, &format!("ping -q -c 1 -W 5 {address}"));
        }
        assert!(scene.get(80), "the first one is as it was");
        assert_eq!(scene.running().addresses().len(), 3);
        let groups = |scene: &Scene| scene.sh(Role::Server, "ip maddr show dev veth0");
        assert!(groups(&scene).contains(GROUP));
        for (_, address, host) in LATER {
            assert_eq!(scene.running().remove_address(ip(address), InUse::Refuse).unwrap(), 0);
            scene.sh(Role::Client, "ip neigh flush dev veth0");
            assert!(!scene.get_from(host), "{host} afterwards");
            let known = neighbour(&scene, address);
            assert!(known.contains("FAILED") || known.contains("INCOMPLETE"), "nobody answers for {address}: {known}");
        }
        assert!(!groups(&scene).contains(GROUP));
        assert!(scene.get(80));
        // What was there comes back.
        add(scene.running(), LATER[0].0).unwrap();
        assert!(scene.get_from(LATER[0].2));
        let report = scene.stop();
        assert_eq!(report.verdicts.answered_syn > 0, cookies == Cookies::Always);
    }
}

#[test]
fn an_address_that_another_station_has_is_refused_and_nothing_has_changed() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    scene.sh(Role::Client, "ip addr add 198.18.0.77/24 dev veth0; ip addr add 2001:2::77/64 dev veth0 nodad");
    let theirs = scene.lab.client().run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
    let before = addresses(scene.running());
    for (cidr, asked, _) in LATER {
        match add(scene.running(), cidr).unwrap_err() {
            AddressRefused::Runtime(RuntimeError::AddressTaken { address, station, interface }) => {
                assert_eq!((address, station.0, &*interface), (ip(asked), theirs, INTERFACE));
            }
            other => panic!("{other}"),
        }
        let worker = scene.running().workers().get(1).unwrap();
        let said = worker.call(|cx| cx.listen(Some("198.18.0.77".parse().unwrap()), 8080).map(drop)).unwrap();
        assert!(said.unwrap_err().to_string().starts_with("198.18.0.77 is no address of this server"));
    }
    assert_eq!(addresses(scene.running()), before);
    assert!(!scene.sh(Role::Server, "ip maddr show dev veth0").contains(GROUP));
    assert!(scene.get(80));
    // Once it is free, it can be had.
    scene.sh(Role::Client, "ip addr del 198.18.0.77/24 dev veth0");
    add(scene.running(), LATER[0].0).unwrap();
    assert!(scene.get_from(LATER[0].2));
    scene.stop();
}

#[test]
fn an_address_that_was_added_is_defended() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, http);
    for (cidr, ..) in LATER {
        add(scene.running(), cidr).unwrap();
    }
    let said = |address: &str| {
        let notices = scene.running().notices();
        let is_it =
            |notice: &Notice| matches!(notice, Notice::AddressConflict { address: one, .. } if *one == ip(address));
        notices.iter().any(is_it)
    };
    assert!(LATER.iter().all(|(_, address, _)| !said(address)));
    scene.sh(
        Role::Client,
        "sysctl -qw net.ipv4.conf.veth0.arp_notify=1 net.ipv6.conf.veth0.ndisc_notify=1
         ip addr add 198.18.0.77/32 dev veth0; ip addr add 2001:2::77/128 dev veth0 nodad
         ip link set dev veth0 address 02:00:00:00:00:78",
    );
    for (_, address, _) in LATER {
        wait_until("the conflict is said", || said(address));
    }
}

#[test]
fn an_address_of_the_kernels_is_shared_from_now_on_and_then_it_is_the_kernels_alone() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    scene.sh(Role::Server, "ip addr replace 198.18.0.254/24 dev veth0; ip addr replace 2001:2::fe/64 dev veth0 nodad");
    scene.running().bind_udp(None, 5_000).unwrap();
    let workers = scene.running().workers().clone();
    let datagrams = || workers.iter().map(|worker| worker.snapshot().stats.datagrams_received).sum::<u64>();
    for (expected, (address, host)) in (1..).zip([("198.18.0.254", "198.18.0.254"), ("2001:2::fe", "[2001:2::fe]")]) {
        assert!(!scene.get_from(host), "the kernel has no such server");
        scene.running().add_shared_address(INTERFACE, ip(address)).unwrap();
        assert!((0..10).all(|_| scene.get_from(host)), "{host}");
        scene.running().listen(None, 8080).unwrap();
        assert!(scene.get_from(&format!("{host}:8080")), "a listener that comes later is there as well");
        scene.sh(Role::Client, &format!("ping -q -c 1 -W 5 {address}; echo > /dev/udp/{address}/5000"));
        wait_until("a datagram comes to a socket that was there before", || datagrams() == expected);
        scene.running().remove_address(ip(address), InUse::Refuse).unwrap();
        let refused = scene.sh(Role::Client, &format!("(exec 3<>/dev/tcp/{address}/80) 2>&1 || true"));
        assert!(refused.contains("Connection refused"), "by the kernel, which is asked again: {refused}");
        assert!(scene.running().unlisten(None, 8080).unwrap());
    }
    // What the kernel takes away and gives back is followed like what was there from the start.
    scene.running().add_shared_address(INTERFACE, ip("198.18.0.254")).unwrap();
    scene.sh(Role::Server, "ip addr del 198.18.0.254/24 dev veth0");
    let is_said =
        |running: &Running| running.notices().iter().any(|said| said.to_string().contains("198.18.0.254 no longer"));
    wait_until("it is said", || is_said(scene.running()));
    assert_eq!(scene.stop().stats().echo_replies, 0, "pings are the kernel's");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence_and_nothing_has_changed() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| http(server.gateway(ip("198.18.0.2"))));
    scene.sh(Role::Server, "ip addr replace 198.18.0.254/24 dev veth0");
    let running = scene.running();
    let before = addresses(running);
    let own = |address: &str| add(running, address).unwrap_err().to_string();
    let shared = |address: &str| running.add_shared_address(INTERFACE, ip(address)).unwrap_err().to_string();
    let removed = |address: &str| running.remove_address(ip(address), InUse::Reset).unwrap_err().to_string();
    let elsewhere = running.add_address("veth7", "198.18.0.77/24".parse().unwrap()).unwrap_err().to_string();
    let everybodys = Cidr { address: ip("224.0.0.1"), prefix: 24 };
    let everybodys = running.add_address(INTERFACE, everybodys).unwrap_err().to_string();
    for (said, words) in [
        (elsewhere, "veth7 is no interface of this server, which serves veth0"),
        (own("198.18.0.1/24"), "198.18.0.1 is served on veth0 already"),
        (shared("198.18.0.1"), "198.18.0.1 is served on veth0 already"),
        (own("198.18.0.254/24"), "the kernel already uses 198.18.0.254 on veth0: take it away"),
        (shared("198.18.0.77"), "the kernel does not have 198.18.0.77, on veth0 or elsewhere, so it cannot be shared"),
        (shared("127.0.0.1"), "127.0.0.1"),
        (own("198.18.0.2/24"), "198.18.0.2 is a router of this server's"),
        (own("198.18.0.255/23"), "198.18.0.255 is the broadcast address of 198.18.0.1/24"),
        (everybodys, "224.0.0.1 cannot be a host's address"),
        (removed("198.18.0.77"), "198.18.0.77 is no address of this stack"),
        (removed("198.18.0.1"), "198.18.0.1 is the last address of this server, which would serve nobody"),
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert_eq!(addresses(running), before);
    assert!(scene.get(80));
    scene.stop();
}

/// A connection that has said something and heard it again.
fn echo(address: &str) -> TcpStream {
    let mut peer = TcpStream::connect((ip(address), 7)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(b"good").unwrap();
    peer.read_exact(&mut [0; 4]).unwrap();
    peer
}

#[test]
fn an_address_in_use_stays_unless_its_connections_are_to_be_reset() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| server.port(7).start(|| Echo).unwrap());
    for (cidr, address, _) in LATER {
        add(scene.running(), cidr).unwrap();
        // On either worker.
        let (mut there, mut here) = scene
            .lab
            .client()
            .run(|| ((0..16).map(|_| echo(address)).collect::<Vec<_>>(), echo("198.18.0.1")))
            .unwrap();
        scene.running().bind_udp(Some(ip(address)), 5_000).unwrap();
        let refused = scene.running().remove_address(ip(address), InUse::Refuse).unwrap_err();
        let AddressRefused::Stays(RemoveAddressError::InUse { connections, sockets, .. }) = refused else {
            panic!("{refused}")
        };
        assert_eq!((connections, sockets), (16, 1), "of all workers together");
        for peer in &mut there {
            peer.write_all(b"more").unwrap();
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        assert_eq!(scene.running().remove_address(ip(address), InUse::Reset).unwrap(), 16);
        for peer in &mut there {
            assert_eq!(peer.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{address}");
        }
        here.write_all(b"more").unwrap();
        here.read_exact(&mut [0; 4]).unwrap();
    }
    scene.stop();
}

#[test]
fn a_listener_at_an_address_waits_there_until_it_is_back() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, http);
    let (cidr, address, host) = LATER[0];
    add(scene.running(), cidr).unwrap();
    scene.running().listen(Some(ip(address)), 8080).unwrap();
    let there = format!("{host}:8080");
    assert!(scene.get_from(&there) && !scene.get(8080));
    scene.running().remove_address(ip(address), InUse::Reset).unwrap();
    assert!(!scene.get_from(&there));
    add(scene.running(), cidr).unwrap();
    assert!(scene.get_from(&there) && scene.get_from(host) && !scene.get(8080));
    assert!(scene.running().unlisten(Some(ip(address)), 8080).unwrap());
    assert!(!scene.get_from(&there));
    scene.stop();
}

#[test]
fn addresses_come_and_go_under_load() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(2, |server| http(server.probe(false).cookies(Cookies::Always)));
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for round in 0..100 {
                let (cidr, address, _) = LATER[round % 2];
                add(scene.running(), cidr).unwrap();
                scene.running().remove_address(ip(address), InUse::Reset).unwrap();
            }
        });
        while !changing.is_finished() {
            assert!(scene.get(80));
        }
    });
    assert_eq!(scene.running().addresses().len(), 1);
    scene.stop();
}

/// Says to the child of a test that it is one.
const CONFINED: &str = "XSKIP_TEST_CONFINED";

/// What this process gives up is gone for good, so it is a child that serves: it adds an address of either version, says so, and takes
/// them away when a line comes.
fn serve_confined() {
    let server = Server::on(INTERFACE).address("198.18.0.1/24".parse().unwrap());
    let running = http(server.confinement(Confinement::default()));
    LATER.iter().for_each(|(cidr, ..)| add(&running, cidr).unwrap());
    println!("serving");
    io::stdin().read_line(&mut String::new()).unwrap();
    for (_, address, _) in LATER {
        running.remove_address(ip(address), InUse::Reset).unwrap();
    }
    println!("removed");
    io::stdin().read_line(&mut String::new()).unwrap();
    running.stop().unwrap();
}

#[test]
fn who_has_given_up_all_rights_still_adds_addresses_and_takes_them_away() {
    if env::var_os(CONFINED).is_some() {
        return serve_confined();
    }
    if !is_root() {
        return;
    }
    let (_name, lab) = scene::lab(1);
    let program = env::current_exe().unwrap();
    let test = "who_has_given_up_all_rights_still_adds_addresses_and_takes_them_away";
    let command = lab.server().command(program.to_str().unwrap()).args(["--exact", test, "--nocapture"]);
    let command = command.with(|command| command.env(CONFINED, "1").stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut orders = child.stdin.take().unwrap();
    let mut is_said = |word: &str| assert!(said.any(|line| line.ends_with(word)), "{word}");
    is_said("serving");
    let gets = |host: &str| scene::get(&lab, host);
    assert!(LATER.iter().all(|(.., host)| gets(host)));
    let groups = || {
        let shown = lab.server().command("ip").args(["maddr", "show", "dev", INTERFACE]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    };
    assert!(groups().contains(GROUP));
    writeln!(orders).unwrap();
    is_said("removed");
    assert!(!groups().contains(GROUP));
    assert!(gets("198.18.0.1") && !LATER.iter().any(|(.., host)| gets(host)));
    writeln!(orders).unwrap();
    assert!(child.wait().unwrap().success());
}
