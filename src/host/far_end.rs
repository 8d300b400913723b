//! The other end of a veth pair, whose kernel decides what arrives at this one, and what of this one's arrives there.

use super::{
    HostError, Link,
    ethtool::{Ethtool, Features},
    netns::Namespace,
};

/// The other end of a veth pair, where it could be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarEnd {
    /// Its name.
    pub name: String,
    /// The namespace it is in, if it is not the one of the link.
    pub namespace: Option<String>,
    /// Its offloads.
    pub features: Features,
    /// Whether an XDP program is attached to it.
    pub has_xdp: bool,
}

impl FarEnd {
    /// The peer of a veth: none where its namespace has no name, or where the link is no veth.
    ///
    /// # Errors
    /// Those of the questions that this takes.
    pub fn find(link: &Link) -> Result<Option<Self>, HostError> {
        let Some(peer) = link.peer else {
            return Ok(None);
        };
        let look = || -> Result<Option<Self>, HostError> {
            let Some(found) = Link::list()?.into_iter().find(|link| link.index == peer.index && link.is_veth()) else {
                return Ok(None);
            };
            let features = Ethtool::open()?.features(&found)?;
            Ok(Some(Self { name: found.name, namespace: None, features, has_xdp: found.xdp.is_some() }))
        };
        let namespace = link.peer_namespace()?;
        let found = match (&namespace, peer.namespace_id) {
            (Some(namespace), _) => Namespace::open(namespace)?.run(look)??,
            (None, None) => look()?,
            (None, Some(_)) => None,
        };
        Ok(found.map(|found| Self { namespace, ..found }))
    }

    /// Whether it runs NAPI, without which nothing arrives there that an XDP program of this end sends: with GRO, or for an XDP
    /// program of its own.
    pub fn runs_napi(&self) -> bool {
        self.features.has_gro() || self.has_xdp
    }

    /// What to run so that it runs NAPI, whether or not it is known. GRO that was on before the interface was up does not count:
    /// the kernel looks when it is turned on.
    pub fn remedy(far_end: Option<&Self>) -> String {
        match far_end {
            None => "`ethtool -K PEER gro off; ethtool -K PEER gro on` in the network namespace of the peer".to_owned(),
            Some(Self { name, namespace, .. }) => {
                let enter =
                    namespace.as_ref().map_or_else(String::new, |namespace| format!("ip netns exec {namespace} "));
                format!("`{enter}ethtool -K {name} gro off; {enter}ethtool -K {name} gro on`")
            }
        }
    }
}

#[cfg(test)]
mod tests;
