//! HAProxy: `mode tcp`, one thread, a master whose workers are replaced.

use super::{Balancing, BenchError, ContenderError, Member, PIPES, PORT, Process, VIP, Works, backend, room};
use nix::sys::signal::{Signal, kill};
use std::path::{Path, PathBuf};

impl Balancing<'_> {
    pub(super) fn start_haproxy(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.take_address()?;
        let path = self.write_haproxy(members)?;
        let words = [Path::new("-W"), Path::new("-db"), Path::new("-f"), &path];
        let command = self.ground.command("balancer", "haproxy").args(words);
        let mut process = self.start_other("haproxy", command, "haproxy")?;
        let socket = self.socket();
        process.wait_until("open its socket", |_| socket.exists())?;
        self.works = Works::Process(process);
        Ok(())
    }

    /// A new worker takes the listening sockets; the old one ends when its connections have.
    pub(super) fn reload_haproxy(&mut self, members: &[Member]) -> Result<(), BenchError> {
        self.write_haproxy(members)?;
        let process: &mut Process = self.process()?;
        kill(process.id(), Signal::SIGUSR2).map_err(|error| ContenderError::system("reload haproxy", error).into())
    }

    fn write_haproxy(&self, members: &[Member]) -> Result<PathBuf, BenchError> {
        self.write("haproxy.cfg", &configuration(&self.socket(), self.options.core, room()?, members))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("haproxy.sock")
    }
}

/// A weight of nought is how HAProxy drains. What it may splice it does, as it sees fit; left alone it would take as many connections
/// as there are descriptors to spare, which is another number on each machine.
pub(super) fn configuration(socket: &Path, core: usize, clients: u32, members: &[Member]) -> String {
    let mut text = format!(
        "global
    nbthread 1
    cpu-map 1/1 {core}
    maxconn {clients}
    maxpipes {PIPES}
    stats socket {} mode 600 level admin expose-fd listeners
defaults
    mode tcp
    maxconn {clients}
    backlog 65535
    option splice-auto
    timeout connect 1s
    timeout client 1d
    timeout server 1d
    option redispatch
    retries 3
listen web
    bind {VIP}:{PORT}
    balance roundrobin
    option httpchk GET /
    default-server check inter 500ms rise 2 fall 2
",
        socket.display()
    );
    for member in members {
        let weight = if member.takes_new() { member.weight } else { 0 };
        text += &format!("    server b{} {}:{PORT} weight {weight}\n", member.number, backend(member.number));
    }
    text
}
