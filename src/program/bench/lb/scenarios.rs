//! What `xskip bench lb` measures, and what is said of it to somebody who was not there.

use super::Trial;
use crate::{
    bench::scenario::{
        ATTEMPTS, Baseline, FAILURES as LEGIT_FAILURES, HANDSHAKE_P99, Headline, Metric, SYN_ACKS, Scenario, Series,
        Unit::{Bytes, Count, Gigabits, Kibibytes, Microseconds, Milliseconds, PerSecond},
        metric,
    },
    lb::Mode,
};

/// How all of them are introduced but the flood.
const SAME_GROUND: &str = "Clients reach a service by way of a load balancer, behind which web servers answer with their names. \
     All of them are around one switch of virtual Ethernet cables. The balancers took turns, round by round, each with hosts of its \
     own, the same clients and the same servers.";

const REQUESTS: Metric = metric("requests", "requests", Count);
const FAILED: Metric = metric("failed_requests", "… of which failed", Count);
const FAILED_KEPT: Metric = metric("failed_on_kept", "failed on connections that were there", Count);
const MOVED: Metric = metric("moved", "connections on which another server answered", Count);
const FAILED_NEW: Metric = metric("failed_on_new", "failed on new connections", Count);
const P99: Metric = metric("request_us_p99", "request, 99 %", Microseconds);
const SLOWEST: Metric = metric("request_us_max", "request, the slowest", Microseconds);

const FAILURES: Headline = Headline {
    metric: "failed_requests",
    heading: "How many requests failed",
    caption: "Requests that ended in a reset, were refused, or had no answer within 5 s: the median over the rounds; the thin line \
              spans the least to the greatest. Less is better.",
};

/// Nothing happens.
pub(in crate::bench) const STEADY: Scenario = Scenario {
    name: "lb-steady",
    title: "A load balancer at work",
    about: &[
        "First connections stay, 64 unless another number was asked for, and on each of them a small page is asked for, again and \
         again. Then each page takes a connection of its own. Then a few connections download a large file. At last connections are \
         opened that say nothing, 10,000 where a process may have descriptors for them. One contender is no balancer: there the clients go straight to one of the servers. Another one decides next to nothing: an XDP program \
         that gives frames other link addresses, there and back, is the limit for whoever forwards both ways.",
        SAME_GROUND,
    ],
    metrics: &[
        metric("requests_per_second", "requests", PerSecond),
        metric("latency_us_p50", "request, median", Microseconds),
        metric("latency_us_p99", "request, 99 %", Microseconds),
        metric("process_us_per_request", "balancer's process, CPU time a request", Microseconds),
        metric("failed_requests", "requests that failed", Count),
        metric("connections_per_second", "connections", PerSecond),
        metric("connection_us_p50", "connection, median", Microseconds),
        metric("connection_us_p99", "connection, 99 %", Microseconds),
        metric("process_us_per_connection", "balancer's process, CPU time a connection", Microseconds),
        metric("failed_connections", "connections that failed", Count),
        metric("download_gbit_per_second", "downloads", Gigabits),
        metric("failed_downloads", "downloads that failed", Count),
        metric("held_connections", "connections at rest", Count),
        metric("bytes_per_connection", "memory for each", Bytes),
        metric("process_bytes_per_connection", "… of it in the balancer's process", Bytes),
        metric("kernel_bytes_per_connection", "… of it in the kernel, for the balancer", Bytes),
        metric("failed_held_connections", "of those, failed", Count),
    ],
    headlines: &[
        Headline {
            metric: "requests_per_second",
            heading: "How many requests were answered",
            caption: "Requests per second: the median over the rounds; the thin line spans the least to the greatest. More is \
                      better.",
        },
        Headline {
            metric: "connections_per_second",
            heading: "How many connections came and went",
            caption: "Connections per second, with one request each. More is better.",
        },
        Headline {
            metric: "latency_us_p99",
            heading: "How long requests took",
            caption: "Within this time 99 % of the answers had arrived. Less is better.",
        },
        Headline {
            metric: "download_gbit_per_second",
            heading: "How much was downloaded",
            caption: "Gbit/s of payload, all downloads together. More is better.",
        },
        Headline {
            metric: "bytes_per_connection",
            heading: "What a connection at rest takes",
            caption: "Memory of the balancer's process, and of the kernel for it, divided by their number. Less is better.",
        },
    ],
    baselines: &[
        Baseline { name: "direct", metrics: None },
        Baseline { name: "redirect", metrics: None },
        Baseline { name: "haproxy", metrics: None },
    ],
    series: None,
};

