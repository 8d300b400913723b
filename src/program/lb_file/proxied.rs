//! `[service.proxy]` and `[proxy]`: connections that end at the balancer.

use super::{
    fault::{Span, quoted},
    fields::{Fields, PROXIED, PROXY},
    read::addresses,
};
use crate::{
    lb::{Mode, Proxied, Source, is_server_name},
    prefix::Prefix,
};
use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

/// As many as an index of XDP programs can name.
const MOST_SPLICES: u64 = 1 << 23;
const FIRST: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

const SOURCES: [(&str, Source); 2] = [("balancer", Source::Balancer), ("client", Source::Client)];

/// What becomes of a service's connections.
pub(super) fn read(service: &Fields<'_>, mode: Option<Mode>) -> Proxied {
    let default = Proxied::default();
    let Some(fields) = service.table("proxy", &PROXIED) else { return default };
    if mode.is_some_and(|mode| mode != Mode::Proxy) {
        let what = "[service.proxy] says nothing in this mode: write mode = \"proxy\", or leave the table out";
        fields.wrong.note(fields.at.clone(), what);
    }
    let read = Proxied {
        server_names: server_names(&fields),
        send_header: fields.word("send_header", &[("v1", 1), ("v2", 2)]),
        trusted: trusted(&fields),
        source: fields.word("source", &SOURCES).unwrap_or(default.source),
        splice: fields.word("splice", &[("auto", true), ("off", false)]).unwrap_or(default.splice),
        first: fields.time("first_timeout", FIRST).unwrap_or(default.first),
        connect: fields.time("connect_timeout", CONNECT).unwrap_or(default.connect),
        idle: fields.time("idle_timeout", IDLE).unwrap_or(default.idle),
    };
    // Of a mode that is another, or not understood, one complaint is enough.
    if mode == Some(Mode::Proxy) { read } else { default }
}

fn server_names(fields: &Fields<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (text, at) in fields.texts("server_names").unwrap_or_default() {
        // As clients may write it.
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        if !is_server_name(&name) {
            let what = "is no server name that clients send: write one like \"www.example.org\" or \"*.example.org\"";
            fields.wrong.note(at, format!("{} {what}", quoted(text)));
        } else if names.contains(&name) {
            fields.wrong.note(at, format!("the server name {} is listed twice: once is enough", quoted(text)));
        } else {
            names.push(name);
        }
    }
    names
}

fn trusted(fields: &Fields<'_>) -> Vec<(IpAddr, u8)> {
    let mut prefixes = Vec::new();
    for (text, at) in fields.texts("accept_header_from").unwrap_or_default() {
        match text.parse::<Prefix>() {
            Ok(prefix) => prefixes.push((prefix.address(), prefix.length())),
            Err(_) => {
                let what = "is neither an address nor a prefix: write one like 198.18.0.0/24 or 2001:2::/64";
                fields.wrong.note(at, format!("{} {what}", quoted(text)));
            }
        }
    }
    prefixes
}

/// What `[proxy]` says: where connections to backends come from, with the place of each of these addresses, and how many XDP may go on
/// with.
pub(super) fn of_all(file: &Fields<'_>) -> (Vec<(IpAddr, Span)>, Option<u32>) {
    let Some(its) = file.table("proxy", &PROXY) else { return (Vec::new(), None) };
    let splices = its.number("splices", 0..=MOST_SPLICES);
    if its.get("splices").is_none() {
        its.missing("sources", "say where connections to backends come from, such as sources = [\"198.18.0.6\"]");
    }
    (addresses(&its, "198.18.0.6", usize::MAX), splices.map(|most| most as u32))
}
