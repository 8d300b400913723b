//! Where balancers are measured: hosts around a switch, or two of them back to back, each in a network namespace of its own.

use crate::{
    bench::{BenchError, contender::ContenderError, turns::check},
    host::{
        HostError, Link,
        ethtool::{self, Ethtool},
        link::{VethEnd, create_veth},
        netns::{Namespace, Registry},
        sysctl,
    },
    lab::{INTERFACE, SideCommand},
};
use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

/// The address of the service, and its port; beside it one for datagrams.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 80);
pub(super) const PORT: u16 = 80;
pub(super) const DATAGRAMS: u16 = 7;
/// What clients know of the network.
const FRONT: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 24);
/// The balancer, towards the clients and towards the backends.
const BALANCER: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 1, 1)];
/// Where packets to backends come from that are rewritten.
pub(super) const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 5);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Where frames of a flood leave the balancer.
pub(super) const BACK: &str = "back0";
const MTU: u32 = 1_500;
/// How long links may take to come up; they need milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A backend's address, by its number from 1.
pub(super) fn backend(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, 10 + number)
}

/// Where clients find a backend with no balancer in between: it is on their link as well.
pub(super) fn in_front(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 100 + number)
}

/// Whom backends answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The client, on its own link.
    Direct,
    /// The client, by way of the balancer.
    ByBalancer,
}

/// Hosts, by name. They go when the value is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    name: String,
    hosts: Vec<(String, Namespace)>,
}

impl Ground {
    /// A client, a balancer and so many backends around a switch. Backends are called `b1`, `b2` and so on, and have the
    /// service's address without telling anybody.
    pub fn switched(backends: u8, answers: Answers, interrupted: &AtomicBool) -> Result<Self, BenchError> {
        let mut ground = Self::empty();
        ground.add("switch")?;
        ground.ip("switch", &["link", "add", "br0", "type", "bridge"])?;
        ground.host("switch").run(without_filters)??;
        ground.ip("switch", &["link", "set", "br0", "up"])?;
        ground.add_to_switch("balancer", 1, &BALANCER)?;
        ground.add_to_switch("client", 2, &[CLIENT])?;
        for number in 1..=backends {
            check(interrupted)?;
            let host = format!("b{number}");
            let own = [backend(number), in_front(number)];
            ground.add_to_switch(&host, 10 + number, if answers == Answers::Direct { &own } else { &own[..1] })?;
            ground.set_up_backend(&host, answers)?;
        }
        ground.wait_for_links(INTERFACE)?;
        Ok(ground)
    }

    /// A client and a balancer with two links between them: frames go there by one and come back by the other.
    pub fn looped(backends: u8) -> Result<Self, BenchError> {
        let mut ground = Self::empty();
        ground.add("client")?;
        ground.add("balancer")?;
        for (number, name) in [(1, INTERFACE), (2, BACK)] {
            let near = VethEnd { name, index: 100 + u32::from(number), mac: mac(2, number) };
            let far = VethEnd { name, index: 200 + u32::from(number), mac: mac(3, number) };
            let there = ground.host("balancer");
            ground.host("client").run(|| create_veth(near, far, there.as_fd(), 1, MTU))??;
            // Both ends' offloads before either goes up: it is then that the kernel notes whether the other one can take what is
            // redirected to it.
            for host in ["client", "balancer"] {
                ground.host(host).run(|| set_plain(name))??;
            }
            for host in ["client", "balancer"] {
                ground.host(host).run(|| Link::find(name)?.set_up())??;
            }
        }
        for (host, name, address) in
            [("client", INTERFACE, CLIENT), ("balancer", INTERFACE, BALANCER[0]), ("balancer", BACK, BALANCER[1])]
        {
            ground.host(host).run(|| Link::find(name)?.add_address(address.into(), 24))??;
        }
        // Nobody is asked: what leaves by the other link ends at once.
        let sink = text(mac(2, 2));
        for number in 1..=backends {
            let address = backend(number).to_string();
            let words = ["neighbour", "replace", &address, "lladdr", &sink, "dev", BACK, "nud", "permanent"];
            ground.ip("balancer", &words)?;
        }
        ground.wait_for_links(INTERFACE)?;
        ground.wait_for_links(BACK)?;
        Ok(ground)
    }

    fn empty() -> Self {
        Self { name: format!("benchlb{}", std::process::id()), hosts: Vec::new() }
    }

    /// A host's namespace.
    pub fn host(&self, name: &str) -> &Namespace {
        let found = self.hosts.iter().find(|(host, _)| host == name);
        &found.unwrap_or_else(|| panic!("{name} is a host")).1
    }

    /// The link address of a host.
    pub fn station(&self, name: &str) -> Result<[u8; 6], BenchError> {
        Ok(self.host(name).run(|| Link::find(INTERFACE))??.mac)
    }

