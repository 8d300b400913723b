//! A client, a balancer and a backend, each in a network namespace: the balancer is a wire that puts headers in front. It is the router,
//! too, by which the backend answers the client.

use super::{
    Name,
    packet::{PacketSocket, Virtio},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};
use xskip_cli::{
    host::{Link, netns::Namespace},
    wire::checksum::Checksum,
};

pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 1, 0, 0, 0, 0, 2);
pub const BALANCER_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
pub const BALANCER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 2, 0, 0, 0, 0, 1);
pub const BACKEND_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
pub const BACKEND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 2, 0, 0, 0, 0, 2);
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 80);
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0x80);
/// The backend's interface, and the balancer's two.
pub const INTERFACE: &str = "b0";
const FRONT: &str = "r0";
const BACK: &str = "r1";

const UDP: u8 = 17;
const GUE_PORT: u16 = 6_080;
const ETHERNET: usize = 14;

/// How packets are encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub gue: bool,
    pub outer_ipv6: bool,
    pub inner_ipv6: bool,
}

impl Kind {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self { gue: bits & 4 != 0, outer_ipv6: bits & 2 != 0, inner_ipv6: bits & 1 != 0 })
    }

    /// The counter that counts them.
    pub fn name(self) -> String {
        let (way, digit) = (if self.gue { "gue" } else { "ipip" }, |ipv6| if ipv6 { 6 } else { 4 });
        format!("{way}_{}in{}", digit(self.inner_ipv6), digit(self.outer_ipv6))
    }

    pub fn outer_len(self) -> usize {
        (if self.outer_ipv6 { 40 } else { 20 }) + if self.gue { 8 } else { 0 }
    }

    pub fn vip(self) -> IpAddr {
        if self.inner_ipv6 { VIP_V6.into() } else { VIP_V4.into() }
    }

    /// A packet with the outer headers in front, from the balancer to the backend.
    pub fn around(self, packet: &[u8]) -> Vec<u8> {
        let mut payload = packet.to_vec();
        if self.gue {
            let length = 8 + packet.len() as u16;
            payload = [&[40_001, GUE_PORT, length, 0].map(u16::to_be_bytes).concat(), packet].concat();
        }
        let protocol = if self.gue { UDP } else { [4, 41][usize::from(self.inner_ipv6)] };
        let length = payload.len() as u16;
        if self.outer_ipv6 {
            let [high, low] = length.to_be_bytes();
            let header = [0x60, 0, 0, 0, high, low, protocol, 64];
            return [&header[..], &BALANCER_V6.octets(), &BACKEND_V6.octets(), &payload].concat();
        }
        let [high, low] = (length + 20).to_be_bytes();
        let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        header.extend(BALANCER_V4.octets());
        header.extend(BACKEND_V4.octets());
        let field = Checksum::of(&header).field();
        header[10..12].copy_from_slice(&field);
        header.extend(payload);
        header
    }
}

/// What frames are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Each is a segment, with a complete checksum, and stays one.
    Segments,
    /// The client's kernel leaves the checksum inside to somebody else, and nobody does it.
    Unfinished,
    /// The backend merges segments again before it looks at them: super-frames, as a sender without a wire would leave them whole.
    Merged,
}

/// The three namespaces. They go when the value is dropped, also by a failing test.
pub struct Tunnel {
    pub client: Namespace,
    pub router: Namespace,
    pub backend: Namespace,
    pub wire: Wire,
    name: Name,
}

impl Tunnel {
    pub fn new(wire: Wire) -> Self {
        let name = Name::new();
        let [client, router, backend] = ["client", "relay", "server"].map(|side| name.namespace(side));
        let script = format!(
            "for name in {client} {router} {backend}; do ip netns add $name; ip -n $name link set lo up; done
             ip -n {client} link add c0 type veth peer name {FRONT} netns {router}
             ip -n {router} link add {BACK} mtu 1600 type veth peer name {INTERFACE} mtu 1600 netns {backend}
             add() {{ ip -n $1 address add $3/24 dev $2; ip -n $1 address add $4/64 dev $2 nodad; ip -n $1 link set $2 up; }}
             add {client} c0 {CLIENT_V4} {CLIENT_V6}
             add {router} {FRONT} 10.1.0.1 2001:2:1::1
             add {router} {BACK} {BALANCER_V4} {BALANCER_V6}
             add {backend} {INTERFACE} {BACKEND_V4} {BACKEND_V6}
             ip -n {client} route add default via 10.1.0.1; ip -n {client} route add default via 2001:2:1::1
             ip -n {backend} route add default via {BALANCER_V4}; ip -n {backend} route add default via {BALANCER_V6}
             ip -n {router} route add blackhole {VIP_V4}; ip -n {router} route add blackhole {VIP_V6}
             ip -n {backend} address add {VIP_V4}/32 dev lo; ip -n {backend} address add {VIP_V6}/128 dev lo nodad
             ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        );
        sh(&script);
        let checksums = if wire == Wire::Unfinished { "on" } else { "off" };
        sh(&format!("ip netns exec {client} ethtool -K c0 tx {checksums} tso off gso off >&2"));
        if wire == Wire::Merged {
            // A veth merges what comes from an end that does not segment itself.
            sh(&format!(
                "ip netns exec {router} ethtool -K {BACK} tso off >&2
                 ip netns exec {backend} ethtool -K {INTERFACE} gro on >&2
                 ip netns exec {backend} bash -c 'echo 500000 > /sys/class/net/{INTERFACE}/gro_flush_timeout; \
                     echo 2 > /sys/class/net/{INTERFACE}/napi_defer_hard_irqs'"
            ));
        }
        let [client, router, backend] = [client, router, backend].map(|name| Namespace::open(&name).unwrap());
        Self { client, router, backend, wire, name }
    }

