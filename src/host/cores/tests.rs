use super::*;

fn cores(list: &[(usize, u32)]) -> Cores {
    Cores { nodes: list.iter().copied().collect() }
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
