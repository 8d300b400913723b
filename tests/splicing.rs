//! Connections that XDP goes on with, between real clients and real backends. Needs root.

#[path = "common/library.rs"]
mod common;
#[path = "balancer/net.rs"]
mod net;
#[path = "balancer/proxies.rs"]
mod proxies;

use common::is_root;
use net::{Net, Talk, VIPS, address};
use nix::sys::socket::{setsockopt, sockopt};
use proxies::{PATIENCE, PORT, Scene, THEIRS, assert_reset, service};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};
use xskip::{
    balancer::BalancerError,
    lb::{Proxied, Service, Source, State},
    time::Instant,
};

/// Services at both VIPs, whose backends are of the IP version of their clients.
fn services(states: &[State]) -> Vec<Service> {
    vec![service("four", 0, false, states), service("six", 1, true, states)]
}

#[test]
fn connections_are_spliced_and_outlive_drains_and_changes() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, services(&[State::Serve; 2]));
    let mut talks: Vec<(Talk, String)> = (0..40).map(|number| scene.open(number)).collect();
    scene.net.wait("all are spliced", || scene.spliced() == (40, 40));
    // Back and forth, a little and much.
    for (number, (talk, who)) in talks.iter_mut().enumerate() {
        for octets in [1, 30_000, 2] {
            assert_eq!(talk.ask(octets).unwrap_or_else(|error| panic!("connection {number}: {error}")), *who);
        }
    }
    let drained = [State::Drain { until: Instant::NEVER }, State::Serve];
    scene.configure(services(&drained));
    for (number, (talk, who)) in talks.iter_mut().enumerate() {
        assert_eq!(talk.ask(2_000).unwrap_or_else(|error| panic!("connection {number}: {error}")), *who);
    }
    // One that is off has no connections.
    scene.configure(services(&[State::Off, State::Serve]));
    let (of_b1, others): (Vec<_>, Vec<_>) = talks.into_iter().partition(|(_, who)| who == "b1");
    assert!(!of_b1.is_empty() && !others.is_empty());
    of_b1.into_iter().for_each(|(mut talk, _)| assert_reset(&mut talk));
    for (mut talk, who) in others {
        assert_eq!(talk.ask(1).unwrap(), who);
    }
    scene.net.wait("all have ended", || scene.open_connections() == 0);
    assert!(scene.ended("four", "revoked") + scene.ended("six", "revoked") > 0);
    let finished = scene.ended("four", "finished") + scene.ended("six", "finished");
    assert_eq!(finished + scene.ended("four", "revoked") + scene.ended("six", "revoked"), 40);
    // Each octet is counted once: what was said, and a name before what was heard.
    let (there, back) = scene.octets();
    assert!(there >= 40 * 82_004 && back >= there + 40 * 5 * 3, "{there} and {back}");
}

/// A backend that takes all that comes, and says a digest of it; and says as much itself.
fn exchange(scene: &Scene, vip: usize, is_ipv6: bool, octets: usize) {
    let pattern = |from: usize, length: usize| -> Vec<u8> {
        (from..from + length).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    };
    let backend = SocketAddr::new(address(11, is_ipv6), THEIRS + 1);
    let listener = scene.net.on("b1", || TcpListener::bind(backend)).unwrap();
    let run = move |mut stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || {
            for from in (0..octets).step_by(50_000) {
                writer.write_all(&pattern(from, 50_000.min(octets - from))).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut at = 0;
        let mut buffer = vec![0; 65_536];
        loop {
            let length = stream.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            assert!(buffer[..length] == pattern(at, length)[..], "wrong octets behind {at}");
            at += length;
        }
        assert_eq!(at, octets);
        writing.join().unwrap();
    };
    let backend = thread::spawn(move || run(listener.accept().unwrap().0));
    let vip = SocketAddr::new(VIPS[vip].parse().unwrap(), PORT);
    let stream = scene.net.on("client", || TcpStream::connect_timeout(&vip, PATIENCE)).unwrap();
    run(stream);
    backend.join().unwrap();
}

/// Services with one backend each that does what a test wants.
fn bulk() -> Vec<Service> {
    let mut services = services(&[State::Serve]);
    for it in &mut services {
        it.backends[0].address.port = THEIRS + 1;
    }
    services
}

#[test]
fn megabytes_go_both_ways_at_once_whatever_is_lost() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, bulk());
    for (vip, is_ipv6) in [(0, false), (1, true)] {
        exchange(&scene, vip, is_ipv6, 20_000_000);
    }
    for host in ["client", "b1"] {
        scene.net.sh(
            host,
            "nft add table inet lossy
             nft add chain inet lossy in '{ type filter hook input priority 0; }'
             nft add rule inet lossy in meta l4proto tcp numgen random mod 100 == 0 drop",
        );
    }
    for (vip, is_ipv6) in [(0, false), (1, true)] {
        exchange(&scene, vip, is_ipv6, 3_000_000);
    }
    scene.net.wait("all are over", || scene.open_connections() == 0);
    // Where something was lost at the beginning, the moment may not have come.
    assert!(matches!(scene.spliced(), (2.., 4)), "{:?}", scene.spliced());
    assert_eq!((scene.ended("four", "finished"), scene.ended("six", "finished")), (2, 2));
    assert_eq!(scene.octets(), (46_000_000, 46_000_000));
}

