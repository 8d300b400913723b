//! Mode `proxy` between real clients and real backends, which know nothing of it. Needs root.

#[path = "common/library.rs"]
mod common;
#[path = "balancer/net.rs"]
mod net;
#[path = "balancer/proxies.rs"]
mod proxies;

use common::is_root;
use net::{Net, Talk, VIPS, address};
use proxies::{PATIENCE, PORT, Scene, THEIRS, assert_reset, key, service, services};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};
use xskip::{
    LoadBalancer,
    balancer::check::Check,
    lb::{Backend, Health, Mode, Proxied, Service, State},
    time::Instant,
};

/// A backend that gives what it hears first on each connection, up to a pause, and says a word.
fn listen(net: &Net, host: &str, at: SocketAddr) -> Receiver<Vec<u8>> {
    let listener = net.on(host, || TcpListener::bind(at)).unwrap();
    let (sender, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let (mut all, mut buffer) = (Vec::new(), [0; 4_096]);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                all.extend(&buffer[..length]);
            }
            stream.write_all(b"heard\n").ok();
            if sender.send(all).is_err() {
                break;
            }
        }
    });
    heard
}

/// Says something to a VIP, and waits for a word or an end. What was heard, and from where it was said.
fn say(net: &Net, vip: usize, words: &[u8]) -> std::io::Result<(String, SocketAddr)> {
    let at = SocketAddr::new(VIPS[vip].parse().unwrap(), PORT);
    let mut stream = net.on("client", || TcpStream::connect_timeout(&at, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(words)?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    Ok((String::from_utf8_lossy(&answer).into_owned(), stream.local_addr()?))
}

#[test]
fn connections_get_to_backends_of_either_version_and_stay_there_through_a_drain() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(3, services(&[State::Serve; 3]));
    let mut talks: Vec<(Talk, String)> = (0..40).map(|number| scene.open(number)).collect();
    let names: BTreeSet<&str> = talks.iter().map(|(_, who)| who.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["b1", "b2", "b3"]));
    scene.net.wait("connections are counted", || scene.open_connections() == 40);

    let drained = [State::Drain { until: Instant::NEVER }, State::Serve, State::Serve];
    scene.configure(services(&drained));
    for (number, (talk, who)) in talks.iter_mut().enumerate() {
        let now = talk.ask(2_000).unwrap_or_else(|error| panic!("connection {number}, of {who}: {error}"));
        assert_eq!(now, *who, "connection {number}");
    }
    assert!((0..20).all(|number| scene.open(number).1 != "b1"));

    // One that is off has no connections.
    scene.configure(services(&[State::Off, State::Serve, State::Serve]));
    let (of_b1, others): (Vec<_>, Vec<_>) = talks.into_iter().partition(|(_, who)| who == "b1");
    of_b1.into_iter().for_each(|(mut talk, _)| assert_reset(&mut talk));
    for (mut talk, who) in others {
        assert_eq!(talk.ask(1).unwrap(), who);
    }
    scene.net.wait("all have ended", || scene.open_connections() == 0);
    assert!(scene.ended("four", "revoked") + scene.ended("six", "revoked") > 0);
    assert!(scene.ended("four", "finished") > 0);
}

#[test]
fn a_backend_that_refuses_is_followed_by_another_and_one_that_is_down_is_not_asked() {
    if !is_root() {
        return;
    }
    let mut service = service("four", 0, false, &[State::Serve; 2]);
    service.backends.push(Backend::new("nobody", SocketAddr::new(address(11, false), THEIRS + 1)));
    let scene = Scene::new(2, vec![service]);
    let names: BTreeSet<String> = (0..40).map(|_| scene.open(0).1).collect();
    assert_eq!(names, BTreeSet::from(["b1".to_owned(), "b2".to_owned()]));
    let failed = || {
        let status = scene.balancing.status().unwrap();
        let of = |name: &str| status.services[0].backends.iter().find(|it| it.name == name).unwrap().proxied.unwrap();
        (of("nobody").failed, of("nobody").connected)
    };
    assert!(matches!(failed(), (1.., 0)), "its share was asked for");
    assert!(scene.balancing.set_health("four", "nobody", Health::Down).unwrap());
    // The workers hear of it a moment later. One in three would go there.
    scene.net.wait("it is not asked", || {
        let before = failed().0;
        (0..100).for_each(|_| drop(scene.open(0)));
        failed().0 == before
    });
}

