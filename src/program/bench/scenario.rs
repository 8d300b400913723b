//! The scenarios as data: what each measures, how its numbers are to be read, and what is said of it to somebody who was not
//! there.

use super::lb;
use Unit::{Bytes, Count, Gigabits, Kibibytes, Microseconds, PerSecond, Percent};

/// How a number is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Events per second.
    PerSecond,
    /// Events.
    Count,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Units of 1,024 bytes.
    Kibibytes,
    /// Bytes.
    Bytes,
    /// 10^9 bits per second.
    Gigabits,
    /// Hundredths.
    Percent,
}

/// Something measured.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in JSON, which carries the unit.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// How its number is to be read.
    pub unit: Unit,
}

pub(super) const fn metric(name: &'static str, label: &'static str, unit: Unit) -> Metric {
    Metric { name, label, unit }
}

/// One of the figures that a scenario is about.
#[derive(Clone, Copy, Debug)]
pub struct Headline {
    /// The metric's name.
    pub metric: &'static str,
    /// What stands above its chart.
    pub heading: &'static str,
    /// What its bars mean, and which way is better.
    pub caption: &'static str,
}

/// Whom the others are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// The contender that others are compared to.
    pub name: &'static str,
    /// The metrics compared, or `None` for all.
    pub metrics: Option<&'static [&'static str]>,
}

/// What is drawn of each contender, from left to right.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// What stands above it.
    pub heading: &'static str,
    /// What its lines mean.
    pub caption: &'static str,
    /// What goes from left to right.
    pub x: &'static str,
    /// What is drawn, in a few words.
    pub name: &'static str,
}

/// A scenario, in the terms of its report.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line and in JSON.
    pub name: &'static str,
    /// What a page about it is called.
    pub title: &'static str,
    /// What is said of it, paragraph by paragraph.
    pub about: &'static [&'static str],
    /// What is measured, in the order in which it is shown.
    pub metrics: &'static [Metric],
    /// What it is about: these are charted, and their ratios shown.
    pub headlines: &'static [Headline],
    /// What contenders are compared to.
    pub baselines: &'static [Baseline],
    /// What is drawn beside that.
    pub series: Option<Series>,
}

impl Scenario {
    /// All of them.
    pub const ALL: [&'static Self; 13] = [
        &SYN_FLOOD,
        &HTTP,
        &CONNECT_RATE,
        &BULK,
        &LATENCY,
        &IDLE_CONNECTIONS,
        &lb::STEADY,
        &lb::KILL,
        &lb::DRAIN,
        &lb::RELOAD,
        &lb::FLOOD,
        &lb::DEFENDED,
        &lb::STATE,
    ];

    /// The one of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// What people call a metric, and how its number is to be read. One that is not known is called by its name.
    pub fn describe(&self, name: &'static str) -> Metric {
        let known = self.metrics.iter().find(|metric| metric.name == name);
        known.copied().unwrap_or(Metric { name, label: name, unit: Count })
    }
}

/// SYN-ACKs that came back, per second.
pub const SYN_ACKS: &str = "syn_ack_per_second";
/// Attempts of legitimate clients under the flood.
pub const ATTEMPTS: &str = "legit_attempts";
/// Those that failed.
pub const FAILURES: &str = "legit_failures";
/// 99th percentile of a legitimate handshake that completed under the flood.
pub const HANDSHAKE_P99: &str = "legit_handshake_us_p99";

