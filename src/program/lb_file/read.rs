//! From a path to a file's value.

use super::{
    CONTROL, Faults, File, FilePlaces, Nat, PINS, Source, Span,
    fault::quoted,
    fields::{FILE, Fields, NAT, SERVICE, Wrong},
    judge, proxied, service,
};
use crate::{
    lb::{MAX_FLOWS, MAX_SOURCES, NatWindows},
    wire::check_host,
};
use std::{
    fs,
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use toml::{Spanned, de::DeTable};

/// The largest file that is read: some hundred octets for each of as many services and backends as there may be, and
/// nothing that fills a machine's memory.
const MOST: u64 = 256 << 20;
/// For how long programs may go on without a process.
const SURVIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// The longest path of a socket: `sun_path` in `unix(7)`, but for the zero at its end.
const MOST_OF_SOCKET: usize = 107;
/// The longest name of an interface: `IFNAMSIZ`, likewise.
const MOST_OF_INTERFACE: usize = 15;

impl File {
    /// Reads a file, and all of it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let source = |text: &str| Source { name: path.display().to_string(), text: text.into() };
        let unread = |error: io::Error| source("").as_a_whole(format!("it cannot be read: {error}"));
        let mut octets = Vec::new();
        fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut octets)).map_err(unread)?;
        if octets.len() as u64 > MOST {
            return Err(source("").as_a_whole(format!("it has more than {} MiB: is it the right file?", MOST >> 20)));
        }
        let text = String::from_utf8(octets).map_err(|error| {
            let bad = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..bad].iter().filter(|&&octet| octet == b'\n').count() + 1;
            source("").as_a_whole(format!("line {line} is no text in UTF-8, as TOML is: write the file anew"))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(source(&text), folder)
    }

    /// Reads the text of a file that is, or may once be, in `folder`; errors call it `name`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_text(name: &str, text: &str, folder: &Path) -> Result<Self, Faults> {
        Self::parse(Source { name: name.to_owned(), text: text.into() }, folder)
    }

    fn parse(source: Source, folder: &Path) -> Result<Self, Faults> {
        // Some editors begin with a mark of the encoding, which is no column.
        let text: Arc<str> = source.text.trim_start_matches('\u{feff}').into();
        let source = Source { text: Arc::clone(&text), ..source };
        if text.trim().is_empty() {
            return Err(source.as_a_whole("it is empty, and a balancer without services is none: is it being written?"));
        }
        let root = DeTable::parse(&text).map_err(|error| {
            let at = error.span().unwrap_or(text.len()..text.len());
            source.faults(vec![(at, format!("this is no TOML: {}", error.message()))])
        })?;
        let wrong = Wrong::default();
        let fields = Fields::new(root.get_ref(), 0..0, &FILE, &wrong);
        let path = |key, default: &str| folder.join(fields.text(key).unwrap_or(default));
        let (interfaces, places) = interfaces(&fields).into_iter().unzip();
        let (nat, sources) = nat(&fields);
        let (proxy_sources, splices) = proxied::of_all(&fields);
        let (proxy_sources, places_of_proxies) = proxy_sources.into_iter().unzip();
        let file = Self {
            interfaces,
            generation: fields.number("generation", 0..=i64::MAX as u64),
            row_key_file: path("row_key_file", "row.key"),
            cookie_master_file: fields.text("cookie_master_file").map(|name| folder.join(name)),
            metrics: fields.parsed("metrics", metrics),
            control: control(&fields, folder),
            survive: fields.time("survive", SURVIVE),
            pins: path("pins", PINS),
            nat,
            proxy_sources,
            splices,
            services: match fields.tables("service", &SERVICE) {
                Some(services) => services.into_iter().filter_map(service::read).collect(),
                None => Vec::new(),
            },
            source,
            places: FilePlaces {
                interfaces: places,
                metrics: fields.get("metrics").map(Spanned::span),
                survive: fields.get("survive").map(Spanned::span),
                sources,
                proxy_sources: places_of_proxies,
            },
        };
        if fields.get("service").is_none() {
            wrong.note(text.len()..text.len(), "the file ends without a [[service]]: is it whole?");
        }
        judge::judge(&file, &wrong);
        file.source.clone().faults(wrong.into_inner()).or(file)
    }

    /// The file's name, as it was given.
    pub fn name(&self) -> &str {
        &self.source.name
    }
}