#[test]
fn a_reset_goes_through_and_ends_it() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, services(&[State::Serve]));
    for number in 0..2 {
        let (talk, _) = scene.open(number);
        scene.net.wait("it is spliced", || scene.spliced().0 == number as u64 + 1);
        let stream = talk.into_stream();
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
        drop(stream);
    }
    scene.net.wait("both have ended", || scene.open_connections() == 0);
    assert_eq!((scene.ended("four", "ended_by_client"), scene.ended("six", "ended_by_client")), (1, 1));
    scene.net.wait("the backend has heard of it", || {
        !scene.net.sh("b1", "ss -Htn state established").contains(&format!(":{THEIRS}"))
    });
}

/// A client's socket that comes from this port, even where the last one of it has just gone.
fn connect_from(scene: &Scene, vip: usize, port: u16) -> TcpStream {
    let at = SocketAddr::new(VIPS[vip].parse().unwrap(), PORT);
    let own = SocketAddr::new(address(2, vip == 1), port);
    scene.net.on("client", || {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&own.into()).unwrap();
        socket.connect_timeout(&at.into(), PATIENCE).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    })
}

#[test]
fn a_port_that_is_used_again_opens_another_connection() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, services(&[State::Serve]));
    for number in 0..20 {
        let vip = number % 2;
        // Who is reset waits for nothing.
        let stream = connect_from(&scene, vip, 40_000);
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
        assert_eq!(Talk::from(stream).ask(1_000).unwrap(), "b1");
    }
    scene.net.wait("all were spliced", || scene.spliced() == (20, 20));
    scene.net.wait("all have ended", || scene.open_connections() == 0);
}

/// Who has lost its connection without a word is challenged by the backend, resets it, and is served.
#[test]
fn a_client_that_has_forgotten_its_connection_gets_another_one() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, services(&[State::Serve]));
    for vip in [0, 1] {
        let mut talk = Talk::from(connect_from(&scene, vip, 40_001));
        assert_eq!(talk.ask(10).unwrap(), "b1");
        scene.net.wait("it is spliced", || scene.spliced().0 == 2 * vip as u64 + 1);
        scene.net.sh(
            "client",
            "nft add table inet quiet
             nft add chain inet quiet out '{ type filter hook output priority 0; }'
             nft add rule inet quiet out tcp sport 40001 tcp flags rst drop",
        );
        let stream = talk.into_stream();
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
        drop(stream);
        scene.net.sh("client", "nft delete table inet quiet");
        assert_eq!(Talk::from(connect_from(&scene, vip, 40_001)).ask(10).unwrap(), "b1");
    }
}

#[test]
fn what_is_not_to_be_spliced_or_has_no_room_goes_through_the_workers() {
    if !is_root() {
        return;
    }
    let never = |mut services: Vec<Service>| {
        services.iter_mut().for_each(|it| it.proxied = Proxied { splice: false, ..Proxied::default() });
        services
    };
    let scene = Scene::new(1, never(services(&[State::Serve])));
    (0..4).for_each(|number| drop(scene.open(number)));
    assert_eq!(scene.spliced(), (0, 4));
    drop(scene);
    let scene = Scene::with(1, services(&[State::Serve]), |it| it.splices(3));
    let mut talks: Vec<_> = (0..6).map(|number| scene.open(number).0).collect();
    assert_eq!(scene.spliced(), (3, 6));
    talks.iter_mut().for_each(|talk| assert_eq!(talk.ask(5_000).unwrap(), "b1"));
    // Where some have ended, there is room again, once their places have rested for a moment.
    talks.truncate(0);
    scene.net.wait("all have ended", || scene.open_connections() == 0);
    let mut more = Vec::new();
    scene.net.wait("there is room again", || {
        more.push(scene.open(more.len()).0);
        scene.spliced().0 == 5
    });
}

