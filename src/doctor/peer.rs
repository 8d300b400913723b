//! The other end of a veth pair, whose kernel decides what arrives at this one.

use super::Line;
use crate::host::{
    HostError, Link,
    ethtool::{Ethtool, Features},
    netns::Namespace,
};

/// The other end, where it could be found.
pub(super) struct Found {
    pub(super) name: String,
    /// The namespace it is in, if it is not the one of the link.
    pub(super) namespace: Option<String>,
    pub(super) features: Features,
}

pub(super) fn examine(link: &Link) -> Option<Line> {
    link.is_veth().then(|| match find(link) {
        Ok(Some(peer)) => judge(&peer),
        Ok(None) => {
            let finding = "the peer is in a network namespace without a name, and cannot be looked at from here";
            let remedy = "in its namespace, `ethtool -k` should show tx-checksumming, tcp-segmentation-offload and \
                          generic-segmentation-offload off, and generic-receive-offload on";
            Line::warn("veth peer", finding, remedy)
        }
        Err(error) => Line::unread("veth peer", &error),
    })
}

fn find(link: &Link) -> Result<Option<Found>, HostError> {
    let Some(peer) = link.peer else {
        return Ok(None);
    };
    let look = || -> Result<Option<(String, Features)>, HostError> {
        let Some(found) = Link::list()?.into_iter().find(|link| link.index == peer.index && link.is_veth()) else {
            return Ok(None);
        };
        let features = Ethtool::open()?.features(&found)?;
        Ok(Some((found.name, features)))
    };
    let namespace = link.peer_namespace()?;
    let found = match (&namespace, peer.namespace_id) {
        (Some(namespace), _) => Namespace::open(namespace)?.run(look)??,
        (None, None) => look()?,
        (None, Some(_)) => None,
    };
    Ok(found.map(|(name, features)| Found { name, namespace, features }))
}

pub(super) fn judge(peer: &Found) -> Line {
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
    if !features.has_gro() {
        wrong.push("loses what XDP sends back, as it runs NAPI only with GRO");
        settings.push("gro on");
    }
    if wrong.is_empty() {
        return Line::ok("veth peer", format!("{name}{place} sends plain frames, and runs NAPI"));
    }
    let enter = peer.namespace.as_ref().map_or_else(String::new, |namespace| format!("ip netns exec {namespace} "));
    let remedy = format!("run `{enter}ethtool -K {name} {}`", settings.join(" "));
    Line::warn("veth peer", format!("{name}{place} {}", wrong.join("; ")), remedy)
}
