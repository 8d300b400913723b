//! What the filter says to each call, found by running its programs here: no kernel needed, and no call made.

use crate::host::confinement::filter;
use seccompiler::{TargetArch, sock_filter};

/// x32's calls are those of x86-64, with this bit.
const X32: i64 = 0x4000_0000;

/// `struct seccomp_data`, in words of four octets.
fn data(arch: TargetArch, call: i64, arguments: &[u64]) -> Vec<u32> {
    let audit = match arch {
        TargetArch::x86_64 => 0xc000_003e,
        TargetArch::aarch64 => 0xc000_00b7,
        TargetArch::riscv64 => 0xc000_00f3,
    };
    let mut words = vec![call as u32, audit, 0, 0];
    let arguments = arguments.iter().copied().chain(std::iter::repeat(0)).take(6);
    words.extend(arguments.flat_map(|argument| [argument as u32, (argument >> 32) as u32]));
    words
}

/// Runs a program of the classic machine, as far as the filter uses it.
fn run(program: &[sock_filter], data: &[u32]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let &sock_filter { code, jt, jf, k } = &program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            0x20 => accumulator = data[k as usize / 4],
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The error with which a call ends, or 0 where it is made. Of several filters the latest that refuses has the word.
fn verdict(arch: TargetArch, call: i64, arguments: &[u64]) -> i32 {
    let data = data(arch, call, arguments);
    let words = filter::programs(arch).unwrap().map(|program| run(&program, &data));
    let errors = words.into_iter().rev().map(|word| match word & 0xffff_0000 {
        libc::SECCOMP_RET_ALLOW => 0,
        libc::SECCOMP_RET_ERRNO => (word & 0xffff) as i32,
        _ => -1,
    });
    errors.into_iter().find(|&error| error != 0).unwrap_or(0)
}

fn here(call: i64, arguments: &[u64]) -> i32 {
    verdict(TargetArch::try_from(std::env::consts::ARCH).unwrap(), call, arguments)
}

#[track_caller]
fn expect(error: i32, cases: &[(&str, i64, &[u64])]) {
    for &(what, call, arguments) in cases {
        assert_eq!(here(call, arguments), error, "{what}");
    }
}

const AT_CWD: u64 = libc::AT_FDCWD as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const READ_RUN: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
/// As the C library starts a thread: no namespace, everything shared.
const THREAD: u64 = 0x003d_0f00;

#[test]
fn what_a_server_at_work_does_is_let_pass() {
    let me = u64::from(std::process::id());
    expect(
        0,
        &[
            ("wakes the kernel", libc::SYS_sendto, &[]),
            ("waits", libc::SYS_ppoll, &[]),
            ("waits for netlink", libc::SYS_epoll_pwait, &[]),
            ("sleeps", libc::SYS_futex, &[]),
            ("rings a mailbox", libc::SYS_write, &[]),
            ("reads a counter", libc::SYS_bpf, &[1]),
            ("lists a listener", libc::SYS_bpf, &[2]),
            ("asks about the link", libc::SYS_socket, &[16, 3, 0]),
            ("asks about its channels", libc::SYS_socket, &[16, 3, 16]),
            ("reads the master's file", libc::SYS_openat, &[AT_CWD, 0, (libc::O_NONBLOCK | libc::O_CLOEXEC) as u64]),
            ("grows", libc::SYS_mmap, &[0, 4_096, READ_WRITE]),
            ("shrinks", libc::SYS_munmap, &[]),
            ("guards a stack", libc::SYS_mprotect, &[0, 4_096, 0]),
            ("starts a thread", libc::SYS_clone, &[THREAD]),
            ("names it", libc::SYS_prctl, &[libc::PR_SET_NAME as u64]),
            ("pins it", libc::SYS_sched_setaffinity, &[]),
            ("aborts", libc::SYS_tgkill, &[me, me, 6]),
            ("asks for its stack's limit", libc::SYS_prlimit64, &[0, 3]),
            ("lets the program go", libc::SYS_close, &[]),
            ("ends", libc::SYS_exit_group, &[]),
            ("asks how wide the terminal is", libc::SYS_ioctl, &[2, libc::TIOCGWINSZ]),
        ],
    );
}

#[test]
fn what_it_never_does_is_refused() {
    let open = |flags: i32| [AT_CWD, 0, flags as u64];
    expect(
        libc::EPERM,
        &[
            ("runs a program", libc::SYS_execve, &[]),
            ("forks", libc::SYS_clone, &[libc::SIGCHLD as u64]),
            ("makes a user namespace", libc::SYS_unshare, &[libc::CLONE_NEWUSER as u64]),
            ("debugs", libc::SYS_ptrace, &[16, 1]),
            ("kills", libc::SYS_kill, &[1, 9]),
            ("kills a thread of another's", libc::SYS_tgkill, &[1, 1, 9]),
            ("limits another", libc::SYS_prlimit64, &[1, 7]),
            ("writes a file", libc::SYS_openat, &open(libc::O_WRONLY)),
            ("writes a file, and reads it", libc::SYS_openat, &open(libc::O_RDWR)),
            ("makes one only to read it", libc::SYS_openat, &open(libc::O_CREAT)),
            ("empties one only to read it", libc::SYS_openat, &open(libc::O_TRUNC)),
            ("removes one", libc::SYS_unlinkat, &[]),
            ("speaks TCP", libc::SYS_socket, &[2, 1, 0]),
            ("speaks to a neighbour process", libc::SYS_socket, &[1, 1, 0]),
            ("sends raw frames", libc::SYS_socket, &[17, 3, 0]),
            ("asks netfilter", libc::SYS_socket, &[16, 3, 12]),
            ("loads a program", libc::SYS_bpf, &[5]),
            ("attaches one", libc::SYS_bpf, &[28]),
            ("maps code", libc::SYS_mmap, &[0, 4_096, READ_RUN]),
            ("makes code of data", libc::SYS_mprotect, &[0, 4_096, READ_RUN]),
            ("uses io_uring", libc::SYS_io_uring_setup, &[]),
            ("types into the terminal", libc::SYS_ioctl, &[0, libc::TIOCSTI]),
            ("lets itself be debugged", libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 1]),
        ],
    );
}

