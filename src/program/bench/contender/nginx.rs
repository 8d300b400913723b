//! nginx: a server on the kernel's sockets that needs no introduction.

use super::{Contender, ContenderError, kernel};
use crate::{
    bench::{
        account,
        process::{Process, ProcessError},
    },
    host::{HostError, netns::Namespace, sysctl},
    lab::{LabError, SideCommand},
};
use caps::{CapSet, Capability};
use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::Path,
};
use tempfile::TempDir;

/// What makes the kernel serve best where no flood is. All are settings of the network namespace.
pub(in crate::bench) const TUNING: [(&str, &str); 8] = [
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65536"),
    ("net/ipv4/tcp_syncookies", "1"),
    // Named, because its default may be any; there are no losses here for it to make a difference.
    ("net/ipv4/tcp_congestion_control", "reno"),
    // As many as this crate's stack remembers.
    ("net/ipv4/tcp_max_tw_buckets", "131072"),
    ("net/ipv4/tcp_timestamps", "1"),
    // No look-up of the way back for every segment; the larger of the two counts.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/veth0/rp_filter", "0"),
];

/// Where the large object is.
pub(in crate::bench) const LARGE: &str = "/large";

/// Connections of a worker that are none of a client, such as what it listens on; and as many descriptors that are no
/// connections at all.
const OTHERS: u64 = 64;
/// What a connection takes of the kernel's memory and of nginx's, at least, bytes: a socket, its inode, a file, a directory entry,
/// what watches it, and nginx's own.
const CONNECTION_BYTES: u64 = 4_400;
/// Connections of a worker where nobody asked for more.
const CONNECTIONS: u64 = 8_192;
/// The most workers: beyond that it is another server than the one that was asked for.
const MOST_WORKERS: u64 = 64;

/// What nginx is to serve.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct NginxOptions<'a> {
    pub target: SocketAddr,
    /// The core of its workers.
    pub core: usize,
    /// How many connections there is to be room for.
    pub connections: u32,
    /// Bytes at [`LARGE`].
    pub large: u64,
    /// What is at `/`.
    pub page: &'a str,
}

/// The page of every server on the kernel's sockets.
pub(super) fn page() -> String {
    String::from_utf8_lossy(kernel::RESPONSE).split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

/// nginx at work. Dropping it ends it.
#[derive(Debug)]
pub(in crate::bench) struct Nginx {
    master: Process,
    workers: Vec<Pid>,
    /// Its configuration and its large object.
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in a namespace.
    pub fn start(side: &Namespace, options: &NginxOptions<'_>) -> Result<Self, ContenderError> {
        let connections = options.connections;
        let crew = Crew::for_connections(connections.into(), descriptors()?)?;
        check_memory(connections.into(), account::available())?;
        let folder = tempfile::Builder::new().prefix("xskip-nginx-").tempdir();
        let folder = folder.map_err(|error| ContenderError::system("make a folder for nginx", error))?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text)
                .map_err(|error| ContenderError::system(format!("write {}", path.display()), error))?;
            Ok::<_, ContenderError>(path)
        };
        let configuration = write("nginx.conf", &configuration(folder.path(), options, crew))?;
        provide(&folder.path().join(&LARGE[1..]), options.large)
            .map_err(|error| ContenderError::system("make a large file for nginx", error))?;
        let words = [Path::new("-p"), folder.path(), Path::new("-c"), &configuration];
        let command = SideCommand::inside(side, "nginx").args(words);
        let mut master = match Process::start("nginx", command, "") {
            Err(ProcessError::Start(LabError::Host(HostError::CannotStart { source, .. }))) => {
                let remedy = "install nginx, as by `apt install nginx-light`, or name the contenders without it";
                return Err(unavailable(format!("nginx did not start ({source}): {remedy}")));
            }
            other => other?,
        };
        // A worker takes this name when all is set up.
        let workers = |master: &Process| account::children(master.id(), "nginx: worker process");
        master.wait_until("start its workers", |master| workers(master).len() as u64 == crew.workers)?;
        Ok(Self { workers: workers(&master), master, _folder: folder })
    }

    /// The processes that serve.
    pub fn workers(&self) -> &[Pid] {
        &self.workers
    }

    /// That it runs.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        self.master.check()
    }

    /// Ends it as a crash would: the kernel closes all it had.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        self.master.kill().map(drop)
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<(), ProcessError> {
        self.master.stop().map(drop)
    }
}