/// A backend dies.
pub(in crate::bench) const KILL: Scenario = Scenario {
    name: "lb-kill",
    title: "A server dies",
    about: &[
        "Clients keep connections and ask on them; others come, ask once and leave. Then one of three servers is killed. What it \
         had is lost, whoever balances. What counts is how many new clients are sent to it still, for how long, and that nobody \
         else suffers.",
        SAME_GROUND,
    ],
    metrics: &[
        REQUESTS,
        FAILED,
        metric("failed_on_killed", "failed on connections that the dead server had", Count),
        metric("failed_on_others", "failed on connections of the others", Count),
        FAILED_NEW,
        metric("refused", "of all failed: refused", Count),
        metric("reset", "of all failed: reset", Count),
        metric("silent", "of all failed: no answer within 5 s", Count),
        metric("failing_ms", "from the death to the last failure", Milliseconds),
        P99,
        SLOWEST,
    ],
    headlines: &[FAILURES],
    baselines: &[],
    series: Some(Series {
        heading: "When they failed",
        caption: "Requests that failed, by the moment at which they had, in steps of 100 ms from the death of the server on.",
        x: "milliseconds since the server died",
        name: "failures over time",
    }),
};

/// A backend is drained.
pub(in crate::bench) const DRAIN: Scenario = Scenario {
    name: "lb-drain",
    title: "A server is drained",
    about: &[
        "Clients keep connections and ask on them; others come, ask once and leave. Then one of three servers is to get nothing \
         new and to keep what it has. Nobody should notice.",
        SAME_GROUND,
    ],
    metrics: &[
        REQUESTS,
        FAILED,
        FAILED_KEPT,
        FAILED_NEW,
        MOVED,
        metric("kept_on_drained", "requests on connections that the drained server kept", Count),
        metric("new_on_drained", "new connections to it, from 1 s after on", Count),
        P99,
        SLOWEST,
    ],
    headlines: &[FAILURES],
    baselines: &[],
    series: None,
};

/// The list of backends changes.
pub(in crate::bench) const RELOAD: Scenario = Scenario {
    name: "lb-reload",
    title: "Reloads under load",
    about: &[
        "Clients keep connections and ask on them; others come, ask once and leave; numbered datagrams go there and back. \
         Meanwhile the configuration is read anew ten times: once with another server, then with other weights, or as it was. \
         Nobody should notice.",
        SAME_GROUND,
    ],
    metrics: &[
        metric("reloads", "reloads", Count),
        REQUESTS,
        FAILED,
        FAILED_KEPT,
        FAILED_NEW,
        MOVED,
        metric("new_on_added", "new connections to the server that was added", Count),
        metric("datagrams", "datagrams", Count),
        metric("lost_datagrams", "… of which none came back", Count),
        P99,
        SLOWEST,
    ],
    headlines: &[FAILURES],
    baselines: &[],
    series: None,
};

