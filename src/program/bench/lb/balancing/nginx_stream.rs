//! nginx with the module `stream`, one worker, and a master that replaces it.

use super::{Balancing, BenchError, ContenderError, DATAGRAMS, Member, OTHERS, PORT, VIP, Works, backend, room};
use crate::bench::account;
use nix::sys::signal::{Signal, kill};
use std::path::{Path, PathBuf};

impl Balancing<'_> {
    pub(super) fn start_nginx(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.take_address()?;
        let path = self.write_nginx(members)?;
        let words = [Path::new("-p"), self.folder.path(), Path::new("-c"), &path];
        let command = self.ground.command("balancer", "nginx").args(words);
        let mut process = self.start_other("nginx", command, "nginx-light libnginx-mod-stream")?;
        process.wait_until("start its worker", |it| !account::children(it.id(), "nginx: worker process").is_empty())?;
        self.works = Works::Process(process);
        Ok(())
    }

    /// A new worker serves; the old one ends when its connections have.
    pub(super) fn reload_nginx(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.write_nginx(members)?;
        let master = self.process()?.id();
        kill(master, Signal::SIGHUP).map_err(|error| ContenderError::system("reload nginx", error).into())
    }

    fn write_nginx(&self, members: &[Member]) -> Result<PathBuf, BenchError> {
        let module = self.stream_module()?;
        let text = configuration(self.folder.path(), module.as_deref(), self.options.core, room()?, members);
        self.write("nginx.conf", &text)
    }

    /// The module's file; none where it is part of nginx.
    fn stream_module(&self) -> Result<Option<PathBuf>, BenchError> {
        let remedy =
            "install it, as by `apt install nginx-light libnginx-mod-stream`, or name the contenders without it";
        let output = self.ground.command("balancer", "nginx").args(["-V"]).output();
        let Ok(output) = output else { return Err(self.unavailable(format!("nginx did not start: {remedy}"))) };
        match module_of(&String::from_utf8_lossy(&output.stderr)) {
            Some(module) if module.as_ref().is_none_or(|path| path.exists()) => Ok(module),
            _ => Err(self.unavailable(format!("nginx has no module `stream`: {remedy}"))),
        }
    }
}

/// What `nginx -V` says of the module: nothing, that it is there, or which file it would be.
pub(super) fn module_of(said: &str) -> Option<Option<PathBuf>> {
    let mut words = said.split_whitespace();
    match words.find(|word| *word == "--with-stream" || *word == "--with-stream=dynamic")? {
        "--with-stream" => Some(None),
        _ => {
            let folder = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="))?;
            Some(Some(Path::new(folder).join("ngx_stream_module.so")))
        }
    }
}

pub(super) fn configuration(
    folder: &Path,
    module: Option<&Path>,
    core: usize,
    clients: u32,
    members: &[Member],
) -> String {
    let folder = folder.display();
    let load = module.map_or(String::new(), |module| format!("load_module {};\n", module.display()));
    let mask = format!("1{}", "0".repeat(core));
    let upstream = |name: &str, port: u16| {
        let server = |member: &Member| {
            let down = if member.takes_new() { "" } else { " down" };
            let (address, weight) = (backend(member.number), member.weight.max(1));
            format!("    server {address}:{port} weight={weight} max_fails=1 fail_timeout=2s{down};\n")
        };
        format!("  upstream {name} {{\n{}  }}\n", members.iter().map(server).collect::<String>())
    };
    format!(
        "{load}daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr emerg;
worker_processes 1;
worker_cpu_affinity {mask};
worker_rlimit_nofile {descriptors};
events {{
  multi_accept on;
  worker_connections {connections};
}}
stream {{
{}{}  server {{
    listen {VIP}:{PORT} backlog=65535;
    tcp_nodelay on;
    proxy_connect_timeout 1s;
    proxy_timeout 1d;
    proxy_pass web;
  }}
  server {{
    listen {VIP}:{DATAGRAMS} udp;
    proxy_timeout 2s;
    proxy_pass datagrams;
  }}
}}
",
        upstream("web", PORT),
        upstream("datagrams", DATAGRAMS),
        // A client's and a backend's for each, and a few of nginx's own.
        connections = 2 * u64::from(clients) + OTHERS / 2,
        descriptors = 2 * u64::from(clients) + OTHERS,
    )
}
