use super::*;
use libbpf_rs::ErrorExt;

/// As libbpf writes it on a kernel that asks for CAP_PERFMON.
const LOG: &str = "libbpf: prog 'steer': BPF program load failed: Permission denied\n\
    libbpf: prog 'steer': -- BEGIN PROG LOAD LOG --\n\
    ; if (at + size > end) @ parse.h:213\n\
    118: (0f) r2 += r1\n\
    R2 has pointer with unsupported alu operation, pointer arithmetic with it prohibited for !root\n\
    processed 113 insns (limit 1000000) max_states_per_insn 0 total_states 9 peak_states 9 mark_read 4\n\
    -- END PROG LOAD LOG --\n\
    libbpf: prog 'steer': failed to load: -13\n\
    libbpf: failed to load object 'steer_bpf'\n";

fn failed(number: i32) -> libbpf_rs::Error {
    libbpf_rs::Error::from_raw_os_error(number).context("failed to load BPF object")
}

/// What a user is told.
fn told(number: i32, said: &str) -> String {
    explain(failed(number), said).to_string()
}

#[test]
fn an_error_number_is_found_behind_any_context() {
    assert_eq!(os_error(&failed(libc::EMFILE)), Some(libc::EMFILE));
    assert_eq!(os_error(&failed(libc::EACCES).context("steer")), Some(libc::EACCES));
    assert_eq!(os_error(&io::Error::other("no number")), None);
}

#[test]
fn too_few_descriptors_are_not_an_old_kernel() {
    for number in [libc::EMFILE, libc::ENFILE] {
        let told = told(number, "");
        assert!(told.contains("`ulimit -n") && !told.contains("5.15"), "{told}");
    }
    let log = format!("{LOG_BEGINS}\nfd 18 is not pointing to valid bpf_map\nprocessed 0 insns\n{LOG_ENDS}\n");
    let told = told(libc::EINVAL, &log);
    assert!(told.contains("`ulimit -n") && !told.contains("verifier"), "{told}");
}

#[test]
fn missing_rights_are_named_by_capability() {
    let told = told(libc::EPERM, "");
    for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"] {
        assert!(told.contains(capability) && !told.contains("5.15"), "{told}");
    }
}

#[test]
fn a_verifiers_refusal_is_its_last_word() {
    for number in [libc::EACCES, libc::EINVAL, libc::E2BIG] {
        let told = told(number, LOG);
        assert!(told.contains("R2 has pointer with unsupported alu operation"), "{told}");
        assert!(told.contains("CAP_PERFMON") && told.contains("uname -r"), "{told}");
        assert!(!told.contains("5.15") && !told.contains("processed"), "{told}");
    }
    assert!(told(libc::EACCES, "").contains("it gave no reason"));
}

#[test]
fn no_memory_is_no_old_kernel() {
    let told = told(libc::ENOMEM, "");
    assert!(told.contains("memory") && !told.contains("5.15"), "{told}");
}

#[test]
fn what_a_kernel_does_not_know_is_told_with_its_version() {
    for number in [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS] {
        assert!(told(number, "").contains("5.15"), "{}", told(number, ""));
    }
}

#[test]
fn what_libbpf_says_is_remembered_up_to_a_limit() {
    listen();
    for _ in 0..100 {
        remember(PrintLevel::Warn, "é".repeat(500));
    }
    remember(PrintLevel::Warn, LOG.to_owned());
    SAID.with_borrow(|said| {
        assert!(said.len() <= REMEMBERED && said.ends_with(LOG));
    });
    assert!(explain(failed(libc::EACCES), &SAID.take()).to_string().contains("unsupported alu"));
    listen();
    SAID.with_borrow(|said| assert_eq!(said, ""));
}
