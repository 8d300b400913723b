//! What stands in the way of a handshake that a balancer has answered: old sockets, batches, duplicates, listeners that refuse. Needs root.

mod common;

use common::{
    handover::{Client, EVERYTHING, Site, accept, accepts_nobody, answered, converse, counted, vips},
    is_root,
    tunnel::{INTERFACE, VIP_V4, sh},
    wait_until,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use xskip_cli::wire::TcpFlags;

impl Site {
    /// How many sockets of a state the backend has for a client.
    fn sockets(&self, state: &str, client: &Client) -> usize {
        let port = client.ours.port();
        self.tunnel.backend_sh(&format!("ss -tanOH state {state} dport = :{port}")).lines().count()
    }
}

/// Brings a connection to where the server, which closes first, is in TIME-WAIT.
fn leave_time_wait(site: &Site, listener: &TcpListener, vip: IpAddr, port: u16) -> Client {
    let mut client = site.client(vip, port, EVERYTHING);
    site.send(&[client.acknowledgment()]);
    let (mut stream, _) = accept(listener);
    converse(site, &mut client, &mut stream);
    drop(stream);
    let fin = site.hear_fin(&client);
    client.take(&fin);
    site.send(&[client.segment(TcpFlags::FIN | TcpFlags::ACK, &[])]);
    wait_until("it is in TIME-WAIT", || site.sockets("time-wait", &client) == 1);
    client
}

#[test]
fn a_time_wait_makes_room_for_its_clients_next_connection() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        leave_time_wait(&site, &listener, vip, 40_000);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        // Without another word of the client's: the server may be the one to speak.
        let (mut stream, from) = accept(&listener);
        assert_eq!(from, client.ours);
        converse(&site, &mut client, &mut stream);
        counted(&site, &[("adopted", 2 * count), ("replaced_time_wait", count)]);
    }
}

/// Neither a late segment of the connection that is in TIME-WAIT nor a stranger's ends it.
#[test]
fn a_time_wait_stays_for_what_begins_nothing() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    let mut first = site.client(vip, 40_000, EVERYTHING);
    let repeated = first.data(b"question");
    site.send(std::slice::from_ref(&repeated));
    let (stream, _) = accept(&listener);
    first.take(&site.hear(&first));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    first.take(&site.hear_fin(&first));
    let mut got = [0; 8];
    (&stream).read_exact(&mut got).unwrap();
    site.send(&[first.segment(TcpFlags::FIN | TcpFlags::ACK, &[])]);
    wait_until("it is in TIME-WAIT", || site.sockets("time-wait", &first) == 1);
    drop(stream);
    let mut stranger = site.client(vip, 40_000, EVERYTHING);
    stranger.expected = stranger.expected.advance(1);
    site.send(&[repeated, stranger.data(b"question")]);
    // The kernel says what it expects, to both.
    for _ in 0..2 {
        assert!(!site.hear(&first).is_reset());
    }
    assert_eq!(site.sockets("time-wait", &first), 1);
    accepts_nobody(&listener);
    counted(&site, &[("adopted", 1)]);
}

/// Where the kernel is told not to heed such a RST, nothing goes round for ever, and the client is heard at last.
#[test]
fn a_time_wait_that_will_not_go_is_left_alone() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.listen(VIP_V4.into());
    site.tunnel.backend_sh("sysctl -qw net.ipv4.tcp_rfc1337=1");
    leave_time_wait(&site, &listener, VIP_V4.into(), 40_000);
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    site.send(&[client.acknowledgment()]);
    counted(&site, &[("adopted", 1), ("replaced_time_wait", 4)]);
    assert!(!site.hear(&client).is_reset());
    accepts_nobody(&listener);
    site.tunnel.backend_sh("sysctl -qw net.ipv4.tcp_rfc1337=0");
}

