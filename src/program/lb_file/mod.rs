//! The configuration file of the load balancer, `lb.toml`, and what operators said at run time beside it.
//!
//! A file is read whole before anything is done with it: [`File::read`] gives all of it, or everything that is wrong
//! with it, each with its line and column. What depends on the machine is asked for separately ([`File::check_host`]),
//! and so is the key ([`row_key`]), which turns it into services ([`File::services`]). What was said by hand since
//! ([`Overrides`]) is laid over them.

mod fault;
mod fields;
mod host;
mod judge;
mod key;
mod names;
mod outline;
mod overrides;
mod proxied;
mod read;
mod service;
#[cfg(test)]
mod tests;
mod whole;

use crate::{
    host::bpf_fs::PINS,
    lb::{
        self, Backend, Fragments, Maglev, Mode, NatWindows, OnUnhealthy, Placement, Proxied, Rendezvous, RowCount,
        RowKey, SynProxy, WhenAllDown,
    },
    transport::Transport,
    wire::Endpoint,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use self::fault::{Source, Span};
pub use self::{
    fault::{Fault, Faults},
    host::Host,
    key::{KeyError, known_row_key, row_key},
    names::{BackendName, NoSuchBackend},
    outline::{BackendOutline, Outline, ServiceOutline},
    overrides::{Moment, Overrides, StateError},
};

/// Where the control socket is, unless the file says otherwise: where commands look that name no file.
pub const CONTROL: &str = "/run/xskip-lb.sock";

/// What lb.toml says. Paths in it that are not absolute begin at its own folder.
#[derive(Clone, Debug)]
pub struct File {
    /// `interface = "eth0"`, or `interfaces = ["front0", "back0"]`: where packets come and go. One of the two must be
    /// there, and no name twice.
    pub interfaces: Vec<String>,
    /// `generation = 7`: the file's number, which `status` shows and a fleet compares; nothing else depends on it.
    /// Default: none.
    pub generation: Option<u64>,
    /// `row_key_file = "row.key"`: the secret by which flows fall on rows, 32 hexadecimal digits. The same on all
    /// balancers of a fleet; made at first start where there is none ([`row_key`]). Default `row.key`.
    pub row_key_file: PathBuf,
    /// `cookie_master_file = "cookie.key"`: the secret of SYN cookies, as `xskip serve --cookie-master` takes it, and
    /// `xskip backend attach` on the backends. Default: none, and then no service has a `syn_proxy`.
    pub cookie_master_file: Option<PathBuf>,
    /// `metrics = "127.0.0.1:9920"`: an address of the kernel's, with a port, where `/metrics` can be had. Default:
    /// nowhere.
    pub metrics: Option<SocketAddr>,
    /// `control = "xskip-lb.sock"`: the socket by which it is spoken to. Default [`CONTROL`], where commands look; at
    /// most 107 octets, as the kernel has it.
    pub control: PathBuf,
    /// `survive = "30s"`: for how long packets go on to backends when the process ends, so that another one can go on from there, from
    /// 1s to 10m. Default: not at all, and the kernel has its traffic back at once.
    pub survive: Option<Duration>,
    /// `pins = "/sys/fs/bpf/xskip"`: where what goes on is kept, a folder in a BPF file system. Default [`PINS`].
    pub pins: PathBuf,
    /// `[nat]`: where packets of services in mode `nat` come from.
    pub nat: Nat,
    /// `[proxy] sources = ["198.18.0.6", "2001:2::6"]`: addresses that connections to backends come from, of services in mode `proxy`. The
    /// balancer answers for them on the last of its interfaces, and nobody else has them. Where there is none of a backend's IP version,
    /// they come from the service's own. It stays so as long as the process runs. Default none.
    pub proxy_sources: Vec<IpAddr>,
    /// `[proxy] splices = 131072`: connections of clients that XDP may go on with once nothing of them is to be looked at, from 0 to
    /// 8,388,608; 352 octets each, if a service is in mode `proxy` when the balancer starts. It stays so as long as the process runs.
    /// Default 131,072.
    pub splices: Option<u32>,
    /// `[[service]]`, once for each; one at least.
    pub services: Vec<ServiceConfig>,
    source: Source,
    places: FilePlaces,
}

/// `[nat]`: for services in mode `nat`, all together. It stays so as long as the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// `sources = ["198.18.0.5", "2001:2::5"]`: addresses that packets to backends come from. The balancer answers for
    /// them on the last of its interfaces, and nobody else has them. One at least of each IP version that a service in mode `nat` has, eight of each at most. Default
    /// none.
    pub sources: Vec<IpAddr>,
    /// `flows = 262144`: how many there may be, from 64 to 16,777,216, rounded up to a power of two; 104 octets each.
    /// Default 262,144.
    pub flows: u32,
    /// How long flows may be silent, from 1s to 4h each: `opening = "68s"` before both ends have spoken, `established
    /// = "124m"` from then on, `closing = "60s"` when both have sent a FIN or one a RST, and `datagrams = "2m"` of UDP.
    pub windows: NatWindows,
}

