use super::*;

#[test]
fn what_is_broken_adds_up_over_all_rounds() {
    assert_eq!(add_up(&[vec![1, 0, 2], vec![0, 3]], 3), [(0.0, 1.0), (1.0, 4.0), (2.0, 6.0), (3.0, 6.0)]);
    assert_eq!(add_up(&[Vec::new()], 1), [(0.0, 0.0), (1.0, 0.0)]);
}

#[test]
fn rows_break_nothing_where_others_do() {
    let bench = Consistency { states: LbState::ALL.to_vec(), seed: 1, rounds: 1 };
    let report = bench.run(|_| (), &AtomicBool::new(false)).unwrap();
    let violations = |name: &str| report.contender(name).unwrap().median.get("violations").unwrap();
    assert_eq!(violations("rows"), 0.0);
    assert!(violations("hash") > 0.0 && violations("lru") > 0.0);
    for name in ["rows", "hash", "lru"] {
        let results = report.contender(name).unwrap();
        let (_, drawn) = *results.series.last().unwrap();
        assert_eq!(Some(drawn), results.median.get("violations"), "{name}");
        assert_eq!(results.median.get("changes"), report.contenders[0].median.get("changes"), "{name}: the same world");
    }
    let before = bench.run(|_| (), &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(before, BenchError::Interrupted));
}