/// As many packets as will go.
pub(in crate::bench) const FLOOD: Scenario = Scenario {
    name: "lb-flood",
    title: "Packets on one core",
    about: &[
        "As many packets as one core can make come by one virtual Ethernet cable, of 65,536 flows, and leave by another one, \
         where they are counted. The same core makes them, forwards them and counts them. The limit is an XDP program that \
         sends all of them on and decides nothing.",
    ],
    metrics: &[
        metric("offered_packets_per_second", "packets sent", PerSecond),
        metric("packets_per_second", "packets forwarded", PerSecond),
    ],
    headlines: &[Headline {
        metric: "packets_per_second",
        heading: "How many packets were forwarded",
        caption: "Packets per second: the median over the rounds; the thin line spans the least to the greatest. More is better.",
    }],
    baselines: &[Baseline { name: "redirect", metrics: None }],
    series: None,
};

/// Clients of a proxied service, and a flood of SYNs at it.
pub(in crate::bench) const DEFENDED: Scenario = Scenario {
    name: "lb-defended",
    title: "A balancer that ends connections, under a SYN flood",
    about: &[
        "Clients come to a service at a steady rate: they connect, fetch a page by way of a load balancer that ends their \
         connections and opens others to web servers, and leave. First they are alone. Then a flood of SYNs with made-up senders \
         pours in at the same address, as many as one core can make. What counts is how many clients are served all the same, \
         and how long they wait.",
        "Clients came at planned times, whether or not earlier ones had been served, and their waiting counts from the planned \
         time; who is not served within 8 s has failed.",
        SAME_GROUND,
    ],
    metrics: &[
        metric("offered_syn_per_second", "SYNs sent by the flood", PerSecond),
        metric(SYN_ACKS, "SYN-ACKs that came back", PerSecond),
        metric(ATTEMPTS, "clients under the flood", Count),
        metric("served", "… of which were served", Count),
        metric(LEGIT_FAILURES, "… of which failed", Count),
        metric("legit_handshake_us_p50", "handshake under flood, median", Microseconds),
        metric(HANDSHAKE_P99, "handshake under flood, 99 %", Microseconds),
        metric("legit_full_us_p50", "whole fetch under flood, median", Microseconds),
        metric("legit_full_us_p99", "whole fetch under flood, 99 %", Microseconds),
        metric("idle_failures", "clients that failed before the flood", Count),
        metric("idle_full_us_p50", "whole fetch before the flood, median", Microseconds),
        metric("idle_full_us_p99", "whole fetch before the flood, 99 %", Microseconds),
        metric("balancer_memory_growth_kib", "memory that the balancer's process grew by", Kibibytes),
    ],
    headlines: &[
        Headline {
            metric: LEGIT_FAILURES,
            heading: "How many clients failed under the flood",
            caption: "Clients that were refused, reset, or not served within 8 s: the median over the rounds; the thin line spans \
                      the least to the greatest. Less is better.",
        },
        Headline {
            metric: "legit_full_us_p99",
            heading: "How long clients waited under the flood",
            caption: "Within this time 99 % of those who were served had their page. Less is better.",
        },
    ],
    // Of failures there may be none, which nothing can be compared with.
    baselines: &[Baseline { name: "haproxy", metrics: Some(&["legit_full_us_p99"]) }],
    series: None,
};

/// What a balancer remembers.
pub(in crate::bench) const STATE: Scenario = Scenario {
    name: "lb-state",
    title: "Connections that keep their server",
    about: &[
        "A world in virtual time, drawn from a number: flows begin, speak and end; servers are added, drained, removed, weighed, \
         and fail their checks though they are well; strangers send what belongs to no flow. A balancer decides for each packet \
         where it goes. A flow of which a packet goes to another server than before, or nowhere, is broken, unless its server \
         was taken away.",
        "rows is what xskip does: a table of two generations, and memory for flows that need it. hash is a table and nothing \
         else. lru remembers every flow until too many others have come. All three live in the same worlds, one a round, with \
         the same table and the same limit of memory.",
    ],
    metrics: &[
        metric("flows", "flows", Count),
        metric("segments", "their segments", Count),
        metric("changes", "changes of the configuration", Count),
        metric("violations", "flows that were broken", Count),
        metric("refused_syns", "SYNs that went nowhere", Count),
        metric("remembered", "flows remembered, at most", Count),
    ],
    headlines: &[Headline {
        metric: "violations",
        heading: "How many flows were broken",
        caption: "Flows broken in a round: the median over the rounds; the thin line spans the least to the greatest. Less is better.",
    }],
    baselines: &[],
    series: Some(Series {
        heading: "How they add up",
        caption: "Flows broken until so many changes had been made, in all rounds together.",
        x: "changes of the configuration",
        name: "flows broken by changes",
    }),
};

