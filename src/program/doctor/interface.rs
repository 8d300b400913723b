//! One interface: what it is, what it can do, and what is in the way.

use std::collections::BTreeSet;

use super::{Line, Trial, peer, trial};
use crate::{
    host::{
        HostError, Link,
        cores::Cores,
        ethtool::{Ethtool, Features, Rss},
    },
    xdp::MTU_MAX,
};

pub(super) fn examine(name: &str, trial: Trial) -> Vec<Line> {
    let link = match Link::find(name) {
        Ok(link) => link,
        Err(HostError::NoSuchInterface { name, known }) => {
            let remedy = "name one that is there, or run this in its namespace (`ip netns exec`, `xskip lab exec`)";
            return vec![Line::fail("interface", format!("there is no {name} here, only {known}"), remedy)];
        }
        Err(error) => return vec![Line::unread("interface", &error)],
    };
    if link.mac == [0; 6] {
        let finding = format!("{name} is not Ethernet");
        return vec![Line::fail("interface", finding, "name an interface that carries Ethernet frames")];
    }
    let mut lines = vec![
        describe(&link),
        state(&link),
        mtu(&link),
        Cores::read().map_or_else(|error| Line::unread("queues", &error), |cores| queues(&link, &cores)),
        Ethtool::open()
            .and_then(|mut ethtool| ethtool.rss(&link))
            .map_or_else(|error| Line::unread("rss", &error), |table| rss(&link, table.as_ref())),
    ];
    match Ethtool::open().and_then(|mut ethtool| ethtool.features(&link)) {
        Ok(features) => lines.push(offloads(&link, &features)),
        Err(error) => lines.push(Line::unread("offloads", &error)),
    }
    let (trials, mode) = trial::examine(&link, trial);
    lines.extend(peer::examine(&link, mode));
    if !link.is_veth() {
        lines.push(Cores::read().map_or_else(|error| Line::unread("numa", &error), |cores| numa(&link, &cores)));
    }
    lines.push(default_route(&link));
    lines.extend(trials);
    lines
}

fn describe(link: &Link) -> Line {
    let driver = link.driver.as_deref().unwrap_or("a driver without a name");
    let mac = link.mac.map(|byte| format!("{byte:02x}")).join(":");
    Line::ok("interface", format!("{} ({driver}), {mac}", link.name))
}

pub(super) fn state(link: &Link) -> Line {
    let name = &link.name;
    match (link.up, link.running) {
        (false, _) => Line::fail("link", "down", format!("run `ip link set dev {name} up`")),
        (true, false) => {
            let remedy = match link.is_veth() {
                true => "set its peer up too",
                false => "plug the cable in, and see that the other side is up",
            };
            Line::warn("link", "up, but without a carrier", remedy)
        }
        (true, true) => Line::ok("link", "up"),
    }
}

pub(super) fn mtu(link: &Link) -> Line {
    match link.mtu {
        0..=MTU_MAX => Line::ok("mtu", format!("{} bytes", link.mtu)),
        mtu => {
            let finding = format!("{mtu} bytes, but packets may be {MTU_MAX} bytes long at most");
            Line::fail("mtu", finding, format!("run `ip link set dev {} mtu {MTU_MAX}` or less", link.name))
        }
    }
}

pub(super) fn queues(link: &Link, cores: &Cores) -> Line {
    let (queues, count) = (link.rx_queues.min(link.tx_queues), cores.count());
    if queues as usize > count {
        let finding = format!("{queues} queues for {count} cores: their workers would take turns");
        let remedy = match link.is_veth() {
            true => format!("make the pair with {count} queues, or bear with it"),
            false => format!("run `ethtool -L {} combined {count}`, or bear with it", link.name),
        };
        return Line::warn("queues", finding, remedy);
    }
    Line::ok("queues", format!("{queues}, for {count} cores"))
}

pub(super) fn rss(link: &Link, table: Option<&Rss>) -> Line {
    let queues = link.rx_queues;
    if queues <= 1 {
        return Line::ok("rss", "one queue, and nothing to spread");
    }
    if link.is_veth() {
        return Line::ok("rss", "on a veth the sender picks the queue; workers pass on what is another's");
    }
    let name = &link.name;
    let Some(table) = table.filter(|table| !table.indirection.is_empty()) else {
        let remedy = format!("see `ethtool -x {name}`: the table should name all {queues} queues");
        return Line::warn("rss", "neither this kernel nor the driver tells", remedy);
    };
    let used = table.indirection.iter().collect::<BTreeSet<_>>().len();
    if used < queues as usize {
        let finding = format!("only {used} of {queues} queues receive anything");
        return Line::warn("rss", finding, format!("run `ethtool -X {name} equal {queues}`, or serve fewer queues"));
    }
    Line::ok("rss", format!("spreads over all {queues} queues"))
}

/// What this end does before XDP sees a frame.
pub(super) fn offloads(link: &Link, features: &Features) -> Line {
    let name = &link.name;
    let on = |feature: &str| features.get(feature).is_some_and(|feature| feature.on);
    if on("rx-lro") {
        let finding = "LRO merges segments before XDP could see them";
        return Line::warn("offloads", finding, format!("run `ethtool -K {name} lro off`"));
    }
    if !link.is_veth() && (on("rx-vlan-hw-parse") || on("rx-vlan-stag-hw-parse")) {
        let finding = "VLAN tags are taken off before XDP sees the frame";
        return Line::warn("offloads", finding, format!("where there are tags, run `ethtool -K {name} rxvlan off`"));
    }
    Line::ok("offloads", "none that would hide something from XDP")
}

pub(super) fn numa(link: &Link, cores: &Cores) -> Line {
    let Some(node) = link.numa_node.filter(|_| cores.node_count() > 1) else {
        return Line::ok("numa", "every core is as near to the device as any other");
    };
    let local: Vec<_> = cores.on_node(node).map(|core| core.to_string()).collect();
    if local.is_empty() {
        let remedy = "move the card, or switch the cores of its node on";
        return Line::warn("numa", format!("the device is on node {node}, which has no core online"), remedy);
    }
    Line::ok("numa", format!("the device is on node {node}: serve on its cores ({})", local.join(",")))
}

pub(super) fn default_route(link: &Link) -> Line {
    if !link.has_default_route {
        return Line::ok("routes", "no default route by this interface");
    }
    let finding = "the default route leaves by it: what goes wrong here may cut the machine off";
    Line::warn("routes", finding, "keep another way in, and leave the addresses you log in by to the kernel")
}
