//! A service of the file, its backends and its check.

use super::{
    BackendPlaces, Check, CheckKind, PlacementKind, Places, ServiceConfig,
    fault::quoted,
    fields::{BACKEND, CHECK, Fields},
    proxied,
};
use crate::{
    lb::{Backend, Fragments, MAX_WEIGHT, Mode, OnUnhealthy, RowCount, State, SynProxy, WhenAllDown},
    time::Instant,
    transport::Transport,
    wire::{Endpoint, check_remote},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The longest name.
const MOST_OF_NAME: usize = 128;
const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// Reads a service; `None` where it has no name or address that would tell it from others, which then is noted.
pub(super) fn read(fields: Fields<'_>) -> Option<ServiceConfig> {
    fields.missing("name", "say what it is called, such as name = \"web\"");
    fields.missing("address", "say what clients know, such as address = \"198.18.0.80:443\"");
    let name = fields.parsed("name", name);
    let address = fields.parsed("address", vip);
    let protocol = fields.word("protocol", &[("tcp", Transport::Tcp), ("udp", Transport::Udp)]);
    let protocol = protocol.unwrap_or(Transport::Tcp);
    let mode = mode(&fields);
    let listed = fields.tables("backend", &BACKEND).unwrap_or_default();
    let count = fields.get("backend").map_or(0, |value| value.get_ref().as_array().map_or(1, |list| list.len()));
    let whole = |fields: &Fields<'_>| Some((backend(fields, address.zip(mode))?, BackendPlaces::of(fields)));
    let (backends, places): (Vec<_>, Vec<_>) = listed.iter().filter_map(whole).unzip();
    Some(ServiceConfig {
        protocol,
        mode: mode.unwrap_or_default(),
        syn_proxy: fields
            .word("syn_proxy", &[("off", SynProxy::Off), ("auto", SynProxy::Auto), ("always", SynProxy::Always)])
            .unwrap_or_default(),
        placement: fields
            .word("placement", &[("maglev", PlacementKind::Maglev), ("rendezvous", PlacementKind::Rendezvous)])
            .unwrap_or_default(),
        rows: rows(&fields),
        when_all_down: fields
            .word("when_all_down", &[("closed", WhenAllDown::Closed), ("open", WhenAllDown::Open)])
            .unwrap_or_default(),
        on_unhealthy: on_unhealthy(&fields),
        fragments: fields
            .word("fragments", &[("drop", Fragments::Drop), ("address", Fragments::ByAddress)])
            .unwrap_or_default(),
        check: check(&fields, address.map(|address| address.port), protocol),
        proxied: proxied::read(&fields, mode),
        places: Places {
            head: fields.at.clone(),
            name: fields.span("name"),
            address: fields.span("address"),
            syn_proxy: fields.span("syn_proxy"),
            is_whole: backends.len() == count,
            backends: places,
        },
        backends,
        name: name?,
        address: address?,
    })
}

impl BackendPlaces {
    fn of(fields: &Fields<'_>) -> Self {
        Self { head: fields.at.clone(), name: fields.span("name"), address: fields.span("address") }
    }
}

fn name(text: &str) -> Result<String, String> {
    let shown = quoted(text);
    if text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        Err(format!("the name {shown} has a slash, space or control character: commands name SERVICE/BACKEND"))
    } else if text.len() > MOST_OF_NAME {
        Err(format!("the name {shown} has {} octets: {MOST_OF_NAME} is the most", text.len()))
    } else {
        Ok(text.to_owned())
    }
}

/// An address with or without a port. Which of the two it must be, says the example.
fn end(text: &str, example: &str) -> Result<(IpAddr, Option<u16>), String> {
    let bad = || format!("{} is no address: write one like {example}", quoted(text));
    let (end, port) = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(end), _) => (end, Some(end.port())),
        (_, Ok(address)) => (SocketAddr::new(address, 0), None),
        _ => return Err(bad()),
    };
    check_remote(end).map_err(|error| error.to_string())?;
    Ok((end.ip(), port))
}

fn vip(text: &str) -> Result<Endpoint, String> {
    let (address, port) = end(text, "198.18.0.80:443 or [2001:2::80]:443")?;
    let port = port.ok_or_else(|| {
        let shown = |port| SocketAddr::new(address, port);
        format!("{} has no port: write {}, or {} for every port", quoted(text), shown(443), shown(0))
    })?;
    Ok(Endpoint { address, port })
}

/// How packets get to backends; `None` where that is not understood.
fn mode(fields: &Fields<'_>) -> Option<Mode> {
    const MODES: [Mode; 5] = [Mode::Dsr, Mode::Ipip, Mode::Gue, Mode::Nat, Mode::Proxy];
    match fields.text("mode") {
        Some(_) => fields.word("mode", &MODES.map(|mode| (mode.name(), mode))),
        None if fields.get("mode").is_some() => None,
        None => Some(Mode::default()),
    }
}

fn rows(fields: &Fields<'_>) -> RowCount {
    let Some(rows) = fields.number("rows", RowCount::MIN.into()..=RowCount::MAX.into()) else {
        return RowCount::DEFAULT;
    };
    let rows = rows as u32; // within 65,537
    RowCount::new(rows).unwrap_or_else(|| {
        let below = (RowCount::MIN..rows).rev().find(|&rows| RowCount::new(rows).is_some()).unwrap_or(RowCount::MIN);
        let above = (rows..=RowCount::MAX).find(|&rows| RowCount::new(rows).is_some()).unwrap_or(RowCount::MAX);
        let what = format!("`rows` must be a prime, and {rows} is none: write {below} or {above}");
        fields.wrong.note(fields.span("rows"), what);
        RowCount::DEFAULT
    })
}

