//! Numbers, and addresses with a port, as one types them, checked where they are parsed.

use clap::builder::RangedU64ValueParser;
use std::{net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};
use xskip_cli::host::cores::CORE_MAX;

/// A core's number. Whether there is such a core is for the machine to say.
pub fn core() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=CORE_MAX as u64)
}

/// An address and a port.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let remedy = "write an address and a port, such as 198.18.0.1:80 or [2001:2::1]:80";
    text.parse().map_err(|_| format!("{text:?} is not both: {remedy}"))
}

/// Seconds, with or without a fraction.
pub fn seconds(text: &str, within: RangeInclusive<Duration>) -> Result<Duration, String> {
    let (least, most) = (within.start(), within.end().as_secs());
    let least = if least.is_zero() { "0" } else { "more than 0" };
    let parsed = f64::from_str(text).ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.filter(|span| within.contains(span)).ok_or_else(|| {
        format!("{text:?} is no number of seconds for this: write one such as 10 or 0.5, {least} and {most} at most")
    })
}
