//! What a shared address may take away from the kernel's own programs without anybody noticing: it is the XDP program that takes
//! the listed ports, before the kernel has looked whose they are.

use crate::host::sysctl;
use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

/// Ports that the kernel is not to pick (ip-sysctl.rst).
const RESERVED: &str = "net/ipv4/ip_local_reserved_ports";

/// Ports of a shared address that are in somebody's way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// The kernel may pick them for connections of its own, whose answers would then come here.
    Ephemeral {
        /// The ports.
        ports: Vec<u16>,
        /// Those that the kernel picks from.
        range: RangeInclusive<u16>,
        /// What is reserved already, as the kernel writes it: ports and ranges with commas between.
        reserved: String,
    },
    /// A program of the kernel's listens there, and will not be reached.
    Hidden {
        /// Where it listens.
        socket: SocketAddr,
        /// Whether it listens to datagrams.
        udp: bool,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ephemeral { ports, range, reserved } => {
                let (ports, comma) = (as_ranges(ports), if reserved.is_empty() { "" } else { "," });
                write!(
                    f,
                    "the kernel opens connections from ports {} to {}, and the answers to one that it opens from {ports} would come \
                     to this server: run `sysctl -w net.ipv4.ip_local_reserved_ports={reserved}{comma}{ports}`",
                    range.start(),
                    range.end()
                )
            }
            Self::Hidden { socket, udp } => write!(
                f,
                "a program listens on {socket} ({}) by way of the kernel, and hears nothing at the shared address while this server \
                 runs: stop it, or serve another port",
                if *udp { "UDP" } else { "TCP" }
            ),
        }
    }
}

/// What stands in the way of these ports at these addresses. Where the kernel does not tell, nothing does.
pub(super) fn conflicts(addresses: &[IpAddr], tcp: &[u16], udp: &[u16]) -> Vec<Conflict> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let setting = |key| sysctl::read(key).ok().flatten().unwrap_or_default();
    let (range, reserved) = (setting("net/ipv4/ip_local_port_range"), setting(RESERVED));
    // The calling thread's network namespace may be another than the process's.
    let table = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let both = |name: &str| [table(name.to_owned()), table(format!("{name}6"))].concat();
    let mut found: Vec<_> = ephemeral(&[tcp, udp].concat(), &range, reserved).into_iter().collect();
    found.extend(hidden(addresses, tcp, &both("tcp"), false));
    found.extend(hidden(addresses, udp, &both("udp"), true));
    found
}

fn ephemeral(ports: &[u16], range: &str, reserved: String) -> Option<Conflict> {
    let mut ends = range.split_whitespace().map_while(|number| number.parse().ok());
    let range: RangeInclusive<u16> = ends.next()?..=ends.next()?;
    let is_reserved = |port: u16| reserved.split(',').filter_map(parse_range).any(|range| range.contains(&port));
    let mut ports: Vec<u16> =
        ports.iter().copied().filter(|port| range.contains(port) && !is_reserved(*port)).collect();
    ports.sort_unstable();
    ports.dedup();
    (!ports.is_empty()).then_some(Conflict::Ephemeral { ports, range, reserved })
}

/// `8080` or `8080-8090`.
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

/// Sorted ports the way [`parse_range`] reads them, with commas between.
fn as_ranges(ports: &[u16]) -> String {
    let runs = ports.chunk_by(|port, next| port.checked_add(1) == Some(*next));
    let run = |run: &[u16]| match run {
        [first, .., last] => format!("{first}-{last}"),
        [port] => port.to_string(),
        [] => String::new(),
    };
    runs.map(run).collect::<Vec<_>>().join(",")
}

/// The listeners of `/proc/net/tcp` and `tcp6`, or `udp` and `udp6`, that are on these ports, at these addresses or at all.
fn hidden(addresses: &[IpAddr], ports: &[u16], table: &str, udp: bool) -> Vec<Conflict> {
    // TCP_LISTEN; and TCP_CLOSE, which is what a UDP socket is that is connected to nobody.
    let listening = if udp { "07" } else { "0A" };
    let mut found = Vec::new();
    for line in table.lines() {
        let mut fields = line.split_whitespace();
        let (Some(local), Some(state)) = (fields.nth(1), fields.nth(1)) else { continue };
        let Some(socket) = parse_socket(local).filter(|_| state == listening) else { continue };
        let is_ours = match socket.ip() {
            // Whether it hears IPv4 as well is not in the table.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => addresses.iter().any(IpAddr::is_ipv4),
            address => addresses.contains(&address),
        };
        let conflict = Conflict::Hidden { socket, udp };
        if is_ours && ports.contains(&socket.port()) && !found.contains(&conflict) {
            found.push(conflict);
        }
    }
    found
}

/// `0100007F:1F90`: words of the address as this machine stores them, and the port as a number.
fn parse_socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut octets = [0; 16];
            octets.copy_from_slice(words.as_flattened());
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests;