/// A client that has forgotten a connection, or another one behind the same address, has the same port again.
#[test]
fn a_connection_whose_client_has_forgotten_it_makes_room() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut old = site.client(vip, 40_000, EVERYTHING);
        site.send(&[old.acknowledgment()]);
        let (mut forgotten, _) = accept(&listener);
        converse(&site, &mut old, &mut forgotten);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        let (mut stream, _) = accept(&listener);
        converse(&site, &mut client, &mut stream);
        let error = forgotten.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        counted(&site, &[("adopted", 2 * count), ("replaced_stale", count)]);
    }
}

/// What is old, far away or forged ends no connection.
#[test]
fn a_connection_stays_for_what_begins_nothing() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    let mut client = site.client(vip, 40_000, EVERYTHING);
    let again = client.clone().acknowledgment();
    site.send(&[client.acknowledgment()]);
    let (mut stream, _) = accept(&listener);
    converse(&site, &mut client, &mut stream);
    let mut forged = site.client(vip, 40_000, EVERYTHING);
    forged.timestamps.as_mut().unwrap().echo ^= 1 << 30;
    site.send(&[again, forged.acknowledgment()]);
    converse(&site, &mut client, &mut stream);
    counted(&site, &[("adopted", 1)]);
}

/// A SYN got here before the balancer began to answer them: the kernel's own handshake is given up for the balancer's.
#[test]
fn a_handshake_of_the_kernels_own_makes_room() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        let mut syn = client.clone();
        syn.next = client.next.back(1);
        site.send(&[syn.segment(TcpFlags::SYN, &[])]);
        assert!(site.hear(&client).header.flags.contains(TcpFlags::SYN));
        site.send(&[client.acknowledgment()]);
        let (mut stream, _) = accept(&listener);
        converse(&site, &mut client, &mut stream);
        counted(&site, &[("adopted", count), ("replaced_request", count)]);
    }
}

/// Has what the backend's interface receives handled by a thread that runs on one CPU, when nobody else wants it.
fn receive_on_a_lazy_thread(site: &Site, cpu: usize) {
    let threads = || sh(&format!("pgrep napi/{INTERFACE}- || true")).lines().map(str::to_owned).collect::<Vec<_>>();
    let before = threads();
    // What a device without segmentation offload sends, a veth hands to NAPI.
    sh(&format!("ip netns exec {} ethtool -K r1 tso off >&2", site.tunnel.router.name()));
    site.tunnel.backend_sh(&format!("ethtool -K {INTERFACE} gro on >&2; echo 1 > /sys/class/net/{INTERFACE}/threaded"));
    let new: Vec<_> = threads().into_iter().filter(|thread| !before.contains(thread)).collect();
    assert!(!new.is_empty(), "the kernel has begun a thread");
    for thread in new {
        sh(&format!("taskset -pc {cpu} {thread} >&2; chrt -i -p 0 {thread}"));
    }
}

/// Everything that the kernel receives in one turn passes the program before TCP sees the first of it.
#[test]
fn what_comes_right_behind_a_first_segment_waits_for_it() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    receive_on_a_lazy_thread(&site, 0);
    let listeners = vips().map(|vip| site.listen(vip));
    let mut opened = 0;
    until_something_waits(&site, |port| {
        for listener in &listeners {
            let vip = listener.local_addr().unwrap().ip();
            drop(all_at_once(&site, listener, site.client(vip, port, EVERYTHING)));
            opened += 1;
        }
    });
    assert_eq!(site.count("adopted"), opened, "each is handed over once");
    assert_eq!(site.count("dropped_cookie"), 0, "and nothing behind it is lost");
}

/// Does something on one port after the other, until the kernel has received several segments in one turn: the thread that sends them
/// may have to wait between two of them, too.
fn until_something_waits(site: &Site, mut attempt: impl FnMut(u16)) {
    let mut here = CpuSet::new();
    here.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
    for port in 40_000..40_100 {
        attempt(port);
        if site.count("requeued") > 0 {
            return;
        }
    }
    panic!("nothing had to wait: the test is worth nothing");
}