/// Legitimate clients of a server that is flooded. Times are those of attempts that succeeded; those that did not are among the
/// failures. Contenders are compared to the kernel in all, and in SYN-ACKs to the limit set by a bare reflector.
pub const SYN_FLOOD: Scenario = Scenario {
    name: "syn-flood",
    title: "Getting through a SYN flood",
    about: &[
        "A server listens on one end of a virtual Ethernet cable. From the other end, a flood of connection requests (TCP SYNs) \
         with made-up senders pours in, as in a denial-of-service attack. Meanwhile, ordinary clients keep coming: at a steady \
         rate they connect, fetch a page and leave.",
        "What counts is what becomes of the ordinary clients: do they still get through, and how long do they wait? The second \
         question is how much of the flood a server can answer at all, since a server that falls behind drops requests without \
         knowing whose they are.",
        "The same flood and the same clients drove each contender in turn, round by round. Clients came at planned times, \
         whether or not earlier ones had been served, and their waiting counts from the planned time.",
    ],
    metrics: &[
        metric("offered_syn_per_second", "SYNs sent by the flood", PerSecond),
        metric(SYN_ACKS, "SYN-ACKs that came back", PerSecond),
        metric(ATTEMPTS, "legitimate attempts", Count),
        metric(FAILURES, "… of which failed", Count),
        metric("legit_handshake_us_p50", "handshake under flood, median", Microseconds),
        metric(HANDSHAKE_P99, "handshake under flood, 99 %", Microseconds),
        metric("legit_full_us_p50", "whole fetch under flood, median", Microseconds),
        metric("legit_full_us_p99", "whole fetch under flood, 99 %", Microseconds),
        metric("idle_handshake_us_p50", "handshake before the flood, median", Microseconds),
        metric("idle_handshake_us_p99", "handshake before the flood, 99 %", Microseconds),
        metric("server_memory_growth_kib", "server memory growth", Kibibytes),
    ],
    headlines: &[Headline {
        metric: SYN_ACKS,
        heading: "How much of the flood was answered",
        caption: "SYN-ACKs per second: the median over the rounds; the thin line spans the least to the greatest. More is \
                  better.",
    }],
    baselines: &[Baseline { name: "kernel", metrics: None }, Baseline { name: "xdp-tx", metrics: Some(&[SYN_ACKS]) }],
    series: None,
};

/// How a scenario with one client and two servers is introduced, whatever it is about.
const SAME_CLIENT: &str = "A server on one end of a virtual Ethernet cable is driven by a load generator on the other end. The \
     generator is the same for each contender, with the same settings: xskip's own stack, on AF_XDP, on a core of its own. The \
     contenders took turns, round by round, each in a lab of its own.";

const KERNEL: &[Baseline] = &[Baseline { name: "kernel", metrics: None }];

/// Busy cores are measured in all scenarios that keep them busy.
const SERVER_CORE: Metric = metric("server_core_busy_percent", "server's core busy", Percent);
const CLIENT_CORE: Metric = metric("client_core_busy_percent", "client's core busy", Percent);

/// Keep-alive connections with one request outstanding on each.
pub const HTTP: Scenario = Scenario {
    name: "http",
    title: "Requests on connections that stay",
    about: &[
        "Connections are opened once. On each of them a small page is asked for, again and again, as soon as the last one has \
         arrived: so many requests are under way at any time as there are connections.",
        SAME_CLIENT,
    ],
    metrics: &[
        metric("requests_per_second", "requests", PerSecond),
        metric("latency_us_p50", "latency, median", Microseconds),
        metric("latency_us_p99", "latency, 99 %", Microseconds),
        metric("server_cpu_us_per_request", "server's CPU time a request", Microseconds),
        metric("server_core_us_per_request", "… of it on the server's core", Microseconds),
        metric("delivery_us_per_request", "… of it on the client's core", Microseconds),
        metric("server_process_us_per_request", "server's process alone", Microseconds),
        metric("server_softirq_us_per_request", "softirqs of the server's core alone", Microseconds),
        SERVER_CORE,
        CLIENT_CORE,
        metric("failed_requests", "requests that failed", Count),
    ],
    headlines: &[
        Headline {
            metric: "requests_per_second",
            heading: "How many requests were answered",
            caption: "Requests per second: the median over the rounds; the thin line spans the least to the greatest. More is \
                      better.",
        },
        Headline {
            metric: "latency_us_p99",
            heading: "How long they took",
            caption: "Within this time 99 % of the answers had arrived. Less is better.",
        },
        Headline {
            metric: "server_cpu_us_per_request",
            heading: "What they cost the server",
            caption: "CPU time for each request, the kernel's work included wherever it was done. Less is better.",
        },
    ],
    baselines: KERNEL,
    series: None,
};

/// Connections that are opened, used once and closed.
pub const CONNECT_RATE: Scenario = Scenario {
    name: "connect-rate",
    title: "Connections that come and go",
    about: &[
        "Each connection is opened, asks for a small page, gets it and is closed by the server. As soon as it is over the next \
         one begins.",
        SAME_CLIENT,
    ],
    metrics: &[
        metric("connections_per_second", "connections", PerSecond),
        metric("latency_us_p50", "from SYN to the page, median", Microseconds),
        metric("latency_us_p99", "from SYN to the page, 99 %", Microseconds),
        metric("handshake_us_p50", "handshake, median", Microseconds),
        metric("handshake_us_p99", "handshake, 99 %", Microseconds),
        metric("server_cpu_us_per_connection", "server's CPU time a connection", Microseconds),
        metric("server_core_us_per_connection", "… of it on the server's core", Microseconds),
        metric("delivery_us_per_connection", "… of it on the client's core", Microseconds),
        metric("server_process_us_per_connection", "server's process alone", Microseconds),
        metric("server_softirq_us_per_connection", "softirqs of the server's core alone", Microseconds),
        SERVER_CORE,
        CLIENT_CORE,
        metric("failed_connections", "connections that failed", Count),
    ],
    headlines: &[
        Headline {
            metric: "connections_per_second",
            heading: "How many connections came and went",
            caption: "Connections per second: the median over the rounds; the thin line spans the least to the greatest. More \
                      is better.",
        },
        Headline {
            metric: "latency_us_p99",
            heading: "How long they took",
            caption: "Within this time 99 % of the clients had their page. Less is better.",
        },
        Headline {
            metric: "server_cpu_us_per_connection",
            heading: "What they cost the server",
            caption: "CPU time for each connection, the kernel's work included wherever it was done. Less is better.",
        },
    ],
    baselines: KERNEL,
    series: None,
};

