//! The SYN proxy of nftables: rules before the kernel's server, for as long as it stands.

use super::{Contender, ContenderError, nft};
use crate::{
    host::netns::Namespace,
    lab::{INTERFACE, Side},
};
use std::process::Command;

/// The table that the rules are in: theirs alone.
const TABLE: &str = "xskip_bench";

/// With this, an ACK of no known connection is invalid, and thereby the proxy's to judge; without, connection tracking
/// would take it for one of a connection that began before tracking did.
pub(super) const TUNING: [(&str, &str); 1] = [("net/netfilter/nf_conntrack_tcp_loose", "0")];

/// The rules in force. Dropping the value takes them away.
#[derive(Debug)]
pub(super) struct Synproxy {
    namespace: Namespace,
}

impl Synproxy {
    /// Puts the rules before `port`.
    pub fn install(side: &Side, port: u16) -> Result<Self, ContenderError> {
        let namespace = Namespace::open(side.namespace().name())?;
        nft::load(&namespace, &rules(port))?.map_err(unavailable)?;
        Ok(Self { namespace })
    }
}

impl Drop for Synproxy {
    fn drop(&mut self) {
        let mut nft = Command::new("nft");
        nft.args(["delete", "table", "inet", TABLE]);
        match self.namespace.output(&mut nft) {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                tracing::warn!("the rules of the SYN proxy stayed: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Err(error) => tracing::warn!("the rules of the SYN proxy stayed: {error}"),
        }
    }
}

/// The error of a machine without what the proxy is made of.
pub(super) fn unavailable(reason: String) -> ContenderError {
    ContenderError::Unavailable { name: Contender::NftSynproxy.name(), reason }
}

/// SYNs are kept from connection tracking and given to the proxy; so is the ACK that ends a handshake with it, which is of
/// no known connection. The proxy then shakes hands with the server in the client's name, by way of the loopback interface:
/// hence the rule for SYNs names the interface of the flood. The proxy announces the MSS that the server would.
fn rules(port: u16) -> String {
    let proxied = format!("tcp dport {port} ct state invalid,untracked");
    let rest = "wscale 7 timestamp sack-perm";
    format!(
        "table inet {TABLE} {{}}
        delete table inet {TABLE}
        table inet {TABLE} {{
            chain prerouting {{
                type filter hook prerouting priority raw; policy accept;
                iifname {INTERFACE} tcp dport {port} tcp flags syn notrack
            }}
            chain input {{
                type filter hook input priority filter; policy accept;
                meta nfproto ipv4 {proxied} synproxy mss 1460 {rest}
                meta nfproto ipv6 {proxied} synproxy mss 1440 {rest}
                tcp dport {port} ct state invalid drop
            }}
        }}
        "
    )
}