/// Where what a machine must have stands in the file.
#[derive(Clone, Debug)]
struct FilePlaces {
    interfaces: Vec<Span>,
    metrics: Option<Span>,
    survive: Option<Span>,
    /// Those of `[nat]`, and those of `[proxy]`.
    sources: Vec<Span>,
    proxy_sources: Vec<Span>,
}

/// A `[[service]]`: an address that backends serve together.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// `name = "web"`: what it is called, by which it stays the same service when the file changes. Without `/` and
    /// spaces, because commands name `SERVICE/BACKEND`; 128 octets at most. Must be there.
    pub name: String,
    /// `address = "198.18.0.80:443"` or `"[2001:2::80]:443"`: what clients know, the VIP. Port 0 stands for every port
    /// that no other service has. Must be there.
    pub address: Endpoint,
    /// `protocol = "tcp"`, or `udp`. Default `tcp`.
    pub protocol: Transport,
    /// `mode = "dsr"`: how packets get to the backends, `dsr`, `ipip`, `gue` or `nat` ([`Mode`]), or that connections end here,
    /// `proxy`. In the first three packets keep their addresses and ports, and backends answer clients themselves. Default `dsr`.
    pub mode: Mode,
    /// `syn_proxy = "off"`: who answers SYNs, its backends (`off`), or the balancer in their names ([`SynProxy`]): `always`, or
    /// as long as all that are up take such handshakes over (`auto`). For TCP, with a port, in all modes but `nat`, and with a
    /// `cookie_master_file`, which the backends have as well. Default `off`.
    pub syn_proxy: SynProxy,
    /// `placement = "maglev"`, or `rendezvous`: which rows are whose. Default `maglev`.
    pub placement: PlacementKind,
    /// `rows = 65537`: how many rows its table has, a prime from 101 to 65,537. It stays so while the service is
    /// served. 4,093 are enough where there are services in thousands. Default 65,537.
    pub rows: RowCount,
    /// `when_all_down = "closed"`: what becomes of new flows while every backend is down: they are dropped, or with
    /// `open` go where they would if none were. Default `closed`.
    pub when_all_down: WhenAllDown,
    /// `on_unhealthy = "keep"`: what becomes of the flows of a backend that goes down: they stay (`keep`), stay for so
    /// long and are reset then (`drain`), or are reset at once (`reset`). How long, says `unhealthy_drain = "5m"`, from
    /// 1s to 24h, 5m by default, beside `drain` only. Default `keep`.
    pub on_unhealthy: OnUnhealthy,
    /// `fragments = "drop"`, or `address`: then all its packets are placed by their addresses alone, and no other
    /// service of the same protocol has the address. Default `drop`.
    pub fragments: Fragments,
    /// `[service.check]`: how it is found out whether backends are well.
    pub check: Check,
    /// `[service.proxy]`, in mode `proxy`: what becomes of connections.
    ///
    /// - `server_names = ["www.example.org", "*.example.org"]`: whose connections they are, where services in this mode share an
    ///   address: those of TLS clients that name one of these. Default: all that no other service there has.
    /// - `send_header = "v2"`, or `v1`: a header of the PROXY protocol tells backends at first who the client is. Default: none.
    /// - `accept_header_from = ["198.18.0.0/24"]`: whose connections begin with such a header. Nobody else's may then. Default: nobody's, and
    ///   it is data like any other.
    /// - `source = "balancer"`, or `client`: whose address backends see. With `client` what they send to clients has to pass this balancer, as
    ///   that of a router, `splices` may not be 0, and they are of the service's IP version. Default balancer.
    /// - `splice = "auto"`, or `off`: whether XDP goes on with connections once nothing of them is to be looked at. Default auto.
    /// - `first_timeout = "10s"`, from 100ms to 10m: for what clients say first, where it decides whereto; `connect_timeout = "3s"`, from
    ///   100ms to 1m: for a backend to answer, of which three are tried; `idle_timeout = "1h"`, from 1s to 168h: for either end to
    ///   say anything.
    pub proxied: Proxied,
    /// `[[service.backend]]`, once for each; one at least must serve.
    ///
    /// - `name = "web-1"`: what it is called, as a service is. Rows follow names: whoever has the name has the flows.
    ///   Must be there.
    /// - `address = "198.18.0.11"`, or with a port, `"198.18.0.11:443"`, which then is the service's, because packets
    ///   keep theirs; in `nat` and `proxy` it may be another. In `nat` it is of the service's family. Of either family in the others: in `dsr` it only says on which link the backend is, and whose
    ///   frames they shall be; in tunnels it is the outer header's. Must be there.
    /// - `weight = 100`: its share of new flows beside the others' weights, from 0 for none to 10,000. Default 100.
    /// - `state = "serve"`: `drain` for no new flows, and as long as they like for those it has; `off` for nothing at
    ///   all, and those it has are forgotten. Default `serve`.
    pub backends: Vec<Backend>,
    places: Places,
}

