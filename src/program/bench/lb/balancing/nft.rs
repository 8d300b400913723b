//! The kernel's own: nftables chooses by a hash, and connection tracking keeps to it.

use super::{Balancing, BenchError, DATAGRAMS, Member, PORT, VIP, Works, backend};
use crate::{bench::contender::nft::load, host::sysctl};

impl Balancing<'_> {
    pub(super) fn start_nft(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.take_address()?;
        self.ground.host("balancer").run(|| sysctl::write("net/ipv4/ip_forward", "1"))??;
        self.apply_nft(members)?;
        self.works = Works::Rules;
        Ok(())
    }

    /// New rules for old ones, at once; connections that there are stay where they are.
    pub(super) fn apply_nft(&mut self, members: &[Member]) -> Result<(), BenchError> {
        load(self.ground.host("balancer"), &rules(members))?.map_err(|why| self.unavailable(why))
    }
}

/// Shares of a hash, as large as weights are.
pub(super) fn rules(members: &[Member]) -> String {
    let (mut shares, mut end) = (Vec::new(), 0);
    for member in members.iter().filter(|it| it.takes_new()) {
        shares.push(format!("{end}-{} : {}", end + member.weight - 1, backend(member.number)));
        end += member.weight;
    }
    let shares = shares.join(", ");
    let rule = |protocol: &str, port: u16| {
        format!(
            "ip daddr {VIP} {protocol} dport {port} dnat to jhash ip saddr . {protocol} sport mod {end} map {{ {shares} }}"
        )
    };
    format!(
        "table ip xskip_bench {{}}
        delete table ip xskip_bench
        table ip xskip_bench {{
            chain spread {{
                type nat hook prerouting priority dstnat; policy accept;
                {}
                {}
            }}
        }}
        ",
        rule("tcp", PORT),
        rule("udp", DATAGRAMS)
    )
}
