//! What a process gives up once it is set up, so that whoever takes it over by what strangers send has won little.
//!
//! Rights, files and sockets are opened first; then the capabilities go, the user changes, nothing that is run from then on may
//! gain any ([no new privileges](https://docs.kernel.org/userspace-api/no_new_privs.html)), and a filter refuses system calls
//! that a server at work makes no more. Nothing of this can be taken back.

mod filter;
#[cfg(test)]
mod tests;
mod user;

pub use self::user::User;

use super::HostError;
use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::{
    errno::Errno,
    sys::prctl,
    unistd::{getegid, geteuid, setgroups, setresgid, setresuid},
};
use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

/// What is given up besides the capabilities, which always go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The user to go on as. Without one, a process of root's goes on as root without capabilities: it still owns root's files.
    pub user: Option<User>,
    /// Whether system calls that are not needed any more are refused. Default true.
    pub filter: bool,
    /// Whether the process may dump core and be looked into by a debugger of the same user: both see its keys. Default false.
    pub dumpable: bool,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { user: None, filter: true, dumpable: false }
    }
}

impl Confinement {
    /// Gives it up. User, filter and the end of core dumps are the whole process', capabilities those of the calling thread and
    /// of all that it starts from now on: to be called before there are others. With `keep_bpf` CAP_BPF stays.
    ///
    /// # Errors
    /// [`HostError::CannotBecome`] where the process may not change its user; or another refusal of the kernel's. Something may
    /// have been given up then.
    pub fn enter(&self, keep_bpf: bool) -> Result<(), HostError> {
        let keep = if keep_bpf { CapsHashSet::from([Capability::CAP_BPF]) } else { CapsHashSet::new() };
        if let Some(user) = &self.user {
            // A change of user takes all capabilities away, unless told otherwise.
            prctl::set_keepcaps(keep_bpf).map_err(|errno| HostError::refused("keep a capability", errno))?;
            become_user(user).map_err(|errno| HostError::CannotBecome { user: user.clone(), source: errno.into() })?;
        }
        keep_only(&keep)?;
        let threads: Vec<_> = earlier().iter().filter_map(Weak::upgrade).collect();
        threads.iter().for_each(|thread| thread.follow());
        // A change of user has made it what `fs.suid_dumpable` says.
        prctl::set_dumpable(self.dumpable).map_err(|errno| HostError::refused("forbid core dumps", errno))?;
        prctl::set_no_new_privs().map_err(|errno| HostError::refused("renounce new privileges", errno))?;
        if self.filter {
            filter::apply_to_process()?;
        }
        let others = threads_with_more(&keep);
        if others > 0 {
            tracing::warn!("{others} thread(s) that began earlier keep their capabilities");
        }
        Ok(())
    }
}

/// A thread that may begin before rights are given up. Nobody else can take its capabilities, and it may not give them up before the
/// user has changed: that is the whole process' change, and fails where one thread has not the right to it.
pub trait EarlierThread: Send + Sync {
    /// Rights are being given up: has the thread call [`renounce`], and waits until it has, though not for ever.
    fn follow(&self);
}

/// Whoever is to follow when rights are given up.
static EARLIER: Mutex<Vec<Weak<dyn EarlierThread>>> = Mutex::new(Vec::new());

fn earlier() -> MutexGuard<'static, Vec<Weak<dyn EarlierThread>>> {
    EARLIER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a thread follow when rights are given up, for as long as it is there.
pub fn follow_by(thread: Weak<dyn EarlierThread>) {
    let mut threads = earlier();
    threads.retain(|thread| thread.strong_count() > 0);
    threads.push(thread);
}

/// What a thread does that follows: it has no capabilities from now on, and gains none.
pub fn renounce() {
    // Who still has some is counted, and warned of.
    give_up_capabilities().ok();
    prctl::set_no_new_privs().ok();
}

/// Takes all capabilities from the calling thread, and from those it starts from now on.
///
/// # Errors
/// The kernel's refusal.
pub fn give_up_capabilities() -> Result<(), HostError> {
    keep_only(&CapsHashSet::new())
}