/// Where a service stands in the file.
#[derive(Clone, Debug)]
struct Places {
    head: Span,
    name: Span,
    address: Span,
    syn_proxy: Span,
    backends: Vec<BackendPlaces>,
    /// Whether each of the backends that are listed could be read.
    is_whole: bool,
}

/// Where a backend stands in the file.
#[derive(Clone, Debug)]
struct BackendPlaces {
    head: Span,
    name: Span,
    address: Span,
}

/// Which rows are whose: the placements that a file can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlacementKind {
    /// [`Maglev`]: even to a row, and 0.5 % of the others' rows move when one of 100 backends goes.
    #[default]
    Maglev,
    /// [`Rendezvous`]: no rows but its own move, and shares are even on average only.
    Rendezvous,
}

impl PlacementKind {
    /// As the file has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maglev => "maglev",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// A `[service.check]`: how it is found out whether a backend is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `kind = "tcp"`: a connection is opened (`tcp`), and something is asked for on it (`http`), or nobody checks
    /// (`none`). Default `tcp`, and `none` where the protocol is UDP or the service has every port.
    pub kind: CheckKind,
    /// `port = 8080`: the port to open connections to. Default: that of the service.
    pub port: u16,
    /// `interval = "2s"`: from one check to the next, from 100ms to 1h. Default 2s.
    pub interval: Duration,
    /// `timeout = "1s"`: how long an answer may take, from 10ms to the interval. Default 1s, and no more than the
    /// interval.
    pub timeout: Duration,
    /// `rise = 2`: how many checks in a row must succeed before a backend that was down is up, from 1 to 100. Default
    /// 2.
    pub rise: u32,
    /// `fall = 3`: how many must fail before it is down, from 1 to 100. Default 3.
    pub fall: u32,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Nothing: a backend's health stays unknown, and it is trusted.
    None,
    /// Opens a connection.
    Tcp,
    /// Opens a connection, asks for something, and wants a status from 200 to 399.
    Http {
        /// `path = "/healthz"`: what is asked for. Default `/`.
        path: String,
        /// `host = "www.example.org"`: the `Host` header. Default: the service's address.
        host: Option<String>,
    },
}

/// The placements, one value of each for all services and all reloads: tables are shared where it is the same.
#[derive(Clone, Debug)]
pub struct Placements {
    maglev: Arc<dyn Placement>,
    rendezvous: Arc<dyn Placement>,
}

impl Placements {
    /// Placements with the key of a fleet.
    pub fn new(key: &RowKey) -> Self {
        let key = key.of_placement();
        Self { maglev: Arc::new(Maglev::new(key)), rendezvous: Arc::new(Rendezvous::new(key)) }
    }

    /// The one of this kind.
    pub fn get(&self, kind: PlacementKind) -> Arc<dyn Placement> {
        Arc::clone(match kind {
            PlacementKind::Maglev => &self.maglev,
            PlacementKind::Rendezvous => &self.rendezvous,
        })
    }
}

impl ServiceConfig {
    /// The service as the tables take it.
    pub fn service(&self, placements: &Placements) -> lb::Service {
        lb::Service {
            name: self.name.clone(),
            address: self.address.address,
            port: self.address.port,
            transport: self.protocol,
            mode: self.mode,
            backends: self.backends.clone(),
            placement: placements.get(self.placement),
            rows: self.rows,
            when_all_down: self.when_all_down,
            on_unhealthy: self.on_unhealthy,
            fragments: self.fragments,
            proxied: self.proxied.clone(),
            syn_proxy: self.syn_proxy,
        }
    }
}

impl File {
    /// The services as the tables take them: for [`Balancer::plan`](lb::Balancer::plan).
    pub fn services(&self, placements: &Placements) -> Vec<lb::Service> {
        self.services.iter().map(|service| service.service(placements)).collect()
    }
}
