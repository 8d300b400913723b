use super::*;

fn cores(list: &[(usize, u32)]) -> Cores {
    Cores { nodes: list.iter().copied().collect(), forbidden: BTreeSet::new() }
}

#[test]
fn cores_that_a_process_may_not_use_are_not_offered_and_refused_by_another_sentence() {
    let nodes = [(0, 0), (1, 0), (2, 1), (3, 1)].into_iter().collect();
    let cores = Cores::of(nodes, &BTreeSet::from([1, 2, 9]));
    assert_eq!((cores.iter().collect::<Vec<_>>(), cores.forbidden().collect::<Vec<_>>()), (vec![1, 2], vec![0, 3]));
    assert_eq!(cores.end(), 4, "those of others count");
    assert_eq!((cores.count(), cores.node_count(), cores.to_string()), (2, 2, "1-2".to_owned()));
    assert_eq!(cores.on_node(1).collect::<Vec<_>>(), [2]);
    assert!(cores.require(1).is_ok());
    assert_eq!(
        cores.require(3).unwrap_err().to_string(),
        "core 3 is not for this process: taskset, a cpuset or a container leaves it 1-2; choose among these, or start it with more"
    );
    // What is not there at all is still another matter.
    assert!(matches!(cores.require(9), Err(HostError::NoSuchCore { core: 9, .. })));
}

#[test]
fn a_thread_that_is_pinned_is_where_it_was_put_and_so_is_what_it_starts() {
    let all = Cores::read().unwrap();
    for core in all.iter() {
        let (inside, inherited) = std::thread::spawn(move || {
            pin(core).unwrap();
            (Cores::read().unwrap(), std::thread::spawn(|| Cores::read().unwrap()).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((inside.to_string(), inherited.to_string()), (core.to_string(), core.to_string()));
        assert_eq!(inside.forbidden().count(), all.count() + all.forbidden().count() - 1);
    }
    assert!(pin(100_000).is_err(), "no such core");
}

#[test]
fn lists_of_ranges_are_read_as_the_kernel_writes_them() {
    assert_eq!(parse_list(""), Some(vec![]));
    assert_eq!(parse_list("0"), Some(vec![0]));
    assert_eq!(parse_list("0-3,6,8-9"), Some(vec![0, 1, 2, 3, 6, 8, 9]));
    for nonsense in ["x", "1-", "-1", "1,b", "0-3-5"] {
        assert_eq!(parse_list(nonsense), None, "{nonsense}");
    }
}

#[test]
fn cores_are_shown_as_ranges() {
    assert_eq!(cores(&[]).to_string(), "");
    assert_eq!(cores(&[(0, 0)]).to_string(), "0");
    assert_eq!(cores(&[(0, 0), (1, 0), (2, 1), (6, 1), (8, 1), (9, 1)]).to_string(), "0-2,6,8-9");
}

#[test]
fn a_missing_core_is_refused_with_those_there_are() {
    let cores = cores(&[(0, 0), (1, 0), (2, 1)]);
    assert!(cores.require(2).is_ok());
    let error = cores.require(7).unwrap_err();
    assert_eq!(error.to_string(), "core 7 does not exist: the cores online are 0-2, choose among these");
}

#[test]
fn cores_are_grouped_by_node() {
    let cores = cores(&[(0, 0), (1, 1), (2, 0), (3, 1)]);
    assert_eq!(cores.on_node(1).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((cores.count(), cores.node_count()), (4, 2));
}

#[test]
fn this_machine_has_a_core() {
    let cores = Cores::read().unwrap();
    assert!(cores.count() >= 1 && cores.node_count() >= 1);
    assert!(cores.iter().all(|core| cores.node(core).is_some()));
}