/// One core for two.
pub(super) const SHARED_CORE: &str = "There was no core for the balancer alone: what is a process, HAProxy's and nginx's, had to \
     share one with the backends.";

const DELIVERY: &str = "A veth delivers on the sender's core. What XDP or the kernel forwards is forwarded there, and costs a \
     balancer's process nothing; a proxy's process receives, copies and sends. Offloads are set as on a wire: no segment is \
     larger than the MTU, and checksums are complete.";
const SLICES: &str = "Servers that share a core take turns of milliseconds where all of them are busy: that is what 99 % tells then, whoever \
     balances. direct has one server. What a balancer adds is seen with --connections 1.";
const CPU: &str = "CPU time is that of the balancer's process, whatever the kernel did in its name included, over the middle of a turn. What is \
     forwarded in XDP or by the kernel takes none of it: that is done where packets are sent.";
const MEMORY: &str = "Memory is the most that was in use while the connections were held, less what was in use before the first: the \
     resident memory of the balancer's process; the slabs of the kernel's sockets and of what watches them, as far as these are the \
     balancer's by their number, which leaves out those of the servers; and the slab of tracked connections. The clients' are none of \
     the kernel's. Tables that are there from the start, as those of xskip in mode nat, are not in it.";
const PROXIES: &str = "A proxy ends connections and opens others, so that it may try another server where one refuses. HAProxy \
     checks servers every 500 ms, as xskip does, 2 checks in a row; nginx notices when a connection is refused; nftables never \
     does.";
const RETURN: &str = "With xskip, servers answer clients themselves, but in the modes nat and proxy; by way of those, of a proxy, of the \
     kernel's translation or of redirect, answers go back through the balancer.";
const PASSED_ON: &str = "redirect chooses the server by the client's port and remembers nothing. Segments and answers go through it, as they go through what \
     translates, so both cross the switch equally often. It notices no server that fails, and no client behind another station.";
const RELOADS: &str = "HAProxy's master and nginx's replace their workers, which go on until their connections have ended; \
     nftables replaces its table at once. HAProxy has no UDP.";
const TRACKING: &str = "Packets are segments with ACK from 65,536 addresses, and for xskip in mode nat SYNs from there, which open \
     flows. nftables tracks connections: each flow takes an entry, of \
     which there are as many as nf_conntrack_max says; with more flows than that it forwards nothing.";

const COOKIES: &str = "All defend themselves by SYN cookies: xskip in XDP, on the core that the flood is sent from, HAProxy and nginx by their \
     kernel (net.ipv4.tcp_syncookies = 1), which answers on that core as well. Listening queues and somaxconn are as large as may be. \
     What comes back to the flood is counted and dropped by an XDP program where it was sent.";

/// What one has to know about the numbers.
pub(super) fn notes(trial: Trial, mode: Mode) -> &'static [&'static str] {
    match trial {
        Trial::Flood if mode == Mode::Proxy => &[COOKIES],
        Trial::Steady => &[DELIVERY, RETURN, PASSED_ON, SLICES, CPU, MEMORY],
        Trial::Kill => &[PROXIES, RETURN],
        Trial::Drain | Trial::Reload => &[RELOADS, RETURN],
        Trial::Flood => &[TRACKING],
    }
}