/// How many workers there are, and how many connections each may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crew {
    workers: u64,
    connections: u64,
}

impl Crew {
    /// One worker, unless it may not have descriptors enough: then as many as it takes, with a tenth to spare, because a hash
    /// divides the connections among them.
    fn for_connections(connections: u64, descriptors: u64) -> Result<Self, ContenderError> {
        let each = descriptors.saturating_sub(2 * OTHERS);
        let wanted = connections.max(CONNECTIONS);
        if wanted <= each {
            return Ok(Self { workers: 1, connections: wanted });
        }
        let workers = (wanted + wanted / 10).div_ceil(each.max(1));
        if workers > MOST_WORKERS {
            return Err(unavailable(format!(
                "{connections} connections take {workers} workers of nginx, because a process may have {descriptors} descriptors"
            )));
        }
        Ok(Self { workers, connections: each })
    }
}

/// Refuses what would drive everything else out of memory. Where the kernel does not tell what is available, it is for the one
/// who asked to know.
fn check_memory(connections: u64, available: Option<u64>) -> Result<(), ContenderError> {
    let needed = connections * CONNECTION_BYTES;
    match available.filter(|&available| available < needed) {
        None => Ok(()),
        Some(available) => Err(unavailable(format!(
            "{connections} connections take {} MiB of the kernel's memory, of which {} MiB are available",
            needed >> 20,
            available >> 20
        ))),
    }
}

/// How many descriptors a process that we start can have: the hard limit, which some may raise.
pub(in crate::bench) fn descriptors() -> Result<u64, ContenderError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| ContenderError::system("read the limit of descriptors", error))?;
    let may_raise = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false);
    let most = if may_raise { sysctl::read("fs/nr_open")?.and_then(|text| text.parse().ok()) } else { None };
    Ok(most.unwrap_or(hard))
}

/// The error of a machine without it.
fn unavailable(reason: String) -> ContenderError {
    ContenderError::Unavailable { name: Contender::Kernel.name(), reason }
}

/// A file of so many zeros that is in the page cache when it is asked for.
fn provide(path: &Path, length: u64) -> io::Result<()> {
    File::create(path)?.set_len(length)?;
    io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
}

/// Nothing is logged, nothing ends by a time-out or by a number of requests, and files go from the page cache to the socket
/// without a copy in between.
fn configuration(folder: &Path, options: &NginxOptions<'_>, crew: Crew) -> String {
    let Crew { workers, connections } = crew;
    let &NginxOptions { target, core, page, .. } = options;
    let folder = folder.display();
    let mask = format!("1{}", "0".repeat(core));
    // With one worker there is nothing to divide.
    let divided = if workers > 1 { " reuseport" } else { "" };
    format!(
        "daemon off;
        user root;
        pid {folder}/nginx.pid;
        error_log stderr error;
        worker_processes {workers};
        worker_cpu_affinity {mask};
        worker_rlimit_nofile {descriptors};
        events {{
            use epoll;
            multi_accept on;
            worker_connections {all};
        }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            default_type text/plain;
            sendfile on;
            tcp_nodelay on;
            keepalive_requests 4000000000;
            keepalive_timeout 1d;
            client_header_timeout 1d;
            send_timeout 1d;
            server {{
                listen {target} backlog=65535{divided};
                root {folder};
                location = / {{ return 200 \"{page}\"; }}
                location = {LARGE} {{ }}
            }}
        }}
        ",
        all = connections + OTHERS,
        descriptors = connections + 2 * OTHERS,
    )
}

#[cfg(test)]
mod tests;