/// Takes from the calling thread, and from those it starts from now on, all capabilities but CAP_BPF: some kernels let nobody else
/// read a map where `kernel.unprivileged_bpf_disabled` is set. Where that is missing, CAP_SYS_ADMIN, which stands for it, stays.
///
/// # Errors
/// The kernel's refusal.
pub fn keep_for_reading_maps() -> Result<(), HostError> {
    let permitted = held()?;
    let its = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN].into_iter().find(|it| permitted.contains(it));
    if permitted.iter().copied().eq(its) {
        // Nothing to take: to ask for it is refused where the process is confined.
        return Ok(());
    }
    keep_only(&its.into_iter().collect())
}

/// Takes from the calling thread, and from those it starts from now on, all capabilities but those that a load balancer needs while it
/// runs: [`Rights::FOR_SERVING`](super::rights::Rights::FOR_SERVING), and CAP_DAC_OVERRIDE where it has that, for files of other users.
/// Nothing that is run gains any from now on, and there are no core dumps. [Threads](EarlierThread) that are there already give all up.
///
/// # Errors
/// The kernel's refusal.
pub fn keep_for_balancing() -> Result<(), HostError> {
    let mut keep = CapsHashSet::from([
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
        Capability::CAP_BPF,
        Capability::CAP_PERFMON,
        Capability::CAP_IPC_LOCK,
        Capability::CAP_DAC_OVERRIDE,
    ]);
    let permitted = held()?;
    if !permitted.contains(&Capability::CAP_BPF) || !permitted.contains(&Capability::CAP_PERFMON) {
        // Then it stands for both.
        keep.insert(Capability::CAP_SYS_ADMIN);
    }
    keep_only(&keep.intersection(&permitted).copied().collect())?;
    let threads: Vec<_> = earlier().iter().filter_map(Weak::upgrade).collect();
    threads.iter().for_each(|thread| thread.follow());
    prctl::set_dumpable(false).map_err(|errno| HostError::refused("forbid core dumps", errno))?;
    prctl::set_no_new_privs().map_err(|errno| HostError::refused("renounce new privileges", errno))
}

fn held() -> Result<CapsHashSet, HostError> {
    let failed =
        |error: CapsError| HostError::Reply { what: "read the capabilities".to_owned(), why: error.to_string() };
    caps::read(None, CapSet::Permitted).map_err(failed)
}

/// Effective before permitted: what is effective must be permitted. What is ambient goes with the permitted.
fn keep_only(keep: &CapsHashSet) -> Result<(), HostError> {
    let set = |set, capabilities: &CapsHashSet| {
        let failed =
            |error: CapsError| HostError::Reply { what: "give the capabilities up".to_owned(), why: error.to_string() };
        caps::set(None, set, capabilities).map_err(failed)
    };
    set(CapSet::Effective, keep)?;
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    set(CapSet::Permitted, keep)
}

/// In this order: who is no longer root may not change groups. The C library does it for all threads.
fn become_user(user: &User) -> Result<(), Errno> {
    let (uid, gid) = (user.uid(), user.gid());
    // Who is that user already needs no right to stay it.
    if (geteuid(), getegid()) == (uid, gid) {
        return Ok(());
    }
    setgroups(user.groups())?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// How many threads of this process have capabilities that are not in `keep`. What cannot be read has ended.
fn threads_with_more(keep: &CapsHashSet) -> usize {
    let allowed = keep.iter().fold(0, |mask, capability| mask | capability.bitmask());
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let live = tasks.filter(|task| !fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| is_ending(&stat)));
    let statuses = live.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.filter(|status| permitted(status).is_some_and(|held| held & !allowed != 0)).count()
}

/// Whether a `/proc/PID/stat` is that of a thread that runs no more: it may be seen for a moment after it was joined, while the
/// kernel takes down what it leaves, such as a mount namespace.
fn is_ending(stat: &str) -> bool {
    const PF_EXITING: u32 = 0x4;
    // Behind the name, which may hold anything: state, parent, group, session, terminal, its group, flags (proc_pid_stat(5)).
    let flags = stat.rsplit_once(')').and_then(|(_, behind)| behind.split_whitespace().nth(6)?.parse().ok());
    flags.is_some_and(|flags: u32| flags & PF_EXITING != 0)
}

/// The permitted capabilities in a `/proc/PID/status`.
fn permitted(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}
