//! A client, a balancer and backends around one switch, each in a namespace of its own.

#![allow(dead_code)] // each test uses some of it

use nix::sys::socket::{setsockopt, sockopt};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use xskip::host::netns::{Namespace, Registry};

pub const VIPS: [&str; 2] = ["198.18.0.80", "2001:2::80"];
/// How long something may take that takes seconds at most: on a busy machine, behind losses, several times as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The namespaces. They go when the value is dropped.
pub struct Net {
    name: String,
    hosts: Vec<String>,
    queues: u16,
}

/// The address of a host by its number: 1 is the balancer, 2 the client, and backends follow from 11 on.
pub fn address(host: u16, ipv6: bool) -> IpAddr {
    let text = if ipv6 { format!("2001:2::{host}") } else { format!("198.18.0.{host}") };
    text.parse().unwrap()
}

impl Net {
    pub fn new(backends: u16) -> Self {
        Self::with_queues(backends, 1)
    }

    /// As [`Net::new`], with as many workers at the balancer: frames come to any of its queues.
    pub fn with_queues(backends: u16, queues: u16) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lb-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut net = Self { name, hosts: Vec::new(), queues };
        net.add_namespace("switch");
        net.sh("switch", "ip link set lo up; ip link add name switch type bridge; ip link set switch up");
        net.add_host("balancer", 1);
        net.add_host("client", 2);
        for number in 1..=backends {
            net.add_host(&format!("b{number}"), 10 + number);
            // The VIP is there, and nobody is told.
            net.sh(
                &format!("b{number}"),
                "for name in all eth0; do sysctl -qw net.ipv4.conf.$name.arp_ignore=1 net.ipv4.conf.$name.arp_announce=2 \
                     net.ipv4.conf.$name.rp_filter=0; done
                 ip address add 198.18.0.80/32 dev lo; ip address add 2001:2::80/128 dev lo nodad",
            );
        }
        net.wait_for_carrier();
        net
    }

    fn add_namespace(&mut self, host: &str) {
        let registry = Registry::lock().unwrap();
        let name = format!("{}-{host}", self.name);
        registry.create(&name).unwrap();
        self.hosts.push(name);
    }

    /// A host on the switch. What goes to it is whole when it leaves the switch, as on a real wire.
    fn add_host(&mut self, host: &str, number: u16) {
        self.add_namespace(host);
        let (there, queues) = (format!("{}-{host}", self.name), self.queues);
        self.sh(
            "switch",
            &format!(
                "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
                 ip link add p{number} numtxqueues {queues} numrxqueues {queues} type veth \
                     peer name eth0 netns {there} numtxqueues {queues} numrxqueues {queues}
                 ethtool -K p{number} tx off gro on >/dev/null
                 ip netns exec {there} ethtool -K eth0 tx off gro on >/dev/null
                 ip link set p{number} master switch up"
            ),
        );
        self.sh(
            host,
            &format!(
                "ip link set lo up
                 ip link set eth0 address 02:00:00:00:00:{number:02}
                 ip address add 198.18.0.{number}/24 dev eth0; ip address add 2001:2::{number}/64 dev eth0 nodad
                 ip link set eth0 up"
            ),
        );
    }

    /// Another balancer, which has number 3.
    pub fn add_second_balancer(&mut self) {
        self.add_host("second", 3);
        self.wait_for_carrier();
    }

    /// Has a backend send what is for the client to the balancer, as to its router.
    pub fn through_the_balancer(&self, backend: &str) {
        self.sh(backend, "ip route add 198.18.0.2/32 via 198.18.0.1; ip route add 2001:2::2/128 via 2001:2::1");
    }

    fn wait_for_carrier(&self) {
        for host in self.hosts.iter().filter(|host| !host.ends_with("-switch")) {
            let short = host.rsplit('-').next().unwrap();
            self.wait(&format!("{short} is up"), || self.sh(short, "ip link show eth0").contains("state UP"));
        }
    }

    /// Has a shell do something on a host; returns what it says.
    #[track_caller]
    pub fn sh(&self, host: &str, script: &str) -> String {
        let output = self.command(host, script).output().unwrap();
        assert!(output.status.success(), "{host}: {script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, host: &str, script: &str) -> Command {
        let mut command = self.program(host, "bash");
        command.args(["-euc", script]);
        command
    }

    /// A program to be run on a host, which then has the process' number.
    pub fn program(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.name), program]);
        command
    }

    /// Does something in a host's namespace.
    pub fn on<T: Send>(&self, host: &str, act: impl FnOnce() -> T + Send) -> T {
        Namespace::open(&format!("{}-{host}", self.name)).unwrap().run(act).unwrap()
    }

    #[track_caller]
    pub fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < patience, "waited in vain: {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has a backend answer each line that comes by TCP or datagram that comes by UDP with its name, at both VIPs.
    pub fn serve(&self, backend: &str, port: u16) {
        VIPS.iter().for_each(|vip| self.serve_at(backend, SocketAddr::new(vip.parse().unwrap(), port)));
    }

    /// Likewise at one address that it has.
    pub fn serve_at(&self, backend: &str, at: SocketAddr) {
        let (listener, socket) = self.on(backend, || (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
        let name = backend.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let name = name.clone();
                thread::spawn(move || answer(stream, &name));
            }
        });
        // Whose thread does not run for a while on a busy machine loses nothing.
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).unwrap();
        let name = backend.to_owned();
        thread::spawn(move || {
            let mut datagram = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut datagram) {
                let answer = [name.as_bytes(), b" ", &datagram[..length]].concat();
                socket.send_to(&answer, from).ok();
            }
        });
    }

    /// Sends datagrams of one flow from the client; returns who has answered all of them, from where they went.
    #[track_caller]
    pub fn ask_by_datagrams(&self, vip: &str, port: u16) -> String {
        let at = SocketAddr::new(vip.parse().unwrap(), port);
        let any: SocketAddr = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = self.on("client", || UdpSocket::bind(any)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut whom = BTreeSet::new();
        for turn in 0..3 {
            socket.send_to(&[turn; 100], at).unwrap();
            let mut answer = [0; 200];
            let (length, from) = socket.recv_from(&mut answer).unwrap();
            assert_eq!((from, &answer[length - 100..length]), (at, &[turn; 100][..]));
            whom.insert(String::from_utf8_lossy(&answer[..length - 101]).into_owned());
        }
        assert_eq!(whom.len(), 1, "{whom:?}");
        whom.pop_first().unwrap()
    }

    /// Opens a connection from the client.
    #[track_caller]
    pub fn connect(&self, vip: &str, port: u16) -> Talk {
        self.try_connect(vip, port).unwrap_or_else(|error| panic!("{vip} port {port}: {error}"))
    }

    pub fn try_connect(&self, vip: &str, port: u16) -> std::io::Result<Talk> {
        self.try_connect_within(vip, port, PATIENCE)
    }

    pub fn try_connect_within(&self, vip: &str, port: u16, patience: Duration) -> std::io::Result<Talk> {
        let at = SocketAddr::new(vip.parse().unwrap(), port);
        let stream = self.on("client", || TcpStream::connect_timeout(&at, patience))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Talk(BufReader::new(stream)))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Ok(registry) = Registry::lock() {
            self.hosts.iter().for_each(|host| drop(registry.delete(host)));
        }
    }
}

fn answer(stream: TcpStream, name: &str) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while let Ok(1..) = reader.read_line(&mut line) {
        if reader.get_mut().write_all(format!("{name} {line}").as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

/// A connection that asks who answers.
pub struct Talk(BufReader<TcpStream>);

impl Talk {
    /// The connection by itself.
    pub fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    /// Says so many octets; returns who has heard all of them.
    pub fn ask(&mut self, octets: usize) -> std::io::Result<String> {
        let said = "x".repeat(octets) + "\n";
        self.0.get_mut().write_all(said.as_bytes())?;
        let mut heard = String::new();
        self.0.read_line(&mut heard)?;
        let (name, rest) = heard.split_once(' ').ok_or(std::io::ErrorKind::UnexpectedEof)?;
        assert!(rest == said, "what came back is not what was said");
        Ok(name.to_owned())
    }
}

impl From<TcpStream> for Talk {
    fn from(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }
}