    /// What would run a program on a host.
    pub fn command(&self, host: &str, program: impl AsRef<OsStr>) -> SideCommand<'_> {
        SideCommand::inside(self.host(host), program)
    }

    /// Runs a program of others to its end, which must be a good one.
    pub fn run(&self, host: &str, program: impl AsRef<OsStr>, words: &[&str]) -> Result<(), BenchError> {
        let what = format!("run {} {}", program.as_ref().display(), words.join(" "));
        let output = self.command(host, program).args(words).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ContenderError::system(what, std::io::Error::other(said)).into())
    }

    fn ip(&self, host: &str, words: &[&str]) -> Result<(), BenchError> {
        self.run(host, "ip", words)
    }

    fn add(&mut self, host: &str) -> Result<(), BenchError> {
        let name = format!("{}-{host}", self.name);
        Registry::lock()?.create(&name)?;
        // Whatever comes next, it is known by now and goes with the others.
        match Namespace::open(&name) {
            Ok(namespace) => self.hosts.push((host.to_owned(), namespace)),
            Err(error) => {
                Registry::lock()?.delete(&name)?;
                return Err(error.into());
            }
        }
        self.host(host).run(|| {
            // Nothing but what is measured.
            for key in ["net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6"] {
                if sysctl::read(key)?.is_some() {
                    sysctl::write(key, "1")?;
                }
            }
            for key in ["all", "default"] {
                sysctl::write(&format!("net/ipv4/conf/{key}/rp_filter"), "0")?;
                sysctl::write(&format!("net/ipv4/conf/{key}/send_redirects"), "0")?;
            }
            Link::find("lo")?.set_up()
        })??;
        Ok(())
    }

    fn add_to_switch(&mut self, host: &str, number: u8, addresses: &[Ipv4Addr]) -> Result<(), BenchError> {
        self.add(host)?;
        let port = format!("p{number}");
        let near = VethEnd { name: &port, index: 200 + u32::from(number), mac: mac(1, number) };
        let far = VethEnd { name: INTERFACE, index: 101, mac: mac(2, number) };
        let there = self.host(host);
        self.host("switch").run(|| {
            create_veth(near, far, there.as_fd(), 1, MTU)?;
            set_plain(&port)
        })??;
        // Offloads first, as in `looped`.
        self.host(host).run(|| plain(INTERFACE))??;
        self.ip("switch", &["link", "set", &port, "master", "br0", "up"])?;
        self.host(host).run(|| {
            let link = Link::find(INTERFACE)?;
            addresses.iter().try_for_each(|&address| link.add_address(address.into(), 24))
        })??;
        Ok(())
    }

    fn set_up_backend(&self, host: &str, answers: Answers) -> Result<(), BenchError> {
        self.host(host).run(|| {
            for key in ["all", INTERFACE] {
                sysctl::write(&format!("net/ipv4/conf/{key}/arp_ignore"), "1")?;
                sysctl::write(&format!("net/ipv4/conf/{key}/arp_announce"), "2")?;
            }
            Link::find("lo")?.add_address(VIP.into(), 32)?;
            match answers {
                Answers::Direct => Ok(()),
                Answers::ByBalancer => Link::find(INTERFACE)?.add_route(FRONT, BALANCER[1].into()),
            }
        })??;
        Ok(())
    }

    fn wait_for_links(&self, name: &str) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        for (_, namespace) in self.hosts.iter().filter(|(host, _)| host != "switch") {
            namespace.run(|| {
                while !Link::find(name)?.running {
                    if Instant::now() > deadline {
                        let why = format!("no carrier within {} s", PATIENCE.as_secs());
                        return Err(HostError::refused(format!("bring {name} up"), std::io::Error::other(why)));
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            })??;
        }
        Ok(())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.hosts.is_empty() {
            return;
        }
        let names: Vec<_> = self.hosts.drain(..).map(|(host, _)| format!("{}-{host}", self.name)).collect();
        let gone = Registry::lock().and_then(|registry| names.iter().try_for_each(|it| registry.delete(it).map(drop)));
        if let Err(error) = gone {
            tracing::warn!("leftovers of the bench were not removed: {error}");
        }
    }
}

/// A switch looks at no IP packets. Where the machine has filters for those that cross bridges, each namespace begins with them on.
fn without_filters() -> Result<(), HostError> {
    for key in ["arptables", "ip6tables", "iptables"].map(|tables| format!("net/bridge/bridge-nf-call-{tables}")) {
        if sysctl::read(&key)?.is_some() {
            sysctl::write(&key, "0")?;
        }
    }
    Ok(())
}

fn mac(kind: u8, number: u8) -> [u8; 6] {
    [0x02, b'x', b's', b'k', kind, number]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// Sends what it would send on a wire, and takes what is redirected to it.
fn set_plain(interface: &str) -> Result<(), HostError> {
    Ethtool::open()?.set_features(&Link::find(interface)?, ethtool::plain_wire()).map(drop)
}

fn plain(interface: &str) -> Result<(), HostError> {
    set_plain(interface)?;
    Link::find(interface)?.set_up()
}

/// The service, as clients know it.
pub(super) fn service() -> SocketAddr {
    SocketAddr::new(VIP.into(), PORT)
}