#[test]
fn the_service_itself_is_where_connections_come_from_unless_there_is_another_address() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    // A backend of a proxy does not have the VIP.
    net.sh("b1", "ip address flush dev lo scope global");
    let heard = listen(&net, "b1", SocketAddr::new(address(11, false), THEIRS));
    let balancer = LoadBalancer::on("eth0", key()).check("four", Check::default());
    let of_four = vec![service("four", 0, false, &[State::Serve])];
    let balancing = net.on("balancer", || balancer.start(of_four)).unwrap_or_else(|error| panic!("{error}"));
    net.wait("a check has found it", || {
        balancing.status().unwrap().services[0].backends.iter().all(|it| it.health == Health::Up)
    });
    assert_eq!(say(&net, 0, b"hello").unwrap().0, "heard\n");
    assert!(heard.iter().any(|words| words == b"hello"));
    // And without an address of the other version there is no way, which is said.
    let of_six = vec![service("six", 1, false, &[State::Serve])];
    net.on("balancer", || balancing.configure(of_six)).unwrap();
    net.wait("it is said", || {
        let status = balancing.status().unwrap();
        let trouble = status.services[0].backends[0].trouble.as_ref().map(ToString::to_string);
        trouble.is_some_and(|it| {
            it == "there is no IPv4 address to connect from: list one in [proxy] sources that nobody has"
        })
    });
    let error = say(&net, 1, b"hello").expect_err("there is no backend");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn headers_of_the_proxy_protocol_come_and_go_once_and_from_whom_they_may() {
    if !is_root() {
        return;
    }
    let with = |proxied: Proxied| vec![Service { proxied, ..service("four", 0, false, &[State::Serve]) }];
    let net_service = with(Proxied { send_header: Some(1), ..Proxied::default() });
    let mut scene = Scene::new(1, net_service);
    scene.net.sh("b1", "ip address flush dev lo scope global");
    let to = SocketAddr::new(address(11, false), THEIRS + 1);
    let heard = listen(&scene.net, "b1", to);
    let elsewhere = |scene: &mut Scene, proxied: Proxied| {
        let mut services = with(proxied);
        services[0].backends = vec![Backend::new("listener", to)];
        scene.configure(services);
    };
    elsewhere(&mut scene, Proxied { send_header: Some(1), ..Proxied::default() });
    let (answer, client) = say(&scene.net, 0, b"hello").unwrap();
    assert_eq!(answer, "heard\n");
    let expected = format!("PROXY TCP4 {} {} {} {PORT}\r\nhello", client.ip(), VIPS[0], client.port());
    assert_eq!(String::from_utf8(heard.recv_timeout(PATIENCE).unwrap()).unwrap(), expected);

    // From a balancer in front, whom this one believes.
    let front = b"PROXY TCP4 203.0.113.9 203.0.113.80 4711 443\r\nhello";
    let trusted = vec![(address(2, false), 32)];
    elsewhere(&mut scene, Proxied { send_header: Some(1), trusted: trusted.clone(), ..Proxied::default() });
    assert_eq!(say(&scene.net, 0, front).unwrap().0, "heard\n");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), front);
    elsewhere(&mut scene, Proxied { trusted: trusted.clone(), ..Proxied::default() });
    assert_eq!(say(&scene.net, 0, front).unwrap().0, "heard\n");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"hello", "it goes no further unless it is to");
    assert!(say(&scene.net, 0, b"GET / HTTP/1.1\r\n").is_err(), "it must begin so");
    assert_eq!(scene.ended("four", "header_missing"), 1);

    // From nobody else.
    elsewhere(&mut scene, Proxied { trusted: vec![(address(77, false), 32)], ..Proxied::default() });
    assert!(say(&scene.net, 0, front).is_err());
    assert_eq!(scene.ended("four", "header_untrusted"), 1);
    assert_eq!(say(&scene.net, 0, b"hello").unwrap().0, "heard\n");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"hello");
}