    /// Runs a command on the backend, as `ip netns exec` does.
    pub fn at_backend(&self, command: &[&str]) -> Output {
        self.backend.output(Command::new(command[0]).args(&command[1..])).unwrap()
    }

    /// Runs a script on the backend, which must succeed, and gives back what it wrote.
    #[track_caller]
    pub fn backend_sh(&self, script: &str) -> String {
        sh(&format!("ip netns exec {} bash -euc '{script}'", self.name.namespace("server")))
    }

    /// Puts headers in front of what is for a virtual address, until it is told to stop.
    pub fn balance(&self, kind: Kind) -> Balancer {
        let (stop, sent, unfinished) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let whereto = self.backend.run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
        let has_virtio = self.wire == Wire::Unfinished;
        // A socket stays in the namespace where it was opened.
        let (front, back, from) = self
            .router
            .run(|| {
                let [front, back] = [FRONT, BACK].map(|name| Link::find(name).unwrap());
                let [front_socket, back_socket] =
                    [&front, &back].map(|link| PacketSocket::open(link.index, has_virtio).unwrap());
                (front_socket, back_socket, back.mac)
            })
            .unwrap();
        let (asked, count, partial) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&unfinished));
        let carry = move || {
            while !asked.load(Ordering::Relaxed) {
                let Some((virtio, frame)) = front.receive().unwrap() else { continue };
                // The last segments of a conversation may come when the next kind has its turn, and are none of it.
                if !is_for(&frame, kind.vip()) {
                    continue;
                }
                let ether_type = if kind.outer_ipv6 { [0x86, 0xdd] } else { [8, 0] };
                let packet = kind.around(&frame[ETHERNET..]);
                let virtio_behind = virtio.behind(kind.outer_len() as u16);
                let whole = [&whereto[..], &from, &ether_type, &packet].concat();
                count.fetch_add(1, Ordering::Relaxed);
                partial.fetch_add(virtio.is_unfinished().into(), Ordering::Relaxed);
                back.send(virtio_behind, &whole).unwrap();
            }
        };
        Balancer { stop, sent, unfinished, thread: Some(thread::spawn(carry)) }
    }

    /// Sends frames from the balancer's side of the backend's link; each begins behind the addresses.
    pub fn inject(&self, frames: &[Vec<u8>]) {
        self.inject_as(None, frames);
    }

    /// Sends them as a virtio header says.
    pub fn inject_as(&self, virtio: Option<Virtio>, frames: &[Vec<u8>]) {
        let whereto = self.backend.run(|| Link::find(INTERFACE).unwrap().mac).unwrap();
        let send = || {
            let link = Link::find(BACK).unwrap();
            let socket = PacketSocket::open(link.index, virtio.is_some()).unwrap();
            for frame in frames {
                let whole = [&whereto[..], &link.mac, frame].concat();
                socket.send(virtio.unwrap_or_default(), &whole).unwrap();
            }
        };
        self.router.run(send).unwrap();
    }
}

fn is_for(frame: &[u8], vip: IpAddr) -> bool {
    match (frame.get(12..14), vip) {
        (Some([8, 0]), IpAddr::V4(vip)) => frame.get(30..34) == Some(&vip.octets()[..]),
        (Some([0x86, 0xdd]), IpAddr::V6(vip)) => frame.get(38..54) == Some(&vip.octets()[..]),
        _ => false,
    }
}

/// A balancer at work.
pub struct Balancer {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    unfinished: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Balancer {
    /// Ends it: how many frames it sent, and how many of them had no complete checksum inside.
    pub fn stop(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        (self.sent.load(Ordering::Relaxed), self.unfinished.load(Ordering::Relaxed))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs a script, which must succeed, and gives back what it wrote.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