#[test]
fn what_says_nothing_for_long_is_reset_and_so_is_everything_when_the_balancer_ends() {
    if !is_root() {
        return;
    }
    let mut of_all = services(&[State::Serve]);
    of_all[0].proxied.idle = Duration::from_secs(1);
    let scene = Scene::new(1, of_all);
    let (mut idle, mut other) = (scene.open(0).0, scene.open(1).0);
    scene.net.wait("it is over", || scene.ended("four", "idle") == 1);
    idle.ask(1).expect_err("it was reset");
    assert_eq!(other.ask(1).unwrap(), "b1");
    let Scene { net, balancing } = scene;
    drop(balancing);
    assert_reset(&mut other);
    drop(net);
}

/// The options of a connection are what client and backend have in common, whoever the client is.
#[test]
fn clients_without_timestamps_or_sack_are_spliced_too() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1, services(&[State::Serve]));
    let options = ["tcp_timestamps=0", "tcp_sack=0", "tcp_window_scaling=0", "tcp_ecn=1"];
    for (number, option) in options.iter().enumerate() {
        scene.net.sh("client", &format!("sysctl -qw net.ipv4.{option}"));
        for vip in [0, 1] {
            drop(scene.open(vip));
        }
        let done = 2 * (number as u64 + 1);
        scene.net.wait(option, || scene.spliced() == (done, done));
    }
}

/// A backend that says who it is asked by.
fn names_its_peer(scene: &Scene, at: SocketAddr) {
    let listener = scene.net.on("b1", || TcpListener::bind(at)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            thread::spawn(move || {
                let mut octet = [0];
                while let Ok(1) = stream.read(&mut octet) {
                    let peer = stream.peer_addr().unwrap().to_string();
                    stream.write_all(format!("{peer:60}").as_bytes()).ok();
                }
            });
        }
    });
}

/// Who the backend says is asking.
fn asks(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = [0; 60];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).trim().to_owned()
}

#[test]
fn backends_see_clients_themselves_spliced_or_not() {
    if !is_root() {
        return;
    }
    for (splice, workers) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        let mut services = bulk();
        for it in &mut services {
            it.proxied = Proxied { source: Source::Client, splice, ..Proxied::default() };
        }
        let scene = Scene::on(Net::with_queues(1, workers), 1, services, |it| it);
        scene.net.through_the_balancer("b1");
        let mut changed = 0;
        for (vip, is_ipv6) in [(0, false), (1, true)] {
            names_its_peer(&scene, SocketAddr::new(address(11, is_ipv6), THEIRS + 1));
            let vip = SocketAddr::new(VIPS[vip].parse().unwrap(), PORT);
            let connect = || scene.net.on("client", || TcpStream::connect_timeout(&vip, PATIENCE)).unwrap();
            let mut streams: Vec<_> = (0..20).map(|_| connect()).collect();
            for stream in &mut streams {
                let seen: SocketAddr = asks(stream).parse().unwrap();
                let expected = stream.local_addr().unwrap();
                assert_eq!(seen.ip(), expected.ip());
                changed += usize::from(seen != expected);
                assert_eq!(asks(stream), seen.to_string());
            }
            if splice {
                scene.net.wait("all are spliced", || matches!(scene.spliced(), (20 | 40, 20 | 40)));
            }
            for stream in &mut streams {
                let seen: SocketAddr = asks(stream).parse().unwrap();
                assert_eq!(seen.ip(), stream.local_addr().unwrap().ip());
            }
        }
        // Half of the ports cannot be kept where there are two workers: the flows to the backend would be the other one's.
        assert_eq!(changed > 0, workers > 1, "{changed} ports");
        assert_eq!(scene.spliced(), (if splice { 40 } else { 0 }, 40));
        scene.net.wait("all have ended", || scene.open_connections() == 0);
        assert_eq!((scene.ended("four", "finished"), scene.ended("six", "finished")), (20, 20));
    }
}

#[test]
fn clients_are_not_shown_where_nothing_brings_back_what_they_are_sent() {
    if !is_root() {
        return;
    }
    let of = |source| {
        let mut services = services(&[State::Serve]);
        services.iter_mut().for_each(|it| it.proxied = Proxied { source, splice: false, ..Proxied::default() });
        services
    };
    // Nothing of it needs a table of pairs.
    let scene = Scene::new(1, of(Source::Balancer));
    let refused = scene.net.on("balancer", || scene.balancing.configure(of(Source::Client))).unwrap_err();
    assert!(matches!(refused, BalancerError::NoSplices { .. }), "{refused}");
    assert_eq!((scene.open(0).1, scene.open(1).1), ("b1".to_owned(), "b1".to_owned()), "all goes on as before");
}
