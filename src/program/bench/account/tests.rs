use super::*;

const TICK: Duration = Duration::from_millis(10);

#[test]
fn a_core_is_found_among_others() {
    let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 400 50 6 70 8 0 0\ncpu11 9 9 9 9 9 9 9 9 0 0\nintr 1 2\n";
    let times = CoreTimes::parse(text, 1, TICK).unwrap();
    assert_eq!(times, CoreTimes { idle: TICK * 458, softirq: TICK * 70 });
    assert_eq!(CoreTimes::parse(text, 2, TICK), None);
    assert_eq!(CoreTimes::parse("cpu0 1 2 3\n", 0, TICK), None);
    assert_eq!(CoreTimes::parse("cpu0 1 2 3 4 5 6 7 many\n", 0, TICK), None);
}

#[test]
fn a_process_may_be_called_anything() {
    let rest = "S 1 2 3 0 -1 4194560 10 20 30 40 500 60 7 8 20 0 1 0 100 200 300";
    for name in ["nginx", "a b) c", "((", ") R 1 2"] {
        assert_eq!(time_of(&format!("42 ({name}) {rest}\n"), TICK), Some(TICK * 560), "{name}");
    }
    for bad in ["", "42 (nginx", "42 (nginx) S 1 2", "42 (nginx) S 1 2 3 0 -1 4 10 20 30 40 x 60 7"] {
        assert_eq!(time_of(bad, TICK), None, "{bad}");
    }
}

#[test]
fn usage_is_what_is_not_idle() {
    let begin = Instant::now();
    let core = |idle, softirq| CoreTimes { idle: TICK * idle, softirq: TICK * softirq };
    let before = Sample { at: begin, server: core(1_000, 5), clients: core(0, 0), process: TICK * 7 };
    let after = Sample {
        at: begin + Duration::from_secs(2),
        server: core(1_050, 25),
        // More than has passed, as rounding has it.
        clients: core(201, 4),
        process: TICK * 107,
    };
    let usage = after.since(&before);
    let expected =
        Usage { server_core: 0.75, server_softirq: 0.1, server_process: 0.5, client_core: 0.0, client_softirq: 0.02 };
    assert_eq!(usage, expected);
    assert!((usage.server() - 0.6).abs() < 1e-9, "the process and the softirqs: the rest was somebody else's");
    assert_eq!(
        Usage { server_core: 0.55, ..usage }.server(),
        0.55,
        "less than both, which therefore have some in common"
    );
}

#[test]
fn this_process_is_accounted_for() {
    let placement = Placement { server: 0, clients: 0 };
    let pid = nix::unistd::getpid();
    let stats = [of_process(pid), of_thread(nix::unistd::gettid())];
    let before = Sample::take(placement, &stats).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let usage = Sample::take(placement, &stats).unwrap().since(&before);
    assert!((0.0..=1.0).contains(&usage.server_core) && usage.server_process >= 0.0, "{usage:?}");
    assert!(resident(&[pid]) > Some(1 << 20));
    assert!(available() > Some(1 << 20));
    assert!(Sample::take(placement, &["/proc/self/no-such-file".into()]).is_none());
    assert!(Sample::take(Placement { server: 0, clients: 9_999 }, &[]).is_none());
}

#[test]
fn sockets_are_their_slabs_their_files_and_their_data() {
    let slabs = "slabinfo - version: 2.1\n\
        # name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables ...\n\
        TCP 66 117 2368 13 8 : tunables 0 0 0 : slabdata 9 9 0\n\
        sock_inode_cache 10 38 832 19 4 : tunables 0 0 0 : slabdata 2 2 0\n\
        filp 1047 1092 192 21 1 : tunables 0 0 0 : slabdata 52 52 0\n\
        dentry 270993 297990 200 21 1 : tunables 0 0 0 : slabdata 14190 14190 0\n\
        mm_struct 1 1 1000 1 1 : tunables 0 0 0 : slabdata 1 1 0\n";
    let sockstat = "sockets: used 5\nTCP: inuse 1 orphan 0 tw 0 alloc 7 mem 3\nUDP: inuse 0 mem 100\n";
    let pages = 9 * 8 + 2 * 4 + 3;
    assert_eq!(sockets_in(slabs, sockstat, 4_096), Some(pages * 4_096 + 10 * 392));
    assert_eq!(sockets_in("", sockstat, 4_096), None);
    assert_eq!(sockets_in(slabs, "TCP: inuse 1", 4_096), None);
    assert_eq!((open_in(sockstat), open_in("UDP: inuse 7\n")), (Some(1), None));
}
