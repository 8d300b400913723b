//! `xskip flood`: the generator.

use super::{Failure, bad_use, number, print};
use clap::Args;
use serde_json::json;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use xskip_cli::flood::{
    DURATION_MAX, Flood, FloodCounts, FloodError, FloodKind, FloodOptions, Generator, Prefix, RATE_MAX,
};

/// How often progress is shown on a terminal.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is typed behind `xskip flood`.
#[derive(Debug, Args)]
#[command(after_help = "Example, beside a server in a lab:\n  \
    sudo xskip lab up\n  \
    sudo xskip lab exec server -- xskip serve --interface veth0 --address 198.18.0.1/24 --port 80 --app http\n  \
    sudo xskip lab exec client -- xskip flood --interface veth0 --target 198.18.0.1:80 --kind syn --duration 10")]
pub struct Arguments {
    /// The interface it leaves by
    #[arg(long, value_name = "IF")]
    interface: String,

    /// Where it goes, such as 198.18.0.1:80 or [2001:2::1]:80
    #[arg(long, value_name = "IP:PORT", value_parser = number::socket_address)]
    target: SocketAddr,

    /// What it is made of: syn, ack, rst, fin, data, syn-ack, mixed or malformed
    #[arg(long, default_value_t = FloodKind::Syn)]
    kind: FloodKind,

    /// Frames a second, or max
    #[arg(long, value_name = "N", default_value = "max")]
    rate: Rate,

    /// Seconds that it lasts
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,

    /// Where it seems to come from: prefixes, separated by commas [default: those of a lab]
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',')]
    sources: Vec<Prefix>,

    /// Always this source port, instead of random ones
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    source_port: Option<u16>,

    /// What makes the frames: live-frames (fastest), af-xdp (sleeps in between) or auto (af-xdp up to 100,000 a second)
    #[arg(long, value_name = "WHAT", default_value_t = Generator::Auto)]
    generator: Generator,

    /// The core it is sent from; on a veth also that on which the other end receives
    #[arg(long, value_name = "CORE", value_parser = number::core())]
    core: Option<usize>,

    /// Give way to everything else on that core
    #[arg(long)]
    background: bool,

    /// The queue it is sent by
    #[arg(long, value_name = "QUEUE", default_value_t = 0)]
    queue: u32,

    /// What its random numbers are derived from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// The Ethernet address it goes to [default: the target's, which is asked for]
    #[arg(long, value_name = "MAC", value_parser = mac)]
    target_mac: Option<[u8; 6]>,

    /// Send also where frames may leave this machine: on a NIC, a bridged interface, or one that holds a default route
    #[arg(long)]
    outside_lab: bool,

    /// Print what was sent and what came back as JSON
    #[arg(long)]
    json: bool,
}

/// Frames a second; none for as many as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self(None));
        }
        let digits = text.replace(['_', ','], "");
        let number = digits.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
        let number =
            number.ok_or_else(|| format!("{text:?} is no rate: write frames a second, 1 to {RATE_MAX}, or max"))?;
        Ok(Self(Some(number)))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    number::seconds(text, Duration::from_nanos(1)..=DURATION_MAX)
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Vec<_> = text.split(':').map(|digits| u8::from_str_radix(digits, 16).ok()).collect();
    let bytes: Option<Vec<u8>> = bytes.into_iter().collect();
    let mac = bytes.and_then(|bytes| bytes.try_into().ok());
    mac.ok_or_else(|| format!("{text:?} is no Ethernet address: write one such as 02:78:73:6b:00:01"))
}

/// Sends it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone())?;
    }
    let flood = match Flood::start(&options(&arguments)) {
        Err(error @ (FloodError::BadOption { .. } | FloodError::OtherVersion { .. } | FloodError::Target(_))) => {
            return Ok(bad_use(error));
        }
        started => started?,
    };
    let (generator, kind) = (flood.generator(), arguments.kind);
    print::note(format_args!("sending {kind} to {} by {generator}; Ctrl-C ends it", arguments.target));
    watch(&flood, &interrupted)?;
    let (counts, elapsed) = flood.finish()?;
    if arguments.json {
        let seconds = elapsed.as_secs_f64();
        let per_second = counts.sent as f64 / seconds;
        let figures = json!({ "kind": kind.to_string(), "target": arguments.target, "generator": generator.to_string(),
            "seconds": seconds, "per_second": per_second, "counts": counts });
        print::result(format_args!("{figures:#}"))?;
    } else {
        print::result(said(&counts, elapsed))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &Arguments) -> FloodOptions {
    FloodOptions {
        target_mac: arguments.target_mac,
        rate: arguments.rate.0,
        duration: arguments.duration,
        sources: arguments.sources.clone(),
        source_port: arguments.source_port.unwrap_or_default(),
        generator: arguments.generator,
        core: arguments.core,
        background: arguments.background,
        queue: arguments.queue,
        seed: arguments.seed,
        outside_lab: arguments.outside_lab,
        ..FloodOptions::new(&arguments.interface, arguments.target, arguments.kind)
    }
}

/// Waits for its end, or for a signal; on a terminal, with a line a second.
fn watch(flood: &Flood, interrupted: &AtomicBool) -> Result<(), Failure> {
    let shows_progress = io::stderr().is_terminal();
    let (mut shown, mut before) = (Instant::now(), FloodCounts::default());
    while !flood.is_over() {
        if interrupted.load(Ordering::Relaxed) {
            flood.stop();
            break;
        }
        thread::sleep(Duration::from_millis(20));
        let since = shown.elapsed();
        if shows_progress && since >= PROGRESS {
            let counts = flood.counts()?;
            print::note(said(&counts.since(&before), since));
            (shown, before) = (Instant::now(), counts);
        }
    }
    Ok(())
}

fn said(counts: &FloodCounts, elapsed: Duration) -> String {
    let FloodCounts { sent, syn_acks, resets, acks, others } = counts;
    let per_second = *sent as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    format!(
        "{sent} frames in {:.2} s, {per_second:.0} a second; back came {syn_acks} SYN-ACKs, {resets} RSTs, {acks} ACKs, {others} others",
        elapsed.as_secs_f64()
    )
}
