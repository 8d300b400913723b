//! The system calls that a server at work makes no more, and that are refused from then on.
//!
//! It is a list of what is refused, not of what is allowed. An allow-list has to foresee what the C library, the netlink runtime,
//! a panic or an application of the library's user calls on each architecture, and where it is wrong, a server fails at night on
//! a path that no test has taken. What can be said for certain is what nobody here does: start programs, write other files than
//! those that are open, speak to anybody but netlink, look into other processes, or load code. Where a call is needed for one
//! purpose and not for another, its arguments decide. Calls that are younger than this list, and those of the x32 ABI, do not
//! exist: ENOSYS is what an older kernel says, so that every library knows what to do.

use super::HostError;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::{collections::BTreeMap, env, io, process};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Refused<T> = Result<T, seccompiler::BackendError>;

/// The youngest call that the lists were made with (Linux 6.10). From 424 on, numbers are the same on every architecture.
const YOUNGEST: u32 = libc::SYS_mseal as u32;

/// Programs and processes are started by these.
const PROGRAMS: &[i64] = &[libc::SYS_execve, libc::SYS_execveat];

/// They see or touch other processes, or what this one keeps in its memory.
const PROCESSES: &[i64] = &[
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
];

/// They change files by name, or open them by something else.
const FILES: &[i64] = &[
    libc::SYS_fallocate,
    libc::SYS_fanotify_init,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_linkat,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// They take rights that are gone already, and would be of use to whoever got them back: by a user namespace, for one.
const RIGHTS: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_vhangup,
];

/// Large parts of the kernel that need no right, that attackers climb by, and that nothing here uses.
const DOORS: &[i64] = &[
    libc::SYS_add_key,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_perf_event_open,
    libc::SYS_request_key,
    libc::SYS_semget,
    libc::SYS_shmat,
    libc::SYS_shmget,
    libc::SYS_socketpair,
    libc::SYS_userfaultfd,
    libc::SYS_vmsplice,
];

/// What only some architectures have: mostly older forms of the above.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_symlink,
    libc::SYS_unlink,
    libc::SYS_uselib,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[i64] = &[];

/// Calls whose arguments lie in memory, where a filter cannot look: libraries do without, by older calls.
const OPAQUE: &[i64] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Refuses them from now on, on every thread of the process.
pub(super) fn apply_to_process() -> Result<(), HostError> {
    apply(seccompiler::apply_filter_all_threads)
}

/// Where this kernel, or seccompiler on this architecture, has no filters, that is said, and nothing else is lost.
pub(super) fn apply(install: fn(&[sock_filter]) -> Result<(), Error>) -> Result<(), HostError> {
    let Ok(arch) = TargetArch::try_from(env::consts::ARCH) else {
        tracing::warn!("system calls are not filtered: {} is not known to the filter", env::consts::ARCH);
        return Ok(());
    };
    let programs = programs(arch).map_err(|error| unfiltered(&error))?;
    programs.iter().try_for_each(|program| match install(program) {
        Err(Error::Prctl(error) | Error::Seccomp(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
            tracing::warn!("system calls are not filtered: this kernel has no CONFIG_SECCOMP_FILTER");
            Ok(())
        }
        installed => installed.map_err(|error| unfiltered(&error)),
    })
}

fn unfiltered(error: &dyn std::error::Error) -> HostError {
    HostError::Refused { what: "filter system calls".to_owned(), source: io::Error::other(error.to_string()) }
}

/// Two filters, for the two things that are said; the kernel asks both.
pub(super) fn programs(arch: TargetArch) -> Refused<[BpfProgram; 2]> {
    let compile = |rules, errno: i32| -> Refused<BpfProgram> {
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)?.try_into()
    };
    let mut refused: Rules =
        [PROGRAMS, PROCESSES, FILES, RIGHTS, DOORS, OLDER].concat().into_iter().map(|call| (call, vec![])).collect();
    refused.extend(by_argument()?);
    let opaque = OPAQUE.iter().map(|&call| (call, vec![])).collect();
    let unknown = [unknown_calls(), compile(opaque, libc::ENOSYS)?].concat();
    Ok([compile(refused, libc::EPERM)?, unknown])
}

/// Answers ENOSYS to numbers beyond the youngest: among them is all of x32, another ABI, whose numbers begin at 2^30.
fn unknown_calls() -> BpfProgram {
    let step = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    vec![
        // `nr` is the first field of `struct seccomp_data`.
        step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        step((libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16, YOUNGEST, 0, 1),
        step((libc::BPF_RET | libc::BPF_K) as u16, enosys, 0, 0),
    ]
}

/// What is refused for some purposes only. A call is refused where one of its rules holds, and a rule where all that it says does.
fn by_argument() -> Refused<Rules> {
    let word = |argument, op, value: i32| SeccompCondition::new(argument, Width::Dword, op, value as u32 as u64);
    let all = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions);
    let has = |argument, bits: i32| all(vec![word(argument, Op::MaskedEq(bits as u32 as u64), bits)?]);
    let lacks = |argument, bits: i32| all(vec![word(argument, Op::MaskedEq(bits as u32 as u64), 0)?]);
    let is = |argument, value: i32| all(vec![word(argument, Op::Eq, value)?]);
    let is_not = |argument, value: i32| all(vec![word(argument, Op::Ne, value)?]);
    let neither = |argument, a: i32, b: i32| all(vec![word(argument, Op::Ne, a)?, word(argument, Op::Ne, b)?]);
    // To be written, made or emptied: O_ACCMODE is two bits, of which either writes.
    let writes = |argument| -> Refused<Vec<SeccompRule>> {
        [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC].iter().map(|&flag| has(argument, flag)).collect()
    };
    let runs = || -> Refused<_> { Ok(vec![has(2, libc::PROT_EXEC)?]) };
    let myself = process::id() as i32;
    Ok(Rules::from([
        // A thread is wanted, a process not; and no namespaces.
        (libc::SYS_clone, vec![lacks(0, libc::CLONE_THREAD)?]),
        // What is in memory may be written or run, not both in turn.
        (libc::SYS_mmap, runs()?),
        (libc::SYS_mprotect, runs()?),
        (libc::SYS_pkey_mprotect, runs()?),
        (libc::SYS_openat, writes(2)?),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, writes(1)?),
        // Interfaces are asked by netlink. Whom else a socket could reach, strangers shall not by this process.
        (libc::SYS_socket, vec![is_not(0, libc::AF_NETLINK)?, neither(2, libc::NETLINK_ROUTE, libc::NETLINK_GENERIC)?]),
        // The guard's tables are read and written. No program is loaded any more.
        (libc::SYS_bpf, vec![neither(0, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM)?]),
        (libc::SYS_tgkill, vec![is_not(0, myself)?]),
        (libc::SYS_prlimit64, vec![neither(0, 0, myself)?]),
        (libc::SYS_prctl, vec![is(0, libc::PR_SET_DUMPABLE)?, is(0, libc::PR_SET_PTRACER)?]),
        // Words put into the terminal's mouth are read by the shell behind it.
        (libc::SYS_ioctl, vec![is(1, libc::TIOCSTI as i32)?, is(1, TIOCLINUX)?]),
    ]))
}

/// `enum bpf_cmd`.
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
/// `asm-generic/ioctls.h`: the console's menagerie, of which one pastes.
const TIOCLINUX: i32 = 0x541c;