/// The interfaces, and where each stands.
fn interfaces(fields: &Fields<'_>) -> Vec<(String, Span)> {
    let several = fields.texts("interfaces");
    let one = fields.text("interface").map(|name| vec![(name, fields.span("interface"))]);
    if fields.get("interface").is_some() && fields.get("interfaces").is_some() {
        fields.wrong.note(fields.span("interface"), "`interface` and `interfaces` are both there: keep one of them");
    } else if fields.get("interfaces").is_none() {
        let remedy = "say where packets come and go, such as interface = \"eth0\"";
        fields.missing("interface", remedy);
    }
    let mut names: Vec<(String, Span)> = Vec::new();
    for (name, at) in one.or(several).unwrap_or_default() {
        let is_name = !name.is_empty() && name.len() <= MOST_OF_INTERFACE && ![".", ".."].contains(&name);
        if !is_name || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
            let what = "is no name of an interface: `ip link` lists those there are";
            fields.wrong.note(at, format!("{} {what}", quoted(name)));
        } else if names.iter().any(|(known, _)| known == name) {
            fields.wrong.note(at, format!("the interface {} is listed twice: once is enough", quoted(name)));
        } else {
            names.push((name.to_owned(), at));
        }
    }
    names
}

fn metrics(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    address.ok_or_else(|| {
        format!("{} is no address with a port, as `metrics` needs: write one like 127.0.0.1:9920", quoted(text))
    })
}

/// Where packets in mode `nat` come from, and where each of these addresses stands.
fn nat(fields: &Fields<'_>) -> (Nat, Vec<Span>) {
    let mut nat = Nat { sources: Vec::new(), flows: 1 << 18, windows: NatWindows::default() };
    let Some(its) = fields.table("nat", &NAT) else { return (nat, Vec::new()) };
    its.missing("sources", "say where packets to backends come from, such as sources = [\"198.18.0.5\"]");
    let places;
    (nat.sources, places) = addresses(&its, "198.18.0.5", MAX_SOURCES).into_iter().unzip();
    let flows = its.number("flows", 64..=MAX_FLOWS.into());
    nat.flows = flows.map_or(nat.flows, |flows| flows as u32);
    let time = |key, default| its.time(key, Duration::from_secs(1)..=Duration::from_secs(4 * 3_600)).unwrap_or(default);
    let windows = nat.windows;
    nat.windows = NatWindows {
        opening: time("opening", windows.opening),
        established: time("established", windows.established),
        closing: time("closing", windows.closing),
        datagrams: time("datagrams", windows.datagrams),
    };
    (nat, places)
}

/// The addresses that packets or connections come from, each once, with its place; of each IP version so many at most.
pub(super) fn addresses(its: &Fields<'_>, example: &str, most: usize) -> Vec<(IpAddr, Span)> {
    let mut known: Vec<(IpAddr, Span)> = Vec::new();
    for (text, at) in its.texts("sources").unwrap_or_default() {
        let of_version = |address: IpAddr| known.iter().filter(|(it, _)| it.is_ipv4() == address.is_ipv4()).count();
        match text.parse::<IpAddr>() {
            Ok(address) if check_host(address).is_err() => {
                its.wrong.note(at, format!("{address} is no address of a host: list one that nobody has"));
            }
            Ok(address) if known.iter().any(|(it, _)| *it == address) => {
                its.wrong.note(at, format!("the source {address} is listed twice: once is enough"));
            }
            Ok(address) if of_version(address) == most => {
                its.wrong.note(at, format!("{most} sources of each IP version are the most: leave some out"));
            }
            Ok(address) => known.push((address, at)),
            Err(_) => its.wrong.note(at, format!("{} is no address: write one like {example}", quoted(text))),
        }
    }
    known
}

fn control(fields: &Fields<'_>, folder: &Path) -> PathBuf {
    let path = folder.join(fields.text("control").unwrap_or(CONTROL));
    let length = path.as_os_str().len();
    if length > MOST_OF_SOCKET {
        let what = format!("the path of `control` has {length} octets, and a socket's {MOST_OF_SOCKET} at most");
        fields.wrong.note(fields.span("control"), format!("{what}: choose a shorter one"));
    }
    path
}
