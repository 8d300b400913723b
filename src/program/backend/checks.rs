//! What keeps packets from the servers, or lets in what should stay out, though the program is attached. Nothing is changed: it is said.

use super::{BackendError, handover};
use crate::{
    bpf::{BackendProgram, BackendSettings},
    host::{HostError, Link, ethtool::Ethtool, sysctl},
    xdp::tc::Trial,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Something to look at, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What was found.
    pub finding: String,
    /// What helps.
    pub remedy: String,
}

impl Advice {
    pub(super) fn new(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { finding: finding.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.finding, self.remedy)
    }
}

/// Octets in front of an IPv4 or IPv6 packet: the outer header, and GUE's UDP.
const OVERHEAD_IPV4: u32 = 20 + 8;
const OVERHEAD_IPV6: u32 = 40 + 8;
/// The largest packet that most clients send.
const USUAL_MTU: u32 = 1_500;
/// The headers of a segment of TCP in IPv6; in IPv4 they are shorter.
const SEGMENT_HEADERS: u32 = 60;

/// Receive offloads that merge datagrams to a port that no socket has: those of GUE among them.
const MERGING: [&str; 2] = ["rx-udp-gro-forwarding", "rx-gro-list"];

pub(super) fn examine(link: &Link, settings: &BackendSettings) -> Result<Vec<Advice>, BackendError> {
    let mut machine = link.clone();
    machine.add_addresses_from_elsewhere(&[&settings.vips[..], &settings.tunnel_ends].concat())?;
    let is_ours = |address: IpAddr| machine.addresses.iter().any(|&(ours, _)| ours == address);
    let mut advice = Vec::new();
    advice.extend(senders(settings));
    advice.extend(state(link));
    advice.extend(settings.tunnel_ends.iter().filter(|&&end| !is_ours(end)).map(|&end| tunnel_end(end)));
    for &vip in &settings.vips {
        match is_ours(vip) {
            true if link.addresses.iter().any(|&(own, _)| own == vip) => advice.push(vip_on_link(vip, link)),
            true => {}
            false => advice.push(vip_nowhere(vip)),
        }
    }
    if settings.vips.iter().any(IpAddr::is_ipv4) {
        let effective = |name| Ok::<_, HostError>(setting("all", name)?.max(setting(&link.name, name)?));
        advice.extend(arp(link, effective("arp_ignore")?, effective("arp_announce")?));
        advice.extend(reverse_path(link, effective("rp_filter")?));
    }
    advice.extend(mtu(link, settings));
    let features = Ethtool::open()?.features(link)?;
    let is_on = |name: &&str| features.get(name).is_some_and(|feature| feature.on);
    advice.extend(MERGING.into_iter().filter(is_on).map(|name| merging(link, name)));
    advice.extend(crossing(settings)?);
    if settings.master.is_some() {
        advice.extend(handover::examine(settings)?);
    }
    Ok(advice)
}

fn senders(settings: &BackendSettings) -> Option<Advice> {
    let finding = "packets are taken from anybody, so whoever can send here can forge whom they come from";
    settings.senders.is_empty().then(|| Advice::new(finding, "name the balancers with --from"))
}

fn state(link: &Link) -> Option<Advice> {
    let name = &link.name;
    (!link.up).then(|| Advice::new(format!("{name} is down"), format!("set it up with `ip link set dev {name} up`")))
}

fn tunnel_end(address: IpAddr) -> Advice {
    let finding = format!("no tunnel ends at {address} so far, which is no address of this host");
    Advice::new(finding, "add it with `ip address add`, or name another one with --address")
}

fn vip_nowhere(vip: IpAddr) -> Advice {
    let prefix = if vip.is_ipv4() { 32 } else { 128 };
    let finding = format!("no server here gets what is for {vip}, which is no address of this host");
    Advice::new(finding, format!("add it with `ip address add {vip}/{prefix} dev lo`"))
}

fn vip_on_link(vip: IpAddr, link: &Link) -> Advice {
    let name = &link.name;
    let prefix = if vip.is_ipv4() { 32 } else { 128 };
    let finding =
        format!("{vip} is an address of {name}, where neighbours are answered for it in the balancer's stead");
    Advice::new(finding, format!("move it with `ip address add {vip}/{prefix} dev lo`, and `ip address del` it there"))
}

/// A setting of an interface, or of all of them; 0 where this kernel does not have it.
fn setting(interface: &str, name: &str) -> Result<u32, HostError> {
    let value = sysctl::read(&format!("net/ipv4/conf/{interface}/{name}"))?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
}

