//! The other end of a veth pair, whose kernel decides what arrives at this one.

use super::Line;
use crate::{
    host::{Link, far_end::FarEnd, netdev::Netdev},
    xdp::XdpMode,
};

/// The check of what leaves by the XDP program.
const WAY: &str = "xdp answers";

/// What the peer's settings do to what arrives here, and what of this end's arrives there, where XDP runs in this mode.
pub(super) fn examine(link: &Link, mode: Option<XdpMode>) -> Vec<Line> {
    if !link.is_veth() {
        return Vec::new();
    }
    let peer = FarEnd::find(link);
    let found = peer.as_ref().ok().and_then(Option::as_ref);
    let mut lines = vec![match &peer {
        Ok(Some(peer)) => judge(peer),
        Ok(None) => {
            let finding = "the peer is in a network namespace without a name, and cannot be looked at from here";
            let remedy = "in its namespace, `ethtool -k` should show tx-checksumming, tcp-segmentation-offload and \
                          generic-segmentation-offload off";
            Line::warn("veth peer", finding, remedy)
        }
        Err(error) => Line::unread("veth peer", error),
    }];
    // In generic mode what the program sends is a packet like any other.
    if mode != Some(XdpMode::Generic) {
        let told = Netdev::open().and_then(|netdev| netdev.map(|mut netdev| netdev.takes_redirects(link)).transpose());
        lines.push(told.map_or_else(|error| Line::unread(WAY, &error), |told| way(told, found)));
    }
    lines
}

/// Whether the frames arrive that the XDP program sends: as the kernel says, or as the peer is found.
pub(super) fn way(told: Option<bool>, peer: Option<&FarEnd>) -> Line {
    match told.or(peer.map(FarEnd::runs_napi)) {
        Some(true) => Line::ok(WAY, "what the XDP program sends arrives at the peer"),
        Some(false) => {
            let finding = "what the XDP program sends is lost, as the peer has neither GRO nor an XDP program: workers \
                           would answer SYNs in a flood, fewer of them";
            Line::warn(WAY, finding, format!("run {}", FarEnd::remedy(peer)))
        }
        None => {
            let finding = "before Linux 6.3 nobody tells whether what the XDP program sends arrives at such a peer: \
                           workers would answer SYNs in a flood, fewer of them";
            Line::warn(WAY, finding, "give the peer's namespace a name in /run/netns, and GRO to the peer")
        }
    }
}

pub(super) fn judge(peer: &FarEnd) -> Line {
    let (name, features) = (&peer.name, &peer.features);
    let place = peer.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let mut wrong = Vec::new();
    let mut settings = Vec::new();
    if features.offloads_tx_checksums() {
        wrong.push("leaves checksums undone, and on a veth nobody completes them");
        settings.push("tx off");
    }
    if features.sends_super_frames() {
        wrong.push("sends frames larger than the MTU unless XDP runs in native mode");
        settings.push("tso off gso off");
    }
    if wrong.is_empty() {
        return Line::ok("veth peer", format!("{name}{place} sends plain frames"));
    }
    let enter = peer.namespace.as_ref().map_or_else(String::new, |namespace| format!("ip netns exec {namespace} "));
    let remedy = format!("run `{enter}ethtool -K {name} {}`", settings.join(" "));
    Line::warn("veth peer", format!("{name}{place} {}", wrong.join("; ")), remedy)
}