#[test]
fn what_cannot_be_looked_into_or_is_not_known_does_not_exist() {
    expect(
        libc::ENOSYS,
        &[
            ("clone3", libc::SYS_clone3, &[]),
            ("openat2", libc::SYS_openat2, &[]),
            ("setxattrat, of Linux 6.13", 463, &[]),
            ("nothing yet", 1_000, &[]),
            ("x32's execve", X32 | 520, &[]),
            ("x32's write", X32 | 1, &[]),
        ],
    );
}

/// Arguments of four octets: the kernel looks at no more, so what stands above them must not hide a flag.
#[test]
fn the_upper_half_of_an_argument_hides_nothing() {
    let high = 0xffff_ffff_0000_0000;
    expect(
        libc::EPERM,
        &[
            ("open", libc::SYS_openat, &[AT_CWD, 0, high | libc::O_WRONLY as u64]),
            ("socket", libc::SYS_socket, &[high | 2, 1, 0]),
            ("bpf", libc::SYS_bpf, &[high | 5]),
            ("mmap", libc::SYS_mmap, &[0, 4_096, high | READ_RUN]),
            ("fork", libc::SYS_clone, &[high | libc::SIGCHLD as u64]),
            ("ioctl", libc::SYS_ioctl, &[0, high | libc::TIOCSTI]),
        ],
    );
    expect(0, &[("a lookup", libc::SYS_bpf, &[high | 1]), ("netlink", libc::SYS_socket, &[high | 16, 3, 0])]);
}

#[test]
fn every_architecture_has_a_filter_of_its_own() {
    use TargetArch::{aarch64, riscv64, x86_64};
    for arch in [x86_64, aarch64, riscv64] {
        assert_eq!(verdict(arch, libc::SYS_execve, &[]), libc::EPERM, "{arch:?}");
        assert_eq!(verdict(arch, libc::SYS_sendto, &[]), 0, "{arch:?}");
        for program in filter::programs(arch).unwrap() {
            assert!(program.len() < 4_096, "{arch:?}: {} instructions", program.len());
        }
    }
}

/// Where there is another ABI of the same kernel, its calls have other numbers: none is made by them.
#[test]
fn another_abi_ends_the_process() {
    let x86_64 = filter::programs(TargetArch::x86_64).unwrap();
    let as_i386: Vec<u32> = [11, 0x4000_0003].into_iter().chain([0; 14]).collect();
    assert!(x86_64.iter().any(|program| run(program, &as_i386) == libc::SECCOMP_RET_KILL_PROCESS));
}