/// As many bytes as there is room for, one way and then the other.
pub const BULK: Scenario = Scenario {
    name: "bulk",
    title: "As many bytes as will go",
    about: &[
        "First the server sends as fast as it can, then the client does, in frames no larger than the MTU: no network card helps \
         either of them to put segments together or to take them apart.",
        SAME_CLIENT,
    ],
    metrics: &[
        metric("download_gbit_per_second", "sent by the server", Gigabits),
        metric("upload_gbit_per_second", "received by the server", Gigabits),
        metric("download_server_core_busy_percent", "server's core busy, sending", Percent),
        metric("download_client_core_busy_percent", "client's core busy meanwhile", Percent),
        metric("upload_server_core_busy_percent", "server's core busy, receiving", Percent),
        metric("upload_client_core_busy_percent", "client's core busy meanwhile", Percent),
        metric("failed_connections", "connections that failed", Count),
    ],
    headlines: &[
        Headline {
            metric: "download_gbit_per_second",
            heading: "How much the server sent",
            caption: "Gbit/s of payload: the median over the rounds; the thin line spans the least to the greatest. More is \
                      better.",
        },
        Headline {
            metric: "upload_gbit_per_second",
            heading: "How much the server received",
            caption: "Gbit/s of payload. More is better.",
        },
    ],
    baselines: KERNEL,
    series: None,
};

/// Sixty-four bytes to an echo server and back.
pub const LATENCY: Scenario = Scenario {
    name: "latency",
    title: "There and back",
    about: &["Sixty-four bytes go to an echo server and come back; then the next sixty-four go.", SAME_CLIENT],
    metrics: &[
        metric("rtt_us_p50", "round trip, median", Microseconds),
        metric("rtt_us_p99", "round trip, 99 %", Microseconds),
        metric("rtt_us_p999", "round trip, 99.9 %", Microseconds),
        metric("round_trips_per_second", "round trips", PerSecond),
        SERVER_CORE,
        CLIENT_CORE,
        metric("failed_round_trips", "round trips that failed", Count),
    ],
    headlines: &[
        Headline {
            metric: "rtt_us_p50",
            heading: "The round trip in the middle",
            caption: "Half of all round trips were as fast as this or faster: the median over the rounds; the thin line spans \
                      the least to the greatest. Less is better.",
        },
        Headline {
            metric: "rtt_us_p99",
            heading: "The slow ones",
            caption: "99 % of all round trips were as fast as this or faster. Less is better.",
        },
    ],
    baselines: KERNEL,
    series: None,
};

/// Connections that are open and silent.
pub const IDLE_CONNECTIONS: Scenario = Scenario {
    name: "idle-connections",
    title: "What silence costs",
    about: &["Connections are opened and held, and nothing is said on them. What they cost is memory.", SAME_CLIENT],
    metrics: &[
        metric("connections", "connections held", Count),
        metric("bytes_per_connection", "server's memory a connection", Bytes),
        metric("server_process_bytes_per_connection", "… of the server's process", Bytes),
        metric("server_kernel_bytes_per_connection", "… of the kernel for its sockets", Bytes),
        metric("server_resident_bytes_per_connection", "server's whole process, divided by them", Bytes),
        metric("client_bytes_per_connection", "client's memory a connection", Bytes),
        metric("failed_connections", "connections that failed", Count),
    ],
    headlines: &[Headline {
        metric: "bytes_per_connection",
        heading: "How much memory a connection takes",
        caption: "Bytes of the server for each connection: the median over the rounds; the thin line spans the least to the \
                  greatest. Less is better.",
    }],
    baselines: KERNEL,
    series: None,
};