/// A ClientHello as TLS 1.2 has it, in one record: RFC 5246 §7.4.1.2, RFC 6066 §3.
fn hello(server: Option<&str>) -> Vec<u8> {
    fn counted(width: usize, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[4 - width..], body].concat()
    }
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &counted(2, body)].concat();
    let names = |name: &str| counted(2, &[&[0][..], &counted(2, name.as_bytes())].concat());
    let extensions =
        [extension(0x0a0a, b""), server.map_or_else(Vec::new, |name| extension(0, &names(name))), extension(23, b"")];
    let body = [
        &[3, 3][..],
        &[7; 32],
        &counted(1, &[9; 32]),
        &counted(2, &[0xc0, 0x2f]),
        &counted(1, &[0]),
        &counted(2, &extensions.concat()),
    ];
    let message = [&[1][..], &counted(3, &body.concat())].concat();
    [&[22, 3, 1][..], &counted(2, &message)].concat()
}

#[test]
fn clients_of_tls_get_to_the_service_that_they_name() {
    if !is_root() {
        return;
    }
    let to = |name: &str, names: &[&str], port: u16| {
        let server_names = names.iter().map(|&name| name.to_owned()).collect();
        let proxied = Proxied { server_names, first: Duration::from_secs(2), ..Proxied::default() };
        let service = Service { proxied, ..service(name, 0, false, &[]) };
        service.with([Backend::new("b1", SocketAddr::new(address(11, false), port))])
    };
    let shop = to("shop", &["shop.example.org", "*.shop.example.org"], THEIRS + 1);
    let (blog, rest) = (to("blog", &["blog.example.org"], THEIRS + 2), to("rest", &[], THEIRS + 3));
    let scene = Scene::new(1, vec![shop.clone(), blog.clone(), rest]);
    let heard = [1, 2, 3].map(|it| listen(&scene.net, "b1", SocketAddr::new(address(11, false), THEIRS + it)));
    let named = [
        ("shop.example.org", 0),
        ("SHOP.Example.ORG", 0),
        ("a.b.shop.example.org", 0),
        ("blog.example.org", 1),
        ("example.org", 2),
    ];
    for (name, at) in named {
        let words = hello(Some(name));
        assert_eq!(say(&scene.net, 0, &words).unwrap().0, "heard\n", "{name}");
        assert_eq!(heard[at].recv_timeout(PATIENCE).unwrap(), words, "{name}: all of it, and nothing else");
    }
    for words in [hello(None), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        assert_eq!(say(&scene.net, 0, &words).unwrap().0, "heard\n");
        assert_eq!(heard[2].recv_timeout(PATIENCE).unwrap(), words);
    }

    // Where nobody takes the rest, that is the end; and who says half of it has two seconds.
    scene.configure(vec![shop, blog]);
    assert_eq!(say(&scene.net, 0, &hello(Some("example.org"))).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let half = &hello(Some("shop.example.org"))[..40];
    assert_eq!(say(&scene.net, 0, half).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let ended = |how| scene.ended("shop", how) + scene.ended("blog", how);
    assert_eq!((ended("no_service"), ended("undecided")), (1, 1));
}

#[test]
fn a_service_may_become_a_proxy_and_be_none_again() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, services(&[State::Serve; 2]));
    for number in 1..=2 {
        scene.net.serve(&format!("b{number}"), PORT);
    }
    let forwarded = || {
        let at = |service: Service, ipv6| {
            let mut service = Service { mode: Mode::Dsr, ..service };
            (11..).zip(&mut service.backends).for_each(|(host, it)| {
                it.address = SocketAddr::new(address(host, ipv6), PORT).into();
            });
            service
        };
        let [four, six] = <[Service; 2]>::try_from(services(&[State::Serve; 2])).unwrap();
        vec![at(four, false), at(six, true)]
    };
    for _ in 0..2 {
        let (mut proxied, _) = scene.open(0);
        scene.configure(forwarded());
        proxied.ask(1).expect_err("its connection has ended");
        scene.net.wait("packets are forwarded", || {
            let status = scene.balancing.status().unwrap();
            status.services.iter().flat_map(|it| &it.backends).all(|it| it.trouble.is_none() && it.proxied.is_none())
        });
        (0..4).for_each(|number| drop(scene.open(number)));
        scene.configure(services(&[State::Serve; 2]));
        scene.net.wait("connections end here", || {
            let status = scene.balancing.status().unwrap();
            status.services.iter().flat_map(|it| &it.backends).all(|it| it.trouble.is_none() && it.proxied.is_some())
        });
        (0..4).for_each(|number| drop(scene.open(number)));
    }
}