fn on_unhealthy(fields: &Fields<'_>) -> OnUnhealthy {
    const DAY: Duration = Duration::from_secs(86_400);
    let words = [("keep", OnUnhealthy::Keep), ("drain", OnUnhealthy::drain()), ("reset", OnUnhealthy::Reset)];
    let what = fields.word("on_unhealthy", &words).unwrap_or_default();
    let time = fields.time("unhealthy_drain", Duration::from_secs(1)..=DAY);
    match (what, time) {
        (OnUnhealthy::Drain(_), Some(time)) => OnUnhealthy::Drain(time),
        (OnUnhealthy::Keep | OnUnhealthy::Reset, Some(_)) => {
            let why = "`unhealthy_drain` says nothing without on_unhealthy = \"drain\": add that, or leave it out";
            fields.wrong.note(fields.span("unhealthy_drain"), why);
            what
        }
        (what, None) => what,
    }
}

fn check(service: &Fields<'_>, port: Option<u16>, protocol: Transport) -> Check {
    let has_port = protocol == Transport::Tcp && port != Some(0);
    let mut check = Check {
        kind: if has_port { CheckKind::Tcp } else { CheckKind::None },
        port: port.unwrap_or(0),
        interval: INTERVAL,
        timeout: TIMEOUT,
        rise: RISE,
        fall: FALL,
    };
    let Some(fields) = service.table("check", &CHECK) else { return check };
    let milliseconds = Duration::from_millis;
    let interval = fields.time("interval", milliseconds(100)..=Duration::from_secs(3_600));
    check.interval = interval.unwrap_or(check.interval);
    let timeout = fields.time("timeout", milliseconds(10)..=check.interval);
    check.timeout = timeout.unwrap_or(check.timeout).min(check.interval);
    check.rise = fields.number("rise", 1..=100).map_or(check.rise, |rise| rise as u32);
    check.fall = fields.number("fall", 1..=100).map_or(check.fall, |fall| fall as u32);
    check.port = fields.number("port", 1..=65_535).map_or(check.port, |port| port as u16);

    #[derive(Clone, Copy)]
    enum Word {
        Tcp,
        Http,
        None,
    }
    let word = fields.word("kind", &[("tcp", Word::Tcp), ("http", Word::Http), ("none", Word::None)]);
    let path = fields.parsed("path", path);
    let host = fields.parsed("host", host);
    check.kind = match word {
        Some(Word::Http) => CheckKind::Http { path: path.unwrap_or("/").to_owned(), host: host.map(str::to_owned) },
        Some(Word::None) => CheckKind::None,
        Some(Word::Tcp) | None => CheckKind::Tcp, // who writes about checks wants them
    };
    if check.kind == CheckKind::Tcp && (word.is_some() || fields.get("kind").is_none()) {
        for key in ["path", "host"].into_iter().filter(|key| fields.get(key).is_some()) {
            let what =
                format!("`{key}` says nothing to a check that only connects: add kind = \"http\", or leave it out");
            fields.wrong.note(fields.span(key), what);
        }
    }
    if check.kind != CheckKind::None && !has_port && fields.get("port").is_none() {
        let what = "a check connects by TCP, and the service names no port of TCP: say which one, such as port = 80";
        fields.wrong.note(fields.at.clone(), what);
    }
    check
}

fn path(text: &str) -> Result<&str, String> {
    let is_path = text.starts_with('/') && text.len() <= 1_024 && text.bytes().all(|octet| octet.is_ascii_graphic());
    is_path.then_some(text).ok_or_else(|| format!("{} is no path: write one like \"/healthz\"", quoted(text)))
}

fn host(text: &str) -> Result<&str, String> {
    let is_host = text.len() <= 255 && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'/');
    is_host.then_some(text).ok_or_else(|| format!("{} is no host: write one like \"www.example.org\"", quoted(text)))
}

fn backend(fields: &Fields<'_>, service: Option<(Endpoint, Mode)>) -> Option<Backend> {
    fields.missing("name", "rows follow names, so write one that stays, such as name = \"web-1\"");
    fields.missing("address", "say where it is, such as address = \"198.18.0.11\"");
    let name = fields.parsed("name", name);
    let address = fields.parsed("address", |text| {
        let (address, port) = end(text, "198.18.0.11 or [2001:2::11]:443")?;
        Ok(Endpoint { address, port: port_of_backend(text, port, service)? })
    });
    let weight = fields.number("weight", 0..=MAX_WEIGHT.into()).map_or(100, |weight| weight as u32);
    let drain = State::Drain { until: Instant::NEVER };
    let state = fields.word("state", &[("serve", State::Serve), ("drain", drain), ("off", State::Off)]);
    Some(Backend { weight, state: state.unwrap_or_default(), ..Backend::new(name?, address?) })
}

/// The port of a backend. But in the modes `nat` and `proxy`, packets come to the port that their client knew.
fn port_of_backend(text: &str, port: Option<u16>, service: Option<(Endpoint, Mode)>) -> Result<u16, String> {
    let shown = quoted(text);
    let Some((vip, mode)) = service else { return Ok(port.unwrap_or(0)) };
    match port {
        None => Ok(vip.port),
        Some(0) => Err(format!("{shown} has port 0, which nobody has: leave the port out, as it is the service's")),
        Some(port) if port == vip.port => Ok(port),
        Some(port) if mode.keeps_flows() && vip.port != 0 => Ok(port),
        Some(port) if vip.port == 0 => {
            Err(format!("{shown} has port {port}, and its service every port, which packets keep: leave it out"))
        }
        Some(port) => Err(format!(
            "{shown} has port {port}, but in mode {mode} packets keep the service's, {}: leave it out, and serve there",
            vip.port
        )),
    }
}