/// A handshake's end and what a client sends right behind it, in one turn.
fn all_at_once(site: &Site, listener: &TcpListener, mut client: Client) -> TcpStream {
    let mut frames = vec![client.acknowledgment()];
    // The later ones have other numbers than the cookie says; and as time goes on, nobody merges them.
    frames.extend((0..6).map(|_| {
        client.timestamps.as_mut().unwrap().value += 1;
        client.data(&[7; 500])
    }));
    site.send(&frames);
    let (mut stream, _) = accept(listener);
    let mut got = [0; 3_000];
    stream.read_exact(&mut got).unwrap();
    assert!(got.iter().all(|octet| *octet == 7));
    converse(site, &mut client, &mut stream);
    stream
}

/// Likewise where an old socket has to go first.
#[test]
fn what_comes_right_behind_one_that_is_replaced_waits_as_well() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.listen(VIP_V4.into());
    receive_on_a_lazy_thread(&site, 0);
    let mut opened = 0;
    until_something_waits(&site, |port| {
        let stale = port + 1_000;
        leave_time_wait(&site, &listener, VIP_V4.into(), port);
        let mut old = site.client(VIP_V4.into(), stale, EVERYTHING);
        site.send(&[old.acknowledgment()]);
        let (mut forgotten, _) = accept(&listener);
        converse(&site, &mut old, &mut forgotten);
        for port in [port, stale] {
            drop(all_at_once(&site, &listener, site.client(VIP_V4.into(), port, EVERYTHING)));
        }
        opened += 4;
    });
    assert_eq!((site.count("adopted"), site.count("dropped_cookie")), (opened, 0));
    assert!(site.count("replaced_time_wait") > 0 && site.count("replaced_stale") > 0, "{:?}", site.counts());
}

/// The network delivers a first segment again when its connection has come and gone: nothing begins anew.
#[test]
fn a_cookie_opens_one_connection() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    for (count, vip) in (1..).zip(vips()) {
        let listener = site.listen(vip);
        let mut client = site.client(vip, 40_000, EVERYTHING);
        let first = client.clone().data(b"question");
        site.send(&[client.acknowledgment()]);
        let (mut stream, _) = accept(&listener);
        converse(&site, &mut client, &mut stream);
        // The client closes first, so the server keeps nothing.
        site.send(&[client.segment(TcpFlags::FIN | TcpFlags::ACK, &[])]);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        drop(stream);
        let fin = site.hear_fin(&client);
        client.take(&fin);
        site.send(&[client.acknowledgment()]);
        wait_until("it is gone", || site.sockets("all", &client) == 0);
        site.send(&[first]);
        assert!(site.hear(&client).is_reset());
        accepts_nobody(&listener);
        counted(&site, &[("adopted", count), ("passed_used", count)]);
    }
}

/// A full queue takes nobody, silently; the client's next attempt is as good as the first.
#[test]
fn a_listener_that_is_full_takes_the_client_later() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from((VIP_V4, 80)))).unwrap();
        socket.listen(0).unwrap();
        TcpListener::from(socket)
    };
    let listener = site.tunnel.backend.run(listen).unwrap();
    let mut first = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    site.send(&[first.acknowledgment()]);
    wait_until("the queue is full", || site.connections().len() == 1);
    let mut second = site.client(VIP_V4.into(), 40_001, EVERYTHING);
    let question = second.data(b"question");
    site.send(std::slice::from_ref(&question));
    site.hears_nothing(&second);
    assert_eq!(site.connections().len(), 1);
    drop(accept(&listener));
    site.send(&[question]);
    let (mut stream, from) = accept(&listener);
    assert_eq!(from, second.ours);
    let mut got = [0; 8];
    stream.read_exact(&mut got).unwrap();
    counted(&site, &[("adopted", 3)]);
}

