//! Contenders as servers of a load: each a process of its own, or at least a thread, on a core of its own.

use super::{
    Contender, ContenderError,
    kernel::{Kernel, Service},
    nginx::{self, Nginx, NginxOptions},
    settings::Settings,
};
use crate::{
    bench::{account, process::Process},
    lab::{INTERFACE, Lab, PREFIX_V4, Role, STACK},
};
use nix::unistd::Pid;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Bytes of the large object, which is asked for again and again.
const LARGE: u64 = 1 << 28;
/// Handshakes beyond the connections that are to be held, so that the limit is not what is measured.
const SPARE_CONNECTIONS: u32 = 8_192;

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum ServerRole {
    /// Answers requests by a small page.
    Pages,
    /// Answers requests by a large object.
    Large,
    /// Throws away what it is sent.
    Discard,
    /// Sends back what it is sent.
    Echo,
    /// Holds connections that are silent.
    Hold,
}

impl ServerRole {
    fn port(self) -> u16 {
        match self {
            Self::Pages | Self::Large | Self::Hold => 80,
            Self::Discard => 9,
            Self::Echo => 7,
        }
    }

    /// What `xskip serve` calls it.
    fn app(self) -> &'static str {
        match self {
            Self::Pages | Self::Large | Self::Hold => "http",
            Self::Discard => "discard",
            Self::Echo => "echo",
        }
    }
}

/// A server that is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct ServeOptions<'a> {
    pub role: ServerRole,
    /// The core that is its own.
    pub core: usize,
    /// How many connections it will have.
    pub connections: u32,
    /// Whether it may look for work without ever sleeping, if it can.
    pub spin: bool,
    /// The program of this crate.
    pub program: &'a Path,
}

/// A server at work. Dropping it ends it, and undoes what was set up for it.
#[derive(Debug)]
pub(in crate::bench) struct Serving {
    target: SocketAddr,
    request: String,
    works: Works,
}

#[derive(Debug)]
enum Works {
    Stack(Process),
    Nginx(Box<Nginx>, #[expect(dead_code, reason = "put back when it goes")] Settings),
    Sockets(Kernel, #[expect(dead_code, reason = "put back when it goes")] Settings),
}

impl Serving {
    /// Starts a contender on the server's side of a lab: `xskip`, or one on the kernel's sockets. nginx answers requests; what
    /// it has no module for, a small server of this crate's does.
    pub fn start(contender: Contender, lab: &Lab, options: &ServeOptions<'_>) -> Result<Self, ContenderError> {
        let at = |address: Ipv4Addr| SocketAddr::new(address.into(), options.role.port());
        let (target, request, works) = if contender == Contender::Xskip {
            let request = if options.role == ServerRole::Large { format!("/bytes/{LARGE}") } else { "/".to_owned() };
            (at(STACK.0), request, Works::Stack(start_stack(lab, options)?))
        } else {
            let target = at(Role::Server.addresses().0);
            let request = if options.role == ServerRole::Large { nginx::LARGE } else { "/" };
            (target, request.to_owned(), start_kernel(lab, options, target)?)
        };
        Ok(Self { target, request, works })
    }

    /// Where it is reached.
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// What to ask it for, where it answers requests.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// What `/proc` says of its processes, or of its thread.
    pub fn stats(&self) -> Vec<PathBuf> {
        match &self.works {
            Works::Sockets(server, _) => vec![account::of_thread(server.thread())],
            Works::Stack(_) | Works::Nginx(..) => self.processes().into_iter().map(account::of_process).collect(),
        }
    }

    /// The resident memory of its processes, bytes; `None` where it has none of its own.
    pub fn resident(&self) -> Option<u64> {
        Some(self.processes()).filter(|pids| !pids.is_empty()).and_then(|pids| account::resident(&pids))
    }

    fn processes(&self) -> Vec<Pid> {
        match &self.works {
            Works::Stack(process) => vec![process.id()],
            Works::Nginx(nginx, _) => nginx.workers().to_vec(),
            Works::Sockets(..) => Vec::new(),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it had ended before, or did not end well.
    pub fn stop(self) -> Result<(), ContenderError> {
        match self.works {
            Works::Stack(mut process) => {
                process.check()?;
                process.stop()?;
            }
            Works::Nginx(mut nginx, _) => {
                nginx.check()?;
                nginx.stop()?;
            }
            Works::Sockets(server, _) => server.stop()?,
        }
        Ok(())
    }
}

fn start_stack(lab: &Lab, options: &ServeOptions<'_>) -> Result<Process, ContenderError> {
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--interface={INTERFACE}"),
        format!("--address={}/{PREFIX_V4}", STACK.0),
        format!("--port={}", options.role.port()),
        format!("--app={}", options.role.app()),
        format!("--cores={}", options.core),
    ];
    if options.role == ServerRole::Hold {
        arguments.push(format!("--max-connections={}", options.connections + SPARE_CONNECTIONS));
        arguments.push("--idle-timeout=0".to_owned());
    }
    if options.spin {
        arguments.push("--spin".to_owned());
    }
    let command = lab.server().command(options.program).args(arguments);
    let mut process = Process::start("xskip serve", command, "serving")?;
    process.wait_until("begin to serve", Process::is_ready)?;
    Ok(process)
}

fn start_kernel(lab: &Lab, options: &ServeOptions<'_>, target: SocketAddr) -> Result<Works, ContenderError> {
    let mut settings = Settings::of(lab.server().namespace())?;
    settings.write(&nginx::TUNING)?;
    let service = match options.role {
        ServerRole::Pages | ServerRole::Large | ServerRole::Hold => {
            let large = if options.role == ServerRole::Large { LARGE } else { 0 };
            let options = NginxOptions {
                target,
                core: options.core,
                connections: options.connections,
                large,
                page: &nginx::page(),
            };
            let nginx = Nginx::start(lab.server().namespace(), &options)?;
            return Ok(Works::Nginx(Box::new(nginx), settings));
        }
        ServerRole::Discard => Service::Discard,
        ServerRole::Echo => Service::Echo,
    };
    let server = lab.server().run(|| Kernel::start(&[target], service, options.core))??;
    Ok(Works::Sockets(server, settings))
}