fn set(link: &Link, name: &str, value: u32) -> String {
    // A dot in the interface's name would be taken for a slash, so the slashes are written.
    format!("sysctl -w net/ipv4/conf/{}/{name}={value}", link.name)
}

/// What the kernel does about ARP on this link, by the larger of two settings each.
fn arp(link: &Link, ignore: u32, announce: u32) -> Option<Advice> {
    // 1: only for the link's own addresses; 2: only for those in the sender's subnet as well; 8: never.
    let is_silent = [1, 2, 8].contains(&ignore);
    let mut settings = Vec::new();
    settings.extend((!is_silent).then(|| set(link, "arp_ignore", 1)));
    settings.extend((announce < 2).then(|| set(link, "arp_announce", 2)));
    let finding =
        format!("{} speaks for virtual addresses by ARP, and neighbours may take it for the balancer", link.name);
    let remedy = format!("run `{}`, unless they are no addresses of that link's subnet", settings.join("` and `"));
    (!settings.is_empty()).then(|| Advice::new(finding, remedy))
}

fn reverse_path(link: &Link, rp_filter: u32) -> Option<Advice> {
    let name = &link.name;
    let finding = format!("the kernel drops what comes by {name} from clients that it would not answer by {name}");
    (rp_filter == 1).then(|| Advice::new(finding, format!("run `{}`", set(link, "rp_filter", 2))))
}

fn mtu(link: &Link, settings: &BackendSettings) -> Option<Advice> {
    let is_ipv6 = settings.tunnel_ends.iter().any(IpAddr::is_ipv6);
    let overhead = if is_ipv6 { OVERHEAD_IPV6 } else { OVERHEAD_IPV4 };
    let (name, needed) = (&link.name, USUAL_MTU + overhead);
    let mss = link.mtu.saturating_sub(overhead + SEGMENT_HEADERS);
    let finding = format!(
        "a client's packets of {USUAL_MTU} octets are up to {needed} in a tunnel, and the MTU of {name} is {}",
        link.mtu
    );
    let remedy = format!(
        "set it to {needed} here and on the way from the balancer (`ip link set dev {name} mtu {needed}`), or announce no more than \
         fits, with `advmss {mss}` at the route to the clients"
    );
    (link.mtu < needed).then(|| Advice::new(finding, remedy))
}

fn merging(link: &Link, feature: &str) -> Advice {
    let finding = format!("{feature} merges datagrams of GUE, which cannot be taken apart again here");
    Advice::new(finding, format!("run `ethtool -K {} {feature} off`, or use IPIP", link.name))
}

/// Whether the kernel takes one IP out of the other, where that is wanted: tried, not guessed.
fn crossing(settings: &BackendSettings) -> Result<Option<Advice>, BackendError> {
    let has = |addresses: &[IpAddr], is_ipv6| addresses.iter().any(|address| address.is_ipv6() == is_ipv6);
    let (ends, vips) = (&settings.tunnel_ends, &settings.vips);
    if !(has(ends, false) && has(vips, true) || has(ends, true) && has(vips, false)) || can_cross()? {
        return Ok(None);
    }
    let finding = "this kernel takes neither IPv6 out of IPv4 nor IPv4 out of IPv6, and such packets are dropped";
    Ok(Some(Advice::new(finding, "run Linux 6.3 or later, or let the balancer use a tunnel of the same IP")))
}

/// Addresses for documentation (RFC 5737, RFC 3849).
const TRIED_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TRIED_VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn can_cross() -> Result<bool, BackendError> {
    let settings = BackendSettings {
        tunnel_ends: vec![TRIED_END.into()],
        vips: vec![TRIED_VIP.into()],
        ..BackendSettings::default()
    };
    let program = BackendProgram::load(&settings)?;
    program.try_on(Trial { frame: &tried_frame(), ..Trial::default() })?;
    Ok(program.tallies()?.ipip_6in4 == 1)
}

/// The smallest IPv6 packet that is one, in IPv4.
fn tried_frame() -> Vec<u8> {
    const NOTHING_NEXT: u8 = 59;
    const IPV6: u8 = 41;
    let inner = [&[0x60, 0, 0, 0, 0, 0, NOTHING_NEXT, 64][..], &TRIED_VIP.octets(), &TRIED_VIP.octets()].concat();
    let mut outer = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, IPV6, 0, 0];
    outer.extend(TRIED_END.octets());
    outer.extend(TRIED_END.octets());
    let sum: u32 = outer.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    outer[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    [&[0; 12][..], &[8, 0], &outer, &inner].concat()
}

#[cfg(test)]
mod tests;