/// Listeners of MPTCP, which the kernel hands nothing to: the client hears so at once, and so does whoever looks.
#[test]
fn a_listener_of_mptcp_refuses() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    const MPTCP: i32 = 262;
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(MPTCP)))?;
        socket.bind(&SockAddr::from(SocketAddr::from((VIP_V4, 80))))?;
        socket.listen(8).map(|()| socket)
    };
    let Ok(_listener) = site.tunnel.backend.run(listen).unwrap() else {
        common::skip("this kernel has no MPTCP");
        return;
    };
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    site.send(&[client.acknowledgment()]);
    assert!(site.hear(&client).is_reset());
    counted(&site, &[("refused_adoption", 1)]);
    assert!(site.json()["last_refusal"].as_str().unwrap().contains("Invalid argument"), "{}", site.json());
    assert!(site.status("").contains("lastly: Invalid argument"), "{}", site.status(""));
    let noted = site.attach(&site.key_file);
    assert!(noted.contains("198.18.0.80:80 is a listener of MPTCP"), "{noted}");
}

/// What the kernel's settings leave out, nobody may have promised.
#[test]
fn a_promise_that_the_kernel_does_not_keep_is_refused() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let _listener = site.listen(VIP_V4.into());
    for (count, setting) in (1..).zip(["timestamps", "sack", "window_scaling"]) {
        site.tunnel.backend_sh(&format!("sysctl -qw net.ipv4.tcp_{setting}=0"));
        let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
        site.send(&[client.acknowledgment()]);
        assert!(site.hear(&client).is_reset());
        counted(&site, &[("refused_adoption", count)]);
        site.tunnel.backend_sh(&format!("sysctl -qw net.ipv4.tcp_{setting}=1"));
    }
}

/// A client whose connection this host has forgotten hears so, but not at once: it might be one whose first segment was lost.
#[test]
fn who_goes_on_without_a_connection_is_reset_at_last() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let listener = site.listen(VIP_V4.into());
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    client.next = client.next.advance(1_000);
    let forgotten = client.data(b"question");
    site.send(std::slice::from_ref(&forgotten));
    site.hears_nothing(&client);
    wait_until("it is reset", || {
        site.send(std::slice::from_ref(&forgotten));
        site.hear_within(&client, Duration::from_millis(200)).is_some_and(|answer| answer.is_reset())
    });
    assert!(site.count("dropped_cookie") > 10 && site.count("passed_stray") == 1, "{:?}", site.counts());
    // Whose first segment was lost, on the same port, is another one.
    let mut client = site.client(VIP_V4.into(), 40_000, EVERYTHING);
    let lost = client.data(b"question");
    let mut ahead = client.clone();
    site.send(&[ahead.data(b"?")]);
    site.hears_nothing(&client);
    site.send(&[lost]);
    answered(&site, &mut client, &mut accept(&listener).0);
}

/// Clients come again by the same ports while the server, which closes first, is in TIME-WAIT, and ask at once.
#[test]
fn ports_are_used_again_and_again() {
    if !is_root() {
        return;
    }
    const PORTS: u16 = 20;
    const ROUNDS: u16 = 25;
    let site = Site::new();
    let vip = VIP_V4.into();
    let listener = site.listen(vip);
    for number in 0..PORTS * ROUNDS {
        let mut client = site.client(vip, 40_000 + number % PORTS, EVERYTHING);
        let acknowledgment = client.acknowledgment();
        let question = client.data(b"question");
        site.send(&[acknowledgment, question]);
        let (mut stream, _) = accept(&listener);
        answered(&site, &mut client, &mut stream);
        drop(stream);
        client.take(&site.hear_fin(&client));
        site.send(&[client.segment(TcpFlags::FIN | TcpFlags::ACK, &[])]);
        wait_until("it is in TIME-WAIT", || site.sockets("time-wait", &client) == 1);
    }
    let counts = site.counts();
    let count = |name: &str| counts.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count);
    assert_eq!(count("adopted"), u64::from(PORTS * ROUNDS));
    assert_eq!(count("replaced_time_wait"), u64::from(PORTS * (ROUNDS - 1)));
    assert_eq!(count("dropped_cookie") + count("refused_adoption") + count("passed_used"), 0);
}
