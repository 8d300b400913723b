//! Who used the processor, and how much memory: what `/proc` tells.

use super::placement::Placement;
use crate::host::memory;
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The time that a core spent since it was started, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CoreTimes {
    /// With nothing to do, or away in another virtual machine. The kernel measures it.
    idle: Duration,
    /// In softirqs. The kernel estimates it at each tick of its clock.
    softirq: Duration,
}

impl CoreTimes {
    fn read(core: usize) -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, core, tick()?)
    }

    /// The line of a core in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    fn parse(text: &str, core: usize, tick: Duration) -> Option<Self> {
        let name = format!("cpu{core} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
        let ticks: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [_, _, _, idle, iowait, _, softirq, steal, ..] = ticks[..] else { return None };
        Some(Self { idle: tick * (idle + iowait + steal), softirq: tick * softirq })
    }
}

/// The unit of times in `/proc`.
fn tick() -> Option<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    u32::try_from(per_second).ok().filter(|&ticks| ticks > 0).map(|ticks| Duration::from_secs(1) / ticks)
}

/// The processor time of a process or of a thread, from its `stat`: user plus system (proc_pid_stat(5)).
fn time_of(stat: &str, tick: Duration) -> Option<Duration> {
    // The second field, the name, may contain anything; nothing behind it contains a parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
    Some(tick * user.checked_add(system)?)
}

/// The `stat` of a process.
pub(super) fn of_process(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/stat"))
}

/// The `stat` of a thread of this process.
pub(super) fn of_thread(thread: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/self/task/{thread}/stat"))
}

/// The state of all accounts at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    at: Instant,
    server: CoreTimes,
    clients: CoreTimes,
    process: Duration,
}

impl Sample {
    /// Takes one, of both cores and of a server's processes; `None` where the kernel does not tell.
    pub fn take(placement: Placement, server: &[PathBuf]) -> Option<Self> {
        let tick = tick()?;
        let time = |path: &PathBuf| time_of(&fs::read_to_string(path).ok()?, tick);
        let process = server.iter().map(time).sum::<Option<Duration>>()?;
        let (server, clients) = (CoreTimes::read(placement.server)?, CoreTimes::read(placement.clients)?);
        Some(Self { at: Instant::now(), server, clients, process })
    }

    /// What was used since an earlier one.
    pub fn since(&self, before: &Self) -> Usage {
        let span = self.at.duration_since(before.at).as_secs_f64();
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / span;
        let busy = |now: CoreTimes, then: CoreTimes| (1.0 - share(now.idle, then.idle)).clamp(0.0, 1.0);
        Usage {
            server_core: busy(self.server, before.server),
            server_softirq: share(self.server.softirq, before.server.softirq),
            server_process: share(self.process, before.process),
            client_core: busy(self.clients, before.clients),
            client_softirq: share(self.clients.softirq, before.clients.softirq),
        }
    }
}

/// What was used in some span of time: seconds per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    /// All that the server's core did.
    pub server_core: f64,
    /// Of that, in softirqs.
    pub server_softirq: f64,
    /// By the server's process, on whatever core. A kernel that does not time softirqs has those in it that ran meanwhile.
    pub server_process: f64,
    /// All that the clients' core did.
    pub client_core: f64,
    /// Of that, in softirqs: what the server's side did with what the clients had sent.
    pub client_softirq: f64,
}

impl Usage {
    /// The most that the server's core can have done for the server: all it did, or the server's process and all softirqs,
    /// whichever is less. Where nothing else runs it is the former that is right; where other work does, the latter is not far
    /// off, although softirqs that ran while the process did may be in it twice.
    pub fn server(&self) -> f64 {
        self.server_core.min(self.server_process + self.server_softirq)
    }
}

/// The children of a process whose command line begins so.
pub(super) fn children(parent: Pid, beginning: &str) -> Vec<Pid> {
    let of_parent = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(of_parent).unwrap_or_default();
    let is_so = |pid: &Pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command.starts_with(beginning.as_bytes()))
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).filter(is_so).collect()
}

/// The resident memory of some processes, bytes. What they share is counted for each.
pub(super) fn resident(pids: &[Pid]) -> Option<u64> {
    pids.iter().map(|pid| memory::resident(&pid.to_string())).sum()
}

/// The memory that could still be used, bytes.
pub(super) fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// What the kernel keeps for each open socket and for nothing else. Caches that it has put together with others under one name
/// are left out, in the sockets' favour.
const SOCKET_CACHES: [&str; 6] =
    ["TCP", "TCPv6", "request_sock_TCP", "sock_inode_cache", "eventpoll_epi", "eventpoll_pwq"];
/// What it keeps for every open file, of which a socket is one. Whoever opens files on this machine has them, too, so they are
/// counted by the number of sockets.
const FILE_CACHES: [&str; 2] = ["filp", "dentry"];

/// The memory that the kernel has in use for sockets, bytes.
pub(super) fn sockets() -> Option<u64> {
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let read = |path: &str| fs::read_to_string(Path::new("/proc").join(path)).ok();
    sockets_in(&read("slabinfo")?, &read("self/net/sockstat")?, page)
}

/// From the kernel's slabs (slabinfo(5)), and from the pages in which TCP keeps data.
fn sockets_in(slabs: &str, sockstat: &str, page: u64) -> Option<u64> {
    let caches = slabs.lines().filter_map(Cache::parse).collect::<Vec<_>>();
    let find = |name: &&str| caches.iter().find(|cache| cache.name == *name);
    let own: u64 = SOCKET_CACHES.iter().filter_map(find).map(|cache| cache.pages * page).sum();
    let files: u64 = FILE_CACHES.iter().filter_map(find).map(|cache| cache.object_size).sum();
    let open = find(&"sock_inode_cache")?.objects;
    let mut words = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_whitespace();
    let data: u64 = words.find(|word| *word == "mem").and_then(|_| words.next())?.parse().ok()?;
    Some(own + files * open + data * page)
}

/// The memory that the kernel has in use for connections it tracks, bytes.
pub(super) fn tracked() -> Option<u64> {
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let slabs = fs::read_to_string("/proc/slabinfo").ok()?;
    // Where nothing has ever been tracked there is no such cache.
    Some(slabs.lines().filter_map(Cache::parse).find(|it| it.name == "nf_conntrack").map_or(0, |it| it.pages * page))
}

/// TCP sockets of the namespace that this thread is in: those of IPv4, open or listening.
pub(super) fn open_sockets() -> Option<u64> {
    open_in(&fs::read_to_string("/proc/thread-self/net/sockstat").ok()?)
}

fn open_in(sockstat: &str) -> Option<u64> {
    let mut words = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_whitespace();
    words.find(|word| *word == "inuse").and_then(|_| words.next())?.parse().ok()
}

/// A line of slabinfo.
struct Cache<'a> {
    name: &'a str,
    objects: u64,
    object_size: u64,
    pages: u64,
}

impl<'a> Cache<'a> {
    /// `name active objects size per_slab pages : tunables ... : slabdata active slabs shared`.
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name: fields.first()?,
            objects: number(1)?,
            object_size: number(3)?,
            pages: number(5)? * number(14)?,
        })
    }
}

#[cfg(test)]
mod tests;
